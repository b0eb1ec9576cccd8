"""Shim while a training of an older state ends."""
from photic.apps.rawnind.evaluating.run_page import write_report as write_report

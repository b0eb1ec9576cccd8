"""The page of a run of the raw application: of one that denoises, or of one that compresses."""

from __future__ import annotations

from pathlib import Path

from photic.apps.rawnind.evaluating.rate_report import RateReport
from photic.apps.rawnind.evaluating.report import RunReport
from photic.tracking.run import Run


def write_report(run_folder: Path | str, path: Path | str | None = None) -> Path:
    """Write the page of a run, finished or not; nothing is computed with the network.

    Args:
        run_folder: the run; what ``photic evaluate`` left in its ``evaluations`` is shown, too.
        path: the file to write; ``report.html`` in the run's folder if omitted.

    Returns:
        The file.

    Raises:
        DataError: the folder is no run, or its results or an evaluation in it cannot be read.
    """
    run = Run.open(run_folder)
    compresses = run.config.get("task", {}).get("name") == "compression"
    report = RateReport(run) if compresses else RunReport(run)
    return report.page().write(path or run.path / "report.html")

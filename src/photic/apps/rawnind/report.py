"""The page of a run of the raw application: of one that denoises, or of one that compresses."""

from __future__ import annotations

from pathlib import Path

from photic.apps.rawnind.codec_benchmark.rate_report import RatePage
from photic.apps.rawnind.evaluating.report import DenoisingPage
from photic.tracking.run import Run


def write_report(run_folder: Path | str, path: Path | str | None = None) -> Path:
    """Write the page of a run, finished or not, with what ``photic evaluate`` left in it; nothing is computed with the network.

    Args:
        run_folder: the run.
        path: the file to write; ``report.html`` in the run's folder if omitted.

    Raises:
        DataError: the folder is no run, or its results or an evaluation in it cannot be read.
    """
    run = Run.open(run_folder)
    compresses = run.config.get("task", {}).get("name") == "compression"
    return (RatePage if compresses else DenoisingPage)(run).write(path)

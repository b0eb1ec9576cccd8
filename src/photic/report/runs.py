"""What the pages of all runs share, whatever the application: badges, notices, learning curves, settings, paths."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from markupsafe import Markup

from photic.core.program import program
from photic.functional.palette import BLUE
from photic.report import figures, page
from photic.report.figures import Line
from photic.report.page import Page, duration
from photic.tracking.run import Run


def badges(run: Run) -> list[tuple[str, str]]:
    """Return the words under the title of a run's page."""
    results = run.results
    names = results.get("names", {})
    found = (
        ("status", results.get("status", "unknown")),
        ("recipe", results.get("recipe")),
        ("model", names.get("model")),
        ("loss", names.get("loss")),
        ("data", names.get("data")),
        ("trained for", duration(results["wall_seconds"]) if "wall_seconds" in results else None),
        ("", (results.get("finished") or _last_written(run))[:16].replace("T", " ")),
    )
    return [(label, value) for label, value in found if value]


def _last_written(run: Run) -> str:
    """Return when an unfinished run last wrote its results: the page is about that moment, whenever it is made."""
    path = run.path / "results.json"
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(path.stat().st_mtime)) if path.is_file() else ""


def unfinished(run: Run) -> list[Markup]:
    """Return a notice if a run failed or is not finished, else nothing."""
    status, error = run.results.get("status"), run.results.get("error")
    if status == "failed":
        return [page.notice(f"This run failed: {error}", "bad")]
    if status in ("interrupted", "running"):
        text = f"This run is not finished ({error or status}). Go on with: {program()} train --resume {shown(run.path)}"
        return [page.notice(text, "warning")]
    return []


def history_line(history: Sequence[dict[str, Any]], label: str, part: str, key: str, colour: str) -> Line:
    """Return a value of a run's history over epochs; ``part`` is ``train`` or ``val``."""
    values = np.array([entry.get(part, {}).get(key) for entry in history], dtype=float)  # None becomes NaN, which leaves a gap
    return Line(label=label, x=[entry["epoch"] for entry in history], y=values, colour=colour)


def chart(title: str, lines: Sequence[Line], *, caption: str = "", **options: Any) -> Markup:
    """Return lines over epochs with their legend; ``options`` go to :func:`photic.report.figures.curves`."""
    return page.figure(figures.curves(lines, title=title, **options), caption, [line.legend for line in lines])


def learning_rate(history: Sequence[dict[str, Any]]) -> Markup:
    """Return the chart of the learning rate."""
    values = np.array([entry.get("lr") for entry in history], dtype=float)
    line = Line(label="learning rate", x=[entry["epoch"] for entry in history], y=values, colour=BLUE)
    return page.figure(figures.curves([line], title="Learning rate"), "At the end of each stretch between validations.")


def training_lead(results: dict[str, Any]) -> str:
    """Return which epoch is deployed and why training ended, as the lead of a section on training."""
    best = results.get("best") or {}
    stopped = f" Training ended: {results['stopped']}." if results.get("stopped") else ""
    chosen = f"Deployed: epoch {best['epoch']:g}, the best by validation {best['monitor']} (dotted line)." if best else ""
    return f"{chosen}{stopped}"


def add_settings(made: Page, run: Run) -> None:
    """Add the section with seed, size, machine, versions, and the whole configuration folded."""
    results, config = run.results, run.config
    section = made.section("Settings and environment")
    environment, parameters = results.get("environment", {}), results.get("parameters", {})
    threads = environment.get("cpu_threads")
    section.add(
        page.facts(
            {
                "seed": config.get("seed"),
                "parameters": f"{parameters['total']:,} ({parameters['trainable']:,} trained)" if parameters else None,
                "peak memory": f"{results['peak_memory_mb']:,.0f} MB" if "peak_memory_mb" in results else None,
                "device": environment.get("gpu") or (f"CPU, threads: {threads}" if threads is not None else None),
                "python": environment.get("python"),
                **environment.get("packages", {}),
                "photic": results.get("photic"),
                "platform": environment.get("platform"),
            }
        )
    )
    if environment.get("command"):
        section.add(page.commands([("Started with", environment["command"])]))
    section.add(page.details("All settings, resolved", page.preformatted(yaml.safe_dump(config, sort_keys=False, allow_unicode=True))))


def shown(path: Path) -> str:
    """Return a path as one would type it here, quoted for a shell: relative if it lies below the working folder."""
    whole = path.resolve()
    return shlex.quote(str(whole.relative_to(Path.cwd()) if whole.is_relative_to(Path.cwd()) else whole))

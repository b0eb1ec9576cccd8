"""The page of a run: written by the application whose data it was trained on, or by Photic itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from photic.core.catalogue import catalogue_of
from photic.core.errors import ConfigError
from photic.core.plugins import Plugin, advice, installed_plugins, load_reference, shipped_models
from photic.tracking.run import Run

_ENDINGS = (".html", ".htm")
_MODELS = (".photic", ".safetensors")


@dataclass(frozen=True)
class ReportResult:
    """A page that was written."""

    run: Path
    """The run's folder."""
    report: Path
    """The HTML file."""
    application: str | None
    """Whose page it is; None for the general one."""

    def summary(self) -> str:
        """Return a line for the terminal."""
        kind = self.application or "general page: no installed application has one for these data"
        return f"report  {self.report}  ({self.report.stat().st_size / 1e6:.1f} MB, {kind})"


def write_report(run: Path | str, output: Path | str | None = None, *, force: bool = False) -> ReportResult:
    """Write the page of a run as one self-contained HTML file, from what is in the run's folder; nothing is trained or measured.

    It works for finished, interrupted and failed runs, and without the data: what then has to be left out is said on the page.
    A run of data that no installed application has a page for gets a general one: curves, values, settings.

    Args:
        run: the run's folder, or any file in it but a model.
        output: the file to write, ending in ``.html``; None is ``report.html`` in the run, made anew whatever is there.
        force: replace ``output`` if it exists.

    Raises:
        ConfigError: ``output`` is there already, is a folder or has another ending; ``run`` is a model without its run.
        DataError: ``run`` is no run folder, or its results or an evaluation in it are damaged.
        StorageError: the file cannot be written.

    Example:
        >>> import photic
        >>> photic.write_report("runs/severstal/ID", "page.html").report  # doctest: +SKIP
        PosixPath('page.html')
    """
    _refuse_models(run)
    opened = Run.open(run)
    target = opened.path / "report.html" if output is None else Path(output)
    _check_output(target, force=force or output is None)
    plugin = _plugin_of(opened)
    if plugin is not None and plugin.report is not None:
        written: Path = load_reference(plugin.report)(opened.path, target)
        return ReportResult(opened.path, written, plugin.name)
    from photic.report.run_page import RunPage

    return ReportResult(opened.path, RunPage(opened, _missing(opened)).write(target), None)


def _refuse_models(run: Path | str) -> None:
    """Refuse files that hold a model alone: a page is about training and predictions, which they do not have."""
    path = Path(run)
    name = str(run)
    if not path.exists() and name not in shipped_models():
        return
    if path.exists() and (path.is_dir() or path.suffix not in _MODELS):
        return
    raise ConfigError(
        f"{name}: is a model; a report needs the run it was trained in, with its history and predictions: photic report RUN. "
        f"What a model file says of itself: photic info {name}; to measure it on pictures: photic evaluate {name} -o FOLDER"
    )


def _check_output(target: Path, *, force: bool) -> None:
    if target.is_dir():
        raise ConfigError(f"{target}: is a folder; give the name of a file to write, such as {target / 'report.html'}")
    if target.suffix.lower() not in _ENDINGS:
        raise ConfigError(f"{target}: a report is an HTML file; its name ends in .html, for example {target.with_suffix('.html').name}")
    if target.exists() and not force:
        raise ConfigError(f"{target}: is there already; give another name, or force (--force) to replace it")


def _plugin_of(run: Run) -> Plugin | None:
    """Return the plug-in that brings the run's data set; None where none that is installed does."""
    name = _data_name(run)
    found = next((entry for entry in catalogue_of("datasets").entries() if name == entry.name or name in entry.aliases), None)
    if found is None:
        return None
    plugins = installed_plugins().values()
    return next((one for one in plugins if found.module == one.package or found.module.startswith(one.package + ".")), None)


def _data_name(run: Run) -> str:
    data = run.config.get("data")
    return str(data.get("name")) if isinstance(data, dict) else ""


def _missing(run: Run) -> list[str]:
    """Return what to say where the package that brings the run's data is not here."""
    name = _data_name(run)
    if name in catalogue_of("datasets"):
        return []
    return [f"The data set '{name}' is not known here, so this is a general page{advice(run.results.get('requires', ()))}."]

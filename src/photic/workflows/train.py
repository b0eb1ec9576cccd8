"""Training, from a configuration to a finished run; and resuming one."""

from __future__ import annotations

import csv
import io
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from photic.core.checkpoint import load_weights, read_checkpoint, write_checkpoint
from photic.core.errors import ConfigError, DataError, RunInterrupted
from photic.core.files import write_json, write_text
from photic.core.seeding import seed_global_generators
from photic.data.base import PHASES, PreparedData
from photic.engine.processes import Processes, processes
from photic.inference.passes import run_pass
from photic.tasks.base import Task
from photic.tracking.run import Run, environment
from photic.workflows.config import TrainConfig
from photic.workflows.recipes import merge
from photic.workflows.report import write_report
from photic.workflows.starting import check_same_start, check_start, start
from photic.workflows.stored import config_of

_RESUMABLE = ("training", "trainer")  # sections that may change when a run goes on; anything else would be another run
_RESUMABLE_DATA = ("root", "unpaired_root", "path", "test_path", "num_workers", "cache", "cache_mb", "eval_batch_size")


@dataclass(frozen=True)
class TrainResult:
    """A finished run."""

    run: Path
    """Its folder."""
    results: dict[str, Any]
    """The content of ``results.json``."""
    report: Path | None
    """The HTML page, unless none was asked for."""

    def summary(self) -> str:
        """Return a few lines for the terminal."""
        best = self.results.get("best") or {}
        lines = [f"run     {self.run}"]
        if best:
            lines.append(f"best    {best['monitor']} {_shown(best['value'])} at epoch {best['epoch']:g} (validation)")
        test = self.results.get("test") or {}
        plain = {name: value for name, value in test.items() if isinstance(value, float) and name != "loss"}
        if plain:
            lines.append("test    " + "  ".join(f"{name} {_shown(value)}" for name, value in plain.items()))
        for place in ("at_0.5", "at_tuned"):
            if place in test:
                macro = test[place]["macro"]
                shown = "  ".join(f"{name} {_shown(macro[name])}" for name in ("ap", "auc", "f1"))
                lines.append(f"test    macro {shown}  (thresholds {place.removeprefix('at_')})")
        if self.report is not None:
            lines.append(f"report  {self.report}")
        return "\n".join(lines)


def train(config: TrainConfig, *, quiet: bool = False, page: bool = True) -> TrainResult:
    """Train, test the best checkpoint, write the report.

    Started in several processes by ``torchrun``, all train together, the first one writes the run, and all return the same.

    Args:
        config: everything the run depends on.
        quiet: no progress display.
        page: write the report; without it a run is a fraction of a second shorter.

    Raises:
        ConfigError: the configuration does not fit the data or the machine.
        DataError: the data are unusable.
        CheckpointError: the weights to start from are of another network.
        TrainingError: a loss or gradient turned non-finite; the last good checkpoint is kept.
        RunInterrupted: Ctrl-C; the run can be resumed.

    Example:
        >>> import photic
        >>> result = photic.train(photic.recipe("quick_strips", {"training.num_epochs": 1}))  # doctest: +SKIP
    """
    check_start(config.training)  # before the data are read
    with processes(config.trainer) as group:
        data = _prepare(config, group)
        task = _build(config, data)
        started = start(task, config.model, config.training)
        run = Run(group.broadcast(Run.create(config.to_dict()).path if group.is_first else Path()))
        with _held(run, group):
            if group.is_first:
                write_json(run.path / "split.json", _split_of(data))
                run.save_results(status="running", error=None, started_from=started, **_facts(config, data, task, group))
            return _run(config, data, task, run, group, resuming=False, quiet=quiet, page=page)


def resume(path: Path | str, overrides: Mapping[str, Any] | None = None, *, quiet: bool = False, page: bool = True) -> TrainResult:
    """Go on with an interrupted run exactly where it was left; on a CPU the result is bit-identical.

    Args:
        path: the run's folder.
        overrides: changes to ``training`` and ``trainer`` (for example more epochs), and where the data lie now.
        quiet: no progress display.
        page: write the report; without, an earlier one stays as it is.

    Raises:
        ConfigError: an override would make it another run.
        DataError: the data are not those the run was started with.
        CheckpointError: there is no usable checkpoint.
    """
    run = Run.open(path)
    config = config_of(run, _allowed(overrides or {}))
    with processes(config.trainer) as group:
        data = _prepare(config, group)
        _refuse_other_data(run, data)
        task = _build(config, data)
        resuming = run.checkpoint("last").is_file()
        if not resuming:
            check_same_start(run.results.get("started_from"), start(task, config.model, config.training), run.path)
        with _held(run, group):
            if group.is_first:  # what was changed is what the run is from here on
                run.save_config(config.to_dict())
                run.save_results(config=config.to_dict())
            return _run(config, data, task, run, group, resuming=resuming, quiet=quiet, page=page)


def _prepare(config: TrainConfig, group: Processes) -> PreparedData:
    """Read and split the data, in every process."""
    data = config.data.prepare(config.seed)
    own = (data.fingerprint, _split_of(data))
    theirs = group.broadcast(own)
    if theirs != own:
        raise DataError(
            f"these are not the data that the first process reads (fingerprint {own[0][:12]}, "
            f"there {theirs[0][:12]}); all machines need the same files"
        )
    return data


def _split_of(data: PreparedData) -> dict[str, list[str]]:
    return {phase: list(names) for phase, names in data.names.items()}


@contextmanager
def _held(run: Run, group: Processes) -> Iterator[None]:
    """Hold the run for writing, in the process that writes it."""
    if not group.is_first:
        yield
        return
    with run.writing():
        yield


def _refuse_other_data(run: Run, data: PreparedData) -> None:
    split = run.split
    fingerprint = run.results.get("data", {}).get("fingerprint")
    if _split_of(data) != split or data.fingerprint != fingerprint:
        raise DataError(
            f"{run.path}: the data are not those this run was started with "
            f"(fingerprint {data.fingerprint[:12]}, then {str(fingerprint)[:12]}); "
            "resume with the same files, or start a new run"
        )


def _build(config: TrainConfig, data: PreparedData) -> Task:
    seed_global_generators(config.seed, "weights")
    return config.task.build(config.model, config.loss, data)


def _run(
    config: TrainConfig, data: PreparedData, task: Task, run: Run, group: Processes, *, resuming: bool, quiet: bool, page: bool
) -> TrainResult:
    from photic.engine.fit import fit

    def note(**changes: Any) -> None:
        if group.is_first:
            run.save_results(**changes)

    note(status="running", error=None)
    description = {"config": config.to_dict(), "requires": config.requires()}
    try:
        state = fit(
            task,
            data,
            run,
            data_config=config.data,
            optimizer=config.optimizer,
            schedule=config.schedule,
            training=config.training,
            trainer=config.trainer,
            seed=config.seed,
            description=description,
            processes=group,
            resume=resuming,
            quiet=quiet,
        )
        best = {**state.best, "monitor": config.training.monitor} if state.best is not None else None
        note(history=state.history, best=best, stopped=state.finished, wall_seconds=round(state.seconds, 3), peak_memory_mb=_peak_mb())
        if group.is_first:
            conclude(run, task, data, config)
    except (RunInterrupted, KeyboardInterrupt):
        note(status="interrupted", error="stopped by the user or the system")
        raise
    except Exception as error:
        cause = group.cause(error)
        note(status="failed", error=f"{type(cause).__name__}: {cause}")
        raise
    result = None
    if group.is_first:
        results = run.save_results(status="completed", finished=time.strftime("%Y-%m-%dT%H:%M:%S%z"))
        result = TrainResult(run.path, results, write_report(run.path).report if page else None)
    return cast("TrainResult", group.broadcast(result))


def conclude(run: Run, task: Task, data: PreparedData, config: TrainConfig) -> None:
    """Reload the best weights, calibrate on validation, test, and keep predictions and thresholds with the run."""
    best = run.checkpoint("best")
    if not best.is_file():  # the monitored value was never a number: say so rather than test something else
        raise DataError(
            f"{run.path}: validation never gave a value for '{config.training.monitor}', so there is no best checkpoint; "
            "the validation split may hold no positives of any class"
        )
    saved = read_checkpoint(best, with_state=False)
    load_weights(task, saved.deployed(), best)
    device = "cuda" if torch.cuda.is_available() and config.trainer.accelerator in ("auto", "gpu") else "cpu"
    tests: dict[str, Any] = {}
    for phase in PHASES[1:]:
        if phase not in data.splits or not len(data.splits[phase]):
            continue
        size = config.data.eval_batch_size or config.data.batch_size
        result = run_pass(task, data.splits[phase], batch_size=size, num_workers=config.data.num_workers, device=device)
        if phase == "val":
            task.calibrate(result.prediction, result.target)
        else:
            tests["test"] = {"loss": result.loss, **task.report(result.prediction, result.target)}
        write_predictions(run.path / "predictions" / f"{phase}.csv", task, data.names[phase], result.prediction, result.target)
    saved.description.update(task.description())
    write_checkpoint(best, saved)
    comparison = None if task.comparison is None else task.comparison.to_dict()
    run.save_results(**{name: value for name, value in task.description().items() if name != "config"}, comparison=comparison, **tests)


def write_predictions(path: Path, task: Task, names: list[str], prediction: np.ndarray, target: np.ndarray) -> None:
    """Write the predictions of a split as CSV."""
    header, rows = task.table(names, prediction, target)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, text.getvalue())


def _facts(config: TrainConfig, data: PreparedData, task: Task, group: Processes) -> dict[str, Any]:
    parameters = list(task.network.parameters())  # type: ignore[union-attr]
    root = getattr(config.data, "root", getattr(config.data, "path", None))
    fitted = {name: value for name, value in task.criterion.named_buffers() if value.numel() <= 1000}
    state = {name: value.tolist() for name, value in fitted.items() if torch.isfinite(value).all()}  # NaN: not derived from data
    return {
        "recipe": config.recipe,
        "names": {part: getattr(config, part).registry_name for part in ("task", "model", "loss", "data")},
        "config": config.to_dict(),
        "requires": config.requires(),
        "classes": list(data.classes),
        "data": {
            "root": str(root) if root is not None else None,
            "fingerprint": data.fingerprint,
            "counts": {phase: len(data.names.get(phase) or samples) for phase, samples in data.splits.items()},  # not crops of them
            "split_strategy": getattr(config.data, "split_strategy", None),
            "notes": [*data.notes, *getattr(task.network, "notes", ())],
        },
        "loss_state": state,
        "environment": {**environment(), "num_processes": group.num_processes},
        "parameters": {"total": sum(p.numel() for p in parameters), "trainable": sum(p.numel() for p in parameters if p.requires_grad)},
    }


def _allowed(overrides: Mapping[str, Any]) -> dict[str, Any]:
    nested = merge({}, overrides)
    if "start_from" in (nested.get("training") or {}):
        raise ConfigError("training.start_from cannot change when a run is resumed: it has started; start a new run instead")
    for section, value in nested.items():
        refused = [section] if section not in (*_RESUMABLE, "data") else []
        if section == "data" and isinstance(value, Mapping):
            refused = [f"data.{key}" for key in value if key not in _RESUMABLE_DATA]
        if refused:
            allowed = ", ".join([*(f"{name}.*" for name in _RESUMABLE), *(f"data.{key}" for key in _RESUMABLE_DATA)])
            raise ConfigError(f"{refused[0]} cannot change when a run is resumed (may change: {allowed}); start a new run instead")
    return nested


def _peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


def _shown(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.4f}"

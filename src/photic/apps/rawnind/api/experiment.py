"""An experiment on disk: values by step, and the checkpoints worth keeping."""

from __future__ import annotations

import json
import math
import re
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from photic.apps.rawnind.api.image_metrics import higher_is_better
from photic.apps.rawnind.api.training_config import TrainingConfig
from photic.core.errors import CheckpointError, ConfigError, DataError
from photic.core.files import write_json
from photic.core.plugins import model_source
from photic.inference.predictor import model_file

RECORDS = "experiment.json"
LAST = "checkpoints/last.safetensors"
FORMAT = 1
_NAME = re.compile(r"step_(\d+)\.safetensors$")
_NOT_CHOSEN_BY = re.compile(r"^(test|train)[_/]|^(lr|learning_rate|step|epoch|seconds)$")
_TRADED = re.compile(r"^(val(idation)?[_/])?(distortion|rate|bpp|bpp_actual)$")
"""Sides of a trade-off: each is bought with the other, so neither tells which model is better."""


class CleanExperimentManager:
    """Keeps the values of every validation, and of the checkpoints the best ones of each value.

    Values whose names begin with ``test_`` or ``train_`` are recorded and choose nothing: a model that was chosen on test
    scenes would look better there than it is. Nor do rate and distortion of compression, each of which is bought with the other.

    Args:
        config: says where experiments go and how many checkpoints to keep.
        folder: of an experiment, whose records are there again; None: a new one. It is made when something is written.
        keep_best: checkpoints per value.
        metrics: values that choose checkpoints; None: all.
        larger_is_better: whether more of a value is better, where its name does not say so (registered metrics do; what else
            there is counts as a loss).

    Raises:
        ConfigError: a number that is not possible.
        DataError: the folder's records are damaged.

    >>> import tempfile
    >>> manager = CleanExperimentManager(folder=tempfile.mkdtemp(), keep_best=1)
    >>> for step, psnr in enumerate([20.0, 25.0, 22.0]):
    ...     manager.record_metrics(step, {"psnr": psnr, "loss": 1 / (step + 1), "test_psnr": -psnr})
    >>> manager.get_best_steps()
    {'psnr': 1, 'loss': 2}
    """

    def __init__(
        self,
        config: TrainingConfig | Mapping[str, Any] | str | Path | None = None,
        *,
        folder: Path | str | None = None,
        keep_best: int | None = None,
        metrics: tuple[str, ...] | None = None,
        larger_is_better: Mapping[str, bool] | None = None,
    ) -> None:
        self.config = TrainingConfig.of(config)
        self.folder = Path(folder) if folder is not None else new_folder(self.config)
        self.keep_best = self.config.keep_best if keep_best is None else keep_best
        if self.keep_best < 1:
            raise ConfigError(f"keep_best: expected 1 or more checkpoints for each value, got {self.keep_best}")
        self.metrics = metrics
        self.larger_is_better = dict(larger_is_better or {})
        self.history: dict[int, dict[str, float]] = _read(self.folder / RECORDS)
        """Values by step."""

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.folder / "checkpoints"

    def checkpoint_path(self, step: int) -> Path:
        """Return where the checkpoint of a step lies."""
        return self.checkpoints / f"step_{step:08d}.safetensors"

    @property
    def last_path(self) -> Path:
        """Where the newest checkpoint lies, to go on from."""
        return self.folder / LAST

    def record_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take values of a step in, beside those that are known of it, and write them to disk.

        Raises:
            ConfigError: a negative step, or what is no number.
            StorageError: the file cannot be written.
        """
        if isinstance(step, bool) or not isinstance(step, int) or step < 0:
            raise ConfigError(f"record_metrics: expected a step from 0, got {step!r}")
        try:
            values = {str(name): float(value) for name, value in metrics.items()}
        except (TypeError, ValueError) as error:
            raise ConfigError(f"record_metrics: expected names and numbers, got {dict(metrics)!r}") from error
        self.history.setdefault(step, {}).update(values)
        written = {
            str(number): {name: value if math.isfinite(value) else str(value) for name, value in found.items()}
            for number, found in sorted(self.history.items())
        }
        write_json(self.folder / RECORDS, {"format": FORMAT, "best": self.get_best_steps(), "steps": written})

    def get_best_steps(self) -> dict[str, int]:
        """Return the best step by each value that may choose; of equal ones the first."""
        return {name: steps[0] for name, steps in self.get_kept_steps().items()}

    def get_kept_steps(self) -> dict[str, list[int]]:
        """Return the steps that are kept for each value, best first."""
        names = dict.fromkeys(name for values in self.history.values() for name in values if self._chooses(name))
        kept: dict[str, list[int]] = {}
        for name in names:
            sign = -1.0 if self._larger(name) else 1.0
            ranked = sorted((sign * v[name], step) for step, v in self.history.items() if name in v and not math.isnan(v[name]))
            if ranked:
                kept[name] = [step for _, step in ranked[: self.keep_best]]
        return kept

    def should_save_checkpoint(self, step: int) -> bool:
        """Return whether a step is among the best by any value."""
        return any(step in steps for steps in self.get_kept_steps().values())

    def cleanup_checkpoints(self) -> list[Path]:
        """Remove the checkpoints of steps that are among the best by no value; others' files stay.

        Returns:
            What was removed.
        """
        kept = {step for steps in self.get_kept_steps().values() for step in steps}
        removed = [path for path, step in _steps_in(self.checkpoints) if step not in kept]
        for path in removed:
            path.unlink(missing_ok=True)
        return removed

    def _chooses(self, name: str) -> bool:
        if self.metrics is not None and name not in self.metrics:
            return False
        return _NOT_CHOSEN_BY.match(name) is None and not is_traded(name)

    def _larger(self, name: str) -> bool:
        known = self.larger_is_better.get(name)
        return higher_is_better(re.sub(r"^val(idation)?[_/]", "", name)) if known is None else known


def create_experiment_manager(config: TrainingConfig | Mapping[str, Any] | str | Path | None = None, **kw: Any) -> CleanExperimentManager:
    """Return the manager of an experiment; arguments as for :class:`CleanExperimentManager`."""
    return CleanExperimentManager(config, **kw)


def is_traded(name: str) -> bool:
    """Return whether a value is one side of a trade-off.

    >>> is_traded("bpp"), is_traded("psnr")
    (True, False)
    """
    return _TRADED.match(name) is not None


def new_folder(config: TrainingConfig) -> Path:
    """Return a folder for a training, that no other has; it is not made."""
    return config.experiments / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"


def newest_checkpoint(folder: Path) -> Path:
    """Return the checkpoint to go on from of an experiment's folder, or of the newest experiment in it.

    Raises:
        CheckpointError: there is none.
    """
    found = [path for path in (folder / LAST, *folder.glob(f"*/{LAST}")) if path.is_file()]
    if not found:
        raise CheckpointError(f"{folder}: no checkpoint to go on from (expected {LAST} in it, or in a folder in it)")
    return found[0] if found[0] == folder / LAST else max(found, key=lambda path: path.stat().st_mtime_ns)


def best_checkpoint(folder: Path) -> Path | None:
    """Return the best checkpoint of an experiment's folder; None where there is no experiment.

    The first value that has one decides: PSNR, then MS-SSIM, then whatever was recorded first, but of compression the loss, which weighs
    the picture against its bits; without any, the newest checkpoint.
    """
    if not (folder / RECORDS).is_file() and not _steps_in(folder / "checkpoints"):
        return None
    manager = CleanExperimentManager(folder=folder)
    best = manager.get_best_steps()
    compressed = any(is_traded(name) for values in manager.history.values() for name in values)
    for name in (*(["loss"] if compressed else []), "psnr", "ms_ssim", *best):
        if name in best and manager.checkpoint_path(best[name]).is_file():
            return manager.checkpoint_path(best[name])
    if manager.last_path.is_file():
        return manager.last_path
    found = _steps_in(manager.checkpoints)
    return found[-1][0] if found else None


def weights_file(path_or_dir: Path | str) -> Path:
    """Return the file with the weights that a path or name means: itself, or the best checkpoint of a run or experiment.

    Raises:
        DataError: the folder holds no model.
        UnknownNameError: neither a path nor the name of a model that comes with Photic.
    """
    place = model_source(path_or_dir)
    best = best_checkpoint(place) if place.is_dir() else None
    return model_file(place) if best is None else best


def _steps_in(folder: Path) -> list[tuple[Path, int]]:
    found = [(path, int(match[1])) for path in folder.glob("step_*.safetensors") if (match := _NAME.search(path.name))]
    return sorted(found, key=lambda one: one[1])


def _read(path: Path) -> dict[int, dict[str, float]]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {int(step): {name: float(value) for name, value in values.items()} for step, values in content["steps"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: damaged ({error!r}); take the file away, or put it back as it was written") from error

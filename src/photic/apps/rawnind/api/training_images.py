"""Pictures of validation and test as OpenEXR files: what went in, what came out, what was wanted."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from torch import Tensor

from photic.apps.rawnind.api.paired_task import PairedTask
from photic.apps.rawnind.files.bands import bands_of
from photic.apps.rawnind.files.exr import write_exr
from photic.apps.rawnind.files.profiles import chromaticities
from photic.core.files import saved
from photic.functional.demosaic import malvar
from photic.functional.raw_colour import apply_matrix, camera_to_rec2020_batch
from photic.tasks.base import Batch, Phase

MOST_PICTURES = 4
"""Pictures of a pass that are written."""


class TrainingImages:
    """Writes the first pictures of a pass, in linear Rec.2020.

    Args:
        task: whose pictures they are.
        folder: where they go, in a folder of their own for each step.
    """

    def __init__(self, task: PairedTask, folder: Path) -> None:
        self.task, self.folder = task, folder
        self.step = 0
        """Optimizer steps done; names the folder."""
        self.written: list[Path] = []
        self._done: tuple[Phase, int, int] = ("val", -1, 0)

    def __call__(self, phase: Phase, batch: Batch, made: Tensor) -> None:
        """Write pictures of a batch, until there are enough of this pass.

        Raises:
            DataError: values are not finite.
            StorageError: a file cannot be written.
        """
        last_phase, last_step, count = self._done
        if (last_phase, last_step) != (phase, self.step):
            count = 0
        folder = self.folder / f"{phase}_step_{self.step:08d}"
        kinds = {"noisy": self._shown(self._noisy(batch), batch), "output": self._colours(made, batch)}
        kinds["clean"] = self._colours(batch["target"], batch)
        for place, name in enumerate(batch["name"]):
            if count >= MOST_PICTURES:
                break
            for kind, pictures in kinds.items():
                path = folder / f"{count:02d}_{_safe(name)}_{kind}.exr"
                write_picture(path, pictures[place])
                self.written.append(path)
            count += 1
        self._done = (phase, self.step, count)

    def _noisy(self, batch: Batch) -> Tensor:
        measurement: Tensor = batch["measurement"]
        if not self.task.is_bayer:
            return measurement
        factors = batch["balance"][:, :, None, None]
        made: Tensor = malvar(measurement * (batch["planes"] * factors).sum(dim=1, keepdim=True), batch["planes"]) / factors
        return made

    def _shown(self, camera: Tensor, batch: Batch) -> Tensor:
        """Return pictures in the camera's colours in linear Rec.2020."""
        return apply_matrix(camera, camera_to_rec2020_batch(batch["xyz_to_camera"].double()).to(camera.dtype))

    def _colours(self, compared: Tensor, batch: Batch) -> Tensor:
        """Return pictures as they are compared in linear Rec.2020, which those of mosaics are in already."""
        return compared if self.task.is_bayer else self._shown(compared, batch)


class Watched:
    """Shows pictures of validation and test to who writes them, while it lasts.

    Args:
        task: whose pictures they are.
        images: writes them.
        on: whether it does.
    """

    def __init__(self, task: PairedTask, images: TrainingImages, *, on: bool) -> None:
        self.task, self.images, self.on = task, images, on

    def __enter__(self) -> TrainingImages:
        self._before = self.task.watcher
        self.task.watcher = self.images if self.on else None
        return self.images

    def __exit__(self, *_: object) -> None:
        self.task.watcher = self._before


def write_picture(path: Path, picture: Tensor) -> Path:
    """Write a picture ``(3, H, W)`` of linear Rec.2020 as an OpenEXR file of floats; what is there is replaced.

    Raises:
        DataError: values are not finite.
        StorageError: it cannot be written.
    """
    rows = np.ascontiguousarray(picture.detach().cpu().float().numpy().transpose(1, 2, 0))
    with saved(path, force=True) as temporary:
        write_exr(temporary, (rows.shape[0], rows.shape[1]), bands_of(rows), chromaticities=chromaticities("rec2020"), half=False)
    return path


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", Path(name).stem).strip("._")[:80] or "picture"

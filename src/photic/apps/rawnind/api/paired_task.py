"""What tasks share that are trained from Python: batches of noisy and clean pictures, compared in linear Rec.2020."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from photic.apps.rawnind.api.arrays import noise_of, raw_picture
from photic.apps.rawnind.api.image_metrics import full_mask, picture_values
from photic.core.errors import DataError
from photic.functional.cfa import RGGB, cfa_planes, mosaic_of, unpack
from photic.functional.raw_colour import REC2020_TO_XYZ, XYZ_TO_REC2020, apply_matrix, camera_to_rec2020_batch, xyz_of_white
from photic.functional.transfer import Transfer, encode
from photic.losses.base import Compared
from photic.metrics.base import Metric
from photic.metrics.column_mean import ColumnMean
from photic.metrics.comparison import ComparisonSpec
from photic.models.raw_denoising import Measurement
from photic.tasks.base import Batch, Phase, Task

Watcher = Callable[[Phase, Batch, Tensor], None]
"""Is shown what was made of a batch in validation and test: phase, batch, pictures as they are compared."""
Loader = Iterable[Mapping[str, Any]]
"""Gives batches, pass after pass."""
MatchGain = Literal["never", "input", "output"]
_CLIPPED = 0.99
"""Level from which a sample tells nothing about exposure."""


class PairedTask(Task):
    """A task whose targets are in linear Rec.2020 (mosaics) or in the colours of the input (RGB)."""

    values: tuple[str, ...] = ()
    """Names of what is measured in validation and test, see :func:`photic.apps.rawnind.compute_image_metrics`."""
    transfer: Transfer = "none"
    """What pictures pass through before the loss."""
    match_gain: MatchGain = "never"
    watcher: Watcher | None = None
    measurement: Measurement
    """What the network takes."""
    heeds_noise: bool
    """Whether the network's result depends on the noise that it is told."""

    @property
    def is_bayer(self) -> bool:
        """Whether it takes mosaics."""
        return self.measurement == "mosaic"

    def matched(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return measurements and noise of a batch as the network gets them: of the exposure of the clean pictures, if so configured."""
        measurement, noise = batch["measurement"], batch["noise"]
        if self.match_gain != "input":
            return measurement, noise
        gain = self._input_gain(batch)
        scale = gain.flatten()
        return measurement * gain, torch.stack([noise[:, 0] * scale, noise[:, 1] * scale.square()], dim=1)

    def measured(self, shown: Tensor, batch: Batch, phase: Phase) -> Tensor:
        """Return the values ``(B, K)`` of pictures as they are compared, and show these to the watcher."""
        mask = batch.get("mask")
        if self.watcher is not None:
            self.watcher(phase, batch, shown.detach())
        return picture_values(shown, batch["target"], self.values, None if mask is None else mask.expand_as(shown) > 0)

    def finished(self, output: Tensor, measurement: Tensor, planes: Tensor, xyz_to_camera: Tensor) -> Tensor:
        """Return the network's pictures as they are compared: matched in exposure if so configured, mosaics' in linear Rec.2020.

        Args:
            output: ``(B, 3, H, W)`` of the network, in the camera's colours.
            measurement: ``(B, 1 or 3, H, W)``, what it was made of.
            planes: ``(B or 1, 3, H, W)``, which colour each pixel saw.
            xyz_to_camera: ``(B, 3, 3)``.
        """
        if self.match_gain == "output":
            seen = mosaic_of(output, planes) if self.is_bayer else output
            output = output * matching_gain(measurement, seen)
        if not self.is_bayer:
            return output
        return apply_matrix(output, camera_to_rec2020_batch(xyz_to_camera.double()).to(output.dtype))

    def encoded(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Compared:
        """Return pictures as losses see them.

        Raises:
            DataError: shapes differ; nothing is scaled to fit.
        """
        if prediction.shape != target.shape:
            raise DataError(
                f"loss: predictions are {tuple(prediction.shape)}, ground truth is {tuple(target.shape)}; both must have one size, of "
                "Bayer pictures that of the sensor (twice that of the packed planes). Nothing is scaled to fit"
            )
        return Compared(encode(prediction.float(), self.transfer), encode(target.float(), self.transfer), mask)

    def compared(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return how far pictures are from the true ones, as the loss says, normalised by the values that count.

        Raises:
            DataError: shapes differ; nothing is scaled to fit.
        """
        raise NotImplementedError

    def prepared(self, batch: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
        """Return a batch of the Python interface as tasks take it.

        Args:
            batch: ``noisy_images`` ``(B, 4, H, W)`` packed or ``(B, 3, H, W)``, ``clean_images`` ``(B, 3, 2H, 2W)`` or ``(B, 3, H, W)``,
                and perhaps ``masks``, ``rgb_xyz_matrices`` ``(B, 3, 3)`` (mosaics need them), ``noise`` ``(B, 2)``, ``balances``
                ``(B, 3)``, ``image_paths``.
            device: where to put it.

        Raises:
            DataError: something is missing, or shapes do not belong together.
        """
        missing = [name for name in ("noisy_images", "clean_images") if name not in batch]
        if missing:
            raise DataError(f"batch: has no '{missing[0]}' (it has: {', '.join(map(str, batch)) or 'nothing'})")
        noisy, clean = (self._pictures(batch[name], name, device) for name in ("noisy_images", "clean_images"))
        channels, scale = (4, 2) if self.is_bayer else (3, 1)
        expected = (len(noisy), 3, scale * noisy.shape[2], scale * noisy.shape[3])
        if noisy.shape[1] != channels or tuple(clean.shape) != expected:
            bayer = "packed planes (B, 4, H, W) and clean pictures (B, 3, 2H, 2W)"
            what = bayer if self.is_bayer else "two pictures of one shape (B, 3, H, W)"
            raise DataError(f"batch: expected {what}, got noisy_images {tuple(noisy.shape)} and clean_images {tuple(clean.shape)}")
        made: dict[str, Any] = {
            "measurement": unpack(noisy) if self.is_bayer else noisy,
            "target": clean,
            "planes": self.planes(clean),
            "index": torch.arange(len(noisy), device=device),
            "name": [str(path) for path in batch.get("image_paths") or [f"{place}" for place in range(len(noisy))]],
        }
        if batch.get("masks") is not None:
            made["mask"] = self.mask(batch["masks"], clean)
        matrices = batch.get("rgb_xyz_matrices")
        if matrices is None and self.is_bayer:
            raise DataError("batch: has no 'rgb_xyz_matrices' (B, 3, 3), without which the colours of mosaics mean nothing")
        if matrices is None:
            matrices = torch.as_tensor(XYZ_TO_REC2020).expand(len(noisy), 3, 3)
        made["xyz_to_camera"] = self.matrices(matrices, len(noisy), device)
        noise = batch.get("noise")
        made["noise"] = self._numbers(self._estimated(made) if noise is None else noise, (len(noisy), 2), "noise", device, torch.zeros(2))
        daylight = self._daylight(made["xyz_to_camera"]) if self.is_bayer else torch.ones(3)
        made["balance"] = self._numbers(batch.get("balances"), (len(noisy), 3), "balances", device, daylight)
        return made

    def planes(self, like: Tensor) -> Tensor:
        """Return which colours the pixels of pictures ``(B, 3, H, W)`` see, for each of them."""
        if not self.is_bayer:
            return torch.ones_like(like)
        return cfa_planes(RGGB, *like.shape[-2:], device=like.device).expand_as(like)

    @staticmethod
    def mask(masks: Any, like: Tensor) -> Tensor:
        """Return masks as floats ``(B, 1 or 3, H, W)``; of the three colours' own, where they differ.

        Raises:
            DataError: masks do not fit.
        """
        return full_mask(masks, like, each=False).float()

    @staticmethod
    def matrices(matrices: Any, count: int, device: torch.device) -> Tensor:
        """Return colour matrices ``(B, 3, 3)`` float64.

        Raises:
            DataError: another shape.
        """
        made = torch.as_tensor(matrices).to(device, torch.float64)
        made = made[:, :3] if made.shape == (count, 4, 3) else made
        if made.shape != (count, 3, 3):
            raise DataError(f"rgb_xyz_matrices: expected XYZ to camera ({count}, 3, 3), got {tuple(made.shape)}")
        return made

    def make_metrics(self) -> dict[str, Metric]:
        """Return fresh metrics for one pass: means over its pictures."""
        return {name: ColumnMean(name, place) for place, name in enumerate(self.columns)}

    @property
    def columns(self) -> list[str]:
        """Names of the values that are kept of each picture."""
        return list(self.values)

    @property
    def comparison(self) -> ComparisonSpec | None:
        """None: nothing of it is compared between runs."""
        return None

    def _input_gain(self, batch: Batch) -> Tensor:
        """Return the factors ``(B, 1, 1, 1)`` that give the noisy pictures the exposure of the clean ones."""
        clean, mask = batch["target"], batch.get("mask")
        if self.is_bayer:
            to_camera = batch["xyz_to_camera"] @ torch.as_tensor(REC2020_TO_XYZ, device=clean.device)
            clean = mosaic_of(apply_matrix(clean, to_camera.to(clean.dtype)), batch["planes"])
            mask = None if mask is None else mask.amin(dim=1, keepdim=True)
        return matching_gain(clean, batch["measurement"], mask)

    def _estimated(self, batch: Mapping[str, Any]) -> Tensor | None:
        """Return the noise of each picture as it would be estimated when it is denoised; None where the network does not heed it."""
        if not self.heeds_noise:
            return None
        return torch.tensor([noise_of(raw_picture(values)).values for values in batch["measurement"].cpu().numpy()])

    @staticmethod
    def _daylight(xyz_to_camera: Tensor) -> Tensor:
        """Return the factors that make grey what daylight lights, by each matrix; ones where it does not see daylight."""
        white = xyz_to_camera @ torch.as_tensor(xyz_of_white(), device=xyz_to_camera.device)
        seen = (white > 0).all(dim=1, keepdim=True) & white.isfinite().all(dim=1, keepdim=True)
        white = torch.where(seen, white, 1.0)
        return white[:, 1:2] / white

    @staticmethod
    def _pictures(values: Any, name: str, device: torch.device) -> Tensor:
        made = torch.as_tensor(values).to(device, torch.float32)
        if made.ndim != 4 or not made.numel():
            raise DataError(f"batch: expected '{name}' (B, C, H, W), got {tuple(made.shape)}")
        return made

    @staticmethod
    def _numbers(values: Any, shape: tuple[int, int], name: str, device: torch.device, default: Tensor) -> Tensor:
        made = default.expand(shape) if values is None else torch.as_tensor(values)
        if tuple(made.shape) != shape:
            raise DataError(f"batch: expected '{name}' {shape}, got {tuple(made.shape)}")
        return made.to(device, torch.float32)


class PreparedBatches:
    """The batches of a loader as the task takes them, pass after pass.

    Args:
        task: takes them.
        loader: gives them as the Python interface has them.
        device: where to put them.
    """

    def __init__(self, task: PairedTask, loader: Loader, device: torch.device) -> None:
        self.task, self.loader, self.device = task, loader, device

    def __iter__(self) -> Iterator[Batch]:
        for batch in self.loader:
            if not isinstance(batch, Mapping):
                raise DataError(f"batch: expected a mapping with noisy_images and clean_images, got a {type(batch).__name__}")
            yield self.task.prepared(batch, self.device)


def matching_gain(anchor: Tensor, other: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return factors ``(B, 1, 1, 1)``: mean(anchor) / mean(other) of each picture, over values that count and that are not clipped.

    A picture that tells nothing about its exposure (black, clipped or masked all over) keeps its own: the factor is 1.

    Args:
        anchor: ``(B, C, H, W)``, white 1.
        other: the same shape.
        mask: what counts, broadcast.

    >>> matching_gain(torch.tensor([[[[0.2, 0.4, 1.0]]]]), torch.tensor([[[[0.1, 0.2, 0.3]]]])).flatten().tolist()
    [2.0]
    """
    counts = anchor.detach() < _CLIPPED
    if mask is not None:
        counts = counts & (mask.expand_as(anchor) > 0)
    number = counts.sum(dim=(1, 2, 3), keepdim=True).clamp_min(1)
    first, second = (torch.where(counts, values, 0.0).sum(dim=(1, 2, 3), keepdim=True) / number for values in (anchor, other))
    usable = (first > 0) & (second > 0)
    return torch.where(usable, first, 1.0) / torch.where(usable, second, 1.0)

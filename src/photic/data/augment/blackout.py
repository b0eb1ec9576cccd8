"""Defect blackout: the same surface without its defects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch

from photic.core.errors import DataError
from photic.core.registry import augmentations
from photic.core.schema import Range
from photic.data.augment.base import Augmentation, AugmentationConfig, Partner, Sample, Stage

_TRIES = 24  # shifts from which texture is taken


@augmentations.register("defect_blackout")
@dataclass(frozen=True, kw_only=True)
class DefectBlackoutConfig(AugmentationConfig):
    """Paint masked defects over with the surface around them and clear their labels.

    Teaches what a defect is by showing the same strip without it. The paint is the local brightness of the sound
    surface plus texture copied from sound places nearby; black patches would be a defect of their own. Needs masks.
    Classes that are labelled without mask pixels keep their label, and a picture that is mostly mask stays as it is.
    """

    probability: Annotated[float, Range(ge=0, le=1)] = 0.1
    """Share of samples that are changed."""
    margin_px: Annotated[int, Range(ge=0, le=64)] = 4
    """How far beyond the mask is painted, in pixels; outlines drawn by hand are narrow."""
    window_px: Annotated[int, Range(ge=3, le=513)] = 65
    """Side of the window over which the local brightness is averaged, in pixels."""
    max_share: Annotated[float, Range(gt=0, lt=1)] = 0.5
    """Share of masked pixels above which a picture is left alone: too little sound surface to paint from."""

    def build(self) -> Augmentation:
        """Return the augmentation."""
        return DefectBlackout(self)


class DefectBlackout(Augmentation):
    """See :class:`DefectBlackoutConfig`."""

    stage = Stage.CONTENT
    needs_mask = True
    uses_mask = True

    def __init__(self, config: DefectBlackoutConfig) -> None:
        super().__init__(config.probability)
        self.margin_px, self.window_px, self.max_share = config.margin_px, config.window_px, config.max_share

    def apply(self, sample: Sample, rng: np.random.Generator, partner: Partner) -> Sample:
        """Return the sample without its masked defects."""
        if "mask" not in sample:
            raise DataError(
                f"defect_blackout: sample {sample.get('index')} has no mask; it needs a data set with masks (run-lengths or boxes)."
                " Switch it off: data.augment.defect_blackout=null"
            )
        mask = sample["mask"]
        present = mask.flatten(1).any(dim=1)
        painted = _grown(mask.any(dim=0).numpy(), self.margin_px)
        if not painted.any() or painted.mean() > self.max_share:
            return dict(sample)
        picture = _painted(sample["measurement"].numpy(), painted, self.window_px // 2, rng)
        return {
            **sample,
            "measurement": torch.from_numpy(picture),
            "mask": torch.zeros_like(mask),
            "target": torch.where(present, torch.zeros_like(sample["target"]), sample["target"]),
        }


def _painted(picture: np.ndarray, painted: np.ndarray, radius: int, rng: np.random.Generator) -> np.ndarray:
    """Return the picture ``(3, H, W)`` with the pixels ``painted`` ``(H, W)`` replaced by plausible surface."""
    sound = ~painted
    near = _window_sum(sound[None].astype(np.float64), radius)
    overall = picture[:, sound].mean(axis=1, dtype=np.float64)[:, None, None]
    local = _window_sum(np.where(sound, picture, 0).astype(np.float64), radius) / np.maximum(near, 1)
    # Where few sound pixels are in reach, the brightness passes over into that of the whole picture.
    trust = np.minimum(near / (0.1 * (2 * radius + 1) ** 2), 1)
    base = trust * local + (1 - trust) * overall
    texture = picture - base
    rows, columns = np.nonzero(painted)
    result = picture.copy()
    paint = base[:, rows, columns]
    waiting = np.ones(len(rows), dtype=bool)
    height, width = painted.shape
    for _ in range(_TRIES):
        reach = 2 * radius + 1
        from_rows = _reflected(rows + int(rng.integers(-reach, reach + 1)), height)
        from_columns = _reflected(columns + int(rng.integers(-reach, reach + 1)), width)
        usable = waiting & sound[from_rows, from_columns]
        paint[:, usable] += texture[:, from_rows[usable], from_columns[usable]]
        waiting &= ~usable
        if not waiting.any():
            break
    if waiting.any():  # the inside of a very large defect: texture from anywhere sound
        sound_rows, sound_columns = np.nonzero(sound)
        chosen = rng.integers(len(sound_rows), size=int(waiting.sum()))
        paint[:, waiting] += texture[:, sound_rows[chosen], sound_columns[chosen]]
    result[:, rows, columns] = np.clip(paint, 0, 1)
    return result


def _reflected(index: np.ndarray, size: int) -> np.ndarray:
    index = np.abs(index) % (2 * size)
    return np.asarray(np.minimum(index, 2 * size - 1 - index))


def _grown(mask: np.ndarray, margin: int) -> np.ndarray:
    """Return the mask ``(H, W)`` with every pixel within a square of ``margin`` added."""
    return np.asarray(_window_sum(mask[None].astype(np.float64), margin)[0] > 0.5)


def _window_sum(planes: np.ndarray, radius: int) -> np.ndarray:
    """Return sums over windows of ``2 radius + 1`` pixels a side, cut at the borders; planes ``(P, H, W)``."""
    for axis in (1, 2):
        size = planes.shape[axis]
        sums = np.concatenate([np.zeros_like(planes.take([0], axis)), np.cumsum(planes, axis=axis)], axis=axis)
        place = np.arange(size)
        planes = sums.take(np.minimum(place + radius + 1, size), axis) - sums.take(np.maximum(place - radius, 0), axis)
    return planes

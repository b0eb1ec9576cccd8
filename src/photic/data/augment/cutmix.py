"""CutMix: a box of another picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from photic.core.errors import DataError
from photic.core.registry import augmentations
from photic.core.schema import Range
from photic.data.augment.base import Augmentation, AugmentationConfig, Partner, Sample, Stage


@augmentations.register("cutmix")
@dataclass(frozen=True, kw_only=True)
class CutMixConfig(AugmentationConfig):
    """Paste a box of another sample at the same place.

    Labels, class by class and source by source: where mask pixels of the class exist, the label stays exactly if one
    of them is still visible, however large the box. Without mask pixels nobody knows where the defect is, and the
    label counts by the share of the area that is left of its picture, as in the paper; targets are then between 0
    and 1. Both sources add up, to 1 at most.

    Source: Yun et al. 2019, "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features".
    """

    alpha: Annotated[float, Range(gt=0)] = 1.0
    """Both parameters of the Beta distribution of the share that stays; 1 is uniform (paper, section 3.1)."""

    def build(self) -> Augmentation:
        """Return the augmentation."""
        return CutMix(self)


class CutMix(Augmentation):
    """See :class:`CutMixConfig`."""

    stage = Stage.CONTENT
    uses_mask = True

    def __init__(self, config: CutMixConfig) -> None:
        super().__init__(config.probability)
        self.alpha = config.alpha

    def apply(self, sample: Sample, rng: np.random.Generator, partner: Partner) -> Sample:
        """Return the sample with a box of its partner in it."""
        other = partner()
        picture, pasted = sample["measurement"], other["measurement"]
        if picture.shape != pasted.shape:
            raise DataError(
                f"cutmix: pictures of one size are needed, got {tuple(picture.shape)} (index {sample.get('index')}) and"
                f" {tuple(pasted.shape)} (index {other.get('index')}); bring the data set to one size or switch cutmix off"
            )
        inside = torch.zeros(picture.shape[-2:], dtype=torch.bool)
        rows, columns = self._box(picture.shape[-2], picture.shape[-1], rng)
        inside[rows, columns] = True
        share = (rows.stop - rows.start) * (columns.stop - columns.start) / inside.numel()
        changed = {**sample, "measurement": torch.where(inside, pasted, picture)}
        own, others = sample.get("mask"), other.get("mask")
        kept = _kept(sample["target"], own, ~inside, 1 - share)
        gained = _kept(other["target"], others, inside, share)
        changed["target"] = (kept + gained).clamp(max=1)
        if own is not None and others is not None:
            changed["mask"] = torch.where(inside, others, own)
        elif own is not None:
            raise DataError(
                f"cutmix: sample {sample.get('index')} has a mask, sample {other.get('index')} has none; give all of them or none"
            )
        return changed

    def _box(self, height: int, width: int, rng: np.random.Generator) -> tuple[slice, slice]:
        side = float(np.sqrt(1 - rng.beta(self.alpha, self.alpha)))
        slices = []
        for size in (height, width):
            half, centre = side * size / 2, rng.uniform(0, size)
            slices.append(slice(max(0, round(centre - half)), min(size, round(centre + half))))
        return slices[0], slices[1]


def _kept(target: Tensor, mask: Tensor | None, visible: Tensor, share: float) -> Tensor:
    """Return what is left of a source's labels when only its ``visible`` pixels (a share of all) remain."""
    by_area = target * share
    if mask is None:
        return by_area
    seen = (mask & visible).flatten(1).any(dim=1)
    return torch.where(mask.flatten(1).any(dim=1), target * seen, by_area)

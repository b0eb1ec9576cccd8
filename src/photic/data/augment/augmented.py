"""A sample set with augmentations on top."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from photic.core.seeding import numpy_generator
from photic.data.augment.base import Augmentation, AugmentationConfig
from photic.data.base import SampleSet


def build_augmentations(configs: Mapping[str, AugmentationConfig | None]) -> dict[str, Augmentation]:
    """Return the augmentations that are switched on; ``None`` is off.

    >>> from photic.data.augment.flips import HorizontalFlipConfig
    >>> list(build_augmentations({"horizontal_flip": HorizontalFlipConfig(), "rotation": None}))
    ['horizontal_flip']
    """
    return {key: config.build() for key, config in configs.items() if config is not None}


class Augmented:
    """Samples of a set, randomly changed. For training only: evaluation refuses it.

    The order does not depend on how the augmentations were written down: by stage (geometry, then content such as
    CutMix, then appearance), within a stage by key. Coin and numbers of each come from (seed, ``augment/<key>``,
    draw, position), so switching one on or off never changes another's. The mask has done its work afterwards and
    is dropped, unless ``keep_mask``.

    Args:
        samples: the plain set.
        augmentations: by key, as from :func:`build_augmentations`.
        seed: of the run.
        keep_mask: leave ``mask`` in the samples.
    """

    def __init__(self, samples: SampleSet, augmentations: Mapping[str, Augmentation], seed: int, *, keep_mask: bool = False) -> None:
        self.samples = samples
        self.augmentations = dict(sorted(augmentations.items(), key=lambda item: (item[1].stage, item[0])))
        self.seed = seed
        self.keep_mask = keep_mask

    def __len__(self) -> int:
        return len(self.samples)

    def sample(self, position: int, draw: int) -> dict[str, Any]:
        """Return sample ``position`` changed with the random numbers of ``draw``.

        Raises:
            DataError: an augmentation lacks what it needs, or the sample cannot be read.
        """
        sample = dict(self.samples.sample(position, draw))
        for key, augmentation in self.augmentations.items():
            rng = numpy_generator(self.seed, f"augment/{key}", draw, position)
            if rng.random() < augmentation.probability:
                sample = augmentation.apply(sample, rng, lambda rng=rng: self._partner(rng, draw))  # type: ignore[misc]
        if not self.keep_mask:
            sample.pop("mask", None)
        return sample

    def _partner(self, rng: np.random.Generator, draw: int) -> dict[str, Any]:
        return dict(self.samples.sample(int(rng.integers(len(self.samples))), draw))

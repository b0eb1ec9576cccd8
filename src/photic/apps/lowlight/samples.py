"""Pairs as samples: whole pictures for validation, crops for training, decoded once as long as memory allows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from photic.apps.lowlight.pairing import Pair
from photic.core.errors import DataError
from photic.core.seeding import numpy_generator
from photic.data.augment import Augmented
from photic.data.augment.paired import View, random_view
from photic.data.photo.depth import Pixels, overview_of, to_tensor
from photic.data.photo.files import read_photo
from photic.functional.colour import luma

_DARKEST = 0.02
"""Mean level that a true picture has at least, when it is brought to another one."""


class PairSource(Protocol):
    """Gives the pictures of a row."""

    def pictures(self, row: int) -> tuple[Pixels, Pixels | None]:
        """Return the dark and, where it is known, the true picture, of one size."""
        ...

    def overview(self, row: int) -> NDArray[np.float32]:
        """Return the overview of the whole dark picture, ``(s, s, 3)`` in [0, 1]."""
        ...

    def target_level(self, row: int) -> float:
        """Return the mean level of the true picture, in [0, 1].

        Raises:
            DataError: there is none.
        """
        ...


class DrawnPairs:
    """Pictures that are in memory anyway.

    Args:
        pairs: dark and true picture of each row.
    """

    def __init__(self, pairs: Sequence[tuple[Pixels, Pixels | None]]) -> None:
        self._pairs = pairs
        self._overviews: dict[int, NDArray[np.float32]] = {}
        self._levels: dict[int, float] = {}

    def pictures(self, row: int) -> tuple[Pixels, Pixels | None]:
        """Return the pictures of a row."""
        return self._pairs[row]

    def target_level(self, row: int) -> float:
        """Return the mean level of the true picture of a row."""
        if row not in self._levels:
            self._levels[row] = level_of(self._pairs[row][1], str(row))
        return self._levels[row]

    def overview(self, row: int) -> NDArray[np.float32]:
        """Return the overview of a row."""
        if row not in self._overviews:
            self._overviews[row] = _overview(self._pairs[row][0])
        return self._overviews[row]


class PairFiles:
    """Pictures from files; decoded ones are kept until a budget is used up, overviews always (49 kB each).

    Every loader process keeps its own.

    Args:
        pairs: files of each row.
        cache_mb: megabytes of pixels to keep; 0 decodes every time.
    """

    def __init__(self, pairs: Sequence[Pair], cache_mb: float) -> None:
        self._pairs = pairs
        self._left_bytes = cache_mb * 2**20
        self._kept: dict[int, tuple[Pixels, Pixels | None]] = {}
        self._overviews: dict[int, NDArray[np.float32]] = {}
        self._levels: dict[int, float] = {}

    def target_level(self, row: int) -> float:
        """Return the mean level of the true picture of a row."""
        if row not in self._levels:
            self._levels[row] = level_of(self.pictures(row)[1], self._pairs[row].name)
        return self._levels[row]

    def pictures(self, row: int) -> tuple[Pixels, Pixels | None]:
        """Return the pictures of a row.

        Raises:
            DataError: one cannot be read, or the two differ in size.
        """
        if row in self._kept:
            return self._kept[row]
        pair = self._pairs[row]
        low = read_photo(pair.low).pixels
        high = None if pair.high is None else read_photo(pair.high).pixels
        if high is not None and high.shape != low.shape:
            raise DataError(different_sizes(pair, low.shape[:2], high.shape[:2]))
        size = low.nbytes + (0 if high is None else high.nbytes)
        if size <= self._left_bytes:
            self._left_bytes -= size
            self._kept[row] = (low, high)
        return low, high

    def overview(self, row: int) -> NDArray[np.float32]:
        """Return the overview of a row."""
        if row not in self._overviews:
            self._overviews[row] = _overview(self.pictures(row)[0])
        return self._overviews[row]


class WholePairs:
    """Some rows as samples: whole pictures at their own size, never changed.

    Args:
        source: gives the pictures of a row.
        rows: which rows, in order.
        names: of each of them.
    """

    def __init__(self, source: PairSource, rows: NDArray[np.int64], names: Sequence[str]) -> None:
        self.source, self.rows, self.names = source, rows, names

    def __len__(self) -> int:
        return len(self.rows)

    def sample(self, position: int, draw: int = 0) -> dict[str, Any]:
        """Return ``measurement`` and ``target`` ``(3, H, W)``, ``has_target``, ``overview`` ``(3, s, s)``, ``index``, ``name``.

        ``draw`` makes no difference: nothing here is random.

        Raises:
            DataError: a picture cannot be read.
        """
        low, high = self.source.pictures(int(self.rows[position]))
        return self.view(position, View(0, 0, *low.shape[:2]), low, high)

    def view(self, position: int, view: View, low: Pixels, high: Pixels | None, small: NDArray[np.float32] | None = None) -> dict[str, Any]:
        """Return a sample of one view of the pictures; the overview is that of the whole one or ``small``, mirrored and turned alike."""
        row = int(self.rows[position])
        measurement = to_tensor(view.of(low))
        return {
            "measurement": measurement,
            "target": torch.zeros_like(measurement) if high is None else to_tensor(view.of(high)),
            "has_target": torch.tensor(high is not None),
            "overview": to_tensor(view.turned(self.source.overview(row) if small is None else small)),
            "index": row,
            "name": self.names[position],
        }


class PairCrops(Augmented):
    """Training crops of whole pairs, mirrored and turned, dark and true picture alike.

    Place and way to lie come from (seed, ``lowlight.crop``, draw, position) alone; which part the overview is of and what
    turns grey, from addresses of their own.

    Args:
        samples: the whole pairs.
        seed: of the run.
        crop_px: side of the squares; None takes whole pictures.
        crops_per_picture: how often a picture comes in an epoch.
        flips: mirror half of them.
        rotations: turn them by quarters.
        overview_share: smallest share of the height and of the width that the overview shows; below 1 it is of a random part.
        grey_share: share of crops of which both pictures lose their colours.
        target_level: mean level in [0, 1] that every true picture is brought to; None leaves their exposures as they are.
    """

    samples: WholePairs

    def __init__(
        self,
        samples: WholePairs,
        seed: int,
        *,
        crop_px: int | None,
        crops_per_picture: int = 1,
        flips: bool = True,
        rotations: bool = True,
        overview_share: float = 1.0,
        grey_share: float = 0.0,
        target_level: float | None = None,
    ) -> None:
        super().__init__(samples, {}, seed)
        self.overview_share, self.grey_share, self.target_level = overview_share, grey_share, target_level
        self.crop_px, self.crops_per_picture, self.flips, self.rotations = crop_px, crops_per_picture, flips, rotations

    def __len__(self) -> int:
        return len(self.samples) * self.crops_per_picture

    def sample(self, position: int, draw: int) -> dict[str, Any]:
        """Return a crop of picture ``position`` (modulo their number), placed by ``draw``.

        Raises:
            DataError: a picture cannot be read or is smaller than the crop.
        """
        place = position % len(self.samples)
        low, high = self.samples.source.pictures(int(self.samples.rows[place]))
        rng = numpy_generator(self.seed, "lowlight.crop", draw, position)
        view = random_view(rng, (low.shape[0], low.shape[1]), self.crop_px, flips=self.flips, rotations=self.rotations)
        sample = self.samples.view(place, view, low, high, self._part(low, draw, position))
        if self.target_level is not None and high is not None:
            factor = self.target_level / max(self.samples.source.target_level(int(self.samples.rows[place])), _DARKEST)
            sample["target"] = (sample["target"] * factor).clamp(max=1)
        return self._greyed(sample, draw, position)

    def _part(self, low: Pixels, draw: int, position: int) -> NDArray[np.float32] | None:
        """Return the overview of a random part of a dark picture; None where it shall be of the whole."""
        if self.overview_share == 1:
            return None
        rng = numpy_generator(self.seed, "lowlight.overview", draw, position)
        spans = []
        for side in low.shape[:2]:
            length = max(1, round(side * rng.uniform(self.overview_share, 1)))
            start = int(rng.integers(side - length + 1))
            spans.append(slice(start, start + length))
        return _overview(low[spans[0], spans[1]])

    def _greyed(self, sample: dict[str, Any], draw: int, position: int) -> dict[str, Any]:
        """Return a sample without colours, if the coin falls so: what is grey has to stay grey."""
        if not self.grey_share or numpy_generator(self.seed, "lowlight.grey", draw, position).random() >= self.grey_share:
            return sample
        return sample | {name: luma(sample[name][None])[0].repeat(3, 1, 1) for name in ("measurement", "target", "overview")}


def level_of(pixels: Pixels | None, name: str) -> float:
    """Return the mean of all pixels and channels, in [0, 1].

    Raises:
        DataError: there is no picture.
    """
    if pixels is None:
        raise DataError(f"pair '{name}': has no true picture, so its level is not known")
    mean = float(pixels.mean(dtype=np.float64))
    return mean if pixels.dtype == np.float32 else mean / float(np.iinfo(pixels.dtype).max)


def _overview(pixels: Pixels) -> NDArray[np.float32]:
    """Return the overview of a picture as pixels ``(s, s, 3)``, to be mirrored and turned like them."""
    made: NDArray[np.float32] = overview_of(pixels).numpy().transpose(1, 2, 0)
    return made


def different_sizes(pair: Pair, low: tuple[int, ...], high: tuple[int, ...]) -> str:
    """Return the message about a pair whose pictures differ in size (height, width)."""
    return (
        f"pair '{pair.name}': {pair.low} is {low[1]} x {low[0]} pixels, {pair.high} is {high[1]} x {high[0]}; "
        "a pair needs one size: crop or scale one to the other, and check that they still lie on each other"
    )

"""Tone curves fitted to pairs of dark and well exposed pictures, and the histogram that well exposed pictures have on average."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from photic.core.errors import DataError
from photic.core.files import write_json

Picture = NDArray[np.float32]
"""``(H, W, 3)`` in [0, 1]."""

NUM_LEVELS = 256
_FORMAT = "photic tone curve"
_HISTOGRAM_FORMAT = "photic histogram"


@dataclass(frozen=True, eq=False)
class ToneCurve:
    """A rising curve from input level to output level, one for all channels or one for each.

    >>> curve = ToneCurve(np.linspace(0, 1, 256)[None] ** 0.5)
    >>> curve(np.full((1, 1, 3), 0.25, np.float32)).round(3).tolist()
    [[[0.5, 0.5, 0.5]]]
    """

    levels: NDArray[np.float64]
    """Output at the input levels 0/255, 1/255, ..., 255/255: ``(1, 256)`` for all channels, or ``(3, 256)`` for each."""
    num_pairs: int = 0
    """Pairs it was fitted to."""

    name = "fitted tone curve"

    def __post_init__(self) -> None:
        levels = np.asarray(self.levels, dtype=np.float64)
        if levels.shape not in ((1, NUM_LEVELS), (3, NUM_LEVELS)):
            raise DataError(f"tone curve: expected levels (1, {NUM_LEVELS}) or (3, {NUM_LEVELS}), got {levels.shape}")
        if not np.isfinite(levels).all() or (np.diff(levels, axis=1) < 0).any() or levels.min() < 0 or levels.max() > 1:
            raise DataError("tone curve: expected levels in [0, 1] that never fall; fit the curve again")
        object.__setattr__(self, "levels", levels)

    def __call__(self, image: Picture) -> Picture:
        """Return the picture ``(H, W, 3)`` in [0, 1] through the curve; between two levels it is interpolated."""
        checked_picture(image)
        places = np.linspace(0, 1, NUM_LEVELS)
        channels = [np.interp(image[..., channel], places, self.levels[min(channel, len(self.levels) - 1)]) for channel in range(3)]
        return np.stack(channels, axis=-1).astype(np.float32)

    @classmethod
    def fit(cls, pairs: Iterable[tuple[Picture, Picture]], *, per_channel: bool = False) -> ToneCurve:
        """Return the rising curve with the least squared error over all pixels of all pairs.

        The best output for an input level is the mean of what stands at that level's pixels in the targets; of all rising curves,
        the one nearest to these means (weighted by pixels) is their isotonic regression. Levels that occur nowhere are interpolated;
        above the brightest level that occurs, the curve goes straight to white.

        Args:
            pairs: dark and true picture, each ``(H, W, 3)`` in [0, 1], one pair at a time in memory.
            per_channel: a curve for each channel; by default all channels share one, which keeps grey grey.

        Raises:
            DataError: no pairs, or a pair's sizes differ.
        """
        sums, counts, num_pairs = np.zeros((3, NUM_LEVELS)), np.zeros((3, NUM_LEVELS)), 0
        for dark, true in pairs:
            if dark.shape != true.shape or dark.ndim != 3 or dark.shape[2] != 3:
                raise DataError(f"tone curve: expected pairs of one size (H, W, 3), got {dark.shape} and {true.shape}")
            rows = np.rint(np.clip(dark, 0, 1) * (NUM_LEVELS - 1)).astype(np.int64)
            for channel in range(3):
                row = rows[..., channel].ravel()
                counts[channel] += np.bincount(row, minlength=NUM_LEVELS)
                sums[channel] += np.bincount(row, weights=true[..., channel].ravel().astype(np.float64), minlength=NUM_LEVELS)
            num_pairs += 1
        if not num_pairs:
            raise DataError("tone curve: no pairs to fit it to; give a training split with targets")
        if not per_channel:
            sums, counts = sums.sum(axis=0, keepdims=True), counts.sum(axis=0, keepdims=True)
        return cls(np.stack([_rising(one, count) for one, count in zip(sums, counts, strict=True)]), num_pairs)

    def save(self, path: Path | str) -> Path:
        """Write the curve as JSON, whole or not at all."""
        return write_json(path, {"format": _FORMAT, "num_pairs": self.num_pairs, "levels": self.levels.round(6).tolist()})

    @classmethod
    def load(cls, path: Path | str) -> ToneCurve:
        """Read a curve that :meth:`save` wrote.

        Raises:
            DataError: the file is missing or holds no tone curve.
        """
        content = _read(path, _FORMAT)
        return cls(_numbers(content, "levels", path), int(content.get("num_pairs", 0)))


@dataclass(frozen=True, eq=False)
class MeanHistogram:
    """How often well exposed pictures have each level, on average over pictures."""

    shares: NDArray[np.float64]
    """Share of the pixels at each of 256 levels, ``(3, 256)``; each row sums to one."""

    def __post_init__(self) -> None:
        shares = np.asarray(self.shares, dtype=np.float64)
        if shares.shape != (3, NUM_LEVELS) or not np.isfinite(shares).all() or shares.min() < 0 or not (shares.sum(axis=1) > 0).all():
            raise DataError(f"histogram: expected shares (3, {NUM_LEVELS}) of pixels, none below 0, got {shares.shape}")
        object.__setattr__(self, "shares", shares / shares.sum(axis=1, keepdims=True))

    @classmethod
    def of(cls, pictures: Iterable[Picture]) -> MeanHistogram:
        """Return the mean histogram of pictures ``(H, W, 3)`` in [0, 1], every picture counting the same.

        Raises:
            DataError: no pictures.
        """
        found = [_shares(picture) for picture in pictures]
        if not found:
            raise DataError("histogram: no pictures to take it from; give a training split with targets")
        return cls(np.mean(found, axis=0))

    def matched(self, image: Picture) -> Picture:
        """Return the picture ``(H, W, 3)`` in [0, 1] with each channel's levels moved, in their order, to have this histogram."""
        own = _shares(image)
        places, made = np.linspace(0, 1, NUM_LEVELS), []
        for channel in range(3):
            # A level holds a range of ranks; its middle decides, so that a level of many pixels does not run to the end of its range.
            ranks = np.cumsum(own[channel]) - own[channel] / 2
            reached = np.cumsum(self.shares[channel]) - self.shares[channel] / 2
            made.append(np.interp(image[..., channel], places, np.interp(ranks, reached, places)))
        return np.stack(made, axis=-1).astype(np.float32)

    def save(self, path: Path | str) -> Path:
        """Write the histogram as JSON, whole or not at all."""
        return write_json(path, {"format": _HISTOGRAM_FORMAT, "shares": self.shares.round(9).tolist()})

    @classmethod
    def load(cls, path: Path | str) -> MeanHistogram:
        """Read a histogram that :meth:`save` wrote.

        Raises:
            DataError: the file is missing or holds no histogram.
        """
        return cls(_numbers(_read(path, _HISTOGRAM_FORMAT), "shares", path))


def checked_picture(image: Picture) -> Picture:
    """Return a picture, or refuse what is none.

    Raises:
        DataError: another shape or type than ``(H, W, 3)`` float32.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.float32 or image.size == 0:
        raise DataError(f"picture: expected (H, W, 3) float32 in [0, 1], got {image.shape} {image.dtype}")
    return image


def _rising(sums: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rising curve of least squared error, ``(256,)``."""
    seen = np.flatnonzero(counts)
    means = isotonic_regression(sums[seen] / counts[seen], weights=counts[seen]).x
    places: Sequence[float] = seen.tolist()
    values: Sequence[float] = means.tolist()
    if places[-1] < NUM_LEVELS - 1:
        places, values = [*places, NUM_LEVELS - 1], [*values, 1.0]
    return np.clip(np.interp(np.arange(NUM_LEVELS), places, values), 0, 1)


def _shares(image: Picture) -> NDArray[np.float64]:
    rows = np.rint(np.clip(image, 0, 1) * (NUM_LEVELS - 1)).astype(np.int64).reshape(-1, 3)
    return np.stack([np.bincount(rows[:, channel], minlength=NUM_LEVELS) for channel in range(3)]) / len(rows)


def _read(path: Path | str, kind: str) -> dict[str, Any]:
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected a {kind}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({error}); expected a {kind}") from error
    if not isinstance(content, dict) or content.get("format") != kind:
        raise DataError(f"{path}: is no {kind}; fit it again")
    return content


def _numbers(content: dict[str, Any], key: str, path: Path | str) -> NDArray[np.float64]:
    try:
        return np.array(content[key], dtype=np.float64)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: '{key}' holds no table of numbers; fit it again") from error

"""Classical ways to brighten a picture: what a trained network has to beat.

Each takes a picture ``(H, W, 3)`` float32 in [0, 1], sRGB-encoded RGB, and returns one of the same form. None of them looks at the
true picture of what it is given; the two that learn (a tone curve, a histogram) learn from training pairs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from photic.apps.lowlight.tone_curve import MeanHistogram, Picture, ToneCurve, checked_picture
from photic.core.errors import ConfigError


class Baseline(Protocol):
    """A classical enhancer."""

    @property
    def name(self) -> str:
        """What it is called in tables."""
        ...

    def __call__(self, image: Picture) -> Picture:
        """Return the enhanced picture, ``(H, W, 3)`` in [0, 1]."""
        ...


@dataclass(frozen=True)
class Identity:
    """The dark picture itself."""

    name = "identity"

    def __call__(self, image: Picture) -> Picture:
        """Return the picture as it is."""
        return checked_picture(image)


@dataclass(frozen=True)
class Gamma:
    """Every level to a power.

    >>> Gamma(0.5)(np.full((1, 1, 3), 0.25, np.float32)).tolist()
    [[[0.5, 0.5, 0.5]]]
    """

    exponent: float = 1 / 3
    """Below 1 brightens."""

    name = "gamma"

    def __post_init__(self) -> None:
        if not 0 < self.exponent <= 10:
            raise ConfigError(f"gamma.exponent: expected a number above 0 and at most 10, got {self.exponent}")

    def __call__(self, image: Picture) -> Picture:
        """Return the picture to the power."""
        return cast(Picture, checked_picture(image) ** np.float32(self.exponent))


@dataclass(frozen=True)
class LogMap:
    """``log(1 + k x) / log(1 + k)``: steep in the dark, flat in the bright."""

    k: float = 200.0
    """How steep; fixed at what suits pictures ten times too dark (the best of 20, 50, 100, 200, 500 on LOL's training pairs)."""

    name = "log map"

    def __post_init__(self) -> None:
        if not 0 < self.k < float("inf"):
            raise ConfigError(f"log map.k: expected a number above 0, got {self.k}")

    def __call__(self, image: Picture) -> Picture:
        """Return the mapped picture."""
        mapped = np.log1p(np.float32(self.k) * checked_picture(image)) / np.float32(np.log1p(self.k))
        return cast(Picture, np.minimum(mapped, 1, dtype=np.float32))


@dataclass(frozen=True)
class Clahe:
    """Contrast-limited adaptive histogram equalisation of L in CIE L*a*b*.

    Source: Zuiderveld 1994, Contrast limited adaptive histogram equalization; the implementation of OpenCV, whose limit
    needs the few levels of 8 bits to mean anything.
    """

    clip_limit: float = 5.0
    """How many times its even share a level may have before it is cut (5 has the best SSIM of 2, 3, 5, 10, 20 and 40 on LOL)."""
    tiles: int = 8
    """Tiles along each side."""

    name = "CLAHE"

    def __post_init__(self) -> None:
        if not 0 < self.clip_limit < float("inf") or self.tiles < 1:
            raise ConfigError(f"CLAHE: expected clip_limit above 0 and at least one tile, got {self.clip_limit} and {self.tiles}")

    def __call__(self, image: Picture) -> Picture:
        """Return the picture with more local contrast."""
        lab = _to_lab(checked_picture(image))
        lightness = np.rint(np.clip(lab[..., 0], 0, 100) * (255 / 100)).astype(np.uint8)
        equalised = cv2.createCLAHE(self.clip_limit, (self.tiles, self.tiles)).apply(lightness)
        lab[..., 0] = equalised.astype(np.float32) * np.float32(100 / 255)
        return _from_lab(lab)


@dataclass(frozen=True)
class HistogramEqualisation:
    """Lightness (L in CIE L*a*b*) spread evenly over its whole range; colours a and b as they are."""

    name = "histogram equalisation"

    def __call__(self, image: Picture) -> Picture:
        """Return the picture with lightness spread evenly."""
        lab = _to_lab(checked_picture(image))
        levels = np.rint(np.clip(lab[..., 0], 0, 100) * (65535 / 100)).astype(np.int64)
        ranks = np.cumsum(np.bincount(levels.ravel(), minlength=65536))
        first = ranks[levels.min()]  # the darkest level stays black, as in the textbook's form
        if first == ranks[-1]:
            return image  # one level only: there is nothing to spread
        lab[..., 0] = (100 * (ranks[levels] - first) / (ranks[-1] - first)).astype(np.float32)
        return _from_lab(lab)


@dataclass(frozen=True, eq=False)
class HistogramMatchDenoised:
    """Levels moved to the mean histogram of well exposed pictures, then non-local means.

    Source: Buades, Coll and Morel 2011, Non-local means denoising; the implementation of OpenCV (8 bits, lightness and colour apart).
    """

    target: MeanHistogram
    """Mean histogram of the true pictures of a training split."""
    strength: float = 10.0
    """Filter strength for lightness, in levels of 255 (10 has the best SSIM of 3, 7, 10, 15 and 20 on LOL)."""
    colour_strength: float = 10.0
    """Filter strength for colour, in levels of 255."""

    name = "histogram match + NLM"

    def __call__(self, image: Picture) -> Picture:
        """Return the matched picture, denoised; it has 8 bits."""
        matched = np.rint(255 * np.clip(self.target.matched(checked_picture(image)), 0, 1)).astype(np.uint8)
        # OpenCV takes BGR here; it converts to L*a*b* inside.
        clean = cv2.fastNlMeansDenoisingColored(matched[..., ::-1].copy(), None, self.strength, self.colour_strength, 7, 21)
        return np.ascontiguousarray(clean[..., ::-1]).astype(np.float32) / np.float32(255)


def untrained() -> list[Baseline]:
    """Return the enhancers that need no training pairs, identity first."""
    return [Identity(), Gamma(), Clahe(), HistogramEqualisation(), LogMap()]


def fitted(pairs: Iterable[tuple[Picture, Picture]]) -> list[Baseline]:
    """Return the enhancers that learn from training pairs: a tone curve, and a histogram with noise removed.

    Args:
        pairs: dark and true picture of the training split, read one at a time.

    Raises:
        DataError: no pairs.
    """
    histograms: list[NDArray[np.float64]] = []

    def seen() -> Iterable[tuple[Picture, Picture]]:
        for dark, true in pairs:
            histograms.append(MeanHistogram.of([true]).shares)
            yield dark, true

    curve = ToneCurve.fit(seen())
    return [curve, HistogramMatchDenoised(MeanHistogram(np.mean(histograms, axis=0)))]


def _to_lab(image: Picture) -> Picture:
    return cast(Picture, cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2Lab))


def _from_lab(lab: Picture) -> Picture:
    return cast(Picture, np.clip(cv2.cvtColor(lab, cv2.COLOR_Lab2RGB), 0, 1).astype(np.float32))

"""Fourier ring correlation: up to which spatial frequency two pictures of the same thing agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.fft import fft2, fftfreq
from scipy.signal import windows

from photic.core.errors import ConfigError, DataError

Window = Literal["hann", "tukey"]
THRESHOLDS = (0.5, 1 / 7)
"""The usual ones: fixed one half, and one seventh for two halves of the data (Rosenthal and Henderson 2003)."""
_ROUNDING = 1e-28
"""Share of a picture's power that rounding alone may leave in a ring."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RingCorrelation:
    """Correlation of two pictures, ring by ring of spatial frequency."""

    frequency: NDArray[np.float64]
    """``(R,)`` mean frequency of each ring in cycles per pixel, up to 0.5; the mean of the picture (frequency 0) is no ring."""
    correlation: NDArray[np.float64]
    """``(R,)`` in [-1, 1]; NaN where one of the pictures has nothing in the ring."""
    num_samples: NDArray[np.int64]
    """``(R,)`` Fourier samples in each ring."""

    def crossing(self, threshold: float = 0.5) -> float | None:
        """Return the frequency in cycles per pixel at which the correlation first falls below a threshold.

        It is interpolated linearly between rings.

        Returns:
            None where there is no such frequency: the correlation never falls below the threshold, lies below it
            from the first ring on, or is undefined before it gets there.

        Raises:
            ConfigError: the threshold is not between 0 and 1.

        >>> values = np.array([1, 0.9, 0.1])
        >>> curve = RingCorrelation(frequency=np.array([0.1, 0.2, 0.3]), correlation=values, num_samples=np.array([1, 6, 12]))
        >>> round(curve.crossing(0.5), 6)
        0.25
        """
        if not 0 < threshold < 1:
            raise ConfigError(f"threshold: expected a value between 0 and 1, got {threshold!r}")
        values = self.correlation
        for ring in range(len(values)):
            if not np.isfinite(values[ring]):
                return None
            if values[ring] < threshold:
                if ring == 0:
                    return None
                share = (values[ring - 1] - threshold) / (values[ring - 1] - values[ring])
                return float(self.frequency[ring - 1] + share * (self.frequency[ring] - self.frequency[ring - 1]))
        return None

    def resolution_px(self, threshold: float = 0.5) -> float | None:
        """Return the full period in pixels at the crossing (2 is the finest a grid can show), or None; see :meth:`crossing`."""
        crossing = self.crossing(threshold)
        return None if crossing is None else 1.0 / crossing

    def resolution_m(self, pixel_size_m: float, threshold: float = 0.5) -> float | None:
        """Return the full period in metres at the crossing, or None; see :meth:`crossing`."""
        period = self.resolution_px(threshold)
        return None if period is None else period * pixel_size_m


def fourier_ring_correlation(
    first: ArrayLike, second: ArrayLike, *, window: Window | None = "hann", tukey_share: float = 0.25
) -> RingCorrelation:
    """Return the Fourier ring correlation of two aligned pictures.

    ``sum(F1 conj F2) / sqrt(sum |F1|^2 sum |F2|^2)`` over the samples of a ring, of which the real part is taken: pictures that agree up
    to a constant phase must be aligned first (:func:`photic.functional.registration.align`). The rings are as wide as the spacing of
    frequencies along the shorter side, so those of a rectangle are circles, too. The mean under the window is taken off before, so
    it does not leak into the first rings.

    Source: Saxton and Baumeister 1982, The correlation averaging of a regularly arranged bacterial cell envelope protein;
    van Heel and Schatz 2005, Fourier shell correlation threshold criteria.

    Args:
        first: ``(H, W)`` real or complex.
        second: the same shape.
        window: what fades out the borders, whose jumps would correlate: ``hann``, ``tukey``, or None for periodic pictures.
        tukey_share: share of each side that a Tukey window fades.

    Raises:
        ConfigError: no such window, or a share outside [0, 1].
        DataError: shapes differ, a side below 4 pixels, or values that are not finite.

    >>> picture = np.random.default_rng(0).random((32, 32))
    >>> curve = fourier_ring_correlation(picture, picture)
    >>> round(float(curve.correlation.min()), 6), curve.crossing(0.5)
    (1.0, None)
    """
    pictures = [np.asarray(first), np.asarray(second)]
    pictures = [picture.astype(np.complex128 if np.iscomplexobj(picture) else np.float64) for picture in pictures]
    if pictures[0].shape != pictures[1].shape or pictures[0].ndim != 2 or min(pictures[0].shape) < 4:
        found = f"{pictures[0].shape} and {pictures[1].shape}"
        raise DataError(f"ring correlation: expected two pictures (H, W) of one shape of at least 4 x 4 pixels, got {found}")
    if not all(np.isfinite(picture).all() for picture in pictures):
        raise DataError("ring correlation: expected finite values")
    height, width = pictures[0].shape
    faded = np.outer(*(_window(window, side, tukey_share) for side in (height, width)))
    spectra = [fft2((picture - np.average(picture, weights=faded)) * faded) for picture in pictures]
    radius = np.hypot(fftfreq(height)[:, None], fftfreq(width)[None, :])
    side = min(height, width)
    ring = np.rint(radius * side).astype(np.int64).ravel()
    num_rings = side // 2

    def per_ring(values: NDArray[np.floating]) -> NDArray[np.float64]:
        summed = np.bincount(ring, weights=values.ravel(), minlength=num_rings + 1)
        return np.asarray(summed[1 : num_rings + 1], dtype=np.float64)

    num = per_ring(np.ones_like(radius))
    together = per_ring((spectra[0] * np.conj(spectra[1])).real)
    powers = [per_ring(np.square(np.abs(spectrum))) for spectrum in spectra]
    known = np.logical_and(*(power > _ROUNDING * power.sum() for power in powers))
    correlation = np.divide(together, np.sqrt(powers[0] * powers[1]), out=np.full(num_rings, np.nan), where=known)
    return RingCorrelation(
        frequency=np.minimum(per_ring(radius) / num, 0.5), correlation=np.clip(correlation, -1.0, 1.0), num_samples=num.astype(np.int64)
    )


def _window(name: Window | None, length: int, share: float) -> NDArray[np.float64]:
    if not 0 <= share <= 1:
        raise ConfigError(f"tukey_share: expected a value from 0 to 1, got {share!r}")
    if name is None:
        return np.ones(length)
    if name not in ("hann", "tukey"):
        raise ConfigError(f"window: expected 'hann', 'tukey' or None, got {name!r}")
    # Sampled in the middle of the pixels, so no row is faded to exactly nothing.
    made: NDArray[np.float64] = windows.hann(length + 2)[1:-1] if name == "hann" else windows.tukey(length + 2, share)[1:-1]
    return made

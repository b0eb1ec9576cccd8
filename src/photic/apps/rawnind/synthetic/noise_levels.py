"""How noisy a camera is at an ISO value, where nobody measured that camera."""

from __future__ import annotations

import math

import numpy as np

from photic.physics.sensor_noise import SensorNoise

SHOT_AT_ISO_100 = 3e-5
"""Variance per signal at ISO 100: about 33,000 electrons make white, as in full-frame cameras of the last twenty years."""
_READ = (1.9, -0.6)
"""Slope and offset of the logarithm of the variance at black over the logarithm of the variance per signal."""
_READ_SPREAD = 0.5


def shot_at(iso: float) -> float:
    """Return the variance per signal at an ISO value; it grows in proportion, since fewer photons make white.

    >>> round(shot_at(6400), 5)
    0.00192
    """
    return SHOT_AT_ISO_100 * iso / 100


def iso_of(shot: float) -> float:
    """Return the ISO value at which a camera has about this variance per signal."""
    return 100 * shot / SHOT_AT_ISO_100


def noise_at(iso: float) -> SensorNoise:
    """Return the noise of a typical camera.

    >>> noise = noise_at(6400)
    >>> round(noise.read**0.5, 4)
    0.0019
    """
    shot = shot_at(iso)
    return SensorNoise(shot=shot, read=math.exp(_READ[0] * math.log(shot) + _READ[1]))


def random_noise(rng: np.random.Generator, iso: tuple[float, float], row_share: float = 0.0) -> SensorNoise:
    """Return the noise of some camera at some ISO value, evenly drawn by its logarithm; better and worse electronics are drawn, too.

    Args:
        rng: source of random numbers; takes the same number of them whatever the arguments are.
        iso: lowest and highest value.
        row_share: largest standard deviation of what rows share, as a share of that of a pixel at black.
    """
    level, spread, row = rng.uniform(*np.log(iso)), rng.normal(0, _READ_SPREAD), rng.uniform(0, 1)
    typical = noise_at(math.exp(level))
    read = typical.read * math.exp(spread)
    return SensorNoise(shot=typical.shot, read=read, row=row_share * row * math.sqrt(read))

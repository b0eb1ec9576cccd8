"""How noisy a raw picture is, from whoever knows best: the user, the file, measured profiles, a typical camera, the picture itself."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

from photic.apps.rawnind.noise_profiles import NoiseProfiles
from photic.apps.rawnind.picture import RawPicture
from photic.apps.rawnind.synthetic.noise_levels import noise_at
from photic.core.errors import ConfigError, DataError
from photic.functional.noise_estimation import estimate_noise


@dataclass(frozen=True)
class ChosenNoise:
    """Noise of variance ``a x + b`` at the clean value x."""

    a: float
    b: float
    origin: str
    """Who says so, in words."""

    @property
    def values(self) -> tuple[float, float]:
        """Both, in this order."""
        return self.a, self.b

    def __str__(self) -> str:
        return f"noise {self.origin}: variance {self.a:.3g} x + {self.b:.3g}"


def choose_noise(
    picture: RawPicture, *, given: tuple[float, float] | None = None, iso: float | None = None, profiles: NoiseProfiles | None = None
) -> ChosenNoise:
    """Return the noise of a picture.

    In this order: what the user gives; the profile in the file (DNG); the measured profile of that camera at that ISO value; where the
    user names an ISO value, that of a typical camera; an estimate from the picture alone; where it is too small or too uniform
    for one, that of a typical camera at the file's ISO value.

    Args:
        picture: the picture.
        given: a and b.
        iso: used in place of the file's; then the profile in the file, which is for another, does not count.
        profiles: measured ones.

    Raises:
        ConfigError: noise or an ISO value that is not possible.
        DataError: nobody knows: neither an estimate nor an ISO value.

    Warns:
        UserWarning: the estimate is uncertain.
    """
    if given is not None:
        if len(given) != 2 or not all(math.isfinite(value) and value >= 0 for value in given):
            raise ConfigError(f"noise: expected a and b of the variance a x + b, finite and not negative, got {given}")
        return ChosenNoise(*given, "as given")
    if iso is not None and not (math.isfinite(iso) and iso > 0):
        raise ConfigError(f"iso: expected a value above 0, got {iso}")
    if picture.noise is not None and iso is None:
        return ChosenNoise(*picture.noise, "by the file's profile")
    known = iso if iso is not None else picture.iso
    if profiles is not None and known is not None and picture.camera in profiles:
        profile = profiles.profile(picture.camera, known)
        return ChosenNoise(*profile.at_sensor(), f"by the profile of {profile.camera} at ISO {known:g}")
    if iso is not None:
        return _typical(iso)
    try:
        found = estimate_noise(picture.values, picture.pattern)
    except DataError as error:
        if known is None:
            raise DataError(f"{picture.source or 'raw picture'}: {error} (--noise A,B or --iso N)") from error
        warnings.warn(f"noise of the picture cannot be estimated, that of a typical camera is taken: {error}", UserWarning, stacklevel=2)
        return _typical(known)
    return ChosenNoise(found.a, found.b, "estimated from the picture")


def _typical(iso: float) -> ChosenNoise:
    noise = noise_at(iso)
    return ChosenNoise(noise.shot, noise.read, f"of a typical camera at ISO {iso:g}")

"""Development: from a sensor's linear values to linear light in a standard colour space, band by band."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from photic.apps.rawnind.files.bands import Band, gathered
from photic.apps.rawnind.picture import RawPicture
from photic.core.errors import ConfigError, DataError
from photic.core.schema import Config, Range
from photic.functional.cfa import cfa_planes
from photic.functional.colour import linear_to_srgb
from photic.functional.demosaic import MALVAR_REACH_PX, NORMALISED_REACH_PX, malvar, normalised_convolution
from photic.functional.menon import MENON_REACH_PX, menon
from photic.functional.raw_colour import REC2020_TO_SRGB, camera_to_rec2020, xyz_of_white

Floats = NDArray[np.float32]
_METHODS: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], int]] = {
    "malvar": (malvar, MALVAR_REACH_PX),
    "menon": (menon, MENON_REACH_PX),
    "normalised": (normalised_convolution, NORMALISED_REACH_PX),
}
_BAND_ROWS = 192
# How the level of full pixels shows in a picture: so many of a colour's values near its highest, many times more than just below.
_LEAST_FULL, _FULL_SHARE, _TOP, _BELOW, _CROWDED = 0.7, 1e-4, 0.975, 0.95, 4.0
_FULL_QUANTILE = 0.02  # pixels are full at levels that differ by a percent or two; nearly all of them have to count


@dataclass(frozen=True, kw_only=True)
class Development(Config):
    """How a raw picture is developed."""

    demosaic: Literal["auto", "menon", "malvar", "normalised"] = "auto"
    """How a mosaic is filled in: menon (sharpest, Bayer), malvar (quick, Bayer), normalised (any pattern); auto takes menon for Bayer,
    normalised for others. Of no effect where each pixel has three colours."""
    white_balance: Literal["as-shot", "daylight"] | tuple[float, float, float] = "as-shot"
    """As the camera chose (daylight where it did not), D65 by the colour matrix, or factors of red, green and blue."""
    space: Literal["rec2020", "srgb"] = "rec2020"
    """Primaries of the result; white is D65 in both."""
    exposure_ev: Annotated[float, Range(ge=-10, le=10)] = 0.0
    """Brighter by so many stops, darker if negative."""
    highlights: Literal["clip", "keep"] = "clip"
    """clip makes full pixels white. keep leaves every value as measured, above 1 too, for further work in linear light; where only some of
    the colours are full, the hue is wrong then."""

    def __post_init__(self) -> None:
        super().__post_init__()
        factors = self.white_balance
        if not isinstance(factors, str) and not all(np.isfinite(value) and value > 0 for value in factors):
            raise ConfigError(f"white_balance: expected three factors above 0 for red, green and blue, got {factors}")


class Developer:
    """Develops rows of one picture; every pixel from itself alone, so that bands give what the whole gives.

    Args:
        picture: what is known of the camera, and the values that tell at which level its sensor is full.
        how: the development.

    Raises:
        DataError: the picture has no colour matrix.
        ConfigError: a white balance that is not possible.
    """

    def __init__(self, picture: RawPicture, how: Development) -> None:
        if picture.xyz_to_camera is None:
            raise DataError(
                f"{picture.source or 'picture'}: has no colour matrix, so its colours are unknown; convert it to DNG with a program that "
                "knows the camera, or take a newer LibRaw (rawpy)"
            )
        self.how = how
        self.factors = balance_of(picture, how.white_balance)
        self.full = full_level(picture)
        scale = self.factors / self.factors.min() / self.full
        matrix = camera_to_rec2020(picture.xyz_to_camera, self.factors) / self.factors  # of balanced values
        if how.space == "srgb":
            matrix = REC2020_TO_SRGB @ matrix
        self._scale = torch.as_tensor(scale, dtype=torch.float32)
        self._matrix = torch.as_tensor(matrix.T * 2.0**how.exposure_ev, dtype=torch.float32).contiguous()

    def rows(self, camera: NDArray[np.float32]) -> Floats:
        """Return rows ``(n, W, 3)`` of linear light for rows in the camera's own colours, black at 0 and white at 1."""
        balanced = torch.from_numpy(np.ascontiguousarray(camera, np.float32)) * self._scale
        if self.how.highlights == "clip":
            balanced.clamp_(max=1.0)
        made: Floats = (balanced @ self._matrix).numpy()
        return made


def develop(picture: RawPicture, how: Development | None = None) -> Floats:
    """Return a developed picture ``(H, W, 3)``: linear light in the space of the development, as the sensor has it (not turned).

    A colour that the white balance makes equal in red, green and blue is grey; the level at which the sensor is full is 1 (where the white
    balance has a factor below that of green, as LibRaw does, everything is scaled so that full pixels can still be white). Values
    below black stay negative, and so do colours outside the space.

    Args:
        picture: as :func:`photic.apps.rawnind.files.reading.read_raw` gives it.
        how: the development; the usual one if None.

    Raises:
        DataError: the picture has no colour matrix, or a pattern that the method of demosaicing does not know.
        ConfigError: options that are not possible.

    >>> from photic.apps.rawnind.files.reading import read_raw
    >>> develop(read_raw("photo.CR2"), Development(exposure_ev=1)).shape  # doctest: +SKIP
    (2348, 3522, 3)
    """
    how = how or Development()
    developer = Developer(picture, how)
    bands = ((top, developer.rows(band)) for top, band in camera_bands(picture, how.demosaic, balance=developer.factors))
    return gathered(bands, picture.size)


def camera_bands(picture: RawPicture, demosaic: str = "auto", *, balance: NDArray[np.float64] | None = None) -> Iterator[Band]:
    """Give a picture demosaiced, band by band, ``(n, W, 3)`` in the camera's own colours, not white-balanced.

    Args:
        picture: a raw picture.
        demosaic: as in :class:`Development`.
        balance: factors with which the mosaic is balanced while it is demosaiced; as-shot, else daylight, else none, if None.

    Raises:
        DataError: a pattern that the method does not know.
        ConfigError: no such method.
    """
    if picture.pattern is None:
        for top in range(0, picture.size[0], _BAND_ROWS):
            yield top, picture.values[top : top + _BAND_ROWS]
        return
    method, reach = _method(picture, demosaic)
    if balance is None:
        known = picture.white_balance is not None or picture.xyz_to_camera is not None
        balance = balance_of(picture, "as-shot") if known else np.ones(3)
    factors = torch.as_tensor(balance, dtype=torch.float32).view(1, 3, 1, 1)
    height, width = picture.size
    for top in range(0, height, _BAND_ROWS):
        bottom = min(top + _BAND_ROWS, height)
        above, below = max(0, top - reach), min(height, bottom + reach)
        part = picture.cropped(above, 0, below - above, width)
        assert part.pattern is not None, "a mosaic's part is a mosaic"
        planes = cfa_planes(part.pattern, *part.size)[None]
        mosaic = torch.from_numpy(np.ascontiguousarray(part.values))[None, None] * (planes * factors).sum(dim=1, keepdim=True)
        made = (method(mosaic, planes) / factors)[0, :, top - above : bottom - above]
        yield top, made.permute(1, 2, 0).contiguous().numpy()


def balance_of(picture: RawPicture, white_balance: Literal["as-shot", "daylight"] | tuple[float, float, float]) -> NDArray[np.float64]:
    """Return the factors ``(3,)`` of red, green and blue, green 1; as-shot ones that are missing are those of daylight.

    Raises:
        ConfigError: factors that are not possible.
        DataError: neither the camera's choice nor a colour matrix is known.
    """
    if white_balance == "as-shot" and picture.white_balance is not None:
        return np.asarray(picture.white_balance, np.float64)
    if isinstance(white_balance, str):
        if picture.xyz_to_camera is None:
            raise DataError(f"{picture.source or 'picture'}: neither a white balance nor a colour matrix is known")
        white = np.asarray(picture.xyz_to_camera, np.float64) @ xyz_of_white()
        if not (white > 0).all():
            raise DataError(f"{picture.source or 'picture'}: by its colour matrix the camera does not see white; the matrix is wrong")
        daylight: NDArray[np.float64] = white[1] / white
        return daylight
    factors = np.asarray(white_balance, np.float64)
    if factors.shape != (3,) or not np.isfinite(factors).all() or not (factors > 0).all():
        raise ConfigError(f"white_balance: expected three factors above 0 for red, green and blue, got {white_balance}")
    chosen: NDArray[np.float64] = factors / factors[1]
    return chosen


def full_level(picture: RawPicture) -> float:
    """Return the level at which the sensor is full: 1, or less where many of a colour's values crowd at its very top.

    Cameras are full somewhat below the level that LibRaw or a file takes for white. Red, green and blue that are cut off there
    are no longer in proportion and become magenta, unless they are cut off at that level. A picture that says its level
    (``RawPicture.full``) is believed.
    """
    if picture.full is not None:
        return picture.full
    lowest = 1.0
    for values in _colours(picture):
        highest = float(values.max())
        if not _LEAST_FULL < highest < 1:
            continue
        full = values[values >= highest * _TOP]
        near = int((values >= highest * _BELOW).sum()) - full.size
        if full.size > _FULL_SHARE * values.size and full.size > _CROWDED * near:
            lowest = min(lowest, float(np.quantile(full, _FULL_QUANTILE)))
    return lowest


def encoded(light: NDArray[np.float32], kind: type[np.unsignedinteger[Any]]) -> NDArray[Any]:
    """Return linear light as whole numbers through sRGB's curve; what lies beyond [0, 1] is cut off."""
    curve = linear_to_srgb(torch.from_numpy(np.ascontiguousarray(light)).clamp(0, 1))
    made: NDArray[Any] = (curve * float(np.iinfo(kind).max)).round_().numpy().astype(kind)
    return made


def _method(picture: RawPicture, name: str) -> tuple[Callable[[Tensor, Tensor], Tensor], int]:
    chosen = ("menon" if picture.is_bayer else "normalised") if name == "auto" else name
    if chosen not in _METHODS:
        raise ConfigError(f"demosaic: expected auto, {', '.join(_METHODS)}, got '{name}'")
    if not picture.is_bayer and chosen != "normalised":
        raise DataError(f"{picture.source or 'picture'}: {chosen} knows Bayer patterns only; take 'normalised' (--demosaic normalised)")
    return _METHODS[chosen]


def _colours(picture: RawPicture) -> Iterator[NDArray[np.float32]]:
    """Give the values of each place of the pattern, or of each colour; views."""
    if picture.pattern is None:
        yield from (picture.values[..., colour] for colour in range(3))
        return
    rows, columns = len(picture.pattern), len(picture.pattern[0])
    yield from (found for y in range(rows) for x in range(columns) if (found := picture.values[y::rows, x::columns]).size)

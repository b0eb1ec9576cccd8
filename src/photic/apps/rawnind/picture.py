"""A raw picture in memory: linear values with everything that development needs to know."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from photic.core.errors import DataError
from photic.functional.cfa import Pattern, check_pattern, rggb_offset, shifted


@dataclass(frozen=True)
class RawPicture:
    """A sensor's picture, linear, black at 0 and white at 1, in the camera's own colours, not white-balanced."""

    values: NDArray[np.float32]
    """``(H, W)`` mosaic or ``(H, W, 3)`` linear RGB: the visible area, (x - black) / (white - black) with each channel's own levels; values
    below black are kept, negative."""
    pattern: Pattern | None
    """Colours of the mosaic from its top left pixel on; None where each pixel has all three."""
    xyz_to_camera: NDArray[np.float64] | None = None
    """``(3, 3)``: XYZ (D65) to camera colours, as LibRaw's ``rgb_xyz_matrix`` or a DNG's ColorMatrix2 has it; None: unknown."""
    white_balance: NDArray[np.float64] | None = None
    """``(3,)`` factors of red, green, blue that the camera chose, green 1; None where the file has none that can be true."""
    camera: str = ""
    """Make and model."""
    iso: float | None = None
    exposure_s: float | None = None
    """Exposure time in seconds."""
    aperture: float | None = None
    """f-number."""
    orientation: int = 1
    """How to turn the picture upright, as EXIF numbers it, 1 to 8; ``values`` are as the sensor has them."""
    exif: bytes | None = None
    """EXIF block as :mod:`photic.data.photo.exif` keeps it (TIFF header first), lens data included."""
    black_levels: tuple[float, ...] = ()
    """As in the file, per colour of the 2 x 2 cell (red, green, green, blue), or one for all."""
    white_level: float | None = None
    """As in the file."""
    noise: tuple[float, float] | None = None
    """a and b of the noise's variance a x + b, where the file says so (DNG's NoiseProfile)."""
    baseline_exposure_ev: float = 0.0
    """How much brighter its maker means it (DNG's BaselineExposure); ``values`` are without it."""
    full: float | None = None
    """Level at which the sensor is full, where that is known; None: development looks for it in the values."""
    source: Path | None = None
    notes: tuple[str, ...] = field(default=())
    """What a user should know: levels that were guessed, a white balance that cannot be true."""

    def __post_init__(self) -> None:
        shape = self.values.shape
        expected = "(H, W)" if self.pattern is not None else "(H, W, 3)"
        if self.pattern is not None:
            check_pattern(self.pattern)
        if self.values.dtype != np.float32 or len(shape) != (2 if self.pattern is not None else 3) or (len(shape) == 3 and shape[2] != 3):
            raise DataError(f"{self.source or 'raw picture'}: expected float32 {expected}, got {self.values.dtype} {shape}")

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.values.shape[0], self.values.shape[1]

    @property
    def is_bayer(self) -> bool:
        """Whether it is a mosaic with a 2 x 2 pattern."""
        return self.pattern is not None and len(self.pattern) == 2

    def cropped(self, top: int, left: int, height: int, width: int) -> RawPicture:
        """Return a rectangle of it, the pattern shifted along; a view of the values.

        Raises:
            DataError: the rectangle reaches beyond the picture.
        """
        if min(top, left) < 0 or min(height, width) < 1 or top + height > self.size[0] or left + width > self.size[1]:
            raise DataError(f"crop: {height} x {width} pixels at ({top}, {left}) reach beyond a picture of {self.size[0]} x {self.size[1]}")
        pattern = None if self.pattern is None else shifted(self.pattern, top, left)
        return replace(self, values=self.values[top : top + height, left : left + width], pattern=pattern)

    def in_rggb_order(self) -> RawPicture:
        """Return a Bayer picture cut to begin with red, green / green, blue, and to even sides.

        Raises:
            DataError: not a Bayer picture, or too small.
        """
        if self.pattern is None:
            raise DataError(f"{self.source or 'raw picture'}: expected a Bayer mosaic, got three colours at each pixel")
        top, left = rggb_offset(self.pattern)
        height, width = (self.size[0] - top) // 2 * 2, (self.size[1] - left) // 2 * 2
        return self.cropped(top, left, height, width)

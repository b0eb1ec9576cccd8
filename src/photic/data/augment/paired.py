"""One geometry for several pictures: where a crop lies, and how it is mirrored and turned.

A dark picture and its truth must be cut and turned alike, and the overview of the whole picture turned with them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photic.core.errors import DataError


@dataclass(frozen=True)
class View:
    """A rectangle of a picture, mirrored left to right if so, then turned by quarters."""

    top: int
    """First row, in pixels."""
    left: int
    """First column, in pixels."""
    height: int
    """Rows, before it is turned."""
    width: int
    """Columns, before it is turned."""
    mirrored: bool = False
    """Left and right are exchanged."""
    quarter_turns: int = 0
    """Counterclockwise."""

    def of(self, picture: NDArray) -> NDArray:
        """Return the view of a picture ``(H, W, ...)``, without a copy.

        Raises:
            DataError: the rectangle reaches beyond the picture.
        """
        if self.top + self.height > picture.shape[0] or self.left + self.width > picture.shape[1]:
            raise DataError(
                f"a view of rows {self.top} to {self.top + self.height} and columns {self.left} to {self.left + self.width} reaches beyond "
                f"a picture of {picture.shape[0]} x {picture.shape[1]} pixels"
            )
        return self.turned(picture[self.top : self.top + self.height, self.left : self.left + self.width])

    def turned(self, picture: NDArray) -> NDArray:
        """Return a picture ``(H, W, ...)`` of another size, such as an overview, mirrored and turned alike.

        >>> View(0, 0, 2, 2, mirrored=True, quarter_turns=1).turned(np.array([[1, 2], [3, 4]])).tolist()
        [[1, 3], [2, 4]]
        """
        return np.rot90(picture[:, ::-1] if self.mirrored else picture, self.quarter_turns)


def random_view(
    rng: np.random.Generator, size: tuple[int, int], crop_px: int | None, *, flips: bool = True, rotations: bool = True
) -> View:
    """Return a view of a picture, every place and every way to lie alike.

    Args:
        rng: source of random numbers; takes the same number of them whatever the arguments are.
        size: (height, width) of the picture.
        crop_px: side of the square that is cut out; None keeps the whole picture.
        flips: mirror half of the views.
        rotations: turn by quarters; a whole picture that is not square only by halves, so that all keep one shape.

    Raises:
        DataError: the picture is smaller than the crop.
    """
    height, width = (crop_px, crop_px) if crop_px is not None else size
    if height > size[0] or width > size[1]:
        raise DataError(f"a crop of {crop_px} x {crop_px} pixels does not fit into a picture of {size[0]} x {size[1]}")
    down, right = rng.random(2)
    mirrored, turns = rng.random() < 0.5, int(rng.integers(4))
    if not rotations:
        turns = 0
    elif height != width:
        turns -= turns % 2
    return View(
        top=int(down * (size[0] - height + 1)),
        left=int(right * (size[1] - width + 1)),
        height=height,
        width=width,
        mirrored=bool(mirrored and flips),
        quarter_turns=turns,
    )

"""Opening scans for work: one file or several, any format, with a mask laid over."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from photic.apps.ptycho.raw import RawNPZData, Scans
from photic.apps.ptycho.readers import load_scan
from photic.core.errors import DataError
from photic.data.images import read_image


def open_scans(
    paths: Path | str | Sequence[Path | str],
    *,
    domain: Literal["amplitude", "counts"] | None = None,
    mask: Path | str | None = None,
    reader: str | None = None,
) -> Scans:
    """Open scan files; patterns stay on disk until they are asked for.

    Args:
        paths: one file or several.
        domain: what the patterns are; None is what the format says.
        mask: file of valid detector pixels, see :func:`read_mask`.
        reader: name of the reader; None finds it by ending and content.

    Raises:
        DataError: a file is missing or unreadable, no reader knows it, or sizes differ.
    """
    files = [paths] if isinstance(paths, str | Path) else list(paths)
    if not files:
        raise DataError("no scan given; name at least one file")
    options: dict[str, Any] = {"reader": reader, "domain": domain}
    found = [load_scan(file, **{name: value for name, value in options.items() if value is not None}) for file in files]
    return Scans(tuple(found if mask is None else [with_mask(scan, read_mask(mask)) for scan in found]))


def read_mask(path: Path | str) -> NDArray[np.bool_]:
    """Return a detector mask ``(N, N)``: non-zero (white) pixels are valid.

    Args:
        path: ``.npy`` with numbers or booleans, or a picture.

    Raises:
        DataError: unreadable, not two-dimensional, or holding Python objects.
    """
    path = Path(path)
    if path.suffix != ".npy":
        white: NDArray[np.bool_] = read_image(path).max(axis=2) > 127
        return white
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: no readable mask ({error}); expected an .npy file of numbers (N, N), or a picture") from error
    if values.ndim != 2 or values.dtype.kind not in "buif":
        raise DataError(f"{path}: the mask is {values.dtype} of shape {values.shape}, expected numbers or booleans (N, N)")
    valid: NDArray[np.bool_] = values != 0
    return valid


def with_mask(scan: RawNPZData, mask: NDArray[np.bool_]) -> RawNPZData:
    """Return a scan whose pixels count only where its own mask and another one say so.

    Raises:
        DataError: the mask has another size, or leaves nothing.
    """
    if mask.shape != (scan.size_px, scan.size_px):
        raise DataError(f"{scan.source}: patterns of {scan.size_px} x {scan.size_px} pixels, but the mask has {mask.shape}")
    joined = mask if scan.mask is None else mask & scan.mask
    if not joined.any():
        raise DataError(f"{scan.source}: the masks leave no detector pixel; white (non-zero) marks the pixels that are valid")
    return dataclasses.replace(scan, mask=joined)

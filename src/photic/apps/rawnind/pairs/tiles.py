"""Tiles of pictures on disk: plain NumPy files of half floats that are mapped into memory, so that a random crop costs its own bytes."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from photic.apps.rawnind.pairs.alignment import overlap
from photic.core.errors import DataError, StorageError
from photic.core.files import atomic_path
from photic.functional.cfa import RGGB, cfa_planes
from photic.functional.menon import MENON_REACH_PX, menon

Packed = NDArray[np.float32]
_REACH = MENON_REACH_PX + MENON_REACH_PX % 2
_BAND_PX = 512  # rows demosaiced at once


def tile_starts(side: int, tile_px: int, stride_px: int) -> list[int]:
    """Return where tiles of a side begin: a stride apart, the last one at the end. A side shorter than a tile is one tile.

    >>> tile_starts(2000, 1024, 768)
    [0, 768, 976]
    """
    if side <= tile_px:
        return [0]
    return [*range(0, side - tile_px, stride_px), side - tile_px]


def pack_mosaic(values: NDArray[np.float32]) -> Packed:
    """Return a mosaic ``(H, W)`` that begins with red, green / green, blue as four planes ``(4, H/2, W/2)``.

    Raises:
        DataError: odd sides.
    """
    if values.ndim != 2 or values.shape[0] % 2 or values.shape[1] % 2:
        raise DataError(f"pack: expected a mosaic (H, W) with even sides, got {values.shape}")
    return np.stack([values[::2, ::2], values[::2, 1::2], values[1::2, ::2], values[1::2, 1::2]])


def unpack_mosaic(packed: NDArray[Any]) -> NDArray[Any]:
    """Return four planes ``(4, h, w)`` as a mosaic ``(2h, 2w)``."""
    mosaic = np.empty((2 * packed.shape[1], 2 * packed.shape[2]), dtype=packed.dtype)
    mosaic[::2, ::2], mosaic[::2, 1::2], mosaic[1::2, ::2], mosaic[1::2, 1::2] = packed
    return mosaic


def on_anchor(other: NDArray[Any], shift: tuple[int, int]) -> NDArray[Any]:
    """Return a picture ``(..., H, W)`` laid on its anchor: value [y, x] is other[y + dy, x + dx], and 0 beyond its borders."""
    ours, theirs = overlap((other.shape[-2], other.shape[-1]), shift)
    moved = np.zeros_like(other)
    moved[(..., *ours)] = other[(..., *theirs)]
    return moved


def demosaiced(packed: Packed, balance: NDArray[np.floating] | None) -> NDArray[np.float32]:
    """Return a packed picture ``(4, h, w)`` with three colours at each pixel ``(3, 2h, 2w)``, by Menon's method.

    Colours are balanced while it looks for edges, and are the camera's own again afterwards. Known samples are kept.
    """
    factors = np.ones(3) if balance is None else np.asarray(balance, dtype=np.float64)
    scale = torch.tensor(factors, dtype=torch.float32)
    mosaic = torch.from_numpy(unpack_mosaic(packed))[None, None]
    height, width = mosaic.shape[-2:]
    planes = cfa_planes(RGGB, height, width)[None]
    balanced = mosaic * (planes * scale[:, None, None]).sum(dim=1, keepdim=True)
    made = torch.empty(3, height, width)
    for top in range(0, height, _BAND_PX):
        bottom = min(top + _BAND_PX, height)
        first, last = max(0, top - _REACH), min(height, bottom + _REACH)
        band = menon(balanced[:, :, first:last], planes[:, :, first:last])
        made[:, top:bottom] = band[0, :, top - first : bottom - first]
    return (made / scale[:, None, None]).numpy()


def write_tile(path: Path, values: NDArray[Any]) -> None:
    """Write an array as a ``.npy`` file, floats halved, whole or not at all.

    Raises:
        StorageError: it cannot be written.
    """
    kept = values if values.dtype == np.bool_ else values.astype(np.float16)
    try:
        with atomic_path(path) as temporary, temporary.open("wb") as handle:
            np.lib.format.write_array(handle, np.ascontiguousarray(kept), version=(1, 0), allow_pickle=False)
    except OSError as error:
        raise StorageError(
            f"{path}: cannot be written: {error.strerror or error}; free some space, then run the same command again"
        ) from error


def open_tile(path: Path) -> NDArray[Any]:
    """Return a tile mapped into memory; only what is indexed is read.

    Raises:
        DataError: it is not there, or damaged.
    """
    try:
        tile: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such tile; `photic data prepare rawnind` makes it again") from error
    except (OSError, ValueError, EOFError, struct.error, SyntaxError) as error:
        raise DataError(f"{path}: damaged tile ({error}); remove it, and `photic data prepare rawnind` makes it again") from error
    if tile.dtype not in (np.float16, np.bool_) or tile.ndim not in (2, 3):
        raise DataError(f"{path}: holds {tile.dtype} {tile.shape}, expected half floats (C, H, W) or a mask (H, W); it is no tile")
    return tile


class OpenTiles:
    """Tiles of a folder, mapped into memory when they are first asked for; the last ones stay open. Goes to other processes empty.

    Args:
        folder: of everything prepared.
        most: how many stay open.
    """

    def __init__(self, folder: Path, most: int = 512) -> None:
        self.folder, self.most = folder, most
        self._open: dict[str, NDArray[Any]] = {}

    def __getitem__(self, path: str) -> NDArray[Any]:
        if path not in self._open:
            if len(self._open) >= self.most:
                del self._open[next(iter(self._open))]
            self._open[path] = open_tile(self.folder / path)
        return self._open[path]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": {}}

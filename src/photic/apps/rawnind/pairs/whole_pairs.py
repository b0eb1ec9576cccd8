"""Whole pairs from their original files, aligned as their index says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photic.apps.rawnind.pairs.alignment import overlap
from photic.apps.rawnind.pairs.index import PairEntry, PairIndex
from photic.apps.rawnind.pairs.pictures import bayer_picture
from photic.apps.rawnind.pairs.tiles import demosaiced, pack_mosaic, unpack_mosaic
from photic.core.errors import DataError
from photic.data.images import opened


def whole_pair(index: PairIndex, entry: PairEntry) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Return what two pictures share: the noisy mosaic ``(H, W)``, the anchor with three colours ``(3, H, W)``, the mask ``(H, W)``.

    All begin with red, green / green, blue, and are in the scale of their own picture. Some five seconds for 12 megapixels.

    Raises:
        DataError: an original or the mask is missing, damaged, or of another size than the index says.
    """
    paths = index.original(entry.gt_path), index.original(entry.noisy_path)
    anchor, noisy = (_packed(path, entry) for path in paths)
    ours, theirs = overlap((anchor.shape[1], anchor.shape[2]), entry.shift)
    with opened(index.folder / entry.mask_path) as image:
        mask = np.asarray(image.convert("L")) > 127
    if mask.shape != anchor.shape[1:]:
        raise DataError(
            f"{index.folder / entry.mask_path}: has {mask.shape} pixels, its pictures {anchor.shape[1:]}; prepare the pairs again"
        )
    balance = None if entry.white_balance is None else np.array(entry.white_balance)
    target = demosaiced(anchor, balance)[:, 2 * ours[0].start : 2 * ours[0].stop, 2 * ours[1].start : 2 * ours[1].stop]
    seen: NDArray[Any] = unpack_mosaic(noisy[(slice(None), *theirs)])
    return seen, target, mask[ours].repeat(2, axis=0).repeat(2, axis=1)


def _packed(path: Path, entry: PairEntry) -> NDArray[np.float32]:
    packed = pack_mosaic(bayer_picture(path).values)
    if entry.size is not None and packed.shape[1:] != entry.size:
        raise DataError(f"{path}: has {packed.shape[1:]} packed pixels, the index says {entry.size}; prepare the pairs again")
    return packed

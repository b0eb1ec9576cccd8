"""One pair prepared: aligned, gain matched, masked, cut into tiles; or rejected, with the reason."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photic.apps.rawnind.pairs.alignment import PairAlignment, align_pair, green_of
from photic.apps.rawnind.pairs.gain import matching_gain, without_borders
from photic.apps.rawnind.pairs.index import Crop, PairEntry, Rejected, plain
from photic.apps.rawnind.pairs.masks import LossMask, loss_mask
from photic.apps.rawnind.pairs.pairing import PlannedPair
from photic.apps.rawnind.pairs.pictures import PictureFacts, bayer_picture
from photic.apps.rawnind.pairs.tiles import Packed, demosaiced, on_anchor, pack_mosaic, tile_starts, write_tile
from photic.apps.rawnind.picture import RawPicture
from photic.core.errors import DataError
from photic.data.images import write_image
from photic.functional.raw_colour import camera_to_rec2020

LEAST_VALID = 0.5
"""Share of pixels that must be valid in both pictures."""
LEAST_COARSE_PSNR = 32.0
"""PSNR of means over 8 x 8 packed pixels, without the noise in them, below which two pictures do not show the same, in dB. The good pair of
the bracket has 43.6 (and 42.4 with the noise of ISO 204800 made on top), 26 with two pixels off; the turned one has 29."""
MOST_DRIFT_PX = 1.0
"""Largest difference of alignment between parts of a picture, in packed pixels."""
TILES = "tiles"


@dataclass(frozen=True)
class TileSettings:
    """How pictures are cut."""

    tile_px: int = 1024
    """Side of a tile in packed pixels."""
    stride_px: int = 768
    """From one to the next."""
    min_valid_share: float = 0.5
    """Share of a tile's pixels that must count."""
    max_shift_px: int = 128
    """Largest shift looked for, in packed pixels."""


def safe_name(name: str) -> str:
    """Return a name as a path below a folder, without what file systems or paths would make something else of.

    >>> safe_name("a:b/../c")
    'a_b/_/c'
    """
    parts = ["".join("_" if sign in '<>:"\\|?*' or ord(sign) < 32 else sign for sign in part) for part in name.split("/")]
    return "/".join("_" if part.strip(". ") == "" else part.rstrip(". ") for part in parts)


def tile_name(position: tuple[int, int], what: str) -> str:
    """Return the file's name of a tile."""
    return f"y{position[0]:05d}_x{position[1]:05d}_{what}.npy"


def anchor_folder(anchor_name: str) -> str:
    """Return where the tiles of an anchor lie, relative to the prepared folder."""
    return f"{TILES}/anchors/{safe_name(anchor_name)}"


def prepare_pair(
    pair: PlannedPair, anchor_facts: PictureFacts, other_facts: PictureFacts, output: Path, settings: TileSettings
) -> PairEntry | Rejected:
    """Align, match, mask and cut a pair; the anchor's own tiles are written by :func:`write_anchor_tiles`.

    Args:
        pair: which one.
        anchor_facts: of its anchor.
        other_facts: of its other picture.
        output: folder of everything prepared.
        settings: how it is cut.

    Raises:
        StorageError: tiles cannot be written.
    """
    try:
        raws = bayer_picture(pair.anchor.path), bayer_picture(pair.other.path)
    except DataError as error:
        return _rejected(pair, "unreadable", str(error))
    anchor, other = (pack_mosaic(raw.values) for raw in raws)
    bounds = anchor_facts.overexposure, other_facts.overexposure
    valid_anchor, valid_other = (_usable(packed, bound) for packed, bound in zip((anchor, other), bounds, strict=True))
    try:
        found = align_pair(green_of(anchor), green_of(other), valid_anchor, valid_other, max_shift_px=settings.max_shift_px)
        valid = valid_anchor & on_anchor(valid_other, found.shift)
        moved = on_anchor(other, found.shift)
        gain = matching_gain(anchor, moved, valid)
    except DataError as error:
        return _rejected(pair, "exposure", str(error), {"valid_share": round(float(np.mean(valid_anchor & valid_other)), 6)})
    mask = loss_mask(anchor, moved * np.float32(gain), valid)
    measured = _measured(found, gain, valid, mask)
    wrong = _unusable(found, valid, anchor_facts, other_facts)
    if wrong is not None:
        return _rejected(pair, *wrong, measured)
    crops = _cut(pair, moved, mask.mask, output, settings)
    if not crops:
        reason = f"in none of its tiles {settings.min_valid_share:.0%} of the pixels count ({mask.mask.mean():.0%} in the whole picture)"
        return _rejected(pair, "masked", reason, measured)
    folder = _pair_folder(pair)
    mask_path = f"{folder}/mask.png"
    write_image(output / mask_path, mask.mask.astype(np.uint8) * 255)
    raw = raws[1]
    return PairEntry(
        name=pair.name,
        image_set=pair.scene,
        gt_path=pair.anchor.name,
        noisy_path=pair.other.name,
        shift=found.shift,
        loss=measured["loss"],
        mask_path=mask_path,
        mask_mean=measured["mask_mean"],
        is_bayer=True,
        rgb_xyz_matrix=_matrix(raw),
        overexposure=bounds[0],
        raw_gain=measured["raw_gain"],
        rgb_gain=round(_rgb_gain(anchor, moved, valid, raw.xyz_to_camera), 6),
        iso=other_facts.iso,
        gt_iso=anchor_facts.iso,
        camera=other_facts.camera,
        size=(anchor.shape[1], anchor.shape[2]),
        subpixel_residual=measured["subpixel_residual"],
        drift_px=measured["drift_px"],
        psnr=measured["psnr"],
        coarse_psnr=measured["coarse_psnr"],
        noisy_overexposure=bounds[1],
        noise=other_facts.noise,
        gt_noise=anchor_facts.noise,
        white_balance=None if raw.white_balance is None else tuple(round(float(value), 6) for value in raw.white_balance),
        mask_bound=mask.bound,
        mask_window=mask.window_cells,
        test_reserve=pair.other.test_reserve or pair.anchor.test_reserve,
        crops=crops,
    )


def write_anchor_tiles(anchor: Path, name: str, positions: list[tuple[int, int]], output: Path, settings: TileSettings) -> None:
    """Write the tiles of an anchor at some positions: packed, and with three colours at each pixel.

    Args:
        anchor: the raw file.
        name: its name in the index.
        positions: ``(y, x)`` in packed pixels.
        output: folder of everything prepared.
        settings: how it is cut.

    Raises:
        DataError: it cannot be read.
        StorageError: tiles cannot be written.
    """
    raw = bayer_picture(anchor)
    packed = pack_mosaic(raw.values)
    picture = demosaiced(packed, raw.white_balance)
    folder = output / anchor_folder(name)
    for position in positions:
        top, left = position
        rows, columns = slice(top, top + settings.tile_px), slice(left, left + settings.tile_px)
        write_tile(folder / tile_name(position, "gt"), packed[:, rows, columns])
        pixels = (slice(2 * rows.start, 2 * rows.stop), slice(2 * columns.start, 2 * columns.stop))
        write_tile(folder / tile_name(position, "gt_rgb"), picture[:, pixels[0], pixels[1]])


def _usable(packed: Packed, bound: float) -> NDArray[np.bool_]:
    """Return where no colour of a cell is over-exposed, and no border is."""
    usable: NDArray[np.bool_] = (packed < bound).all(axis=0) & without_borders(packed)
    return usable


def _unusable(found: PairAlignment, valid: NDArray[np.bool_], anchor: PictureFacts, other: PictureFacts) -> tuple[str, str] | None:
    """Return kind and reason, if a pair must not be learnt from."""
    share = float(valid.mean())
    if share < LEAST_VALID:
        return (
            "clipped",
            f"only {share:.0%} of the pixels are valid in both pictures, at least {LEAST_VALID:.0%} are needed: of the other picture's "
            f"values {other.over_share:.0%} are over-exposed, of the anchor's {anchor.over_share:.0%}{_also(found)}",
        )
    content = _also(found).removeprefix("; ")
    return ("misaligned", content) if content else None


def _also(found: PairAlignment) -> str:
    """Return what is wrong with how two pictures lie on each other; empty if nothing is."""
    wrong = []
    if not found.coarse_psnr >= LEAST_COARSE_PSNR:
        wrong.append(
            f"after alignment and gain, means over 8 x 8 packed pixels differ: PSNR {found.coarse_psnr:.1f} dB, at least "
            f"{LEAST_COARSE_PSNR:g} expected of one scene (pixel by pixel {found.psnr:.1f} dB)"
        )
    if found.drift_px > MOST_DRIFT_PX:
        wrong.append(
            f"parts of the picture lie up to {found.drift_px:.1f} packed pixels differently from the whole, at most {MOST_DRIFT_PX:g} is "
            "expected: the camera was turned, or things moved"
        )
    return "".join(f"; {text}" for text in wrong)


def _measured(found: PairAlignment, gain: float, valid: NDArray[np.bool_], mask: LossMask) -> dict[str, Any]:
    return {
        "shift": found.shift,
        "subpixel_residual": tuple(round(value, 3) for value in found.residual_px),
        "drift_px": round(found.drift_px, 3),
        "loss": round(found.l1, 8),
        "psnr": round(found.psnr, 3),
        "coarse_psnr": round(found.coarse_psnr, 3),
        "raw_gain": round(gain, 6),
        "valid_share": round(float(valid.mean()), 6),
        "mask_mean": round(float(mask.mask.mean()), 6),
    }


def _cut(pair: PlannedPair, moved: Packed, mask: NDArray[np.bool_], output: Path, settings: TileSettings) -> tuple[Crop, ...]:
    """Write the tiles of the noisy picture and of the mask that have enough pixels that count."""
    folder, gt_folder = _pair_folder(pair), anchor_folder(pair.anchor.name)
    crops = []
    starts = [tile_starts(side, settings.tile_px, settings.stride_px) for side in mask.shape]
    for position in [(top, left) for top in starts[0] for left in starts[1]]:
        rows, columns = (slice(start, start + settings.tile_px) for start in position)
        counted = mask[rows, columns]
        share = float(counted.mean())
        if share < settings.min_valid_share:
            continue
        crop = Crop(
            position=position,
            valid_share=round(share, 6),
            gt_path=f"{gt_folder}/{tile_name(position, 'gt')}",
            gt_rgb_path=f"{gt_folder}/{tile_name(position, 'gt_rgb')}",
            noisy_path=f"{folder}/{tile_name(position, 'noisy')}",
            mask_path=f"{folder}/{tile_name(position, 'mask')}",
        )
        write_tile(output / crop.noisy_path, moved[:, rows, columns])
        write_tile(output / crop.mask_path, counted)
        crops.append(crop)
    return tuple(crops)


def _rgb_gain(anchor: Packed, moved: Packed, valid: NDArray[np.bool_], matrix: NDArray[np.float64] | None) -> float:
    """Return the gain from the means of linear Rec.2020 colours, which are those of the camera's means, or of these, without a matrix."""
    means = [np.array([float(np.mean(plane[valid], dtype=np.float64)) for plane in packed]) for packed in (anchor, moved)]
    colours = [np.array([mean[0], (mean[1] + mean[2]) / 2, mean[3]]) for mean in means]
    if matrix is not None:
        colours = [camera_to_rec2020(matrix) @ colour for colour in colours]
    return float(colours[0].mean() / colours[1].mean())


def _matrix(raw: RawPicture) -> tuple[tuple[float, ...], ...] | None:
    if raw.xyz_to_camera is None:
        return None
    return tuple(tuple(round(float(value), 6) for value in row) for row in raw.xyz_to_camera)


def _pair_folder(pair: PlannedPair) -> str:
    return f"{TILES}/pairs/{safe_name(pair.name)}"


def _rejected(pair: PlannedPair, kind: str, reason: str, measured: dict[str, Any] | None = None) -> Rejected:
    return Rejected(pair.other.name, pair.anchor.name, pair.scene, kind, reason, plain(measured or {}))

"""What a raw picture tells besides its pixels, as ``.phc`` files hold it, and back."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

import numpy as np

from photic.apps.rawnind.compressing.container import Header
from photic.apps.rawnind.compressing.facts import Facts, as_float32, kept_text
from photic.apps.rawnind.files.camera_exif import without_maker_note
from photic.apps.rawnind.files.developing import full_level
from photic.apps.rawnind.picture import RawPicture
from photic.data.photo import exif

MAX_STORED_EXIF_BYTES = 16_384
"""Of a deflated EXIF block; a larger one loses its maker note, which can be as large as a compressed picture."""


def facts_of(picture: RawPicture) -> Facts:
    """Return what a picture tells; model, balance and noise are still to be filled in."""
    block, left_out = kept_exif(picture.exif)
    white = None if picture.white_balance is None else _float32(picture.white_balance)
    return Facts(
        white_balance=None if white is None else (white[0], white[1], white[2]),
        xyz_to_camera=None if picture.xyz_to_camera is None else _float32(np.asarray(picture.xyz_to_camera).ravel()),
        black_levels=tuple(float(level) for level in picture.black_levels),
        white_level=None if picture.white_level is None else float(picture.white_level),
        full_level=as_float32(full_level(picture)),
        orientation=picture.orientation,
        iso=_positive(picture.iso),
        exposure_s=_positive(picture.exposure_s),
        aperture=_positive(picture.aperture),
        camera=kept_text(picture.camera),
        baseline_exposure_ev=float(picture.baseline_exposure_ev),
        exif=block,
        left_out=left_out,
    )


def kept_exif(block: bytes | None) -> tuple[bytes | None, str]:
    """Return as much of an EXIF block as files keep, and what is left out: nothing, its maker note, or all of it."""
    if block is None:
        return None, ""
    try:
        exif.unpack(block)
        if _stored(block):
            return block, ""
        smaller = without_maker_note(block)
    except exif.DamagedExif:
        return None, "EXIF"
    return (smaller, "maker note") if _stored(smaller) else (None, "EXIF")


def picture_of(header: Header, values: np.ndarray | None = None) -> RawPicture:
    """Return a decompressed picture: what the file tells of the original, with pixels in camera colours.

    Args:
        header: of the file.
        values: ``(H, W, 3)`` float32; None stands for a picture whose pixels come as bands: zeros that take no memory.
    """
    facts = header.facts
    if values is None:
        values = np.broadcast_to(np.float32(0), (*header.size, 3))
    return RawPicture(
        values,
        None,
        xyz_to_camera=None if facts.xyz_to_camera is None else np.array(facts.xyz_to_camera).reshape(3, 3),
        white_balance=None if facts.white_balance is None else np.array(facts.white_balance),
        camera=facts.camera,
        iso=facts.iso,
        exposure_s=facts.exposure_s,
        aperture=facts.aperture,
        orientation=int(facts.orientation),
        exif=facts.exif,
        black_levels=facts.black_levels,
        white_level=facts.white_level,
        baseline_exposure_ev=facts.baseline_exposure_ev,
        full=facts.full_level,
        notes=notes_of(header),
    )


def notes_of(header: Header) -> tuple[str, ...]:
    """Return what a user should know of a compressed picture."""
    notes = []
    if header.layout.demosaiced:
        notes.append("the mosaic was demosaiced by a classical method before it was compressed, as the model takes three colours")
    if header.facts.left_out:
        notes.append(f"its {header.facts.left_out} was too large (or damaged) to be kept in the compressed file")
    return tuple(notes)


def _stored(block: bytes) -> bool:
    return len(zlib.compress(block, 9)) <= MAX_STORED_EXIF_BYTES


def _float32(values: Sequence[float] | np.ndarray) -> tuple[float, ...]:
    return tuple(as_float32(float(value)) for value in values)


def _positive(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) and value > 0 else None

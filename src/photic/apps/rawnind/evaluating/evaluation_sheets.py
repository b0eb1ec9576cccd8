"""Crops of evaluated pictures, and sheets of them: noisy, classical, network, truth, a sheet per ISO value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from photic.apps.rawnind.evaluating.scores import Evaluation, Scored, level_name, shown
from photic.core.files import atomic_path
from photic.data.images import write_image
from photic.functional.colour import luma
from photic.report.sheets import SheetRow, draw_sheet

NOISY, TRUTH = "noisy", "truth"
CROP_PX = 128
"""Side of the crops."""
ROWS = 6
"""Pictures on a sheet, evenly over those of its ISO value."""
_SHOWN_PX = 256


def write_crops(stem: Path, pictures: Mapping[str, Tensor]) -> dict[str, str]:
    """Write the same part of developed pictures ``(1, 3, H, W)`` as PNG, the one with most detail in the true picture.

    Returns:
        Kind to file, relative to the folder above the files'.
    """
    top, left = most_detailed(pictures[TRUTH])
    stem.parent.mkdir(parents=True, exist_ok=True)
    made = {}
    for number, (kind, picture) in enumerate(pictures.items()):
        part = picture[0, :, top : top + CROP_PX, left : left + CROP_PX].permute(1, 2, 0)
        path = stem.with_name(f"{stem.name}_{number}_{re.sub(r'[^a-z0-9]+', '_', kind.lower())}.png")
        with atomic_path(path) as temporary:
            Image.fromarray((part.clamp(0, 1) * 255).round().byte().numpy()).save(temporary, format="PNG")
        made[kind] = f"{stem.parent.name}/{path.name}"
    return made


def write_sheets(found: Evaluation, folder: Path) -> list[Path]:
    """Write a sheet of crops for each ISO value; older sheets are removed.

    Returns:
        ``sheet_iso_3200.png``, ... in the folder, by rising ISO value.
    """
    for old in folder.glob("sheet_*.png"):
        old.unlink()
    paths = []
    for iso in found.levels:
        some = found.at(iso)
        if len(some) > ROWS:
            some = tuple(some[round(place)] for place in np.linspace(0, len(some) - 1, ROWS))
        name = level_name(iso).lower().replace(" ", "_")
        paths.append(write_image(folder / f"sheet_{name}.png", sheet(found, some, folder)))
    return paths


def sheet(found: Evaluation, some: tuple[Scored, ...], folder: Path) -> NDArray[np.uint8]:
    """Return a sheet ``(H, W, 3)`` with a row per picture: noisy, the best classical method, the networks, truth."""
    best = found.best_classical(some)
    networks = [method for method in found.methods if method not in found.classical]
    kinds = [NOISY, *([best] if best is not None else []), *networks, TRUTH]
    rows = [
        SheetRow(
            _title(one, found, best),
            [folder / one.crops[kind] if kind in one.crops else None for kind in kinds],
            (min(one.size[0], CROP_PX), min(one.size[1], CROP_PX)),
        )
        for one in some
    ]
    return draw_sheet(kinds, rows, width_px=_SHOWN_PX, sharp=True)


def _title(one: Scored, found: Evaluation, best: str | None) -> str:
    methods = [found.model] if best is None else [found.model, best]
    return f"{one.name}   PSNR dB " + "   ".join(f"{method} {shown('psnr', one.values[method].get('psnr'))}" for method in methods)


def most_detailed(truth: Tensor) -> tuple[int, int]:
    """Return the top left corner of the crop with most detail of a picture ``(1, 3, H, W)``, of crops that lie half a side apart."""
    grey = luma(truth)[0, 0]
    height, width = grey.shape
    detail = (grey[1:, 1:] - grey[:-1, 1:]).abs() + (grey[1:, 1:] - grey[1:, :-1]).abs()
    step = CROP_PX // 2
    places = [(top, left) for top in range(0, max(1, height - CROP_PX + 1), step) for left in range(0, max(1, width - CROP_PX + 1), step)]
    return max(places, key=lambda place: float(detail[place[0] : place[0] + CROP_PX, place[1] : place[1] + CROP_PX].sum()))

"""What an evaluation of a denoiser found, as a section of a page: means by ISO value, charts, crops to wipe over, a table of all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from photic.apps.rawnind.evaluating.evaluation_sheets import CROP_PX, NOISY, TRUTH
from photic.apps.rawnind.evaluating.scores import LABELS, Evaluation, Scored, level_name, shown
from photic.functional.palette import CLASS_COLOURS
from photic.report import figures, page
from photic.report.page import Column, Page, Section, Shot

HINTS = {
    "psnr": "peak signal-to-noise ratio of developed pictures; larger is better, 3 dB is half the error's energy",
    "ms_ssim": "structural similarity over five scales, at most 1; of pictures with sides of 161 pixels and more",
}
_OWN = {"val": "Validation pictures", "test": "Test pictures", "train": "Training pictures"}
_MOST_OPEN = 3
"""ISO values whose crops are shown at once; those of the others stay folded."""
_SHOWN_PX = 3 * CROP_PX


def show_evaluation(made: Page, found: Evaluation, folder: Path, title: str | None = None) -> Section:
    """Add what an evaluation found, in a section of its own."""
    section = made.section(title or _OWN.get(found.split, f"Pictures of {folder.name}"), found.summary())
    heads = found.heads()
    for value in found.values:
        columns = [Column(title="Method", number=False), *(Column(title=head) for head in heads[1:])]
        section.add(page.heading(LABELS[value]), page.table(columns, found.rows(value)), page.prose(f"{LABELS[value]}: {HINTS[value]}."))
    known = [iso for iso in found.levels if iso is not None]
    if len(known) > 1:
        section.add(page.grid([_chart(found, value, known) for value in found.values], 420))
    section.add(*(page.notice(note) for note in found.notes))
    _add_crops(section, found, folder)
    section.add(page.details(f"All {len(found.scored)} pictures, worst first", _picture_table(found)))
    return section


def _add_crops(section: Section, found: Evaluation, folder: Path) -> None:
    """Add the worst picture and the one in the middle of each ISO value, the network's crop held against all others."""
    drawn = {iso: [one for one in found.at(iso) if _is_there(one, found, folder)] for iso in found.levels}
    levels = [iso for iso, some in drawn.items() if some]
    if not levels:
        return
    open_ones = {levels[round(place)] for place in np.linspace(0, len(levels) - 1, min(_MOST_OPEN, len(levels)))}
    section.add(page.heading("Crops"), page.wipe_hint(f"The most detailed part of each picture, {CROP_PX} pixels wide."))
    for iso in levels:
        some = sorted(drawn[iso], key=lambda one: (one.values[found.model].get("psnr") or 0.0, one.name))
        picked = {"worst": some[0], "in the middle": some[len(some) // 2]} if len(some) > 1 else {"": some[0]}
        block = page.grid([_slider(one, found, folder, word) for word, one in picked.items()], 340)
        section.add(*((page.subheading(level_name(iso)), block) if iso in open_ones else (page.details(level_name(iso), block),)))


def _is_there(one: Scored, found: Evaluation, folder: Path) -> bool:
    return {NOISY, TRUTH, found.model} <= one.crops.keys() and all((folder / path).is_file() for path in one.crops.values())


def _slider(one: Scored, found: Evaluation, folder: Path, word: str) -> Markup:
    best = found.best_classical(found.at(one.iso))
    others = [method for method in found.methods if method not in found.classical and method != found.model]
    kinds = [NOISY, *([best] if best is not None else []), *others, TRUTH]
    shots = [_shot(one, kind, folder) for kind in kinds if kind in one.crops]
    said = ", ".join(
        f"{method} {shown('psnr', one.values[method].get('psnr'))} dB" for method in (found.model, *kinds) if method in one.values
    )
    caption = f"{one.name}{f' ({word})' if word else ''}: {said}"
    size = (min(one.size[0], CROP_PX), min(one.size[1], CROP_PX))
    return page.slider(shots, _shot(one, found.model, folder), size=size, caption=caption, sharp=True, most_px=_SHOWN_PX)


def _shot(one: Scored, kind: str, folder: Path) -> Shot:
    return Shot(label=kind, uri=page.file_uri(folder, one.crops[kind]), alternative=f"Crop of {one.name}, {kind}")


def _picture_table(found: Evaluation) -> Markup:
    """Return the values of every picture: the network's, and the best classical method's at its ISO value."""
    rivals = {iso: found.best_classical(found.at(iso)) for iso in found.levels}
    columns = [Column(title="Picture", number=False), Column(title="ISO")]
    columns += [Column(title=LABELS[value], group=found.model) for value in found.values]
    compared = any(rivals.values())
    columns += [Column(title=LABELS["psnr"], group="best classical at this ISO")] if compared else []
    rows = []
    for one in sorted(found.scored, key=lambda one: (one.values[found.model].get("psnr") or 0.0, one.name)):
        rival = rivals[one.iso]
        row: list[Any] = [one.name, level_name(one.iso).removeprefix("ISO ")]
        row += [shown(value, one.values[found.model].get(value)) for value in found.values]
        row += [page.Cell(text=shown("psnr", one.values[rival].get("psnr")), note=rival) if rival else "–"] if compared else []
        rows.append(row)
    return page.table(columns, rows)


def _chart(found: Evaluation, value: str, known: list[float]) -> Any:
    """Values over ISO, in stops, a line per method."""
    stops = [float(np.log2(iso)) for iso in known]
    lines = []
    for place, method in enumerate(found.methods):
        means = np.array([found.mean(method, value, found.at(iso)) for iso in known], dtype=float)
        colour = CLASS_COLOURS[place % len(CLASS_COLOURS)]
        lines.append(
            figures.Line(label=method, x=stops, y=means, colour=colour, dashed=method in found.classical, strong=method == found.model)
        )
    ticks = [(stop, f"{iso:g}") for stop, iso in zip(stops, known, strict=True)]
    drawn = figures.curves(lines, title=f"{LABELS[value]} over ISO", x_label="ISO value", ticks_x=ticks)
    return page.figure(drawn, "", [line.legend for line in lines])

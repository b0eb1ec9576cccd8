"""What an evaluation of an enhancer found, as a section of a page: means, brightness, pictures to wipe over, a table of all."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from photic.apps.lowlight import brightness
from photic.apps.lowlight.evaluation import GT_MEAN, LABELS, TRUTH, Evaluation, Scored, shown
from photic.report import page
from photic.report.page import Cell, Column, Page, Section, Shot

_MOST_SHOWN = 6
"""Pictures shown of the worst and of the best."""
_HINTS = {
    "psnr": "peak signal-to-noise ratio; larger is better",
    "ssim": "structural similarity, at most 1",
    "ms_ssim": "structural similarity over five scales, at most 1; published tables often call it SSIM",
    "delta_e": "mean colour difference CIEDE2000; smaller is better, 2 is just noticed",
    "saturation": "mean of the picture; to be held against that of the true pictures",
    "mean_luma": "mean brightness, 0 to 1",
    "contrast": "standard deviation of brightness",
    "noise": "estimated standard deviation, levels of 255; fine texture counts, too",
}
_OWN = {"val": "Validation pictures", "test": "Test pictures", "train": "Training pictures"}


def show_evaluation(made: Page, found: Evaluation, folder: Path, title: str | None = None) -> None:
    """Add what an evaluation found, in a section of its own: means of all methods, the worst and the best pictures."""
    section = made.section(title or _OWN.get(found.split, f"Pictures of {folder.name}"), found.summary())
    section.add(page.table(*mean_table(found)))
    section.add(page.details("What the values mean", page.facts({LABELS[name]: _HINTS[name] for name in found.values if name in _HINTS})))
    if found.num_with_truth:
        section.add(page.notice(_against_truth(found)))
    drawn = [one for one in found.scored if "after" in one.pictures and all((folder / path).is_file() for path in one.pictures.values())]
    if drawn:
        section.add(page.grid(brightness.charts(brightness.brightness_of(drawn, folder)), 420))
        _show_pictures(section, drawn, found, folder)
    section.add(page.details(f"All {len(found.scored)} pictures, worst first", _picture_table(found)))


def mean_table(found: Evaluation) -> tuple[list[Column], list[list[str]]]:
    """Return the means of all methods, columns and rows."""
    plain = [name for name in found.values if not name.endswith(GT_MEAN)]
    scaled = [name for name in found.values if name.endswith(GT_MEAN)]
    group = "as they are" if scaled else ""
    columns = [Column(title="Method", number=False)]
    columns += [Column(title=LABELS[name], group=group) for name in plain]
    columns += [Column(title=LABELS[name], group="scaled to the true mean (GT mean)") for name in scaled]
    rows = [[method, *(shown(name, found.mean(method, name)) for name in (*plain, *scaled))] for method in found.rows]
    return columns, rows


def _against_truth(found: Evaluation) -> str:
    own, true = found.mean(found.model, "saturation"), found.mean(TRUTH, "saturation")
    better = sum(
        one.best is not None and (one.values[found.model].get("psnr") or 0) > (one.values[one.best].get("psnr") or 0)
        for one in found.scored
    )
    text = f"The model is nearer to the true picture than the best classical method for it in {better} of {found.num_with_truth} pictures."
    if own is not None and true is not None and true > 0:
        text += f" Its pictures have {own / true:.0%} of the true ones' saturation."
    return text


def _picture_table(found: Evaluation) -> Markup:
    """Return the model's values of every picture, and the best classical method's."""
    names = [name for name in found.values if not name.endswith(GT_MEAN)]
    rivals = any(one.best is not None for one in found.scored)
    columns = [Column(title="Picture", number=False), *(Column(title=LABELS[name], group=found.model) for name in names)]
    columns += [Column(title=LABELS["psnr"], group="best classical method")] if rivals else []
    rows: list[list[Cell | str]] = []
    for one in found.scored:
        row: list[Cell | str] = [one.name, *(shown(name, one.values[found.model].get(name)) for name in names)]
        if rivals:
            best = "–" if one.best is None else shown("psnr", one.values[one.best].get("psnr"))
            row.append(Cell(text=best, note=one.best or ""))
        rows.append(row)
    return page.table(columns, rows)


def _show_pictures(section: Section, drawn: list[Scored], found: Evaluation, folder: Path) -> None:
    if len(drawn) <= 2 * _MOST_SHOWN:
        groups = [("Worst first", drawn)]
    else:
        groups = [(f"The {_MOST_SHOWN} worst", drawn[:_MOST_SHOWN]), (f"The {_MOST_SHOWN} best", drawn[-_MOST_SHOWN:][::-1])]
    section.add(page.wipe_hint())
    for title, some in groups:
        section.add(page.heading(title))
        section.add(page.grid([_picture(one, found, folder) for one in some], 420))


def _picture(one: Scored, found: Evaluation, folder: Path) -> Markup:
    """Return a picture to wipe over: after on the right, held against before, the best classical method, or the true one."""
    labels = {"before": "before", "best": one.best or "best classical method", "truth": "true picture"}
    shots = {
        kind: Shot(label=label, uri=page.file_uri(folder, one.pictures[kind]), alternative=f"{one.name}, {label}")
        for kind, label in {**labels, "after": "after"}.items()
        if kind in one.pictures
    }
    values = one.values[found.model]
    names = [name for name in ("psnr", "ssim", "delta_e", "mean_luma", "noise") if name in values]
    caption = f"{one.name}: " + ", ".join(f"{LABELS[name]} {shown(name, values[name])}" for name in names)
    if one.best is not None:
        caption += f"; {one.best}: PSNR dB {shown('psnr', one.values[one.best].get('psnr'))}"
    return page.slider([shots[kind] for kind in labels if kind in shots], shots["after"], caption=caption, size=one.size)

"""The page of a benchmark of codecs: curves, differences, where ours does not win, crops, how it was measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from markupsafe import Markup
from PIL import Image

from photic.apps.rawnind.codec_benchmark import figures
from photic.apps.rawnind.codec_benchmark.findings import Finding, all_findings, falls, rate
from photic.apps.rawnind.codec_benchmark.results import (
    LABELS,
    VALUES,
    Benchmark,
    Equal,
    RateCrops,
    Value,
    difference_rows,
    difference_text,
    kind_label,
)
from photic.functional.bjontegaard import Difference
from photic.report import page
from photic.report.page import Cell, Column, Page, Section, Shot, Tile

_SMALL_SHARE = 0.3


def write_page(found: Benchmark, folder: Path) -> Path:
    """Write ``report.html`` into the folder of a benchmark, whose sheets of crops it takes in; return the file."""
    made = Page(title=_title(found), eyebrow="Photic · compression", verdict=verdict(found))
    made.head.append(page.tiles(_tiles(found)))
    made.head += [page.notice(note) for note in found.notes]
    findings = all_findings(found)
    add_curves(found, made.section("Quality over rate", "Means over the pictures at each setting. Left is smaller, up is better."))
    _differences(found, made)
    if findings:
        _wins(findings, made)
    _falls(found, made)
    if found.rate_crops or found.sheets:
        add_crops(found, folder, made.section("Crops", "The part of each picture with most detail."))
    _how(found, made)
    return made.write(folder / "report.html")


def _title(found: Benchmark) -> str:
    names = [Path(place).name or place for place in found.data.split(", ")]
    return f"Codecs on {names[0]}" if len(names) == 1 else f"Codecs on {names[0]} and {len(names) - 1} more"


def verdict(found: Benchmark) -> str:
    """Return the result in words: the rate of ours against that of the anchor, and how often ours does not win."""
    if not found.ours:
        rows = difference_rows(found, "quality", "ms_ssim", found.anchor)
        if not rows:
            return f"{found.anchor} alone: there is nothing to compare it with."
        shown = ", ".join(f"{label} {cells[0]}" for label, cells in rows)
        return f"Rate against {found.anchor} at equal MS-SSIM, {found.levels[0]}: {shown}."
    own, parts = found.ours[0].label, []
    for value in VALUES:
        cells = dict(difference_rows(found, "quality", value, found.anchor))[own]
        parts.append(f"by {LABELS[value]} " + ", ".join(f"{cell} ({level})" for level, cell in zip(found.levels, cells, strict=True)))
    of_own = [one for one in all_findings(found) if one.method == own]
    won = sum(not one.loses for one in of_own)
    return (
        f"Rate of {own} against {found.anchor} at equal quality: {'; '.join(parts)}. In {won} of {len(of_own)} comparisons with other "
        "methods it is as good or better at every rate; the others are named below."
    )


def _tiles(found: Benchmark) -> list[Tile]:
    made = []
    for own in found.ours[:1]:
        for level in found.levels[:6]:
            difference = found.rate_difference(level, own.label, "ms_ssim")
            note = f"rate of {own.label} against {found.anchor}, by MS-SSIM"
            made.append(Tile(label=level, value=difference_text(difference), note=note))
    pixels = sum(seen.size[0] * seen.size[1] for seen in found.pictures)
    made.append(
        Tile(label="Pictures", value=f"{len(found.pictures)}", note=f"{pixels / 1e6:.1f} megapixels, compared with {found.against}")
    )
    return made


def add_curves(found: Benchmark, section: Section) -> None:
    """Add quality over rate, a chart per level of noise and value."""
    for value in VALUES:
        section.add(page.heading(LABELS[value]))
        shown = figures.charts(found, value)
        section.add(page.grid([page.figure(chart) for chart in shown[:-1]] + [page.figure(shown[-1], "", figures.legend(found))], 420))


def _differences(found: Benchmark, made: Page) -> None:
    lead = (
        "How much the rate differs at equal quality (Bjontegaard), over the qualities that both reach; negative is less rate. Points that "
        "cost more than others of the same codec and are no better do not count. Where two curves have no quality in common there is no "
        "such number: 'all better' says that every point of the row's method is better than every point of the other. Small print: the "
        "qualities compared, in how many of the pictures that have such a number for themselves it is less rate, and how much of what both "
        "curves span they have in common, where that is little; or that a curve has but one point that anybody would choose. "
        "MS-SSIM, at most 1, is compared in dB, as -10 log10(1 - MS-SSIM)."
    )
    _tables(found, made.section("Rate at equal quality", lead), "quality")
    lead = (
        "How much the rate differs with which a method is as good as the other one at its best. There is such a number where there is none "
        "above, too: where the other codec is at its best at its lowest rate, or nearly, since more bits code noise. '≤' says that "
        "already the lowest rate measured is better."
    )
    _tables(found, made.section("Rate for the other's best quality", lead), "best")
    lead = "By how many dB the quality differs at equal rate, over the rates that both curves have; positive is better."
    _tables(found, made.section("Quality at equal rate", lead), "rate")


def _tables(found: Benchmark, section: Section, equal: Equal) -> None:
    for anchor in (found.anchor, *(own.label for own in found.ours)):
        for value in VALUES:
            section.add(
                page.heading(f"Against {anchor}: {kind_label(equal, value, anchor)}"), difference_table(found, equal, value, anchor)
            )


def difference_table(found: Benchmark, equal: Equal, value: Value, anchor: str) -> Markup:
    """Return differences of all other methods to one, with what they rest on: a row per method, a column per level of noise."""
    columns = [Column(title="Method", number=False), *(Column(title=level) for level in found.levels)]
    rows: list[list[Cell]] = []
    for label, cells in difference_rows(found, equal, value, anchor):
        row = [Cell(text=label)]
        for level, text in zip(found.levels, cells, strict=True):
            measured = {label, anchor} <= {one.label for one in found.at(level)}
            row.append(Cell(text=text, note=_basis(found, level, label, equal=equal, value=value, anchor=anchor) if measured else ""))
        rows.append(row)
    return page.table(columns, rows)


def _basis(found: Benchmark, level: str, label: str, *, equal: Equal, value: Value, anchor: str) -> str:
    """Return what a difference rests on: the interval, and of how many pictures it has the sign that is better."""
    if equal == "best":
        return ""
    if equal == "rate":
        quality = found.quality_difference(level, label, value, anchor=anchor)
        return f"{rate(quality.low).removesuffix(' bpp')}–{rate(quality.high)}" if quality.known else _why(quality)
    difference = found.rate_difference(level, label, value, anchor=anchor)
    if not difference.known:
        return _why(difference)
    won, lost, _ = found.pictures_won(level, label, value, anchor=anchor)
    only = f", {difference.share:.0%} in common" if difference.share < _SMALL_SHARE else ""
    return f"{difference.low:.1f}–{difference.high:.1f} dB, {won}/{won + lost} pictures{only}"


def _why(difference: Difference) -> str:
    """Return why there is no number, where the cell itself does not say it."""
    if difference_text(difference) != "–":
        return ""
    return difference.reason.replace(" has a single point that anybody would choose", " has one point")


def _wins(findings: list[Finding], made: Page) -> None:
    losing = [one for one in findings if one.loses]
    winning = [one for one in findings if not one.loses]
    lead = "At the same rate, or less, by the mean over the pictures; beyond the best point of a curve nothing changes."
    section = made.section("Where ours does not win", lead)
    if losing:
        section.add(*_sentences(losing))
    else:
        section.add(
            page.prose("Nowhere: at every rate that both have, ours is at least as good, at each level of noise and by both values.")
        )
    if winning:
        section = made.section("Where ours is as good or better at every rate")
        section.add(page.details(f"{len(winning)} comparisons", *_sentences(winning)))


def add_losses(found: Benchmark, section: Section) -> None:
    """Add the comparisons in which ours does not win, folded."""
    losing = [one for one in all_findings(found) if one.loses]
    if losing:
        section.add(page.details(f"Where ours does not win ({len(losing)})", *_sentences(losing)))


def _sentences(findings: list[Finding]) -> list[Markup]:
    """Return findings as paragraphs, under headings of their levels."""
    made = []
    for level in dict.fromkeys(one.level for one in findings):
        made.append(page.heading(level))
        made += [page.prose(f"{LABELS[one.value]}: {one.text}") for one in findings if one.level == level]
    return made


def _falls(found: Benchmark, made: Page) -> None:
    said = falls(found)
    if said:
        section = made.section(
            "Where more bits make it worse",
            "Compared with the clean picture, a codec that is given noise is at its best where it loses noise with the detail; more bits "
            "bring the noise back. Its curve ends there for every comparison on this page.",
        )
        section.add(*(page.prose(text) for text in said))


def add_crops(found: Benchmark, folder: Path, section: Section) -> None:
    """Add crops: of our first model at several rates, to wipe over, and of all methods at about the same rate."""
    there = [one for one in found.rate_crops if all((folder / path).is_file() for path in (*one.parts.values(), one.reference))]
    if there:
        section.add(page.heading(f"{found.ours[0].label} at several rates"), page.wipe_hint())
    for level in dict.fromkeys(one.level for one in there):
        section.add(page.subheading(level), page.grid([_slider(one, found, folder) for one in there if one.level == level], 340))
    sheets = [folder / name for name in found.sheets if (folder / name).is_file()]
    if sheets:
        section.add(page.heading("All at about the same rate"))
    for path in sheets:
        with Image.open(path) as image:
            uri = page.jpeg_uri(np.asarray(image.convert("RGB")), 92)
        section.add(page.picture(uri, f"Crops, {path.stem.replace('_', ' ')}", path.stem.replace("_", " "), sharp=True, least_px=900))


def _slider(one: RateCrops, found: Benchmark, folder: Path) -> Markup:
    def shot(label: str, path: str) -> Shot:
        return Shot(label=label, uri=page.file_uri(folder, path), alternative=f"Crop of {one.picture}, {label}")

    left = [shot(label, path) for label, path in one.parts.items()]
    return page.slider(left, shot(found.against, one.reference), size=one.size, caption=one.picture, sharp=True, most_px=3 * one.size[1])


def _how(found: Benchmark, made: Page) -> None:
    section = made.section("How it was measured")
    noisy = found.against == "noisy"
    section.add(
        page.prose(
            "Rates are of whole files, without EXIF and profiles, in bits per pixel of the picture, which has as many as the sensor. "
            "Compressors of Photic get what the sensor measured and are told its noise; other codecs get the picture developed from that "
            "(demosaiced by Menon, white-balanced, sRGB); all are compared developed, in sRGB, with the picture "
            + ("as it was measured, noise and all." if noisy else "that is true: developed without noise, where noise was made.")
        )
    )
    section.add(page.facts({method.label: f"{method.how} ({method.knob})" for method in found.methods}))
    names = ", ".join(f"{seen.name} ({seen.size[1]} x {seen.size[0]})" for seen in found.pictures)
    section.add(page.details(f"{len(found.pictures)} pictures", page.prose(names)))
    rows = []
    for level in found.levels:
        for method in found.at(level):
            by_psnr, by_ssim = (found.curve(level, method.label, value) for value in VALUES)
            rows += [
                [level, method.label, f"{setting:g}", rate(bpp), f"{psnr:.2f}", f"{ssim:.4f}"]
                for setting, bpp, psnr, ssim in zip(by_psnr.settings, by_psnr.bpp, by_psnr.plain, by_ssim.plain, strict=True)
            ]
    titles = ("level", "method", "setting", "rate", "PSNR dB", "MS-SSIM")
    columns = [Column(title=title, number=place > 1) for place, title in enumerate(titles)]
    section.add(page.details("Every point of the curves", page.table(columns, rows)))
    for name, why in found.failed:
        section.add(page.notice(f"Left out: {name}: {why}", "warning"))

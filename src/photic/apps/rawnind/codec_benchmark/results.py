"""What a benchmark of codecs found: points of rate and quality, curves of them, differences between curves, files."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from photic.core.errors import DataError
from photic.core.files import write_json, write_text
from photic.functional.bjontegaard import Difference, bd_quality, bd_rate, frontier, rate_at, similarity_decibels
from photic.tracking.evaluations import read_results

FORMAT = 1
Value = Literal["psnr", "ms_ssim"]
VALUES: tuple[Value, ...] = ("psnr", "ms_ssim")
LABELS = {"psnr": "PSNR", "ms_ssim": "MS-SSIM"}
Equal = Literal["quality", "rate", "best"]
"""How curves are compared: rates at equal quality (BD-rate), qualities at equal rate, rates for the best quality of the anchor."""
_TERMINAL: tuple[Equal, ...] = ("quality", "best")
Kind = Literal["ours", "codec", "chain"]
"""A model of Photic; a codec alone; a denoiser and then a codec."""


@dataclass(frozen=True)
class Method:
    """Something that codes pictures."""

    label: str
    kind: Kind
    knob: str
    """What its setting is called."""
    how: str
    """Version and options, for people."""


@dataclass(frozen=True)
class Point:
    """One picture, coded once."""

    picture: str
    level: str
    method: str
    setting: float
    num_bytes: int
    bpp: float
    """Bits per pixel of the picture, which are as many as the sensor's."""
    psnr: float
    """dB, of the developed picture."""
    ms_ssim: float


@dataclass(frozen=True)
class Curve:
    """Means over pictures at each setting of a method, in the order of its settings."""

    settings: tuple[float, ...]
    bpp: NDArray[np.float64]
    quality: NDArray[np.float64]
    """As curves are compared: PSNR in dB, or MS-SSIM in dB, -10 log10(1 - mean)."""
    plain: NDArray[np.float64]
    """PSNR in dB, or MS-SSIM as it is."""


@dataclass(frozen=True)
class Seen:
    """A picture of the set."""

    name: str
    size: tuple[int, int]
    """Height and width of the part that was coded, in pixels."""


@dataclass(frozen=True, kw_only=True)
class RateCrops:
    """The same part of a picture as our first model gives it back at several rates."""

    picture: str
    level: str
    size: tuple[int, int]
    """Height and width of the crops in pixels."""
    parts: Mapping[str, str]
    """Rate and PSNR as text to a PNG file, relative to the benchmark's folder, by rising rate."""
    reference: str
    """File of the same part of what is compared with."""


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Everything that was found."""

    data: str
    """Where the pictures come from."""
    against: str
    """What is compared with: ``clean`` or ``noisy``."""
    levels: tuple[str, ...]
    """By rising noise."""
    methods: tuple[Method, ...]
    pictures: tuple[Seen, ...]
    points: tuple[Point, ...]
    anchor: str
    """Label of the codec that the others are held against."""
    notes: tuple[str, ...] = ()
    failed: tuple[tuple[str, str], ...] = ()
    """Files that could not be used, and why."""
    sheets: tuple[str, ...] = ()
    """Files with crops, in the folder."""
    rate_crops: tuple[RateCrops, ...] = ()

    @property
    def ours(self) -> tuple[Method, ...]:
        """Models of Photic among the methods."""
        return tuple(method for method in self.methods if method.kind == "ours")

    def at(self, level: str) -> tuple[Method, ...]:
        """Return the methods that were measured at a level: chains with a denoiser need noise."""
        there = {point.method for point in self.points if point.level == level}
        return tuple(method for method in self.methods if method.label in there)

    def curve(self, level: str, method: str, value: Value, picture: str | None = None) -> Curve:
        """Return a method's curve at a level of noise, the mean over pictures at each setting; of one picture if it is named.

        Raises:
            DataError: it was not measured.
        """
        own = [
            point
            for point in self.points
            if point.level == level and point.method == method and (picture is None or point.picture == picture)
        ]
        if not own:
            raise DataError(f"{method} at {level}: was not measured")
        settings = list(dict.fromkeys(point.setting for point in own))
        groups = [[point for point in own if point.setting == setting] for setting in settings]
        rates = np.array([np.mean([point.bpp for point in group]) for group in groups])
        plain = np.array([np.mean([getattr(point, value) for point in group]) for group in groups])
        return Curve(tuple(settings), rates, similarity_decibels(plain) if value == "ms_ssim" else plain, plain)

    def rate_difference(
        self, level: str, method: str, value: Value, *, anchor: str | None = None, picture: str | None = None
    ) -> Difference:
        """Return the BD-rate of a method in percent against another (the anchor), negative where it needs less rate."""
        one, other = self.curve(level, anchor or self.anchor, value, picture), self.curve(level, method, value, picture)
        return _named(bd_rate(one.bpp, one.quality, other.bpp, other.quality), method, anchor or self.anchor)

    def quality_difference(self, level: str, method: str, value: Value, *, anchor: str | None = None) -> Difference:
        """Return by how many dB a method is better than another at the same rate."""
        one, other = self.curve(level, anchor or self.anchor, value), self.curve(level, method, value)
        return _named(bd_quality(one.bpp, one.quality, other.bpp, other.quality), method, anchor or self.anchor)

    def rate_for_best(self, level: str, method: str, value: Value, *, anchor: str | None = None) -> tuple[float, bool] | None:
        """Return by how many percent the rate differs with which a method is as good as another (the anchor) at its best.

        There is such a number where there is no BD-rate, too: where the anchor gets no better with more bits at all, since they code noise.

        Returns:
            The difference, and whether it is a bound, the method being better from its lowest rate on; None if it is never as good.
        """
        one, other = self.curve(level, anchor or self.anchor, value), self.curve(level, method, value)
        needed, best = (float(part[-1]) for part in frontier(one.bpp, one.quality))
        rates, qualities = frontier(other.bpp, other.quality)
        if qualities[-1] < best:
            return None
        bound = bool(qualities[0] > best)
        rate = float(rates[0]) if bound else float(rate_at(rates, qualities)(best))
        return 100 * (rate / needed - 1), bound

    def pictures_won(self, level: str, method: str, value: Value, *, anchor: str | None = None) -> tuple[int, int, int]:
        """Return of how many pictures a method needs less rate than another, of how many more, and how many have no BD-rate."""
        found = [self.rate_difference(level, method, value, anchor=anchor, picture=seen.name) for seen in self.pictures]
        known = [difference.value for difference in found if difference.known]
        return sum(value < 0 for value in known), sum(value >= 0 for value in known), len(found) - len(known)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values; what is derived (curves, differences) is in there for other programs."""
        return {
            "format": FORMAT,
            **{key: getattr(self, key) for key in ("data", "against", "anchor")},
            "levels": list(self.levels),
            "methods": [asdict(method) for method in self.methods],
            "pictures": [{"name": seen.name, "size": list(seen.size)} for seen in self.pictures],
            "notes": list(self.notes),
            "failed": [list(pair) for pair in self.failed],
            "sheets": list(self.sheets),
            "rate_crops": [{**asdict(one), "size": list(one.size)} for one in self.rate_crops],
            "curves": [
                {"level": level, "method": method.label, "value": value, **_plain(self.curve(level, method.label, value))}
                for level in self.levels
                for method in self.at(level)
                for value in VALUES
            ],
            "differences": self._differences(),
            "points": [asdict(point) for point in self.points],
        }

    def _differences(self) -> list[dict[str, Any]]:
        """Return the difference of every method to the anchor, and of ours to every other method."""
        made = []
        for level in self.levels:
            there = [method.label for method in self.at(level)]
            ours = [method.label for method in self.ours]
            pairs = [(label, self.anchor) for label in there if label != self.anchor and self.anchor in there]
            pairs += [(own, other) for own in ours for other in there if other not in (own, self.anchor)]
            for method, anchor in pairs:
                for value in VALUES:
                    rate = self.rate_difference(level, method, value, anchor=anchor)
                    quality = self.quality_difference(level, method, value, anchor=anchor)
                    reached = self.rate_for_best(level, method, value, anchor=anchor)
                    won, lost, unknown = self.pictures_won(level, method, value, anchor=anchor)
                    made.append(
                        {
                            "level": level,
                            "value": value,
                            "method": method,
                            "anchor": anchor,
                            "bd_rate_percent": _shown(rate, ("low_db", "high_db")),
                            "bd_quality_db": _shown(quality, ("low_bpp", "high_bpp")),
                            "rate_for_best_percent": None if reached is None else {"value": reached[0], "is_bound": reached[1]},
                            "pictures": {"less_rate": won, "more_rate": lost, "no_common_quality": unknown},
                        }
                    )
        return made

    @classmethod
    def read(cls, folder: Path | str) -> Benchmark:
        """Read what :func:`write_results` wrote.

        Raises:
            DataError: there is no such file, or it is another one.
        """
        return read_results(Path(folder) / "benchmark.json", FORMAT, "benchmark of codecs", "run the benchmark again", cls._of)

    @classmethod
    def _of(cls, content: dict[str, Any]) -> Benchmark:
        return cls(
            data=str(content["data"]),
            against=str(content["against"]),
            anchor=str(content["anchor"]),
            levels=tuple(map(str, content["levels"])),
            methods=tuple(Method(**method) for method in content["methods"]),
            pictures=tuple(Seen(str(one["name"]), (int(one["size"][0]), int(one["size"][1]))) for one in content["pictures"]),
            points=tuple(Point(**point) for point in content["points"]),
            notes=tuple(map(str, content["notes"])),
            failed=tuple((str(name), str(why)) for name, why in content["failed"]),
            sheets=tuple(map(str, content["sheets"])),
            rate_crops=tuple(RateCrops(**{**one, "size": tuple(one["size"])}) for one in content.get("rate_crops", ())),
        )


def write_results(found: Benchmark, folder: Path) -> list[Path]:
    """Write ``benchmark.json`` and ``points.csv`` (a row for each time that a picture was coded); return the files."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["picture", "level", "method", "setting", "bytes", "bpp", "psnr_db", "ms_ssim"])
    for one in found.points:
        numbers = (f"{one.setting:g}", one.num_bytes, f"{one.bpp:.6g}", f"{one.psnr:.5g}", f"{one.ms_ssim:.6g}")
        writer.writerow([one.picture, one.level, one.method, *numbers])
    return [write_json(folder / "benchmark.json", found.to_dict()), write_text(folder / "points.csv", text.getvalue())]


def table(found: Benchmark) -> str:
    """Return differences to the anchor as text for a terminal: a row per method, a column per level of noise."""
    kinds = [(equal, value, kind_label(equal, value, found.anchor)) for equal in _TERMINAL for value in VALUES]
    width = max(len(text) for text in (*(method.label for method in found.methods), *(label for _, _, label in kinds))) + 2
    columns = [max(len(level) + 2, 13) for level in found.levels]
    heads = "".join(f"{level:>{wide}}" for level, wide in zip(found.levels, columns, strict=True))
    blocks = []
    for equal, value, label in kinds:
        lines = [f"{label:<{width}}{heads}"]
        for name, cells in difference_rows(found, equal, value, found.anchor):
            lines.append(f"{name:<{width}}" + "".join(f"{cell:>{wide}}" for cell, wide in zip(cells, columns, strict=True)))
        blocks.append("\n".join(lines))
    return f"against {found.anchor}:\n\n" + "\n\n".join(blocks)


def difference_rows(found: Benchmark, equal: Equal, value: Value, anchor: str) -> list[tuple[str, list[str]]]:
    """Return differences of all other methods to one as text, a cell per level of noise.

    Args:
        found: the benchmark.
        equal: how they are compared.
        value: by which quality.
        anchor: label of the one.
    """
    made = []
    for method in found.methods:
        if method.label == anchor:
            continue
        cells = []
        for level in found.levels:
            measured = {method.label, anchor} <= {one.label for one in found.at(level)}
            cells.append(_cell(found, level, method.label, equal=equal, value=value, anchor=anchor) if measured else "–")
        made.append((method.label, cells))
    return made


def kind_label(equal: Equal, value: Value, anchor: str) -> str:
    """Return what is compared, in words."""
    name = LABELS[value]
    return {"quality": f"rate at equal {name}", "rate": f"{name} at equal rate", "best": f"rate for {anchor}'s best {name}"}[equal]


def _cell(found: Benchmark, level: str, method: str, *, equal: Equal, value: Value, anchor: str) -> str:
    if equal == "quality":
        return difference_text(found.rate_difference(level, method, value, anchor=anchor), "%")
    if equal == "rate":
        return difference_text(found.quality_difference(level, method, value, anchor=anchor), "dB")
    reached = found.rate_for_best(level, method, value, anchor=anchor)
    return "never" if reached is None else f"{'≤ ' if reached[1] else ''}{reached[0]:+.1f} %"


def difference_text(difference: Difference, unit: Literal["%", "dB"] = "%") -> str:
    """Return a difference as a cell; where there is none, whether every point is better or worse.

    >>> difference_text(Difference(-34.06)), difference_text(Difference(1.5), "dB")
    ('-34.1 %', '+1.50 dB')
    """
    if difference.known:
        return f"{difference.value:+.1f} %" if unit == "%" else f"{difference.value:+.2f} dB"
    for word in ("better", "worse"):
        if f" is {word} than every " in difference.reason:
            return f"all {word}"
    return "–"


def finite_points(points: Sequence[Point], where: str) -> None:
    """Refuse points that are no numbers.

    Raises:
        DataError: a picture came out exactly equal to the true one, or broken.
    """
    for point in points:
        if not all(np.isfinite(value) for value in (point.bpp, point.psnr, point.ms_ssim)):
            raise DataError(
                f"{where}: {point.method} at {point.setting:g} gives PSNR {point.psnr:g} and MS-SSIM {point.ms_ssim:g}; a picture without "
                "any difference (all black, say) says nothing of codecs, leave it out"
            )


def _named(difference: Difference, method: str, anchor: str) -> Difference:
    reason = difference.reason.replace("the test", method).replace("the anchor", anchor)
    return Difference(difference.value, difference.low, difference.high, difference.share, reason)


def _plain(curve: Curve) -> dict[str, Any]:
    return {"settings": list(curve.settings), "bpp": curve.bpp.tolist(), "mean": curve.plain.tolist(), "db": curve.quality.tolist()}


def _shown(difference: Difference, ends: tuple[str, str]) -> dict[str, Any]:
    if not difference.known:
        return {"value": None, "reason": difference.reason}
    return {"value": difference.value, ends[0]: difference.low, ends[1]: difference.high, "common_share": difference.share}

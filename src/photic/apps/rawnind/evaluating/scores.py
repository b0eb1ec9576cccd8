"""How good pictures are that denoisers and classical methods make of the same noisy ones, picture by picture and by ISO value."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from photic.core.files import write_json, write_text
from photic.tracking.evaluations import read_results

FORMAT = 1
VALUES = ("psnr", "ms_ssim")
LABELS = {"psnr": "PSNR dB", "ms_ssim": "MS-SSIM"}
_DIGITS = {"psnr": 2, "ms_ssim": 4}


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What was found for one picture."""

    name: str
    iso: float | None
    """None where nobody knows."""
    size: tuple[int, int]
    """Height and width in pixels."""
    values: Mapping[str, Mapping[str, float | None]]
    """Method to ``psnr`` and, where the picture is large enough, ``ms_ssim``; None where a value is not finite."""
    crops: Mapping[str, str] = field(default_factory=dict)
    """``noisy``, ``truth`` or a method to a small PNG file, relative to the evaluation's folder."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What was found for a set of pictures."""

    model: str
    """What the model's rows are called."""
    source: str
    """File of the model."""
    data: str
    """Where the pictures come from."""
    split: str
    """``val``, ``test``, ``train`` or ``all``."""
    methods: tuple[str, ...]
    """The model first, then models it is compared with, then classical methods."""
    classical: tuple[str, ...]
    """Which of the methods are classical ones."""
    scored: tuple[Scored, ...]
    notes: tuple[str, ...] = ()

    @property
    def levels(self) -> tuple[float | None, ...]:
        """ISO values in order; None last, where a picture has none."""
        found = {one.iso for one in self.scored}
        known = sorted(iso for iso in found if iso is not None)
        return (*known, None) if None in found else tuple(known)

    @property
    def values(self) -> tuple[str, ...]:
        """Names of the values that any picture has."""
        return tuple(name for name in VALUES if any(name in values for one in self.scored for values in one.values.values()))

    def at(self, iso: float | None) -> tuple[Scored, ...]:
        """Return the pictures of an ISO value."""
        return tuple(one for one in self.scored if one.iso == iso)

    def mean(self, method: str, value: str, pictures: Iterable[Scored] | None = None) -> float | None:
        """Return the mean of a value over pictures (all of them if omitted) that have it; None where none has."""
        found = [one.values.get(method, {}).get(value) for one in (self.scored if pictures is None else pictures)]
        known = [number for number in found if number is not None]
        return sum(known) / len(known) if known else None

    def best_classical(self, pictures: Iterable[Scored] | None = None) -> str | None:
        """Return the classical method with the largest mean PSNR; None where there is none."""
        some = tuple(self.scored if pictures is None else pictures)
        means = {method: value for method in self.classical if (value := self.mean(method, "psnr", some)) is not None}
        return max(means, key=lambda method: means[method]) if means else None

    def rows(self, value: str) -> list[list[str]]:
        """Return means of a value as text: a row per method, a column per ISO value, the mean over all pictures last."""
        levels = self.levels
        return [
            [method, *(shown(value, self.mean(method, value, self.at(iso))) for iso in levels), shown(value, self.mean(method, value))]
            for method in self.methods
        ]

    def heads(self) -> list[str]:
        """Return what stands over these columns."""
        return ["", *(level_name(iso) for iso in self.levels), "all"]

    def table(self) -> str:
        """Return the means as text for a terminal."""
        heads = self.heads()
        width = max(len(name) for name in self.methods) + 2
        columns = [max(len(head) + 2, 9) for head in heads[1:]]
        blocks = []
        for value in self.values:
            lines = [[LABELS[value], *heads[1:]], *self.rows(value)]
            cells = [[f"{cell:>{wide}}" for cell, wide in zip(line[1:], columns, strict=True)] for line in lines]
            blocks.append("\n".join(f"{line[0]:<{width}}{''.join(row)}" for line, row in zip(lines, cells, strict=True)))
        return "\n\n".join(blocks)

    def summary(self) -> str:
        """Return what was measured, in a sentence."""
        count = len(self.scored)
        return f"{self.data}: {self.split}, {count} picture{'s' * (count != 1)}, developed (white-balanced, sRGB)."

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        by_level = {
            level_name(iso): {method: {name: self.mean(method, name, self.at(iso)) for name in self.values} for method in self.methods}
            for iso in self.levels
        }
        return {
            "format": FORMAT,
            "model": self.model,
            "source": self.source,
            "data": self.data,
            "split": self.split,
            "methods": list(self.methods),
            "classical": list(self.classical),
            "notes": list(self.notes),
            "num_pictures": len(self.scored),
            "mean": {method: {name: self.mean(method, name) for name in self.values} for method in self.methods},
            "by_iso": by_level,
            "pictures": [
                {
                    "name": one.name,
                    "iso": one.iso,
                    "size": list(one.size),
                    "crops": dict(one.crops),
                    "values": {method: dict(values) for method, values in one.values.items()},
                }
                for one in self.scored
            ],
        }

    @classmethod
    def read(cls, folder: Path | str) -> Evaluation:
        """Read what :func:`write_results` wrote.

        Raises:
            DataError: there is no such file, or it is another one.
        """
        return read_results(Path(folder) / "results.json", FORMAT, "evaluation of denoisers", "evaluate again", cls._of)

    @classmethod
    def _of(cls, content: dict[str, Any]) -> Evaluation:
        scored = tuple(
            Scored(
                name=one["name"],
                iso=None if one["iso"] is None else float(one["iso"]),
                size=(int(one["size"][0]), int(one["size"][1])),
                values=one["values"],
                crops=one["crops"],
            )
            for one in content["pictures"]
        )
        return cls(
            model=str(content["model"]),
            source=str(content["source"]),
            data=str(content["data"]),
            split=str(content["split"]),
            methods=tuple(map(str, content["methods"])),
            classical=tuple(map(str, content["classical"])),
            notes=tuple(map(str, content["notes"])),
            scored=scored,
        )


def write_results(found: Evaluation, folder: Path) -> list[Path]:
    """Write ``results.json`` and ``table.csv`` (a row for each picture and method); return the files."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["picture", "iso", "method", *found.values])
    for one in found.scored:
        for method, values in one.values.items():
            cells = ("" if (value := values.get(name)) is None else f"{value:.6g}" for name in found.values)
            writer.writerow([one.name, "" if one.iso is None else f"{one.iso:g}", method, *cells])
    return [write_json(folder / "results.json", found.to_dict()), write_text(folder / "table.csv", text.getvalue())]


def level_name(iso: float | None) -> str:
    """Return an ISO value as text.

    >>> level_name(204800.0), level_name(None)
    ('ISO 204800', 'ISO unknown')
    """
    return "ISO unknown" if iso is None else f"ISO {iso:.10g}"


def shown(name: str, value: float | None) -> str:
    """Return a value as text with the digits it deserves."""
    return "–" if value is None else f"{value:.{_DIGITS[name]}f}"


def finite(value: float) -> float | None:
    """Return a number, None if it is not finite."""
    return value if math.isfinite(value) else None

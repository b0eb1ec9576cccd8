"""How good pictures are that an enhancer and classical methods make of the same dark ones: values of each picture, means, files."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from photic.core.files import write_json, write_text
from photic.data.photo.depth import to_tensor
from photic.functional.colour import luma, saturation
from photic.metrics.pictures import picture_values
from photic.tracking.evaluations import read_results

Picture = NDArray[np.float32]
"""``(H, W, 3)`` in [0, 1]."""

FORMAT = 1
TRUTH = "true picture"
"""What the true picture is called among the methods; of it there is only what needs no reference."""
LABELS = {
    "psnr": "PSNR dB",
    "ssim": "SSIM",
    "ms_ssim": "MS-SSIM",
    "delta_e": "ΔE2000",
    "saturation": "saturation",
    "psnr_gt_mean": "PSNR dB",
    "ssim_gt_mean": "SSIM",
    "ms_ssim_gt_mean": "MS-SSIM",
    "delta_e_gt_mean": "ΔE2000",
    "mean_luma": "mean luma",
    "contrast": "contrast",
    "noise": "noise",
}
"""Value to its short name; those that end in ``_gt_mean`` stand under a heading of their own."""
GT_MEAN = "_gt_mean"
NO_REFERENCE = ("mean_luma", "saturation", "contrast", "noise")
"""Values that need no true picture: mean luma; mean saturation; standard deviation of luma; estimated noise, in levels of 255."""
_DIGITS = {"psnr": 2, "psnr_gt_mean": 2, "delta_e": 2, "delta_e_gt_mean": 2, "noise": 2}


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What was found for one picture."""

    name: str
    size: tuple[int, int]
    """Height and width in pixels."""
    values: Mapping[str, Mapping[str, float | None]]
    """Method to the values of its picture; None where a value is not finite."""
    has_truth: bool
    pictures: Mapping[str, str] = field(default_factory=dict)
    """``before``, ``after``, ``truth`` and ``best`` (of the classical methods) to small JPEG files, relative to the evaluation's folder."""
    best: str | None = None
    """Which classical method came nearest to this true picture."""


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
    fitted_to: str
    """What the methods that learn were fitted to, or why they are missing; a sentence."""
    methods: tuple[str, ...]
    """The model first."""
    scored: tuple[Scored, ...]
    """Worst picture first: smallest PSNR, or without true pictures the darkest result."""

    @property
    def num_with_truth(self) -> int:
        """How many pictures have a true one."""
        return sum(one.has_truth for one in self.scored)

    @property
    def values(self) -> tuple[str, ...]:
        """Names of the values, in order."""
        found = {name for one in self.scored for values in one.values.values() for name in values}
        return tuple(name for name in LABELS if name in found)

    def mean(self, method: str, value: str) -> float | None:
        """Return the mean of a value over the pictures that have it; None where none has."""
        found = [one.values[method][value] for one in self.scored if value in one.values.get(method, {})]
        known = [number for number in found if number is not None]
        return sum(known) / len(known) if known else None

    @property
    def rows(self) -> tuple[str, ...]:
        """Methods, and the true picture where there is one."""
        return (*self.methods, TRUTH) if self.num_with_truth else self.methods

    def table(self) -> str:
        """Return the means as text for a terminal; with and without scaling to the true mean apart."""
        plain = [name for name in self.values if not name.endswith(GT_MEAN)]
        scaled = [name for name in self.values if name.endswith(GT_MEAN)]
        width = max(len(name) for name in self.rows) + 2
        columns = [*plain, *scaled]
        head = f"{'':<{width}}" + "".join(f"{LABELS[name]:>11}" for name in columns)
        over = f"{'':<{width}}" + f"{'as they are':^{11 * len(plain)}}" + f"{'scaled to the true mean (GT mean)':^{11 * len(scaled)}}"
        lines = [over.rstrip()] if scaled else []
        lines.append(head)
        for method in self.rows:
            cells = "".join(f"{shown(name, self.mean(method, name)):>11}" for name in columns)
            lines.append(f"{method:<{width}}{cells}")
        return "\n".join(lines)

    def summary(self) -> str:
        """Return what was measured, in a sentence or two."""
        count = len(self.scored)
        text = f"{self.data}: {self.split}, {count} picture{'s' * (count != 1)}"
        if not self.num_with_truth:
            return f"{text} without true ones: only values that need none. {self.fitted_to}"
        if self.num_with_truth < count:
            text += f", {self.num_with_truth} with a true one"
        return f"{text}. {self.fitted_to}"

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "format": FORMAT,
            "model": self.model,
            "source": self.source,
            "data": self.data,
            "split": self.split,
            "fitted_to": self.fitted_to,
            "methods": list(self.methods),
            "num_pictures": len(self.scored),
            "num_with_truth": self.num_with_truth,
            "mean": {method: {name: self.mean(method, name) for name in self.values} for method in self.rows},
            "pictures": [
                {
                    "name": one.name,
                    "size": list(one.size),
                    "has_truth": one.has_truth,
                    "best": one.best,
                    "pictures": dict(one.pictures),
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
        return read_results(Path(folder) / "results.json", FORMAT, "evaluation of pictures", "evaluate again", cls._of)

    @classmethod
    def _of(cls, content: dict[str, Any]) -> Evaluation:
        scored = tuple(
            Scored(
                name=one["name"],
                size=(int(one["size"][0]), int(one["size"][1])),
                has_truth=bool(one["has_truth"]),
                best=one["best"],
                pictures=one["pictures"],
                values=one["values"],
            )
            for one in content["pictures"]
        )
        texts = {key: str(content[key]) for key in ("model", "source", "data", "split", "fitted_to")}
        return cls(**texts, methods=tuple(content["methods"]), scored=scored)


def values_of(picture: Picture, truth: Picture | None) -> dict[str, float | None]:
    """Return the values of a picture: against the true one, or without it what needs none.

    Args:
        picture: ``(H, W, 3)`` in [0, 1].
        truth: the same shape, or None.
    """
    if truth is None:
        return no_reference_values(picture)
    made = to_tensor(picture)[None]
    found = picture_values(made, to_tensor(truth)[None], small="leave_out")
    return {name: _finite(float(value[0])) for name, value in found.items()}


def no_reference_values(picture: Picture) -> dict[str, float | None]:
    """Return what can be said of a picture ``(H, W, 3)`` without a true one, by the names of :data:`NO_REFERENCE`."""
    made = to_tensor(picture)[None]
    brightness = luma(made)
    return {
        "mean_luma": float(brightness.mean()),
        "saturation": float(saturation(made).mean()),
        "contrast": float(brightness.std(correction=0)),
        "noise": 255 * noise_level(brightness.reshape(brightness.shape[-2:]).numpy()),
    }


def noise_level(brightness: NDArray[Any]) -> float:
    """Return the standard deviation of noise in a grey picture ``(H, W)``, in its unit; 0 where it is smaller than 3 x 3.

    Fine texture counts as noise, too; what a network has smoothed away counts as none. So it only says which of two pictures
    of one scene is rougher.

    Source: Immerkaer 1996, Fast noise variance estimation.

    >>> flat = np.random.default_rng(0).normal(0.5, 0.1, (200, 200))
    >>> round(noise_level(flat), 2)
    0.1
    """
    if min(brightness.shape) < 3:
        return 0.0
    grey = torch.from_numpy(np.asarray(brightness, dtype=np.float64))[None, None]
    kernel = torch.tensor([[1.0, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=torch.float64)[None, None]
    return float(torch.nn.functional.conv2d(grey, kernel).abs().mean()) * math.sqrt(math.pi / 2) / 6


def ordered(scored: Iterable[Scored], model: str) -> tuple[Scored, ...]:
    """Return pictures by how well the model did, worst first; those without a true one by brightness, after the others."""

    def place(one: Scored) -> tuple[bool, float, str]:
        values = one.values[model]
        value = values.get("psnr") if one.has_truth else values.get("mean_luma")
        return (not one.has_truth, math.inf if value is None else value, one.name)

    return tuple(sorted(scored, key=place))


def write_results(found: Evaluation, folder: Path) -> list[Path]:
    """Write ``results.json`` and ``table.csv`` (a row for each picture and method); return the files."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["picture", "method", *found.values])
    for one in found.scored:
        for method, values in one.values.items():
            writer.writerow([one.name, method, *(_cell(values.get(name)) for name in found.values)])
    return [write_json(folder / "results.json", found.to_dict()), write_text(folder / "table.csv", text.getvalue())]


def shown(name: str, value: float | None) -> str:
    """Return a value as text with the digits it deserves."""
    return "–" if value is None else f"{value:.{_DIGITS.get(name, 3)}f}"


def best_of(values: Mapping[str, Mapping[str, float | None]], methods: Sequence[str]) -> str | None:
    """Return which of some methods has the largest PSNR for a picture; None where none has one."""
    known = {method: values[method].get("psnr") for method in methods}
    finite = {method: value for method, value in known.items() if value is not None}
    return max(finite, key=lambda method: finite[method]) if finite else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"

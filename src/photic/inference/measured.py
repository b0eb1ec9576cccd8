"""What a model's description says of its quality: the values that count for its task, overall and level by level. Works without torch."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_UNIT = re.compile(r"(.+) \(([^()]+)\)")
_UNDECLARED: dict[str, tuple[str, bool]] = {
    "psnr": ("PSNR (dB)", True),
    "ssim": ("SSIM", True),
    "ms_ssim": ("MS-SSIM", True),
    "delta_e": ("ΔE2000", False),
    "saturation": ("saturation", True),
    "psnr_gt_mean": ("PSNR (dB), GT mean", True),
    "ssim_gt_mean": ("SSIM, GT mean", True),
    "r_amp": ("R_amp", False),
    "bpp_actual": ("bits per pixel", False),
}
"""Label and direction of values in the first bundles, which do not say which of their values count."""


@dataclass(frozen=True)
class Score:
    """One value of a model, measured on one split."""

    name: str
    """As results call it, such as ``psnr``."""
    label: str
    """As people call it, such as ``PSNR (dB)``."""
    value: float
    split: str
    """``test``, or ``val`` where nothing was tested."""
    higher_is_better: bool | None
    """None where the file does not say."""

    def __str__(self) -> str:
        """Return it for people, without the split: ``PSNR 33.20 dB``."""
        with_unit = _UNIT.fullmatch(self.label)
        if with_unit:
            return f"{with_unit[1]} {number(self.value)} {with_unit[2]}"
        return f"{number(self.value)} {self.label}" if self.label.startswith("bits") else f"{self.label} {number(self.value)}"


def scores(description: Mapping[str, Any]) -> list[Score]:
    """Return the values that count for a model's task, the most important one first; empty where nothing was measured.

    Of the test split, or, where there was none, of validation. Which they are, a bundle says itself (``scores``); for older ones, the
    metrics of the task are taken.

    Args:
        description: of a bundle, as :func:`photic.inference.description.describe` gives it.
    """
    test, val = (mapping(mapping(description.get("metrics")).get(split)) for split in ("test", "val"))
    split, values = ("test", test) if test else ("val", val)
    macro = mapping(mapping(test.get("at_tuned")).get("macro"))
    if macro:  # classification: average precision and F1, which people know by these names
        known = (("ap", "macro AP"), ("auc", "macro AUC"), ("f1", "macro F1"))
        return [Score(name, label, float(macro[name]), "test", True) for name, label in known if is_number(macro.get(name))]
    return [
        Score(name, label, float(values[name]), split, better)
        for name, label, better in _wanted(description)
        if is_number(values.get(name))
    ]


def levels(description: Mapping[str, Any]) -> dict[str, dict[str, dict[str, float]]]:
    """Return the values of groups of test samples: kind of level (``iso``, ``quality``) to level to value by name."""
    test = mapping(mapping(description.get("metrics")).get("test"))
    names = [name for name, _, _ in _wanted(description)]
    found: dict[str, dict[str, dict[str, float]]] = {}
    for kind in ("iso", "quality"):
        rows = {
            str(level): {name: float(values[name]) for name in names if is_number(values.get(name))}
            for level, values in mapping(test.get(kind)).items()
            if isinstance(values, Mapping)
        }
        if any(rows.values()):
            found[kind] = rows
    return found


def labels(description: Mapping[str, Any]) -> dict[str, str]:
    """Return what people call the values that count for a model's task, by their names."""
    return {name: label for name, label, _ in _wanted(description)}


def mapping(value: Any) -> Mapping[str, Any]:
    """Return a value that should be an object of JSON, or an empty one: files of others hold anything."""
    return value if isinstance(value, Mapping) else {}


def is_number(value: Any) -> bool:
    """Say whether a JSON value is a finite number."""
    return type(value) in (int, float) and value - value == 0


def number(value: Any) -> str:
    """Return a value for people: four digits behind the point, two from 10 on.

    >>> number(0.17682199), number(33.19990), number(3), number(None)
    ('0.1768', '33.20', '3', 'n/a')
    """
    if not is_number(value):
        return "n/a"
    return str(value) if isinstance(value, int) else f"{value:.4f}" if abs(value) < 10 else f"{value:.2f}"


def _wanted(description: Mapping[str, Any]) -> Iterator[tuple[str, str, bool | None]]:
    """Yield name, label and direction of the values that count."""
    declared = description.get("scores")
    if isinstance(declared, list) and declared:
        for one in declared:
            yield one["name"], one["label"], one["higher_is_better"]
        return
    metrics = mapping(mapping(description.get("config")).get("task")).get("metrics")
    names = [name for name in metrics if isinstance(name, str)] if isinstance(metrics, list) else []
    for name in dict.fromkeys([*names, "bpp_actual"]):
        label, better = _UNDECLARED.get(name, (name, None))
        yield name, label, better

"""What curves say in words: at which rates which codec is better, where more bits make a picture worse."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from photic.apps.rawnind.codec_benchmark.results import LABELS, VALUES, Benchmark, Curve, Value
from photic.functional.bjontegaard import best_within, frontier

_STEPS = 4000
"""Rates at which two curves are compared; crossings are found to about a thousandth of themselves."""
_NOTICED_DB = 0.05
"""Curves that stay this near each other count as equal."""
_FALLS_DB = 0.1
_CROSSING = 1.25
_OTHER_RATE = np.log(1.1)


@dataclass(frozen=True)
class Span:
    """A range of rates in which one of two is better."""

    low_bpp: float
    high_bpp: float
    sign: int
    """1: the first is better; -1: the second; 0: within 0.05 dB."""


@dataclass(frozen=True)
class Finding:
    """What there is to say of two methods at a level of noise."""

    level: str
    value: Value
    method: str
    other: str
    spans: tuple[Span, ...]
    text: str
    """Where which is better; then who reaches lower rates, and who is better before the other is at its best."""

    @property
    def short(self) -> str:
        """Where which is better, alone."""
        return _sentence(self.method, self.other, self.spans)

    @property
    def loses(self) -> bool:
        """Whether the other one is better anywhere."""
        return any(span.sign < 0 for span in self.spans)


def spans_of(first: Curve, second: Curve) -> tuple[Span, ...]:
    """Return where which of two curves is better, over the rates that both can have, with no more rate than that.

    The range begins where both have a point and ends where both are at their best; beyond, nothing changes.
    """
    one, other = frontier(first.bpp, first.quality), frontier(second.bpp, second.quality)
    low, high = max(one[0][0], other[0][0]), max(one[0][-1], other[0][-1])
    rates = np.geomspace(low, high, _STEPS) if high > low else np.array([low])
    rates[0], rates[-1] = low, high  # not a rounding beside them, where there is no curve
    ahead = best_within(*one)(rates) - best_within(*other)(rates)
    signs = np.where(np.abs(ahead) < _NOTICED_DB, 0, np.sign(ahead)).astype(int)
    starts = np.flatnonzero(np.concatenate([[True], signs[1:] != signs[:-1]]))
    ends = np.append(starts[1:], len(rates) - 1)
    return _without_crossings([Span(float(rates[a]), float(rates[b]), int(signs[a])) for a, b in zip(starts, ends, strict=True)])


def _without_crossings(spans: list[Span]) -> tuple[Span, ...]:
    """Return spans without short ones in which curves are equal only because they cross there; the next one begins in their middle."""
    made: list[Span] = []
    for place, span in enumerate(spans):
        inner = 0 < place < len(spans) - 1
        if span.sign == 0 and inner and span.high_bpp < _CROSSING * span.low_bpp:
            middle = float(np.sqrt(span.low_bpp * span.high_bpp))
            made[-1] = replace(made[-1], high_bpp=middle)
            spans[place + 1] = replace(spans[place + 1], low_bpp=middle)
        elif made and made[-1].sign == span.sign:
            made[-1] = replace(made[-1], high_bpp=span.high_bpp)
        else:
            made.append(span)
    return tuple(made)


def finding(found: Benchmark, level: str, method: str, other: str, value: Value) -> Finding:
    """Return at which rates a method is better than another, and at which it is not."""
    first, second = found.curve(level, method, value), found.curve(level, other, value)
    spans = spans_of(first, second)
    text = _sentence(method, other, spans) + _ends(method, other, first, second, value)
    return Finding(level, value, method, other, spans, text)


def all_findings(found: Benchmark) -> list[Finding]:
    """Return what there is to say of each of our models against each other method, at each level and by each value."""
    return [
        finding(found, level, own.label, other.label, value)
        for own in found.ours
        for level in found.levels
        for value in VALUES
        for other in found.at(level)
        if other.kind != "ours"
    ]


def falls(found: Benchmark, only: str | None = None) -> list[str]:
    """Return, in sentences, which methods (or whether one) get worse with more bits, since those bits code noise."""
    made = []
    for level in found.levels:
        for value in VALUES:
            for method in found.at(level):
                if only not in (None, method.label):
                    continue
                curve = found.curve(level, method.label, value)
                best, last = int(np.argmax(curve.quality)), int(np.argmax(curve.bpp))
                if curve.quality[best] - curve.quality[last] > _FALLS_DB:
                    made.append(
                        f"{level}: {method.label} is best at {rate(curve.bpp[best])}, {LABELS[value]} {_number(value, curve.plain[best])}; "
                        f"with more bits it codes noise, and falls to {_number(value, curve.plain[last])} at {rate(curve.bpp[last])}."
                    )
    return made


def rate(bpp: float) -> str:
    """Return bits per pixel as text with three digits that count.

    >>> rate(0.04123), rate(3.4), rate(12.0)
    ('0.0412 bpp', '3.40 bpp', '12.0 bpp')
    """
    digits = int(np.clip(2 - np.floor(np.log10(bpp)), 0, 4))
    return f"{bpp:.{digits}f} bpp"


def _number(value: Value, number: float) -> str:
    return f"{number:.2f} dB" if value == "psnr" else f"{number:.4f}"


def _sentence(method: str, other: str, spans: tuple[Span, ...]) -> str:
    if len(spans) == 1:
        return {
            1: f"{method} is better than {other} at every rate that both have.",
            -1: f"{other} is better than {method} at every rate that both have.",
            0: f"{method} and {other} are within {_NOTICED_DB:g} dB of each other at every rate that both have.",
        }[spans[0].sign]
    parts = []
    for place, span in enumerate(spans):
        where = f"from {rate(span.low_bpp)} on" if place == len(spans) - 1 else f"from {rate(span.low_bpp)} to {rate(span.high_bpp)}"
        who = {1: f"{method} is better", -1: f"{other} is better", 0: "they are equal"}[span.sign]
        parts.append(f"{who} {where}")
    return "; ".join(parts) + "."


def _ends(method: str, other: str, first: Curve, second: Curve, value: Value) -> str:
    """Return who alone reaches lower rates, and who is better from his first point on than the other at his best."""
    one, two = frontier(first.bpp, first.quality), frontier(second.bpp, second.quality)
    text = ""
    if abs(np.log(one[0][0] / two[0][0])) > _OTHER_RATE:
        lower, upper = (method, two[0][0]) if one[0][0] < two[0][0] else (other, one[0][0])
        text += f" Below {rate(upper)} there is only {lower}."
    for own, best, own_points, best_points in ((method, other, one, two), (other, method, two, one)):
        if own_points[1][0] > best_points[1][-1]:
            curve = first if own is method else second
            there = _number(value, float(curve.plain[np.argmax(curve.bpp == own_points[0][0])]))
            curve = second if own is method else first
            most = _number(value, float(curve.plain[np.argmax(curve.quality)]))
            text += f" At {rate(own_points[0][0])} {own} has {there} already, {best} at its best, {rate(best_points[0][-1])}, {most}."
    return text

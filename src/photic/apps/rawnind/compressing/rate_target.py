"""The quality at which a compressed file gets a given size: few real codings, interpolated between."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

WITHIN = 0.02
"""How far below the target a size may lie, as a share of it."""
MOST_CODINGS = 8
_AIM = 0.99
"""Where the next try aims at, as a share of the target: in the middle of what is accepted."""
_OCTAVES_PER_LEVEL = 0.5
"""How much the logarithm (base 2) of sizes grows from level to level before two sizes are known."""
_MARGIN = 0.05
"""Share of the levels between two tries that the next one keeps from both: so the bracket shrinks, however sizes bend."""
_LEAST_STEP = 1e-3
"""Files hold qualities in thousandths."""


@dataclass(frozen=True)
class Coding:
    """A file at one quality."""

    quality: float
    data: bytes


@dataclass(frozen=True)
class Found:
    """What the search came to."""

    coding: Coding
    """The largest file that is not above the target, or the smallest of all where each is above it."""
    sizes: tuple[tuple[float, int], ...]
    """Quality and bytes of every coding, in the order of qualities."""
    reached: bool
    """Whether the size lies at most 2 % below the target, and not above it."""
    beyond: bool
    """Whether the target lies outside of what the qualities reach; then ``sizes`` has both ends."""
    is_above: bool
    """Whether even the smallest file is above the target."""


def search(coded: Callable[[float], bytes], lowest: float, highest: float, target_bytes: float) -> Found:
    """Return the file nearest below a size.

    Sizes are taken to grow with quality, smoothly; their logarithm is interpolated between the nearest tries on both sides.

    Args:
        coded: makes the file of a quality.
        lowest: quality.
        highest: quality, above the lowest.
        target_bytes: wanted size of the file.

    >>> search(lambda quality: bytes(int(100 * 2**quality)), 1.0, 8.0, 3000).reached
    True
    """
    tries: list[Coding] = []

    def code(quality: float) -> Coding:
        tries.append(Coding(quality, coded(quality)))
        return tries[-1]

    quality = round((lowest + highest) / 2, 3)
    while len(tries) < MOST_CODINGS:
        last = code(quality)
        if WITHIN >= 1 - len(last.data) / target_bytes >= 0:
            return _found(tries, target_bytes, reached=True)
        below, above = _nearest(tries, target_bytes)
        if (below is None and above is not None and above.quality == lowest) or (
            above is None and below is not None and below.quality == highest
        ):
            other = highest if above is not None else lowest
            if all(one.quality != other for one in tries):
                code(other)
            return _found(tries, target_bytes, beyond=True)
        quality = _next(tries, lowest, highest, target_bytes)
        if any(one.quality == quality for one in tries):  # no finer step is left
            break
    return _found(tries, target_bytes)


def _found(tries: list[Coding], target: float, *, reached: bool = False, beyond: bool = False) -> Found:
    below, _ = _nearest(tries, target)
    best = below or min(tries, key=lambda one: len(one.data))
    sizes = tuple((one.quality, len(one.data)) for one in sorted(tries, key=lambda one: one.quality))
    return Found(best, sizes, reached, beyond, is_above=beyond and below is None)


def _nearest(tries: list[Coding], target: float) -> tuple[Coding | None, Coding | None]:
    """Return the largest file not above the target, and the smallest above it."""
    fitting = [one for one in tries if len(one.data) <= target]
    larger = [one for one in tries if len(one.data) > target]
    return max(fitting, key=lambda one: len(one.data), default=None), min(larger, key=lambda one: len(one.data), default=None)


def _next(tries: list[Coding], lowest: float, highest: float, target: float) -> float:
    """Return the quality to try next, in thousandths."""
    below, above = _nearest(tries, target)
    wanted = math.log2(_AIM * target)
    if below is not None and above is not None:
        low, high = math.log2(max(1, len(below.data))), math.log2(len(above.data))
        share = (wanted - low) / (high - low)
        share = min(1 - _MARGIN, max(_MARGIN, share))
        made = below.quality + share * (above.quality - below.quality)
        least, most = below.quality, above.quality
    else:
        known = below or above
        assert known is not None, "something has been tried"
        slope = _slope(tries)
        made = known.quality + (wanted - math.log2(max(1, len(known.data)))) / slope
        least, most = (known.quality + _LEAST_STEP, highest) if below is not None else (lowest, known.quality - _LEAST_STEP)
    return round(min(most, max(least, made)), 3)


def _slope(tries: list[Coding]) -> float:
    """Return by how much the logarithm of sizes grows per level, by the two tries that lie farthest apart."""
    first, last = (choose(tries, key=lambda one: one.quality) for choose in (min, max))
    if last.quality - first.quality < _LEAST_STEP or len(last.data) <= len(first.data):
        return _OCTAVES_PER_LEVEL
    return max(0.05, math.log2(len(last.data) / max(1, len(first.data))) / (last.quality - first.quality))

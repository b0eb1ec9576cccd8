"""How noisy a raw picture is, from the picture alone: variance a x + b at the clean value x."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn
from scipy.optimize import nnls

from photic.core.errors import DataError
from photic.functional.cfa import Pattern, check_pattern, is_bayer

Values = NDArray[np.float32]
_SIDE = 8
"""Side of a block, in samples of one colour."""
_FIRST_FINE = 8
"""Coefficients (u, v) of a block's cosine transform with u + v from here on are fine: 28 of 64."""
_MOST_BLOCKS = 60_000
_BLOCKS_PER_BIN = 120
_LEAST_PER_BIN = 24
_FEW_BINS, _MOST_BINS = 8, 48
_LEAST_BLOCKS = 40
_FLATTEST = 0.1
"""Share of a bin's blocks, those with the least coarse detail, that is believed."""
_CLIPPED = 0.97
_LEAST_RANGE = 2.0
_MOST_SPREAD = 1.6
"""Blocks without detail differ by chance alone; from so many times that on, they hold detail."""


@dataclass(frozen=True)
class NoiseEstimate:
    """Noise of variance ``a x + b`` at the clean value x; unpacks as ``a, b = estimate``."""

    a: float
    """Variance per signal."""
    b: float
    """Variance at black."""
    reliable: bool
    """Whether there were enough flat places of different brightness; otherwise noise is probably less than this says."""
    num_blocks: int
    """Flat blocks that it rests on."""
    note: str = ""
    """What is wrong where it is not reliable."""

    def __iter__(self) -> Iterator[float]:
        """Give a and b."""
        return iter((self.a, self.b))


@dataclass(frozen=True)
class _Blocks:
    mean: NDArray[np.float64]
    coarse: NDArray[np.float64]
    """Detail that noise and the picture share: how flat a block is, independent of the fine detail where there is noise alone."""
    fine: NDArray[np.float64]
    """Mean square of the fine detail: the noise's variance in a flat block."""
    clipped: NDArray[np.bool_]
    freedom: int
    """Independent numbers behind each value of ``fine``."""


def estimate_noise(values: Values, pattern: Pattern | None) -> NoiseEstimate:
    """Return the noise of a raw picture, taken to be white and the same function of brightness in all colours.

    Blocks of 8 x 8 samples of one colour are transformed (cosines). Among blocks of about one brightness, those with the least coarse
    detail are flat; their fine detail, which is independent of it where there is only noise, gives the variance. X-Trans has squares of
    2 x 2 greens: their diagonal difference is the fine, the squares' means are the coarse detail. A straight line, a and b not negative,
    is put through the bins, where a picture is brighter than its texture says counting less. Blocks near clipping, above and
    below, do not count. Large pictures are sampled.

    Where that fails (texture everywhere, one brightness only), the result says so, and a warning does.

    Source: Ponomarenko, Lukin, Egiazarian and Astola 2007, An automatic approach to lossy compression (selection of blocks); Foi,
    Trimeche, Katkovnik and Egiazarian 2008, Practical Poissonian-Gaussian noise modeling and fitting for single-image raw-data (model).

    Args:
        values: ``(H, W)`` mosaic or ``(H, W, 3)`` three colours; black 0, white 1.
        pattern: colours of the mosaic, Bayer or X-Trans at any phase; None: three colours at each pixel.

    Raises:
        DataError: another shape or pattern, values that are not finite, or fewer than 40 usable blocks (all clipped, too small).

    Warns:
        UserWarning: the estimate is not reliable.

    >>> rng = np.random.default_rng(0)
    >>> clean = np.broadcast_to(np.linspace(0.05, 0.9, 512), (512, 512))
    >>> noisy = clean + np.sqrt(1e-3 * clean + 1e-5) * rng.normal(size=clean.shape)
    >>> a, b = estimate_noise(noisy.astype(np.float32), ((0, 1), (1, 2)))
    >>> 0.9e-3 < a < 1.1e-3, b < 4e-5
    (True, True)
    """
    blocks = _blocks(_checked(values, pattern), pattern)
    used = ~blocks.clipped
    if used.sum() < _LEAST_BLOCKS:
        raise DataError(
            f"noise: expected at least {_LEAST_BLOCKS} blocks of {_SIDE} x {_SIDE} samples of one colour that are not clipped, found "
            f"{int(used.sum())} of {used.size}: the picture is too small, black or over-exposed; give the noise yourself"
        )
    a, b, note, number = 0.0, 0.0, "", 0
    for _ in range(2):  # the second time without blocks that are clipped now and then, by the noise
        a, b, note, number = _fit(blocks, used)
        reach = 3 * np.sqrt(a * blocks.mean.clip(0) + b)
        near = blocks.mean + reach > _CLIPPED
        again = ~blocks.clipped & ~near
        if again.sum() < _LEAST_BLOCKS:
            break
        used = again
    if note:
        warnings.warn(f"noise of the picture is uncertain: {note}; give the noise yourself if you know it", UserWarning, stacklevel=2)
    return NoiseEstimate(a, b, not note, number, note)


def _checked(values: Values, pattern: Pattern | None) -> Values:
    array = np.asarray(values)
    expected = "(H, W, 3)" if pattern is None else "(H, W)"
    if array.ndim != (3 if pattern is None else 2) or (array.ndim == 3 and array.shape[2] != 3) or array.dtype.kind != "f":
        raise DataError(f"noise: expected {expected} of floats, got {array.shape} {array.dtype}")
    if pattern is not None:
        check_pattern(pattern)
    return array


def _blocks(values: Values, pattern: Pattern | None) -> _Blocks:
    """Blocks of all colours, at most so many, evenly over the picture."""
    if pattern is None:
        return _joined([_of_plane(values[..., colour], 3) for colour in range(3)])
    if is_bayer(pattern):
        return _joined([_of_plane(values[top::2, left::2], 4) for top in range(2) for left in range(2)])
    return _of_squares(values, pattern)


def _joined(parts: list[_Blocks]) -> _Blocks:
    mean, coarse, fine = (np.concatenate([getattr(part, name) for part in parts]) for name in ("mean", "coarse", "fine"))
    return _Blocks(mean, coarse, fine, np.concatenate([part.clipped for part in parts]), parts[0].freedom)


def _cut(plane: Values, shares: int) -> Values:
    """Blocks ``(N, 8, 8)``; of many, every so manyth in rows and columns, so that a large picture is not copied."""
    down, across = plane.shape[0] // _SIDE, plane.shape[1] // _SIDE
    step = max(1, int(np.ceil(np.sqrt(down * across * shares / _MOST_BLOCKS))))
    grid = plane[: down * _SIDE, : across * _SIDE].reshape(down, _SIDE, across, _SIDE)[::step, :, ::step]
    made: Values = np.ascontiguousarray(grid.transpose(0, 2, 1, 3)).reshape(-1, _SIDE, _SIDE)
    if not np.isfinite(made).all():
        raise DataError("noise: expected finite values, some are NaN or infinite")
    return made


def _of_plane(plane: Values, shares: int) -> _Blocks:
    blocks = _cut(plane, shares)
    energy = dctn(blocks.astype(np.float64), axes=(1, 2), norm="ortho") ** 2
    order = np.add.outer(np.arange(_SIDE), np.arange(_SIDE))
    fine, coarse = order >= _FIRST_FINE, (order > 0) & (order < _FIRST_FINE)
    return _Blocks(
        blocks.mean(axis=(1, 2), dtype=np.float64),
        energy[:, coarse].mean(axis=1),
        energy[:, fine].mean(axis=1),
        _clipped(blocks, float(plane.min()) if plane.size else 0.0),
        int(fine.sum()),
    )


def _of_squares(values: Values, pattern: Pattern) -> _Blocks:
    """Blocks of 8 x 8 squares of 2 x 2 greens, which X-Trans has at every third row and column."""
    height, width = len(pattern), len(pattern[0])
    corners = [
        (y, x)
        for y in range(height)
        for x in range(width)
        if all(pattern[(y + dy) % height][(x + dx) % width] == 1 for dy in range(2) for dx in range(2))
    ]
    if (height, width) != (6, 6) or len(corners) != 4 or len({(y % 3, x % 3) for y, x in corners}) != 1:
        raise DataError(f"noise: expected a Bayer or X-Trans pattern, got {pattern}")
    top, left = corners[0][0] % 3, corners[0][1] % 3
    rows, columns = (values.shape[0] - top - 2) // 3 + 1, (values.shape[1] - left - 2) // 3 + 1
    ends = (top + 3 * max(rows, 0), left + 3 * max(columns, 0))
    planes = [values[top + dy : ends[0] + dy : 3, left + dx : ends[1] + dx : 3] for dy in (0, 1) for dx in (0, 1)]
    samples = [_cut(plane[:rows, :columns], 1) for plane in planes]
    a, b, c, d = (sample.astype(np.float64) for sample in samples)
    middle = (a + b + c + d) / 2
    floor = float(values.min()) if values.size else 0.0
    return _Blocks(
        middle.mean(axis=(1, 2)) / 2,
        middle.var(axis=(1, 2)),
        (((a - b - c + d) / 2) ** 2).mean(axis=(1, 2)),
        np.any([_clipped(sample, floor) for sample in samples], axis=0),
        _SIDE * _SIDE,
    )


def _clipped(blocks: Values, floor: float) -> NDArray[np.bool_]:
    """Whether a block has a value near white, or several at the lowest one of all, where noise is cut off at black."""
    at_floor = np.asarray((blocks <= floor).sum(axis=(1, 2)) > 1)
    over = np.asarray((blocks >= _CLIPPED).any(axis=(1, 2)))
    either: NDArray[np.bool_] = np.asarray(at_floor | over)
    return either


def _fit(blocks: _Blocks, used: NDArray[np.bool_]) -> tuple[float, float, str, int]:
    """Return a, b, what is wrong, and how many blocks counted."""
    order = np.flatnonzero(used)[np.argsort(blocks.mean[used], kind="stable")]
    number = max(len(order) // _BLOCKS_PER_BIN, min(len(order) // _LEAST_PER_BIN, _FEW_BINS))
    bins = np.array_split(order, min(max(number, 1), _MOST_BINS))
    levels, variances, weights, spreads = [], [], [], []
    by_chance = np.sqrt(2 / blocks.freedom)
    for members in bins:
        flat = members[np.argsort(blocks.coarse[members], kind="stable")[: max(8, int(_FLATTEST * len(members)))]]
        fine = blocks.fine[flat]
        # The median resists blocks with detail; that of a sum of squares lies a little below its mean.
        middle = float(np.median(fine)) / (1 - 2 / (9 * blocks.freedom)) ** 3
        levels.append(max(float(blocks.mean[flat].mean()), 0.0))
        variances.append(middle)
        weights.append(len(flat))
        low, high = np.quantile(fine, (0.2, 0.8))
        spread = max((high - low) / 2, high - middle)
        spreads.append(spread / (0.84 * by_chance * middle) if middle > 0 else 0.0)
    level, variance, weight = np.array(levels), np.array(variances), np.array(weights, float)
    a, b = _line(level, variance, weight)
    return a, b, _doubts(level, variance, float(np.median(spreads)), (a, b)), int(weight.sum())


def _line(level: NDArray[np.float64], variance: NDArray[np.float64], weight: NDArray[np.float64]) -> tuple[float, float]:
    """Line with a, b >= 0: relative errors count, and those above the line, where detail is taken for noise, count less."""
    scale = max(float(np.median(variance)), 1e-30)
    model = np.maximum(variance, 1e-3 * scale)
    doubt = np.ones_like(model)
    a = b = 0.0
    for _ in range(20):
        factor = np.sqrt(weight * doubt) / model
        solution, _ = nnls(np.stack([level * factor, factor], axis=1), variance * factor)
        a, b = (float(part) for part in solution)
        model = np.maximum(a * level + b, 1e-3 * scale)
        off = (variance - model) / model
        width = max(1.5 * float(np.median(np.abs(off))), 0.02)
        above = (width / np.maximum(off, width)) ** 2
        doubt = above * np.minimum(2 * width / np.maximum(-off, width), 1.0)
    return a, b


def _doubts(level: NDArray[np.float64], variance: NDArray[np.float64], spread: float, line: tuple[float, float]) -> str:
    if spread > _MOST_SPREAD:
        return "hardly any place is flat, so detail is taken for noise and this is an upper bound"
    low, high = float(level.min()), float(level.max())
    if high < _LEAST_RANGE * max(low, 1e-3):
        return (
            f"flat places are all about equally bright ({low:.3g} to {high:.3g}), so that noise of light and of electronics cannot be told "
            "apart; it holds for that brightness"
        )
    off = np.abs(variance / np.maximum(line[0] * level + line[1], 1e-30) - 1)
    if float(np.median(off)) > 0.5:
        return "noise does not grow with brightness as a sensor's does; the picture may be processed"
    return ""

"""Laying one complex picture over another: sub-pixel registration, and what ptychography cannot know taken off.

A ptychographic object is known only up to a complex scale, a linear phase ramp and a shift of the whole grid. Before
two are compared, :func:`align` fits all of these. Shifts are ``(x, y)`` in pixels, the way the content moves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.fft import fft2, fftfreq, ifft2, irfft2, next_fast_len, rfft2, rfftfreq

from photic.core.errors import ConfigError, DataError

Complex = NDArray[np.complex128]
Real = NDArray[np.float64]
_MARGIN = 16
_MAX_STEPS, _STEP_DONE = 20, 1e-5
"""Refinement ends after so many steps, or one of less than this: pixels of shift, radians of ramp from side to side."""


def fourier_shift(picture: ArrayLike, shift_px: tuple[float, float]) -> NDArray:
    """Return a periodic picture moved by a fraction of pixels, exact for band-limited ones.

    What leaves at one side comes in at the other. The highest frequency of an even side, which has no sign, is
    moved as its cosine, so real pictures stay real.

    Args:
        picture: ``(H, W)`` real or complex.
        shift_px: ``(x, y)``; positive moves right and down.

    Returns:
        ``(H, W)`` float64 or complex128.

    Raises:
        DataError: not two axes.

    >>> np.allclose(fourier_shift([[0, 1, 0, 0]], (1, 0)), [[0, 0, 1, 0]])
    True
    """
    array = _picture(picture, "picture")
    moved = ifft2(fft2(array) * _shift_factor(array.shape, shift_px))
    made: NDArray = moved if np.iscomplexobj(picture) else moved.real
    return made


def register(
    picture: ArrayLike, reference: ArrayLike, *, upsampling: int = 100, whitened: bool = False, max_shift_px: float | None = None
) -> tuple[float, float]:
    """Return the shift ``(x, y)`` in pixels that lays a picture on its reference, to ``1 / upsampling`` of a pixel.

    The peak of the cross-correlation is found on whole pixels and then in its neighbourhood of 1.5 pixels on a fine grid, by two
    products of matrices. Borders count as periodic: take off the mean and fade them out before.

    Source: Guizar-Sicairos, Thurman and Fienup 2008, Efficient subpixel image registration algorithms.

    Args:
        picture: ``(H, W)`` real or complex; a constant phase does not matter, a phase ramp does.
        reference: the same shape.
        upsampling: fine steps per pixel.
        whitened: let all frequencies count alike (phase correlation), which sharpens the peak of pictures with little noise.
        max_shift_px: no peak further off, in x or y, is taken; None: any.

    Raises:
        ConfigError: upsampling below 1, or a negative largest shift.
        DataError: shapes differ, or values that are not finite.

    >>> picture = np.outer(np.hanning(32), np.hanning(40))
    >>> register(fourier_shift(picture, (-3.25, 1.5)), picture)
    (3.25, -1.5)
    """
    if upsampling < 1 or (max_shift_px is not None and max_shift_px < 0):
        raise ConfigError(f"expected upsampling >= 1 and max_shift_px >= 0, got {upsampling!r} and {max_shift_px!r}")
    moving, fixed = _pair(picture, reference)
    product = fft2(fixed) * np.conj(fft2(moving))
    if whitened:
        strength = np.abs(product)
        product = product / np.maximum(strength, 1e-12 * max(strength.max(), 1e-300))
    height, width = product.shape
    strength = np.abs(ifft2(product))
    if max_shift_px is not None:
        far = [np.abs(fftfreq(side, 1 / side)) > max_shift_px for side in (height, width)]
        strength[far[0]] = -1.0
        strength[:, far[1]] = -1.0
    row, column = np.unravel_index(int(np.argmax(strength)), strength.shape)
    coarse = [float(place - side if place > side // 2 else place) for place, side in ((row, height), (column, width))]
    if upsampling == 1 or not strength.max() > 0:
        return coarse[1], coarse[0]
    half = math.ceil(0.75 * upsampling)
    steps = np.arange(-half, half + 1) / upsampling
    if max_shift_px is not None:
        places = [np.clip(centre + steps, -max_shift_px, max_shift_px) for centre in coarse]
    else:
        places = [centre + steps for centre in coarse]
    down = np.exp(2j * np.pi * np.outer(places[0], fftfreq(height)))
    across = np.exp(2j * np.pi * np.outer(fftfreq(width), places[1]))
    fine = np.abs(down @ product @ across)
    best = np.unravel_index(int(np.argmax(fine)), fine.shape)
    return float(places[1][best[1]]), float(places[0][best[0]])


def correlation_peaks(
    picture: ArrayLike, reference: ArrayLike, *, num: int = 5, max_shift_px: float | None = None, cutoff: float | None = None
) -> list[tuple[int, int]]:
    """Return the shifts ``(x, y)`` in whole pixels at the highest values of the phase correlation of real pictures, the highest first.

    Computed in single precision, for large pictures. What is noise and what repeats itself can have peaks too: see which of the
    shifts lays the pictures on each other best.

    Source: Kuglin and Hines 1975, The phase correlation image alignment method.

    Args:
        picture: ``(H, W)`` real; take off the mean and fade the borders out before.
        reference: the same shape.
        num: how many shifts.
        max_shift_px: none further off, in x or y; None: any.
        cutoff: frequencies are weighted with exp(-(f / cutoff)^2), in cycles per pixel, which helps where fine structure drowns in noise;
            None: all count alike.

    Raises:
        ConfigError: a number is out of its range.
        DataError: shapes differ.

    >>> picture = np.random.default_rng(0).standard_normal((32, 40))
    >>> correlation_peaks(np.roll(picture, (2, -3), axis=(0, 1)), picture, num=1)
    [(3, -2)]
    """
    if num < 1 or (max_shift_px is not None and max_shift_px < 0) or (cutoff is not None and cutoff <= 0):
        raise ConfigError(f"expected num >= 1, max_shift_px >= 0 and cutoff > 0, got {num!r}, {max_shift_px!r} and {cutoff!r}")
    moving, fixed = (np.asarray(value, dtype=np.float32) for value in (picture, reference))
    if moving.ndim != 2 or moving.shape != fixed.shape or not moving.size:
        raise DataError(f"picture: expected the shape of the reference, {fixed.shape}, got {moving.shape}")
    height, width = moving.shape
    product = rfft2(fixed) * np.conj(rfft2(moving))
    strength = np.abs(product)
    product *= 1 / np.maximum(strength, max(1e-12 * float(strength.max()), 1e-30))
    if cutoff is not None:
        squares = np.square(fftfreq(height))[:, None] + np.square(rfftfreq(width))[None, :]
        product *= np.exp(-squares / cutoff**2).astype(np.float32)
    peaks = irfft2(product, s=(height, width))
    places = [fftfreq(side, 1 / side).astype(int) for side in (height, width)]
    if max_shift_px is not None:
        near = [np.flatnonzero(np.abs(moves) <= max_shift_px) for moves in places]
        peaks, places = peaks[np.ix_(*near)], [moves[kept] for moves, kept in zip(places, near, strict=True)]
    count = min(num, peaks.size)
    highest = np.argpartition(peaks, -count, axis=None)[-count:]
    rows, columns = np.unravel_index(highest[np.argsort(-peaks.ravel()[highest], kind="stable")], peaks.shape)
    return [(int(places[1][column]), int(places[0][row])) for row, column in zip(rows, columns, strict=True)]


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """What lays one picture on another: ``scale * moved(exp(i (ramp_x column + ramp_y row)) * picture)``.

    The ramp goes first, because what is centred in the band of frequencies can be moved with the least loss.
    """

    scale: complex
    """Amplitude scale times phase offset."""
    ramp_rad: tuple[float, float]
    """``(x, y)`` phase ramp in radians per pixel."""
    shift_px: tuple[float, float]
    """``(x, y)`` by which the content is moved."""
    residual: float
    """Root of the weighted mean square of what differs afterwards, over that of the reference."""

    def apply(self, picture: ArrayLike) -> Complex:
        """Return a picture ``(H, W)`` turned, moved and scaled, complex128.

        Raises:
            DataError: not two axes.
        """
        array = _picture(picture, "picture")
        return self.scale * _turned_and_moved(array, self.ramp_rad, self.shift_px)


def align(
    picture: ArrayLike,
    reference: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    shift: bool = True,
    ramp: bool = True,
    max_shift_px: float | None = None,
) -> tuple[Complex, Alignment]:
    """Lay a complex picture on a reference: complex scale, linear phase ramp and sub-pixel shift.

    The ramp is first estimated from the products of neighbouring pixels of each picture, which no shift changes, the shift from the
    peak of the cross-correlation; then all are refined together by weighted least squares of the complex difference (Newton steps).
    At the end the modulus of the scale is that of the amplitudes' own least squares, which noise in the phase does not shrink.

    Args:
        picture: ``(H, W)`` complex; borders are continued smoothly where the shift asks for what lies outside.
        reference: ``(H, W)`` complex.
        weight: ``(H, W)`` >= 0, or a mask: what counts; None: everything.
        shift: whether to move it.
        ramp: whether to take off a phase ramp.
        max_shift_px: largest shift looked for, in x and y; None: a quarter of the shorter side.

    Returns:
        The aligned picture ``(H, W)`` complex128, and the parameters.

    Raises:
        ConfigError: a negative largest shift.
        DataError: shapes differ, values are not finite, or one of the pictures is zero wherever it counts.

    >>> rng = np.random.default_rng(0)
    >>> reference = np.exp(1j * rng.random((16, 16)))
    >>> aligned, found = align(0.5j * reference * np.exp(0.02j * np.arange(16)), reference, shift=False)
    >>> bool(np.allclose(aligned, reference)), round(found.ramp_rad[0], 6), round(abs(found.scale), 6)
    (True, -0.02, 2.0)
    """
    moving, fixed = _pair(picture, reference)
    weights = _weight(weight, moving.shape)
    if not (weights * np.abs(moving)).any() or not (weights * np.abs(fixed)).any():
        raise DataError("align: expected both pictures to be other than zero somewhere where the weight is")
    limit = min(moving.shape) / 4 if max_shift_px is None else max_shift_px
    moved, slope = (0.0, 0.0), (0.0, 0.0)
    if ramp:
        slope = _difference(_slope(fixed, fixed, weights), _slope(moving, moving, weights))
    if shift:
        moved = _coarse_shift(moving * _ramp(moving.shape, slope), fixed, weights, limit)
    if ramp:
        # Now that the pictures overlap, the ramp of their quotient is what is left.
        quotient = fixed * np.conj(_turned_and_moved(moving, slope, moved))
        rest = _slope(quotient, quotient, weights)
        slope = (slope[0] + rest[0], slope[1] + rest[1])
    moved, slope = _refined(moving, fixed, weights, moved, slope, shift=shift, ramp=ramp, limit=limit)
    turned = _turned_and_moved(moving, slope, moved)
    phase = np.angle(np.sum(weights * np.conj(turned) * fixed))
    strength = np.sum(weights * np.abs(turned) * np.abs(fixed)) / np.sum(weights * np.abs(turned) ** 2)
    scale = complex(strength * np.exp(1j * phase))
    aligned = scale * turned
    residual = math.sqrt(np.sum(weights * np.abs(fixed - aligned) ** 2) / np.sum(weights * np.abs(fixed) ** 2))
    return aligned, Alignment(scale=scale, ramp_rad=slope, shift_px=moved, residual=residual)


def _turned_and_moved(picture: Complex, ramp_rad: tuple[float, float], shift_px: tuple[float, float]) -> Complex:
    turned = picture * _ramp(picture.shape, ramp_rad)
    return _Movable(turned).moved(shift_px) if any(shift_px) else turned


class _Movable:
    """A picture whose borders run into each other smoothly, with its spectrum, to be moved."""

    def __init__(self, picture: Complex) -> None:
        total = [next_fast_len(side + 2 * _MARGIN) for side in picture.shape]
        sides = [(_MARGIN, whole - side - _MARGIN) for whole, side in zip(total, picture.shape, strict=True)]
        middle = complex(picture.mean())
        parts = ((picture.real, middle.real), (picture.imag, middle.imag))
        real, imaginary = (np.pad(part, sides, "linear_ramp", end_values=end) for part, end in parts)
        padded = real + 1j * imaginary
        self.padded_shape = padded.shape
        self.spectrum = fft2(padded)
        self.inside = tuple(slice(_MARGIN, _MARGIN + side) for side in picture.shape)

    def moved(self, shift_px: tuple[float, float]) -> Complex:
        """Return the picture moved."""
        made: Complex = ifft2(self.spectrum * _shift_factor(self.padded_shape, shift_px))[self.inside]
        return made

    def slopes(self, shift_px: tuple[float, float]) -> tuple[Complex, Complex]:
        """Return the derivatives of the moved picture by the shift in x and in y."""
        factor = self.spectrum * _shift_factor(self.padded_shape, shift_px)
        rows, columns = (_frequencies(side, nyquist=False) for side in self.padded_shape)
        return ifft2(factor * (-2j * np.pi * columns[None, :]))[self.inside], ifft2(factor * (-2j * np.pi * rows[:, None]))[self.inside]


def _refined(
    moving: Complex, fixed: Complex, weights: Real, moved: tuple[float, float], slope: tuple[float, float],
    *, shift: bool, ramp: bool, limit: float,
) -> tuple[tuple[float, float], tuple[float, float]]:  # fmt: skip
    """Newton steps on shift and ramp, the complex scale solved for at every place; a step that does not help is halved."""
    rows, columns = (np.arange(side, dtype=np.float64) - (side - 1) / 2 for side in moving.shape)

    def fit(values: Real) -> tuple[Complex, complex, float]:
        turned = _turned_and_moved(moving, (values[2], values[3]), (values[0], values[1]))
        scale = complex(np.sum(weights * np.conj(turned) * fixed) / max(np.sum(weights * np.abs(turned) ** 2), 1e-300))
        return turned, scale, float(np.sum(weights * np.abs(fixed - scale * turned) ** 2))

    values = np.array([*moved, *slope])
    free = [index for index, wanted in enumerate((shift, shift, ramp, ramp)) if wanted]
    turned, scale, loss = fit(values)
    still = _Movable(fixed).slopes((0.0, 0.0)) if shift else ()

    def derivatives(turned: Complex, scale: complex, slopes: tuple[Complex, ...]) -> list[Complex]:
        made = [turned, 1j * turned, *slopes]
        return [*made, 1j * scale * columns[None, :] * turned, 1j * scale * rows[:, None] * turned] if ramp else made

    for _ in range(_MAX_STEPS if free and scale else 0):
        movable = _Movable(moving * _ramp(moving.shape, (values[2], values[3])))
        moving_slopes = tuple(scale * part for part in movable.slopes((values[0], values[1]))) if shift else ()
        ours = derivatives(turned, scale, moving_slopes)
        step = _newton_step(ours, derivatives(fixed / scale, scale, still), fixed - scale * turned, weights)[2:]
        for share in 0.5 ** np.arange(5):
            trial = values.copy()
            trial[free] += share * step
            trial[:2] = np.clip(trial[:2], -limit, limit)
            found = fit(trial)
            if found[2] <= loss:
                break
        else:
            break
        change = np.abs(trial - values) * (1.0, 1.0, max(moving.shape), max(moving.shape))
        values, (turned, scale, loss) = trial, found
        if change.max() < _STEP_DONE:
            break
    return (float(values[0]), float(values[1])), (float(values[2]), float(values[3]))


def _newton_step(ours: list[Complex], theirs: list[Complex], difference: Complex, weights: Real) -> Real:
    """Real steps along complex derivatives that shrink a complex difference; directions that change nothing get none.

    The curvature is taken between the derivatives of picture and reference, not of the picture alone (Gauss-Newton): noise of the
    two is independent and drops out, where its square would make every step too short.
    """
    root = np.sqrt(weights)
    mine, others = (np.stack([(root * part).ravel() for part in parts]) for parts in (ours, theirs))
    norms = np.array([math.sqrt(np.vdot(row, row).real) or 1.0 for row in others])
    slope = (mine.conj() @ (root * difference).ravel()).real / norms
    curvature = (mine.conj() @ others.T).real / np.outer(norms, norms)
    step: Real = np.linalg.lstsq((curvature + curvature.T) / 2, slope, rcond=1e-10)[0] / norms
    return step


def _coarse_shift(picture: Complex, reference: Complex, weights: Real, limit: float) -> tuple[float, float]:
    window = weights * np.outer(*(np.hanning(side + 2)[1:-1] for side in picture.shape))
    if not window.any():
        return 0.0, 0.0
    parts = [window * (part - np.average(part, weights=window)) for part in (picture, reference)]
    return register(*parts, upsampling=10, max_shift_px=limit)


def _slope(first: Complex, second: Complex, weights: Real) -> tuple[float, float]:
    """Phase step from a pixel to its neighbour, mean direction over all pairs, ``(x, y)`` in radians."""
    steps = []
    for axis in (1, 0):
        ahead = [slice(None)] * 2
        behind = [slice(None)] * 2
        ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
        a, b = tuple(ahead), tuple(behind)
        steps.append(float(np.angle(np.sum(np.sqrt(weights[a] * weights[b]) * first[a] * np.conj(second[b])))))
    return steps[0], steps[1]


def _difference(first: tuple[float, float], second: tuple[float, float]) -> tuple[float, float]:
    wrapped = [math.remainder(a - b, 2 * math.pi) for a, b in zip(first, second, strict=True)]
    return wrapped[0], wrapped[1]


def _ramp(shape: tuple[int, ...], ramp_rad: tuple[float, float]) -> Complex:
    rows, columns = (np.arange(side) for side in shape)
    made: Complex = np.exp(1j * ramp_rad[1] * rows)[:, None] * np.exp(1j * ramp_rad[0] * columns)[None, :]
    return made


def _frequencies(side: int, *, nyquist: bool) -> Real:
    frequencies: Real = fftfreq(side)
    if side % 2 == 0 and not nyquist:
        frequencies[side // 2] = 0.0
    return frequencies


def _shift_factor(shape: tuple[int, ...], shift_px: tuple[float, float]) -> Complex:
    factors = []
    for side, distance in zip(shape, shift_px[::-1], strict=True):
        factor = np.exp(-2j * np.pi * _frequencies(side, nyquist=True) * distance)
        if side % 2 == 0:
            factor[side // 2] = math.cos(math.pi * distance)
        factors.append(factor)
    made: Complex = factors[0][:, None] * factors[1][None, :]
    return made


def _picture(value: ArrayLike, name: str) -> Complex:
    array = np.asarray(value)
    if array.ndim != 2 or not array.size or array.dtype.kind not in "biufc":
        raise DataError(f"{name}: expected numbers of shape (H, W), got {array.dtype} of shape {array.shape}")
    return array.astype(np.complex128)


def _pair(picture: ArrayLike, reference: ArrayLike) -> tuple[Complex, Complex]:
    moving, fixed = _picture(picture, "picture"), _picture(reference, "reference")
    if moving.shape != fixed.shape:
        raise DataError(f"picture: expected the shape of the reference, {fixed.shape}, got {moving.shape}")
    for name, array in (("picture", moving), ("reference", fixed)):
        if not np.isfinite(array).all():
            raise DataError(f"{name}: expected finite values")
    return moving, fixed


def _weight(weight: ArrayLike | None, shape: tuple[int, ...]) -> Real:
    if weight is None:
        return np.ones(shape)
    array = np.asarray(weight, dtype=np.float64)
    if array.shape != shape:
        raise DataError(f"weight: expected the shape of the pictures, {shape}, got {array.shape}")
    if not np.isfinite(array).all() or (array < 0).any():
        raise DataError("weight: expected finite values >= 0")
    return array

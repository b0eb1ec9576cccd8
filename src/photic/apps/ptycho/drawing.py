"""What the pictures of reconstructions have in common: colours and their limits, scale bars, colour bars, plots."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnchoredOffsetbox, AuxTransformBox, TextArea, VPacker
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from photic.apps.ptycho.coverage import well_covered
from photic.core.errors import DataError
from photic.functional.palette import BLUE, CLASS_COLOURS

AMPLITUDE_MAP, PHASE_MAP, CYCLIC_MAP, COVERAGE_MAP, DIFFERENCE_MAP = "gray", "viridis", "twilight", "cividis", "RdBu_r"
GRID, QUIET = "#d9dde0", "#5b646c"
WIDTH = 4.4
"""Of a figure, inches."""
_NEVER_SEEN = "#b9cbd9"
_PERCENTILES = (0.5, 99.5)
_WRAPS_WITHIN = 0.3
"""Phases this close to -pi or pi, radians, count as wrapping."""

Limits = tuple[float, float]


def mean_phase(picture: NDArray[np.complexfloating], weight: NDArray[Any] | None = None) -> float:
    """Return the phase of the (weighted) mean direction of all pixels, radians; amplitudes do not count.

    >>> round(mean_phase(np.exp(1j * np.array([[3.0, 3.2]]))), 3)
    3.1
    """
    directions = np.exp(1j * np.angle(picture))
    return float(np.angle(np.sum(directions if weight is None else directions * weight)))


def centred_phase(picture: NDArray[np.complexfloating], coverage: NDArray[np.floating] | None = None) -> NDArray[np.floating]:
    """Return the phase ``(H, W)`` in (-pi, pi] around the mean of its well-covered area."""
    values: NDArray[np.floating] = np.angle(picture * np.exp(-1j * mean_phase(picture, well(coverage))))
    return values


def robust_limits(values: NDArray[np.floating], coverage: NDArray[np.floating] | None = None) -> Limits:
    """Return colour limits: 0.5 and 99.5 % of the values in the well-covered area, never equal."""
    chosen = well(coverage)
    low, high = np.percentile(values if chosen is None else values[chosen], _PERCENTILES)
    room = max(0.0, 1e-3 * max(abs(low), abs(high), 1e-6) - (high - low) / 2)
    return float(low - room), float(high + room)


def round_length(width_px: float, pixel_size_m: float | None = None) -> tuple[float, str]:
    """Return a length for a scale bar of about a fifth of a picture: 1, 2 or 5 times a power of ten, at most 0.3 of the width.

    Args:
        width_px: of the picture.
        pixel_size_m: metres; None: a round number of pixels.

    Returns:
        Pixels, and the length as text.

    >>> round_length(512, 8e-9)
    (125.0, '1 µm')
    >>> round_length(64)
    (10.0, '10 px')
    """
    unit = 1.0 if pixel_size_m is None else pixel_size_m
    longest = 0.3 * width_px * unit
    power = math.floor(math.log10(longest) + 1e-9)
    digits = next(digit for digit in (5, 2, 1) if digit * 10.0**power <= longest * (1 + 1e-9))
    length = digits * 10.0**power
    pixels = round(length / unit, 9)
    return pixels, length_text(pixels, pixel_size_m)


def length_text(length_px: float, pixel_size_m: float | None = None) -> str:
    """Return a length of so many pixels for people, in nm, µm or mm where the pixel's size is known.

    >>> length_text(2.5, 8e-9), length_text(2.5)
    ('20 nm', '2.5 px')
    """
    if pixel_size_m is None:
        return f"{length_px:.3g} px"
    metres = length_px * pixel_size_m
    units = ((1e-3, "mm"), (1e-6, "µm"), (1e-9, "nm"))
    factor, unit = next(((factor, unit) for factor, unit in units if metres >= 0.9999 * factor), units[-1])
    return f"{metres / factor:.3g} {unit}"


def scale_bar(axes: Axes, width_px: int, pixel_size_m: float | None = None) -> None:
    """Draw a scale bar of a round length at the lower left of a picture of so many pixels."""
    length, text = round_length(width_px, pixel_size_m)
    bar = AuxTransformBox(axes.transData)
    bar.add_artist(Rectangle((0, 0), length, 0, edgecolor="white", linewidth=2.5, facecolor="none"))
    label = TextArea(text, textprops={"color": "white", "fontsize": 9})
    box = AnchoredOffsetbox(
        loc="lower left", pad=0.35, borderpad=0.5, child=VPacker(children=[label, bar], align="center", pad=0, sep=3), frameon=True
    )
    box.patch.set(facecolor="black", alpha=0.55, edgecolor="none")
    axes.add_artist(box)


def well(coverage: NDArray[np.floating] | None) -> NDArray[np.bool_] | None:
    """Return where the coverage is good; None where none is known."""
    return None if coverage is None else well_covered(coverage)


def phase_colours(values: NDArray[np.floating], coverage: NDArray[np.floating] | None, limits: Limits | None) -> tuple[str, float, float]:
    """Return the colour map that suits a phase, and its limits in radians."""
    low, high = limits or robust_limits(values, coverage)
    if max(-low, high) < math.pi - _WRAPS_WITHIN:
        return PHASE_MAP, low, high
    return CYCLIC_MAP, -math.pi, math.pi


def symmetric_limits(errors: Iterable[NDArray[np.floating]]) -> Limits:
    """Return colour limits around zero that hold 99 % of all errors."""
    top = float(np.percentile(np.abs(np.concatenate(list(errors))), 99)) or 1e-6
    return -top, top


def framed(shape: tuple[int, ...]) -> tuple[Figure, Axes]:
    """Return a figure for one picture of a shape, and its axes.

    Raises:
        DataError: it is no picture (H, W).
    """
    if len(shape) != 2:
        raise DataError(f"picture: expected shape (H, W), got {shape}")
    height = float(np.clip((WIDTH - 1.0) * shape[0] / shape[1] + 0.45, 1.6, 9.0))
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.add_subplot()


def show(axes: Axes, values: NDArray[Any], coverage: NDArray[Any] | None, colours: str, limits: Limits) -> Any:
    """Draw values as a picture; pixels without coverage stay empty."""
    colour_map = matplotlib.colormaps[colours].with_extremes(bad=_NEVER_SEEN)
    if coverage is not None:
        values = np.ma.masked_where(coverage <= 0, values)
    bare(axes)
    # Colours are not interpolated: a screen or a paper shows the pixels that were reconstructed.
    return axes.imshow(values, cmap=colour_map, vmin=limits[0], vmax=limits[1], interpolation="nearest")


def bare(axes: Axes) -> None:
    """Take off ticks and frame."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def titled(axes: Axes, title: str) -> None:
    """Put a title at the left above the axes."""
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold")


def colour_bar(figure: Figure, axes: Axes | list[Axes], shown: Any, label: str, *, radians: bool = False) -> None:
    """Draw a colour bar beside axes; one of the whole circle gets multiples of pi."""
    bar = figure.colorbar(shown, ax=axes, fraction=0.05, pad=0.02, aspect=28)
    bar.set_label(label, fontsize=9, color=QUIET)
    bar.ax.tick_params(labelsize=8, colors=QUIET, length=2)
    bar.outline.set_visible(False)
    if radians and math.isclose(shown.norm.vmax, math.pi):
        bar.set_ticks([-math.pi, -math.pi / 2, 0, math.pi / 2, math.pi], labels=["−π", "−π/2", "0", "π/2", "π"])
    else:
        bar.locator = MaxNLocator(nbins=5)
        bar.update_ticks()


def line_colours(num: int) -> list[str]:
    """Return colours for so many lines, which people with any colour vision can tell apart."""
    colours = (BLUE, *(colour for colour in CLASS_COLOURS if colour != BLUE))
    return [colours[index % len(colours)] for index in range(num)]


def plot_axes(title: str, x_label: str, y_label: str) -> tuple[Figure, Axes]:
    """Return a figure with empty axes for lines."""
    figure = Figure(figsize=(WIDTH, 3.1), layout="constrained")
    axes = figure.add_subplot()
    titled(axes, title)
    axes.set_xlabel(x_label, fontsize=9, color=QUIET)
    axes.set_ylabel(y_label, fontsize=9, color=QUIET)
    quiet(axes)
    return figure, axes


def quiet(axes: Axes) -> None:
    """Draw ticks and grid of axes quietly."""
    axes.tick_params(labelsize=8, colors=QUIET, length=0)
    axes.grid(color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(QUIET)

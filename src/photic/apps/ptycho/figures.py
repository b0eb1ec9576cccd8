"""Pictures of reconstructions, for papers and for the screen at a beamline, drawn without pyplot and its global state."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from photic.apps.ptycho.coverage import well_covered
from photic.apps.ptycho.drawing import (
    AMPLITUDE_MAP,
    COVERAGE_MAP,
    CYCLIC_MAP,
    DIFFERENCE_MAP,
    GRID,
    QUIET,
    WIDTH,
    Limits,
    bare,
    centred_phase,
    colour_bar,
    framed,
    length_text,
    line_colours,
    mean_phase,
    phase_colours,
    plot_axes,
    quiet,
    robust_limits,
    scale_bar,
    show,
    symmetric_limits,
    titled,
)  # fmt: skip
from photic.apps.ptycho.reconstruction_files import refuse_existing, write_whole
from photic.core.errors import DataError
from photic.functional.frc import RingCorrelation
from photic.functional.palette import VERMILION

_DPI = 200


def amplitude(
    picture: NDArray[np.complexfloating],
    coverage: NDArray[np.floating] | None = None,
    *,
    pixel_size_m: float | None = None,
    limits: Limits | None = None,
    title: str = "Amplitude",
) -> Figure:
    """Return a picture of the amplitude of an object.

    Args:
        picture: ``(H, W)`` complex.
        coverage: ``(H, W)``; colour limits come from where it is good, and pixels without any are left empty.
        pixel_size_m: for the scale bar, metres; None: it shows pixels.
        limits: of the colours; None: 0.5 and 99.5 % of the well-covered area.
        title: above it.

    >>> amplitude(np.ones((20, 30), complex), pixel_size_m=1e-8).get_size_inches()[0]
    np.float64(4.4)
    """
    values = np.abs(picture)
    figure, axes = framed(values.shape)
    low, high = limits or robust_limits(values, coverage)
    shown = show(axes, values, coverage, AMPLITUDE_MAP, (low, high))
    titled(axes, title)
    scale_bar(axes, values.shape[1], pixel_size_m)
    colour_bar(figure, axes, shown, "amplitude")
    return figure


def phase(
    picture: NDArray[np.complexfloating],
    coverage: NDArray[np.floating] | None = None,
    *,
    pixel_size_m: float | None = None,
    limits: Limits | None = None,
    title: str = "Phase",
) -> Figure:
    """Return a picture of the phase of an object around the mean of its well-covered area.

    A phase that comes near -pi or pi, and so may wrap, gets cyclic colours of the whole circle, any other a perceptually uniform map.

    Args:
        picture: ``(H, W)`` complex.
        coverage: ``(H, W)``, as for :func:`amplitude`.
        pixel_size_m: for the scale bar, metres; None: it shows pixels.
        limits: of the colours, radians around the mean; None: from the well-covered area.
        title: above it.
    """
    values = centred_phase(picture, coverage)
    figure, axes = framed(values.shape)
    colours, low, high = phase_colours(values, coverage, limits)
    shown = show(axes, values, coverage, colours, (low, high))
    titled(axes, title)
    scale_bar(axes, values.shape[1], pixel_size_m)
    colour_bar(figure, axes, shown, "phase from its mean (rad)", radians=colours == CYCLIC_MAP)
    return figure


def coverage(values: NDArray[np.floating], *, pixel_size_m: float | None = None, title: str = "Coverage") -> Figure:
    """Return a picture of how well each pixel was seen, with a line around the well-covered area.

    Args:
        values: ``(H, W)`` summed weights, 0 = never seen.
        pixel_size_m: for the scale bar, metres; None: it shows pixels.
        title: above it.
    """
    figure, axes = framed(values.shape)
    top = float(values.max())
    shown = show(axes, values / top if top > 0 else values, values, COVERAGE_MAP, (0.0, 1.0))
    if top > 0:
        well = well_covered(values)
        if not well.all():
            axes.contour(well, levels=[0.5], colors="white", linewidths=1.0)
    titled(axes, title)
    scale_bar(axes, values.shape[1], pixel_size_m)
    colour_bar(figure, axes, shown, "share of the best-seen pixel")
    return figure


def positions(positions_px: NDArray[np.floating], *, field_px: int | None = None, title: str = "Scan positions") -> Figure:
    """Return a plot of the scan positions, coloured by their order, y downwards as in the object.

    Args:
        positions_px: ``(M, 2)`` [x, y].
        field_px: side N of a pattern; a square shows its size at the first position.
        title: above it.
    """
    if positions_px.ndim != 2 or positions_px.shape[1] != 2:
        raise DataError(f"positions_px: expected shape (M, 2), got {positions_px.shape}")
    figure = Figure(figsize=(WIDTH, 0.92 * WIDTH), layout="constrained")
    axes = figure.add_subplot()
    num = len(positions_px)
    x, y = positions_px.T
    axes.plot(x, y, color=GRID, linewidth=0.5, zorder=1)
    size = float(np.clip(6000 / max(num, 1), 0.5, 16))
    shown = axes.scatter(x, y, c=np.arange(num), s=size, cmap="viridis", linewidths=0, zorder=2)
    if num and field_px is not None:
        corner = (float(x[0] - field_px / 2 - 0.5), float(y[0] - field_px / 2 - 0.5))
        axes.add_patch(Rectangle(corner, field_px, field_px, fill=False, edgecolor=VERMILION, linewidth=1.2, zorder=3))
        axes.annotate(f"{field_px} px pattern", corner, xytext=(2, 2), textcoords="offset points", fontsize=7, color=VERMILION)
    axes.set_aspect("equal", adjustable="datalim")
    axes.autoscale_view()
    axes.invert_yaxis()
    titled(axes, f"{title} ({num})")
    axes.set_xlabel("x (px)", fontsize=9, color=QUIET)
    axes.set_ylabel("y (px)", fontsize=9, color=QUIET)
    quiet(axes)
    if num > 1:
        colour_bar(figure, axes, shown, "order of the scan")
    return figure


def probe(modes: NDArray[np.complexfloating], *, pixel_size_m: float | None = None, title: str = "Probe") -> Figure:
    """Return amplitude and phase of every mode of a probe; the phase fades out where there is no light.

    Args:
        modes: ``(P, N, N)``, or ``(N, N)`` for one.
        pixel_size_m: for the scale bar, metres; None: it shows pixels.
        title: above it.
    """
    modes = modes[None] if modes.ndim == 2 else modes
    if modes.ndim != 3:
        raise DataError(f"probe: expected shape (P, N, N), got {modes.shape}")
    num, energy = len(modes), np.square(np.abs(modes)).sum(axis=(1, 2))
    figure = Figure(figsize=(max(3.6, 2.1 * num + 0.9), 4.7), layout="constrained")
    grid = figure.subplots(2, num, squeeze=False)
    top = float(np.abs(modes).max()) or 1.0
    for number, mode in enumerate(modes):
        upper, lower = grid[0, number], grid[1, number]
        strength = np.abs(mode)
        first = upper.imshow(strength, cmap="magma", vmin=0, vmax=top, interpolation="nearest")
        angle = np.angle(mode * np.exp(-1j * np.angle(np.vdot(strength**2, mode)))) if strength.any() else np.zeros_like(strength)
        opacity = np.clip(strength / (0.15 * (strength.max() or 1.0)), 0, 1)
        lower.set_facecolor("black")
        second = lower.imshow(angle, cmap=CYCLIC_MAP, vmin=-math.pi, vmax=math.pi, alpha=opacity, interpolation="nearest")
        share = energy[number] / (energy.sum() or 1.0)
        name = title if num == 1 else f"Mode {number + 1}: {100 * share:.3g} %"
        titled(upper, name)
        for axes in (upper, lower):
            bare(axes)
        scale_bar(upper, mode.shape[1], pixel_size_m)
    colour_bar(figure, list(grid[0]), first, "amplitude (√counts)")
    colour_bar(figure, list(grid[1]), ScalarMappable(Normalize(-math.pi, math.pi), second.get_cmap()), "phase (rad)", radians=True)
    return figure


def convergence(histories: Mapping[str, Sequence[float]] | Sequence[float], *, y_label: str = "loss", title: str = "Convergence") -> Figure:
    """Return loss or R_amp over iterations, a line for each name.

    Args:
        histories: values per iteration, or several of them by name.
        y_label: what is drawn.
        title: above it.
    """
    named = histories if isinstance(histories, Mapping) else {"": histories}
    figure, axes = plot_axes(title, "iteration", y_label)
    for colour, (name, values) in zip(line_colours(len(named)), named.items(), strict=True):
        marker = "o" if len(values) == 1 else None
        axes.plot(np.arange(1, len(values) + 1), values, color=colour, linewidth=1.7, label=name or None, marker=marker)
    everything = np.concatenate([np.asarray(values, dtype=float) for values in named.values()])
    if everything.size and everything.min() > 0 and everything.max() > 5 * everything.min():
        axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
    if any(named):
        axes.legend(fontsize=8, frameon=False)
    return figure


def ring_correlation(
    curves: Mapping[str, RingCorrelation] | RingCorrelation, *, pixel_size_m: float | None = None, title: str = "Fourier ring correlation"
) -> Figure:
    """Return Fourier ring correlation with the thresholds 0.5 and 1/7 and every crossing marked; the legend says its full period.

    Args:
        curves: one, or several by name.
        pixel_size_m: for the resolutions at the crossings, metres; None: they are shown in pixels.
        title: above it.
    """
    named = curves if isinstance(curves, Mapping) else {"": curves}
    figure, axes = plot_axes(title, "spatial frequency (cycles / px)", "correlation")
    thresholds = ((0.5, "0.5"), (1 / 7, "1/7"))
    for threshold, text in thresholds:
        axes.axhline(threshold, color=QUIET, linewidth=1, linestyle="--")
        axes.annotate(text, (0.5, threshold), xytext=(2, 3), textcoords="offset points", fontsize=8, color=QUIET, ha="left")
    lowest = 0.0
    for colour, (name, curve) in zip(line_colours(len(named)), named.items(), strict=True):
        found = {text: curve.crossing(threshold) for threshold, text in thresholds}
        at = [f"{length_text(1 / crossing, pixel_size_m)} at {text}" for text, crossing in found.items() if crossing is not None]
        label = f"{name or 'full period'}: {', '.join(at) or 'no crossing'}"
        axes.plot(curve.frequency, curve.correlation, color=colour, linewidth=1.7, label=label)
        lowest = min([lowest, *curve.correlation[np.isfinite(curve.correlation)].tolist()])
        for threshold, text in thresholds:
            crossing = found[text]
            if crossing is not None:
                axes.plot([crossing], [threshold], "o", color=colour, markersize=5.5, markeredgecolor="white", zorder=3)
    axes.set_xlim(0, 0.53)
    axes.set_ylim(min(-0.05, lowest - 0.05), 1.05)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", fontsize=8, frameon=False)
    return figure


def comparison(
    objects: Mapping[str, NDArray[np.complexfloating]],
    *,
    reference: str | None = None,
    pixel_size_m: float | None = None,
    captions: Mapping[str, str] | None = None,
) -> Figure:
    """Return objects side by side, a column for each: amplitude, phase, and where there is a reference the error of both.

    All columns share the colour limits of the reference, or of all together without one. The objects must lie on the same
    grid and be aligned (:func:`photic.apps.ptycho.evaluation.compare_objects` does both).

    Args:
        objects: ``(H, W)`` complex by name, all of one shape.
        reference: name of the one that the others are subtracted by; None: no rows of errors.
        pixel_size_m: for the scale bar, metres; None: it shows pixels.
        captions: a line under the amplitude of a column, such as its SSIM.

    Raises:
        DataError: nothing to show, different shapes, or the reference is not among them.
    """
    shapes = {picture.shape for picture in objects.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 2:
        found = {name: picture.shape for name, picture in objects.items()}
        raise DataError(f"objects: expected pictures (H, W) of one shape, got {found}")
    if reference is not None and reference not in objects:
        raise DataError(f"reference: expected one of {', '.join(objects)}, got {reference!r}")
    known = objects[reference] if reference is not None else np.concatenate(list(objects.values()))
    centre = mean_phase(known)
    strengths = {name: np.abs(picture) for name, picture in objects.items()}
    angles = {name: np.angle(picture * np.exp(-1j * centre)) for name, picture in objects.items()}
    colours, low, high = phase_colours(np.angle(known * np.exp(-1j * centre)), None, None)
    rows: list[tuple[str, dict[str, NDArray[np.floating]], str, Limits]] = [
        ("amplitude", strengths, AMPLITUDE_MAP, robust_limits(np.abs(known))), ("phase (rad)", angles, colours, (low, high)),
    ]  # fmt: skip
    if reference is not None:
        others = [name for name in objects if name != reference]
        by_amplitude = {name: strengths[name] - strengths[reference] for name in others}
        by_phase = {name: np.angle(objects[name] * np.conj(objects[reference])) for name in others}
        rows += [(f"{what} error{unit}", errors, DIFFERENCE_MAP, symmetric_limits(errors.values()))
                 for what, unit, errors in (("amplitude", "", by_amplitude), ("phase", " (rad)", by_phase)) if errors]  # fmt: skip
    (height, width), = shapes  # fmt: skip
    side = 2.2
    figure = Figure(figsize=(side * len(objects) + 1.0, (side * height / width + 0.08) * len(rows) + 0.5), layout="constrained")
    grid = figure.subplots(len(rows), len(objects), squeeze=False)
    for row, (label, pictures, colour_map, limits) in enumerate(rows):
        shown = None
        for column, name in enumerate(objects):
            axes = grid[row, column]
            if name not in pictures:
                axes.set_axis_off()
                continue
            shown = show(axes, pictures[name], None, colour_map, limits)
            if row == 0:
                titled(axes, name)
                axes.set_xlabel((captions or {}).get(name, ""), fontsize=8, color=QUIET)
            if row == 0 and column == 0:
                scale_bar(axes, width, pixel_size_m)
        assert shown is not None, "every row has a picture"
        colour_bar(figure, list(grid[row]), shown, label, radians=colour_map == CYCLIC_MAP)
    return figure


def save(figure: Figure, path: Path | str, *, force: bool = False) -> Path:
    """Write a figure as a picture (by its ending: png, pdf, svg), whole or not at all.

    Raises:
        ConfigError: the file is there already and is not forced.
        StorageError: it cannot be written.
    """
    path = Path(path)
    refuse_existing([path], force=force)
    content, form = io.BytesIO(), path.suffix.lstrip(".").lower() or "png"
    if form == "png":  # by the canvas itself: `savefig` draws twice, once only to lay the picture out
        figure.set_dpi(_DPI)
        FigureCanvasAgg(figure).print_png(content)
    else:
        figure.savefig(content, format=form, dpi=_DPI)

    def write(temporary: Path) -> None:
        temporary.write_bytes(content.getvalue())

    write_whole(path, write)
    return path

"""Curves of codecs as charts: in a page, and as one picture file."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from photic.apps.rawnind.codec_benchmark.results import LABELS, VALUES, Benchmark, Method, Value
from photic.core.files import atomic_path
from photic.functional.palette import BLUE, GREEN, ORANGE, PINK, SKY, VERMILION
from photic.report import figures
from photic.report.figures import Line

X_LABEL = "bits per sensor pixel"
_BY_CODEC = {"JPEG XL": BLUE, "JPEG": ORANGE, "WebP": SKY, "AVIF": GREEN}
_OURS = (VERMILION, PINK)
_PANEL = (4.6, 3.7)
_MOST_COLUMNS = 5


def lines_of(found: Benchmark, level: str, value: Value) -> list[Line]:
    """Return a line per method: ours strong, codecs in their colours, denoisers with a codec behind them dashed in that codec's."""
    made = []
    for method in found.at(level):
        curve = found.curve(level, method.label, value)
        order = sorted(range(len(curve.bpp)), key=lambda place: curve.bpp[place])
        colour, dashed = _look(found, method)
        made.append(
            Line(
                label=method.label,
                x=curve.bpp[order],
                y=curve.quality[order],
                colour=colour,
                dashed=dashed,
                strong=method.kind == "ours",
            )
        )
    return made


def charts(found: Benchmark, value: Value) -> list[Markup]:
    """Return a chart per level of noise."""
    return [
        figures.over_rate(lines_of(found, level, value), title=f"{LABELS[value]}, {level}", x_label=X_LABEL, y_label=y_label(value))
        for level in found.levels
    ]


def legend(found: Benchmark) -> list[tuple[str, str, bool]]:
    """Return label, colour and whether dashed of every method."""
    return [(method.label, *_look(found, method)) for method in found.methods]


def y_label(value: Value) -> str:
    """Return what stands along the axis of qualities."""
    return "PSNR, dB" if value == "psnr" else "MS-SSIM, dB: -10 log10(1 - MS-SSIM)"


def write_plot(found: Benchmark, path: Path) -> Path:
    """Write a PNG file: a panel for each level of noise and value, one legend below."""
    rows_each = -(-len(found.levels) // _MOST_COLUMNS)
    columns = -(-len(found.levels) // rows_each)
    rows = len(VALUES) * rows_each
    figure = Figure(figsize=(_PANEL[0] * columns, _PANEL[1] * rows + 0.5), layout="constrained", dpi=110)
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(rows, columns)
    handles: dict[str, Artist] = {}
    for block, value in enumerate(VALUES):
        for place, level in enumerate(found.levels):
            axes = figure.add_subplot(grid[block * rows_each + place // columns, place % columns])
            figures.draw_over_rate(axes, lines_of(found, level, value))
            axes.set_title(f"{LABELS[value]}, {level}", loc="left", fontsize=10, fontweight="bold")
            axes.set_xlabel(X_LABEL, fontsize=9)
            axes.set_ylabel(y_label(value), fontsize=9)
            axes.tick_params(labelsize=8)
            axes.grid(color="#dddddd", linewidth=0.8)
            axes.set_axisbelow(True)
            for side in ("top", "right"):
                axes.spines[side].set_visible(False)
            for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
                handles.setdefault(label, handle)
    known = [method.label for method in found.methods if method.label in handles]
    figure.legend(
        handles=[handles[label] for label in known],
        labels=known,
        loc="outside lower center",
        ncols=min(len(known), 2 * columns + 1),
        fontsize=9,
    )
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})
    return path


def _look(found: Benchmark, method: Method) -> tuple[str, bool]:
    """Return colour and whether dashed."""
    same = [one.label for one in found.methods if one.kind == method.kind]
    place = same.index(method.label)
    if method.kind == "ours":
        return _OURS[place % len(_OURS)], place >= len(_OURS)
    if method.kind == "chain":
        return (BLUE, PINK, GREEN)[place % 3], True
    base = next((name for name in sorted(_BY_CODEC, key=len, reverse=True) if method.label.startswith(name)), None)
    return (_BY_CODEC[base], method.label != base) if base is not None else (PINK, False)

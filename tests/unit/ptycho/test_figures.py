"""Pictures of reconstructions: right limits, right lengths, right way up, no global state."""

from __future__ import annotations

import io
import math
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from photic.apps.ptycho import drawing, figures
from photic.core.errors import ConfigError, DataError, StorageError
from photic.functional.frc import RingCorrelation

rng = np.random.default_rng(0)


def specimen(height=30, width=40, contrast=0.4):
    return (1 + 0.1 * rng.random((height, width))) * np.exp(1j * contrast * rng.random((height, width)))


def curve(*values):
    return RingCorrelation(
        frequency=np.linspace(0.1, 0.5, len(values)), correlation=np.array(values, float), num_samples=np.ones(len(values), np.int64)
    )


def drawn(figure):
    content = io.BytesIO()
    figure.savefig(content, dpi=60)
    return Image.open(content)


def picture_in(figure):
    return figure.axes[0].images[0]


def everything():
    picture, coverage = specimen(), np.ones((30, 40))
    coverage[:5] = 0
    return {
        "amplitude": figures.amplitude(picture, coverage, pixel_size_m=1e-8),
        "phase": figures.phase(picture, coverage),
        "coverage": figures.coverage(coverage),
        "coverage of nothing": figures.coverage(np.zeros((5, 5))),
        "positions": figures.positions(rng.random((50, 2)) * 30, field_px=16),
        "one position": figures.positions(np.ones((1, 2)), field_px=16),
        "no positions": figures.positions(np.zeros((0, 2))),
        "probe": figures.probe(specimen(16, 16), pixel_size_m=1e-7),
        "modes": figures.probe(np.stack([specimen(16, 16), 0.2 * specimen(16, 16), np.zeros((16, 16))])),
        "dark probe": figures.probe(np.zeros((1, 8, 8), complex)),
        "convergence": figures.convergence([1.0, 0.5, 0.1]),
        "two convergences": figures.convergence({"cnn": [1.0, 0.5], "iterative": [0.7]}),
        "negative loss": figures.convergence([1.0, -1.0]),
        "frc": figures.ring_correlation({"a": curve(1, 0.8, 0.2), "b": curve(1, np.nan, 0.2)}, pixel_size_m=1e-8),
        "comparison": figures.comparison({"truth": picture, "made": picture * 1.01}, reference="truth", captions={"made": "SSIM 1"}),
        "only the reference": figures.comparison({"truth": picture}, reference="truth"),
        "no reference": figures.comparison({"a": picture, "b": picture}),
        "flat": figures.amplitude(np.ones((5, 5), complex)),
        "wide": figures.phase(specimen(4, 200)),
        "tall": figures.phase(specimen(200, 4)),
    }


def test_everything_can_be_drawn_without_pyplot():
    before = "matplotlib.pyplot" in sys.modules
    for name, figure in everything().items():
        assert isinstance(figure, Figure)
        assert len(drawn(figure).convert("RGB").getcolors(1 << 20)) > 5, name
    assert ("matplotlib.pyplot" in sys.modules) == before


@pytest.mark.parametrize(
    ("width", "pixel", "length", "text"),
    [
        (512, 8e-9, 125, "1 µm"), (100, None, 20, "20 px"), (64, None, 10, "10 px"), (100, 1e-8, 20, "200 nm"),
        (230, 14e-9, 500 / 14, "500 nm"),
        (128, 1e-6, 20, "20 µm"), (2000, 1e-6, 500, "500 µm"), (4000, 1e-6, 1000, "1 mm"), (4, None, 1, "1 px"), (30, 1e-11, 5, "0.05 nm"),
    ],
)  # fmt: skip
def test_scale_bars_have_round_lengths_in_suitable_units(width, pixel, length, text):
    found, words = drawing.round_length(width, pixel)
    assert found == pytest.approx(length) and words == text
    assert 0.1 * width < found <= 0.3 * width + 1e-9


def test_the_bar_is_as_long_as_it_says():
    figure = figures.amplitude(specimen(100, 200), pixel_size_m=1e-8)
    figure.draw_without_rendering()
    axes = figure.axes[0]
    box = axes.artists[0]
    bar = box.get_child().get_children()[1].get_children()[0]
    ends = bar.get_window_extent()
    pixels = axes.transData.inverted().transform([[ends.x0, ends.y0], [ends.x1, ends.y0]])
    assert pixels[1, 0] - pixels[0, 0] == pytest.approx(50, rel=0.02)
    assert box.get_child().get_children()[0].get_text() == "500 nm"


def test_limits_come_from_the_well_covered_area():
    picture, coverage = specimen(), np.full((30, 40), 1e-3)
    coverage[8:20, 10:30] = 1
    picture[coverage < 1] = 100 * np.exp(3j)
    well = picture[coverage == 1]
    low, high = picture_in(figures.amplitude(picture, coverage)).get_clim()
    assert low == pytest.approx(np.percentile(np.abs(well), 0.5)) and high == pytest.approx(np.percentile(np.abs(well), 99.5))
    low, high = picture_in(figures.phase(picture, coverage)).get_clim()
    assert -0.3 < low < 0 < high < 0.3
    assert picture_in(figures.amplitude(picture, coverage, limits=(0, 2))).get_clim() == (0, 2)


def test_pixels_never_seen_stay_empty():
    coverage = np.ones((30, 40))
    coverage[3, 4] = 0
    shown = picture_in(figures.amplitude(specimen(), coverage)).get_array()
    assert shown.mask[3, 4] and shown.mask.sum() == 1


def test_phases_that_may_wrap_get_cyclic_colours_and_others_do_not():
    few = picture_in(figures.phase(specimen(contrast=3.0)))
    assert few.get_cmap().name == drawing.PHASE_MAP
    many = picture_in(figures.phase(specimen(contrast=7.0)))
    assert many.get_cmap().name == drawing.CYCLIC_MAP and many.get_clim() == (-math.pi, math.pi)


@pytest.mark.parametrize("offset", [0.0, 1.0, 3.1])
def test_a_constant_phase_does_not_change_the_picture(offset):
    picture = np.exp(1j * np.linspace(-1, 1, 1200).reshape(30, 40))
    found = drawing.centred_phase(picture * np.exp(1j * offset))
    np.testing.assert_allclose(found, np.linspace(-1, 1, 1200).reshape(30, 40), atol=1e-9)


def test_the_phase_of_the_probe_is_relative_to_its_brightest_part():
    probe = np.zeros((16, 16), complex)
    probe[4:12, 4:12] = np.exp(2.5j)
    shown = figures.probe(probe).axes[1].images[0].get_array()
    np.testing.assert_allclose(shown[4:12, 4:12], 0, atol=1e-9)


def test_positions_are_drawn_with_y_downwards_and_a_square_around_the_first():
    figure = figures.positions(np.array([[10.0, 20.0], [30.0, 40.0]]), field_px=8)
    figure.draw_without_rendering()
    axes = figure.axes[0]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]
    square = axes.patches[0]
    assert (square.get_x(), square.get_y(), square.get_width()) == (5.5, 15.5, 8)  # pixels 6 to 13 and 16 to 23: the centre is the fifth


def test_ring_correlation_marks_the_crossings_and_says_the_periods():
    axes = figures.ring_correlation({"cnn": curve(1, 0.8, 0.2, 0), "flat": curve(1, 1)}, pixel_size_m=1e-8).axes[0]
    dots = [line.get_xydata()[0] for line in axes.lines if line.get_marker() == "o"]
    expected = curve(1, 0.8, 0.2, 0)
    np.testing.assert_allclose(dots, [(expected.crossing(0.5), 0.5), (expected.crossing(1 / 7), 1 / 7)])
    labels = axes.get_legend_handles_labels()[1]
    assert labels[0].startswith(f"cnn: {10 / expected.crossing(0.5):.3g} nm at 0.5, ") and labels[1] == "flat: no crossing"


def test_a_comparison_shares_limits_and_shows_errors_against_the_reference():
    truth = specimen()
    figure = figures.comparison({"truth": truth, "a": truth * 1.1, "b": truth * np.exp(0.2j)}, reference="truth")
    shown = [axes.images[0] for axes in figure.axes if axes.images and axes.get_label() != "<colorbar>"]
    assert len({image.get_clim() for image in shown[:3]}) == 1 and len({image.get_clim() for image in shown[3:6]}) == 1
    np.testing.assert_allclose(shown[6].get_array(), 0.1 * np.abs(truth), atol=1e-9)
    np.testing.assert_allclose(shown[9].get_array(), 0.2, atol=1e-9)
    assert shown[9].get_clim()[0] == -shown[9].get_clim()[1]


def test_wrong_arrays_are_refused():
    for call in (
        lambda: figures.amplitude(specimen()[0]),
        lambda: figures.positions(np.zeros((3, 3))),
        lambda: figures.probe(np.zeros(4, complex)),
        lambda: figures.comparison({"a": specimen(), "b": specimen(20, 20)}),
        lambda: figures.comparison({}),
        lambda: figures.comparison({"a": specimen()}, reference="b"),
    ):
        with pytest.raises(DataError, match="expected"):
            call()


def test_pictures_are_saved_whole_and_not_over_others(tmp_path):
    path = figures.save(figures.convergence([1, 2]), tmp_path / "new" / "a.png")
    with Image.open(path) as image:
        assert min(image.size) > 500
    with pytest.raises(ConfigError, match="is there already"):
        figures.save(figures.convergence([1, 2]), path)
    figures.save(figures.convergence([1, 2]), path, force=True)
    assert figures.save(figures.convergence([1, 2]), tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")
    with pytest.raises(StorageError, match="cannot be written"):
        figures.save(figures.convergence([1, 2]), path / "b.png")

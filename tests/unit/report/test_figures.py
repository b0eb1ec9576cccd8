"""Charts: inline SVG that takes the page's colours and shows the numbers it was given."""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ET
from functools import cache

import numpy as np
import pytest
from matplotlib.figure import Figure
from sklearn.metrics import average_precision_score

from photic.functional.palette import class_colour
from photic.metrics.ranking import precision_recall_curve, reliability_curve, roc_curve
from photic.report import figures
from photic.report.figures import Interval, Line

rng = np.random.default_rng(0)
LABELS = rng.random(200) < 0.3
PROBABILITIES = np.clip(0.5 * LABELS + rng.random(200) * 0.6, 0, 1)

NO_INTERVAL = Interval(value=0.1, low=float("nan"), high=float("nan"), colour="#d55e00")


NAMES = ("curves", "precision_recall", "recall_lines", "intervals", "roc", "reliability")


def drawn() -> dict[str, str]:
    x = np.arange(5)
    named = [("pits & co", class_colour(0)), ("patches", class_colour(1))]
    pr = [(name, colour, precision_recall_curve(PROBABILITIES, LABELS)) for name, colour in named]
    roc = [(name, colour, roc_curve(PROBABILITIES, LABELS)) for name, colour in named]
    return {
        "curves": figures.curves([Line(label="loss", x=x, y=np.exp(-x), colour="#0072b2")], title="Loss <1>", mark_x=3.0, log_y=True),
        "precision_recall": figures.precision_recall(pr, [(0.5, 0.8), None]),
        "recall_lines": figures.recall_lines(
            [Line(label="a", x=curve.recall, y=curve.precision, colour=colour, faint=True) for _, colour, curve in pr], title="pits & co"
        ),
        "intervals": figures.intervals(
            [("macro AP", [Interval(value=0.1, low=-0.1, high=0.2, colour="#0072b2", parts=[0.0, 0.2])]), ("pits & co", [NO_INTERVAL])],
            title="Differences",
            x_label="difference",
        ),
        "roc": figures.roc(roc, [(0.1, 0.9), (float("nan"), 0.5)]),
        "reliability": figures.reliability(reliability_curve(PROBABILITIES, LABELS, 10)),
    }


@cache
def charts() -> dict[str, str]:
    found = drawn()
    assert tuple(found) == NAMES
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_chart_is_one_svg_that_scales_and_has_a_description(name: str) -> None:
    text = charts()[name]
    root = ET.fromstring(text)
    assert root.tag.endswith("svg") and root.attrib["role"] == "img" and root.attrib["aria-label"]
    assert "viewBox" in root.attrib and "width" not in root.attrib


@pytest.mark.parametrize("name", NAMES)
def test_ink_and_grid_take_the_colours_of_the_page(name: str) -> None:
    text = charts()[name]
    assert "currentColor" in text and "var(--grid)" in text and "var(--quiet)" in text
    assert "#01020" not in text


@pytest.mark.parametrize("name", NAMES)
def test_a_chart_loads_nothing_and_brings_no_names_that_a_second_one_repeats(name: str) -> None:
    text = charts()[name]
    assert not re.search(r'href="(?!#)', text)
    assert not re.search(r'\sid="(figure|axes|text|line2d|patch)_', text)
    assert "<metadata" not in text and "<!DOCTYPE" not in text


def test_the_same_numbers_give_the_same_chart() -> None:
    assert drawn() == charts()


def test_text_stays_text() -> None:
    assert ">Loss &lt;1&gt;<" in charts()["curves"]


def test_missing_values_leave_a_gap_and_a_single_value_a_dot() -> None:
    gaps = figures.curves([Line(label="ap", x=[1, 2, 3], y=[0.1, None, 0.3], colour="#d55e00")], title="AP")
    assert gaps.count("<use ") >= 2
    single = figures.curves([Line(label="ap", x=[1], y=[0.5], colour="#d55e00")], title="AP")
    assert re.search(r"<use [^>]*#d55e00", single)


def test_a_class_without_positives_draws_nothing_but_breaks_nothing() -> None:
    none = np.zeros(20, dtype=bool)
    text = figures.precision_recall([("pits", "#d55e00", precision_recall_curve(PROBABILITIES[:20], none))], [(float("nan"), 0.0)])
    ET.fromstring(text)


def test_pyplot_stays_untouched() -> None:
    before = "matplotlib.pyplot" in sys.modules
    drawn()
    assert ("matplotlib.pyplot" in sys.modules) == before


def test_the_area_under_the_steps_of_precision_over_recall_is_the_average_precision() -> None:
    axes = Figure().add_subplot()
    curve = precision_recall_curve(PROBABILITIES, LABELS)
    figures._recall_steps(axes, curve.recall, curve.precision)
    x, y = axes.lines[0].get_path().vertices.T
    assert np.trapezoid(y, x) == pytest.approx(-average_precision_score(LABELS, PROBABILITIES))  # recall falls along the line

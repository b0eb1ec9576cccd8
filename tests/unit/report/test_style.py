"""Colours of pages: text is told from its ground by eyes that see contrast badly, on light and dark screens and on paper."""

from __future__ import annotations

import re

import pytest

from photic.report.page import Page

LEAST = 4.5
"""Ratio for text of usual size, WCAG 2.2, success criterion 1.4.3."""


def themes() -> dict[str, dict[str, str]]:
    """Return the colours of light, dark and paper, by name; each takes over what it does not say."""
    style = re.search(r"<style>(.*?)</style>", Page(title="x").render(), re.DOTALL)[1]
    blocks = [dict(re.findall(r"--(\w[\w-]*): *(#[0-9a-f]{3,6});", block)) for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL)]
    light, dark, paper = blocks
    return {"light": light, "dark": {**light, **dark}, "paper": {**light, **paper}}


def brightness(colour: str) -> float:
    full = colour[1:] if len(colour) == 7 else "".join(2 * letter for letter in colour[1:])
    parts = [int(full[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    low, high = sorted((brightness(first), brightness(second)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark", "paper"])
@pytest.mark.parametrize("text", ["ink", "muted", "accent", "good", "bad"])
@pytest.mark.parametrize("ground", ["paper", "sheet"])
def test_text_can_be_read(theme: str, text: str, ground: str) -> None:
    colours = themes()[theme]
    assert contrast(colours[text], colours[ground]) >= LEAST


def test_paper_is_white() -> None:
    assert themes()["paper"]["paper"] == themes()["paper"]["sheet"] == "#fff"


def test_contrast_is_computed_as_others_do() -> None:
    assert contrast("#000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)

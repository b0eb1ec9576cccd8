"""Small pictures of complex fields and patterns."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib import colormaps

from photic.functional.complex_picture import GAP_PX, complex_panels

N = 8


def colour(name: str, value: float) -> list[int]:
    return [round(255 * part) for part in colormaps[name](value)[:3]]


def panel(picture: np.ndarray, row: int, column: int) -> np.ndarray:
    top, left = row * (N + GAP_PX), column * (N + GAP_PX)
    return picture[top : top + N, left : left + N]


def test_there_is_a_column_for_each_field_and_a_row_for_each_kind() -> None:
    fields = np.ones((3, N, N), complex)
    picture = complex_panels(fields, [np.ones((3, N, N)), np.ones((3, N, N))])
    assert picture.shape == (4 * N + 3 * GAP_PX, 3 * N + 2 * GAP_PX, 3)
    assert picture.dtype == np.uint8
    assert (picture[N : N + GAP_PX] == 255).all()  # gaps are white
    assert (picture[:, N : N + GAP_PX] == 255).all()


def test_amplitudes_share_a_scale_from_zero_to_the_largest() -> None:
    fields = np.stack([np.full((N, N), 2.0 + 0j), np.full((N, N), 1j), np.zeros((N, N), complex)])
    picture = complex_panels(fields, [np.ones((3, N, N))])
    for column, share in enumerate((1.0, 0.5, 0.0)):
        assert np.abs(panel(picture, 0, column) - np.array(colour("gray", share), int)).max() <= 2


@pytest.mark.parametrize("phase", [-1.5, 0.0, 0.3])
def test_phases_share_a_scale_around_zero_that_they_fill_whatever_the_amplitude(phase: float) -> None:
    fields = np.stack([np.full((N, N), np.exp(2j)), np.full((N, N), 0.1 * np.exp(1j * phase))])
    picture = complex_panels(fields, [np.ones((2, N, N))])
    assert np.abs(panel(picture, 1, 0) - np.array(colour("viridis", 1.0), int)).max() <= 2
    assert np.abs(panel(picture, 1, 1) - np.array(colour("viridis", phase / 4 + 0.5), int)).max() <= 2


@pytest.mark.parametrize("phase", [-3.0, -np.pi / 2, 0.0, 1.0, 3.0])
def test_phases_near_pi_run_once_around_the_circle(phase: float) -> None:
    fields = np.stack([np.full((N, N), np.exp(3j)), np.full((N, N), np.exp(1j * phase))])
    picture = complex_panels(fields, [np.ones((2, N, N))])
    assert np.abs(panel(picture, 1, 1) - np.array(colour("twilight", phase / (2 * np.pi) + 0.5), int)).max() <= 2


def test_patterns_share_one_scale_so_that_modelled_and_measured_can_be_compared() -> None:
    modelled, measured = np.full((1, N, N), 4.0), np.full((1, N, N), 16.0)
    picture = complex_panels(np.ones((1, N, N), complex), [modelled, measured])
    assert np.abs(panel(picture, 2, 0) - np.array(colour("inferno", 0.5), int)).max() <= 2
    assert np.abs(panel(picture, 3, 0) - np.array(colour("inferno", 1.0), int)).max() <= 2


def test_nothing_at_all_can_be_drawn_too() -> None:
    picture = complex_panels(np.zeros((1, N, N), np.complex64), [np.zeros((1, N, N), np.float32)])
    assert np.isfinite(picture).all()


def test_it_stands_upright() -> None:
    field = np.ones((1, N, N), complex)
    field[0, 0, N - 1] = 0  # top right
    assert panel(complex_panels(field, [np.ones((1, N, N))]), 0, 0)[0, N - 1].max() <= 2

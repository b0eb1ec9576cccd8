"""Tiles cover a picture, their weights sum to one, and what is put together shows no seam."""

from __future__ import annotations

import weakref
from fractions import Fraction
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from photic.core.errors import ConfigError, DataError
from photic.functional.tiling import blend_weights, predict_tiled, tile_picture, tile_positions, tiled_bands, untile


@st.composite
def axes(draw: st.DrawFn) -> tuple[int, int, int, int]:
    """Size, tile, overlap and align that fit together."""
    align = draw(st.sampled_from([1, 1, 2, 3, 8]))
    tile = draw(st.integers(align, 64))
    overlap = draw(st.integers(0, tile - align))
    return draw(st.integers(1, 300)), tile, overlap, align


@given(axes())
def test_positions_cover_the_axis_and_overlap_as_asked(axis: tuple[int, int, int, int]) -> None:
    size, tile, overlap, align = axis
    positions = tile_positions(size, tile, overlap, align=align)
    assert positions[0][0] == 0 and positions[-1][1] == size
    assert all(start % align == 0 for start, _ in positions)
    assert all(stop - start == tile for start, stop in positions[:-1])
    assert positions[-1][1] - positions[-1][0] < tile + align
    for (first, stop), (start, _) in pairwise(positions):
        assert first < start <= stop - overlap
    if size <= tile:
        assert positions == [(0, size)]


@given(axes())
def test_there_is_no_tile_too_many(axis: tuple[int, int, int, int]) -> None:
    size, tile, overlap, _ = axis
    number = len(tile_positions(size, tile, overlap))
    assert number == 1 or (number - 1) * (tile - overlap) + overlap < size


@given(axes(), st.data())
def test_weights_sum_to_one_and_are_never_negative(axis: tuple[int, int, int, int], data: st.DataObject) -> None:
    size, tile, overlap, align = axis
    margin = data.draw(st.integers(0, overlap // 2))
    scale = data.draw(st.sampled_from([1, 2, 3] + ([Fraction(1, align)] if size % align == tile % align == 0 else [])))
    positions = tile_positions(size, tile, overlap, align=align)
    weights = blend_weights(positions, margin, scale=scale)
    total = torch.zeros(int(size * Fraction(scale)), dtype=torch.float64)
    for (start, stop), weight in zip(positions, weights, strict=True):
        begin = int(start * Fraction(scale))
        assert len(weight) == (stop - start) * Fraction(scale)
        assert (weight >= 0).all()
        total[begin : begin + len(weight)] += weight
        # Inner edges count nothing; outer ones are the picture's.
        edge = int(margin * Fraction(scale))
        assert start == 0 or not weight[:edge].any()
        assert stop == size or not weight[len(weight) - edge :].any()
    assert (total - 1).abs().max() < 1e-12


def test_weights_change_over_smoothly() -> None:
    first, second = blend_weights(tile_positions(96, 64, 32), 8)
    assert (first[:40] == 1).all() and (first[56:] == 0).all()
    assert first.diff().abs().max() < 1.6 / 16  # 16 pixels from one to zero
    assert first.diff().diff().abs().max() < 0.025
    torch.testing.assert_close(first, second.flip(0))


@settings(deadline=None, max_examples=60)
@given(axes(), st.integers(1, 60), st.sampled_from([torch.float32, torch.float64, torch.complex64]))
def test_untile_of_tile_is_the_identity(axis: tuple[int, int, int, int], width: int, kind: torch.dtype) -> None:
    height, tile, overlap, align = axis
    image = torch.randn(2, height, width, dtype=kind, generator=torch.Generator().manual_seed(height))
    back = untile(tile_picture(image, tile, overlap, align=align), (height, width), tile, overlap, align=align)
    assert back.dtype == kind
    precision = 1e-12 if kind == torch.float64 else 1e-6
    torch.testing.assert_close(back, image, atol=precision, rtol=precision)


def blurred(radius: int):
    kernel = torch.hann_window(2 * radius + 3, periodic=False)[1:-1]
    kernel = (kernel[:, None] * kernel)[None, None] / kernel.sum() ** 2

    def apply(image: Tensor) -> Tensor:
        return F.conv2d(image.transpose(0, 1), kernel, padding=radius).transpose(0, 1)

    return apply


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 4), st.integers(0, 6))
def test_a_local_function_gives_tiled_what_it_gives_whole(height: int, width: int, radius: int, more: int) -> None:
    image = torch.rand(3, height, width, generator=torch.Generator().manual_seed(1))
    function = blurred(radius)
    tiled = predict_tiled(function, image, tile=24, overlap=2 * radius + more, margin=radius)
    torch.testing.assert_close(tiled, function(image[None])[0], atol=1e-6, rtol=0)


def test_an_overlap_of_twice_the_receptive_field_needs_no_margin_given() -> None:
    image = torch.rand(1, 3, 131, 77, generator=torch.Generator().manual_seed(2))
    function = blurred(3)
    torch.testing.assert_close(predict_tiled(function, image, tile=32, overlap=14), function(image), atol=1e-6, rtol=0)


def test_blending_hides_seams_of_a_function_that_depends_on_the_whole_tile() -> None:
    """Each tile comes out with an error of its own: side by side that is a step, blended a slope."""
    image = torch.zeros(1, 64, 192)
    offsets = iter(torch.tensor([0.0, 1.0, -1.0, 0.5, 0.0] * 10))

    def function(piece: Tensor) -> Tensor:
        return piece + next(offsets)

    blended = predict_tiled(function, image, tile=64, overlap=32)
    assert blended.diff(dim=-1).abs().max() < 2 * 1.6 / 16
    hard = predict_tiled(function, image, tile=64, overlap=0)
    assert hard.diff(dim=-1).abs().max() > 0.9


@pytest.mark.parametrize(("height", "width"), [(64, 96), (40, 200), (7, 8), (128, 24)])
def test_a_larger_result(height: int, width: int) -> None:
    # In double precision, for interpolation rounds its coordinates, which are others in a tile.
    image = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(3), dtype=torch.float64)

    def function(piece: Tensor) -> Tensor:
        return F.interpolate(piece, scale_factor=3, mode="bilinear", align_corners=False)[:, :2]

    result = predict_tiled(function, image, tile=32, overlap=8, margin=2, scale=3)
    assert result.shape == (2, 2, 3 * height, 3 * width)
    torch.testing.assert_close(result, function(image), atol=1e-6, rtol=0)


def test_a_smaller_result() -> None:
    image = torch.rand(3, 64, 92, generator=torch.Generator().manual_seed(4))
    result = predict_tiled(lambda piece: F.avg_pool2d(piece, 4), image, tile=24, overlap=8, align=4, scale=0.25)
    torch.testing.assert_close(result, F.avg_pool2d(image, 4), atol=1e-6, rtol=0)
    with pytest.raises(ConfigError, match=r"at scale 0\.25 .* whole pixels of the result; use align"):
        predict_tiled(lambda piece: F.avg_pool2d(piece, 4), image, tile=22, overlap=8, scale=0.25)


def test_a_strided_function_needs_aligned_tiles() -> None:
    image = torch.rand(3, 100, 140, generator=torch.Generator().manual_seed(5))

    def function(piece: Tensor) -> Tensor:
        return F.interpolate(F.avg_pool2d(piece, 4), scale_factor=4)

    whole = function(image[None])[0]
    torch.testing.assert_close(predict_tiled(function, image, tile=32, overlap=8, align=4), whole, atol=1e-6, rtol=0)
    assert (predict_tiled(function, image, tile=32, overlap=5) - whole).abs().max() > 0.01


def test_half_precision_stays_half_and_is_blended_in_full() -> None:
    image = torch.rand(1, 50, 50).bfloat16()
    result = predict_tiled(lambda piece: piece, image, tile=16, overlap=8)
    assert result.dtype == torch.bfloat16
    assert torch.equal(result, image)


def test_gradients_flow_through() -> None:
    image = torch.rand(1, 40, 40, requires_grad=True)
    predict_tiled(lambda piece: 3 * piece, image, tile=16, overlap=4).sum().backward()
    torch.testing.assert_close(image.grad, torch.full_like(image, 3.0))


def test_tiles_are_let_go_as_they_are_used() -> None:
    alive: list[weakref.ref[Tensor]] = []
    most = 0

    def function(piece: Tensor) -> Tensor:
        nonlocal most
        most = max(most, sum(made() is not None for made in alive))
        result = piece + 1
        alive.append(weakref.ref(result))
        return result

    predict_tiled(function, torch.zeros(1, 64, 64), tile=16, overlap=4)
    assert len(alive) == 25
    assert most == 0


def test_impossible_numbers_are_refused() -> None:
    image = torch.zeros(1, 64, 64)
    for wrong, message in (
        ({"tile": 16, "overlap": 16}, "leaves no step of 1 px; use larger tiles or less overlap"),
        ({"tile": 16, "overlap": 10, "align": 8}, "leaves no step of 8 px"),
        ({"tile": 0, "overlap": 0}, "expected positive sizes"),
        ({"tile": 16, "overlap": -1}, "expected positive sizes"),
        ({"tile": 16, "overlap": 6, "margin": 4}, "margin of 4 px does not fit twice into an overlap of 6 px"),
        ({"tile": 16, "overlap": 6, "margin": -1}, "margin of -1 px"),
    ):
        with pytest.raises(ConfigError, match=message):
            predict_tiled(lambda piece: piece, image, **wrong)
    with pytest.raises(ConfigError, match="less than two margins of 5 px"):
        blend_weights([(0, 16), (8, 24)], 5)


def test_pictures_and_results_of_another_form_are_refused() -> None:
    with pytest.raises(DataError, match=r"expected a picture \(C, H, W\) or \(B, C, H, W\), got \(64, 64\)"):
        predict_tiled(lambda piece: piece, torch.zeros(64, 64), 16, 4)
    with pytest.raises(DataError, match=r"tile 0 is \(1, 1, 15, 16\), expected \(1, 1, 16, 16\) \(scale 1\)"):
        predict_tiled(lambda piece: piece[..., 1:, :], torch.zeros(1, 64, 64), 16, 4)
    with pytest.raises(DataError, match=r"floats or complex numbers, got torch\.uint8"):
        predict_tiled(lambda piece: piece, torch.zeros(1, 64, 64, dtype=torch.uint8), 16, 4)
    tiles = list(tile_picture(torch.zeros(1, 64, 64), 16, 4))
    with pytest.raises(DataError, match="expected 25 tiles, got 24"):
        untile(tiles[:-1], (64, 64), 16, 4)
    with pytest.raises(DataError, match="expected 25 tiles, got more"):
        untile([*tiles, tiles[0]], (64, 64), 16, 4)


@given(axes(), st.integers(1, 150))
@settings(max_examples=60, deadline=None)
def test_bands_from_top_to_bottom_are_the_blended_picture(axis: tuple[int, int, int, int], width: int) -> None:
    height, tile, overlap, align = axis
    picture = torch.rand(3, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    pieces = [piece + number for number, piece in enumerate(tile_picture(picture, tile, overlap, align=align))]
    expected = untile(pieces, (height, width), tile, overlap, align=align)
    given_pieces = iter(pieces)
    bands = list(tiled_bands(lambda rows, columns: next(given_pieces), (height, width), tile, overlap, align=align))
    assert [top for top, _ in bands] == [start for start, _ in tile_positions(height, tile, overlap, align=align)]
    torch.testing.assert_close(torch.cat([band for _, band in bands], dim=-2), expected, rtol=0, atol=1e-9 * len(pieces))


def test_bands_are_refused_where_tiles_do_not_fit() -> None:
    with pytest.raises(ConfigError, match="margin"):
        list(tiled_bands(lambda rows, columns: torch.zeros(1, 8, 8), (20, 20), 8, 4, margin=3))
    with pytest.raises(DataError, match="expected"):
        list(tiled_bands(lambda rows, columns: torch.zeros(1, 7, 8), (20, 20), 8, 4))

"""Pictures larger than memory allows at once: cut into overlapping tiles, and blended together without seams.

The tiles of an axis are spaced evenly, each overlapping the next by at least what was asked for. Where two
overlap, their weights change over from one to the other along a raised cosine in the middle of the overlap;
what lies within ``margin`` of a tile's inner edge counts nothing, because a function that looks around a
pixel sees the edge there. The weights of an axis are differences of such steps, so they sum to one by
construction, also where three tiles meet, and so do their products over both axes.

A function that looks no further than ``margin`` pixels around each pixel gives the same picture tiled as whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import torch
from torch import Tensor

from photic.core.errors import ConfigError, DataError

Span = tuple[int, int]
"""First pixel of a tile along an axis, and the first one after it."""


@dataclass(frozen=True)
class Layout:
    """How a picture is cut and put together; all in pixels."""

    tile: int
    """Side of the tiles."""
    overlap: int
    """What neighbours share, at least."""
    margin: int
    """At a tile's inner edges, so much counts nothing."""
    align: int = 1
    """Tiles start at multiples of so many."""

    def bands(self, function: Callable[[Span, Span], Tensor], size: tuple[int, int]) -> Iterator[tuple[int, Tensor]]:
        """Yield a picture of a size (height, width) made tile by tile, in bands; see :func:`tiled_bands`."""
        return tiled_bands(function, size, self.tile, self.overlap, margin=self.margin, align=self.align)

    def num_tiles(self, size: tuple[int, int]) -> int:
        """Return into how many tiles a picture of a size (height, width) is cut."""
        down, across = (len(tile_positions(side, self.tile, self.overlap, align=self.align)) for side in size)
        return down * across


def tile_positions(size: int, tile: int, overlap: int, *, align: int = 1) -> list[Span]:
    """Return where the tiles of an axis start and stop: as few as suffice, evenly spaced, together the whole axis.

    A picture no larger than a tile is one tile of its own size.

    Args:
        size: pixels of the axis.
        tile: pixels of a tile.
        overlap: pixels that neighbours share, at least.
        align: tiles start at multiples of so many pixels: 2 for a Bayer mosaic, the stride for a network that
            reduces resolution. The last tile of an axis may be up to ``align`` - 1 pixels longer than the others.

    Raises:
        ConfigError: impossible numbers.

    >>> tile_positions(100, 40, 8)
    [(0, 40), (30, 70), (60, 100)]
    >>> tile_positions(30, 40, 8)
    [(0, 30)]
    """
    if size < 1 or tile < 1 or align < 1 or overlap < 0:
        raise ConfigError(f"tiling: expected positive sizes, got size={size}, tile={tile}, overlap={overlap}, align={align}")
    step = (tile - overlap) // align  # in units of `align`, like everything below
    if step < 1:
        raise ConfigError(
            f"tiling: a tile of {tile} px with an overlap of {overlap} px leaves no step of {align} px; use larger tiles or less overlap"
        )
    last = max(0, size - tile) // align
    num_steps = -(-last // step)
    if num_steps == 0:
        return [(0, size)]
    starts = [number * last // num_steps * align for number in range(num_steps + 1)]
    return [(start, start + tile) for start in starts[:-1]] + [(starts[-1], size)]


def blend_weights(positions: Sequence[Span], margin: int, *, scale: float | Fraction = 1) -> list[Tensor]:
    """Return the weights of each tile along an axis, float64 ``(n,)``; over all tiles they sum to one at each pixel.

    Args:
        positions: as :func:`tile_positions` gives them.
        margin: pixels at a tile's inner edges whose weight is zero.
        scale: pixels of the result per pixel of the picture.

    Raises:
        ConfigError: tiles do not overlap by two margins, or do not start at whole pixels of the result.
    """
    factor = Fraction(scale)
    spans = [(_whole(start * factor, positions, scale), _whole(stop * factor, positions, scale)) for start, stop in positions]
    size = spans[-1][1]
    steps = [torch.ones(size, dtype=torch.float64)]
    centres = torch.arange(size, dtype=torch.float64) + 0.5
    for (_, stop), (start, _) in pairwise(spans):
        first, last = start + margin * factor, stop - margin * factor
        if first > last:
            shared = (stop - start) / factor
            raise ConfigError(f"tiling: tiles overlap by {float(shared):g} px, less than two margins of {margin} px; use more overlap")
        along = ((centres - float(first)) / max(float(last - first), 1e-9)).clamp(0, 1)
        steps.append(torch.sin(along * (torch.pi / 2)).square())
    steps.append(torch.zeros(size, dtype=torch.float64))
    # Each step lies behind the one before it, so no difference is negative.
    return [(steps[i] - steps[i + 1])[start:stop] for i, (start, stop) in enumerate(spans)]


def tile_picture(image: Tensor, tile: int, overlap: int, *, align: int = 1) -> Iterator[Tensor]:
    """Yield the tiles of a picture ``(..., H, W)``, row by row, as views.

    Raises:
        ConfigError: impossible numbers.
    """
    rows, columns = (tile_positions(side, tile, overlap, align=align) for side in image.shape[-2:])
    for top, bottom in rows:
        for left, right in columns:
            yield image[..., top:bottom, left:right]


def untile(
    tiles: Iterable[Tensor],
    size: tuple[int, int],
    tile: int,
    overlap: int,
    *,
    margin: int | None = None,
    align: int = 1,
    scale: float | Fraction = 1,
) -> Tensor:
    """Blend tiles, in the order of :func:`tile_picture`, into a picture; each is used as it comes and then let go.

    Args:
        tiles: ``(..., h * scale, w * scale)`` for each tile ``(h, w)``, floats or complex numbers.
        size: height and width of the picture the tiles were cut from.
        tile: as for :func:`tile_positions`.
        overlap: as for :func:`tile_positions`.
        margin: pixels at a tile's inner edges that count nothing; twice it must fit into the overlap. None is a quarter of the overlap.
        align: as for :func:`tile_positions`.
        scale: pixels of the result per pixel of the picture.

    Returns:
        ``(..., H * scale, W * scale)`` on the tiles' device and of their type.

    Raises:
        ConfigError: impossible numbers.
        DataError: there are more or fewer tiles than places, or one does not fit.
    """
    margin = overlap // 4 if margin is None else margin
    rows, columns = (tile_positions(side, tile, overlap, align=align) for side in size)
    if margin < 0 or 2 * margin > overlap:
        raise ConfigError(f"tiling: a margin of {margin} px does not fit twice into an overlap of {overlap} px; use more overlap")
    down, across = (blend_weights(spans, margin, scale=scale) for spans in (rows, columns))
    places = [(row, column) for row in range(len(rows)) for column in range(len(columns))]
    factor = Fraction(scale)
    result: Tensor | None = None
    real = torch.float32
    kind = torch.float32
    given = iter(tiles)
    for number, (row, column) in enumerate(places):
        piece = next(given, None)
        if piece is None:
            raise DataError(f"tiling: expected {len(places)} tiles, got {number}")
        area = (len(down[row]), len(across[column]))
        if result is None:
            kind = piece.dtype
            if not (kind.is_floating_point or kind.is_complex):
                raise DataError(f"tiling: expected tiles of floats or complex numbers, got {kind}")
            wide = torch.promote_types(kind, torch.float32)  # sums of half precision would round at every tile
            real = wide.to_real()
            result = torch.zeros(*piece.shape[:-2], *(int(side * factor) for side in size), dtype=wide, device=piece.device)
        expected = (*result.shape[:-2], *area)
        if tuple(piece.shape) != expected:
            raise DataError(f"tiling: tile {number} is {tuple(piece.shape)}, expected {expected} (scale {float(factor):g})")
        top, left = int(rows[row][0] * factor), int(columns[column][0] * factor)
        weights = down[row].to(real)[:, None] * across[column].to(real)
        result[..., top : top + area[0], left : left + area[1]] += piece * weights.to(result.device)
        del piece
    if next(given, None) is not None:
        raise DataError(f"tiling: expected {len(places)} tiles, got more")
    assert result is not None, "an axis has at least one tile"
    return result.to(kind)


def predict_tiled(
    function: Callable[[Tensor], Tensor],
    image: Tensor,
    tile: int,
    overlap: int,
    *,
    margin: int | None = None,
    align: int = 1,
    scale: float | Fraction = 1,
) -> Tensor:
    """Apply an image-to-image function tile by tile; besides picture and result, one tile is in memory at a time.

    Args:
        function: ``(B, C, h, w)`` to ``(B, C', h * scale, w * scale)`` for any size up to a tile's; it may move a tile to
            another device and its result back.
        image: ``(C, H, W)`` or ``(B, C, H, W)``.
        tile: pixels of a tile's sides; a smaller picture is given to the function whole.
        overlap: pixels that neighbours share, at least.
        margin: how far the function looks around a pixel; None is a quarter of the overlap.
        align: tiles start at multiples of so many pixels (2 for a Bayer mosaic, a network's stride).
        scale: pixels of the result per pixel of the picture, such as 2, or 0.5.

    Returns:
        ``(C', H * scale, W * scale)`` or with B in front.

    Raises:
        ConfigError: impossible numbers.
        DataError: the picture has another shape, or the function gives tiles of another size.

    >>> picture = torch.rand(3, 70, 50)
    >>> predict_tiled(lambda piece: 2 * piece, picture, tile=32, overlap=8).allclose(2 * picture)
    True
    """
    if image.ndim not in (3, 4):
        raise DataError(f"tiling: expected a picture (C, H, W) or (B, C, H, W), got {tuple(image.shape)}")
    batch = image if image.ndim == 4 else image[None]
    height, width = batch.shape[-2:]
    pieces = (function(piece) for piece in tile_picture(batch, tile, overlap, align=align))
    result = untile(pieces, (height, width), tile, overlap, margin=margin, align=align, scale=scale)
    return result if image.ndim == 4 else result[0]


def tiled_bands(
    function: Callable[[Span, Span], Tensor], size: tuple[int, int], tile: int, overlap: int, *, margin: int | None = None, align: int = 1
) -> Iterator[tuple[int, Tensor]]:
    """Yield a picture made tile by tile in bands from top to bottom, each as soon as no later tile can change it.

    For pictures too large to hold the result as floats: one row of tiles is in memory at a time. The bands together are what
    :func:`untile` gives.

    Args:
        function: given the rows and the columns of a tile, returns it as ``(..., h, w)`` floats.
        size: height and width of the picture.
        tile: as for :func:`tile_positions`.
        overlap: as for :func:`tile_positions`.
        margin: as for :func:`untile`.
        align: as for :func:`tile_positions`.

    Yields:
        First row of the band, and the band ``(..., n, W)``.

    Raises:
        ConfigError: impossible numbers.
        DataError: the function gives a tile of another size.
    """
    margin = overlap // 4 if margin is None else margin
    rows, columns = (tile_positions(side, tile, overlap, align=align) for side in size)
    if margin < 0 or 2 * margin > overlap:
        raise ConfigError(f"tiling: a margin of {margin} px does not fit twice into an overlap of {overlap} px; use more overlap")
    down, across = (blend_weights(spans, margin) for spans in (rows, columns))
    waiting: Tensor | None = None  # the rows that the tiles above have already given something to
    for number, (top, bottom) in enumerate(rows):
        band: Tensor | None = None
        for (left, right), weights in zip(columns, across, strict=True):
            piece = function((top, bottom), (left, right))
            if tuple(piece.shape[-2:]) != (bottom - top, right - left):
                raise DataError(f"tiling: a tile is {tuple(piece.shape)}, expected (..., {bottom - top}, {right - left})")
            if band is None:
                band = piece.new_zeros(*piece.shape[:-2], bottom - top, size[1])
            band[..., left:right] += piece * weights.to(piece)
            del piece
        assert band is not None, "an axis has at least one tile"
        band *= down[number].to(band)[:, None]
        if waiting is not None:
            band[..., : waiting.shape[-2], :] += waiting
        following = rows[number + 1][0] if number + 1 < len(rows) else bottom
        yield top, band[..., : following - top, :]
        waiting = band[..., following - top :, :].clone()


def _whole(place: Fraction, positions: Sequence[Span], scale: float | Fraction) -> int:
    if place.denominator != 1:
        raise ConfigError(
            f"tiling: at scale {float(scale):g} a tile of {list(positions)} does not begin and end at whole pixels of the result; "
            "use align, and a picture whose sides are multiples of it"
        )
    return int(place)

"""``.phc`` files into pictures: whole, in bands from the top down, or a region of which only the tiles it needs are decoded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from photic.apps.rawnind.compressing.container import MAX_PIXELS, ORIGINALS, Container, Header, damaged, open_container
from photic.apps.rawnind.compressing.model_identity import in_float32, model_id, model_name, network_of
from photic.apps.rawnind.compressing.picture_facts import picture_of
from photic.apps.rawnind.denoising import lead_of
from photic.apps.rawnind.files.bands import Band, gathered
from photic.apps.rawnind.picture import RawPicture
from photic.core.errors import BitstreamError, ConfigError
from photic.functional.cfa import BAYER
from photic.inference.predictor import LoadedModel
from photic.models.codec.entropy import LatentCoder, tile_boxes

BLOCK_PX = 1536
"""Side of the blocks that the decoder makes at once, without their surroundings."""


class Region(NamedTuple):
    """A rectangle of a picture, in pixels."""

    top: int
    left: int
    height: int
    width: int


def decompress_picture(
    model: LoadedModel,
    data: bytes,
    *,
    region: tuple[int, int, int, int] | None = None,
    advance: Callable[[int], None] | None = None,
    where: str | None = None,
    max_pixels: int = MAX_PIXELS,
) -> RawPicture:
    """Return the picture of a ``.phc`` file: three colours at each pixel, linear, in camera colours, with all that the file tells of it.

    Args:
        model: the one that compressed it, as :func:`photic.apps.rawnind.compressing.encoding.load_compressor` returns it.
        data: the file's bytes.
        region: top, left, height and width of the part that is wanted, in pixels; None is the whole picture.
        advance: called with the number of pixels done, each time some are.
        where: what messages call the file.
        max_pixels: larger pictures are refused.

    Raises:
        BitstreamError: the file is truncated, damaged, foreign, newer, larger than allowed, or another model's.
        ConfigError: the region reaches beyond the picture, or the model does not compress.
    """
    opened = Decoder(model).open(data, where=where, max_pixels=max_pixels)
    size = opened.header.size if region is None else (region[2], region[3])
    values = gathered(opened.bands(region, advance), size)
    return picture_of(opened.header, values)


def decompressed_bands(
    model: LoadedModel,
    data: bytes,
    *,
    region: tuple[int, int, int, int] | None = None,
    advance: Callable[[int], None] | None = None,
    where: str | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Iterator[Band]:
    """Yield the picture of a ``.phc`` file in bands, for :func:`photic.apps.rawnind.files.writing.write_developed`.

    What to give it as ``picture`` is :func:`photic.apps.rawnind.compressing.picture_facts.picture_of` of the header. Memory does not grow
    with the picture's height. Arguments and errors as of :func:`decompress_picture`; header, model and region are checked at once.

    Yields:
        First row of the band, counted from the region's top, and the band ``(n, W, 3)`` float32.
    """
    return Decoder(model).open(data, where=where, max_pixels=max_pixels).bands(region, advance)


def decoded_latents(model: LoadedModel, data: bytes, *, max_pixels: int = MAX_PIXELS) -> Tensor:
    """Return the latents ``(C, h, w)`` float32 of a file: the same bits on every machine. Errors as of :func:`decompress_picture`."""
    opened = Decoder(model).open(data, max_pixels=max_pixels)
    rows, columns = opened.header.layout.latents
    return opened.latents().window((0, rows), (0, columns))


class Decoder:
    """A model ready to decode one file after the other.

    Args:
        model: as :func:`photic.apps.rawnind.compressing.encoding.load_compressor` returns it.

    Raises:
        ConfigError: the model does not compress.
    """

    def __init__(self, model: LoadedModel) -> None:
        self.network = in_float32(network_of(model))
        self.name, self.id = model_name(model), model_id(self.network)
        self.coder = self.network.bit_estimator.coder()

    def open(self, data: bytes, *, where: str | None = None, max_pixels: int = MAX_PIXELS) -> Compressed:
        """Return a file that has been found to be one of this model, not yet decoded.

        Raises:
            BitstreamError: it is truncated, damaged, foreign, newer, larger than allowed, or another model's.
        """
        container = open_container(data, where=where, max_pixels=max_pixels)
        self._check(container)
        return Compressed(self, container)

    def _check(self, container: Container) -> None:
        """Refuse a file that another model made, or that says what this one cannot have made."""
        header, where, network = container.header, container.where, self.network
        layout = header.layout
        if layout.model != self.id:
            called = f"'{header.model_name}' " if header.model_name else ""
            raise BitstreamError(
                f"{where}: was compressed with the model {called}({header.model}), this one is '{self.name}' ({self.id.hex()}); name that "
                "model (--model): its bundle, run or checkpoint"
            )
        mosaic = network.measurement == "mosaic"
        lead = lead_of(BAYER.get(layout.original)) if mosaic else (0, 0)
        sides = (layout.height + lead[0], layout.width + lead[1])
        latents = tuple(-(-side // network.multiple) * network.multiple // network.stride for side in sides)
        right_kind = (
            layout.original in BAYER and not layout.demosaiced if mosaic else layout.demosaiced == (layout.original != ORIGINALS[0])
        )
        fitting = {
            f"a picture of the kind {layout.original}{' (demosaiced)' if layout.demosaiced else ''}": right_kind,
            f"a lead of {layout.lead[0]} rows and {layout.lead[1]} columns": layout.lead == lead,
            f"{layout.latents[0]} x {layout.latents[1]} latents for {layout.height} x {layout.width} pixels": layout.latents == latents,
            f"quality {layout.quality:g}": layout.quality <= network.num_qualities,
        }
        for what, fits in fitting.items():
            if not fits:
                raise damaged(where, f"{what} cannot be of the model '{self.name}'")


class Compressed:
    """A file that belongs to a model, ready to be decoded.

    Args:
        decoder: whose network and device are used.
        container: the file, found to be the model's.
    """

    def __init__(self, decoder: Decoder, container: Container) -> None:
        self.decoder, self.network, self.container = decoder, decoder.network, container

    @property
    def header(self) -> Header:
        """What the file says."""
        return self.container.header

    def latents(self) -> Latents:
        """Decode the side part; tiles are decoded as they are asked for."""
        return Latents(self.decoder.coder, self.container)

    def bands(self, region: tuple[int, int, int, int] | None = None, advance: Callable[[int], None] | None = None) -> Iterator[Band]:
        """Yield the picture, or a region of it, in bands; as :func:`decompressed_bands`.

        Raises:
            ConfigError: the region reaches beyond the picture.
        """
        height, width = self.header.size
        wanted = Region(0, 0, height, width) if region is None else Region(*region)
        top, left, rows, columns = wanted
        if min(top, left) < 0 or min(rows, columns) < 1 or top + rows > height or left + columns > width:
            raise ConfigError(
                f"region: {rows} x {columns} pixels at ({top}, {left}) reach beyond the picture of {height} x {width}; expected top, left, "
                "height, width within it"
            )
        if region is None:
            self.container.check()  # all of it is needed: what is damaged is said before anything is made
        return self._bands(wanted, advance)

    def _bands(self, region: Region, advance: Callable[[int], None] | None) -> Iterator[Band]:
        lead, stride, whole = self.header.layout.lead, self.network.stride, self.header.layout.latents
        first, start = region.top + lead[0], region.left + lead[1]  # in the continued picture
        last, stop = first + region.height, start + region.width
        latents = self.latents()
        block = max(1, BLOCK_PX // stride)
        for row in range(first // stride, -(-last // stride), block):
            rows = (row, min(row + block, whole[0], -(-last // stride)))
            top, bottom = max(first, rows[0] * stride), min(last, rows[1] * stride)
            band = np.empty((bottom - top, region.width, 3), np.float32)
            for column in range(start // stride, -(-stop // stride), block):
                columns = (column, min(column + block, whole[1], -(-stop // stride)))
                left, right = max(start, columns[0] * stride), min(stop, columns[1] * stride)
                made = self._block(latents, rows, columns)
                part = made[top - rows[0] * stride : bottom - rows[0] * stride, left - columns[0] * stride : right - columns[0] * stride]
                band[:, left - start : right - start] = part
            latents.forget_above(rows[1] - self.network.decoder_halo)
            if not np.isfinite(band).all():
                raise BitstreamError(
                    f"{self.container.where}: decodes to values that are not finite: damaged, or made to be. Compress the picture again"
                )
            yield top - first, band
            if advance is not None:
                advance(band.shape[0] * band.shape[1])

    @torch.inference_mode()
    def _block(self, latents: Latents, rows: tuple[int, int], columns: tuple[int, int]) -> np.ndarray:
        """Return the pixels ``(h, w, 3)`` above a rectangle of latents."""
        network, layout = self.network, self.header.layout
        device = next(network.parameters()).device
        spans = [
            (max(0, span[0] - network.decoder_halo), min(size, span[1] + network.decoder_halo))
            for span, size in zip((rows, columns), layout.latents, strict=True)
        ]
        seen = latents.window(spans[0], spans[1])[None].to(device)
        balance = torch.tensor([self.header.facts.balance], device=device)
        quality = torch.tensor([layout.quality], device=device)
        made = network.synthesised(seen.contiguous(memory_format=torch.channels_last), balance, quality)[0]
        stride = network.stride
        down, across = (
            slice((span[0] - wide[0]) * stride, (span[1] - wide[0]) * stride) for span, wide in zip((rows, columns), spans, strict=True)
        )
        found: np.ndarray = made[:, down, across].permute(1, 2, 0).float().cpu().numpy()
        return found


class Latents:
    """The latents of a file, tile by tile; each is decoded once, when it is first asked for.

    Args:
        coder: of the entropy model.
        container: the file.
    """

    def __init__(self, coder: LatentCoder, container: Container) -> None:
        layout = container.header.layout
        self.container, self.tile_side = container, layout.tile
        try:
            self.opened = coder.open(container.side(), layout.latents, layout.tile)
        except BitstreamError as error:
            raise _at(container.where, "the side part", error) from error
        self._boxes = {(row, column): box for row, column, *box in tile_boxes(layout.latents, layout.tile)}
        self._tiles: dict[tuple[int, int], Tensor] = {}

    def window(self, rows: tuple[int, int], columns: tuple[int, int]) -> Tensor:
        """Return a rectangle of latents ``(C, h, w)``.

        Raises:
            BitstreamError: a tile in it is damaged.
        """
        made: Tensor | None = None
        side = self.tile_side
        for row in range(rows[0] // side, -(-rows[1] // side)):
            for column in range(columns[0] // side, -(-columns[1] // side)):
                tile = self._tile(row, column)
                top, bottom, left, right = self._boxes[row, column]
                if made is None:
                    made = tile.new_empty(tile.shape[0], rows[1] - rows[0], columns[1] - columns[0])
                above, below = max(top, rows[0]), min(bottom, rows[1])
                before, after = max(left, columns[0]), min(right, columns[1])
                made[:, above - rows[0] : below - rows[0], before - columns[0] : after - columns[0]] = tile[
                    :, above - top : below - top, before - left : after - left
                ]
        assert made is not None, "a rectangle has a tile"
        return made

    def forget_above(self, row: int) -> None:
        """Let go of tiles that lie wholly above a row of latents."""
        self._tiles = {place: tile for place, tile in self._tiles.items() if self._boxes[place][1] > row}

    def _tile(self, row: int, column: int) -> Tensor:
        found = self._tiles.get((row, column))
        if found is None:
            data = self.container.tile(row, column)
            try:
                found = self.opened.tile(row, column, data)
            except BitstreamError as error:
                raise _at(self.container.where, f"the tile in row {row}, column {column}", error) from error
            self._tiles[row, column] = found
        return found


def _at(where: str, what: str, error: BitstreamError) -> BitstreamError:
    return BitstreamError(f"{where}: {what} is damaged: {error}. Copy it again, or compress the picture again")

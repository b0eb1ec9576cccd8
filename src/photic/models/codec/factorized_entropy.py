"""Latents that are independent of each other: one learnt density for each channel."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from photic.core.errors import BitstreamError
from photic.functional.entropy_coding import decode_channels, encode_channels
from photic.models.codec.density import Density
from photic.models.codec.entropy import (
    Encoded,
    EntropyModel,
    Estimated,
    LatentCoder,
    Opened,
    bits_of,
    check_values,
    integers,
    straight_through,
    tile_boxes,
    tile_size,
    with_noise,
)
from photic.models.codec.tables import FrequencyTables

_NUM_SYMBOLS = 256
"""Of each table, the escape symbol included."""

Symbols = NDArray[np.int32]


class FactorizedEntropy(EntropyModel):
    """Latents ``(B, M, h, w)`` under one density for each channel, at every position the same.

    Source: Ballé et al. 2018, Variational image compression with a scale hyperprior (the fully factorized entropy model there).

    Args:
        num_latents: M.
    """

    def __init__(self, num_latents: int) -> None:
        super().__init__()
        self.num_latents = num_latents
        self.density = Density(num_latents)
        self.tables = FrequencyTables(num_latents, _NUM_SYMBOLS)

    def noisy(self, latents: Tensor) -> Estimated:
        """Return rounded latents, and bits estimated with noise."""
        bits = bits_of(self.density.likelihood_of_maps(with_noise(latents)))
        return Estimated(straight_through(latents, latents.round()), {"latents": bits})

    def decoded(self, latents: Tensor) -> Tensor:
        """Return rounded latents."""
        return integers(latents)

    def rounded(self, latents: Tensor) -> Estimated:
        """Return what the coder makes."""
        symbols = integers(latents)
        channels = torch.arange(self.num_latents, device=latents.device)[None, :, None, None].expand(symbols.shape)
        return Estimated(symbols, {"latents": self.tables.bits(symbols, channels).flatten(1).sum(dim=1).float()})

    def tabulate(self) -> None:
        """Write the tables."""
        self.tables.set(*self.density.tabulated(_NUM_SYMBOLS - 1))

    def coder(self) -> LatentCoder:
        """Return what codes latents."""
        self.ready()
        return FactorizedCoder(self)

    def auxiliary_loss(self) -> Tensor:
        """Return the loss of the quantiles."""
        return self.density.quantile_loss()

    def auxiliary_parameters(self) -> list[torch.nn.Parameter]:
        """Return the quantiles."""
        return [self.density.quantiles]


class IntegerCoder(LatentCoder):
    """Codes latents rounded to integers, tile by tile; there is no side part.

    Args:
        model: whose latents they are.
    """

    def __init__(self, model: EntropyModel) -> None:
        self.model = model

    @abstractmethod
    def tile_encoded(self, symbols: Symbols) -> bytes:
        """Return symbols ``(C, n)`` of a tile, row by row, as bytes."""

    @abstractmethod
    def tile_decoded(self, data: bytes, num: int) -> Symbols:
        """Return the symbols ``(C, num)`` of a tile.

        Raises:
            BitstreamError: the data are damaged, or none of this model.
        """

    @torch.no_grad()
    def encode(self, latents: Tensor, tile: int) -> Encoded:
        """Return latents ``(C, h, w)`` as bytes, in tiles of ``tile`` x ``tile``."""
        check_values(self.model, latents)
        symbols = integers(latents.float()).cpu()
        whole = symbols.int().numpy()
        tiles = [
            self.tile_encoded(np.ascontiguousarray(whole[:, top:bottom, left:right]).reshape(len(whole), -1))
            for _, _, top, bottom, left, right in tile_boxes((latents.shape[1], latents.shape[2]), tile)
        ]
        return Encoded(b"", tiles, symbols)

    def open(self, side: bytes, size: tuple[int, int], tile: int) -> Opened:
        """Return what decodes tiles."""
        if side:
            raise BitstreamError(f"latents: {len(side)} bytes of side information for a model that has none: damaged, or not of this model")
        return _IntegerOpened(self, size, tile)


class _IntegerOpened(Opened):
    """Tiles of latents of a size."""

    def __init__(self, coder: IntegerCoder, size: tuple[int, int], tile: int) -> None:
        self.coder, self.size, self.tile_side = coder, size, tile

    def tile(self, row: int, column: int, data: bytes) -> Tensor:
        """Return the latents of a tile."""
        height, width = tile_size(self.size, self.tile_side, row, column)
        symbols = self.coder.tile_decoded(data, height * width)
        return torch.from_numpy(symbols).view(len(symbols), height, width).float()


class FactorizedCoder(IntegerCoder):
    """Codes each channel under its own table.

    Args:
        model: with its tables made.
    """

    def __init__(self, model: FactorizedEntropy) -> None:
        super().__init__(model)
        self.tables = model.tables.coding_tables()

    def tile_encoded(self, symbols: Symbols) -> bytes:
        """Return symbols ``(C, n)`` of a tile as bytes."""
        return encode_channels(symbols, self.tables)

    def tile_decoded(self, data: bytes, num: int) -> Symbols:
        """Return the symbols ``(C, num)`` of a tile."""
        return decode_channels(data, (self.model.num_latents, num), self.tables)

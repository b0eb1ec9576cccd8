"""What entropy models share: latents to the bits they take, in training; to integers and back, exactly, in a file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from photic.core.errors import DataError
from photic.models.codec.gdn import lower_bound

LIKELIHOOD_MIN = 1e-9
"""Least probability of a symbol in training; keeps the logarithm finite."""
MOST_VALUE = 2**15
"""Largest absolute value of a quantised latent or hyper-latent; what lies beyond is cut there."""


class Estimated(NamedTuple):
    """What an entropy model makes of latents."""

    latents: Tensor
    """``(B, C, h, w)``: as the decoder gets them."""
    bits: dict[str, Tensor]
    """Bits ``(B,)`` of each part (``latents``, ``hyper``, ``index``), for each picture; differentiable in training."""


@dataclass(frozen=True)
class Encoded:
    """Latents as bytes."""

    side: bytes
    """What all tiles need (hyper-latents); empty where there is no such thing."""
    tiles: list[bytes]
    """Tiles of latents, row by row, each of which can be decoded without the others."""
    latents: Tensor
    """``(C, h, w)`` float32: to the bit what decoding gives."""


class Opened(ABC):
    """The side part of a stream, decoded; gives tiles."""

    @abstractmethod
    def tile(self, row: int, column: int, data: bytes) -> Tensor:
        """Return the latents ``(C, th, tw)`` float32 of a tile; those at the right and bottom may be smaller.

        Raises:
            BitstreamError: the data are none of this model, or damaged.
        """


class LatentCoder(ABC):
    """Codes latents with the integer tables of an entropy model; what it decodes depends on integers alone, not on the machine."""

    @abstractmethod
    def encode(self, latents: Tensor, tile: int) -> Encoded:
        """Return latents ``(C, h, w)`` as bytes, in tiles of ``tile`` x ``tile``.

        Raises:
            DataError: another shape, or values that are not finite.
        """

    @abstractmethod
    def open(self, side: bytes, size: tuple[int, int], tile: int) -> Opened:
        """Decode the side part for latents of ``size`` (h, w).

        Raises:
            BitstreamError: it is damaged, or none of this model.
        """


class EntropyModel(nn.Module, ABC):
    """How probable latents are, learnt with the transforms.

    In training :meth:`forward` adds uniform noise in place of rounding to estimate the rate, and rounds with straight-through gradients
    for the decoder. In evaluation it does exactly what the coder does, with integer tables that are made once of the weights
    (:meth:`fix`) and kept with them.

    Source: Ballé et al. 2017, End-to-end optimized image compression; Minnen & Singh 2020 (noise for the rate, rounding for the decoder).
    """

    num_latents: int
    """Channels of the latents."""
    side_stride: int = 1
    """Sides of latents must be multiples of this."""
    is_fixed: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("is_fixed", torch.zeros((), dtype=torch.uint8))
        self._stale = True

    def forward(self, latents: Tensor) -> Estimated:
        """Return latents for the decoder, and bits.

        Args:
            latents: ``(B, C, h, w)``.

        Raises:
            DataError: another shape.
        """
        self.check(latents)
        with torch.autocast(latents.device.type, enabled=False):
            wide = latents.float()
            if self.training:
                self._stale = True  # here, not in train(): trainers set the mode of modules without calling it
                self.is_fixed.zero_()  # so that weights saved between two validations do not come with tables of the first
                return self.noisy(wide)
            self.ready()
            return self.rounded(wide)

    def check(self, latents: Tensor) -> None:
        """Refuse latents of another shape.

        Raises:
            DataError: they have one.
        """
        step = self.side_stride
        if latents.ndim != 4 or latents.shape[1] != self.num_latents or latents.shape[2] % step or latents.shape[3] % step:
            raise DataError(
                f"{type(self).__name__}: expected latents (B, {self.num_latents}, h, w) with sides that are multiples of {step}, got "
                f"{tuple(latents.shape)}"
            )

    @abstractmethod
    def noisy(self, latents: Tensor) -> Estimated:
        """Return what training sees."""

    @abstractmethod
    def rounded(self, latents: Tensor) -> Estimated:
        """Return what the coder makes, and the bits it takes by the integer tables; :meth:`fix` has been called."""

    @abstractmethod
    def decoded(self, latents: Tensor) -> Tensor:
        """Return the latents of :meth:`rounded` alone, without their bits; :meth:`fix` has been called."""

    @abstractmethod
    def tabulate(self) -> None:
        """Write the integer tables of the present weights into buffers."""

    @abstractmethod
    def coder(self) -> LatentCoder:
        """Return what codes latents with the tables; on the CPU."""

    def auxiliary_loss(self) -> Tensor:
        """Return the loss that quantiles of the densities are learnt with, which say what tables span; zero where there are none."""
        return self.is_fixed.new_zeros((), dtype=torch.float32)

    def transform_parameters(self) -> list[nn.Parameter]:
        """Return parameters of networks between latents and hyper-latents, which learn like the transforms."""
        return []

    def auxiliary_parameters(self) -> list[nn.Parameter]:
        """Return the quantiles; no other loss moves them."""
        return []

    @torch.no_grad()
    def fix(self) -> None:
        """Make the integer tables of the present weights; they are saved with them."""
        self.tabulate()
        self.is_fixed.fill_(1)
        self._stale = False

    def ready(self) -> None:
        """Make the tables if the weights may have changed since they were made, by a step of training."""
        if self._stale or not self.is_fixed:  # an average of weights that is swapped in brings its own flag
            self.fix()

    def _load_from_state_dict(self, *arguments: Any, **named: Any) -> None:
        super()._load_from_state_dict(*arguments, **named)
        self._stale = not bool(self.is_fixed)  # tables come with the weights: the same ones on every machine


def tile_boxes(size: tuple[int, int], tile: int) -> Iterator[tuple[int, int, int, int, int, int]]:
    """Yield row and column of each tile of latents, row by row, and its top, bottom, left and right.

    >>> list(tile_boxes((3, 5), 4))
    [(0, 0, 0, 3, 0, 4), (0, 1, 0, 3, 4, 5)]
    """
    height, width = size
    for row in range(-(-height // tile)):
        for column in range(-(-width // tile)):
            yield row, column, row * tile, min((row + 1) * tile, height), column * tile, min((column + 1) * tile, width)


def tile_size(size: tuple[int, int], tile: int, row: int, column: int) -> tuple[int, int]:
    """Return height and width of a tile of latents.

    >>> tile_size((3, 5), 4, 0, 1)
    (3, 1)
    """
    return min(tile, size[0] - row * tile), min(tile, size[1] - column * tile)


def check_values(model: EntropyModel, latents: Tensor) -> None:
    """Refuse latents ``(C, h, w)`` that cannot be coded.

    Raises:
        DataError: another shape, or values that are not finite.
    """
    model.check(latents[None])
    if not bool(torch.isfinite(latents).all()):
        raise DataError("latents: not finite, so they cannot be coded; the picture or the network's weights are damaged")


def with_noise(values: Tensor) -> Tensor:
    """Return values with uniform noise in [-1/2, 1/2): for the rate, what rounding does on average."""
    return values + torch.empty_like(values).uniform_(-0.5, 0.5)


def straight_through(values: Tensor, rounded: Tensor) -> Tensor:
    """Return rounded values with the gradient of the others."""
    return values + (rounded - values).detach()


def integers(values: Tensor) -> Tensor:
    """Return values rounded half to even and cut to what a file can hold."""
    return values.round().clamp(-MOST_VALUE, MOST_VALUE)


def bits_of(likelihood: Tensor) -> Tensor:
    """Return the information ``(B,)`` in bits of all symbols of each picture, from their probabilities ``(B, ...)``."""
    return -lower_bound(likelihood, LIKELIHOOD_MIN).log2().flatten(1).sum(dim=1)

"""What networks share that turn a raw picture, a mosaic or linear RGB, into a clean picture."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from photic.core.errors import DataError
from photic.functional.borders import cropped, to_multiple
from photic.models.base import ModelConfig

Measurement = Literal["mosaic", "rgb"]
"""``mosaic``: one value per pixel behind a colour filter array; ``rgb``: all three colours at each pixel."""


@dataclass(frozen=True, kw_only=True)
class RawDenoiserConfig(ModelConfig):
    """Base of the configs of networks that denoise raw pictures."""

    measurement: Literal["mosaic", "rgb"] = "mosaic"
    """What the network takes: mosaic (one value per pixel behind a colour filter array) or rgb."""

    def build(self) -> RawDenoiser:
        """Return the network."""
        raise NotImplementedError


class RawDenoiser(nn.Module, ABC):
    """A network that makes a clean picture ``(B, 3, H, W)``, linear, in the camera's own colours, from a noisy mosaic or RGB picture.

    What it makes of a pixel depends on its surroundings alone, up to ``margin_px`` pixels away: no statistics over a picture or
    tile. So a large picture is made tile by tile without seams; tiles start at multiples of ``tile_align``.
    """

    config_base: ClassVar[type[RawDenoiserConfig]] = RawDenoiserConfig
    measurement: Measurement
    """What it takes."""
    needs_rggb: bool = False
    """Whether mosaics must be Bayer and begin with red, green / green, blue; otherwise any pattern does, at any phase."""
    multiple: int = 1
    """Sides are padded to a multiple of this, and the result cut back."""
    tile_align: int = 1
    """Tiles start at multiples of so many pixels."""
    margin_px: int
    """How far it looks around a pixel."""

    @abstractmethod
    def restore(self, measurement: Tensor, planes: Tensor, noise: Tensor, balance: Tensor) -> Tensor:
        """Return clean pictures for sides that are multiples of ``multiple``; arguments as for :meth:`forward`."""

    def forward(self, measurement: Tensor, planes: Tensor, noise: Tensor, balance: Tensor) -> Tensor:
        """Return clean pictures ``(B, 3, H, W)``, not clamped.

        Args:
            measurement: ``(B, 1, H, W)`` mosaics or ``(B, 3, H, W)`` linear RGB, black at 0 and white at 1, not clamped below 0, not
                white-balanced.
            planes: ``(B, 3, H, W)`` or ``(1, 3, H, W)``: 1 where a pixel sees that colour; ones for RGB.
            noise: ``(B, 2)``: a and b of the noise's variance a x + b at the clean value x.
            balance: ``(B, 3)``: factors that make a grey about grey (as-shot white balance, green 1); the result is not balanced with
                them, a network may use them to compare colours.

        Raises:
            DataError: shapes contradict each other or the network.
        """
        channels = 1 if self.measurement == "mosaic" else 3
        size = measurement.shape[-2:]
        if measurement.ndim != 4 or measurement.shape[1] != channels:
            raise DataError(f"{type(self).__name__}: expected ({self.measurement}) (B, {channels}, H, W), got {tuple(measurement.shape)}")
        if planes.ndim != 4 or planes.shape[1] != 3 or planes.shape[-2:] != size:
            raise DataError(f"{type(self).__name__}: expected planes (B, 3, {size[0]}, {size[1]}), got {tuple(planes.shape)}")
        batch = measurement.shape[0]
        if noise.shape != (batch, 2) or balance.shape != (batch, 3):
            raise DataError(
                f"{type(self).__name__}: expected noise ({batch}, 2) and balance ({batch}, 3), got "
                f"{tuple(noise.shape)} and {tuple(balance.shape)}"
            )
        padded = to_multiple(measurement, self.multiple)
        made = self.restore(padded, to_multiple(planes, self.multiple).expand(batch, -1, -1, -1), noise, balance)
        return cropped(made, size[0], size[1])

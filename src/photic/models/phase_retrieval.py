"""What every network shares that turns diffraction patterns into complex object patches."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from photic.core.errors import ConfigError, DataError
from photic.core.schema import Range
from photic.models.base import ModelConfig

Output = Literal["real_imag", "amp_phase"]
OUTPUTS = ("real_imag", "amp_phase")
HEAD_SCALE = 0.02


@dataclass(frozen=True, kw_only=True)
class PhaseRetrievalConfig(ModelConfig):
    """Base of the configs of networks that turn groups of diffraction patterns into complex object patches."""

    num_patterns: Annotated[int | None, Range(ge=1)] = None
    """Patterns per group, C = gridsize ** 2; null takes it from the data."""
    size_px: Annotated[int | None, Range(ge=8)] = None
    """Side N of a pattern and of a patch; null takes it from the data."""
    output: Literal["real_imag", "amp_phase"] = "real_imag"
    """What the last layer gives: real and imaginary part, or amplitude (sigmoid * scale) and phase (pi * tanh)."""
    amplitude_scale: Annotated[float, Range(gt=0)] = 2.0
    """Largest amplitude that `amp_phase` can give; `real_imag` has no limit."""

    def build(self) -> PhaseRetrievalNetwork:
        """Return the network."""
        raise NotImplementedError

    def sizes(self) -> tuple[int, int]:
        """Return number of patterns C and side N in pixels.

        Raises:
            ConfigError: one of them is neither given nor taken from the data.
        """
        if self.num_patterns is None:
            raise ConfigError(
                f"{self.registry_name}.num_patterns: not set; give the patterns per group, gridsize ** 2, for example num_patterns=1"
            )
        if self.size_px is None:
            raise ConfigError(f"{self.registry_name}.size_px: not set; give the side of the patterns in pixels, for example size_px=64")
        return self.num_patterns, self.size_px


class PhaseRetrievalNetwork(nn.Module):
    """A network that turns groups of diffraction amplitudes ``(B, C, N, N)`` into complex object patches ``(B, C, N, N)``.

    Subclasses define :meth:`parts`; the complex patch is made of them here, in float32 whatever autocast does to the layers
    before: a phase in bf16 has steps of 0.02 rad.

    Args:
        num_patterns: patterns per group, C.
        size_px: side N of patterns and patches.
        output: ``real_imag``, or ``amp_phase``: amplitude ``sigmoid * amplitude_scale`` and phase ``pi * tanh``.
        amplitude_scale: largest amplitude of ``amp_phase``.
        predicted_px: side of the central square that is predicted; the patch is zero outside. None predicts all of it.

    Raises:
        ConfigError: a setting is out of range.
    """

    config_base: ClassVar[type[PhaseRetrievalConfig]] = PhaseRetrievalConfig
    num_patterns: int
    size_px: int
    supported: Tensor

    def __init__(
        self,
        num_patterns: int,
        size_px: int,
        *,
        output: Output = "real_imag",
        amplitude_scale: float = 2.0,
        predicted_px: int | None = None,
    ) -> None:
        super().__init__()
        if output not in OUTPUTS:
            raise ConfigError(f"output: expected one of {', '.join(OUTPUTS)}, got {output!r}")
        self.num_patterns = num_patterns
        self.size_px = size_px
        self.output = output
        self.amplitude_scale = float(amplitude_scale)
        self.border_px = 0 if predicted_px is None else (size_px - predicted_px) // 2
        supported = torch.zeros(size_px, size_px, dtype=torch.bool)
        inside = slice(self.border_px, size_px - self.border_px)
        supported[inside, inside] = True
        self.register_buffer("supported", supported, persistent=False)

    def support(self) -> Tensor:
        """Return where the network predicts, bool ``(N, N)``; the patch is zero elsewhere."""
        return self.supported

    def parts(self, amplitude: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the last layers give, before sigmoid and tanh: two maps ``(B, C, n, n)``, n the side that is predicted."""
        raise NotImplementedError

    def start_flat(self, first: nn.Conv2d, second: nn.Conv2d | None = None) -> None:
        """Let the untrained network give a flat object: amplitude about 1, phase about 0.

        A flat object already explains most of a measurement: the forward model of it is the probe's own diffraction. From amplitudes
        and phases at random, training would first have to find its way there. The weights are made small rather
        than zero, so that the layers before get a gradient from the first step on.

        Args:
            first: the layer of the first part, or of both parts behind each other (2 C channels).
            second: the layer of the second part.

        Raises:
            ConfigError: a layer has no bias.
        """
        for layer in (first, second):
            if layer is None:
                continue
            if layer.bias is None:
                raise ConfigError("start_flat: the last layers need a bias, which is what makes the first object flat; use bias=True")
            nn.init.normal_(layer.weight, std=HEAD_SCALE / math.sqrt(layer.weight[0].numel()))
            nn.init.zeros_(layer.bias)
        assert first.bias is not None
        with torch.no_grad():
            first.bias[: self.num_patterns] = self._flat_value()

    def _flat_value(self) -> float:
        """Return what the first part is for an object of amplitude 1 (or as near to it as ``amplitude_scale`` allows)."""
        if self.output == "real_imag":
            return 1.0
        share = min(1.0 / self.amplitude_scale, 0.9)
        return math.log(share / (1.0 - share))

    def forward(self, amplitude: Tensor) -> Tensor:
        """Return complex patches ``(B, C, N, N)`` for normalised diffraction amplitudes ``(B, C, N, N)``, DC at index N/2.

        Raises:
            DataError: the input has another shape, or is complex.
        """
        expected = (self.num_patterns, self.size_px, self.size_px)
        if amplitude.ndim != 4 or tuple(amplitude.shape[1:]) != expected or not amplitude.is_floating_point():
            raise DataError(
                f"{type(self).__name__}: expected amplitudes (B, {expected[0]}, {expected[1]}, {expected[2]}) of a floating type, "
                f"got {tuple(amplitude.shape)} {amplitude.dtype}; set num_patterns (gridsize ** 2) and size_px to the data's"
            )
        return torch.complex(*self.planes(amplitude))

    def planes(self, amplitude: Tensor) -> tuple[Tensor, Tensor]:
        """Return real and imaginary part ``(B, C, N, N)`` of the patches, in float32 at least."""
        first, second = (_full(part) for part in self.parts(amplitude))
        if self.output == "amp_phase":
            modulus, phase = self.amplitude_scale * torch.sigmoid(first), math.pi * torch.tanh(second)
            first, second = modulus * torch.cos(phase), modulus * torch.sin(phase)
        if self.border_px:
            first, second = (F.pad(part, (self.border_px,) * 4) for part in (first, second))
        return first, second


def _full(values: Tensor) -> Tensor:
    """Return half-precision values as float32."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def require_divisible(where: str, size_px: int, divisor: Callable[[int], int]) -> None:
    """Refuse a side that a network cannot halve as often as it has to.

    Args:
        where: the network's registry name.
        size_px: side N.
        divisor: what a side has to be divisible by, for that side.

    Raises:
        ConfigError: ``size_px`` is not divisible; the message names the nearest sides that are.

    >>> require_divisible("net", 64, lambda side: 8)
    """
    if size_px % divisor(size_px) == 0:
        return
    below = next((side for side in range(size_px - 1, 7, -1) if side % divisor(side) == 0), None)
    above = next(side for side in range(size_px + 1, 2 * size_px + 64) if side % divisor(side) == 0)
    nearest = f"{above} is the nearest side" if below is None else f"{below} and {above} are the nearest sides"
    raise ConfigError(
        f"{where}.size_px: {size_px} is not divisible by {divisor(size_px)}, which the network's halvings need; {nearest} that it takes: "
        "crop or pad the patterns"
    )


def initialised(module: nn.Module) -> None:
    """Draw the weights of convolutions so that ReLU and GELU layers keep the variance, and zero their biases.

    Source: He et al. 2015, Delving Deep into Rectifiers, eq. 10.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            # Every output pixel of a strided transposed convolution sees a stride-th of the kernel in each direction.
            seen = math.prod(layer.kernel_size) / (math.prod(layer.stride) if isinstance(layer, nn.ConvTranspose2d) else 1)
            nn.init.normal_(layer.weight, std=math.sqrt(2.0 / (layer.in_channels * seen)))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

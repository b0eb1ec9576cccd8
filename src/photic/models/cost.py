"""What a network costs: its parameters, and the multiplications of one input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from photic.core.errors import PhoticError
from photic.core.registry import models
from photic.core.schema import field_types
from photic.functional.cfa import RGGB, cfa_planes
from photic.models.base import ClassifierConfig, ModelConfig
from photic.models.compression import Compressor, CompressorConfig
from photic.models.enhancement import EnhancerConfig
from photic.models.phase_retrieval import PhaseRetrievalConfig
from photic.models.raw_denoising import RawDenoiserConfig

NUM_CLASSES = 4
RAW_SIDE_PX = 256


def _raw_inputs() -> tuple[Tensor, ...]:
    """Return a Bayer mosaic with its colour filter array, noise and white balance."""
    planes = cfa_planes(RGGB, RAW_SIDE_PX, RAW_SIDE_PX)[None]
    return torch.zeros(1, 1, RAW_SIDE_PX, RAW_SIDE_PX), planes, torch.zeros(1, 2), torch.ones(1, 3)


# What each kind of network is measured on, and the fields that say so; the first that fits counts.
_STANDARD: tuple[tuple[type[ModelConfig], Callable[[], tuple[Tensor, ...]], dict[str, Any]], ...] = (
    (ClassifierConfig, lambda: (torch.zeros(1, 3, 256, 1600),), {"num_classes": NUM_CLASSES}),
    (PhaseRetrievalConfig, lambda: (torch.zeros(1, 1, 64, 64),), {"num_patterns": 1, "size_px": 64}),
    (EnhancerConfig, lambda: (torch.zeros(1, 3, 256, 256),), {}),
    (RawDenoiserConfig, _raw_inputs, {"measurement": "mosaic"}),
    (CompressorConfig, _raw_inputs, {"measurement": "mosaic"}),
)


@dataclass(frozen=True)
class Cost:
    """What a network costs."""

    num_parameters: int
    """Real numbers, trainable or frozen; a complex one is two."""
    num_macs: int
    """Multiply-accumulate operations of convolutions, linear layers and attention for one input; half of PyTorch's count of
    floating-point operations. Element-wise operations, normalisations and Fourier transforms are not counted; a complex one counts once."""

    @property
    def gmacs(self) -> float:
        """Billions of multiply-accumulate operations."""
        return self.num_macs / 1e9


def cost_of(network: nn.Module, *inputs: Tensor) -> Cost:
    """Return what a network costs for inputs, in evaluation mode; its mode is put back.

    >>> cost_of(nn.Conv2d(3, 8, 3, padding=1, bias=False), torch.zeros(1, 3, 10, 20))
    Cost(num_parameters=216, num_macs=43200)
    """
    training = network.training
    counter = FlopCounterMode(display=False)
    try:
        network.eval()
        if isinstance(network, Compressor):
            network.bit_estimator.ready()  # tables are made once, not for each picture
        with torch.no_grad(), counter:
            network(*inputs)
    finally:
        network.train(training)
    return Cost(sum(parameter.numel() * (1 + parameter.is_complex()) for parameter in network.parameters()), counter.get_total_flops() // 2)


def standard_cost(name: str) -> tuple[Cost, tuple[int, ...]]:
    """Return what a registered network costs with its default settings and random weights, and the input it was given.

    Classifiers of pictures have 4 classes and get one picture of 256 x 1600 pixels, networks for phase retrieval one pattern of
    64 x 64 pixels, enhancers one picture of 256 x 256 pixels, from which they also make its overview, raw denoisers and compressors (which
    encode and decode it) a Bayer mosaic of 256 x 256 pixels.

    Raises:
        UnknownNameError: there is no such network.
        PhoticError: it is of no such kind, or cannot be built from its defaults.
    """
    config_class = models.config_class(name)
    found = next(((inputs, fields) for base, inputs, fields in _STANDARD if issubclass(config_class, base)), None)
    if found is None:
        raise PhoticError(f"{name}: no standard input for a {config_class.__name__}")
    inputs, fields = found[0](), found[1]
    random = {"pretrained": False} if "pretrained" in field_types(config_class) else {}
    config: Any = models.configure(name, **fields, **random)
    return cost_of(config.build(), *inputs), tuple(inputs[0].shape)

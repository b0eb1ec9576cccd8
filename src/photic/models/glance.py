"""A compact enhancer: exposure and colour are decided at a glance at the whole picture, noise and local light around each pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from photic.core.registry import models
from photic.core.schema import Range
from photic.functional.colour import luma
from photic.models.enhancement import Enhancement, Enhancer, EnhancerConfig

DARKEST = 0.5 / 255
"""Mean level below which a picture counts as black: half a step of an 8-bit file."""
BRIGHTENING = 6.0
"""Curvature of the tone curve per mean level, before training: brings most dark pictures near the middle."""
_MIDDLE = 0.45
_QUANTILES = (0.01, 0.05, 0.15, 0.3, 0.5, 0.7, 0.85, 0.95, 0.99)


def faint(layer: nn.Linear | nn.Conv2d) -> None:
    """Make a layer give almost nothing before training; exactly nothing would let no gradient through to what lies before it."""
    with torch.no_grad():
        layer.weight.mul_(0.01)
        if layer.bias is not None:
            layer.bias.zero_()


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions beside a short cut, ``(B, C, H, W)`` to the same; almost the identity before training.

    Without normalisation, which would tie a pixel to the rest of its tile.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        faint(self.second)

    def forward(self, features: Tensor) -> Tensor:
        """Return features of the same shape."""
        changed: Tensor = self.second(F.gelu(self.first(features)))
        return features + changed


class GlobalDecision(nn.Module):
    """Overviews ``(B, 3, s, s)`` to decisions ``(B, 1 + K)``: the logarithm of the mean level, and K learnt numbers, at first almost zero.

    It sees the distribution of levels and colours, not where they are: with some hundred pictures to learn from, a network that sees
    places learns the exposure of each by heart.

    Args:
        size: K.
        hidden: units of the hidden layer.
    """

    def __init__(self, size: int, hidden: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(6 + len(_QUANTILES), hidden)
        self.last = nn.Linear(hidden, size)
        faint(self.last)

    def forward(self, small: Tensor) -> Tensor:
        """Return decisions."""
        small = small.float()
        mean = small.mean(dim=(1, 2, 3)).clamp_min(DARKEST)
        logs = torch.log(small + 2 / 255) / 2 + 1.5
        ordered = logs.mean(dim=1).flatten(1).sort(dim=1).values
        places = [round(share * (ordered.shape[1] - 1)) for share in _QUANTILES]
        facts = torch.cat([logs.mean(dim=(2, 3)), logs.std(dim=(2, 3)), ordered[:, places]], dim=1)
        learnt: Tensor = self.last(F.gelu(self.hidden(facts)))
        return torch.cat([mean.log()[:, None], learnt], dim=1)


def tone_curve(image: Tensor, curvature: Tensor) -> Tensor:
    """Return ``log(1 + k x) / log(1 + k)``: black stays black, white stays white, the dark between comes up, the more the larger k.

    Args:
        image: ``(B, 3, H, W)`` in [0, 1].
        curvature: k > 0, ``(B, 1, 1, 1)``.

    >>> tone_curve(torch.tensor([0.0, 0.1, 1.0]), torch.tensor(100.0))
    tensor([0.0000, 0.5196, 1.0000])
    """
    return torch.log1p(curvature * image) / torch.log1p(curvature)


def neutrality(image: Tensor, tolerance: float) -> Tensor:
    """Return how neutral the surroundings of each pixel are, ``(B, 1, H, W)``: 1 where they are grey, falling to 0 with their colour.

    Surroundings are 9 x 9 pixels, so that the coloured noise of a grey wall averages out; colour is the spread of the three
    channels over their mean.

    Args:
        image: ``(B, 3, H, W)`` in [0, 1].
        tolerance: spread at which the weight has fallen to 1/e; 0.03 is a tint that is hardly seen.

    >>> neutrality(torch.full((1, 3, 9, 9), 0.1), 0.03).unique()
    tensor([1.])
    """
    around = F.avg_pool2d(F.pad(image, (4, 4, 4, 4), mode="replicate"), 9, stride=1)
    spread = (around.amax(dim=1, keepdim=True) - around.amin(dim=1, keepdim=True)) / (around.mean(dim=1, keepdim=True) + DARKEST)
    return torch.exp(-((spread / tolerance) ** 2))


class GlanceNet(Enhancer):
    """See :class:`GlanceConfig`.

    A tone curve, whose strength is decided for the whole picture, gives the first guess. A U-Net at half, quarter and eighth of the
    resolution corrects it pixel by pixel: a factor for local light, a difference for noise. A colour matrix and an offset, decided for the
    whole picture, come last; what was grey before stays grey. Before training it is all but the tone curve.
    """

    def __init__(self, config: GlanceConfig) -> None:
        super().__init__()
        self.config = config
        widths = (config.width // 2, config.width, config.width + config.width // 2)
        fine, middle, coarse = widths
        self.multiple = self.tile_align = 8
        # Convolutions at stride 2, 4 and 8, down and up again, each looking one pixel of its own around.
        self.margin_px = 2 * 6 + 4 * 4 + 16 * config.num_blocks + 8
        self.decision = GlobalDecision(config.decision_size, config.decision_hidden)
        self.modulation = nn.Linear(config.decision_size, 2 * sum(widths))
        faint(self.modulation)
        self.entry = nn.Conv2d(24, fine, 3, padding=1)
        self.fine_in = ResidualBlock(fine)
        self.down_to_middle = nn.Conv2d(fine, middle, 2, stride=2)
        self.middle_in = ResidualBlock(middle)
        self.down_to_coarse = nn.Conv2d(middle, coarse, 2, stride=2)
        self.coarse = nn.Sequential(*[ResidualBlock(coarse) for _ in range(config.num_blocks)])
        self.up_to_middle = nn.Conv2d(coarse, 4 * middle, 1)
        self.middle_out = ResidualBlock(middle)
        self.up_to_fine = nn.Conv2d(middle, 4 * fine, 1)
        self.fine_out = ResidualBlock(fine)
        self.exit = nn.Conv2d(fine, 24, 3, padding=1)
        faint(self.exit)
        self.widths = widths

    def decide(self, small: Tensor) -> Tensor:
        """Return decisions ``(B, 1 + decision_size)``."""
        decision: Tensor = self.decision(small)
        return decision

    def enhance(self, image: Tensor, decision: Tensor) -> Enhancement:
        """Return enhanced pictures; sides are divisible by 8."""
        level, learnt = decision[:, :1, None, None].exp(), decision[:, 1:]
        curvature = BRIGHTENING / level * learnt[:, :1, None, None].exp()
        guess = tone_curve(image, curvature)
        changes = [part[:, :, None, None].chunk(2, dim=1) for part in self.modulation(learnt).split([2 * w for w in self.widths], dim=1)]

        def modulated(features: Tensor, place: int) -> Tensor:
            factor, shift = changes[place]
            changed: Tensor = features * (1 + factor) + shift
            return changed

        # The dark picture itself, in units of its level, tells noise from structure where the curve has flattened both.
        relative = (image / (4 * level)).clamp(max=2)
        packed = F.pixel_unshuffle(torch.cat([guess - _MIDDLE, relative], dim=1), 2)
        fine = self.fine_in(modulated(self.entry(packed), 0))
        middle = self.middle_in(modulated(self.down_to_middle(fine), 1))
        coarse = self.coarse(modulated(self.down_to_coarse(middle), 2))
        middle = self.middle_out(F.pixel_shuffle(self.up_to_middle(coarse), 2) + middle)
        fine = self.fine_out(F.pixel_shuffle(self.up_to_fine(middle), 2) + fine)
        difference, light = F.pixel_shuffle(self.exit(fine), 2).chunk(2, dim=1)
        picture = guess * light.exp() + difference
        matrix = torch.eye(3, device=image.device, dtype=picture.dtype) + 0.5 * learnt[:, 1:10].reshape(-1, 3, 3).to(picture.dtype)
        offset = 0.3 * learnt[:, 10:13, None, None]
        picture = torch.einsum("bij,bjhw->bihw", matrix, picture) + offset
        if self.config.neutral_tolerance:
            grey = luma(picture)
            picture = grey + (1 - neutrality(image, self.config.neutral_tolerance)) * (picture - grey)
        return Enhancement(picture)


@models.register("glance")
@dataclass(frozen=True, kw_only=True)
class GlanceConfig(EnhancerConfig):
    """Compact enhancer (90 k parameters): global exposure and colour from an overview, a small U-Net for noise and local light."""

    width: Annotated[int, Range(ge=8)] = 28
    """Channels at a quarter of the resolution; half as many at half, one and a half times as many at an eighth. A multiple of 2."""
    num_blocks: Annotated[int, Range(ge=1)] = 1
    """Residual blocks at an eighth of the resolution."""
    decision_size: Annotated[int, Range(ge=13)] = 16
    """Numbers that are decided for the whole picture: tone curve (1), colours (12), and what only changes features."""
    decision_hidden: Annotated[int, Range(ge=1)] = 32
    """Units of the hidden layer of the decision."""
    neutral_tolerance: Annotated[float, Range(ge=0, lt=1)] = 0.03
    """Spread of the channels, over their mean, up to which surroundings count as grey and stay grey; 0 lets greys take any colour."""

    def build(self) -> GlanceNet:
        """Return the network."""
        return GlanceNet(self)

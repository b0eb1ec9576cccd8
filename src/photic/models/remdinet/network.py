"""RemDiNet: both branches, their blend, and the last touch on colour."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor

from photic.core.errors import ConfigError
from photic.core.registry import models
from photic.core.schema import Range
from photic.models.enhancement import Enhancement, Enhancer, EnhancerConfig
from photic.models.remdinet.colour import GlobalColourAffine, lift_saturation, mean_saturation
from photic.models.remdinet.curve_branch import ImprovedCurveEstimator, MaskPredictor
from photic.models.remdinet.features import STRIDE, WINDOW_PX, BackboneFeatures, build_features
from photic.models.remdinet.guidance import NO_SNR, DistractionModule, SNREstimator, guidance
from photic.models.remdinet.semantic import NUM_HEADS, TransformerDecoder

SEMANTIC_DIM_STEP = 2 * NUM_HEADS


class UnifiedLowLightEnhancer(Enhancer):
    """Curves where the picture can be trusted, semantic guidance where it cannot, blended pixel by pixel.

    ``picture = lift(affine(mask * curved + (1 - mask) * semantic))``. Everything looks at a pixel's surroundings alone, but for the
    lift: it is decided by the mean saturation of the whole picture, enhanced but not lifted, as its overview shows it.

    The semantic branch works on a grid of windows of 256 pixels (:class:`~photic.models.remdinet.features.BackboneFeatures`). Tiles
    that begin on it have the same windows as the whole picture, and agree with it from ``margin_px`` off their edges on: the reach of
    the decoder behind the windows and of the mask behind it.

    Source: Zain Ul Abideen, Zhang & Liu 2026, Remove the distraction.

    Args:
        config: settings; the sub-networks of a branch that is switched off are not made.
        where: how the component is called in messages.
    """

    def __init__(self, config: RemDiNetConfig, where: str = "remdinet") -> None:
        super().__init__()
        self.snr: SNREstimator | None = None
        self.curve: ImprovedCurveEstimator | None = None
        self.backbone: BackboneFeatures | None = None
        self.decoder: TransformerDecoder | None = None
        self.distraction: DistractionModule | None = None
        self.mask: MaskPredictor | None = None
        reach = snr_reach = 0
        if config.use_curve:
            self.snr = SNREstimator(learned=config.learned_snr) if config.use_snr else None
            self.curve = ImprovedCurveEstimator(config.curve_width, config.num_curves)
            snr_reach = self.snr.reach_px if self.snr is not None else 0
            reach = self.curve.reach_px + snr_reach
        if config.use_semantic:
            self.backbone = build_features(
                config.backbone, where, pretrained=config.pretrained, weights=config.weights, frozen_stages=config.frozen_stages
            )
            self.decoder = TransformerDecoder(self.backbone.num_channels, config.semantic_dim, config.num_attention_blocks)
            self.multiple, self.tile_align = STRIDE, WINDOW_PX
            self.least_graph_px = WINDOW_PX  # smaller pictures are a window of their own size
            reach = max(reach, self.decoder.reach_px)
        if config.use_curve and config.use_semantic:
            self.distraction = DistractionModule(config.distraction_width)
            self.mask = MaskPredictor(config.mask_width)
            reach = max(reach, self.distraction.reach_px + snr_reach) + self.mask.reach_px
        self.margin_px = reach
        self.colour = GlobalColourAffine()

    def compose(self, image: Tensor) -> Enhancement:
        """Return pictures ``(B, 3, H, W)`` as they are before their saturation is lifted, and all parts."""
        parts: dict[str, Tensor] = {}
        snr = self.snr(image) if self.snr is not None else torch.full_like(image[:, :1], NO_SNR)
        if self.curve is not None:
            picture, parts["curves"] = self.curve(image, snr)
            parts["curved"] = picture
        if self.backbone is not None and self.decoder is not None:
            picture, confidence = self.decoder(image, *self.backbone(image))
            parts["semantic"] = picture
            if self.mask is not None and self.distraction is not None:
                parts["guidance"] = guidance(snr, self.distraction(image, snr))
                parts["mask"] = self.mask(image, parts["guidance"], confidence)
                picture = parts["mask"] * parts["curved"] + (1 - parts["mask"]) * parts["semantic"]
        return Enhancement(self.colour(picture), parts)

    def decide(self, small: Tensor) -> Tensor:
        """Return the mean saturation ``(B, 1)`` of the whole picture as it will be, for overviews ``(B, 3, s, s)``."""
        return mean_saturation(self.compose(small).picture)

    def enhance(self, image: Tensor, decision: Tensor) -> Enhancement:
        """Return the enhanced pictures ``(B, 3, H, W)`` for mean saturations ``(B, 1)``, and what they are blended of.

        Parts: ``curves`` ``(B, 3 n, H, W)``; ``curved`` and ``semantic`` ``(B, 3, H, W)``; ``guidance`` and ``mask`` ``(B, 1, H, W)``, 1
        where the curves count alone. A branch that is switched off has no parts, and without both there is no blend.
        """
        made = self.compose(image)
        return Enhancement(lift_saturation(made.picture, decision), made.parts)

    def part_of(self, name: str) -> str:
        """Return ``curve``, ``mask`` or ``other`` for a parameter's name."""
        first = name.partition(".")[0]
        return first if first in ("curve", "mask") else "other"

    @property
    def part_names(self) -> frozenset[str]:
        """``curves`` and ``curved`` with the curve branch, ``semantic`` with the semantic one, ``guidance`` and ``mask`` with both."""
        names = {"curves", "curved"} if self.curve is not None else set()
        names |= {"semantic"} if self.decoder is not None else set()
        return frozenset(names | ({"guidance", "mask"} if self.mask is not None else set()))


@models.register("remdinet")
@dataclass(frozen=True, kw_only=True)
class RemDiNetConfig(EnhancerConfig):
    """RemDiNet: curves and semantic guidance, blended by noise and distraction (4.1 M parameters).

    Source: Zain Ul Abideen, Zhang & Liu 2026, Remove the distraction: Semantic-SNR guided low-light image enhancement under flexible
    supervision.
    """

    use_curve: bool = True
    """Whether there is a branch of curves; without it the picture is the semantic branch's."""
    use_semantic: bool = True
    """Whether there is a semantic branch; without it the picture is the curves', and nothing of the backbone is made."""
    use_snr: bool = True
    """Whether noise is looked at; false puts 0.5 in the place of the SNR everywhere."""
    learned_snr: bool = False
    """Whether the measured SNR is corrected by a small network."""
    backbone: str = "mobilenetv3_large_100"
    """timm's name of a network with features at stride 32; or efficientnet_lite0, whose pretrained weights work offline."""
    pretrained: bool = False
    """Start the backbone from published ImageNet weights; false starts from random ones."""
    weights: Path | None = None
    """File with starting weights of the backbone (safetensors, or a .pth of plain tensors, as timm names them); wins over `pretrained`."""
    frozen_stages: Annotated[int | None, Range(ge=0, le=5)] = None
    """Resolutions of the backbone, from the picture's on, whose layers do not learn; null is 2 with starting weights and 0 without."""
    semantic_dim: Annotated[int, Range(ge=8, le=1024)] = 128
    """Channels of attention; divisible by 8."""
    num_attention_blocks: Annotated[int, Range(ge=0, le=12)] = 3
    """Blocks of attention among the 8 x 8 cells of a window, with 4 heads."""
    curve_width: Annotated[int, Range(ge=1, le=256)] = 32
    """Channels of the curve estimator; at full resolution, so time grows with its square."""
    num_curves: Annotated[int, Range(ge=1, le=32)] = 8
    """Curves applied one after the other; 8 reach 0.92 from 0.01."""
    mask_width: Annotated[int, Range(ge=1, le=256)] = 32
    """Channels of the mask predictor, at full resolution."""
    distraction_width: Annotated[int, Range(ge=1, le=256)] = 16
    """Channels of the distraction encoder at full resolution, doubled at half and at a quarter."""

    def __post_init__(self) -> None:
        super().__post_init__()
        where = str(self.registry_name)
        if not self.use_curve and not self.use_semantic:
            raise ConfigError(f"{where}: use_curve and use_semantic are both false, which leaves nothing; switch one of them on")
        if self.learned_snr and not self.use_snr:
            raise ConfigError(f"{where}.learned_snr: true, but use_snr is false; set use_snr=true or learned_snr=false")
        if self.semantic_dim % SEMANTIC_DIM_STEP:
            raise ConfigError(f"{where}.semantic_dim: expected a multiple of {SEMANTIC_DIM_STEP}, got {self.semantic_dim}")

    def build(self) -> UnifiedLowLightEnhancer:
        """Return the network.

        Raises:
            UnknownNameError: timm has no such backbone.
            ConfigError: the backbone has no features at stride 32.
            CheckpointError: the backbone's starting weights cannot be had or do not fit.
        """
        return UnifiedLowLightEnhancer(self, str(self.registry_name))

"""ConvNeXt-Tiny with attention: the reference network of the steel application."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from photic.core.registry import models
from photic.core.schema import Range
from photic.models.backbone import AttentiveBackbone, build_classifier, check_stages
from photic.models.pretrained import PretrainedConfig


@models.register("convnext_tiny_cbam")
@dataclass(frozen=True, kw_only=True)
class ConvNeXtTinyConfig(PretrainedConfig):
    """ConvNeXt-Tiny (timm) with channel and spatial attention after chosen stages.

    Source: Liu et al. 2022, A ConvNet for the 2020s; Woo et al. 2018, CBAM.
    """

    cbam_stages: tuple[Literal[1, 2, 3, 4], ...] = (3, 4)
    """Stages followed by attention. For a 256x1600 picture stage 3 gives 384 channels at 16x100, stage 4 768 at 8x50."""
    drop_path_rate: Annotated[float, Range(ge=0, lt=1)] = 0.0
    """Probability of skipping the deepest residual block, falling to 0 at the first (stochastic depth)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_stages(self.cbam_stages, str(self.registry_name))

    def build(self) -> AttentiveBackbone:
        """Return the network.

        Raises:
            ConfigError: num_classes is open.
            CheckpointError: the starting weights cannot be had or do not fit.
        """
        return build_classifier(self, "convnext_tiny", self.cbam_stages, self.drop_path_rate)

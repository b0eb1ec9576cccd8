"""Any backbone of timm by name, with attention after any stages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from photic.core.registry import models
from photic.core.schema import Range
from photic.models.backbone import AttentiveBackbone, build_classifier, check_stages
from photic.models.pretrained import PretrainedConfig


@models.register("timm")
@dataclass(frozen=True, kw_only=True)
class TimmConfig(PretrainedConfig):
    """Any backbone of timm, with channel and spatial attention after chosen stages.

    Source: Wightman, PyTorch Image Models; Woo et al. 2018, CBAM.
    """

    backbone: str = "resnet18"
    """timm's name, with or without a tag of weights: `resnet50`, `convnext_tiny.fb_in22k`."""
    cbam_stages: tuple[Literal[1, 2, 3, 4], ...] = ()
    """Stages followed by attention, counted by resolution: the last four feature levels, 4 the deepest."""
    drop_path_rate: Annotated[float, Range(ge=0, lt=1)] = 0.0
    """Probability of skipping the deepest residual block (stochastic depth); an error where the backbone has none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_stages(self.cbam_stages, str(self.registry_name))

    def build(self) -> AttentiveBackbone:
        """Return the network.

        Raises:
            UnknownNameError: timm has no such backbone.
            ConfigError: num_classes is open, or the backbone has no such stages.
            CheckpointError: the starting weights cannot be had or do not fit.
        """
        return build_classifier(self, self.backbone, self.cbam_stages, self.drop_path_rate)

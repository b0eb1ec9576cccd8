"""Asymmetric loss for several independent labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from photic.core.errors import ConfigError
from photic.core.registry import losses
from photic.core.schema import Range
from photic.losses.base import BaseLoss, LossConfig
from photic.losses.multilabel import Reduction, checked, reduced


class AsymmetricLoss(BaseLoss):
    """Focuses positives and negatives apart, and drops negatives that are already easy.

    ``-(1 - p)^gamma_pos log p`` for positives, ``-p_m^gamma_neg log(1 - p_m)`` with
    ``p_m = max(p - clip, 0)`` for negatives.

    Source: Ridnik et al. 2021, Asymmetric Loss for Multi-Label Classification, eqs. 4 to 7.

    Args:
        num_classes: number of labels C; None takes any.
        gamma_neg: focusing exponent of negatives.
        gamma_pos: focusing exponent of positives.
        clip: probability below which a negative counts nothing.
        reduction: over all labels that count: ``mean``, ``sum``, or ``none`` for losses ``(B, C)``.

    Raises:
        ConfigError: a setting is out of range.
    """

    def __init__(
        self,
        num_classes: int | None = None,
        gamma_neg: float = 4.0,
        gamma_pos: float = 0.0,
        clip: float = 0.05,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        for name, value, ok in (
            ("gamma_neg", gamma_neg, gamma_neg >= 0),
            ("gamma_pos", gamma_pos, gamma_pos >= 0),
            ("clip", clip, 0 <= clip < 1),
            ("reduction", reduction, reduction in ("mean", "sum", "none")),
        ):
            if not ok:
                raise ConfigError(f"asymmetric.{name}: {value!r} is out of range (gammas >= 0, 0 <= clip < 1, reduction mean, sum or none)")
        self.num_classes = num_classes
        self.gamma_neg = float(gamma_neg)
        self.gamma_pos = float(gamma_pos)
        self.clip = float(clip)
        self.reduction = reduction

    def get_params(self) -> dict[str, Any]:
        """Return the settings."""
        return {
            "num_classes": self.num_classes,
            "gamma_neg": self.gamma_neg,
            "gamma_pos": self.gamma_pos,
            "clip": self.clip,
            "reduction": self.reduction,
        }

    def value(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the asymmetric loss of logits and labels ``(B, C)``.

        Raises:
            DataError: shapes differ.
        """
        logits, target, mask = checked(prediction, target, mask, self.num_classes)
        log_p, log_q = F.logsigmoid(logits), F.logsigmoid(-logits)
        positive = -torch.exp(self.gamma_pos * log_q) * log_p
        if self.clip > 0:
            shifted = torch.sigmoid(logits) - self.clip
            counts = shifted > 0
            # The unused side of a `where` still has a gradient: give it a harmless argument, not a zero to a power.
            shifted = torch.where(counts, shifted, 0.5)
            # 1 - p + clip is taken as a sum of positive terms, which keeps its digits where p rounds to 1.
            log_rest = torch.log(torch.sigmoid(-logits) + self.clip)
            negative = torch.where(counts, -(shifted**self.gamma_neg) * log_rest, 0.0)
        else:
            negative = -torch.exp(self.gamma_neg * log_p) * log_q
        return reduced(target * positive + (1.0 - target) * negative, mask, self.reduction)


@losses.register("asymmetric")
@dataclass(frozen=True, kw_only=True)
class AsymmetricConfig(LossConfig):
    """Asymmetric loss: easy negatives count less, very easy ones nothing.

    Source: Ridnik et al. 2021, Asymmetric Loss for Multi-Label Classification, eqs. 4 to 7.
    """

    num_classes: Annotated[int | None, Range(ge=1)] = None
    """Number of labels; null takes any."""
    gamma_neg: Annotated[float, Range(ge=0)] = 4.0
    """Focusing exponent of negatives."""
    gamma_pos: Annotated[float, Range(ge=0)] = 0.0
    """Focusing exponent of positives."""
    clip: Annotated[float, Range(ge=0, lt=1)] = 0.05
    """Probability below which a negative counts nothing."""
    reduction: Literal["mean", "sum"] = "mean"
    """Over all labels of a batch."""

    def make(self) -> AsymmetricLoss:
        """Return the loss."""
        return AsymmetricLoss(self.num_classes, self.gamma_neg, self.gamma_pos, self.clip, self.reduction)

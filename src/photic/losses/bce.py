"""Binary cross-entropy for several independent labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from photic.core.errors import ConfigError
from photic.core.registry import losses
from photic.core.schema import Range
from photic.losses.base import BaseLoss, LossConfig
from photic.losses.multilabel import Reduction, checked, reduced, shares


class BCEWithLogitsLoss(BaseLoss):
    """Binary cross-entropy on logits: ``-w_c y log p - (1 - y) log(1 - p)`` for every label.

    Args:
        num_classes: number of labels C; None takes it from the data.
        pos_weight: None weighs nothing; one number per class > 0; ``"dynamic"`` is negatives over
            positives, made by :meth:`fit` from the whole training split.
        pos_weight_cap: largest weight that ``"dynamic"`` gives.
        reduction: over all labels that count: ``mean``, ``sum``, or ``none`` for losses ``(B, C)``.

    Raises:
        ConfigError: a setting is out of range, or ``"dynamic"`` is used before :meth:`fit`.
    """

    pos_weight_per_class: Tensor

    def __init__(
        self,
        num_classes: int | None = None,
        pos_weight: Sequence[float] | Literal["dynamic"] | None = None,
        pos_weight_cap: float = 100.0,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        if isinstance(pos_weight, str) and pos_weight != "dynamic":
            raise ConfigError(f"bce_with_logits.pos_weight: expected null, 'dynamic' or one number per class, got {pos_weight!r}")
        if reduction not in ("mean", "sum", "none"):
            raise ConfigError(f"bce_with_logits.reduction: expected one of mean, sum, none, got {reduction!r}")
        if not pos_weight_cap > 0:
            raise ConfigError(f"bce_with_logits.pos_weight_cap: expected a value > 0, got {pos_weight_cap!r}")
        self.num_classes = num_classes
        self.pos_weight = pos_weight if pos_weight is None or isinstance(pos_weight, str) else tuple(float(item) for item in pos_weight)
        self.pos_weight_cap = float(pos_weight_cap)
        self.reduction = reduction
        is_dynamic = self.pos_weight == "dynamic"
        self._is_fitted = not is_dynamic
        if isinstance(self.pos_weight, tuple):
            values = torch.tensor(self.pos_weight, dtype=torch.float32)
            if num_classes is not None and len(values) != num_classes:
                raise ConfigError(f"bce_with_logits.pos_weight: expected {num_classes} values, one per class, got {len(values)}")
            if not bool((values > 0).all()):
                raise ConfigError(f"bce_with_logits.pos_weight: expected values > 0, got {self.pos_weight!r}")
        else:
            values = torch.full((num_classes or 0,), float("nan"))
        # Only weights made from data are saved; fixed ones are in the config.
        self.register_buffer("pos_weight_per_class", values, persistent=is_dynamic)

    def get_params(self) -> dict[str, Any]:
        """Return the settings, and the weights in use (None: not weighted, or not fitted yet)."""
        known = self.pos_weight is not None and self._is_fitted
        return {
            "num_classes": self.num_classes,
            "pos_weight": list(self.pos_weight) if isinstance(self.pos_weight, tuple) else self.pos_weight,
            "pos_weight_cap": self.pos_weight_cap,
            "reduction": self.reduction,
            "pos_weight_per_class": self.pos_weight_per_class.tolist() if known else None,
        }

    def fit(self, labels: Tensor, objects: Tensor | None = None) -> Self:
        """Make dynamic weights from the labels ``(N, C)`` of the whole training split.

        Raises:
            DataError: wrong shapes, or a class that is never or always there.
        """
        if self.pos_weight == "dynamic":
            share = shares(labels, objects, "image", self.num_classes, "bce_with_logits")
            self.pos_weight_per_class = ((1.0 - share) / share).clamp_max(self.pos_weight_cap).to(self.pos_weight_per_class)
            self.num_classes = labels.shape[1]
            self._is_fitted = True
        return self

    def value(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the cross-entropy of logits and labels ``(B, C)``.

        Raises:
            ConfigError: dynamic weights before :meth:`fit`.
            DataError: shapes differ.
        """
        if not self._is_fitted:
            raise ConfigError(
                "bce_with_logits.pos_weight: 'dynamic' weights are not made yet; "
                "call fit(labels) with the (N, C) labels of the whole training split"
            )
        logits, target, mask = checked(prediction, target, mask, self.num_classes)
        weights = None if self.pos_weight is None else self.pos_weight_per_class.to(logits)
        return reduced(F.binary_cross_entropy_with_logits(logits, target, pos_weight=weights, reduction="none"), mask, self.reduction)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        saved = state_dict.get(f"{prefix}pos_weight_per_class")
        if isinstance(saved, Tensor) and self.pos_weight == "dynamic":
            if self.num_classes is None:
                self.pos_weight_per_class = torch.empty_like(saved, device=self.pos_weight_per_class.device)
            self._is_fitted = bool(torch.isfinite(saved).all()) and saved.numel() > 0
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


@losses.register("bce_with_logits", aliases=("bce",))
@dataclass(frozen=True, kw_only=True)
class BCEWithLogitsConfig(LossConfig):
    """Binary cross-entropy on logits, with weights for positives if wanted."""

    num_classes: Annotated[int | None, Range(ge=1)] = None
    """Number of labels; null takes it from the data."""
    pos_weight: Annotated[Literal["dynamic"] | tuple[float, ...] | None, Range(gt=0)] = None
    """Weight of positives: null, one number per class, or `dynamic` = negatives / positives of the training split."""
    pos_weight_cap: Annotated[float, Range(gt=0)] = 100.0
    """Largest weight that `dynamic` gives."""
    reduction: Literal["mean", "sum"] = "mean"
    """Over all labels of a batch."""

    def make(self) -> BCEWithLogitsLoss:
        """Return the loss.

        Raises:
            ConfigError: not one weight per class.
        """
        return BCEWithLogitsLoss(self.num_classes, self.pos_weight, self.pos_weight_cap, self.reduction)

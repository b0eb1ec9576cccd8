"""Focal loss for several independent labels."""

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


class FocalLoss(BaseLoss):
    """Focal loss on sigmoid outputs: ``-alpha_t (1 - p_t)^gamma log p_t`` for every label.

    ``p_t`` is the probability given to the true answer; ``alpha_t`` is ``alpha_c`` for positives and
    ``1 - alpha_c`` for negatives of class c. Without alpha and with gamma 0 it is binary cross-entropy.

    Source: Lin et al. 2017, Focal Loss for Dense Object Detection, eq. 5.

    Args:
        num_classes: number of labels C; None takes it from the data.
        alpha: None weighs nothing; a number or one number per class in [0, 1]; ``"dynamic"`` is
            ``1 - n_c / N``, made by :meth:`fit` from the whole training split.
        gamma: focusing exponent.
        reduction: over all labels that count: ``mean``, ``sum``, or ``none`` for losses ``(B, C)``.
        basis: what ``"dynamic"`` counts: ``image`` (n_c images that hold the class, of N images) or
            ``object`` (n_c objects of the class, of N objects).

    Raises:
        ConfigError: a setting is out of range, or ``"dynamic"`` is used before :meth:`fit`.

    >>> loss = FocalLoss(num_classes=2, alpha="dynamic").fit(torch.tensor([[1, 0], [0, 1], [0, 1], [0, 1]]))
    >>> loss.get_params()["alpha_per_class"]
    [0.75, 0.25]
    """

    alpha_per_class: Tensor

    def __init__(
        self,
        num_classes: int | None = None,
        alpha: float | Sequence[float] | Literal["dynamic"] | None = None,
        gamma: float = 2.0,
        reduction: Reduction = "mean",
        basis: Literal["image", "object"] = "image",
    ) -> None:
        super().__init__()
        if not gamma >= 0:
            raise ConfigError(f"focal.gamma: expected a value >= 0, got {gamma!r}")
        for name, value, choices in (("reduction", reduction, ("mean", "sum", "none")), ("basis", basis, ("image", "object"))):
            if value not in choices:
                raise ConfigError(f"focal.{name}: expected one of {', '.join(choices)}, got {value!r}")
        self.num_classes = num_classes
        self.alpha = alpha if alpha is None or isinstance(alpha, str | int | float) else tuple(float(item) for item in alpha)
        self.gamma = float(gamma)
        self.reduction = reduction
        self.basis = basis
        self._is_fitted = alpha != "dynamic"
        values = _fixed_alpha(self.alpha, num_classes)
        # Only weights made from data are saved; fixed ones are in the config.
        self.register_buffer("alpha_per_class", values, persistent=alpha == "dynamic")

    def get_params(self) -> dict[str, Any]:
        """Return the settings, and the class weights in use (None: not weighted, or not fitted yet)."""
        known = self.alpha is not None and self._is_fitted
        return {
            "num_classes": self.num_classes,
            "alpha": list(self.alpha) if isinstance(self.alpha, tuple) else self.alpha,
            "gamma": self.gamma,
            "reduction": self.reduction,
            "basis": self.basis,
            "alpha_per_class": self.alpha_per_class.tolist() if known else None,
        }

    def fit(self, labels: Tensor, objects: Tensor | None = None) -> Self:
        """Make dynamic class weights from the labels of the whole training split; see :class:`FocalLoss`.

        Raises:
            DataError: wrong shapes, no object counts where they are the basis, or a class that is never or always there.
        """
        if self.alpha == "dynamic":
            values = 1.0 - shares(labels, objects, self.basis, self.num_classes, "focal")
            self.alpha_per_class = values.to(self.alpha_per_class)
            self.num_classes = labels.shape[1]
            self._is_fitted = True
        return self

    def value(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the focal loss of logits and labels ``(B, C)``; labels between 0 and 1 mix both sides.

        Raises:
            ConfigError: dynamic class weights before :meth:`fit`.
            DataError: shapes differ.
        """
        if not self._is_fitted:
            raise ConfigError(
                "focal.alpha: 'dynamic' class weights are not made yet; call fit(labels) with the (N, C) labels of the whole training split"
            )
        logits, target, mask = checked(prediction, target, mask, self.num_classes)
        log_p, log_q = F.logsigmoid(logits), F.logsigmoid(-logits)
        # exp(gamma * log(1 - p)) instead of a power: its gradient stays finite where 1 - p underflows and gamma < 1.
        positive = -torch.exp(self.gamma * log_q) * log_p
        negative = -torch.exp(self.gamma * log_p) * log_q
        if self.alpha is not None:
            alpha = self.alpha_per_class.to(logits)
            positive, negative = alpha * positive, (1.0 - alpha) * negative
        return reduced(target * positive + (1.0 - target) * negative, mask, self.reduction)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        saved = state_dict.get(f"{prefix}alpha_per_class")
        if isinstance(saved, Tensor) and self.alpha == "dynamic":
            if self.num_classes is None:
                self.alpha_per_class = torch.empty_like(saved, device=self.alpha_per_class.device)
            self._is_fitted = bool(torch.isfinite(saved).all()) and saved.numel() > 0
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def _fixed_alpha(alpha: float | tuple[float, ...] | str | None, num_classes: int | None) -> Tensor:
    if isinstance(alpha, str):
        if alpha != "dynamic":
            raise ConfigError(f"focal.alpha: expected null, 'dynamic', a number or one number per class, got {alpha!r}")
        return torch.full((num_classes or 0,), float("nan"))
    values = torch.tensor([] if alpha is None else alpha, dtype=torch.float32)
    if not bool(((values >= 0) & (values <= 1)).all()):
        raise ConfigError(f"focal.alpha: expected values >= 0 and <= 1, got {alpha!r}")
    if values.ndim == 1 and alpha is not None and num_classes is not None and len(values) != num_classes:
        raise ConfigError(f"focal.alpha: expected {num_classes} values, one per class, got {len(values)}: {alpha!r}")
    return values.expand(num_classes).clone() if values.ndim == 0 and num_classes is not None else values


@losses.register("focal", aliases=("focal_loss",))
@dataclass(frozen=True, kw_only=True)
class FocalConfig(LossConfig):
    """Focal loss on sigmoid outputs, with class weights from the training split if wanted.

    Source: Lin et al. 2017, Focal Loss for Dense Object Detection, eq. 5.
    """

    num_classes: Annotated[int | None, Range(ge=1)] = None
    """Number of labels; null takes it from the data."""
    alpha: Annotated[Literal["dynamic"] | float | tuple[float, ...] | None, Range(ge=0, le=1)] = None
    """Weight of positives (negatives get 1 - alpha): null, a number, one per class, or `dynamic` = 1 - n_c / N of the training split."""
    gamma: Annotated[float, Range(ge=0)] = 2.0
    """Focusing exponent; 0 does not focus."""
    reduction: Literal["mean", "sum"] = "mean"
    """Over all labels of a batch."""
    basis: Literal["image", "object"] = "image"
    """What `dynamic` counts: images that hold the class, or objects of the class."""

    def make(self) -> FocalLoss:
        """Return the loss.

        Raises:
            ConfigError: not one alpha per class.
        """
        return FocalLoss(self.num_classes, self.alpha, self.gamma, self.reduction, self.basis)

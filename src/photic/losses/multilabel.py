"""What the losses on multi-label logits share: checks of the inputs, the mask, the reduction."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from photic.core.errors import DataError

Reduction = Literal["mean", "sum", "none"]


def checked(prediction: Tensor, target: Tensor, mask: Tensor | None, num_classes: int | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return logits and labels ``(B, C)`` in float32 (or float64), and the mask as booleans.

    Half-precision logits are promoted: a focal weight of 1e-6 is zero in float16. What is masked out is
    replaced by zeros, so that an unknown label may be NaN.

    Raises:
        DataError: shapes differ, the number of classes is another, or the mask leaves nothing.
    """
    if prediction.ndim != 2 or prediction.shape != target.shape:
        raise DataError(f"loss: expected logits and labels of one shape (B, C), got {tuple(prediction.shape)} and {tuple(target.shape)}")
    if num_classes is not None and prediction.shape[1] != num_classes:
        raise DataError(f"loss: made for {num_classes} classes, got logits {tuple(prediction.shape)}; set num_classes to the network's")
    if prediction.dtype != torch.float64:
        prediction = prediction.float()
    target = target.to(prediction.dtype)
    if mask is None:
        return prediction, target, None
    if mask.shape != target.shape:
        raise DataError(f"loss: expected a mask of the labels' shape {tuple(target.shape)}, got {tuple(mask.shape)}")
    mask = mask.bool()
    if not bool(mask.any()):
        raise DataError("loss: the mask leaves out every label of the batch, so there is no loss; skip such batches")
    return prediction.masked_fill(~mask, 0.0), target.masked_fill(~mask, 0.0), mask


def reduced(loss: Tensor, mask: Tensor | None, reduction: Reduction) -> Tensor:
    """Reduce losses ``(B, C)`` over the labels that count."""
    if mask is not None:
        loss = loss * mask
    if reduction == "none":
        return loss
    if reduction == "sum":
        return loss.sum()
    return loss.mean() if mask is None else loss.sum() / mask.sum()


def shares(labels: Tensor, objects: Tensor | None, basis: Literal["image", "object"], num_classes: int | None, where: str) -> Tensor:
    """Return the share of each class, ``(C,)`` in float64: of images that hold it, or of all objects.

    Raises:
        DataError: wrong shapes, no objects where they are the basis, or a class with share 0 or 1.
    """
    if labels.ndim != 2 or labels.shape[0] == 0 or (num_classes is not None and labels.shape[1] != num_classes):
        expected = f"(N, {num_classes})" if num_classes is not None else "(N, C)"
        raise DataError(f"{where}.fit: expected labels {expected} of all training samples, got {tuple(labels.shape)}")
    if not bool(((labels == 0) | (labels == 1)).all()):
        raise DataError(f"{where}.fit: expected labels of 0 and 1 only")
    if basis == "object":
        if objects is None:
            raise DataError(
                f"{where}.fit: basis=object needs the number of objects of each class, which this data set does not tell; use basis=image"
            )
        if objects.shape != labels.shape:
            raise DataError(f"{where}.fit: expected object counts of the labels' shape {tuple(labels.shape)}, got {tuple(objects.shape)}")
        counts = objects.double().sum(dim=0)
        total = float(counts.sum())
    else:
        counts = labels.double().sum(dim=0)
        total = float(labels.shape[0])
    for index, count in enumerate(counts.tolist()):
        if count in (0, total):
            have = "no" if count == 0 else "every"
            raise DataError(
                f"{where}.fit: {have} training {basis} is of class {index}, so its share gives one side of the loss no weight; "
                "check the split, or set the weights by hand"
            )
    return counts / total

"""How sure the numbers are: resampling the samples of a test set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from photic.core.errors import DataError
from photic.core.seeding import numpy_generator
from photic.metrics.inputs import Booleans, Floats, checked, class_keys, per_class
from photic.metrics.ranking import rankings

_CELLS = 4_000_000  # weights held at once: 32 MB


def bootstrap_intervals(
    probabilities: Any,
    labels: Any,
    thresholds: ArrayLike = 0.5,
    *,
    num_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    classes: Sequence[Any] | None = None,
) -> dict[str, dict[str, float | int]]:
    """Return percentile intervals of ``macro_ap``, ``macro_f1`` and ``ap/<class>`` over resampled samples.

    A resample without a positive of some class says nothing about that class: it is left out for
    ``ap/<class>``, and the macro values use the resamples that hold every class of the set.
    ``num_valid`` says how many were used; with fewer than two there is no interval (NaN).

    Source: Efron & Tibshirani 1993, An Introduction to the Bootstrap, ch. 13 (percentile interval).

    Args:
        probabilities: ``(N, C)`` in [0, 1].
        labels: ``(N, C)`` of 0 and 1.
        thresholds: one for all classes, or one per class (for F1).
        num_resamples: number of resamples.
        seed: the same seed gives the same intervals.
        level: share of the resampled values inside the interval.
        classes: names of the classes; indices if omitted.

    Returns:
        name to ``{"value", "low", "high", "num_valid"}``.

    Raises:
        DataError: wrong shapes or values.
    """
    values, present = checked(probabilities, labels)
    limits = per_class(thresholds, values.shape[1])
    names = _names(class_keys(classes, values.shape[1]))
    point = _statistics(values, present, limits, np.ones((1, len(values))))[0]
    samples = np.concatenate([_statistics(values, present, limits, w) for w in _weights(len(values), num_resamples, seed, level)])
    return {name: {"value": float(point[i]), **_interval(samples[:, i], level)} for i, name in enumerate(names)}


def paired_bootstrap(
    first: Any,
    second: Any,
    labels: Any,
    *,
    first_thresholds: ArrayLike = 0.5,
    second_thresholds: ArrayLike = 0.5,
    num_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    classes: Sequence[Any] | None = None,
) -> dict[str, dict[str, float | int]]:
    """Return intervals of the difference ``second - first`` of two predictions of the same samples.

    Both are measured on the same resamples, so what makes a resample hard for both cancels out.

    Source: Efron & Tibshirani 1993, An Introduction to the Bootstrap, ch. 13.

    Args:
        first: probabilities ``(N, C)`` of the one model.
        second: probabilities ``(N, C)`` of the other, samples in the same order.
        labels: ``(N, C)`` of 0 and 1.
        first_thresholds: thresholds of the one, for F1.
        second_thresholds: thresholds of the other, for F1.
        num_resamples: number of resamples.
        seed: the same seed gives the same intervals.
        level: share of the resampled differences inside the interval.
        classes: names of the classes; indices if omitted.

    Returns:
        name (as in :func:`bootstrap_intervals`) to ``{"value", "low", "high", "num_valid", "share_above_zero"}``.

    Raises:
        DataError: wrong shapes or values.
    """
    pairs = [
        (values, present, per_class(thresholds, values.shape[1]))
        for (values, present), thresholds in ((checked(first, labels), first_thresholds), (checked(second, labels), second_thresholds))
    ]
    num_samples, num_classes = pairs[0][0].shape

    def difference(weights: Floats) -> Floats:
        return _statistics(*pairs[1], weights) - _statistics(*pairs[0], weights)

    point = difference(np.ones((1, num_samples)))[0]
    samples = np.concatenate([difference(weights) for weights in _weights(num_samples, num_resamples, seed, level)])
    result: dict[str, dict[str, float | int]] = {}
    for i, name in enumerate(_names(class_keys(classes, num_classes))):
        valid = samples[np.isfinite(samples[:, i]), i]
        above = float((valid > 0).mean() + (valid == 0).mean() / 2) if len(valid) else float("nan")
        result[name] = {"value": float(point[i]), **_interval(samples[:, i], level), "share_above_zero": above}
    return result


def _names(keys: Sequence[Any]) -> list[str]:
    return ["macro_ap", "macro_f1", *(f"ap/{key}" for key in keys)]


def _weights(num_samples: int, num_resamples: int, seed: int, level: float) -> Iterator[Floats]:
    """Give how often each sample counts in each resample, in blocks ``(R, N)``."""
    if num_resamples < 1 or not 0 < level < 1:
        raise DataError(f"bootstrap: expected num_resamples >= 1 and 0 < level < 1, got {num_resamples} and {level}")
    generator = numpy_generator(seed, "bootstrap")
    block = max(1, _CELLS // num_samples)
    for start in range(0, num_resamples, block):
        size = min(block, num_resamples - start)
        drawn = generator.integers(num_samples, size=(size, num_samples))
        flat = drawn + num_samples * np.arange(size)[:, None]
        yield np.bincount(flat.ravel(), minlength=size * num_samples).reshape(size, num_samples).astype(np.float64)


def _statistics(values: Floats, present: Booleans, limits: Floats, weights: Floats) -> Floats:
    """Return macro AP, macro F1 and the AP of each class for every row of weights, ``(R, 2 + C)``."""
    precision = np.stack([ranking.average_precision(weights) for ranking in rankings(values, present)], axis=1)
    called = values >= limits
    true = weights @ (present & called)
    positives, both = weights @ present, weights @ present + weights @ called
    f1 = np.divide(2 * true, both, out=np.full_like(both, np.nan), where=both > 0)
    known = present.any(axis=0)
    complete = (positives[:, known] > 0).all(axis=1)
    macro = np.stack([_mean_of_defined(precision), _mean_of_defined(f1)], axis=1)
    macro[~complete] = np.nan
    return np.concatenate([macro, precision], axis=1)


def _mean_of_defined(values: Floats) -> Floats:
    defined = ~np.isnan(values)
    count = defined.sum(axis=1).astype(np.float64)
    mean: Floats = np.divide(np.where(defined, values, 0.0).sum(axis=1), count, out=np.full_like(count, np.nan), where=count > 0)
    return mean


def _interval(samples: Floats, level: float) -> dict[str, float | int]:
    valid = samples[np.isfinite(samples)]
    low, high = np.quantile(valid, [(1 - level) / 2, (1 + level) / 2]) if len(valid) > 1 else (np.nan, np.nan)
    return {"low": float(low), "high": float(high), "num_valid": len(valid)}

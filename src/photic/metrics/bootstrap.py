"""How sure the numbers are: resampling the samples of a test set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
    names = range(len(checked(first, labels)[1]))
    pair = PredictionPair(names, first, second, labels, first_thresholds=first_thresholds, second_thresholds=second_thresholds)
    return mean_difference([pair], num_resamples=num_resamples, seed=seed, level=level, classes=classes)


@dataclass(frozen=True)
class PredictionPair:
    """Two predictions of the same samples, as :func:`mean_difference` takes them."""

    names: Sequence[Any]
    """What the ``N`` samples are called; a name that several pairs have is the same sample in all of them."""
    first: Any
    """Probabilities ``(N, C)`` of the one model."""
    second: Any
    """Probabilities ``(N, C)`` of the other."""
    labels: Any
    """``(N, C)`` of 0 and 1."""
    first_thresholds: ArrayLike = 0.5
    """Thresholds of the one, for F1."""
    second_thresholds: ArrayLike = 0.5
    """Thresholds of the other, for F1."""


def mean_difference(
    pairs: Sequence[PredictionPair],
    *,
    num_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    classes: Sequence[Any] | None = None,
) -> dict[str, dict[str, float | int]]:
    """Return intervals of the difference ``second - first``, averaged over pairs such as the seeds of two trainings.

    One resample is drawn from the samples of all pairs together, so a sample that is hard wherever it is
    tested is drawn, or not, for all of them at once. The interval says how far the choice of samples moves
    the mean difference of these models; how far another seed would move it shows in the differences of the single pairs.

    A pair in which a class is undefined (in the data or in a resample) is left out of that class's mean. A
    resample is left out where a class that is needed has no positive in any pair.

    Source: Efron & Tibshirani 1993, An Introduction to the Bootstrap, ch. 13; resampling what is shared by
        several measurements is their ch. 8.

    Args:
        pairs: what to compare; the classes of all are the same.
        num_resamples: number of resamples.
        seed: the same seed gives the same intervals.
        level: share of the resampled differences inside the interval.
        classes: names of the classes; indices if omitted.

    Returns:
        name (as in :func:`bootstrap_intervals`) to ``{"value", "low", "high", "num_valid", "share_above_zero"}``.

    Raises:
        DataError: no pair, wrong shapes or values, or a name twice in a pair.
    """
    if not pairs:
        raise DataError("mean_difference: expected at least one pair of predictions, got none")
    where, num_samples = shared_rows([pair.names for pair in pairs])
    sides = [_Side.of(pairs, which) for which in ("first", "second")]
    widths = {present.shape[1] for side in sides for present in side.present}
    if len(widths) > 1 or any(len(rows) != len(present) for rows, present in zip(where, sides[0].present, strict=True)):
        shapes = ", ".join(f"{len(rows)} names and {present.shape}" for rows, present in zip(where, sides[0].present, strict=True))
        raise DataError(f"mean_difference: expected a name for each sample and the same classes in all pairs, got {shapes}")

    def difference(weights: Floats) -> Floats:
        own = [weights[:, rows] for rows in where]
        return sides[1].statistics(own) - sides[0].statistics(own)

    names = _names(class_keys(classes, widths.pop()))
    return difference_intervals(difference, names, num_samples, num_resamples=num_resamples, seed=seed, level=level)


def shared_rows(names_of_pairs: Sequence[Sequence[Any]]) -> tuple[list[NDArray[np.int64]], int]:
    """Return for each pair where its samples lie among the samples of all pairs, ``(N_pair,)``, and how many those are.

    Raises:
        DataError: a name twice in a pair.
    """
    place: dict[Any, int] = {}
    for names in names_of_pairs:
        if len(set(names)) < len(names):
            raise DataError("mean_difference: a sample is named twice in one pair; names must tell samples apart")
        for name in names:
            place.setdefault(name, len(place))
    return [np.array([place[name] for name in names], dtype=np.int64) for names in names_of_pairs], len(place)


def difference_intervals(
    difference: Callable[[Floats], Floats],
    names: Sequence[str],
    num_samples: int,
    *,
    num_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, dict[str, float | int]]:
    """Return differences with percentile intervals over resampled samples.

    Args:
        difference: takes how often each sample counts, ``(R, num_samples)``, and returns the differences, ``(R, len(names))``; NaN where
            undefined.
        names: of the differences.
        num_samples: how many samples there are.
        num_resamples: number of resamples.
        seed: the same seed gives the same intervals.
        level: share of the resampled differences inside the interval.

    Returns:
        name to ``{"value", "low", "high", "num_valid", "share_above_zero"}``.
    """
    point = difference(np.ones((1, num_samples)))[0]
    samples = np.concatenate([difference(weights) for weights in _weights(num_samples, num_resamples, seed, level)])
    result: dict[str, dict[str, float | int]] = {}
    for i, name in enumerate(names):
        valid = samples[np.isfinite(samples[:, i]), i]
        above = float((valid > 0).mean() + (valid == 0).mean() / 2) if len(valid) else float("nan")
        result[name] = {"value": float(point[i]), **_interval(samples[:, i], level), "share_above_zero": above}
    return result


@dataclass(frozen=True)
class _Side:
    """All predictions of one of the two models."""

    values: list[Floats]
    present: list[Booleans]
    limits: list[Floats]

    @classmethod
    def of(cls, pairs: Sequence[PredictionPair], which: str) -> _Side:
        tables = [checked(getattr(pair, which), pair.labels) for pair in pairs]
        limits = [
            per_class(getattr(pair, f"{which}_thresholds"), present.shape[1]) for pair, (_, present) in zip(pairs, tables, strict=True)
        ]
        return cls([values for values, _ in tables], [present for _, present in tables], limits)

    def statistics(self, weights: Sequence[Floats]) -> Floats:
        """Return macro AP, macro F1 and the AP of each class, averaged over pairs, for every row of weights, ``(R, 2 + C)``."""
        by_pair = list(zip(self.values, self.present, self.limits, strict=True))
        drawn = [_by_class(*arrays, own) for arrays, own in zip(by_pair, weights, strict=True)]
        whole = [_by_class(*arrays, np.ones((1, len(arrays[0])))) for arrays in by_pair]
        needed = np.any([present.any(axis=0) for present in self.present], axis=0)
        macro = [_mean_over_pairs(np.stack([d[i] for d in drawn]), np.stack([w[i] for w in whole]), needed) for i in (0, 1)]
        precision = np.moveaxis(np.stack([d[0] for d in drawn]), 0, -1)
        mean = _mean_of_defined(precision.reshape(-1, len(drawn))).reshape(precision.shape[:-1])
        return np.concatenate([np.stack(macro, axis=1), mean], axis=1)


def _mean_over_pairs(drawn: Floats, whole: Floats, needed: Booleans) -> Floats:
    """Return the mean over pairs of their mean over classes, ``(R,)``.

    Args:
        drawn: value of each class in each resample, ``(P, R, C)``; NaN where it is undefined.
        whole: the same on all samples, ``(P, 1, C)``; where it is NaN, the pair does not know the class.
        needed: classes without which a resample says nothing, ``(C,)``.
    """
    known = ~np.isnan(whole)
    share = known / np.maximum(known.sum(axis=2, keepdims=True), 1)
    defined = ~np.isnan(drawn)
    total = share.sum(axis=0)
    held = (share * defined).sum(axis=0)
    mean = np.divide((share * np.where(defined, drawn, 0.0)).sum(axis=0), held, out=np.zeros_like(held), where=held > 0)
    counted = np.where(held > 0, total, 0.0)
    norm = counted.sum(axis=1)
    result: Floats = np.divide((counted * mean).sum(axis=1), norm, out=np.full_like(norm, np.nan), where=norm > 0)
    result[((held == 0) & (total > 0) & needed).any(axis=1)] = np.nan
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
    precision, f1 = _by_class(values, present, limits, weights)
    known = present.any(axis=0)
    complete = ~np.isnan(precision[:, known]).any(axis=1)
    macro = np.stack([_mean_of_defined(precision), _mean_of_defined(f1)], axis=1)
    macro[~complete] = np.nan
    return np.concatenate([macro, precision], axis=1)


def _by_class(values: Floats, present: Booleans, limits: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return AP and F1 of each class for every row of weights, ``(R, C)``; NaN where a class that has positives lost all of them."""
    precision = np.stack([ranking.average_precision(weights) for ranking in rankings(values, present)], axis=1)
    called = values >= limits
    positives = weights @ present
    both = positives + weights @ called
    f1 = np.divide(2 * (weights @ (present & called)), both, out=np.full_like(both, np.nan), where=both > 0)
    f1[(positives == 0) & present.any(axis=0)] = np.nan
    return precision, f1


def _mean_of_defined(values: Floats) -> Floats:
    defined = ~np.isnan(values)
    count = defined.sum(axis=1).astype(np.float64)
    mean: Floats = np.divide(np.where(defined, values, 0.0).sum(axis=1), count, out=np.full_like(count, np.nan), where=count > 0)
    return mean


def _interval(samples: Floats, level: float) -> dict[str, float | int]:
    valid = samples[np.isfinite(samples)]
    low, high = np.quantile(valid, [(1 - level) / 2, (1 + level) / 2]) if len(valid) > 1 else (np.nan, np.nan)
    return {"low": float(low), "high": float(high), "num_valid": len(valid)}

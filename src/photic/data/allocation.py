"""Integer allocation behind stratified splits: how many of each kind of unit go to each split.

Rows with the same labels are interchangeable, so a table of thousands of rows is a handful of *kinds*
with counts. What remains is a small integer problem: round ``count x ratio`` so that split sizes and
class totals stay as near to their ideal shares as possible. Whole parts are given out directly, the
few left-over units greedily (rarest class first, as in iterative stratification), and swaps between
splits improve the result until none helps.
"""

from __future__ import annotations

import numpy as np

_CANDIDATES = 64  # kinds looked at per split and swap; more kinds than this are sampled
_KIND_WEIGHT = 1e-2  # keeps label combinations near their shares where classes leave the choice open


def round_shares(total: int, ratios: np.ndarray) -> np.ndarray:
    """Round ``total x ratios`` to integers of the same sum by largest remainder, each at least 1.

    >>> round_shares(12568, np.array([0.7, 0.15, 0.15])).tolist()
    [8798, 1885, 1885]
    """
    shares = total * ratios
    sizes = np.floor(shares + 1e-9).astype(int)
    order = np.argsort(-(shares - sizes), kind="stable")
    sizes[order[: total - sizes.sum()]] += 1
    while sizes.min() < 1:  # only in tables of a few rows
        sizes[np.argmax(sizes)] -= 1
        sizes[np.argmin(sizes)] += 1
    return sizes


class Allocation:
    """Numbers of units of each kind in each split.

    Args:
        kinds: ``(K, F)`` what one unit brings to each total; column 0 is its number of rows.
        copies: ``(K,)`` how many units of each kind there are.
        ratios: ``(S,)`` share of each split; they sum to 1.
        rng: picks candidates where there are too many kinds to look at all.
    """

    def __init__(self, kinds: np.ndarray, copies: np.ndarray, ratios: np.ndarray, rng: np.random.Generator) -> None:
        self.kinds, self.copies, self.rng = kinds.astype(float), copies, rng
        self.num_splits = len(ratios)
        self.exact_sizes = bool((kinds[:, 0] == 1).all())
        totals = copies @ kinds
        self.sizes = round_shares(int(totals[0]), ratios)
        self.ideal = ratios[:, None] * totals[None, :].astype(float)
        self.ideal[:, 0] = self.sizes
        self._set_bounds(totals)
        self.kind_ideal = copies[:, None] * ratios[None, :]
        self.numbers: np.ndarray = np.floor(self.kind_ideal + 1e-9).astype(int)
        for split in range(self.num_splits):  # whole parts exceed a size only in tables of a few rows
            while (self.numbers[:, split] @ self.kinds)[0] > self.sizes[split]:
                self.numbers[np.argmax(self.numbers[:, split]), split] -= 1
        self.reached = self.numbers.T @ self.kinds

    def _set_bounds(self, totals: np.ndarray) -> None:
        # A split without positives (or without negatives) of a class can measure nothing, so each gets one of them
        # wherever there are enough units, even if the ideal share is below one half.
        self.least_with = (self.copies @ (self.kinds > 0) >= self.num_splits).astype(float)
        self.least_without = (self.copies @ (self.kinds < self.kinds[:, :1]) >= self.num_splits).astype(float)
        self.penalty = np.full(len(totals), 1e3 * float(self.kinds.max()) ** 2)
        self.penalty[0] *= 2 * len(totals)  # column 0: an empty split is worse than any class missing

    def solve(self) -> np.ndarray:
        """Return the numbers ``(K, S)``; rows sum to ``copies``."""
        self._give_out_rest()
        self._improve()
        return self.numbers

    def _cost(self, reached: np.ndarray, split: int) -> np.ndarray:
        """Return the cost ``(...)`` of totals ``(..., F)`` in a split."""
        lacks = np.maximum(self.least_with - reached, 0) + np.maximum(self.least_without - (reached[..., :1] - reached), 0)
        cost: np.ndarray = ((reached - self.ideal[split]) ** 2 + self.penalty * lacks).sum(axis=-1)
        return cost

    def _give_out_rest(self) -> None:
        rest = self.copies - self.numbers.sum(axis=1)
        amount = np.maximum(self.copies @ self.kinds, 1)
        rarity = np.where(self.kinds > 0, amount, np.inf)[:, 1:].min(axis=1, initial=np.inf)
        lacking = self.ideal - self.reached
        for kind in np.lexsort((rarity, -self.kinds[:, 0])):
            unit = self.kinds[kind]
            for _ in range(rest[kind]):
                room = lacking[:, 0]
                # Least squares: the split whose totals lack most of what this unit brings; the emptier one of equals.
                gain = lacking[:, 1:] @ unit[1:] + 1e-6 * room
                fits = room >= unit[0]
                best = int(np.argmax(np.where(fits, gain, -np.inf) if fits.any() else room))
                self.numbers[kind, best] += 1
                lacking[best] -= unit
        self.reached = self.numbers.T @ self.kinds

    def _move(self, kind: int, source: int, destination: int) -> None:
        self.numbers[kind, source] -= 1
        self.reached[source] -= self.kinds[kind]
        self.numbers[kind, destination] += 1
        self.reached[destination] += self.kinds[kind]

    def _improve(self) -> None:
        pairs = [(a, b) for a in range(self.num_splits) for b in range(a)]
        sampled = len(self.kinds) > _CANDIDATES
        rounds = 8 if sampled else 1  # without success before giving up
        patience = rounds
        for _ in range(100_000):
            improved = [self._swap(a, b) for a, b in pairs]
            patience = rounds if any(improved) else patience - 1
            if patience == 0:
                return

    def _swap(self, first: int, second: int) -> bool:
        """Make the best exchange of one unit each between two splits (or, with groups, a one-way move)."""
        given, taken = self._candidates(first), self._candidates(second)
        give, take = self._bring(given), self._bring(taken)
        if len(given) == 0 or len(taken) == 0:
            return False
        change = give[:, None, :] - take[None, :, :]
        delta = self._cost(self.reached[first] - change, first) - self._cost(self.reached[first], first)
        delta += self._cost(self.reached[second] + change, second) - self._cost(self.reached[second], second)
        delta += _KIND_WEIGHT * (self._kind_cost(given, first, second)[:, None] + self._kind_cost(taken, second, first)[None, :])
        row, column = np.unravel_index(np.argmin(delta), delta.shape)
        if delta[row, column] > -1e-9:
            return False
        if given[row] >= 0:
            self._move(int(given[row]), first, second)
        if taken[column] >= 0:
            self._move(int(taken[column]), second, first)
        return True

    def _candidates(self, split: int) -> np.ndarray:
        present = np.flatnonzero(self.numbers[:, split] > 0)
        if len(present) > _CANDIDATES:
            present = self.rng.choice(present, _CANDIDATES, replace=False)
        return present if self.exact_sizes else np.append(present, -1)  # -1: nothing in return

    def _bring(self, chosen: np.ndarray) -> np.ndarray:
        return np.where(chosen[:, None] >= 0, self.kinds[chosen], 0.0)

    def _kind_cost(self, chosen: np.ndarray, source: int, destination: int) -> np.ndarray:
        over = (self.numbers - self.kind_ideal)[chosen]
        return np.where(chosen >= 0, 2 * (1 + over[:, destination] - over[:, source]), 0.0)

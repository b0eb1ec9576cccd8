"""Loaders: an endless training stream that depends only on (seed, batch count), and ordered passes for evaluation.

Every batch is addressed: batch ``n`` takes a known slice of epoch ``n // batches_per_epoch``'s permutation, and each
sample is asked for with a ``draw`` made of ``n`` and its place in the batch. So a stream can begin anywhere, with any
number of worker processes, and is the same to the bit. torch's own ``DataLoader`` does the fetching.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from photic.core.errors import ConfigError, DataError, PhoticError
from photic.core.seeding import numpy_generator, torch_generator
from photic.data.augment.augmented import Augmented
from photic.data.base import SampleSet

Batch = dict[str, Any]


@dataclass(frozen=True)
class _Request:
    """A batch to fetch: its number (None in evaluation), (position, draw) of every sample, and how many at the end only fill it up."""

    number: int | None
    samples: tuple[tuple[int, int], ...]
    filled: int = 0


@dataclass(frozen=True)
class _Failure:
    """An error on its way out of a worker process as a value: torch would rewrap it and bury its message."""

    error: PhoticError


class _Fetcher(Dataset):
    """Fetches a whole batch at once, in whatever process it is called."""

    def __init__(self, samples: SampleSet) -> None:
        self.samples = samples

    def __getitem__(self, request: _Request) -> Batch | _Failure:
        try:
            batch = _collate([self.samples.sample(position, draw) for position, draw in request.samples])
        except PhoticError as error:
            return _Failure(error)
        if request.number is not None:
            batch["number"] = request.number
        if request.filled:
            batch["filled"] = request.filled
        return batch


@dataclass(frozen=True)
class _Order:
    """Which samples each batch of a rank holds."""

    num_samples: int
    global_size: int
    batches_per_epoch: int
    seed: int
    shuffle: bool
    rank: int
    world_size: int

    def requests(self, number: int) -> Iterator[_Request]:
        """Yield what this rank fetches for batch ``number`` and all after it."""
        epoch = -1
        while True:
            if number // self.batches_per_epoch != epoch:
                epoch = number // self.batches_per_epoch
                order = self._permutation(epoch)
            start = number % self.batches_per_epoch * self.global_size
            chosen = order[start : start + self.global_size]
            missing = -len(chosen) % self.world_size
            chosen = np.concatenate([chosen, np.resize(order, missing)])
            places = range(self.rank, len(chosen), self.world_size)
            filled = int(self.rank >= self.world_size - missing)
            yield _Request(number, tuple((int(chosen[place]), number * self.global_size + place) for place in places), filled)
            number += 1

    def _permutation(self, epoch: int) -> np.ndarray:
        if not self.shuffle:
            return np.arange(self.num_samples)
        return numpy_generator(self.seed, "shuffle", epoch).permutation(self.num_samples)


class ExactLoader:
    """Training batches without end; iterating goes on from :attr:`position`, and saving that is all a resume needs.

    Batches are mappings: the samples' tensors stacked (``measurement (B, 3, H, W)``, ``target (B, C)``, ``index (B,)``)
    and ``number``, the count of batches before this one since the beginning of the run. Worker processes live as long as
    the loader and fetch ahead across epochs. The global random generators are never touched.

    With several ranks a global batch has ``batch_size x world_size`` samples, of which rank ``r`` takes every
    ``world_size``-th: two processes with half the batch see what one would. If an epoch's last batch does not divide
    among the ranks, it is filled up with the epoch's first samples; where a rank's share ends with one of those, its batch
    says ``filled`` = 1, so that it need not be counted twice.

    Args:
        samples: what to load.
        batch_size: samples per batch and rank.
        seed: of order; :class:`~photic.data.augment.Augmented` has its own.
        shuffle: a new order every epoch; off keeps the set's order.
        num_workers: loader processes; 0 loads in this one.
        drop_last: leave out an epoch's last incomplete batch.
        rank: which process this is.
        world_size: how many there are.
        pin_memory: put batches into page-locked memory, for copies to a GPU.

    Raises:
        DataError: there is no sample, or no full batch with ``drop_last``.
        ConfigError: a number is out of its range.
    """

    def __init__(
        self,
        samples: SampleSet,
        *,
        batch_size: int,
        seed: int,
        shuffle: bool = True,
        num_workers: int = 0,
        drop_last: bool = False,
        rank: int = 0,
        world_size: int = 1,
        pin_memory: bool = False,
    ) -> None:
        if batch_size < 1 or num_workers < 0 or not 0 <= rank < world_size:
            came = f"batch_size {batch_size}, num_workers {num_workers}, rank {rank} of {world_size}"
            raise ConfigError(f"loader: expected batch_size >= 1, num_workers >= 0 and 0 <= rank < world_size, got {came}")
        self._samples = samples
        self._drop_last, self._num_workers, self._pin_memory = drop_last, num_workers, pin_memory
        num_samples, global_size = len(samples), batch_size * world_size
        whole, rest = divmod(num_samples, global_size)
        self.batches_per_epoch = whole + (rest > 0 and not drop_last)
        """Batches of each rank in one pass over the samples."""
        if self.batches_per_epoch == 0:
            why = f", drop_last leaves out a batch of fewer than {global_size}" if rest else ""
            raise DataError(f"loader: {num_samples} training samples make no batch{why}; give more samples or a smaller data.batch_size")
        self._order = _Order(num_samples, global_size, self.batches_per_epoch, seed, shuffle, rank, world_size)
        self._position = 0
        self._stream: Iterator[Any] | None = None

    @property
    def position(self) -> int:
        """Batches handed out since the beginning of the run; those only fetched ahead do not count."""
        return self._position

    def state_dict(self) -> dict[str, Any]:
        """Return what :meth:`load_state_dict` needs to go on with the next batch."""
        return {
            "position": self._position,
            "num_samples": self._order.num_samples,
            "global_batch_size": self._order.global_size,
            "drop_last": self._drop_last,
            "shuffle": self._order.shuffle,
            "seed": self._order.seed,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a saved loader was. Settings named in ``state`` beside ``position`` must be this loader's.

        Raises:
            ConfigError: the saved loader had other settings, so the stream cannot be continued exactly.
        """
        for name, own in self.state_dict().items():
            if name != "position" and name in state and state[name] != own:
                raise ConfigError(
                    f"loader: the saved position was reached with {name} = {state[name]}, here it is {own}; resume with the same"
                )
        self.close()
        self._position = int(state["position"])

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Batch:
        if self._stream is None:
            self._stream = _fetch(
                self._samples,
                self._order.requests(self._position),
                num_workers=self._num_workers,
                pin_memory=self._pin_memory,
                generator=torch_generator(self._order.seed, "loader", self._position),
            )
        try:
            batch = _unwrapped(next(self._stream))
        except BaseException:
            self.close()  # the stream is broken behind an error; the next call fetches the same batch again
            raise
        self._position += 1
        return batch

    def close(self) -> None:
        """End the worker processes; iterating again starts new ones at :attr:`position`."""
        self._stream = None


class EvaluationBatches:
    """Ordered passes over a set: every ``iter()`` is one, from the first sample to the last; see :func:`evaluation_batches`."""

    def __init__(self, samples: SampleSet, batch_size: int, num_workers: int, pin_memory: bool) -> None:
        self._samples, self._num_workers, self._pin_memory = samples, num_workers, pin_memory
        positions = range(len(samples))
        starts = range(0, len(samples), batch_size)
        self._requests = [_Request(None, tuple((position, 0) for position in positions[s : s + batch_size])) for s in starts]

    def __len__(self) -> int:
        return len(self._requests)

    def __iter__(self) -> Iterator[Batch]:
        generator = torch_generator(0, "evaluation")
        for batch in _fetch(
            self._samples, self._requests, num_workers=min(self._num_workers, len(self)), pin_memory=self._pin_memory, generator=generator
        ):
            yield _unwrapped(batch)


def evaluation_batches(samples: SampleSet, batch_size: int, num_workers: int = 0, *, pin_memory: bool = False) -> EvaluationBatches:
    """Return one ordered pass over a set, never shuffled, never augmented; the last batch may be smaller.

    Raises:
        ConfigError: ``samples`` is augmented (evaluate its ``.samples``), or a number is out of range.
    """
    if isinstance(samples, Augmented):
        raise ConfigError("evaluation: the samples are augmented, which belongs to training alone; evaluate the plain set (its .samples)")
    if batch_size < 1 or num_workers < 0:
        raise ConfigError(f"evaluation: expected batch_size >= 1 and num_workers >= 0, got {batch_size} and {num_workers}")
    return EvaluationBatches(samples, batch_size, num_workers, pin_memory)


def _fetch(samples: SampleSet, requests: Any, *, num_workers: int, pin_memory: bool, generator: torch.Generator) -> Iterator[Any]:
    loader: DataLoader = DataLoader(
        _Fetcher(samples),
        batch_size=None,  # a request is one item to torch
        sampler=requests,
        collate_fn=_as_it_is,
        num_workers=num_workers,
        worker_init_fn=_stand_apart if num_workers else None,
        pin_memory=pin_memory,
        generator=generator,  # spares the global one; nothing of ours draws from it
    )
    with warnings.catch_warnings():
        # Python 3.12 warns of every fork beside threads; torch keeps its workers to one thread for that reason.
        warnings.filterwarnings("ignore", message=r".*use of fork\(\) may lead to deadlocks.*", category=DeprecationWarning)
        return iter(loader)


def _stand_apart(worker: int) -> None:
    """Leave the process group: Ctrl-C in a terminal, and torchrun when it stops, signal all of it, and training still needs its workers."""
    if os.name == "posix":
        os.setpgid(0, 0)


def _as_it_is(batch: Any) -> Any:
    return batch


def _unwrapped(batch: Batch | _Failure) -> Batch:
    if isinstance(batch, _Failure):
        raise batch.error
    return batch


def _collate(samples: list[dict[str, Any]]) -> Batch:
    """Stack samples into a batch.

    Raises:
        DataError: the samples hold different keys, or tensors of different shapes.
    """
    first = samples[0]
    for sample in samples[1:]:
        if sample.keys() != first.keys():
            raise DataError(
                f"batch: {_called(first)} holds {', '.join(sorted(first))}, {_called(sample)} holds {', '.join(sorted(sample))};"
                " a data set must give the same for every sample"
            )
    for key, value in first.items():
        if isinstance(value, torch.Tensor) and any(sample[key].shape != value.shape for sample in samples):
            shapes: dict[tuple[int, ...], list[str]] = {}
            for sample in samples:
                shapes.setdefault(tuple(sample[key].shape), []).append(_called(sample))
            listed = "; ".join(f"{shape}: {_some(names)}" for shape, names in shapes.items())
            raise DataError(
                f"batch: '{key}' has different shapes: {listed}. Pictures are not resized on their own; bring the files to one size, or"
                " set data.batch_size=1 and data.eval_batch_size=1"
            )
    return dict(default_collate(samples))


def _called(sample: Mapping[str, Any]) -> str:
    return str(sample["name"]) if "name" in sample else f"index {sample.get('index', '?')}"


def _some(names: list[str], shown: int = 4) -> str:
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")

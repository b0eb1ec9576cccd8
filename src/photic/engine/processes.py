"""Several processes that train together, started by ``torchrun``; one alone needs nothing of this.

Lightning's DistributedDataParallel averages the gradients. What is agreed here is everything else: which folder, which
loss, which validation values, whether to stop, and who failed.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from photic.core import errors
from photic.core.errors import ConfigError, PhoticError, RunInterrupted
from photic.engine.config import TrainerConfig

T = TypeVar("T")

_FAILURE = "photic/failure"
_WAIT = timedelta(days=1)  # the first process tests while the others wait; a process that dies is noticed at once all the same
_LAST_WORDS_SECONDS = 3.0


class Processes:
    """The processes of a training and what they agree on; the default is one alone, for which every method is trivial.

    Args:
        rank: which one this is, from 0.
        num_processes: how many there are.
        num_local: how many of them are on this machine.
        channel: group for small values; CPU, whatever the networks are on.
        store: what processes leave words for each other in.
    """

    def __init__(
        self, rank: int = 0, num_processes: int = 1, num_local: int = 1, channel: dist.ProcessGroup | None = None, store: Any = None
    ) -> None:
        self.rank, self.num_processes, self.num_local = rank, num_processes, num_local
        self._channel, self._store = channel, store
        self.failed = False
        """Whether this process or another has failed, so that nothing can be agreed on any more."""

    @property
    def is_first(self) -> bool:
        """Whether this process writes the run."""
        return self.rank == 0

    @property
    def is_alone(self) -> bool:
        """Whether there is no other."""
        return self._channel is None

    @property
    def num_nodes(self) -> int:
        """How many machines there are."""
        return self.num_processes // self.num_local

    def broadcast(self, value: T) -> T:
        """Return the first process's value on every process."""
        if self._channel is None:
            return value
        box = [value if self.is_first else None]
        dist.broadcast_object_list(box, src=0, group=self._channel)
        return box[0]  # type: ignore[return-value]

    def gather(self, value: T) -> list[T]:
        """Return the values of all processes, by rank, on the first; an empty list on the others."""
        if self._channel is None:
            return [value]
        values: list[Any] | None = [None] * self.num_processes if self.is_first else None
        dist.gather_object(value, values, dst=0, group=self._channel)
        return values or []

    def gather_everywhere(self, value: T) -> list[T]:
        """Return the values of all processes, by rank."""
        if self._channel is None:
            return [value]
        values: list[Any] = [None] * self.num_processes
        dist.all_gather_object(values, value, group=self._channel)
        return values

    def sums(self, values: Sequence[float]) -> list[float]:
        """Return the sums over all processes, the same to the bit on each."""
        if self._channel is None:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(total, group=self._channel)
        return [float(value) for value in total]

    @torch.no_grad()
    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors of one type and device by their means over all processes."""
        if self._channel is None or not tensors:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        flat /= self.num_processes
        for tensor, mean in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(mean.view_as(tensor))

    def cause(self, error: BaseException) -> BaseException:
        """Return what really went wrong, after ``error`` was raised here: perhaps another process failed first.

        The first failure is left for the others to find. The connections close when the process that failed ends, and
        that is what the others notice.
        """
        if self._channel is None or isinstance(error, RunInterrupted):
            return error
        self.failed = True
        if isinstance(error, PhoticError):
            self._leave_word(error)
            return error
        lost = _is_lost_connection(error)
        told = self._word(_LAST_WORDS_SECONDS if lost else 0)
        if told is not None:
            return told
        if lost:
            return PhoticError(
                f"rank {self.rank} of {self.num_processes}: another process of this training ended without a word; it may have been "
                "killed (torchrun's report says which one and by what signal; 9 is often lack of memory). The last checkpoint is kept"
            )
        self._leave_word(error)
        return error

    def _leave_word(self, error: BaseException) -> None:
        word = {"rank": self.rank, "kind": type(error).__name__, "message": str(error)}
        # Where the store is gone too there is nobody left to tell.
        with contextlib.suppress(RuntimeError):
            self._store.compare_set(_FAILURE, "", json.dumps(word))

    def _word(self, seconds: float) -> BaseException | None:
        deadline = time.monotonic() + seconds
        try:
            while not self._store.check([_FAILURE]):
                if time.monotonic() >= deadline:
                    return None
                time.sleep(0.05)
            word = json.loads(self._store.get(_FAILURE))
        except RuntimeError:
            return None
        if word["rank"] == self.rank:
            return None
        if word["kind"] == "KeyboardInterrupt":
            return KeyboardInterrupt()
        kind = getattr(errors, word["kind"], None)
        message = f"rank {word['rank']} of {self.num_processes} processes: "
        if isinstance(kind, type) and issubclass(kind, PhoticError):
            return kind(message + word["message"])
        return PhoticError(f"{message}{word['kind']}: {word['message']}")


_joined: Processes | None = None


@contextlib.contextmanager
def processes(config: TrainerConfig) -> Iterator[Processes]:
    """Give the processes that train together: those that ``torchrun`` started, or this one alone.

    They find each other by the variables torchrun sets (Lightning's ``TorchElasticEnvironment`` reads the same), and stay
    together until they end. An error that leaves this context is the first failure of any of them.

    Raises:
        ConfigError: the processes do not fit the configuration or the machine.
        PhoticError: they lost each other in an earlier training.
    """
    global _joined
    _refuse_missing_device(config)
    launched = dist.is_available() and dist.is_torchelastic_launched()
    num_processes = int(os.environ["WORLD_SIZE"]) if launched else 1
    if config.strategy == "ddp" and not launched:
        raise ConfigError(
            "trainer.strategy: ddp needs processes to train in; start them with `torchrun --nproc-per-node 2 -m photic train ...`, "
            "or leave trainer.strategy=auto"
        )
    if config.strategy == "auto" and num_processes == 1:
        yield Processes()
        return
    if _joined is not None and _joined.failed:
        raise PhoticError("the processes lost each other when an earlier training failed; start them again with torchrun")
    if _joined is None:
        _joined = _join(config, num_processes)
    group = _joined
    with _terminable(group):
        try:
            yield group
        except BaseException as error:
            found = group.cause(error)
            if found is error:
                raise
            raise found from error


def _refuse_missing_device(config: TrainerConfig) -> None:
    """Refuse before anything is read or written what Lightning would refuse, or replace, afterwards."""
    there = {"gpu": torch.cuda.is_available() or torch.backends.mps.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(config.accelerator, True):
        raise ConfigError(
            f"config.trainer.accelerator: '{config.accelerator}' is not available on this machine; "
            "set trainer.accelerator=cpu, or auto to take what there is"
        )
    if config.precision == "16-mixed" and (config.accelerator == "cpu" or not there["gpu"]):
        raise ConfigError("config.trainer.precision: 16-mixed needs a GPU; set trainer.precision=bf16-mixed or 32-true")


def device_of(config: TrainerConfig) -> str:
    """Return what the processes of a training run on: ``cuda`` or ``cpu``."""
    return "cuda" if config.accelerator in ("auto", "gpu") and torch.cuda.is_available() else "cpu"


def _join(config: TrainerConfig, num_processes: int) -> Processes:
    rank, local_rank, num_local = (int(os.environ[name]) for name in ("RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE"))
    if config.accelerator == "mps":
        raise ConfigError("trainer.accelerator: mps trains in one process; start without torchrun, or set trainer.accelerator=cpu")
    device = device_of(config)
    if device == "cuda":
        if num_local > torch.cuda.device_count():
            raise ConfigError(
                f"trainer.accelerator: {num_local} processes on this machine, which has {torch.cuda.device_count()} GPU; "
                "start one process per GPU (torchrun --nproc-per-node), or set trainer.accelerator=cpu"
            )
        torch.cuda.set_device(local_rank)
    dist.init_process_group(
        "nccl" if device == "cuda" else "gloo", device_id=torch.device("cuda", local_rank) if device == "cuda" else None
    )
    channel = dist.new_group(backend="gloo", timeout=_WAIT)
    assert isinstance(channel, dist.ProcessGroup), "every process belongs to it"
    store = dist.distributed_c10d._get_default_store()
    group = Processes(rank, num_processes, num_local, channel, store)
    if device == "cuda":
        # Left alone NCCL complains at the end; after a failure the others are gone, and it would wait for them.
        atexit.register(lambda: None if group.failed else dist.destroy_process_group())
    return group


@contextlib.contextmanager
def _terminable(group: Processes) -> Iterator[None]:
    """Let SIGTERM end this process in order; but not while it tells what went wrong, since torchrun sends it to all when one fails."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(*_: object) -> None:
        if not group.failed:
            raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        if not group.failed:  # else this process is about to end, and has something to say before
            signal.signal(signal.SIGTERM, previous)


def _is_lost_connection(error: BaseException) -> bool:
    text = str(error)
    return isinstance(error, RuntimeError) and (isinstance(error, dist.DistError) or "gloo" in text or "NCCL" in text)

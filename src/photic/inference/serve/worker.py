"""One model, one thread, one queue; small files that wait together are answered together."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from photic.inference.file_model import Answer, BatchFileModel, FileModel, FileOptions

_LONGEST_RETRY_S = 60


_HEARD = threading.local()


def hear(warning: str) -> bool:
    """Take a warning that was raised in this thread into the notes of the answer that is being made in it; False where none is."""
    notes: list[str] | None = getattr(_HEARD, "notes", None)
    if notes is None:
        return False
    notes.append(warning)
    return True


class Full(Exception):  # noqa: N818 - an answer, not a fault
    """As many files wait as may."""


class Abandoned(Exception):  # noqa: N818 - an answer, not a fault
    """Nobody waits for this answer any more; raised where a model tells how far it is."""


@dataclass(eq=False)
class Job:
    """A file to make an answer of."""

    source: Path
    output: Path | None
    options: FileOptions
    future: Future[Answer] = field(default_factory=Future)
    item: Any = None
    key: Hashable = None
    abandoned: bool = False
    batch: int = 0
    """How many files shared its batch."""

    def abandon(self) -> None:
        """Stop it where that is possible: at once while it waits, where the model next tells how far it is while it is computed."""
        self.abandoned = True
        self.future.cancel()

    def advance(self, share: float) -> None:
        """Stop here if nobody waits any more.

        Raises:
            Abandoned: so it is.
        """
        if self.abandoned:
            raise Abandoned


class Worker:
    """Takes jobs in order and does them in a thread of its own.

    Args:
        model: what does them.
        readers: decodes files of a model that takes several at once.
        queue: jobs that may wait.
        max_batch: most jobs at a time.
        batch_wait_s: how long a job waits for others that are on their way.
        threads: processor threads to compute with; 0 leaves it to PyTorch.
        observe: told size and seconds of every batch.
    """

    def __init__(
        self,
        model: FileModel,
        readers: Executor,
        *,
        queue: int,
        max_batch: int = 8,
        batch_wait_s: float = 0.005,
        threads: int = 0,
        observe: Callable[[int, float], None] = lambda size, seconds: None,
    ) -> None:
        self.model = model
        self._readers = readers
        self._queue = queue
        self._max_batch = max_batch if isinstance(model, BatchFileModel) else 1
        self._batch_wait_s = batch_wait_s
        self._threads = threads
        self._observe = observe
        self._condition = threading.Condition()
        self._ready: deque[Job] = deque()
        self._reading: set[Job] = set()
        self._current: list[Job] = []
        self._expected = 0
        self._stopping = False
        self._seconds = 0.0  # of a job, a running mean
        self._thread = threading.Thread(target=self._run, name="photic-worker", daemon=True)
        self._thread.start()

    # --- asked by the application ---

    @property
    def waiting(self) -> int:
        """Jobs that wait or are being read."""
        with self._condition:
            return self._num_waiting()

    @property
    def is_full(self) -> bool:
        """Whether as many jobs wait as may."""
        return self.waiting >= self._queue

    @property
    def is_held_up(self) -> bool:
        """Whether it is busy with something that nobody waits for any more and that cannot be stopped at once."""
        with self._condition:
            return bool(self._current) and all(job.abandoned for job in self._current)

    def retry_s(self) -> int:
        """Return after how many seconds there should be room again."""
        rounds = (self.waiting + self._max_batch) / self._max_batch
        return min(_LONGEST_RETRY_S, max(1, math.ceil(rounds * self._seconds)))

    @contextmanager
    def expecting(self) -> Iterator[None]:
        """Know, for the time of the block, that a job is on its way."""
        with self._condition:
            self._expected += 1
        try:
            yield
        finally:
            with self._condition:
                self._expected -= 1
                self._condition.notify_all()

    def submit(self, job: Job) -> None:
        """Put a job at the end of the queue.

        Raises:
            Full: there is no room, or the worker is stopping.
        """
        with self._condition:
            if self._stopping or self._num_waiting() >= self._queue:
                raise Full
            if isinstance(self.model, BatchFileModel):
                self._reading.add(job)
                self._readers.submit(self._read, self.model, job)
            else:
                self._ready.append(job)
                self._condition.notify_all()

    def stop(self, timeout_s: float) -> bool:
        """Take no more jobs, finish what waits, end the thread; say whether it ended in time."""
        with self._condition:
            self._stopping = True
            self._condition.notify_all()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    # --- in other threads ---

    def _num_waiting(self) -> int:
        # Whoever gave up while waiting holds no place.
        self._ready = deque(job for job in self._ready if not job.future.cancelled())
        return len(self._ready) + sum(not job.abandoned for job in self._reading)

    def _read(self, model: BatchFileModel, job: Job) -> None:
        try:
            if not job.future.cancelled():
                job.item = model.read(job.source, job.options)
                job.key = (model.kind(job.item), job.options)
        except Exception as error:  # noqa: BLE001 - whoever asked gets it, whatever it is
            _fail(job, error)
        finally:
            with self._condition:
                self._reading.discard(job)
                if not job.future.done():
                    self._ready.append(job)
                self._condition.notify_all()

    def _run(self) -> None:
        if self._threads:
            torch.set_num_threads(self._threads)
        while True:
            batch = self._next()
            if batch is None:
                return
            started = time.perf_counter()
            try:
                self._do(batch)
            finally:
                seconds = time.perf_counter() - started
                with self._condition:
                    self._current = []
                each = seconds / len(batch)
                self._seconds = each if self._seconds == 0 else 0.8 * self._seconds + 0.2 * each
                self._observe(len(batch), seconds)

    def _next(self) -> list[Job] | None:
        """Wait for a job and others that go with it; None at the end."""
        with self._condition:
            while True:
                while not self._ready:
                    if self._stopping and not self._reading:
                        return None
                    self._condition.wait()
                first = self._ready.popleft()
                if first.future.set_running_or_notify_cancel():
                    break
            self._current = [first]
            until = time.monotonic() + self._batch_wait_s
            while True:
                self._fill(first.key)
                left = until - time.monotonic()
                # Nobody waits for company that is not on its way.
                if len(self._current) >= self._max_batch or not (self._reading or self._expected) or left <= 0:
                    break
                self._condition.wait(left)
            return list(self._current)

    def _fill(self, key: Hashable) -> None:
        """Take waiting jobs of one kind into the batch, oldest first."""
        others: deque[Job] = deque()
        while self._ready:
            job = self._ready.popleft()
            if len(self._current) >= self._max_batch or job.key != key:
                others.append(job)
            elif job.future.set_running_or_notify_cancel():
                self._current.append(job)
        self._ready = others

    def _do(self, batch: list[Job]) -> None:
        for job in batch:
            job.batch = len(batch)
        try:
            if isinstance(self.model, BatchFileModel):
                answers = self.model.answers([job.item for job in batch], batch[0].options)
            else:
                answers = [self._applied(batch[0])]
        except Exception as error:  # noqa: BLE001 - whoever asked gets it, whatever it is
            if len(batch) > 1:  # one that cannot be done must not spoil the others
                for job in batch:
                    self._do([job])
            else:
                _fail(batch[0], error)
        else:
            for job, answer in zip(batch, answers, strict=True):
                job.future.set_result(answer)
        finally:
            for job in batch:
                job.item = None

    def _applied(self, job: Job) -> Answer:
        heard: list[str] = []
        _HEARD.notes = heard
        try:
            answer = self.model.apply(job.source, job.output, job.options, advance=job.advance)
        finally:
            _HEARD.notes = None
        return replace(answer, notes=tuple(dict.fromkeys((*answer.notes, *heard))))


def _fail(job: Job, error: Exception) -> None:
    """Give an error to whoever waits; a job that was cancelled meanwhile has nobody."""
    if job.future.running() or job.future.set_running_or_notify_cancel():
        job.future.set_exception(error)

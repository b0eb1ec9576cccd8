"""Several processes that make files at the same time.

Each process opens what it needs for itself, so that nothing is shared but the list of files: memory is as many times that of one process,
and a process that dies (a decoder crashes, the system kills it for memory) takes one file with it, which is named. Results do not depend on
the number of processes: each computes with as many threads as one alone would, because sums in other orders are rounded otherwise.

There is no pool of the standard library here: its processes stay behind for ever where the first one is killed.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any

from photic.core.errors import PhoticError
from photic.inference.answer import Answer
from photic.inference.memory import keep_freed_memory
from photic.inference.targets import Target
from photic.workflows.file_making import Advance, Opener, tried

_GRACE_S = 5.0
_LEAST_SHARE = 0.01
"""Progress below this is told together with what follows."""
_PASSIVE = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"}
"""Threads that wait sleep, instead of keeping others from computing."""


def in_processes(targets: Sequence[Target], opened: Opener, workers: int, advance: Callable[[int | float], None]) -> list[Answer | str]:
    """Return what came of each file, or why nothing did, in their order.

    Args:
        targets: the files.
        opened: called once in each process; picklable.
        workers: how many processes.
        advance: told the shares of files that have been done.

    Raises:
        PhoticError: what no file is to blame for, such as a full disk, from whichever process; the others are stopped.
    """
    crew = _Crew(opened, advance)
    try:
        return crew.made(targets, workers)
    finally:
        crew.stop()


class _Worker:
    """A process and what it is at."""

    def __init__(self, context: SpawnContext, opened: Opener) -> None:
        self.pipe, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(target=_work, args=(theirs, opened), daemon=True)
        with _environment(_PASSIVE):
            self.process.start()
        theirs.close()  # so that this end notices when the process is gone
        self.place: int | None = None
        self.told = 0.0
        self.is_ready = False


class _Crew:
    """The processes."""

    def __init__(self, opened: Opener, advance: Callable[[int | float], None]) -> None:
        self._opened, self._advance = opened, advance
        self._context = multiprocessing.get_context("spawn")  # a process that has used a GPU or threads cannot be forked
        self._workers: list[_Worker] = []

    def made(self, targets: Sequence[Target], workers: int) -> list[Answer | str]:
        waiting = deque(range(len(targets)))
        found: dict[int, Answer | str] = {}
        self._workers = [_Worker(self._context, self._opened) for _ in range(workers)]
        while len(found) < len(targets):
            for ready in wait([worker.pipe for worker in self._workers]):
                worker = next(one for one in self._workers if one.pipe is ready)
                try:
                    kind, value = worker.pipe.recv()
                except (EOFError, OSError):
                    found |= self._lost(worker, bool(waiting))
                    continue
                if kind == "share":
                    worker.told += value
                    self._advance(value)
                    continue
                if kind == "error":
                    raise value
                if kind == "bug":
                    raise RuntimeError(f"in a process that makes files:\n{value}")
                if worker.place is not None:
                    found[worker.place] = value
                worker.is_ready, worker.place = True, waiting.popleft() if waiting else None
                worker.told = 0.0
                worker.pipe.send(None if worker.place is None else targets[worker.place])
                if worker.place is None:
                    self._workers.remove(worker)
                    worker.process.join()
                    worker.pipe.close()
        return [found[place] for place in range(len(targets))]

    def _lost(self, worker: _Worker, is_more: bool) -> dict[int, Answer | str]:
        """Return what to say of the file that a dead process was at; start another one if there is work."""
        self._workers.remove(worker)
        worker.process.join()
        worker.pipe.close()
        code = worker.process.exitcode or 0
        how = f"was killed by signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"ended with status {code}"
        why = ", as systems do when memory runs out" if code == -getattr(signal, "SIGKILL", 9) else ""
        if worker.place is None:
            raise PhoticError(f"a process that was to make files {how}{why}, before its first one; use fewer (--workers)")
        self._advance(max(0.0, 1 - worker.told))
        if is_more:
            self._workers.append(_Worker(self._context, self._opened))
        return {worker.place: f"the process that was at it {how}{why}; nothing was written. Try it alone (--workers 1)"}

    def stop(self) -> None:
        """End what still runs; what is half written disappears."""
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join(_GRACE_S)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.pipe.close()
        self._workers = []


def _work(pipe: Connection, opened: Opener) -> None:
    """Make files until there are no more, or nobody is there any longer who wants them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; the first process decides
    signal.signal(signal.SIGTERM, _leave)
    try:
        _serve(pipe, opened)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the first process is gone
    except PhoticError as error:
        pipe.send(("error", error))
    except Exception:  # noqa: BLE001 - whatever it is, whoever waits must be told
        pipe.send(("bug", traceback.format_exc()))


def _serve(pipe: Connection, opened: Opener) -> None:

    keep_freed_memory()
    make = opened()
    pipe.send(("made", None))
    while (target := pipe.recv()) is not None:
        with _telling(pipe) as advance:
            made = tried(make, target, advance)
        pipe.send(("made", made))


@contextmanager
def _telling(pipe: Connection) -> Iterator[Advance]:
    waiting = 0.0

    def advance(share: float) -> None:
        nonlocal waiting
        waiting += share
        if waiting >= _LEAST_SHARE:
            pipe.send(("share", waiting))
            waiting = 0.0

    yield advance
    if waiting:
        pipe.send(("share", waiting))


def _leave(number: int, frame: Any) -> None:
    raise SystemExit(128 + number)


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Give new processes environment variables that are not set yet."""
    added = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]

"""The queue of a model: order, batches, company, limits, giving up, the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from photic.core.errors import DataError
from photic.inference.serve.worker import Abandoned, Full, Job, Worker

from .conftest import LengthOptions, Lengths, Upper


@pytest.fixture
def readers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as made:
        yield made


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., Job]:
    numbers = iter(range(1000))

    def make(text: str = "text", options: LengthOptions | None = None) -> Job:
        path = tmp_path / f"{next(numbers)}.txt"
        path.write_text(text)
        return Job(path, None, options or LengthOptions())

    return make


def test_each_job_gets_its_own_answer_in_batches_of_one_kind(bundle: Path, readers: ThreadPoolExecutor, job: Callable[..., Job]) -> None:
    model = Lengths(bundle)
    worker = Worker(model, readers, queue=100, max_batch=4, batch_wait_s=0.2)
    jobs = [job("x" * (1 + number)) for number in range(20)]
    for one in jobs:
        worker.submit(one)
    assert [one.future.result(10).values["length"] for one in jobs] == list(range(1, 21))
    assert sum(model.batches) == 20
    assert max(model.batches) <= 4
    assert len(model.batches) < 20
    assert {one.batch for one in jobs} <= set(range(1, 5))
    assert model.threads == {"photic-worker"}
    assert worker.stop(5)


def test_jobs_of_other_options_are_not_mixed(bundle: Path, readers: ThreadPoolExecutor, job: Callable[..., Job]) -> None:
    model = Lengths(bundle)
    model.gate = threading.Event()
    worker = Worker(model, readers, queue=100, max_batch=8, batch_wait_s=0.05)
    blocker = job()
    worker.submit(blocker)
    while not model.batches:
        time.sleep(0.001)
    jobs = [job("abcd", LengthOptions(exact=number % 2 == 0)) for number in range(6)]
    for one in jobs:
        worker.submit(one)
    while worker.waiting < 6:
        time.sleep(0.001)
    time.sleep(0.02)
    model.gate.set()
    for one in jobs:
        one.future.result(10)
    assert model.batches[1:] == [3, 3]
    worker.stop(5)


def test_nobody_waits_for_company_that_is_not_on_its_way(bundle: Path, readers: ThreadPoolExecutor, job: Callable[..., Job]) -> None:
    worker = Worker(Lengths(bundle), readers, queue=10, max_batch=8, batch_wait_s=5.0)
    one = job()
    started = time.perf_counter()
    worker.submit(one)
    one.future.result(10)
    assert time.perf_counter() - started < 2
    worker.stop(5)


def test_company_on_its_way_is_waited_for(bundle: Path, readers: ThreadPoolExecutor, job: Callable[..., Job]) -> None:
    model = Lengths(bundle)
    worker = Worker(model, readers, queue=10, max_batch=2, batch_wait_s=5.0)
    first, second = job(), job()
    with worker.expecting():
        worker.submit(first)
        time.sleep(0.05)
        worker.submit(second)
    second.future.result(10)
    assert model.batches == [2]
    worker.stop(5)


def test_one_that_cannot_be_done_does_not_spoil_the_others(bundle: Path, readers: ThreadPoolExecutor, job: Callable[..., Job]) -> None:
    model = Lengths(bundle)
    worker = Worker(model, readers, queue=10, max_batch=8, batch_wait_s=0.5)
    jobs = [job("abcdef"), job("spoils"), job("ghijkl"), job("fault!")]
    with worker.expecting():
        for one in jobs:
            worker.submit(one)
        time.sleep(0.05)
    assert jobs[0].future.result(10).values == jobs[2].future.result(10).values == {"length": 6}
    with pytest.raises(DataError):
        jobs[1].future.result(10)
    with pytest.raises(ZeroDivisionError):
        jobs[3].future.result(10)
    bad = job("bad")
    worker.submit(bad)
    with pytest.raises(DataError, match="no text"):
        bad.future.result(10)
    worker.stop(5)


def test_more_than_the_queue_holds_is_refused_and_whoever_gave_up_holds_no_place(
    bundle: Path, readers: ThreadPoolExecutor, job: Callable[..., Job]
) -> None:
    model = Lengths(bundle)
    model.gate = threading.Event()
    worker = Worker(model, readers, queue=2, max_batch=1)
    running = job()
    worker.submit(running)
    while not model.batches:
        time.sleep(0.001)
    waiting = [job(), job()]
    for one in waiting:
        worker.submit(one)
    assert worker.is_full
    with pytest.raises(Full):
        worker.submit(job())
    assert 1 <= worker.retry_s() <= 60
    waiting[0].abandon()
    another = job()
    worker.submit(another)
    assert not worker.is_held_up
    running.abandon()
    assert worker.is_held_up  # it cannot be stopped, and nobody waits for it
    model.gate.set()
    assert another.future.result(10).values == {"length": 4}
    assert waiting[0].future.cancelled()
    assert not worker.is_held_up
    worker.stop(5)


def test_work_that_nobody_waits_for_stops_where_the_model_tells_how_far_it_is(
    bundle: Path, readers: ThreadPoolExecutor, tmp_path: Path
) -> None:
    model = Upper(bundle)
    worker = Worker(model, readers, queue=2)
    source = tmp_path / "long.txt"
    source.write_text("wait\n" * 1000)
    one = Job(source, tmp_path / "out.txt", LengthOptions())
    worker.submit(one)
    assert model.started.wait(5)
    one.abandon()
    with pytest.raises(Abandoned):
        one.future.result(10)
    assert model.stopped_at < 900
    assert not (tmp_path / "out.txt").exists()
    worker.stop(5)


def test_stopping_finishes_what_waits_and_takes_no_more(bundle: Path, readers: ThreadPoolExecutor, job: Callable[..., Job]) -> None:
    worker = Worker(Lengths(bundle), readers, queue=50, max_batch=2)
    jobs = [job() for _ in range(10)]
    for one in jobs:
        worker.submit(one)
    assert worker.stop(10)
    assert all(one.future.result(0).values == {"length": 4} for one in jobs)
    with pytest.raises(Full):
        worker.submit(job())

"""``POST /v1/models/{name}/predict``: from an upload to an answer, within limits, leaving nothing behind."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from photic.core.errors import PhoticError, nearest
from photic.inference.file_model import Answer
from photic.inference.serve.metrics import ServeMetrics
from photic.inference.serve.naming import disposition, media_type, shown
from photic.inference.serve.observing import Facts
from photic.inference.serve.problems import ClientGone, Problem, problem_of
from photic.inference.serve.served import Served, plain
from photic.inference.serve.settings import ServeConfig
from photic.inference.serve.uploads import Upload, receive_form
from photic.inference.serve.worker import Full, Job

_CHUNK = 1 << 18
_LONGEST_HEADER = 4096


def model_called(models: Mapping[str, Served], name: str) -> Served:
    """Return a model by its name.

    Raises:
        Problem: there is none of this name.
    """
    if name not in models:
        raise Problem(404, "unknown_model", f"no model {shown(name)} here{nearest(name, models)} (models: {', '.join(models)})")
    return models[name]


class Predictions:
    """The endpoint, an ASGI application.

    Args:
        models: by name.
        config: limits.
        metrics: where predictions are counted.
        folder: a private folder for uploads and results.
    """

    def __init__(self, models: Mapping[str, Served], config: ServeConfig, metrics: ServeMetrics, folder: Path) -> None:
        self._models = models
        self._config = config
        self._metrics = metrics
        self._folder = folder
        self.under_way = 0
        self.is_stopping = False

    @property
    def is_full(self) -> bool:
        """Whether as many predictions are under way as may."""
        return self.under_way >= self._config.concurrency

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        model = model_called(self._models, scope["path_params"]["name"])
        facts: Facts = scope["photic.facts"]
        facts.model = model.name
        self._admit(model)
        self.under_way += 1
        self._metrics.under_way(model.name, 1)
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        job: Job | None = None
        try:
            headers = {name: value.decode("latin-1") for name, value in scope["headers"] if name in (b"content-type", b"accept")}
            with model.worker.expecting():
                upload = await receive_form(
                    _chunks(receive), headers.get(b"content-type", ""), folder, model.model.endings, model.model.what
                )
                job = self._job(model, upload, folder)
            names = model.names(folder, upload.file, upload.shown)
            answer = await self._answer(model, job, receive, names)
            facts.batch = job.batch
            made = _Made(model.name, answer, upload.stem, names, _wants_json(headers.get(b"accept", "")))
            await made(scope, receive, send)
        finally:
            self.under_way -= 1
            self._metrics.under_way(model.name, -1)
            if job is not None and not job.future.done():
                # The model still works with these files.
                job.future.add_done_callback(lambda _: shutil.rmtree(folder, ignore_errors=True))
            else:
                shutil.rmtree(folder, ignore_errors=True)

    def _admit(self, model: Served) -> None:
        """Refuse what there is no room for, before its body is read."""
        if self.is_stopping:
            raise Problem(503, "stopping", "the server is stopping", headers={"Retry-After": "10"})
        if self.is_full:
            raise Problem(503, "busy", f"{self.under_way} predictions are under way already; try again later", headers={"Retry-After": "1"})
        if model.worker.is_full:
            raise self._full(model)

    def _full(self, model: Served) -> Problem:
        return Problem(
            503,
            "busy",
            f"{self._config.queue} files wait for this model already; try again later",
            headers={"Retry-After": str(model.worker.retry_s())},
        )

    def _job(self, model: Served, upload: Upload, folder: Path) -> Job:
        """Put a job into the model's queue."""
        assert upload.file is not None, "receive_form() has seen to that"
        options = model.form.options(upload.texts)
        ending = model.form.format(upload.texts)
        possible = model.model.writable_of(upload.file)
        if ending is not None and ending not in possible:
            raise Problem(422, "bad_field", f"field 'format': for this file expected one of {', '.join(possible)}, got '{ending}'")
        output = folder / f"result{ending or model.model.ending(upload.file)}" if model.gives_file else None
        job = Job(upload.file, output, options)
        try:
            model.model.check(options, () if output is None else (output.suffix.lower(),))
            model.worker.submit(job)
        except Full:
            raise self._full(model) from None
        except PhoticError as error:
            raise problem_of(error, model.names(folder, upload.file, upload.shown)) or error from error
        return job

    async def _answer(self, model: Served, job: Job, receive: Receive, names: Mapping[Path, str]) -> Answer:
        """Wait for the answer, as long as there is time and somebody who wants it."""
        future = asyncio.wrap_future(job.future)
        future.add_done_callback(lambda done: done.cancelled() or done.exception())  # looked at, even where nobody waits any more
        gone = asyncio.ensure_future(_until_gone(receive))
        either: set[asyncio.Future[Any]] = {future, gone}
        try:
            await asyncio.wait(either, timeout=self._config.timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if not future.done():
                self._metrics.abandoned(model.name)
                if gone.done():
                    raise ClientGone
                raise Problem(504, "too_long", f"no answer within {self._config.timeout_s:g} s; send a smaller file, or try again later")
            return future.result()
        except (Problem, ClientGone):
            raise
        except Exception as error:
            problem = problem_of(error, names)
            if problem is None:
                raise
            raise problem from error
        finally:
            gone.cancel()
            if not future.done():
                job.abandon()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _chunks(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        yield message.get("body", b"")
        if not message.get("more_body", False):
            return


@dataclass(frozen=True)
class _Made:
    """A finished answer, an ASGI application that sends it."""

    model: str
    answer: Answer
    stem: str
    names: Mapping[Path, str]
    as_json: bool
    """Whether the client wants to know about the file rather than to have it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send JSON, or the file in pieces."""
        values, notes = plain(self.answer.values, self.names), plain(self.answer.notes, self.names)
        content: dict[str, Any] = {"model": self.model, "values": values, "notes": notes}
        if not self.answer.files:
            await JSONResponse(content)(scope, receive, send)
            return
        file = self.answer.files[0]
        named, size, kind = f"{self.stem}{file.suffix}", file.stat().st_size, media_type(file.suffix)
        if self.as_json:
            content["file"] = {"name": named, "media_type": kind, "num_bytes": size}
            await JSONResponse(content)(scope, receive, send)
            return
        headers = {
            "content-type": kind,
            "content-length": str(size),
            "content-disposition": disposition(named),
            "photic-values": _header(values),
            "photic-notes": _header(notes),
        }
        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items() if value is not None]
        with open(file, "rb") as handle:
            await send({"type": "http.response.start", "status": 200, "headers": raw})
            while chunk := await asyncio.to_thread(handle.read, _CHUNK):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})


def _wants_json(accept: str) -> bool:
    """Say whether a client asked for JSON rather than the file."""
    kinds = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    return "application/json" in kinds and "*/*" not in kinds


def _header(value: Any) -> str | None:
    """Return JSON values as they fit into a header; None where they are too long for one."""
    text = json.dumps(value)
    return text if len(text) <= _LONGEST_HEADER else None

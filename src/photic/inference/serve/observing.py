"""Every request gets a number, a line in the log, a place in the metrics, and an answer in one form whatever goes wrong."""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from photic.inference.serve.limits import Body, patient
from photic.inference.serve.metrics import OTHER, ServeMetrics
from photic.inference.serve.problems import ClientGone, Problem
from photic.inference.serve.settings import ServeConfig

GONE = 499
"""What stands for the status of a request whose client went away before the answer."""
LOGGER = logging.getLogger("photic.serve")
_LONGEST_PATH = 200


@dataclass
class Facts:
    """What is noted about a request."""

    id: str = field(default_factory=lambda: uuid.uuid4().hex[:16])
    started: float = field(default_factory=time.perf_counter)
    model: str = OTHER
    status: int = 0
    num_bytes: int = 0
    """Of the answer."""
    batch: int = 0
    """Files that shared the batch."""


class Observer:
    """Wraps an application: numbers, limits, logs and counts requests, and answers what it raises.

    Args:
        app: the application; it finds the facts under ``photic.facts`` in the scope.
        metrics: where answers are counted.
        config: limits, and whether there is an access log.
    """

    def __init__(self, app: ASGIApp, metrics: ServeMetrics, config: ServeConfig) -> None:
        self._app = app
        self._metrics = metrics
        self._config = config

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and see it through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        facts = scope["photic.facts"] = Facts()
        body = scope["photic.body"] = Body(scope, receive, self._config)

        bounded = patient(send, self._config.idle_timeout_s)

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                facts.status = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), (b"x-request-id", facts.id.encode()), *_HEADERS]}
            elif message["type"] == "http.response.body":
                facts.num_bytes += len(message.get("body", b""))
            await bounded(message)

        try:
            await self._pass_on(scope, body, noted, facts)
        finally:  # also where the server cuts a request off
            self._record(scope, facts, body.num_bytes)

    async def _pass_on(self, scope: Scope, body: Body, send: Send, facts: Facts) -> None:
        further: dict[str, Any] = {}
        try:
            body.check_announced()
            await self._app(scope, body, send)
            return
        except ClientGone:
            facts.status = GONE
            _abort(scope)
            return
        except Problem as error:
            problem = error
        except Exception:
            LOGGER.exception("request %s failed", facts.id)
            problem = Problem(500, "internal", f"the server failed; its log says more under {facts.id}")
            further = {"id": facts.id}
        if facts.status:  # the answer had begun: all that is left is to break it off visibly
            _abort(scope)
            return
        try:
            await _answer(problem.body(**further), problem, scope, body, send)
        except ClientGone:
            facts.status = GONE
            _abort(scope)

    def _record(self, scope: Scope, facts: Facts, num_read: int) -> None:
        seconds = time.perf_counter() - facts.started
        status = facts.status or GONE
        self._metrics.request(facts.model, status, seconds, num_read)
        if self._config.access_log:
            client = scope.get("client")
            # Values of a JSON object: whatever the client put into its path stays inside a quoted string. No query, no headers.
            line = {
                "request": facts.id,
                "client": client[0] if client else "",
                "method": scope["method"][:16],
                "path": scope["path"][:_LONGEST_PATH],
                "status": status,
                "ms": round(1000 * seconds, 1),
                "read": num_read,
                "sent": facts.num_bytes,
                "model": facts.model,
                "batch": facts.batch,
            }
            LOGGER.info("", extra={"line": line})


_HEADERS = [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"), (b"referrer-policy", b"same-origin")]


async def _answer(content: dict[str, Any], problem: Problem, scope: Scope, body: Body, send: Send) -> None:
    """Send a problem. Where the client is still sending, it gets the time to read the answer before the connection ends."""
    headers = dict(problem.headers)
    if not body.ended:
        headers["Connection"] = "close"
    response = JSONResponse(content, problem.status, headers)
    await send({"type": "http.response.start", "status": problem.status, "headers": response.raw_headers})
    await send({"type": "http.response.body", "body": response.body, "more_body": True})
    if not body.ended:
        await body.linger()
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _abort(scope: Scope) -> None:
    """Break the connection off; without a connection (in tests of the bare application) there is nothing to do."""
    abort: Callable[[], None] | None = scope.get("state", {}).get("photic.abort")
    if abort is not None:
        abort()


class JSONLines(logging.Formatter):
    """Writes each record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {"time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{record.msecs:03.0f}Z"}
        if record.levelno >= logging.WARNING:
            line["level"] = record.levelname.lower()
        if record.getMessage():
            line["message"] = record.getMessage()
        line.update(getattr(record, "line", {}))
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)

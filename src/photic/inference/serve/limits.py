"""How much a client may send, how slowly, and how slowly it may read."""

from __future__ import annotations

import asyncio
import contextlib
import time

from starlette.types import Message, Receive, Scope, Send

from photic.inference.serve.problems import ClientGone, Problem
from photic.inference.serve.settings import ServeConfig

_LINGER_S = 2.0
_LINGER_BYTES = 64_000_000


class Body:
    """What a client sends, read within limits; it is the ``receive`` of the wrapped application.

    Args:
        scope: of the request.
        receive: the server's.
        config: the limits.
    """

    def __init__(self, scope: Scope, receive: Receive, config: ServeConfig) -> None:
        self._receive = receive
        self._config = config
        self._headers = {name: value for name, value in scope["headers"] if name in (b"content-length", b"transfer-encoding")}
        self._until = time.monotonic() + config.upload_timeout_s
        self.num_bytes = 0
        self.ended = not self._headers or self._headers.get(b"content-length") == b"0"
        """Whether everything has been read that the client announced."""

    def check_announced(self) -> None:
        """Refuse a body by the size it announces, before any of it is read.

        Raises:
            Problem: it is too large, or the number is none.
        """
        announced = self._headers.get(b"content-length")
        if announced is None:
            return
        if not announced.isdigit():
            raise Problem(400, "bad_length", "Content-Length: expected a number of bytes")
        if len(announced) > 18 or int(announced) > self._config.max_upload_bytes:
            raise self._too_large()

    async def __call__(self) -> Message:
        """Return the next message.

        Raises:
            Problem: too much came, or nothing for too long.
            ClientGone: the client went away in the middle of its request.
        """
        if self.ended:
            return await self._receive()
        seconds = min(self._config.idle_timeout_s, self._until - time.monotonic())
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                message = await self._receive()
        except TimeoutError as error:
            raise Problem(
                408,
                "too_slow",
                f"the request did not arrive in time: at most {self._config.idle_timeout_s:g} s of silence and "
                f"{self._config.upload_timeout_s:g} s in all are allowed",
            ) from error
        if message["type"] == "http.disconnect":
            raise ClientGone
        self.num_bytes += len(message.get("body", b""))
        if self.num_bytes > self._config.max_upload_bytes:
            raise self._too_large()
        self.ended = not message.get("more_body", False)
        return message

    async def linger(self) -> None:
        """Read and forget what still comes, for a while: closing at once would take the answer from a client that is still sending."""
        taken = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                while not self.ended and taken < _LINGER_BYTES:
                    message = await self._receive()
                    if message["type"] == "http.disconnect":
                        return
                    taken += len(message.get("body", b""))
                    self.ended = not message.get("more_body", False)

    def _too_large(self) -> Problem:
        return Problem(
            413,
            "too_large",
            f"the request is larger than the {self._config.max_upload_mb:g} MB that this server takes",
        )


def patient(send: Send, timeout_s: float) -> Send:
    """Return a ``send`` that raises :class:`ClientGone` where a client does not read for so long."""

    async def bounded(message: Message) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await send(message)
        except TimeoutError as error:
            raise ClientGone from error

    return bounded

"""One HTTP connection: what the application cannot see, the heads of requests and the number of connections, is bounded here."""

from __future__ import annotations

import asyncio
import json
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

_LINGER_S = 1.0


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 with a time limit for the head of a request and a limit of connections; errors have the form that all have."""

    head_timeout_s: ClassVar[float] = 15.0
    max_connections: ClassVar[int] = 256

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._head_timer: asyncio.TimerHandle | None = None
        self._is_refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; one connection too many gets an answer and is closed."""
        super().connection_made(transport)
        # For whom the application breaks off: a client that does not read would keep a closing connection open.
        self.app_state = {**self.app_state, "photic.abort": transport.abort}
        if len(self.connections) > self.max_connections:
            self._refuse(503, "Service Unavailable", "busy", f"{self.max_connections} connections are open already; try again later")
            return
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Take what came; what still comes after a refusal is not looked at."""
        if self._is_refused or self.transport.is_closing():
            return
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._stop_timer()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Close, or finish the request that is under way."""
        if self._is_refused:
            self.transport.close()
        else:
            super().shutdown()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP."""
        self._refuse(400, "Bad Request", "bad_request", "this is no request that can be understood (HTTP/1.1 is spoken here)")

    def _watch(self) -> None:
        """Run the timer while the head of a request is awaited; not between two requests, which is what keep-alive is for."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_timer()
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_timeout_s, self._too_slow)

    def on_response_complete(self) -> None:
        """Go on to the next request."""
        self._stop_timer()
        super().on_response_complete()

    def _too_slow(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self._refuse(408, "Request Timeout", "too_slow", f"the head of the request did not arrive within {self.head_timeout_s:g} s")

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, status: int, reason: str, code: str, message: str) -> None:
        """Answer before there is a request for the application, and close, if the client does not, after a while.

        To close at once, with bytes of the client unread, would take the answer from it.
        """
        self._stop_timer()
        if self._is_refused:
            return
        self._is_refused = True
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = json.dumps({"error": {"code": code, "message": message}}).encode()
            head = (
                f"HTTP/1.1 {status} {reason}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
                + ("retry-after: 1\r\n" if status == 503 else "")
                + "connection: close\r\n\r\n"
            )
            self.transport.write(head.encode() + body)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(_LINGER_S, self.transport.close)

"""Ctrl-C and SIGTERM as a request to stop at the next safe place."""

from __future__ import annotations

import signal
import time
from types import FrameType
from typing import Any

_TOGETHER_SECONDS = 1.0


class Interruption:
    """Turns the first Ctrl-C or SIGTERM into a request to stop at the next safe place; a second Ctrl-C stops at once.

    Args:
        launched: this process was started by a launcher, which may pass on a Ctrl-C that the terminal delivers as well:
            what comes within a second is one request, and the launcher tells the user what happens.
    """

    def __init__(self, *, launched: bool = False) -> None:
        self.requested = False
        self._launched = launched
        self._requested_at = 0.0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._request)
        except ValueError:  # not the main thread: signals are somebody else's business there
            self._previous.clear()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    def renew(self) -> None:
        """Take the signals again from whoever took them since; Lightning does when it starts."""
        for number in self._previous:
            signal.signal(number, self._request)

    def _request(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.requested and number == signal.SIGINT and not (self._launched and now - self._requested_at < _TOGETHER_SECONDS):
            raise KeyboardInterrupt
        self.requested, self._requested_at = True, now
        if not self._launched:
            print("\nStopping after this step; the run can be resumed. Press Ctrl-C again to stop at once.", flush=True)

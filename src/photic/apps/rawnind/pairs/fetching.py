"""Files fetched over HTTP so that nothing is fetched twice and nothing wrong is kept: resumed, retried, checked, renamed."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from photic.core.errors import DataError, StorageError

PART = ".part"
_BLOCK = 1 << 18
_PERMANENT = (400, 401, 403, 404, 405, 410, 451)
_WRONG_BYTES = 3  # times a file is fetched whole again, because its checksum was wrong
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_FAILURES = (OSError, http.client.HTTPException)
"""What the network makes of an answer: broken and refused connections, silence, TLS, lengths that are not kept."""


class Stopped(Exception):  # noqa: N818 - no error: somebody asked for it
    """Fetching was asked to stop; what is there is kept."""


class _Retry(Exception):  # noqa: N818 - on its way to the loop that tries again
    def __init__(self, reason: str, after_s: float | None = None) -> None:
        super().__init__(reason)
        self.after_s = after_s


@dataclass(frozen=True)
class Fetcher:
    """How files are fetched."""

    attempts: int = 6
    """Failures in a row, without a byte more, after which a file is given up."""
    timeout_s: float = 60.0
    """Silence after which a connection is given up."""
    first_pause_s: float = 1.0
    """Pause after a failure; doubled after each further one."""
    longest_pause_s: float = 60.0
    stop: threading.Event = field(default_factory=threading.Event)
    """Set to stop all fetching after the present block."""

    def text(self, url: str, most_bytes: int = 1 << 26) -> str:
        """Return a small answer as text.

        Raises:
            DataError: it cannot be fetched, is too large or no text.
        """
        for attempt in range(self.attempts):
            try:
                with self._open(url, 0) as answer:
                    data = _read(answer, most_bytes + 1)
                    expected = answer.headers.get("Content-Length")
                    if expected is not None and expected.isdigit() and len(data) < min(int(expected), most_bytes + 1):
                        raise _Retry(f"the connection broke after {len(data)} of {expected} bytes")
                if len(data) > most_bytes:
                    raise DataError(f"{url}: answers with more than {most_bytes} bytes; that is no list of files")
                return data.decode("utf-8")
            except UnicodeDecodeError as error:
                raise DataError(f"{url}: answers with something that is no text ({error})") from error
            except _Retry as error:
                if attempt + 1 == self.attempts:
                    raise DataError(
                        f"{url}: {_reason(error)}, {self.attempts} times; check the connection, or give --index FILE"
                    ) from error
                self._pause(attempt, error)
        raise AssertionError("the last attempt returns or raises")

    def fetch(self, url: str, path: Path, size: int, md5: str, advance: Callable[[int], None] = lambda count: None) -> None:
        """Fetch a file: into ``path.part``, going on where that ends, and renamed once its checksum is right.

        Args:
            url: where it is.
            path: where it goes.
            size: bytes it must have.
            md5: checksum it must have, in hexadecimal.
            advance: told how many bytes came; less than 0 where bytes turned out to be wrong.

        Raises:
            DataError: the server does not have it, fails again and again, or gives other bytes than it should.
            StorageError: it cannot be written.
            Stopped: ``stop`` was set.
        """
        part = path.with_name(path.name + PART)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if part.exists() and part.stat().st_size > size:
                part.unlink()
            advance(part.stat().st_size if part.exists() else 0)
            for _ in range(_WRONG_BYTES):
                self._complete(url, part, size, advance)
                if md5_of(part) == md5:
                    _rename(part, path)
                    return
                advance(-size)
                part.unlink()
        except StorageError:
            raise
        except OSError as error:  # what the network does was dealt with before
            reason = error.strerror or error
            raise StorageError(f"{path}: cannot be written: {reason}; free some space, then run the same command again") from error
        raise DataError(f"{url}: gave {_WRONG_BYTES} times {size} bytes with another checksum than {md5}; the file or its list is damaged")

    def _complete(self, url: str, part: Path, size: int, advance: Callable[[int], None]) -> None:
        """Fetch until the part has all bytes."""
        failures = 0
        while True:
            before = part.stat().st_size if part.exists() else 0
            if before == size and part.exists():
                return
            try:
                self._go_on(url, part, size, advance)
            except _Retry as error:
                now = part.stat().st_size if part.exists() else 0
                failures = 1 if now > before else failures + 1
                if failures >= self.attempts:
                    raise DataError(
                        f"{url}: {error}, {failures} times in a row; {now} of {size} bytes are kept in {part.name}, the same "
                        "command goes on from there"
                    ) from error
                self._pause(failures - 1, error)

    def _go_on(self, url: str, part: Path, size: int, advance: Callable[[int], None]) -> None:
        """Fetch what is missing, or all of it, if the server begins anew."""
        start = part.stat().st_size if part.exists() else 0
        with self._open(url, start) as answer:
            if start and not _continues(answer, start, size):
                advance(-start)
                start = 0
            with part.open("ab" if start else "wb") as handle:
                while block := _read(answer, min(_BLOCK, size - start + 1)):
                    if start + len(block) > size:
                        advance(-start)
                        handle.truncate(0)
                        raise _Retry(f"gives more than the {size} bytes it should have")
                    handle.write(block)
                    start += len(block)
                    advance(len(block))
                    if self.stop.is_set():
                        raise Stopped
        if start < size:
            raise _Retry(f"the connection broke after {start} of {size} bytes")

    def _open(self, url: str, start: int) -> Any:
        if self.stop.is_set():
            raise Stopped
        headers = {"User-Agent": "photic", "Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        try:
            return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=self.timeout_s)
        except urllib.error.HTTPError as error:
            with error:
                if error.code in _PERMANENT:
                    answered = f"the server answers {error.code} {error.reason}"
                    raise DataError(f"{url}: {answered}; the file is not there, or not open to all") from error
                if error.code == 416:  # the part is no beginning of what the server has
                    raise _Retry("the server has not the bytes that are missing") from error
                raise _Retry(f"the server answers {error.code} {error.reason}", _retry_after(error.headers.get("Retry-After"))) from error
        except ValueError as error:
            raise DataError(f"{url}: no address that can be fetched ({error})") from error
        except _FAILURES as error:
            raise _Retry(_reason(error)) from error

    def _pause(self, failures: int, error: _Retry) -> None:
        pause = min(self.longest_pause_s, self.first_pause_s * 2**failures)
        if error.after_s is not None:
            pause = min(max(pause, error.after_s), 10 * self.longest_pause_s)
        if self.stop.wait(pause):
            raise Stopped


def _read(answer: Any, num_bytes: int) -> bytes:
    try:
        data: bytes = answer.read(num_bytes)
        return data
    except _FAILURES as error:
        raise _Retry(f"the connection broke: {_reason(error)}") from error


def md5_of(path: Path) -> str:
    """Return the MD5 of a file in hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _continues(answer: Any, start: int, size: int) -> bool:
    """Say whether an answer begins where the part ends."""
    if answer.status != http.client.PARTIAL_CONTENT:
        return False
    match = _RANGE.match(answer.headers.get("Content-Range") or "")
    if match is None or int(match[1]) != start or match[2] not in ("*", str(size)):
        raise DataError(
            f"{answer.url}: asked for bytes from {start} of {size}, the server answers '{answer.headers.get('Content-Range')}'; its file "
            "is another one than the list says"
        )
    return True


def _rename(part: Path, path: Path) -> None:
    with part.open("rb") as handle:
        os.fsync(handle.fileno())
    part.replace(path)


def _retry_after(value: str | None) -> float | None:
    """Return the seconds a server asks to wait, given as such or as a date."""
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    from datetime import UTC, datetime

    return max(0.0, (when - datetime.now(UTC)).total_seconds()) if when.tzinfo is not None else None


def _reason(error: BaseException) -> str:
    inner = error.reason if isinstance(error, urllib.error.URLError) else error
    return str(inner) or type(inner).__name__

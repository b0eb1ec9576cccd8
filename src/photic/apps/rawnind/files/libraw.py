"""Raw files through LibRaw, decoded in a process of their own so that no file can bring the interpreter down."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from photic.core.errors import DataError

MAX_PIXELS = 250_000_000
"""Largest picture that is read unless more is asked for."""
_TIMEOUT_S = 900.0
_LONGEST_ANSWER = 1 << 20
_DAMAGE = ("end of file", "data corrupted", "premature end")
"""What LibRaw and its libraries say on standard error of files that they decode all the same."""
_PROGRAM = Path(__file__).with_name("libraw_child.py")


@dataclass(frozen=True)
class Decoded:
    """What LibRaw knows of a file."""

    pixels: NDArray[np.uint16]
    """``(H, W)`` mosaic or ``(H, W, 3)``: the visible area as stored, black not subtracted."""
    facts: dict[str, Any]
    """See ``libraw_child.decoded``."""


def decode(path: Path, *, max_pixels: int = MAX_PIXELS) -> Decoded:
    """Decode the visible area of a raw file.

    Raises:
        DataError: the file is missing, no raw file, truncated, damaged, too large, or brings LibRaw down.
    """
    facts, pixels = _run(path, max_pixels, "decode")
    assert pixels is not None, "decoding gives pixels or an error"
    return Decoded(pixels, facts)


def raw_size(path: Path | str, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Return height and width of a raw file's visible area as the sensor has it, from the header alone.

    Raises:
        DataError: the file is missing, no raw file, or too large.
    """
    facts, _ = _run(Path(path), max_pixels, "header")
    return int(facts["size"][0]), int(facts["size"][1])


def _run(path: Path, max_pixels: int, what: str) -> tuple[dict[str, Any], NDArray[np.uint16] | None]:
    if not path.exists():
        raise DataError(f"{path}: no such file")
    if not path.is_file():
        raise DataError(f"{path}: expected a raw file, this is a folder or a device")
    if not os.access(path, os.R_OK):
        raise DataError(f"{path}: cannot be read: no permission")
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")  # each thread reserves memory that counts
    command = [sys.executable, "-P", str(_PROGRAM), str(path.resolve()), str(max_pixels), what]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said, env=os.environ | one_thread, bufsize=1 << 20
        )
        clock = threading.Timer(_TIMEOUT_S, process.kill)
        clock.start()
        try:
            assert process.stdout is not None, "a pipe was asked for"
            facts, pixels = _answer(process.stdout, what)
            status = process.wait()
        finally:
            clock.cancel()
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        said.seek(0)
        text = said.read(1 << 16).decode("utf-8", "replace")
    if facts is None or (status != 0 and "error" not in facts):
        raise DataError(f"{path}: decoding it broke down ({_cause(status, text)}): it is damaged or made to do harm; replace the file")
    if "error" in facts:
        raise _refused(path, facts, max_pixels)
    found = [sign for sign in _DAMAGE if sign in text.lower()]
    if found or (what == "decode" and pixels is None):
        raise DataError(
            f"{path}: truncated or damaged raw file ({found[0] if found else 'pixels are missing'}); copy it from the card again"
        )
    return facts, pixels


def _answer(stream: IO[bytes], what: str) -> tuple[dict[str, Any] | None, NDArray[np.uint16] | None]:
    """Read what the child says; None for what did not come whole."""
    length = int.from_bytes(stream.read(8), "little")
    text = stream.read(length) if 0 < length <= _LONGEST_ANSWER else b""
    if not text or len(text) != length:
        return None, None
    facts: dict[str, Any] = json.loads(text)
    if "error" in facts or what == "header":
        return facts, None
    height, width = facts["size"]
    pixels = np.empty((height, width) if facts["channels"] == 1 else (height, width, 3), np.uint16)
    view, done = pixels.reshape(-1).view(np.uint8).data, 0
    while done < len(view):
        count = stream.readinto(view[done : done + (1 << 24)])  # type: ignore[attr-defined]  # a buffered reader has it
        if not count:
            return facts, None
        done += count
    return facts, pixels


def _refused(path: Path, facts: dict[str, Any], max_pixels: int) -> DataError:
    error = facts["error"]
    if error == "too large":
        height, width = facts["size"]
        return DataError(
            f"{path}: {width} x {height} pixels ({facts['pixels'] / 1e6:,.0f} megapixels with its margins) are more than the limit of "
            f"{max_pixels / 1e6:,.0f}; if that is meant and memory allows, raise max_pixels (--max-megapixels)"
        )
    if error == "not a raw file":
        return DataError(
            f"{path}: no raw file, or of a camera or compression that LibRaw does not know; expected CR2, CR3, NEF, ARW, DNG, RAF, ... "
            "If it is one, convert it to DNG"
        )
    if "memory" in error.lower():
        return DataError(f"{path}: decoding it takes more memory than a picture of its size should: it is damaged; replace the file")
    return DataError(f"{path}: truncated or damaged raw file (LibRaw: {error}); copy it from the card again")


def _cause(status: int, text: str) -> str:
    last = text.strip().splitlines()[-1:] or [""]
    return f"signal {-status}" if status < 0 else f"status {status}: {last[0][:200]}"

"""The file of checkpoints and bundles: safetensors, with a description as JSON in its header.

Everything here works without torch and executes nothing of what it reads. The layout of a file:

- 8 bytes: length of the header, little-endian;
- header: JSON; for each tensor its type, shape and place, and under ``__metadata__`` texts of ours:
  ``photic`` (JSON: format version, description, ...) and, in a sealed file, ``photic_sha256``;
- the tensors' bytes, without gaps.

A seal is the SHA-256 of the whole file, taken with zeros in its own place: every bit of the file counts.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

from photic.core.errors import CheckpointError

FORMAT = 1
KEY, SEAL = "photic", "photic_sha256"
UNSEALED = "0" * 64
"""What stands in the place of the seal until :func:`seal` has made it."""

MAX_HEADER_BYTES = 100_000_000
"""Longest header that is read, as in safetensors itself."""
_MOST_AXES = 64


@dataclass(frozen=True)
class Header:
    """What a file says about itself before its tensors."""

    content: dict[str, Any]
    """Format version, description, and whatever else the writer put there; a JSON object."""
    shapes: dict[str, tuple[int, ...]]
    """Shape of every tensor by name."""
    sha256: str | None
    """Seal over the whole file; None for a file that carries none."""

    @property
    def description(self) -> dict[str, Any]:
        """What is needed to use the tensors."""
        value: dict[str, Any] = self.content["description"]
        return value


def metadata(content: Mapping[str, Any], *, sealed: bool) -> dict[str, str]:
    """Return the texts that a writer puts into the header of a safetensors file."""
    text = json.dumps({"format": FORMAT, **content})
    return {KEY: text, SEAL: UNSEALED} if sealed else {KEY: text}


def read_header(path: Path) -> Header:
    """Read and check the header of a file; of the tensors only how many bytes there are.

    Raises:
        CheckpointError: missing, a folder, unreadable, damaged or truncated, a pickle, not written by Photic, or of a newer format.
    """
    header = _safetensors_header(path)
    texts = header.pop("__metadata__", {})
    content = content_of(path, texts)
    return Header(content, {name: tuple(entry["shape"]) for name, entry in header.items()}, texts.get(SEAL))


def content_of(path: Path, texts: Mapping[str, str] | None) -> dict[str, Any]:
    """Return what Photic wrote into the header of a safetensors file, from the texts under ``__metadata__``.

    Raises:
        CheckpointError: nothing, something damaged, or something newer.
    """
    if not texts or KEY not in texts:
        raise CheckpointError(f"{path}: a safetensors file, but not a Photic checkpoint (use it as weights: model.weights={path})")
    try:
        content: dict[str, Any] = json.loads(texts[KEY])
        written = int(content["format"])
        complete = isinstance(content["description"], dict)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise damaged(path, f"its description cannot be read ({_brief(error)})") from error
    if written > FORMAT:
        raise CheckpointError(f"{path}: written by a newer Photic (format {written}, this one reads {FORMAT}); upgrade photic")
    if written < 1 or not complete:
        raise damaged(path, "its description is incomplete")
    return content


def is_photic(path: Path) -> bool:
    """Say whether a safetensors file was written by Photic.

    Raises:
        CheckpointError: it is no safetensors file, or damaged.
    """
    return KEY in _safetensors_header(path).get("__metadata__", {})


def seal(path: Path) -> str:
    """Put the seal into a file that was written with a place for it; return the SHA-256 in hexadecimal."""
    digest, place = _digest(path)
    with open(path, "r+b") as handle:
        handle.seek(place)
        handle.write(digest.encode())
    return digest


def verify_seal(path: Path, expected: str) -> None:
    """Check that no bit of a sealed file has changed since it was written.

    Raises:
        CheckpointError: one has.
    """
    digest, _ = _digest(path)
    if digest != expected:
        raise CheckpointError(
            f"{path}: damaged: the content has changed since it was written (SHA-256 {digest[:12]}..., not {expected[:12]}...); "
            "copy it again, or make it again"
        )


def damaged(path: Path, reason: object) -> CheckpointError:
    """Return the error for a file that should be ours but is not whole; one that is a pickle is called so."""
    with opened(path) as handle:
        start = handle.read(4)
    # Only once a file has turned out not to be safetensors: the first byte of one of those may be a pickle's too.
    if start[:1] == b"\x80" or start == b"PK\x03\x04":
        return CheckpointError(f"{path}: refused: this is a pickle or a zipped pickle, which can execute code; Photic reads safetensors")
    size = path.stat().st_size
    return CheckpointError(f"{path}: damaged or truncated file ({reason}; {size} bytes on disk). Use another checkpoint or copy of it")


@contextmanager
def opened(path: Path) -> Iterator[BufferedReader]:
    """Open a file to read it.

    Raises:
        CheckpointError: there is none, it is a folder, or it cannot be read, now or while it is read.
    """
    try:
        if path.is_dir():
            raise CheckpointError(
                f"{path}: is a folder; a bundle or checkpoint is one file (`photic bundle RUN -o model.photic` writes one)"
            )
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for, without end
            raise CheckpointError(f"{path}: is a pipe or device; a bundle or checkpoint is a file, copy it into one")
        with open(path, "rb") as handle:
            yield handle
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such checkpoint file") from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}; check who may read it, or copy it again") from error


def _safetensors_header(path: Path) -> dict[str, Any]:
    with opened(path) as handle:
        size = os.fstat(handle.fileno()).st_size
        length = int.from_bytes(handle.read(8), "little")
        if size < 8 or length > min(size - 8, MAX_HEADER_BYTES):
            raise damaged(path, "the header is cut short")
        text = handle.read(length)
    try:
        header: dict[str, Any] = json.loads(text)
        metadata = header.get("__metadata__", {})
        entries = [entry for name, entry in header.items() if name != "__metadata__"]
        end = max((int(entry["data_offsets"][1]) for entry in entries), default=0)
        texts = all(isinstance(value, str) for value in metadata.values())
        shaped = all(len(entry["shape"]) <= _MOST_AXES for entry in entries) and all(
            type(side) is int and 0 <= side < 2**63 for entry in entries for side in entry["shape"]
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise damaged(path, f"the header cannot be read ({_brief(error)})") from error
    if not texts or not shaped:
        raise damaged(path, "the header cannot be read")
    if 8 + length + end != size:
        raise damaged(path, f"{8 + length + end} bytes expected")
    return header


def _digest(path: Path) -> tuple[str, int]:
    """Return the SHA-256 of a file with zeros in place of its seal, and where that place is."""
    with opened(path) as handle:
        start = handle.read(8)
        start += handle.read(int.from_bytes(start, "little"))
        # A quotation mark inside a JSON text is escaped, so this can only be the key itself.
        before, found, rest = start.partition(f'"{SEAL}":"'.encode())
        if not found:
            raise damaged(path, "its checksum is not where it was written")
        place = len(before) + len(found)
        digest = hashlib.sha256(start[:place] + UNSEALED.encode() + rest[len(UNSEALED) :])
        return hashlib.file_digest(handle, lambda: digest).hexdigest(), place


def _brief(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error)[:80]}"

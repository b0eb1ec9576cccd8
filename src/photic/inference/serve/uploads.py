"""Uploads: a multipart form, streamed into a file of ours; nothing of the client's names decides where."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from photic.inference.serve.naming import ending_of, media_type, safe_stem, shown
from photic.inference.serve.options import FILE
from photic.inference.serve.problems import Problem

_MAX_FIELDS = 64
_MAX_TEXT_BYTES = 4096
_MAX_NAME_BYTES = 128
_WRITTEN_AT_ONCE = 1 << 20
_WRITTEN_HERE = 1 << 16


@dataclass
class Upload:
    """What a form held."""

    texts: dict[str, list[str]] = field(default_factory=dict)
    """Values of every field but the file."""
    file: Path | None = None
    """The file as we store it; None if there was none."""
    stem: str = "result"
    """What of the client's file name may stand in ours."""
    shown: str = "the file"
    """How messages call it."""


async def receive_form(chunks: AsyncIterator[bytes], content_type: str, folder: Path, endings: Sequence[str], what: str) -> Upload:
    """Read a form, its file into a folder.

    Args:
        chunks: the body; whoever gives it sees to size and time.
        content_type: of the request.
        folder: a private folder for this request.
        endings: endings that the file may have.
        what: what they are, in the plural, for messages.

    Raises:
        Problem: no multipart form, a malformed one, no file, two files, or one with another ending.
    """
    reader = _Reader(_boundary(content_type), folder, tuple(endings), what)
    try:
        async for chunk in chunks:
            reader.feed(chunk)
            if len(reader.buffer) >= _WRITTEN_AT_ONCE:
                await asyncio.to_thread(reader.flush)
        reader.finish()
        if len(reader.buffer) <= _WRITTEN_HERE:  # into the system's cache, in less time than a change of threads takes
            reader.flush()
        else:
            await asyncio.to_thread(reader.flush)
    finally:
        reader.close()
    return reader.upload


def _boundary(content_type: str) -> bytes:
    kind, parameters = parse_options_header(content_type)
    if kind != b"multipart/form-data":
        raise Problem(
            415,
            "not_multipart",
            f"expected a form (multipart/form-data) with the file in the field '{FILE}', got "
            f"{shown(content_type) if content_type else 'no type'}; with curl: -F {FILE}=@NAME",
        )
    boundary = parameters.get(b"boundary", b"")
    if not 1 <= len(boundary) <= 70:
        raise _malformed("its boundary is missing or not of 1 to 70 characters")
    return boundary


def _malformed(reason: str) -> Problem:
    return Problem(400, "malformed_form", f"the multipart form cannot be read: {reason}")


class _Reader:
    """Takes a form apart as it comes."""

    def __init__(self, boundary: bytes, folder: Path, endings: tuple[str, ...], what: str) -> None:
        self.upload = Upload()
        self.buffer = bytearray()
        self._folder = folder
        self._endings = endings
        self._what = what
        self._handle: BinaryIO | None = None
        self._headers: dict[str, str] = {}
        self._header = (bytearray(), bytearray())
        self._name = ""
        self._text: bytearray | None = None
        self._num_fields = 0
        self._ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_end,
                "on_part_data": self._data,
                "on_part_end": self._part_end,
                "on_end": self._end,
            },
            max_header_count=8,
            max_header_size=8192,
        )

    def feed(self, chunk: bytes) -> None:
        """Take the next piece of the body."""
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise _malformed(str(error)) from error

    def finish(self) -> None:
        """Check that the form is whole and has a file."""
        try:
            self._parser.finalize()
        except FormParserError as error:
            raise _malformed(str(error)) from error
        if not self._ended:
            raise _malformed("it ends before its last boundary")
        if self.upload.file is None:
            if FILE in self.upload.texts:
                raise Problem(422, "bad_field", f"field '{FILE}': expected a file, got text; with curl: -F {FILE}=@NAME")
            raise Problem(422, "no_file", f"no file: send it in the field '{FILE}'; with curl: -F {FILE}=@NAME")

    def flush(self) -> None:
        """Write what has come of the file."""
        if self._handle is not None and self.buffer:
            self._handle.write(self.buffer)
        self.buffer.clear()
        if self._handle is not None and self._ended:
            self.close()

    def close(self) -> None:
        """Close the file."""
        if self._handle is not None:
            self._handle.close()
            self._handle = None

    # --- what the parser finds ---

    def _begin(self) -> None:
        self._num_fields += 1
        if self._num_fields > _MAX_FIELDS:
            raise _malformed(f"it has more than {_MAX_FIELDS} fields")
        self._headers = {}

    def _header_end(self) -> None:
        name, value = (bytes(part).decode("latin-1") for part in self._header)
        self._headers[name.strip().lower()] = value.strip()
        self._header = (bytearray(), bytearray())

    def _headers_end(self) -> None:
        kind, parameters = parse_options_header(self._headers.get("content-disposition", ""))
        name = parameters.get(b"name")
        if kind != b"form-data" or name is None or len(name) > _MAX_NAME_BYTES:
            raise _malformed("a part of it has no name, or an endless one")
        self._name = name.decode("utf-8", "replace")
        if b"filename" in parameters:
            self._open(parameters[b"filename"].decode("utf-8", "replace"))
        elif self._name == FILE and "content-type" in self._headers and not self._headers["content-type"].startswith("text/plain"):
            self._open("")
        else:
            self._text = bytearray()

    def _open(self, file_name: str) -> None:
        if self._name != FILE:
            raise Problem(422, "bad_field", f"unexpected file in the field {shown(self._name)}; send it in the field '{FILE}'")
        if self.upload.file is not None:
            raise Problem(422, "bad_field", f"field '{FILE}': several files came, expected one; send a request for each")
        ending = ending_of(file_name, self._endings) or self._ending_of_type(file_name)
        if ending is None:
            called = shown(file_name) if file_name else "a file without a name"
            raise Problem(
                415,
                "wrong_kind_of_file",
                f"this model takes {self._what} whose names end in {', '.join(self._endings)}; got {called}. Its name counts",
            )
        self.upload.stem = safe_stem(file_name, ending)
        self.upload.shown = f"{self.upload.stem}{ending}" if file_name else "the file"
        # The name is ours, its ending one of a list of ours.
        self.upload.file = self._folder / f"upload{ending}"
        self._handle = open(self.upload.file, "xb")  # noqa: SIM115 - closed when the form ends

    def _ending_of_type(self, file_name: str) -> str | None:
        """Return the ending that a type stands for, where a file has no name, or one without an ending."""
        if "." in file_name:
            return None
        kind = self._headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind in ("", "application/octet-stream"):
            return None
        return next((ending for ending in self._endings if media_type(ending) == kind), None)

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._text is None:
            self.buffer.extend(data[start:end])
            return
        self._text.extend(data[start:end])
        if len(self._text) > _MAX_TEXT_BYTES:
            raise Problem(422, "bad_field", f"field {shown(self._name)}: longer than {_MAX_TEXT_BYTES} bytes")

    def _part_end(self) -> None:
        if self._text is None:
            return
        try:
            text = self._text.decode("utf-8")
        except UnicodeDecodeError as error:
            raise Problem(422, "bad_field", f"field {shown(self._name)}: expected text in UTF-8") from error
        self.upload.texts.setdefault(self._name, []).append(text)
        self._text = None

    def _end(self) -> None:
        self._ended = True

"""What files a data set on a Dataverse server has: from its API, or from a file of its answer or a table."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from photic.core.errors import DataError

_COLUMNS = ("filename", "dataverse_file_id", "bytes", "md5")
_MD5 = re.compile(r"[0-9a-f]{32}")
_FORBIDDEN = set('<>:"\\|?*')


@dataclass(frozen=True)
class RemoteFile:
    """A file of a data set."""

    name: str
    """Path below the data set, with ``/``."""
    number: int
    """Its number on the server."""
    size: int
    """In bytes."""
    md5: str
    """Checksum in hexadecimal."""

    def url(self, server: str) -> str:
        """Return where it can be fetched."""
        return f"{server.rstrip('/')}/api/access/datafile/{self.number}"


def listing_url(server: str, doi: str) -> str:
    """Return where a server lists the files of the latest published version of a data set."""
    return f"{server.rstrip('/')}/api/datasets/:persistentId/versions/:latest-published/files?persistentId={quote(doi, safe=':/')}"


def read_listing(path: Path) -> list[RemoteFile]:
    """Read a list of files: the API's JSON, or a table with the columns filename, dataverse_file_id, bytes, md5; both perhaps with gzip.

    Raises:
        DataError: it cannot be read, or names files that cannot be fetched safely.
    """
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        text = data.decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as a list of files ({error})") from error
    return parse_listing(text, str(path))


def parse_listing(text: str, where: str) -> list[RemoteFile]:
    """Return the files of a list, see :func:`read_listing`; ``where`` it comes from is for messages.

    Raises:
        DataError: no such list, or names that lead elsewhere or come twice.
    """
    if text.lstrip()[:1] in ("{", "["):
        try:
            rows = list(_of_json(json.loads(text), where))
        except json.JSONDecodeError as error:
            raise DataError(f"{where}: no JSON that can be read ({error}); expected a Dataverse server's list of files") from error
    else:
        rows = list(_of_table(text, where))
    if not rows:
        raise DataError(f"{where}: lists no files")
    seen: set[str] = set()
    for row in rows:
        if row.name in seen:
            raise DataError(f"{where}: lists '{row.name}' twice; names must differ")
        seen.add(row.name)
    return rows


def _of_json(content: Any, where: str) -> Iterable[RemoteFile]:
    """Yield the files of an answer of the API: a list of files, or a data set or version that holds one."""
    if isinstance(content, Mapping) and content.get("status") not in (None, "OK"):
        raise DataError(f"{where}: the server answered '{content.get('message', content.get('status'))}' instead of a list of files")
    found = content
    for key in ("data", "datasetVersion", "latestVersion", "files"):
        if isinstance(found, Mapping) and key in found:
            found = found[key]
    if not isinstance(found, list):
        raise DataError(f"{where}: no list of files in it; expected what /api/datasets/.../files of a Dataverse server answers")
    for number, entry in enumerate(found):
        try:
            held = entry["dataFile"]
            kind, md5 = held.get("checksum", {}).get("type", "MD5"), held.get("md5") or held.get("checksum", {}).get("value")
            if kind != "MD5":
                raise DataError(f"{where}, file {number}: its checksum is {kind}; this fetches files with MD5 only")
            folder = entry.get("directoryLabel") or ""
            name = f"{folder}/{entry.get('label') or held['filename']}".lstrip("/")
            yield _checked(name, held["id"], held["filesize"], md5, f"{where}, file {number}")
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{where}, file {number}: {error!r} is missing or wrong; expected dataFile with id, filesize and md5"
            ) from error


def _of_table(text: str, where: str) -> Iterable[RemoteFile]:
    reader = csv.DictReader(io.StringIO(text))
    missing = [column for column in _COLUMNS if column not in (reader.fieldnames or ())]
    if missing:
        raise DataError(
            f"{where}: no column {', '.join(missing)}; expected a table with {', '.join(_COLUMNS)}, or the JSON of a Dataverse server"
        )
    for line, row in enumerate(reader, start=2):
        yield _checked(row["filename"], row["dataverse_file_id"], row["bytes"], row["md5"], f"{where}, line {line}")


def _checked(name: Any, number: Any, size: Any, md5: Any, where: str) -> RemoteFile:
    """Return a file whose name stays below a folder, and whose numbers are numbers."""
    parts = PurePosixPath(str(name)).parts
    if (
        not name
        or str(name).startswith("/")
        or any(part in (".", "..") or set(part) & _FORBIDDEN or min(map(ord, part)) < 32 for part in parts)
    ):
        raise DataError(f"{where}: the name {str(name)!r} cannot be a file below a folder; the list is damaged or hostile")
    if not (str(number).isdigit() and str(size).isdigit() and _MD5.fullmatch(str(md5))):
        raise DataError(f"{where} ({name}): expected a file number, bytes and an MD5 in hexadecimal, got {number!r}, {size!r} and {md5!r}")
    return RemoteFile("/".join(parts), int(number), int(size), str(md5))

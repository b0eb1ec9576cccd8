"""NPZ files member by member: sizes and types from the headers alone, nothing ever unpickled, uncompressed arrays mapped, not loaded."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from photic.apps.ptycho.patterns import LazyArray
from photic.apps.ptycho.stores import MappedStore, MemoryStore, Store
from photic.core.errors import DataError
from photic.core.files import atomic_path

_EARLIEST = (1980, 1, 1, 0, 0, 0)
"""Time stamp of all members: the same content gives the same file."""


@dataclass(frozen=True)
class Member:
    """What the headers say about one array of an NPZ file."""

    key: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    order: Literal["C", "F"]
    is_compressed: bool
    entry: zipfile.ZipInfo
    header_bytes: int

    @property
    def num_bytes(self) -> int:
        """Size of the array in memory."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def __str__(self) -> str:
        return f"{self.dtype} {self.shape}"


class NpzFile:
    """The arrays of an NPZ file by key.

    Raises:
        DataError: no such file, no NPZ file, truncated or damaged, or an array of Python objects.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise DataError(f"{self.path}: no such file (from {Path.cwd()})")
        try:
            with zipfile.ZipFile(self.path) as archive:
                entries = [entry for entry in archive.infolist() if entry.filename.endswith(".npy")]
                members = [self._member(archive, entry) for entry in entries]
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, struct.error) as error:
            raise DataError(
                f"{self.path}: cannot be read as NPZ: {error}; expected a ZIP archive of .npy arrays. Is the file whole?"
            ) from error
        self.members = {member.key: member for member in members}

    def __contains__(self, key: str) -> bool:
        return key in self.members

    def read(self, key: str) -> NDArray[Any]:
        """Return a whole array.

        Raises:
            DataError: missing, or damaged (sizes or checksum).
        """
        member = self.member(key)
        array: NDArray[Any] = np.empty(member.shape, member.dtype, order=member.order)
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(member.entry) as stream:
                stream.read(member.header_bytes)
                _fill(stream, array.reshape(-1, order=member.order) if array.ndim else array.reshape(1))
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
            raise DataError(f"{self.path}: key '{key}' ({member}) cannot be read: {error}; the file is truncated or damaged") from error
        return array

    def store(self, key: str) -> Store:
        """Return an array for reading piece by piece: mapped where it lies uncompressed, else loaded whole."""
        member = self.member(key)
        if member.is_compressed or member.num_bytes == 0:
            return MemoryStore(self.read(key))
        with open(self.path, "rb") as handle:
            handle.seek(member.entry.header_offset)
            local = handle.read(30)
            if len(local) < 30 or local[:4] != b"PK\x03\x04":
                raise DataError(f"{self.path}: key '{key}' is not where the archive says; the file is truncated or damaged")
            name_bytes, extra_bytes = struct.unpack("<HH", local[26:30])
        offset = member.entry.header_offset + 30 + name_bytes + extra_bytes + member.header_bytes
        if offset + member.num_bytes > self.path.stat().st_size:
            raise DataError(f"{self.path}: key '{key}' ({member}) ends behind the end of the file; the file is truncated")
        return MappedStore(self.path, member.dtype, member.shape, offset, member.order)

    def member(self, key: str) -> Member:
        """Return what is known of an array.

        Raises:
            DataError: there is no such key.
        """
        if key not in self.members:
            found = ", ".join(f"{name} {member.shape}" for name, member in self.members.items()) or "nothing"
            raise DataError(f"{self.path}: key '{key}' is missing; found {found}")
        return self.members[key]

    def damaged_member(self) -> str | None:
        """Read everything against its checksum; return the first key that does not agree."""
        try:
            with zipfile.ZipFile(self.path) as archive:
                return archive.testzip()
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
            return str(error)

    def _member(self, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Member:
        key = entry.filename.removesuffix(".npy")
        with archive.open(entry) as stream:
            try:
                version = npy.read_magic(stream)
                if version not in ((1, 0), (2, 0)):
                    raise DataError(f"{self.path}: key '{key}' has .npy format {version}, expected numbers in format (1, 0) or (2, 0)")
                read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
                shape, is_fortran, dtype = read_header(stream)
            except ValueError as error:
                if isinstance(error, DataError):
                    raise
                raise DataError(f"{self.path}: key '{key}' is no .npy array: {error}; is the file whole?") from error
            header_bytes = stream.tell()
        if dtype.hasobject:
            raise DataError(
                f"{self.path}: key '{key}' holds pickled Python objects ({dtype} {shape}), which could run code when read, and is refused. "
                "Expected plain numbers, or for '_metadata' a unicode string of JSON; write the file again without objects"
            )
        member = Member(key, shape, dtype, "F" if is_fortran else "C", entry.compress_type != zipfile.ZIP_STORED, entry, header_bytes)
        expected = header_bytes + member.num_bytes
        if entry.file_size != expected:
            raise DataError(f"{self.path}: key '{key}' ({member}) should have {expected} bytes, has {entry.file_size}; damaged file")
        return member


def write_npz(path: Path, arrays: Mapping[str, NDArray[Any] | LazyArray], *, compressed: bool) -> None:
    """Write an NPZ file, whole or not at all; lazy arrays are streamed.

    Args:
        path: file to write.
        arrays: by key.
        compressed: smaller, but readers must then load arrays whole.
    """
    method = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", method, allowZip64=True) as archive:
        for key, array in arrays.items():
            entry = zipfile.ZipInfo(f"{key}.npy", _EARLIEST)
            entry.compress_type = method
            with archive.open(entry, "w", force_zip64=True) as stream:
                if isinstance(array, LazyArray):
                    header = {"descr": npy.dtype_to_descr(array.dtype), "fortran_order": False, "shape": array.shape}
                    npy.write_array_header_1_0(stream, header)
                    for _, piece in array.chunks():
                        stream.write(np.ascontiguousarray(piece).data)
                else:
                    npy.write_array(stream, np.asarray(array), allow_pickle=False)


def _fill(stream: IO[bytes], flat: NDArray[Any]) -> None:
    if flat.nbytes == 0:
        return
    view = memoryview(flat.view(np.uint8))  # type: ignore[arg-type]
    done = 0
    while done < len(view):
        piece = stream.read(min(16 * 2**20, len(view) - done))
        if not piece:
            raise EOFError(f"{len(view) - done} bytes are missing")
        view[done : done + len(piece)] = piece
        done += len(piece)
    stream.read(1)  # past the end, the archive compares its checksum

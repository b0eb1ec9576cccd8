"""HDF5 files that point to other files: usual at beamlines, not to be followed in files of strangers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py

from photic.apps.ptycho.readers.base import OtherFormatError
from photic.apps.ptycho.readers.hdf5 import open_hdf5
from photic.core.errors import DataError

_MOST = 100_000


def refuse_links(path: Path) -> None:
    """Refuse an HDF5 file that points to other files: external links, virtual data sets, values kept outside; any other file passes.

    Nothing that a link points to is opened.

    Raises:
        DataError: it does, it is damaged, or has more parts than any scan.
    """
    try:
        with open_hdf5(path) as file:
            _look_into(file, path)
    except OtherFormatError:
        return


def _look_into(file: Any, path: Path) -> None:
    waiting, seen, num_parts = [file], set(), 0
    while waiting:
        group = waiting.pop()
        for name in group:
            num_parts += 1
            if num_parts > _MOST:
                raise DataError(f"{path}: has more than {_MOST:,} parts, which no scan needs")
            where = f"{group.name.rstrip('/')}/{name}"
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                raise _outside(path, where, link.filename)
            if isinstance(link, h5py.SoftLink):
                continue  # what it means within the file is met on its own way
            part = group[name]
            if isinstance(part, h5py.Group):
                if part.id not in seen:
                    seen.add(part.id)
                    waiting.append(part)
            elif isinstance(part, h5py.Dataset):
                _check_values(part, path, where)


def _check_values(part: Any, path: Path, where: str) -> None:
    for name, *_ in part.external or ():
        raise _outside(path, where, name)
    if part.is_virtual:
        for source in part.virtual_sources():
            if source.file_name != ".":
                raise _outside(path, where, source.file_name)


def _outside(path: Path, where: str, other: Any) -> DataError:
    name = other.decode(errors="replace") if isinstance(other, bytes) else str(other)
    return DataError(
        f"{path}: '{where}' points to another file ('{Path(name).name}'), which is not followed here; write everything into one file "
        "(h5repack, or `photic data convert ptycho`)"
    )

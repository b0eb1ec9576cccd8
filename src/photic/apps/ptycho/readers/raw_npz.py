"""Photic's own raw NPZ files, as a reader."""

from __future__ import annotations

import zipfile
from pathlib import Path

from photic.apps.ptycho.patterns import Domain
from photic.apps.ptycho.raw import RawNPZData, load_raw_npz
from photic.apps.ptycho.readers.base import OtherFormatError


def read(path: Path, *, domain: Domain | None = None, diffraction: Path | None = None) -> RawNPZData:
    """Read a raw NPZ file; see :func:`photic.apps.ptycho.raw.load_raw_npz`. Without a word its patterns are amplitudes, by the format.

    Raises:
        OtherFormatError: it is no ZIP archive and does not call itself NPZ.
        DataError: it is one and is broken.
    """
    if diffraction is not None:
        raise OtherFormatError("raw NPZ files hold their patterns themselves")
    if path.suffix.lower() != ".npz" and not zipfile.is_zipfile(path):
        raise OtherFormatError("it is no NPZ file")
    return load_raw_npz(path, domain=domain or "amplitude")

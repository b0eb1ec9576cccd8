"""CXI files (cxidb.org, version 1.6): ptychography as beamlines write it.

Translations are of the *specimen*, in metres, in the laboratory frame (x, y, z), so the beam's place on it is minus them. Detector axes
come from ``basis_vectors`` (first the slow axis, rows, then the fast one, columns); without them rows point along -y and columns along
-x, as the format says. Patterns are detector frames, hence counts. Mask bits other than 0x1000 (signal above background) make a pixel
invalid.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photic.apps.ptycho.geometry import JOULE_PER_EV, wavelength_of
from photic.apps.ptycho.patterns import Domain
from photic.apps.ptycho.readers.base import OtherFormatError, ScanRecord
from photic.apps.ptycho.readers.hdf5 import columns, contents, first_of, number, open_hdf5
from photic.apps.ptycho.stores import Hdf5Store
from photic.core.errors import DataError

_DETECTOR = "entry_1/instrument_1/detector_1"
_SOURCE = "entry_1/instrument_1/source_1"
_DATA = ("entry_1/data_1/data", f"{_DETECTOR}/data")
_TRANSLATION = ("entry_1/data_1/translation", "entry_1/sample_1/geometry_1/translation", f"{_DETECTOR}/translation")
_HAS_SIGNAL = 0x1000
_LARGEST_ENERGY_J = 1e-10


def read(path: Path, *, domain: Domain | None = None, diffraction: Path | None = None) -> ScanRecord:
    """Read a CXI file; the patterns stay in it.

    Raises:
        OtherFormatError: no HDF5, or nothing where CXI has it.
        DataError: wrong shapes or units.
    """
    if diffraction is not None:
        raise OtherFormatError("CXI files hold their patterns themselves")
    with open_hdf5(path) as file:
        if "entry_1" not in file:
            raise OtherFormatError("it has no group 'entry_1'")
        data, translation = first_of(file, *_DATA), first_of(file, *_TRANSLATION)
        if data is None:
            raise DataError(f"{path}: looks like CXI, but has no patterns in {' or '.join(_DATA)}")
        fast, slow, pixels = _axes(file, path)
        positions = None
        if translation is not None:
            moved = columns(np.asarray(file[translation][()]), path, translation, (2, 3))
            positions = -np.stack([moved @ fast[: moved.shape[1]], moved @ slow[: moved.shape[1]]], axis=1)
        notes = [f"positions from {translation}, patterns from {data}"] if translation else [f"patterns from {data}"]
        if f"{_DETECTOR}/data_dark" in file:
            notes.append("has dark frames, which are not subtracted")
        if f"{_DETECTOR}/basis_vectors" not in file:
            notes.append("has no basis_vectors: rows taken along -y and columns along -x, as the format says")
        return ScanRecord(
            path=path,
            format="CXI",
            contents=contents(file),
            store=Hdf5Store(path, data),
            key=data,
            domain="counts",
            positions_m=positions,
            wavelength_m=_wavelength(file, path),
            distance_m=number(file, f"{_DETECTOR}/distance", path),
            detector_pixel_m=pixels,
            probe=_probe(file, path),
            mask=_mask(file, path, file[data].shape),
            notes=tuple(notes),
        )


def _axes(file: Any, path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64], tuple[float, float] | None]:
    """Return unit vectors of columns and rows, and the pixel's width and height."""
    key = f"{_DETECTOR}/basis_vectors"
    if key in file:
        basis = np.asarray(file[key][()], np.float64)
        if basis.shape == (2, 3):
            basis = basis.T
        lengths = np.linalg.norm(basis, axis=0) if basis.shape == (3, 2) else np.zeros(2)
        if not (np.isfinite(lengths).all() and (lengths > 0).all()):
            raise DataError(f"{path}: key '{key}' has shape {basis.shape}, expected two non-zero vectors (3, 2) or (2, 3)")
        return basis[:, 1] / lengths[1], basis[:, 0] / lengths[0], (float(lengths[1]), float(lengths[0]))
    width, height = (number(file, f"{_DETECTOR}/{axis}_pixel_size", path) for axis in "xy")
    pixels = None if width is None or height is None else (width, height)
    return np.array([-1.0, 0, 0]), np.array([0, -1.0, 0]), pixels


def _wavelength(file: Any, path: Path) -> float | None:
    found = number(file, f"{_SOURCE}/wavelength", path)
    if found is not None:
        return found
    energy = number(file, f"{_SOURCE}/energy", path)
    if energy is None:
        return None
    if not 0 < energy < _LARGEST_ENERGY_J:
        raise DataError(f"{path}: key '{_SOURCE}/energy' is {energy:g}, expected joules (12 keV are 1.9e-15 J); correct the file")
    return wavelength_of(energy / JOULE_PER_EV)


def _probe(file: Any, path: Path) -> NDArray[Any] | None:
    key = first_of(file, f"{_SOURCE}/illumination")
    if key is None:
        return None
    found = np.asarray(file[key][()])
    if found.ndim not in (2, 3) or found.dtype.kind != "c":
        raise DataError(f"{path}: key '{key}' is {found.dtype} of shape {found.shape}, expected a complex probe (N, N) or modes (P, N, N)")
    return found.reshape(-1, *found.shape[-2:])


def _mask(file: Any, path: Path, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
    key = f"{_DETECTOR}/mask"
    if key not in file:
        return None
    found = np.asarray(file[key][()])
    if found.shape != shape[1:] or found.dtype.kind not in "iub":
        raise DataError(f"{path}: key '{key}' is {found.dtype} of shape {found.shape}, expected bits of shape {shape[1:]}")
    return np.asarray((found.astype(np.int64) & ~_HAS_SIGNAL) == 0)

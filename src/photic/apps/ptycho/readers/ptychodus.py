"""Ptychodus HDF5: a product (positions, probe, object, scales) and, apart from it, the patterns (``dp``).

Products give beam positions in metres in the object's frame: column ``(x - center_x) / pixel + W/2``, row alike. Patterns are detector
counts; ``probe_position_indexes`` says which belongs to a position.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from photic.apps.ptycho.geometry import wavelength_of
from photic.apps.ptycho.patterns import Domain
from photic.apps.ptycho.readers.base import OtherFormatError, ScanRecord
from photic.apps.ptycho.readers.hdf5 import attribute, columns, contents, first_of, open_hdf5
from photic.apps.ptycho.stores import Hdf5Store
from photic.core.errors import DataError

_POSITIONS = ("probe_position_x_m", "probe_position_y_m")
_PATTERNS = ("dp", "entry/data/data", "exchange/data")


def read(path: Path, *, domain: Domain | None = None, diffraction: Path | None = None) -> ScanRecord:
    """Read a product, with the patterns of the file ``diffraction``, or of the product's own file if they are there.

    Raises:
        OtherFormatError: no HDF5, or no product.
        DataError: wrong shapes or missing keys.
    """
    notes: list[str] = []
    with open_hdf5(path) as file:
        if not all(isinstance(file.get(key), h5py.Dataset) for key in _POSITIONS):
            raise OtherFormatError(f"it has no {' and '.join(_POSITIONS)}, as a ptychodus product has")
        key = first_of(file, *_PATTERNS)
        found = contents(file)
        truth, pixels, center = _object(file, path, notes)
        probe = _probe(file, path, notes)
        positions = _positions(file, path)
        rows = _rows(file, path, len(positions))
        energy = attribute(file, "probe_energy_eV", path) or attribute(file, "photon_energy_eV", path)
        distance = attribute(file, "detector_object_distance_m", path)
        photons = attribute(file, "probe_photon_count", path)
        far_field = bool(file.attrs["far_field"]) if "far_field" in file.attrs else None
    store = None
    if diffraction is not None:
        store, key = _patterns(diffraction)
    elif key is not None:
        store = Hdf5Store(path, key)
    return ScanRecord(
        path=path,
        format="ptychodus product",
        contents=found,
        store=store,
        key=key or _PATTERNS[0],
        patterns_path=diffraction,
        domain=None if store is None else "counts",
        rows=rows,
        positions_m=positions,
        wavelength_m=wavelength_of(energy) if energy else None,
        distance_m=distance or None,
        object_pixel_m=pixels,
        probe=probe,
        truth=truth,
        truth_center_m=center,
        is_far_field=far_field,
        metadata={"physics_parameters": {"nphotons": photons}} if photons else {},
        notes=tuple(notes),
    )


def _positions(file: Any, path: Path) -> NDArray[np.float64]:
    x, y = (np.asarray(file[key][()]) for key in _POSITIONS)
    if x.ndim != 1 or x.shape != y.shape:
        raise DataError(f"{path}: keys {' and '.join(_POSITIONS)} have shapes {x.shape} and {y.shape}, expected (M,) twice")
    return columns(np.stack([x, y], axis=1), path, " and ".join(_POSITIONS), (2,))


def _rows(file: Any, path: Path, count: int) -> NDArray[np.int64] | None:
    if "probe_position_indexes" not in file:
        return None
    rows = np.asarray(file["probe_position_indexes"][()])
    if rows.shape != (count,) or rows.dtype.kind not in "iu":
        raise DataError(f"{path}: key 'probe_position_indexes' is {rows.dtype} of shape {rows.shape}, expected whole numbers ({count},)")
    return rows.astype(np.int64)


def _patterns(path: Path) -> tuple[Hdf5Store, str]:
    if not path.is_file():
        raise DataError(f"{path}: no such file (from {Path.cwd()})")
    try:
        with open_hdf5(path) as file:
            key = first_of(file, *_PATTERNS)
            found = contents(file)
    except OtherFormatError as error:
        raise DataError(f"{path}: expected the HDF5 file of the patterns, but {error}") from error
    if key is None:
        raise DataError(f"{path}: has no patterns in {' or '.join(_PATTERNS)}; found {', '.join(found) or 'nothing'}")
    return Hdf5Store(path, key), key


def _object(file: Any, path: Path, notes: list[str]) -> tuple[NDArray[Any] | None, tuple[float, float] | None, tuple[float, float] | None]:
    item = file.get("object")
    if not isinstance(item, h5py.Dataset):
        return None, None, None
    width, height = (attribute(item, f"pixel_{side}_m", path) for side in ("width", "height"))
    x, y = (attribute(item, f"center_{axis}_m", path) for axis in "xy")
    pixels = None if not width or not height else (width, height)
    center = None if x is None or y is None else (x, y)
    if item.ndim == 3 and item.shape[0] > 1:
        notes.append(f"the object has {item.shape[0]} layers and is left out")
        return None, pixels, center
    if item.ndim not in (2, 3):
        raise DataError(f"{path}: key 'object' has shape {item.shape}, expected (H, W) or (layers, H, W)")
    return np.asarray(item[()]).reshape(item.shape[-2:]), pixels, center


def _probe(file: Any, path: Path, notes: list[str]) -> NDArray[Any] | None:
    item = file.get("probe")
    if not isinstance(item, h5py.Dataset):
        return None
    found = np.asarray(item[()])
    if found.ndim not in (2, 3, 4) or found.dtype.kind != "c":
        raise DataError(
            f"{path}: key 'probe' is {found.dtype} of shape {found.shape}, expected complex (N, N), (P, N, N) or (varying, P, N, N)"
        )
    if found.ndim == 4:
        if found.shape[0] > 1:
            notes.append(f"the probe varies over the scan in {found.shape[0]} components; only the first is used")
        found = found[0]
    return found.reshape(-1, *found.shape[-2:])

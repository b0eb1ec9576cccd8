"""The files of a reconstruction: named arrays and facts as NPZ or HDF5, and nothing that could be executed."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from photic.core.errors import ConfigError, DataError, StorageError
from photic.core.files import atomic_path

FORMAT = "photic-reconstruction"
SCHEMA_VERSION = 1
SHAPES = {
    "object": "(H, W)", "coverage": "(H, W)", "positions_px": "(M, 2)", "probe": "(P, N, N)", "patches": "(M, N, N)",
    "origin_px": "(2,)", "history": "(iterations,)",
}  # fmt: skip
"""Shape of every array, by name."""
DTYPES: dict[str, type[np.generic]] = {
    "object": np.complex64, "coverage": np.float32, "positions_px": np.float64, "probe": np.complex64, "patches": np.complex64,
    "origin_px": np.float64, "history": np.float64,
}  # fmt: skip
"""Type of every array in memory and in the files."""
_UNITS = {"positions_px": "px of the object grid", "origin_px": "px of the object grid", "coverage": "summed weight |probe|^2, or hits"}
_AXES = {
    "object": "y, x", "coverage": "y, x", "positions_px": "position, [x = column, y = row]", "probe": "mode, y, x",
    "patches": "position, y, x", "origin_px": "[x, y] of element [0, 0]", "history": "iteration",
}  # fmt: skip
_REQUIRED = ("positions_px", "origin_px")


def write(path: Path, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any], *, force: bool) -> None:
    """Write arrays of :data:`SHAPES` and facts to ``.npz`` or ``.h5``, whole or not at all.

    Raises:
        ConfigError: another ending, or the file is there already and is not forced.
        DataError: the facts are no JSON.
        StorageError: the file cannot be written.
    """
    writer = {".npz": _write_npz, ".h5": _write_hdf5, ".hdf5": _write_hdf5}.get(path.suffix.lower())
    if writer is None:
        raise _ending(path)
    refuse_existing([path], force=force)
    facts = {"format": FORMAT, "schema_version": SCHEMA_VERSION, **facts}
    try:
        json.dumps(facts, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DataError(f"metadata: expected JSON (texts, finite numbers, lists, objects): {error}") from error
    write_whole(path, lambda temporary: writer(temporary, arrays, facts))


def read(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read what :func:`write` wrote: arrays of :data:`SHAPES`, each of its type, and facts.

    Raises:
        ConfigError: the name ends in neither .npz nor .h5.
        DataError: the file is missing, damaged or holds something else: key, shape found and shape expected are named.
    """
    reader = {".npz": _read_npz, ".h5": _read_hdf5, ".hdf5": _read_hdf5}.get(path.suffix.lower())
    if reader is None:
        raise _ending(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    arrays, facts = reader(path)
    for key in _REQUIRED:
        if key not in arrays:
            there = ", ".join(sorted(arrays)) or "none of ours"
            raise DataError(f"{path}: expected the key '{key}' of shape {SHAPES[key]}; there is {there}")
    return {name: checked_array(name, value, f"{path}: ") for name, value in arrays.items()}, facts


def _ending(path: Path) -> ConfigError:
    return ConfigError(f"{path}: expected a name that ends in .npz or .h5")


def _write_npz(path: Path, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> None:
    named: dict[str, Any] = {**arrays, "_metadata": np.array(json.dumps(facts))}
    with open(path, "wb") as handle:
        np.savez(handle, **named)


def _write_hdf5(path: Path, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> None:
    with h5py.File(path, "w") as file:
        for key, value in facts.items():
            if value is not None:
                file.attrs[key] = json.dumps(value) if key == "metadata" else value
        for name, array in arrays.items():
            made = file.create_dataset(name, data=array)
            made.attrs["axes"] = _AXES[name]
            if name in _UNITS:
                made.attrs["units"] = _UNITS[name]
            if name in ("object", "coverage"):
                made.attrs["origin_px"] = arrays["origin_px"]
                if facts["pixel_size_m"] is not None:
                    made.attrs["pixel_size_m"] = facts["pixel_size_m"]


def refuse_existing(paths: Iterable[Path], *, force: bool) -> None:
    """Refuse to replace files.

    Raises:
        ConfigError: one of them is there, and is not forced.
    """
    there = [] if force else [path for path in paths if path.exists()]
    if there:
        more = f" (and {len(there) - 1} more)" if len(there) > 1 else ""
        raise ConfigError(f"{there[0]}{more}: is there already; give another name, or force (--force) to replace it")


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a temporary file, which then takes the name ``path``.

    Raises:
        StorageError: it cannot be written; what was there before is unchanged.
    """
    try:
        with atomic_path(path) as temporary:
            write(temporary)
    except OSError as error:
        raise StorageError(
            f"{path}: cannot be written: {error.strerror or error}; what was there before is unchanged. "
            "Free some space, or make the folder writable, then try again"
        ) from error


def checked_array(name: str, value: Any, where: str = "") -> NDArray[Any]:
    """Return one of the arrays of :data:`SHAPES` with its type.

    Args:
        name: a key of :data:`SHAPES`.
        value: anything NumPy takes.
        where: begins the message: the file, or nothing.

    Raises:
        DataError: wrong rank, kind or shape, or values that are not finite.
    """
    array = np.asarray(value)
    wanted, expected = np.dtype(DTYPES[name]), SHAPES[name]
    kinds = "biufc" if wanted.kind == "c" else "biuf"
    if array.dtype.kind not in kinds:
        raise DataError(f"{where}'{name}': expected {wanted} of shape {expected}, got {array.dtype} of shape {array.shape}")
    fits = array.ndim == expected.count(",") + (not expected.endswith(",)"))
    fits = fits and (name != "positions_px" or array.shape[1] == 2) and (name != "origin_px" or array.shape == (2,))
    fits = fits and (name not in ("probe", "patches") or array.shape[1] == array.shape[2])
    if not fits or (array.size == 0 and name not in ("positions_px", "history")):
        raise DataError(f"{where}'{name}': expected shape {expected}, got {array.shape}")
    array = np.ascontiguousarray(array, dtype=wanted)
    bad = array.size - int(np.isfinite(array).sum())
    if bad:
        raise DataError(f"{where}'{name}': expected finite numbers, {bad} of {array.size} are not; the reconstruction diverged")
    return array


def _read_npz(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    try:
        with open(path, "rb") as handle:  # np.load leaves a file that it opened itself open where it fails
            file = np.load(handle, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise DataError(f"{path}: expected an archive of named arrays (NPZ), found a single array")
            if "_metadata" not in file.files:
                raise _foreign(path, "the key '_metadata'", file.files)
            text = file["_metadata"]
            if text.ndim != 0 or text.dtype.kind != "U":
                raise DataError(f"{path}: '_metadata': expected a 0-d unicode string, got {text.dtype} of shape {text.shape}")
            facts = _checked_facts(_json(path, "_metadata", str(text)), path, file.files)
            return {name: file[name] for name in SHAPES if name in file.files}, facts
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError, MemoryError) as error:
        raise _unreadable(path, "NPZ", error) from error


def _read_hdf5(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    try:
        with h5py.File(path, "r") as file:
            facts = {key: file.attrs[key] for key in file.attrs}
            facts = {key: value.item() if isinstance(value, np.generic) else value for key, value in facts.items()}
            if facts.get("format") == FORMAT:
                facts = {"r_amp": None, "pixel_size_m": None, **facts, "metadata": _json(path, "metadata", facts.get("metadata"))}
            facts = _checked_facts(facts, path, list(file))
            return {name: _dataset(file, name, path) for name in SHAPES if name in file}, facts
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, MemoryError) as error:
        raise _unreadable(path, "HDF5", error) from error


def _dataset(file: Any, name: str, path: Path) -> NDArray[Any]:
    found = file[name] if isinstance(file.get(name, getlink=True), h5py.HardLink) else None
    if not isinstance(found, h5py.Dataset) or found.is_virtual or found.external:
        raise DataError(f"{path}: '{name}': expected a data set of shape {SHAPES[name]} in this file, found a group or a link")
    array: NDArray[Any] = found[()] if found.dtype.kind in "biufc" else np.empty(found.shape, dtype=object)
    return array


def _checked_facts(found: Any, path: Path, keys: Iterable[str]) -> dict[str, Any]:
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise _foreign(path, f"a file of format '{FORMAT}'", keys)
    if found.get("schema_version") != SCHEMA_VERSION:
        version = found.get("schema_version")
        raise DataError(f"{path}: schema_version {version!r}, expected {SCHEMA_VERSION}; it was written by another version of Photic")
    number, kinds = (int, float, type(None)), {"method": (str,), "source": (str,), "metadata": (dict,)}
    facts = {}
    for key in ("r_amp", "pixel_size_m", "method", "source", "metadata"):
        value = found.get(key)
        if isinstance(value, bool) or not isinstance(value, kinds.get(key, number)):
            expected = {"method": "a text", "source": "a text", "metadata": "an object"}.get(key, "a number or nothing")
            raise DataError(f"{path}: '{key}': expected {expected}, got {value!r}")
        facts[key] = value
    return facts


def _json(path: Path, key: str, text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: '{key}': expected JSON, which it is not: {error}") from error


def _foreign(path: Path, missing: str, keys: Iterable[str]) -> DataError:
    there = ", ".join(sorted(keys)) or "nothing"
    return DataError(f"{path}: expected {missing}, as Reconstruction.save writes it; there is {there}")


def _unreadable(path: Path, kind: str, error: BaseException) -> DataError:
    if isinstance(error, DataError):
        return error
    return DataError(f"{path}: cannot be read as {kind}: {error or type(error).__name__}; it is damaged, cut short or something else")

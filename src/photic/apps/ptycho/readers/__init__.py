"""Readers of scan files. A plug-in brings more: ``Plugin(readers={"name": "module:function"})``; see ``readers.base.Reader``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from photic.apps.ptycho.cropping import crop_detector
from photic.apps.ptycho.patterns import Domain
from photic.apps.ptycho.raw import RawNPZData
from photic.apps.ptycho.readers.base import OtherFormatError, Reader, ScanRecord, to_raw
from photic.core.errors import ConfigError, DataError, UnknownNameError, nearest
from photic.core.plugins import installed_plugins, load_reference

__all__ = ["OtherFormatError", "Reader", "ScanRecord", "load_scan", "open_scan", "reader_references", "to_raw"]


def reader_references() -> dict[str, str]:
    """Return ``module:function`` of every reader by name, the built-in ones first.

    Raises:
        ConfigError: two plug-ins bring readers of one name.
    """
    plugins = sorted(installed_plugins().values(), key=lambda plugin: plugin.name != "ptycho")
    found: dict[str, str] = {}
    for plugin in plugins:
        for name, reference in plugin.readers.items():
            if name in found:
                raise ConfigError(f"two plug-ins have a reader called '{name}': {found[name]} and {reference}; uninstall one")
            found[name] = reference
    return found


def open_scan(
    path: Path | str, *, reader: str | None = None, domain: Domain | None = None, diffraction: Path | str | None = None
) -> tuple[str, RawNPZData | ScanRecord]:
    """Return the name of the reader that fits a file, and what it holds, nothing converted.

    Args:
        path: the file.
        reader: name of the reader; None tries all.
        domain: what patterns are, where the format does not say or says wrongly.
        diffraction: file of the patterns, for formats that keep them apart.

    Raises:
        UnknownNameError: no such reader.
        DataError: no reader fits (the message says why each does not), or the file is broken.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file (from {Path.cwd()})")
    references = reader_references()
    if reader is not None and reader not in references:
        raise UnknownNameError(f"unknown reader '{reader}'{nearest(reader, references)} (known: {', '.join(references)})")
    reasons = []
    for name in [reader] if reader is not None else references:
        read: Reader = load_reference(references[name])
        try:
            return name, read(path, domain=domain, diffraction=None if diffraction is None else Path(diffraction))
        except OtherFormatError as error:
            reasons.append(f"{name}: {error}")
    raise DataError(f"{path}: no reader fits. Tried " + "; ".join(reasons))


def load_scan(
    path: Path | str,
    *,
    reader: str | None = None,
    domain: Domain | None = None,
    diffraction: Path | str | None = None,
    distance_m: float | None = None,
    energy_ev: float | None = None,
    crop: int | None = None,
    center_px: tuple[int, int] | None = None,
    probe: NDArray[Any] | Literal["mean-pattern"] | None = None,
    far_field: bool = False,
) -> RawNPZData:
    """Read a scan of any known format as a raw scan; patterns stay in their file.

    The arguments are those of :func:`open_scan` and :func:`photic.apps.ptycho.readers.base.to_raw`. What is in pixels already, such as a
    raw NPZ, can only be cropped.

    Raises:
        DataError: no reader fits, something needed is missing, or the measurement is near field.
        ConfigError: an option that has no meaning for this file.
    """
    name, found = open_scan(path, reader=reader, domain=domain, diffraction=diffraction)
    if isinstance(found, ScanRecord):
        return to_raw(
            found,
            domain=domain,
            distance_m=distance_m,
            energy_ev=energy_ev,
            crop=crop,
            center_px=center_px,
            probe=probe,
            far_field=far_field,
        )
    given = {
        "distance_m": distance_m,
        "energy_ev": energy_ev,
        "center_px": center_px,
        "probe": probe,
        "far_field": far_field or None,
    }
    meaningless = [option for option, value in given.items() if value is not None]
    if meaningless:
        raise ConfigError(f"{path}: {', '.join(meaningless)} cannot be used with reader '{name}', whose files are in pixels already")
    return found if crop is None else crop_detector(found, crop)

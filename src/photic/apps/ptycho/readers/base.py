"""What a reader returns, and the one conversion of it into a raw scan."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from photic.apps.ptycho.cropping import crop_spectrum, estimated_probe
from photic.apps.ptycho.geometry import PLANCK_TIMES_LIGHT_EV_M, find_projection, object_pixel_m, wavelength_of
from photic.apps.ptycho.patterns import Domain, Layout, MeasuredPatterns, Patterns
from photic.apps.ptycho.raw import RawNPZData, warn_of_doubts
from photic.apps.ptycho.stores import Store
from photic.core.errors import ConfigError, DataError


class OtherFormatError(DataError):
    """A file is not of the format that a reader reads; the next reader may try."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ScanRecord:
    """What a file holds, nothing converted and nothing made up; None is missing."""

    path: Path
    format: str
    """Name of the format, for people."""
    contents: dict[str, str] = field(default_factory=dict)
    """Keys with type and shape, of everything that was looked at."""
    store: Store | None = None
    """Patterns, unread."""
    key: str = "diffraction"
    """Where the patterns are in their file."""
    patterns_path: Path | None = None
    """File of the patterns, if it is another."""
    domain: Domain | None = None
    """What the format says the patterns are; None if it does not."""
    layout: Layout = "mhw"
    is_dc_centred: bool = True
    orientation: tuple[bool, bool, bool] = (False, False, False)
    """See :class:`photic.apps.ptycho.patterns.MeasuredPatterns`."""
    rows: NDArray[np.int64] | None = None
    """Which pattern belongs to each position (M,); None: in order."""
    positions_m: NDArray[np.float64] | None = None
    """Where the beam hits the specimen (M, 2) as [x, y], metres: x along the columns of a (turned) frame, y along its rows."""
    wavelength_m: float | None = None
    distance_m: float | None = None
    """Specimen to detector."""
    detector_pixel_m: tuple[float, float] | None = None
    """(width, height)."""
    object_pixel_m: tuple[float, float] | None = None
    """(width, height), where the file says it itself."""
    probe: NDArray[Any] | None = None
    """Modes (P, height, width)."""
    truth: NDArray[Any] | None = None
    """Object (H, W)."""
    truth_center_m: tuple[float, float] | None = None
    """[x, y] of element [H/2, W/2] of the object."""
    mask: NDArray[np.bool_] | None = None
    """Valid pixels (height, width) of frames as the file has them."""
    is_far_field: bool | None = None
    """None where the file does not say."""
    metadata: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def where(self) -> str:
        """File and key of the patterns."""
        return f"{self.patterns_path or self.path}: key '{self.key}'"

    def missing(self) -> list[str]:
        """Return what a raw scan needs and this file does not have."""
        found = [
            ("patterns", self.store),
            ("positions", self.positions_m),
            ("wavelength or energy", self.wavelength_m if self.object_pixel_m is None else 0),
            ("distance to the detector", self.distance_m if self.object_pixel_m is None else 0),
            ("detector pixel size", self.detector_pixel_m if self.object_pixel_m is None else 0),
            ("probe", self.probe),
            ("domain of the patterns (amplitude or counts)", self.domain if self.store is not None else 0),
        ]
        return [name for name, value in found if value is None]

    def patterns(self, domain: Domain | None = None, crop: int | None = None, center_px: tuple[int, int] | None = None) -> MeasuredPatterns:
        """Return the patterns as amplitudes, lazy, with the file's mask.

        Raises:
            DataError: there are none, their domain is not known, or they are not square and not cropped.
        """
        if self.store is None:
            raise DataError(
                f"{self.path}: holds no patterns (read as {self.format}); name the file that does: diffraction=FILE (--diffraction FILE)"
            )
        domain = domain or self.domain
        if domain is None:
            raise DataError(
                f"{self.where}: the format does not say whether patterns are amplitudes or counts; say domain='amplitude' or 'counts'"
            )
        made = MeasuredPatterns(
            self.store,
            domain=domain,
            where=self.where,
            layout=self.layout,
            is_dc_centred=self.is_dc_centred,
            orientation=self.orientation,
            crop_px=crop,
            center_px=center_px,
        )
        return made if self.mask is None else made.masked(made.framed(self.mask[None])[0])


class Reader(Protocol):
    """A function that reads one format, as a plug-in names it: ``readers={"mine": "my_package.reader:read"}``.

    It raises :class:`OtherFormatError` with the reason if the file is not of its format, and DataError if it is and is broken.
    """

    def __call__(self, path: Path, *, domain: Domain | None, diffraction: Path | None) -> RawNPZData | ScanRecord:
        """Return a raw scan, or what the file holds for :func:`to_raw` to convert.

        Args:
            path: the file.
            domain: what the user declared patterns to be; None where the format knows.
            diffraction: file of the patterns, for formats that keep them apart.
        """


def to_raw(
    record: ScanRecord,
    *,
    domain: Domain | None = None,
    distance_m: float | None = None,
    energy_ev: float | None = None,
    crop: int | None = None,
    center_px: tuple[int, int] | None = None,
    probe: NDArray[Any] | Literal["mean-pattern"] | None = None,
    far_field: bool = False,
) -> RawNPZData:
    """Return a raw scan, metres converted into object pixels: dx = wavelength * distance / (N * detector pixel); patterns stay unread.

    Positions are shifted so that the first patch begins at pixel 0, or onto the file's object where there is one.

    Args:
        record: what the file holds.
        domain: what patterns are; None takes the format's word.
        distance_m: specimen to detector, in place of the file's.
        energy_ev: photon energy, in place of the file's.
        crop: keep only the central N x N detector pixels.
        center_px: [row, column] around which is cropped.
        probe: modes (P, N, N) in place of the file's, or ``mean-pattern``: the inverse transform of the mean pattern's root, a start that
            needs refinement of the probe.
        far_field: the user knows that the far-field relation holds; the test of it is skipped.

    Raises:
        DataError: something needed is missing, or the measurement is near field.
    """
    where = str(record.path)
    if record.positions_m is None:
        raise DataError(f"{where}: holds no positions (read as {record.format}); found {', '.join(record.contents) or 'nothing'}")
    measured = record.patterns(domain, crop, center_px)
    patterns = _matched(measured, record)
    size = patterns.shape[1]
    wavelength, distance, pixel_m = _scales(record, distance_m, energy_ev, size)
    positions = record.positions_m / np.array(pixel_m)
    if record.is_far_field is False and not far_field:
        raise DataError(f"{where}: the file says that it was measured in the near field; only the far field can be converted")
    if not far_field:
        _refuse_near_field(patterns, positions, where)
    truth = record.truth
    is_as_filed = size == _native_size(record) and distance_m is None and energy_ev is None
    if truth is not None and not (is_as_filed and record.truth_center_m is not None):
        warnings.warn(f"{where}: the file's object does not lie on the grid asked for and is left out", UserWarning, stacklevel=2)
        truth = None
    if truth is not None and record.truth_center_m is not None:
        origin = np.array(record.truth_center_m) / np.array(pixel_m) - np.array([truth.shape[1] / 2, truth.shape[0] / 2])
    else:
        origin = positions.min(axis=0) - size // 2
    positions = positions - origin
    if not np.isclose(pixel_m[0], pixel_m[1], rtol=1e-3):
        warnings.warn(
            f"{where}: object pixels are {pixel_m[0]:.4g} m wide and {pixel_m[1]:.4g} m high; pictures will be distorted",
            UserWarning,
            stacklevel=2,
        )
    physics = {
        "wavelength_m": wavelength,
        "energy_ev": None if wavelength is None else PLANCK_TIMES_LIGHT_EV_M / wavelength,
        "distance_m": distance,
        "detector_pixel_size_m": None if record.detector_pixel_m is None else record.detector_pixel_m[0],
        "pixel_size_m": float(np.mean(pixel_m)),
        "origin_m": (origin * np.array(pixel_m)).tolist(),
        **record.metadata.get("physics_parameters", {}),
    }
    raw = RawNPZData(
        positions[:, 0],
        positions[:, 1],
        patterns,
        _probe(record, probe, patterns, where),
        truth,
        metadata={
            **record.metadata,
            "source": where,
            "format": record.format,
            "physics_parameters": {key: value for key, value in physics.items() if value is not None},
        },
        mask=None if record.mask is None else measured.framed(record.mask[None])[0],
        source=where,
    )
    warn_of_doubts(raw, measured)
    return raw


def _matched(patterns: MeasuredPatterns, record: ScanRecord) -> Patterns:
    assert record.positions_m is not None
    count, where = len(record.positions_m), record.where
    if record.rows is None:
        if len(patterns) != count:
            raise DataError(f"{where} has {len(patterns)} patterns, expected {count}, one for each position in {record.path}")
        return patterns
    if record.rows.min() < 0 or record.rows.max() >= len(patterns):
        raise DataError(f"{where} has {len(patterns)} patterns, but positions in {record.path} belong to number {record.rows.max()}")
    in_order = len(patterns) == count and bool((record.rows == np.arange(count)).all())
    return patterns if in_order else patterns.take(record.rows)


def _scales(
    record: ScanRecord, distance_m: float | None, energy_ev: float | None, size: int
) -> tuple[float | None, float | None, tuple[float, float]]:
    for name, value in (("distance_m", distance_m), ("energy_ev", energy_ev)):
        if value is not None and not value > 0:
            raise ConfigError(f"{name}: expected a number > 0, got {value}")
    wavelength = wavelength_of(energy_ev) if energy_ev is not None else record.wavelength_m
    distance = distance_m if distance_m is not None else record.distance_m
    is_as_filed = distance_m is None and energy_ev is None
    if record.object_pixel_m is not None and is_as_filed:
        full = _native_size(record)
        return wavelength, distance, (record.object_pixel_m[0] * full / size, record.object_pixel_m[1] * full / size)
    lacking = [
        name
        for name, value in (
            ("wavelength or energy (energy_ev=)", wavelength),
            ("distance to the detector (distance_m=)", distance),
            ("detector pixel size", record.detector_pixel_m),
        )
        if value is None
    ]
    if lacking or wavelength is None or distance is None or record.detector_pixel_m is None:
        raise DataError(f"{record.path}: metres cannot become pixels without {', '.join(lacking)}")
    width, height = (object_pixel_m(wavelength, distance, size, pixel) for pixel in record.detector_pixel_m)
    return wavelength, distance, (width, height)


def _native_size(record: ScanRecord) -> int:
    """Return N of the patterns that the file's probe and object belong to."""
    if record.probe is not None:
        return int(record.probe.shape[-1])
    assert record.store is not None
    return int(record.store.shape[1])


def _refuse_near_field(patterns: Patterns, positions: NDArray[np.float64], where: str) -> None:
    found = find_projection(patterns, positions)
    if found is None or not found.is_near_field:
        return
    raise DataError(
        f"{where}: this was measured in the near field, and only the far field can be converted. Patterns move with the specimen, by "
        f"{found.shift_px:.1f} detector pixels per far-field patch ({found.agreement:.0%} of neighbouring pairs agree), so they are "
        f"magnified shadows; the beam on the specimen is then {found.beam_patches:.1f} patches wide, and a far-field patch must hold it. "
        "If distance and energy in the file are wrong, give the right ones; if you know it is far field, say far_field=True (--far-field)"
    )


def _probe(record: ScanRecord, given: Any, patterns: Patterns, where: str) -> NDArray[Any]:
    size = patterns.shape[1]
    if isinstance(given, str):
        if given != "mean-pattern":
            raise ConfigError(f"probe: expected an array, 'mean-pattern' or None, got {given!r}")
        return estimated_probe(patterns)
    if given is not None:
        return np.asarray(given)
    if record.probe is None:
        raise DataError(
            f"{where}: holds no probe (read as {record.format}); give one with probe=ARRAY (--probe FILE), or say "
            "probe='mean-pattern' (--probe mean-pattern) to start from the mean pattern and refine it"
        )
    found = record.probe
    if found.shape[-1] > size and found.shape[-2] == found.shape[-1]:
        return crop_spectrum(found, size)
    return found

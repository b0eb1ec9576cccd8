"""Noise that others measured, camera by camera: a file of profiles that the user has, in the form of darktable's ``noiseprofiles.json``.

The file is data under the GPL: it is read where the user says, and never comes with Photic.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photic.core.errors import DataError

AT_SENSOR = 7.0
"""How much larger variance is in a mosaic than in the developed pictures that the profiles were measured on: 5.6 for green of a Canon EOS
30D at ISO 100 and 9 for a Nikon D5000 at ISO 200, each by :func:`photic.functional.noise_estimation.estimate_noise` of a raw file; their
geometric mean. Standard deviations are therefore good to some 15 %."""
_LARGEST_BYTES = 64 << 20
_NEAREST = 4


@dataclass(frozen=True)
class NoiseProfile:
    """Noise of a camera at an ISO value: variance ``a x + b`` at the clean value x, white being 1, after demosaicing and white balance."""

    camera: str
    iso: float
    a: NDArray[np.float64]
    """``(3,)``: of red, green, blue."""
    b: NDArray[np.float64]
    """``(3,)``, not negative."""
    measured: bool = True
    """Whether the file has this ISO value; otherwise it lies between or beyond those it has."""

    def at_sensor(self) -> tuple[float, float]:
        """Return a and b of the mosaic, the same for all colours: green's, which white balance leaves as it is, times :data:`AT_SENSOR`."""
        return float(self.a[1]) * AT_SENSOR, float(self.b[1]) * AT_SENSOR


@dataclass(frozen=True)
class CameraNoise:
    """What is known of a camera, by ISO value, rising."""

    camera: str
    iso: NDArray[np.float64]
    """``(N,)``, each value once."""
    a: NDArray[np.float64]
    """``(N, 3)``, above 0."""
    b: NDArray[np.float64]
    """``(N, 3)``, not negative."""

    def at(self, iso: float) -> NoiseProfile:
        """Return the noise at an ISO value.

        Between measured values, a runs straight in logarithms, and so does b where both are above 0 (straight in values otherwise);
        beyond them, a grows in proportion to ISO and b to its square, as less light and its amplification have it.

        Raises:
            DataError: an ISO value that is not above 0.
        """
        if not (math.isfinite(iso) and iso > 0):
            raise DataError(f"{self.camera}: expected an ISO value above 0, got {iso!r}")
        right = int(np.searchsorted(self.iso, iso))
        if right < len(self.iso) and self.iso[right] == iso:
            return NoiseProfile(self.camera, iso, self.a[right], self.b[right])
        if right in (0, len(self.iso)):
            end = min(right, len(self.iso) - 1)
            ratio = iso / self.iso[end]
            return NoiseProfile(self.camera, iso, self.a[end] * ratio, self.b[end] * ratio**2, measured=False)
        share = math.log(iso / self.iso[right - 1]) / math.log(self.iso[right] / self.iso[right - 1])
        a = np.exp((1 - share) * np.log(self.a[right - 1]) + share * np.log(self.a[right]))
        low, high = self.b[right - 1], self.b[right]
        both = (low > 0) & (high > 0)
        straight = (1 - share) * low + share * high
        b = np.where(both, np.exp((1 - share) * np.log(np.where(both, low, 1)) + share * np.log(np.where(both, high, 1))), straight)
        return NoiseProfile(self.camera, iso, a, b, measured=False)


class NoiseProfiles(Mapping[str, CameraNoise]):
    """Cameras of a file by their names, make and model, upper and lower case and blanks aside."""

    def __init__(self, cameras: list[CameraNoise], source: Path) -> None:
        self.source = source
        self._cameras = {camera.camera: camera for camera in cameras}
        self._keys = {_key(name): name for name in self._cameras}

    def __getitem__(self, camera: str) -> CameraNoise:
        """Return a camera.

        Raises:
            KeyError: the file does not have it.
        """
        return self._cameras[self._keys[_key(camera)]]

    def __iter__(self) -> Any:
        return iter(self._cameras)

    def __len__(self) -> int:
        return len(self._cameras)

    def profile(self, camera: str, iso: float) -> NoiseProfile:
        """Return the noise of a camera at an ISO value, see :meth:`CameraNoise.at`.

        Raises:
            DataError: the file does not have the camera, or no such ISO value is possible.
        """
        if camera not in self:
            near = difflib.get_close_matches(_key(camera), self._keys, n=_NEAREST, cutoff=0.5)
            names = ", ".join(f"'{self._keys[key]}'" for key in near)
            advice = f"nearest: {names}" if near else f"it has {len(self)} cameras, '{next(iter(self))}' for example"
            raise DataError(f"{self.source}: has no camera '{camera}'; {advice}")
        return self[camera].at(iso)

    def __contains__(self, camera: object) -> bool:
        return isinstance(camera, str) and _key(camera) in self._keys


def read_profiles(path: Path | str) -> NoiseProfiles:
    """Read a file of noise profiles.

    Values measured more than once are averaged (medians), those that their makers marked to be skipped are left out. Fits of noise
    can come out negative: b then counts as 0, and an a that is not above 0 takes the place of the largest of the other colours'; an ISO
    value without any is left out, and so is a camera without ISO values.

    Args:
        path: a file like darktable's ``noiseprofiles.json``.

    Raises:
        DataError: it is missing, not of this form, or has no camera.
    """
    source = Path(path)
    try:
        if source.stat().st_size > _LARGEST_BYTES:
            raise DataError(f"{source}: is larger than {_LARGEST_BYTES >> 20} MB, which no file of noise profiles is")
        content = json.loads(source.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{source}: cannot be read: {error.strerror or error}; give the path of a noiseprofiles.json") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{source}: is no JSON: {error}; give the path of a noiseprofiles.json") from error
    cameras: dict[str, tuple[str, list[dict[str, Any]]]] = {}
    for maker in _list(content, "noiseprofiles", source):
        for model in _list(maker, "models", source):
            name = _name(maker, model, source)
            cameras.setdefault(_key(name), (name, []))[1].extend(_list(model, "profiles", source))
    made = [_camera(name, profiles, source) for name, profiles in cameras.values()]
    known = [camera for camera in made if camera is not None]
    if not known:
        raise DataError(f"{source}: has no camera with a noise profile")
    return NoiseProfiles(known, source)


def _camera(name: str, profiles: list[dict[str, Any]], source: Path) -> CameraNoise | None:
    by_iso: dict[float, list[NDArray[np.float64]]] = {}
    for entry in profiles:
        where = f"{source}: {name}"
        if not isinstance(entry, dict):
            raise DataError(f"{where}: expected profiles with iso, a and b, got {str(entry)[:80]!r}")
        if entry.get("skip"):
            continue
        values = np.stack([_three(entry, key, where) for key in ("a", "b")])
        iso = entry.get("iso")
        if isinstance(iso, bool) or not isinstance(iso, int | float) or not (math.isfinite(iso) and iso > 0):
            raise DataError(f"{where}: expected an ISO value above 0, got {iso!r}")
        if values[0].max() > 0:
            values[0] = np.where(values[0] > 0, values[0], values[0].max())
            by_iso.setdefault(float(iso), []).append(values)
    if not by_iso:
        return None
    isos = sorted(by_iso)
    table = np.stack([np.median(by_iso[iso], axis=0) for iso in isos])
    return CameraNoise(name, np.array(isos), table[:, 0], table[:, 1].clip(0))


def _list(content: Any, key: str, source: Path) -> list[Any]:
    found = content.get(key) if isinstance(content, dict) else None
    if not isinstance(found, list):
        raise DataError(
            f"{source}: expected noiseprofiles > models > profiles, found no list '{key}'; is it darktable's noiseprofiles.json?"
        )
    return found


def _name(maker: Any, model: Any, source: Path) -> str:
    parts = maker.get("maker"), model.get("model")
    if not all(isinstance(part, str) and part for part in parts):
        raise DataError(f"{source}: expected a maker and a model for each camera, got {parts}")
    return f"{parts[0]} {parts[1]}"


def _three(entry: dict[str, Any], key: str, where: str) -> NDArray[np.float64]:
    values = entry.get(key)
    if not isinstance(values, list) or len(values) != 3 or not all(isinstance(v, int | float) and math.isfinite(v) for v in values):
        raise DataError(f"{where}: expected three numbers '{key}', got {str(values)[:80]}")
    return np.array(values, np.float64)


def _key(name: str) -> str:
    """A name without case, punctuation and doubled makers: 'Canon Canon EOS 30D', 'NIKON CORPORATION NIKON D5000'."""
    words = re.findall(r"[a-z0-9+*]+", name.lower())
    kept = [word for word in words if word not in ("corporation", "corp", "co", "ltd", "imaging", "company", "optical")]
    return " ".join(word for place, word in enumerate(kept) if word not in kept[:place])

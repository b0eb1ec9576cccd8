"""Pairs of photographs, noisy and clean, in linear light."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import nnls

from photic.apps.rawnind.synthetic.clean import scene_of
from photic.core.errors import DataError
from photic.core.seeding import numpy_generator
from photic.data.augment import Augmented
from photic.data.augment.paired import View, random_view
from photic.data.images import list_images, opened
from photic.functional.noise_estimation import estimate_noise
from photic.functional.raw_colour import XYZ_TO_SRGB

Linear = NDArray[np.float32]
_ROLES = {"real": "noisy", "noisy": "noisy", "input": "noisy", "mean": "clean", "gt": "clean", "clean": "clean", "target": "clean"}
_NAME = re.compile(rf"^(?P<key>.+?)[_-](?P<role>{'|'.join(_ROLES)})$", re.IGNORECASE)
_SETTINGS = re.compile(r"^(?P<camera>[^_]+)_(?P<aperture>\d+(?:-\d+)?)_(?P<shutter>\d+)_(?P<iso>\d+)_(?P<what>.+?)_*(?:_\d+)?$")
_ISO = re.compile(r"ISO[_-]?(\d+)", re.IGNORECASE)
_CLIPPED, _BINS = 0.95, 20


@dataclass(frozen=True)
class PhotoPair:
    """Two photographs of one scene."""

    name: str
    noisy: Path
    clean: Path
    scene: str
    iso: float | None = None


def find_photo_pairs(root: Path) -> tuple[list[PhotoPair], tuple[str, ...]]:
    """Find the pairs of a folder by their names, and what a user should know.

    PolyU's names (camera_aperture_shutter_iso_scene_number) say scene and ISO value; the scene is the thing alone, since several cameras
    took some of them. Of other names, the scene is what is left without numbers at the end.

    Raises:
        DataError: there is no such folder or no pair in it, or two files of one name and role.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; expected photographs named NAME_real.jpg and NAME_mean.jpg")
    found: dict[str, dict[str, Path]] = {}
    others = 0
    for path in list_images(root):
        match = _NAME.match(path.stem)
        if match is None:
            others += 1
            continue
        key = (path.relative_to(root).parent / match["key"]).as_posix()
        role = _ROLES[match["role"].lower()]
        if role in found.setdefault(key, {}):
            raise DataError(f"{path}: {found[key][role].name} is the {role} picture of the same pair; keep one of the two")
        found[key][role] = path
    pairs = []
    for key, both in sorted(found.items()):
        if len(both) == 2:
            scene, iso = scene_and_iso(Path(key).name)
            pairs.append(PhotoPair(key, both["noisy"], both["clean"], scene, iso))
    if not pairs:
        raise DataError(
            f"{root}: no pairs among its pictures; expected names that end in _real, _noisy or _input and in _mean, _gt, _clean or _target"
        )
    single = len(found) - len(pairs)
    notes = [f"{single} pictures have no partner and are left out"] if single else []
    notes += [f"{others} pictures are named neither as noisy nor as clean ones and are left out"] if others else []
    return pairs, tuple(notes)


def scene_and_iso(stem: str) -> tuple[str, float | None]:
    """Return what a picture shows and its ISO value, by its name without the word for its role.

    >>> scene_and_iso("Canon5D2_5_160_3200_chair_11"), scene_and_iso("NikonD800_6-3_125_5000_plant__2")
    (('chair', 3200.0), ('plant', 5000.0))
    """
    match = _SETTINGS.match(stem)
    if match is not None:
        return match["what"].casefold(), float(match["iso"])
    iso = _ISO.search(stem)
    return scene_of(Path(stem)), float(iso[1]) if iso else None


def noise_of_pair(noisy: Linear, clean: Linear) -> tuple[float, float]:
    """Return a and b of the noise's variance a x + b, from a pair: a line through mean squares of the difference by brightness.

    Args:
        noisy: ``(H, W, 3)`` linear.
        clean: the same shape.

    >>> rng = np.random.default_rng(0)
    >>> clean = np.broadcast_to(np.linspace(0.05, 0.9, 200)[:, None], (100, 200, 3)).astype(np.float32)
    >>> a, b = noise_of_pair((clean + np.sqrt(1e-3 * clean + 1e-4) * rng.normal(size=clean.shape)).astype(np.float32), clean)
    >>> 0.9e-3 < a < 1.1e-3, 0.7e-4 < b < 1.3e-4
    (True, True)
    """
    level, square = clean.ravel().astype(np.float64), np.square((noisy - clean).ravel().astype(np.float64))
    order = np.argsort(level, kind="stable")
    order = order[level[order] < _CLIPPED]
    if not len(order):
        return 0.0, 0.0
    bins = np.array_split(order, min(_BINS, len(order)))
    levels, variances = (np.array([values[part].mean() for part in bins]) for values in (level, square))
    a, b, model = 0.0, 0.0, np.full(len(levels), max(float(variances.mean()), 1e-12))
    for _ in range(5):  # errors count relative to the line itself; relative to what was measured, small values would pull it down
        a, b = (float(value) for value in nnls(np.stack([levels / model, 1 / model], axis=1), variances / model)[0])
        model = np.maximum(a * levels + b, 1e-3 * float(model.max()))
    return a, b


class PhotoPairs:
    """Pairs of photographs whole, or their middle, never changed.

    Args:
        pairs: which ones.
        rows: their rows in the whole set.
        crop_px: side of the middle part; None: whole pictures, cut to even sides.
        noise: ``measured`` from the pair, or ``estimated`` from the noisy picture.
        cache_mb: megabytes of decoded pictures to keep.
    """

    def __init__(
        self,
        pairs: Sequence[PhotoPair],
        rows: Sequence[int],
        *,
        crop_px: int | None,
        noise: Literal["measured", "estimated"],
        cache_mb: float,
    ) -> None:
        self.pairs, self.rows, self.crop_px, self.noise = list(pairs), list(rows), crop_px, noise
        self.names = [pair.name for pair in self.pairs]
        self._left_bytes = cache_mb * 2**20
        self._kept: dict[int, tuple[NDArray[np.uint8], NDArray[np.uint8]]] = {}
        self._noise: dict[int, tuple[float, float]] = {}

    def __len__(self) -> int:
        return len(self.pairs)

    def sample(self, position: int, draw: int = 0) -> dict[str, Any]:
        """Return a pair: the keys that :class:`photic.tasks.raw_denoising.RawDenoisingTask` takes; ``draw`` makes no difference.

        Raises:
            DataError: a picture cannot be read, or the two differ in size.
        """
        height, width = (side // 2 * 2 for side in self.pictures(position)[0].shape[:2])
        if self.crop_px is None:
            return self.view(position, View(0, 0, height, width))
        size = min(self.crop_px, height), min(self.crop_px, width)
        return self.view(position, View((height - size[0]) // 2, (width - size[1]) // 2, *size))

    def view(self, position: int, view: View) -> dict[str, Any]:
        """Return a sample of a part of a pair, mirrored and turned."""
        pair = self.pairs[position]
        noisy, clean = (_linear(view.of(picture)) for picture in self.pictures(position))
        measurement = torch.from_numpy(np.ascontiguousarray(noisy.transpose(2, 0, 1)))
        return {
            "measurement": measurement,
            "planes": torch.ones_like(measurement),
            "target": torch.from_numpy(np.ascontiguousarray(clean.transpose(2, 0, 1))),
            "mask": torch.ones(1, *measurement.shape[1:]),
            "noise": torch.tensor(self.noise_of(position), dtype=torch.float32),
            "balance": torch.ones(3),
            "xyz_to_camera": torch.from_numpy(XYZ_TO_SRGB.astype(np.float32)),
            "iso": torch.tensor(float("nan") if pair.iso is None else pair.iso, dtype=torch.float32),
            "index": self.rows[position],
            "name": pair.name,
        }

    def pictures(self, position: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return the noisy and the clean picture ``(H, W, 3)`` as their files have them.

        Raises:
            DataError: one cannot be read, or they differ in size.
        """
        if position in self._kept:
            return self._kept[position]
        pair = self.pairs[position]
        both = []
        for path in (pair.noisy, pair.clean):
            with opened(path) as image:
                both.append(np.asarray(image.convert("RGB")))
        if both[0].shape != both[1].shape:
            raise DataError(f"{pair.noisy}: has {both[0].shape[:2]} pixels, {pair.clean.name} {both[1].shape[:2]}; a pair needs one size")
        size = both[0].nbytes + both[1].nbytes
        if size <= self._left_bytes:
            self._left_bytes -= size
            self._kept[position] = (both[0], both[1])
        return both[0], both[1]

    def noise_of(self, position: int) -> tuple[float, float]:
        """Return a and b of the noise of a pair's noisy picture."""
        if position not in self._noise:
            noisy, clean = (_linear(picture) for picture in self.pictures(position))
            if self.noise == "measured":
                self._noise[position] = noise_of_pair(noisy, clean)
            else:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", UserWarning)  # developed pictures are always uncertain; the option says so
                    a, b = estimate_noise(noisy, None)
                self._noise[position] = (a, b)
        return self._noise[position]


class PhotoCrops(Augmented):
    """Training crops of pairs of photographs, mirrored and turned alike.

    Everything random comes from (seed, ``rawnind.photo_crop``, draw, position) alone.

    Args:
        samples: the pairs.
        seed: of the run.
        crop_px: side of the crops.
        crops_per_picture: how often a pair comes in an epoch.
        flips: mirror and turn.
    """

    samples: PhotoPairs

    def __init__(self, samples: PhotoPairs, seed: int, *, crop_px: int, crops_per_picture: int, flips: bool) -> None:
        super().__init__(samples, {}, seed)
        self.crop_px, self.crops_per_picture, self.flips = crop_px, crops_per_picture, flips

    def __len__(self) -> int:
        return len(self.samples) * self.crops_per_picture

    def sample(self, position: int, draw: int) -> dict[str, Any]:
        """Return a crop of pair ``position`` (modulo their number), placed by ``draw``.

        Raises:
            DataError: a picture cannot be read, or is smaller than the crop.
        """
        place = position % len(self.samples)
        rng = numpy_generator(self.seed, "rawnind.photo_crop", draw, position)
        height, width = self.samples.pictures(place)[0].shape[:2]
        return self.samples.view(place, random_view(rng, (height, width), self.crop_px, flips=self.flips, rotations=self.flips))


def fingerprint_of(pairs: Sequence[PhotoPair]) -> str:
    """Return a SHA-256 over names, scenes and sizes of files."""
    stamp = hashlib.sha256()
    for pair in pairs:
        stamp.update("\x1f".join([pair.name, pair.scene, str(pair.noisy.stat().st_size), str(pair.clean.stat().st_size)]).encode() + b"\n")
    return stamp.hexdigest()


def _linear(pixels: NDArray[np.uint8]) -> Linear:
    made: Linear = _OF_BYTES[pixels]
    return made


_LEVELS = np.arange(256) / 255
_OF_BYTES = np.where(_LEVELS <= 0.04045, _LEVELS / 12.92, ((_LEVELS + 0.055) / 1.055) ** 2.4).astype(np.float32)

"""Clean pictures turned back into what a sensor sees, with the sensor's noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from photic.apps.rawnind.noise_profiles import read_profiles
from photic.apps.rawnind.synthetic.drawn import draw_scene
from photic.apps.rawnind.synthetic.noise_levels import iso_of, random_noise
from photic.core.errors import DataError
from photic.core.seeding import numpy_generator, torch_generator
from photic.data.augment import Augmented
from photic.data.augment.paired import View, random_view
from photic.functional.cfa import RGGB, XTRANS, cfa_planes
from photic.functional.raw_colour import XYZ_TO_SRGB, daylight_balance
from photic.physics.mosaic import Mosaic
from photic.physics.sensor_noise import SensorNoise

Floats = NDArray[Any]


@dataclass(frozen=True)
class CleanPicture:
    """A picture without noise, or with little, in linear light."""

    values: Floats
    """``(H, W, 3)``, float16 or float32, in [0, 1]: camera colours without white balance, or linear sRGB."""
    name: str
    scene: str
    """Pictures of one scene stay in one split."""
    xyz_to_camera: Floats | None = None
    """``(3, 3)``; None: the values are linear sRGB, and a camera is made up."""
    white_balance: Floats | None = None
    """``(3,)``, green 1."""


@dataclass(frozen=True)
class Camera:
    """How a camera that does not exist sees colours."""

    from_srgb: Floats
    """``(3, 3)``: linear sRGB to camera colours, before white balance."""
    white_balance: Floats
    """``(3,)``, green 1."""

    @property
    def xyz_to_camera(self) -> Floats:
        """``(3, 3)``, as raw files carry it."""
        return self.from_srgb @ XYZ_TO_SRGB


def random_camera(rng: np.random.Generator) -> Camera:
    """Return a camera whose filters overlap and whose red and blue are weaker than green, as real ones' are."""
    overlap, red, blue = rng.uniform(0.15, 0.5), rng.uniform(1.4, 2.6), rng.uniform(1.2, 2.3)
    mixed = rng.uniform(0.1, 1, (3, 3))
    np.fill_diagonal(mixed, 0)
    mixed /= mixed.sum(axis=1, keepdims=True)
    balance = np.array([red, 1.0, blue])
    return Camera(((1 - overlap) * np.eye(3) + overlap * mixed) / balance[:, None], balance)


class NoiseSource(Protocol):
    """Draws the noise of some camera at some ISO value."""

    def draw(self, rng: np.random.Generator) -> tuple[SensorNoise, float]:
        """Return noise and ISO value."""
        ...


def seen(
    clean: Floats,
    xyz_to_camera: Floats,
    balance: Floats,
    noise: SensorNoise,
    generator: torch.Generator,
    *,
    measurement: str,
    xtrans: bool = False,
) -> dict[str, Tensor]:
    """Return a sample: what a sensor sees of a clean picture ``(H, W, 3)`` in camera colours, and everything the task needs.

    Args:
        clean: linear camera colours.
        xyz_to_camera: ``(3, 3)``.
        balance: ``(3,)``.
        noise: of the sensor.
        generator: of its noise.
        measurement: ``mosaic`` or ``rgb``.
        xtrans: a mosaic of X-Trans instead of Bayer.
    """
    target = torch.from_numpy(np.array(np.moveaxis(clean, -1, 0), dtype=np.float32))
    if measurement == "mosaic":
        planes = cfa_planes(XTRANS if xtrans else RGGB, *target.shape[-2:])
        sensor = Mosaic(planes, noise)
        measured = sensor.sample_noise(sensor.apply(target), generator)
    else:
        planes, measured = torch.ones_like(target), noise.sample(target, generator)
    return {
        "measurement": measured,
        "planes": planes,
        "target": target,
        "mask": torch.ones(1, *target.shape[-2:]),
        "noise": torch.tensor([noise.shot, noise.read + noise.row**2]),
        "balance": torch.from_numpy(np.asarray(balance, dtype=np.float32)),
        "xyz_to_camera": torch.from_numpy(np.asarray(xyz_to_camera, dtype=np.float32)),
    }


def in_camera(clean: Floats, picture: CleanPicture, rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """Return a clean picture in camera colours, with the matrix and white balance of its camera, a random one where it has none."""
    if picture.xyz_to_camera is not None:
        balance = daylight_balance(picture.xyz_to_camera) if picture.white_balance is None else picture.white_balance
        return clean, picture.xyz_to_camera, balance
    camera = random_camera(rng)
    return clean @ camera.from_srgb.T.astype(np.float32), camera.xyz_to_camera, camera.white_balance


class SyntheticPictures:
    """Validation pictures: the middle of each clean picture at every ISO value, always with the same noise.

    Args:
        pictures: clean ones.
        levels: ISO values with their noise.
        size_px: side of the part that is used, even; smaller pictures are used whole.
        measurement: ``mosaic`` or ``rgb``.
        seed: draws cameras and noise; the run's seed does not, so that runs are measured on the same.
        xtrans: mosaics of X-Trans.
    """

    def __init__(
        self,
        pictures: Sequence[CleanPicture],
        levels: Sequence[tuple[float, SensorNoise]],
        *,
        size_px: int,
        measurement: str,
        seed: int,
        xtrans: bool = False,
    ) -> None:
        self.pictures, self.levels, self.size_px = pictures, levels, size_px
        self.measurement, self.seed, self.xtrans = measurement, seed, xtrans
        self.names = [f"{picture.name}@ISO{iso:g}" for picture in pictures for iso, _ in levels]

    def __len__(self) -> int:
        return len(self.names)

    def sample(self, position: int, draw: int = 0) -> dict[str, Any]:
        """Return a picture at an ISO value; ``draw`` makes no difference."""
        row, level = divmod(position, len(self.levels))
        picture, (iso, noise) = self.pictures[row], self.levels[level]
        height, width = (min(self.size_px, side) // 2 * 2 for side in picture.values.shape[:2])
        top, left = ((side - cut) // 2 for side, cut in zip(picture.values.shape, (height, width), strict=False))
        clean = np.asarray(View(top, left, height, width).of(picture.values), dtype=np.float32)
        clean, matrix, balance = in_camera(clean, picture, numpy_generator(self.seed, "rawnind.camera", row))
        generator = torch_generator(self.seed, "rawnind.validation", row, level)
        made = seen(np.clip(clean, 0, 1), matrix, balance, noise, generator, measurement=self.measurement, xtrans=self.xtrans)
        return made | {"iso": torch.tensor(float(iso)), "index": position, "name": self.names[position]}


class SyntheticCrops(Augmented):
    """Training crops of clean pictures, each seen by a random camera at a random exposure and ISO value.

    Everything random comes from (seed, purpose, draw, position) alone.

    Args:
        samples: the whole pictures.
        crops: how often each comes in an epoch.
        seed: of the run.
        crop_px: side of the crops, even.
        noise: draws noise.
        xtrans_share: share of mosaics that are X-Trans.
        drawn_share: share of crops that are drawn scenes instead.
        exposure_ev: lowest and highest exposure, in stops; what comes above white is clipped, in the target, too.
        noise_error: how wrong the network is told the noise: standard deviation of the logarithm of the noise's standard deviation.
    """

    def __init__(
        self,
        samples: SyntheticPictures,
        crops: Sequence[int],
        seed: int,
        *,
        crop_px: int,
        noise: NoiseSource,
        xtrans_share: float,
        drawn_share: float,
        exposure_ev: tuple[float, float],
        noise_error: float = 0.0,
    ) -> None:
        super().__init__(samples, {}, seed)
        self.pictures, self.measurement = samples.pictures, samples.measurement
        self.rows = np.repeat(np.arange(len(samples.pictures)), crops)
        self.crop_px, self.noise = crop_px, noise
        self.xtrans_share, self.drawn_share, self.exposure_ev = xtrans_share, drawn_share, exposure_ev
        self.noise_error = noise_error

    def __len__(self) -> int:
        return len(self.rows)

    def sample(self, position: int, draw: int) -> dict[str, Any]:
        """Return a crop of a picture, placed and seen by ``draw``."""
        rng = numpy_generator(self.seed, "rawnind.crop", draw, position)
        row = int(self.rows[position])
        picture = self.pictures[row]
        drawn, xtrans = rng.random() < self.drawn_share, rng.random() < self.xtrans_share
        if drawn:
            picture = CleanPicture(draw_scene(self.seed, int(rng.integers(2**31)), self.crop_px, self.crop_px), "drawn", "drawn")
        view = random_view(rng, (picture.values.shape[0], picture.values.shape[1]), self.crop_px)
        clean = np.asarray(view.of(picture.values), dtype=np.float32)
        clean, matrix, balance = in_camera(clean, picture, rng)
        clean = np.clip(clean * 2 ** rng.uniform(*self.exposure_ev), 0, 1)
        noise, iso = self.noise.draw(rng)
        made = seen(
            clean,
            matrix,
            balance,
            noise,
            torch_generator(self.seed, "rawnind.noise", draw, position),
            measurement=self.measurement,
            xtrans=xtrans,
        )
        made["noise"] *= math.exp(2 * self.noise_error * rng.normal())
        return made | {"iso": torch.tensor(float(iso)), "index": row, "name": picture.name}


class TypicalNoise:
    """Noise of typical cameras.

    Args:
        iso: lowest and highest value.
        row_share: see :func:`photic.apps.rawnind.synthetic.noise_levels.random_noise`.
    """

    def __init__(self, iso: tuple[float, float], row_share: float) -> None:
        self.iso, self.row_share = iso, row_share

    def draw(self, rng: np.random.Generator) -> tuple[SensorNoise, float]:
        """Return noise and ISO value."""
        noise = random_noise(rng, self.iso, self.row_share)
        return noise, iso_of(noise.shot)


class MeasuredNoise:
    """Noise of cameras that somebody measured, at ISO values evenly drawn by their logarithm.

    Args:
        path: the user's file of noise profiles.
        cameras: which of its cameras to draw from; empty: all.
        iso: lowest and highest value; of each camera only what was measured is drawn.

    Raises:
        DataError: the file cannot be read or lacks a camera, or none was measured in that range.
    """

    def __init__(self, path: Path, cameras: Sequence[str], iso: tuple[float, float]) -> None:
        profiles = read_profiles(path)
        for name in cameras:
            profiles.profile(name, iso[0])  # says which names are near, where there is no such camera
        chosen = [profiles[name] for name in cameras or profiles]
        spans = [(camera, max(iso[0], float(camera.iso[0])), min(iso[1], float(camera.iso[-1]))) for camera in chosen]
        self.spans = [span for span in spans if span[1] <= span[2]]
        if not self.spans:
            raise DataError(f"{path}: none of {len(chosen)} cameras was measured between ISO {iso[0]:g} and {iso[1]:g}")

    def draw(self, rng: np.random.Generator) -> tuple[SensorNoise, float]:
        """Return noise and ISO value."""
        camera, low, high = self.spans[int(rng.integers(len(self.spans)))]
        iso = math.exp(rng.uniform(math.log(low), math.log(high)))
        shot, read = camera.at(iso).at_sensor()
        return SensorNoise(shot=shot, read=read), iso

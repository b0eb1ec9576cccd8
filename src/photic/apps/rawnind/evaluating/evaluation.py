"""What denoisers must not spoil, measured on made pictures with a known answer: sharpness of an edge, level and colour of flat areas."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from photic.apps.rawnind.denoising import denoise, layout_of
from photic.apps.rawnind.evaluating.baselines import demosaiced
from photic.apps.rawnind.picture import RawPicture
from photic.apps.rawnind.synthetic.noise_levels import noise_at
from photic.core.seeding import torch_generator
from photic.functional.cfa import RGGB, Pattern, cfa_planes, mosaic_of
from photic.functional.edge_response import mtf50, slanted_edge
from photic.models.raw_denoising import RawDenoiser
from photic.physics.sensor_noise import SensorNoise

Pixels = NDArray[np.float32]
Method = Callable[[RawPicture], Pixels]
"""From a raw picture to ``(H, W, 3)`` in camera colours."""

BALANCE = np.array([2.0, 1.0, 1.5])
"""White balance of the made camera: sensors see less red and blue than green."""
LEVELS = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.18, 0.35, 0.5, 0.7, 0.9, 0.98, 1.0)
"""Levels of flat patches, from black to clipping."""
LENS_PX = 0.5
"""Blur of a good lens, standard deviation in pixels; behind it, Menon's MTF50 is about 0.35 cycles per pixel, behind none 0.6."""
_LUMA = np.array([0.2126, 0.7152, 0.0722])
_EDGE_PX = (96, 96)
_FLAT_PX = 240
_STEP_PX = 48
"""How far tiles are apart, at least."""
_LEAST_LEVEL = 0.01


@dataclass(frozen=True)
class Flat:
    """What became of a flat patch."""

    level: float
    """Of the sensor's white."""
    change: tuple[float, float, float]
    """By how much the means of red, green and blue differ from those of the sensor's samples, in the sensor's unit."""
    tiled: float
    """Largest difference of a pixel between the picture made in tiles and as a whole."""

    @property
    def relative(self) -> float:
        """Largest change relative to the level; below a hundredth of white, to that."""
        return max(abs(value) for value in self.change) / max(self.level, _LEAST_LEVEL)


def methods_of(network: RawDenoiser, noise: SensorNoise, *, classical: bool = True) -> dict[str, Method]:
    """Return a network, told the noise, and demosaicing alone, by name."""
    told = (noise.shot, noise.read)
    made: dict[str, Method] = {"network": lambda picture: denoise(network, picture, told)}
    if classical:
        made |= {name: lambda picture, name=name: demosaiced(picture)[name] for name in ("Menon", "Malvar")}  # type: ignore[misc]
    return made


def edge_sharpness(
    method: Method,
    *,
    noise: SensorNoise | None = None,
    pattern: Pattern = RGGB,
    blur_px: float = LENS_PX,
    angles_deg: Sequence[float] = (5.0, 12.0),
    levels: tuple[float, float] = (0.1, 0.6),
    num_draws: int = 4,
) -> float:
    """Return the MTF50 of a grey slanted edge behind a colour filter array, in cycles per pixel, of luma.

    The response is taken from the mean of pictures with several draws of noise: that of one alone would measure what noise is left.

    Args:
        method: what makes three colours of the mosaic.
        noise: of the sensor; None is none.
        pattern: of the mosaic.
        blur_px: standard deviation of the lens's blur, before the pixels average over their area.
        angles_deg: of the edge; the mean over them is returned.
        levels: dark and bright side, white-balanced, of white.
        num_draws: of noise.

    Raises:
        DataError: what the method makes has no edge left.
    """
    found = []
    for number, angle in enumerate(angles_deg):
        grey = torch.from_numpy(slanted_edge(_EDGE_PX, angle, blur_px, low=levels[0], high=levels[1])).float()
        clean = grey.expand(3, -1, -1) / torch.from_numpy(BALANCE).float()[:, None, None]
        draws = 1 if noise is None else num_draws
        pictures = [method(_seen(clean, pattern, noise, (number, draw))) for draw in range(draws)]
        balanced = np.mean(pictures, axis=0, dtype=np.float64) * BALANCE
        found.append(mtf50(balanced @ _LUMA))
    return float(np.mean(found))


@dataclass(frozen=True)
class Sharpness:
    """MTF50 of an edge, cycles per pixel, by method."""

    iso: float | None
    """None is an edge without noise; the network is then told that of ISO 100."""
    blur_px: float
    mtf50: Mapping[str, float]

    @property
    def kept(self) -> float:
        """The network's, relative to Menon's."""
        return self.mtf50["network"] / self.mtf50["Menon"]


def sharpness_table(network: RawDenoiser, isos: Sequence[float] = (1600.0, 6400.0, 25600.0)) -> list[Sharpness]:
    """Return the MTF50 of a network, Menon and Malvar: without noise behind a good lens and behind none at all, and with noise."""
    made = []
    cases: list[tuple[float | None, float]] = [(None, LENS_PX), (None, 0.0), *((iso, LENS_PX) for iso in isos)]
    for iso, blur_px in cases:
        noise = noise_at(iso or 100.0)
        found = {
            name: edge_sharpness(method, noise=None if iso is None else noise, blur_px=blur_px)
            for name, method in methods_of(network, noise).items()
        }
        made.append(Sharpness(iso, blur_px, found))
    return made


def flat_levels(
    network: RawDenoiser,
    iso: float = 6400.0,
    *,
    levels: Sequence[float] = LEVELS,
    pattern: Pattern = RGGB,
    colour: tuple[float, float, float] | None = None,
) -> list[Flat]:
    """Return what a network does to the mean levels of flat noisy patches, the sensor clipping at white.

    Means are held against those of the samples that the sensor has of each colour, so chance plays no part in them. The patch is made
    twice, as a whole and in small tiles.

    Args:
        network: what denoises.
        iso: noise of a typical camera at this value.
        levels: of the sensor's white, before white balance.
        pattern: of the mosaic.
        colour: factors of red, green and blue; None is a grey under :data:`BALANCE`, scaled so that green has the level.
    """
    noise, made = noise_at(iso), []
    factors = torch.tensor(1 / BALANCE if colour is None else np.array(colour), dtype=torch.float32)
    layout = layout_of(network, pattern)
    tile_px = layout.overlap + -(-_STEP_PX // layout.align) * layout.align
    side = max(_FLAT_PX, tile_px + _STEP_PX)
    planes = cfa_planes(pattern, side, side).numpy()
    for number, level in enumerate(levels):
        clean = (level * factors)[:, None, None].expand(3, side, side)
        picture = _seen(clean, pattern, noise, (number, 0))
        whole = denoise(network, picture, (noise.shot, noise.read), tile_px=2 * side + layout.overlap)
        tiled = denoise(network, picture, (noise.shot, noise.read), tile_px=tile_px)
        means = [float(picture.values[planes[place] > 0].mean(dtype=np.float64)) for place in range(3)]
        change = [float(tiled[..., place].mean(dtype=np.float64)) - means[place] for place in range(3)]
        made.append(Flat(level, (change[0], change[1], change[2]), float(np.abs(whole - tiled).max())))
    return made


def _seen(clean: torch.Tensor, pattern: Pattern, noise: SensorNoise | None, draw: tuple[int, int]) -> RawPicture:
    mosaic = mosaic_of(clean, cfa_planes(pattern, *clean.shape[-2:]))
    if noise is not None:
        mosaic = noise.sample(mosaic, torch_generator(0, "rawnind.quality", *draw))
    return RawPicture(mosaic[0].numpy().astype(np.float32), pattern, white_balance=BALANCE)

"""What enhancers do to colours that are known: a neutral grey ramp, and the 24 patches of a ColorChecker, both drawn and darkened.

Run: ``python benchmarks/lowlight_colour.py MODEL [MODEL ...] [--classical] [--device cpu]``. A model is a bundle, a run, or the name of one
that comes with Photic. Exits with 1 if a model misses a mark: strength 0 changes nothing, and no grey gets a cast above ΔE2000 3.

- *Strength 0*: ΔE2000 between what goes in and what comes out at 8 bits, 16 bits and as floats, mean over all pixels; it must be exactly 0.
- *Cast on greys*: a ramp with levels 0 to 60 of 255, and at a half and a quarter of that, is enhanced at full strength. ΔE2000 of each
  pixel to its own neutral version (the same L*, a* = b* = 0), mean and largest, and the level at which it is largest; also the largest
  that is not within 32 pixels of the picture's edge. A clean grey is easy for a network that looks for clean greys, so there are columns
  for the ramp with a sensor's noise (standard deviation 2 of 255 in each channel; the mean colour of each level is judged), and for the
  greys of the darkened chart, which lie among colours.
- *Chart*: the published sRGB values, darkened in linear light to mean levels of 8 to 40 of 255, as a shorter exposure would. Patch by patch
  (middle part, averaged) against the chart before it was darkened, each patch brought to the true luma first: ΔE2000, turn of the hue (HSV,
  degrees, smallest way round), saturation (HSV) in units of the true one; the last two over the 18 coloured patches.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from photic.apps.lowlight import enhance, load_enhancer
from photic.apps.lowlight.baselines import untrained
from photic.data.photo.depth import as_kind
from photic.functional.colour import LUMA, delta_e_2000, hue_vector, linear_to_srgb, saturation, srgb_to_lab, srgb_to_linear

Floats = NDArray[np.float32]
Method = Callable[[Floats], Floats]

# sRGB, 8 bits, row by row as on the chart: dark skin to bluish green, orange to orange yellow, blue to cyan, white to black.
PATCHES = (
    (115, 82, 68), (194, 150, 130), (98, 122, 157), (87, 108, 67), (133, 128, 177), (103, 189, 170),
    (214, 126, 44), (80, 91, 166), (193, 90, 99), (94, 60, 108), (157, 188, 64), (224, 163, 46),
    (56, 61, 150), (70, 148, 73), (175, 54, 60), (231, 199, 31), (187, 86, 149), (8, 133, 161),
    (243, 243, 242), (200, 200, 200), (160, 160, 160), (122, 122, 121), (85, 85, 85), (52, 52, 52),
)  # fmt: skip
COLOURED = 18
ROWS, COLUMNS, PATCH_PX = 4, 6, 80
RAMP_TOP = 60
EXPOSURES = (1.0, 0.5, 0.25)
MEAN_LEVELS = (8, 16, 24, 40)
MOST_CAST = 3.0
EDGE_PX = 32
NOISE = 2 / 255


@dataclass(frozen=True)
class Colours:
    """What was measured."""

    unchanged: float | None
    """Mean ΔE2000 at strength 0; None for methods without a strength."""
    cast: tuple[float, float, float]
    """On the ramp: mean, largest, and the level of 255 at which it is largest."""
    inner_cast: float
    """Largest on the ramp, 32 pixels and more away from the picture's edge."""
    noisy_cast: tuple[float, float]
    """On the ramp with noise, each level averaged: mean and largest."""
    chart_cast: tuple[float, float]
    """On the chart's greys: mean and largest."""
    difference: tuple[float, float]
    """Chart, ΔE2000: mean and largest."""
    hue_turn: float
    """Mean, degrees."""
    saturation_ratio: float
    """Mean over patches of the ratio to the true saturation."""


def ramp(exposure: float) -> Floats:
    """Return a neutral ramp ``(H, W, 3)`` from black to 60 / 255 times an exposure, each level 12 pixels wide."""
    levels = np.repeat(np.arange(RAMP_TOP + 1), 12) * exposure / 255
    return np.broadcast_to(levels[None, :, None], (256, len(levels), 3)).astype(np.float32)


def chart() -> Floats:
    """Return the chart ``(H, W, 3)`` in daylight."""
    colours = np.array(PATCHES, np.float32).reshape(ROWS, COLUMNS, 3) / 255
    return colours.repeat(PATCH_PX, axis=0).repeat(PATCH_PX, axis=1)


def darkened(picture: Floats, mean_level: float) -> Floats:
    """Return a picture with its light multiplied by the factor that gives it a mean level, of 255."""
    light = srgb_to_linear(torch.from_numpy(picture).double())
    least, most = 0.0, 1.0
    for _ in range(60):
        factor = (least + most) / 2
        brighter = 255 * float(linear_to_srgb(light * factor).mean()) > mean_level
        least, most = (least, factor) if brighter else (factor, most)
    return linear_to_srgb(light * factor).numpy().astype(np.float32)


def tensor(picture: NDArray[np.floating]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture, dtype=np.float64)).permute(2, 0, 1)[None]


def delta_e(one: NDArray[np.floating], other: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return ΔE2000 ``(H, W)`` of two pictures ``(H, W, 3)``."""
    return delta_e_2000(srgb_to_lab(tensor(one)), srgb_to_lab(tensor(other)))[0, 0].numpy()


def casts(picture: Floats) -> NDArray[np.float64]:
    """Return ΔE2000 ``(H, W)`` of every pixel to its neutral version."""
    lab = srgb_to_lab(tensor(picture))
    neutral = torch.cat([lab[:, :1], torch.zeros_like(lab[:, 1:])], dim=1)
    return delta_e_2000(lab, neutral)[0, 0].numpy()


def patches(picture: Floats) -> NDArray[np.float64]:
    """Return the colour ``(24, 1, 3)`` of the middle of each patch."""
    middle = slice(PATCH_PX // 4, 3 * PATCH_PX // 4)
    cut = picture.astype(np.float64).reshape(ROWS, PATCH_PX, COLUMNS, PATCH_PX, 3)
    return cut[:, middle, :, middle].mean(axis=(1, 3)).reshape(-1, 1, 3)


def hues(colours: NDArray[np.float64]) -> NDArray[np.float64]:
    vector = hue_vector(tensor(colours))[0].numpy()
    return np.degrees(np.arctan2(vector[1], vector[0]))[:, 0]


def measure(method: Method, at_zero: Callable[[NDArray[np.generic]], NDArray[np.generic]] | None) -> Colours:
    """Measure a method; ``at_zero`` is the method at strength 0."""
    ramps = [ramp(exposure) for exposure in EXPOSURES]
    daylight = chart()
    charts = [darkened(daylight, level) for level in MEAN_LEVELS]

    found = np.stack([casts(method(picture)) for picture in ramps])
    worst = np.unravel_index(found.argmax(), found.shape)
    level = 255 * float(ramps[worst[0]][worst[1], worst[2], 0])

    generator = np.random.default_rng(0)
    noisy = [np.clip(picture + generator.normal(0, NOISE, picture.shape), 0, 1).astype(np.float32) for picture in ramps]
    averaged = [method(picture).astype(np.float64).reshape(256, RAMP_TOP + 1, 12, 3).mean(axis=(0, 2))[None] for picture in noisy]
    with_noise = np.stack([casts(colours) for colours in averaged])

    made = [method(picture) for picture in charts]
    greys = [casts(picture)[(ROWS - 1) * PATCH_PX :] for picture in made]
    true, luma = patches(daylight), np.array(LUMA)
    differences, turns, ratios = [], [], []
    for picture in made:
        own = patches(picture)
        aligned = own * ((true @ luma) / np.maximum(own @ luma, 1e-6))[..., None]
        differences.append(delta_e(aligned, true))
        turns.append(((hues(own) - hues(true))[:COLOURED] + 180) % 360 - 180)
        ratios.append((saturation(tensor(own)) / saturation(tensor(true)))[0, 0, :COLOURED].numpy())

    unchanged = None
    if at_zero is not None:
        kinds = (np.uint8, np.uint16, np.float32)
        inputs = [as_kind(picture, kind) for picture in (*ramps, *charts) for kind in kinds]
        unchanged = float(np.mean([delta_e(as_kind(at_zero(pixels), np.float32), as_kind(pixels, np.float32)).mean() for pixels in inputs]))
    return Colours(
        unchanged,
        (float(found.mean()), float(found.max()), level),
        float(found[:, EDGE_PX:-EDGE_PX, EDGE_PX:-EDGE_PX].max()),
        (float(with_noise.mean()), float(with_noise.max())),
        (float(np.mean(greys)), float(np.max(greys))),
        (float(np.mean(differences)), float(np.max(differences))),
        float(np.mean(np.abs(turns))),
        float(np.mean(ratios)),
    )


def row(name: str, found: Colours) -> str:
    unchanged = "–" if found.unchanged is None else f"{found.unchanged:g}"
    mean, most, level = found.cast
    pairs = [f"{value:.2f}" for value in (*found.noisy_cast, *found.chart_cast, *found.difference)]
    cells = [
        name,
        unchanged,
        f"{mean:.2f}",
        f"{most:.2f} at {level:.0f}",
        f"{found.inner_cast:.2f}",
        *pairs,
        f"{found.hue_turn:.1f}",
        f"{found.saturation_ratio:.2f}",
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL", help="bundle, run, or name of a model that comes with Photic")
    parser.add_argument("--classical", action="store_true", help="classical methods, too")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    loaded = {name: load_enhancer(name, options.device) for name in options.models}
    heads = ["method", "strength 0: mean ΔE", "ramp: mean cast", "largest cast, at level", "largest away from the edge"]
    heads += [
        "with noise: mean cast",
        "largest",
        "chart's greys: mean cast",
        "largest",
        "chart: mean ΔE",
        "largest",
        "hue turned by, degrees",
        "saturation, of the true",
    ]
    print("| " + " | ".join(heads) + " |")
    print("|---|" + "---:|" * (len(heads) - 1))
    missed = []
    for name, model in loaded.items():
        found = measure(lambda picture, model=model: enhance(picture, model), lambda picture, model=model: enhance(picture, model, 0.0))
        print(row(name.rstrip("/").rpartition("/")[2], found), flush=True)
        if found.unchanged != 0:
            missed.append(f"{name}: strength 0 changes the picture by ΔE {found.unchanged:g}")
        if found.cast[1] > MOST_CAST:
            missed.append(f"{name}: a cast of ΔE {found.cast[1]:.2f} on greys, at level {found.cast[2]:.0f} of 255")
    if options.classical:
        for baseline in untrained():
            print(row(baseline.name, measure(baseline, None)), flush=True)
    print("\nmarks: strength 0 changes nothing, casts on the ramp at most ΔE 3: " + ("; ".join(missed) if missed else "met"))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

"""Memory and seams of `photic predict` on a large photograph.

Run: ``python benchmarks/lowlight_memory.py MODEL [--megapixels 24] [--bits 8] [--tile PX]``. Exits with 1 if memory is over its target of
3 GB, or a seam shows.

A photograph is made up (a dark scene with texture at all scales and a sensor's noise) and written as TIFF. The command itself runs in a
process of its own; its peak resident memory, libraries included, is what the operating system says when it ends. Seams: the picture is
enhanced, once in one piece and once in tiles, where one piece is affordable (a part of the photograph), and the two are compared; in the
whole result, second differences across the places where tiles meet are compared with those everywhere else.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np

TARGET_GB = 3.0
SEAM_RATIO = 1.05
SEAM_LEVELS = 1.0
PART = (1200, 1600)


def dark_photograph(height: int, width: int, bits: int) -> np.ndarray:
    """Return a dark scene with noise, in bands so that the benchmark itself needs little memory."""
    generator = np.random.default_rng(0)
    kind, full = (np.uint8, 255) if bits == 8 else (np.uint16, 65535)
    made = np.empty((height, width, 3), kind)
    columns = np.arange(width)
    for top in range(0, height, 500):
        rows = np.arange(top, min(top + 500, height))[:, None]
        scene = sum(np.sin(rows / scale + 1.7 * scale) * np.cos(columns / scale) / 4 for scale in (7, 60, 400, 1500))
        level = 0.07 * (1 + 0.7 * scene)[..., None] * np.array([1.0, 0.85, 0.7])
        noisy = level + generator.normal(0, 0.006, level.shape)
        made[rows[0, 0] : rows[-1, 0] + 1] = np.rint(np.clip(noisy, 0, 1) * full).astype(kind)
    return made


def measure(model: str, source: Path, output: Path, tile: int | None) -> tuple[float, float]:
    """Return peak resident gigabytes and seconds of the command."""
    command = [sys.executable, "-m", "photic", "predict", model, str(source), "-o", str(output), "--quiet", "--device", "cpu"]
    if tile is not None:
        command += ["--tile", str(tile)]
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20, seconds  # kilobytes on Linux


def tiled_against_whole(model: str, part: np.ndarray, tile: int) -> tuple[float, int]:
    """Return the largest difference between tiled and whole, in levels of 255, and the number of tiles."""
    from photic.apps.lowlight.enhancing import enhance_pixels, graph_of, load_enhancer, num_tiles

    graph = graph_of(load_enhancer(model, "cpu"))
    floats = part.astype(np.float32) / np.iinfo(part.dtype).max
    whole = enhance_pixels(graph, floats, tile_px=max(PART))
    tiled = enhance_pixels(graph, floats, tile_px=tile)
    return 255 * float(np.abs(whole - tiled).max()), num_tiles(graph, PART, tile)


def seam_ratio(model: str, output: Path, tile: int | None) -> float:
    """Return mean second differences where tiles change over, divided by those elsewhere."""
    from photic.apps.lowlight.enhancing import graph_of, load_enhancer, tile_layout
    from photic.data.photo.files import read_photo
    from photic.functional.tiling import tile_positions

    layout = tile_layout(graph_of(load_enhancer(model, "cpu")), tile)
    pixels = read_photo(output).pixels
    luma = np.concatenate(
        [pixels[top : top + 500].astype(np.float32) @ np.float32([0.299, 0.587, 0.114]) for top in range(0, len(pixels), 500)]
    )
    ratios = []
    for axis, size in enumerate(luma.shape):
        # Mean over the other axis first: a seam is a straight line, noise is not.
        profile = np.abs(np.diff(luma, 2, axis=axis)).mean(axis=1 - axis)
        spans = tile_positions(size, layout.tile, layout.overlap, align=layout.align)
        places = [(start + layout.margin, stop - layout.margin) for (_, stop), (start, _) in pairwise(spans)]
        inside = np.zeros(len(profile), bool)
        for first, last in places:
            inside[first - 1 : last] = True
        if inside.any():
            ratios.append(float(profile[inside].mean() / profile[~inside].mean()))
    return max(ratios, default=1.0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="bundle, run, or name of a model that comes with Photic")
    parser.add_argument("--megapixels", type=float, default=24)
    parser.add_argument("--bits", type=int, choices=(8, 16), default=8)
    parser.add_argument("--tile", type=int)
    options = parser.parse_args()
    width = round((options.megapixels * 1e6 * 1.5) ** 0.5)
    height = round(width / 1.5)
    with tempfile.TemporaryDirectory() as folder:
        from photic.data.photo.files import Photo, write_photo

        source, output = Path(folder) / "dark.tif", Path(folder) / "bright.tif"
        pixels = dark_photograph(height, width, options.bits)
        write_photo(source, Photo(pixels))
        part = pixels[: PART[0], : PART[1]].copy()
        del pixels
        peak, seconds = measure(options.model, source, output, options.tile)
        print(
            f"{width} x {height} ({height * width / 1e6:.1f} MP, {options.bits} bits): {peak:.2f} GB at the peak, {seconds:.0f} s",
            flush=True,
        )
        ratio = seam_ratio(options.model, output, options.tile)
        difference, count = tiled_against_whole(options.model, part, 512)
    print(f"second differences where tiles meet, against elsewhere: {ratio:.3f}")
    print(f"{PART[1]} x {PART[0]} in {count} tiles against whole: differs by {difference:.3f} of 255 levels at most")
    missed = peak > TARGET_GB or ratio > SEAM_RATIO or difference > SEAM_LEVELS
    print(f"target: {TARGET_GB:g} GB, ratio {SEAM_RATIO:g}, {SEAM_LEVELS:g} level: {'missed' if missed else 'met'}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())

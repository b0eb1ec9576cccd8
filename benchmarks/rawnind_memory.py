"""Memory and time of denoising a mosaic that is larger than what should be held: 100 megapixels, streamed into a DNG.

Run: ``python benchmarks/rawnind_memory.py [--megapixels 100] [--networks standard_small utnet2] [--tile PX] [--precision fp32|bf16]
[--threads 2] [--file]``. Exits with 1 if memory is over its target.

Each network (random weights: what they compute does not matter here) in a process of its own: a made mosaic, GBRG so that it is continued
and cut, is denoised in tiles, its bands going straight into the writer of linear DNG. Reported is the peak of resident memory, with the
mosaic as floats in it (4 bytes per pixel). With ``--file`` the mosaic is a DNG that is written first and read by the process, as
``photic predict`` does. The target holds for both.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

TARGET_GB = 4.0
NETWORKS = {"standard_small": ("standard", {"size": "small"}), "standard_tiny": ("standard", {"size": "tiny"}), "utnet2": ("utnet2", {})}


def made_mosaic(megapixels: float) -> np.ndarray:
    """Return a mosaic ``(H, W)`` of waves with noise, 3:2, made row by row."""
    height = round((megapixels * 1e6 / 1.5) ** 0.5)
    width = round(1.5 * height)
    rng = np.random.default_rng(0)
    values = np.empty((height, width), np.float32)
    columns = np.sin(np.arange(width) / 37).astype(np.float32)
    for top in range(0, height, 256):
        rows = np.sin(np.arange(top, min(top + 256, height)) / 53).astype(np.float32)[:, None]
        values[top : top + 256] = 0.3 + 0.2 * rows * columns + 0.03 * rng.standard_normal((len(rows), width), np.float32)
    return values


def peak_gb() -> float:
    """Return the peak of resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def measure(options: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Denoise in this process."""
    import torch

    torch.set_num_threads(options.threads)
    from photic.apps.rawnind.denoising import denoised_bands
    from photic.apps.rawnind.files.dng import write_linear_dng
    from photic.apps.rawnind.files.reading import read_raw
    from photic.apps.rawnind.picture import RawPicture
    from photic.core.registry import models
    from photic.functional.cfa import BAYER
    from photic.functional.raw_colour import XYZ_TO_SRGB
    from photic.inference.memory import keep_freed_memory

    keep_freed_memory()
    torch.manual_seed(0)
    name, fields = NETWORKS[options.job]
    network = models.configure(name, **fields).build().eval().to(memory_format=torch.channels_last)  # type: ignore[attr-defined]
    if options.file:
        picture = read_raw(folder / "mosaic.dng")
    else:
        picture = RawPicture(
            made_mosaic(options.megapixels), BAYER["GBRG"], xyz_to_camera=XYZ_TO_SRGB, white_balance=np.array([2.0, 1.0, 1.5])
        )
    before = peak_gb()
    started, cpu = time.perf_counter(), time.process_time()
    bands = denoised_bands(network, picture, (1e-3, 1e-5), tile_px=options.tile, precision=options.precision)
    write_linear_dng(folder / "clean.dng", picture.size, bands, picture, force=True)
    return {
        "megapixels": picture.values.size / 1e6,
        "before_gb": before,
        "peak_gb": peak_gb(),
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - cpu,
        "written_mb": (folder / "clean.dng").stat().st_size / 1e6,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megapixels", type=float, default=100)
    parser.add_argument("--networks", nargs="+", choices=tuple(NETWORKS), default=["standard_small", "utnet2"])
    parser.add_argument("--tile", type=int, help="side of the tiles (default: as photic predict)")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--file", action="store_true", help="read the mosaic from a DNG")
    parser.add_argument("--folder", type=Path, help="where files are written (default: a temporary folder; needs 1 GB)")
    parser.add_argument("--job", choices=tuple(NETWORKS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        print(json.dumps(measure(options, options.folder)))
        return 0
    missed = False
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        if options.file:
            write_mosaic(options.megapixels, Path(name) / "mosaic.dng")
        print("| network | megapixels | before | peak | time | CPU time per MP |\n|---|---|---|---|---|---|")
        for network in options.networks:
            passed = [word for key in ("megapixels", "precision", "threads") for word in (f"--{key}", str(getattr(options, key)))]
            passed += ["--tile", str(options.tile)] if options.tile else []
            command = [sys.executable, __file__, "--job", network, "--folder", name, *passed, *(["--file"] if options.file else [])]
            answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            found = json.loads(answer.splitlines()[-1])
            print(
                f"| {network} {options.precision} | {found['megapixels']:.0f} | {found['before_gb']:.2f} GB | {found['peak_gb']:.2f} GB | "
                f"{found['seconds']:.0f} s | {found['cpu_seconds'] / found['megapixels']:.2f} s |",
                flush=True,
            )
            missed |= found["peak_gb"] > TARGET_GB
    print(f"\ntarget: {TARGET_GB:g} GB: {'missed' if missed else 'met'}")
    return int(missed)


def write_mosaic(megapixels: float, path: Path) -> None:
    """Write the mosaic as a DNG."""
    from photic.apps.rawnind.files.dng import write_mosaic_dng
    from photic.apps.rawnind.picture import RawPicture
    from photic.functional.cfa import BAYER
    from photic.functional.raw_colour import XYZ_TO_SRGB

    picture = RawPicture(made_mosaic(megapixels), BAYER["GBRG"], xyz_to_camera=XYZ_TO_SRGB, white_balance=np.array([2.0, 1.0, 1.5]))
    write_mosaic_dng(path, picture)


if __name__ == "__main__":
    sys.exit(main())

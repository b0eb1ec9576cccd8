"""Memory and time of compressing and decompressing a mosaic that is larger than what should be held: 100 megapixels.

Run: ``python benchmarks/phc_memory.py [--megapixels 100] [--model MODEL] [--threads 2]``. Exits with 1 if memory is over its target.

Compressing and decompressing are processes of their own. A made mosaic, GBRG so that it is continued and cut, goes into a .phc file (the
mosaic as floats, 4 bytes per pixel, is part of what is measured), and that, by bands, into a linear DNG. Without ``--model`` the network
is that of the recipe raw_compress with random weights: what it computes does not matter here.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from rawnind_memory import made_mosaic, peak_gb

TARGET_GB = 4.0


def model_of(source: str | None) -> Any:
    """Return a loaded model."""
    import torch

    from photic.apps.rawnind.compressing.encoding import load_compressor
    from photic.inference.predictor import LoadedModel
    from photic.losses.rate_distortion import RateDistortionConfig
    from photic.models.hyperprior import HyperpriorConfig
    from photic.tasks.compression import CompressionConfig

    if source is not None:
        return load_compressor(source, "cpu")
    torch.manual_seed(0)
    config = HyperpriorConfig(
        width=96, num_latents=144, num_strides=3, hyper_widths=(96, 96), num_qualities=8, noise_map=True, companding="root"
    )
    task = CompressionConfig().build(config, RateDistortionConfig(lmbda=128.0), {}).eval()
    task.network.to(memory_format=torch.channels_last)
    return LoadedModel(task, {}, {"name": "random"}, Path("random"), torch.device("cpu"))


def compress(options: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Compress in this process."""
    from photic.apps.rawnind.compressing.encoding import compress_picture
    from photic.apps.rawnind.picture import RawPicture
    from photic.functional.cfa import BAYER
    from photic.functional.raw_colour import XYZ_TO_SRGB

    model = model_of(options.model)
    picture = RawPicture(made_mosaic(options.megapixels), BAYER["GBRG"], xyz_to_camera=XYZ_TO_SRGB, white_balance=np.array([2.0, 1.0, 1.5]))
    before, started, cpu = peak_gb(), time.perf_counter(), time.process_time()
    data = compress_picture(model, picture, quality=4 if options.model else 1, noise=(1e-3, 1e-5))
    (folder / "picture.phc").write_bytes(data)
    return {**_measured(before, started, cpu), "mb": len(data) / 1e6}


def decompress(options: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Decompress in this process."""
    from photic.apps.rawnind.compressing.container import read_header
    from photic.apps.rawnind.compressing.decoding import decompressed_bands
    from photic.apps.rawnind.compressing.picture_facts import picture_of
    from photic.apps.rawnind.files.writing import write_developed

    model = model_of(options.model)
    data = (folder / "picture.phc").read_bytes()
    before, started, cpu = peak_gb(), time.perf_counter(), time.process_time()
    header = read_header(data)
    out = folder / "picture.dng"
    write_developed(out, header.size, decompressed_bands(model, data), picture_of(header), force=True)
    return {**_measured(before, started, cpu), "mb": out.stat().st_size / 1e6}


def _measured(before: float, started: float, cpu: float) -> dict[str, float]:
    return {
        "before_gb": before,
        "peak_gb": peak_gb(),
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - cpu,
    }


JOBS = {"compress": compress, "decompress": decompress}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megapixels", type=float, default=100)
    parser.add_argument("--model", help="a bundle, run or checkpoint, or a model that comes with Photic (default: random weights)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where files are written (default: a temporary folder; needs 1 GB)")
    parser.add_argument("--job", choices=tuple(JOBS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        import torch

        from photic.inference.memory import keep_freed_memory

        torch.set_num_threads(options.threads)
        keep_freed_memory()
        print(json.dumps(JOBS[options.job](options, options.folder)))
        return 0
    missed = False
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        print("| job | megapixels | before | peak | time | CPU time per MP | file |\n|---|---|---|---|---|---|---|")
        for job in JOBS:
            passed = ["--megapixels", str(options.megapixels), "--threads", str(options.threads)]
            passed += ["--model", options.model] if options.model else []
            command = [sys.executable, __file__, "--job", job, "--folder", name, *passed]
            answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            found = json.loads(answer.splitlines()[-1])
            print(
                f"| {job} | {options.megapixels:g} | {found['before_gb']:.2f} GB | {found['peak_gb']:.2f} GB | {found['seconds']:.0f} s | "
                f"{found['cpu_seconds'] / options.megapixels:.2f} s | {found['mb']:.1f} MB |",
                flush=True,
            )
            missed |= found["peak_gb"] > TARGET_GB
    print(f"\ntarget: {TARGET_GB:g} GB: {'missed' if missed else 'met'}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())

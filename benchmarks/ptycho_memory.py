"""Memory of training and inference on a scan that is larger than what should be held: 100,000 patterns of 128 x 128 (6.6 GB).

Run: ``python benchmarks/ptycho_memory.py [--patterns N] [--folder DIR]``. Exits with 1 if memory is over its target.

The file (uncompressed NPZ) is written first, in pieces. Then, each in a process of its own: some training steps with everything
they need before (validation split, normalisation over all patterns), and inference with stitching over all patterns. What is
reported is the peak of anonymous memory (RssAnon): pages of the file itself, which the system may drop at any time and which are at
most one copy of the patterns, come apart. The network is a narrow one: its memory is not the question.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

TARGET_GB = 2.0
SIZE_PX = 128


class Watch(threading.Thread):
    """Notes the peaks of anonymous and file-backed resident memory of this process."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.anonymous = self.file = 0.0
        self.running = True

    def run(self) -> None:
        while self.running:
            status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
            self.anonymous = max(self.anonymous, int(status["RssAnon"].split()[0]) / 2**20)
            self.file = max(self.file, int(status["RssFile"].split()[0]) / 2**20)
            time.sleep(0.05)


def write_scan(path: Path, count: int) -> None:
    """Write a scan of noise-like patterns under an envelope, piece by piece."""
    generator = np.random.default_rng(0)
    side = int(np.ceil(np.sqrt(count)))
    places = np.arange(count)
    x, y = 64 + 3.0 * (places % side), 64 + 3.0 * (places // side)
    axis = np.arange(SIZE_PX) - SIZE_PX / 2
    envelope = np.exp(-(axis[:, None] ** 2 + axis**2) / (2 * 12.0**2)).astype(np.float32)
    probe = (envelope * np.sqrt(1e5 / (envelope**2).sum())).astype(np.complex64)
    base = generator.poisson(1e5 * envelope**2 / (envelope**2).sum(), (64, SIZE_PX, SIZE_PX)).astype(np.float32)
    amplitudes = np.sqrt(base)
    import zipfile

    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, array in {"xcoords": x, "ycoords": y, "probeGuess": probe}.items():
            with archive.open(f"{name}.npy", "w") as handle:
                np.lib.format.write_array(handle, array, allow_pickle=False)
        with archive.open("diffraction.npy", "w", force_zip64=True) as handle:
            header = {"descr": "<f4", "fortran_order": False, "shape": (count, SIZE_PX, SIZE_PX)}
            np.lib.format.write_array_header_1_0(handle, header)
            for start in range(0, count, len(amplitudes)):
                handle.write(amplitudes[: min(len(amplitudes), count - start)].tobytes())


def measure(job: str, path: Path, folder: Path) -> dict[str, float]:
    """Train or infer in this process."""
    import torch

    torch.set_num_threads(2)
    import photic
    from photic.apps.ptycho.inference import predict_scan
    from photic.apps.ptycho.opening import open_scans
    from photic.apps.ptycho.predict import network_of
    from photic.inference.predictor import load

    watch = Watch()
    watch.start()
    started = time.perf_counter()
    if job == "train":
        changes = {"data.path": str(path), "model.width_factor": 0.0625, "training.max_steps": 30, "output_dir": str(folder)}
        # All patterns are read for the normalisation; a small validation split keeps the benchmark short.
        result = photic.train(photic.recipe("ptycho_pinn", {**changes, "data.val_fraction": 0.002, "data.probe_iterations": 0}), quiet=True)
        (folder / "run.txt").write_text(str(result.run))
    else:
        model = load((folder / "run.txt").read_text())
        made = predict_scan(network_of(model), open_scans(path).as_one(), measure=False)
        assert made.object is not None
    watch.running = False
    return {"anonymous_gb": watch.anonymous, "file_gb": watch.file, "seconds": time.perf_counter() - started}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patterns", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help="where the scan is written (default: a temporary folder; needs 7 GB)")
    parser.add_argument("--job", choices=("train", "infer"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        print(json.dumps(measure(options.job, options.folder / "scan.npz", options.folder)))
        return 0
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        write_scan(Path(folder) / "scan.npz", options.patterns)
        print(f"{options.patterns:,} patterns of {SIZE_PX} x {SIZE_PX}, {options.patterns * SIZE_PX**2 * 4 / 1e9:.1f} GB, uncompressed NPZ")
        missed = False
        for job in ("train", "infer"):
            command = [sys.executable, __file__, "--job", job, "--folder", folder]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
            print(
                f"{job:<6} {found['anonymous_gb']:.2f} GB anonymous, {found['file_gb']:.2f} GB file-backed, {found['seconds']:.0f} s",
                flush=True,
            )
            missed |= found["anonymous_gb"] > TARGET_GB
    print(f"target: {TARGET_GB:g} GB beyond one copy of the patterns: {'missed' if missed else 'met'}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())

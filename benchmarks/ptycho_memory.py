"""Memory of training and inference on a scan that is larger than what should be held: 100,000 patterns of 128 x 128 (6.6 GB).

Run: ``python benchmarks/ptycho_memory.py [--patterns N] [--format npz|h5] [--folder DIR]``. Exits with 1 if memory is over its target.

The file (uncompressed NPZ of amplitudes, or a ptychodus product in HDF5 with counts) is written first, in pieces. Then, each in a
process of its own: some training steps with everything they need before (validation split, normalisation over all patterns), and
inference with stitching over all patterns. What is reported is the peak of anonymous memory (RssAnon): pages of the file itself,
which the system may drop at any time and which are at most one copy of the patterns, come apart. The network is a narrow one: its
memory is not the question.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from pathlib import Path

import h5py
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
    """Write a scan of noise-like patterns under an envelope, piece by piece; the ending of the name decides how."""
    generator = np.random.default_rng(0)
    side = int(np.ceil(np.sqrt(count)))
    places = np.arange(count)
    x, y = 64 + 3.0 * (places % side), 64 + 3.0 * (places // side)
    axis = np.arange(SIZE_PX) - SIZE_PX / 2
    envelope = np.exp(-(axis[:, None] ** 2 + axis**2) / (2 * 12.0**2)).astype(np.float32)
    probe = (envelope * np.sqrt(1e5 / (envelope**2).sum())).astype(np.complex64)
    base = generator.poisson(1e5 * envelope**2 / (envelope**2).sum(), (64, SIZE_PX, SIZE_PX)).astype(np.float32)
    if path.suffix == ".h5":
        write_product(path, x, y, probe, base)
        return
    amplitudes = np.sqrt(base)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, array in {"xcoords": x, "ycoords": y, "probeGuess": probe}.items():
            with archive.open(f"{name}.npy", "w") as handle:
                np.lib.format.write_array(handle, array, allow_pickle=False)
        with archive.open("diffraction.npy", "w", force_zip64=True) as handle:
            header = {"descr": "<f4", "fortran_order": False, "shape": (count, SIZE_PX, SIZE_PX)}
            np.lib.format.write_array_header_1_0(handle, header)
            for start in range(0, count, len(amplitudes)):
                handle.write(amplitudes[: min(len(amplitudes), count - start)].tobytes())


def write_product(path: Path, x: np.ndarray, y: np.ndarray, probe: np.ndarray, counts: np.ndarray) -> None:
    """Write a ptychodus product with its patterns, as counts."""
    pixel, shape = 1e-8, (int(y.max()) + SIZE_PX, int(x.max()) + SIZE_PX)
    with h5py.File(path, "w") as file:
        file.attrs.update({"name": "benchmark", "comments": "", "detector_object_distance_m": 1.0, "probe_energy_eV": 8000.0})
        file.attrs.update({"probe_photon_count": float((np.abs(probe) ** 2).sum()), "exposure_time_s": 0.1})
        file["probe_position_indexes"] = np.arange(len(x))
        file["probe_position_x_m"], file["probe_position_y_m"] = (x - shape[1] / 2) * pixel, (y - shape[0] / 2) * pixel
        for key, array in {"probe": probe[None, None], "object": np.ones((1, *shape), np.complex64)}.items():
            file[key] = array
            file[key].attrs.update({"pixel_width_m": pixel, "pixel_height_m": pixel, "center_x_m": 0.0, "center_y_m": 0.0})
        stored = file.create_dataset("dp", (len(x), SIZE_PX, SIZE_PX), np.uint16, chunks=(1, SIZE_PX, SIZE_PX))
        for start in range(0, len(x), len(counts)):
            stored[start : start + len(counts)] = counts[: len(x) - start].astype(np.uint16)


def measure(job: str, path: Path, folder: Path) -> dict[str, float]:
    """Train or infer in this process."""
    import torch

    torch.set_num_threads(2)
    import photic
    from photic.apps.ptycho.inference import network_of, predict_scan
    from photic.apps.ptycho.opening import open_scans
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
    parser.add_argument("--format", choices=("npz", "h5"), default="npz")
    parser.add_argument("--folder", type=Path, help="where the scan is written (default: a temporary folder; needs 7 GB)")
    parser.add_argument("--job", choices=("train", "infer"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        print(json.dumps(measure(options.job, options.folder / f"scan.{options.format}", options.folder)))
        return 0
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / f"scan.{options.format}"
        write_scan(path, options.patterns)
        print(
            f"{options.patterns:,} patterns of {SIZE_PX} x {SIZE_PX}, a file of {path.stat().st_size / 1e9:.1f} GB ({options.format})",
            flush=True,
        )
        missed = False
        for job in ("train", "infer"):
            command = [sys.executable, __file__, "--job", job, "--folder", folder, "--format", options.format]
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

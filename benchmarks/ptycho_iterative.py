"""The iterative baseline: marks on real and simulated scans, pty-chi's LSQML beside it in the same run, quality by iterations.

Run: ``python benchmarks/ptycho_iterative.py [DATA] [--peer PYTHON] [--peer-settings EPOCHSxBATCH ...]``. DATA is the folder with
siemens_train.npz, siemens_test.npz, run1084_sim_1e4.npz, run1084_sim_1e6.npz. PYTHON is an interpreter of an environment of its own with
pty-chi (``python -m venv peer && peer/bin/pip install ptychi``). CPU seconds are user + system of whole processes, start-up included; ours
with files and pictures. The probe is fixed in the simulated scans. Objects are compared by
``photic.apps.ptycho.evaluation.compare_objects``, all in the same region. Exits with 1 if a mark is missed.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from photic.apps.ptycho.evaluation import Comparison, compare_objects
from photic.apps.ptycho.raw import RawNPZData, load_raw_npz
from photic.apps.ptycho.reconstruct import reconstruct
from photic.apps.ptycho.reconstruction import Reconstruction
from photic.apps.ptycho.solver_options import SolverConfig

HERE = Path(__file__).resolve().parent
DATA = HERE.parent.parent / "shared" / "data" / "ptycho"
MOST_CPU_SECONDS = 25.0
HIGHEST_R_AMP = 0.150
PHOTONS = ("1e4", "1e6")
CURVE = (1, 2, 3, 5, 7, 10, 15, 20, 30, 40, 60)
HEADER = f"{'':<34}{'SSIM amp':>9}{'phase':>8}{'PSNR amp':>10}{'phase dB':>10}{'R_amp':>8}{'CPU s':>8}"


def used_by_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def run_command(files: list[Path], folder: Path, *options: str) -> tuple[Reconstruction, float, float]:
    """Run ``photic reconstruct``; return its result and CPU and wall seconds of the process."""
    before, began = used_by_children(), time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "photic", "reconstruct", *map(str, files), "-o", str(folder), "--quiet", "--device", "cpu", *options],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    spent, seconds = used_by_children() - before, time.perf_counter() - began
    return Reconstruction.load(folder / "object.npz"), spent, seconds


def run_peer(python: str, scan: RawNPZData, folder: Path, epochs: int, batch_size: int) -> tuple[Reconstruction, float]:
    """Run LSQML; return its object and CPU seconds of the process."""
    settings = {"epochs": epochs, "batch_size": batch_size, "noise_model": "gaussian", "seed": 0}
    np.savez(
        folder / "in.npz",
        counts=np.asarray(scan.diffraction) ** 2,
        positions_px=scan.positions_px,
        probe=scan.probe_modes,
        settings=json.dumps(settings),
    )
    done = subprocess.run(
        [python, str(HERE / "peer_ptychi.py"), str(folder / "in.npz"), str(folder / "out.npz")], capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{python} could not run pty-chi:\n{done.stderr[-2000:]}")
    with np.load(folder / "out.npz") as found:
        made = Reconstruction(
            object=found["object"],
            coverage=None,
            origin_px=tuple(found["origin_px"]),
            positions_px=scan.positions_px,
            probe=scan.probe_modes,
            method=f"LSQML, {epochs} epochs, batch {batch_size}",
        )
        return made, float(found["cpu_seconds"])


def numbers(compared: Comparison) -> tuple[float, float, float, float]:
    return compared.amplitude.ssim, compared.phase.ssim, compared.amplitude.psnr_db, compared.phase.psnr_db


def row(name: str, values: tuple[float, ...], r_amp: float | None, cpu: float) -> str:
    r_text = "-" if r_amp is None else f"{r_amp:.4f}"
    return f"{name:<34}{values[0]:>9.4f}{values[1]:>8.4f}{values[2]:>10.2f}{values[3]:>10.2f}{r_text:>8}{cpu:>8.1f}"


def siemens(data: Path, folder: Path, iterations: int) -> list[str]:
    """Return which marks are missed."""
    files = [data / "siemens_train.npz", data / "siemens_test.npz"]
    made, cpu, seconds = run_command(files, folder / "siemens", "--iterations", str(iterations))
    print(f"Siemens star, 516 x 128 x 128, both files, {iterations} iterations, probe refined:")
    print(
        f"  R_amp {made.r_amp:.4f} (mark {HIGHEST_R_AMP:.3f}), CPU {cpu:.1f} s (mark {MOST_CPU_SECONDS:.0f}), wall {seconds:.1f} s\n",
        flush=True,
    )
    missed = [] if made.r_amp <= HIGHEST_R_AMP else [f"Siemens star: R_amp {made.r_amp:.4f}"]
    return missed if cpu <= MOST_CPU_SECONDS else [*missed, f"Siemens star: {cpu:.1f} CPU seconds"]


def simulated(file: Path, folder: Path, iterations: int, peers: list[tuple[str, int, int]]) -> list[str]:
    """Return which marks are missed."""
    photons = file.stem.rpartition("_")[2]
    scan = load_raw_npz(file)
    made, cpu, _ = run_command([file], folder / photons, "--fix-probe", "--iterations", str(iterations))
    compared = compare_objects(made, scan.objectGuess)
    ours = numbers(compared)
    print(f"run1084, {photons} photons, 1087 x 64 x 64, probe fixed, against the truth in {compared.region}:")
    print(HEADER)
    print(row(f"photic, {iterations} iterations", ours, made.r_amp, cpu), flush=True)
    missed = []
    for peer, epochs, batch_size in peers:
        other, other_cpu = run_peer(peer, scan, folder, epochs, batch_size)
        theirs = numbers(compare_objects(other, scan.objectGuess, region=compared.region))
        print(row(other.method, theirs, None, other_cpu))
        print(f"{'  photic less LSQML; CPU ratio':<34}", end="")
        differences = [one - two for one, two in zip(ours, theirs, strict=True)]
        print(
            f"{differences[0]:>+9.4f}{differences[1]:>+8.4f}{differences[2]:>+10.2f}{differences[3]:>+10.2f}{'':>8}{cpu / other_cpu:>8.2f}",
            flush=True,
        )
        if min(differences) < 0:
            missed.append(f"{photons}: {other.method} is better")
        if cpu >= other_cpu:
            missed.append(f"{photons}: {other.method} takes {other_cpu:.1f} CPU seconds, photic {cpu:.1f}")
    print()
    return missed


def curve(data: Path, photons: str) -> None:
    scan = load_raw_npz(data / f"run1084_sim_{photons}.npz")
    print(f"run1084, {photons} photons: quality by iterations, each run from a flat object; CPU of the solver alone")
    print(HEADER)
    for iterations in CURVE:
        made = reconstruct(scan, SolverConfig(iterations=iterations, refine_probe=False), device="cpu")
        name = f"{iterations} iteration{'' if iterations == 1 else 's'}"
        print(row(name, numbers(compare_objects(made, scan.objectGuess)), made.r_amp, made.metadata["cpu_seconds"]), flush=True)
    print()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, default=DATA)
    parser.add_argument("--peer", metavar="PYTHON", help="interpreter with pty-chi; left out: no comparison")
    parser.add_argument("--peer-settings", nargs="+", default=["15x100", "15x16", "50x100"], metavar="EPOCHSxBATCH", help="runs of LSQML")
    parser.add_argument("--iterations", type=int, default=20, help="ours (default: 20)")
    parser.add_argument("--no-curve", action="store_true", help="leave out quality by iterations")
    options = parser.parse_args()
    sizes = [tuple(map(int, text.split("x"))) for text in options.peer_settings] if options.peer else []
    peers = [(options.peer, epochs, batch_size) for epochs, batch_size in sizes]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        missed = siemens(options.data, folder, options.iterations)
        for photons in PHOTONS:
            missed += simulated(options.data / f"run1084_sim_{photons}.npz", folder, options.iterations, peers)
    if not options.no_curve:
        for photons in PHOTONS:
            curve(options.data, photons)
    print("missed: " + "; ".join(missed) if missed else "all marks met" + ("" if options.peer else " (no peer to compare with)"))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

"""What a network's start is worth: quality against iterations, from a network's object and from a flat one.

Run: ``python benchmarks/ptycho_refinement.py SCAN.npz [--model RUN] [--iterations 1,2,3,5,8,12,20,30,60]``.

The scan must hold its truth (``objectGuess``). Without ``--model`` the recipe ``ptycho_pinn`` is trained on the scan itself first
(unsupervised; the probe of the file is kept). Every number of iterations is a run of its own with its own decay of steps, probe fixed,
the same solver for both. The last lines say in how many iterations each start reaches the quality of the flat start's best run
(amplitude and phase SSIM, each less 0.002).
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from pathlib import Path

import photic
from photic.apps.ptycho.evaluation import compare_objects
from photic.apps.ptycho.inference import load_network, network_of, predict_scan
from photic.apps.ptycho.opening import open_scans
from photic.apps.ptycho.reconstruct import reconstruct
from photic.apps.ptycho.reconstruction import Reconstruction
from photic.apps.ptycho.refinement import refine
from photic.apps.ptycho.solver_options import SolverConfig

TOLERANCE = 0.002
Row = tuple[float, float, float, float]


def quality(made: Reconstruction, truth: object) -> Row:
    """Return SSIM of amplitude and phase, PSNR of amplitude and phase."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = compare_objects(made, truth)  # type: ignore[arg-type]
    return found.amplitude.ssim, found.phase.ssim, found.amplitude.psnr_db, found.phase.psnr_db


def shown(row: Row) -> str:
    return f"{row[0]:.3f} / {row[1]:.3f}   {row[2]:5.1f} / {row[3]:5.1f}"


def reached(rows: dict[int, Row], goal: Row) -> int | None:
    """Return the fewest iterations that reach the SSIM of a goal."""
    return next((n for n, row in sorted(rows.items()) if row[0] >= goal[0] - TOLERANCE and row[1] >= goal[1] - TOLERANCE), None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scan", type=Path)
    parser.add_argument("--model", type=Path, help="a run or bundle trained before")
    parser.add_argument("--iterations", default="1,2,3,5,8,12,20,30,60")
    options = parser.parse_args()
    scan = open_scans(options.scan).as_one()
    truth = scan.objectGuess
    if truth is None:
        parser.error(f"{options.scan}: holds no objectGuess")
    with tempfile.TemporaryDirectory() as folder:
        run = options.model
        if run is None:
            changes = {"data.path": str(options.scan), "data.probe_iterations": 0, "output_dir": folder}
            run = photic.train(photic.recipe("ptycho_pinn", changes)).run
        model = load_network(run)
        start = predict_scan(network_of(model), scan, probe="scan", measure=False)
    print(f"{options.scan.name}: SSIM amplitude / phase, PSNR amplitude / phase in dB\n")
    print("iterations   from a flat object               from the network")
    print(f"{0:>10}   {'':<30}   {shown(quality(start, truth))}")
    flat: dict[int, Row] = {}
    learned: dict[int, Row] = {0: quality(start, truth)}
    for number in map(int, options.iterations.split(",")):
        flat[number] = quality(reconstruct(scan, SolverConfig(iterations=number, refine_probe=False), device="cpu"), truth)
        learned[number] = quality(refine(start, scan, number), truth)
        print(f"{number:>10}   {shown(flat[number]):<30}   {shown(learned[number])}", flush=True)
    best = max(flat.values(), key=lambda row: row[0] + row[1])
    for name, rows in (("flat object", flat), ("network", learned)):
        found = reached(rows, best)
        number = "none of these" if found is None else str(found)
        print(f"best quality of the flat start ({best[0]:.3f} / {best[1]:.3f}) reached from the {name} in: {number}")


if __name__ == "__main__":
    main()

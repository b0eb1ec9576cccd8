"""``photic predict`` for models of ptychography: a scan goes in, a stitched complex object with its pictures comes out."""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path

from photic.apps.ptycho.inference import load_network, name_of, network_of, predict_scan
from photic.apps.ptycho.opening import open_scans
from photic.apps.ptycho.raw import RawNPZData
from photic.apps.ptycho.reconstruction import Reconstruction, refuse_outputs, write_outputs
from photic.apps.ptycho.refinement import refine
from photic.core.arguments import whole_number
from photic.inference.predictor import LoadedModel
from photic.workflows.progress import counting

_EXAMPLES = """examples:
  photic predict RUN scan.npz -o out/                      # object.npz, object.h5, amplitude, phase, coverage, positions
  photic predict model.photic a.npz b.npz -o out/          # one scan that lies in two files
  photic predict RUN scan.npz -o out/ --refine 20          # go on with 20 iterations through the same physics
  photic predict RUN scan.npz -o out/ --refine 20 --refine-probe
`photic data check ptycho FILE` says what is in a file."""


def main(arguments: list[str]) -> int:
    """Run the command."""
    options = _parser().parse_intermixed_args(arguments)
    model = load_network(options.model, options.device)
    scan = open_scans(options.scans, domain=options.domain, mask=options.mask).as_one()
    folder: Path = options.output
    refuse_outputs(folder, force=options.force)
    started = time.perf_counter()
    with counting("predicting", scan.num_patterns, "patterns", quiet=options.quiet) as advance:
        made = predict_scan(
            network_of(model),
            scan,
            probe=options.probe,
            batch_size=options.batch_size,
            device=model.device,
            patches=options.patches,
            method=name_of(model),
            advance=advance,
        )
    seconds = time.perf_counter() - started
    made = dataclasses.replace(made, metadata={**made.metadata, "model": str(model.source)})
    print(f"{scan.num_patterns} patterns in {seconds:.2f} s, stitching and R_amp included ({scan.num_patterns / seconds:.0f} per second)")
    print(f"R_amp {_number(made.r_amp)}  ({made.method})")
    if options.refine:
        made = refined(made, scan, model, options)
        print(f"R_amp {_number(made.r_amp)}  ({made.method})")
    for path in write_outputs(made, folder, force=options.force).values():
        print(path)
    return 0


def refined(made: Reconstruction, scan: RawNPZData, model: LoadedModel, options: argparse.Namespace) -> Reconstruction:
    """Go on with iterations from a network's object, with a progress bar."""
    with counting("refining", options.refine, "iterations", quiet=options.quiet) as advance:
        return refine(
            made,
            scan,
            options.refine,
            refine_probe=options.refine_probe,
            refine_positions=options.refine_positions,
            device=model.device,
            advance=advance,
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="photic predict",
        description="Reconstruct a scan with a trained network: every position predicted, stitched, written with its pictures.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="a bundle (.photic), the folder of a run, or a checkpoint")
    parser.add_argument("scans", nargs="+", type=Path, metavar="SCAN", help="file with a scan; several files are one scan")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder to write to")
    parser.add_argument(
        "--refine", type=whole_number(), default=0, metavar="N", help="iterations through the forward model afterwards (default: 0)"
    )
    parser.add_argument("--refine-probe", action="store_true", help="refine the probe, too")
    parser.add_argument("--refine-positions", action="store_true", help="refine the positions, too")
    parser.add_argument(
        "--probe", choices=("auto", "scan", "model"), default="auto", help="whose probe (default: the model's where training refined it)"
    )
    parser.add_argument("--patches", action="store_true", help="also write the patch of every position")
    scan_options(parser)
    parser.add_argument("--batch-size", type=whole_number(1), default=32, metavar="N", help="patterns at a time (default: 32)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (default: auto)")
    parser.add_argument("--force", action="store_true", help="replace what is in the folder")
    parser.add_argument("--quiet", action="store_true", help="no progress display")
    return parser


def scan_options(parser: argparse.ArgumentParser) -> None:
    """Add what says how a scan is to be read."""
    parser.add_argument("--domain", choices=("amplitude", "counts"), help="what the patterns are (default: what the format says)")
    parser.add_argument("--mask", type=Path, metavar="FILE", help="valid detector pixels: picture or .npy, non-zero where they count")


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.4f}"

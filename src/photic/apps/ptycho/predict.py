"""``photic predict`` for models of ptychography: a scan goes in, a stitched complex object with its pictures comes out."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from photic.apps.ptycho.file_model import PtychographyFiles, PtychographyOptions, facts_of
from photic.apps.ptycho.inference import load_network
from photic.apps.ptycho.opening import read_mask
from photic.apps.ptycho.reconstruction import refuse_outputs, write_outputs
from photic.core.arguments import whole_number
from photic.core.errors import ConfigError
from photic.core.files import atomic_folder
from photic.core.plugins import model_source
from photic.inference.file_model import Answer, options_of
from photic.inference.targets import LIST, MODEL, Kinds, Target, add_file_options, plan
from photic.workflows.file_jobs import run
from photic.workflows.file_making import Advance
from photic.workflows.progress import counting

_EXAMPLES = """examples:
  photic predict RUN scan.npz -o out/                      # object.npz, object.h5, amplitude, phase, coverage, positions
  photic predict model.photic a.npz b.npz -o out/          # one scan that lies in two files
  photic predict RUN scans/ -o out/ --each                 # every file is a scan: out/NAME/ for each
  photic predict RUN scans/ -o out/ --each --skip-existing # goes on where an earlier one was interrupted
  photic predict RUN scan.npz -o out/ --refine 20          # go on with 20 iterations through the same physics
  photic predict RUN scan.npz -o out/ --refine 20 --refine-probe
`photic data check ptycho FILE` says what is in a file. Nothing that exists is replaced without --force. Status 1: some scans could not be
read; they are named, the others are done."""


def main(arguments: list[str]) -> int:
    """Run the command; the status is 1 where scans had to be left out."""
    given = _parser().parse_intermixed_args(arguments)
    options = options_of(PtychographyOptions, vars(given), "predict")
    load = partial(opened, given.model, given.device, mask=given.mask, max_pixels=1_000_000 * given.max_megapixels)
    return _each(given, load, options) if given.each else _one(given, load(), options)


def _one(given: argparse.Namespace, model: PtychographyFiles, options: PtychographyOptions) -> int:
    """Reconstruct one scan, whatever number of files it lies in."""
    sources, folder = [Path(name) for name in given.inputs], Path(given.output)
    if given.skip_existing or given.workers > 1 or LIST in given.inputs or any(source.is_dir() for source in sources):
        raise ConfigError("the files are one scan, which goes into one folder; for folders, lists and a scan in every file add --each")
    model.check(options)
    scan = model.opened(sources, options)
    refuse_outputs(folder, force=given.force)
    started = time.perf_counter()
    with counting("predicting", scan.num_patterns, "patterns", quiet=given.quiet) as advance:
        made = model.predicted(scan, options, advance)
    seconds = time.perf_counter() - started
    print(f"{scan.num_patterns} patterns in {seconds:.2f} s, stitching and R_amp included ({scan.num_patterns / seconds:.0f} per second)")
    print(f"R_amp {_number(made.r_amp)}  ({made.method})")
    if options.refine:
        with counting("refining", options.refine, "iterations", quiet=given.quiet) as advance:
            made = model.refined(made, scan, options, advance)
        print(f"R_amp {_number(made.r_amp)}  ({made.method})")
    for path in write_outputs(made, folder, force=given.force, pictures=given.pictures).values():
        print(path)
    return 0


def _each(given: argparse.Namespace, load: Callable[[], PtychographyFiles], options: PtychographyOptions) -> int:
    """Reconstruct the scan in every file, each into a folder of its own."""
    targets = plan(given.inputs, given.output, _kinds())
    one_process = given.workers == 1 or len(targets) == 1
    model = load()
    model.check(options)
    started = time.perf_counter()
    outcome = run(
        "Reconstructing",
        targets,
        partial(_Work, (lambda: model) if one_process else load, options, given.force, given.pictures),
        workers=given.workers,
        skip_existing=given.skip_existing,
        force=given.force,
        quiet=given.quiet,
    )
    print(outcome.summary(time.perf_counter() - started))
    return outcome.status


class _Work:
    """Reconstructs scans into folders, each whole or not at all."""

    def __init__(self, load: Callable[[], PtychographyFiles], options: PtychographyOptions, force: bool, pictures: bool) -> None:
        self.model, self.options, self.force, self.pictures = load(), options, force, pictures

    def __call__(self, target: Target, advance: Advance) -> Answer:
        """Reconstruct one."""
        made = self.model.reconstructed([target.source], self.options, advance)
        folder = target.output
        if folder.is_dir() and self.force:
            write_outputs(made, folder, force=True, pictures=self.pictures)
        else:
            with atomic_folder(folder) as temporary:
                write_outputs(made, temporary, pictures=self.pictures)
        return Answer((folder,), facts_of(made), (f"R_amp {_number(made.r_amp)}  ({made.method})",))


def _kinds() -> Kinds:
    return Kinds(
        readable=lambda name: name.suffix.lower() in PtychographyFiles.endings,
        ending=lambda source: "",
        writable=lambda source: (),
        mark="_reconstructed",
        nothing="no scans",
        called=lambda source: "scans",
    )


def opened(model: str, device: str, *, mask: Path | None = None, max_pixels: int | None = None) -> PtychographyFiles:
    """Load a network, ready for scans; ``mask`` is a file of valid detector pixels."""
    made = PtychographyFiles(load_network(model_source(model), device), mask=None if mask is None else read_mask(mask))
    made.max_pixels = made.max_pixels if max_pixels is None else max_pixels
    return made


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="photic predict",
        description="Reconstruct a scan with a trained network: every position predicted, stitched, written with its pictures.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", help=MODEL)
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="SCAN",
        help="file with a scan; several files are one scan. With --each: file, folder or glob; - reads a list of files from standard "
        "input, one a line",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder to write to")
    parser.add_argument("--each", action="store_true", help="every file is a scan of its own, reconstructed into DIR/NAME")
    parser.add_argument("--refine", type=whole_number(), metavar="N", help="iterations through the forward model afterwards (default: 0)")
    parser.add_argument("--refine-probe", action="store_true", help="refine the probe, too")
    parser.add_argument("--refine-positions", action="store_true", help="refine the positions, too")
    parser.add_argument(
        "--probe", choices=("auto", "scan", "model"), help="whose probe (default: auto, the model's where training refined it)"
    )
    parser.add_argument("--patches", action="store_true", help="also write the patch of every position")
    parser.add_argument("--no-pictures", dest="pictures", action="store_false", help="write object.npz and object.h5 alone")
    scan_options(parser)
    parser.add_argument("--batch-size", type=whole_number(1), metavar="N", help="patterns at a time (default: 32)")
    add_file_options(parser, PtychographyFiles.max_pixels, what="objects")
    return parser


def scan_options(parser: argparse.ArgumentParser) -> None:
    """Add what says how a scan is to be read."""
    parser.add_argument("--domain", choices=("amplitude", "counts"), help="what the patterns are (default: what the format says)")
    parser.add_argument("--mask", type=Path, metavar="FILE", help="valid detector pixels: picture or .npy, non-zero where they count")


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.4f}"

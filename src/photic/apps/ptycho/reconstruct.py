"""``photic reconstruct``: a scan to a complex object by iterations alone, without a network."""

from __future__ import annotations

import argparse
import os
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from photic.apps.ptycho.opening import open_scans
from photic.apps.ptycho.raw import RawNPZData, Scans
from photic.apps.ptycho.reconstruction import Reconstruction, refuse_outputs, write_outputs
from photic.apps.ptycho.reconstruction_files import refuse_existing
from photic.apps.ptycho.solver import Step, solve
from photic.apps.ptycho.solver_options import SolverConfig
from photic.core.arguments import whole_number
from photic.core.errors import DataError
from photic.inference.devices import usable_device

_EXAMPLES = """examples:
  photic reconstruct scan.npz -o out/                                # object.npz, object.h5, pictures
  photic reconstruct first_half.npz second_half.npz -o out/          # one scan that lies in two files
  photic reconstruct scan.npz --fix-probe -o out/                    # the probe is known well
  photic reconstruct scan.cxi --modes 3 --refine-positions --iterations 200 -o out/
  photic reconstruct scan.npz --start earlier/object.npz -o out/     # go on from a result, also from a network's
Poor result? Spots or grids: more iterations. Blur: --refine-positions, or look at positions.png and `photic data check ptycho FILE`.
Washed-out patterns: --modes 2. Very few photons: --likelihood poisson (chosen by itself below 10 per pixel)."""


def reconstruct(
    scan: RawNPZData | Path | str | Sequence[Path | str],
    config: SolverConfig | None = None,
    *,
    start: Reconstruction | None = None,
    device: str = "auto",
    progress: Callable[[Step], None] = lambda step: None,
) -> Reconstruction:
    """Reconstruct a scan by iterations alone.

    Args:
        scan: a scan, or its file, or the files that it lies in.
        config: how; None: the defaults of :class:`~photic.apps.ptycho.solver_options.SolverConfig`.
        start: object and probe to begin with; None: a flat object and the scan's probe.
        device: ``cpu``, ``cuda``, ...; ``auto`` takes a GPU if there is one.
        progress: called after every iteration.

    Returns:
        The reconstruction; ``history`` is R_amp of every iteration, ``metadata`` says settings, likelihood and seconds.

    Raises:
        DataError: a file is missing or unusable, or several files are not one scan.
        ConfigError: settings contradict each other or the scan, or there is no such device.
        TrainingError: it diverged.

    >>> from photic.apps.ptycho.simulate import generated_scan
    >>> made = reconstruct(generated_scan(num_positions=25), SolverConfig(iterations=4, refine_probe=False))
    >>> made.method, len(made.history), made.num_positions
    ('4 iterations', 4, 25)
    """
    config = config or SolverConfig()
    whole = scan if isinstance(scan, RawNPZData) else joined(open_scans(scan))
    place = usable_device(device)
    began, cpu = time.perf_counter(), cpu_seconds()
    found = solve(
        whole.diffraction,
        whole.positions_px,
        whole.probe_modes if start is None or start.probe is None else start.probe,
        config,
        start=None if start is None else start.stitched(),
        start_origin_px=(0.0, 0.0) if start is None else start.origin_px,
        mask=whole.mask,
        device=place,
        progress=progress,
    )
    passes = f"{config.iterations} iteration{'' if config.iterations == 1 else 's'}"
    return Reconstruction(
        object=found.object,
        coverage=found.coverage,
        origin_px=found.origin_px,
        positions_px=found.positions_px,
        probe=found.probe,
        r_amp=found.r_amp,
        history=found.history,
        pixel_size_m=whole.physics_parameters.get("pixel_size_m"),
        method=passes if start is None else f"{start.method or 'given object'} + {passes}",
        source=whole.source,
        metadata={
            "seconds": round(time.perf_counter() - began, 3),
            "cpu_seconds": round(cpu_seconds() - cpu, 3),
            "device": str(place),
            "likelihood": found.likelihood,
            "solver": config.to_dict(),
        },
    )


def joined(scans: Scans) -> RawNPZData:
    """Return files of one scan as one.

    Raises:
        DataError: their probes or masks differ.
    """
    first = scans.scans[0]
    for other in scans.scans[1:]:
        if not np.array_equal(first.probe_modes, other.probe_modes):
            raise DataError(
                f"{first.source} and {other.source}: 'probeGuess' differs, so they are not one scan; reconstruct them one by one, "
                "or write the same probe into both"
            )
    return scans.as_one()


def cpu_seconds() -> float:
    """Return the CPU time of this process since it began, user and system."""
    times = os.times()
    return times.user + times.system


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    began = time.perf_counter()
    options = _parser().parse_intermixed_args(arguments)
    folder: Path = options.output
    preview = folder / "preview.png"
    refuse_outputs(folder, force=options.force)
    refuse_existing([preview] if options.preview_every else [], force=options.force)
    config = _config(options)
    _limit_threads(options.threads)
    start = None if options.start is None else Reconstruction.load(options.start)
    scan = joined(open_scans(options.scans, domain=options.domain, mask=options.mask))
    with _bar(config.iterations, options.quiet) as advance:

        def after(step: Step) -> None:
            advance(step)
            if options.preview_every and step.iteration % options.preview_every == 0:
                _draw(step, preview, scan.physics_parameters.get("pixel_size_m"))

        made = reconstruct(scan, config, start=start, device=options.device, progress=after)
    print(f"{scan.num_patterns} patterns of {scan.size_px} x {scan.size_px}, {made.method}, likelihood {made.metadata['likelihood']}")
    print(f"R_amp {made.r_amp:.4f}")
    print(f"CPU seconds {cpu_seconds():.2f}  (whole process so far, start-up included)")
    print(f"seconds {time.perf_counter() - began:.2f}", flush=True)
    files = write_outputs(made, folder, force=options.force)
    print(f"CPU seconds {cpu_seconds():.2f}  with files and pictures in {shlex.quote(str(folder))}: ", end="")
    print(", ".join(path.name for path in [*files.values(), *([preview] if options.preview_every else [])]))
    return 0


def _limit_threads(number: int | None) -> None:
    """Take one CPU thread unless told otherwise: threads that share small transforms wait for each other, tenfold beside a busy core."""
    if number is not None or "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(number or 1)


def _config(options: argparse.Namespace) -> SolverConfig:
    values = {name: getattr(options, name) for name in SolverConfig.__dataclass_fields__ if hasattr(options, name)}
    return SolverConfig.from_dict({name: value for name, value in values.items() if value is not None}, "reconstruct")


@contextmanager
def _bar(iterations: int, is_quiet: bool) -> Iterator[Callable[[Step], None]]:
    columns = (
        TextColumn("reconstructing"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("R_amp {task.fields[r_amp]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    # Redrawn after iterations only: a thread that redraws ten times a second costs a tenth of a core.
    with Progress(*columns, console=Console(stderr=True), disable=is_quiet, auto_refresh=False) as bar:
        task = bar.add_task("", total=iterations, r_amp="-")
        bar.refresh()
        yield lambda step: bar.update(task, completed=step.iteration, r_amp=f"{step.r_amp:.4f}", refresh=True)


def _draw(step: Step, path: Path, pixel_size_m: float | None) -> None:
    from photic.apps.ptycho import figures  # matplotlib is slow to import

    figure = figures.phase(
        step.object.cpu().numpy(),
        step.coverage.cpu().numpy(),
        pixel_size_m=pixel_size_m,
        title=f"Phase, iteration {step.iteration} of {step.iterations}, R_amp {step.r_amp:.4f}",
    )
    figures.save(figure, path, force=True)


def _parser() -> argparse.ArgumentParser:
    usual = SolverConfig()
    parser = argparse.ArgumentParser(
        prog="photic reconstruct",
        description="Reconstruct a ptychographic scan by iterations, without a network: object, probe, and positions on request.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("scans", nargs="+", type=Path, metavar="FILE", help="file with a scan; several files are one scan")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder to write to")
    add = parser.add_argument_group("method").add_argument
    add("--iterations", type=int, metavar="N", help=f"passes over all patterns (default: {usual.iterations})")
    add("--batch-size", type=int, metavar="N", help=f"patterns per update (default: {usual.batch_size})")
    add("--likelihood", choices=("auto", "amplitude", "poisson"), help="what is fitted (default: auto, by the number of photons)")
    add("--interpolation", choices=("fourier", "bilinear"), help=f"between pixels (default: {usual.interpolation})")
    add("--refine-probe", action="store_true", default=None, help="improve the probe (default)")
    add("--fix-probe", dest="refine_probe", action="store_false", help="leave the probe as it is")
    add("--modes", dest="num_modes", type=int, metavar="P", help="incoherent modes of the probe (default: those of the file)")
    add("--refine-positions", action="store_true", default=None, help="improve the positions")
    add(
        "--position-limit", dest="position_limit_px", type=float, metavar="PX", help=f"farthest move (default: {usual.position_limit_px:g})"
    )
    add("--object-step", type=float, metavar="X", help=f"step of the object (default: {usual.object_step:g}); halve it if R_amp rises")
    add("--probe-step", type=float, metavar="X", help=f"step of the probe (default: {usual.probe_step:g})")
    add("--start", type=Path, metavar="FILE", help="object.npz or .h5 of a reconstruction to go on from, with its probe")
    add("--seed", type=int, metavar="N", help="of the order of patterns (default: 0)")
    add("--device", default="auto", help="auto, cpu, cuda, ... (default: auto)")
    add(
        "--threads",
        type=whole_number(1),
        metavar="N",
        help="CPU threads (default: OMP_NUM_THREADS, else 1; more help with large patterns only)",
    )
    add = parser.add_argument_group("input and output").add_argument
    add("--domain", choices=("amplitude", "counts"), help="what the patterns are (default: what the format says)")
    add("--mask", type=Path, metavar="FILE", help="valid detector pixels: picture or .npy, non-zero where they count")
    add("--preview-every", type=whole_number(1), metavar="N", help="draw DIR/preview.png after every N iterations")
    add("--force", action="store_true", help="replace what is in the folder")
    add("--quiet", action="store_true", help="no progress display")
    return parser

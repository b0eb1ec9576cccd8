"""``photic evaluate`` for ptychography: how well a reconstruction explains a scan, agrees with itself, and with the truth."""

from __future__ import annotations

import argparse
import dataclasses
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from photic.apps.ptycho.evaluation import Comparison, compare_objects
from photic.apps.ptycho.inference import load_network, name_of, network_of, predict_scan, residuals
from photic.apps.ptycho.opening import open_scans
from photic.apps.ptycho.patterns import Domain
from photic.apps.ptycho.raw import RawNPZData
from photic.apps.ptycho.reconstruction import Reconstruction, write_outputs
from photic.core.errors import ConfigError, DataError
from photic.core.files import write_json
from photic.core.seeding import numpy_generator
from photic.inference.predictor import LoadedModel
from photic.tracking.run import Run
from photic.workflows.progress import counting
from photic.workflows.report import write_report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_EXAMPLES = """examples:
  photic evaluate RUN                                     # the scans the run was tested on, or else trained on
  photic evaluate RUN data.path=other.npz                 # another scan
  photic evaluate RUN data.path=a.npz,b.npz               # one scan that lies in two files
  photic evaluate RUN data.path=sim.npz                   # with its objectGuess as truth, where the file has one
  photic evaluate RUN data.path=scan.npz --reference reconstruction/object.npz"""
_KEYS = ("path", "domain", "mask")


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What an evaluation found."""

    scan: str
    """Files."""
    whole: Reconstruction
    """The object from all patterns, with R_amp."""
    r_amps: NDArray[np.float64]
    """R_amp of each pattern ``(M,)``."""
    halves: Comparison
    """Objects from two random halves of the scan against each other."""
    against: Comparison | None
    """The object against the truth or another reconstruction."""

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers as JSON values."""
        low, middle, high = np.quantile(self.r_amps, [0.05, 0.5, 0.95]).tolist()
        return {
            "scan": self.scan,
            "patterns": len(self.r_amps),
            "method": self.whole.method,
            "r_amp": self.whole.r_amp,
            "r_amp_of_patterns": {"5 %": low, "median": middle, "95 %": high},
            "halves": self.halves.to_dict(),
            "against": None if self.against is None else self.against.to_dict(),
        }

    def table(self) -> str:
        """Return the numbers as text for a terminal."""
        low, middle, high = np.quantile(self.r_amps, [0.05, 0.5, 0.95])
        periods = ", ".join(
            f"{'no crossing' if value is None else f'{value:.3g} px'} at {name}" for name, value in self.halves.resolution_px.items()
        )
        lines = [
            f"{self.scan}: {len(self.r_amps)} patterns",
            f"R_amp   {self.whole.r_amp:.4f} of the stitched object; single patterns {middle:.4f} (5 to 95 %: {low:.4f} to {high:.4f})",
            f"FRC     {periods} (full period), two halves of the scan against each other",
        ]
        return "\n".join([*lines, *([] if self.against is None else ["", self.against.table()])])


def main(arguments: list[str]) -> int:
    """Run the command."""
    options = _parser().parse_intermixed_args(arguments)
    model = load_network(options.run, options.device)
    changes = _changes(options.changes)
    files, folder = _files(options.run, changes), options.output
    scan = open_scans(files, domain=_domain(changes), mask=changes.get("mask")).as_one()
    if folder is None:
        if not Path(options.run).is_dir():
            raise ConfigError(f"{options.run}: is a file; say with -o where the evaluation goes")
        folder = Run.open(options.run).path / "evaluations" / "+".join(Path(file).stem for file in files)
    with counting("evaluating", 2 * scan.num_patterns, "patterns", quiet=options.quiet) as advance:
        found = evaluate_scan(model, scan, reference=_reference(options.reference, scan), seed=options.seed, advance=advance)
    written = write(found, folder)
    if options.output is None:
        written.append(write_report(options.run).report)  # the run's page shows its evaluations
    print(found.table())
    for path in written:
        print(path)
    return 0


def evaluate_scan(
    model: LoadedModel,
    scan: RawNPZData,
    *,
    reference: Reconstruction | NDArray[np.complex64] | None = None,
    seed: int = 0,
    advance: Any = lambda count: None,
) -> Evaluation:
    """Reconstruct a scan as a whole and from two interleaved random halves, and judge what comes out.

    Args:
        model: a loaded network for ptychography.
        scan: what was measured.
        reference: the true object (its first pixel at position (0, 0)), or another reconstruction; None compares with nothing.
        seed: of the halves.
        advance: called with the number of patterns done, twice the number of patterns in all.

    Raises:
        DataError: the scan does not fit the model, or the halves have no common area.
    """
    task = network_of(model)
    whole = predict_scan(task, scan, device=model.device, measure=False, method=name_of(model), advance=advance)
    difference, total = residuals(whole, scan, device=model.device)
    whole = dataclasses.replace(whole, r_amp=float(difference.sum() / max(float(total.sum()), 1e-30)))
    halves = [
        dataclasses.replace(
            predict_scan(task, scan.take(rows), device=model.device, measure=False, advance=advance), method=f"half {number}"
        )
        for number, rows in enumerate(random_halves(scan.num_patterns, seed), 1)
    ]
    with warnings.catch_warnings():
        # Of the halves only the ring correlation is used, which needs no unwrapped phase.
        warnings.filterwarnings("ignore", message="the phase of the reference cannot be unwrapped", category=UserWarning)
        between = compare_objects(*halves)
    against = None if reference is None else compare_objects(whole, reference)
    return Evaluation(scan.source, whole, difference / np.maximum(total, 1e-30), between, against)


def random_halves(count: int, seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows of two random halves of a scan, each in the order of the scan."""
    order = numpy_generator(seed, "ptycho.halves").permutation(count)
    return np.sort(order[: count // 2]), np.sort(order[count // 2 :])


def write(found: Evaluation, folder: Path) -> list[Path]:
    """Write results, objects and pictures, replacing those of an earlier evaluation; return what was written."""
    from photic.apps.ptycho import figures

    paths = [write_json(folder / "results.json", found.to_dict())]
    pictures = {"r_amp": residual_figure(found), "frc": found.halves.figures()["frc"]}
    if found.against is not None:
        pictures |= {"comparison": found.against.figures()["comparison"], "frc_reference": found.against.figures()["frc"]}
    for name, figure in pictures.items():
        path = folder / f"{name}.png"
        figures.save(figure, path, force=True)
        paths.append(path)
    return [*paths, *write_outputs(found.whole, folder / "reconstruction", force=True).values()]


def residual_figure(found: Evaluation) -> Figure:
    """Return where in the scan the object explains the patterns well, and how R_amp is distributed over patterns."""
    from photic.apps.ptycho.drawing import colour_bar, plot_axes, quiet

    figure, axes = plot_axes("R_amp of each pattern", "x (px)", "y (px)")
    x, y = found.whole.positions_px.T
    low, high = np.quantile(found.r_amps, [0.02, 0.98])
    shown = axes.scatter(x, y, c=found.r_amps, s=14, cmap="viridis", vmin=float(low), vmax=float(high))
    axes.set_aspect("equal")
    axes.invert_yaxis()
    quiet(axes)
    colour_bar(figure, axes, shown, f"R_amp (all together: {found.whole.r_amp:.4f})")
    return figure


def _changes(words: list[str]) -> dict[str, str]:
    changes = {}
    for word in words:
        key, sign, value = word.partition("=")
        name = key.removeprefix("data.")
        if not sign or not key.startswith("data.") or name not in _KEYS:
            allowed = ", ".join(f"data.{known}=..." for known in _KEYS)
            raise ConfigError(f"'{word}': only the scan can be changed when a run is evaluated ({allowed})")
        changes[name] = value
    return changes


def _domain(changes: dict[str, str]) -> Domain | None:
    value = changes.get("domain")
    known: dict[str | None, Domain | None] = {None: None, "amplitude": "amplitude", "counts": "counts"}
    if value in known:
        return known[value]
    raise ConfigError(f"data.domain: expected amplitude or counts, got '{value}'")


def _files(run: Path, changes: dict[str, str]) -> list[str]:
    """Return the scan's files: those asked for, else those the run was tested on, else those it was trained on."""
    if "path" in changes:
        return [part for part in changes["path"].strip("[]").split(",") if part]
    if not Path(run).is_dir():
        raise ConfigError(f"{run}: a bundle does not hold its data; say which scan: data.path=FILE")
    data = Run.open(run).config.get("data", {})
    files = data.get("test_path") or data.get("path")
    if not files:
        raise ConfigError(f"{run}: was trained on a generated scan; say which scan to evaluate on: data.path=FILE")
    return [files] if isinstance(files, str) else list(files)


def _reference(path: Path | None, scan: RawNPZData) -> Reconstruction | NDArray[np.complex64] | None:
    if path is None:
        return scan.objectGuess
    try:
        return Reconstruction.load(path)
    except DataError as error:
        try:
            truth = open_scans(path).as_one().objectGuess
        except DataError:
            raise error from None
        if truth is None:
            raise DataError(f"{path}: holds no objectGuess to compare with") from error
        return truth


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="photic evaluate",
        description="Reconstruct a scan with a trained network; print and draw R_amp, the ring correlation of two random halves, and the "
        "comparison with the truth where there is one.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run, or a bundle")
    parser.add_argument("changes", nargs="*", metavar="data.KEY=VALUE", help="the scan: data.path, data.domain, data.mask")
    parser.add_argument(
        "--reference", type=Path, metavar="FILE", help="object.npz or .h5 of another reconstruction, or a raw NPZ with truth"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="folder to write to (default: in the run's folder)")
    parser.add_argument("--seed", type=int, default=0, help="of the two halves (default: 0)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (default: auto)")
    parser.add_argument("--quiet", action="store_true", help="no progress display")
    return parser

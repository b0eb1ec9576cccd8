"""``photic demo ptycho``: scans are simulated, a network is trained by physics alone and reconstructs an object it never saw."""

from __future__ import annotations

import io
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track

from photic.apps.ptycho import figures
from photic.apps.ptycho.evaluation import Comparison, compare_objects
from photic.apps.ptycho.inference import load_network, network_of, predict_scan
from photic.apps.ptycho.raw import RawNPZData, load_raw_npz, save_raw_npz
from photic.apps.ptycho.reconstruct import reconstruct
from photic.apps.ptycho.reconstruction import Reconstruction, write_outputs
from photic.apps.ptycho.refinement import refine
from photic.apps.ptycho.simulate import generated_scan
from photic.apps.ptycho.solver_options import SolverConfig
from photic.core.program import program
from photic.functional.palette import BLUE, VERMILION
from photic.report import page, runs
from photic.report.figures import Line
from photic.report.page import Column, Page, Tile, duration, number
from photic.workflows.demo import DemoResult
from photic.workflows.recipes import recipe
from photic.workflows.train import TrainResult, train

_DPI = 130


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How large the demo is; the defaults take about half a minute on one core."""

    size_px: int = 32
    """Side of the patterns."""
    step_px: float = 6.0
    """Distance of neighbouring positions."""
    probe_px: float = 14.0
    """Diameter of the probe."""
    photons: float = 1e5
    """In a pattern, on average."""
    num_training: int = 1200
    """Patterns to train on."""
    num_test: int = 300
    """Patterns to reconstruct, of another object."""
    few: int = 2
    """Iterations after the network, and of the baseline that is held against it."""
    many: int = 20
    """Iterations of the baseline that is left to converge."""
    others: tuple[int, ...] = (1, 3, 4, 6, 10)
    """Further numbers of iterations, for the curves."""


@dataclass(frozen=True, eq=False)
class _Judged:
    """A reconstruction of the test scan, held against the truth."""

    name: str
    made: Reconstruction
    against: Comparison

    @property
    def seconds(self) -> float:
        return float(self.made.metadata["seconds"])

    @property
    def r_amp(self) -> float:
        assert self.made.r_amp is not None
        return self.made.r_amp


def run(folder: Path, sizes: Sizes | None = None) -> DemoResult:
    """Run the whole way from simulated scans to a page with network, network + refinement and iterations side by side.

    Args:
        folder: where scans, run and reconstructions go; it must not hold scans yet.
        sizes: how large; None is the default.
    """
    console, sizes = Console(), sizes or Sizes()
    files = _simulate(folder / "scans", sizes, console)
    changes = {"data.path": str(files["training"]), "data.test_path": str(files["test"]), "output_dir": str(folder / "runs")}
    result = train(recipe("demo_ptycho", changes))
    console.print(result.summary(), highlight=False, soft_wrap=True)
    scan = load_raw_npz(files["test"])
    results, curve = _reconstruct(result.run, scan, sizes, console)
    for name in ("network", "refined", "baseline"):
        write_outputs(results[name].made, folder / name)
    report = _page(result, sizes, results, curve, files).write(folder / "report.html")
    network, refined, same = results["network"], results["refined"], results["same"]
    return DemoResult(
        report=report,
        headline=(
            f"R_amp on an unseen object: network {number(network.r_amp)}, network + {sizes.few} iterations {number(refined.r_amp)}, "
            f"{sizes.few} iterations alone {number(same.r_amp)}; phase SSIM {number(network.against.phase.ssim, 2)}, "
            f"{number(refined.against.phase.ssim, 2)}, {number(same.against.phase.ssim, 2)}"
        ),
        commands=tuple(command for _, command in _commands(result.run, files)),
    )


def _simulate(folder: Path, sizes: Sizes, console: Console) -> dict[str, Path]:
    """Write a scan to train on and one of another object to test on."""
    files = {}
    for seed, (name, count) in enumerate((("training", sizes.num_training), ("test", sizes.num_test)), 1):
        scan = generated_scan(
            size_px=sizes.size_px,
            num_positions=count,
            photons=sizes.photons,
            object_kind="cells",
            step_px=sizes.step_px,
            probe_diameter_px=sizes.probe_px,
            seed=seed,
        )
        files[name] = save_raw_npz(folder / f"{name}.npz", scan)
    console.print(
        f"simulated {sizes.num_training} patterns of {sizes.size_px} x {sizes.size_px} pixels with {sizes.photons:g} photons each to train "
        f"on, and {sizes.num_test} of another object to test on: {folder}",
        soft_wrap=True,
    )
    return files


@dataclass(frozen=True, eq=False)
class _Curve:
    """Results of some numbers of iterations, begun with the network's object and with a flat one."""

    counts: tuple[int, ...]
    refined: tuple[_Judged, ...]
    alone: tuple[_Judged, ...]

    def needed(self, r_amp: float) -> int | None:
        """Return the fewest of the iterations tried that reach an R_amp without a network."""
        return next((count for count, one in zip(self.counts, self.alone, strict=True) if one.r_amp <= r_amp), None)


def _reconstruct(model: Path, scan: RawNPZData, sizes: Sizes, console: Console) -> tuple[dict[str, _Judged], _Curve]:
    """Return the results to show, by name, and what more iterations give."""
    loaded = load_network(model, "cpu")
    truth = scan.objectGuess
    assert truth is not None, "a simulated scan has its truth"
    network = predict_scan(network_of(loaded), scan, method="network")
    region = compare_objects(network, truth).region  # one for all, so that they can be shown side by side

    def judged(name: str, made: Reconstruction) -> _Judged:
        return _Judged(name, made, compare_objects(made, truth, region=region))

    counts = tuple(sorted({*sizes.others, sizes.few, sizes.many}))
    refined, alone = [], []
    for count in track(counts, description="iterations, with and without the network", console=console):
        refined.append(judged(f"network + {count}", refine(network, scan, count)))
        alone.append(judged(f"{count} iterations", reconstruct(scan, SolverConfig(iterations=count, refine_probe=False), device="cpu")))
    few, many = counts.index(sizes.few), counts.index(sizes.many)
    results = {"network": judged("network", network), "refined": refined[few], "same": alone[few], "baseline": alone[many]}
    return results, _Curve(counts, tuple(refined), tuple(alone))


# --- the page -------------------------------------------------------------------------------------


def _page(result: TrainResult, sizes: Sizes, results: Mapping[str, _Judged], curve: _Curve, files: Mapping[str, Path]) -> Page:
    network, refined, same, baseline = (results[name] for name in ("network", "refined", "same", "baseline"))
    needed = curve.needed(refined.r_amp)
    alone = f"without the network that takes {needed}" if needed is not None else f"without the network {sizes.many} do not reach that"
    made = Page(
        title="Ptychography: from diffraction patterns to an object",
        eyebrow="Photic · demo",
        verdict=(
            f"A network trained for {duration(result.results['wall_seconds'])} on one scan, never shown an object, reconstructs "
            f"another object in {network.seconds:.1f} s; {sizes.few} iterations more bring R_amp to {number(refined.r_amp)}, {alone}."
        ),
        badges=[
            ("simulated patterns", f"{sizes.num_training} + {sizes.num_test}"),
            ("photons each", f"{sizes.photons:g}"),
            ("size", f"{sizes.size_px} px"),
        ],
    )
    made.head.append(page.tiles([_tile(one) for one in (network, refined, same, baseline)]))
    made.head += [page.notice(text, "warning") for text in _doubts(results)]
    section = made.section(
        "Side by side",
        f"The same {sizes.num_test} noisy patterns, reconstructed in four ways, each aligned with the truth. Errors are reconstruction "
        "minus truth.",
    )
    section.add(page.picture(_uri(_side_by_side(results)), "Truth and four reconstructions: amplitude, phase, errors", least_px=720))
    section.add(page.table(*_table(results)))
    section.add(
        page.prose(
            "The network sees one pattern at a time. What a single pattern cannot tell, the phase of one place relative to another, it "
            "leaves out: slow changes of the phase come back with the iterations, which see all patterns together."
        )
    )
    section = made.section("What iterations add", "Each point is a reconstruction of its own; steps decay to the last iteration.")
    section.add(page.grid(_charts(curve, network), 420))
    made.section("Next steps", "Exact commands.").add(page.commands(_commands(result.run, files)))
    return made


def _tile(one: _Judged) -> Tile:
    return Tile(label=one.name.capitalize(), value=number(one.r_amp), note=f"R_amp; phase SSIM {number(one.against.phase.ssim, 2)}")


def _doubts(results: Mapping[str, _Judged]) -> list[str]:
    """Return what did not come out as it should, in words."""
    network, refined, same = results["network"], results["refined"], results["same"]
    made = []
    if refined.r_amp >= same.r_amp or refined.against.phase.ssim <= same.against.phase.ssim:
        made.append(f"Here the network's start brings nothing: {same.name} from a flat object are as good. Train longer.")
    if network.against.phase.ssim < 0.3:
        made.append("Here the network's own object hardly resembles the truth. Train longer.")
    return made


def _side_by_side(results: Mapping[str, _Judged]) -> Figure:
    shown = list(results.values())
    objects = {"truth": shown[0].against.reference, **{one.name: one.against.aligned for one in shown}}
    captions = {one.name: f"SSIM {one.against.amplitude.ssim:.2f}, phase {one.against.phase.ssim:.2f}" for one in shown}
    return figures.comparison(objects, reference="truth", captions=captions)


def _table(results: Mapping[str, _Judged]) -> tuple[list[Column], list[list[str]]]:
    columns = [
        Column(title="", number=False),
        Column(title="R_amp", hint="share of the measured amplitude that object and probe miss; noise has its part"),
        *(Column(title=name, group=part) for part in ("amplitude", "phase") for name in ("SSIM", "PSNR")),
        Column(title="Time", hint="of the reconstruction, without training"),
    ]
    first = results["network"].seconds
    rows: list[list[str]] = []
    for name, one in results.items():
        scores = [
            text for part in (one.against.amplitude, one.against.phase) for text in (number(part.ssim), f"{number(part.psnr_db, 1)} dB")
        ]
        seconds = one.seconds + (first if name == "refined" else 0)
        rows.append([one.name, number(one.r_amp, 4), *scores, f"{seconds:.2f} s"])
    return columns, rows


def _charts(curve: _Curve, network: _Judged) -> list[Markup]:
    def chart(title: str, value: Callable[[_Judged], float]) -> Markup:
        refined = [value(one) for one in (network, *curve.refined)]
        lines = [
            Line(label="from the network's object", x=[0, *curve.counts], y=refined, colour=BLUE),
            Line(label="from a flat object", x=curve.counts, y=[value(one) for one in curve.alone], colour=VERMILION, dashed=True),
        ]
        return runs.chart(title, lines, x_label="iterations")

    return [chart("R_amp", lambda one: one.r_amp), chart("SSIM of the phase", lambda one: one.against.phase.ssim)]


def _uri(figure: Figure) -> str:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=_DPI)
    return page.png_uri(content.getvalue())


def _commands(run_folder: Path, files: Mapping[str, Path]) -> list[tuple[str, str]]:
    photic, folder = program(), runs.shown(run_folder)
    training, test = (shlex.quote(str(files[name])) for name in ("training", "test"))
    output = shlex.quote(str(run_folder.parent.parent))
    return [
        ("Judge the run on the test scan, against the truth", f"{photic} evaluate {folder}"),
        ("Reconstruct a scan, with iterations afterwards", f"{photic} predict {folder} {test} -o object --refine 20"),
        ("Reconstruct it without the network", f"{photic} reconstruct {test} --iterations 100 --fix-probe -o baseline"),
        (
            "Train again, for longer",
            f"{photic} train recipe=demo_ptycho data.path={training} data.test_path={test} training.num_epochs=20 output_dir={output}",
        ),
        ("Simulate a scan of a picture of yours", f"{photic} simulate ptycho --object PICTURE.png --object-size 300 -o scan.npz"),
        ("Train on a scan of yours", f"{photic} train recipe=ptycho_pinn data.path=SCAN.npz"),
    ]

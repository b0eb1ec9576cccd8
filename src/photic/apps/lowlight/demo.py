"""``photic demo lowlight``: a small enhancer is trained on drawn scenes and brightens scenes it never saw, beside classical methods."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from photic.apps.lowlight.enhancing import load_enhancer
from photic.apps.lowlight.evaluate import evaluate_pictures
from photic.apps.lowlight.evaluation import Evaluation, write_results
from photic.apps.lowlight.evaluation_data import Chosen, PictureSet, choose
from photic.apps.lowlight.evaluation_page import show_evaluation
from photic.apps.lowlight.samples import DrawnPairs
from photic.apps.lowlight.sheets import write_sheets
from photic.apps.lowlight.synthetic import draw_pair
from photic.core.program import program
from photic.data.images import write_image
from photic.report import page, runs
from photic.report.page import Page, Tile, duration, number
from photic.workflows.demo import DemoResult
from photic.workflows.progress import counting
from photic.workflows.recipes import recipe
from photic.workflows.train import TrainResult, train

_UNSEEN = 2026
"""Seed of the scenes to judge by; training draws its own with another."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How large the demo is; the defaults take about half a minute on one core."""

    num_pairs: int = 112
    """Drawn pairs for training and validation."""
    num_epochs: int = 8
    """Passes over the training pairs."""
    num_scenes: int = 6
    """Unseen scenes to judge by."""
    scene_px: tuple[int, int] = (240, 360)
    """Their height and width."""


def run(folder: Path, sizes: Sizes | None = None) -> DemoResult:
    """Train on drawn pairs of dark and bright pictures, then enhance dark scenes that were never seen.

    Args:
        folder: where run, pictures and page go.
        sizes: how large; None is the default.
    """
    console, sizes = Console(), sizes or Sizes()
    changes = {"data.num_samples": sizes.num_pairs, "training.num_epochs": sizes.num_epochs, "output_dir": str(folder / "runs")}
    result = train(recipe("quick_lowlight", changes))
    console.print(result.summary(), highlight=False, soft_wrap=True)
    photos, chosen = _scenes(folder / "photos", result.run, sizes)
    with counting("enhancing unseen scenes", len(chosen.pictures), "scenes") as advance:
        found = evaluate_pictures(load_enhancer(result.run, "cpu"), chosen, folder / "evaluation", advance=advance)
    write_results(found, folder / "evaluation")
    write_sheets(found, folder / "evaluation")
    report = _page(result, found, folder / "evaluation", photos, sizes.num_pairs).write(folder / "report.html")
    rival, value = _rival(found)
    return DemoResult(
        report=report,
        headline=(
            f"PSNR on unseen scenes: network {number(found.mean(found.model, 'psnr'), 1)} dB, {rival} {number(value, 1)} dB, "
            f"as they are {number(found.mean('identity', 'psnr'), 1)} dB"
        ),
        commands=tuple(command for _, command in _commands(result.run, photos)),
    )


def _scenes(folder: Path, trained: Path, sizes: Sizes) -> tuple[Path, Chosen]:
    """Draw scenes to judge by; the dark pictures are written, too, to be tried."""
    drawn = [draw_pair(_UNSEEN, index, *sizes.scene_px) for index in range(sizes.num_scenes)]
    names = tuple(f"scene_{number}" for number in range(1, len(drawn) + 1))
    for name, (dark, _) in zip(names, drawn, strict=True):
        write_image(folder / f"{name}.png", dark)
    own = choose(trained, {}, "val")
    pictures = PictureSet(DrawnPairs(drawn), tuple(range(len(drawn))), names)
    return folder, Chosen(pictures, "all", "unseen drawn scenes", "unseen", own.training, own.fitted_to)


def _rival(found: Evaluation) -> tuple[str, float]:
    """Return the best classical method on these pictures, and its PSNR."""
    values = {method: found.mean(method, "psnr") or 0.0 for method in found.methods[1:]}
    name = max(values, key=lambda method: values[method])
    return name, values[name]


def _page(result: TrainResult, found: Evaluation, folder: Path, photos: Path, num_pairs: int) -> Page:
    rival, value = _rival(found)
    own = found.mean(found.model, "psnr") or 0.0
    made = Page(
        title="Low light: from dark and noisy to bright and clean",
        eyebrow="Photic · demo",
        verdict=(
            f"{result.results['parameters']['total']:,} parameters, trained for {duration(result.results['wall_seconds'])} on drawn "
            f"scenes, reach {own:.1f} dB on {len(found.scored)} scenes never seen; the best classical method, {rival}, {value:.1f} dB."
        ),
        badges=[("drawn pairs", str(num_pairs)), ("unseen scenes", str(len(found.scored)))],
    )
    tiles = [
        Tile(label="Network", value=f"{own:.1f} dB", note=f"PSNR; SSIM {number(found.mean(found.model, 'ssim'))}"),
        Tile(label=rival.capitalize(), value=f"{value:.1f} dB", note=f"PSNR; SSIM {number(found.mean(rival, 'ssim'))}"),
        Tile(label="As they are", value=f"{number(found.mean('identity', 'psnr'), 1)} dB", note="PSNR of the dark pictures"),
    ]
    made.head.append(page.tiles(tiles))
    if own <= value:
        made.head.append(page.notice(f"Here the network does not beat {rival}. Train longer.", "warning"))
    show_evaluation(made, found, folder, title="Scenes never seen")
    made.sections[-1].add(page.prose("These scenes are drawn. How good a network is on photographs, only photographs tell."))
    made.section("Next steps", "Exact commands.").add(page.commands(_commands(result.run, photos)))
    return made


def _commands(run_folder: Path, photos: Path) -> list[tuple[str, str]]:
    photic, folder = program(), runs.shown(run_folder)
    return [
        ("Enhance the dark scenes", f"{photic} predict {folder} {runs.shown(photos)} -o enhanced --compare"),
        ("Enhance a photograph of yours, less strongly", f"{photic} predict {folder} photo.jpg -o bright.jpg --strength 0.7"),
        ("Check pairs of yours (folders low/ and high/)", f"{photic} data check lowlight PAIRS"),
        ("Train on them", f"{photic} train recipe=lowlight_compact data.root=PAIRS"),
    ]

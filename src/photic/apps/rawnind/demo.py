"""``photic demo rawnind``: a small denoiser learns on drawn scenes behind a made sensor, and cleans scenes that it never saw."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from photic.apps.rawnind.denoising import load_denoiser
from photic.apps.rawnind.evaluating.evaluate import evaluate_pictures, picture_of
from photic.apps.rawnind.evaluating.evaluation_data import Chosen
from photic.apps.rawnind.evaluating.evaluation_page import show_evaluation
from photic.apps.rawnind.evaluating.evaluation_sheets import write_sheets
from photic.apps.rawnind.evaluating.scores import Evaluation, write_results
from photic.apps.rawnind.files.dng import write_mosaic_dng
from photic.apps.rawnind.synthetic.synthetic_data import RawGeneratedConfig
from photic.core.program import program
from photic.report import page, runs
from photic.report.page import Page, Tile, duration, number
from photic.workflows.demo import DemoResult
from photic.workflows.progress import counting
from photic.workflows.recipes import recipe
from photic.workflows.train import TrainResult, train

_UNSEEN = 2026
"""Seed of the scenes to judge by; training draws its own with another."""


_SHIPPED = ("rawdenoise",)
"""The model that comes with the application, to be seen beside what half a minute of training gives."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How large the demo is; the defaults take about half a minute on one core."""

    num_epochs: int = 18
    """Passes over the drawn training scenes."""
    num_training: int = 32
    """Drawn scenes for training and validation."""
    num_scenes: int = 4
    """Unseen scenes to judge by."""
    scene_px: int = 192
    """Their side."""
    iso: tuple[float, ...] = (400.0, 3200.0, 12800.0)
    """At which they are seen."""


def run(folder: Path, sizes: Sizes | None = None) -> DemoResult:
    """Train on drawn scenes, then denoise scenes that were never seen.

    Args:
        folder: where run, raw files, pictures and page go.
        sizes: how large; None is the default.
    """
    console, sizes = Console(), sizes or Sizes()
    changes = {
        "data.num_samples": sizes.num_training,
        "data.iso_min": min(sizes.iso) / 2,
        "data.iso_max": max(sizes.iso) * 2,
        "data.exposure_min_ev": -1.0,
        "optimizer.lr": 4e-3,
        "training.num_epochs": sizes.num_epochs,
        "output_dir": str(folder / "runs"),
    }
    result = train(recipe("quick_raw", changes))
    console.print(result.summary(), highlight=False, soft_wrap=True)
    chosen = _scenes(sizes)
    raws = _raw_files(folder / "raws", chosen)
    with counting("denoising unseen scenes", len(chosen), "scenes") as advance:
        models = [load_denoiser(model, "cpu") for model in (result.run, *_SHIPPED)]
        found = evaluate_pictures(models, chosen, folder / "evaluation", advance=advance)
    write_results(found, folder / "evaluation")
    write_sheets(found, folder / "evaluation")
    report = _page(result, found, folder / "evaluation", raws).write(folder / "report.html")
    name, value, plain = _rivals(found)
    return DemoResult(
        report=report,
        headline=(
            f"PSNR on unseen scenes: network {number(found.mean(found.model, 'psnr'), 1)} dB, the model that comes with Photic "
            f"{number(found.mean(_shipped(found), 'psnr'), 1)} dB, {name} {number(value, 1)} dB, demosaiced alone {number(plain, 1)} dB"
        ),
        commands=tuple(command for _, command in _commands(result.run, raws)),
    )


def _scenes(sizes: Sizes) -> Chosen:
    """Return scenes to judge by."""
    size = sizes.scene_px
    data = RawGeneratedConfig(
        num_samples=max(3, 2 * sizes.num_scenes),
        size_px=size,
        eval_crop_px=size,
        val_iso=sizes.iso,
        val_fraction=0.5,
        test_fraction=0.0,
        seed=_UNSEEN,
        split_seed=_UNSEEN,
    )
    return Chosen((data.prepare(0).splits["val"],), "all", "unseen drawn scenes", "unseen")


def _raw_files(folder: Path, chosen: Chosen) -> Path:
    """Write what the sensor sees of the first scene as raw files, to be tried."""
    for sample in list(chosen)[: len({float(sample["iso"]) for sample in chosen})]:
        picture = picture_of(sample)
        path = folder / f"{str(sample['name']).replace('@', '_')}.dng"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_mosaic_dng(path, picture, force=True)
    return folder


def _rivals(found: Evaluation) -> tuple[str, float, float]:
    """Return the best classical method with its PSNR, and that of the better demosaicer."""
    name = found.best_classical()
    assert name is not None, "the demo evaluates classical methods"
    plain = [value for method in ("Malvar", "Menon") if (value := found.mean(method, "psnr")) is not None]
    return name, found.mean(name, "psnr") or 0.0, float(np.max(plain))


def _shipped(found: Evaluation) -> str:
    """Return what the row of the model that comes with Photic is called."""
    return next(method for method in found.methods[1:] if method not in found.classical)


def _page(result: TrainResult, found: Evaluation, folder: Path, raws: Path) -> Page:
    name, value, plain = _rivals(found)
    own = found.mean(found.model, "psnr") or 0.0
    made = Page(
        title="Raw: from a noisy mosaic to a clean picture",
        eyebrow="Photic · demo",
        verdict=(
            f"{result.results['parameters']['total']:,} parameters, trained for {duration(result.results['wall_seconds'])} on drawn "
            f"scenes, reach {own:.1f} dB on {len(found.scored)} pictures never seen; the best classical method, {name}, {value:.1f} dB."
        ),
        badges=[("unseen pictures", str(len(found.scored)))],
    )
    tiles = [
        Tile(label="Network", value=f"{own:.1f} dB", note="PSNR, mean over ISO values"),
        Tile(label="Comes with Photic", value=f"{number(found.mean(_shipped(found), 'psnr'), 1)} dB", note="trained on photographs"),
        Tile(label=name, value=f"{value:.1f} dB", note="the best classical method"),
        Tile(label="Demosaiced alone", value=f"{plain:.1f} dB", note="nothing is denoised"),
    ]
    made.head.append(page.tiles(tiles))
    if own <= value:
        text = (
            f"Half a minute of training does not beat {name} here: flat colours suit classical methods. The model that comes with Photic "
            "was trained for an hour and a half."
        )
        made.head.append(page.notice(text, "warning"))
    section = show_evaluation(made, found, folder, title="Scenes never seen")
    section.add(page.prose("These scenes are drawn. How good a network is on photographs, only photographs tell."))
    made.section("Next steps", "Exact commands.").add(page.commands(_commands(result.run, raws)))
    return made


def _commands(run_folder: Path, raws: Path) -> list[tuple[str, str]]:
    photic, folder = program(), runs.shown(run_folder)
    return [
        ("Denoise the made raw files", f"{photic} predict {folder} {runs.shown(raws)} -o clean --format png --compare"),
        ("Denoise a raw file of yours, leaving a fifth of its noise", f"{photic} predict rawdenoise photo.CR2 -o photo.dng --strength 0.8"),
        ("Compress the made raw files, denoised on the way", f"{photic} compress {runs.shown(raws)} -o small --quality 3"),
        ("Train on your own clean raw files and photographs", f"{photic} train recipe=raw_denoise_synthetic data.root=PHOTOS"),
    ]

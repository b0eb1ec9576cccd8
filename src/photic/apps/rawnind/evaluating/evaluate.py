"""``photic evaluate`` for denoisers of raw pictures: against the true pictures, classical methods and other models, by ISO value."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from photic.apps.rawnind.denoising import denoise, load_denoiser, network_of
from photic.apps.rawnind.evaluating.baselines import demosaiced, denoised_classically
from photic.apps.rawnind.evaluating.evaluation_data import SPLITS, Chosen, changes_of, choose
from photic.apps.rawnind.evaluating.evaluation_sheets import NOISY, TRUTH, write_crops, write_sheets
from photic.apps.rawnind.evaluating.scores import VALUES, Evaluation, Scored, finite, write_results
from photic.apps.rawnind.picture import RawPicture
from photic.core.errors import ConfigError, DataError
from photic.core.plugins import model_source
from photic.functional.cfa import Pattern
from photic.inference.memory import keep_freed_memory
from photic.inference.predictor import LoadedModel
from photic.metrics.pictures import picture_values
from photic.tasks.raw_denoising import developed
from photic.tracking.run import Run
from photic.workflows.progress import counting
from photic.workflows.report import write_report

_EXAMPLES = """examples:
  photic evaluate RUN                                        # the pictures the run kept for validation
  photic evaluate RUN --split test --against RUN2 RUN3       # other models on the same pictures, in the same table
  photic evaluate RUN 'data.val_iso=[3200,51200]'            # ISO values that validation does not have
  photic evaluate rawdenoise data.root=PHOTOS -o measured/   # clean raw files and photographs, with made noise
  photic evaluate rawdenoise data.name=rawnind_pairs data.root=PREPARED -o measured/
PSNR and MS-SSIM are of developed pictures (white-balanced, sRGB) at full resolution, not rounded to 8 bits; masked pixels do not count.
Networks are told the noise that the data know. MS-SSIM is left out for pictures with a side below 161 pixels."""


def main(arguments: list[str]) -> int:
    """Run the command."""
    options = _parser().parse_intermixed_args(arguments)
    source = model_source(options.run)
    changes = changes_of(options.changes)
    models = [load_denoiser(model, options.device) for model in (source, *options.against)]
    chosen = choose(source, changes, options.split, network_of(models[0]).measurement)
    folder = options.output or _own_folder(source, chosen)
    keep_freed_memory()
    with counting("Evaluating", len(chosen), "pictures", quiet=options.quiet) as advance:
        found = evaluate_pictures(models, chosen, folder, classical=not options.no_classical, advance=advance)
    written = [*write_results(found, folder), *write_sheets(found, folder)]
    if options.output is None:
        written.append(write_report(source).report)  # the run's page shows its evaluations
    print(found.summary())
    for note in found.notes:
        print(f"note: {note}")
    print(f"\n{found.table()}\n")
    for path in written:
        print(path)
    return 0


def evaluate_pictures(
    models: Sequence[LoadedModel],
    chosen: Chosen,
    folder: Path,
    *,
    classical: bool = True,
    advance: Callable[[int], None] = lambda count: None,
) -> Evaluation:
    """Evaluate models on pictures; crops of them are written into ``pictures`` in a folder, those of before are removed.

    Args:
        models: trained denoisers; the first is what the evaluation is about.
        chosen: the pictures.
        folder: where the crops go.
        classical: also evaluate demosaicing alone and a classical denoiser.
        advance: called with 1 after each picture.

    Raises:
        DataError: a picture cannot be read or is none for a model, or values are not finite.
    """
    names = method_names(models)
    networks = {name: network_of(model) for name, model in zip(names, models, strict=True)}
    crops = folder / "pictures"
    for old in crops.glob("*.png"):
        old.unlink()
    scored, methods = [], dict.fromkeys(names)
    for number, sample in enumerate(chosen):
        picture = picture_of(sample)
        made: dict[str, NDArray[np.float32]] = {
            name: denoise(network, picture, _noise(sample), balance=picture.white_balance) for name, network in networks.items()
        }
        plain = demosaiced(picture)
        if classical:
            made |= plain | denoised_classically(picture, _noise(sample))
        methods |= dict.fromkeys(made)
        shown = {name: _developed(pixels, sample) for name, pixels in made.items()}
        true = _developed(np.moveaxis(sample["target"].numpy(), 0, -1), sample)
        kept = {NOISY: _developed(list(plain.values())[-1], sample), **shown, TRUTH: true}
        iso = float(sample["iso"]) if "iso" in sample else float("nan")
        scored.append(
            Scored(
                name=str(sample["name"]),
                iso=finite(iso),
                size=picture.size,
                values={name: _values(result, true) for name, result in shown.items()},
                crops=write_crops(crops / f"{number:04d}", kept),
            )
        )
        advance(1)
    if not scored:
        raise DataError(f"{chosen.data}: no pictures to evaluate on")
    return Evaluation(
        model=names[0],
        source=str(models[0].source),
        data=chosen.data,
        split=chosen.split,
        methods=tuple(methods),
        classical=tuple(name for name in methods if name not in names),
        scored=tuple(scored),
        notes=chosen.notes,
    )


def method_names(models: Sequence[LoadedModel]) -> list[str]:
    """Return what the rows of models are called: network and size as configured, and the run or file where that is not enough."""

    def short(model: LoadedModel) -> str:
        network = model.config.get("model", {})
        return " ".join(str(network[key]) for key in ("name", "size") if key in network) or model.source.stem

    def long(model: LoadedModel) -> str:
        own = model.source.parent.parent.name if model.source.parent.name == "checkpoints" else model.source.stem
        return f"{short(model)} {own}"

    named = [short(model) for model in models]
    named = [name if named.count(name) == 1 else long(model) for name, model in zip(named, models, strict=True)]
    return [name if named.index(name) == place else f"{name} ({place + 1})" for place, name in enumerate(named)]


def picture_of(sample: Mapping[str, Any]) -> RawPicture:
    """Return a sample of the task as a raw picture."""
    measured = sample["measurement"].numpy().astype(np.float32)
    mosaic = measured.shape[0] == 1
    return RawPicture(
        values=measured[0] if mosaic else np.ascontiguousarray(np.moveaxis(measured, 0, -1)),
        pattern=pattern_of(sample["planes"]) if mosaic else None,
        xyz_to_camera=sample["xyz_to_camera"].numpy().astype(np.float64),
        white_balance=sample["balance"].numpy().astype(np.float64),
        noise=_noise(sample),
    )


def pattern_of(planes: Tensor) -> Pattern:
    """Return the pattern that planes ``(3, H, W)`` repeat, 2 x 2 or 6 x 6.

    Raises:
        DataError: they repeat neither.

    >>> from photic.functional.cfa import RGGB, cfa_planes
    >>> pattern_of(cfa_planes(RGGB, 8, 8)) == RGGB
    True
    """
    colours = planes.argmax(dim=0)
    for period in (2, 6):
        cell = colours[:period, :period]
        if cell.shape != (period, period):
            break
        repeats = [-(-side // period) for side in colours.shape]
        if torch.equal(cell.repeat(*repeats)[: colours.shape[0], : colours.shape[1]], colours):
            return tuple(tuple(int(colour) for colour in row) for row in cell)
    raise DataError(f"planes {tuple(planes.shape)}: repeat neither every 2 nor every 6 pixels")


def _noise(sample: Mapping[str, Any]) -> tuple[float, float]:
    return float(sample["noise"][0]), float(sample["noise"][1])


def _developed(pixels: NDArray[np.float32], sample: Mapping[str, Any]) -> Tensor:
    """Return a picture ``(H, W, 3)`` in camera colours as it is shown ``(1, 3, H, W)``; what is masked is that of the target."""
    if not np.isfinite(pixels).all():
        raise DataError(f"{sample['name']}: comes out with values that are not finite")
    picture = torch.from_numpy(np.ascontiguousarray(np.moveaxis(pixels, -1, 0)))[None]
    mask = sample.get("mask")
    if mask is not None:
        picture = torch.where(mask[None] > 0, picture, sample["target"][None])
    return developed(picture, {key: sample[key][None] for key in ("xyz_to_camera", "balance")})


def _values(made: Tensor, true: Tensor) -> dict[str, float | None]:
    return {name: finite(float(value[0])) for name, value in picture_values(made, true, VALUES, small="leave_out").items()}


def _own_folder(source: Path, chosen: Chosen) -> Path:
    if not source.is_dir():
        raise ConfigError(f"{source}: is a file; say with -o where the evaluation goes")
    return Run.open(source).path / "evaluations" / chosen.name


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="photic evaluate",
        description="Measure a denoiser of raw pictures, picture by picture and by ISO value, against demosaicing alone, a classical "
        "denoiser and other models on the same pictures; write tables, sheets of crops and the run's page.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", metavar="RUN", help="folder of a run, a bundle, or a model that comes with Photic")
    parser.add_argument("changes", nargs="*", metavar="data.KEY=VALUE", help="the pictures: data.name, data.root, data.val_iso, ...")
    parser.add_argument("--split", choices=SPLITS, help="of the data (default: val of the run's own, everything of others)")
    parser.add_argument("--against", nargs="+", default=(), metavar="MODEL", help="further models for the same table")
    parser.add_argument("--no-classical", action="store_true", help="models alone, which is faster")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="folder to write to (default: in the run's folder)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (default: auto)")
    parser.add_argument("--quiet", action="store_true", help="no progress display")
    return parser

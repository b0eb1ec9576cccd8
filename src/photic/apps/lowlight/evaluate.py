"""``photic evaluate`` for enhancers: every picture against the true one and against what classical methods make of it."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from photic.apps.lowlight.baselines import Baseline, fitted, untrained
from photic.apps.lowlight.enhancing import enhance_pixels, graph_of, load_enhancer
from photic.apps.lowlight.evaluation import (
    TRUTH,
    Evaluation,
    Picture,
    Scored,
    best_of,
    no_reference_values,
    ordered,
    values_of,
    write_results,
)
from photic.apps.lowlight.evaluation_data import SPLITS, Chosen, changes_of, choose
from photic.apps.lowlight.sheets import write_sheets, write_small
from photic.core.errors import ConfigError
from photic.core.plugins import model_source
from photic.inference.predictor import LoadedModel
from photic.tracking.run import Run
from photic.workflows.progress import counting
from photic.workflows.report import write_report

_EXAMPLES = """examples:
  photic evaluate RUN                                # the pictures the run kept for validation
  photic evaluate RUN --split test                   # another split of the run's data
  photic evaluate RUN data.root=OTHER                # every pair of another folder
  photic evaluate RUN data.root=PHOTOS               # photographs without true ones: only what needs none
  photic evaluate model.photic data.root=OTHER -o results/
PSNR, SSIM, MS-SSIM and ΔE2000 are of whole pictures at native size, RGB, not rounded to 8 bits; once as the pictures are, and once
after scaling each to the mean luma of the true one (GT mean), which published tables often do without saying so. MS-SSIM is left out
for pictures with a side below 161 pixels."""


def main(arguments: list[str]) -> int:
    """Run the command."""
    options = _parser().parse_intermixed_args(arguments)
    source = model_source(options.run)
    changes = changes_of(options.changes)
    chosen = choose(source, changes, options.split)
    folder = options.output or _own_folder(source, chosen)
    model = load_enhancer(source, options.device)
    with counting("Evaluating", len(chosen.pictures), "pictures", quiet=options.quiet) as advance:
        found = evaluate_pictures(model, chosen, folder, classical=not options.no_classical, advance=advance)
    written = [*write_results(found, folder), *write_sheets(found, folder)]
    if options.output is None:
        written.append(write_report(source).report)  # the run's page shows its evaluations
    print(found.summary())
    for note in chosen.notes:
        print(f"note: {note}")
    print()
    print(found.table())
    if found.num_with_truth:
        worst = [one for one in found.scored if one.has_truth][:3]
        print("\nworst: " + ", ".join(f"{one.name} ({one.values[found.model].get('psnr') or 0:.2f} dB)" for one in worst))
    print()
    for path in written:
        print(path)
    return 0


def evaluate_pictures(
    model: LoadedModel, chosen: Chosen, folder: Path, *, classical: bool = True, advance: Callable[[int], None] = lambda count: None
) -> Evaluation:
    """Evaluate a model on pictures; small versions of them are written into ``pictures`` in a folder, those of before are removed.

    Args:
        model: a trained enhancer.
        chosen: the pictures, and those that methods which learn are fitted to.
        folder: where the small pictures go.
        classical: also evaluate classical methods.
        advance: called with 1 after each picture.

    Raises:
        DataError: a picture cannot be read, or the network gives values that are not finite.
    """
    graph, name = graph_of(model), method_name(model)
    methods: list[Baseline] = untrained() if classical else []
    if classical and chosen.training is not None:
        methods += fitted(chosen.training.pairs())
    small = folder / "pictures"
    for old in small.glob("*.jpg"):
        old.unlink()
    scored = []
    for number, (title, dark, true) in enumerate(chosen.pictures):
        made = enhance_pixels(graph, dark, device=model.device) if dark.any() else dark
        results = {name: made, **{method.name: method(dark) for method in methods}}
        scored.append(_scored(title, name, true, results, stem=small / f"{number:04d}", dark=dark))
        advance(1)
    sentence = chosen.fitted_to if classical else "Classical methods were left out."
    return Evaluation(
        model=name,
        source=str(model.source),
        data=chosen.data,
        split=chosen.split,
        fitted_to=sentence,
        methods=(name, *(method.name for method in methods)),
        scored=ordered(scored, name),
    )


def method_name(model: LoadedModel) -> str:
    """Return what a model's rows are called: its network, as registered."""
    network = model.config.get("model", {})
    return str(network.get("name", model.source.stem))


def _scored(title: str, model: str, true: Picture | None, results: dict[str, Picture], *, stem: Path, dark: Picture) -> Scored:
    values = {method: values_of(picture, true) for method, picture in results.items()}
    best = best_of(values, [method for method in results if method != model]) if true is not None else None
    shown = {"before": dark, "after": results[model], "truth": true, "best": None if best is None else results[best]}
    if true is not None:
        values[TRUTH] = {"saturation": no_reference_values(true)["saturation"]}
    files = {
        kind: write_small(stem.with_name(f"{stem.name}_{kind}.jpg"), picture) for kind, picture in shown.items() if picture is not None
    }
    return Scored(
        name=title,
        size=(dark.shape[0], dark.shape[1]),
        values=values,
        has_truth=true is not None,
        best=best,
        pictures={kind: f"{stem.parent.name}/{file.name}" for kind, file in files.items()},
    )


def _own_folder(source: Path, chosen: Chosen) -> Path:
    if not source.is_dir():
        raise ConfigError(f"{source}: is a file; say with -o where the evaluation goes")
    return Run.open(source).path / "evaluations" / chosen.name


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="photic evaluate",
        description="Measure an enhancer picture by picture, against classical methods on the same pictures; write a table, sheets of "
        "before, after and truth (worst first), and the run's page.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", metavar="RUN", help="folder of a run, a bundle, or a model that comes with Photic")
    parser.add_argument("changes", nargs="*", metavar="data.KEY=VALUE", help="the pictures: data.root, data.pairing, data.faulty")
    parser.add_argument("--split", choices=SPLITS, help="of the run's own data (default: val; everything of another folder)")
    parser.add_argument("--no-classical", action="store_true", help="the model alone, which is faster")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="folder to write to (default: in the run's folder)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (default: auto)")
    parser.add_argument("--quiet", action="store_true", help="no progress display")
    return parser

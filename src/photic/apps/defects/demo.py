"""``photic demo defects``: strips are drawn, a network is trained on them, tested, and used on unseen ones."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.progress import track

from photic.apps.defects.generate import generate
from photic.core.program import program
from photic.workflows.demo import DemoResult
from photic.workflows.predict import predict
from photic.workflows.recipes import recipe
from photic.workflows.train import train

NUM_LABELLED, NUM_UNLABELLED = 400, 24
SIZE = (64, 400)


def run(folder: Path) -> DemoResult:
    """Run the whole way from files to a report and predictions on generated strips.

    Args:
        folder: where strips, run and predictions go; it must not hold strips yet.
    """
    console = Console()
    strips = folder / "strips"
    generate(
        strips,
        NUM_LABELLED,
        NUM_UNLABELLED,
        height=SIZE[0],
        width=SIZE[1],
        progress=lambda count: track(range(count), description="drawing strips", console=console),
    )
    console.print(
        f"drew {NUM_LABELLED} labelled strips of {SIZE[0]} x {SIZE[1]} pixels and {NUM_UNLABELLED} unlabelled ones: {strips}",
        soft_wrap=True,
    )
    result = train(recipe("demo_strips", {"data.root": str(strips), "output_dir": str(folder / "runs")}))
    console.print(result.summary(), highlight=False, soft_wrap=True)
    predictions = folder / "predictions.csv"
    maps = folder / "maps"
    unseen = strips / "test_images"
    predicted = predict(result.run, [str(unseen)], predictions, maps=maps)
    console.print(predicted.summary(), highlight=False, soft_wrap=True)
    macro = result.results["test"]["at_tuned"]["macro"]
    assert result.report is not None
    return DemoResult(
        report=result.report,
        headline=f"macro-AP {macro['ap']:.3f}, macro-F1 {macro['f1']:.3f} on {result.results['data']['counts']['test']} unseen strips",
        commands=tuple(
            f"{program()} {command}"
            for command in (
                f"predict {result.run} {unseen} -o defects.csv --maps maps/",
                f"evaluate {result.run}",
                f"train recipe=demo_strips data.root={strips} output_dir={folder / 'runs'} loss.name=focal   # another loss",
                f"compare {result.run.parent}   # all runs side by side",
                f"data check defects {strips}",
                "train recipe=severstal data.root=YOUR_DATA   # your own strips",
            )
        ),
    )

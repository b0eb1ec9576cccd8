"""CONTRIBUTING's table "what must I touch to add X": each row done on a copy of the sources, and nothing else touched.

Then one run is trained with all of it, so that what was added is not only listed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent

ADDED = {
    # a network
    "models/extra_net.py": '''
from dataclasses import dataclass
from torch import nn
from photic.core.registry import models
from photic.models.base import Classifier, ClassifierConfig


class ExtraNet(Classifier):
    """A convolution and a mean."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.body, self.head = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()), nn.Linear(8, num_classes)

    def activation_layer(self):
        return self.body

    def forward(self, image):
        return self.head(self.body(image).mean(dim=(2, 3)))


@models.register("extra_net")
@dataclass(frozen=True, kw_only=True)
class ExtraNetConfig(ClassifierConfig):
    """A convolution and a mean."""

    def build(self) -> ExtraNet:
        """Return the network."""
        return ExtraNet(self.outputs())
''',
    # a loss
    "losses/extra_loss.py": '''
from dataclasses import dataclass
import torch.nn.functional as F
from photic.core.registry import losses
from photic.losses.base import BaseLoss, LossConfig


class ExtraLoss(BaseLoss):
    """Squared error of probabilities."""

    def get_params(self):
        return {}

    def value(self, prediction, target, mask=None):
        error = (prediction.sigmoid() - target) ** 2
        return error.mean() if mask is None else (error * mask).sum() / mask.sum()


@losses.register("extra_loss")
@dataclass(frozen=True, kw_only=True)
class ExtraLossConfig(LossConfig):
    """Squared error of probabilities."""

    def make(self) -> ExtraLoss:
        """Return the loss."""
        return ExtraLoss()
''',
    # a metric
    "metrics/extra_metric.py": '''
from dataclasses import dataclass
from photic.core.registry import metrics
from photic.metrics.base import MetricConfig
from photic.metrics.classification import AveragePrecision


class ExtraMetric(AveragePrecision):
    """Average precision in percent."""

    def compute(self):
        return {name.replace("ap", "extra", 1): 100 * value for name, value in super().compute().items()}


@metrics.register("extra_metric")
@dataclass(frozen=True, kw_only=True)
class ExtraMetricConfig(MetricConfig):
    """Average precision in percent."""

    def build(self) -> ExtraMetric:
        """Return the metric."""
        return ExtraMetric()
''',
    # an augmentation
    "data/augment/extra_augmentation.py": '''
from dataclasses import dataclass
from photic.core.registry import augmentations
from photic.data.augment.base import Augmentation, AugmentationConfig, Stage


class ExtraAugmentation(Augmentation):
    """Darker."""

    stage = Stage.PHOTOMETRIC

    def apply(self, sample, rng, partner):
        return {**sample, "measurement": sample["measurement"] * float(rng.uniform(0.5, 1))}


@augmentations.register("extra_augmentation")
@dataclass(frozen=True, kw_only=True)
class ExtraAugmentationConfig(AugmentationConfig):
    """Darker than it was."""

    def build(self) -> ExtraAugmentation:
        """Return the augmentation."""
        return ExtraAugmentation(self.probability)
''',
    # an optimizer and a schedule
    "optim/extra_optim.py": '''
from dataclasses import dataclass
import torch
from photic.core.registry import optimizers, schedules
from photic.optim.optimizers import OptimizerConfig
from photic.optim.schedules import Schedule, ScheduleConfig


@optimizers.register("extra_optimizer")
@dataclass(frozen=True, kw_only=True)
class ExtraOptimizerConfig(OptimizerConfig):
    """Adam with its weight decay in the gradient."""

    def build(self, groups):
        """Return the optimizer."""
        return torch.optim.Adam(groups, lr=self.lr, weight_decay=self.weight_decay)


class ExtraSchedule(Schedule):
    """Half way down."""

    def __init__(self, num_steps: int) -> None:
        self.num_steps = num_steps

    def factor(self, step: int) -> float:
        return 1 - 0.5 * step / self.num_steps


@schedules.register("extra_schedule")
@dataclass(frozen=True, kw_only=True)
class ExtraScheduleConfig(ScheduleConfig):
    """Half way down in a straight line."""

    def build(self, steps_per_epoch: int, num_steps: int) -> ExtraSchedule:
        """Return the schedule."""
        return ExtraSchedule(num_steps)
''',
    # a task
    "tasks/extra_task.py": '''
from dataclasses import dataclass
from photic.core.registry import tasks
from photic.tasks.classification import MultilabelClassificationConfig


@tasks.register("extra_task")
@dataclass(frozen=True, kw_only=True)
class ExtraTaskConfig(MultilabelClassificationConfig):
    """Classification under another name."""
''',
    # a data set of an application
    "apps/defects/extra_data.py": '''
from dataclasses import dataclass
from photic.apps.defects.datasets import SyntheticStripsConfig
from photic.core.registry import datasets


@datasets.register("extra_data")
@dataclass(frozen=True, kw_only=True)
class ExtraDataConfig(SyntheticStripsConfig):
    """Drawn strips of another seed."""

    def prepare(self, seed: int):
        """Draw the strips and split them."""
        return super().prepare(seed + 1000)
''',
    # a recipe
    "apps/defects/recipes/extra_recipe.yaml": """# Everything that was added, together
experiment: extra
task: {name: extra_task, metrics: [average_precision, extra_metric]}
model: {name: extra_net}
loss: {name: extra_loss}
data: {name: extra_data, num_samples: 100, height: 32, width: 64, batch_size: 16, augment: {extra_augmentation: {probability: 1.0}}}
optimizer: {name: extra_optimizer, lr: 0.01}
schedule: {name: extra_schedule}
training: {num_epochs: 1, monitor: macro_extra}
trainer: {accelerator: cpu, num_threads: 1}
""",
    # an output format of `photic predict` (and its name in the plug-in, below)
    "apps/defects/extra_format.py": '''
from photic.inference.outputs import PredictionFormat


class ExtraFormat(PredictionFormat):
    """Names only."""

    def lines(self, prediction):
        return f"{prediction.file.name}\\n"
''',
    # a reader of scans (and its name in the plug-in, below)
    "apps/ptycho/readers/extra_reader.py": '''
import numpy as np
from photic.apps.ptycho.raw import RawNPZData
from photic.apps.ptycho.readers.base import OtherFormatError


def read(path, *, domain=None, diffraction=None):
    """Read positions from a text file; the patterns are all alike."""
    if path.suffix != ".extra":
        raise OtherFormatError("its name does not end in .extra")
    places = np.loadtxt(path, ndmin=2)
    return RawNPZData(places[:, 0], places[:, 1], np.ones((len(places), 8, 8)), np.ones((8, 8)), source=str(path))
''',
    # a forward operator
    "physics/extra_operator.py": '''
import torch
from torch import Tensor


class Shadow:
    """Sums of the columns of a picture ``(H, W)``."""

    def __init__(self, height: int) -> None:
        self.height = height

    def apply(self, object_: Tensor) -> Tensor:
        return object_.sum(dim=0)

    def adjoint(self, field: Tensor) -> Tensor:
        return field.expand(self.height, -1)

    def measure(self, object_: Tensor) -> Tensor:
        return self.apply(object_)

    def sample_noise(self, measurement: Tensor, generator: torch.Generator) -> Tensor:
        return torch.poisson(measurement, generator=generator)
''',
    # an application (and its entry point, below), and what `photic evaluate` does with models of a task
    "apps/second/__init__.py": "",
    "apps/second/plugin.py": """
from photic.core.plugins import Command, Plugin

plugin = Plugin(
    name="second",
    package="photic.apps.second",
    summary="Another application",
    commands={"second": Command(summary="Say so", target="photic.apps.second.plugin:main")},
    evaluators={"extra_task": Command(summary="Say so", target="photic.apps.second.plugin:evaluate")},
)


def main(arguments):
    print("the second application")
    return 0


def evaluate(arguments):
    print("the second application evaluates", *arguments)
    return 0
""",
    "apps/second/recipes/second_recipe.yaml": """# What the second application trains
task: {name: multilabel_classification}
model: {name: extra_net}
loss: {name: bce_with_logits}
data: {name: extra_data}
""",
}
KINDS = ["model", "loss", "metric", "augmentation", "optimizer", "schedule", "task"]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources with a file added for each row."""
    folder = tmp_path_factory.mktemp("copy")
    package = Path(shutil.copytree(ROOT / "src" / "photic", folder / "photic", ignore=shutil.ignore_patterns("__pycache__")))
    for name, text in ADDED.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text.lstrip("\n"))
    plugin = package / "apps" / "defects" / "plugin.py"
    text = plugin.read_text()
    assert "formats={" in text
    plugin.write_text(text.replace("formats={", 'formats={"extra": "photic.apps.defects.extra_format:ExtraFormat", '))
    plugin = package / "apps" / "ptycho" / "plugin.py"
    text = plugin.read_text()
    assert "readers={" in text
    plugin.write_text(text.replace("readers={", 'readers={"extra": "photic.apps.ptycho.readers.extra_reader:read", '))
    info = folder / "photic_second-1.dist-info"  # what the line in pyproject.toml becomes when the package is installed again
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: photic-second\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[photic.plugins]\nsecond = photic.apps.second.plugin:plugin\n")
    return folder


def photic(copy: Path, *words: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    done = subprocess.run(
        [sys.executable, "-m", "photic", *words], capture_output=True, text=True, check=False, cwd=copy, env=environment, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_what_was_added_is_in_the_catalogue(copy: Path) -> None:
    where = {**{f"{kind}s": f"extra_{kind}" for kind in KINDS}, "losses": "extra_loss", "models": "extra_net", "datasets": "extra_data"}
    del where["losss"]
    for kind, name in [*where.items(), ("recipes", "extra_recipe"), ("recipes", "second_recipe"), ("plugins", "second")]:
        found = json.loads(photic(copy, "list", kind, "--json"))
        assert name in [row["name"] for row in found], kind


def test_a_run_is_trained_and_applied_with_all_of_it(copy: Path) -> None:
    import numpy as np
    from PIL import Image

    photic(copy, "train", "recipe=extra_recipe", "--quiet")
    (run,) = (copy / "runs" / "extra").iterdir()
    results: dict[str, Any] = json.loads((run / "results.json").read_text())
    assert results["status"] == "completed"
    assert results["names"] == {"task": "extra_task", "model": "extra_net", "loss": "extra_loss", "data": "extra_data"}
    assert results["best"]["monitor"] == "macro_extra"
    assert results["config"]["optimizer"]["name"] == "extra_optimizer"
    assert list(results["config"]["data"]["augment"]) == ["extra_augmentation"]
    Image.fromarray(np.zeros((32, 64), np.uint8)).save(copy / "strip.png")
    photic(copy, "predict", str(run), "strip.png", "-o", "out.txt", "--format", "extra", "--quiet")
    assert (copy / "out.txt").read_text() == "strip.png\n"
    assert photic(copy, "evaluate", str(run), "--fast") == f"the second application evaluates {run} --fast\n"


def test_a_reader_reads_its_files(copy: Path) -> None:
    (copy / "scan.extra").write_text("".join(f"{4 + x} {4 + y}\n" for x in range(0, 12, 2) for y in range(0, 12, 2)))
    said = photic(copy, "data", "check", "ptycho", "scan.extra", "-o", "checked")
    assert "36" in said
    assert "8 x 8" in said


def test_a_forward_operator_is_what_the_contract_calls_one(copy: Path) -> None:
    code = (
        "import torch; from photic.physics.base import ForwardOperator; from photic.physics.extra_operator import Shadow; "
        "operator: ForwardOperator = Shadow(5); x, y = torch.rand(5, 7), torch.rand(7); "
        "assert torch.isclose((operator.apply(x) * y).sum(), (x * operator.adjoint(y)).sum()); "
        "assert all(hasattr(operator, name) for name in ('apply', 'adjoint', 'measure', 'sample_noise')); print('adjoint')"
    )
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=copy, env=environment)
    assert done.stdout == "adjoint\n", done.stderr


def test_an_application_adds_its_command_and_its_recipe(copy: Path) -> None:
    assert photic(copy, "second") == "the second application\n"
    assert "name: extra_net" in photic(copy, "train", "recipe=second_recipe", "--cfg", "job")


def test_applications_are_deleted_with_their_folders_and_their_lines(copy: Path, tmp_path: Path) -> None:
    """The core works without any application: no module of it imports one."""
    shutil.copytree(copy / "photic", tmp_path / "photic", ignore=shutil.ignore_patterns("defects", "lowlight", "ptycho", "__pycache__"))
    code = (
        "import sys, photic.core.plugins as plugins; real = plugins.entry_points\n"
        "plugins.entry_points = lambda **k: [e for e in real(**k) if e.name not in ('defects', 'lowlight', 'ptycho', 'second')]\n"
        "from photic.cli.main import main\n"
        "import photic.workflows.train, photic.workflows.predict, photic.workflows.compare, photic.engine.fit\n"
        "sys.exit(max(main(words) for words in (['list', 'models'], ['list', 'recipes', '--json'], ['--help'])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "extra_net" in done.stdout
    assert "\n[]\n" in done.stdout, "no recipes, said as JSON"


def test_every_row_of_the_table_was_tried() -> None:
    """A row that is added to CONTRIBUTING needs an example here."""
    table = (ROOT / "CONTRIBUTING.md").read_text().partition("## What must I touch")[2].partition("Nothing else")[0]
    rows = re.findall(r"^\| (an? [^|]+?|what [^|]+?|any of [^|]+?) \|", table, re.MULTILINE)
    assert rows == [
        "a network",
        "a loss",
        "a metric",
        "an augmentation",
        "an optimizer or schedule",
        "a data set of an application",
        "a recipe",
        "an output format of `photic predict`",
        "a reader of scans",
        "what `photic predict` and `photic evaluate` do with a task's models",
        "a forward operator",
        "a task",
        "an application",
        "any of these from outside",  # tests/workflows/test_third_party.py
    ]

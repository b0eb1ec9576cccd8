"""A file for each row of CONTRIBUTING's table, by where it goes in the sources; none of them is more than its row asks for."""

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
    file_models={"extra_task": "photic.apps.second.file_model:ExtraFiles"},
)


def main(arguments):
    print("the second application")
    return 0


def evaluate(arguments):
    print("the second application evaluates", *arguments)
    return 0
""",
    "apps/second/file_model.py": '''
from photic.core.files import saved
from photic.data.images import read_image
from photic.inference.file_model import Answer, FileModel


class ExtraFiles(FileModel):
    """Says of a picture what the network makes of it."""

    endings, writable = (".png",), (".txt",)

    def apply(self, source, output, options, *, force=False, advance=lambda share: None):
        place, options = self._check_output(source, output), self._options(options, self.options_type)
        found = self.model.predict(read_image(source))
        with saved(place, force=force) as temporary:
            temporary.write_text(f"{found.shape}")
        return Answer((place,), {"classes": found.shape[1]})
''',
    "apps/second/recipes/second_recipe.yaml": """# What the second application trains
task: {name: multilabel_classification}
model: {name: extra_net}
loss: {name: bce_with_logits}
data: {name: extra_data}
""",
}

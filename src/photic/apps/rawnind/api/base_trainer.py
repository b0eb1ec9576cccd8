"""What trainers from Python share: steps, validation, learning rate, checkpoints, through the engine of every other training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch import Tensor

from photic.apps.rawnind.api.experiment import CleanExperimentManager, is_traded, new_folder, newest_checkpoint
from photic.apps.rawnind.api.image_metrics import full_mask, higher_is_better
from photic.apps.rawnind.api.paired_task import Loader, PairedTask, PreparedBatches
from photic.apps.rawnind.api.training_config import TrainingConfig
from photic.apps.rawnind.api.training_images import TrainingImages, Watched
from photic.core.checkpoint import Checkpoint, load_weights, read_checkpoint, write_checkpoint
from photic.core.errors import CheckpointError, ConfigError, DataError
from photic.core.seeding import derive_seed
from photic.engine.state import TrainingState
from photic.engine.steps import build_optimizer, evaluate, optimize, set_rates
from photic.functional.cfa import unpack
from photic.inference.devices import usable_device
from photic.optim.optimizers import AdamWConfig
from photic.optim.patience_steps import Mode, StepPatience
from photic.tasks.base import Phase


class TrainingSummary(TypedDict):
    """What a training gives back."""

    steps_completed: int
    """Optimizer steps that this call really made."""
    final_loss: float
    """Of the last one; NaN without any."""
    training_loss_history: list[float]
    """Of each one."""


class CleanTrainer(ABC):
    """A task, its optimizer and where training stands.

    Args:
        training_type: what it is trained for; a checkpoint of another one is not resumed.
        config: settings.
        task: what is trained.

    Raises:
        ConfigError: no such device, or a network without parameters.
    """

    def __init__(self, training_type: str, config: TrainingConfig, task: PairedTask) -> None:
        self.training_type, self.config = training_type, config
        self.device = usable_device(config.device)
        self.task = task.to(self.device)
        self._optimizer_config = AdamWConfig(lr=config.rate, weight_decay=0.0)  # without decay it is Adam
        self.optimizer = build_optimizer(self.task, self._optimizer_config)
        self.schedule = StepPatience(config.lr_decay_factor, config.patience)
        self.folder = new_folder(config)
        """Where pictures and checkpoints go that no experiment manager is there for; made when something is written."""
        self.state = TrainingState()
        """Optimizer steps that were really made, and validations."""

    @property
    def model(self) -> Any:
        """The network."""
        return self.task.network

    @property
    def current_step(self) -> int:
        """Optimizer steps made so far, in all calls."""
        return self.state.steps

    @abstractmethod
    def described(self) -> dict[str, Any]:
        """Return the configuration of task, network and loss that a checkpoint needs to be used without this trainer."""

    def get_optimizer_param_groups(self) -> list[dict[str, Any]]:
        """Return the groups of the optimizer, each with ``name``, ``params`` and ``lr``."""
        return self.task.parameter_groups(self._optimizer_config.lr, self._optimizer_config.weight_decay)

    def compute_loss(self, predictions: Tensor, ground_truth: Tensor, masks: Any = None) -> Tensor:
        """Return how far pictures are from the true ones: the loss after the transfer function, over what counts; no rate is in it.

        Args:
            predictions: ``(B, 3, H, W)`` as :meth:`process_bayer_output` gives them, or of RGB training the network's.
            ground_truth: the same shape.
            masks: ``(B, 1, H, W)``, ``(B, H, W)`` or the same shape; nonzero counts; None: everything.

        Raises:
            DataError: shapes differ (nothing is scaled to fit), or nothing counts.
        """
        return self.task.compared(predictions, ground_truth, None if masks is None else full_mask(masks, ground_truth, each=False).float())

    def process_bayer_output(self, output: Tensor, xyz_matrices: Any, bayer_input: Tensor) -> Tensor:
        """Return the network's pictures in linear Rec.2020, matched in exposure to what it was given, if so configured.

        Each picture's matrix is inverted as it is. With ``match_gain="output"``, each picture is multiplied by one factor first: the mean
        of the mosaic over that of the picture at the same samples, where the mosaic is not clipped.

        Args:
            output: ``(B, 3, 2H, 2W)`` in the camera's colours.
            xyz_matrices: ``(B, 3, 3)``, XYZ (D65) to camera.
            bayer_input: ``(B, 4, H, W)`` packed.

        Raises:
            ConfigError: this trainer's pictures are RGB.
            DataError: other shapes, or a matrix that cannot be inverted.
        """
        if not self.task.is_bayer:
            raise ConfigError("process_bayer_output: this trainer is rgb_to_rgb, whose pictures stay in their colours")
        if output.ndim != 4 or bayer_input.shape != (len(output), 4, output.shape[2] // 2, output.shape[3] // 2) or output.shape[1] != 3:
            raise DataError(
                f"process_bayer_output: expected output (B, 3, 2H, 2W) and bayer_input (B, 4, H, W), got {tuple(output.shape)} and "
                f"{tuple(bayer_input.shape)}"
            )
        matrices = self.task.matrices(xyz_matrices, len(output), output.device)
        return self.task.finished(output, unpack(bayer_input), self.task.planes(output), matrices)

    def step(self, batch: Mapping[str, Any], step: int | None = None) -> dict[str, float]:
        """Make one optimization step.

        Args:
            batch: as the class says.
            step: number of the step; None goes on counting.

        Returns:
            ``loss``, its terms where there are several, and ``learning_rate`` as it was used.

        Raises:
            DataError: the batch is none.
            TrainingError: the loss or the gradient is not finite; the weights are as they were.
        """
        if step is not None:
            self.state.steps = self.state.batches = int(step)
        self.task.train()
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):  # the caller's random numbers stay as they are
            torch.manual_seed(derive_seed(self.config.seed, "train-step", self.state.batches, 0))  # those of the loop
            values = optimize(
                self.task,
                self.task.prepared(batch, self.device),
                self.optimizer,
                self.schedule,
                step=self.state.steps,
                clip_norm=self.config.gradient_clip_norm,
            )
        self.state.steps += 1
        self.state.batches += 1
        return {**values, "learning_rate": self.get_current_learning_rate()}

    def train(
        self,
        train_dataloader: Loader,
        validation_dataloader: Loader | None = None,
        experiment_manager: CleanExperimentManager | None = None,
        max_steps: int | None = None,
        *,
        test_dataloader: Loader | None = None,
    ) -> TrainingSummary:
        """Make exactly ``max_steps`` optimizer steps, one per batch, however short the loader is.

        Every ``validation_interval`` steps and at the end, what there is to validate is validated: the learning rate is lowered where
        patience runs out, values go to the manager, and the checkpoints it wants are written, besides the newest.

        Args:
            train_dataloader: gives batches, again and again.
            validation_dataloader: likewise; None: nothing is validated, and the learning rate stays.
            experiment_manager: keeps values and checkpoints; None: nothing is written.
            max_steps: of this call; None: what is left of ``total_steps``.
            test_dataloader: tested every ``test_interval`` steps; tests are recorded and choose nothing.

        Raises:
            DataError: a loader gives no batches, or batches are none.
            TrainingError: the loss or the gradient is not finite.
            RunInterrupted: Ctrl-C; the step going on was finished.
        """
        from photic.engine.streams import fit_stream

        wanted = max(0, self.config.total_steps - self.state.steps) if max_steps is None else int(max_steps)
        if wanted < 0:
            raise ConfigError(f"max_steps: expected 0 or more, got {max_steps}")
        course = _Course(self, experiment_manager, test_dataloader)
        if wanted:
            with course.watched:
                fit_stream(
                    self.task,
                    PreparedBatches(self.task, train_dataloader, self.device),
                    None if validation_dataloader is None else PreparedBatches(self.task, validation_dataloader, self.device),
                    optimizer=self.optimizer,
                    schedule=self.schedule,
                    state=self.state,
                    num_steps=wanted,
                    validate_every_steps=self.config.validation_interval,
                    clip_norm=self.config.gradient_clip_norm,
                    device=self.device,
                    seed=self.config.seed,
                    listener=course,
                )
        if experiment_manager is not None and course.losses:
            self.save_checkpoint(experiment_manager.last_path)
        final = course.losses[-1] if course.losses else float("nan")
        return {"steps_completed": len(course.losses), "final_loss": final, "training_loss_history": course.losses}

    def validate(self, validation_dataloader: Loader) -> dict[str, float]:
        """Return the mean ``loss`` over the pictures of a loader, and those of ``additional_metrics``; writes pictures if so configured.

        Raises:
            DataError: there are no batches.
        """
        return self._evaluated(validation_dataloader, "val", self.folder)

    def test(self, test_dataloader: Loader, experiment_manager: CleanExperimentManager | None = None) -> dict[str, float]:
        """Return what :meth:`validate` returns, of test pictures; recorded under names that choose nothing (``test_loss``).

        Raises:
            DataError: there are no batches.
        """
        folder = self.folder if experiment_manager is None else experiment_manager.folder
        values = self._evaluated(test_dataloader, "test", folder)
        if experiment_manager is not None:
            experiment_manager.record_metrics(self.state.steps, {f"test_{name}": value for name, value in values.items()})
        return values

    def update_learning_rate(self, metrics: Mapping[str, float] | float, step: int | None = None) -> float:
        """Take in values of a validation; lower the learning rate, at once, where patience has run out.

        Args:
            metrics: values by name (of which any may improve), or one loss.
            step: optimizer steps done; None: as many as were made, but at least one more than the last time.

        Returns:
            The learning rate.
        """
        values = metrics if isinstance(metrics, Mapping) else {"loss": float(metrics)}
        place = max(self.state.steps, self.schedule.last + 1) if step is None else int(step)
        modes: dict[str, tuple[float, Mode]] = {
            name: (float(value), "max" if higher_is_better(name.removeprefix("val_")) else "min") for name, value in values.items()
        }
        self.schedule.observe_values(place, modes)
        set_rates(self.optimizer, self.schedule, place)
        return self.get_current_learning_rate()

    def get_current_learning_rate(self) -> float:
        """Return the learning rate that the optimizer has."""
        return float(self.optimizer.param_groups[0]["lr"])

    def save_checkpoint(self, path: Path | str | None = None, step: int | None = None) -> Path:
        """Write weights and everything needed to go on, whole or not at all.

        Args:
            path: a file, or a folder; None: the trainer's own.
            step: names the file in a folder; None: the steps made.

        Raises:
            CheckpointError: it cannot be written.
        """
        manager = CleanExperimentManager(self.config, folder=self.folder)
        number = self.state.steps if step is None else int(step)
        place = manager.checkpoint_path(number) if path is None else Path(path)
        if place.is_dir() or (path is not None and not place.suffix):
            place /= manager.checkpoint_path(number).name
        config = {
            **self.described(),
            "data": {"name": None},
            "optimizer": self._optimizer_config.to_dict(),
            "python": {"training_type": self.training_type, **self.config.to_dict()},
        }
        state = {
            "training": self.state.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
        }
        description = {"config": config, "requires": [], **self.task.description(), "step": self.state.steps}
        return write_checkpoint(place, Checkpoint(weights=self.task.state_dict(), state=state, description=description))

    def load_checkpoint(self, path: Path | str) -> int:
        """Read weights, and, where the file has them, optimizer, learning rate and steps; return the steps made.

        Raises:
            CheckpointError: missing, damaged, or of another network.
        """
        path = Path(path)
        saved = read_checkpoint(path)
        load_weights(self.task, saved.deployed() if not saved.state else saved.weights, path)
        own = saved.description.get("config", {}).get("python")
        if own is not None and own.get("training_type") == self.training_type:
            self.optimizer.load_state_dict(saved.state["optimizer"])
            self.schedule.load_state_dict(saved.state["schedule"])
            self.state.load_state_dict(saved.state["training"])
        return self.state.steps

    def resume_from_checkpoint(self, path: Path | str) -> int:
        """Go on from a checkpoint of such a trainer, as if it had not been left; return the steps made.

        Raises:
            CheckpointError: missing, damaged, of another network, or without what is needed to go on.
        """
        own = read_checkpoint(path).description.get("config", {}).get("python") or {}
        if own.get("training_type") != self.training_type:
            raise CheckpointError(
                f"{path}: was not written by a trainer for {self.training_type}, so it cannot be resumed; load_checkpoint takes weights "
                "alone"
            )
        return self.load_checkpoint(path)

    def resume_from_experiment(self, experiment: CleanExperimentManager | Path | str | None = None) -> int:
        """Go on from the newest checkpoint of an experiment; return the steps made.

        Args:
            experiment: its manager or folder; None: the newest of those that the config names.

        Raises:
            CheckpointError: it has no checkpoint, or as :meth:`resume_from_checkpoint`.
        """
        folder = experiment.folder if isinstance(experiment, CleanExperimentManager) else Path(experiment or self.config.experiments)
        return self.resume_from_checkpoint(newest_checkpoint(folder))

    def _evaluated(self, loader: Loader, phase: Phase, folder: Path) -> dict[str, float]:
        training = self.task.training
        with self._watched(folder) as images:
            images.step = self.state.steps
            found = evaluate(self.task, PreparedBatches(self.task, loader, self.device), phase)
        self.task.train(training)
        return found

    def _watched(self, folder: Path) -> Watched:
        return Watched(self.task, TrainingImages(self.task, folder / "images"), on=self.config.save_training_images)


class _Course:
    """What a training does at its steps and validations."""

    def __init__(self, trainer: CleanTrainer, manager: CleanExperimentManager | None, test: Loader | None) -> None:
        self.trainer, self.manager, self.test = trainer, manager, test
        self.losses: list[float] = []
        self.watched = trainer._watched(trainer.folder if manager is None else manager.folder)

    def stepped(self, step: int, values: dict[str, float]) -> None:
        """Keep the loss; test where its turn has come."""
        self.losses.append(values["loss"])
        self.watched.images.step = step
        every = self.trainer.config.test_interval
        if self.test is not None and every is not None and step % every == 0:
            self.trainer.test(self.test, self.manager)

    def validated(self, step: int, values: dict[str, float]) -> bool:
        """Lower the learning rate, record, save; return whether patience has run out altogether."""
        trainer, state = self.trainer, self.trainer.state
        trainer.update_learning_rate({name: value for name, value in values.items() if not is_traded(name)}, step)
        state.history.append({"step": step, "val": values, "lr": trainer.get_current_learning_rate()})
        state.waited = 0 if trainer.schedule.improved else state.waited + 1
        if self.manager is not None:
            self.manager.record_metrics(step, {**values, "train_loss": self.losses[-1], "lr": trainer.get_current_learning_rate()})
            if self.manager.should_save_checkpoint(step):
                trainer.save_checkpoint(self.manager.checkpoint_path(step))
                self.manager.cleanup_checkpoints()
            trainer.save_checkpoint(self.manager.last_path)
        patience = trainer.config.early_stopping_patience
        return patience is not None and state.waited >= patience

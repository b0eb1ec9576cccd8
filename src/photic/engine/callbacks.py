"""What happens around the steps: validation's consequences, checkpoints, logs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback

from photic.core.checkpoint import Checkpoint, write_checkpoint
from photic.core.errors import ConfigError, RunInterrupted, nearest
from photic.core.program import program
from photic.data.images import write_image
from photic.engine.module import EngineModule
from photic.tracking.run import Run


class Recorder(Callback):
    """Writes the run: history, metrics, TensorBoard, checkpoints; decides what is best and when to stop.

    Where several processes train, each decides, all alike, and the first one writes.

    Args:
        run: the folder.
        description: what goes into every checkpoint beside weights and state.
        stream: settings of the stream of batches, which a resumed run must have too.
        on_progress: called with the module and ``train``, ``val`` or ``validated``.
    """

    def __init__(
        self, run: Run, description: dict[str, Any], stream: dict[str, Any], on_progress: Callable[[EngineModule, str], None]
    ) -> None:
        self.run = run
        self.description = description
        self.stream = stream
        self.on_progress = on_progress
        self._writer: Any = None
        self._started = 0.0
        self._seconds_before = 0.0

    def on_train_start(self, trainer: lightning.Trainer, module: EngineModule) -> None:  # type: ignore[override]
        """Open the logs at the present step."""
        self._started, self._seconds_before = time.monotonic(), module.state.seconds
        module.interruption.renew()
        if module.processes.is_first:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self.run.path / "tensorboard"), purge_step=module.state.steps)

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: lightning.Trainer, module: EngineModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the batch, log, save where the plan says so, stop where asked."""
        state, plan = module.state, module.plan
        whole = plan.completes_step(state.batches + 1)
        state.batches += 1
        self.on_progress(module, "train")
        if not whole:
            return
        if state.steps % module.config.log_every_steps == 0:
            values = {f"train/{name}": value for name, value in module.last_terms.items()} | {"lr": module.learning_rate()}
            values |= module.group_rates()
            self._log(state.steps, plan.epoch(state.batches), values)
        if state.batches == plan.next_validation(state.batches - 1):
            return  # validation follows at once and saves what it finds
        every = module.config.checkpoint_every_steps
        if module.stop_requested:
            self.save(trainer, module)
            raise RunInterrupted(self._stopped("at", module))
        if every is not None and state.steps % every == 0:
            self.save(trainer, module)

    def on_validation_batch_end(self, trainer: lightning.Trainer, module: EngineModule, *_: Any) -> None:  # type: ignore[override]
        """Show that validation goes on."""
        self.on_progress(module, "val")

    def on_validation_end(self, trainer: lightning.Trainer, module: EngineModule) -> None:  # type: ignore[override]
        """Record the validation, keep the best weights, decide whether to go on, save."""
        state, plan, config = module.state, module.plan, module.config
        values = module.validation_values()
        if config.monitor not in values:
            known = f"{nearest(config.monitor, values)} (values: {', '.join(values)})"
            raise ConfigError(f"config.training.monitor: validation gives no '{config.monitor}'{known}")
        train = state.take_means()
        state.seconds = self._seconds_before + time.monotonic() - self._started
        entry = {
            "epoch": round(plan.epoch(state.batches), 6),
            "step": state.steps,
            "lr": module.learning_rate(),
            "train": train,
            "val": values,
            "seconds": round(state.seconds, 3),
        }
        monitored = values[config.monitor]
        better = state.record(entry, monitored, config.monitor_mode, config.monitor)
        module.schedule.observe_at(state.steps, monitored, config.monitor_mode)
        self._log(state.steps, plan.epoch(state.batches), {f"val/{name}": value for name, value in values.items()})
        if state.batches >= plan.num_batches:
            state.finished = "all steps done"
        elif config.early_stopping_patience is not None and state.waited >= config.early_stopping_patience:
            state.finished = f"{config.monitor} did not improve in {state.waited} validations"
        if better:
            self.save(trainer, module, "best")
        self.save(trainer, module)
        if module.processes.is_first:
            self.run.save_results(history=state.history, best=state.best)
            self._preview(module)
        self.on_progress(module, "validated")
        if state.finished is not None:
            trainer.should_stop = True
        elif module.stop_requested:
            raise RunInterrupted(self._stopped("after validation at", module))

    def save(self, trainer: lightning.Trainer, module: EngineModule, name: str = "last") -> None:
        """Write a checkpoint; ``best`` holds weights only, ``last`` everything needed to go on."""
        if not module.processes.is_first:
            return
        state: dict[str, Any] = {}
        if name == "last":
            module.state.seconds = self._seconds_before + time.monotonic() - self._started
            state = {
                "training": module.state.state_dict(),
                "stream": self.stream,
                "num_processes": module.processes.num_processes,
                "optimizer": trainer.optimizers[0].state_dict(),
                "schedule": module.schedule.state_dict(),
                "precision": trainer.precision_plugin.state_dict(),
                "ema_updates": module.average.num_updates if module.average is not None else 0,
            }
        position = {"step": module.state.steps, "epoch": module.plan.epoch(module.state.batches)}
        write_checkpoint(
            self.run.checkpoint(name),
            Checkpoint(
                weights=module.task.state_dict(),
                ema=module.average.weights if module.average is not None else None,
                state=state,
                description={**self.description, **module.task.description(), **position},
            ),
        )

    def _preview(self, module: EngineModule) -> None:
        """Draw the validation just made where its turn has come, and let its tensors go."""
        draw, module.preview = module.preview, None
        every = module.config.preview_every_validations
        last = module.state.finished is not None
        if every is None or draw is None or (len(module.state.history) % every and not last):
            return
        write_image(self.run.path / "samples" / f"step_{module.state.steps:06d}.png", draw())

    def close(self) -> None:
        """Close the logs."""
        if self._writer is not None:
            self._writer.close()

    def _log(self, step: int, epoch: float, values: dict[str, float]) -> None:
        if self._writer is None:
            return
        self.run.log(step=step, epoch=round(epoch, 6), **values)
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def _stopped(self, where: str, module: EngineModule) -> str:
        done = f"stopped {where} step {module.state.steps} of {module.plan.num_steps}"
        return f"{self.run.path}: {done}; go on with: {program()} train --resume {self.run.path}"

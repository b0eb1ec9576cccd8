"""Bundles: one file with everything that using a trained model needs, and nothing that training did.

A bundle is a sealed checkpoint (see :mod:`photic.core.container`) of the deployed graph. Its description says
``bundle`` (the version of what follows), and holds the configuration of task and network, pre-processing, what
goes in and comes out (``interface``), the task's own description (class names and thresholds), metrics, data,
environment, and the card. The graph's constants, such as the numbers a picture is normalised with, are stored
too: they do not depend on what a library makes of a network's name later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from photic.core.checkpoint import Checkpoint, load_weights, same_kind, write_checkpoint
from photic.core.errors import CheckpointError, ConfigError, PhoticError
from photic.core.plugins import advice
from photic.core.schema import Registered, coerce
from photic.inference.description import FORMAT
from photic.losses.base import BaseLoss, LossConfig
from photic.models.base import ModelConfig
from photic.tasks.base import Task, TaskConfig
from photic.tasks.interface import GraphInterface

_GRAPH = "graph."


class NoLoss(BaseLoss):
    """Stands where training has its loss: a model that is deployed has none."""

    def value(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Refuse.

        Raises:
            ConfigError: always.
        """
        raise ConfigError("this model was loaded from a bundle, which holds no loss; evaluate the run it was made from")


@dataclass(frozen=True, kw_only=True)
class NoLossConfig(LossConfig):
    """Config of :class:`NoLoss`; in no registry, for nothing can be trained with it."""

    def make(self) -> NoLoss:
        """Return the stand-in."""
        return NoLoss()


def write_bundle(path: Path | str, task: Task, description: Mapping[str, Any], *, half: bool = False) -> Path:
    """Write a bundle, whole or not at all.

    Args:
        path: the file.
        task: with the weights to deploy.
        description: facts as :func:`photic.inference.description.describe` gives them, and a ``card``; the task adds its own.
        half: store parameters in half precision; buffers (statistics, integer tables) keep theirs. :func:`round_to_half` the task's first,
            so that what is read back is what it holds.

    Raises:
        CheckpointError: the file cannot be written.
    """
    learnt = {name for name, _ in task.graph.named_parameters()} if half else set()
    state = task.graph.state_dict() | _constants(task.graph)
    weights = {_GRAPH + name: tensor.half() if name in learnt else tensor for name, tensor in state.items()}
    content = {**description, **told(task), "bundle": FORMAT}
    return write_checkpoint(path, Checkpoint(weights=weights, description=content), sealed=True)


def told(task: Task) -> dict[str, Any]:
    """Return what a task itself says in a bundle: its description, and what goes in and comes out."""
    return {**task.description(), "interface": task.interface().to_json()}


@torch.no_grad()
def round_to_half(task: Task) -> None:
    """Round the parameters of a task's graph to what half precision can hold, in place.

    Raises:
        ConfigError: one is too large for it.
    """
    for name, parameter in task.graph.named_parameters():
        rounded = parameter.half().to(parameter.dtype)
        if not bool(torch.isfinite(rounded).all()):
            raise ConfigError(f"{name}: holds {float(parameter.abs().max()):g}, half precision ends at 65504; store it without --half")
        parameter.copy_(rounded)


def task_of_bundle(checkpoint: Checkpoint, source: Path | str) -> Task:
    """Build the task of a bundle, with its weights.

    Raises:
        CheckpointError: something is missing, or the weights do not fit the network described.
    """
    try:
        config = checkpoint.description["config"]
        task = build_task(config["task"], config["model"], NoLossConfig(), checkpoint.description)
    except (PhoticError, KeyError, TypeError) as error:
        detail = str(error) if isinstance(error, PhoticError) else f"{type(error).__name__}: {error}"
        detail += advice(checkpoint.description.get("requires", ()))
        raise CheckpointError(
            f"{source}: the model it describes cannot be built here: {detail}. "
            "Install what it was made with (`photic info FILE` shows it), or make the bundle again"
        ) from error
    _check_interface(task, checkpoint.description.get("interface"), source)
    constants = _constants(task.graph)
    stored = {name.removeprefix(_GRAPH): tensor for name, tensor in checkpoint.weights.items()}
    for name, tensor in stored.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{source}: {name} holds values that are not finite, so nothing it says would be; bundle another run")
    load_weights(task.graph, {name: tensor for name, tensor in stored.items() if name not in constants}, source)
    for name, constant in constants.items():
        if name not in stored or stored[name].shape != constant.shape or not same_kind(stored[name], constant):
            raise CheckpointError(f"{source}: expected the constant {name} of shape {tuple(constant.shape)}; make the bundle again")
        constant.copy_(stored[name])
    return task


def _check_interface(task: Task, said: Any, source: Path | str) -> None:
    """Refuse a bundle whose network would be fed with other tensors than it says; words may differ from version to version."""
    own = task.interface()
    if said is not None and GraphInterface.from_json(said).signature() != own.signature():
        lines = "; ".join(own.lines())
        raise CheckpointError(
            f"{source}: interface: does not fit the network described, which {lines}. It was altered, or made by another version: "
            "make the bundle again"
        )


def build_task(task: Any, model: Any, loss: Any, data: Mapping[str, Any]) -> Task:
    """Build a task from saved settings, without starting weights: those of a checkpoint are still to be loaded."""
    model_config: ModelConfig = coerce(model, Annotated[ModelConfig, Registered("models")], "config.model")
    # No download, no file of the machine it was trained on.
    foreign = {name: value for name, value in (("pretrained", False), ("weights", None)) if hasattr(model_config, name)}
    loss_config: LossConfig = coerce(loss, Annotated[LossConfig, Registered("losses")], "config.loss")
    task_config: TaskConfig = coerce(task, Annotated[TaskConfig, Registered("tasks")], "config.task")
    return task_config.build(model_config.replace(**foreign), loss_config, data)


def same_deployment(first: Task, second: Task) -> bool:
    """Say whether two tasks deploy the same to the bit: weights, constants, and what the task describes."""
    own, other = (task.graph.state_dict() | _constants(task.graph) for task in (first, second))
    alike = own.keys() == other.keys() and all(bool((own[name].cpu() == other[name].cpu()).all()) for name in own)
    return alike and first.description() == second.description()


def _constants(graph: nn.Module) -> dict[str, Tensor]:
    """Return the buffers of the graph itself (not of the network) that its state leaves out."""
    saved = graph.state_dict()
    return {name: buffer for name, buffer in graph.named_buffers(recurse=False) if name not in saved}

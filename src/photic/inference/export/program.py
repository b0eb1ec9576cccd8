"""A task's deployed graph as a program for tensors of free sizes (`torch.export`)."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx.experimental import _config as shapes_config

from photic.core.errors import ConfigError
from photic.models.base import why_not_exported
from photic.tasks.base import Task
from photic.tasks.interface import BATCH, GraphInterface

_OTHERS = ((1, 130, 94), (3, 65, 161), (2, 96, 64))
_LOGGERS = ("onnxscript", "onnx_ir", "torch.onnx", "torch.export", "torch.fx", "torch._dynamo")


@dataclass(frozen=True)
class Program:
    """A deployed graph that was captured."""

    graph: nn.Module
    """What it was captured from."""
    interface: GraphInterface
    exported: ExportedProgram
    least: dict[str, int]
    """Least size of each free axis of the inputs that it was captured for."""

    def other_sizes(self) -> list[tuple[int, tuple[int, int] | None]]:
        """Return samples and (height, width), other ones than it was captured with, to check it on; None where sizes are fixed."""
        if "height" not in self.least:
            return [(1, None), (3, None)]
        height, width = self.least["height"], self.least["width"]
        return [(samples, (max(down, height), max(across, width + 5))) for samples, down, across in _OTHERS]


def captured(task: Task, network: str, output_format: str, precision: str) -> Program:
    """Capture a task's deployed graph, with every size free that the network leaves free.

    Args:
        task: on the CPU, in evaluation mode.
        network: registry name, for messages.
        output_format: ``onnx`` or ``torch``.
        precision: ``fp32``, ``fp16`` or ``int8``.

    Raises:
        ConfigError: the network says why it cannot be exported so, or capturing fails.
    """
    reason = why_not_exported(task.graph.network, output_format, precision)  # type: ignore[arg-type]
    if reason is not None:
        raise ConfigError(f"network '{network}' is not exported as {output_format} in {precision}: {reason}")
    graph, interface = task.tensor_graph().eval(), task.interface()
    try:
        return _capture(task, graph, interface, network, oblivious=False)
    except ConfigError as first:
        try:
            return _capture(task, graph, interface, network, oblivious=True)
        except ConfigError:
            raise first from None


def _capture(task: Task, graph: nn.Module, interface: GraphInterface, network: str, *, oblivious: bool) -> Program:
    """Capture a graph, and run what was captured at other sizes and batches.

    Exporters ask questions, such as whether a view is the whole, and hold the graph to what their example happens to answer. Which they
    ask depends on whether they are oblivious of the example's sizes; neither way has fewer for all networks. A graph that is held to
    such answers fails at other sizes.
    """
    shapes = tuple({place: Dim.DYNAMIC for place, axis in enumerate(port.shape) if isinstance(axis, str)} for port in interface.inputs)
    with quiet(), torch.no_grad(), shapes_config.patch(backed_size_oblivious=oblivious):  # type: ignore[attr-defined]
        try:
            exported = torch.export.export(graph, task.example(2), dynamic_shapes=shapes, strict=False)
            program = Program(graph, interface, exported, _least_sizes(exported, interface))
            run = exported.module()
            for size in program.other_sizes():
                run(*task.example(*size, seed=1))
        except Exception as error:  # capturing fails in many ways, each with an exception of its own
            raise ConfigError(f"network '{network}': its graph cannot be captured: {first_line(error)}; {_HOW}") from error
    for node in exported.graph.nodes:
        node.meta.pop("stack_trace", None)  # would tell the paths of this machine
    return program


_HOW = (
    "a network whose steps depend on values or sizes must be written without that under torch.compiler.is_exporting(), or say why it is "
    "not exported (why_not_exported, see photic.models.base)"
)


def _least_sizes(exported: ExportedProgram, interface: GraphInterface) -> dict[str, int]:
    """Return the least size of each free axis."""
    wanted = set(exported.graph_signature.user_inputs)
    values = [node.meta["val"] for node in exported.graph.nodes if node.op == "placeholder" and node.name in wanted]
    least: dict[str, int] = {}
    for port, value in zip(interface.inputs, values, strict=True):
        for axis, size in zip(port.shape, value.shape, strict=True):
            if isinstance(axis, str) and not isinstance(size, int):
                known = exported.range_constraints.get(size.node.expr)
                # What is captured with two samples says nothing against one: checks run it.
                least[axis] = 1 if axis == BATCH or known is None else max(least.get(axis, 1), int(known.lower))
    return least


def program_bytes(program: Program) -> bytes:
    """Return the file of a program (.pt2)."""
    buffer = io.BytesIO()
    with quiet():
        torch.export.save(program.exported, buffer)
    return buffer.getvalue()


class ProgramRunner:
    """Runs a program from its file.

    Args:
        content: the file.
    """

    def __init__(self, content: bytes) -> None:
        with quiet():
            self._module = torch.export.load(io.BytesIO(content)).module()

    @torch.inference_mode()
    def __call__(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the outputs."""
        return as_tuple(self._module(*inputs))


def as_tuple(made: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return what a graph gives as a tuple, however many there are."""
    return made if isinstance(made, tuple) else (made,)


def first_line(error: BaseException) -> str:
    """Return what an error of a foreign library says first, with its kind."""
    said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {said[:300]}"


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the exporters' notes to their developers off the user's screen; what fails raises."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)

"""Captured graphs as ONNX models, and ONNX Runtime to run them."""

from __future__ import annotations

import json
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from photic.core.errors import ConfigError
from photic.inference.export.program import Program, first_line, quiet
from photic.tasks.interface import GraphInterface

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
OPSETS = (18, 23)
"""Least and greatest version of the operator set that can be asked for."""
OPSET = 20
"""Where nothing is said: widely known, and has everything that is needed."""


def require_packages() -> None:
    """Refuse to begin where a package is missing.

    Raises:
        ConfigError: one is.
    """
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise ConfigError(f'export to onnx: {", ".join(missing)} is not installed; pip install "photic[export]"')


def onnx_model(program: Program, network: str, opset: int = OPSET) -> Any:
    """Return a captured graph as an ``onnx.ModelProto`` with the interface's names for tensors and free axes.

    Args:
        program: what was captured.
        network: its registry name, for messages.
        opset: version of the operator set.

    Raises:
        ConfigError: a step of it has no counterpart in ONNX.
    """
    interface = program.interface
    with quiet(), torch.no_grad():
        try:
            made = torch.onnx.export(
                program.exported,
                dynamo=True,
                opset_version=opset,
                input_names=[port.name for port in interface.inputs],
                output_names=[port.name for port in interface.outputs],
                verbose=False,
            )
        except Exception as error:  # each failure of the converter has an exception of its own
            cause = error.__cause__ or error
            raise ConfigError(f"network '{network}': no ONNX model can be made of its graph: {first_line(cause)}") from error
        assert made is not None
        model = made.model_proto
    name_axes(model, interface)
    _forget_origin(model)
    model.producer_name, model.producer_version = "photic", version("photic")
    model.doc_string = "\n".join(interface.lines())
    entry = model.metadata_props.add()
    entry.key, entry.value = "interface", json.dumps(interface.to_json())
    return model


def name_axes(model: Any, interface: GraphInterface) -> None:
    """Call free axes what the interface calls them, in place; sizes of what lies between are left to runtimes."""
    del model.graph.value_info[:]
    for values, ports in ((model.graph.input, interface.inputs), (model.graph.output, interface.outputs)):
        for value, port in zip(values, ports, strict=True):
            dimensions = value.type.tensor_type.shape.dim
            for dimension, axis in zip(dimensions, port.shape, strict=True):
                if isinstance(axis, str):
                    dimension.dim_param = axis
                else:
                    dimension.dim_value = axis


def _forget_origin(model: Any) -> None:
    """Remove in place what the converter notes of each step for its developers: traces with the paths of this machine."""
    for part in (model.graph, *model.functions):
        for item in (part, *part.node, *getattr(part, "initializer", ()), *getattr(part, "input", ()), *getattr(part, "output", ())):
            if hasattr(item, "metadata_props"):
                del item.metadata_props[:]
            if hasattr(item, "doc_string"):
                item.doc_string = ""
    del model.metadata_props[:]


class OnnxRunner:
    """Runs an ONNX model in ONNX Runtime, on the CPU.

    Args:
        content: the file.
        interface: names of inputs and outputs.

    Raises:
        ConfigError: the runtime does not take it.
    """

    def __init__(self, content: bytes, interface: GraphInterface) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime's exceptions have no common base
            raise ConfigError(f"ONNX Runtime {onnxruntime.__version__} does not take the model: {first_line(error)}") from error
        self._interface = interface

    def __call__(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the outputs."""
        fed = {port.name: tensor.numpy() for port, tensor in zip(self._interface.inputs, inputs, strict=True)}
        found = self._session.run([port.name for port in self._interface.outputs], fed)
        return tuple(torch.from_numpy(array) for array in found)

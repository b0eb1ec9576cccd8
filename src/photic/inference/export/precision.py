"""ONNX models in half precision and in 8-bit integers, where that pays, with what it costs measured."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from photic.core.errors import ConfigError
from photic.inference.export.onnx_model import name_axes
from photic.inference.export.parity import Batch, Difference
from photic.inference.export.program import first_line, quiet
from photic.tasks.interface import GraphInterface

Precision = Literal["fp32", "fp16", "int8"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")

PAYS_AT = 0.75
"""What is not smaller than this share of the fp32 model does not pay."""
LEAST_PSNR_DB = {"fp16": 50.0, "int8": 35.0}
"""Least agreement of outputs with the network's own. 50 dB is less than one step of 8 bits; below 35 dB the eye sees it."""
MOST_CHANGE = {"fp16": 0.01, "int8": 0.05}
"""Of probabilities instead: largest mean change."""
_QUANTISED = ["Conv", "ConvTranspose", "Gemm", "MatMul"]
_INSTEAD = "export it in another precision, or calibrate with files (--calibrate)"
_FOR_PRODUCTS = {"Gemm", "MatMul"}


def in_half(model: Any, interface: GraphInterface) -> Any:
    """Return an ONNX model with weights and steps in half precision; inputs and outputs stay float32.

    Raises:
        ConfigError: it cannot be converted.
    """
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

    with quiet():
        try:
            made = convert_float_to_float16(
                copy.deepcopy(model), keep_io_types=True, op_block_list=[*DEFAULT_OP_BLOCK_LIST, "Resize", "Pow"]
            )
            _drop_twins(made)
        except Exception as error:  # the converter raises what its steps raise
            raise ConfigError(f"fp16: the model cannot be converted: {first_line(error)}; export it in fp32") from error
    name_axes(made, interface)
    return made


def _drop_twins(model: Any) -> None:
    """Leave one of equal casts, in place, and put steps in order: the converter adds one, at the end, for each step that asks."""
    from onnxruntime.transformers.onnx_model import OnnxModel

    seen: set[bytes] = set()
    kept = []
    for node in model.graph.node:
        told = node.SerializeToString()
        if node.op_type != "Cast" or told not in seen:
            kept.append(node)
        seen.add(told)
    nodes = [copy.deepcopy(node) for node in kept]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    OnnxModel(model).topological_sort()


def in_integers(model: Any, interface: GraphInterface, batches: Sequence[Batch]) -> Any:
    """Return an ONNX model whose convolutions and products run in 8-bit integers.

    Models with convolutions are quantised with the ranges that values have on the batches, others as they run.

    Args:
        model: in float32.
        interface: names of inputs.
        batches: what values are like.

    Raises:
        ConfigError: nothing in it can be quantised, or the quantiser fails.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_dynamic, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._batches: Iterator[Batch] = iter(batches)

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self._batches, None)
            if batch is None:
                return None
            return {port.name: tensor.numpy() for port, tensor in zip(interface.inputs, batch.inputs, strict=True)}

    kinds = {node.op_type for node in model.graph.node}
    if not kinds & set(_QUANTISED):
        raise ConfigError("int8: it has neither convolutions nor products of matrices, so there is nothing to gain; export it in fp32")
    import onnx

    with tempfile.TemporaryDirectory() as folder, quiet():
        plain, prepared, made = (Path(folder) / name for name in ("plain.onnx", "prepared.onnx", "int8.onnx"))
        onnx.save(model, plain)
        try:
            quant_pre_process(plain, prepared, skip_symbolic_shape=True)
            if kinds & set(_QUANTISED) <= _FOR_PRODUCTS:
                quantize_dynamic(prepared, made, op_types_to_quantize=_QUANTISED, weight_type=QuantType.QInt8)
            else:
                quantize_static(prepared, made, Reader(), op_types_to_quantize=_QUANTISED, per_channel=True, weight_type=QuantType.QInt8)
            found = onnx.load(made)
        except Exception as error:  # the quantiser raises what its steps raise
            raise ConfigError(f"int8: the model cannot be quantised: {first_line(error)}; export it in fp32 or fp16") from error
    name_axes(found, interface)
    return found


def check_gain(precision: Precision, size_bytes: int, plain_bytes: int) -> None:
    """Refuse a model that is hardly smaller.

    Raises:
        ConfigError: it does not pay.
    """
    if size_bytes > PAYS_AT * plain_bytes:
        raise ConfigError(
            f"{precision} does not pay for this network: {size_bytes / 1e6:.2f} MB instead of {plain_bytes / 1e6:.2f} MB, and it would "
            "lose precision; export it in fp32"
        )


def check_loss(precision: Precision, found: Sequence[Difference], probabilities: bool) -> None:
    """Refuse a model that has lost too much.

    Args:
        precision: of the model.
        found: how far its outputs are from the network's own.
        probabilities: whether outputs are probabilities.

    Raises:
        ConfigError: it has.
    """
    for one in found:
        if probabilities and one.mean > MOST_CHANGE[precision]:
            raise ConfigError(
                f"{precision} loses too much for this network: probabilities change by {one.mean:.3f} on average (largest "
                f"{one.absolute:.3f}), at most {MOST_CHANGE[precision]:g} is taken; {_INSTEAD}"
            )
        if not probabilities and one.psnr_db is not None and one.psnr_db < LEAST_PSNR_DB[precision]:
            raise ConfigError(
                f"{precision} loses too much for this network: '{one.output}' agrees to {one.psnr_db:.1f} dB (largest difference "
                f"{one.absolute:.3g}), at least {LEAST_PSNR_DB[precision]:g} dB is asked; "
                f"{_INSTEAD}"
            )

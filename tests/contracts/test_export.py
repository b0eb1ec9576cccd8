"""Every registered network is exported to ONNX and agrees there with itself at another batch and size, or says precisely why not."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch

from photic.core.registry import models
from photic.core.schema import field_types
from photic.inference.bundle import NoLossConfig
from photic.inference.export.onnx_model import OnnxRunner, onnx_model
from photic.inference.export.parity import Batch, beyond, differences
from photic.inference.export.program import ProgramRunner, captured, program_bytes
from photic.models import get_registry
from photic.models.base import ClassifierConfig, why_not_exported
from photic.models.compression import CompressorConfig
from photic.models.enhancement import EnhancerConfig
from photic.models.phase_retrieval import PhaseRetrievalConfig
from photic.models.raw_denoising import RawDenoiserConfig
from photic.tasks.base import Task, TaskConfig
from photic.tasks.classification import MultilabelClassificationConfig
from photic.tasks.compression import CompressionConfig
from photic.tasks.enhancement import EnhancementConfig
from photic.tasks.ptychography import PtychographyConfig
from photic.tasks.raw_denoising import RawDenoisingConfig

REFUSED: dict[str, str] = {}
"""The one list of networks that are not exported in fp32, with the reason that they give: none."""
COMPRESSORS = ("factorized", "hyperprior", "many_priors", "denoise_then_compress", "denoise_and_compress")
ONLY_FP32 = dict.fromkeys(COMPRESSORS, "its latents are rounded")
"""And of those that are not exported in lower precision."""
QUICK = ("tiny", "zero_dce", "autoencoder", "factorized", "cnn")
"""One of each kind for every day; all others are marked slow, since capturing and converting takes seconds each."""
NAMES = get_registry().list_models()
NUM_PATTERNS, SIDE_PX = 2, 32
SMALL: dict[str, Any] = {
    "num_classes": 3,
    "pretrained": False,
    "num_patterns": NUM_PATTERNS,
    "size_px": SIDE_PX,
    "width_factor": 0.25,
    "width": 8,
    "modes": 6,
    "backbone": "mobilenetv3_small_050",
    "semantic_dim": 16,
    "num_attention_blocks": 1,
    "curve_width": 8,
    "mask_width": 8,
    "distraction_width": 8,
    "num_latents": 6,
    "num_strides": 2,
    "num_priors": 3,
    "num_qualities": 3,
    "denoiser": {"name": "standard", "size": "tiny"},
    "compressor": {"name": "factorized", "measurement": "rgb", "width": 4, "num_latents": 6, "num_strides": 2},
    "size": "tiny",
}
TASKS: dict[type, TaskConfig] = {
    ClassifierConfig: MultilabelClassificationConfig(),
    EnhancerConfig: EnhancementConfig(),
    RawDenoiserConfig: RawDenoisingConfig(),
    CompressorConfig: CompressionConfig(),
    PhaseRetrievalConfig: PtychographyConfig(),
}
FACTS = {
    "classes": ["a", "b", "c"],
    "measurement": "mosaic",
    "ptychography": {
        "size_px": SIDE_PX,
        "num_patterns": NUM_PATTERNS,
        "num_scans": 1,
        "num_modes": 1,
        "num_positions": 3,
        "normalisation": 0.1,
        "scans": ["a"],
    },
}


@cache
def task_of(name: str) -> Task:
    """Return a small task around a network whose layers all do something."""
    fields = field_types(models.config_class(name))
    kind = next(base for base in TASKS if issubclass(models.config_class(name), base))
    chosen = {key: value for key, value in SMALL.items() if key in fields}
    if kind in (ClassifierConfig, PhaseRetrievalConfig):
        chosen = {key: value for key, value in chosen.items() if key != "backbone"}
    torch.manual_seed(0)
    task = TASKS[kind].build(models.configure(name, **chosen), NoLossConfig(), FACTS)
    with torch.no_grad():
        for parameter in task.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape))
        if kind is PhaseRetrievalConfig:  # a probe: patterns are then not all dark
            line = torch.linspace(-2, 2, SIDE_PX).square()
            task.graph.probe_peak.fill_(1)  # type: ignore[union-attr, operator]
            task.graph.probe_parts[..., 0] = torch.exp(-(line[:, None] + line))  # type: ignore[union-attr, index]
    return task.eval()


def test_lists_name_networks_that_there_are() -> None:
    assert {*REFUSED, *ONLY_FP32, *QUICK} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_what_a_network_says_about_exporting_it_is_listed_here(name: str) -> None:
    network = task_of(name).graph.network
    for output_format in ("onnx", "torch"):
        reason = why_not_exported(network, output_format, "fp32")  # type: ignore[arg-type]
        assert (reason is None) == (name not in REFUSED)
        assert reason is None or REFUSED[name] in reason
    for precision in ("fp16", "int8"):
        reason = why_not_exported(network, "onnx", precision)  # type: ignore[arg-type]
        assert (reason is None) == (name not in {*REFUSED, *ONLY_FP32})
        assert reason is None or (ONLY_FP32 | REFUSED)[name] in reason


@pytest.mark.parametrize("name", NAMES)
def test_examples_are_what_the_interface_says_and_outputs_too(name: str) -> None:
    task = task_of(name)
    interface, sizes = task.interface(), {}
    given = task.example(2, seed=4)
    with torch.no_grad():
        made = task.tensor_graph()(*given)
    made = made if isinstance(made, tuple) else (made,)
    for port, tensor in [*zip(interface.inputs, given, strict=True), *zip(interface.outputs, made, strict=True)]:
        assert str(tensor.dtype) == f"torch.{port.dtype}"
        assert tensor.ndim == len(port.shape)
        for axis, size in zip(port.shape, tensor.shape, strict=True):
            assert size == (axis if isinstance(axis, int) else sizes.setdefault(axis, size)), port.name
        low, high = port.range or (None, None)
        assert low is None or tensor.min() >= low
        assert high is None or tensor.max() <= high
        assert tensor.std() > 0 or port.name in ("balance", "planes"), "says nothing"
    assert all(torch.equal(one, other) for one, other in zip(given, task.example(2, seed=4), strict=True))
    assert not torch.equal(given[0], task.example(2, seed=5)[0])


@pytest.mark.parametrize("name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NAMES])
def test_in_onnx_runtime_and_read_back_it_is_the_same_at_other_batches_and_sizes(name: str) -> None:
    if name in REFUSED:
        return  # what it says is compared above
    task = task_of(name)
    program = captured(task, name, "onnx", "fp32")
    model = onnx_model(program, name)
    run = OnnxRunner(model.SerializeToString(), program.interface)
    batches = [Batch("made-up inputs", task.example(*size, seed=7)) for size in program.other_sizes()]
    for runner in (run, ProgramRunner(program_bytes(program))):
        found = differences(program.graph, runner, program.interface, batches)
        assert not beyond(found), [one.text() for one in found]
    # Free axes are free in the file, too, and are called what the interface calls them.
    for values, ports in ((model.graph.input, program.interface.inputs), (model.graph.output, program.interface.outputs)):
        assert [value.name for value in values] == [port.name for port in ports]
        for value, port in zip(values, ports, strict=True):
            assert [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim] == list(port.shape)

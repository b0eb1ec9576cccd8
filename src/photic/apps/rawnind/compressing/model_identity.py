"""Which model a compressed picture belongs to: an id over everything that decoding depends on."""

from __future__ import annotations

import copy
import hashlib
import json

import torch
from torch import Tensor

from photic.apps.rawnind.compressing.container import MODEL_ID_BYTES
from photic.apps.rawnind.compressing.facts import kept_text
from photic.core.errors import ConfigError
from photic.inference.predictor import LoadedModel
from photic.models.compression import Compressor
from photic.tasks.compression import CompressionTask

_VERSION = b"photic decoder 1\n"


def network_of(model: LoadedModel) -> Compressor:
    """Return the network of a compressor.

    Raises:
        ConfigError: the model does not compress raw pictures.
    """
    if not isinstance(model.task, CompressionTask):
        raise ConfigError(f"{model.source}: expected a model that compresses raw pictures, this is a {type(model.task).__name__}")
    return model.task.network


def model_name(model: LoadedModel) -> str:
    """Return what a model is called in files: a bundle's own name, a run's experiment and id, or the name of its file."""
    named = model.description.get("name")
    if isinstance(named, str) and named:
        return kept_text(named)
    source = model.source
    if source.parent.name == "checkpoints":
        run = source.parent.parent
        return kept_text(f"{run.parent.name}/{run.name}")
    return kept_text(source.stem)


def model_id(network: Compressor) -> bytes:
    """Return the id of a network: the first 12 bytes of a SHA-256 over what decoding depends on.

    Whole numbers count as they are, weights in floating point rounded to bfloat16: so a network that is cast to that has the same id, and
    its files. What only the encoder needs does not count.
    """
    network.bit_estimator.ready()
    settings, tensors = network.decoding()
    digest = hashlib.sha256(_VERSION)
    digest.update(json.dumps(settings, sort_keys=True, separators=(",", ":")).encode() + b"\n")
    for name in sorted(tensors):
        kind, content = _content(tensors[name])
        shape = ",".join(map(str, tensors[name].shape))
        digest.update(f"{name} {kind} {shape}\n".encode() + content)
    return digest.digest()[:MODEL_ID_BYTES]


def in_float32(network: Compressor) -> Compressor:
    """Return a network that computes in single precision: itself, or, where its weights have been cast, a copy cast back."""
    if all(parameter.dtype == torch.float32 for parameter in network.parameters()):
        return network
    return copy.deepcopy(network).float().eval()


def _content(tensor: Tensor) -> tuple[str, bytes]:
    """Return kind and bytes of a tensor, little-endian: i8 for whole numbers, bf2 for others."""
    plain = tensor.detach().cpu().contiguous()
    if plain.is_floating_point():
        return "bf2", plain.to(torch.bfloat16).view(torch.int16).numpy().astype("<i2").tobytes()
    return "i8", plain.numpy().astype("<i8").tobytes()

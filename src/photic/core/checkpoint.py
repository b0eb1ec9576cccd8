"""Checkpoints: one safetensors file that holds weights, training state and a JSON description.

A single file can be replaced in one rename, so weights and state never disagree after a crash, and
nothing in it is executed when it is read. In the container of :mod:`photic.core.container`:

- tensors ``model.*`` (trained weights), ``ema.*`` (their moving average, if there is one), ``state.*``;
- in the header: description, and the state's tree with tensors by reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from photic.core.container import content_of, damaged, is_photic, metadata, read_header, seal, verify_seal
from photic.core.errors import CheckpointError
from photic.core.files import atomic_path

_MODEL, _EMA, _STATE = "model.", "ema.", "state."


@dataclass
class Checkpoint:
    """What a checkpoint file holds."""

    weights: dict[str, Tensor]
    """Trained weights and buffers of the task, by name."""
    ema: dict[str, Tensor] | None = None
    """Their exponential moving average, if one was kept."""
    state: dict[str, Any] = field(default_factory=dict)
    """Training state: nested dicts, lists, scalars and tensors."""
    description: dict[str, Any] = field(default_factory=dict)
    """What is needed to use the weights: resolved config, class names, thresholds, progress (JSON)."""

    def deployed(self) -> dict[str, Tensor]:
        """Return the weights to evaluate and deploy: the moving average if there is one."""
        return self.ema if self.ema is not None else self.weights


def write_checkpoint(path: Path | str, checkpoint: Checkpoint, *, sealed: bool = False) -> Path:
    """Write a checkpoint, whole or not at all.

    Args:
        path: the file.
        checkpoint: what to write.
        sealed: add a checksum over the whole file, which whoever reads it checks (about 0.1 s per 100 MB).

    Raises:
        CheckpointError: the file cannot be written (disk full, no permission); an earlier one at ``path`` is kept.
    """
    path = Path(path)
    tensors: dict[str, Tensor] = {}
    for prefix, weights in ((_MODEL, checkpoint.weights), (_EMA, checkpoint.ema or {})):
        tensors.update((prefix + name, _plain(tensor)) for name, tensor in weights.items())
    tree = _encode(checkpoint.state, _STATE, tensors)
    header = {"has_ema": checkpoint.ema is not None, "description": checkpoint.description, "state": tree}
    try:
        with atomic_path(path) as temporary:
            save_file(tensors, temporary, metadata=metadata(header, sealed=sealed))
            if sealed:
                seal(temporary)
    except (OSError, SafetensorError) as error:
        kept = f"; the previous checkpoint {path} is unchanged" if path.exists() else ""
        raise CheckpointError(f"{path}: cannot write the checkpoint: {error}{kept}. Free some space, then resume the run") from error
    return path


def read_checkpoint(path: Path | str, *, with_state: bool = True) -> Checkpoint:
    """Read a checkpoint without executing anything from it.

    Args:
        path: the file.
        with_state: also read the training state (twice the weights' size for Adam).

    Raises:
        CheckpointError: missing, damaged, truncated, changed after it was sealed, not a Photic checkpoint, or of a newer format.
    """
    path = Path(path)
    header = read_header(path)
    if header.sha256 is not None:
        verify_seal(path, header.sha256)
    try:
        with safe_open(path, framework="pt") as handle:
            content = content_of(path, handle.metadata())  # of this very file, should another take its name just now
            wanted = [name for name in handle.keys() if with_state or not name.startswith(_STATE)]  # noqa: SIM118 - a handle, no dict
            tensors = {name: handle.get_tensor(name) for name in wanted}
        state = _decode(content["state"], tensors) if with_state else {}
        has_ema = bool(content["has_ema"])
    except (SafetensorError, OSError, KeyError, TypeError) as error:
        raise damaged(path, error) from error
    return Checkpoint(
        weights={name.removeprefix(_MODEL): t for name, t in tensors.items() if name.startswith(_MODEL)},
        ema={name.removeprefix(_EMA): t for name, t in tensors.items() if name.startswith(_EMA)} if has_ema else None,
        state=state,
        description=content["description"],
    )


def read_weights(path: Path | str) -> dict[str, Tensor]:
    """Read bare network weights from a file: safetensors, a Photic checkpoint, or a tensors-only ``.pth``.

    Raises:
        CheckpointError: missing, damaged, or a pickle with anything but tensors in it (refused, not executed).
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such weights file")
    if path.suffix in (".pth", ".pt", ".bin"):
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises several kinds for pickles with code and for damage
            raise CheckpointError(
                f"{path}: refused: not a file of plain tensors, and Photic does not execute pickles. Convert it to safetensors"
            ) from error
        content = content.get("state_dict", content.get("model", content)) if isinstance(content, Mapping) else content
        if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
            raise CheckpointError(f"{path}: expected a mapping of names to tensors")
        return dict(content)
    if is_photic(path):
        prefix = "graph.network."
        deployed = read_checkpoint(path, with_state=False).deployed()
        return {name.removeprefix(prefix): tensor for name, tensor in deployed.items() if name.startswith(prefix)}
    try:
        with safe_open(path, framework="pt") as handle:
            return {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118 - a handle, no dict
    except (SafetensorError, OSError) as error:
        raise damaged(path, error) from error


def load_weights(module: nn.Module, weights: Mapping[str, Tensor], source: Path | str) -> None:
    """Copy weights into a module, all or nothing.

    Raises:
        CheckpointError: names, shapes or kinds of numbers (whole, real, complex) differ; the message lists which.
    """
    own = module.state_dict()
    problems = [
        f"{name}: the network has {tuple(own[name].shape)}, the file {tuple(weights[name].shape)}"
        for name in own
        if name in weights and own[name].shape != weights[name].shape
    ]
    problems += [
        f"{name}: the network has {own[name].dtype}, the file {weights[name].dtype}"
        for name in own
        if name in weights and not same_kind(own[name], weights[name])
    ]
    problems += [f"{name}: missing in the file" for name in own if name not in weights]
    problems += [f"{name}: not in the network" for name in weights if name not in own]
    if problems:
        shown = "\n  ".join(problems[:12]) + (f"\n  ... and {len(problems) - 12} more" if len(problems) > 12 else "")
        raise CheckpointError(
            f"{source}: the weights do not fit this network; {len(problems)} of {len(own)} entries differ:\n  {shown}\n"
            "Use the model settings the weights were trained with"
        )
    module.load_state_dict(dict(weights))


def same_kind(one: Tensor, other: Tensor) -> bool:
    """Say whether two tensors hold numbers of one kind: whole, real or complex, in whatever precision."""
    return one.is_floating_point() == other.is_floating_point() and one.is_complex() == other.is_complex()


def _plain(tensor: Tensor) -> Tensor:
    # safetensors refuses shared memory; a clone on the CPU is also a snapshot that later steps cannot change.
    return tensor.detach().cpu().contiguous().clone()


def _encode(value: Any, place: str, tensors: dict[str, Tensor]) -> Any:
    """Replace tensors by references and everything JSON does not know by marked lists."""
    if isinstance(value, Tensor):
        tensors[place] = _plain(value)
        return {"!": "tensor", "of": place}
    if isinstance(value, Mapping):
        items = [[_key(key, place), _encode(item, f"{place}/{key}", tensors)] for key, item in value.items()]
        return {"!": "dict", "of": items}
    if isinstance(value, list | tuple):
        items = [_encode(item, f"{place}/{i}", tensors) for i, item in enumerate(value)]
        return items if isinstance(value, list) else {"!": "tuple", "of": items}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise CheckpointError(
        f"checkpoint state at {place}: a {type(value).__name__} cannot be stored (expected tensors, numbers, text, lists, dicts)"
    )


def _key(key: Any, place: str) -> str | int:
    if isinstance(key, str | int):
        return key
    raise CheckpointError(f"checkpoint state at {place}: a key of type {type(key).__name__} cannot be stored")


def _decode(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_decode(item, tensors) for item in value]
    if isinstance(value, dict):
        content = value["of"]
        if value["!"] == "tensor":
            return tensors[content]
        if value["!"] == "tuple":
            return tuple(_decode(item, tensors) for item in content)
        return {key: _decode(item, tensors) for key, item in content}
    return value

"""Starting weights of networks: found on a hub or in a file, checked, never left out in silence."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from torch import Tensor, nn

from photic.core.checkpoint import load_weights
from photic.core.errors import CheckpointError, ConfigError
from photic.core.schema import Range
from photic.models.base import ClassifierConfig

CONTACT_TIMEOUT_S = 8.0  # a hub that does not answer in this time is taken as out of reach


@dataclass(frozen=True, kw_only=True)
class PretrainedConfig(ClassifierConfig):
    """Base of the configs of classifiers that start from trained weights."""

    pretrained: bool = True
    """Start from published ImageNet weights; false starts from random ones."""
    weights: Path | None = None
    """File with starting weights (safetensors, a checkpoint of Photic, or a .pth of plain tensors); wins over `pretrained`."""
    freeze_backbone: bool = False
    """Train only the classification layer (and attention); the rest keeps its weights and batch statistics."""
    drop_rate: Annotated[float, Range(ge=0, lt=1)] = 0.0
    """Probability of dropping a feature before the classification layer."""


@dataclass(frozen=True)
class HubFile:
    """A weights file on a hub."""

    repository: str
    revision: str | None
    name: str = "model.safetensors"

    def address(self) -> str:
        """Return where a browser finds the file."""
        from huggingface_hub import hf_hub_url

        return str(hf_hub_url(self.repository, self.name, revision=self.revision))


def hub_file(backbone: str, pretrained_cfg: Mapping[str, Any], where: str) -> HubFile:
    """Return the weights file timm names for a backbone.

    Raises:
        ConfigError: timm knows of no published weights.
    """
    identity = pretrained_cfg.get("hf_hub_id")
    if not identity:
        raise ConfigError(f"{where}.pretrained: timm names no published weights for '{backbone}'; set weights=path or pretrained=false")
    repository, _, revision = str(identity).partition("@")
    return HubFile(repository, revision or None)


def fetch(file: HubFile, where: str, remedy: str | None = None) -> Path:
    """Return the local path of a hub's file, from the cache if it is there.

    Args:
        file: which.
        where: how the component is called in messages.
        remedy: what to set, in words, where it cannot be had; None says it for a model.

    Raises:
        CheckpointError: it cannot be had; the message says which file to download and where to name it.
    """
    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache

    cached = try_to_load_from_cache(file.repository, file.name, revision=file.revision)
    if isinstance(cached, str):
        return Path(cached)
    reason = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else _out_of_reach(file.address())
    if reason is None:
        try:
            return Path(hf_hub_download(file.repository, file.name, revision=file.revision, etag_timeout=CONTACT_TIMEOUT_S))
        except (OSError, ValueError) as error:  # the hub's own errors are OSErrors
            reason = str(error).partition("\n")[0]
    raise CheckpointError(
        f"{where}.pretrained: the pretrained weights are neither in the local cache nor within reach ({reason}). "
        f"Download {file.name} of {file.repository} ({file.address()}) where there is access, copy it here, and "
        + (remedy or f"set model.weights=/path/to/{file.name}; or set model.pretrained=false to train from random weights")
    )


def _out_of_reach(address: str) -> str | None:
    """Say why an address cannot be reached, or None; the hub's client would retry for half a minute before it says so."""
    try:
        with urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=CONTACT_TIMEOUT_S):
            return None
    except urllib.error.HTTPError:
        return None  # something answered; the client gives the better message
    except OSError as error:
        return f"{getattr(error, 'reason', error)}"


def load_starting_weights(
    module: nn.Module, weights: Mapping[str, Tensor], head: str, source: Path, translate: Callable[[str], str] | None = None
) -> str | None:
    """Copy weights into a network, all but a classification layer of another class count.

    Args:
        module: the network.
        weights: name to tensor.
        head: name of the classification layer in ``module``.
        source: where the weights come from, for messages.
        translate: foreign name to the name in ``module``.

    Returns:
        What was left out, in words; None if nothing was.

    Raises:
        CheckpointError: anything else differs; the message lists the layers.
    """
    if translate is not None:
        weights = {translate(name): tensor for name, tensor in weights.items()}
    if not weights:
        raise CheckpointError(f"{source}: holds no weights of a network; expected names such as {next(iter(module.state_dict()))}")
    own = module.state_dict()
    # Files of old PyTorch versions have no batch counters; they count batches and change no output.
    counters = {name: own[name] for name in own if name.endswith("num_batches_tracked") and name not in weights}
    in_head = [name for name in own if name.startswith(f"{head}.")]
    foreign = [name for name in in_head if name in weights and weights[name].shape[0] != own[name].shape[0]]
    if not foreign:
        load_weights(module, {**weights, **counters}, source)
        return None
    kept = {name: tensor for name, tensor in weights.items() if name not in in_head}
    load_weights(module, {**kept, **counters, **{name: own[name] for name in in_head}}, source)
    return (
        f"{source.name}: classification layer '{head}' for {weights[foreign[0]].shape[0]} classes left out; "
        f"the one for {own[foreign[0]].shape[0]} classes starts from random weights"
    )


def load_features(module: nn.Module, weights: Mapping[str, Tensor], source: Path) -> None:
    """Copy a backbone's weights into its part that makes features; what lies behind them in the file is left out.

    Raises:
        CheckpointError: a layer is missing or differs in shape.
    """
    own = module.state_dict()
    kept = {name: tensor for name, tensor in weights.items() if name in own}
    if not kept:
        raise CheckpointError(f"{source}: holds no weights of this backbone; expected names such as {next(iter(own))}")
    # Files of old PyTorch versions have no batch counters; they count batches and change no output.
    counters = {name: own[name] for name in own if name.endswith("num_batches_tracked") and name not in kept}
    load_weights(module, {**kept, **counters}, source)

"""Compressors of Photic as a benchmark sees them: a curve for each model of several qualities, one for models of a quality each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from photic.apps.rawnind.compressing.decoding import decompress_picture
from photic.apps.rawnind.compressing.encoding import compress_picture, load_compressor
from photic.apps.rawnind.compressing.model_identity import network_of
from photic.apps.rawnind.picture import RawPicture
from photic.inference.predictor import LoadedModel

TASK = "compression"


@dataclass(frozen=True)
class OurCodec:
    """A curve of ours: a model at each of its qualities, or models of one quality each."""

    label: str
    how: str
    models: tuple[LoadedModel, ...]
    """One, or one for each quality, in the order of ``qualities``."""
    qualities: tuple[float, ...]

    def coded(self, picture: RawPicture, quality: float, noise: tuple[float, float] | None) -> tuple[int, NDArray[np.float32]]:
        """Return the bytes of the compressed file, and what its decompression gives, ``(H, W, 3)`` in camera colours."""
        alone = len(self.models) == 1
        model = self.models[0] if alone else self.models[self.qualities.index(quality)]
        data = compress_picture(model, picture, quality=quality if alone else 1.0, noise=noise)
        return len(data), decompress_picture(model, data).values


def our_codecs(names: Sequence[str], device: str = "auto") -> tuple[OurCodec, ...]:
    """Return the curves of models.

    Args:
        names: bundles, runs, checkpoints, or models that come with Photic; each model of several qualities is a curve, and models of
            one quality each (trained for different lambdas) are one curve together, those of the same settings of the network.
        device: ``auto``, ``cpu``, ``cuda``, ...

    Raises:
        ConfigError: a model does not compress.
        UnknownNameError: there is no such model.
    """
    made: list[OurCodec] = []
    sweeps: dict[str, list[tuple[str, LoadedModel]]] = {}
    for name in names:
        model = load_compressor(name, device)
        count = network_of(model).num_qualities
        if count > 1:
            levels = tuple(float(level) for level in range(1, count + 1))
            made.append(OurCodec(_label(name, model), f"{_network(model)}, {count} qualities", (model,), levels))
        else:
            sweeps.setdefault(json.dumps(model.config.get("model"), sort_keys=True, default=str), []).append((_label(name, model), model))
    for sweep in sweeps.values():
        labels, models = zip(*sweep, strict=True)
        label = labels[0] if len(sweep) == 1 else f"{_network(models[0])}, {len(sweep)} models"
        qualities = tuple(float(place) for place in range(1, len(sweep) + 1))
        made.append(OurCodec(label, f"{_network(models[0])}, one quality each: {', '.join(labels)}", models, qualities))
    called = [one.label for one in made]
    return tuple(
        one if called.count(one.label) == 1 else replace(one, label=f"{one.label} ({place})") for place, one in enumerate(made, start=1)
    )


def _label(name: str, model: LoadedModel) -> str:
    """Return what a model is called: by its name where it comes along, by its run's experiment (ids are long), or by its file."""
    if not Path(name).exists():
        return name
    source = model.source
    return source.parent.parent.parent.name if source.parent.name == "checkpoints" else source.stem


def _network(model: LoadedModel) -> str:
    return str(model.config.get("model", {}).get("name", "network"))

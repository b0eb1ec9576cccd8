"""What stands beside an exported graph: all that using it needs and that is not in it, as JSON values."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from photic.core.files import sha256_of
from photic.inference.export.parity import TOLERANCE, Difference
from photic.inference.predictor import LoadedModel
from photic.tasks.interface import GraphInterface

FORMAT = 1
"""Version of this description."""
_PACKAGES = ("photic", "torch", "onnx", "onnxscript", "onnxruntime")


def describe_export(
    model: LoadedModel,
    content: bytes,
    *,
    file: str,
    output_format: str,
    precision: str,
    interface: GraphInterface,
    least: Mapping[str, int],
    checked: Sequence[tuple[str, Sequence[Difference]]],
    loss: Mapping[str, Any] | None,
    seconds: tuple[float, float],
    opset: int | None,
) -> dict[str, Any]:
    """Return the description of an exported graph.

    Args:
        model: what was exported.
        content: the exported file.
        file: its name.
        output_format: ``onnx`` or ``torch``.
        precision: ``fp32``, ``fp16`` or ``int8``.
        interface: what goes in and comes out.
        least: least size of each free axis.
        checked: what it was held against the network on, and how far it was off.
        loss: what a lower precision cost.
        seconds: of the exported graph and the network for the same batch.
        opset: version of ONNX's operator set.
    """
    said = model.description
    exported_s, own_s = seconds
    return {
        "photic_export": FORMAT,
        "file": file,
        "sha256": hashlib.sha256(content).hexdigest(),
        "size_bytes": len(content),
        "format": output_format,
        "precision": precision,
        **({} if opset is None else {"opset": opset}),
        "model": {
            "name": said.get("name"),
            "file": Path(model.source).name,
            "sha256": sha256_of(model.source),
            "task": model.config["task"]["name"],
            "network": model.config["model"]["name"],
            "card": f"photic info {Path(model.source).name}" if "card" in said else None,
        },
        "interface": interface.to_json(),
        "least_sizes": dict(least),
        "image_size": None if model.image_size is None else list(model.image_size),
        "processing": model.task.description().get("processing"),
        "classes": list(model.classes),
        "thresholds": list(model.thresholds),
        "terms": (said.get("data") or {}).get("terms"),
        "checked": {
            "runtime": "onnxruntime" if output_format == "onnx" else "torch",
            "tolerance": TOLERANCE if loss is None else None,
            "relative_to": "largest absolute value of the output",
            "on": [{"what": what, "differences": [one.to_json() for one in found]} for what, found in checked],
        },
        "loss": None if loss is None else dict(loss),
        "speed": {"exported_s": exported_s, "torch_s": own_s, "ratio": exported_s / own_s},
        "versions": {"python": platform.python_version(), **{name: found for name in _PACKAGES if (found := _version(name)) is not None}},
    }


def decisions_changed(own: Sequence[Sequence[float]], other: Sequence[Sequence[float]], thresholds: Sequence[float]) -> float:
    """Return the share of decisions of a classifier that are others.

    >>> decisions_changed([[0.6, 0.2]], [[0.4, 0.1]], [0.5, 0.5])
    0.5
    """
    turned = [
        (a >= limit) != (b >= limit)
        for first, second in zip(own, other, strict=True)
        for a, b, limit in zip(first, second, thresholds, strict=True)
    ]
    return sum(turned) / max(len(turned), 1)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None

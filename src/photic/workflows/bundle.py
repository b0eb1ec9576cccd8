"""From a finished run to one file that somebody else can use."""

from __future__ import annotations

import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from photic.core.container import read_header
from photic.core.errors import CheckpointError, ConfigError
from photic.core.files import atomic_path
from photic.core.shelf import SUFFIX
from photic.inference.bundle import round_to_half, same_deployment, told, write_bundle
from photic.inference.card import card
from photic.inference.description import describe, run_name
from photic.inference.predictor import load, load_file
from photic.tracking.run import Run

_HALF = "Its weights are rounded to half precision (11 significant bits). What the card reports of the run was measured before that."


@dataclass(frozen=True)
class BundleResult:
    """A bundle that was written."""

    bundle: Path
    """The file."""
    sha256: str
    """Its checksum, which whoever loads it checks."""
    size_bytes: int
    """How large it is."""
    card: str
    """The card in it, Markdown."""
    description: dict[str, Any]
    """Everything it says about itself."""

    def summary(self) -> str:
        """Return a few lines for the terminal."""
        lines = [f"bundle  {self.bundle}  ({self.size_bytes / 1e6:.1f} MB, SHA-256 {self.sha256[:16]})"]
        if self.description["data"]["terms"] is None:
            lines.append("note    the terms of the training data are not stated in it; add them with --terms TEXT")
        return "\n".join([*lines, f"try     photic info {self.bundle}"])


def bundle(
    run: Path | str,
    output: Path | str,
    *,
    force: bool = False,
    terms: str | None = None,
    name: str | None = None,
    notes: str | None = None,
    half: bool = False,
) -> BundleResult:
    """Write the best weights of a finished run and all that using them needs into one file.

    What is written is loaded again and held against the run, bit by bit, before it takes its name.

    Args:
        run: the run's folder.
        output: the file to write, ending in ``.photic``.
        force: replace what is there.
        terms: on which terms the training data may be used; goes into the card.
        name: what the model is called; None is the run's experiment and id.
        notes: what only people know, such as where it fails; Markdown, goes into the card.
        half: round learnt weights to half precision, which halves the file; the card says so.

    Raises:
        ConfigError: the output has another ending, is there already, or cannot be written; the run is not finished.
        DataError: ``run`` is no run folder.
        CheckpointError: the run's weights are missing or damaged.

    Example:
        >>> import photic
        >>> result = photic.bundle("runs/severstal/ID", "model.photic")  # doctest: +SKIP
    """
    if Path(run).is_file():
        raise ConfigError(f"{run}: is a file; give the folder of a run, whose best weights are taken")
    opened, output = Run.open(run), Path(output)
    _check_output(output, force)
    results = opened.results
    if results.get("status") != "completed":
        raise ConfigError(
            f"{opened.path}: this run is not finished (status {results.get('status', 'unknown')}), so its thresholds are not tuned "
            f"and it was not tested; finish it: photic train --resume {opened.path}"
        )
    own = load(opened.path, "cpu")
    description = {
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "photic": version("photic"),
        **describe(opened.config, results, name or run_name(opened.path), terms),
        **({"inference": results["inference"]} if "inference" in results else {}),  # how its application is to use it
    }
    if half:
        round_to_half(own.task)
        notes = "\n\n".join(text for text in (notes, _HALF) if text)
    description["card"] = card({**description, **told(own.task)}, own.task.usage, notes, own.task.limits)
    try:
        with atomic_path(output) as temporary:
            write_bundle(temporary, own.task, description, half=half)
            again = load_file(temporary, "cpu")
            if not same_deployment(own.task, again.task) or own.image_size != again.image_size:
                raise CheckpointError(f"{output}: not written: what was read back is not what {own.source} holds; please report this")
            digest, size_bytes = read_header(temporary).sha256, temporary.stat().st_size
    except OSError as error:
        raise ConfigError(f"{output}: cannot be written: {error.strerror or error}; nothing was changed there") from error
    assert digest is not None, "bundles are sealed"
    return BundleResult(output, digest, size_bytes, description["card"], again.description)


def _check_output(output: Path, force: bool) -> None:
    if output.suffix != SUFFIX:
        raise ConfigError(f"{output}: the name of a bundle ends in {SUFFIX}, for example {output.with_suffix(SUFFIX).name}")
    if output.is_dir():
        raise ConfigError(f"{output}: is a folder; give the name of a file to write")
    if output.exists() and not force:
        raise ConfigError(f"{output}: is there already; give another name, or force (--force) to replace it")

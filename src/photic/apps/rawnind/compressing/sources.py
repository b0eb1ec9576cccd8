"""What can be compressed: raw files, and developed pictures where the model takes three colours."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from photic.apps.rawnind.files.photographs import PHOTO_SUFFIXES, read_photograph
from photic.apps.rawnind.files.reading import RAW_SUFFIXES, read_raw
from photic.apps.rawnind.picture import RawPicture
from photic.core.container import read_header
from photic.core.errors import DataError
from photic.core.plugins import shipped_models
from photic.core.shelf import local_bundles
from photic.workflows.info import task_of

TASK = "compression"
Measurement = Literal["mosaic", "rgb"]
"""What a model takes."""


def shipped_compressors(measurement: Measurement | None = None) -> dict[str, Path]:
    """Return name and bundle of the models that come with Photic and compress; of one measurement, or all of them."""
    found = {name: path for name, path in shipped_models().items() if task_of(path) == TASK}
    if measurement is None:
        return found
    return {name: path for name, path in found.items() if read_header(path).description.get("measurement") == measurement}


def local_compressors() -> list[Path]:
    """Return the bundles in folders of the user's that compress; what cannot be read is none."""
    return [path for path in local_bundles() if task_of(path) == TASK]


def is_photograph(path: Path) -> bool:
    """Say whether a file is a developed picture, by its name."""
    return path.suffix.lower() in PHOTO_SUFFIXES


def suffixes_for(measurement: Measurement) -> tuple[str, ...]:
    """Return endings of the files that a model takes."""
    return RAW_SUFFIXES if measurement == "mosaic" else (*RAW_SUFFIXES, *PHOTO_SUFFIXES)


def read_source(path: Path, measurement: Measurement, *, max_pixels: int) -> RawPicture:
    """Read a picture that a model is to compress.

    Args:
        path: a raw file, or a developed picture.
        measurement: what the model takes.
        max_pixels: larger pictures are refused.

    Raises:
        DataError: it cannot be read, or is a developed picture for a model of mosaics.
    """
    if not is_photograph(path):
        return read_raw(path, max_pixels=max_pixels)
    if measurement == "mosaic":
        others = shipped_compressors("rgb")
        which = (
            f"--model {next(iter(others))}" if others else "--model: one trained with measurement=rgb (photic train recipe=rgb_compress)"
        )
        raise DataError(
            f"{path}: a developed picture, three colours at each pixel; this model takes the mosaics of raw files. Name {which}"
        )
    return read_photograph(path, max_pixels=max_pixels)

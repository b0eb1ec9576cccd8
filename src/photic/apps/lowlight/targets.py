"""Which files ``photic predict`` reads and where each result goes: photographs and videos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from photic.apps.lowlight import video
from photic.data.images import SUFFIXES as PICTURE_SUFFIXES
from photic.inference import targets

WRITABLE = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp")
"""Endings of pictures that can be written; what has another becomes .png."""


@dataclass(frozen=True)
class Target(targets.Target):
    """A file to enhance and the file that comes of it."""

    @property
    def is_video(self) -> bool:
        """Whether it is a video."""
        return video.is_video(self.source)

    @property
    def comparison(self) -> Path:
        """Where a picture of before and after goes."""
        return self.output.with_name(f"{self.output.stem}_compare.jpg")


def plan(inputs: Sequence[str], output: Path | None, form: str | None = None) -> list[Target]:
    """Return what is to be made of the inputs, each file once, in order; see :func:`photic.inference.targets.plan`.

    Args:
        inputs: files, folders (with the folders in them) and globs.
        output: file or folder to write to; None puts ``NAME_enhanced`` beside each file, ``FOLDER_enhanced`` beside a folder.
        form: ending that pictures get, without the dot; None keeps their own.

    Raises:
        ConfigError: an output that cannot be, or two files that would become one.
        DataError: an input that is not there, or names no pictures and no videos.
    """

    def ending(source: Path) -> str:
        if video.is_video(source):
            return video.output_suffix(source)
        if form is not None:
            return f".{form}"
        return source.suffix if source.suffix.lower() in WRITABLE else ".png"

    kinds = targets.Kinds(
        readable=lambda name: name.suffix.lower() in PICTURE_SUFFIXES or video.is_video(name),
        ending=ending,
        writable=lambda source: tuple(video.CODECS) if video.is_video(source) else WRITABLE,
        mark="_enhanced",
        nothing="no pictures and no videos",
        called=lambda source: "videos" if video.is_video(source) else "pictures",
    )
    return [Target(target.source, target.output) for target in targets.plan(inputs, output, kinds)]

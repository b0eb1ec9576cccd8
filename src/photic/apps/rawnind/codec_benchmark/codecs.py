"""Codecs that everybody has, each at a ladder of settings: what they make of a developed picture, and in how many bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from photic.core.errors import DataError, UnknownNameError, nearest

Integers = NDArray[np.uint8] | NDArray[np.uint16]
Floats = NDArray[np.float32]
ANCHOR = "JPEG XL"
"""What the others are held against."""


@dataclass(frozen=True)
class Codec:
    """A codec with the settings at which it is measured."""

    name: str
    """As commands take it."""
    label: str
    """As people read it."""
    knob: str
    """What its setting is called."""
    ladder: tuple[float, ...]
    """Settings, from the fewest bits to the most."""
    how: str
    """Library, effort and subsampling, for people."""
    encode: Callable[[Integers, float], bytes]
    decode: Callable[[bytes], Integers]
    bits: int = 8
    """Per channel, of what it is given."""

    def coded(self, picture: Floats, setting: float) -> tuple[bytes, Floats]:
        """Return the file made of a picture ``(H, W, 3)`` (sRGB, in [0, 1]), and the picture that the file holds.

        The file is whole, as it would lie on a disk, with neither EXIF nor profile.

        Raises:
            DataError: the codec cannot take it, a side being too long, say.
        """
        kind, top = (np.uint8, 255) if self.bits == 8 else (np.uint16, 65535)
        whole = np.ascontiguousarray((np.clip(picture, 0, 1) * top).round().astype(kind))
        try:
            data = self.encode(whole, setting)
            made = self.decode(data)
        except (RuntimeError, ValueError) as error:  # what imagecodecs raises, by library
            size = f"{picture.shape[1]} x {picture.shape[0]} pixels"
            raise DataError(f"{self.label} at {self.knob} {setting:g} cannot code {size}: {error}; use a smaller --max-side") from error
        if made.shape != whole.shape:
            raise DataError(f"{self.label}: gave a picture {made.shape} back for one of {whole.shape}")
        return data, made.astype(np.float32) / np.float32(np.iinfo(made.dtype).max)


def _jpegxl(pixels: Integers, distance: float) -> bytes:
    return bytes(imagecodecs.jpegxl_encode(pixels, distance=distance, effort=7, lossless=False, numthreads=1))


def _jpeg(pixels: Integers, quality: float, *, subsampling: str) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(pixels, int(quality), subsampling=subsampling, optimize=True))


def _webp(pixels: Integers, quality: float) -> bytes:
    return bytes(imagecodecs.webp_encode(pixels, quality, lossless=False, method=6))


def _avif(pixels: Integers, quality: float, *, pixelformat: str) -> bytes:
    return bytes(imagecodecs.avif_encode(pixels, int(quality), speed=6, pixelformat=pixelformat, numthreads=1))


def _decoder(name: str) -> Callable[[bytes], Integers]:
    return lambda data: np.asarray(getattr(imagecodecs, f"{name}_decode")(data))


_DISTANCES = (25.0, 20.0, 15.0, 10.0, 7.0, 5.0, 3.5, 2.5, 1.5, 1.0, 0.5)
_JPEG_QUALITIES = (4.0, 8.0, 14.0, 22.0, 35.0, 50.0, 65.0, 80.0, 90.0, 96.0)
_WEBP_QUALITIES = (0.0, 0.5, 1.0, 2.0, 5.0, 12.0, 25.0, 40.0, 55.0, 70.0, 82.0, 92.0, 97.0)
_AVIF_QUALITIES = (2.0, 8.0, 16.0, 25.0, 35.0, 45.0, 55.0, 67.0, 80.0, 92.0)


def _versions() -> dict[str, str]:
    """Return library to version, of those that imagecodecs has here."""
    parts = (part.strip().rpartition("-") for part in imagecodecs.version().split(","))
    return {name: version for name, _, version in parts}


def _known() -> tuple[Codec, ...]:
    has = _versions()
    jxl, webp, avif, turbo = (f"{name} {has.get(name, '')}".strip() for name in ("libjxl", "libwebp", "libavif", "libjpeg_turbo"))
    jpegxl, webp_decode, avif_decode, jpeg_decode = (_decoder(name) for name in ("jpegxl", "webp", "avif", "jpeg8"))
    return (
        Codec("jpegxl", ANCHOR, "distance", _DISTANCES, f"{jxl}, effort 7, from 8 bits", _jpegxl, jpegxl),
        Codec("jpegxl16", "JPEG XL 16 bit", "distance", _DISTANCES, f"{jxl}, effort 7, from 16 bits", _jpegxl, jpegxl, bits=16),
        Codec(
            "jpeg",
            "JPEG",
            "quality",
            _JPEG_QUALITIES,
            f"{turbo}, 4:2:0, optimised Huffman tables",
            partial(_jpeg, subsampling="420"),
            jpeg_decode,
        ),
        Codec(
            "jpeg444",
            "JPEG 4:4:4",
            "quality",
            _JPEG_QUALITIES,
            f"{turbo}, 4:4:4, optimised Huffman tables",
            partial(_jpeg, subsampling="444"),
            jpeg_decode,
        ),
        Codec("webp", "WebP", "quality", _WEBP_QUALITIES, f"{webp}, lossy (4:2:0), method 6", _webp, webp_decode),
        Codec(
            "avif",
            "AVIF",
            "quality",
            _AVIF_QUALITIES,
            f"{avif}, 4:4:4, speed 6, 8 bits",
            partial(_avif, pixelformat="444"),
            avif_decode,
        ),
        Codec(
            "avif420",
            "AVIF 4:2:0",
            "quality",
            _AVIF_QUALITIES,
            f"{avif}, 4:2:0, speed 6, 8 bits",
            partial(_avif, pixelformat="420"),
            avif_decode,
        ),
    )


CODECS: dict[str, Codec] = {codec.name: codec for codec in _known()}
USUAL = ("jpegxl", "jpeg", "webp", "avif")


def codecs_of(names: Sequence[str]) -> tuple[Codec, ...]:
    """Return codecs by name, each once.

    Raises:
        UnknownNameError: there is no such codec.
    """
    for name in names:
        if name not in CODECS:
            raise UnknownNameError(f"unknown codec '{name}'{nearest(name, CODECS)} (known: {', '.join(CODECS)})")
    return tuple(CODECS[name] for name in dict.fromkeys(names))

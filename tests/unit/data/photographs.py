"""Pictures of every depth and metadata as a camera writes them, for the tests of photographs."""

from __future__ import annotations

import struct
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms

HEIGHT, WIDTH = 12, 20
KINDS = (np.uint8, np.uint16, np.float32)


def pixels_of(kind: Any, seed: int = 0, *shape: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    size = shape or (HEIGHT, WIDTH, 3)
    if kind == np.float32:
        return generator.random(size, dtype=np.float32)
    return generator.integers(0, np.iinfo(kind).max, size, dtype=kind, endpoint=True)


@cache  # the profile holds the time it was made
def srgb() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def exif_block(orientation: int = 1, *, thumbnail: bytes = b"") -> bytes:
    """Return a block as a camera writes one: maker, exposure, position, perhaps a thumbnail."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0112], exif[0x0132] = "Maker", "Model 7", orientation, "2026:01:02 03:04:05"
    exif.get_ifd(0x8769).update({0x829A: (1, 50), 0x8827: 3200, 0xA002: WIDTH, 0xA003: HEIGHT, 0x927C: b"the maker's own notes"})
    exif.get_ifd(0x8825).update({1: "N", 2: (47.0, 22.0, 10.5)})
    block = exif.tobytes().removeprefix(b"Exif\x00\x00")
    if not thumbnail:
        return block
    order = "<" if block[:2] == b"II" else ">"
    (first,) = struct.unpack_from(order + "I", block, 4)
    (count,) = struct.unpack_from(order + "H", block, first)
    second = len(block)
    directory = struct.pack(order + "H", 2)
    directory += struct.pack(order + "HHII", 0x0201, 4, 1, second + 30) + struct.pack(order + "HHII", 0x0202, 4, 1, len(thumbnail))
    linked = bytearray(block)
    struct.pack_into(order + "I", linked, first + 2 + 12 * count, second)
    return bytes(linked) + directory + struct.pack(order + "I", 0) + thumbnail


def metadata_of(path: Path) -> tuple[dict[int, Any], dict[int, Any], dict[int, Any], bytes | None]:
    """Return EXIF's three directories and the profile as Pillow reads them."""
    with Image.open(path) as image:
        image.load()
        exif = image.getexif()
        return dict(exif), dict(exif.get_ifd(0x8769)), dict(exif.get_ifd(0x8825)), image.info.get("icc_profile")

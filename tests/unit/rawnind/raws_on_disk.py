"""Small raw files for tests: DNGs of a drawn scene, written by hand: TIFF with a mosaic and EXIF."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

BLACK, WHITE = 256, 4095
MATRIX = ((0.7309, -0.1403, -0.0519), (-0.8474, 1.6008, 0.2622), (-0.2433, 0.2826, 0.8064))
_ORDERS = {"RGGB": (0, 1, 1, 2), "GBRG": (1, 2, 0, 1), "GRBG": (1, 0, 2, 1), "BGGR": (2, 1, 1, 0)}


def drawn_light(seed: int, height: int, width: int, sigmas: tuple[float, ...] = (1.5, 4, 12)) -> np.ndarray:
    """Return what light falls on a sensor ``(H, W, 3)`` in [0.02, 0.8], with structure of these scales in pixels, in camera colours."""
    rng = np.random.default_rng(seed)
    light = sum(gaussian_filter(rng.normal(size=(height, width)), sigma, mode="wrap") * sigma for sigma in sigmas)
    light = (light - light.min()) / (light.max() - light.min())
    tint = np.stack([gaussian_filter(rng.normal(size=(height, width)), 10, mode="wrap") * 10 for _ in range(3)], axis=-1)
    colours = light[..., None] * np.array([0.55, 1.0, 0.7]) * (1 + 0.3 * tint)
    return np.clip(0.02 + 0.7 * colours, 0.02, 0.8)


def mosaic_of(light: np.ndarray, order: str = "RGGB") -> np.ndarray:
    """Return the mosaic of a picture ``(H, W, 3)``."""
    colours = np.array(_ORDERS[order]).reshape(2, 2)
    height, width = light.shape[:2]
    rows, columns = np.mgrid[:height, :width]
    return np.take_along_axis(light, colours[rows % 2, columns % 2][..., None], axis=-1)[..., 0]


def with_noise(mosaic: np.ndarray, seed: int, a: float, b: float) -> np.ndarray:
    """Return a mosaic with noise of variance a x + b, clipped where a sensor clips."""
    rng = np.random.default_rng(seed)
    return np.clip(mosaic + np.sqrt(a * np.clip(mosaic, 0, None) + b) * rng.normal(size=mosaic.shape), -BLACK / (WHITE - BLACK), 1)


def write_dng(
    path: Path, mosaic: np.ndarray, *, order: str = "RGGB", iso: int = 100, exposure_s: float = 0.01, aperture: float = 4.0,
    make: str = "Photic", model: str = "Test 1",
) -> Path:  # fmt: skip
    """Write a mosaic (black 0, white 1) as an uncompressed 12-bit DNG with EXIF."""
    values = np.rint(np.clip(mosaic, -BLACK / (WHITE - BLACK), 1) * (WHITE - BLACK) + BLACK).astype("<u2")
    exif = _directory({33434: _rationals(exposure_s), 33437: _rationals(aperture), 34855: ("H", (iso,))}, 8)
    height, width = values.shape
    start = 8 + len(exif)
    tags: dict[int, tuple[str, tuple]] = {
        254: ("I", (0,)), 256: ("I", (width,)), 257: ("I", (height,)), 258: ("H", (16,)), 259: ("H", (1,)), 262: ("H", (32803,)),
        271: ("s", (make,)), 272: ("s", (model,)), 273: ("I", (start,)), 274: ("H", (1,)), 277: ("H", (1,)), 278: ("I", (height,)),
        279: ("I", (values.nbytes,)), 284: ("H", (1,)), 33421: ("H", (2, 2)), 33422: ("B", _ORDERS[order]), 34665: ("I", (8,)),
        50706: ("B", (1, 4, 0, 0)), 50707: ("B", (1, 1, 0, 0)), 50708: ("s", (f"{make} {model}",)), 50714: ("H", (BLACK,)),
        50717: ("I", (WHITE,)), 50721: ("2i", tuple(number for value in np.ravel(MATRIX) for number in (round(value * 10000), 10000))),
        50728: ("2I", (10000, 18000, 1, 1, 10000, 14000)), 50778: ("H", (21,)),
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    first = start + values.nbytes
    path.write_bytes(struct.pack("<2sHI", b"II", 42, first) + exif + values.tobytes() + _directory(tags, first))
    return path


def _rationals(value: float) -> tuple[str, tuple]:
    return "2I", (round(value * 1_000_000), 1_000_000)


def _directory(tags: dict[int, tuple[str, tuple]], place: int) -> bytes:
    """Return a TIFF directory at a place in the file, with the values that do not fit into it behind it."""
    kinds = {"B": 1, "s": 2, "H": 3, "I": 4, "2I": 5, "2i": 10}
    beyond, entries = b"", b""
    behind = place + 2 + 12 * len(tags) + 4
    for number, (kind, values) in sorted(tags.items()):
        packed = values[0].encode() + b"\0" if kind == "s" else struct.pack(f"<{len(values)}{kind[-1]}", *values)
        count = len(packed) if kind == "s" else len(values) // (2 if kind[0] == "2" else 1)
        if len(packed) > 4:
            packed, beyond = struct.pack("<I", behind + len(beyond)), beyond + packed + b"\0" * (len(packed) % 2)
        entries += struct.pack("<HHI", number, kinds[kind], count) + packed.ljust(4, b"\0")
    made = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0) + beyond
    return made + b"\0" * (len(made) % 2)

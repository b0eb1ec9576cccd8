"""Files for the commands of compression: a tiny model as a bundle, raw files and photographs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from photic.apps.rawnind.files.dng import write_mosaic_dng
from photic.functional.cfa import BAYER
from photic.inference.bundle import write_bundle
from photic.inference.description import describe
from photic.models.compression import CompressorConfig
from photic.tasks.compression import CompressionConfig

from .compressors import TINY, TINY_RGB, loaded_compressor
from .denoisers import clean_scene, noisy

SIZE = (74, 91)
RGB = TINY_RGB.replace(num_qualities=3)


def write_model(path: Path, config: CompressorConfig = TINY, seed: int = 0) -> Path:
    """Write an untrained compressor as a bundle."""
    model = loaded_compressor(config, seed)
    settings = {
        "task": CompressionConfig(metrics=("psnr",)).to_dict(),
        "model": config.to_dict(),
        "data": {"name": "raw_synthetic"},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = describe(settings, {}, path.stem)
    return write_bundle(path, model.task, {**facts, "card": "# tiny\n", "created": "2026-01-01", "photic": "0"})


def write_sources(folder: Path) -> Path:
    """Write raw files of two orders, a photograph, a broken raw file, and what is none of these."""
    (folder / "trip").mkdir(parents=True)
    for name, pattern, turned in (("a", "RGGB", 1), ("trip/b", "GBRG", 6)):
        picture = replace(noisy(*SIZE, BAYER[pattern]), noise=None, orientation=turned)
        write_mosaic_dng(folder / f"{name}.dng", picture)
    (folder / "bad.dng").write_bytes((folder / "a.dng").read_bytes()[:2000])
    (folder / "notes.txt").write_text("no picture")
    return folder


def write_photograph(path: Path, seed: int = 1) -> np.ndarray:
    """Write a drawn scene as an 8-bit photograph with EXIF; return its pixels."""
    light = (clean_scene(*SIZE, seed) * np.array([2.0, 1.0, 1.5])).clip(0, 1)
    pixels = np.rint(255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)).astype(np.uint8)
    block = Image.Exif()
    block[0x010F], block[0x0110] = "Photic", "Made Camera"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, exif=block)
    return pixels


def names(folder: Path) -> list[str]:
    """Return the files in a folder and those below."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())

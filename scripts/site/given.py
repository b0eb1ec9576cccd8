"""Files that a reader has and the documentation's commands are run on: drawn, small."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path


def draw(name: str) -> None:
    """Write what goes by a name into the present folder.

    Raises:
        KeyError: nothing goes by that name.
    """
    _DRAWN[name](Path(name))


def _photo(path: Path, index: int = 0) -> None:
    import numpy as np
    from PIL import Image

    from photic.apps.lowlight.synthetic import draw_pair

    dark, _ = draw_pair(7, index, 120, 180)
    if path.suffix == ".tif":
        import tifffile

        tifffile.imwrite(path, dark.astype(np.uint16) * 257, photometric="rgb")
    else:
        Image.fromarray(dark).save(path, quality=95)


def _photos(path: Path) -> None:
    path.mkdir()
    for index in range(3):
        _photo(path / f"photo_{index}.jpg", index)


def _clip(path: Path) -> None:
    import cv2

    from photic.apps.lowlight.synthetic import draw_pair

    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (96, 64))
    for _ in range(6):
        writer.write(draw_pair(7, 0, 64, 96)[0][..., ::-1].copy())
    writer.release()


def _pairs(path: Path) -> None:
    from photic.apps.lowlight.generate import generate

    generate(path, 8, height=176, width=192)


def _dark(path: Path) -> None:
    from photic.apps.lowlight.generate import generate

    made = path.with_name(f".{path.name}.drawn")
    generate(made, 8, height=192, width=288, seed=3)
    (made / "low").rename(path)


def _strips(path: Path) -> None:
    from photic.apps.defects.generate import generate

    generate(path, 40, 4, height=64, width=160)


def _raw(path: Path) -> None:
    from photic.apps.rawnind.synthetic.generate import generate

    made = path.with_name(f".{path.name}.drawn")
    generate(made, 1, height=128, width=192)
    next(made.glob("raw/*/*_iso6400.dng")).rename(path)


def _shoot(path: Path) -> None:
    path.mkdir()
    for index in range(2):
        _raw(path / f"IMG_{index:04d}.dng")


def _drawn_raws(path: Path) -> None:
    from photic.apps.rawnind.synthetic.generate import generate

    generate(path, 4, height=176, width=192)


def _clean(path: Path) -> None:
    from photic.apps.rawnind.synthetic.generate import generate

    made = path.with_name(f".{path.name}.drawn")
    generate(made, 5, height=176, width=176)
    (made / "clean").rename(path)


def _scan(path: Path, seed: int = 0) -> None:
    from photic.apps.ptycho.simulate_command import main

    size = ["--object-size", "110", "--size", "32", "--probe", "disc:14", "--photons", "1e5"]
    if main(["ptycho", "--object", "cells", *size, "--seed", str(seed), "-o", str(path)]) != 0:
        raise RuntimeError(f"{path} could not be simulated")


def _foreign_scan(path: Path) -> None:
    """Write a scan as another program does; the tests of the readers know how."""
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("scan_files", Path(__file__).resolve().parents[2] / "tests" / "unit" / "ptycho" / "scan_files.py")
    assert spec is not None
    assert spec.loader is not None
    files = module_from_spec(spec)
    sys.modules["scan_files"] = files
    spec.loader.exec_module(files)
    scan = files.make_scan()
    if path.suffix == ".cxi":
        files.write_cxi(path, scan)
    elif path.suffix == ".hdf5":
        files.write_ptylab(path, scan)
    else:
        files.write_ptychodus(path, path.with_name("dp.h5"), scan)


def _noise_profiles(path: Path) -> None:
    import json

    profiles = [
        {
            "name": f"iso {iso}",
            "iso": iso,
            "a": [2e-8 * iso, 1e-8 * iso, 1.5e-8 * iso],
            "b": [4e-12 * iso**2, 1e-12 * iso**2, 2e-12 * iso**2],
        }
        for iso in (100, 800, 6400)
    ]
    camera = {"model": "NIKON D5000", "profiles": profiles}
    path.write_text(json.dumps({"version": 0, "noiseprofiles": [{"maker": "NIKON", "models": [camera]}]}))


def _mask(path: Path) -> None:
    import numpy as np

    mask = np.ones((32, 32), bool)
    mask[3, 5] = False
    np.save(path, mask)


_DRAWN: dict[str, Callable[[Path], None]] = {
    "photo.jpg": _photo,
    "picture.png": _photo,
    "scan.tif": _photo,
    "photos": _photos,
    "clip.mp4": _clip,
    "pairs": _pairs,
    "dark": _dark,
    "strips": _strips,
    "photo.CR2": _raw,
    "photo.dng": _raw,
    "shoot": _shoot,
    "drawn": _drawn_raws,
    "clean": _clean,
    "scan.npz": _scan,
    "other.npz": lambda path: _scan(path, 1),
    "scan.cxi": _foreign_scan,
    "scan.hdf5": _foreign_scan,
    "product.h5": _foreign_scan,
    "mask.npy": _mask,
    "noiseprofiles.json": _noise_profiles,
}

"""``photic data generate rawnind``: drawn scenes as raw files, clean and noisy, and as developed pictures."""

from __future__ import annotations

import argparse
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from photic.apps.rawnind.files.dng import write_mosaic_dng
from photic.apps.rawnind.picture import RawPicture
from photic.apps.rawnind.synthetic.drawn import draw_scene
from photic.apps.rawnind.synthetic.noise_levels import noise_at
from photic.apps.rawnind.synthetic.synthesis import Camera, random_camera, seen
from photic.core.errors import DataError
from photic.core.files import atomic_path
from photic.core.seeding import numpy_generator, torch_generator
from photic.data.images import write_image
from photic.data.photo import exif
from photic.functional.cfa import RGGB
from photic.functional.colour import linear_to_srgb
from photic.workflows.generating import claim_folder
from photic.workflows.progress import counting

_EXAMPLES = """examples:
  photic data generate rawnind drawn/                             # 6 scenes of 512 x 768 pixels at ISO 100 and 6400
  photic predict rawdenoise drawn/raw -o denoised/                # denoise the raw files
  photic data prepare rawnind drawn/raw -o pairs/                 # aligned pairs of them
  photic train recipe=raw_denoise_synthetic data.root=drawn/clean # learn from the clean pictures
"""
_LEAST_PX = 64
_CLEAN_ISO = 100
_ISO_TAG, _SHORT = 34855, 3
_SRGB_QUALITY = 95
_DRAWN = ("raw/scene*/gt/scene*.dng", "raw/scene*/scene*.dng", "clean/scene*.png", "developed/scene*.jpg")


def main(arguments: list[str]) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="photic data generate rawnind",
        description=(
            "Draw scenes and write what a camera makes of them: OUT/raw/SCENE/gt (raw files of low ISO), OUT/raw/SCENE (noisy ones), "
            "OUT/clean (the scenes as PNG), OUT/developed (noisy and clean JPEG)."
        ),
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write; must be new or empty")
    parser.add_argument("--num", type=int, default=6, help="scenes (default: %(default)s)")
    parser.add_argument("--height", type=int, default=512, help=f"sensor pixels, even, at least {_LEAST_PX} (default: %(default)s)")
    parser.add_argument("--width", type=int, default=768, help=f"sensor pixels, even, at least {_LEAST_PX} (default: %(default)s)")
    parser.add_argument(
        "--iso", type=int, nargs="+", default=[6400], help="ISO values of the noisy pictures of each scene (default: 6400)", metavar="N"
    )
    parser.add_argument("--seed", type=int, default=0, help="same seed, same pictures (default: %(default)s)")
    parser.add_argument("--force", action="store_true", help="write into a folder that is not empty, replacing what was generated before")
    options = parser.parse_args(arguments)
    with counting("drawing", max(options.num, 0), "scenes") as advance:
        generate(
            options.out, options.num, height=options.height, width=options.width, iso=options.iso, seed=options.seed,
            force=options.force, advance=advance,
        )  # fmt: skip
    iso = ", ".join(str(value) for value in (_CLEAN_ISO, *options.iso))
    print(f"{options.out}: {options.num} scenes of {options.height} x {options.width} pixels at ISO {iso}, seed {options.seed}")
    print(f"denoise them:  photic predict rawdenoise {options.out}/raw -o denoised/")
    print(f"train on them: photic train recipe=raw_denoise_synthetic data.root={options.out}/clean")
    return 0


def generate(
    out: Path,
    num: int,
    *,
    height: int = 512,
    width: int = 768,
    iso: Sequence[int] = (6400,),
    seed: int = 0,
    force: bool = False,
    advance: Callable[[int], None] = lambda count: None,
) -> None:
    """Write drawn scenes as Bayer DNGs with made noise, as clean PNGs and as pairs of JPEGs.

    Args:
        out: folder.
        num: scenes.
        height: of the sensor, in pixels.
        width: likewise.
        iso: of the noisy pictures; a clean one of ISO 100 is written for each scene, too.
        seed: which set.
        force: accept a folder that is not empty; what was generated there before is removed first.
        advance: told of each scene.

    Raises:
        DataError: the folder is not empty, or a number, size or ISO value is impossible.
    """
    if num < 1 or min(height, width) < _LEAST_PX or height % 2 or width % 2:
        raise DataError(
            f"cannot draw {num} scenes of {height} x {width} pixels; use --num 1 or more, even --height and --width of {_LEAST_PX} or more"
        )
    if not iso or not all(_CLEAN_ISO < value < 65536 for value in iso) or len(set(iso)) < len(iso):
        raise DataError(f"cannot draw ISO {', '.join(map(str, iso))}; use different values above {_CLEAN_ISO} and below 65536")
    claim_folder(out, _DRAWN, force=force)
    for index in range(num):
        _write_scene(out, index, draw_scene(seed, index, height, width), iso, seed)
        advance(1)


def _write_scene(out: Path, index: int, scene: NDArray[np.float32], iso: Sequence[int], seed: int) -> None:
    name = f"scene{index:03d}"
    camera = random_camera(numpy_generator(seed, "rawnind.drawn_camera"))
    write_image(out / "clean" / f"{name}.png", _for_screens(scene))
    for value in (_CLEAN_ISO, *iso):
        generator = torch_generator(seed, "rawnind.drawn_noise", index, value)
        folder = out / "raw" / name / ("gt" if value == _CLEAN_ISO else "")
        write_mosaic_dng(folder / f"{name}_iso{value}.dng", _photographed(scene, camera, value, generator), force=True)
    noisy = noise_at(iso[0]).sample(torch.from_numpy(scene), torch_generator(seed, "rawnind.drawn_picture", index)).numpy()
    for kind, picture in (("mean", scene), ("real", noisy)):
        with atomic_path(out / "developed" / f"{name}_{kind}.jpg") as temporary:
            Image.fromarray(_for_screens(picture)).save(temporary, "JPEG", quality=_SRGB_QUALITY)


def _photographed(scene: NDArray[np.float32], camera: Camera, iso: int, generator: torch.Generator) -> RawPicture:
    """Return what a camera records of a scene in linear sRGB."""
    noise = noise_at(iso)
    light = np.clip(scene @ camera.from_srgb.T.astype(np.float32), 0, 1)
    sample = seen(light, camera.xyz_to_camera, camera.white_balance, noise, generator, measurement="mosaic")
    block = exif.Directory("<", below={exif.EXIF_IFD: exif.Directory("<", {_ISO_TAG: exif.Tag(_SHORT, 1, struct.pack("<H", iso))})})
    return RawPicture(
        values=sample["measurement"][0].numpy().astype(np.float32),
        pattern=RGGB,
        xyz_to_camera=camera.xyz_to_camera,
        white_balance=camera.white_balance,
        camera="Photic drawn camera",
        iso=float(iso),
        exif=exif.pack(block),
        noise=(noise.shot, noise.read),
    )


def _for_screens(linear: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return linear sRGB with 8 bits."""
    encoded = linear_to_srgb(torch.from_numpy(linear.clip(0, 1))).mul(255).round()
    return np.asarray(encoded.numpy(), dtype=np.uint8)

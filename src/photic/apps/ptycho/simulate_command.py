"""``photic simulate ptycho``: a raw NPZ with truth, from a picture or a drawn object."""

from __future__ import annotations

import argparse
import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from scipy.spatial import KDTree

from photic.apps.ptycho.npz import NpzFile
from photic.apps.ptycho.raw import RawNPZData, save_raw_npz
from photic.apps.ptycho.reconstruction_files import refuse_existing
from photic.apps.ptycho.simulate import simulate_scan
from photic.apps.ptycho.synthetic import (
    AMPLITUDE_RANGE,
    OBJECT_KINDS,
    PHASE_RANGE_RAD,
    PROBE_KINDS,
    SCAN_KINDS,
    complex_object,
    detector_mask,
    draw_object,
    draw_probe,
    effective_diameter_px,
    scan_positions,
)  # fmt: skip
from photic.core.errors import ConfigError, DataError, UnknownNameError, nearest
from photic.core.program import program
from photic.data.images import read_image, resize_picture
from photic.physics.ptychography import with_modes

APPLICATION = "ptycho"
_USAGE = "photic simulate ptycho --object PICTURE|FILE.npz|star|cells|lines -o SCAN.npz [options]"
_EXAMPLES = """examples:
  photic simulate ptycho --object cells -o scan.npz                                   # a drawn object, a disc, a spiral
  photic simulate ptycho --object photo.png --object-size 300 --probe disc:24 --photons 1e4 --size 64 --step 6 -o scan.npz
  photic simulate ptycho --object photo.png --amplitude-range 1 1 -o phase_only.npz   # a pure phase object
  photic simulate ptycho --object measured.npz --probe measured.npz --photons 1e6 -o repeated.npz
  photic simulate ptycho --object star --modes 3 --position-error 2 --scan raster -o hard.npz --preview hard/
"""
_DRAWN_PX = 256
_SIZE_PX = 64
_DISC_SHARE = 0.375
_MOST_POSITIONS = 2000
_GOOD_OVERLAP = 0.5
_LUMINANCE = (0.2126, 0.7152, 0.0722)  # ITU-R BT.709


@dataclass(frozen=True)
class _Made:
    """An array with the words that say where it is from."""

    array: NDArray[Any]
    text: str


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    words = list(arguments)
    if not words or words[0] in ("-h", "--help"):
        print(
            f"usage: {_USAGE}\n\nMeasure an object in the computer; `photic simulate {APPLICATION} --help` explains it all.\n\n{_EXAMPLES}",
            end="",
        )
        return 0
    if words[0] != APPLICATION:
        raise UnknownNameError(f"nothing simulates '{words[0]}'{nearest(words[0], [APPLICATION])} (there is: {APPLICATION}); {_USAGE}")
    options = _parser().parse_args(words[1:])
    if options.output.suffix != ".npz":
        raise ConfigError(f"-o {options.output}: expected a name that ends in .npz")
    pictures: dict[str, Path] = {}
    if options.preview is not None:
        from photic.apps.ptycho.scan_preview import PICTURES  # matplotlib is slow to import

        pictures = {name: options.preview / f"{name}.png" for name in PICTURES}
    refuse_existing([options.output, *pictures.values()], force=options.force)
    scan, notes = _simulate(options, shlex.join(["photic", "simulate", *words]))
    save_raw_npz(options.output, scan, compressed=options.compressed, force=options.force)
    _say(options, scan, notes)
    if pictures:
        from photic.apps.ptycho.scan_preview import write_preview

        write_preview(scan, options.preview, force=options.force)
        print(f"pictures    {options.preview}/: {', '.join(pictures)}")
    name = shlex.quote(str(options.output))
    print(f"look at it:     {program()} data check ptycho {name}")
    print(f"reconstruct it: {program()} reconstruct {name} --iterations 100 -o out/")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"photic simulate {APPLICATION}",
        usage=_USAGE,
        description="Illuminate an object at many places and count photons; writes a raw NPZ with the truth (objectGuess, probeGuess).",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument_group("object").add_argument
    add("--object", required=True, metavar="WHAT", help=f"picture, raw NPZ with objectGuess, or drawn: {', '.join(OBJECT_KINDS)}")
    add("--phase-picture", type=Path, metavar="FILE", help="picture for the phase (default: the same as for the amplitude)")
    add("--amplitude-range", type=float, nargs=2, metavar=("DARK", "BRIGHT"), help="amplitude of black and of white (default: 0.5 1)")
    add("--phase-range", type=float, nargs=2, metavar=("DARK", "BRIGHT"), help="phase of black and of white, rad (default: -1 1)")
    add("--object-size", metavar="H[xW]", help=f"pixels; pictures are resized (default: as they are; drawn objects {_DRAWN_PX})")
    add = parser.add_argument_group("probe and detector").add_argument
    add("--probe", metavar="WHAT", help="NPZ with probeGuess, or disc:PX, gauss:PX of that diameter (default: disc, 3/8 of --size)")
    add("--size", type=int, metavar="N", help=f"pixels a side of the patterns (default: the probe file's, else {_SIZE_PX})")
    add("--modes", type=int, metavar="P", help="incoherent modes of the probe (default: the probe file's, else 1)")
    add("--mode-share", type=float, default=0.1, help="energy of each added mode relative to the first (default: %(default)s)")
    add("--photons", type=float, default=1e4, help="mean photons in a pattern; inf: no noise (default: 1e4)")
    add("--background", type=float, default=0.0, help="mean counts in every pixel besides (default: 0)")
    add("--beam-stop", type=float, default=0.0, metavar="PX", help="diameter of a beam stop, masked (default: none)")
    add("--dead-pixels", type=float, default=0.0, metavar="SHARE", help="share of dead pixels, masked (default: 0)")
    add = parser.add_argument_group("scan").add_argument
    add("--scan", choices=SCAN_KINDS, default="spiral", help="Fermat spiral, or raster with random displacements (default: spiral)")
    add("--step", type=float, default=6.0, metavar="PX", help="distance of neighbours in object pixels (default: %(default)g)")
    add("--positions", type=int, metavar="M", help=f"how many (default: all that fit, at most {_MOST_POSITIONS})")
    add(
        "--position-error", type=float, default=0.0, metavar="PX", help="recorded positions are wrong by up to this in x and y (default: 0)"
    )
    add("--pixel-size-m", type=float, metavar="M", help="pixel of the object in metres, recorded for scale bars")
    add("--seed", type=int, default=0, help="same seed, same scan (default: 0)")
    add = parser.add_argument_group("output").add_argument
    add("-o", "--output", type=Path, required=True, metavar="SCAN.npz", help="file to write")
    add("--compressed", action="store_true", help="smaller file, which cannot be read piece by piece")
    add("--preview", type=Path, metavar="DIR", help="also write pictures of object, probe, positions and mean pattern")
    add("--force", action="store_true", help="replace files that are there")
    return parser


def _simulate(options: argparse.Namespace, command: str) -> tuple[RawNPZData, dict[str, str]]:
    """Return the scan, and what to say about object and probe."""
    probe = _probe(options)
    size_px = probe.array.shape[-1]
    specimen = _object(options)
    shape = specimen.array.shape[0], specimen.array.shape[1]
    place = partial(scan_positions, options.scan, shape, size_px, step_px=options.step, margin_px=options.position_error, seed=options.seed)
    positions = place(num_positions=options.positions)
    notes = {"object": specimen.text, "probe": probe.text}
    if options.positions is None and len(positions) > _MOST_POSITIONS:
        notes["positions"] = f"{_MOST_POSITIONS} in the middle, where {len(positions)} would fit; --positions takes more"
        positions = place(num_positions=_MOST_POSITIONS)
    mask = detector_mask(size_px, beam_stop_px=options.beam_stop, dead_share=options.dead_pixels, seed=options.seed)
    console = Console(stderr=True)
    scan = simulate_scan(
        specimen.array, probe.array, positions,
        photons=None if options.photons == math.inf else options.photons,
        seed=options.seed,
        mask=None if mask.all() else mask,
        position_error_px=options.position_error,
        background=options.background,
        pixel_size_m=options.pixel_size_m,
        made_from={"object": specimen.text, "probe": probe.text, "scan": options.scan, "step_px": options.step, "command": command},
        progress=lambda count: track(range(count), description="simulating", console=console, transient=True),
    )  # fmt: skip
    return scan, notes


# --- object ---------------------------------------------------------------------------------------


def _object(options: argparse.Namespace) -> _Made:
    what: str = options.object
    amplitude_range = AMPLITUDE_RANGE if options.amplitude_range is None else tuple(options.amplitude_range)
    phase_range = PHASE_RANGE_RAD if options.phase_range is None else tuple(options.phase_range)
    size = None if options.object_size is None else _object_size(options.object_size)
    kind = next((kind for kind in OBJECT_KINDS if kind == what), None)
    if kind is not None:
        if options.phase_picture is not None:
            raise ConfigError(f"--phase-picture goes with a picture as --object; '{what}' is drawn with a phase of its own")
        shape = size or (_DRAWN_PX, _DRAWN_PX)
        drawn = draw_object(kind, shape, seed=options.seed, amplitude_range=amplitude_range, phase_range_rad=phase_range)
        return _Made(drawn, f"{kind} (drawn)")
    path = Path(what)
    if not path.is_file():
        hint = nearest(what, OBJECT_KINDS)
        raise DataError(f"--object {what}: no such file (from {Path.cwd()}), and none of the drawn objects {', '.join(OBJECT_KINDS)}{hint}")
    if path.suffix == ".npz":
        given = {
            "--phase-picture": options.phase_picture, "--amplitude-range": options.amplitude_range, "--phase-range": options.phase_range,
            "--object-size": options.object_size,
        }  # fmt: skip
        unused = [name for name, value in given.items() if value is not None]
        if unused:
            raise ConfigError(f"--object {path}: an objectGuess is taken as it is; leave out {', '.join(unused)}")
        return _Made(NpzFile(path).read("objectGuess"), f"objectGuess of {path}")
    bright = _luminance(path, size)
    turned = bright if options.phase_picture is None else _luminance(options.phase_picture, size)
    if turned.shape != bright.shape:
        raise DataError(
            f"--phase-picture {options.phase_picture} has {turned.shape[0]} x {turned.shape[1]} px, --object {path} {bright.shape[0]} x "
            f"{bright.shape[1]}; expected the same size, or say --object-size to resize both"
        )
    text = str(path) if options.phase_picture is None else f"{path}, phase of {options.phase_picture}"
    return _Made(complex_object(bright, turned, amplitude_range=amplitude_range, phase_range_rad=phase_range), text)


def _luminance(path: Path, size: tuple[int, int] | None) -> NDArray[np.floating[Any]]:
    picture = resize_picture(read_image(path), size)
    bright: NDArray[np.floating[Any]] = picture.astype(np.float64) @ np.array(_LUMINANCE) / 255
    bright.clip(0, 1, out=bright)  # the weights sum to 1 but for the last digit
    return bright


def _object_size(text: str) -> tuple[int, int]:
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() and int(side) > 0 for side in sides):
        raise ConfigError(f"--object-size {text}: expected pixels as 256, or as rows and columns 256x320")
    return int(sides[0]), int(sides[-1])


# --- probe ----------------------------------------------------------------------------------------


def _probe(options: argparse.Namespace) -> _Made:
    size_px = _SIZE_PX if options.size is None else options.size
    what = options.probe or f"disc:{_DISC_SHARE * size_px:g}"
    word, colon, number = what.partition(":")
    kind = next((kind for kind in PROBE_KINDS if kind == word), None)
    if kind is None and Path(what).suffix == ".npz":
        return _probe_of_file(Path(what), options)
    try:
        diameter = float(number)
    except ValueError:
        diameter = math.nan
    if kind is None or not colon or math.isnan(diameter):
        kinds = ", ".join(f"{kind}:24" for kind in PROBE_KINDS)
        raise ConfigError(f"--probe {what}: expected a file that ends in .npz, or a kind and its diameter in pixels ({kinds})")
    num_modes = 1 if options.modes is None else options.modes
    drawn = draw_probe(size_px, diameter, kind=kind, num_modes=num_modes, mode_share=options.mode_share)
    return _Made(drawn, f"{what} (drawn)")


def _probe_of_file(path: Path, options: argparse.Namespace) -> _Made:
    found = NpzFile(path).read("probeGuess")
    if found.ndim == 2 or (found.ndim == 3 and found.shape[0] == found.shape[1] and found.shape[2] == 1):
        found = found.reshape(1, *found.shape[:2])
    if found.ndim != 3 or found.dtype.kind not in "cfiu" or found.shape[1] != found.shape[2]:
        raise DataError(
            f"{path}: key 'probeGuess' is {found.dtype} of shape {found.shape}, expected complex numbers of shape "
            "(N, N), (N, N, 1) or (P, N, N)"
        )
    if options.size not in (None, found.shape[-1]):
        raise ConfigError(f"--size {options.size}: the probe of {path} has {found.shape[-1]} x {found.shape[-1]} px; leave out --size")
    if options.modes is not None:
        found = with_modes(torch.from_numpy(found.astype(np.complex128)), options.modes, options.mode_share).numpy()
    return _Made(found, f"probeGuess of {path}")


# --- what was made --------------------------------------------------------------------------------


def _say(options: argparse.Namespace, scan: RawNPZData, notes: dict[str, str]) -> None:
    truth = scan.objectGuess
    assert truth is not None, "a simulated scan has its truth"
    modes = scan.probe_modes
    counts = np.square(np.asarray(scan.diffraction), dtype=np.float64)
    diameter = effective_diameter_px(modes)
    amplitude, phase = np.abs(truth), np.angle(truth)
    num = scan.num_patterns
    print(f"{options.output}: {num} patterns of {scan.size_px} x {scan.size_px} px, {options.output.stat().st_size / 2**20:.1f} MiB")
    print(
        f"object      {notes['object']}: {truth.shape[0]} x {truth.shape[1]} px, amplitude {amplitude.min():.2f} to {amplitude.max():.2f}, "
        f"phase {phase.min():.2f} to {phase.max():.2f} rad"
    )
    energy = float(np.sum(np.abs(modes.astype(np.complex128)) ** 2))
    num_modes = f"{len(modes)} mode" + ("" if len(modes) == 1 else "s")
    print(f"probe       {notes['probe']}: {num_modes}, about {diameter:.0f} px across, {energy:.4g} counts where |object| = 1")
    noise = "without noise" if options.photons == math.inf else "Poisson noise"
    print(
        f"photons     {scan.physics_parameters['nphotons']:.4g} per pattern on average, {noise}; "
        f"the detector saw {counts.sum() / num:.4g}, {counts.max():.4g} in the brightest pixel"
    )
    if scan.mask is not None:
        print(f"mask        {(~scan.mask).mean():.2%} of the detector's pixels count nothing")
    if options.position_error > 0:
        print(f"recorded    positions wrong by up to {options.position_error:g} px in x and in y")
    line = f"scan        {options.scan}, step {options.step:g} px"
    if num > 1:
        apart = float(np.median(KDTree(scan.positions_px).query(scan.positions_px, k=2)[0][:, 1]))
        overlap = max(0.0, 1 - apart / diameter)
        line += f", nearest neighbours {apart:.1f} px apart: they overlap by {overlap:.0%} of the probe"
        if overlap < _GOOD_OVERLAP:
            line += ". That is little: reconstruction wants 60 % and more (smaller --step, larger probe)"
    print(line + (f" ({notes['positions']})" if "positions" in notes else ""))

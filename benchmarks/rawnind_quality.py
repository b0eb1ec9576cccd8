"""What a denoiser of raw pictures does to edges, levels and seams, on made pictures with a known answer.

Run: ``python benchmarks/rawnind_quality.py MODEL [MODEL ...] [--iso 6400]``. Prints tables; exits with 1 where a target is missed.

- MTF50 of a grey slanted edge, cycles per pixel, without and with noise, beside Menon's and Malvar's demosaicing of the same mosaic.
  Target: 0.9 of Menon's without noise, behind a lens that blurs by 0.5 px.
- Mean level of each colour on flat noisy patches from black to clipping, in tiles; largest change relative to the level (to a
  hundredth of white, where it is darker). Target: 0.2 %.
- Largest difference of a pixel between tiles and the whole: on the flat patches, and on a drawn scene with the noise of several ISO
  values, in tiles as small as possible. Target: 1e-3 of white.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
import torch

from photic.apps.rawnind.denoising import denoise, layout_of, load_denoiser, network_of
from photic.apps.rawnind.evaluating.evaluation import BALANCE, flat_levels, sharpness_table
from photic.apps.rawnind.picture import RawPicture
from photic.apps.rawnind.synthetic.drawn import draw_scene
from photic.apps.rawnind.synthetic.noise_levels import noise_at
from photic.functional.cfa import RGGB, cfa_planes, mosaic_of
from photic.models.raw_denoising import RawDenoiser

SHARPNESS, LEVEL, SEAM = 0.9, 0.002, 1e-3
ISOS = (100.0, 6400.0, 102400.0)


def seam(network: RawDenoiser, iso: float, size: int) -> float:
    """Return the largest difference between a drawn scene in small tiles and as a whole."""
    noise, layout = noise_at(iso), layout_of(network, RGGB)
    scene = torch.from_numpy(np.moveaxis(draw_scene(0, 3, size, size), -1, 0) / BALANCE[:, None, None].astype(np.float32))
    mosaic = noise.sample(mosaic_of(scene.float(), cfa_planes(RGGB, size, size)), torch.Generator().manual_seed(0))
    picture = RawPicture(mosaic[0].numpy(), RGGB, white_balance=BALANCE)
    made = [denoise(network, picture, (noise.shot, noise.read), tile_px=px) for px in (2 * size, layout.overlap + layout.align)]
    return float(np.abs(made[0] - made[1]).max())


def judge(model: str, iso: float, size: int) -> bool:
    """Print the tables of a model; return whether every target is met."""
    network = network_of(load_denoiser(model))
    print(f"\n## {model} ({type(network).__name__})\n")
    sharp = sharpness_table(network)
    print("| MTF50 | network | Menon | Malvar | network / Menon |\n|---|---|---|---|---|")
    for one in sharp:
        name = f"{'no noise' if one.iso is None else f'ISO {one.iso:g}'}, lens blur {one.blur_px:g} px"
        values = " | ".join(f"{one.mtf50[method]:.3f}" for method in ("network", "Menon", "Malvar"))
        print(f"| {name} | {values} | {one.kept:.2f} |")
    print(f"\n| level, ISO {iso:g} | red | green | blue | largest, relative | tiles against whole |\n|---|---|---|---|---|---|")
    flats = flat_levels(network, iso)
    for flat in flats:
        changes = " | ".join(f"{value:+.1e}" for value in flat.change)
        print(f"| {flat.level:g} | {changes} | {flat.relative:.3%} | {flat.tiled:.1e} |")
    seams = {level: seam(network, level, size) for level in ISOS}
    print("\ntiles against whole, drawn scene: " + ", ".join(f"ISO {level:g} {value:.1e}" for level, value in seams.items()))
    kept = sharp[0].kept
    moved, apart = max(flat.relative for flat in flats), max(*seams.values(), *(flat.tiled for flat in flats))
    print(f"sharpness {kept:.2f} of Menon's (target {SHARPNESS:g}), levels within {moved:.3%} ({LEVEL:.1%}), seams {apart:.1e} ({SEAM:g})")
    return kept >= SHARPNESS and moved <= LEVEL and apart < SEAM


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--iso", type=float, default=6400.0, help="noise of the flat patches (default: 6400)")
    parser.add_argument("--size", type=int, default=768, help="side of the drawn scene, pixels (default: 768)")
    options = parser.parse_args()
    met = [judge(model, options.iso, options.size) for model in options.models]
    return int(not all(met))


if __name__ == "__main__":
    sys.exit(main())

"""Small denoisers whose every layer does something, and noisy pictures for them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from photic.apps.rawnind.picture import RawPicture
from photic.apps.rawnind.synthetic.drawn import draw_scene
from photic.apps.rawnind.synthetic.noise_levels import noise_at
from photic.functional.cfa import RGGB, Pattern
from photic.functional.raw_colour import XYZ_TO_SRGB
from photic.inference.predictor import LoadedModel
from photic.losses.reconstruction import L1Config
from photic.models.raw_denoising import RawDenoiser, RawDenoiserConfig
from photic.models.standard import StandardConfig
from photic.tasks.raw_denoising import RawDenoisingConfig

BALANCE = np.array([2.0, 1.0, 1.5])
ISO = 6400.0
NOISE = (noise_at(ISO).shot, noise_at(ISO).read)


def network(config: RawDenoiserConfig | None = None, seed: int = 0) -> RawDenoiser:
    """Return an untrained network, the tiny `standard` if nothing else is said; layers that begin at zero do something."""
    torch.manual_seed(seed)
    made = (config or StandardConfig(size="tiny")).build().eval()
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.abs().max() < 1e-2:
                parameter.add_(0.02 * torch.randn(parameter.shape))
    return made


def loaded(config: RawDenoiserConfig | None = None, seed: int = 0) -> LoadedModel:
    """Return it as a loaded model."""
    chosen = config or StandardConfig(size="tiny")
    task = RawDenoisingConfig(metrics=("psnr",)).build(chosen, L1Config(), {})
    task.graph.network.load_state_dict(network(chosen, seed).state_dict())
    return LoadedModel(task.eval(), {"model": chosen.to_dict()}, {}, Path(f"in-memory-{seed}"), torch.device("cpu"))


def clean_scene(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Return a drawn scene ``(H, W, 3)`` in the colours of a camera that needs BALANCE."""
    return (draw_scene(seed, 1, height, width) / BALANCE).astype(np.float32)


def sampled(picture: np.ndarray, pattern: Pattern) -> np.ndarray:
    """Return a picture's mosaic, by indexing."""
    rows, columns = np.mgrid[: picture.shape[0], : picture.shape[1]]
    colours = np.array(pattern)[rows % len(pattern), columns % len(pattern[0])]
    return np.take_along_axis(picture, colours[..., None], axis=2)[..., 0]


def noisy(height: int = 70, width: int = 90, pattern: Pattern | None = RGGB, seed: int = 0) -> RawPicture:
    """Return what a sensor sees of a drawn scene at ISO 6400; pattern None sees three colours at each pixel."""
    scene = clean_scene(height, width, seed)
    seen = scene if pattern is None else sampled(scene, pattern)
    noise = np.random.default_rng(seed).normal(size=seen.shape)
    values = np.clip(seen + np.sqrt(NOISE[0] * seen + NOISE[1]) * noise, -0.05, 1).astype(np.float32)
    matrix = XYZ_TO_SRGB / BALANCE[:, None]
    return RawPicture(values, pattern, xyz_to_camera=matrix, white_balance=BALANCE, camera="Made Camera", iso=ISO)


def without_colour(picture: RawPicture) -> RawPicture:
    """Return a picture of which neither matrix nor white balance is known."""
    return replace(picture, xyz_to_camera=None, white_balance=None)

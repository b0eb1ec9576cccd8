"""Small compressors whose every layer does something, and what the network alone makes of a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from photic.apps.rawnind.picture import RawPicture
from photic.functional.cfa import RGGB, shifted
from photic.inference.predictor import LoadedModel
from photic.losses.rate_distortion import RateDistortionConfig
from photic.models.compression import Coded, Compressor, CompressorConfig
from photic.models.denoise_then_compress import DenoiseThenCompressConfig
from photic.models.factorized import FactorizedConfig
from photic.models.hyperprior import HyperpriorConfig
from photic.models.many_priors import ManyPriorsConfig
from photic.models.standard import StandardConfig
from photic.tasks.compression import CompressionConfig

from .denoisers import NOISE, sampled

TINY = HyperpriorConfig(width=8, num_latents=6, num_strides=2, hyper_widths=(6, 6), num_qualities=3, noise_map=True, companding="root")
TINY_RGB = TINY.replace(measurement="rgb", noise_map=False, num_qualities=1)

DEMOSAICED = TINY.replace(front="demosaiced", num_qualities=1)
FACTORIZED = FactorizedConfig(width=8, num_latents=6, num_strides=2)
PRIORS = ManyPriorsConfig(width=8, num_latents=6, num_strides=2, num_priors=4, num_symbols=16)
TWO_STEPS = DenoiseThenCompressConfig(denoiser=StandardConfig(size="tiny"), compressor=TINY_RGB)


def loaded_compressor(config: CompressorConfig = TINY, seed: int = 0) -> LoadedModel:
    """Return an untrained compressor as a loaded model; its latents are some steps large, its scales differ from place to place."""
    torch.manual_seed(seed)
    task = CompressionConfig(metrics=("psnr",)).build(config, RateDistortionConfig(lmbda=32.0), {})
    network = task.network
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.startswith("encoder") and parameter.ndim == 4:
                parameter.mul_(2.0)
            if "analysis.4" in name:
                parameter.mul_(3.0)
            if "bias" in name and parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    network.bit_estimator.fix()
    return LoadedModel(task.eval(), {"model": config.to_dict()}, {"name": f"tiny-{seed}"}, Path(f"in-memory-{seed}"), torch.device("cpu"))


def whole(network: Compressor, picture: RawPicture, quality: float, noise: tuple[float, float] = NOISE) -> tuple[np.ndarray, Coded]:
    """Return what the network's evaluation makes of a whole picture, led by NumPy until it begins with RGGB, and cut again."""
    top = left = 0
    seen = picture.values
    one_hot = np.ones((*picture.size, 3), np.float32)
    if picture.pattern is not None:
        rows, columns = next((y, x) for y in range(2) for x in range(2) if shifted(RGGB, y, x) == picture.pattern)
        top, left = rows and rows + 2, columns and columns + 2
        places = sampled(np.broadcast_to(np.arange(3), one_hot.shape), picture.pattern)
        seen, one_hot = seen[..., None], np.eye(3, dtype=np.float32)[places]
    edges = ((top, 0), (left, 0), (0, 0))
    measurement, planes = (torch.from_numpy(np.pad(part, edges, mode="reflect")).permute(2, 0, 1)[None] for part in (seen, one_hot))
    balance = np.ones(3) if picture.white_balance is None else picture.white_balance
    with torch.inference_mode():
        coded: Coded = network(
            measurement, planes, torch.tensor([noise]), torch.from_numpy(balance).float()[None], torch.tensor([float(quality)])
        )
    return coded.picture[0, :, top:, left:].permute(1, 2, 0).numpy(), coded

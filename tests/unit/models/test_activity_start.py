"""A hyperprior that starts as an adaptive coder: it knows the size of latents and the lowest frequency before anything is learnt."""

from __future__ import annotations

import pytest
import torch

from photic.core.errors import ConfigError
from photic.models.codec.hyper_entropy import MeanScaleHyperprior
from photic.models.hyperprior import HyperpriorConfig


def started(num_latents: int = 24, width: int = 16) -> MeanScaleHyperprior:
    torch.manual_seed(0)
    model = MeanScaleHyperprior(num_latents, width, (16, 16))
    spread = torch.linspace(8.0, 0.5, num_latents)
    model.start(spread)
    return model


@pytest.mark.parametrize("size", [0.5, 2.0])
def test_scales_follow_the_size_of_latents(size: float) -> None:
    model = started()
    generator = torch.Generator().manual_seed(1)
    latents = size * model.spread[:, None, None] * torch.randn(1, 24, 32, 32, generator=generator)
    latents[:, 0] = 5 * model.spread[0]
    with torch.no_grad():
        hyper = model.analysis(latents / model.spread[:, None, None]).round()
        means, scales = model.synthesis(hyper).chunk(2, dim=1)
    inner = (slice(None), slice(None), slice(8, -8), slice(8, -8))
    assert float(scales[inner].mean()) == pytest.approx(size, rel=0.25)
    assert float((means[:, 0] * model.spread[0])[..., 8:-8, 8:-8].mean()) == pytest.approx(5 * float(model.spread[0]), rel=0.1)
    assert float(means[:, 1:].abs().max()) == 0


def test_what_the_coder_says_costs_little_and_saves_much() -> None:
    torch.manual_seed(0)
    plain = MeanScaleHyperprior(24, 16, (16, 16)).eval()
    model = started().eval()
    generator = torch.Generator().manual_seed(1)
    quiet = 0.05 * model.spread[:, None, None] * torch.randn(1, 24, 32, 32, generator=generator)
    with torch.no_grad():
        made, other = model(quiet), plain(quiet)
    assert float(made.bits["hyper"]) < 0.5 * float(other.bits["hyper"])
    assert float(made.bits["latents"]) < 0.7 * float(other.bits["latents"])


def test_the_lowest_frequency_is_not_taken_for_activity() -> None:
    model = started()
    latents = torch.zeros(1, 24, 16, 16)
    latents[:, 0] = 30.0
    with torch.no_grad():
        hyper = model.analysis(latents / model.spread[:, None, None])
    assert float(hyper[:, 0].abs().max()) == 0
    assert float(hyper[0, 1, 2, 2]) == pytest.approx(4 * 30.0 / 8.0)


def test_widths_after_each_stride_are_those_of_the_transforms() -> None:
    network = HyperpriorConfig(measurement="rgb", width=8, widths=(12, 24, 48), num_latents=20, hyper_widths=(8, 8)).build()
    encoder = [layer.out_channels for layer in network.encoder if isinstance(layer, torch.nn.Conv2d)]
    decoder = [layer.out_channels for layer in network.decoder if isinstance(layer, torch.nn.ConvTranspose2d)]
    assert encoder == [12, 24, 48, 20]
    assert decoder == [48, 24, 12, 3]
    with pytest.raises(ConfigError, match="3 numbers of channels"):
        HyperpriorConfig(widths=(12, 24))
    with pytest.raises(ConfigError, match="4 channels or more"):
        HyperpriorConfig(width=3, num_qualities=2, start="wavelet")

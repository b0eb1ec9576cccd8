"""A hyperprior that starts as wavelet packets: its transforms are each other's inverse before anything is learnt."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from photic.core.errors import ConfigError
from photic.functional.cfa import RGGB, cfa_planes, pack
from photic.models.codec.transforms import Analysis, Synthesis
from photic.models.codec.wavelet_start import _Band, _sequency, start_as_wavelets
from photic.models.hyperprior import HyperpriorConfig


def smooth(size: int = 96) -> Tensor:
    """A picture (1, 3, size, size) without fine detail."""
    y, x = torch.meshgrid(torch.linspace(0, 6, size), torch.linspace(0, 6, size), indexing="ij")
    return torch.stack([0.4 + 0.2 * torch.sin(x + y), 0.5 + 0.2 * torch.cos(x), 0.3 + 0.2 * torch.sin(y - 0.5 * x)])[None]


def test_sequency_is_the_number_of_sign_changes() -> None:
    for bits in itertools.product((0, 1), repeat=3):
        signs = [1 if sum(bit & (place >> stage) & 1 for stage, bit in enumerate(bits)) % 2 == 0 else -1 for place in range(8)]
        assert _sequency(bits) == sum(a != b for a, b in itertools.pairwise(signs)), bits


def test_a_band_counts_both_directions() -> None:
    assert _Band(0, (1, 0), (0, 1)).frequency == 3 + 1


@pytest.mark.parametrize("strides", [1, 2, 3])
def test_with_all_coefficients_the_synthesis_inverts_the_analysis(strides: int) -> None:
    number = 3 * 4**strides
    analysis, synthesis = Analysis(3, number, number, strides), Synthesis("balle", number, number, strides)
    start_as_wavelets(analysis, synthesis)
    picture = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        made = synthesis(analysis(picture))
    assert float((made - picture).abs().max()) < 0.03  # what the faint normalisations do


def test_latents_are_averages_and_halved_differences() -> None:
    analysis, synthesis = Analysis(3, 12, 48, 2), Synthesis("balle", 12, 48, 2)
    start_as_wavelets(analysis, synthesis)
    with torch.no_grad():
        latents = analysis(torch.full((1, 3, 16, 16), 0.5))
    assert latents.shape == (1, 48, 4, 4)
    torch.testing.assert_close(latents[:, 0], torch.full((1, 4, 4), 0.5), atol=2e-3, rtol=0)  # brightness, lowest frequency
    assert float(latents[:, 1:].abs().max()) < 1e-6


def test_packed_bayer_planes_come_back_demosaiced() -> None:
    picture = smooth()
    planes = cfa_planes(RGGB, 96, 96)[None]
    analysis, synthesis = Analysis(4, 64, 144, 3), Synthesis("bayer_ps", 64, 144, 3)
    start_as_wavelets(analysis, synthesis)
    with torch.no_grad():
        made = synthesis(analysis(pack((picture * planes).sum(dim=1, keepdim=True))))
    inner = (slice(None), slice(None), slice(16, -16), slice(16, -16))
    assert float((made[inner] - picture[inner]).abs().max()) < 0.02


def test_other_channels_are_random_and_not_heard_at_first() -> None:
    analysis, synthesis = Analysis(5, 32, 40, 2), Synthesis("bayer_ps", 32, 40, 2)
    spread, means = start_as_wavelets(analysis, synthesis)
    assert int(means.sum()) == 4  # brightness and three differences of packed Bayer planes
    first, last = (analysis[place].weight.detach() for place in (0, 2))
    assert float(first[16:].abs().max()) > 0, "channels beyond the sixteen coefficients see something"
    assert float(last[:40, 16:].abs().max()) == 0
    assert spread.shape == (40,)
    assert float(spread.min()) > 0
    assert float(spread.argmax()) == 0


@pytest.mark.parametrize(("measurement", "front"), [("mosaic", "packed"), ("mosaic", "demosaiced"), ("rgb", "packed")])
def test_before_training_a_network_already_shows_the_picture(measurement: str, front: str) -> None:
    config = HyperpriorConfig(
        measurement=measurement,  # type: ignore[arg-type]
        front=front,  # type: ignore[arg-type]
        width=32,
        num_latents=96,
        num_strides=3,
        hyper_widths=(16, 16),
        num_qualities=8,
        companding="root",
        start="wavelet",
    )
    torch.manual_seed(0)
    network = config.build().eval()
    picture, planes = smooth(128), cfa_planes(RGGB, 128, 128)[None]
    seen = (picture * planes).sum(dim=1, keepdim=True) if measurement == "mosaic" else picture
    found = []
    for quality in (1.0, 8.0):
        with torch.no_grad():
            made = network(seen, planes, torch.zeros(1, 2), torch.ones(1, 3), torch.tensor([quality])).picture
        inner = (made - picture)[..., 24:-24, 24:-24]
        found.append(float(-10 * torch.log10(inner.square().mean())))
    assert found[0] > 20
    assert found[1] > found[0] + 4


def test_what_was_demosaiced_comes_back_whole() -> None:
    number = 12 * 4
    analysis, synthesis = Analysis(12, number, number, 1), Synthesis("bayer_ps", number, number, 1)
    start_as_wavelets(analysis, synthesis)
    picture = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        made = synthesis(analysis(F.pixel_unshuffle(picture, 2)))
    torch.testing.assert_close(made, picture, atol=1e-5, rtol=0)


def test_the_noise_map_weakens_details_and_leaves_the_mean() -> None:
    analysis, synthesis = Analysis(5, 32, 64, 2), Synthesis("bayer_ps", 32, 64, 2)
    start_as_wavelets(analysis, synthesis)
    planes = 0.3 + 0.1 * torch.rand(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    found = []
    for told in (0.0, 2.0):
        with torch.no_grad():
            found.append(analysis(torch.cat([planes, torch.full((1, 1, 16, 16), told)], dim=1)))
    quiet, noisy = found
    torch.testing.assert_close(noisy[:, 0], quiet[:, 0], atol=1e-4, rtol=0)
    assert float(noisy[:, 8:].abs().mean()) < 0.5 * float(quiet[:, 8:].abs().mean())


def test_it_needs_quality_levels_and_a_decoder_of_the_same_shape() -> None:
    with pytest.raises(ConfigError, match="no mosaic to demosaic"):
        HyperpriorConfig(measurement="rgb", front="demosaiced")
    with pytest.raises(ConfigError, match="num_qualities=1"):
        HyperpriorConfig(start="wavelet")
    with pytest.raises(ConfigError, match="bayer_tc"):
        HyperpriorConfig(start="wavelet", num_qualities=2, decoder="bayer_tc")
    with pytest.raises(ConfigError, match="bayer_tc"):
        start_as_wavelets(Analysis(4, 16, 16, 2), Synthesis("bayer_tc", 16, 16, 2))

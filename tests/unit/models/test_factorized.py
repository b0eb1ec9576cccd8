"""Compression without a hyperprior: its size, its rate by hand, streams that are not its own."""

import math

import numpy as np
import pytest
import torch

from photic.core.errors import BitstreamError
from photic.models.codec.factorized_entropy import FactorizedEntropy
from photic.models.factorized import FactorizedConfig

NUM = 3


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def transforms(inputs, width, latents, outputs):
    """Parameters of four 5 x 5 convolutions of stride 2 each way with (inverse) divisive normalisation between them, by the paper."""
    norms = 3 * (width + width**2)
    analysis = 25 * (inputs * width + 2 * width**2 + width * latents) + 3 * width + latents + norms
    synthesis = 25 * (latents * width + 2 * width**2 + width * outputs) + 3 * width + outputs + norms
    return analysis + synthesis


def test_its_parameters_are_those_of_the_paper():
    """CompressAI counts 2,998,147 for the same network (bmshj2018-factorized): its densities have one layer of 3 x 3 more each.

    That layer has 9 weights, 3 biases and 3 factors.
    """
    densities = 192 * (24 + 10 + 9 + 3)
    total = count(FactorizedConfig(measurement="rgb").build())
    assert total == transforms(3, 128, 192, 3) + densities == 2_995_267
    assert 2_998_147 - total == 192 * (9 + 3 + 3)


@pytest.mark.parametrize(("fields", "outputs", "more"), [({}, 12, 0), ({"decoder": "bayer_tc"}, 3, 25 * 128**2 + 128 + 128 + 128**2)])
def test_of_mosaics_there_are_four_planes_in_and_twelve_out_or_one_layer_more(fields, outputs, more):
    assert count(FactorizedConfig(**fields).build()) == transforms(4, 128, 192, outputs) + more + 192 * 46


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = FactorizedEntropy(NUM)
    with torch.no_grad():
        for parameter in model.density.parameters():
            parameter.add_(0.5 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
        model.density.quantiles.copy_(torch.tensor([[-30.0, 0.0, 30.0], [-400.0, 2.0, 300.0], [0.0, 5.0, 10.0]]))
    return model


@pytest.fixture
def latents():
    return 4 * torch.randn(2, NUM, 5, 6, generator=torch.Generator().manual_seed(2))


def test_training_rounds_for_the_decoder_and_counts_bits_of_noisy_values(model, latents):
    torch.manual_seed(3)
    made = model(latents)
    assert torch.equal(made.latents, latents.round())
    torch.manual_seed(3)
    noisy = (latents + torch.empty_like(latents).uniform_(-0.5, 0.5)).double()
    density = model.density.double()
    for picture in range(2):
        bits = 0.0
        for channel in range(NUM):
            values = noisy[picture, channel].flatten().expand(NUM, -1)
            bits -= np.log2(density.likelihood(values)[channel].detach().numpy()).sum()
        assert made.bits["latents"][picture].item() == pytest.approx(bits, rel=1e-4)


def test_evaluation_counts_what_the_tables_say(model, latents):
    made = model.eval()(latents)
    assert made.bits.keys() == {"latents"}
    assert torch.equal(made.latents, latents.round())
    probabilities, lowest = model.density.tabulated(255)
    assert torch.equal(model.tables.lowest, lowest)
    assert lowest.tolist() == [-128, -126, -122]
    bits = 0.0
    for channel, y, x in np.ndindex(NUM, 5, 6):
        bits -= math.log2(probabilities[channel, int(latents[0, channel, y, x].round()) - int(lowest[channel])])
    assert made.bits["latents"][0].item() == pytest.approx(bits, rel=1e-3)


def test_noise_on_the_scale_of_rounding_estimates_the_rate_of_rounding(model, latents):
    """Where a density varies little within a step, both agree."""
    noisy = torch.stack([model.train()(latents).bits["latents"] for _ in range(50)]).mean(dim=0)
    torch.testing.assert_close(noisy, model.eval()(latents).bits["latents"], rtol=0.01, atol=0)


def test_values_far_beyond_the_tables_are_coded_exactly(model):
    latents = torch.tensor([[-20_000.0, 3.0], [20_000.4, 1e9], [0.0, -1e9]])[:, None]
    encoded = model.coder().encode(latents, 8)
    assert encoded.latents[:, 0].tolist() == [[-20_000, 3], [20_000, 2**15], [0, -(2**15)]]
    assert torch.equal(model.coder().open(encoded.side, (1, 2), 8).tile(0, 0, encoded.tiles[0]), encoded.latents)


def test_side_information_of_another_model_is_refused(model):
    with pytest.raises(BitstreamError, match="2 bytes of side information for a model that has none"):
        model.coder().open(b"\1\2", (5, 6), 4)


def test_a_tile_that_is_cut_short_or_longer_is_refused(model, latents):
    coder = model.coder()
    encoded = coder.encode(latents[0], 8)
    opened = coder.open(encoded.side, (5, 6), 8)
    (data,) = encoded.tiles
    for damaged in (data[: len(data) // 2], data + b"\1" * 9):
        with pytest.raises(BitstreamError):
            opened.tile(0, 0, damaged)

"""Priors that compete: which one is chosen, what the choice costs, and that the rate reaches the chosen one alone."""

import math

import numpy as np
import pytest
import torch

from photic.core.errors import BitstreamError, ConfigError
from photic.functional.coding_tables import TOTAL
from photic.functional.entropy_coding import code_length_bits
from photic.models.codec.density import Density
from photic.models.codec.many_priors_entropy import ManyPriorsEntropy
from photic.models.many_priors import ManyPriorsConfig
from photic.optim.optimizers import AdamWConfig

NUM, PRIORS, SYMBOLS = 6, 5, 40


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_its_parameters_are_those_of_the_published_transforms_and_the_priors():
    analysis = 25 * (4 * 192 + 2 * 192**2 + 192 * 320) + 3 * 192 + 320 + 3 * (192 + 192**2)
    synthesis = 25 * (320 * 192 + 2 * 192**2 + 192 * 12) + 3 * 192 + 12 + 3 * (192 + 192**2)
    priors = 320 * 64 * 46 + 64
    network = ManyPriorsConfig().build()
    assert count(network) == analysis + synthesis + priors == 8_001_164
    assert network.stride == 32
    assert sum(buffer.nbytes for buffer in network.bit_estimator.buffers()) < 4.1e6, "tables must not be what a model's file is made of"


@pytest.mark.parametrize(
    ("fields", "decoder"), [({}, "bayer_ps"), ({"decoder": "bayer_tc"}, "bayer_tc"), ({"measurement": "rgb"}, "balle")]
)
def test_it_has_the_published_decoders(fields, decoder):
    assert ManyPriorsConfig(width=2, num_latents=2, num_priors=2, **fields).build().decoder.decoder == decoder


def test_more_tables_than_can_be_coded_with_are_refused():
    with pytest.raises(ConfigError, match=r"many_priors: num_latents x num_priors is 1000 x 100; at most 65536"):
        ManyPriorsConfig(num_latents=1000, num_priors=100)


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = ManyPriorsEntropy(NUM, PRIORS, SYMBOLS)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in (*model.density.matrices, *model.density.biases, *model.density.factors):
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
        model.index_logits.copy_(torch.tensor([0.0, 1.0, -1.0, 0.5, 0.2]))
    return model


@pytest.fixture
def latents():
    """Positions of all sizes, from nearly nothing to beyond the tables."""
    generator = torch.Generator().manual_seed(2)
    sizes = torch.logspace(-1, 1.5, 2 * 4 * 5).view(2, 1, 4, 5)
    return sizes * torch.randn(2, NUM, 4, 5, generator=generator)


def test_the_cheapest_prior_is_taken_its_own_bits_counted(model, latents):
    """Against the coder's own count of bits under every prior, one after another."""
    made = model.eval()(latents)
    tables, index = model.tables.coding_tables(), model.index_tables.coding_tables()
    symbols = latents.round().int().numpy()
    chosen = model.chosen(latents.round())
    assert chosen.unique().numel() >= 4, "several priors are in use"
    totals = {"latents": np.zeros(2), "index": np.zeros(2)}
    for picture, y, x in np.ndindex(2, 4, 5):
        values = symbols[picture, :, y, x]
        bits = [code_length_bits(values, np.arange(NUM) * PRIORS + prior, tables) for prior in range(PRIORS)]
        own = [code_length_bits(np.array([prior]), np.array(0), index) for prior in range(PRIORS)]
        costs, prior = np.add(bits, own), int(chosen[picture, y, x])
        beyond = sum(abs(value) >= SYMBOLS // 2 for value in values)  # which bytes those take is left out of the choice, not of the bits
        assert costs[prior] <= costs.min() + 1e-3 + 8 * beyond
        totals["latents"][picture] += bits[prior]
        totals["index"][picture] += own[prior]
    for name, expected in totals.items():
        np.testing.assert_allclose(made.bits[name].numpy(), expected, rtol=1e-5)


def test_the_cost_of_the_choice_takes_part_in_it():
    """Of priors that are alike the more frequent one is taken."""
    torch.manual_seed(0)
    model = ManyPriorsEntropy(2, 3, SYMBOLS)
    with torch.no_grad():
        for parameter in (*model.density.matrices, *model.density.biases):
            parameter.copy_(parameter.view(2, 3, *parameter.shape[1:])[:, :1].expand(2, 3, *parameter.shape[1:]).reshape(parameter.shape))
        model.index_logits.copy_(torch.tensor([0.0, 2.0, 1.0]))
    latents = torch.randn(1, 2, 3, 3)
    made = model.eval()(latents)
    assert (model.chosen(latents.round()) == 1).all()
    share = math.exp(2) / (1 + math.exp(2) + math.e)
    assert made.bits["index"].item() == pytest.approx(-9 * math.log2(share), rel=1e-4)
    model.train()
    assert model(latents).bits["index"].item() == pytest.approx(-9 * math.log2(share), rel=1e-4)


def test_training_chooses_as_evaluation_does_and_counts_noisy_values_under_the_choice(model, latents):
    latents = latents[:1]
    torch.manual_seed(3)
    made = model.train()(latents)
    assert torch.equal(made.latents, latents.round())
    torch.manual_seed(3)
    noisy = latents + torch.empty_like(latents).uniform_(-0.5, 0.5)
    model.eval().fix()
    chosen = model.chosen(latents.round())
    share = torch.log_softmax(model.index_logits.detach(), dim=0) / -math.log(2)
    bits = {"latents": 0.0, "index": 0.0}
    for y, x in np.ndindex(4, 5):
        prior = int(chosen[0, y, x])
        for channel in range(NUM):
            likelihood = model.density.likelihood(noisy[0, channel, y, x].expand(NUM * PRIORS, 1))[channel * PRIORS + prior]
            bits["latents"] -= math.log2(max(likelihood.item(), 1e-9))
        bits["index"] += share[prior].item()
    for name, value in bits.items():
        assert made.bits[name].item() == pytest.approx(value, rel=1e-4), name


def test_the_rate_reaches_latents_and_the_chosen_priors_alone(model, latents):
    model.eval().fix()
    used = set(model.chosen(latents.round()).flatten().tolist())
    latents = latents.clone().requires_grad_()
    model.train()(latents).bits["latents"].sum().backward()
    assert torch.isfinite(latents.grad).all()
    assert (latents.grad != 0).float().mean() > 0.9
    moved = model.density.matrices[1].grad.view(NUM, PRIORS, -1).abs().amax(dim=(0, 2)) > 0
    assert set(moved.nonzero().flatten().tolist()) == used
    assert model.index_logits.grad is None
    assert model.density.quantiles.grad is None


def test_at_first_each_prior_suits_some_size_of_latents_and_all_cost_the_same():
    torch.manual_seed(0)
    model = ManyPriorsEntropy(64, 64, 256).eval()
    spread = torch.logspace(math.log10(0.1), math.log10(30), 64)
    noise = torch.rand(1, 64, 40, 64, generator=torch.Generator().manual_seed(1)).logit() * spread
    made = model(noise)
    assert made.bits["index"].item() == pytest.approx(40 * 64 * 6, rel=1e-3)
    chosen = model.chosen(noise.round())
    assert chosen.unique().numel() > 56
    median = chosen.float().median(dim=1).values[0]
    assert (median.diff() >= -2).all(), "wider priors for larger latents"
    assert median[-1] - median[0] > 50


def test_one_prior_begins_like_a_density_for_each_channel():
    torch.manual_seed(0)
    model = ManyPriorsEntropy(3, 1, SYMBOLS)
    torch.manual_seed(0)
    for one, other in zip(model.density.parameters(), Density(3).parameters(), strict=True):
        assert torch.equal(one, other)
    made = model.eval()(torch.randn(1, 3, 8, 8))
    assert made.bits["index"].item() == pytest.approx(0, abs=1e-3)


def test_frequencies_of_priors_and_the_priors_are_learnt():
    """Two kinds of positions, a quarter and three quarters: the choice comes down to their entropy, and priors to what they are like."""
    torch.manual_seed(0)
    model = ManyPriorsEntropy(NUM, 2, 64)
    optimizer = AdamWConfig(lr=0.1, weight_decay=0.0).build([{"params": list(model.parameters())}])
    generator = torch.Generator().manual_seed(0)
    size = torch.where(torch.arange(256) % 4 == 0, 12.0, 1.0).view(1, 1, 16, 16)
    given = size * torch.randn(1, NUM, 16, 16, generator=generator)
    first = {name: value.item() for name, value in model(given).bits.items()}
    for _ in range(60):
        optimizer.zero_grad()
        (torch.stack(list(model(given).bits.values())).sum() + 1e-3 * model.auxiliary_loss()).backward()
        optimizer.step()
    bits = {name: value.item() for name, value in model.eval()(given).bits.items()}
    entropy = -256 * (0.25 * math.log2(0.25) + 0.75 * math.log2(0.75))
    assert first["index"] == pytest.approx(256)
    assert bits["index"] == pytest.approx(entropy, rel=0.1)
    gaussian = [0.5 * math.log2(2 * math.pi * math.e * (variance + 1 / 12)) for variance in (144, 1)]
    assert bits["latents"] == pytest.approx(256 * NUM * (0.25 * gaussian[0] + 0.75 * gaussian[1]), rel=0.05)
    assert bits["latents"] < 0.9 * first["latents"]


def test_windows_follow_the_priors_that_are_in_use():
    model = ManyPriorsEntropy(1, 2, 33)
    with torch.no_grad():
        model.density.quantiles.copy_(torch.tensor([[-2.0, 0.0, 2.0], [98.0, 100.0, 102.0]]))
        model.index_logits.copy_(torch.tensor([0.0, 30.0]))
    model.fix()
    assert model.tables.lowest.tolist() == [84, 84]
    with torch.no_grad():
        model.index_logits.zero_()
    model.fix()
    assert model.tables.lowest.tolist() == [34, 34]


def test_tables_are_those_of_the_densities_and_the_choices_frequencies(model):
    model.fix()
    assert model.tables.frequencies.shape == (NUM * PRIORS, SYMBOLS)
    assert (model.tables.frequencies.sum(dim=1) == TOTAL).all()
    share = torch.softmax(model.index_logits.detach().double(), dim=0)
    np.testing.assert_allclose(model.index_tables.frequencies[0, :-1] / TOTAL, share, atol=1e-6)
    assert model.index_tables.frequencies[0, -1] == 1
    lowest = model.tables.lowest.view(NUM, PRIORS)
    assert (lowest == lowest[:, :1]).all()
    table = 3 * PRIORS + 2
    values = (lowest[3, 2] + torch.arange(SYMBOLS - 1)).float()
    likelihood = model.density.likelihood(values.expand(NUM * PRIORS, -1))[table].detach()
    np.testing.assert_allclose(model.tables.frequencies[table, :-1] / TOTAL, likelihood, atol=1e-5)


@pytest.fixture
def tile(model, latents):
    coder = model.coder()
    encoded = coder.encode(latents[0], 8)
    opened = coder.open(encoded.side, (4, 5), 8)
    assert encoded.side == b""
    assert torch.equal(opened.tile(0, 0, encoded.tiles[0]), encoded.latents)
    return opened, encoded.tiles[0]


def test_a_tile_is_a_length_the_choices_and_the_latents(model, latents, tile):
    from photic.functional.entropy_coding import decode_channels, decode_symbols

    _, data = tile
    stop = 4 + int.from_bytes(data[:4], "little")
    choice = decode_symbols(data[4:stop], np.zeros(20, np.uint8), model.index_tables.coding_tables())
    assert choice.tolist() == model.chosen(latents[:1].round()).flatten().tolist()
    symbols = decode_channels(data[stop:], (NUM, 20), model.tables.coding_tables(), choice)
    assert symbols.tolist() == latents[0].round().flatten(1).tolist()


def test_damaged_tiles_are_refused(model, tile):
    opened, data = tile
    with pytest.raises(BitstreamError, match="3 bytes do not hold the choices of 20 positions"):
        opened.tile(0, 0, data[:3])
    with pytest.raises(BitstreamError, match="do not hold the choices"):
        opened.tile(0, 0, (2**32 - 1).to_bytes(4, "little") + data[4:])
    with pytest.raises(BitstreamError):
        opened.tile(0, 0, data + b"\1" * 9)


def test_a_choice_of_a_prior_that_does_not_exist_is_refused(model, tile):
    from photic.functional.entropy_coding import encode_symbols

    opened, _ = tile
    for foreign in (PRIORS, -1, 70_000):
        index = encode_symbols(np.array([foreign] + [0] * 19), np.zeros(20, np.uint8), model.index_tables.coding_tables())
        with pytest.raises(BitstreamError, match="a position chooses a prior that is none of 5"):
            opened.tile(0, 0, len(index).to_bytes(4, "little") + index)


def test_priors_that_are_hardly_ever_chosen_can_still_be(model, latents):
    with torch.no_grad():
        model.index_logits.copy_(torch.tensor([0.0, 60.0, 0.0, 0.0, 0.0]))  # of the others, one in 2^24
    latents = latents * 0
    latents[0, :, 0, 0] = 25.0  # far too large for the narrow one
    coder = model.coder()
    encoded = coder.encode(latents[0], 8)
    assert model.chosen(latents.round()).unique().numel() > 1
    assert torch.equal(coder.open(b"", (4, 5), 8).tile(0, 0, encoded.tiles[0]), encoded.latents)

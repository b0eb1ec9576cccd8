"""What entropy models share: when tables are made, tables as buffers, tiles, rounding."""

import copy

import numpy as np
import pytest
import torch

from photic.core.errors import DataError
from photic.functional.coding_tables import TOTAL
from photic.functional.entropy_coding import code_length_bits
from photic.models.codec.entropy import MOST_VALUE, bits_of, check_values, integers, straight_through, tile_boxes, tile_size, with_noise
from photic.models.codec.factorized_entropy import FactorizedEntropy
from photic.models.codec.tables import FrequencyTables
from photic.optim.ema import WeightAverage

LATENTS = 3 * torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return FactorizedEntropy(3)


def changed(model):
    """Change the weights as an optimizer does."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3)


def marked(model):
    """Make the tables, then put something into them that no weights give."""
    model.fix()
    with torch.no_grad():
        model.tables.lowest.sub_(1000)
    return model


def test_tables_are_made_by_the_first_evaluation_and_then_kept(model):
    assert not model.is_fixed
    assert (model.tables.frequencies == 0).all()
    model.eval()(LATENTS)
    assert model.is_fixed
    assert (model.tables.frequencies.sum(dim=1) == TOTAL).all()
    marked(model)
    model(LATENTS)
    model.coder()
    assert (model.tables.lowest < -1000).all()


def test_a_step_of_training_puts_tables_out_of_date(model):
    first = model.eval()(LATENTS).bits["latents"]
    model.train()(LATENTS)
    changed(model)
    assert not torch.equal(model.eval()(LATENTS).bits["latents"], first)
    fresh = copy.deepcopy(model)
    fresh.fix()
    assert torch.equal(fresh.tables.frequencies, model.tables.frequencies)


def test_evaluation_in_between_does_not(model):
    marked(model.eval())
    model.train()
    model.eval()(LATENTS)
    assert (model.tables.lowest < -1000).all()


def test_the_coder_makes_tables_where_there_are_none(model):
    data = model.coder().encode(LATENTS[0], 4)
    assert model.is_fixed
    assert torch.equal(data.latents, LATENTS[0].round())


def test_saved_tables_come_back_and_are_not_made_anew(model):
    saved = marked(model).state_dict()
    torch.manual_seed(9)
    other = FactorizedEntropy(3)
    other.load_state_dict(saved)
    other.eval()(LATENTS)
    assert torch.equal(other.tables.lowest, model.tables.lowest)
    other.train()(LATENTS)
    assert (other.eval().ready(), other.tables.lowest > -1000)[1].all()


def test_weights_saved_after_a_step_do_not_pass_off_old_tables_as_theirs(model):
    """A training that is stopped between two validations saves what it has."""
    marked(model.eval())
    model.train()(LATENTS)
    changed(model)
    other = FactorizedEntropy(3)
    other.load_state_dict(model.state_dict())
    other.eval()(LATENTS)
    assert (other.tables.lowest > -1000).all()


def test_an_average_that_is_swapped_in_gets_tables_of_its_own(model):
    average = WeightAverage(model, 0.5)
    for _ in range(2):
        model.train()(LATENTS)
        changed(model)
        average.update()
    average.swap()
    model.eval()(LATENTS)
    expected = FactorizedEntropy(3)
    expected.load_state_dict(model.state_dict())
    expected.fix()
    assert torch.equal(model.tables.frequencies, expected.tables.frequencies)
    average.swap()
    assert average.weights["is_fixed"], "what is saved of the average has its tables"
    assert torch.equal(average.weights["tables.frequencies"], expected.tables.frequencies)
    model.eval()(LATENTS)
    assert not torch.equal(model.tables.frequencies, expected.tables.frequencies)


def test_copies_know_as_much_about_their_tables(model):
    other = copy.deepcopy(marked(model))
    other.eval()(LATENTS)
    assert (other.tables.lowest < -1000).all()


@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 2, 4, 5)], ids=str)
def test_other_shapes_are_refused(model, shape):
    with pytest.raises(DataError, match=r"FactorizedEntropy: expected latents \(B, 3, h, w\).*got"):
        model(torch.zeros(shape))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_no_numbers_are_not_coded(model, value):
    latents = LATENTS[0].clone()
    latents[1, 2, 3] = value
    with pytest.raises(DataError, match="latents: not finite"):
        check_values(model, latents)
    with pytest.raises(DataError, match="latents: not finite"):
        model.coder().encode(latents, 4)


def test_frequencies_follow_probabilities_and_the_rest_is_the_escape_symbols():
    tables = FrequencyTables(2, 4)
    tables.set(torch.tensor([[0.5, 0.25, 0.125], [0.0, 1.0, 0.0]]), torch.tensor([-1, 7]))
    assert tables.frequencies.dtype == torch.int32
    np.testing.assert_allclose(tables.frequencies[0] / TOTAL, [0.5, 0.25, 0.125, 0.125], atol=1e-6)
    assert tables.frequencies[1].tolist() == [1, TOTAL - 3, 1, 1]
    assert tables.lowest.tolist() == [-1, 7]
    coding = tables.coding_tables()
    assert coding.num_tables == 2
    assert coding.lowest.tolist() == [-1, 8]  # without symbols that cannot occur


def test_bits_are_those_of_the_frequencies_and_bytes_of_values_beyond():
    tables = FrequencyTables(2, 4)
    tables.set(torch.tensor([[0.5, 0.25, 0.125], [0.125, 0.125, 0.5]]), torch.tensor([-1, 7]))
    symbols = torch.tensor([[-1.0, 0.0, 1.0, 2.0, -2.0], [7.0, 8.0, 9.0, 10.0, -300.0]])
    bits = tables.bits(symbols, torch.tensor([[0], [1]]).expand(2, 5))
    beyond = 3 + 8
    expected = torch.tensor([[1, 2, 3, beyond, beyond], [3, 3, 1, 2 + 8, 2 + 16]], dtype=bits.dtype)
    torch.testing.assert_close(bits, expected, rtol=1e-5, atol=0)


def test_bits_are_what_the_coder_needs_with_trimmed_tables_and_escaped_values():
    generator = np.random.default_rng(0)
    tables = FrequencyTables(5, 40)
    values = np.arange(39) - 20
    shapes = np.exp(-np.abs(values[None]) * np.array([[0.01], [0.3], [1.0], [3.0], [40.0]]))
    tables.set(torch.from_numpy(0.999 * shapes / shapes.sum(axis=1, keepdims=True)), torch.full((5,), -20))
    symbols = np.concatenate([generator.integers(-25, 25, 200), [10**k * s for k in range(1, 6) for s in (1, -1)] * 4])
    which = generator.integers(0, 5, len(symbols))
    found = tables.bits(torch.from_numpy(symbols), torch.from_numpy(which))
    coding = tables.coding_tables()
    expected = [code_length_bits(symbols[k : k + 1], which[k : k + 1], coding) for k in range(len(symbols))]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9)
    entries = tables.entry_bits().numpy()
    for table, place in np.ndindex(5, 39):
        assert entries[table, place] == pytest.approx(code_length_bits(np.array([place - 20]), np.array([table]), coding))
    np.testing.assert_allclose(entries[:, 39], [code_length_bits(np.array([19]), np.array([table]), coding) for table in range(5)])


def test_tables_of_what_are_no_probabilities_are_refused():
    tables = FrequencyTables(1, 3)
    for wrong in ([[0.5, float("nan")]], [[0.9, 0.2]]):
        with pytest.raises(DataError, match="tables: expected probabilities"):
            tables.set(torch.tensor(wrong), torch.tensor([0]))
    with pytest.raises(DataError, match="coding tables: frequencies"):
        tables.coding_tables()


def test_noise_is_uniform_within_half_a_step():
    values = torch.full((100_000,), 3.0)
    noise = with_noise(values) - values
    assert -0.5 <= noise.min() < -0.49
    assert 0.49 < noise.max() <= 0.5
    assert noise.var().item() == pytest.approx(1 / 12, rel=0.02)


def test_rounding_goes_straight_through():
    values = torch.tensor([0.4, 1.6], requires_grad=True)
    made = straight_through(values, values.round())
    assert made.tolist() == [0.0, 2.0]
    (made * torch.tensor([3.0, 5.0])).sum().backward()
    assert values.grad.tolist() == [3.0, 5.0]


def test_integers_are_rounded_half_to_even_and_cut():
    given = torch.tensor([0.5, 1.5, -0.5, -2.6, 1e9, -1e9])
    assert integers(given).tolist() == [0, 2, 0, -3, MOST_VALUE, -MOST_VALUE]


def test_bits_are_sums_of_logarithms_for_each_picture():
    likelihood = torch.tensor([[[0.5, 0.25]], [[1.0, 0.0]]], requires_grad=True)
    bits = bits_of(likelihood)
    assert bits.tolist() == pytest.approx([3.0, -np.log2(1e-9)])
    bits.sum().backward()
    assert torch.isfinite(likelihood.grad).all()


@pytest.mark.parametrize(("size", "tile"), [((7, 5), 3), ((4, 4), 4), ((1, 9), 32), ((2, 3), 1)])
def test_tiles_cover_every_latent_once(size, tile):
    seen = np.zeros(size, dtype=int)
    for row, column, top, bottom, left, right in tile_boxes(size, tile):
        assert (bottom - top, right - left) == tile_size(size, tile, row, column)
        seen[top:bottom, left:right] += 1
    assert (seen == 1).all()

"""Learnt densities against loops in NumPy, and what their tables and quantiles come to."""

import math

import numpy as np
import pytest
import torch

from photic.models.codec.density import FILTERS, TAIL_MASS, Density, lowest_symbol


def stirred(num_channels=3, scales=None, seed=0):
    """A density whose parameters are anything; some factors bend the cumulative down, some up."""
    torch.manual_seed(seed)
    density = Density(num_channels, scales)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for parameter in (*density.matrices, *density.biases, *density.factors):
            parameter.add_(0.7 * torch.randn(parameter.shape, generator=generator))
    return density


def logit_by_loops(density, channel, value):
    """The cumulative's network for one value, written out."""
    features = [float(value)]
    for layer, matrix in enumerate(density.matrices):
        weights, biases = matrix[channel].detach().double().numpy(), density.biases[layer][channel].detach().double().numpy()
        made = []
        for row in range(len(weights)):
            total = float(biases[row, 0])
            for column, feature in enumerate(features):
                total += math.log1p(math.exp(weights[row, column])) * feature
            if layer < len(FILTERS):
                total += math.tanh(float(density.factors[layer][channel, row, 0].detach())) * math.tanh(total)
            made.append(total)
        features = made
    return features[0]


def test_it_is_its_definition():
    density = stirred()
    values = np.array([-30.0, -2.5, -1.0, 0.0, 0.25, 1.0, 7.0, 40.0])
    given = torch.from_numpy(values).float().expand(3, -1)
    expected = np.empty((3, len(values)))
    for channel, place in np.ndindex(expected.shape):
        ends = [logit_by_loops(density, channel, values[place] + shift) for shift in (-0.5, 0.5)]
        expected[channel, place] = np.subtract(*[1 / (1 + np.exp(-end)) for end in ends[::-1]])
    found = density.likelihood(given).detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-7)
    np.testing.assert_allclose(density.double().likelihood(given.double()).detach().numpy(), expected, rtol=1e-9, atol=1e-15)


def test_cumulatives_rise_and_probabilities_add_up_to_one():
    density = stirred(8, seed=3).double()
    grid = torch.linspace(-50, 50, 2001, dtype=torch.float64).expand(8, 1, -1)
    assert (density.logits(grid).diff(dim=-1) > 0).all()
    integers = torch.arange(-3000, 3001, dtype=torch.float64).expand(8, -1)
    torch.testing.assert_close(density.likelihood(integers).sum(dim=1), torch.ones(8, dtype=torch.float64))


def test_far_out_the_probability_keeps_its_digits():
    """The difference of two cumulatives near 1 would be 0 or a few steps of single precision."""
    density = stirred(4, scales=torch.full((4,), 1.0))
    values = torch.tensor([-12.0, -9.0, 9.0, 12.0]).expand(4, -1)
    single = density.likelihood(values).detach().double()
    exact = density.double().likelihood(values.double()).detach()
    assert exact.min() < 1e-6
    torch.testing.assert_close(single, exact, rtol=1e-3, atol=1e-30)


def test_in_the_very_middle_of_a_symmetric_density_the_probability_is_not_lost():
    density = Density(1, torch.tensor([0.2]))
    with torch.no_grad():
        for bias in density.biases:
            bias.zero_()
    values = torch.zeros(1, 1, requires_grad=True)
    made = density.likelihood(values)
    assert made.item() > 0.5
    made.log().sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in density.matrices)


def test_parameters_are_those_of_the_paper():
    """Four layers with widths 3 between them; each density has three quantiles besides."""
    matrices, biases, factors = 1 * 3 + 3 * 3 + 3 * 3 + 3 * 1, 3 + 3 + 3 + 1, 3 + 3 + 3
    assert sum(p.numel() for p in Density(5).parameters()) == 5 * (matrices + biases + factors + 3) == 5 * 46


@pytest.mark.parametrize("scale", [2.0, 10.0, 30.0])
def test_the_spread_at_first_follows_the_scale(scale):
    """Without biases it is a logistic distribution of that scale, whose standard deviation is pi / sqrt(3) times it."""
    density = Density(2, torch.full((2,), scale)).double()
    with torch.no_grad():
        for bias in density.biases:
            bias.zero_()
    values = torch.arange(-1500, 1501, dtype=torch.float64).expand(2, -1)
    variance = (density.likelihood(values) * values.square()).sum(dim=1) - 1 / 12  # of the unit intervals
    torch.testing.assert_close(variance.sqrt(), torch.full((2,), scale * math.pi / 3**0.5, dtype=torch.float64), rtol=0.01, atol=0)
    torch.testing.assert_close(density.quantiles[0].detach(), torch.tensor([-scale, 0, scale], dtype=torch.float64), rtol=1e-6, atol=0)


def test_the_scale_is_10_where_none_is_given():
    torch.manual_seed(0)
    plain = Density(3)
    torch.manual_seed(0)
    told = Density(3, torch.full((3,), 10.0))
    for one, other in zip(plain.parameters(), told.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_chosen_densities_are_those_of_the_numbers():
    density, which = stirred(5), torch.tensor([4, 0, 4, 2])
    values = torch.randn(4, 6, generator=torch.Generator().manual_seed(1))
    everywhere = density.likelihood(values.flatten().expand(5, -1)).view(5, 4, 6)
    torch.testing.assert_close(density.likelihood(values, which), everywhere[which, torch.arange(4)])


def test_maps_have_the_density_of_their_channel():
    density = stirred(3)
    maps = 3 * torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(2))
    made = density.likelihood_of_maps(maps)
    assert made.shape == maps.shape
    for picture, channel, y, x in np.ndindex(2, 3, 4, 5):
        alone = density.likelihood(maps[picture, channel, y, x].expand(3, 1))[channel, 0]
        torch.testing.assert_close(made[picture, channel, y, x], alone)


def test_it_learns_what_values_are_like():
    """Two heaps; the bits come down to the entropy of what was drawn."""
    generator = torch.Generator().manual_seed(0)
    heaps = torch.where(torch.rand(1000, generator=generator) < 0.3, -6.0, 4.0)
    values = (heaps + torch.randn(1000, generator=generator)).round()
    _, counts = values.unique(return_counts=True)
    share = counts.double() / len(values)
    entropy = -(share * share.log2()).sum().item()
    torch.manual_seed(0)
    density = Density(1)
    optimizer = torch.optim.Adam([p for p in density.parameters() if p is not density.quantiles], lr=0.1)
    for _ in range(120):
        optimizer.zero_grad()
        noisy = values + torch.rand(1000, generator=generator) - 0.5
        (-density.likelihood(noisy[None]).log2().mean()).backward()
        optimizer.step()
    reached = -density.likelihood(values[None]).log2().mean().item()
    assert entropy < reached < 1.05 * entropy


def test_the_quantiles_loss_moves_quantiles_alone_and_to_where_the_cumulative_is():
    density = stirred(4, scales=torch.full((4,), 0.5), seed=5)
    density.quantile_loss().backward()
    assert density.quantiles.grad.abs().min() > 0
    assert all(p.grad is None for p in (*density.matrices, *density.biases, *density.factors))
    optimizer = torch.optim.Adam([density.quantiles], lr=1.0)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.98)
    for _ in range(500):
        optimizer.zero_grad()
        density.quantile_loss().backward()
        optimizer.step()
        schedule.step()
    low, median, high = torch.sigmoid(density.double().logits(density.quantiles[:, None])[:, 0].detach()).unbind(dim=1)
    torch.testing.assert_close(median, torch.full_like(median, 0.5), rtol=0.02, atol=0)
    torch.testing.assert_close(low, torch.full_like(low, TAIL_MASS / 2), rtol=0.1, atol=0)
    torch.testing.assert_close(1 - high, torch.full_like(high, TAIL_MASS / 2), rtol=0.1, atol=0)


def test_tables_are_the_likelihoods_of_successive_integers_in_double_precision():
    density = stirred(3)
    before = torch.get_rng_state()
    probabilities, lowest = density.tabulated(9)
    assert torch.equal(torch.get_rng_state(), before), "making tables draws no random numbers"
    assert (probabilities.shape, probabilities.dtype, lowest.dtype) == ((3, 9), torch.float64, torch.int32)
    values = lowest[:, None].double() + torch.arange(9)
    assert all(parameter.dtype == torch.float32 for parameter in density.parameters())
    torch.testing.assert_close(probabilities, density.double().likelihood(values).detach(), rtol=1e-12, atol=1e-18)
    chosen, begins = density.tabulated(9, torch.tensor([-4, 0, 7]))
    assert begins.tolist() == [-4, 0, 7]
    torch.testing.assert_close(chosen[2], density.likelihood(torch.arange(7.0, 16, dtype=torch.float64).expand(3, -1))[2].detach())


def test_tables_lie_in_the_middle_of_the_quantiles_or_around_the_median():
    quantiles = torch.tensor([[-5.0, 3.0, 9.0], [-500.0, 100.0, 300.0], [-1e9, -1e9, -1e9]])
    assert lowest_symbol(quantiles, 20).tolist() == [-8.0, 90.0, -(2.0**14)]

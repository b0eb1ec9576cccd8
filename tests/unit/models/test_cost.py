"""Parameters and multiplications of networks, held against counts by hand."""

import pytest
import torch
from torch import Tensor, nn

from photic.core.errors import PhoticError, UnknownNameError
from photic.core.registry import models
from photic.models.cost import Cost, cost_of, standard_cost


class Attention(nn.Module):
    """One head over N tokens of C channels, without projections."""

    def forward(self, cells: Tensor) -> Tensor:
        return nn.functional.scaled_dot_product_attention(cells, cells, cells)


def test_convolutions_and_linear_layers_equal_a_count_by_hand() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),  # to 8 x 16 x 10: 27 products each
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 5, padding=2, groups=8, bias=False),  # 25 products each
        nn.Conv2d(8, 4, 1, bias=False),  # to 4 x 16 x 10: 8 products each
        nn.ConvTranspose2d(4, 2, 2, stride=2),  # from 4 x 16 x 10: 8 products each
        nn.Flatten(),
        nn.Linear(2 * 32 * 20, 5),
    )
    parameters = (8 * 27 + 8) + 16 + 8 * 25 + 32 + (4 * 2 * 4 + 2) + (5 * 1280 + 5)
    places = 16 * 10
    macs = places * (8 * 27 + 8 * 25 + 4 * 8 + 4 * 8) + 5 * 1280
    assert cost_of(network, torch.zeros(1, 3, 32, 20)) == Cost(parameters, macs)
    assert cost_of(network, torch.zeros(3, 3, 32, 20)).num_macs == 3 * macs
    assert cost_of(network, torch.zeros(1, 3, 32, 20)).gmacs == macs / 1e9


def test_attention_counts_both_products() -> None:
    assert cost_of(Attention(), torch.zeros(1, 1, 10, 6)) == Cost(0, 2 * 10 * 10 * 6)


def test_a_complex_parameter_is_two_numbers() -> None:
    network = nn.Identity()
    network.weight = nn.Parameter(torch.zeros(3, dtype=torch.complex64))
    assert cost_of(network, torch.zeros(1)) == Cost(6, 0)


@pytest.mark.parametrize("training", [True, False])
def test_counting_keeps_the_mode_and_the_statistics(training: bool) -> None:
    network = nn.Sequential(nn.BatchNorm2d(3)).train(training)
    cost_of(network, torch.ones(2, 3, 4, 4))
    assert network.training is training
    assert network[0].training is training
    assert (network[0].running_mean == 0).all()


@pytest.mark.parametrize("name", models.names())
def test_every_network_has_a_cost_with_its_defaults(name: str) -> None:
    cost, shape = standard_cost(name)
    assert cost.num_parameters > 1_000 or name == "identity"
    assert cost.num_macs > cost.num_parameters / 100
    assert shape[0] == 1


@pytest.mark.parametrize(
    ("name", "gmacs"),
    [("convnext_tiny_cbam", 4.46 * 256 * 1600 / 224**2), ("timm", 1.82 * 256 * 1600 / 224**2), ("zero_dce", 5.19), ("utnet2", 48.5 / 16)],
)
def test_counts_agree_with_published_ones(name: str, gmacs: float) -> None:
    assert standard_cost(name)[0].gmacs == pytest.approx(gmacs, rel=0.01)


def test_unknown_networks_and_those_of_no_kind_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'zero_dce'"):
        standard_cost("zero_dse")
    monkeypatch.setattr("photic.models.cost._STANDARD", ())
    with pytest.raises(PhoticError, match="no standard input for a TinyConfig"):
        standard_cost("tiny")

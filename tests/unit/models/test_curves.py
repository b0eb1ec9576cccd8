"""Curves of Zero-DCE, the network that estimates them, and the peers they are compared with."""

import numpy as np
import pytest
import torch
from torch import nn

from photic.core.errors import DataError
from photic.models import get_registry
from photic.models.curves import CurveNet, apply_curves


def numbers(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def slow_curves(image: np.ndarray, curves: np.ndarray) -> np.ndarray:
    """Apply curves to one picture (3, H, W), level by level."""
    out = image.astype(np.float64).copy()
    for index in np.ndindex(out.shape):
        channel, y, x = index
        for step in range(len(curves) // 3):
            out[index] += curves[3 * step + channel, y, x] * out[index] * (1 - out[index])
    return out


def test_curves_equal_the_slow_ones() -> None:
    image, curves = torch.rand(1, 3, 4, 5), 2 * torch.rand(1, 12, 4, 5) - 1
    np.testing.assert_allclose(apply_curves(image, curves)[0].numpy(), slow_curves(image[0].numpy(), curves[0].numpy()), atol=1e-6)


def test_curves_keep_black_white_the_range_and_the_order_of_levels() -> None:
    levels = torch.linspace(0, 1, 101).view(1, 1, 1, -1).expand(1, 3, 1, -1)
    for strength in (-1.0, -0.4, 0.3, 1.0):
        made = apply_curves(levels, torch.full((1, 24, 1, 101), strength))
        torch.testing.assert_close(made[..., [0, -1]], levels[..., [0, -1]])
        assert made.min() >= 0
        assert made.max() <= 1
        assert (made.diff(dim=-1) >= -1e-6).all()


def test_eight_full_steps_take_a_hundredth_to_more_than_nine_tenths() -> None:
    made = apply_curves(torch.full((1, 3, 1, 1), 0.01), torch.ones(1, 24, 1, 1))
    assert made.min().item() == pytest.approx(0.924, abs=5e-4)


def test_curves_act_on_three_colours_and_never_on_a_fourth_channel() -> None:
    with pytest.raises(DataError, match=r"\(1, 4, 2, 2\) and \(1, 24, 2, 2\)"):
        apply_curves(torch.rand(1, 4, 2, 2), torch.rand(1, 24, 2, 2))
    with pytest.raises(DataError, match=r"3 n.*\(1, 32, 2, 2\)"):
        apply_curves(torch.rand(1, 3, 2, 2), torch.rand(1, 32, 2, 2))
    with pytest.raises(DataError, match=r"\(1, 24, 1, 1\)"):
        apply_curves(torch.rand(1, 3, 2, 2), torch.rand(1, 24, 1, 1))


@pytest.mark.parametrize(("given", "parameters"), [(3, 79_416), (4, 79_704)])
def test_the_curve_network_has_the_published_number_of_parameters(given: int, parameters: int) -> None:
    assert numbers(CurveNet(given)) == parameters


def test_the_skips_of_the_curve_network_are_those_published() -> None:
    network = CurveNet(3, 4, 1)
    seen: list[list[torch.Tensor]] = []
    layers = [*network.hidden, network.last]
    for layer in layers:
        layer.register_forward_hook(lambda _, given, made: seen.append([given[0], made.relu()]))
    network(torch.rand(1, 3, 5, 5))
    made = [one[1] for one in seen]
    for layer, (before, skip) in {4: (3, 2), 5: (4, 1), 6: (5, 0)}.items():
        assert torch.equal(seen[layer][0], torch.cat([made[before], made[skip]], dim=1))


def test_zero_dce_has_79416_parameters_24_curves_and_starts_near_the_identity() -> None:
    network = get_registry().get("zero_dce")
    assert numbers(network) == 79_416
    image = 0.2 * torch.rand(1, 3, 20, 30)
    made = network(image)
    assert made.parts["curves"].shape == (1, 24, 20, 30)
    torch.testing.assert_close(made.picture, apply_curves(image, made.parts["curves"]))
    torch.testing.assert_close(made.picture, image, atol=0.01, rtol=0)
    assert network.decide(image).shape == (1, 0)


def test_the_number_of_curves_and_the_width_of_zero_dce_are_settings() -> None:
    network = get_registry().get("zero_dce", width=4, num_iterations=3)
    assert network(torch.rand(1, 3, 8, 8)).parts["curves"].shape == (1, 9, 8, 8)
    assert numbers(network) < 2_000


def test_zero_dce_can_brighten_one_dark_picture_to_its_truth() -> None:
    torch.manual_seed(0)
    network = get_registry().get("zero_dce", width=8)
    truth = 0.3 + 0.5 * torch.rand(1, 3, 12, 12)
    dark = truth / 7.6
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    losses = []
    for _ in range(150):
        loss = (network(dark).picture - truth).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 0.4
    assert losses[-1] < 0.05


def test_the_u_net_has_7_8_million_parameters_and_falls_to_a_sixteenth() -> None:
    network = get_registry().get("unet_enhancer")
    assert numbers(network) == 7_760_163
    assert (network.multiple, network.tile_align) == (16, 16)
    assert network.down[-1][-2].out_channels == 512


def test_the_u_net_gives_the_picture_or_what_is_added_to_it() -> None:
    image = torch.rand(1, 3, 16, 16)
    networks = {}
    for output in ("residual", "direct"):
        torch.manual_seed(0)
        networks[output] = get_registry().get("unet_enhancer", width=4, num_levels=2, output=output)
    torch.testing.assert_close(networks["residual"](image).picture, image + networks["direct"](image).picture)
    assert networks["direct"].multiple == 4
    assert networks["direct"].margin_px < get_registry().get("unet_enhancer", width=4, num_levels=3).margin_px

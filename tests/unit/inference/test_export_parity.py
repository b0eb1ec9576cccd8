"""How exported graphs are held against their networks: differences, rounding that turns over, losses that are too large."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from photic.core.errors import ConfigError
from photic.inference.export.description import decisions_changed
from photic.inference.export.parity import Batch, Difference, beyond, differences, time_ratio
from photic.inference.export.precision import check_gain, check_loss
from photic.tasks.interface import GraphInterface, Port

PICTURE = Port("picture", "float32", ("batch", 2), "Numbers.")
INTERFACE = GraphInterface((PICTURE,), (Port("double", "float32", ("batch", 2), "Twice."),))
GIVEN = Batch("two rows", (torch.tensor([[1.0, -4.0], [0.5, 2.0]]),))


class Twice(nn.Module):
    """Twice the input."""

    def forward(self, values: Tensor) -> Tensor:
        return 2 * values


class Rounding(nn.Module):
    """Ten times the input rounded; and the input rounded."""

    rounded = ("whole",)

    def forward(self, values: Tensor) -> tuple[Tensor, Tensor]:
        return 10 * values.round(), values.round()

    def following(self, *inputs: Tensor, outputs: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        return 10 * outputs[1], inputs[0].round()


def test_differences_are_the_largest_and_the_mean_and_relative_to_the_peak() -> None:
    def run(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (2 * inputs[0] + torch.tensor([[0.0, 0.02], [0.0, 0.0]]),)

    (found,) = differences(Twice(), run, INTERFACE, [GIVEN, Batch("a row", (torch.ones(2, 2),))])
    assert found.absolute == pytest.approx(0.02, rel=1e-4)
    assert found.relative == pytest.approx(0.02 / 2, rel=1e-4)  # the second batch peaks at 2
    assert found.mean == pytest.approx(0.02 * 2 / 8, rel=1e-4)
    assert found.psnr_db == pytest.approx(10 * math.log10(8**2 / (2 * 0.02**2 / 8)), abs=0.01)
    assert beyond([found]) == [found] and not beyond([found], tolerance=0.02)
    assert Difference(**found.to_json()) == found


def test_the_same_is_no_difference() -> None:
    (found,) = differences(Twice(), lambda inputs: (2 * inputs[0],), INTERFACE, [GIVEN])
    assert (found.absolute, found.relative, found.mean, found.psnr_db) == (0, 0, 0, None)
    assert not beyond([found])


def test_another_value_where_the_network_gives_nothing_but_zeros_is_beyond_any_tolerance() -> None:
    (found,) = differences(Twice(), lambda inputs: (inputs[0] + 1e-9,), INTERFACE, [Batch("black", (torch.zeros(1, 2),))])
    assert beyond([found])


@pytest.mark.parametrize(
    ("made", "words"),
    [(torch.zeros(2, 3), r"two rows: 'double' comes out as \(2, 3\)"), (torch.full((2, 2), math.nan), "two rows: .* not finite")],
)
def test_another_shape_and_what_is_not_finite_are_refused(made: Tensor, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        differences(Twice(), lambda inputs: (made,), INTERFACE, [GIVEN])


def test_rounding_that_turns_over_is_counted_and_followed() -> None:
    interface = GraphInterface((PICTURE,), (Port("picture_out", "float32", ("batch", 2), "x"), Port("whole", "float32", ("batch", 2), "y")))
    values = torch.arange(400.0).view(200, 2) + 0.1

    def run(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        whole = inputs[0].round()
        whole[3, 1] += 1
        return 10 * whole, whole

    made, whole = differences(Rounding(), run, interface, [Batch("rows", (values,))])
    assert made.absolute == 0  # it follows
    assert whole.absolute == 0 and whole.turned == pytest.approx(1 / 400)
    assert not beyond([made, whole])
    assert "0.25% of the rounded values" in whole.text()

    def worse(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return 10 * (inputs[0].round() + 1), inputs[0].round() + 1

    assert [one.output for one in beyond(differences(Rounding(), worse, interface, [Batch("rows", (values,))]))] == ["whole"]


def test_decisions_change_where_probabilities_cross_their_threshold() -> None:
    assert decisions_changed([[0.2, 0.6], [0.9, 0.4]], [[0.3, 0.4], [0.8, 0.45]], [0.5, 0.5]) == 0.25
    assert decisions_changed([], [], [0.5]) == 0


def test_what_does_not_pay_or_loses_too_much_is_refused_with_numbers() -> None:
    check_gain("fp16", 600, 1000)
    with pytest.raises(ConfigError, match=r"int8 does not pay for this network: 0\.90 MB instead of 1\.00 MB"):
        check_gain("int8", 900_000, 1_000_000)
    good, bad = (Difference("picture", 0.1, 0.1, 0.03, psnr) for psnr in (40.0, 30.0))
    check_loss("int8", [good], False)
    with pytest.raises(ConfigError, match=r"fp16 loses too much .* agrees to 40\.0 dB"):
        check_loss("fp16", [good], False)
    with pytest.raises(ConfigError, match=r"int8 loses too much .* agrees to 30\.0 dB"):
        check_loss("int8", [bad], False)
    check_loss("int8", [bad], True)
    with pytest.raises(ConfigError, match=r"fp16 loses too much .* probabilities change by 0\.030 on average"):
        check_loss("fp16", [bad], True)


def test_times_are_of_both() -> None:
    exported_s, own_s = time_ratio(Twice(), lambda inputs: (2 * inputs[0],), GIVEN.inputs)
    assert 0 < exported_s < 1 and 0 < own_s < 1

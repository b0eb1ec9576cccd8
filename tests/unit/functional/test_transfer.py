"""Transfer functions against published values and the formulas written out; round trips, gradients, black and below."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from photic.core.errors import ConfigError
from photic.functional.transfer import KINDS, decode, encode


def st2084(x):
    """The inverse EOTF as the standard writes it, float64."""
    m1, m2 = 2610 / 16384, 2523 / 4096 * 128
    c1, c2, c3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
    return ((c1 + c2 * x**m1) / (1 + c3 * x**m1)) ** m2


@pytest.mark.parametrize(
    ("nits", "code"),  # signal levels that ITU-R BT.2390 and BT.2408 quote, 203 being the reference white
    [(0.1, 0.0623), (1, 0.1499), (100, 0.5081), (203, 0.5807), (1000, 0.7518), (4000, 0.9026), (10000, 1.0)],
)
def test_pq_has_the_published_values(nits, code):
    assert float(encode(torch.tensor(nits / 10000), "pq")) == pytest.approx(code, abs=1e-4)


def test_pq_is_the_standard_in_float32_too():
    x = np.concatenate([np.logspace(-6, 0, 500)[1:], np.linspace(0.01, 4, 300)])
    np.testing.assert_allclose(encode(torch.tensor(x), "pq").numpy(), st2084(x), rtol=1e-12)
    np.testing.assert_allclose(encode(torch.tensor(x, dtype=torch.float32), "pq").numpy(), st2084(x), rtol=2e-6)


def test_gamma_is_the_power():
    x = np.linspace(1.1e-3, 3, 500)
    np.testing.assert_allclose(encode(torch.tensor(x), "gamma22").numpy(), x ** (1 / 2.2), rtol=1e-12)
    assert torch.equal(encode(torch.tensor(x), "none"), torch.tensor(x))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.float64, 1e-10)])
def test_round_trips_from_far_below_black_to_far_above_white(kind, dtype, tolerance):
    x = torch.cat([torch.logspace(-9, 2, 800, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)])
    x = torch.cat([-x, x]).to(dtype)
    torch.testing.assert_close(decode(encode(x, kind), kind), x, rtol=tolerance, atol=1e-14)
    v = torch.linspace(-1.2, 1.2, 1001, dtype=dtype)
    torch.testing.assert_close(encode(decode(v, kind), kind), v, rtol=tolerance, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_odd_and_rises_everywhere_with_a_finite_gradient(kind):
    for function, most in ((encode, 1), (decode, 0.2)):
        x = torch.logspace(-9, most, 3000, dtype=torch.float64)
        y = function(x, kind)
        assert bool((y.diff() > 0).all())
        torch.testing.assert_close(function(-x, kind), -y)
        assert float(function(torch.zeros(()), kind)) == 0.0
        for values in ([0.0, -0.0, 1e-12, -1e-12, 1e-6, 1e-3, -1e-3, 0.5, 1.0, -1.0, 1.5], [0.01, 0.0215, 0.0432, 0.0433]):
            points = torch.tensor(values, requires_grad=True)
            (slope,) = torch.autograd.grad(function(points, kind).sum(), points)
            assert bool(slope.isfinite().all()) and bool((slope > 0).all())


@pytest.mark.parametrize(("kind", "toe"), [("pq", 1e-6), ("gamma22", 1e-3)])
def test_the_toe_joins_with_value_and_slope(kind, toe):
    sides = torch.tensor([toe * (1 - 1e-7), toe * (1 + 1e-7)], dtype=torch.float64, requires_grad=True)
    values = encode(sides, kind)
    (slopes,) = torch.autograd.grad(values.sum(), sides)
    assert float(values[1].detach() / values[0].detach()) == pytest.approx(1, abs=1e-6)
    assert float(slopes[1] / slopes[0]) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_finite_differences(kind):
    x = torch.tensor([-0.7, -2e-4, 3e-7, 5e-4, 0.02, 0.3, 1.0, 2.5], dtype=torch.float64, requires_grad=True)
    for function in (encode, decode):
        assert torch.autograd.gradcheck(lambda v, f=function: f(v, kind), (x,), eps=1e-9, atol=1e-3, rtol=1e-3)


def test_half_precision_is_computed_in_float32_and_comes_back():
    x = torch.linspace(-0.2, 2, 50, dtype=torch.bfloat16)
    for kind in KINDS:
        assert encode(x, kind).dtype == torch.bfloat16
        torch.testing.assert_close(encode(x, kind).float(), encode(x.float(), kind), rtol=5e-3, atol=1e-6)
    with torch.inference_mode():
        assert encode(x.float(), "pq").isfinite().all()


def test_values_that_no_light_has_decode_to_something_finite():
    assert float(decode(torch.tensor(5.0), "pq")) == pytest.approx(1e6, rel=1e-3)
    with pytest.raises(ConfigError, match="none, pq, gamma22, got 'srgb'"):
        encode(torch.zeros(1), "srgb")
    with pytest.raises(ConfigError, match="none, pq, gamma22"):
        decode(torch.zeros(1), "log")

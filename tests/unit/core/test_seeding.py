"""Random numbers depend on their address alone."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from photic.core.seeding import derive_seed, numpy_generator, seed_global_generators, torch_generator


@given(st.integers(0, 2**40), st.text(), st.lists(st.integers(-5, 2**40), max_size=3))
def test_same_address_same_seed_in_range(seed: int, purpose: str, index: list[int]) -> None:
    value = derive_seed(seed, purpose, *index)
    assert value == derive_seed(seed, purpose, *index)
    assert 0 <= value < 2**63


def test_addresses_do_not_run_into_each_other() -> None:
    addresses = [(s, p, i, j) for s in range(3) for p in ("a", "b") for i in range(20) for j in range(20)]
    assert len({derive_seed(*address) for address in addresses}) == len(addresses)
    assert derive_seed(1, "a", 23) != derive_seed(1, "a2", 3)
    assert derive_seed(1, "a", 2, 3) != derive_seed(1, "a", 23)


def test_generators_repeat() -> None:
    assert torch.equal(torch.rand(3, generator=torch_generator(0, "x", 1)), torch.rand(3, generator=torch_generator(0, "x", 1)))
    assert numpy_generator(0, "x").random() == numpy_generator(0, "x").random()
    seed_global_generators(0, "x", 5)
    first = torch.rand(2)
    seed_global_generators(0, "x", 5)
    assert torch.equal(first, torch.rand(2))

"""The loader: the same stream from anywhere, with any number of workers; errors come out as they went in."""

from __future__ import annotations

import gc
import multiprocessing
import random
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from photic.core.errors import ConfigError, DataError
from photic.core.registry import augmentations
from photic.data.augment import Augmented
from photic.data.images import read_image, to_measurement
from photic.data.loader import ExactLoader, evaluation_batches


class Numbers:
    """Tiny pictures whose values name their position."""

    def __init__(self, length: int = 10) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def sample(self, position: int, draw: int) -> dict[str, Any]:
        picture = torch.rand((3, 4, 6), generator=torch.Generator().manual_seed(position))
        return {"measurement": picture, "target": torch.tensor([float(position % 2)]), "index": position + 100}


class Draws(Numbers):
    """Samples that carry the draw they were asked with."""

    def sample(self, position: int, draw: int) -> dict[str, Any]:
        return {**super().sample(position, draw), "draw": draw}


class Uneven(Numbers):
    """The last picture is larger."""

    def sample(self, position: int, draw: int) -> dict[str, Any]:
        sample = super().sample(position, draw)
        return {**sample, "measurement": torch.zeros(3, 8, 8)} if position == self.length - 1 else sample


class Broken(Numbers):
    """One file is no picture."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def sample(self, position: int, draw: int) -> dict[str, Any]:
        sample = super().sample(position, draw)
        return {**sample, "measurement": to_measurement(read_image(self.path))} if position == 5 else sample


def augmented(length: int = 10) -> Augmented:
    chosen = {name: augmentations.get(name) for name in ("horizontal_flip", "gaussian_noise", "cutmix")}
    return Augmented(Numbers(length), chosen, seed=3)


def take(loader: ExactLoader, count: int) -> list[dict[str, Any]]:
    return list(islice(loader, count))


def assert_same(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> None:
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert a.keys() == b.keys()
        for key, value in a.items():
            assert torch.equal(value, b[key]) if isinstance(value, torch.Tensor) else value == b[key]


def test_a_batch_has_the_agreed_keys_and_types() -> None:
    batch = next(ExactLoader(Numbers(), batch_size=4, seed=0))
    assert set(batch) == {"measurement", "target", "index", "number"}
    assert batch["measurement"].shape == (4, 3, 4, 6) and batch["measurement"].dtype == torch.float32
    assert batch["target"].shape == (4, 1) and batch["index"].shape == (4,)
    assert type(batch["number"]) is int


def test_every_epoch_shows_every_sample_once_in_a_new_order() -> None:
    loader = ExactLoader(Numbers(10), batch_size=4, seed=0)
    assert loader.batches_per_epoch == 3
    epochs = [torch.cat([batch["index"] for batch in take(loader, 3)]).tolist() for _ in range(3)]
    assert all(sorted(epoch) == list(range(100, 110)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_numbers_count_batches_and_position_counts_those_handed_out() -> None:
    loader = ExactLoader(Numbers(), batch_size=4, seed=0)
    assert loader.position == 0
    assert [batch["number"] for batch in take(loader, 7)] == list(range(7))
    assert loader.position == 7


def test_order_without_shuffle_is_the_sets_own() -> None:
    batches = take(ExactLoader(Numbers(5), batch_size=2, seed=0, shuffle=False), 6)
    assert [batch["index"].tolist() for batch in batches] == [[100, 101], [102, 103], [104]] * 2


def test_drop_last_leaves_out_the_incomplete_batch() -> None:
    loader = ExactLoader(Numbers(10), batch_size=4, seed=0, drop_last=True)
    assert loader.batches_per_epoch == 2
    assert all(len(batch["index"]) == 4 for batch in take(loader, 5))


def test_another_seed_gives_another_order() -> None:
    first, second = (take(ExactLoader(Numbers(50), batch_size=50, seed=seed), 1)[0]["index"] for seed in (0, 1))
    assert not torch.equal(first, second)


def test_two_workers_give_the_batches_of_none() -> None:
    alone = take(ExactLoader(augmented(), batch_size=4, seed=0), 11)
    loader = ExactLoader(augmented(), batch_size=4, seed=0, num_workers=2)
    assert_same(alone, take(loader, 11))
    assert loader.position == 11
    loader.close()


@pytest.mark.parametrize("stop", range(8))
def test_a_resumed_stream_goes_on_bit_identically_from_any_position(stop: int) -> None:
    whole = take(ExactLoader(augmented(), batch_size=4, seed=0), 10)
    loader = ExactLoader(augmented(), batch_size=4, seed=0)
    before = take(loader, stop)
    resumed = ExactLoader(augmented(), batch_size=4, seed=0)
    resumed.load_state_dict(loader.state_dict())
    assert_same(whole, before + take(resumed, 10 - stop))


@pytest.mark.parametrize("stop", [2, 3, 4])
def test_resuming_around_an_epochs_end_is_exact_with_workers(stop: int) -> None:
    whole = take(ExactLoader(augmented(), batch_size=4, seed=0), 8)
    loader = ExactLoader(augmented(), batch_size=4, seed=0, num_workers=2)
    before = take(loader, stop)
    state = loader.state_dict()
    assert state["position"] == stop  # although the workers are ahead
    loader.close()
    resumed = ExactLoader(augmented(), batch_size=4, seed=0, num_workers=2)
    resumed.load_state_dict(state)
    assert_same(whole, before + take(resumed, 8 - stop))
    resumed.close()


def test_iterating_again_goes_on_and_closing_forgets_nothing() -> None:
    whole = take(ExactLoader(augmented(), batch_size=4, seed=0), 9)
    loader = ExactLoader(augmented(), batch_size=4, seed=0, num_workers=1)
    parts = []
    for count in (2, 3, 4):
        parts += take(loader, count)
        if count == 3:
            loader.close()
    loader.close()
    assert_same(whole, parts)


def test_loading_a_state_in_the_middle_jumps_there() -> None:
    whole = take(ExactLoader(augmented(), batch_size=4, seed=0), 9)
    loader = ExactLoader(augmented(), batch_size=4, seed=0)
    take(loader, 5)
    loader.load_state_dict({"position": 1})
    assert_same(whole[1:4], take(loader, 3))


@pytest.mark.parametrize("changed", [{"batch_size": 2}, {"drop_last": True}, {"seed": 1}, {"shuffle": False}])
def test_a_position_of_other_settings_is_refused(changed: dict[str, Any]) -> None:
    state = ExactLoader(Numbers(), batch_size=4, seed=0).state_dict()
    with pytest.raises(ConfigError, match=r"the saved position was reached with .* here it is"):
        ExactLoader(Numbers(), **({"batch_size": 4, "seed": 0} | changed)).load_state_dict(state)
    with pytest.raises(ConfigError, match="num_samples = 10, here it is 12"):
        ExactLoader(Numbers(12), batch_size=4, seed=0).load_state_dict(state)


def test_no_draw_is_ever_used_twice() -> None:
    draws = torch.cat([batch["draw"] for batch in take(ExactLoader(Draws(10), batch_size=4, seed=0), 30)]).tolist()
    assert len(set(draws)) == len(draws) == 100


def test_the_same_picture_is_augmented_anew_every_epoch() -> None:
    noise = augmentations.get("gaussian_noise", probability=1.0)
    batches = take(ExactLoader(Augmented(Numbers(1), {"noise": noise}, seed=0), batch_size=1, seed=0), 3)
    pictures = [batch["measurement"] for batch in batches]
    assert not torch.equal(pictures[0], pictures[1]) and not torch.equal(pictures[1], pictures[2])


@pytest.mark.parametrize("num_workers", [0, 2])
def test_global_random_generators_are_untouched(num_workers: int) -> None:
    before = (torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy())  # type: ignore[index, union-attr]
    loader = ExactLoader(augmented(), batch_size=4, seed=0, num_workers=num_workers)
    take(loader, 7)
    loader.close()
    list(evaluation_batches(Numbers(), 4, num_workers))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert np.array_equal(np.random.get_state()[1], before[2])  # type: ignore[index]


def test_close_ends_the_workers() -> None:
    loader = ExactLoader(Numbers(), batch_size=4, seed=0, num_workers=2)
    take(loader, 2)
    assert len(multiprocessing.active_children()) >= 2
    workers = multiprocessing.active_children()
    loader.close()
    for worker in workers:
        worker.join(10)
        assert not worker.is_alive()


def test_a_forgotten_loader_ends_its_workers_without_the_garbage_collector() -> None:
    gc.collect()
    gc.disable()
    try:
        loader = ExactLoader(Numbers(), batch_size=4, seed=0, num_workers=1)
        next(loader)
        (worker,) = multiprocessing.active_children()
        del loader
        worker.join(10)
        assert not worker.is_alive()
    finally:
        gc.enable()


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_share_what_one_process_would_see(world_size: int) -> None:
    def stream(rank: int, world: int) -> list[dict[str, Any]]:
        return take(ExactLoader(augmented(26), batch_size=12 // world, seed=0, rank=rank, world_size=world), 6)

    single, parts = stream(0, 1), [stream(rank, world_size) for rank in range(world_size)]
    for number, batch in enumerate(single):
        shares = [part[number] for part in parts]
        assert len({len(share["index"]) for share in shares}) == 1
        together = torch.stack([share["index"] for share in shares], dim=1).flatten().tolist()
        expected = batch["index"].tolist()
        assert together[: len(expected)] == expected
        assert len(together) - len(expected) < world_size
        pictures = torch.stack([share["measurement"] for share in shares], dim=1).flatten(0, 1)
        assert torch.equal(pictures[: len(expected)], batch["measurement"])


def test_a_last_global_batch_is_filled_by_wrapping_around() -> None:
    loaders = [ExactLoader(Numbers(5), batch_size=2, seed=0, shuffle=False, rank=rank, world_size=2) for rank in (0, 1)]
    assert [loader.batches_per_epoch for loader in loaders] == [2, 2]
    batches = [take(loader, 2) for loader in loaders]
    assert [[batch["index"].tolist() for batch in part] for part in batches] == [[[100, 102], [104]], [[101, 103], [100]]]
    assert [[batch.get("filled", 0) for batch in part] for part in batches] == [[0, 0], [0, 1]]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_mixed_picture_sizes_are_refused_with_shapes_and_places(num_workers: int) -> None:
    loader = ExactLoader(Uneven(6), batch_size=6, seed=0, num_workers=num_workers, shuffle=False)
    with pytest.raises(DataError) as caught:
        next(loader)
    message = str(caught.value)
    assert message.startswith(
        "batch: 'measurement' has different shapes: (3, 4, 6): index 100, index 101, index 102, index 103 and 1 more;"
    )
    assert "(3, 8, 8): index 105" in message and "data.batch_size=1" in message
    assert loader.position == 0
    with pytest.raises(DataError, match="different shapes"):
        list(evaluation_batches(Uneven(6), 6, num_workers))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_unreadable_picture_comes_out_of_a_worker_as_the_same_error(tmp_path: Path, num_workers: int) -> None:
    path = tmp_path / "strip.jpg"
    Image.fromarray(np.zeros((16, 16, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-30])
    loader = ExactLoader(Broken(path), batch_size=2, seed=0, num_workers=num_workers, shuffle=False)
    assert [batch["number"] for batch in take(loader, 2)] == [0, 1]
    with pytest.raises(DataError) as caught:
        next(loader)
    assert type(caught.value) is DataError
    assert str(caught.value).startswith(f"{path}: damaged or truncated picture")
    assert "Traceback" not in str(caught.value)
    assert loader.position == 2


def test_samples_with_other_keys_are_refused() -> None:
    class Sometimes(Numbers):
        def sample(self, position: int, draw: int) -> dict[str, Any]:
            sample = super().sample(position, draw)
            return {**sample, "mask": torch.zeros(1)} if position else sample

    with pytest.raises(DataError, match=r"index 100 holds index, measurement, target, index 101 holds index, mask, measurement, target"):
        next(ExactLoader(Sometimes(), batch_size=2, seed=0, shuffle=False))


def test_impossible_loaders_are_refused() -> None:
    with pytest.raises(DataError, match="0 training samples make no batch"):
        ExactLoader(Numbers(0), batch_size=2, seed=0)
    with pytest.raises(DataError, match="drop_last leaves out a batch of fewer than 20"):
        ExactLoader(Numbers(10), batch_size=20, seed=0, drop_last=True)
    with pytest.raises(ConfigError, match="batch_size 0"):
        ExactLoader(Numbers(), batch_size=0, seed=0)
    with pytest.raises(ConfigError, match="rank 2 of 2"):
        ExactLoader(Numbers(), batch_size=1, seed=0, rank=2, world_size=2)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_evaluation_passes_once_in_order_and_can_be_repeated(num_workers: int) -> None:
    batches = evaluation_batches(Draws(7), 3, num_workers)
    assert len(batches) == 3
    for _ in range(2):
        taken = list(batches)
        assert [batch["index"].tolist() for batch in taken] == [[100, 101, 102], [103, 104, 105], [106]]
        assert all((batch["draw"] == 0).all() and "number" not in batch for batch in taken)


def test_evaluation_refuses_augmented_samples() -> None:
    with pytest.raises(ConfigError, match="evaluate the plain set"):
        evaluation_batches(augmented(), 4)
    assert len(list(evaluation_batches(augmented().samples, 4))) == 3
    with pytest.raises(ConfigError, match="batch_size >= 1"):
        evaluation_batches(Numbers(), 0)

"""Checkpoints return exactly what was stored, and refuse everything that is not one."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from photic.core.checkpoint import Checkpoint, load_weights, read_checkpoint, read_weights, write_checkpoint
from photic.core.errors import CheckpointError


def test_everything_comes_back_exactly(tmp_path: Path) -> None:
    network = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    state = {
        "optimizer": optimizer.state_dict(),
        "numbers": (1, 2.5, None, True, "text"),
        "nested": [{"a": torch.tensor([7])}],
        "inf": float("inf"),
    }
    path = write_checkpoint(
        tmp_path / "c.safetensors", Checkpoint(network.state_dict(), ema={"weight": torch.ones(2, 3)}, state=state, description={"a": [1]})
    )
    back = read_checkpoint(path)
    assert back.description == {"a": [1]}
    assert back.ema is not None
    assert torch.equal(back.deployed()["weight"], torch.ones(2, 3))
    assert all(torch.equal(back.weights[name], value) for name, value in network.state_dict().items())
    assert back.state["numbers"] == (1, 2.5, None, True, "text")
    assert back.state["inf"] == float("inf")
    assert torch.equal(back.state["nested"][0]["a"], torch.tensor([7]))
    fresh = torch.optim.AdamW(nn.Linear(3, 2).parameters())
    fresh.load_state_dict(back.state["optimizer"])
    assert torch.equal(fresh.state_dict()["state"][0]["exp_avg"], optimizer.state_dict()["state"][0]["exp_avg"])


def test_state_can_be_left_unread(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "c.safetensors", Checkpoint({"w": torch.ones(1)}, state={"a": torch.ones(5)}))
    assert read_checkpoint(path, with_state=False).state == {}


def test_weights_sharing_memory_are_stored(tmp_path: Path) -> None:
    shared = torch.ones(4)
    path = write_checkpoint(tmp_path / "c.safetensors", Checkpoint({"a": shared, "b": shared[:2]}))
    assert read_checkpoint(path).weights["b"].shape == (2,)


def test_what_cannot_be_stored_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"state\./a/0: a set cannot be stored"):
        write_checkpoint(tmp_path / "c.safetensors", Checkpoint({}, state={"a": [set()]}))


@pytest.mark.parametrize("kept", [0, 4, 100, 0.5, 0.99])
def test_truncated_checkpoint_is_refused(tmp_path: Path, kept: float) -> None:
    path = write_checkpoint(tmp_path / "c.safetensors", Checkpoint({"w": torch.ones(100)}))
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    with pytest.raises(CheckpointError, match="damaged or truncated"):
        read_checkpoint(path)


class Bomb:
    def __reduce__(self) -> tuple:
        return (Path("exploded").touch, ())


@pytest.mark.parametrize("reader", [read_checkpoint, read_weights])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("writer", ["pickle", "torch"])
def test_pickle_is_refused_and_not_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader, suffix: str, writer: str) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"evil{suffix}"
    if writer == "pickle":
        path.write_bytes(pickle.dumps(Bomb()))
    else:
        torch.save({"weights": Bomb()}, path)
    with pytest.raises(CheckpointError, match="refused"):
        reader(path)
    assert not Path("exploded").exists()


def test_missing_and_foreign_files_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        read_checkpoint(tmp_path / "none.safetensors")
    save_file({"w": torch.ones(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(CheckpointError, match="not a Photic checkpoint"):
        read_checkpoint(tmp_path / "foreign.safetensors")
    assert torch.equal(read_weights(tmp_path / "foreign.safetensors")["w"], torch.ones(1))


def test_weights_of_another_shape_name_the_layers_and_change_nothing() -> None:
    network = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    other = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 4, bias=False)).state_dict() | {"2.extra": torch.ones(1)}
    with pytest.raises(CheckpointError) as caught:
        load_weights(network, other, "x.safetensors")
    message = str(caught.value)
    assert "1.weight: the network has (1, 2), the file (4, 2)" in message
    assert "1.bias: missing in the file" in message
    assert "2.extra: not in the network" in message
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_tensors_only_pth_is_read(tmp_path: Path) -> None:
    torch.save({"state_dict": {"w": torch.ones(2)}}, tmp_path / "w.pth")
    assert torch.equal(read_weights(tmp_path / "w.pth")["w"], torch.ones(2))


def test_header_length_that_looks_like_a_pickle_is_no_pickle(tmp_path: Path) -> None:
    """A safetensors file starts with the length of its header; in one of 32 files its first byte is a pickle's."""
    starts = set()
    for length in range(0, 300, 4):
        path = write_checkpoint(tmp_path / "c.safetensors", Checkpoint({"w": torch.ones(1)}, description={"text": "x" * length}))
        starts.add(path.read_bytes()[0])
        assert read_checkpoint(path).description == {"text": "x" * length}
    assert 0x80 in starts

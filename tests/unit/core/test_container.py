"""The container: every bit of a sealed file counts, and a hostile header is an error that says so."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch

from photic.core.checkpoint import Checkpoint, read_checkpoint, read_weights, write_checkpoint
from photic.core.container import KEY, SEAL, UNSEALED, read_header, seal, verify_seal
from photic.core.errors import CheckpointError


def sealed(folder: Path) -> Path:
    weights = {"graph.network.w": torch.arange(6.0).reshape(2, 3), "graph.network.b": torch.tensor(3, dtype=torch.int64)}
    return write_checkpoint(folder / "c.safetensors", Checkpoint(weights, description={"name": 'é "quoted" \\ ' + UNSEALED}), sealed=True)


def raw(path: Path, header: object, data: bytes = b"") -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def test_a_sealed_file_reads_as_any_other(tmp_path: Path) -> None:
    path = sealed(tmp_path)
    header = read_header(path)
    assert header.sha256 is not None and header.sha256 != UNSEALED
    assert header.shapes == {"model.graph.network.w": (2, 3), "model.graph.network.b": ()}
    verify_seal(path, header.sha256)
    assert read_checkpoint(path).description["name"].startswith("é")
    assert read_weights(path)["b"] == 3


def test_sealing_again_gives_the_same_seal(tmp_path: Path) -> None:
    path = sealed(tmp_path)
    before = path.read_bytes()
    seal(path)
    assert path.read_bytes() == before


def test_any_flipped_bit_is_found(tmp_path: Path) -> None:
    path = sealed(tmp_path)
    content = path.read_bytes()
    draw = random.Random(0)
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        try:
            opened = read_header(path)
            read_checkpoint(path)
        except CheckpointError:
            continue
        assert opened.sha256 is None, f"byte {place}"  # the key itself: whoever needs a seal misses it


def test_any_truncation_is_found(tmp_path: Path) -> None:
    path = sealed(tmp_path)
    content = path.read_bytes()
    for kept in range(len(content)):
        path.write_bytes(content[:kept])
        with pytest.raises(CheckpointError, match="damaged or truncated|refused"):
            read_checkpoint(path)
    path.write_bytes(content + b"x")
    with pytest.raises(CheckpointError, match="damaged or truncated"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"not json", "header cannot be read"),
        (b"\xff\xfe", "header cannot be read"),
        ([1, 2], "header cannot be read"),
        (b"[" * 100_000, "header cannot be read"),
        ({"__metadata__": {KEY: 7}}, "header cannot be read"),
        ({"__metadata__": [KEY]}, "header cannot be read"),
        ({"w": {"dtype": "F32"}, "__metadata__": {KEY: "{}"}}, "header cannot be read"),
        ({"w": {"dtype": "F32", "shape": ["x"], "data_offsets": [0, 0]}, "__metadata__": {KEY: "{}"}}, "header cannot be read"),
        ({"w": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}, "__metadata__": {KEY: "{}"}}, "bytes expected"),
        ({"__metadata__": {KEY: "{}"}}, "description cannot be read"),
        ({"__metadata__": {KEY: "[" * 100_000}}, "description cannot be read"),
        ({"__metadata__": {KEY: '{"format": 1, "description": []}'}}, "description is incomplete"),
        ({"__metadata__": {KEY: '{"format": 0, "description": {}}'}}, "description is incomplete"),
        ({"__metadata__": {KEY: '{"format": 2, "description": {}}'}}, r"newer Photic \(format 2, this one reads 1\); upgrade"),
        ({"__metadata__": {KEY: '{"format": 1, "description": {}}'}}, "damaged"),
        ({"__metadata__": {"other": "x"}}, "not a Photic checkpoint"),
    ],
)
def test_a_hostile_header_is_refused(tmp_path: Path, header: object, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(raw(tmp_path / "c.safetensors", header))


def test_a_length_beyond_the_file_allocates_nothing(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    path.write_bytes((2**62).to_bytes(8, "little") + b"{}")
    with pytest.raises(CheckpointError, match="header is cut short"):
        read_checkpoint(path)


def test_a_seal_without_its_place_is_refused(tmp_path: Path) -> None:
    text = json.dumps({"format": 1, "description": {}, "state": None, "has_ema": False})
    path = raw(tmp_path / "c.safetensors", json.dumps({"__metadata__": {KEY: text, SEAL: "ab"}}, separators=(" ,", " : ")).encode())
    with pytest.raises(CheckpointError, match="checksum is not where it was written"):
        read_checkpoint(path)

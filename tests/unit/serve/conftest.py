"""File models that need no network: what a server does with them is all that is tested here."""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, Literal

import pytest
import torch

from photic.core.checkpoint import Checkpoint, write_checkpoint
from photic.core.errors import DataError
from photic.core.schema import Range
from photic.inference.file_model import Answer, BatchFileModel, FileModel, FileOptions


@dataclass(frozen=True, kw_only=True)
class LengthOptions(FileOptions):
    """How a text is measured."""

    factor: Annotated[float, Range(gt=0, le=10)] = 1.0
    """What the length is multiplied with."""
    unit: Literal["bytes", "bits"] = "bytes"
    """In what it is told."""
    pair: Annotated[tuple[float, float] | None, Range(ge=0)] = None
    """Two numbers
    on two lines."""
    depth: Annotated[int | None, Range(ge=1)] = None
    """A number, or none."""
    exact: bool = False
    """A truth."""
    secret: Path | None = None
    """A file of this machine."""
    tile_px: int | None = None
    """Memory."""


class Lengths(BatchFileModel):
    """Says how long texts are; those that begin with ``slow`` take longer, those with ``bad`` are none."""

    options_type = LengthOptions
    endings = (".txt", ".text", ".csv")
    writable = ()
    what = "texts"

    def __init__(self, source: Path) -> None:
        super().__init__(SimpleNamespace(source=source, config={}, description={}, device="cpu", classes=(), thresholds=()))  # type: ignore[arg-type]
        self.batches: list[int] = []
        self.threads: set[str] = set()
        self.gate: threading.Event | None = None

    def read(self, source: Path, options: FileOptions) -> bytes:
        content = source.read_bytes()
        if content.startswith(b"bad"):
            raise DataError(f"{source}: no text")
        return content

    def kind(self, item: Any) -> Hashable:
        return len(item) % 2

    def answers(self, items: Sequence[Any], options: FileOptions) -> list[Answer]:
        self.threads.add(threading.current_thread().name)
        self.batches.append(len(items))
        if self.gate is not None:
            assert self.gate.wait(20)
        if any(item.startswith(b"spoils") for item in items):
            raise DataError("one of them spoils all")
        if any(item.startswith(b"fault") for item in items):
            raise ZeroDivisionError("a fault")
        return [Answer(values={"length": len(item)}) for item in items]


class Upper(FileModel):
    """Writes texts in capitals, line by line."""

    endings = (".txt",)
    writable = (".txt", ".csv")
    what = "texts"

    def __init__(self, source: Path) -> None:
        config = {"task": {"name": "capitals"}, "model": {"name": "upper"}}
        super().__init__(SimpleNamespace(source=source, config=config, description={}, device="cpu", classes=(), thresholds=()))  # type: ignore[arg-type]
        self.started = threading.Event()
        self.stopped_at = -1

    def apply(self, source: Path, output: Path | None, options: FileOptions, *, force: bool = False, advance: Any = None) -> Answer:
        lines = source.read_text().splitlines()
        assert output is not None
        for number, line in enumerate(lines):
            self.started.set()
            if line == "wait":
                time.sleep(0.05)
            self.stopped_at = number
            advance(1 / len(lines))
        output.write_text("\n".join(line.upper() for line in lines))
        return Answer((output,), {"lines": len(lines), "where": str(source)}, (f"read from {source}",))


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Return some file that a model could have come from."""
    return write_checkpoint(tmp_path / "bundle.photic", Checkpoint(weights={"a": torch.zeros(1)}, description={}), sealed=True)

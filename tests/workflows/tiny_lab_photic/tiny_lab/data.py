"""Dots on paper, drawn when asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch

from photic.core.registry import datasets
from photic.core.schema import Range
from photic.core.seeding import numpy_generator
from photic.data.base import DataConfig, PreparedData


class Dots:
    """Pictures with a bright dot (class 0), a dark dot (class 1), both or none."""

    def __init__(self, seed: int, rows: range) -> None:
        self.seed, self.rows = seed, rows

    def __len__(self) -> int:
        return len(self.rows)

    def labels(self) -> np.ndarray:
        return np.array([[row % 2, row // 2 % 2] for row in self.rows], dtype=np.uint8)

    def sample(self, position: int, draw: int) -> dict[str, Any]:
        row = self.rows[position]
        rng = numpy_generator(self.seed, "dots", row)
        picture = rng.uniform(0.4, 0.6, (1, 24, 24)).astype(np.float32)
        for present, value in zip(self.labels()[position], (1.0, 0.0), strict=True):
            if present:
                x, y = rng.integers(2, 20, 2)
                picture[0, y : y + 3, x : x + 3] = value
        target = torch.from_numpy(self.labels()[position].astype(np.float32))
        return {"measurement": torch.from_numpy(picture.repeat(3, axis=0)), "target": target, "index": row}


@datasets.register("lab_dots")
@dataclass(frozen=True, kw_only=True)
class LabDotsConfig(DataConfig):
    """Dots on paper, drawn."""

    num_dots: Annotated[int, Range(ge=8)] = 64
    """Training pictures; validation and test get half as many each."""

    def prepare(self, seed: int) -> PreparedData:
        n = self.num_dots
        splits = {"train": Dots(seed, range(n)), "val": Dots(seed, range(n, n + n // 2)), "test": Dots(seed, range(n + n // 2, 2 * n))}
        return PreparedData(
            splits=splits,
            names={phase: [f"dot_{row}" for row in dots.rows] for phase, dots in splits.items()},
            classes=("bright", "dark"),
            labels={phase: dots.labels() for phase, dots in splits.items()},
            fingerprint=f"{seed}-{n}",
        )

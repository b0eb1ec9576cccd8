"""The pictures behind a run's predictions, read again for the report."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from photic.apps.defects.datasets import DefectDataConfig
from photic.apps.defects.samples import LabelledPictures, read_masks
from photic.core.errors import DataError
from photic.core.schema import Registered, coerce
from photic.data.base import DataConfig, PreparedData
from photic.tracking.predictions import Floats, Mask, Predictions, read_predictions
from photic.tracking.run import Run

__all__ = ["Floats", "Mask", "Predictions", "picture_of", "prepare_again", "read_predictions"]


def prepare_again(run: Run) -> PreparedData:
    """Return the run's data with the split it was trained on, unaugmented.

    Raises:
        DataError: the data are not where they were, or have changed.
    """
    config = run.config
    data: DataConfig = coerce(config["data"], Annotated[DataConfig, Registered("datasets")], "config.data")
    if isinstance(data, DefectDataConfig):
        # The saved split says what finding near-duplicates once found out, at no cost.
        data = replace(data, split_file=run.path / "split.json", num_folds=None, fold=0, augment={})
    prepared = data.prepare(config["seed"])
    known = run.results.get("data", {}).get("fingerprint")
    if known and prepared.fingerprint != known:
        raise DataError("the data have changed since the run (another fingerprint)")
    return prepared


def picture_of(prepared: PreparedData, split: str, name: str) -> tuple[NDArray[np.uint8], Mask | None]:
    """Return a picture ``(H, W, 3)`` as the network saw it, and the masks ``(C, H, W)`` of its defects if the data have them.

    Raises:
        DataError: it cannot be read any more.
    """
    position = prepared.names[split].index(name)
    samples = prepared.splits[split]
    measurement = samples.sample(position, 0)["measurement"]
    image = np.rint(measurement.numpy().transpose(1, 2, 0) * 255).astype(np.uint8)
    masks = None
    if isinstance(samples, LabelledPictures) and samples.table.runs:
        masks = read_masks(samples.table, int(samples.rows[position]), samples.size).numpy()
    return image, masks

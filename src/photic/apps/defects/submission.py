"""Predictions in the format of Kaggle's steel-defect competition."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from photic.apps.defects.rle import encode
from photic.core.errors import DataError
from photic.inference.outputs import Prediction, PredictionFormat, csv_line


class KaggleFormat(PredictionFormat):
    """``ImageId_ClassId,EncodedPixels``: one row per picture and class, classes numbered from 1.

    A class decided present gets the run-length text of the pixels where its activation map reaches half of
    its maximum; any other an empty text. The classifier was never shown masks: these pixels are a rough
    localisation, good enough to find the place, not to measure a defect.
    """

    needs_maps = True

    def check(self, files: Sequence[Path]) -> None:
        """Refuse two files of one name: the format knows pictures by name only.

        Raises:
            DataError: a name occurs twice.
        """
        name, count = Counter(file.name for file in files).most_common(1)[0]
        if count > 1:
            places = ", ".join(str(file) for file in files if file.name == name)
            raise DataError(
                f"format kaggle knows pictures by file name, but '{name}' comes {count} times ({places}); predict the folders one by one"
            )

    def header(self) -> str:
        """Return the column names."""
        return csv_line(["ImageId_ClassId", "EncodedPixels"])

    def lines(self, prediction: Prediction) -> str:
        """Return one row per class."""
        rows = []
        for index in range(len(self.classes)):
            pixels = encode(prediction.maps[index] >= 0.5) if prediction.decisions[index] else ""
            rows.append(csv_line([f"{prediction.file.name}_{index + 1}", pixels]))
        return "".join(rows)

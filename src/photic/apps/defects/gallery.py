"""The pictures of a report: which decisions to show, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np
from PIL import Image
from scipy.ndimage import binary_dilation

from photic.apps.defects.evidence import Floats, Mask, Predictions, picture_of
from photic.data.base import PreparedData
from photic.data.images import to_measurement
from photic.functional.palette import class_colour
from photic.inference.activation import Picture, activation_maps, outlined, overlay
from photic.inference.predictor import LoadedModel
from photic.report import page
from photic.report.page import Card, Page

# Smaller pictures are enlarged to about this width, so that outlines are fine lines: shown in a row, shown in a column.
_FINE_PX = (450, 1000)
_KINDS = {
    "missed": ("Missed", "Labelled, but not called; the most wrong first."),
    "false alarm": ("False alarms", "Called, but not labelled; the most wrong first. Some of these may be gaps in the labels."),
    "uncertain": ("Nearest to the threshold", "Decisions that a little more or less would have turned around."),
    "found": ("Found", "The surest correct calls, class by class."),
}


@dataclass(frozen=True)
class Exhibit:
    """A decision worth looking at: one class of one picture."""

    row: int
    column: int


def choose_exhibits(predictions: Predictions, most: int = 6) -> Mapping[str, Sequence[Exhibit]]:
    """Return the decisions to show, by kind; a picture comes once in each kind.

    ``missed`` and ``false alarm`` begin with the most wrong, ``uncertain`` with the one nearest its threshold,
    ``found`` takes turns between the classes.
    """
    present, called, margins = predictions.labels, predictions.decisions, predictions.margins
    wrong = {
        "missed": _first(present & ~called, margins, most),
        "false alarm": _first(~present & called, -margins, most),
    }
    shown = {exhibit.row for exhibits in wrong.values() for exhibit in exhibits}
    fresh = np.ones(len(present), dtype=bool)
    fresh[list(shown)] = False
    uncertain = _first(np.broadcast_to(fresh[:, None], present.shape), np.abs(margins), most)
    queues = [_first((present & called)[:, [c]], -margins[:, [c]], most) for c in range(present.shape[1])]
    found: list[Exhibit] = []
    for place in range(most):
        turn = [Exhibit(queue[place].row, c) for c, queue in enumerate(queues) if place < len(queue)]
        found += [exhibit for exhibit in turn if exhibit.row not in {other.row for other in found}]
    return {**wrong, "uncertain": uncertain, "found": found[:most]}


def add_gallery(made: Page, predictions: Predictions, prepared: PreparedData, model: LoadedModel, most: int = 6) -> None:
    """Add a section of pictures with activation maps laid over them.

    Args:
        made: the page.
        predictions: of one split.
        prepared: the data with that split.
        model: what predicted.
        most: pictures of each kind.

    Raises:
        DataError: a picture cannot be read any more.
    """
    section = made.section(
        "Pictures",
        "Each shows one decision: the picture, and where in it the network sees evidence for the class (outlined at half of the strongest "
        "place). A map says where, not how sure. Where the data have masks, a white line surrounds the labelled defects of the class.",
    )
    for kind, exhibits in choose_exhibits(predictions, most).items():
        title, lead = _KINDS[kind]
        section.add(page.heading(title), page.prose(lead if exhibits else "None."))
        cards, long, width = [], False, 0
        for exhibit in exhibits:
            image, masks = picture_of(prepared, predictions.split, predictions.names[exhibit.row])
            measurement = to_measurement(image)[None].to(model.device)
            activation = activation_maps(model.task, measurement, [exhibit.column])[0, 0].cpu().numpy()  # type: ignore[arg-type]
            pictures = draw_exhibit(image, activation, None if masks is None else masks[exhibit.column], class_colour(exhibit.column))
            cards.append(_card(predictions, exhibit, kind, pictures))
            long, width = _is_long(image), image.shape[1]
        if cards:
            section.add(page.cards(cards, width_px=min(1060, max(300, width * 5 // 4)), stacked=long))


def draw_exhibit(image: Picture, activation: Floats, mask: Mask | None, colour: str) -> tuple[Picture, Picture]:
    """Return the picture, and the picture with map and mask drawn on it, both enlarged if it is small.

    Args:
        image: ``(H, W, 3)``.
        activation: ``(H, W)`` in [0, 1].
        mask: ``(H, W)`` of the labelled defect, if known.
        colour: ``#rrggbb`` of the class.
    """
    height, width = image.shape[:2]
    factor = max(1, _FINE_PX[_is_long(image)] // width)
    size = (width * factor, height * factor)
    image = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
    activation = np.asarray(Image.fromarray(activation.astype(np.float32)).resize(size, Image.Resampling.BILINEAR))
    shown = overlay(image, activation, colour)
    if mask is not None and mask.any():
        # Around the defect, not on it: a scratch is as thin as the line.
        large = mask.repeat(factor, axis=0).repeat(factor, axis=1)
        shown = outlined(shown, binary_dilation(large, iterations=4), "#ffffff")
    return image, shown


def _card(predictions: Predictions, exhibit: Exhibit, kind: str, pictures: tuple[Picture, Picture]) -> Card:
    row, column = exhibit.row, exhibit.column
    name, title = predictions.names[row], predictions.classes[column]
    called, right = predictions.decisions[row, column], predictions.labels[row, column] == predictions.decisions[row, column]
    mark = kind if kind != "uncertain" else f"{'called' if called else 'not called'}, {'right' if right else 'wrong'}"
    labels = [other for other, label in zip(predictions.classes, predictions.labels[row], strict=True) if label]
    plain, shown = (page.jpeg_uri(picture, quality=78) for picture in pictures)
    return Card(
        pictures=[(plain, name), (shown, f"{name} with the activation map of {title}")],
        title=title,
        colour=class_colour(column),
        lines=[
            f"probability {predictions.probabilities[row, column]:.3f}, threshold {predictions.thresholds[column]:.3f}",
            f"labelled: {', '.join(labels) or 'nothing'}",
        ],
        name=PurePath(name).name,
        mark=mark,
        tone="good" if right else "bad",
    )


def _is_long(image: Picture) -> bool:
    """Say whether a picture is a strip, which is shown above its map rather than beside."""
    return bool(image.shape[1] > 2 * image.shape[0])


def _first(chosen: Mask, order: Floats, most: int) -> list[Exhibit]:
    """Return the chosen (row, column) with the smallest ``order``, one per row."""
    rows, columns = np.nonzero(chosen)
    ranked = np.argsort(order[rows, columns], kind="stable")
    found: dict[int, Exhibit] = {}
    for place in ranked:
        found.setdefault(int(rows[place]), Exhibit(int(rows[place]), int(columns[place])))
        if len(found) == most:
            break
    return list(found.values())

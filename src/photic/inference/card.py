"""The card of a model: what its bundle says about itself, as a page to read (Markdown)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from photic.core.index import entries

FEW_POSITIVES = 30
"""Below so many test pictures with a class, the card calls the class's values uncertain."""

_VALUES = ("ap", "auc", "precision", "recall", "f1")


def card(description: Mapping[str, Any], usage: str | None = None, notes: str | None = None) -> str:
    """Return the model card, Markdown, of a bundle's description.

    Args:
        usage: what goes in, what comes out and by which command, Markdown, where the task says so; None is a classifier of pictures.
        notes: what only people know, such as where it fails; Markdown of whoever makes the bundle.
        description: as :func:`photic.inference.description.describe` gives it, with ``classes`` and ``thresholds``
            of the task, and ``photic`` (version) and ``created`` of the bundle.
    """
    parts = [f"# {_cell(description['name'])}", _what(description), "## Use", usage or _use(description)]
    test = description["metrics"]["test"]
    parts += ["## Measured", _measured(description)]
    if test and "at_tuned" in test:
        parts += ["### By class, at the stored thresholds", _by_class(description, test["at_tuned"]["per_class"])]
    parts += ["## Trained on", _trained_on(description["data"], _samples(description))]
    parts += ["## Settings", _table(("setting", "value"), [(key, _cell(value)) for key, value in _settings(description)])]
    parts += ["## Limits", "\n".join(f"- {limit}" for limit in _limits(description))]
    if notes:
        parts += ["## Notes", notes.strip()]
    terms = description["data"]["terms"] or "Terms of the training data: not stated when this file was made. Ask whoever made it."
    parts += ["## Terms", _cell(terms), "## Made with", _made_with(description)]
    return "\n\n".join(parts) + "\n"


def _what(description: Mapping[str, Any]) -> str:
    model = description["config"]["model"]["name"]
    known = entries("models").get(model)
    classes = ", ".join(_cell(name) for name in description.get("classes", ()))
    parameters = (description["parameters"] or {}).get("total")
    lines = [f"Network `{model}`" + (f" with {parameters:,} parameters" if parameters else "") + (f": {known.summary}" if known else "")]
    lines += [f"Source: {known.source}"] if known and known.source else []
    lines += [f"It says, each independently of the others, how probable these classes are in a picture: {classes}."] if classes else []
    return "\n\n".join(lines)


def _use(description: Mapping[str, Any]) -> str:
    size = description["preprocessing"]["image_size"]
    given = (
        f"resized to {size[0]} x {size[1]} pixels (height x width, bilinear), as in training"
        if size
        else "left at the size they have, as in training"
    )
    return (
        "    photic predict FILE PICTURES ... -o predictions.csv\n\n"
        f"Input: RGB pictures of 8 bits per channel (grey ones count as RGB), {given}. Normalisation is part of the network.\n"
        "Output: a probability for each class, and a decision: whether it reaches the class's threshold."
    )


def _measured(description: Mapping[str, Any]) -> str:
    test, data = description["metrics"]["test"], description["data"]
    if not test:
        return _validated(description) or "Not measured: the run had no test split, or was not finished."
    number = (data["counts"] or {}).get("test")
    chosen = "Weights and thresholds" if "thresholds" in description else "Weights"
    said = (
        f"On {number if number is not None else 'the'} test {_samples(description)} of the data set below, never used for training or "
        f"for any choice. {chosen} were chosen on the validation split."
    )
    if "at_tuned" not in test:
        plain = [(key, _number(value)) for key, value in test.items() if isinstance(value, int | float)]
        return f"{said}\n\n{_table(('value', 'test'), plain)}"
    rows: list[Sequence[str]] = [
        (f"{average}, {label}", *(_number(test[place][average].get(value)) for value in _VALUES))
        for place, label in (("at_tuned", "stored thresholds"), ("at_0.5", "threshold 0.5"))
        for average in ("macro", "micro")
        if place in test
    ]
    intervals = [
        f"macro {key.removeprefix('macro_').upper()} {_number(value['low'])} to {_number(value['high'])}"
        for key, value in test.get("intervals", {}).items()
        if key.startswith("macro_")
    ]
    lines = [said, _table(("average", *(value.upper() for value in _VALUES)), rows)]
    return "\n\n".join([*lines, f"95 % intervals over resampled test pictures: {'; '.join(intervals)}."] if intervals else lines)


def _validated(description: Mapping[str, Any]) -> str:
    """Return what is known of a run without a test split: its validation at the step whose weights these are."""
    best = description["metrics"]["val"] or {}
    values = [(_cell(key), _number(value)) for key, value in best.items() if isinstance(value, int | float)]
    if not values:
        return ""
    number = (description["data"]["counts"] or {}).get("val")
    said = (
        f"On {number if number is not None else 'the'} validation {_samples(description)} of the data set below, never used for training. "
        "The run had no test split, and the step whose weights these are was chosen by these values, so they are slightly too good."
    )
    return f"{said}\n\n{_table(('value', 'validation'), values)}"


def _by_class(description: Mapping[str, Any], per_class: Mapping[str, Mapping[str, Any]]) -> str:
    thresholds = description["thresholds"]
    rows = [
        (_cell(name), _number(threshold), *(_number(values.get(value)) for value in _VALUES), str(values.get("support", "")))
        for (name, values), threshold in zip(per_class.items(), thresholds, strict=True)
    ]
    return _table(("class", "threshold", *(value.upper() for value in _VALUES), "test pictures with it"), rows)


def _samples(description: Mapping[str, Any]) -> str:
    """Return what the samples are: pictures for a classifier, which the sentences of other tasks need not be about."""
    return "pictures" if "classes" in description else "samples"


def _trained_on(data: Mapping[str, Any], samples: str) -> str:
    counts = ", ".join(f"{count} {split}" for split, count in (data["counts"] or {}).items())
    lines = [
        f"- data set kind: `{data['name']}`",
        f"- {samples}: {counts or 'not recorded'}",
        f"- split: {_cell(data['split_strategy'] or 'not recorded')}",
        f"- fingerprint (SHA-256 over names, labels and file sizes): {data['fingerprint'] or 'not recorded'}",
    ]
    return "\n".join([*lines, *(f"- note: {_cell(note)}" for note in data["notes"])])


def _settings(description: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    settings, best = description["training"]["settings"], description["training"]["best"]
    yield "recipe", description["training"]["recipe"]
    yield "seed", settings.get("seed")
    for section in ("model", "loss", "optimizer", "schedule"):
        chosen = settings.get(section) or {}
        yield section, _call(chosen)
    data = settings.get("data") or {}
    if "augment" in data:
        yield "augmentation", ", ".join(name for name, value in (data["augment"] or {}).items() if value) or "none"
    else:
        yield "data", _call(data)
    training = settings.get("training") or {}
    yield "batch size", (settings.get("data") or {}).get("batch_size")
    yield "epochs, at most", training.get("num_epochs")
    if description["training"]["wall_seconds"]:
        yield "trained for", f"{description['training']['wall_seconds'] / 60:.0f} minutes"
    yield "average of weights", f"decay {training['ema_decay']}" if training.get("ema_decay") else "none"
    if best["value"] is not None:
        yield (
            "chosen",
            f"epoch {str(best['epoch']).removesuffix('.0')}, step {best['step']}: {best['monitor']} {_number(best['value'])} on validation",
        )


def _limits(description: Mapping[str, Any]) -> Iterable[str]:
    yield (
        "The values hold for pictures like those of the test split: same camera, light, material and preparation. "
        "Measure again on your own before relying on a decision."
        if "classes" in description
        else "The values hold for measurements like those of the test split, taken in the same way. Measure again on your own."
    )
    test = description["metrics"]["test"] or {}
    per_class = test.get("at_tuned", {}).get("per_class", {})
    support = {name: values.get("support", FEW_POSITIVES) for name, values in per_class.items()}
    few = [f"{_cell(name)} ({number})" for name, number in support.items() if number < FEW_POSITIVES]
    if few:
        yield f"Fewer than {FEW_POSITIVES} test pictures show {', '.join(few)}: the values of these classes are uncertain."
    undefined = test.get("at_tuned", {}).get("undefined", [])
    if undefined:
        yield f"Not defined on the test split: {', '.join(_cell(item) for item in undefined)}."
    if "thresholds" in description:
        yield (
            "Thresholds are those of the best F1 on validation. "
            "Where a missed class costs more than a false alarm, or less, decide from the probabilities."
        )
        yield "A class the network was not trained on is not reported, whatever the picture shows."
    if description["preprocessing"]["image_size"]:
        yield "Pictures are resized: what is smaller than a few pixels afterwards cannot be seen."


def _made_with(description: Mapping[str, Any]) -> str:
    environment = description["environment"]
    packages = ", ".join(f"{name} {number}" for name, number in (environment.get("packages") or {}).items() if number)
    trained = description["training"]["photic"]
    lines = [
        f"- trained with Photic {trained or 'of unknown version'}, Python {environment.get('python', 'of unknown version')}, {packages}",
        f"- on {environment.get('gpu') or 'a CPU'}; {environment.get('platform', '')}".rstrip("; "),
        f"- this file: Photic {description['photic']}, {description['created']}",
    ]
    return "\n".join(lines)


def _call(chosen: Mapping[str, Any]) -> str:
    inside = ", ".join(f"{key}={value}" for key, value in chosen.items() if key != "name" and value is not None)
    return f"{chosen.get('name', '')}({inside})"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: Any) -> str:
    """Return text that cannot break out of its line or table cell: names come from files of others."""
    return re.sub(r"([|`*<\\])", r"\\\1", re.sub(r"\s+", " ", str(value))).strip()


def _number(value: Any) -> str:
    return "n/a" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)

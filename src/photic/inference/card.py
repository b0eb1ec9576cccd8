"""The card of a model: what its bundle says about itself, as a page to read (Markdown)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from photic.core.index import entries
from photic.inference.measured import is_number, labels, levels, mapping, number

FEW_POSITIVES = 30
"""Below so many test pictures with a class, the card calls the class's values uncertain."""

LEVELS = {"iso": "ISO", "quality": "quality level"}
"""Groups of test samples, as people call them."""
AROUND = {
    "processing.before": "before",
    "processing.after": "after",
    "processing.noise": "noise",
    "noise_model": "noise",
    "processing.tiling": "tiles",
    "ptychography": "scan",
}
"""Places of a description that say what is done around the network, and how people call them."""

_VALUES = ("ap", "auc", "precision", "recall", "f1")


def card(description: Mapping[str, Any], usage: str | None = None, notes: str | None = None, limits: Sequence[str] = ()) -> str:
    """Return the model card, Markdown, of a bundle's description.

    Args:
        usage: what goes in, what comes out and by which command, Markdown, where the task says so; None is a classifier of pictures.
        notes: what only people know, such as where it fails; Markdown of whoever makes the bundle.
        limits: what the task says of its limits, whole sentences.
        description: as :func:`photic.inference.description.describe` gives it, with what the task says itself (``classes`` and
            ``thresholds``, ``interface``, ...), and ``photic`` (version) and ``created`` of the bundle.
    """
    parts = [f"# {_cell(description['name'])}", _what(description), "## Use", usage or _use(description)]
    ports = mapping(description.get("interface"))
    if ports:
        parts += ["## What goes in, what comes out", _ports(ports)]
    around = list(around_network(description))
    if around:
        parts += [
            "## Around the network",
            "\n".join(f"- {part}{', ' + name if name else ''}: {_cell(text)}" for part, name, text in around),
        ]
    test = description["metrics"]["test"]
    parts += ["## Measured", _measured(description)]
    if test and "at_tuned" in test:
        parts += ["### By class, at the stored thresholds", _by_class(description, test["at_tuned"]["per_class"])]
    for kind, rows in levels(description).items():
        parts += [f"### By {LEVELS[kind]}", _by_level(description, LEVELS[kind], rows)]
    parts += ["## Trained on", _trained_on(description["data"], _samples(description))]
    parts += ["## Settings", _table(("setting", "value"), [(key, _cell(value)) for key, value in _settings(description)])]
    parts += ["## Limits", "\n".join(f"- {limit}" for limit in _limits(description, limits))]
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
    count = (data["counts"] or {}).get("test")
    chosen = "Weights and thresholds" if "thresholds" in description else "Weights"
    said = (
        f"On {count if count is not None else 'the'} test {_samples(description)} of the data set below, never used for training or "
        f"for any choice. {chosen} were chosen on the validation split."
    )
    if "at_tuned" not in test:
        return f"{said}\n\n{_table(('value', 'test'), _values_of(description, test))}"
    rows: list[Sequence[str]] = [
        (f"{average}, {label}", *(number(test[place][average].get(value)) for value in _VALUES))
        for place, label in (("at_tuned", "stored thresholds"), ("at_0.5", "threshold 0.5"))
        for average in ("macro", "micro")
        if place in test
    ]
    intervals = [
        f"macro {key.removeprefix('macro_').upper()} {number(value['low'])} to {number(value['high'])}"
        for key, value in test.get("intervals", {}).items()
        if key.startswith("macro_")
    ]
    lines = [said, _table(("average", *(value.upper() for value in _VALUES)), rows)]
    return "\n\n".join([*lines, f"95 % intervals over resampled test pictures: {'; '.join(intervals)}."] if intervals else lines)


def _validated(description: Mapping[str, Any]) -> str:
    """Return what is known of a run without a test split: its validation at the step whose weights these are."""
    best = description["metrics"]["val"] or {}
    values = _values_of(description, best)
    if not values:
        return ""
    count = (description["data"]["counts"] or {}).get("val")
    said = (
        f"On {count if count is not None else 'the'} validation {_samples(description)} of the data set below, never used for training. "
        "The run had no test split, and the step whose weights these are was chosen by these values, so they are slightly too good."
    )
    return f"{said}\n\n{_table(('value', 'validation'), values)}"


def _by_class(description: Mapping[str, Any], per_class: Mapping[str, Mapping[str, Any]]) -> str:
    thresholds = description["thresholds"]
    rows = [
        (_cell(name), number(threshold), *(number(values.get(value)) for value in _VALUES), str(values.get("support", "")))
        for (name, values), threshold in zip(per_class.items(), thresholds, strict=True)
    ]
    return _table(("class", "threshold", *(value.upper() for value in _VALUES), "test pictures with it"), rows)


def _values_of(description: Mapping[str, Any], values: Mapping[str, Any]) -> list[Sequence[str]]:
    """Return the values that count for the task, as people call them; where it names none, all numbers."""
    known = {name: label for name, label in labels(description).items() if is_number(values.get(name))}
    known = known or {name: name for name, value in values.items() if is_number(value)}
    return [(_cell(label), number(values[name])) for name, label in known.items()]


def _by_level(description: Mapping[str, Any], kind: str, rows: Mapping[str, Mapping[str, float]]) -> str:
    """Return the values of groups of test samples."""
    known = {name: label for name, label in labels(description).items() if any(name in values for values in rows.values())}
    lines = [(level, *(number(values.get(name)) for name in known)) for level, values in rows.items()]
    return _table((kind, *map(_cell, known.values())), lines)


def around_network(description: Mapping[str, Any]) -> Iterable[tuple[str, str, str]]:
    """Yield what is done before and after the network, and the numbers this rests on: part, name (perhaps empty), text."""
    for place, part in AROUND.items():
        found = description
        for key in place.split("."):
            found = mapping(found.get(key))
        for name, value in found.items():
            if value in (None, []):
                continue
            shown = ", ".join(map(_plain, value)) if isinstance(value, list) else _plain(value)
            called = "" if name == "values" else name.removesuffix("_px").replace("_", " ")
            yield part, called, f"{shown} px" if name.endswith("_px") else shown


def _plain(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else f"{value:.6g}" if is_number(value) else str(value)


def _ports(interface: Mapping[str, Any]) -> str:
    rows = [
        (
            word,
            f"`{port['name']}`",
            f"{port['dtype']} ({', '.join(map(str, port['shape']))})",
            _range(port["range"]),
            _cell(port["unit"] or ""),
            _cell(port["meaning"]),
        )
        for word, ports in (("in", interface["inputs"]), ("out", interface["outputs"]))
        for port in ports
    ]
    return _table(("", "name", "type and axes", "range", "unit", "what it is"), rows)


def _range(limits: Sequence[float | None] | None) -> str:
    low, high = limits or (None, None)
    if low is None and high is None:
        return ""
    return f"up to {high:g}" if low is None else f"from {low:g}" if high is None else f"{low:g} to {high:g}"


def _samples(description: Mapping[str, Any]) -> str:
    """Return what the samples are: what the task says, pictures for a classifier, or nothing in particular."""
    return "pictures" if "classes" in description else description.get("samples") or "samples"


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
            f"epoch {str(best['epoch']).removesuffix('.0')}, step {best['step']}: {best['monitor']} {number(best['value'])} on validation",
        )


def _limits(description: Mapping[str, Any], limits: Sequence[str]) -> Iterable[str]:
    split = "test" if description["metrics"]["test"] else "validation"
    yield (
        f"The values hold for pictures like those of the {split} split: same camera, light, material and preparation. "
        "Measure again on your own before relying on a decision."
        if "classes" in description
        else f"The values hold for measurements like those of the {split} split, taken in the same way. Measure again on your own."
    )
    yield from limits
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


def _call(chosen: Any) -> str:
    """Return a component with its settings as one would write it, components inside it likewise."""
    if isinstance(chosen, Mapping):
        inside = ", ".join(f"{key}={_call(value)}" for key, value in chosen.items() if key != "name" and value is not None)
        return f"{chosen.get('name', '')}({inside})"
    return f"[{', '.join(map(_call, chosen))}]" if isinstance(chosen, list) else str(chosen)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: Any) -> str:
    """Return text that cannot break out of its line or table cell: names come from files of others."""
    return re.sub(r"([|`*<\\])", r"\\\1", re.sub(r"\s+", " ", str(value))).strip()

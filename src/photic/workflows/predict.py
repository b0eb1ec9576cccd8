"""Prediction on picture files, from a trained model to a table, with activation maps on request.

Pictures stream through: a few are decoded ahead in threads, pictures of one size share a batch, and what is
written leaves memory at once, in the order of the input. Nothing here imports Lightning.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from photic.core.errors import ConfigError, DataError
from photic.core.files import atomic_path
from photic.data.images import list_images, read_image, to_measurement
from photic.inference.activation import Picture
from photic.inference.outputs import Prediction, PredictionFormat, draw_maps, map_names, prediction_format
from photic.inference.predictor import LoadedModel, load
from photic.tasks.classification import MultilabelClassification
from photic.workflows.progress import counting

_PATIENCE = 8  # batches' worth of later pictures that a half-filled batch waits for its like


@dataclass(frozen=True)
class PredictResult:
    """What was predicted."""

    num_files: int
    """Pictures predicted."""
    skipped: list[tuple[Path, str]]
    """Pictures left out because they cannot be read, with the reason; they have no line in the output."""
    output: Path
    """The file written."""
    maps: Path | None = None
    """Folder of the pictures with activation maps."""
    num_maps: int = 0
    """Pictures in it: one for each input with a class decided present."""

    def summary(self) -> str:
        """Return a few lines for the terminal, with every picture that was skipped."""
        lines = [f"{self.num_files} picture{'' if self.num_files == 1 else 's'} predicted: {self.output}"]
        if self.maps is not None:
            lines.append(f"{self.num_maps} with activation maps (those with a class decided present): {self.maps}")
        if self.skipped:
            lines.append(f"{len(self.skipped)} SKIPPED, not in the output:")
            lines.extend(f"  {reason if str(file) in reason else f'{file}: {reason}'}" for file, reason in self.skipped)
        return "\n".join(lines)


def predict(
    model: LoadedModel | Path | str,
    inputs: Sequence[Path | str] | Path | str,
    output: Path | str,
    *,
    format: str = "csv",
    maps: Path | str | None = None,
    batch_size: int = 4,
    force: bool = False,
    device: str = "auto",
    workers: int = 2,
    quiet: bool = False,
) -> PredictResult:
    """Predict pictures and write the result, whole or not at all.

    Args:
        model: bundle, run folder, checkpoint file, or a model that is already loaded.
        inputs: files, folders, globs, and ``-`` for a list of files on standard input; a file that comes twice is predicted once.
        output: the file to write.
        format: ``csv`` (file, probability and decision per class), ``jsonl`` (one object per picture, thresholds
            included), or a format that an application brings, such as ``kaggle``.
        maps: folder for pictures with activation maps laid over them: one for each picture that has a class
            decided present. None draws none.
        batch_size: pictures of one size predicted at a time.
        force: replace what is there.
        device: ``auto`` (a GPU if there is one), ``cpu``, ``cuda``, ...; not used when ``model`` is loaded already.
        workers: threads that read pictures ahead; 0 reads in between.
        quiet: no progress display.

    Returns:
        What was done. A picture that cannot be read is in ``skipped``; whoever calls must say so.

    Raises:
        ConfigError: the output is there already, cannot be written, or the model is no classifier of pictures.
        DataError: the inputs name no pictures.
        UnknownNameError: no such format.
        CheckpointError: the model cannot be loaded.

    Example:
        >>> from photic.workflows.predict import predict
        >>> result = predict("model.photic", ["strips/"], "out.csv")  # doctest: +SKIP
    """
    output, folder = Path(output), Path(maps) if maps is not None else None
    if batch_size < 1 or workers < 0:
        raise ConfigError(f"predict: batch_size must be at least 1 and workers at least 0, got {batch_size} and {workers}")
    chosen = prediction_format(format)
    _refuse_existing(output, force)
    files = _collect([inputs] if isinstance(inputs, str | Path) else inputs)
    pictures = dict(zip(files, map_names(files), strict=True)) if folder is not None else {}
    if folder is not None:
        _prepare_folder(folder, pictures.values(), force)
    loaded = model if isinstance(model, LoadedModel) else load(model, device)
    if not isinstance(loaded.task, MultilabelClassification):
        raise ConfigError(f"{loaded.source}: predict needs a classifier of pictures, this is a {type(loaded.task).__name__}")
    writer = chosen(loaded.classes, loaded.thresholds)
    writer.check(files)
    job = _Job(loaded, writer, folder, pictures)
    with (
        _writing(output) as temporary,
        open(temporary, "w", encoding="utf-8", newline="") as handle,
        counting("Predicting", len(files), "pictures", quiet=quiet) as advance,
    ):
        handle.write(writer.header())
        for text in job.texts(files, batch_size, workers):
            handle.write(text)
            advance(1)
    return PredictResult(len(files) - len(job.skipped), job.skipped, output, folder, job.num_maps)


@dataclass
class _Job:
    """One prediction under way."""

    model: LoadedModel
    writer: PredictionFormat
    folder: Path | None
    pictures: dict[Path, str]
    skipped: list[tuple[Path, str]] = field(default_factory=list)
    num_maps: int = 0

    def texts(self, files: Sequence[Path], batch_size: int, workers: int) -> Iterator[str]:
        """Yield what is written for each file, in order; nothing but an empty text for one that cannot be read."""
        done: dict[int, str] = {}
        following = 0
        for batch in _batches(_read_ahead(files, workers, self.model.prepared), batch_size):
            if isinstance(batch, _Unreadable):
                done.update(self._skip([batch.place], files, batch.reason))
            else:
                try:
                    done.update(self._predict(batch, files))
                except DataError as error:  # readable, but not for this network: too small, for example
                    done.update(self._skip([read.place for read in batch], files, str(error)))
            while following in done:
                yield done.pop(following)
                following += 1

    def _skip(self, places: Sequence[int], files: Sequence[Path], reason: str) -> dict[int, str]:
        self.skipped.extend((files[place], reason) for place in places)
        return dict.fromkeys(places, "")

    def _predict(self, batch: list[_Read], files: Sequence[Path]) -> dict[int, str]:
        measurement = torch.stack([to_measurement(read.prepared) for read in batch])
        probabilities = self.model.predict_batch(measurement).numpy()
        decisions = probabilities >= np.array(self.model.thresholds)
        texts = {}
        for row, read in enumerate(batch):
            prediction = Prediction(files[read.place], read.image.shape[:2], probabilities[row], decisions[row], {})
            present = np.flatnonzero(decisions[row])
            if len(present) and (self.folder is not None or self.writer.needs_maps):
                # Few pictures have a defect, each its own classes: one at a time wastes nothing and bounds memory.
                found = self.model.activation_maps(read.image, present.tolist())
                prediction.maps.update(zip(present.tolist(), found, strict=True))
                self._draw(read.image, prediction)
            texts[read.place] = self.writer.lines(prediction)
        return texts

    def _draw(self, image: Picture, prediction: Prediction) -> None:
        if self.folder is None:
            return
        with _writing(self.folder / self.pictures[prediction.file]) as temporary:
            draw_maps(image, prediction, self.model.classes).save(temporary, format="PNG")
        self.num_maps += 1


# --- reading -------------------------------------------------------------------------------------


Prepare = Callable[[Picture], Picture]


@dataclass(frozen=True)
class _Read:
    """A picture and its place in the list of files."""

    place: int
    image: Picture
    """As the file has it."""
    prepared: Picture
    """As the network gets it."""


@dataclass(frozen=True)
class _Unreadable:
    """A file that is no readable picture, and why."""

    place: int
    reason: str


def _collect(inputs: Sequence[Path | str]) -> list[Path]:
    """Return the files that the inputs name, each once, in order."""
    files: dict[Path, None] = {}
    for given in inputs:
        if str(given) == "-":
            files.update((Path(line.strip()), None) for line in sys.stdin if line.strip())
        else:
            files.update(dict.fromkeys(list_images(given)))
    if not files:
        raise DataError("no pictures to predict: the list is empty; give files, folders, globs, or `-` with a list on standard input")
    return list(files)


def _read(place: int, file: Path, prepare: Prepare) -> _Read | _Unreadable:
    try:
        image = read_image(file)
        return _Read(place, image, prepare(image))
    except DataError as error:
        return _Unreadable(place, str(error))


def _read_ahead(files: Sequence[Path], workers: int, prepare: Prepare) -> Iterator[_Read | _Unreadable]:
    """Yield the pictures in order, decoding a few ahead in threads."""
    if workers == 0:
        yield from (_read(place, file, prepare) for place, file in enumerate(files))
        return
    with ThreadPoolExecutor(workers, thread_name_prefix="photic-read") as pool:
        ahead: deque[Future[_Read | _Unreadable]] = deque()
        for place, file in enumerate(files):
            ahead.append(pool.submit(_read, place, file, prepare))
            if len(ahead) > 2 * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _batches(pictures: Iterable[_Read | _Unreadable], batch_size: int) -> Iterator[list[_Read] | _Unreadable]:
    """Yield batches of pictures of one size; a batch that does not fill is sent off before many others have passed it."""
    waiting: dict[tuple[int, ...], list[_Read]] = {}  # in the order of each batch's first picture
    for picture in pictures:
        if isinstance(picture, _Unreadable):
            yield picture
        else:
            size = picture.prepared.shape
            batch = waiting.setdefault(size, [])
            batch.append(picture)
            if len(batch) == batch_size:
                yield waiting.pop(size)
        oldest = next(iter(waiting), None)
        if oldest is not None and picture.place - waiting[oldest][0].place >= _PATIENCE * batch_size:
            yield waiting.pop(oldest)
    yield from waiting.values()


# --- writing -------------------------------------------------------------------------------------


def _refuse_existing(path: Path, force: bool) -> None:
    if path.is_dir():
        raise ConfigError(f"{path}: is a folder; give the name of a file to write")
    if path.exists() and not force:
        raise ConfigError(f"{path}: is there already; give another name, or force (--force) to replace it")


def _prepare_folder(folder: Path, names: Iterable[str], force: bool) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be made a folder for activation maps: {error.strerror}; give another one") from error
    for name in names:
        _refuse_existing(folder / name, force)


@contextmanager
def _writing(path: Path) -> Iterator[Path]:
    """Give a temporary path that takes the name ``path`` at the end, and explain what stands in the way."""
    try:
        with atomic_path(path) as temporary:
            yield temporary
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror or error}; nothing was changed there") from error

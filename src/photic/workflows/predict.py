"""Prediction on picture files, from a trained model to a table, with activation maps on request.

Pictures stream through: a few are decoded ahead in threads, pictures of one size share a batch, and what is
written leaves memory at once. Until the output is whole, a journal beside it keeps what was done (``prediction_journal``), so that a
prediction that was interrupted, however, goes on and ends with the very bytes it would have had. Nothing here imports Lightning.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from photic.core.errors import ConfigError, DataError
from photic.core.files import atomic_path, sha256_of
from photic.data.images import list_images, read_image, to_measurement
from photic.inference.activation import Picture
from photic.inference.outputs import Prediction, PredictionFormat, draw_maps, map_names, prediction_format
from photic.inference.predictor import LoadedModel, load
from photic.inference.targets import LIST, listed
from photic.tasks.classification import MultilabelClassification
from photic.workflows.prediction_journal import Entry, Journal, digest_of, journal_of
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
    num_known: int = 0
    """How many of the pictures an earlier, interrupted prediction had done."""
    was_there: bool = False
    """Whether the output was there already and was left."""

    def summary(self) -> str:
        """Return a few lines for the terminal, with every picture that was skipped."""
        if self.was_there:
            return f"{self.output} was there already and is left; --force replaces it"
        lines = [f"{self.num_files} picture{'' if self.num_files == 1 else 's'} predicted: {self.output}"]
        if self.num_known:
            lines[0] += f"  ({self.num_known} of the files were done before the interruption)"
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
    skip_existing: bool = False,
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
        skip_existing: leave an output that is whole; go on with one that was interrupted.
        device: ``auto`` (a GPU if there is one), ``cpu``, ``cuda``, ...; not used when ``model`` is loaded already.
        workers: threads that read pictures ahead; 0 reads in between.
        quiet: no progress display.

    Returns:
        What was done. A picture that cannot be read is in ``skipped``; whoever calls must say so.

    Raises:
        ConfigError: the output is there already, cannot be written, was begun with another model, list or setting, or the model is no
            classifier of pictures.
        DataError: the inputs name no pictures.
        StorageError: the journal of what was done cannot be written.
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
    is_begun = journal_of(output).exists()
    if is_begun and not (force or (skip_existing and not output.exists())):
        forced = "--force " if output.exists() else ""
        raise ConfigError(
            f"{journal_of(output)}: an earlier prediction was interrupted; go on with it ({forced}--skip-existing), or begin anew (--force)"
        )
    if skip_existing and output.is_file() and not is_begun:
        return PredictResult(0, [], output, folder, was_there=True)
    _refuse_existing(output, force)
    files = _collect([inputs] if isinstance(inputs, str | Path) else inputs)
    pictures = dict(zip(files, map_names(files), strict=True)) if folder is not None else {}
    if folder is not None:  # those of an interrupted prediction are its own
        _prepare_folder(folder, () if skip_existing and is_begun else pictures.values(), force)
    loaded = model if isinstance(model, LoadedModel) else load(model, device)
    if not isinstance(loaded.task, MultilabelClassification):
        raise ConfigError(f"{loaded.source}: predict needs a classifier of pictures, this is a {type(loaded.task).__name__}")
    writer = chosen(loaded.classes, loaded.thresholds)
    writer.check(files)
    stamp = {
        "photic": version("photic"),
        "model": sha256_of(loaded.source),
        "device": str(loaded.device),
        "format": format,
        "batch_size": batch_size,
        "maps": folder is not None,
        "files": digest_of(files),
    }
    with Journal(journal_of(output), stamp, goes_on=skip_existing) as journal:
        num_known = len(journal)
        with counting("Predicting", len(files), "pictures", quiet=quiet) as advance:
            advance(num_known)
            _Job(loaded, writer, folder, pictures, journal).run(files, batch_size, workers, advance)
        with _writing(output) as temporary, open(temporary, "w", encoding="utf-8", newline="") as handle:
            handle.write(writer.header())
            for text in journal.texts(len(files)):
                handle.write(text)
        journal.remove()
        skipped = [(files[place], reason) for place, reason in sorted(journal.skipped)]
        return PredictResult(len(files) - len(skipped), skipped, output, folder, journal.num_maps, num_known)


@dataclass(frozen=True)
class _Job:
    """One prediction under way."""

    model: LoadedModel
    writer: PredictionFormat
    folder: Path | None
    pictures: dict[Path, str]
    journal: Journal

    def run(self, files: Sequence[Path], batch_size: int, workers: int, advance: Callable[[float], None]) -> None:
        """Bring into the journal what is not yet there, in batches as a prediction without interruption makes them."""
        for batch in _batches(_read_ahead(files, workers, self.model.prepared, self.journal), batch_size):
            if isinstance(batch, _Unreadable):
                self.journal.add([Entry(batch.place, None, "", batch.reason)])
            elif not isinstance(batch, _Known):
                reads = [read for read in batch if isinstance(read, _Read)]
                if not reads:
                    continue
                if len(reads) < len(batch):
                    raise DataError(f"{self.journal.path}: its batches are not those of this list of files; begin anew (--force)")
                self.journal.add(self._answered(reads, files))
            else:
                continue
            advance(1 if isinstance(batch, _Unreadable) else len(batch))

    def _answered(self, batch: list[_Read], files: Sequence[Path]) -> list[Entry]:
        try:
            return self._predict(batch, files)
        except DataError as error:  # readable, but not for this network: too small, for example
            return [Entry(read.place, read.kind, "", str(error)) for read in batch]

    def _predict(self, batch: list[_Read], files: Sequence[Path]) -> list[Entry]:
        measurement = torch.stack([to_measurement(read.prepared) for read in batch])
        probabilities = self.model.predict_batch(measurement).numpy()
        decisions = probabilities >= np.array(self.model.thresholds)
        entries = []
        for row, read in enumerate(batch):
            prediction = Prediction(files[read.place], read.image.shape[:2], probabilities[row], decisions[row], {})
            present = np.flatnonzero(decisions[row])
            num_maps = 0
            if len(present) and (self.folder is not None or self.writer.needs_maps):
                # Few pictures have a defect, each its own classes: one at a time wastes nothing and bounds memory.
                found = self.model.activation_maps(read.image, present.tolist())
                prediction.maps.update(zip(present.tolist(), found, strict=True))
                num_maps = self._draw(read.image, prediction)
            entries.append(Entry(read.place, read.kind, self.writer.lines(prediction), None, num_maps))
        return entries

    def _draw(self, image: Picture, prediction: Prediction) -> int:
        """Write a picture with maps if they are wanted; return how many pictures that made."""
        if self.folder is None:
            return 0
        with _writing(self.folder / self.pictures[prediction.file]) as temporary:
            draw_maps(image, prediction, self.model.classes).save(temporary, format="PNG")
        return 1


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

    @property
    def kind(self) -> tuple[int, ...]:
        """What pictures of one batch share."""
        return self.prepared.shape


@dataclass(frozen=True)
class _Known:
    """A file that an earlier, interrupted prediction has done."""

    place: int
    kind: tuple[int, ...] | None
    """What it shared with its batch; None where it could not be read."""


@dataclass(frozen=True)
class _Unreadable:
    """A file that is no readable picture, and why."""

    place: int
    reason: str


def _collect(inputs: Sequence[Path | str]) -> list[Path]:
    """Return the files that the inputs name, each once, in order."""
    files: dict[Path, None] = {}
    for given in inputs:
        if str(given) == LIST:
            files.update(dict.fromkeys(listed()))
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


def _read_ahead(files: Sequence[Path], workers: int, prepare: Prepare, known: Journal) -> Iterator[_Read | _Known | _Unreadable]:
    """Yield the pictures in order, decoding a few ahead in threads; those that are known are not read."""
    if workers == 0:
        for place, file in enumerate(files):
            yield _Known(place, known.kind_of(place)) if place in known else _read(place, file, prepare)
        return
    with ThreadPoolExecutor(workers, thread_name_prefix="photic-read") as pool:
        ahead: deque[Future[_Read | _Unreadable] | _Known] = deque()
        for place, file in enumerate(files):
            ahead.append(_Known(place, known.kind_of(place)) if place in known else pool.submit(_read, place, file, prepare))
            if len(ahead) > 2 * workers:
                yield _result(ahead.popleft())
        while ahead:
            yield _result(ahead.popleft())


def _result(item: Future[_Read | _Unreadable] | _Known) -> _Read | _Known | _Unreadable:
    return item if isinstance(item, _Known) else item.result()


def _batches(pictures: Iterable[_Read | _Known | _Unreadable], batch_size: int) -> Iterator[list[_Read | _Known] | _Known | _Unreadable]:
    """Yield batches of pictures of one size; a batch that does not fill is sent off before many others have passed it.

    What cannot be read comes alone. Which pictures come together depends on their order and sizes, and on nothing else.
    """
    waiting: dict[tuple[int, ...], list[_Read | _Known]] = {}  # in the order of each batch's first picture
    for picture in pictures:
        if isinstance(picture, _Unreadable):
            yield picture
        elif picture.kind is None:
            assert isinstance(picture, _Known), "what was read has a size"
            yield picture
        else:
            batch = waiting.setdefault(picture.kind, [])
            batch.append(picture)
            if len(batch) == batch_size:
                yield waiting.pop(picture.kind)
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

"""A trained model as a function from files to files or values: what `photic predict` and `photic serve` have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from photic.core.errors import ConfigError
from photic.core.plugins import file_model_of, load_reference
from photic.core.schema import Config
from photic.inference.predictor import LoadedModel, load


@dataclass(frozen=True, kw_only=True)
class FileOptions(Config):
    """Base of the options of one prediction; what an application adds has defaults that serve most users."""


@dataclass(frozen=True)
class Answer:
    """What came of one file."""

    files: tuple[Path, ...] = ()
    """Files that were written, the main one first."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """What was found, as JSON values: all of the answer where no file is written, else facts about it."""
    notes: tuple[str, ...] = ()
    """What the user should know, whole sentences without the file's name."""


def _no_progress(share: float) -> None:
    """Take note of nothing."""


class FileModel(ABC):
    """One loaded model of an application, ready for files; not for several threads at once.

    Args:
        model: the model.
    """

    options_type: ClassVar[type[FileOptions]] = FileOptions
    """The options of :meth:`apply`; its fields are the command's options and the server's form fields."""
    endings: ClassVar[tuple[str, ...]]
    """Endings, with their dots, of files that are taken from folders and globs; lower case."""
    writable: ClassVar[tuple[str, ...]]
    """Endings, with their dots, that a result may have; empty where the answer is values alone."""
    what: ClassVar[str] = "pictures"
    """What it takes, in the plural, for messages."""

    def __init__(self, model: LoadedModel) -> None:
        self.model = model

    def ending(self, source: Path) -> str:
        """Return the ending of a result where nobody chose one; empty where there is no file.

        Args:
            source: the file that goes in.
        """
        return self.writable[0] if self.writable else ""

    @abstractmethod
    def apply(
        self,
        source: Path,
        output: Path | None,
        options: FileOptions,
        *,
        force: bool = False,
        advance: Callable[[float], None] = _no_progress,
    ) -> Answer:
        """Make what the model makes of one file; with bounded memory, and whole or not at all.

        Args:
            source: the file.
            output: where the result goes; None only where :attr:`writable` is empty.
            options: of type :attr:`options_type`.
            force: replace what is there.
            advance: told from time to time which share of the work (0 to 1, they sum to at most 1) has been done since.

        Raises:
            DataError: the file is no input of this model; nothing was written.
            ConfigError: an option is out of range, or the output cannot be written.
        """


class BatchFileModel(FileModel):
    """A model that is faster on several small files at once."""

    @abstractmethod
    def read(self, source: Path, options: FileOptions) -> Any:
        """Decode and check one file; several threads may do so at once.

        Raises:
            DataError: the file is no input of this model.
        """

    @abstractmethod
    def kind(self, item: Any) -> Hashable:
        """Return what items must share to be in one batch, such as their size."""

    @abstractmethod
    def answers(self, items: Sequence[Any], options: FileOptions) -> list[Answer]:
        """Return the answer for each of some items of one kind; the same, to rounding, as one by one.

        Raises:
            DataError: they are not for this network.
        """

    def apply(
        self,
        source: Path,
        output: Path | None,
        options: FileOptions,
        *,
        force: bool = False,
        advance: Callable[[float], None] = _no_progress,
    ) -> Answer:
        """Make what the model makes of one file."""
        answer = self.answers([self.read(source, options)], options)[0]
        advance(1.0)
        return answer


def open_file_model(path: Path | str, device: str = "auto") -> FileModel:
    """Load a model and return it ready for files.

    Args:
        path: a bundle, run folder or checkpoint.
        device: ``auto`` (a GPU if there is one), ``cpu``, ``cuda``, ...

    Raises:
        ConfigError: no installed plug-in takes files with models of this task.
        CheckpointError: as :func:`photic.inference.predictor.load`.
    """
    model = load(path, device)
    task = str(model.config["task"]["name"])
    reference = file_model_of(task)
    if reference is None:
        raise ConfigError(
            f"{path}: no installed application takes files with models of the task '{task}'; use it from Python (photic.load)"
        )
    made: FileModel = load_reference(reference)(model)
    return made

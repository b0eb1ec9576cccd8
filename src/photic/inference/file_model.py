"""A trained model as a function from files to files or values: what `photic predict` and `photic serve` have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from torch import Tensor

from photic.core.errors import ConfigError
from photic.core.plugins import file_model_of, load_reference
from photic.core.schema import Config, field_types
from photic.inference.answer import Answer, with_warnings
from photic.inference.predictor import LoadedModel, load

__all__ = ["Answer", "BatchFileModel", "FileModel", "FileOptions", "of_kind", "open_file_model", "options_of", "with_warnings"]

Options = TypeVar("Options", bound="FileOptions")


@dataclass(frozen=True, kw_only=True)
class FileOptions(Config):
    """Base of the options of one prediction; what an application adds has defaults that serve most users."""


def options_of(kind: type[Options], given: Mapping[str, Any], where: str = "options") -> Options:
    """Return options of a kind from what somebody has said; what is None or none of its fields counts as not said.

    Args:
        kind: the options.
        given: values by name, such as ``vars()`` of parsed arguments.
        where: how they are called in error messages.

    Raises:
        ConfigError: a value of another type or out of range.
    """
    return kind.from_dict({name: given[name] for name in field_types(kind) if given.get(name) is not None}, where)


def of_kind(options: FileOptions, kind: type[Options]) -> Options:
    """Return options as what they are.

    Raises:
        ConfigError: they are of another kind.
    """
    if not isinstance(options, kind):
        raise ConfigError(f"options: expected {kind.__name__}, got {type(options).__name__}")
    return options


def _no_progress(share: float) -> None:
    """Take note of nothing."""


class FileModel(ABC):
    """One loaded model of an application, ready for files; not for several threads at once.

    Args:
        model: the model.
    """

    options_type: ClassVar[type[FileOptions]] = FileOptions
    """The options of :meth:`apply`; its fields are the command's options and the server's form fields."""
    endings: tuple[str, ...]
    """Endings, with their dots, of files that are taken from folders and globs; lower case."""
    writable: tuple[str, ...]
    """Endings, with their dots, that a result may have; empty where the answer is values alone."""
    what: str = "pictures"
    """What it takes, in the plural, for messages."""
    mark: str = "_made"
    """What is put behind a file's name where its result needs one and nobody chose."""
    max_pixels: int = 250_000_000
    """Larger pictures (of a scan: a larger object) are refused, as a DataError. Whoever uses the model may set another limit."""
    is_guarded: bool = False
    """Whether files that point to other files on this machine (HDF5 links) are refused. Whoever takes files from strangers sets it."""

    def __init__(self, model: LoadedModel) -> None:
        self.model = model

    def ending(self, source: Path) -> str:
        """Return the ending of a result where nobody chose one; empty where there is no file.

        Args:
            source: the file that goes in.
        """
        endings = self.writable_of(source)
        return endings[0] if endings else ""

    def writable_of(self, source: Path) -> tuple[str, ...]:
        """Return the endings, with their dots, that the result of this file may have: some or all of :attr:`writable`.

        Args:
            source: the file that goes in.
        """
        return self.writable

    def files_of(self, source: Path, output: Path) -> tuple[Path, ...]:
        """Return all files that are written for a result, itself first.

        Args:
            source: the file that goes in.
            output: where the result goes.
        """
        return (output,)

    def check(self, options: FileOptions, endings: Collection[str] = ()) -> None:
        """Refuse options that this model cannot follow, whatever the file; before anything is read.

        Args:
            options: what was asked for.
            endings: endings of the results, with their dots, lower case, where they are known.

        Raises:
            ConfigError: they are not of type :attr:`options_type`, out of the model's range, or contradict each other.
        """
        of_kind(options, self.options_type)

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
            ConfigError: an option is out of range, or the output is there already or has an ending that cannot be written.
            StorageError: the disk is full, or the folder is not writable.
        """

    def tensors(self, source: Path, options: FileOptions) -> Iterator[tuple[Tensor, ...]]:
        """Yield what the deployed graph is given of a file, in the order of ``Task.interface()``: a few parts where it is large.

        Exported graphs are checked with it; so it is to be what :meth:`apply` gives the network, prepared by the same functions.

        Args:
            source: the file.
            options: of type :attr:`options_type`.

        Raises:
            ConfigError: this application does not tell.
            DataError: the file is no input of this model.
        """
        raise ConfigError(f"{source}: the application of this model does not say what its network is given of files; check it without")

    def _options(self, options: FileOptions, kind: type[Options], output: Path | None = None) -> Options:
        """Return checked options as what they are."""
        self.check(options, () if output is None else (output.suffix.lower(),))
        return of_kind(options, kind)

    def _check_output(self, source: Path, output: Path | None) -> Path:
        """Return where the result goes; refuse an ending that it cannot have."""
        endings = self.writable_of(source)
        if output is None or output.suffix.lower() not in endings:
            called = "no name" if output is None else f"'{output.suffix}'"
            raise ConfigError(f"{output or source}: expected a result that ends in {' or '.join(endings)}, got {called}")
        return output


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
        self.check(options)
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

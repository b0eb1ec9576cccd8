"""The folder of a run: where everything about it is kept, in formats any tool can read.

::

    runs/<experiment>/<id>/
        config.yaml              resolved configuration
        results.json             what came out (schema below), rewritten whole after each validation
        metrics.jsonl            one line per logged step and validation, append-only
        split.json               which sample belongs to which split
        checkpoints/             last.safetensors, best.safetensors
        predictions/             val.csv, test.csv
        samples/                 pictures of what the network makes of validation samples, where asked for
        tensorboard/
"""

from __future__ import annotations

import json
import os
import platform
import re
import secrets
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from photic.core.errors import ConfigError, DataError, StorageError
from photic.core.files import append_line, remove_leftovers, write_json, write_text

SCHEMA = 1
_PACKAGES = ("torch", "torchvision", "timm", "lightning", "numpy", "pillow", "scikit-learn")


class Run:
    """One run folder.

    Args:
        path: the folder; see :meth:`create` and :meth:`open`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, config: Mapping[str, Any]) -> Run:
        """Make a new folder whose name no other run has, and write ``config.yaml`` into it.

        Args:
            config: the resolved configuration, as plain values.

        Raises:
            ConfigError: the output folder cannot be written.
        """
        parent = Path(config["output_dir"]) / _safe(config["experiment"])
        word = _safe(config.get("label") or config.get("recipe") or "run")
        try:
            parent.mkdir(parents=True, exist_ok=True)
            while True:
                path = parent / f"{time.strftime('%Y%m%d-%H%M%S')}-{word}-{secrets.token_hex(3)}"
                try:
                    path.mkdir()  # fails if it exists: the operating system decides who was first
                    break
                except FileExistsError:
                    continue
        except OSError as error:
            raise ConfigError(
                f"config.output_dir: cannot make a run folder in {parent}: {error.strerror}; choose another output_dir"
            ) from error
        run = cls(path)
        try:
            run.save_config(config)
        except StorageError:
            path.rmdir()
            raise
        return run

    @classmethod
    def open(cls, path: Path | str) -> Run:
        """Open an existing run by its folder, or by any file in it.

        Raises:
            DataError: it is no run folder.
        """
        given = Path(path)
        for folder in (given, *given.parents):
            if (folder / "config.yaml").is_file() and (folder / "checkpoints").is_dir():
                return cls(folder)
        hint = ""
        if given.is_dir():
            found = sorted(p.parent.parent for p in given.glob("**/checkpoints/*.safetensors"))
            hint = f"; runs inside it: {', '.join(dict.fromkeys(map(str, found[-3:])))}" if found else "; it holds no run"
        elif not given.exists():
            hint = "; it does not exist"
        raise DataError(f"{given}: not a run folder (expected config.yaml and checkpoints/ in it){hint}")

    def save_config(self, config: Mapping[str, Any]) -> None:
        """Write ``config.yaml`` whole."""
        write_text(self.path / "config.yaml", yaml.safe_dump(dict(config), sort_keys=False))

    @property
    def config(self) -> dict[str, Any]:
        """The resolved configuration.

        Raises:
            ConfigError: the file is damaged.
        """
        path = self.path / "config.yaml"
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: no valid YAML: {' '.join(str(error).split())}; put the file back as training wrote it") from error
        if not isinstance(content, dict):
            raise ConfigError(f"{path}: expected named values, got {type(content).__name__}; put the file back as training wrote it")
        return content

    @property
    def split(self) -> dict[str, list[str]]:
        """Names of the samples of each split, as training saved them.

        Raises:
            DataError: the file is missing or damaged.
        """
        content: dict[str, list[str]] = _read_json(self.path / "split.json")
        return content

    @property
    def results(self) -> dict[str, Any]:
        """What ``results.json`` says; empty before the first write.

        Raises:
            DataError: the file is damaged or of a newer schema.
        """
        path = self.path / "results.json"
        if not path.is_file():
            return {}
        content = _read_json(path)
        if content.get("schema", 0) > SCHEMA:
            raise DataError(f"{path}: written by a newer Photic (schema {content['schema']}, this one reads {SCHEMA}); upgrade photic")
        return content

    def save_results(self, **changes: Any) -> dict[str, Any]:
        """Merge changes into ``results.json`` and write it whole; return the new content."""
        content = {"schema": SCHEMA, "photic": _version("photic"), **self.results, **changes}
        write_json(self.path / "results.json", _finite(content))
        return content

    def log(self, **values: Any) -> None:
        """Append a line to ``metrics.jsonl``."""
        append_line(self.path / "metrics.jsonl", json.dumps(_finite(values)))

    def logged(self) -> list[dict[str, Any]]:
        """Return the lines of ``metrics.jsonl``; a line cut short by a crash is left out."""
        path = self.path / "metrics.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        parsed = []
        for line in lines:
            try:
                parsed.append(json.loads(line))
            except json.JSONDecodeError:  # the crash that cut this line is why the format is line by line
                continue
        return parsed

    def checkpoint(self, name: str) -> Path:
        """Return the path of the checkpoint ``last`` or ``best``."""
        return self.path / "checkpoints" / f"{name}.safetensors"

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the run for writing, so that two processes cannot train into one folder.

        Raises:
            ConfigError: another process holds it.
        """
        (self.path / "checkpoints").mkdir(exist_ok=True)
        with open(self.path / ".lock", "a+") as handle:
            if os.name == "posix":
                import fcntl

                try:
                    # A record lock belongs to this process alone: loader processes that outlive a kill do not inherit it.
                    fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except (BlockingIOError, PermissionError):
                    raise ConfigError(f"{self.path}: another process is training this run; wait for it or stop it first") from None
            remove_leftovers(self.path)
            remove_leftovers(self.path / "checkpoints")
            yield


def environment() -> dict[str, Any]:
    """Return what the numbers of a run may depend on: versions, processor, devices."""
    import torch

    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "cpu_threads": torch.get_num_threads(),
        "cpu_count": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "command": Path(sys.argv[0]).name + "".join(f" {argument}" for argument in sys.argv[1:]),
    }


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; a run that training wrote has this file") from error
    except ValueError as error:
        raise DataError(f"{path}: damaged, no valid JSON ({error}); put the file back as training wrote it") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected named values, got {type(content).__name__}; put the file back as training wrote it")
    return content


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _safe(word: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", word).strip("._") or "run"


def _finite(value: Any) -> Any:
    """Replace NaN and infinity by null: JSON knows neither, and other tools must be able to read the file."""
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value

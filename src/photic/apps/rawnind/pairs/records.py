"""What was done already, one small file per step, so that a long preparation goes on where it was interrupted."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from photic.core.files import write_text

RECORDS = "records"


class Records:
    """Results of steps of one kind, each valid for the inputs it was made from.

    Args:
        output: folder of everything prepared.
        kind: of the steps.
    """

    def __init__(self, output: Path, kind: str) -> None:
        self.folder = output / RECORDS / kind

    def find(self, name: str, key: str) -> Any:
        """Return the result of a step, or None where there is none of these inputs."""
        try:
            content = json.loads(self._path(name).read_text(encoding="utf-8"))
            return content["result"] if content["key"] == key and content["name"] == name else None
        except (OSError, ValueError, KeyError, TypeError):  # none yet, or cut short: the step is done again
            return None

    def keep(self, name: str, key: str, result: Any) -> None:
        """Write the result of a step.

        Raises:
            StorageError: it cannot be written.
        """
        write_text(self._path(name), json.dumps({"name": name, "key": key, "result": result}, ensure_ascii=False))

    def _path(self, name: str) -> Path:
        return self.folder / f"{hashlib.sha256(name.encode()).hexdigest()[:24]}.json"


def stamp(path: Path) -> list[Any]:
    """Return what changes when a file does: its name, size and time of change."""
    facts = path.stat()
    return [path.name, facts.st_size, facts.st_mtime_ns]


def key_of(*parts: Any) -> str:
    """Return a text that depends on all inputs of a step."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

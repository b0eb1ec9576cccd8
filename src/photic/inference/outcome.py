"""What a command did with many files, for the terminal."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from photic.inference.answer import Answer

_NAMED = 3


@dataclass
class Outcome:
    """What was done."""

    answers: list[tuple[Path, Answer]] = field(default_factory=list)
    """Files that something was made of, and what came of each; in the order they were given."""
    left: int = 0
    """Results that were there already and were left."""
    failed: list[tuple[Path, str]] = field(default_factory=list)
    """Files of which nothing could be made, and why."""

    @property
    def made(self) -> list[Path]:
        """Files that were written."""
        return [path for _, answer in self.answers for path in answer.files]

    @property
    def status(self) -> int:
        """Exit status: 1 where files had to be left out."""
        return 1 if self.failed else 0

    def summary(self, seconds: float) -> str:
        """Return a few lines for the terminal."""
        made = self.made
        if len(made) == 1 and not self.failed and not self.left:
            lines = [f"{made[0]}  ({seconds:.1f} s)"]
        else:
            lines = [f"{len(made)} file{'s' * (len(made) != 1)} written in {seconds:.1f} s"]
            if self.left:
                lines[0] += f", {self.left} were there already"
            lines += [f"  {path}" for path in made[:_NAMED]]
            if len(made) > _NAMED:
                lines.append(f"  ... and {len(made) - _NAMED} more")
        lines += self._notes()
        if self.failed:
            lines.append(f"{len(self.failed)} SKIPPED:")
            lines += [f"  {about(path, reason)}" for path, reason in self.failed]
        return "\n".join(lines)

    def _notes(self) -> list[str]:
        """Return what users should know; what is said of many files once."""
        said: dict[str, list[Path]] = {}
        for source, answer in self.answers:
            for note in answer.notes:
                said.setdefault(note, []).append(source)
        return [
            f"note: {about(sources[0], note)}" if len(sources) <= _NAMED else f"note: {len(sources)} files ({sources[0]}, ...): {note}"
            for note, sources in said.items()
            for sources in ([sources] if len(sources) > _NAMED else [[source] for source in sources])
        ]


def about(source: Path, text: str) -> str:
    """Return a text that names the file it is about, once."""
    return text if str(source) in text else f"{source}: {text}"

"""What a command did with many files, for the terminal."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Outcome:
    """What was done."""

    made: list[Path] = field(default_factory=list)
    left: int = 0
    """Results that were there already and were left."""
    failed: list[tuple[Path, str]] = field(default_factory=list)
    """Files of which nothing could be made, and why."""
    notes: list[str] = field(default_factory=list)
    """What a user should know about single files."""

    def summary(self, seconds: float) -> str:
        """Return a few lines for the terminal."""
        if len(self.made) == 1 and not self.failed and not self.left:
            lines = [f"{self.made[0]}  ({seconds:.1f} s)"]
        else:
            lines = [f"{len(self.made)} file{'s' * (len(self.made) != 1)} written in {seconds:.1f} s"]
            if self.left:
                lines[0] += f", {self.left} were there already"
            lines += [f"  {path}" for path in self.made[:3]]
            if len(self.made) > 3:
                lines.append(f"  ... and {len(self.made) - 3} more")
        lines += [f"note: {note}" for note in self.notes]
        if self.failed:
            lines.append(f"{len(self.failed)} SKIPPED:")
            lines += [f"  {about(path, reason)}" for path, reason in self.failed]
        return "\n".join(lines)


def about(source: Path, text: str) -> str:
    """Return a text that names the file it is about, once."""
    return text if str(source) in text else f"{source}: {text}"

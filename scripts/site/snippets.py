"""The commands and code of the documentation: where they stand, and what must be done to run them.

Every fence of ``bash`` and ``python`` runs, page by page, in the order written, in a folder of its own. A fence with a title is a file: it
is written under that name. A comment before a fence says what must be different here; clauses are separated by semicolons::

    <!-- runs: with training.max_steps=2; where DATA=strips -->

``no, because REASON``
    It does not run. A test holds the list of these.
``slow``
    It runs with ``make test-all`` only, after all that stands before it.
``real``
    It needs ``../shared/data``, and runs where that is.
``with WORDS``
    Every ``photic train`` of the fence gets these overrides, so that it takes seconds.
``where NAME=WORD ...``
    NAME stands for something of the reader's: another word takes its place.
``given NAME ...``
    The reader has these files: they are drawn.
``status N``
    The last command ends with this status.
``installs FOLDER``
    ``pip install FOLDER`` of a page that writes a package: its entry points are made known without pip.
``for the page: CLAUSES``
    The clauses hold for all fences that follow on the page; a fence's own are added to them, and ``quick`` takes ``slow`` back.

RUN is the newest folder of a run: anywhere, or of an experiment (``runs/severstal/RUN``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

_FENCE = re.compile(
    r"(?:^<!-- runs:(?P<directive>.*?)-->\n\n?)?^(?P<indent> *)```(?P<language>\w*)(?P<info>[^\n]*)\n(?P<text>.*?)^(?P=indent)```[ ]*$",
    re.MULTILINE | re.DOTALL,
)
_PAGE_WIDE = re.compile(r"^<!-- runs: for the page:(.*?)-->", re.MULTILINE | re.DOTALL)
_TITLE = re.compile(r'title="([^"]+)"')
_PICTURE = re.compile(r"^<!-- picture: (?P<sources>.*?) -> (?P<target>\S+) -->", re.MULTILINE)
_NEVER = "no, because "
LANGUAGES = ("bash", "python")
"""What runs."""


@dataclass(frozen=True)
class Directive:
    """What a comment says about running a fence."""

    reason: str = ""
    """Why it does not run; empty if it does."""
    slow: bool = False
    real: bool = False
    extra: tuple[str, ...] = ()
    where: dict[str, str] = field(default_factory=dict)
    given: tuple[str, ...] = ()
    status: int = 0
    installs: str = ""

    def joined(self, text: str) -> Directive:
        """Return it with further clauses.

        Raises:
            ValueError: a clause that there is not.
        """
        made, plain = self, " ".join(text.split())
        if plain.startswith(_NEVER) and len(plain) > len(_NEVER):
            return replace(made, reason=plain.removeprefix(_NEVER))
        for clause in filter(None, (part.strip() for part in plain.split(";"))):
            word, _, rest = clause.partition(" ")
            if clause in ("slow", "quick"):
                made = replace(made, slow=clause == "slow")
            elif clause == "real":
                made = replace(made, real=True)
            elif word == "with" and rest:
                made = replace(made, extra=(*made.extra, *rest.split()))
            elif word == "where" and rest and all("=" in pair for pair in rest.split()):
                made = replace(made, where={**made.where, **dict(pair.split("=", 1) for pair in rest.split())})
            elif word == "given" and rest:
                made = replace(made, given=(*made.given, *rest.split()))
            elif word == "status" and rest.isdigit():
                made = replace(made, status=int(rest))
            elif word == "installs" and rest:
                made = replace(made, installs=rest)
            else:
                raise ValueError(f"no such clause: '{clause}'")
        return made


@dataclass(frozen=True)
class Snippet:
    """A fence that runs, or a file that a page writes."""

    page: str
    line: int
    """Of its first line, from 1."""
    language: str
    text: str
    directive: Directive
    title: str = ""
    """The file it is; empty for what runs."""

    @property
    def place(self) -> str:
        """Where it stands."""
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Picture:
    """A picture on a page that the commands above it make."""

    sources: tuple[str, ...]
    """Globs of the files that stand side by side on it."""
    target: str
    """Its path in the site."""
    line: int


def snippets_of(path: Path, root: Path) -> list[Snippet]:
    """Return what runs on a page, and the files it writes, in order.

    Raises:
        ValueError: a comment about running says what is not understood, or stands before nothing that runs.
    """
    text, page = path.read_text(encoding="utf-8"), path.relative_to(root).as_posix()
    found, used = [], 0
    wide = [(match.start(), match.group(1)) for match in _PAGE_WIDE.finditer(text)]
    for match in _FENCE.finditer(text):
        line = text.count("\n", 0, match.start("text")) + 1
        title = _TITLE.search(match["info"])
        if match["language"] not in LANGUAGES and title is None:
            continue
        try:
            directive = Directive()
            for start, clauses in wide:
                if start < match.start():
                    directive = directive.joined(clauses)
            own = match["directive"]
            if own is not None and "for the page:" not in own:
                directive, used = directive.joined(own), used + 1
        except ValueError as error:
            raise ValueError(f"{page}:{line}: {error}") from None
        indent = match["indent"]
        lines = [one.removeprefix(indent) for one in match["text"].splitlines(keepends=True)]
        found.append(Snippet(page, line, match["language"], "".join(lines), directive, title.group(1) if title else ""))
    if used != len(re.findall(r"^<!-- runs:", text, re.MULTILINE)) - len(wide):
        raise ValueError(f"{page}: a comment `runs:` stands before nothing that runs")
    return found


def pictures_of(path: Path) -> list[Picture]:
    """Return the pictures of a page that its own commands make."""
    text = path.read_text(encoding="utf-8")
    return [
        Picture(tuple(match["sources"].split()), match["target"], text.count("\n", 0, match.start()) + 1)
        for match in _PICTURE.finditer(text)
    ]

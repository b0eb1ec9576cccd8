"""Where results go: what an application reads and makes decides it, the rest is the same for all."""

from __future__ import annotations

from pathlib import Path

import pytest

from photic.core.errors import ConfigError, DataError
from photic.inference.file_model import Answer
from photic.inference.outcome import Outcome
from photic.inference.targets import Kinds, plan, refuse_existing

SCANS = Kinds(
    readable=lambda name: name.suffix.lower() == ".scan",
    ending=lambda source: ".out",
    writable=lambda source: (".out", ".txt"),
    mark="_made",
    nothing="no scans",
    called=lambda source: "scans",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("in/a.scan", "in/sub/b.SCAN", "in/other.jpg", "in/.hidden.scan"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    return tmp_path


def test_folders_keep_their_places_and_get_the_ending_of_what_is_made(folder):
    made = plan([str(folder / "in")], folder / "out", SCANS)
    assert [target.output.relative_to(folder).as_posix() for target in made] == ["out/a.out", "out/sub/b.out"]
    beside = plan([str(folder / "in")], None, SCANS)
    assert [target.output.relative_to(folder).as_posix() for target in beside] == ["in_made/a.out", "in_made/sub/b.out"]


def test_a_file_named_by_itself_is_taken_whatever_its_ending(folder):
    (target,) = plan([str(folder / "in/other.jpg")], folder / "x.txt", SCANS)
    assert (target.source.name, target.output.name) == ("other.jpg", "x.txt")
    (target,) = plan([str(folder / "in/other.jpg")], None, SCANS)
    assert target.output == folder / "in/other_made.out"


def test_what_cannot_be_is_said_in_the_application_s_words(folder):
    with pytest.raises(ConfigError, match=r"cannot write scans with the ending '\.jpg'; use one of \.out, \.txt"):
        plan([str(folder / "in/a.scan")], folder / "x.jpg", SCANS)
    with pytest.raises(ConfigError, match=r"single file; for several scans give a folder"):
        plan([str(folder / "in")], folder / "x.txt", SCANS)
    with pytest.raises(DataError, match="no scans among what matches this pattern"):
        plan([f"{folder}/in/*.jpg"], folder / "out", SCANS)
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match="no scans in this folder"):
        plan([str(folder / "empty")], folder / "out", SCANS)


def test_results_that_are_there_are_named(folder):
    with pytest.raises(ConfigError, match=r"a\.scan is there already"):
        refuse_existing([folder / "in/a.scan", folder / "absent"])


def test_an_outcome_names_what_was_skipped_once(folder):
    outcome = Outcome([(folder / "a", Answer((folder / "x",)))], failed=[(folder / "y", "broken"), (folder / "z", f"{folder / 'z'}: torn")])
    assert outcome.summary(1.0).splitlines()[-3:] == ["2 SKIPPED:", f"  {folder / 'y'}: broken", f"  {folder / 'z'}: torn"]

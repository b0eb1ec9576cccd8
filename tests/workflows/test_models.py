"""The shelf: what `photic models` and `photic.shelf` say of models that come along, lie in folders, are damaged, newer or of elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import photic
from photic.cli.main import main
from photic.core.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from photic.core.errors import CheckpointError, ConfigError, UnknownNameError
from photic.core.plugins import shipped_models
from photic.core.shelf import user_folder
from photic.workflows.info import info
from photic.workflows.shelf import add_to_shelf, remove_from_shelf

SHIPPED = shipped_models()
Rewritten = Callable[..., Path]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without models, in an empty folder, at a wide terminal."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("PHOTIC_MODELS", raising=False)
    return tmp_path


@pytest.fixture(scope="module")
def stored() -> Checkpoint:
    return read_checkpoint(SHIPPED["lowlight"])


@pytest.fixture
def rewritten(stored: Checkpoint) -> Rewritten:
    """Write a bundle that is whole, but says other things; None takes a key away."""

    def write(path: str, **changes: Any) -> Path:
        facts = {key: value for key, value in {**stored.description, **changes}.items() if value is not None}
        return write_checkpoint(Path(path), Checkpoint(stored.weights, description=facts), sealed=True)

    return write


def test_models_that_come_along_are_listed_with_task_score_size_and_terms(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    out = capsys.readouterr().out
    for name, path in SHIPPED.items():
        (line,) = (line for line in out.splitlines() if line.split()[:1] == [name])
        description = info(path).facts
        assert description["config"]["task"]["name"] in line
        assert f"{path.stat().st_size / 1e6:.1f} MB" in line
        assert "(test)" in line or "(val)" in line
        assert description["data"]["terms"][:20] in line
    assert "come with Photic:" in out


def test_a_narrow_terminal_gets_several_lines_each(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["models"]) == 0
    out = capsys.readouterr().out
    assert "PSNR 33.20 dB (test)" in out and "943 k parameters, 3.8 MB" in out
    assert max(map(len, out.partition("`photic info")[0].splitlines())) <= 80


def test_the_rows_are_typed_and_json_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = photic.shelf("rawdenoise", folders=[])
    assert (row.task, row.network, row.shipped, row.problem) == ("raw_denoising", "standard", True, None)
    assert row.parameters == 942_566 and row.size_bytes == SHIPPED["rawdenoise"].stat().st_size
    assert row.score is not None and (row.score.name, row.score.split, row.score.higher_is_better) == ("psnr", "test", True)
    assert row.sha256 == info(row.path).file["sha256"]  # type: ignore[index]
    assert main(["models", "rawdenoise", "--json"]) == 0
    (plain,) = json.loads(capsys.readouterr().out)
    assert plain == row.to_dict() and plain["scores"][0]["value"] == row.score.value


def test_patterns_tasks_and_order_choose(rewritten: Rewritten) -> None:
    for name, psnr in (("a", 20.0), ("b", 30.0), ("c", 25.0)):
        rewritten(f"{name}.photic", metrics={"val": {"psnr": psnr}, "test": None}, created=f"2026-01-0{'bca'.index(name) + 1}")
    local = [row.name for row in photic.shelf(order="name") if not row.shipped]
    assert local == ["a", "b", "c"]
    by_score = [row.name for row in photic.shelf(order="score", task="enhancement") if not row.shipped]
    assert by_score == ["b", "c", "a"]
    assert [row.name for row in photic.shelf(order="made") if not row.shipped] == ["a", "c", "b"]
    sizes = [row.size_bytes for row in photic.shelf(folders=[], order="size")]
    assert sizes == sorted(sizes)  # type: ignore[type-var]
    assert [row.name for row in photic.shelf(["raw*", "b"])] == ["rawcompress", "rawcompress_low", "rawdenoise", "b"]
    assert {row.task for row in photic.shelf(task="compression")} == {"compression"}
    with pytest.raises(UnknownNameError, match="unknown task 'denoising'.*raw_denoising"):
        photic.shelf(task="denoising")
    with pytest.raises(ConfigError, match="nowhere: no such folder"):
        photic.shelf(folders=["nowhere"])


def test_lower_is_better_where_the_values_say_so(rewritten: Rewritten) -> None:
    for name, error in (("a", 0.3), ("b", 0.1)):
        rewritten(
            f"{name}.photic",
            scores=[{"name": "r_amp", "label": "R_amp", "higher_is_better": False}],
            metrics={"val": {"r_amp": 9.0}, "test": {"loss": 1.0, "r_amp": error}},
        )
    rows = [row for row in photic.shelf(order="score") if not row.shipped]
    assert [(row.name, str(row.score)) for row in rows] == [("b", "R_amp 0.1000"), ("a", "R_amp 0.3000")]


def test_no_match_is_answered_with_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "rawdenose"]) == 2
    assert "did you mean 'rawdenoise'" in capsys.readouterr().err
    assert main(["models", "--task", "ptychography"]) == 0
    assert "no models that can be used" in capsys.readouterr().out


def spoil(path: Path, how: str) -> None:
    content = path.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    if how == "cut in the header":
        path.write_bytes(content[: header // 2])
    elif how == "cut in the weights":
        path.write_bytes(content[:-1])
    elif how == "longer":
        path.write_bytes(content + b"\0")
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "a folder":
        path.unlink()
        path.mkdir()
    elif how == "a pipe":
        path.unlink()
        os.mkfifo(path)
    elif how == "a link to nothing":
        path.unlink()
        path.symlink_to("nothing")
    elif how == "a huge header":
        path.write_bytes((2**60).to_bytes(8, "little") + content[8:])
    elif how == "a header of the file's length":
        path.write_bytes((len(content) - 8).to_bytes(8, "little") + content[8:])
    elif how == "a pickle":
        path.write_bytes(b"\x80\x04" + content)
    elif how == "a picture":
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(200))
    else:
        raise AssertionError(how)


SPOILED = {
    "cut in the header": "damaged or truncated",
    "cut in the weights": "damaged or truncated",
    "longer": "damaged or truncated",
    "empty": "damaged or truncated",
    "a folder": "is a folder; a bundle or checkpoint is one file",
    "a pipe": "is a pipe or device",
    "a link to nothing": "no such checkpoint file",
    "a huge header": "damaged or truncated",
    "a header of the file's length": "damaged or truncated",
    "a pickle": "refused: this is a pickle",
    "a picture": "damaged or truncated",
}


def said(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command line that must fail with one line; return it."""
    capsys.readouterr()
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("photic: error: ") and captured.err.count("\n") == 1 and captured.out == ""
    return captured.err


@pytest.mark.parametrize("how", SPOILED)
def test_what_is_no_bundle_is_said_to_be_so_by_every_command(how: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(shutil.copy(SHIPPED["lowlight"], "spoiled.photic"))
    spoil(path, how)
    for words in (["info", "spoiled.photic"], ["models", "add", "spoiled.photic"]):
        assert SPOILED[how] in said(words, capsys)
    with pytest.raises(CheckpointError, match=SPOILED[how]):
        photic.load("spoiled.photic", "cpu")
    assert main(["models"]) == 0
    out = capsys.readouterr().out
    assert f"./spoiled.photic: {SPOILED[how]}" in out and "rawdenoise" in out
    (row,) = photic.shelf("spoiled")
    assert row.problem is not None and row.task is None


SAID_OTHERWISE = {
    "newer": ({"bundle": 99}, r"newer Photic \(bundle format 99, this one reads 1\); upgrade photic"),
    "other form of numbers": ({"parameters": {"total": "many"}}, "missing or wrong: parameters"),
    "terms that are no text": ({"data": {"name": "", "counts": None, "fingerprint": None, "split_strategy": None, "notes": [], "terms": 3}},
                               r"missing or wrong: data\.terms"),
    "metrics that are a list": ({"metrics": {"val": [1], "test": None}}, r"missing or wrong: metrics\.val"),
    "no card": ({"card": None}, "missing or wrong: card"),
    "no name": ({"name": ["a"]}, "missing or wrong: name"),
    "a name that clears the terminal": ({"name": "\x1b[2Jgone"}, "missing or wrong: name"),
    "a value that JSON has not": ({"metrics": {"val": {"psnr": float("nan")}, "test": None}}, r"missing or wrong: metrics\.val\.psnr"),
    "scores without labels": ({"scores": [{"name": "psnr"}]}, "missing or wrong: scores"),
    "nested without end": ({"processing": json.loads("[" * 60 + "]" * 60)}, "missing or wrong: processing"),
    "nested without end inside": ({"environment": {"a": json.loads("[" * 60 + "]" * 60)}}, r"missing or wrong: environment\.a"),
}  # fmt: skip


@pytest.mark.parametrize("what", SAID_OTHERWISE)
def test_a_whole_file_that_says_nonsense_is_refused_by_what_is_wrong(
    what: str, rewritten: Rewritten, capsys: pytest.CaptureFixture[str]
) -> None:
    changes, message = SAID_OTHERWISE[what]
    path = rewritten("odd.photic", **changes)
    for use in (info, lambda path: photic.load(path, "cpu")):
        with pytest.raises(CheckpointError, match=message):
            use(path)  # type: ignore[operator]
    assert "\x1b" not in said(["info", str(path)], capsys)
    (row,) = photic.shelf("odd")
    assert row.problem is not None and main(["models"]) == 0


def test_models_of_a_plug_in_that_is_not_installed_are_listed_with_what_to_install(
    rewritten: Rewritten, stored: Checkpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    config = {**stored.description["config"], "model": {"name": "tinylab_enhancer"}}
    path = rewritten("lab.photic", config=config, requires=["tiny-lab-photic 1.0"])
    (row,) = photic.shelf("lab")
    assert row.problem is not None and row.task == "enhancement"
    assert "'tinylab_enhancer' is not known here. It was made with tiny-lab-photic 1.0" in row.problem
    assert "pip install tiny-lab-photic" in row.problem
    assert main(["info", "lab"]) == 0
    assert "pip install tiny-lab-photic" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(CheckpointError, match="cannot be built here: .*pip install tiny-lab-photic"):
        photic.load(path, "cpu")


def test_weights_that_are_not_finite_are_refused(stored: Checkpoint) -> None:
    weights = {name: tensor.clone() for name, tensor in stored.weights.items()}
    name = next(name for name, tensor in weights.items() if tensor.ndim == 4)
    weights[name].view(-1)[3] = float("nan")
    path = write_checkpoint(Path("nan.photic"), Checkpoint(weights, description=stored.description), sealed=True)
    with pytest.raises(CheckpointError, match=f"{name.removeprefix('graph.')} holds values that are not finite"):
        photic.load(path, "cpu")


def test_a_changed_bit_of_the_weights_is_seen_when_it_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(shutil.copy(SHIPPED["lowlight"], "bit.photic"))
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    (row,) = photic.shelf("bit")
    assert row.problem is None  # only headers are read
    (row,) = photic.shelf("bit", check=True)
    assert row.problem is not None and "the content has changed" in row.problem
    assert main(["models", "--check"]) == 0
    assert "bit.photic: damaged: the content has changed" in capsys.readouterr().out
    assert "the content has changed" in said(["models", "add", "bit.photic"], capsys)


def test_a_file_that_may_not_be_read_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(SHIPPED["lowlight"], "mine.photic")
    opened = open

    def guarded(path: Any, *arguments: Any, **options: Any) -> Any:
        if str(path).endswith("mine.photic"):
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *arguments, **options)

    monkeypatch.setattr("builtins.open", guarded)  # the system's own refusal: root, who may run this test, reads anything
    assert "mine.photic: cannot be read: Permission denied; check who may read it" in said(["info", "mine.photic"], capsys)
    with pytest.raises(CheckpointError, match="Permission denied"):
        photic.load("mine.photic", "cpu")
    assert main(["models"]) == 0
    assert "Permission denied" in capsys.readouterr().out


def test_a_model_is_added_used_by_its_name_and_removed(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = Path(shutil.copy(SHIPPED["lowlight_zero_dce"], home / "elsewhere.photic"))
    assert main(["models", "add", str(source), "--name", "night"]) == 0
    target = user_folder() / "night.photic"
    assert "night" in capsys.readouterr().out and target.read_bytes() == source.read_bytes()
    (row,) = photic.shelf("night")
    assert row.path == target and not row.shipped
    assert info("night").path == target and photic.load("night", "cpu").source == target
    assert main(["info", "night", "--card"]) == 0
    assert capsys.readouterr().out.startswith("# lowlight_zero_dce")
    assert "is there already; give another name (--name), or force (--force)" in said(
        ["models", "add", str(source), "--name", "night"], capsys
    )
    assert main(["models", "add", str(SHIPPED["lowlight"]), "--name", "night", "--force"]) == 0
    assert target.read_bytes() == SHIPPED["lowlight"].read_bytes()
    assert "would be deleted; say --force" in said(["models", "remove", "night"], capsys)
    assert target.exists() and main(["models", "remove", "night", "--force"]) == 0 and not target.exists()


def test_names_that_are_taken_or_none_are_refused(home: Path) -> None:
    source = Path(shutil.copy(SHIPPED["lowlight_zero_dce"], home / "elsewhere.photic"))
    with pytest.raises(ConfigError, match=r"name 'lowlight': is taken by .*lowlight\.photic; give another one"):
        add_to_shelf(source, "lowlight")
    shutil.copy(SHIPPED["lowlight"], "mine.photic")
    with pytest.raises(ConfigError, match=r"name 'mine': is taken by mine\.photic"):
        add_to_shelf(source, "mine")
    for name in ("", "a/b", "../a", ".a", "a b", "\x1b[2J"):
        with pytest.raises(ConfigError, match="expected letters, digits"):
            add_to_shelf(source, name)
    for name in ("lowlight", "../../elsewhere", "nothing"):
        with pytest.raises(UnknownNameError, match="no such model in"):
            remove_from_shelf(name, force=True)
    assert source.exists() and not user_folder().exists()


def test_a_present_bundle_may_be_added_under_its_own_name() -> None:
    """Then two files of that name are the same, which is no clash."""
    shutil.copy(SHIPPED["lowlight"], "mine.photic")
    added = add_to_shelf("mine.photic")
    assert photic.load("mine", "cpu").source in (Path("mine.photic"), added.path)


def test_a_full_disk_leaves_nothing_half(home: Path, full_disk: Callable[[int], Any]) -> None:
    source = Path(shutil.copy(SHIPPED["lowlight"], home / "elsewhere.photic"))
    with full_disk(10_000), pytest.raises(ConfigError, match="cannot be written"):
        add_to_shelf(source, "night")
    assert list(user_folder().iterdir()) == []


def test_two_hundred_bundles_are_listed_at_once_without_torch() -> None:
    for number in range(200):
        os.link(shutil.copy(SHIPPED["lowlight"], "m.photic") if number == 0 else "m.photic", f"m{number}.photic")
    started = time.perf_counter()
    rows = photic.shelf("m*", folders=["."])
    assert time.perf_counter() - started < 2
    assert len(rows) == 201
    code = "import sys; from photic.cli.main import main; assert main(['models']) == 0; print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "lightning"} & {name.partition(".")[0] for name in done.stderr.split()}
    assert "m199" in done.stdout

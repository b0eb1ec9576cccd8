"""The command itself: help, suggestions, errors and exit codes."""

import re
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from photic.cli import main as main_module
from photic.cli.main import COMMANDS, main
from photic.core.errors import DataError, PhoticError, RunInterrupted
from photic.core.plugins import Command, installed_plugins


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main(arguments)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def command(_: list[str]) -> int:
        raise error

    monkeypatch.setitem(sys.modules, "photic_test_command", SimpleNamespace(main=command))
    monkeypatch.setitem(COMMANDS, "demo", Command(summary="", target="photic_test_command:main"))


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",), ("help",)])
def test_help_names_every_command(capsys: pytest.CaptureFixture[str], words: tuple[str, ...]) -> None:
    status, out, err = run(capsys, *words)
    assert (status, err) == (0, "")
    for name, command in COMMANDS.items():
        assert f"  {name} " in out
        assert command.summary in out


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("width", ["80", "120"])
def test_every_command_explains_itself_with_examples_within_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str, width: str
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    status, out, _ = run(capsys, name, "--help")
    assert status == 0
    assert out.startswith(f"usage: photic {name} ")
    explained, _, shown = out.partition("\nexamples:\n")
    assert f"photic {name}" in shown
    explained += run(capsys, "--help")[1].partition("\nexamples:\n")[0]
    assert max(map(len, explained.splitlines())) <= int(width)


def test_help_of_a_command_may_be_asked_in_either_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "help", "list") == run(capsys, "list", "--help")


def test_version_is_the_installed_one(capsys: pytest.CaptureFixture[str]) -> None:
    from importlib.metadata import version

    assert run(capsys, "--version") == (0, f"photic {version('photic')}\n", "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("trian",), "unknown command 'trian'; did you mean 'train'?"),
        (("train", "--cgf", "job"), "unrecognized arguments: --cgf; did you mean '--cfg'?"),
        (("train", "--cfg", "all"), "argument -c/--cfg: invalid choice: 'all'"),
        (("predict", "run"), "the following arguments are required: -o/--output"),
        (("predict", "run", "a.png", "-o", "x.csv", "--batch-size", "0"), "expected a whole number from 1, got '0'"),
        (("list", "modles"), "unknown kind 'modles'; did you mean 'models'?"),
        (("data", "chek", "defects"), "unknown data command 'chek'; did you mean 'check'?"),
        (("data", "check", "defect"), "unknown application 'defect'; did you mean 'defects'?"),
        (("demo", "defetcs"), "no demo is called 'defetcs'; did you mean 'defects'?"),
        (("train", "--config-name", "x"), "--config-name x: say where it lies with --config-dir DIR"),
        (("train", "--resume", "runs/x", "-m"), "--resume and --multirun exclude each other"),
    ],
)
def test_a_mistake_is_one_line_on_stderr_and_status_2(capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str) -> None:
    status, out, err = run(capsys, *words)
    assert (status, out) == (2, "")
    assert err.startswith("photic: error: ")
    assert message in err
    assert err.count("\n") == 1


def test_an_error_shows_its_traceback_on_request(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    raising(monkeypatch, DataError("strip 7 is unreadable"))
    assert run(capsys, "demo") == (2, "", "photic: error: strip 7 is unreadable\n")
    monkeypatch.setenv("PHOTIC_TRACEBACK", "1")
    status, _, err = run(capsys, "demo")
    assert status == 2
    assert "Traceback" in err
    assert err.endswith("photic: error: strip 7 is unreadable\n")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RunInterrupted("runs/x: stopped at step 3 of 9")])
def test_an_interruption_ends_with_130(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    raising(monkeypatch, error)
    status, _, err = run(capsys, "demo")
    assert status == 130
    assert "Traceback" not in err


def test_a_bug_is_not_dressed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    raising(monkeypatch, ZeroDivisionError("bug"))
    with pytest.raises(ZeroDivisionError):
        main(["demo"])


@pytest.mark.parametrize(("code", "status"), [(None, 0), (0, 0), (3, 3), ("gone wrong", 1)])
def test_a_plugins_own_exit_is_kept(monkeypatch: pytest.MonkeyPatch, code: Any, status: int) -> None:
    raising(monkeypatch, SystemExit(code))
    assert main(["demo"]) == status


def _with_command(monkeypatch: pytest.MonkeyPatch, name: str) -> list[list[str]]:
    import dataclasses

    calls: list[list[str]] = []
    monkeypatch.setitem(sys.modules, "photic_test_command", SimpleNamespace(main=lambda words: calls.append(words) or 0))
    command = Command(summary="Serves strips", target="photic_test_command:main")
    plugins = dict(installed_plugins())
    plugins["defects"] = dataclasses.replace(plugins["defects"], commands={name: command}, data_commands={"weigh": command})
    for module in ("photic.cli.main", "photic.cli.commands.data", "photic.core.plugins"):
        __import__(module)
        monkeypatch.setattr(sys.modules[module], "installed_plugins", lambda: plugins)
    return calls


def test_a_plugins_command_becomes_a_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    calls = _with_command(monkeypatch, "serve-strips")
    assert main(["serve-strips", "--port", "1"]) == 0
    assert calls == [["--port", "1"]]
    section = run(capsys, "--help")[1].partition("from plug-ins:\n")[2].partition("\n\n")[0]
    assert re.search(r"^  serve-strips ", section, re.MULTILINE)
    assert "did you mean 'serve-strips'" in run(capsys, "serve-strip")[2]


def test_a_plugins_data_command_gets_the_words_after_its_name(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    calls = _with_command(monkeypatch, "serve-strips")
    assert main(["data", "weigh", "defects", "root", "--help"]) == 0
    assert calls == [["root", "--help"]]
    assert re.search(r"weigh defects +Serves strips", run(capsys, "data")[1])


def test_a_plugin_cannot_replace_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    _with_command(monkeypatch, "train")
    with pytest.raises(PhoticError, match="adds a command 'train', which exists already"):
        main_module.plugin_commands()


def test_demo_runs_the_demos_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from pathlib import Path

    calls: list[Any] = []
    monkeypatch.setitem(
        sys.modules, "photic.workflows.demo", SimpleNamespace(run_demos=lambda names, folder: calls.append((names, folder)) or 0)
    )
    everyone = [name for name, plugin in installed_plugins().items() if plugin.demo]
    assert main(["demo"]) == 0
    assert main(["demo", "defects", "-o", "there"]) == 0
    assert calls == [(everyone, Path("demo")), (["defects"], Path("there"))]

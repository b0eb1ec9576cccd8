"""Runs the documentation's snippets: a process that imports what is slow to import once, and forks for each page.

A line of JSON on standard input is a page: ``{"folder": ..., "snippets": [...]}`` (the fields of :class:`snippets.Snippet`). The answer is
a line with what each snippet said: ``[{"status": 0, "output": "...", "cpu_s": 1.2}, ...]``, as far as they ran.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
import traceback
import types
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import given

PRELOADED = (
    "photic.cli.commands.train",
    "photic.engine.fit",
    "photic.workflows.train",
    "photic.inference.predictor",
    "photic.report.page",
    "skimage",
)
_BY_BASH = re.compile(r"<<|^\s*(?:(?:cd|source|export|for|if|while)\b|[A-Za-z_]+=)|\$", re.MULTILINE)
"""Fences in which a line depends on the shell of the line before: all of it is one script."""
_NAMED = re.compile(r"""^(?P<name>[A-Z]+)="(?P<value>[^"$\n]*)"\n""", re.MULTILINE)
_SHELL = re.compile(r"[|&;<>$`]")
_RUN = re.compile(r"(?:(?P<folder>[\w./-]*runs/[\w/-]+)/)?\bRUN\b")


def serve() -> None:
    """Answer requests until standard input ends."""
    for name in PRELOADED:
        importlib.import_module(name)
    for line in sys.stdin:
        request = json.loads(line)
        answers = Path(request["folder"]).with_suffix(".answers")
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                run_page(Path(request["folder"]), request["snippets"], answers)
                status = 0
            except BaseException:  # noqa: BLE001 - the child must end here, whatever happened
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(status)
        _, status = os.waitpid(pid, 0)
        found = [json.loads(row) for row in answers.read_text().splitlines()] if answers.exists() else []
        print(json.dumps({"status": os.waitstatus_to_exitcode(status), "answers": found}), flush=True)


def run_page(folder: Path, snippets: list[dict[str, Any]], answers: Path) -> None:
    """Run snippets one after another in a folder, until one fails; write what each said."""
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(folder / ".installed"), os.environ.get("PYTHONPATH")]))
    sys.path[:0] = [str(folder), str(folder / ".installed")]
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    with open(answers, "w") as said:
        for snippet in snippets:
            start, out = _cpu_s(), io.StringIO()
            with redirect_stdout(out), redirect_stderr(out):
                try:
                    status = _run(snippet, module)
                except Exception:  # noqa: BLE001 - what cannot be drawn or found is an answer, too
                    traceback.print_exc()
                    status = -1
            print(json.dumps({"status": status, "output": out.getvalue(), "cpu_s": _cpu_s() - start}), file=said, flush=True)
            if status != snippet["directive"]["status"]:
                return


def _cpu_s() -> float:
    """Return the seconds that this process and its children have kept a core."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def _run(snippet: dict[str, Any], module: types.ModuleType) -> int:
    directive = snippet["directive"]
    for name in directive["given"]:
        given.draw(name)
    if snippet["title"]:
        path = Path(snippet["title"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(snippet["text"])
        return 0
    if directive["installs"]:
        _install(Path(directive["installs"]))
        return 0
    text = _with_words(snippet["text"], directive["where"])
    return _python(_with_runs(text), snippet, module) if snippet["language"] == "python" else _bash(text, directive)


def _with_words(text: str, words: dict[str, str]) -> str:
    """Put other words in the places of some, all at once."""
    if not words:
        return text
    names = "|".join(map(re.escape, sorted(words, key=len, reverse=True)))
    return re.sub(rf"(?<![\w.])(?:{names})(?!\w)", lambda match: words[match[0]], text)


def _with_runs(text: str) -> str:
    """Put the newest run where RUN stands."""
    return _RUN.sub(lambda match: _newest(f"{match['folder']}/*" if match["folder"] else "**/runs/*/*"), text)


def _python(text: str, snippet: dict[str, Any], module: types.ModuleType) -> int:
    place = f"{snippet['page']}:{snippet['line']}"
    try:
        exec(compile("\n" * (snippet["line"] - 1) + text, snippet["page"], "exec"), module.__dict__)
    except BaseException as error:  # noqa: BLE001 - whatever a snippet raises is its answer
        traceback.print_exc()
        print(f"{place}: {error!r}")
        return 1
    return 0


def _bash(text: str, directive: dict[str, Any]) -> int:
    text = _with_variables(text)
    if _BY_BASH.search("\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))):
        return _shell(_smaller_in_script(_with_runs(text), directive["extra"]))
    status = 0
    for line in _lines(text):
        status = _command(_with_runs(line), directive["extra"])
        if status != 0:
            return status
    return status


def _with_variables(text: str) -> str:
    """Put what a line gives a name in its place in the lines below."""
    while match := _NAMED.search(text):
        text = text[: match.start()] + re.sub(rf"\${match['name']}\b", lambda _, found=match: found["value"], text[match.end() :])
    return text


def _lines(text: str) -> Iterator[str]:
    """Return command lines: comments left out, continued ones joined."""
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        lexer = shlex.shlex(line, posix=False, punctuation_chars=False)
        lexer.whitespace_split, lexer.commenters = True, ""
        words = []
        for word in lexer:
            if word.startswith("#"):
                break
            words.append(word)
        if words:
            yield " ".join(words)


def _command(line: str, extra: list[str]) -> int:
    words = shlex.split(line)
    bare = re.sub(r"'[^']*'|\"[^\"]*\"", "", line)
    if words[0] != "photic" or _SHELL.search(bare):
        return _shell(line)
    from photic.cli.main import main

    quoted = [word for pair in re.findall(r"'([^']*)'|\"([^\"]*)\"", line) for word in pair if word]
    found = [one for word in words[1:] for one in ([word] if any(word.endswith(part) for part in quoted) else _matching(word))]
    if found[:1] == ["train"] and not {"--cfg", "--help"} & set(found):  # a run that goes on is smaller already
        found += [word for word in extra if "--resume" not in found or word.startswith(("training.", "trainer."))]
    try:
        status = main(found)
    except Exception:  # noqa: BLE001 - a traceback is its answer
        traceback.print_exc()
        status = 1
    if status != 0:
        print(f"`photic {shlex.join(found)}` ended with status {status}")
    return status


def _matching(word: str) -> list[str]:
    """Return what a shell makes of an unquoted word."""
    found = sorted(map(str, Path().glob(word))) if any(star in word for star in "*?[") else []
    return found or [word]


def _shell(script: str) -> int:
    done = subprocess.run(
        ["bash", "-e", "-u", "-o", "pipefail", "-c", script],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    print(done.stdout)
    if done.returncode != 0:
        print(f"`{script}` ended with status {done.returncode}")
    return done.returncode


def _smaller_in_script(text: str, extra: list[str]) -> str:
    joined = re.sub(r"\\\n\s*", "", text)
    return re.sub(
        r"^(photic train .*?)(\s+#.*)?$", lambda match: " ".join([match[1], *map(shlex.quote, extra)]), joined, flags=re.MULTILINE
    )


def _newest(pattern: str) -> str:
    """Return the newest run among the folders that match."""
    found = [path for path in Path().glob(pattern) if (path / "config.yaml").exists()]
    if not found:
        raise FileNotFoundError(f"no run matches {pattern}")
    return str(max(found, key=lambda path: (path / "config.yaml").stat().st_mtime_ns))


def _install(project: Path) -> None:
    """Make a package's modules and entry points known, as pip would."""
    about = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    info = Path(".installed") / f"{about['name'].replace('-', '_')}-{about['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {about['name']}\nVersion: {about['version']}\n")
    points = about["entry-points"].items()
    (info / "entry_points.txt").write_text("".join(f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in of.items()) for group, of in points))
    for package in project.iterdir():
        if package.is_dir():
            (Path(".installed") / package.name).symlink_to(package.resolve())
    importlib.invalidate_caches()
    for name, module in list(sys.modules.items()):  # what a new process would find
        if name.startswith("photic."):
            for value in list(vars(module).values()):
                if hasattr(value, "cache_clear"):
                    value.cache_clear()


if __name__ == "__main__":
    serve()

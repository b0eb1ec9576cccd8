"""Every command and every piece of code of the documentation runs, page by page, as ``scripts/site/snippets.py`` says."""

from __future__ import annotations

import re
from pathlib import Path

import commands
import pytest
from snippets import Directive, Snippet, snippets_of

from .conftest import ROOT, Run

PAGES = [*(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md")), *sorted((ROOT / "docs").glob("*.md"))]
SNIPPETS = {path.relative_to(ROOT).as_posix(): snippets_of(path, ROOT) for path in PAGES}
NOT_RUN = {
    "README.md": ["make demo"],
    "CONTRIBUTING.md": ["make setup"],
    "docs/install.md": ["git clone https://example.org/photic.git && cd photic", "pip install ."],
    "docs/rawnind.md": ["photic data download rawnind -o RawNIND/ --match 'Bayer_7D-*'"],
    "docs/serving.md": [
        "photic serve model.photic lowlight rawdenoise",
        "python -c 'import secrets; print(secrets.token_urlsafe(32))' > token",
    ],
    "docs/training.md": ["torchrun --nproc-per-node 2 -m photic train recipe=quick_strips data.batch_size=8"],
}
"""First commands of all fences that no test runs. Whoever adds one here says why in the page: `runs: no, because ...`."""
FENCE = re.compile(r"^ *```(\w*)[^\n]*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:photic|python) (?!decoder)[^`\n]+)`")
PLACEHOLDER = re.compile(r"\.\.\.|[A-Z]{2,}|\bN\b")


def chosen(page: str, *, slow: bool = False, real: bool = False) -> list[Snippet]:
    """Return what runs of a page: everything but what is slow or needs real data, with what is slow, or what needs real data alone."""
    found = [one for one in SNIPPETS[page] if not one.directive.reason]
    if real:
        return [one for one in found if one.directive.real]
    return [one for one in found if not one.directive.real and (slow or not one.directive.slow)]


def pages(**choice: bool) -> list[str]:
    return [page for page in SNIPPETS if any(not one.title for one in chosen(page, **choice))]


@pytest.mark.parametrize("page", pages())
def test_what_stands_on_a_page_runs(page: str, run: Run, tmp_path: Path) -> None:
    run(tmp_path / "page", chosen(page))


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in SNIPPETS if any(one.directive.slow and not one.directive.real for one in chosen(page, slow=True))]
)
def test_a_whole_page_runs(page: str, run: Run, tmp_path: Path) -> None:
    run(tmp_path / "page", chosen(page, slow=True))


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.timeout(2400)  # ten trainings of a step each, and evaluations on real pictures: seven minutes on two free cores
@pytest.mark.parametrize("page", pages(real=True))
def test_what_needs_real_data_runs(page: str, run: Run, tmp_path: Path, real_data: Path) -> None:
    """In a folder beside which the data lie as they do beside the checkout."""
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "data").symlink_to(real_data)
    run(tmp_path / "checkout", chosen(page, real=True))


def test_what_does_not_run_is_known_and_says_why() -> None:
    found = {
        page: [one.text.splitlines()[0].partition("  ")[0] for one in snippets if one.directive.reason]
        for page, snippets in SNIPPETS.items()
    }
    assert {page: lines for page, lines in found.items() if lines} == NOT_RUN


@pytest.mark.parametrize("page", list(SNIPPETS))
def test_a_program_that_a_page_writes_is_run_there(page: str) -> None:
    """A fence with a title is written to disk; what runs names it, or the package that it is part of."""
    ran = "".join(one.text for one in SNIPPETS[page] if not one.title) + "".join(one.directive.installs for one in SNIPPETS[page])
    programs = [Path(one.title) for one in SNIPPETS[page] if one.title.endswith(".py")]
    assert [str(path) for path in programs if not re.search(rf"\b({path.stem}|{path.parts[0]})\b", ran)] == []


def test_no_command_hides_in_a_fence_of_another_kind() -> None:
    """Fences without a language, and of text, are for what programs print."""
    hidden = [
        f"{path.name}: {line}"
        for path in PAGES
        for language, text in FENCE.findall(path.read_text())
        if language not in ("bash", "python")
        for line in text.splitlines()
        if re.match(r"\s*(\$ *)?(photic|python|pip|make) \S", line)
    ]
    assert hidden == []


@pytest.fixture(scope="module")
def helps() -> dict[str, str]:
    """Help page of every command, by its name."""
    return {name.removesuffix(".md"): text for name, text in commands.pages().items() if name != "index.md"}


@pytest.mark.parametrize("page", list(SNIPPETS))
def test_commands_in_the_text_name_what_there_is(page: str, helps: dict[str, str]) -> None:
    """Commands between the lines are not run, but the command, its options and its files exist."""
    wrong = []
    for command in INLINE.findall((ROOT / page).read_text()):
        program, first, *rest = command.split()
        options = {word.partition("=")[0] for word in rest if re.match(r"--\w", word)}
        missing: list[str] = []
        if program == "photic" and re.fullmatch(r"[a-z][a-z-]*", first):
            missing = sorted(options - set(re.findall(r"--[\w-]+", helps[first]))) if first in helps else [first]
        elif first.startswith("benchmarks/"):
            text = (ROOT / first).read_text() if (ROOT / first).exists() else ""
            missing = sorted(option for option in options if f'"{option}"' not in text) if text else [first]
        wrong += [f"`{command}`: no {', '.join(missing)}"] if missing else []
    assert wrong == []


@pytest.mark.parametrize("page", list(SNIPPETS))
def test_trainings_in_the_text_have_a_configuration(page: str, run: Run, tmp_path: Path) -> None:
    found = [command for command in INLINE.findall((ROOT / page).read_text()) if re.match(r"photic train .*recipe=[a-z]\w*", command)]
    found = [command for command in found if not PLACEHOLDER.search(command) and "--cfg" not in command and " -m " not in command]
    if found:
        text = "".join(f"{command} --cfg job\n" for command in found)
        run(tmp_path / "page", [Snippet(page, 0, "bash", text, Directive())])


@pytest.mark.parametrize(
    ("clauses", "message"),
    [("sometimes", "no such clause: 'sometimes'"), ("with", "no such clause: 'with'"), ("no, because", "no such clause: 'no, because'"),
     ("where x", "no such clause: 'where x'"), ("status one", "no such clause: 'status one'")],
)  # fmt: skip
def test_a_comment_that_is_not_understood_is_refused(clauses: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(f"# Page\n\n<!-- runs: {clauses} -->\n```bash\nphotic list\n```\n")
    with pytest.raises(ValueError, match=re.escape(f"page.md:5: {message}")):
        snippets_of(tmp_path / "page.md", tmp_path)


def test_a_comment_before_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("# Page\n\n<!-- runs: slow -->\nText.\n\n```bash\nphotic list\n```\n")
    with pytest.raises(ValueError, match="stands before nothing that runs"):
        snippets_of(tmp_path / "page.md", tmp_path)


def test_a_command_that_fails_is_found(run: Run, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("```bash\nphotic list nothing\n```\n")
    with pytest.raises(AssertionError, match=r"page.md:2: status 2, expected 0[\s\S]*unknown kind 'nothing'"):
        run(tmp_path / "page", snippets_of(tmp_path / "page.md", tmp_path))


def test_code_that_fails_is_found_with_its_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("Text.\n\n```python\nfine = 1\nassert fine == 2\n```\n")
    with pytest.raises(AssertionError, match=r'page.md:4: status 1[\s\S]*File "page.md", line 5'):
        run(tmp_path / "page", snippets_of(tmp_path / "page.md", tmp_path))

"""The examples in docstrings say what they print."""

from __future__ import annotations

import doctest
import importlib
import io
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCES = ROOT / "src"
MODULES = [
    ".".join(path.relative_to(SOURCES).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted((SOURCES / "photic").rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("package", sorted({".".join(module.split(".")[:2]) for module in MODULES}))
def test_examples_print_what_they_say(package: str) -> None:
    said = io.StringIO()
    failed = num_examples = 0
    for module in (name for name in MODULES if name == package or name.startswith(package + ".")):
        for test in doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(module)):
            runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.NORMALIZE_WHITESPACE)
            runner.run(test, out=said.write)
            failed, num_examples = failed + runner.failures, num_examples + runner.tries
    assert num_examples > 0
    assert failed == 0, said.getvalue()

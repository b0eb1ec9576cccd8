"""What the arguments of commands are checked with."""

import argparse

import pytest

from photic.core.arguments import whole_number


@pytest.mark.parametrize(("least", "text", "value"), [(0, "0", 0), (0, "12", 12), (1, "1", 1)])
def test_whole_numbers_are_taken(least, text, value):
    assert whole_number(least)(text) == value


@pytest.mark.parametrize(("least", "text"), [(1, "0"), (0, "-1"), (0, "2.5"), (0, ""), (0, "two")])
def test_anything_else_is_refused_with_what_was_expected(least, text):
    with pytest.raises(argparse.ArgumentTypeError, match=f"expected a whole number from {least}, got '{text}'"):
        whole_number(least)(text)

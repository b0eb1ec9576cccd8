"""Configs check themselves, say where a value is wrong, and survive the way to plain values and back."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from photic.core.errors import ConfigError
from photic.core.schema import Config, Range


@dataclass(frozen=True, kw_only=True)
class Inner(Config):
    level: Annotated[float, Range(ge=0, lt=1)] = 0.5
    mode: Literal["mean", "sum"] = "mean"


@dataclass(frozen=True, kw_only=True)
class Outer(Config):
    count: Annotated[int, Range(ge=1)]
    stages: tuple[Literal[1, 2, 3, 4], ...] = (3, 4)
    size: tuple[int, int] | None = None
    root: Path | None = None
    flag: bool = False
    alpha: Literal["dynamic"] | float | None = None
    inner: Inner = field(default_factory=Inner)


def test_plain_values_become_typed_and_come_back_the_same() -> None:
    config = Outer.from_dict({"count": 2, "stages": [4], "size": [8, 9], "root": "a/b", "alpha": 1, "inner": {"level": 0}})
    assert config == Outer(count=2, stages=(4,), size=(8, 9), root=Path("a/b"), alpha=1.0, inner=Inner(level=0.0))
    assert isinstance(config.inner.level, float)
    assert Outer.from_dict(config.to_dict()) == config
    assert config.to_dict()["stages"] == [4]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"count": 1, "cuont": 2}, "config: unknown field 'cuont'; did you mean 'count'?"),
        ({}, "config: missing field 'count'; set count=..."),
        ({"count": "2"}, "config.count: expected int, got '2' (str)"),
        ({"count": True}, "config.count: expected int, got True (bool)"),
        ({"count": 1.5}, "config.count: expected int, got 1.5 (float)"),
        ({"count": 0}, "config.count: expected a value >= 1, got 0"),
        ({"count": 1, "inner": {"level": 1}}, "config.inner.level: expected a value >= 0 and < 1, got 1.0"),
        ({"count": 1, "inner": {"lvel": 1}}, "config.inner: unknown field 'lvel'; did you mean 'level'?"),
        ({"count": 1, "inner": {"mode": "men"}}, "config.inner.mode: expected one of 'mean', 'sum', got 'men' (str); did you mean 'mean'?"),
        ({"count": 1, "inner": 3}, "config.inner: expected the fields of Inner, got 3 (int)"),
        ({"count": 1, "stages": [5]}, "config.stages[0]: expected one of 1, 2, 3, 4, got 5"),
        ({"count": 1, "stages": 3}, "config.stages: expected a list of"),
        ({"count": 1, "size": [1, 2, 3]}, "config.size: expected 2 values, got 3"),
        ({"count": 1, "flag": 1}, "config.flag: expected true or false, got 1 (int)"),
        ({"count": 1, "alpha": "dynamc"}, "config.alpha: expected 'dynamic' or float or null, got 'dynamc' (str)"),
        ({"count": 1, "inner": {"level": float("nan")}}, "config.inner.level: expected a value >= 0 and < 1, got nan"),
    ],
)
def test_errors_name_path_expectation_and_value(values: dict, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Outer.from_dict(values)
    assert message in str(caught.value)


def test_a_config_made_in_python_is_checked_like_one_from_a_file() -> None:
    with pytest.raises(ConfigError, match=r"Inner\.level: expected a value >= 0 and < 1"):
        Inner(level=2.0)
    with pytest.raises(ConfigError, match="expected int"):
        Outer(count="3")  # type: ignore[arg-type]


def test_configs_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Inner().level = 0.1  # type: ignore[misc]


def test_replace_checks_again() -> None:
    with pytest.raises(ConfigError):
        Inner().replace(level=7)


@given(
    st.builds(
        Outer,
        count=st.integers(1, 100),
        stages=st.lists(st.sampled_from([1, 2, 3, 4])).map(tuple),
        size=st.none() | st.tuples(st.integers(), st.integers()),
        root=st.none() | st.just(Path("x")),
        alpha=st.none() | st.just("dynamic") | st.floats(allow_nan=False),
        inner=st.builds(Inner, level=st.floats(0, 0.99)),
    )
)
def test_every_config_round_trips(config: Outer) -> None:
    assert Outer.from_dict(config.to_dict()) == config

"""The shelf's folders: where bundles go by their names, and what happens when two go by the same."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from photic.core.errors import ConfigError, UnknownNameError
from photic.core.plugins import model_source, named_model, shipped_models
from photic.core.shelf import local_bundles, models_named, shelf_folders, user_folder


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without models, in an empty folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("PHOTIC_MODELS", raising=False)
    return tmp_path


def put(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_the_users_folder_follows_the_conventions_of_the_system(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert user_folder() == home / "data" / "photic" / "models"
    monkeypatch.setenv("XDG_DATA_HOME", "relative/is/ignored")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(sys, "platform", "linux")
    assert user_folder() == home / ".local" / "share" / "photic" / "models"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert user_folder() == home / "Library" / "Application Support" / "photic" / "models"


def test_the_search_path_stands_in_place_of_the_present_folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shelf_folders() == (Path(), user_folder())
    monkeypatch.setenv("PHOTIC_MODELS", os.pathsep.join([str(home / "a"), "", str(home / "b")]))
    assert shelf_folders() == (home / "a", home / "b", user_folder())


def test_bundles_are_found_by_their_endings_in_the_folders_alone_each_once(home: Path) -> None:
    here, own = put(Path("b.photic")), put(user_folder() / "a.photic")
    put(Path("below/c.photic"))
    put(Path(".b.photic.123.tmp"))
    put(Path(".hidden.photic"))
    put(Path("d.safetensors"))
    Path("link.photic").symlink_to("b.photic")
    assert local_bundles() == [here, own]
    assert local_bundles([Path("below"), Path("nowhere"), Path("d.safetensors")]) == [Path("below/c.photic")]


def test_a_model_goes_by_the_name_of_its_file(home: Path) -> None:
    own = put(user_folder() / "night.photic")
    assert models_named("night") == [own] and named_model("night") == own and model_source("night") == own
    for other in ("night.photic", "./night", "../here/night", "", ".", "nothing"):
        assert models_named(other) == [] and named_model(other) is None


def test_what_exists_as_a_path_is_one(home: Path) -> None:
    put(user_folder() / "night.photic")
    assert model_source(put(Path("night"))) == Path("night")


def test_two_models_of_one_name_are_an_error_that_names_both(home: Path) -> None:
    here, own = put(Path("night.photic")), put(user_folder() / "night.photic", b"y")
    with pytest.raises(ConfigError, match=rf"night: several models go by this name: {here}, {own}; give the path"):
        model_source("night")
    shipped = put(Path("rawdenoise.photic"))
    with pytest.raises(ConfigError, match=rf"rawnind/weights/rawdenoise\.photic, {shipped}; give the path"):
        model_source("rawdenoise")
    assert model_source("rawdenoise.photic") == shipped


def test_the_same_model_twice_is_none(home: Path) -> None:
    shipped = shipped_models()["lowlight"]
    put(Path("lowlight.photic"), shipped.read_bytes())
    assert model_source("lowlight") == shipped


def test_an_unknown_name_is_answered_with_those_there_are(home: Path) -> None:
    put(user_folder() / "night.photic")
    with pytest.raises(UnknownNameError, match=r"nihgt: no such .*did you mean 'night'.*rawdenoise, .*night; `photic models`"):
        model_source("nihgt")

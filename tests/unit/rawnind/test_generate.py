"""`photic data generate rawnind`: what it draws is what the rest reads."""

from __future__ import annotations

import numpy as np
import pytest

from photic.apps.rawnind.files.reading import read_raw
from photic.apps.rawnind.pairs.layouts import find_pictures
from photic.apps.rawnind.synthetic.clean import clean_files, read_clean, scene_of
from photic.apps.rawnind.synthetic.drawn import draw_scene
from photic.apps.rawnind.synthetic.generate import generate, main
from photic.apps.rawnind.synthetic.noise_levels import noise_at
from photic.core.errors import DataError

SIZE = {"height": 64, "width": 96}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    out = tmp_path_factory.mktemp("drawn") / "drawn"
    assert main([str(out), "--num", "2", "--height", "64", "--width", "96", "--iso", "6400", "25600", "--seed", "3"]) == 0
    return out


def test_raw_files_lie_as_preparing_pairs_expects_them(drawn):
    found = find_pictures(drawn / "raw")
    assert "folders per scene with gt/" in found.layout
    assert [(picture.scene, picture.role) for picture in found.pictures] == [
        (scene, role) for scene in ("scene000", "scene001") for role in ("gt", "noisy", "noisy")
    ]


def test_a_raw_file_says_its_iso_value_its_noise_and_its_colours(drawn):
    raw = read_raw(drawn / "raw" / "scene001" / "scene001_iso6400.dng")
    assert raw.is_bayer
    assert raw.size == (64, 96)
    assert raw.iso == 6400
    assert raw.noise == pytest.approx((noise_at(6400).shot, noise_at(6400).read))
    assert raw.white_balance is not None
    assert raw.xyz_to_camera is not None


def test_noise_is_as_large_as_the_iso_value_says(drawn):
    clean, noisy = (read_raw(drawn / "raw" / "scene000" / name).values for name in ("gt/scene000_iso100.dng", "scene000_iso25600.dng"))
    noise = noise_at(25600)
    light = clean.clip(0, 1)
    inside = light < 0.5  # where nothing is clipped
    expected = (noise.shot * light + noise.read)[inside].mean()
    assert ((noisy - clean)[inside] ** 2).mean() == pytest.approx(expected, rel=0.1)


def test_clean_pictures_are_the_drawn_scenes(drawn):
    files = clean_files([drawn / "clean"])
    assert [scene_of(path) for path in files] == ["scene000", "scene001"]  # so that they may lie in different splits
    picture = read_clean(drawn / "clean" / "scene001.png")
    np.testing.assert_allclose(picture.values.astype(np.float32), draw_scene(3, 1, 64, 96), atol=0.006)


def test_developed_pairs_have_the_names_that_are_paired(drawn):
    assert sorted(path.name for path in (drawn / "developed").iterdir()) == [
        f"scene{number}_{kind}.jpg" for number in ("000", "001") for kind in ("mean", "real")
    ]


def test_the_same_seed_gives_the_same_files(drawn, tmp_path):
    generate(tmp_path / "again", 2, **SIZE, iso=(6400, 25600), seed=3)
    for path in drawn.rglob("*.dng"):
        assert (tmp_path / "again" / path.relative_to(drawn)).read_bytes() == path.read_bytes()


def test_force_replaces_what_was_generated_and_nothing_else(tmp_path):
    generate(tmp_path, 2, **SIZE)
    (tmp_path / "raw" / "mine.dng").write_bytes(b"mine")
    with pytest.raises(DataError, match="not empty; choose another folder, or add --force"):
        generate(tmp_path, 1, **SIZE)
    generate(tmp_path, 1, **SIZE, force=True)
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == [
        "mine.dng", "scene000.png", "scene000_iso100.dng", "scene000_iso6400.dng", "scene000_mean.jpg", "scene000_real.jpg",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "wrong", [{"num": 0}, {"height": 63}, {"width": 32}, {"iso": ()}, {"iso": (100,)}, {"iso": (800, 800)}, {"iso": (70000,)}], ids=str
)
def test_what_cannot_be_drawn_is_refused_before_anything_is_written(tmp_path, wrong):
    with pytest.raises(DataError, match="cannot draw"):
        generate(tmp_path / "new", **{"num": 2, **SIZE, **wrong})
    assert not (tmp_path / "new").exists()

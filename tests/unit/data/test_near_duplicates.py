"""Near-duplicate pictures."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter

from photic.apps.defects.synthetic import draw_strip
from photic.core.errors import DataError
from photic.data.near_duplicates import group_signatures, near_duplicate_groups, read_signature, signature


def save(picture, path, **options):
    Image.fromarray(np.asarray(picture)).save(path, **options)
    return path


@pytest.fixture
def strip():
    return draw_strip(0, 3, 256, 800).picture


def test_different_strips_are_never_merged_however_alike_they_look(tmp_path):
    paths = [save(draw_strip(0, index, 128, 640).clean, tmp_path / f"{index}.png") for index in range(60)]
    assert near_duplicate_groups(paths).tolist() == list(range(60))


@pytest.mark.parametrize(
    "change",
    [
        lambda picture: picture,
        lambda picture: picture.point(lambda level: min(255, int(level * 1.2 + 5))),
        lambda picture: picture.filter(ImageFilter.GaussianBlur(1)),
        lambda picture: picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.BOX),
        lambda picture: picture.convert("RGB"),
        lambda picture: Image.fromarray(np.roll(np.asarray(picture), 1, axis=1)),
    ],
    ids=["same", "brighter", "blurred", "half size", "in colour", "shifted by a pixel"],
)
def test_a_changed_copy_is_found(tmp_path, strip, change):
    paths = [
        save(strip, tmp_path / "a.png"),
        save(draw_strip(0, 4, 256, 800).picture, tmp_path / "b.png"),
        save(change(Image.fromarray(strip)), tmp_path / "c.jpg", quality=60),
    ]
    assert near_duplicate_groups(paths).tolist() == [0, 1, 0]


def test_flat_pictures_have_no_near_duplicates():
    rng = np.random.default_rng(0)
    flat = [signature(rng.normal(3, 0.05, (32, 64)).astype(np.float32)) for _ in range(3)]
    assert group_signatures(np.stack([*flat, signature(np.zeros((32, 64), np.float32))])).tolist() == [0, 1, 2, 3]


def test_groups_follow_chains_and_blocks(monkeypatch):
    monkeypatch.setattr("photic.data.near_duplicates._BLOCK", 2)
    angles = np.deg2rad([0, 90, 35, 200, 70, 200])  # neighbours in the chain 0-35-70-90 are near, its ends are not
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert group_signatures(points).tolist() == [0, 0, 0, 1, 0, 1]


def test_the_same_files_give_the_same_groups(tmp_path):
    paths = [save(draw_strip(0, index % 4).picture, tmp_path / f"{index}.png") for index in range(8)]
    assert near_duplicate_groups(paths, num_threads=1).tolist() == near_duplicate_groups(paths, num_threads=3).tolist() == [0, 1, 2, 3] * 2


def test_a_truncated_picture_is_named(tmp_path, strip):
    path = save(strip, tmp_path / "broken.jpg")
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"broken\.jpg: damaged or truncated"):
        read_signature(path)
    with pytest.raises(DataError, match=r"missing\.png: no such file"):
        near_duplicate_groups([tmp_path / "missing.png"])


def test_no_pictures_have_no_groups():
    assert near_duplicate_groups([]).shape == (0,)

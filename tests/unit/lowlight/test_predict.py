"""``photic predict`` with an enhancer: files, folders, globs, names of results, what is there already, what cannot be read."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from photic.apps.lowlight.enhancing import enhance
from photic.apps.lowlight.predict import main as predict
from photic.apps.lowlight.predict import opened
from photic.cli.main import main as photic
from photic.core.errors import ConfigError, DataError
from photic.data.photo.files import Photo, read_photo, write_photo
from photic.inference.targets import Target, plan
from photic.workflows.file_jobs import kinds_of

from .conftest import dark_scene


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Return a folder with pictures of several kinds, one of them in a folder below."""
    folder = tmp_path / "photos"
    pixels = np.rint(255 * dark_scene(40, 50)).astype(np.uint8)
    write_photo(folder / "a.png", Photo(pixels))
    write_photo(folder / "b.jpg", Photo(pixels))
    write_photo(folder / "trip" / "c.tif", Photo(pixels.astype(np.uint16) * 257))
    Image.fromarray(pixels).save(folder / "d.ppm")
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.png").write_bytes(b"")
    return folder


def run(model: Path, *words: object) -> int:
    return predict([str(model), *map(str, words), "--quiet", "--device", "cpu"])


def planned(model: Path, inputs: list[str], output: Path, form: str | None = None) -> list[Target]:
    return plan(inputs, output, kinds_of(opened(str(model), "cpu"), form))


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_one_photograph_through_the_command_line(trained_run, photos, tmp_path, capsys):
    status = photic(["predict", str(trained_run), str(photos / "a.png"), "--strength", "0.7", "-o", str(tmp_path / "out.png"), "--quiet"])
    assert status == 0
    assert str(tmp_path / "out.png") in capsys.readouterr().out
    expected = enhance(photos / "a.png", trained_run, strength=0.7)
    np.testing.assert_array_equal(read_photo(tmp_path / "out.png").pixels, expected)


def test_a_folder_keeps_names_folders_and_formats(trained_run, photos, tmp_path):
    assert run(trained_run, photos, "-o", tmp_path / "out") == 0
    assert names(tmp_path / "out") == ["a.png", "b.jpg", "d.png", "trip/c.tif"]
    assert read_photo(tmp_path / "out" / "trip" / "c.tif").bits == 16
    assert read_photo(tmp_path / "out" / "b.jpg").pixels.mean() > read_photo(photos / "b.jpg").pixels.mean()


def test_results_go_beside_the_inputs_where_nothing_else_is_said(trained_run, photos, tmp_path):
    assert run(trained_run, photos / "b.jpg") == 0
    assert (photos / "b_enhanced.jpg").is_file()
    (photos / "b_enhanced.jpg").unlink()
    assert run(trained_run, photos) == 0
    assert names(tmp_path / "photos_enhanced") == ["a.png", "b.jpg", "d.png", "trip/c.tif"]


def test_a_glob_several_files_and_another_format(trained_run, photos, tmp_path):
    assert run(trained_run, f"{photos}/*.p*", "-o", tmp_path / "glob", "--format", "webp") == 0
    assert names(tmp_path / "glob") == ["a.webp", "d.webp"]
    assert run(trained_run, photos / "a.png", photos / "trip" / "c.tif", "-o", tmp_path / "two") == 0
    assert names(tmp_path / "two") == ["a.png", "c.tif"]
    assert run(trained_run, photos / "a.png", "-o", tmp_path / "two" / "new") == 0
    assert names(tmp_path / "two" / "new") == ["a.png"]


def test_nothing_is_replaced_unasked_and_an_interrupted_folder_goes_on(trained_run, photos, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(trained_run, photos, "-o", out) == 0
    mine = b"something else"
    (out / "a.png").write_bytes(mine)
    (out / "b.jpg").unlink()
    with pytest.raises(ConfigError, match="--skip-existing leaves them"):
        run(trained_run, photos, "-o", out)
    assert names(out) == ["a.png", "d.png", "trip/c.tif"]
    capsys.readouterr()
    assert run(trained_run, photos, "-o", out, "--skip-existing") == 0
    assert "1 file written" in (text := capsys.readouterr().out)
    assert "3 were there already" in text
    assert (out / "a.png").read_bytes() == mine
    assert (out / "b.jpg").is_file()
    assert run(trained_run, photos, "-o", out, "--force") == 0
    assert (out / "a.png").read_bytes() != mine


def test_originals_are_never_lost(trained_run, photos):
    with pytest.raises(ConfigError, match="one of the inputs"):
        run(trained_run, photos / "a.png", "-o", photos / "a.png", "--force")
    with pytest.raises(ConfigError, match="folder of the pictures itself"):
        run(trained_run, photos, "-o", photos, "--force")
    with pytest.raises(ConfigError, match="one of the inputs"):
        run(trained_run, photos / "a.png", photos / "b.jpg", "-o", photos, "--force")


def test_an_output_folder_inside_the_input_is_no_input(trained_run, photos):
    for _ in range(2):
        assert run(trained_run, photos, "-o", photos / "out", "--force") == 0
        assert names(photos / "out") == ["a.png", "b.jpg", "d.png", "trip/c.tif"]


def test_files_that_cannot_be_read_are_named_and_the_others_done(trained_run, photos, tmp_path, capsys):
    (photos / "bad.png").write_bytes((photos / "a.png").read_bytes()[:100])
    assert run(trained_run, photos, "-o", tmp_path / "out") == 1
    text = capsys.readouterr().out
    assert "1 SKIPPED" in text
    assert "bad.png" in text
    assert names(tmp_path / "out") == ["a.png", "b.jpg", "d.png", "trip/c.tif"]
    assert run(trained_run, photos / "bad.png", "-o", tmp_path / "bad.png") == 1


def test_a_black_picture_is_left_and_said(trained_run, tmp_path, capsys):
    write_photo(tmp_path / "black.png", Photo(np.zeros((9, 9, 3), np.uint8)))
    assert run(trained_run, tmp_path / "black.png", "-o", tmp_path / "out.png") == 0
    text = capsys.readouterr().out
    assert "black.png" in text
    assert "nothing to enhance" in text


def test_before_and_after_side_by_side(trained_run, photos, tmp_path):
    assert run(trained_run, photos / "a.png", "-o", tmp_path / "o.png", "--compare") == 0
    both = read_photo(tmp_path / "o_compare.jpg").pixels
    assert both.shape == (40, 108, 3)
    assert both[:, 58:].mean() > both[:, :50].mean()
    with pytest.raises(ConfigError, match="o_compare.jpg"):
        (tmp_path / "o.png").unlink()
        run(trained_run, photos / "a.png", "-o", tmp_path / "o.png", "--compare")


def test_a_video_beside_pictures(trained_run, photos, tmp_path, capsys):
    writer = cv2.VideoWriter(str(photos / "clip.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10, (48, 32))
    for _ in range(5):
        writer.write(np.full((32, 48, 3), 20, np.uint8))
    writer.release()
    assert run(trained_run, photos / "clip.mp4", "-o", tmp_path / "b.avi", "--smooth", 0.5) == 0
    assert "5 frames of 48 x 32" in capsys.readouterr().out
    assert run(trained_run, photos, "-o", tmp_path / "out") == 0
    assert "clip.mp4" in names(tmp_path / "out")
    with pytest.raises(ConfigError, match="only videos"):
        run(trained_run, photos / "clip.mp4", "-o", tmp_path / "c.mp4", "--compare")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--strength", "3"], "strength"),
        (["--tile", "20"], "too small"),
        (["--max-megapixels", "1"], None),
    ],
)
def test_options_are_checked_before_anything_is_done(trained_run, photos, tmp_path, words, message):
    if message is None:
        assert run(trained_run, photos / "a.png", "-o", tmp_path / "x.png", *words) == 0
    else:
        with pytest.raises(ConfigError, match=message):
            run(trained_run, photos / "a.png", "-o", tmp_path / "x.png", *words)
        assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize("wrong", ["x.gif", "x.mp4"])
def test_an_ending_that_cannot_be_written_is_refused(trained_run, photos, tmp_path, wrong):
    with pytest.raises(ConfigError, match="cannot write results"):
        planned(trained_run, [str(photos / "a.png")], tmp_path / wrong)


def test_inputs_that_are_not_there_are_refused(trained_run, photos, tmp_path):
    with pytest.raises(DataError, match="no such file or folder"):
        planned(trained_run, [str(tmp_path / "absent")], tmp_path / "o")
    with pytest.raises(DataError, match="matches this pattern"):
        planned(trained_run, [f"{photos}/*.nef"], tmp_path / "o")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no pictures"):
        planned(trained_run, [str(tmp_path / "empty")], tmp_path / "o")
    with pytest.raises(ConfigError, match="is a file"):
        planned(trained_run, [str(photos)], photos / "a.png")


def test_two_files_that_would_become_one_are_refused(trained_run, photos, tmp_path):
    shutil.copy(photos / "b.jpg", photos / "a.jpg")
    with pytest.raises(ConfigError, match="would both become"):
        planned(trained_run, [str(photos)], tmp_path / "o", "png")
    with pytest.raises(ConfigError, match="would both become"):
        planned(trained_run, [str(photos / "a.png"), str(shutil.copy(photos / "a.png", photos / "trip"))], tmp_path / "o")
    assert len(planned(trained_run, [str(photos / "a.png"), str(photos / "a.png")], tmp_path / "o")) == 1


def test_a_model_that_comes_with_photic_is_taken_by_its_name(trained_run, photos, tmp_path, monkeypatch):
    from photic.core.plugins import Plugin, get_plugin
    from photic.workflows.bundle import bundle

    bundle(trained_run, tmp_path / "weights" / "tiny_night.photic")
    brought = {"tiny_night": tmp_path / "weights" / "tiny_night.photic"}
    assert get_plugin("lowlight").shipped_models() is not None
    monkeypatch.setattr(Plugin, "shipped_models", lambda self: brought if self.name == "lowlight" else {})
    assert photic(["predict", "tiny_night", str(photos / "a.png"), "-o", str(tmp_path / "o.png"), "--quiet"]) == 0
    np.testing.assert_array_equal(read_photo(tmp_path / "o.png").pixels, enhance(photos / "a.png", "tiny_night"))

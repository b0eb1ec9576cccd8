"""What ``photic data check lowlight`` finds, and what it does not make up."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from photic.apps.lowlight import check
from photic.apps.lowlight.alignment import agreement
from photic.apps.lowlight.synthetic import draw_pair
from photic.core.errors import ConfigError, DataError
from photic.data.images import write_image
from photic.data.photo.files import Photo, read_photo, write_photo

SIZE = (96, 128)


def moved(picture: np.ndarray, right: int, down: int) -> np.ndarray:
    return np.roll(picture, (down, right), (0, 1))


def folder_of(root: Path, num: int = 6) -> Path:
    for number in range(num):
        low, high = draw_pair(3, number, *SIZE)
        write_image(root / "low" / f"{number}.png", low)
        write_image(root / "high" / f"{number}.png", high)
    return root


def messages_of(root: Path, *fields: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for problem in check.check(check.configure(root, fields)).problems:
        found.setdefault(problem.kind, []).append(problem.message)
    return found


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize("shift", [(0, 0), (3, 0), (-2, 4), (17, -9)])
def test_a_shift_is_found_in_noise_and_the_dark(number: int, shift: tuple[int, int]) -> None:
    low, high = draw_pair(3, number, *SIZE)
    found = agreement(low, moved(high, *shift))
    assert found is not None
    assert np.hypot(found.shift_px[0] - shift[0], found.shift_px[1] - shift[1]) < 1
    assert found.correlation > 0.25


def test_pictures_of_two_scenes_do_not_agree_and_tiny_or_flat_ones_cannot_tell() -> None:
    pairs = [draw_pair(3, number, 200, 260) for number in range(6)]
    for number in range(6):
        found = agreement(pairs[number][0], pairs[(number + 1) % 6][1])
        assert found is not None and found.correlation < 0.25
    assert agreement(np.zeros((20, 90, 3), np.uint8), np.zeros((20, 90, 3), np.uint8)) is None
    flat = agreement(np.full((40, 90, 3), 9, np.uint8), pairs[0][1][:40, :90])
    assert flat is not None and (flat.shift_px, flat.correlation) == ((0.0, 0.0), 0.0)
    with pytest.raises(DataError, match="expected pictures of one size"):
        agreement(pairs[0][0], pairs[0][1][1:])


def test_depth_makes_no_difference_to_a_shift() -> None:
    low, high = draw_pair(3, 0, *SIZE)
    plain, deep = agreement(low, moved(high, 3, 0)), agreement(low.astype(np.uint16) * 257, moved(high, 3, 0).astype(np.float32) / 255)
    assert plain is not None and deep is not None
    assert plain.shift_px == deep.shift_px
    assert plain.correlation == pytest.approx(deep.correlation, abs=1e-5)


def test_a_sound_set_has_no_problems(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = folder_of(tmp_path / "set")
    assert check.main([str(root), "-o", str(tmp_path / "sheet.png"), "--json", str(tmp_path / "check.json"), "--quiet"]) == 0
    shown = capsys.readouterr().out
    for text in (
        "layout low and high",
        "6 pairs, 0 dark pictures alone, 6 scenes",
        "6 of 128x96",
        "6 of 8 bit",
        "no problems",
        "times brighter",
    ):
        assert text in shown
    sheet = read_photo(tmp_path / "sheet.png").pixels
    assert sheet.shape[1] > 6 * 128 and sheet.shape[0] > 2 * 96
    report = json.loads((tmp_path / "check.json").read_text())
    assert (report["schema"], report["scenes"], report["problems"], len(report["pairs"])) == (1, 6, [], 6)
    low, high = read_photo(root / "low/2.png").pixels, read_photo(root / "high/2.png").pixels
    entry = report["pairs"][2]
    assert entry["low_mean"] == pytest.approx(low.mean(), abs=1e-3) and entry["high_mean"] == pytest.approx(high.mean(), abs=1e-3)
    assert entry["gain"] == pytest.approx(high.mean() / low.mean(), abs=1e-3)
    with pytest.raises(ConfigError, match="is there already"):
        check.main([str(root), "-o", str(tmp_path / "sheet.png"), "--quiet"])
    with pytest.raises(ConfigError, match="ending in .png"):
        check.main([str(root), "-o", str(tmp_path / "sheet.jpg"), "--quiet"])


def test_every_kind_of_trouble_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = folder_of(tmp_path / "set", 12)
    low, high = root / "low", root / "high"
    (high / "0.png").unlink()
    (low / "1.png").write_bytes((low / "1.png").read_bytes()[:200])
    write_image(high / "2.png", read_photo(high / "2.png").pixels[:-6])
    write_image(high / "3.png", moved(read_photo(high / "3.png").pixels, 5, -2))
    write_image(low / "4.png", np.ones((*SIZE, 3), np.uint8))
    write_image(high / "5.png", draw_pair(9, 0, *SIZE)[1])
    dark, bright = (low / "6.png").read_bytes(), (high / "6.png").read_bytes()
    (low / "6.png").write_bytes(bright)
    (high / "6.png").write_bytes(dark)
    (low / "8.png").write_bytes((low / "7.png").read_bytes())
    (high / "8.png").write_bytes((high / "7.png").read_bytes())
    assert check.main([str(root), "--quiet", "--json", str(tmp_path / "check.json")]) == 1
    shown = capsys.readouterr().out
    found: dict[str, list[str]] = {}
    for problem in json.loads((tmp_path / "check.json").read_text())["problems"]:
        found.setdefault(problem["kind"], []).append(problem["message"])
    assert sorted(found) == sorted(
        ["unpaired", "unreadable", "different sizes", "misaligned", "all black", "not one scene", "not darker", "duplicate"]
    )
    assert all(len(texts) == 1 for texts in found.values())
    assert found["unpaired"] == ["low/0.png: no true picture of that name in high/"]
    assert "1.png: damaged or truncated" in found["unreadable"][0]
    assert f"{low / '2.png'} is 128 x 96 pixels, {high / '2.png'} is 128 x 90; a pair" in found["different sizes"][0]
    assert "pair '3': the dark picture has to be moved by (+4.9, -2.0) pixels" in found["misaligned"][0]
    assert "nothing in it is brighter than 1.0 of 255" in found["all black"][0]
    assert "pair '5'" in found["not one scene"][0]
    assert "the two may be exchanged" in found["not darker"][0]
    assert "8.png: the same file as" in found["duplicate"][0]
    assert "misaligned (1)" in shown and "8 problems" in shown


def test_files_of_other_kinds_are_not_passed_over_in_silence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = folder_of(tmp_path)
    for name in ("low/x.gif", "high/x.GIF", "low/deep/a.cr2", "low/.hidden.gif", "low/notes.txt", "README"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"")
    assert check.main([str(root), "--quiet"]) == 0
    said = f"note: {root}: files of other kinds were passed over: 2 .gif, 1 .cr2 (for example high/x.GIF)"
    assert said in capsys.readouterr().out


def test_nan_in_a_float_tiff_is_named(tmp_path: Path) -> None:
    root = folder_of(tmp_path)
    values = read_photo(root / "low/1.png").pixels.astype(np.float32) / 255
    values[3, 4] = np.nan
    (root / "low/1.png").unlink()
    tifffile.imwrite(root / "low/1.tif", values, photometric="rgb")
    assert "1.tif: 3 of 36864 values are NaN or infinite, the first in row 3, column 4" in messages_of(root)["unreadable"][0]


def test_one_pixel_pictures_pass(tmp_path: Path) -> None:
    for number in range(3):
        write_photo(tmp_path / "low" / f"{number}.png", Photo(np.full((1, 1, 3), 20 + number, np.uint8)))
        write_photo(tmp_path / "high" / f"{number}.png", Photo(np.full((1, 1, 3), 90 + number, np.uint8)))
    assert messages_of(tmp_path) == {}


def test_dark_pictures_alone_are_checked_too(tmp_path: Path) -> None:
    folder_of(tmp_path)
    report = check.check(check.configure(tmp_path / "low", ["data.pairing=none"]))
    assert report.problems == () and len(report.facts) == 6 and report.facts[0].gain is None
    assert messages_of(tmp_path / "low", "pairing=none") == {}


def test_scenes_that_the_table_parts_are_noted(tmp_path: Path) -> None:
    folder_of(tmp_path)
    rows = [f"{number},low/{number}.png,high/{number}.png,{number}" for number in range(6)]
    write_image(tmp_path / "high/4.png", (read_photo(tmp_path / "high/1.png").pixels * 0.9).astype(np.uint8))
    write_image(tmp_path / "low/4.png", (read_photo(tmp_path / "low/1.png").pixels * 0.9).astype(np.uint8))
    (tmp_path / "pairs.csv").write_text("name,low,high,scene\n" + "\n".join(rows))
    report = check.check(check.configure(tmp_path))
    assert report.problems == ()
    assert report.notes == ("1, 4 look like one scene, but the data name different ones; a split may part them",)


def test_wrong_fields_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected FIELD=VALUE"):
        check.configure(tmp_path, ["strict"])
    with pytest.raises(ConfigError, match="pairing"):
        check.configure(tmp_path, ["pairing=loose"])

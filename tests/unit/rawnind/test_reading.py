"""Raw files into memory: levels, patterns at every phase, colour, notes; and files that are no good."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import numpy as np
import pytest

from photic.apps.rawnind.files.libraw import raw_size
from photic.apps.rawnind.files.reading import read_raw
from photic.core.errors import DataError
from photic.data.photo import exif
from photic.functional.cfa import BAYER, XTRANS, shifted

from .dng_files import BLACK, MATRIX, WHITE, mosaicked, rationals, scene, stored, write_raw

SIZE = (48, 56)


@pytest.mark.parametrize("name", list(BAYER))
def test_all_four_orders_come_out_with_their_pattern_and_values(name, tmp_path):
    values = stored(mosaicked(scene(*SIZE), BAYER[name]))
    picture = read_raw(write_raw(tmp_path / "a.dng", values, pattern=BAYER[name]))
    assert picture.pattern == BAYER[name]
    assert picture.values.dtype == np.float32
    np.testing.assert_allclose(picture.values, (values.astype(float) - BLACK) / (WHITE - BLACK), atol=1e-6)
    assert (picture.black_levels, picture.white_level) == ((BLACK,), WHITE)
    assert picture.camera == "Photic Made Camera"


@pytest.mark.parametrize(("top", "left"), [(3, 4), (2, 5), (5, 3)])
def test_odd_margins_keep_colours_in_their_places(top, left, tmp_path):
    """LibRaw leaves out one more row or column where a Bayer file's margin is odd; pattern and values have to go along with it."""
    values = stored(mosaicked(scene(*SIZE), BAYER["GBRG"]))
    area = {50829: (4, 4, [top, left, SIZE[0] - 1, SIZE[1] - 2])}  # patterns of DNGs begin where the area does
    picture = read_raw(write_raw(tmp_path / "a.dng", values, pattern=shifted(BAYER["GBRG"], top, left), tags=area))
    cut = SIZE[0] - 1 - picture.size[0], SIZE[1] - 2 - picture.size[1]
    assert (cut[0] - top, cut[1] - left) in [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert picture.pattern == shifted(BAYER["GBRG"], *cut)
    inside = values[cut[0] : SIZE[0] - 1, cut[1] : SIZE[1] - 2]
    np.testing.assert_allclose(picture.values, (inside.astype(float) - BLACK) / (WHITE - BLACK), atol=1e-6)
    assert picture.in_rggb_order().pattern == BAYER["RGGB"]
    odd = picture.cropped(1, 2, 20, 21)
    np.testing.assert_array_equal(odd.values, picture.values[1:21, 2:23])
    assert odd.pattern == shifted(BAYER["GBRG"], cut[0] + 1, cut[1] + 2)


@pytest.mark.parametrize("area", [None, (1, 3)])
def test_x_trans_comes_out_at_its_phase(area, tmp_path):
    top, left = area or (0, 0)
    values = stored(mosaicked(scene(*SIZE), XTRANS))
    tags = None if area is None else {50829: (4, 4, [top, left, *SIZE])}
    picture = read_raw(write_raw(tmp_path / "a.dng", values, pattern=shifted(XTRANS, top, left), tags=tags))
    assert picture.pattern == shifted(XTRANS, top, left)
    np.testing.assert_allclose(picture.values, (values[top:, left:].astype(float) - BLACK) / (WHITE - BLACK), atol=1e-6)


def test_each_colour_has_its_own_black_and_values_below_it_are_kept(tmp_path):
    levels = np.array([[500, 520], [540, 560]])
    values = np.full(SIZE, 530, np.uint16)
    values[8:12, 8:12] = 9000
    tags = {50713: (3, 2, [2, 2]), 50714: (3, 4, levels.ravel().tolist())}
    picture = read_raw(write_raw(tmp_path / "a.dng", values, pattern=BAYER["GRBG"], tags=tags))
    black = np.tile(levels, (SIZE[0] // 2, SIZE[1] // 2))
    np.testing.assert_allclose(picture.values, (values.astype(float) - black) / (WHITE - black), atol=1e-6)
    assert picture.values.min() < 0
    assert picture.black_levels == (520, 500, 560, 540)  # red, green beside red, green beside blue, blue


def test_linear_pictures_are_read_as_they_are(tmp_path):
    light = scene(*SIZE)
    picture = read_raw(write_raw(tmp_path / "a.dng", stored(light, 0, 65535), tags={50714: (3, 3, [0] * 3), 50717: (3, 3, [65535] * 3)}))
    assert picture.pattern is None
    np.testing.assert_allclose(picture.values, light, atol=1e-5)
    assert "not demosaiced" in picture.notes[0]


def test_the_matrix_measured_nearest_to_daylight_is_taken_with_its_calibration(tmp_path):
    warm = MATRIX + 0.1
    tags = {
        50721: (10, 9, rationals(*warm.ravel())),
        50778: (3, 1, 17),
        50722: (10, 9, rationals(*MATRIX.ravel())),
        50779: (3, 1, 21),
        50724: (10, 9, rationals(*np.diag([1.1, 1, 0.9]).ravel())),
        50727: (5, 3, rationals(2, 1, 0.5)),
    }
    picture = read_raw(write_raw(tmp_path / "a.dng", stored(mosaicked(scene(*SIZE), BAYER["RGGB"])), tags=tags))
    np.testing.assert_allclose(picture.xyz_to_camera, np.diag([2.2, 1, 0.45]) @ MATRIX, atol=1e-5)
    np.testing.assert_allclose(picture.white_balance, [2, 1, 1.6], atol=1e-5)


def test_what_else_a_file_says_is_kept(tmp_path):
    tags = {
        274: (3, 1, 5),
        50730: (10, 1, [-35, 100]),
        51041: (12, 2, [2e-4, 3e-6]),
        50736: (5, 4, rationals(18, 55, 3.5, 5.6)),
    }
    picture = read_raw(write_raw(tmp_path / "a.dng", stored(mosaicked(scene(*SIZE), BAYER["RGGB"])), tags=tags))
    assert picture.orientation == 5  # mirrored, which LibRaw does not know
    assert picture.baseline_exposure_ev == pytest.approx(-0.35)
    assert picture.noise == pytest.approx((2e-4, 3e-6))
    assert any("-0.35 EV" in note for note in picture.notes)
    block = exif.unpack(picture.exif)
    assert block.tags[0x0110].data == b"Made Camera\x00"
    assert 0xA432 in block.below[exif.EXIF_IFD].tags


@pytest.mark.parametrize("neutral", [(0.0, 1.0, 0.5), (0.001, 1.0, 0.5), None])
def test_a_white_balance_that_cannot_be_true_is_left_out(neutral, tmp_path):
    tags = {50728: None if neutral is None else (5, 3, rationals(*neutral))}
    picture = read_raw(write_raw(tmp_path / "a.dng", stored(mosaicked(scene(*SIZE), BAYER["RGGB"])), tags=tags))
    assert picture.white_balance is None
    assert "no as-shot white balance" in picture.notes[0]


def test_a_camera_without_a_matrix_is_noted(tmp_path):
    picture = read_raw(write_raw(tmp_path / "a.dng", stored(mosaicked(scene(*SIZE), BAYER["RGGB"])), tags={50721: None, 50778: None}))
    assert picture.xyz_to_camera is None
    assert any("no colour matrix" in note for note in picture.notes)


def test_an_overexposed_picture_is_noted(tmp_path):
    picture = read_raw(write_raw(tmp_path / "a.dng", np.full(SIZE, WHITE, np.uint16)))
    assert any("overexposed: 100.0%" in note for note in picture.notes)


@pytest.mark.parametrize(
    ("value", "message"),
    [(0, "nothing but zeros"), (BLACK, "black all over"), (BLACK - 3, "black all over")],
)
def test_a_picture_without_light_is_refused(value, message, tmp_path):
    with pytest.raises(DataError, match=message):
        read_raw(write_raw(tmp_path / "a.dng", np.full(SIZE, value, np.uint16)))


def test_levels_that_contradict_each_other_are_refused(tmp_path):
    with pytest.raises(DataError, match="not below white level"):
        read_raw(write_raw(tmp_path / "a.dng", np.full(SIZE, 9000, np.uint16), tags={50714: (3, 1, WHITE)}))


def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path):
    whole = write_raw(tmp_path / "a.dng", stored(mosaicked(scene(*SIZE), BAYER["RGGB"]))).read_bytes()
    for share in (0.5, 0.999):
        (tmp_path / "b.dng").write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(DataError, match="truncated"):
            read_raw(tmp_path / "b.dng")


def test_what_is_no_raw_file_is_refused(tmp_path):
    (tmp_path / "text.cr2").write_text("no raw file at all, but long enough to be looked at" * 10)
    with pytest.raises(DataError, match="no raw file"):
        read_raw(tmp_path / "text.cr2")
    (tmp_path / "empty.nef").write_bytes(b"")
    with pytest.raises(DataError, match=r"empty\.nef"):
        read_raw(tmp_path / "empty.nef")
    with pytest.raises(DataError, match="no such file"):
        read_raw(tmp_path / "absent.nef")
    with pytest.raises(DataError, match="folder"):
        read_raw(tmp_path)


def test_a_sensor_without_colours_is_refused(tmp_path):
    path = write_raw(tmp_path / "a.dng", stored(scene(*SIZE)[..., 1]), pattern=((1, 1), (1, 1)))
    with pytest.raises(DataError, match=r"a\.dng.*(pattern|colours)"):
        read_raw(path)


def test_the_size_is_asked_before_anything_is_decoded(tmp_path):
    path = write_raw(tmp_path / "a.dng", stored(mosaicked(scene(*SIZE), BAYER["RGGB"])))
    assert raw_size(path) == SIZE
    with pytest.raises(DataError, match=r"56 x 48 pixels.*limit of 0"):
        read_raw(path, max_pixels=1000)


@pytest.mark.skipif(sys.platform == "win32", reason="limits of memory are POSIX")
def test_damaged_headers_neither_bring_the_interpreter_down_nor_fill_memory(tmp_path):
    """Sizes of gigapixels, then bytes of the header at random, in a process with little memory."""
    write_raw(tmp_path / "good.dng", stored(mosaicked(scene(*SIZE), BAYER["RGGB"])))
    program = f"""
        import resource
        from pathlib import Path
        import numpy as np
        from photic.apps.rawnind.files.reading import read_raw
        from photic.core.errors import DataError
        resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
        whole = Path({str(tmp_path / "good.dng")!r}).read_bytes()
        generator = np.random.default_rng(0)
        outcomes = []
        for number in range(4):
            data = bytearray(whole)
            if number < 2:  # width, height
                at = data.index((256 + number).to_bytes(2, "little") + bytes([4, 0, 1, 0, 0, 0]))
                data[at + 8 : at + 12] = (120_000 * (1 + 10 * number)).to_bytes(4, "little")
            else:
                for place in generator.integers(8, 600, 6):
                    data[place] = generator.integers(0, 256)
            bad = Path({str(tmp_path / "bad.dng")!r})
            bad.write_bytes(data)
            try:
                outcomes.append(str(read_raw(bad).size))
            except DataError as error:
                assert "bad.dng" in str(error), error
                outcomes.append("refused")
        print(outcomes)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("['refused', 'refused'")


def test_a_decoder_that_breaks_down_is_an_error_of_the_file(tmp_path, monkeypatch):
    path = write_raw(tmp_path / "good.dng", stored(mosaicked(scene(*SIZE), BAYER["RGGB"])))
    monkeypatch.setenv("PYTHONHOME", str(tmp_path / "nowhere"))  # the decoding process cannot start
    with pytest.raises(DataError, match=r"good\.dng: decoding it broke down"):
        read_raw(path)


def test_a_file_with_nothing_behind_its_first_bytes_is_no_raw_file(tmp_path):
    path = tmp_path / "empty.dng"
    path.write_bytes(b"II*\x00" + bytes(100))
    with pytest.raises(DataError, match=r"empty\.dng"):
        read_raw(path)

"""Development of real camera files against LibRaw's own, DNGs reopened, and files that are no good.

Tolerances: demosaicers differ in detail and at edges (LibRaw's bilinear one is taken here), LibRaw clips to white before it demosaics where
we clip after, and cuts off at 0 what lies below black or outside Rec.2020. So pictures are compared as means over 16 x 16 pixels, of blocks
with less than 1 pixel in 100 near white or at 0. There no block may differ by more than 0.02 of white, 99.9 % of them by less than 0.01,
and the mean of all of them, in each colour, by 0.1 % of itself (0.04 % of that is LibRaw's rounding down to whole numbers).
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import rawpy
from scipy.ndimage import minimum_filter

from photic.apps.rawnind.files.bands import gathered
from photic.apps.rawnind.files.developing import Developer, Development, balance_of, camera_bands, develop
from photic.apps.rawnind.files.dng import write_linear_dng, write_mosaic_dng
from photic.apps.rawnind.files.reading import read_raw
from photic.apps.rawnind.picture import RawPicture
from photic.data.photo import exif
from photic.functional.cfa import BAYER

pytestmark = pytest.mark.real
CAMERAS = {
    "camera/canon_eos30d_iso100_IMG_0848.CR2": ((2348, 3522), "RGGB", "Canon EOS 30D", (127, 128, 128, 128), 4095, 100, 0.002, 7.1),
    "camera/canon_d30_CRW.CRW": ((1448, 2176), "RGGB", "Canon EOS D30", (127, 128, 128, 128), 4095, 100, 4.967, 5.596),
    "camera/canon_kissx4_colorchart.dng": ((1156, 1734), "RGGB", "Canon EOS Kiss X4", (2056,), 15000, None, None, None),
    "bracket/sample1.dng": ((2868, 4310), "GBRG", "NIKON D5000", (0,), 3840, 200, 1 / 160, 6.3),
}
_BLOCK = 16


@pytest.fixture(scope="module", params=list(CAMERAS))
def camera_file(request, real_data):
    path = real_data / "raw" / request.param
    return path, read_raw(path), CAMERAS[request.param]


@pytest.fixture(scope="module")
def demosaiced(camera_file):
    _, picture, _ = camera_file
    return gathered(camera_bands(picture, "malvar"), picture.size)


@pytest.fixture(scope="module")
def developed(camera_file, demosaiced):
    _, picture, _ = camera_file
    developer = Developer(picture, Development())
    return developer.full * developer.rows(demosaiced).clip(0, 1)  # where we find a sensor full below white, that is 1 for us


def libraw(path: Path, picture: RawPicture, **more: object) -> np.ndarray:
    """LibRaw's development in linear Rec.2020, with the same white balance unless told otherwise."""
    factors = balance_of(picture, "as-shot")
    balance = {} if "use_camera_wb" in more else {"user_wb": [factors[0], 1, factors[2], 1]}
    with rawpy.imread(str(path)) as raw:
        made = raw.postprocess(
            gamma=(1, 1),
            no_auto_bright=True,
            output_color=rawpy.ColorSpace.Rec2020,
            output_bps=16,
            adjust_maximum_thr=0,
            user_flip=0,
            **balance,
            **more,
        )
    return made.astype(np.float32) / 65535


def blocks(picture: np.ndarray) -> np.ndarray:
    height, width = (side // _BLOCK * _BLOCK for side in picture.shape[:2])
    cut = picture[:height, :width].astype(np.float32)
    return cut.reshape(height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK, -1).mean((1, 3))


def test_levels_pattern_and_facts(camera_file):
    _, picture, (size, order, name, blacks, white, iso, exposure_s, aperture) = camera_file
    assert (picture.size, picture.pattern, picture.camera) == (size, BAYER[order], name)
    assert (picture.black_levels, picture.white_level, picture.iso) == (blacks, white, iso)
    assert picture.exposure_s == (None if exposure_s is None else pytest.approx(exposure_s, rel=1e-3))
    assert picture.aperture == (None if aperture is None else pytest.approx(aperture, rel=1e-3))
    assert picture.xyz_to_camera is not None
    assert (picture.white_balance is None) == ("CRW" in str(picture.source))  # its factors cannot be true
    with rawpy.imread(str(picture.source)) as raw:
        stored = raw.raw_image_visible.astype(np.float64)
        level = np.array(raw.black_level_per_channel)[raw.raw_colors_visible]
    np.testing.assert_allclose(picture.values, (stored - level) / (white - level), atol=1e-6)


def test_development_agrees_with_libraw_s_own(camera_file, developed):
    path, picture, _ = camera_file
    theirs = libraw(path, picture, demosaic_algorithm=rawpy.DemosaicAlgorithm.LINEAR)
    judged = comparable(developed, theirs)
    ours, theirs = blocks(developed)[judged], blocks(theirs)[judged]
    assert len(ours) > 2000
    assert np.abs(ours - theirs).max() < 0.02
    assert np.quantile(np.abs(ours - theirs), 0.999) < 0.01
    np.testing.assert_allclose(ours.mean(0), theirs.mean(0), rtol=1e-3)


def comparable(*pictures: np.ndarray) -> np.ndarray:
    """Return the blocks in which next to nothing is near white or at 0."""
    extreme = [((picture > 0.9) | (picture <= 0)).any(axis=2, keepdims=True) for picture in pictures]
    return np.max([blocks(places)[..., 0] for places in extreme], axis=0) < 0.01


def test_a_mosaic_dng_is_the_same_picture_for_libraw(camera_file, tmp_path):
    path, picture, _ = camera_file
    write_mosaic_dng(tmp_path / "a.dng", picture)
    with rawpy.imread(str(path)) as before, rawpy.imread(str(tmp_path / "a.dng")) as after:
        np.testing.assert_array_equal(after.raw_image_visible, before.raw_image_visible)
    again, first = libraw(tmp_path / "a.dng", picture, use_camera_wb=True, half_size=True), libraw(path, picture, half_size=True)
    np.testing.assert_allclose(again, first, atol=1e-3)
    back = read_raw(tmp_path / "a.dng")
    np.testing.assert_array_equal(back.values, picture.values)
    _same_facts(back, picture)


def test_a_linear_dng_keeps_brightness_balance_and_exif(camera_file, demosaiced, developed, tmp_path):
    picture = camera_file[1].cropped(200, 100, 900, 1200)
    demosaiced, developed = (whole[200:1100, 100:1300] for whole in (demosaiced, developed))
    write_linear_dng(tmp_path / "a.dng", picture.size, [(0, demosaiced)], picture)
    back = read_raw(tmp_path / "a.dng")
    np.testing.assert_allclose(back.values, demosaiced.clip(-64 / 65471, 1), atol=1e-5)
    _same_facts(back, picture)
    theirs = libraw(tmp_path / "a.dng", picture, use_camera_wb=True)
    judged = comparable(developed, theirs)
    np.testing.assert_allclose(blocks(theirs)[judged].mean(0), blocks(developed)[judged].mean(0), rtol=2e-3)


def _same_facts(back: RawPicture, picture: RawPicture) -> None:
    np.testing.assert_allclose(back.white_balance, balance_of(picture, "as-shot"), rtol=3e-6)
    np.testing.assert_allclose(back.xyz_to_camera, picture.xyz_to_camera, atol=1e-6)
    assert (back.camera, back.iso, back.exposure_s, back.aperture) == (picture.camera, picture.iso, picture.exposure_s, picture.aperture)
    now, then = (exif.in_order(exif.unpack(block), "<") for block in (back.exif, picture.exif))
    assert {number: tag for number, tag in now.tags.items() if number in then.tags} == then.tags
    for number, below in then.below.items():
        own = {tag: value for tag, value in below.tags.items() if tag not in (0xA002, 0xA003)}
        assert own.items() <= now.below[number].tags.items()


def test_overexposed_sky_is_white_and_not_magenta(real_data):
    picture = read_raw(real_data / "raw/bracket/sample3.dng").cropped(0, 0, 600, 4310)
    made = develop(picture, Development(demosaic="malvar", space="srgb"))
    white = (picture.values >= 1).reshape(300, 2, 2155, 2).all((1, 3))
    assert white.mean() > 0.5
    inside = made.reshape(300, 2, 2155, 2, 3).mean((1, 3))[white]
    assert np.ptp(inside, axis=1).mean() < 0.01


def test_a_flame_is_white_although_its_sensor_is_full_below_the_white_level(real_data):
    picture = read_raw(real_data / "raw/camera/canon_d30_CRW.CRW")
    developer = Developer(picture, Development(demosaic="malvar", space="srgb"))
    assert developer.full == pytest.approx(0.925, abs=0.01)
    part = picture.cropped(0, 900, 300, 400)
    full = minimum_filter(part.values >= developer.full, 5)  # and everything that demosaicing looks at
    assert full.sum() > 1000
    made = developer.rows(gathered(camera_bands(part, "malvar", balance=developer.factors), part.size))[full]
    assert np.ptp(made, axis=1).max() < 0.01


def test_linear_dngs_of_programs_and_phones_are_taken_as_rgb(real_data):
    for name in ("linear_canon_eos_6d", "sample_1mp", "dng_with_preview"):
        path = real_data / "raw/invalid" / f"{name}.dng"
        picture = read_raw(path)
        assert picture.pattern is None
        assert picture.white_balance is not None and picture.xyz_to_camera is not None
        made = develop(picture)
        grey = made.mean((0, 1))
        assert 0.4 < grey[0] / grey[1] < 2.5


def test_invalid_files_are_refused_under_a_limit_of_memory(real_data):
    program = f"""
        import resource
        from pathlib import Path
        from photic.apps.rawnind.files.reading import read_raw
        from photic.core.errors import DataError
        resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
        for name in ("Canon-R6-pruned.CR3", "IMG_1361.dng", "issue_857_poc.raf"):
            try:
                read_raw(Path({str(real_data / "raw/invalid")!r}) / name)
                print(name, "was read")
            except DataError as error:
                print(error)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    cut, zeros, hostile = done.stdout.splitlines()
    assert "CR3: truncated or damaged" in cut
    assert "1361.dng: truncated" in zeros
    assert "raf: no raw file" in hostile


@pytest.mark.parametrize("share", [0.3, 0.9, 0.9995])
@pytest.mark.parametrize(
    "name", ["camera/canon_eos30d_iso100_IMG_0848.CR2", "camera/canon_d30_CRW.CRW", "camera/canon_kissx4_colorchart.dng"]
)
def test_truncated_camera_files_are_refused(name, share, real_data, tmp_path):
    whole = (real_data / "raw" / name).read_bytes()
    path = tmp_path / Path(name).name
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(Exception, match=r"truncated|no raw file") as caught:
        read_raw(path)
    assert path.name in str(caught.value)

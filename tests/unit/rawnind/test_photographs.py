"""Developed pictures as linear ones: curves and primaries of profiles against lcms, EXIF, formats, damage."""

from __future__ import annotations

import io
import struct

import numpy as np
import OpenEXR
import pytest
import tifffile
from PIL import Image, ImageCms

from photic.apps.rawnind.files.developing import Development, camera_bands, develop, encoded
from photic.apps.rawnind.files.icc_reading import UnknownProfile, colour_space
from photic.apps.rawnind.files.photographs import photograph_size, read_photograph
from photic.apps.rawnind.files.profiles import icc_profile
from photic.apps.rawnind.files.writing import write_developed
from photic.core.errors import DataError
from photic.functional.raw_colour import REC2020_TO_XYZ, SRGB_TO_XYZ

TAKEN = {0x010F: "Photic", 0x0110: "Made Camera"}


def picture(seed=0, shape=(20, 31, 3)):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def exif_block(iso=800):
    made = Image.Exif()
    for number, text in TAKEN.items():
        made[number] = text
    below = made.get_ifd(0x8769)
    below[0x8827], below[0x829A] = iso, 0.01
    return made


def adobe_like(kind="gamma"):
    """Return a profile of wide primaries (D50) with a curve of each kind."""
    curve = {
        "gamma": b"curv" + bytes(4) + struct.pack(">IH", 1, 563) + bytes(2),
        "table": b"curv"
        + bytes(4)
        + struct.pack(">I", 65)
        + np.rint(65535 * np.linspace(0, 1, 65) ** 1.8).astype(">u2").tobytes()
        + bytes(2),
        "para0": b"para" + bytes(4) + struct.pack(">HHi", 0, 0, round(2.2 * 65536)),
        "para3": b"para" + bytes(4) + struct.pack(">HH5i", 3, 0, *(round(v * 65536) for v in (2.4, 0.948, 0.052, 0.0774, 0.0405))),
        "para4": b"para" + bytes(4) + struct.pack(">HH7i", 4, 0, *(round(v * 65536) for v in (2.2, 0.91, 0.09, 0.2, 0.08, 0.0, 0.0))),
    }[kind]
    base = icc_profile("rec2020", "linear")
    at = 128 + 4
    tags = {}
    for index in range(struct.unpack_from(">I", base, 128)[0]):
        name, place, length = struct.unpack_from(">4sII", base, at + 12 * index)
        tags[name] = base[place : place + length]
    fixed = lambda *values: b"XYZ " + bytes(4) + struct.pack(">3i", *(round(v * 65536) for v in values))  # noqa: E731
    tags |= {b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}
    tags |= {
        b"rXYZ": fixed(0.60974, 0.31111, 0.01947),
        b"gXYZ": fixed(0.20528, 0.62567, 0.06087),
        b"bXYZ": fixed(0.14919, 0.06322, 0.74457),
    }
    place, table, body = at + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += name + struct.pack(">II", place + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    return struct.pack(">I", place + len(body)) + base[4:128] + table + body


@pytest.mark.parametrize("kind", ["gamma", "table", "para0", "para3", "para4"])
def test_colours_of_a_profile_are_those_of_lcms(tmp_path, kind):
    pixels = picture()
    Image.fromarray(pixels).save(tmp_path / "a.png", icc_profile=adobe_like(kind))
    developed = encoded(develop(read_photograph(tmp_path / "a.png"), Development(space="srgb", highlights="keep")), np.uint8)
    own = ImageCms.ImageCmsProfile(io.BytesIO(adobe_like(kind)))
    expected = np.asarray(
        ImageCms.profileToProfile(
            Image.fromarray(pixels), own, ImageCms.createProfile("sRGB"), renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC
        )
    ).astype(int)
    inside = ((expected > 2) & (expected < 253)).all(axis=2)  # lcms and we cut off alike, but not to the same bit
    assert inside.sum() > 100
    assert np.abs(developed.astype(int) - expected)[inside].max() <= 2


def test_own_profiles_give_the_matrices_they_were_made_of():
    for name, matrix in (("srgb", SRGB_TO_XYZ), ("rec2020", REC2020_TO_XYZ)):
        np.testing.assert_allclose(colour_space(icc_profile(name, "srgb")).to_xyz, matrix, atol=5e-5)


def test_a_photograph_without_profile_is_srgb_and_develops_to_itself(tmp_path):
    pixels = picture(shape=(40, 30, 3))
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif_block())
    found = read_photograph(tmp_path / "a.png")
    assert found.pattern is None
    assert found.white_balance.tolist() == [1, 1, 1]
    assert (found.camera, found.iso, found.exposure_s) == ("Photic Made Camera", 800, 0.01)
    x = pixels / 255
    np.testing.assert_allclose(found.values, np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4), atol=1e-6)
    np.testing.assert_array_equal(encoded(develop(found, Development(space="srgb")), np.uint8), pixels)
    assert photograph_size(tmp_path / "a.png") == (40, 30)


def test_it_is_turned_upright(tmp_path):
    block = exif_block()
    block[0x0112] = 6
    Image.fromarray(picture()).save(tmp_path / "a.jpg", exif=block)
    found = read_photograph(tmp_path / "a.jpg")
    assert (found.size, found.orientation) == ((31, 20), 1)
    assert photograph_size(tmp_path / "a.jpg") == (31, 20)


@pytest.mark.parametrize(
    ("suffix", "more", "close"),
    [("exr", {"bits": 32}, 1e-6), ("exr", {}, 1e-3), ("tif", {"bits": 32}, 1e-5), ("tif", {}, 1e-4), ("png", {"bits": 16}, 1e-4)],
)
def test_what_photic_writes_reads_back_in_its_colours(tmp_path, suffix, more, close):
    Image.fromarray(picture()).save(tmp_path / "a.png", exif=exif_block())
    before = read_photograph(tmp_path / "a.png")
    write_developed(tmp_path / f"b.{suffix}", before.size, camera_bands(before), before, **more)
    after = read_photograph(tmp_path / f"b.{suffix}")
    np.testing.assert_allclose(develop(after), develop(before), atol=close)
    assert after.camera == ("" if suffix == "exr" else before.camera)
    assert photograph_size(tmp_path / f"b.{suffix}") == before.size


def test_profiles_that_are_no_matrix_are_said(tmp_path):
    profile = bytearray(icc_profile("srgb", "srgb"))
    profile[profile.index(b"rTRC") : profile.index(b"rTRC") + 4] = b"A2B0"
    Image.fromarray(picture()).save(tmp_path / "a.png", icc_profile=bytes(profile))
    found = read_photograph(tmp_path / "a.png")
    assert any("no matrix with curves" in note and "sRGB" in note for note in found.notes)


def test_damaged_profiles_are_refused_and_nothing_else_happens():
    rng = np.random.default_rng(0)
    good = icc_profile("rec2020", "srgb")
    for _ in range(400):
        bad = bytearray(good[: rng.integers(0, len(good))] if rng.random() < 0.3 else good)
        for place in rng.integers(0, max(1, len(bad)), 4):
            if place < len(bad):
                bad[place] = rng.integers(0, 256)
        try:
            space = colour_space(bytes(bad))
        except UnknownProfile:
            continue
        with np.errstate(all="ignore"):
            assert all(curve(np.linspace(0, 1, 5)).shape == (5,) for curve in space.curves)


def test_exr_of_other_channels_sizes_and_damage(tmp_path):
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    rgba = np.random.default_rng(0).random((8, 9, 4)).astype(np.float32)
    OpenEXR.File(header, {"RGBA": rgba}).write(str(tmp_path / "rgba.exr"))
    found = read_photograph(tmp_path / "rgba.exr")
    np.testing.assert_allclose(found.values, rgba[..., :3])
    assert found.notes
    OpenEXR.File(header, {"Z": rgba[..., 0].copy()}).write(str(tmp_path / "z.exr"))
    with pytest.raises(DataError, match="expected R, G and B"):
        read_photograph(tmp_path / "z.exr")
    with pytest.raises(DataError, match="max-megapixels"):
        read_photograph(tmp_path / "rgba.exr", max_pixels=10)
    rgba[0, 0, 0] = np.inf
    OpenEXR.File(header, {"RGBA": rgba}).write(str(tmp_path / "inf.exr"))
    with pytest.raises(DataError, match="not finite"):
        read_photograph(tmp_path / "inf.exr")
    whole = (tmp_path / "rgba.exr").read_bytes()
    (tmp_path / "cut.exr").write_bytes(whole[:-20])
    (tmp_path / "none.exr").write_bytes(b"no picture at all")
    for name in ("cut", "none", "missing"):
        with pytest.raises(DataError, match=name):
            read_photograph(tmp_path / f"{name}.exr")


def test_transparency_is_said_and_floats_of_a_linear_tiff_go_by_its_profile(tmp_path):
    both = np.dstack([picture(), np.full((20, 31), 255, np.uint8)])
    Image.fromarray(both).save(tmp_path / "opaque.png")
    assert read_photograph(tmp_path / "opaque.png").notes == ()
    both[0, 0, 3] = 3
    Image.fromarray(both).save(tmp_path / "clear.png")
    assert "transparency" in read_photograph(tmp_path / "clear.png").notes[0]
    values = np.random.default_rng(1).random((20, 31, 3)).astype(np.float32)
    tifffile.imwrite(tmp_path / "linear.tif", values, photometric="rgb", iccprofile=icc_profile("rec2020", "linear"))
    np.testing.assert_allclose(read_photograph(tmp_path / "linear.tif").values, values, atol=1e-7)

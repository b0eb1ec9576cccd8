"""Developed pictures and DNGs as files, read back by other programs: OpenEXR, tifffile, Pillow, littleCMS, LibRaw."""

from __future__ import annotations

import io
import shutil
import struct
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import OpenEXR
import pytest
import rawpy
import tifffile
from PIL import Image, ImageCms

from photic.apps.rawnind.files.bands import bands_of
from photic.apps.rawnind.files.developing import Development, develop, encoded
from photic.apps.rawnind.files.dng import write_linear_dng, write_mosaic_dng
from photic.apps.rawnind.files.exr import write_exr
from photic.apps.rawnind.files.profiles import chromaticities, icc_profile
from photic.apps.rawnind.files.reading import read_raw
from photic.apps.rawnind.files.writing import write_developed
from photic.apps.rawnind.picture import RawPicture
from photic.core.errors import ConfigError, DataError
from photic.data.photo import exif
from photic.data.photo.exif import Directory, Tag
from photic.data.photo.files import read_photo
from photic.functional.cfa import BAYER, XTRANS

from .dng_files import MATRIX, mosaicked, scene, stored

SIZE = (70, 53)
BALANCE = np.array([2.0, 1.0, 1.6])


def camera_block() -> bytes:
    """Return EXIF as a camera writes it: make, exposure, lens, a large maker note."""
    note = bytes(range(256)) * 300
    below = Directory(
        ">",
        {
            0x829A: Tag(5, 1, struct.pack(">2I", 1, 250)),
            0x829D: Tag(5, 1, struct.pack(">2I", 28, 10)),
            0x8827: Tag(3, 1, struct.pack(">H", 800)),
            0x9003: Tag(2, 20, b"2024:05:06 07:08:09\x00"),
            0x920A: Tag(5, 1, struct.pack(">2I", 35, 1)),
            0x927C: Tag(7, len(note), note),
            0xA434: Tag(2, 9, b"Prime 35\x00"),
        },
    )
    first = {0x010F: Tag(2, 7, b"Photic\x00"), 0x0110: Tag(2, 12, b"Made Camera\x00"), 0x0131: Tag(2, 5, b"1.23\x00")}
    return exif.pack(Directory(">", first, {exif.EXIF_IFD: below}))


@pytest.fixture
def picture() -> RawPicture:
    return RawPicture(
        values=scene(*SIZE).astype(np.float32),
        pattern=None,
        xyz_to_camera=MATRIX,
        white_balance=BALANCE,
        camera="Photic Made Camera",
        iso=800.0,
        exposure_s=0.004,
        aperture=2.8,
        exif=camera_block(),
    )


def write(path: Path, picture: RawPicture, **more: object) -> Path:
    write_developed(path, picture.size, bands_of(picture.values, 9), picture, **more)
    return path


@pytest.mark.parametrize(("bits", "kind", "atol"), [(None, np.float16, 3e-4), (32, np.float32, 1e-7)])
def test_exr_holds_linear_light_with_chromaticities_and_facts(bits, kind, atol, picture, tmp_path):
    with OpenEXR.File(str(write(tmp_path / "a.exr", picture, bits=bits))) as file:
        header, made = dict(file.header()), file.channels()["RGB"].pixels
    assert made.dtype == kind
    np.testing.assert_allclose(made, develop(picture), atol=atol)
    np.testing.assert_allclose(header["chromaticities"], [0.708, 0.292, 0.17, 0.797, 0.131, 0.046, 0.3127, 0.329], atol=1e-6)
    assert (header["isoSpeed"], header["aperture"], header["expTime"]) == pytest.approx((800, 2.8, 0.004))
    assert (header["cameraModel"], header["lensModel"], header["capDate"]) == ("Made Camera", "Prime 35", "2024:05:06 07:08:09")


@pytest.mark.parametrize("size", [(1, 1), (16, 3), (35, 20)])
def test_exr_of_any_size_noise_or_nothing_in_it(size, tmp_path):
    noise = np.random.default_rng(0).normal(0, 1, (*size, 3)).astype(np.float32)
    for number, values in enumerate((noise, np.zeros_like(noise), noise * 1e7)):
        path = tmp_path / f"{number}.exr"
        write_exr(path, size, bands_of(values, 5), chromaticities=chromaticities("srgb"))
        with OpenEXR.File(str(path)) as file:
            made = file.channels()["RGB"].pixels
        np.testing.assert_array_equal(made, values.clip(-65504, 65504).astype(np.float16))


def test_tiff_of_16_bits_has_a_profile_that_gives_the_same_colours_as_srgb(picture, tmp_path):
    wide = read_photo(write(tmp_path / "a.tif", picture))
    assert (wide.pixels.dtype, wide.size) == (np.uint16, SIZE)
    np.testing.assert_array_equal(wide.pixels, encoded(develop(picture), np.uint16))
    transform = ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(io.BytesIO(wide.icc)), ImageCms.createProfile("sRGB"), "RGB", "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC
    )
    seen = np.asarray(ImageCms.applyTransform(Image.fromarray((wide.pixels / 257).round().astype(np.uint8)), transform)).astype(int)
    narrow = encoded(develop(picture, Development(space="srgb")), np.uint8).astype(int)
    inside = ((narrow > 2) & (narrow < 253)).all(axis=2)
    assert inside.mean() > 0.3
    assert np.abs(seen - narrow)[inside].max() <= 5  # 8 bits of a wider space on the way
    assert np.abs(seen - narrow)[inside].mean() < 1


def test_tiff_of_floats_is_linear_and_unclipped(picture, tmp_path):
    bright = Development(exposure_ev=2, space="srgb")
    with tifffile.TiffFile(write(tmp_path / "a.tiff", picture, bits=32, how=bright)) as file:
        np.testing.assert_array_equal(file.pages[0].asarray(), develop(picture, bright))
        assert file.pages[0].tags[34675].value == icc_profile("srgb", "linear")


@pytest.mark.parametrize("space", ["rec2020", "srgb"])
@pytest.mark.parametrize("curve", ["linear", "srgb"])
def test_littlecms_takes_the_profiles(space, curve):
    profile = ImageCms.ImageCmsProfile(io.BytesIO(icc_profile(space, curve)))
    assert profile.profile.version == pytest.approx(4.3)
    assert "Photic" in ImageCms.getProfileDescription(profile)
    np.testing.assert_allclose(profile.profile.media_white_point[0], [0.9642, 1, 0.8249], atol=2e-4)
    primaries = [profile.profile.red_primary, profile.profile.green_primary, profile.profile.blue_primary]
    np.testing.assert_allclose(sum(np.array(primary[0]) for primary in primaries), [0.9642, 1, 0.8249], atol=2e-4)
    if (space, curve) == ("srgb", "srgb"):
        ramp = Image.fromarray(np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2))
        same = ImageCms.profileToProfile(ramp, profile, ImageCms.createProfile("sRGB"))
        assert np.abs(np.asarray(same).astype(int) - np.asarray(ramp)).max() <= 1


@pytest.mark.parametrize(("name", "bits", "kind"), [("a.png", None, np.uint8), ("a.png", 16, np.uint16), ("a.jpg", None, np.uint8)])
def test_pictures_for_screens_are_srgb(name, bits, kind, picture, tmp_path):
    photo = read_photo(write(tmp_path / name, picture, bits=bits, quality=100))
    reference = encoded(develop(picture, Development(space="srgb")), kind).astype(int)
    assert photo.pixels.dtype == kind
    assert np.abs(photo.pixels.astype(int) - reference).mean() <= (1.0 if name.endswith("jpg") else 0)
    assert photo.icc == icc_profile("srgb", "srgb")


@pytest.mark.parametrize("name", ["a.tif", "a.png", "a.jpg"])
def test_exif_is_carried_over_and_tells_the_picture_s_own_size(name, picture, tmp_path):
    photo = read_photo(write(tmp_path / name, replace(picture, orientation=6)))
    assert photo.size == (SIZE[1], SIZE[0])
    block = exif.unpack(photo.exif)
    below = block.below[exif.EXIF_IFD]
    assert block.tags[0x0110].data == b"Made Camera\x00"
    assert exif.orientation_of(photo.exif) == 1
    assert below.tags[0xA434].data == b"Prime 35\x00"
    order = below.order
    assert struct.unpack(order + "2I", below.tags[0x829A].data) == (1, 250)
    assert [struct.unpack(order + "I", below.tags[tag].data)[0] for tag in (0xA002, 0xA003)] == [SIZE[0], SIZE[1]]
    assert (0x927C in below.tags) == (name != "a.jpg")  # larger than a JPEG's EXIF may be


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_lie_upright(orientation, picture, tmp_path):
    turned = replace(picture, orientation=orientation)
    with OpenEXR.File(str(write(tmp_path / "a.exr", turned, bits=32))) as file:
        made = file.channels()["RGB"].pixels
    path = tmp_path / "b.jpg"
    Image.fromarray(encoded(develop(picture), np.uint8)).save(path, exif=exif.PREFIX + _oriented(orientation), quality=100, subsampling=0)
    reference = read_photo(path).pixels
    assert made.shape == reference.shape
    assert np.abs(encoded(made, np.uint8).astype(int) - reference).mean() < 2


def _oriented(orientation: int) -> bytes:
    return exif.pack(Directory("<", {exif.ORIENTATION: Tag(3, 1, struct.pack("<H", orientation))}))


@pytest.mark.parametrize("size", [SIZE, (300, 25), (24, 1100), (600, 530)])
def test_a_linear_dng_opens_in_libraw_with_values_balance_and_facts(size, picture, tmp_path):
    light = scene(*size).astype(np.float32)
    light[0, 0] = (-0.0005, 0, 1)
    camera = replace(picture, values=light, orientation=8, baseline_exposure_ev=0.5)
    notes = write_linear_dng(tmp_path / "a.dng", size, bands_of(light, 13), camera)
    assert notes == ()
    back = read_raw(tmp_path / "a.dng")
    assert (back.pattern, back.size, back.orientation, back.camera) == (None, size, 8, "Photic Made Camera")
    np.testing.assert_allclose(back.values, light, atol=0.51 / 65471)
    np.testing.assert_allclose(back.white_balance, BALANCE, rtol=2e-6)
    np.testing.assert_allclose(back.xyz_to_camera, MATRIX, atol=1e-6)
    assert (back.iso, back.exposure_s, back.aperture, back.baseline_exposure_ev) == (800, 0.004, 2.8, 0.5)
    assert exif.unpack(back.exif).below[exif.EXIF_IFD].tags[0xA434].data == b"Prime 35\x00"


def test_the_narrowest_linear_dng_is_a_tiff_file_at_least(picture, tmp_path):
    """LibRaw opens nothing below 22 pixels."""
    light = scene(5, 7).astype(np.float32)
    write_linear_dng(tmp_path / "a.dng", (5, 7), bands_of(light), picture)
    np.testing.assert_allclose((tifffile.imread(tmp_path / "a.dng") - 64.0) / 65471, light, atol=1e-5)


def test_libraw_develops_a_linear_dng_as_bright_as_we_do(picture, tmp_path):
    write_linear_dng(tmp_path / "a.dng", SIZE, bands_of(picture.values), picture)
    with rawpy.imread(str(tmp_path / "a.dng")) as raw:
        theirs = raw.postprocess(
            gamma=(1, 1),
            no_auto_bright=True,
            output_bps=16,
            use_camera_wb=True,
            output_color=rawpy.ColorSpace.Rec2020,
            adjust_maximum_thr=0,
        )
    ours = develop(picture).clip(0, 1)
    assert np.abs(theirs / 65535 - ours).max() < 3e-3
    assert theirs.mean() / 65535 == pytest.approx(ours.mean(), rel=2e-3)


@pytest.mark.parametrize("name", [*BAYER, "X-Trans"])
def test_a_mosaic_dng_keeps_every_bit(name, picture, tmp_path):
    pattern = BAYER.get(name, XTRANS)
    levels = (520.0, 500.0, 560.0, 540.0) if name in BAYER else (512.0,)
    values = stored(mosaicked(scene(*SIZE), pattern), 512, 15360)
    values[0, :8] = 505  # below black
    cell = np.full((1, 1), levels[0])
    if name in BAYER:
        green = [levels[1] if 0 in row else levels[2] for row in pattern]
        cell = np.array([[{0: levels[0], 1: green[y], 2: levels[3]}[colour] for colour in row] for y, row in enumerate(pattern)])
    black = np.tile(cell, (SIZE[0], SIZE[1]))[: SIZE[0], : SIZE[1]]
    mosaic = replace(
        picture,
        values=((values - black) / (15360 - black)).astype(np.float32),
        pattern=pattern,
        black_levels=levels,
        white_level=15360.0,
        noise=(1e-4, 2e-6),
    )
    write_mosaic_dng(tmp_path / "a.dng", mosaic)
    with rawpy.imread(str(tmp_path / "a.dng")) as raw:
        np.testing.assert_array_equal(raw.raw_image_visible, values)
    back = read_raw(tmp_path / "a.dng")
    assert (back.pattern, back.black_levels, back.white_level, back.noise) == (pattern, levels, 15360, (1e-4, 2e-6))
    np.testing.assert_allclose(back.values, mosaic.values, atol=1e-6)


def test_a_mosaic_between_the_levels_gets_levels_with_room(picture, tmp_path):
    values = np.random.default_rng(0).normal(0.3, 0.3, SIZE).clip(-0.06, 1.05).astype(np.float32)
    write_mosaic_dng(tmp_path / "a.dng", replace(picture, values=values, pattern=BAYER["GRBG"], black_levels=(64.0,), white_level=1023.0))
    back = read_raw(tmp_path / "a.dng")
    np.testing.assert_allclose(back.values, values, atol=1e-5)


def test_what_is_there_is_kept(picture, tmp_path):
    for name in ("a.exr", "a.tif", "a.png", "a.dng"):
        path = tmp_path / name
        path.write_bytes(b"mine")
        with pytest.raises(ConfigError, match="is there already"):
            write(path, picture)
        broken = picture.values.copy()
        broken[-1, -1] = np.nan
        with pytest.raises(DataError, match="not finite"):
            write_developed(path, SIZE, bands_of(broken, 9), picture, force=True)
        assert path.read_bytes() == b"mine"
        assert [found.name for found in tmp_path.iterdir()] == [name]
        assert write(path, picture, force=True).stat().st_size > 1000
        path.unlink()


def test_what_cannot_be_written_is_refused(picture, tmp_path):
    with pytest.raises(ConfigError, match=r"cannot write '\.webp'"):
        write(tmp_path / "a.webp", picture)
    with pytest.raises(ConfigError, match=r"8 bits per channel: a \.exr file has 16 or 32"):
        write(tmp_path / "a.exr", picture, bits=8)
    for name in ("a.tif", "a.dng"):
        with pytest.raises(DataError, match="no colour matrix"):
            write(tmp_path / name, replace(picture, xyz_to_camera=None))
    with pytest.raises(DataError, match="make no mosaic"):
        write_mosaic_dng(tmp_path / "a.dng", picture)
    assert not list(tmp_path.iterdir())


def test_notes_say_what_was_decided(picture, tmp_path):
    unknown = replace(picture, white_balance=None)
    assert "daylight" in write_developed(tmp_path / "a.jpg", SIZE, bands_of(picture.values), unknown)[0]
    assert "below black" in write_linear_dng(tmp_path / "a.dng", SIZE, bands_of(picture.values - 0.2), picture)[0]


@pytest.mark.skipif(shutil.which("darktable-cli") is None, reason="darktable-cli is not installed (Debian: darktable)")
@pytest.mark.parametrize("kind", ["linear", "mosaic"])
def test_darktable_opens_dngs_as_bright_as_we_do_and_with_their_facts(kind, picture, tmp_path):
    light = scene(300, 400).astype(np.float32)
    camera = replace(picture, values=light)
    if kind == "linear":
        write_linear_dng(tmp_path / "a.dng", (300, 400), bands_of(light), camera)
    else:
        camera = replace(picture, values=mosaicked(light, BAYER["GBRG"]).astype(np.float32), pattern=BAYER["GBRG"])
        write_mosaic_dng(tmp_path / "a.dng", camera)
    plain = ("plugins/darkroom/workflow=none", "plugins/darkroom/chromatic-adaptation=legacy", "plugins/imageio/format/tiff/bpp=16")
    words = ["darktable-cli", str(tmp_path / "a.dng"), str(tmp_path / "a.tif"), "--core", "--library", ":memory:"]
    words += [
        "--configdir",
        str(tmp_path / "config"),
        "--cachedir",
        str(tmp_path / "cache"),
        *(word for it in plain for word in ("--conf", it)),
    ]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    theirs = read_photo(tmp_path / "a.tif")
    ours = encoded(develop(camera, Development(space="srgb", demosaic="malvar")), np.uint16)
    margin = (ours.shape[0] - theirs.size[0]) // 2, (ours.shape[1] - theirs.size[1]) // 2
    cut = ours[margin[0] : margin[0] + theirs.size[0], margin[1] : margin[1] + theirs.size[1]]
    inside = ((cut > 1000) & (cut < 64000)).all(axis=2)
    assert inside.mean() > 0.4
    np.testing.assert_allclose(theirs.pixels[inside].mean(0), cut[inside].mean(0), rtol=0.01)
    block = exif.unpack(theirs.exif)
    assert block.tags[0x0110].data == b"Made Camera\x00"
    assert 0x829A in block.below[exif.EXIF_IFD].tags

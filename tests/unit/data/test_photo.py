"""Photographs in and out: every depth, orientation, profile and EXIF, and everything that is refused, with its message."""

from __future__ import annotations

import io
import struct
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageCms

from photic.core.errors import ConfigError, DataError, StorageError
from photic.data.photo import files as photos
from photic.data.photo.files import Canvas, Photo, as_kind, from_float, photo_size, read_photo, tile, write_photo

HEIGHT, WIDTH = 12, 20
KINDS = (np.uint8, np.uint16, np.float32)


def pixels_of(kind: Any, seed: int = 0, *shape: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    size = shape or (HEIGHT, WIDTH, 3)
    if kind == np.float32:
        return generator.random(size, dtype=np.float32)
    return generator.integers(0, np.iinfo(kind).max, size, dtype=kind, endpoint=True)


@cache  # the profile holds the time it was made
def srgb() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def exif_block(orientation: int = 1, *, thumbnail: bytes = b"") -> bytes:
    """Return a block as a camera writes one: maker, exposure, position, perhaps a thumbnail."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0112], exif[0x0132] = "Maker", "Model 7", orientation, "2026:01:02 03:04:05"
    exif.get_ifd(0x8769).update({0x829A: (1, 50), 0x8827: 3200, 0xA002: WIDTH, 0xA003: HEIGHT, 0x927C: b"the maker's own notes"})
    exif.get_ifd(0x8825).update({1: "N", 2: (47.0, 22.0, 10.5)})
    block = exif.tobytes().removeprefix(b"Exif\x00\x00")
    if not thumbnail:
        return block
    order = "<" if block[:2] == b"II" else ">"
    (first,) = struct.unpack_from(order + "I", block, 4)
    (count,) = struct.unpack_from(order + "H", block, first)
    second = len(block)
    directory = struct.pack(order + "H", 2)
    directory += struct.pack(order + "HHII", 0x0201, 4, 1, second + 30) + struct.pack(order + "HHII", 0x0202, 4, 1, len(thumbnail))
    linked = bytearray(block)
    struct.pack_into(order + "I", linked, first + 2 + 12 * count, second)
    return bytes(linked) + directory + struct.pack(order + "I", 0) + thumbnail


def metadata_of(path: Path) -> tuple[dict[int, Any], dict[int, Any], dict[int, Any], bytes | None]:
    """Return EXIF's three directories and the profile as Pillow reads them."""
    with Image.open(path) as image:
        image.load()
        exif = image.getexif()
        return dict(exif), dict(exif.get_ifd(0x8769)), dict(exif.get_ifd(0x8825)), image.info.get("icc_profile")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_deep_formats_give_back_every_bit(tmp_path: Path, kind: Any, suffix: str) -> None:
    photo = Photo(pixels_of(kind), pixels_of(kind, 1, HEIGHT, WIDTH))
    path = write_photo(tmp_path / f"a{suffix}", photo)
    read = read_photo(path)
    expected = np.uint16 if (suffix == ".png" and kind == np.float32) else kind
    assert read.pixels.dtype == expected
    assert np.array_equal(read.pixels, as_kind(photo.pixels, expected))
    assert read.alpha is not None and photo.alpha is not None
    assert np.array_equal(read.alpha, as_kind(photo.alpha, expected))
    assert photo_size(path) == read.size == (HEIGHT, WIDTH)
    assert read.bits == np.dtype(expected).itemsize * 8


def test_deep_files_mean_the_same_to_other_programs(tmp_path: Path) -> None:
    import cv2

    photo = Photo(pixels_of(np.uint16))
    for suffix in (".png", ".tif"):
        path = write_photo(tmp_path / f"a{suffix}", photo)
        assert np.array_equal(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[:, :, ::-1], photo.pixels)
    assert np.array_equal(tifffile.imread(tmp_path / "a.tif"), photo.pixels)
    cv2.imwrite(str(tmp_path / "b.png"), photo.pixels[:, :, ::-1])
    assert np.array_equal(read_photo(tmp_path / "b.png").pixels, photo.pixels)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".webp", ".bmp", ".JPG"])
@pytest.mark.parametrize("kind", KINDS)
def test_other_formats_have_8_bits_rounded(tmp_path: Path, kind: Any, suffix: str) -> None:
    smooth = np.linspace(0.2, 0.8, HEIGHT * WIDTH * 3).reshape(HEIGHT, WIDTH, 3).astype(np.float32)
    read = read_photo(write_photo(tmp_path / f"a{suffix}", Photo(as_kind(smooth, kind)), quality=100))
    assert read.pixels.dtype == np.uint8
    lossless = suffix in (".webp", ".bmp")
    np.testing.assert_allclose(read.pixels, np.rint(smooth * 255), atol=0 if lossless and kind == np.float32 else 1 if lossless else 4)


def test_depths_are_converted_by_rounding() -> None:
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    assert np.array_equal(as_kind(every, np.uint8), np.rint(every.astype(np.float64) / 257).astype(np.uint8))
    low = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.array_equal(as_kind(as_kind(low, np.uint16), np.uint8), low)
    assert np.array_equal(as_kind(as_kind(every, np.float32), np.uint16), every)
    assert as_kind(low, np.uint8) is low


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".png", ".tif"])
@pytest.mark.parametrize("kind", KINDS)
def test_exif_and_profile_survive_every_format_that_has_room(tmp_path: Path, suffix: str, kind: Any) -> None:
    Image.fromarray(pixels_of(np.uint8)).save(tmp_path / "in.jpg", exif=b"Exif\x00\x00" + exif_block(6), icc_profile=srgb(), quality=95)
    photo = read_photo(tmp_path / "in.jpg")
    path = write_photo(tmp_path / f"out{suffix}", Photo(as_kind(photo.pixels, kind), None, photo.icc, photo.exif))
    again = read_photo(path)
    assert again.icc == srgb()
    assert again.size == (WIDTH, HEIGHT) == photo_size(path)  # upright once, and not turned again
    if not (suffix == ".tif" and kind == np.float32):  # which Pillow cannot open
        first, exposure, position, icc = metadata_of(path)
        assert (first[0x010F], first[0x0110], first[0x0132]) == ("Maker", "Model 7", "2026:01:02 03:04:05")
        assert first.get(0x0112, 1) == 1
        assert exposure[0x8827] == 3200 and exposure[0x927C] == b"the maker's own notes"
        assert float(exposure[0x829A] if isinstance(exposure[0x829A], float) else exposure[0x829A][0] / exposure[0x829A][1]) == 0.02
        assert (exposure[0xA002], exposure[0xA003]) == (HEIGHT, WIDTH)  # columns and rows changed places
        assert position[1] == "N" and tuple(map(float, position[2])) == (47.0, 22.0, 10.5)
        assert icc == srgb()
    if suffix == ".tif":
        with tifffile.TiffFile(path) as file:
            tags = file.pages[0].tags
            assert tags[34665].value["ISOSpeedRatings"] == 3200
            assert tags["Make"].value == "Maker"
            assert tags[34675].value == srgb()
    # and from there into a JPEG again
    first, exposure, position, icc = metadata_of(write_photo(tmp_path / "back.jpg", again))
    assert (first[0x010F], first.get(0x0112, 1), exposure[0x8827], position[1], icc) == ("Maker", 1, 3200, "N", srgb())


def turned(picture: np.ndarray, orientation: int) -> np.ndarray:
    """Return a picture as EXIF 2.3 defines: where the stored first row and column are to be seen."""
    return {
        1: picture, 2: picture[:, ::-1], 3: picture[::-1, ::-1], 4: picture[::-1], 5: picture.swapaxes(0, 1),
        6: picture.swapaxes(0, 1)[:, ::-1], 7: picture.swapaxes(0, 1)[::-1, ::-1], 8: picture.swapaxes(0, 1)[::-1],
    }[orientation]  # fmt: skip


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
def test_orientation_is_applied_once(tmp_path: Path, orientation: int, suffix: str) -> None:
    picture = np.zeros((16, 32, 3), dtype=np.uint8)
    picture[:8, :8], picture[:8, 8:16] = 255, 128
    path = tmp_path / f"a.{suffix}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(picture).save(path, exif=exif.tobytes(), **({"lossless": True} if suffix == "webp" else {}))
    expected = turned(picture, orientation)
    read = read_photo(path)
    np.testing.assert_allclose(read.pixels.astype(int), expected, atol=3)
    assert photo_size(path) == read.size == expected.shape[:2]
    again = read_photo(write_photo(tmp_path / f"b.{suffix}", read))
    np.testing.assert_allclose(again.pixels.astype(int), expected, atol=8 if suffix in ("jpg", "webp") else 2)


def test_a_deep_tiff_is_turned_with_its_transparency(tmp_path: Path) -> None:
    pixels, alpha = pixels_of(np.uint16), pixels_of(np.uint16, 1, HEIGHT, WIDTH)
    tifffile.imwrite(
        tmp_path / "a.tif", np.dstack([pixels, alpha]), photometric="rgb", extrasamples=["unassalpha"], extratags=[(274, 3, 1, 6, True)]
    )
    read = read_photo(tmp_path / "a.tif")
    assert np.array_equal(read.pixels, np.rot90(pixels, -1))
    assert np.array_equal(read.alpha, np.rot90(alpha, -1))
    assert photo_size(tmp_path / "a.tif") == (WIDTH, HEIGHT)


def test_metadata_behind_the_pixels_of_a_png_count(tmp_path: Path) -> None:
    from photic.data.photo.png import _chunk

    Image.fromarray(pixels_of(np.uint8)).save(tmp_path / "a.png")
    file = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(file[:-12] + _chunk(b"eXIf", exif_block(6)) + file[-12:])
    assert photo_size(tmp_path / "a.png") == read_photo(tmp_path / "a.png").size == (WIDTH, HEIGHT)


@pytest.mark.parametrize("padding", [b"", b"more behind it: not the thumbnail"])
def test_the_thumbnail_of_the_old_picture_is_dropped(tmp_path: Path, padding: bytes) -> None:
    thumbnail = io.BytesIO()
    Image.fromarray(pixels_of(np.uint8)).save(thumbnail, "JPEG")
    block = exif_block(3, thumbnail=thumbnail.getvalue()) + padding
    Image.fromarray(pixels_of(np.uint8)).save(tmp_path / "a.jpg", exif=b"Exif\x00\x00" + block)
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.getexif().get_ifd(0x0201) is not None
    photo = read_photo(tmp_path / "a.jpg")
    assert photo.exif is not None
    assert thumbnail.getvalue()[:200] not in photo.exif
    assert photo.exif.endswith(padding) or not padding
    first, exposure, _, _ = metadata_of(write_photo(tmp_path / "b.jpg", photo))
    assert (first[0x0112], exposure[0x8827]) == (1, 3200)


def test_a_big_endian_tiff_keeps_its_exif(tmp_path: Path) -> None:
    write_photo(tmp_path / "a.tif", Photo(pixels_of(np.uint16), None, None, exif_block()))
    block = read_photo(tmp_path / "a.tif").exif
    assert block is not None
    swapped = photos.exif_blocks.pack(photos.exif_blocks.in_order(photos.exif_blocks.unpack(block), ">"))
    assert swapped[:2] == b"MM"
    first, exposure, position, _ = metadata_of(write_photo(tmp_path / "b.jpg", Photo(pixels_of(np.uint8), None, None, swapped)))
    assert (first[0x010F], exposure[0x8827], exposure[0xA002], position[1]) == ("Maker", 3200, WIDTH, "N")
    tifffile.imwrite(tmp_path / "c.tif", pixels_of(np.uint16), photometric="rgb", byteorder=">", extratags=[(271, 2, 6, "Maker", True)])
    read = read_photo(tmp_path / "c.tif")
    assert np.array_equal(read.pixels, pixels_of(np.uint16)) and read.pixels.dtype.isnative
    assert read.exif is not None and metadata_of(write_photo(tmp_path / "d.webp", read))[0][0x010F] == "Maker"


def test_a_damaged_exif_block_is_left_out_with_a_warning(tmp_path: Path) -> None:
    Image.fromarray(pixels_of(np.uint8)).save(tmp_path / "a.webp", exif=b"II*\x00\xff\xff\xff\x00", lossless=True)
    with pytest.warns(UserWarning, match=r"a\.webp: its EXIF block is damaged .* left out"):
        photo = read_photo(tmp_path / "a.webp")
    assert photo.exif is None and np.array_equal(photo.pixels, pixels_of(np.uint8))


def test_palette_grey_and_one_bit_pictures_become_rgb(tmp_path: Path) -> None:
    colours = pixels_of(np.uint8)
    palette = Image.fromarray(colours).quantize(16)
    palette.save(tmp_path / "p.png")
    assert np.array_equal(read_photo(tmp_path / "p.png").pixels, np.array(palette.convert("RGB")))
    palette.save(tmp_path / "clear.png", transparency=palette.getpixel((0, 0)))
    clear = read_photo(tmp_path / "clear.png")
    assert clear.alpha is not None and clear.alpha[0, 0] == 0 and clear.alpha.max() == 255
    grey = Image.fromarray(colours[:, :, 0])
    for name in ("g.png", "g.tif", "g.bmp"):
        grey.save(tmp_path / name)
        assert np.array_equal(read_photo(tmp_path / name).pixels, np.repeat(colours[:, :, :1], 3, axis=2))
    grey.convert("1").save(tmp_path / "b.tif")
    assert set(np.unique(read_photo(tmp_path / "b.tif").pixels)) <= {0, 255}


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_deep_grey_keeps_its_depth(tmp_path: Path, suffix: str) -> None:
    grey = pixels_of(np.uint16, 0, HEIGHT, WIDTH)
    Image.fromarray(grey).save(tmp_path / f"a.{suffix}")
    assert np.array_equal(read_photo(tmp_path / f"a.{suffix}").pixels, np.repeat(grey[:, :, None], 3, axis=2))


def test_tiffs_of_many_kinds(tmp_path: Path) -> None:
    deep, path = pixels_of(np.uint16), tmp_path / "a.tif"
    tifffile.imwrite(path, deep.transpose(2, 0, 1), photometric="rgb", planarconfig="separate")
    assert np.array_equal(read_photo(path).pixels, deep)
    tifffile.imwrite(path, deep, photometric="rgb", tile=(16, 16), compression="lzw")
    assert np.array_equal(read_photo(path).pixels, deep)
    tifffile.imwrite(path, 65535 - deep[:, :, 0], photometric="miniswhite")
    assert np.array_equal(read_photo(path).pixels[:, :, 1], deep[:, :, 0])
    half = np.linspace(0, 1, HEIGHT * WIDTH * 3).reshape(HEIGHT, WIDTH, 3).astype(np.float16)
    tifffile.imwrite(path, half, photometric="rgb")
    assert np.array_equal(read_photo(path).pixels, half.astype(np.float32))
    tifffile.imwrite(path, deep, photometric="rgb", bigtiff=True)
    assert np.array_equal(read_photo(path).pixels, deep)
    alpha = np.full((HEIGHT, WIDTH), 32768, np.uint16)
    tifffile.imwrite(
        path, np.dstack([np.rint(deep / 65535 * 32768).astype(np.uint16), alpha]), photometric="rgb", extrasamples=["assocalpha"]
    )
    np.testing.assert_allclose(read_photo(path).pixels.astype(int), deep, atol=2)  # divided by its transparency again
    with tifffile.TiffWriter(path) as file:  # a preview behind the picture is no second page
        file.write(deep, photometric="rgb")
        file.write(np.ascontiguousarray(deep[::4, ::4]), photometric="rgb", subfiletype=1)
    assert np.array_equal(read_photo(path).pixels, deep)


def test_transparency_is_written_where_it_can_be(tmp_path: Path) -> None:
    photo = Photo(pixels_of(np.uint8), pixels_of(np.uint8, 1, HEIGHT, WIDTH))
    again = read_photo(write_photo(tmp_path / "a.webp", photo, quality=100))
    assert np.array_equal(again.alpha, photo.alpha) and np.array_equal(again.pixels, photo.pixels)
    for suffix in (".jpg", ".bmp"):
        with pytest.warns(UserWarning, match="holds no transparency, so it is left out; write .png"):
            assert read_photo(write_photo(tmp_path / f"a{suffix}", photo)).alpha is None
    opaque = Photo(pixels_of(np.uint8), np.full((HEIGHT, WIDTH), 255, np.uint8))
    write_photo(tmp_path / "b.jpg", opaque)  # nothing is lost: no warning, which would be an error here


def test_what_a_format_cannot_hold_is_said(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="BMP holds neither ICC profile nor EXIF"):
        write_photo(tmp_path / "a.bmp", Photo(pixels_of(np.uint8), None, srgb(), None))
    with pytest.warns(UserWarning, match="more than JPEG holds"):
        write_photo(tmp_path / "a.jpg", Photo(pixels_of(np.uint8), None, None, exif_block() + bytes(70000)))
    with pytest.raises(DataError, match=r"16390 x 1 pixels is more than WEBP allows"):
        write_photo(tmp_path / "a.webp", Photo(np.zeros((1, 16390, 3), np.uint8)))
    with pytest.raises(ConfigError, match=r"cannot write '\.gif' files; use one of \.png"):
        write_photo(tmp_path / "a.gif", Photo(pixels_of(np.uint8)))
    with pytest.raises(ConfigError, match="quality: expected 1 to 100, got 0"):
        write_photo(tmp_path / "a.jpg", Photo(pixels_of(np.uint8)), quality=0)


def test_nothing_is_replaced_without_force_and_nothing_is_half_written(tmp_path: Path) -> None:
    path = write_photo(tmp_path / "deep" / "a.png", Photo(pixels_of(np.uint8)))
    with pytest.raises(ConfigError, match="is there already"):
        write_photo(path, Photo(pixels_of(np.uint8, 1)))
    assert np.array_equal(read_photo(path).pixels, pixels_of(np.uint8))
    write_photo(path, Photo(pixels_of(np.uint8, 1)), force=True)
    assert np.array_equal(read_photo(path).pixels, pixels_of(np.uint8, 1))
    assert [file.name for file in path.parent.iterdir()] == ["a.png"]
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot be written"):
        write_photo(tmp_path / "file" / "a.png", Photo(pixels_of(np.uint8)))


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".webp", ".bmp"])
def test_one_pixel_is_a_picture(tmp_path: Path, suffix: str) -> None:
    path = write_photo(tmp_path / f"a{suffix}", Photo(np.full((1, 1, 3), 77, np.uint8)))
    assert photo_size(path) == (1, 1)
    np.testing.assert_allclose(read_photo(path).pixels, 77, atol=1)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".webp", ".bmp"])
def test_truncated_files_are_refused(tmp_path: Path, suffix: str, kind: Any) -> None:
    path = write_photo(tmp_path / f"a{suffix}", Photo(pixels_of(kind, 0, 40, 50, 3)))
    whole = path.read_bytes()
    for size in (len(whole) - 8, len(whole) // 2, 60, 3, 0):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError, match=rf"a{suffix}: (damaged or truncated|not a picture)"):
            read_photo(path)


def test_animations_and_pages_are_refused(tmp_path: Path) -> None:
    frames = [Image.fromarray(pixels_of(np.uint8, seed)) for seed in (0, 1)]
    for suffix in ("png", "webp", "gif"):
        frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:], duration=100)
        with pytest.raises(DataError, match=r"an animated picture|holds 2 pictures"):
            read_photo(tmp_path / f"a.{suffix}")
    tifffile.imwrite(tmp_path / "a.tif", pixels_of(np.uint16, 0, 2, HEIGHT, WIDTH, 3), photometric="rgb")
    with pytest.raises(DataError, match="holds 2 pictures; expected one"):
        read_photo(tmp_path / "a.tif")


@pytest.mark.filterwarnings("error")
def test_200_megapixels_are_accepted_by_header_and_more_refused_before_decoding(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    Image.new("1", (20000, 10000)).save(path)  # 200 megapixels in 25 kB
    assert photo_size(path) == (10000, 20000)
    with pytest.raises(DataError, match=r"20000 x 10000 pixels are 200 megapixels, more than the limit of 100;.*raise max_pixels"):
        read_photo(path, max_pixels=100_000_000)
    huge = tmp_path / "huge.png"
    Image.new("1", (20000, 20000)).save(huge)
    with pytest.raises(DataError, match="400 megapixels, more than the limit of 250"):
        read_photo(huge)
    Image.new("L", (12000, 8000)).save(tmp_path / "grey.png")  # more than Pillow warns of, less than our limit
    assert read_photo(tmp_path / "grey.png").size == (8000, 12000)
    assert Image.MAX_IMAGE_PIXELS == 89478485  # Pillow's own limit is as it was for everybody else


def test_floats_that_are_no_photograph_are_refused(tmp_path: Path) -> None:
    values, path = pixels_of(np.float32), tmp_path / "a.tif"
    values[3, 4, 1] = np.nan
    values[7, 2] = np.inf
    tifffile.imwrite(path, values, photometric="rgb")
    with pytest.raises(DataError, match=r"a\.tif: 4 of 720 values are NaN or infinite, the first in row 3, column 4"):
        read_photo(path)
    tifffile.imwrite(path, pixels_of(np.float32) * 1.5 - 0.25, photometric="rgb")
    with pytest.raises(DataError, match=r"floats from -0\.2\d+ to 1\.2\d+; expected them in \[0, 1\].*Divide by the white level"):
        read_photo(path)


def test_numbers_without_a_scale_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels_of(np.uint8).astype(np.uint32), photometric="rgb")
    with pytest.raises(DataError, match="numbers of type uint32 have no fixed scale"):
        read_photo(path)
    tifffile.imwrite(path, pixels_of(np.uint8).astype(np.int16), photometric="rgb")
    with pytest.raises(DataError, match="numbers of type int16 have no fixed scale"):
        read_photo(path)
    tifffile.imwrite(path, pixels_of(np.uint16, 0, HEIGHT, WIDTH, 4), photometric="separated")
    with pytest.raises(DataError, match="16-bit pixels of kind SEPARATED; expected RGB or grey"):
        read_photo(path)
    tifffile.imwrite(path, pixels_of(np.uint16, 0, HEIGHT, WIDTH, 5), photometric="minisblack", planarconfig="contig")
    with pytest.raises(DataError, match="5 samples per pixel"):
        read_photo(path)


def cmyk_profile() -> bytes:
    """Return a printer's profile of one table: L* = 100 (1 - k)(1 - (c + m + y) / 3), no colour."""
    corners = [100 * (1 - k) * (1 - (c + m + y) / 3) for c in (0, 1) for m in (0, 1) for y in (0, 1) for k in (0, 1)]
    clut = b"".join(bytes([round(lightness * 2.55), 128, 128]) for lightness in corners)
    identity = bytes(range(256))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + struct.pack(">9i", *(65536 if i % 4 == 0 else 0 for i in range(9)))
    table += identity * 4 + clut + identity * 3
    table += bytes(-len(table) % 4)
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    tags = [(b"A2B0", table), (b"wtpt", white)]
    start = 128 + 4 + 12 * len(tags)
    directory, body = struct.pack(">I", len(tags)), b""
    for name, data in tags:
        directory += name + struct.pack(">II", start + len(body), len(data))
        body += data
    size = start + len(body)
    header = struct.pack(">I", size) + bytes(4) + bytes([2, 0x40, 0, 0]) + b"prtrCMYKLab " + bytes(12) + b"acsp" + bytes(28)
    header += struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\x00") + directory + body


def test_cmyk_goes_through_its_profile_and_is_refused_without(tmp_path: Path) -> None:
    inks = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    inks[:, 10:, 3] = 255
    image = Image.frombytes("CMYK", (WIDTH, HEIGHT), inks.tobytes())
    for suffix in ("jpg", "tif"):
        image.save(tmp_path / f"none.{suffix}")
        with pytest.raises(DataError, match=r"CMYK without a profile: nobody knows .* Convert it to RGB"):
            read_photo(tmp_path / f"none.{suffix}")
        image.save(tmp_path / f"a.{suffix}", icc_profile=cmyk_profile())
        photo = read_photo(tmp_path / f"a.{suffix}")
        assert photo.pixels[:, 0].min() > 250 and photo.pixels[:, -1].max() < 8
        assert photo.icc is not None and photo.icc[16:20] == b"RGB "  # the colours are sRGB's now
        assert photo.icc == photos._srgb_profile()
    image.save(tmp_path / "b.jpg", icc_profile=b"no profile at all" * 20)
    with pytest.raises(DataError, match="CMYK profile cannot be used"):
        read_photo(tmp_path / "b.jpg")


def test_a_profile_that_does_not_fit_is_left_out_with_a_warning(tmp_path: Path) -> None:
    Image.fromarray(pixels_of(np.uint8)).save(tmp_path / "a.png", icc_profile=cmyk_profile())
    with pytest.warns(UserWarning, match="its ICC profile is for CMYK, not for RGB; it is left out"):
        assert read_photo(tmp_path / "a.png").icc is None
    Image.fromarray(pixels_of(np.uint8)).save(tmp_path / "b.png", icc_profile=b"?" * 200)
    with pytest.warns(UserWarning, match="its ICC profile is damaged"):
        assert read_photo(tmp_path / "b.png").icc is None


def test_what_is_no_picture_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("text")
    for call in (read_photo, photo_size):
        with pytest.raises(DataError, match=r"a\.png: not a picture that can be read \(4 bytes\)"):
            call(tmp_path / "a.png")
        with pytest.raises(DataError, match="no such file"):
            call(tmp_path / "b.png")
        with pytest.raises(DataError, match="is a folder"):
            call(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_tiles_of_a_photo_fill_a_canvas_again(kind: Any) -> None:
    photo, canvas = Photo(pixels_of(kind)), Canvas((HEIGHT, WIDTH), kind)
    for top in range(0, HEIGHT, 5):
        for left in range(0, WIDTH, 7):
            piece = tile(photo, slice(top, top + 5), slice(left, left + 7))
            assert piece.dtype == torch.float32 and piece.shape[0] == 3 and piece.max() <= 1
            canvas.put(piece, top=top, left=left)
    assert np.array_equal(canvas.pixels, photo.pixels)


def test_a_canvas_clips_rounds_and_refuses() -> None:
    canvas = Canvas((2, 2), np.uint8)
    canvas.put(torch.tensor([-0.5, 0.502, 0.998, 7.0]).reshape(1, 2, 2).repeat(3, 1, 1), top=0, left=0)
    assert canvas.pixels[:, :, 0].ravel().tolist() == [0, 128, 254, 255]
    with pytest.raises(DataError, match=r"1 of 12 values of a picture \(3, 2, 2\) are not finite"):
        canvas.put(torch.zeros(3, 2, 2).index_put((torch.tensor(0),) * 3, torch.tensor(float("nan"))), top=0, left=0)
    with pytest.raises(DataError, match="reaches beyond"):
        canvas.put(torch.zeros(3, 2, 2), top=1, left=0)
    with pytest.raises(DataError, match="expected uint8, uint16 or float32"):
        Canvas((2, 2), np.int32)
    assert from_float(torch.full((3, 1, 1), 0.5), np.uint16).ravel().tolist() == [32768] * 3


def test_a_photo_checks_itself() -> None:
    with pytest.raises(DataError, match="expected pixels"):
        Photo(np.zeros((2, 2), np.uint8))
    with pytest.raises(DataError, match="expected alpha"):
        Photo(np.zeros((2, 2, 3), np.uint8), np.zeros((2, 3), np.uint8))


def test_many_threads_leave_pillows_limit_alone(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    path = write_photo(tmp_path / "a.png", Photo(pixels_of(np.uint8)))
    with warnings.catch_warnings(), ThreadPoolExecutor(8) as pool:
        warnings.simplefilter("error")
        assert set(pool.map(lambda _: photo_size(path), range(200))) == {(HEIGHT, WIDTH)}
    assert Image.MAX_IMAGE_PIXELS is not None

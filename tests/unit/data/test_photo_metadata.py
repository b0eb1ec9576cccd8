"""EXIF, orientation and colour profiles of photographs: what is kept, what is applied, what is left out and said so."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from photic.core.errors import DataError
from photic.data.photo import files as photos
from photic.data.photo.files import Photo, as_kind, photo_size, read_photo, write_photo

from .photographs import HEIGHT, KINDS, WIDTH, exif_block, metadata_of, pixels_of, srgb


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

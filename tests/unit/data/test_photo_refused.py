"""Files that are no photographs, or none that can be read: each is refused with what is wrong with it."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from photic.core.errors import DataError
from photic.data.photo.files import Photo, photo_size, read_photo, write_photo

from .photographs import HEIGHT, WIDTH, pixels_of


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


def write_header(path: Path, height: int, width: int) -> None:
    """Write a PNG whose header claims a size that its few pixels do not fill."""
    Image.new("1", (8, 8)).save(path)
    content = bytearray(path.read_bytes())
    struct.pack_into(">II", content, 16, width, height)
    struct.pack_into(">I", content, 29, zlib.crc32(content[12:29]))
    path.write_bytes(content)


@pytest.mark.filterwarnings("error")
def test_200_megapixels_are_accepted_by_header_and_more_refused_before_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, huge, small = tmp_path / "large.png", tmp_path / "huge.png", tmp_path / "small.png"
    write_header(path, 10000, 20000)
    assert photo_size(path) == (10000, 20000)
    with pytest.raises(DataError, match=r"20000 x 10000 pixels are 200 megapixels, more than the limit of 100;.*raise max_pixels"):
        read_photo(path, max_pixels=100_000_000)
    write_header(huge, 20000, 20000)
    with pytest.raises(DataError, match="400 megapixels, more than the limit of 250"):
        read_photo(huge)
    with pytest.raises(DataError, match="damaged or truncated"):  # within the limit: decoded, as far as that goes
        read_photo(path)
    assert Image.MAX_IMAGE_PIXELS == 89478485  # Pillow's own limit is as it was for everybody else
    Image.new("L", (60, 40)).save(small)
    for limit in (2000, 1000):  # Pillow warns of more than its limit and refuses more than twice that; ours counts
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        assert read_photo(small).size == (40, 60)
        assert limit == Image.MAX_IMAGE_PIXELS


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


def test_what_is_no_picture_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("text")
    for call in (read_photo, photo_size):
        with pytest.raises(DataError, match=r"a\.png: not a picture that can be read \(4 bytes\)"):
            call(tmp_path / "a.png")
        with pytest.raises(DataError, match="no such file"):
            call(tmp_path / "b.png")
        with pytest.raises(DataError, match="is a folder"):
            call(tmp_path)

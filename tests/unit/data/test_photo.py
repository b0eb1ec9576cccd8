"""Photographs in and out: every depth and kind of picture, in every format; and pixels that are written tile by tile."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from photic.core.errors import ConfigError, DataError, StorageError
from photic.data.photo.depth import overview_of
from photic.data.photo.files import Canvas, Photo, as_kind, from_float, photo_size, read_photo, tile, write_photo
from photic.functional.overview import overview

from .photographs import HEIGHT, KINDS, WIDTH, exif_block, pixels_of, srgb


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


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(64, 64), (400, 600), (65, 63), (3, 5), (1, 1), (130, 1000)])
def test_the_overview_needs_no_floats_of_the_whole_picture(size: tuple[int, int], kind: Any) -> None:
    pixels = pixels_of(kind, 0, *size, 3)
    expected = overview(torch.from_numpy(as_kind(pixels, np.float32)).permute(2, 0, 1))
    torch.testing.assert_close(overview_of(pixels), expected, atol=1e-6, rtol=0)


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

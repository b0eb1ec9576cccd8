"""Reading pictures: exact values, every pixel format, refusals that name the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from photic.core.errors import DataError
from photic.data.images import image_size, list_images, passed_over, read_image, resize_picture, to_measurement

STRIPS = Path(__file__).resolve().parents[3].parent / "shared/data/defects/severstal"


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)


def test_a_lossless_colour_picture_comes_back_exactly(tmp_path: Path, picture: np.ndarray) -> None:
    Image.fromarray(picture).save(tmp_path / "a.png")
    read = read_image(tmp_path / "a.png")
    assert read.dtype == np.uint8
    assert np.array_equal(read, picture)
    assert image_size(tmp_path / "a.png") == (12, 20)


def test_grey_black_and_white_and_palette_pictures_become_rgb(tmp_path: Path, picture: np.ndarray) -> None:
    grey = Image.fromarray(picture[:, :, 0])
    grey.save(tmp_path / "grey.png")
    assert np.array_equal(read_image(tmp_path / "grey.png"), np.repeat(picture[:, :, :1], 3, axis=2))
    grey.convert("1").save(tmp_path / "bw.png")
    assert set(np.unique(read_image(tmp_path / "bw.png"))) == {0, 255}
    palette = Image.fromarray(picture).quantize(16)
    palette.save(tmp_path / "palette.png", transparency=0)
    assert np.array_equal(read_image(tmp_path / "palette.png"), np.array(palette.convert("RGB")))


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_16_bit_grey_is_scaled_and_not_clipped(tmp_path: Path, suffix: str) -> None:
    levels = np.array([[0, 257, 32768, 65535]], dtype=np.uint16)
    Image.fromarray(levels).save(tmp_path / f"a.{suffix}")
    assert read_image(tmp_path / f"a.{suffix}")[0, :, 0].tolist() == [0, 1, 128, 255]


def test_transparency_is_dropped_and_the_stored_colours_stay(tmp_path: Path, picture: np.ndarray) -> None:
    alpha = np.random.default_rng(1).integers(0, 256, (12, 20, 1), dtype=np.uint8)
    Image.fromarray(np.concatenate([picture, alpha], axis=2)).save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png"), picture)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_exif_orientation_is_applied_to_pixels_and_size(tmp_path: Path, orientation: int, suffix: str) -> None:
    picture = np.zeros((16, 32, 3), dtype=np.uint8)
    picture[:8, :8] = 255  # a white patch in one corner tells all eight orientations apart, but for transposition
    picture[:8, 8:16] = 128
    stored = Image.fromarray(picture)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / f"a.{suffix}", exif=exif)
    upright = {1: picture, 2: picture[:, ::-1], 3: picture[::-1, ::-1], 4: picture[::-1]}
    turned = picture.transpose(1, 0, 2)
    upright |= {5: turned, 6: turned[:, ::-1], 7: turned[::-1, ::-1], 8: turned[::-1]}
    read = read_image(tmp_path / f"a.{suffix}")
    assert np.abs(read.astype(int) - upright[orientation].astype(int)).max() <= 4
    assert image_size(tmp_path / f"a.{suffix}") == read.shape[:2]


def test_16_bit_pictures_are_turned_too(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.array([[0, 65535]], dtype=np.uint16)).save(tmp_path / "a.png", exif=exif)
    assert read_image(tmp_path / "a.png")[:, 0, 0].tolist() == [0, 255]


@pytest.mark.parametrize("kept", [0.99, 0.5, 0.1])
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_truncated_picture_is_refused_by_name_and_never_filled_up(tmp_path: Path, suffix: str, kept: float) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    path = tmp_path / f"strip.{suffix}"
    Image.fromarray(picture).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(DataError) as caught:
        read_image(path)
    assert str(path) in str(caught.value)
    assert "replace the file" in str(caught.value)


def test_damaged_png_data_are_refused(tmp_path: Path, picture: np.ndarray) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(picture).save(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"a\.png: damaged"):
        read_image(path)


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"\xff\xd8\xff"])
def test_what_is_no_picture_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    for read in (read_image, image_size):
        with pytest.raises(DataError, match=r"a\.jpg: not a picture"):
            read(tmp_path / "a.jpg")


def test_missing_files_and_folders_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.jpg: no such file"):
        read_image(tmp_path / "gone.jpg")
    with pytest.raises(DataError, match="is a folder"):
        image_size(tmp_path)


def test_floats_and_several_pictures_in_a_file_are_refused(tmp_path: Path, picture: np.ndarray) -> None:
    Image.fromarray(np.ones((4, 4), dtype=np.float32)).save(tmp_path / "f.tif")
    with pytest.raises(DataError, match="mode 'F' have no fixed scale"):
        read_image(tmp_path / "f.tif")
    Image.fromarray(picture).save(tmp_path / "two.tif", save_all=True, append_images=[Image.fromarray(picture)])
    with pytest.raises(DataError, match=r"two\.tif: holds 2 pictures"):
        read_image(tmp_path / "two.tif")


def test_a_measurement_is_channels_first_float_between_0_and_1(picture: np.ndarray) -> None:
    measurement = to_measurement(picture)
    assert measurement.dtype == torch.float32
    assert measurement.shape == (3, 12, 20)
    assert torch.equal((measurement * 255).round().to(torch.uint8), torch.from_numpy(picture).permute(2, 0, 1))
    for wrong in (picture[:, :, 0], picture.astype(np.float32)):
        with pytest.raises(DataError, match=r"expected \(H, W, 3\) uint8"):
            to_measurement(wrong)


def test_pictures_are_listed_from_folders_patterns_and_single_files(tmp_path: Path) -> None:
    for name in ("b.png", "a.JPG", "deep/er/c.tiff", "notes.txt", ".hidden.png", "odd[1].png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert [str(p.relative_to(tmp_path)) for p in list_images(tmp_path)] == ["a.JPG", "b.png", "deep/er/c.tiff", "odd[1].png"]
    assert list_images(str(tmp_path / "*.png")) == [tmp_path / "b.png", tmp_path / "odd[1].png"]
    assert list_images(str(tmp_path / "**" / "*.tiff")) == [tmp_path / "deep/er/c.tiff"]
    assert list_images(tmp_path / "odd[1].png") == [tmp_path / "odd[1].png"]


def test_files_of_other_kinds_are_remarked_on_but_not_labels_texts_and_hidden_ones(tmp_path: Path) -> None:
    for name in ("a.png", "labels.csv", "README", ".cache/x.gif", "notes.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert passed_over(tmp_path) == ()
    for name in ("deep/b.gif", "c.gif", "d.NEF"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (remark,) = passed_over(tmp_path)
    assert remark.startswith(f"{tmp_path}: files of other kinds were passed over: 2 .gif, 1 .nef (for example c.gif); read are .jpg, ")
    assert "1 .nef (" in passed_over(tmp_path, (".png", ".gif"))[0]


def test_empty_and_missing_sources_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no pictures in this folder"):
        list_images(tmp_path)
    with pytest.raises(DataError, match=r"gone: no such file or folder"):
        list_images(tmp_path / "gone")
    with pytest.raises(DataError, match="no picture matches"):
        list_images(str(tmp_path / "*.png"))


@pytest.mark.real
def test_real_strips_are_256_by_1600() -> None:
    if not STRIPS.is_dir():
        pytest.skip(f"no real strips at {STRIPS}")
    files = list_images(STRIPS / "train_images")
    assert {image_size(file) for file in files} == {(256, 1600)}
    assert read_image(files[0]).shape == (256, 1600, 3)


def test_resizing_averages_where_it_shrinks_and_leaves_a_picture_of_that_size_alone(picture: np.ndarray) -> None:
    assert resize_picture(picture, None) is picture
    assert resize_picture(picture, (12, 20)) is picture
    checkered = np.indices((16, 16)).sum(axis=0)[..., None].repeat(3, axis=2) % 2 * 200
    small = resize_picture(checkered.astype(np.uint8), (4, 8))
    assert small.shape == (4, 8, 3) and small.dtype == np.uint8
    assert np.abs(small.astype(int) - 100).max() < 20
    assert torch.equal(to_measurement(small), torch.from_numpy(small).permute(2, 0, 1).float() / 255)

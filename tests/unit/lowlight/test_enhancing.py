"""Pictures of any size, depth and kind through an enhancer: whole, in tiles, at any strength."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from photic.apps import lowlight
from photic.apps.lowlight.enhancing import (
    enhance,
    enhance_photo,
    enhance_pixels,
    graph_of,
    load_enhancer,
    num_tiles,
    tile_layout,
)
from photic.core.errors import CheckpointError, ConfigError, DataError, UnknownNameError
from photic.data.photo.files import Photo, read_photo, write_photo
from photic.models.zero_dce import ZeroDCE
from photic.tasks.enhancement import EnhancementGraph

from .conftest import dark_scene

KINDS = (np.uint8, np.uint16, np.float32)


def as_kind(picture: np.ndarray, kind: type) -> np.ndarray:
    return picture.astype(kind) if kind is np.float32 else np.rint(picture * np.iinfo(kind).max).astype(kind)


def as_floats(picture: np.ndarray) -> np.ndarray:
    return picture.astype(np.float64) / (1 if picture.dtype.kind == "f" else np.iinfo(picture.dtype).max)


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_comes_out_as_the_graph_makes_it(enhancer, kind):
    pixels = as_kind(dark_scene(), kind)
    made = enhance_pixels(graph_of(enhancer), pixels)
    assert made.shape == pixels.shape
    assert made.dtype == kind
    with torch.inference_mode():
        expected = enhancer.task.graph(torch.from_numpy(as_floats(pixels).astype(np.float32)).permute(2, 0, 1)[None])
    step = 0.5001 / (np.iinfo(kind).max if kind is not np.float32 else 1e5)
    np.testing.assert_allclose(as_floats(made), expected[0].permute(1, 2, 0).numpy(), atol=step + 1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_strength_goes_from_the_picture_itself_to_the_network_and_beyond(enhancer, kind):
    pixels = as_kind(dark_scene(), kind)
    graph = graph_of(enhancer)
    np.testing.assert_array_equal(enhance_pixels(graph, pixels, strength=0), pixels)
    full = as_floats(enhance_pixels(graph, pixels))
    own, step = as_floats(pixels), 1 / (np.iinfo(kind).max if kind is not np.float32 else 1e5)
    for strength in (0.3, 0.7, 1.6, 2.0):
        made = as_floats(enhance_pixels(graph, pixels, strength=strength))
        np.testing.assert_allclose(made, np.clip(own + strength * (full - own), 0, 1), atol=(1 + strength) * step)


def test_at_strength_zero_greys_and_colours_shift_by_nothing(enhancer):
    """Marks of the design page: mean ΔE is 0 at strength 0; every level of 8 and 16 bits is the same to the bit."""
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    chart = np.random.default_rng(0).integers(0, 65536, (24, 24, 3)).astype(np.uint16)
    for pixels in (ramp, chart):
        made = enhance_pixels(graph_of(enhancer), pixels, strength=0)
        np.testing.assert_array_equal(made, pixels)
        assert made is not pixels


@pytest.mark.parametrize("strength", [-0.1, 2.01, float("nan")])
def test_impossible_strengths_are_refused(enhancer, strength):
    with pytest.raises(ConfigError, match="strength"):
        enhance_pixels(graph_of(enhancer), np.full((4, 4, 3), 9, np.uint8), strength=strength)


def test_sixteen_bits_go_through_without_steps_of_eight(enhancer):
    ramp = np.linspace(1000, 4000, 512).astype(np.uint16)  # 12 levels of 8 bits
    pixels = np.repeat(np.repeat(ramp[None, :, None], 32, axis=0), 3, axis=2)
    rough = pixels // 257 * 257  # the same at 8 bits
    fine, coarse = (np.unique(enhance_pixels(graph_of(enhancer), given)[16, 128:-128:8, 1]) for given in (pixels, rough))
    assert fine.dtype == np.uint16
    assert len(fine) == 32  # every eighth pixel, the network's grid, has a level of its own
    assert len(coarse) < 20
    assert len(np.unique(fine % 257)) > 20


@pytest.mark.parametrize("tile_px", [256, 264, 300])
def test_tiles_give_what_the_whole_picture_gives(enhancer, tile_px):
    pixels = as_kind(dark_scene(410, 530), np.uint16)
    graph = graph_of(enhancer)
    assert num_tiles(graph, (410, 530), tile_px) > 4
    whole = enhance_pixels(graph, pixels).astype(int)
    tiled = enhance_pixels(graph, pixels, tile_px=tile_px).astype(int)
    assert np.abs(tiled - whole).max() <= 8  # of 65535: rounding of sums, not seams


def test_tiles_are_on_the_network_s_grid_and_overlap_by_what_it_sees(enhancer):
    graph = graph_of(enhancer)
    layout = tile_layout(graph)
    assert layout.tile % graph.network.multiple == 0
    assert layout.margin == graph.network.margin_px
    assert layout.overlap >= 2 * layout.margin
    with pytest.raises(ConfigError, match="too small.*at least") as refused:
        tile_layout(graph, 32)
    least = int(str(refused.value).rsplit(" ", 1)[1])
    assert tile_layout(graph, least).tile == least


def test_a_tile_decides_nothing_for_itself(enhancer):
    """One half is black, the other grey: tiles that decided alone would treat them differently."""
    pixels = np.zeros((300, 600, 3), np.uint16)
    pixels[:, 300:] = 9000
    pixels[:, :300] = 400
    graph = graph_of(enhancer)
    whole, tiled = (enhance_pixels(graph, pixels, tile_px=tile).astype(int) for tile in (None, 256))
    assert np.abs(whole - tiled).max() <= 8


def test_large_pictures_take_tiles_by_themselves(enhancer):
    graph = graph_of(enhancer)
    assert num_tiles(graph, (800, 1200)) == 1
    assert num_tiles(graph, (4000, 6000)) > 20


def test_progress_counts_every_pixel_once(enhancer):
    done: list[int] = []
    pixels = as_kind(dark_scene(300, 280), np.uint8)
    for tile_px, strength in ((None, 1.0), (256, 1.0), (None, 0.0)):
        done.clear()
        enhance_pixels(graph_of(enhancer), pixels, tile_px=tile_px, strength=strength, advance=done.append)
        assert sum(done) == 300 * 280


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (7, 3)])
def test_tiny_pictures_go_through(enhancer, size):
    made = enhance_pixels(graph_of(enhancer), np.full((*size, 3), 20, np.uint8))
    assert made.shape == (*size, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_black_stays_black_and_is_said(enhancer, kind):
    pixels = np.zeros((20, 30, 3), kind)
    with pytest.warns(UserWarning, match="nothing to enhance"):
        made = enhance_pixels(graph_of(enhancer), pixels)
    np.testing.assert_array_equal(made, pixels)


def test_nearly_black_and_white_are_finite(enhancer):
    for pixels in (np.full((40, 40, 3), 255, np.uint8), np.eye(40, dtype=np.uint8)[..., None].repeat(3, 2)):
        made = enhance_pixels(graph_of(enhancer), pixels)
        assert made.dtype == np.uint8


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((4, 4), np.uint8), "expected an array"),
        (np.zeros((4, 4, 4), np.uint8), "expected an array"),
        (np.zeros((0, 4, 3), np.uint8), "expected an array"),
        (np.zeros((4, 4, 3), np.int32), "int32"),
        (np.full((4, 4, 3), 1.5, np.float32), "to 1.5"),
        (np.full((4, 4, 3), -0.1, np.float32), "-0.1"),
        (np.where(np.eye(4)[..., None] > 0, np.nan, 0.5).repeat(3, 2).astype(np.float32), "not finite"),
    ],
)
def test_what_is_no_picture_is_refused(enhancer, pixels, message):
    with pytest.raises(DataError, match=message):
        enhance_pixels(graph_of(enhancer), pixels)


class Broken(ZeroDCE):
    """Gives what is not a number."""

    def enhance(self, image: Tensor, decision: Tensor):
        made = super().enhance(image, decision)
        return type(made)(made.picture * float("nan"), made.parts)


def test_values_that_are_not_finite_are_never_written():
    with pytest.raises(DataError, match="not finite"):
        enhance_pixels(EnhancementGraph(Broken(4, 1)).eval(), np.full((9, 9, 3), 9, np.uint8))


def test_a_photo_keeps_transparency_profile_and_exif(enhancer):
    pixels = as_kind(dark_scene(), np.uint16)
    alpha = np.arange(60 * 80, dtype=np.uint16).reshape(60, 80)
    made = enhance_photo(enhancer, Photo(pixels, alpha, b"profile", b"exif"))
    np.testing.assert_array_equal(made.alpha, alpha)
    assert (made.icc, made.exif) == (b"profile", b"exif")
    assert made.pixels.mean() > 2 * pixels.mean()


# --- the function for users ----------------------------------------------------------------------


def test_arrays_come_back_as_they_came(enhancer):
    assert lowlight.enhance is enhance
    for kind in (np.uint8, np.uint16, np.float32, np.float64, np.float16):
        pixels = dark_scene().astype(kind) if np.dtype(kind).kind == "f" else as_kind(dark_scene(), kind)
        made = enhance(pixels, enhancer)
        assert made.dtype == kind
        assert made.shape == pixels.shape
        assert made.mean() > pixels.mean()
        np.testing.assert_array_equal(enhance(pixels, enhancer, strength=0), pixels)


def test_a_file_comes_back_as_its_pixels(enhancer, tmp_path):
    pixels = as_kind(dark_scene(), np.uint16)
    path = write_photo(tmp_path / "a.tiff", Photo(pixels))
    np.testing.assert_array_equal(enhance(path, enhancer), enhance(pixels, enhancer))
    np.testing.assert_array_equal(enhance(str(path), enhancer), enhance(read_photo(path).pixels, enhancer))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA"])
def test_pillow_images_keep_mode_transparency_and_profile(enhancer, mode):
    image = Image.fromarray(as_kind(dark_scene(), np.uint8)).convert(mode)
    if mode.endswith("A"):
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    image.info["icc_profile"] = b"p"
    made = enhance(image, enhancer)
    assert made.mode == mode
    assert made.info["icc_profile"] == b"p"
    if mode.endswith("A"):
        np.testing.assert_array_equal(np.asarray(made.getchannel("A")), np.asarray(image.getchannel("A")))
    assert np.asarray(made.convert("L")).mean() > np.asarray(image.convert("L")).mean()
    np.testing.assert_array_equal(np.asarray(enhance(image, enhancer, strength=0)), np.asarray(image))


def test_other_images_are_refused(enhancer, tmp_path):
    with pytest.raises(DataError, match="CMYK"):
        enhance(Image.new("CMYK", (4, 4)), enhancer)
    with pytest.raises(DataError, match="list"):
        enhance([1, 2], enhancer)
    with pytest.raises(DataError, match="no such file"):
        enhance(tmp_path / "absent.png", enhancer)


def test_models_that_are_none_are_refused(tmp_path):
    with pytest.raises(UnknownNameError, match="no such bundle, run or checkpoint"):
        load_enhancer("nosuchmodel")
    (tmp_path / "a.photic").write_bytes(b"nonsense")
    with pytest.raises(CheckpointError):
        load_enhancer(tmp_path / "a.photic")


def test_a_run_is_loaded_and_used(trained_run, pairs_folder):
    path = pairs_folder / "low" / "00.png"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = enhance(path, trained_run, device="cpu")
    assert made.mean() > read_photo(path).pixels.mean()

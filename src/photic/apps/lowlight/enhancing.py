"""Pictures of any size through an enhancer: one decision for the whole picture, tiles where it is large, a strength.

Nothing of a picture is held as floats but one row of tiles, so memory grows with the width of a picture and hardly with its height.
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import torch
from torch import Tensor

from photic.core.errors import ConfigError, DataError
from photic.core.plugins import model_source
from photic.data.photo.depth import KINDS, Pixels, from_float, overview_of, to_tensor
from photic.data.photo.files import Photo, read_photo
from photic.functional.tiling import Layout, Span
from photic.inference.predictor import LoadedModel, load
from photic.tasks.enhancement import EnhancementGraph, EnhancementTask

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_STRENGTH = 2.0
WHOLE_PX = 1_000_000
"""Pictures of up to so many pixels are enhanced whole."""
TILE_PX = 768
"""Side of the tiles of larger ones."""
_BLEND_PX = 32
"""Over how many pixels neighbouring tiles change over, beyond the margins."""


def enhance_photo(
    model: LoadedModel, photo: Photo, *, strength: float = 1.0, tile_px: int | None = None, advance: Callable[[int], None] | None = None
) -> Photo:
    """Return an enhanced photograph with the depth, transparency, colour profile and EXIF of the given one.

    Args:
        model: a trained enhancer, see :func:`load_enhancer`.
        photo: the dark photograph.
        strength: how far to go: 0 leaves every bit as it is, 1 is the network's picture, above 1 exaggerates; at most 2.
        tile_px: side of the tiles in pixels; None enhances pictures of up to a million pixels whole, larger ones in tiles of 768.
        advance: called with the number of pixels done, each time some are.

    Raises:
        ConfigError: a strength or a tile that is not possible, or the model is no enhancer.
        DataError: the pixels are none of a picture, or the network gives values that are not finite.

    Warns:
        UserWarning: the picture is black all over, so it is left as it is.
    """
    pixels = enhance_pixels(graph_of(model), photo.pixels, strength=strength, tile_px=tile_px, device=model.device, advance=advance)
    return dataclasses.replace(photo, pixels=pixels)


@torch.inference_mode()
def enhance_pixels(
    graph: EnhancementGraph,
    pixels: Pixels,
    *,
    strength: float = 1.0,
    tile_px: int | None = None,
    decision: Tensor | None = None,
    device: torch.device | str = "cpu",
    advance: Callable[[int], None] | None = None,
) -> Pixels:
    """Return enhanced pixels of the same shape and type; see :func:`enhance_photo`.

    Args:
        graph: network and post-processing, on ``device``.
        pixels: ``(H, W, 3)`` uint8, uint16, or float32 in [0, 1].
        strength: 0 to 2.
        tile_px: side of the tiles; None decides by the picture's size.
        decision: ``(1, K)`` as ``graph.decide`` gives it; None decides by the picture.
        device: where to compute.
        advance: called with the number of pixels done.

    Raises:
        ConfigError: a strength or a tile that is not possible.
        DataError: not of this form, or the network gives values that are not finite.
    """
    check_strength(strength)
    _check_pixels(pixels)
    height, width = pixels.shape[:2]
    layout = tile_layout(graph, tile_px)
    if strength == 0 or not pixels.any():
        if strength != 0:
            warnings.warn("the picture is black all over: there is nothing to enhance, it is left as it is", UserWarning, stacklevel=2)
        if advance is not None:
            advance(height * width)
        return pixels.copy()
    if decision is None:
        decision = graph.decide(overview_of(pixels)[None].to(device))
    chosen = decision

    def made(rows: Span, columns: Span) -> Tensor:
        tile = to_tensor(pixels[slice(*rows), slice(*columns)])[None].to(device)
        enhanced: Tensor = graph(tile, decision=chosen)
        return enhanced[0].cpu()

    result = np.empty_like(pixels)
    if tile_px is None and height * width <= WHOLE_PX:
        bands = iter([(0, made((0, height), (0, width)))])
    else:
        bands = layout.bands(made, (height, width))
    for top, band in bands:
        if not bool(torch.isfinite(band).all()):
            raise DataError(
                "the network gave values that are not finite for this picture: its weights are damaged or it was not trained to the end; "
                "use another model"
            )
        rows = slice(top, top + band.shape[-2])
        result[rows] = _blended(pixels[rows], band, strength)
        if advance is not None:
            advance(band.shape[-2] * width)
    return result


def tile_layout(graph: EnhancementGraph, tile_px: int | None = None) -> Layout:
    """Return how pictures are cut for a network: tiles on its grid, margins as wide as it looks.

    Raises:
        ConfigError: tiles too small for the network's surroundings.
    """
    network = graph.network
    align = math.lcm(network.multiple, network.tile_align)
    margin = network.margin_px
    overlap = 2 * margin + _BLEND_PX
    least = -(-(overlap + align) // align) * align
    tile = max(TILE_PX, least) if tile_px is None else tile_px
    if tile < least:
        raise ConfigError(f"tile: {tile_px} px is too small for this network, which looks {margin} px far; give at least {least}")
    return Layout(tile // align * align, overlap, margin, align)


def num_tiles(graph: EnhancementGraph, size: tuple[int, int], tile_px: int | None = None) -> int:
    """Return in how many tiles a picture of a size (height, width) is enhanced."""
    if tile_px is None and size[0] * size[1] <= WHOLE_PX:
        return 1
    return tile_layout(graph, tile_px).num_tiles(size)


@overload
def enhance(
    image: Path | str | Pixels, model: Any = ..., strength: float = ..., *, device: str = ..., tile_px: int | None = ...
) -> Pixels: ...
@overload
def enhance(image: Image, model: Any = ..., strength: float = ..., *, device: str = ..., tile_px: int | None = ...) -> Image: ...
def enhance(image: Any, model: Any = "lowlight", strength: float = 1.0, *, device: str = "auto", tile_px: int | None = None) -> Any:
    """Return a picture enhanced: brightened, denoised, coloured.

    Args:
        image: array ``(H, W, 3)`` of uint8, uint16 or floats in [0, 1], sRGB-encoded; a Pillow image; or the path of a picture file.
        model: name of a model that comes with Photic, a bundle, a run, or what :func:`load_enhancer` returned (which saves loading
            for every picture).
        strength: 0 (the picture itself, to the bit) to 1 (the network's) to 2 (exaggerated).
        device: ``auto``, ``cpu``, ``cuda``, ...; not used where the model is loaded already.
        tile_px: side of the tiles; None takes small pictures whole.

    Returns:
        The same kind of picture: an array of the same type, or a Pillow image of the same mode with its colour profile and EXIF; for a
        file its pixels.

    Raises:
        ConfigError: a strength or tile that is not possible, or the model is no enhancer.
        DataError: the image is none of these, or its file cannot be read.
        CheckpointError: the model cannot be loaded.
        UnknownNameError: there is no such model.

    >>> from photic.apps.lowlight import enhance
    >>> bright = enhance("night.jpg", strength=0.8)  # doctest: +SKIP
    """
    check_strength(strength)
    loaded = model if isinstance(model, LoadedModel) else load_enhancer(model, device)
    graph = graph_of(loaded)

    def through(pixels: Pixels) -> Pixels:
        return enhance_pixels(graph, pixels, strength=strength, tile_px=tile_px, device=loaded.device)

    if isinstance(image, str | Path):
        return through(read_photo(image).pixels)
    if isinstance(image, np.ndarray):
        if image.dtype in (np.float16, np.float64):
            return through(image.astype(np.float32)).astype(image.dtype)
        return through(image)
    return _enhanced_image(image, through)


def load_enhancer(model: Path | str, device: str = "auto") -> LoadedModel:
    """Return a trained enhancer, ready for pictures.

    Args:
        model: a bundle, a run, a checkpoint, or the name of a model that comes with Photic.
        device: ``auto`` (a GPU if there is one), ``cpu``, ``cuda``, ...

    Raises:
        ConfigError: the model is no enhancer of pictures.
        CheckpointError: it cannot be loaded.
        UnknownNameError: there is no such model.
    """
    loaded = load(model_source(model), device)
    graph_of(loaded)
    return loaded


def graph_of(model: LoadedModel) -> EnhancementGraph:
    """Return the graph of an enhancer.

    Raises:
        ConfigError: the model is no enhancer of pictures.
    """
    if not isinstance(model.task, EnhancementTask):
        raise ConfigError(f"{model.source}: expected a model that enhances pictures, this is a {type(model.task).__name__}")
    return model.task.graph


def check_strength(strength: float) -> float:
    """Return a strength that is possible.

    Raises:
        ConfigError: it is not.
    """
    if not 0 <= strength <= MOST_STRENGTH:
        raise ConfigError(f"strength: expected 0 (as it is) to {MOST_STRENGTH:g} (exaggerated), 1 is the network's picture; got {strength}")
    return strength


def _check_pixels(pixels: Pixels) -> None:
    if pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise DataError(f"picture: expected an array (H, W, 3), got {pixels.shape}")
    if pixels.dtype not in KINDS:
        raise DataError(f"picture: expected uint8, uint16 or floats, got {pixels.dtype}; convert it")
    if pixels.dtype.kind == "u":
        return
    low, high = float(pixels.min()), float(pixels.max())  # NaN anywhere makes both NaN
    if not (low >= 0 and high <= 1):
        raise DataError(f"picture: expected floats in [0, 1], got {low:g} to {high:g}; scale the picture, and replace what is not finite")


def _blended(pixels: Pixels, enhanced: Tensor, strength: float) -> Pixels:
    """Return input + strength * (enhanced - input) for rows ``(h, w, 3)``, in the input's type."""
    if strength != 1:
        own = to_tensor(pixels)
        enhanced = own + strength * (enhanced - own)
    return from_float(enhanced, pixels.dtype)


def _enhanced_image(image: Any, through: Callable[[Pixels], Pixels]) -> Any:
    from PIL import Image

    if not isinstance(image, Image.Image):
        raise DataError(f"image: expected an array (H, W, 3), a Pillow image or a path, got {type(image).__name__}")
    mode = image.mode
    if mode not in ("RGB", "RGBA", "L", "LA"):
        raise DataError(f"image: expected a Pillow image of mode RGB, RGBA, L or LA, got {mode}; convert it, or give the file")
    colours = image.convert("RGB")
    made = Image.fromarray(through(np.asarray(colours))).convert(mode)
    if mode in ("RGBA", "LA"):
        made.putalpha(image.getchannel("A"))
    made.info = dict(image.info)
    return made

"""Raw pictures into ``.phc`` files.

The encoder sees a picture in windows, so that memory hardly grows with it; the latents of a window, with enough of its surroundings, are
those of the whole picture. Latents, the small part that grows with the picture, are coded together.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from photic.apps.rawnind.compressing.container import MAX_TILE, QUALITY_STEPS, Layout, packed
from photic.apps.rawnind.compressing.facts import Facts, as_float32
from photic.apps.rawnind.compressing.model_identity import in_float32, model_id, model_name, network_of
from photic.apps.rawnind.compressing.picture_facts import facts_of
from photic.apps.rawnind.denoising import balance_for, lead_of
from photic.apps.rawnind.files.bands import gathered
from photic.apps.rawnind.files.developing import camera_bands
from photic.apps.rawnind.noise_choice import choose_noise
from photic.apps.rawnind.picture import RawPicture
from photic.core.errors import ConfigError, DataError
from photic.core.plugins import model_source
from photic.functional.cfa import BAYER, RGGB, cfa_planes
from photic.functional.menon import MENON_REACH_PX
from photic.functional.tiling import Span
from photic.inference.predictor import LoadedModel, load
from photic.models.compression import Compressor

WINDOW_PX = 1536
"""Side of the windows that the encoder sees at once, without their surroundings. A smaller picture is seen whole."""
TILE = 32
"""Latents along a tile's side where nothing else is said."""
_DEMOSAIC_REACH_PX = MENON_REACH_PX + 2
"""Around a window that is demosaiced alone: more than any method looks."""


def load_compressor(model: Path | str, device: str = "auto") -> LoadedModel:
    """Return a trained compressor of raw pictures.

    Args:
        model: a bundle, a run, a checkpoint, or the name of a model that comes with Photic.
        device: ``auto`` (a GPU if there is one), ``cpu``, ``cuda``, ...

    Raises:
        ConfigError: the model does not compress raw pictures.
        CheckpointError: it cannot be loaded.
        UnknownNameError: there is no such model.
    """
    loaded = load(model_source(model), device)
    network_of(loaded).to(memory_format=torch.channels_last)  # convolutions are quicker so
    return loaded


def compress_picture(
    model: LoadedModel,
    picture: RawPicture,
    *,
    quality: float | None = None,
    noise: tuple[float, float] | None = None,
    tile: int = TILE,
    advance: Callable[[int], None] | None = None,
) -> bytes:
    """Return a picture as the bytes of a ``.phc`` file.

    Bayer mosaics of every order are continued at the top and left, mirrored, until they begin with red, green / green, blue; decoding cuts
    that off again, so no pixel is lost. A network for RGB gets a mosaic demosaiced (Menon; X-Trans by normalised convolution).

    Args:
        model: as :func:`load_compressor` returns it.
        picture: what to compress.
        quality: level from 1 to the network's highest, in thousandths; None is the highest.
        noise: a and b of the noise's variance a x + b; None: :func:`photic.apps.rawnind.noise_choice.choose_noise` finds them where the
            network heeds them.
        tile: latents along the side of tiles that can be decoded without the others, 1 to 256.
        advance: called with the number of pixels done, each time some are.

    Raises:
        ConfigError: the model does not compress; a quality, noise or tile that is not possible.
        DataError: the picture is none for this network, or values are not finite.

    Warns:
        UserWarning: the noise had to be guessed.
    """
    return prepare(model, picture, noise=noise).coded(quality, tile=tile, advance=advance)


def prepare(model: LoadedModel, picture: RawPicture, *, noise: tuple[float, float] | None = None) -> Prepared:
    """Return a picture ready to be compressed, at one quality after the other: its noise is found once.

    Args:
        model: as :func:`load_compressor` returns it.
        picture: what to compress.
        noise: as for :func:`compress_picture`.

    Raises:
        ConfigError: the model does not compress, or noise that is not possible.
        DataError: the picture is none for this network.
    """
    return Prepared(model, picture, noise)


class Prepared:
    """A picture ready to be compressed; made by :func:`prepare`."""

    def __init__(self, model: LoadedModel, picture: RawPicture, noise: tuple[float, float] | None) -> None:
        self.network = in_float32(network_of(model))
        check_fits(self.network, picture)
        self.picture = picture
        self.demosaiced = picture.pattern is not None and self.network.measurement == "rgb"
        self.balance = tuple(as_float32(float(factor)) for factor in balance_for(picture))
        if not all(math.isfinite(factor) and factor > 0 for factor in self.balance):
            raise DataError(f"{picture.source or 'raw picture'}: white balance {self.balance}; expected three factors above 0, or None")
        if noise is None and not getattr(self.network, "noise_map", True):  # nobody looks at it
            noise = picture.noise or (0.0, 0.0)
        chosen = choose_noise(picture, given=noise).values
        self.noise = (as_float32(chosen[0]), as_float32(chosen[1]))
        self.name, self.id = model_name(model), model_id(self.network)
        self.measured = Measured(self.network, picture, self.balance)
        self._kept: Tensor | None = None

    @torch.inference_mode()
    def analyse(self, advance: Callable[[int], None] | None = None) -> None:
        """Run the encoder once for all qualities, where the network can do that: its latents are kept, :meth:`coded` only scales them.

        A file can then differ from that of :func:`compress_picture` in single latents whose rounding hangs in the balance.

        Args:
            advance: called with the number of pixels done, each time some are.
        """
        highest = float(self.network.num_qualities)
        found = self.latents(highest, advance)
        level = torch.tensor([highest], device=found.device)
        self._kept = None if self.network.rescaled(found[None], level, level) is None else found

    def coded(self, quality: float | None = None, *, tile: int = TILE, advance: Callable[[int], None] | None = None) -> bytes:
        """Return the bytes of a ``.phc`` file; arguments and errors as of :func:`compress_picture`."""
        level = self._level(quality)
        if not 1 <= tile <= MAX_TILE:
            raise ConfigError(f"tile: expected 1 to {MAX_TILE} latents, got {tile}")
        layout = Layout(
            height=self.picture.size[0],
            width=self.picture.size[1],
            original=original_of(self.picture),
            demosaiced=self.demosaiced,
            lead=self.measured.lead,
            latents=self.measured.latents,
            tile=tile,
            quality=level,
            model=self.id,
        )
        encoded = self.network.bit_estimator.coder().encode(self.latents(level, advance), tile)
        return packed(layout, self.facts(), encoded.side, encoded.tiles)

    def facts(self) -> Facts:
        """Return what the file says of the picture."""
        made = facts_of(self.picture)
        balance = (self.balance[0], self.balance[1], self.balance[2])
        return replace(made, model_name=self.name, balance=balance, noise=self.noise)

    @torch.inference_mode()
    def latents(self, quality: float, advance: Callable[[int], None] | None = None) -> Tensor:
        """Return the latents ``(C, h, w)`` of the whole picture, not rounded, on the network's device."""
        network, measured = self.network, self.measured
        if self._kept is not None:
            before, after = (torch.tensor([level], device=self._kept.device) for level in (float(network.num_qualities), quality))
            scaled = network.rescaled(self._kept[None], before, after)
            assert scaled is not None, "analyse() has asked"
            return scaled[0]
        device = _device(network)
        noise, balance, level = (torch.tensor([values], device=device) for values in (self.noise, self.balance, quality))
        made: Tensor | None = None
        for rows, columns in measured.windows():
            top, bottom = measured.around(rows, 0)
            left, right = measured.around(columns, 1)
            measurement, planes = measured.window((top, bottom), (left, right))
            seen = measurement.to(device).contiguous(memory_format=torch.channels_last)
            found = network.analysed(seen, planes.to(device), noise, balance, level)[0]
            if made is None:
                made = found.new_empty(found.shape[0], *measured.latents)
            stride = network.stride
            down, across = (slice((a - start) // stride, (b - start) // stride) for (a, b), start in ((rows, top), (columns, left)))
            place = (slice(rows[0] // stride, rows[1] // stride), slice(columns[0] // stride, columns[1] // stride))
            made[:, place[0], place[1]] = found[:, down, across]
            if advance is not None:
                advance(measured.pixels(rows, columns))
        assert made is not None, "a picture has a window"
        return made

    @torch.inference_mode()
    def inputs(self, quality: float | None, side_px: int) -> tuple[Tensor, ...]:
        """Return what the network is given of the middle of the picture, on the CPU: measurement, planes, noise, balance, and the quality.

        The last only where there are several levels.

        Args:
            quality: level, None is the highest.
            side_px: sides of that part, at most.
        """
        align, spans = self.measured.align, []
        for size in self.measured.size:
            start = max(0, size - side_px) // 2 // align * align
            spans.append((start, min(start + max(side_px // align, 1) * align, size)))
        noise, balance, level = (torch.tensor([values]) for values in (self.noise, self.balance, self._level(quality)))
        given = (*self.measured.window(*spans), noise, balance)
        return (*given, level) if self.network.num_qualities > 1 else given

    def _level(self, quality: float | None) -> float:
        highest = self.network.num_qualities
        level = float(highest) if quality is None else round(quality * QUALITY_STEPS) / QUALITY_STEPS if math.isfinite(quality) else 0.0
        if not 1 <= level <= highest:
            only = "this model has one quality, 1" if highest == 1 else f"expected 1 (smallest file) to {highest} (best picture)"
            raise ConfigError(f"quality: {only}; got {quality}")
        return level


class Measured:
    """A picture as a network takes it, in windows: led until it begins in phase, and continued to whole multiples, mirrored.

    Args:
        network: what compresses.
        picture: of a kind that it takes.
        balance: factors, for demosaicing.
    """

    def __init__(self, network: Compressor, picture: RawPicture, balance: tuple[float, ...]) -> None:
        self.network, self.picture, self.balance = network, picture, balance
        self.is_mosaic = network.measurement == "mosaic"
        self.lead = lead_of(picture.pattern) if self.is_mosaic else (0, 0)
        led = (picture.size[0] + self.lead[0], picture.size[1] + self.lead[1])
        self.size = (-(-led[0] // network.multiple) * network.multiple, -(-led[1] // network.multiple) * network.multiple)
        self.latents = (self.size[0] // network.stride, self.size[1] // network.stride)
        self.align = math.lcm(network.tile_align, network.multiple)
        self._places = tuple(_places(*sides) for sides in zip(picture.size, self.lead, led, self.size, strict=True))

    def windows(self) -> list[tuple[Span, Span]]:
        """Return rows and columns of the windows, row by row; together they are the continued picture."""
        side = -(-WINDOW_PX // self.align) * self.align
        rows, columns = ([(start, min(start + side, size)) for start in range(0, size, side)] for size in self.size)
        return [(down, across) for down in rows for across in columns]

    def around(self, span: Span, axis: int) -> Span:
        """Return a span with as much around it as its latents depend on."""
        halo = -(-self.network.encoder_halo_px // self.align) * self.align
        return max(0, span[0] - halo), min(self.size[axis], span[1] + halo)

    def window(self, rows: Span, columns: Span) -> tuple[Tensor, Tensor]:
        """Return measurement ``(1, 1 or 3, h, w)`` and planes ``(1, 3, h, w)`` of a window of the continued picture."""
        down, across = self._places[0][rows[0] : rows[1]], self._places[1][columns[0] : columns[1]]
        (top, bottom), (left, right) = ((int(places.min()), int(places.max()) + 1) for places in (down, across))
        part = self._samples(top, bottom, left, right)
        values = torch.from_numpy(np.ascontiguousarray(part[down - top][:, across - left], np.float32))
        if self.is_mosaic:
            return values[None, None], cfa_planes(RGGB, *values.shape)[None]
        measurement = values.permute(2, 0, 1)[None]
        return measurement, torch.ones_like(measurement)

    def pixels(self, rows: Span, columns: Span) -> int:
        """Return how many of the picture's own pixels a window has, none counted twice."""
        sides = zip((rows, columns), self.lead, self.picture.size, strict=True)
        height, width = (max(0, min(span[1] - lead, size) - max(0, span[0] - lead)) for span, lead, size in sides)
        return height * width

    def _samples(self, top: int, bottom: int, left: int, right: int) -> NDArray[np.float32]:
        """Return a rectangle of the picture itself, ``(h, w)`` or ``(h, w, 3)``; demosaiced, where the network takes RGB."""
        picture = self.picture
        if self.is_mosaic or picture.pattern is None:
            return picture.values[top:bottom, left:right]
        reach, (height, width) = _DEMOSAIC_REACH_PX, picture.size
        above, before = max(0, top - reach), max(0, left - reach)
        part = picture.cropped(above, before, min(height, bottom + reach) - above, min(width, right + reach) - before)
        made: NDArray[np.float32] = gathered(camera_bands(part, balance=np.asarray(self.balance)), part.size)
        return made[top - above : bottom - above, left - before : right - before]


def original_of(picture: RawPicture) -> str:
    """Return which of the container's ``ORIGINALS`` a picture is."""
    if picture.pattern is None:
        return "RGB"
    return next((name for name, pattern in BAYER.items() if pattern == picture.pattern), "mosaic")


def check_fits(network: Compressor, picture: RawPicture) -> None:
    """Refuse pictures that a network cannot take.

    Raises:
        DataError: three colours at each pixel, or another mosaic than Bayer, for a network of Bayer mosaics.
    """
    if network.measurement == "rgb" or picture.is_bayer:
        return
    where = picture.source or "raw picture"
    if picture.pattern is None:
        raise DataError(
            f"{where}: has three colours at each pixel (a developed picture, or a linear DNG); this model takes Bayer mosaics. Use one "
            "trained with measurement=rgb (--model)"
        )
    raise DataError(
        f"{where}: not a Bayer mosaic (X-Trans); this model takes Bayer mosaics only. Use one trained with measurement=rgb (--model): "
        "the mosaic is demosaiced for it"
    )


def _places(size: int, lead: int, led: int, whole: int) -> NDArray[np.intp]:
    """Return which pixel of an axis stands at each place of the led and continued one."""
    continued = _to_and_fro(np.arange(whole), led)
    return _to_and_fro(continued - lead, size)


def _to_and_fro(places: NDArray[np.intp], size: int) -> NDArray[np.intp]:
    """Return places mirrored about the ends of an axis until they lie on it."""
    if size == 1:
        return np.zeros_like(places)
    period = 2 * (size - 1)
    folded = places % period
    return np.minimum(folded, period - folded)


def _device(network: Compressor) -> torch.device:
    return next(network.parameters()).device

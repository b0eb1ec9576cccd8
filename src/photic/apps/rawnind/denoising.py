"""Raw pictures of any size and pattern through a denoiser: tiles in phase with the mosaic, noise that is known or found, a strength.

Of a picture's result only a row of tiles is in memory at a time; the bands that :func:`denoised_bands` yields go straight into a file.

**Strength.** 0 is the classical demosaicer's picture D, to the bit: nothing is denoised. 1 is the network's picture N. Between, the result
is D + s (N - D). A picture whose noise had only 1 - s of its amplitude would be the clean one plus (1 - s) of the noise; with a network
that gives the mean of all clean pictures that fit, and with a linear demosaicer (both used here are), this blend is the best estimate of
that very picture. So the noise left falls in proportion, and its grain stays the sensor's. Above 1 the network is told s times
the noise's standard deviation, and smooths accordingly; nothing is extrapolated, which would give the noise back inverted.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from photic.apps.rawnind.files.bands import Band
from photic.apps.rawnind.files.developing import balance_of
from photic.apps.rawnind.picture import RawPicture
from photic.core.errors import ConfigError, DataError
from photic.core.plugins import model_source
from photic.functional.borders import mirrored
from photic.functional.cfa import Pattern, cfa_planes, lead_to_canonical, shifted
from photic.functional.demosaic import MALVAR_REACH_PX, NORMALISED_REACH_PX
from photic.functional.tiling import Layout, Span
from photic.inference.predictor import LoadedModel, load
from photic.models.raw_denoising import RawDenoiser
from photic.models.raw_identity import RawIdentity
from photic.models.standard import Standard
from photic.models.utnet import UTNet
from photic.tasks.raw_denoising import RawDenoisingTask

Precision = Literal["auto", "fp32", "bf16", "fp16"]
Factors = NDArray[np.float64]

MOST_STRENGTH = 2.0
TILE_PX = 1344
"""Side of tiles where nothing else is said: a quarter more computation than the whole picture at once for `standard`, for `utnet2`, which
looks farther, a half; with less than 4 GB for 100 megapixels (``benchmarks/rawnind_memory.py``)."""
_BLEND_PX = 16
"""Over how many pixels neighbouring tiles change over, beyond the margins."""
_NOTICED_PX: tuple[tuple[type[RawDenoiser], int], ...] = ((Standard, 64), (UTNet, 128))
"""How far from a tile's inner edge some networks can be told to be in a tile, where that is less far than they look (measured, at
most 1e-4 of white: ``benchmarks/rawnind_quality.py``). Other networks get all of their ``margin_px``."""
_HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


def load_denoiser(model: Path | str, device: str = "auto") -> LoadedModel:
    """Return a trained denoiser of raw pictures.

    Args:
        model: a bundle, a run, a checkpoint, or the name of a model that comes with Photic.
        device: ``auto`` (a GPU if there is one), ``cpu``, ``cuda``, ...

    Raises:
        ConfigError: the model does not denoise raw pictures.
        CheckpointError: it cannot be loaded.
        UnknownNameError: there is no such model.
    """
    loaded = load(model_source(model), device)
    network_of(loaded).to(memory_format=torch.channels_last)  # convolutions are quicker so
    return loaded


def network_of(model: LoadedModel) -> RawDenoiser:
    """Return the network of a denoiser.

    Raises:
        ConfigError: the model does not denoise raw pictures.
    """
    if not isinstance(model.task, RawDenoisingTask):
        raise ConfigError(f"{model.source}: expected a model that denoises raw pictures, this is a {type(model.task).__name__}")
    return model.task.network


def denoise(
    network: RawDenoiser,
    picture: RawPicture,
    noise: tuple[float, float],
    *,
    balance: Factors | None = None,
    strength: float = 1.0,
    tile_px: int | None = None,
    overlap_px: int | None = None,
    precision: Precision = "auto",
    advance: Callable[[int], None] | None = None,
) -> NDArray[np.float32]:
    """Return a clean picture ``(H, W, 3)``, linear, in camera colours, not white-balanced; see :func:`denoised_bands`.

    >>> from photic.functional.cfa import RGGB
    >>> grey = RawPicture(np.full((6, 6), 0.5, np.float32), RGGB)
    >>> denoise(RawIdentity(), grey, (1e-3, 1e-6)).shape
    (6, 6, 3)
    """
    result = np.empty((*picture.size, 3), np.float32)
    given = denoised_bands(
        network,
        picture,
        noise,
        balance=balance,
        strength=strength,
        tile_px=tile_px,
        overlap_px=overlap_px,
        precision=precision,
        advance=advance,
    )
    for top, band in given:
        result[top : top + len(band)] = band
    return result


def denoised_bands(
    network: RawDenoiser,
    picture: RawPicture,
    noise: tuple[float, float],
    *,
    balance: Factors | None = None,
    strength: float = 1.0,
    tile_px: int | None = None,
    overlap_px: int | None = None,
    precision: Precision = "auto",
    advance: Callable[[int], None] | None = None,
) -> Iterator[Band]:
    """Yield a clean picture in bands, linear, in camera colours, not white-balanced, not clamped.

    Mosaics of every order are continued at the top and left, mirrored, until they begin as networks know them (red first, or X-Trans at its
    one phase), and the result is cut again: no pixel is lost. A network for RGB gets a mosaic demosaiced.

    Args:
        network: what denoises, in evaluation mode; its device is used.
        picture: what to denoise.
        noise: a and b of the noise's variance a x + b, see :func:`photic.apps.rawnind.noise_choice.choose_noise`.
        balance: factors that make grey about grey; None: :func:`balance_for` the picture.
        strength: 0 demosaics alone, 1 is the network's picture, above it smooths more, at most 2.
        tile_px: side of the tiles; None is 1344, or more where the network looks far. A smaller picture is taken whole.
        overlap_px: pixels that neighbouring tiles share, at least; they share as many as it takes for seams not to show in any case.
            Beyond that, more of what is near a tile's edge is left out, as far as the network looks.
        precision: of the network's convolutions; ``auto`` is fp16 on a GPU, fp32 elsewhere. A tile that comes out not finite in half
            precision is made again in fp32.
        advance: called with the number of pixels done, each time some are.

    Yields:
        First row of the band, and the band ``(n, W, 3)`` float32.

    Raises:
        ConfigError: a strength, noise, tile or precision that is not possible.
        DataError: the picture is none for this network, or values are not finite.
    """
    check_strength(network, strength)
    check_fits(network, picture)
    if not all(math.isfinite(value) and value >= 0 for value in noise):
        raise ConfigError(f"noise: expected a and b of the variance a x + b, finite and not negative, got {noise[0]:g} and {noise[1]:g}")
    layout = layout_of(network, picture.pattern, tile_px, overlap_px)
    worker = _Worker(network, picture, noise, balance_for(picture) if balance is None else balance, strength=strength, precision=precision)
    rows, columns = worker.size
    for top, band in layout.bands(worker.tile, (rows, columns)):
        if not bool(torch.isfinite(band).all()):
            raise DataError(
                f"{picture.source or 'raw picture'}: comes out with values that are not finite; they are in the file already, or the "
                "network's weights are damaged"
            )
        first = max(0, worker.lead[0] - top)
        made = band[0, :, first:, worker.lead[1] :].permute(1, 2, 0).contiguous().numpy()
        if len(made):
            yield max(0, top - worker.lead[0]), made
        if advance is not None:
            advance(made.shape[0] * made.shape[1])


def network_inputs(network: RawDenoiser, picture: RawPicture, noise: tuple[float, float], side_px: int) -> Iterator[tuple[Tensor, ...]]:
    """Yield what a network is given of two parts of a picture, its corner and its middle, at strength 1.

    Args:
        network: what denoises.
        picture: what to denoise.
        noise: a and b of the noise's variance a x + b.
        side_px: sides of the parts, at most.

    Raises:
        DataError: the picture is none for this network.
    """
    check_fits(network, picture)
    worker = _Worker(network, picture, noise, balance_for(picture), strength=1.0, precision="fp32")
    align = layout_of(network, picture.pattern).align
    for share in (0, 2):
        starts = [max(0, size - side_px) // 2 // align * align if share else 0 for size in worker.size]
        rows, columns = ((start, min(start + side_px, size)) for start, size in zip(starts, worker.size, strict=True))
        yield worker.inputs(rows, columns)


def layout_of(network: RawDenoiser, pattern: Pattern | None, tile_px: int | None = None, overlap_px: int | None = None) -> Layout:
    """Return how pictures are cut for a network: tiles start in phase with its strides and the mosaic.

    Raises:
        ConfigError: tiles so small that they are nothing but margins.
    """
    align = network.tile_align if pattern is None else math.lcm(network.tile_align, len(pattern), len(pattern[0]))
    margin = network.margin_px
    for kind, enough in _NOTICED_PX:
        if isinstance(network, kind):
            margin = min(margin, enough)
    if pattern is not None and network.measurement == "rgb":  # the mosaic is demosaiced tile by tile, too
        margin += NORMALISED_REACH_PX
    overlap = -(-max(2 * margin + _BLEND_PX, overlap_px or 0) // align) * align
    margin = min(max(margin, (overlap - _BLEND_PX) // 2), network.margin_px) if overlap_px else margin
    if tile_px is None:
        return Layout(-(-max(TILE_PX, 2 * overlap) // align) * align, overlap, margin, align)
    if tile_px < overlap + align:
        raise ConfigError(
            f"tile: expected at least {overlap + align} pixels for this network, which looks {margin} pixels around each one; got {tile_px}"
        )
    return Layout(tile_px // align * align, overlap, margin, align)


def balance_for(picture: RawPicture) -> Factors:
    """Return factors ``(3,)`` that make grey about grey: the camera's white balance, else daylight's by the colour matrix, else ones.

    Raises:
        DataError: by its colour matrix the camera does not see white.
    """
    known = picture.white_balance is not None or picture.xyz_to_camera is not None
    return balance_of(picture, "as-shot") if known else np.ones(3)


def lead_of(pattern: Pattern | None) -> tuple[int, int]:
    """Return by how many rows and columns a mosaic is continued at the top and left, mirrored.

    Until it begins as networks know it, and then, where that is any, by as many periods as the demosaicer's reach needs:
    so it makes of the continued mosaic what it makes of the mosaic itself.
    """
    if pattern is None:
        return 0, 0
    rows, columns = lead_to_canonical(pattern)
    period = len(pattern)
    more = -(-(MALVAR_REACH_PX if period == 2 else NORMALISED_REACH_PX) // period) * period
    return rows and rows + more, columns and columns + more


def check_strength(network: RawDenoiser, strength: float) -> None:
    """Refuse a strength that is not possible for a network.

    Raises:
        ConfigError: it is not.
    """
    if not 0 <= strength <= MOST_STRENGTH:
        raise ConfigError(
            f"strength: expected 0 (demosaiced alone) to {MOST_STRENGTH:g} (smoother than the network would), 1 is the network's picture; "
            f"got {strength}"
        )
    if strength > 1 and not heeds_noise(network):
        raise ConfigError(
            f"strength: this network is not told how noisy a picture is ({type(network).__name__}), so it cannot do more than it does; "
            "use at most 1, or a `standard` network"
        )


@torch.inference_mode()
def heeds_noise(network: RawDenoiser) -> bool:
    """Return whether what a network makes of a picture depends on the noise that it is told."""
    side = max(48, network.multiple)
    parameter = next(network.parameters(), None)
    device = torch.device("cpu") if parameter is None else parameter.device
    channels = 1 if network.measurement == "mosaic" else 3
    seen = torch.rand(1, channels, side, side, generator=torch.Generator().manual_seed(0)).to(device)
    planes = cfa_planes(((0, 1), (1, 2)), side, side, device=device)[None] if channels == 1 else torch.ones(1, 3, side, side, device=device)
    balance = torch.ones(1, 3, device=device)
    made = [network(seen, planes, torch.tensor([told], device=device), balance) for told in ((1e-5, 1e-7), (1e-2, 1e-3))]
    return not bool(torch.equal(made[0], made[1]))


def check_fits(network: RawDenoiser, picture: RawPicture) -> None:
    """Refuse pictures that a network cannot take.

    Raises:
        DataError: an X-Trans mosaic for a network of Bayer mosaics, or three colours at each pixel for one of mosaics.
    """
    where = picture.source or "raw picture"
    if network.measurement == "rgb":
        return
    if picture.pattern is None:
        raise DataError(
            f"{where}: has three colours at each pixel (linear DNG); this model takes mosaics. Use one trained with measurement=rgb"
        )
    if network.needs_rggb and not picture.is_bayer:
        raise DataError(
            f"{where}: an X-Trans mosaic; this model ({type(network).__name__}) takes Bayer mosaics only. Use a `standard` network"
        )
    lead_to_canonical(picture.pattern)


def autocast_type(precision: Precision, device: torch.device) -> torch.dtype | None:
    """Return the type of half precision to compute in, None for float32.

    Raises:
        ConfigError: not on this device.
    """
    if precision == "auto":
        return torch.float16 if device.type == "cuda" else None
    if precision == "fp16" and device.type == "cpu":
        raise ConfigError("precision: fp16 is for GPUs; on a CPU use bf16 (its range is that of fp32) or fp32")
    return _HALF.get(precision)


class _Worker:
    """Makes the tiles of a picture."""

    def __init__(
        self,
        network: RawDenoiser,
        picture: RawPicture,
        noise: tuple[float, float],
        balance: Factors,
        *,
        strength: float,
        precision: Precision,
    ) -> None:
        parameter = next(network.parameters(), None)
        self.device = torch.device("cpu") if parameter is None else parameter.device
        self.half = autocast_type(precision, self.device)
        self.network, self.picture, self.strength = network, picture, strength
        self.demosaic = RawIdentity("rgb" if picture.pattern is None else "mosaic")
        self.lead = lead_of(picture.pattern) if network.measurement == "mosaic" else (0, 0)
        self.size = (picture.size[0] + self.lead[0], picture.size[1] + self.lead[1])
        told = max(1.0, strength) ** 2
        self.noise = torch.tensor([[told * noise[0], told * noise[1]]], dtype=torch.float32, device=self.device)
        self.balance = torch.from_numpy(np.asarray(balance, np.float32))[None].to(self.device)

    @torch.inference_mode()
    def inputs(self, rows: Span, columns: Span) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return what the network is given of a tile."""
        measurement, planes = self._measured(rows, columns)
        if self.picture.pattern is not None and self.network.measurement == "rgb":
            measurement = self.demosaic(measurement, planes, self.noise, self.balance)
            planes = torch.ones_like(measurement)
        return measurement, planes, self.noise, self.balance

    @torch.inference_mode()
    def tile(self, rows: Span, columns: Span) -> Tensor:
        """Return a tile ``(1, 3, h, w)`` of the result; rows and columns count from the continued mosaic's corner."""
        measurement, planes = self._measured(rows, columns)
        plain: Tensor | None = self.demosaic(measurement, planes, self.noise, self.balance) if self._needs_plain else None
        if self.strength == 0:
            assert plain is not None
            return plain.cpu()
        if self.picture.pattern is not None and self.network.measurement == "rgb":
            assert plain is not None
            measurement, planes = plain, torch.ones_like(plain)
        made = self._network(measurement, planes).float()
        if self.strength < 1:
            assert plain is not None
            made = plain + self.strength * (made - plain)
        return made.cpu()

    @property
    def _needs_plain(self) -> bool:
        return self.strength < 1 or (self.picture.pattern is not None and self.network.measurement == "rgb")

    def _network(self, measurement: Tensor, planes: Tensor) -> Tensor:
        measurement = measurement.contiguous(memory_format=torch.channels_last)
        if self.half is not None:
            with torch.autocast(self.device.type, dtype=self.half):
                made: Tensor = self.network(measurement, planes, self.noise, self.balance).float()
            if bool(torch.isfinite(made).all()):
                return made
            warnings.warn("half precision overflows here; tiles concerned are made in fp32", UserWarning, stacklevel=2)
        whole: Tensor = self.network(measurement, planes, self.noise, self.balance)
        return whole

    def _measured(self, rows: Span, columns: Span) -> tuple[Tensor, Tensor]:
        """Return measurement ``(1, 1 or 3, h, w)`` and planes ``(1, 3, h, w)`` of a tile."""
        (top, above), (left, before) = (self._in_picture(span, lead) for span, lead in zip((rows, columns), self.lead, strict=True))
        inside = self.picture.values[top : rows[1] - self.lead[0], left : columns[1] - self.lead[1]]
        values = torch.from_numpy(np.array(inside, np.float32)).to(self.device)
        pattern = self.picture.pattern
        if pattern is None:
            measurement = values.permute(2, 0, 1)[None].contiguous()
            return measurement, torch.ones_like(measurement)
        planes = cfa_planes(shifted(pattern, top, left), *values.shape, device=self.device)[None]
        return mirrored(values[None, None], top=above, left=before), mirrored(planes, top=above, left=before)

    @staticmethod
    def _in_picture(span: Span, lead: int) -> tuple[int, int]:
        """Return the first row of the picture in a span of the continued one, and how many come before it."""
        return max(0, span[0] - lead), max(0, lead - span[0])

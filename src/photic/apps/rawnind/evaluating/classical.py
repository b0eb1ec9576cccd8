"""What denoising without a network gives: noise made alike everywhere, taken out, and a classical demosaicer after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from photic.core.errors import ConfigError, DataError
from photic.functional.cfa import Pattern, cfa_planes, check_pattern, is_bayer, pack, rggb_offset, unpack
from photic.functional.demosaic import malvar, normalised_convolution
from photic.functional.menon import menon
from photic.functional.sliding_dct import sliding_dct
from photic.functional.stabilising import Stabiliser

Picture = NDArray[np.float32]
Method = Literal["none", "nlm", "dct", "both"]
"""``nlm``: non-local means (scikit-image); ``dct``: cosine transforms of overlapping blocks, the better one; ``both``: their mean, the
best of them where there is much noise; ``none``: demosaicing alone."""
METHODS: tuple[Method, ...] = ("none", "nlm", "dct", "both")
Demosaic = Literal["menon", "malvar"]

_SMALLEST_PX = 16
_BAND_PX = 1_500_000
"""Pixels that are worked on at a time."""
_PERIOD_PX = 24
"""Bands begin at multiples of it: patterns are in phase, and blocks fall where they would in the whole picture."""
_MARGIN_PX = 48
"""What bands see beyond their own rows."""
_NLM = {"patch_size": 3, "patch_distance": 9, "h": 0.6, "sigma": 1.0, "fast_mode": True, "channel_axis": 0}
_PACKED = torch.tensor([[0.5, 0.5, 0.5, 0.5], [0.5**0.5, 0, 0, -(0.5**0.5)], [0, 0.5**0.5, -(0.5**0.5), 0], [0.5, -0.5, -0.5, 0.5]])
"""Red, both greens and blue as brightness and three differences; orthonormal, so that noise stays white."""
_COLOURS = torch.tensor([[3**-0.5, 3**-0.5, 3**-0.5], [0.5**0.5, 0, -(0.5**0.5)], [6**-0.5, -2 * 6**-0.5, 6**-0.5]])


def classical_denoise(
    values: Picture,
    pattern: Pattern | None,
    noise: tuple[float, float],
    method: Method = "both",
    *,
    demosaic: Demosaic = "menon",
    balance: NDArray[np.floating] | None = None,
    advance: Callable[[int], None] | None = None,
) -> Picture:
    """Return a clean picture ``(H, W, 3)``, linear, in the camera's own colours, not white-balanced, from a noisy mosaic or RGB picture.

    Bayer mosaics are denoised as four planes of half the size before they are demosaiced, which keeps noise white. X-Trans is demosaiced
    first (normalised convolution), and its noise, no longer white, less well removed. RGB is denoised as it is; its noise should be white.
    It is worked on in bands, so that memory does not depend on the height.

    Values near white whose noise the sensor cut off come out a little too dark.

    Args:
        values: ``(H, W)`` mosaic or ``(H, W, 3)`` linear RGB; black 0, white 1.
        pattern: colours of the mosaic; None for RGB.
        noise: a and b of the noise's variance a x + b; both 0 leaves the noise in.
        method: what takes noise out.
        demosaic: for Bayer mosaics, ``menon`` (directional) or ``malvar`` (convolutions).
        balance: ``(3,)`` white balance; demosaicing compares colours with it. None: ones.
        advance: called with the number of pixels done, each time some are.

    Raises:
        ConfigError: an unknown method or demosaicer.
        DataError: shapes do not belong together, a picture below 16 x 16 pixels, values that are not finite, or a noise or balance
            that cannot be.
    """
    if method not in METHODS or demosaic not in ("menon", "malvar"):
        raise ConfigError(f"classical: expected a method of {', '.join(METHODS)} and menon or malvar, got {method!r} and {demosaic!r}")
    _check(values, pattern)
    factors = np.ones(3) if balance is None else np.asarray(balance, np.float64)
    if factors.shape != (3,) or not (np.isfinite(factors) & (factors > 0)).all():
        raise DataError(f"classical: expected a white balance of three factors above 0, got {factors.tolist()}")
    stabiliser = None if method == "none" or tuple(noise) == (0.0, 0.0) else Stabiliser(*noise)
    height, width = values.shape[:2]
    step = max(_MARGIN_PX, _BAND_PX // width) // _PERIOD_PX * _PERIOD_PX
    made = np.empty((height, width, 3), np.float32)
    for top in range(0, height, step):
        bottom = height if height - top < step + _SMALLEST_PX else top + step
        first, last = max(0, top - _MARGIN_PX), min(height, bottom + _MARGIN_PX)
        band = torch.from_numpy(np.ascontiguousarray(values[first:last], np.float32))
        if not bool(band.isfinite().all()):
            raise DataError("classical: expected finite values, some are NaN or infinite")
        clean = _band(band, pattern, stabiliser, method, _Demosaicer(demosaic, torch.from_numpy(factors).float()))
        made[top:bottom] = clean[top - first : bottom - first].numpy()
        if advance is not None:
            advance((bottom - top) * width)
        if bottom == height:
            break
    return made


class _Demosaicer(NamedTuple):
    name: Demosaic
    factors: Tensor
    """White balance ``(3,)``: colours are interpolated balanced, and taken back."""

    def __call__(self, mosaic: Tensor, pattern: Pattern) -> Tensor:
        """Return ``(3, H, W)``."""
        planes = cfa_planes(pattern, *mosaic.shape)[None]
        weights = self.factors.view(1, 3, 1, 1)
        by = normalised_convolution if not is_bayer(pattern) else menon if self.name == "menon" else malvar
        return (by(mosaic[None, None] * (planes * weights).sum(dim=1, keepdim=True), planes) / weights)[0]


def _band(values: Tensor, pattern: Pattern | None, stabiliser: Stabiliser | None, method: Method, demosaicer: _Demosaicer) -> Tensor:
    """Return ``(H, W, 3)`` of some rows."""
    if pattern is None:
        return _denoised(values.permute(2, 0, 1), _COLOURS, stabiliser, method).permute(1, 2, 0)
    if not is_bayer(pattern):
        return _denoised(demosaicer(values, pattern), _COLOURS, stabiliser, method).permute(1, 2, 0)
    if stabiliser is not None:
        values = _mosaic_denoised(values, pattern, stabiliser, method)
    return demosaicer(values, pattern).permute(1, 2, 0)


def _mosaic_denoised(mosaic: Tensor, pattern: Pattern, stabiliser: Stabiliser, method: Method) -> Tensor:
    """Return a Bayer mosaic of any order and size denoised; odd borders are continued in phase and cut off again."""
    top, left = rggb_offset(pattern)
    height, width = mosaic.shape
    even = torch.nn.functional.pad(mosaic[None, None], (left, (left + width) % 2, top, (top + height) % 2), mode="reflect")
    planes = _denoised(pack(even)[0], _PACKED, stabiliser, method)
    return unpack(planes[None])[0, 0, top : top + height, left : left + width]


def _denoised(channels: Tensor, mix: Tensor, stabiliser: Stabiliser | None, method: Method) -> Tensor:
    """Return channels ``(C, H, W)`` denoised: stabilised, as brightness and differences, and back."""
    if stabiliser is None:
        return channels
    mixed = torch.einsum("dc,chw->dhw", mix, torch.from_numpy(stabiliser.forward(channels.numpy())).float())
    found = []
    if method in ("dct", "both"):
        found.append(sliding_dct(mixed[None])[0])
    if method in ("nlm", "both"):
        from skimage.restoration import denoise_nl_means

        found.append(torch.from_numpy(np.asarray(denoise_nl_means(mixed.numpy(), **_NLM), np.float32)))
    clean = torch.einsum("dc,dhw->chw", mix, torch.stack(found).mean(dim=0))
    return torch.from_numpy(stabiliser.inverse(clean.numpy())).float()


def _check(values: Picture, pattern: Pattern | None) -> None:
    if pattern is not None:
        check_pattern(pattern)
    expected = "(H, W, 3)" if pattern is None else "(H, W)"
    fits = values.ndim == 2 if pattern is not None else values.ndim == 3 and values.shape[2] == 3
    if not fits or values.dtype.kind != "f" or min(values.shape[:2]) < _SMALLEST_PX:
        raise DataError(
            f"classical: expected {expected} of floats, at least {_SMALLEST_PX} x {_SMALLEST_PX} pixels, got {values.shape} {values.dtype}"
        )

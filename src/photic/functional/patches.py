"""Square patches of a canvas at sub-pixel positions: taken out, put back, stitched.

Positions are ``[x, y]`` in pixels of the canvas, of a patch's centre, which is its pixel ``N // 2``: pixel ``(i, j)`` of a patch lies at
row ``y - N // 2 + i`` and column ``x - N // 2 + j``. Between pixels values are interpolated bilinearly; :func:`place_patches` is the exact
adjoint of :func:`extract_patches`, and both can be differentiated by canvas, patches and positions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from photic.core.errors import DataError


@dataclass(frozen=True)
class Canvas:
    """Where a canvas lies in the coordinates of positions, and how large it is."""

    origin_px: tuple[int, int]
    """``(x, y)`` of its element [0, 0]."""
    shape: tuple[int, int]
    """Rows and columns."""

    def local(self, positions: Tensor) -> Tensor:
        """Return positions ``(..., 2)`` in the canvas's own pixels."""
        return positions - torch.tensor(self.origin_px, dtype=positions.dtype, device=positions.device)


def covering_canvas(positions: Tensor, size_px: int, margin_px: int = 0) -> Canvas:
    """Return the smallest canvas that holds every patch.

    Args:
        positions: ``(M, 2)`` centres ``[x, y]``.
        size_px: side N of a patch.
        margin_px: further pixels on each side, for positions that will move.

    Example:
        >>> import torch
        >>> covering_canvas(torch.tensor([[10.0, 20.0], [30.5, 20.0]]), 8)
        Canvas(origin_px=(6, 16), shape=(9, 29))
    """
    low, high = positions.min(dim=0).values.tolist(), positions.max(dim=0).values.tolist()
    first = [math.floor(value) - size_px // 2 - margin_px for value in low]
    # One more pixel than the patch: a position between pixels touches it.
    last = [math.floor(value) - size_px // 2 + size_px + 1 + margin_px for value in high]
    return Canvas((first[0], first[1]), (last[1] - first[1], last[0] - first[0]))


def extract_patches(canvas: Tensor, positions: Tensor, size_px: int) -> Tensor:
    """Return the patches of a canvas around positions.

    Args:
        canvas: ``(H, W)``, or ``(B, H, W)`` with a canvas for each group.
        positions: ``(M, 2)`` for one canvas, ``(B, C, 2)`` for groups; the canvas's own pixels.
        size_px: side N.

    Returns:
        ``(M, N, N)`` or ``(B, C, N, N)``.

    Raises:
        DataError: a patch reaches beyond the canvas.
    """
    grouped = canvas.ndim == 3
    fields, places = (canvas, positions) if grouped else (canvas[None], positions[None])
    rows, fractions = _corners(places, size_px, fields.shape[-2:])
    windows = fields.reshape(-1).index_select(0, rows.reshape(-1)).view(*places.shape[:2], size_px + 1, size_px + 1)
    fx, fy = (fraction.to(fields.real.dtype)[..., None, None] for fraction in fractions)
    windows = torch.lerp(windows[..., :-1, :], windows[..., 1:, :], fy.to(fields.dtype).expand_as(windows[..., :-1, :]))
    windows = torch.lerp(windows[..., :-1], windows[..., 1:], fx.to(fields.dtype).expand_as(windows[..., :-1]))
    return windows if grouped else windows[0]


def place_patches(patches: Tensor, positions: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return the sum of patches put on empty canvases: the adjoint of :func:`extract_patches`.

    Args:
        patches: ``(M, N, N)`` for one canvas, ``(B, C, N, N)`` for groups with a canvas each.
        positions: ``(M, 2)`` or ``(B, C, 2)``.
        shape: rows and columns of a canvas.

    Returns:
        ``(H, W)`` or ``(B, H, W)``.

    Raises:
        DataError: a patch reaches beyond the canvas.
    """
    grouped = patches.ndim == 4
    pieces, places = (patches, positions) if grouped else (patches[None], positions[None])
    size_px = pieces.shape[-1]
    rows, fractions = _corners(places, size_px, shape)
    fx, fy = (fraction.to(pieces.real.dtype)[..., None, None] for fraction in fractions)
    spread = F.pad(pieces * (1 - fy), (0, 0, 0, 1)) + F.pad(pieces * fy, (0, 0, 1, 0))
    spread = F.pad(spread * (1 - fx), (0, 1)) + F.pad(spread * fx, (1, 0))
    total = torch.zeros(len(pieces) * shape[0] * shape[1], dtype=pieces.dtype, device=pieces.device)
    total = total.index_add(0, rows.reshape(-1), spread.reshape(-1)).view(-1, *shape)
    return total if grouped else total[0]


def _corners(positions: Tensor, size_px: int, shape: tuple[int, ...] | torch.Size) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Return the flat indices ``(B, C, N + 1, N + 1)`` of the pixels that patches touch, and the fractions ``x, y`` ``(B, C)``."""
    height, width = shape[-2:]
    base = positions.detach().floor()
    fractions = positions - base
    first = base.long() - size_px // 2
    x, y = first[..., 0], first[..., 1]
    if x.numel() and bool((x.min() < 0) | (y.min() < 0) | (x.max() + size_px >= width) | (y.max() + size_px >= height)):
        raise DataError(
            f"patches of {size_px} x {size_px} pixels around x {positions[..., 0].min():.1f} to {positions[..., 0].max():.1f}, "
            f"y {positions[..., 1].min():.1f} to {positions[..., 1].max():.1f} reach beyond a canvas {width} px wide and {height} px high; "
            f"centres need {size_px // 2} pixels to the left and above, and one more than that to the right and below"
        )
    steps = torch.arange(size_px + 1, device=positions.device)
    groups = torch.arange(len(positions), device=positions.device)[:, None] * (height * width)
    start = groups + y * width + x
    return start[..., None, None] + steps[:, None] * width + steps, (fractions[..., 0], fractions[..., 1])


class Stitcher:
    """Averages overlapping patches on one canvas, batch by batch, each pixel of a patch with its weight.

    Args:
        canvas: where; see :func:`covering_canvas`.
        dtype: of the patches.
        device: where sums are kept.
    """

    def __init__(self, canvas: Canvas, dtype: torch.dtype = torch.complex64, device: torch.device | str = "cpu") -> None:
        self.canvas = canvas
        self._sum = torch.zeros(canvas.shape, dtype=dtype, device=device)
        self._weight = torch.zeros(canvas.shape, dtype=self._sum.real.dtype, device=device)

    def add(self, patches: Tensor, positions: Tensor, weights: Tensor) -> None:
        """Add patches ``(B, N, N)`` around positions ``(B, 2)`` with weights ``(N, N)`` or ``(B, N, N)``."""
        local = self.canvas.local(positions)
        self._sum += place_patches(patches * weights, local, self.canvas.shape)
        self._weight += place_patches(weights.expand(patches.shape).to(self._weight.dtype), local, self.canvas.shape)

    @property
    def coverage(self) -> Tensor:
        """Summed weights ``(H, W)``; zero where no patch was."""
        return self._weight

    def object(self, fill: complex = 1.0) -> Tensor:
        """Return the weighted mean ``(H, W)``.

        Args:
            fill: value where (almost) no patch was; 1 is what lets a beam through unchanged.
        """
        floor = 1e-6 * self._weight.max()
        mean = self._sum / self._weight.clamp_min(torch.finfo(self._weight.dtype).tiny)
        return torch.where(self._weight > floor, mean, torch.full_like(mean, fill))


def merge_groups(patches: Tensor, offsets: Tensor, support: Tensor | None = None) -> Tensor:
    """Let the patches of a group agree: average them where they overlap, and take them out again.

    Numerator and denominator have the same support, so that a constant stays a constant up to the support's edge.

    Args:
        patches: ``(B, C, N, N)``.
        offsets: ``(B, C, 2)`` positions ``[x, y]`` relative to any point of the group.
        support: ``(N, N)``, where patches hold something; everywhere if omitted.

    Returns:
        ``(B, C, N, N)``; zero where no patch of the group has support.
    """
    size_px = patches.shape[-1]
    canvas = covering_canvas(offsets.detach().reshape(-1, 2), size_px)
    local = canvas.local(offsets)
    weight = torch.ones_like(patches.real) if support is None else support.to(patches.real.dtype).expand_as(patches)
    total = place_patches(patches * weight, local, canvas.shape)
    count = place_patches(weight, local, canvas.shape)
    merged = total / count.clamp_min(1e-6)
    return extract_patches(merged, local, size_px)

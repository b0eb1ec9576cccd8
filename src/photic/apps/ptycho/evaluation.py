"""How close a reconstructed object is to another one: on a common grid, aligned, amplitude and phase separately."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from photic.apps.ptycho.coverage import Region, largest_rectangle
from photic.apps.ptycho.reconstruction import Reconstruction
from photic.core.errors import DataError
from photic.functional.frc import THRESHOLDS, RingCorrelation, fourier_ring_correlation
from photic.functional.registration import Alignment, align
from photic.functional.ssim import min_side, ms_ssim, psnr, ssim
from photic.functional.unwrap import has_cuts, unwrap

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHARE, MARGIN_PX, MIN_SIDE_PX = 0.1, 2, 11
"""Well covered is this share of the typical coverage; the rectangle compared keeps this margin, and is at least so long."""
_AROUND_PX = 32


@dataclass(frozen=True, kw_only=True)
class Similarity:
    """How close one real picture is to another, in the region compared."""

    mae: float
    """Mean absolute difference, in the unit of the picture (phase: radians, the short way round)."""
    psnr_db: float
    """Peak signal-to-noise ratio; the peak is the range of the reference in the region. Infinite for equal pictures."""
    ssim: float
    """Structural similarity with that range."""
    ms_ssim: float | None
    """Multi-scale structural similarity on five scales; None where the region is too small for them."""
    data_range: float
    """Largest minus smallest value of the reference in the region."""

    def to_dict(self) -> dict[str, float | None]:
        """Return it as JSON; an infinite ratio is None (the MAE is 0 then)."""
        ratio = self.psnr_db if math.isfinite(self.psnr_db) else None
        return {"mae": self.mae, "psnr_db": ratio, "ssim": self.ssim, "ms_ssim": self.ms_ssim, "data_range": self.data_range}


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """A reconstructed object against a reference, aligned; :func:`compare_objects` makes it."""

    amplitude: Similarity
    phase: Similarity
    frc: RingCorrelation
    """Fourier ring correlation of the two complex objects."""
    alignment: Alignment
    """What was done to the reconstruction; its ramp counts from the first pixel of :attr:`region`, its shift is on top of the grids'."""
    region: tuple[int, int, int, int]
    """Left, top, right and bottom (both exclusive) of what was compared, on the grid of the reference's positions, pixels."""
    aligned: NDArray[np.complex64]
    """``(h, w)``: the reconstruction in the region, aligned."""
    reference: NDArray[np.complex64]
    """``(h, w)``: the reference in the region."""
    pixel_size_m: float | None
    name: str
    """Of what is compared: its method."""
    reference_name: str

    @property
    def resolution_px(self) -> dict[str, float | None]:
        """Full period in pixels at which the ring correlation falls below 0.5 and 1/7; None where it never does or is undefined."""
        return {name: self.frc.resolution_px(threshold) for name, threshold in zip(("0.5", "1/7"), THRESHOLDS, strict=True)}

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers as JSON."""
        pixel, periods = self.pixel_size_m, self.resolution_px
        left, top, right, bottom = self.region
        return {
            "name": self.name,
            "reference": self.reference_name,
            "amplitude": self.amplitude.to_dict(),
            "phase": self.phase.to_dict(),
            "frc_period_px": periods,
            "frc_period_m": {key: None if value is None or pixel is None else value * pixel for key, value in periods.items()},
            "region_px": {"left": left, "top": top, "right": right, "bottom": bottom},
            "alignment": {
                "amplitude_scale": abs(self.alignment.scale),
                "shift_px": list(self.alignment.shift_px),
                "ramp_rad_per_px": list(self.alignment.ramp_rad),
                "residual": self.alignment.residual,
            },
        }

    def table(self) -> str:
        """Return the numbers as text for a terminal."""
        left, top, right, bottom = self.region
        x, y = self.alignment.shift_px
        too_small = f"- (needs {min_side()} px)"
        rows = [("", "MAE", "PSNR (dB)", "SSIM", "MS-SSIM")]
        for label, part in (("amplitude", self.amplitude), ("phase (rad)", self.phase)):
            multi = too_small if part.ms_ssim is None else f"{part.ms_ssim:.4f}"
            ratio = f"{part.psnr_db:.2f}" if math.isfinite(part.psnr_db) else "equal"
            rows.append((label, f"{part.mae:.4g}", ratio, f"{part.ssim:.4f}", multi))
        widths = [max(len(row[column]) for row in rows) for column in range(5)]
        lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
        return "\n".join([
            f"{self.name or 'reconstruction'} against {self.reference_name}, {right - left} x {bottom - top} pixels from ({left}, {top})",
            *(line.rstrip() for line in lines),
            f"FRC: {', '.join(f'{self._period(value)} at {key}' for key, value in self.resolution_px.items())} (full period)",
            f"aligned by a shift of ({x:.3f}, {y:.3f}) px and an amplitude scale of {abs(self.alignment.scale):.4g}",
        ])  # fmt: skip

    def figures(self) -> dict[str, Figure]:
        """Return ``comparison`` (both objects and their errors, side by side) and ``frc``."""
        from photic.apps.ptycho import figures  # matplotlib is slow to import

        name = self.name or "reconstruction"
        name = f"{name} (compared)" if name == self.reference_name else name
        caption = f"SSIM {self.amplitude.ssim:.3f} amplitude, {self.phase.ssim:.3f} phase"
        objects = {self.reference_name: self.reference, name: self.aligned}
        return {
            "comparison": figures.comparison(
                objects, reference=self.reference_name, pixel_size_m=self.pixel_size_m, captions={name: caption}
            ),
            "frc": figures.ring_correlation(self.frc, pixel_size_m=self.pixel_size_m),
        }

    def _period(self, value: float | None) -> str:
        if value is None:
            return "no crossing"
        return f"{value:.3g} px" + ("" if self.pixel_size_m is None else f" = {1e9 * value * self.pixel_size_m:.3g} nm")


def compare_objects(
    reconstruction: Reconstruction,
    reference: NDArray[np.complexfloating] | Reconstruction,
    *,
    region: tuple[int, int, int, int] | None = None,
    reference_name: str | None = None,
    share: float = SHARE,
    margin_px: int = MARGIN_PX,
) -> Comparison:
    """Compare a reconstructed object with the truth or another reconstruction.

    Both are put on one grid by their origins. What is compared is the largest rectangle, less a margin, all of whose pixels both
    objects cover well: at least ``share`` of the typical coverage (:func:`photic.apps.ptycho.coverage.typical_coverage`).
    Within it the reconstruction is aligned by sub-pixel shift, amplitude scale, phase offset and phase ramp
    (:func:`photic.functional.registration.align`).

    Amplitude and phase are then compared separately. The range of PSNR and SSIM is that of the reference in the region, never that of a
    number format. Phases are taken around the reference's mean, as their constant means nothing, and unwrapped, and differences
    are taken the short way round, so a cut at pi is no error.

    Args:
        reconstruction: what is judged.
        reference: truth ``(H, W)`` with its first pixel at (0, 0), or another reconstruction.
        region: left, top, right and bottom (both exclusive) in pixels of the grid, in place of the rectangle found.
        reference_name: for tables and figures; None: ``truth``, or the method of a reconstruction.
        share: see above, in (0, 1].
        margin_px: taken off every side of the rectangle found.

    Raises:
        DataError: one of them holds no object, they do not overlap, the region is too small or outside, or the reference
            has no contrast in it.

    >>> rng = np.random.default_rng(0)
    >>> truth = np.exp(0.3j * rng.random((40, 40))) * (1 + 0.1 * rng.random((40, 40)))
    >>> made = Reconstruction(object=2j * truth, coverage=None, origin_px=(0, 0), positions_px=np.zeros((0, 2)), probe=None)
    >>> compare_objects(made, truth).phase.ssim > 0.9999
    True
    """
    known = reference if isinstance(reference, Reconstruction) else _as_reconstruction(reference)
    name = reference_name or (known.method or "reference" if isinstance(reference, Reconstruction) else "truth")
    offset = tuple(round(a - b) for a, b in zip(reconstruction.origin_px, known.origin_px, strict=True))
    ours, theirs = _overlap(reconstruction.stitched().shape, known.stitched().shape, offset)
    made, truth = reconstruction.stitched()[ours], known.stitched()[theirs]
    first = (round(known.origin_px[0]) + theirs[1].start, round(known.origin_px[1]) + theirs[0].start)
    if region is None:
        covered = reconstruction.well_covered(share)[ours] & known.well_covered(share)[theirs]
        chosen = _shrunk(largest_rectangle(covered), margin_px)
    else:
        left, top, right, bottom = region
        chosen = slice(top - first[1], bottom - first[1]), slice(left - first[0], right - first[0])
        if chosen[0].start < 0 or chosen[1].start < 0 or chosen[0].stop > made.shape[0] or chosen[1].stop > made.shape[1]:
            whole = (first[0], first[1], first[0] + made.shape[1], first[1] + made.shape[0])
            raise DataError(f"region: expected (left, top, right, bottom) inside {whole}, where both objects are, got {region}")
    height, width = (side.stop - side.start for side in chosen)
    if min(height, width) < MIN_SIDE_PX:
        found = f"{max(height, 0)} x {max(width, 0)}"
        raise DataError(f"region: expected at least {MIN_SIDE_PX} x {MIN_SIDE_PX} pixels that both objects cover well, got {found}")
    aligned, target, alignment = _aligned(made, truth, chosen)
    return Comparison(
        amplitude=_similarity(np.abs(aligned), np.abs(target), "amplitude"),
        phase=_similarity(*_phases(aligned, target), "phase"),
        frc=fourier_ring_correlation(aligned, target),
        alignment=alignment,
        region=(first[0] + chosen[1].start, first[1] + chosen[0].start, first[0] + chosen[1].stop, first[1] + chosen[0].stop),
        aligned=aligned.astype(np.complex64),
        reference=target.astype(np.complex64),
        pixel_size_m=reconstruction.pixel_size_m or known.pixel_size_m,
        name=reconstruction.method,
        reference_name=name,
    )


def _as_reconstruction(truth: NDArray[np.complexfloating]) -> Reconstruction:
    return Reconstruction(object=truth, coverage=None, origin_px=(0, 0), positions_px=np.zeros((0, 2)), probe=None)


def _overlap(ours: tuple[int, ...], theirs: tuple[int, ...], offset: tuple[int, ...]) -> tuple[Region, Region]:
    """Rows and columns of the common rectangle in both arrays; ``offset`` is (x, y) of our first pixel in theirs."""
    mine, other = [], []
    for our_side, their_side, start in zip(ours, theirs, offset[::-1], strict=True):
        first, last = max(start, 0), min(start + our_side, their_side)
        if last <= first:
            raise DataError(
                f"the objects do not overlap: {ours[1]} x {ours[0]} pixels begin at {offset} of the other's {theirs[1]} x {theirs[0]}; "
                "are the origins of both on the same grid?"
            )
        mine.append(slice(first - start, last - start))
        other.append(slice(first, last))
    return (mine[0], mine[1]), (other[0], other[1])


def _shrunk(region: Region, margin: int) -> Region:
    rows, columns = (slice(side.start + margin, side.stop - margin) for side in region)
    return rows, columns


def _aligned(
    made: NDArray[np.complexfloating], truth: NDArray[np.complexfloating], chosen: Region
) -> tuple[NDArray[np.complex128], NDArray[np.complex128], Alignment]:
    """Align within a region, with what lies around it at hand for the shift."""
    around = tuple(slice(max(0, side.start - _AROUND_PX), side.stop + _AROUND_PX) for side in chosen)
    inside = tuple(slice(part.start - whole.start, part.stop - whole.start) for part, whole in zip(chosen, around, strict=True))
    picture, target = made[around], truth[around]
    weight = np.zeros(picture.shape)
    weight[inside] = 1.0
    aligned, found = align(picture, target, weight=weight)
    turn = found.ramp_rad[0] * inside[1].start + found.ramp_rad[1] * inside[0].start
    alignment = Alignment(
        scale=complex(found.scale * np.exp(1j * turn)), ramp_rad=found.ramp_rad, shift_px=found.shift_px, residual=found.residual
    )
    return aligned[inside], target[inside].astype(np.complex128), alignment


def _phases(aligned: NDArray[np.complex128], target: NDArray[np.complex128]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Phases without cuts around the reference's mean: its own unwrapped, the other's from it by the short way round."""
    known = unwrap(np.angle(target))
    if has_cuts(known):
        warnings.warn(
            "the phase of the reference cannot be unwrapped everywhere (vortices, or steps above pi); "
            "PSNR and SSIM of the phase are held against a reference with jumps",
            UserWarning,
            stacklevel=3,
        )
    known = known - known.mean()
    return known + np.angle(aligned * np.conj(target)), known


def _similarity(found: NDArray[np.float64], known: NDArray[np.float64], what: str) -> Similarity:
    data_range = float(known.max() - known.min())
    if not data_range > 1e-6 * max(1.0, float(np.abs(known).max())):
        raise DataError(f"{what}: the reference is flat in the region compared, so PSNR and SSIM have no range; choose another region")
    x, y = (torch.from_numpy(np.ascontiguousarray(part))[None, None] for part in (found, known))
    large = min(found.shape) >= min_side()
    return Similarity(
        mae=float(np.abs(found - known).mean()),
        psnr_db=float(psnr(x, y, data_range)),
        ssim=float(ssim(x, y, data_range)),
        ms_ssim=float(ms_ssim(x, y, data_range)) if large else None,
        data_range=data_range,
    )

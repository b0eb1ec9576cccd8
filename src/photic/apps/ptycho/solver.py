"""Iterative ptychography without a network: object, and on request probe and positions, fitted to all patterns by mini-batches.

Every batch of patterns pulls the object by the gradient of its likelihood, divided by the light that each pixel got in that batch; steps
decay to zero, so that the result is the fit to all patterns and not to the last few. The projection behind the amplitude likelihood is that
of ePIE (Maiden and Rodenburg, Ultramicroscopy 109, 2009), the damping between it and a plain division that of rPIE (Maiden, Johnson and Li,
Optica 4, 2017), the Poisson likelihood that of Thibault and Guizar-Sicairos (New J. Phys. 14, 2012). Gradients are written out rather than
taken by autograd: no graph is kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from photic.apps.ptycho.patterns import LazyArray
from photic.apps.ptycho.solver_crops import CROPS, Crop, intensity
from photic.apps.ptycho.solver_options import POISSON_BELOW_COUNTS, Likelihood, SolverConfig
from photic.core.errors import ConfigError, DataError, TrainingError
from photic.core.seeding import numpy_generator
from photic.functional.fourier import checkerboard
from photic.functional.patches import Canvas, covering_canvas
from photic.physics.ptychography import with_modes

RESIDENT_BYTES = 256 * 2**20
"""Patterns up to so many bytes are kept on the device; more are gathered batch by batch."""
_DARK_SHARE = (
    0.01  # of the mean pixel, at most of a photon: what the Poisson likelihood adds, so that a photon in the dark does not weigh infinitely
)
_MAX_RATIO = 9.0  # of counts to expected ones: the field may grow fivefold in a step
_TINY = 1e-12
_SCALE_PATTERNS = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class Solution:
    """What :func:`solve` found."""

    object: NDArray[np.complex64]
    """``(H, W)``; element [0, 0] at ``origin_px``."""
    origin_px: tuple[int, int]
    """``(x0, y0)`` on the grid of the positions."""
    coverage: NDArray[np.float32]
    """``(H, W)``: summed light."""
    probe: NDArray[np.complex64]
    """``(P, N, N)``; refined modes are orthogonal, the strongest first."""
    positions_px: NDArray[np.float64]
    """``(M, 2)`` [x, y]."""
    r_amp: float
    """Sum of |sqrt(I) - A| over sum of A, of valid pixels of all patterns, with the object and probe above."""
    history: tuple[float, ...]
    """R_amp of every iteration, taken while it ran."""
    likelihood: Likelihood
    """What was fitted."""


@dataclass(frozen=True, eq=False)
class Step:
    """Where a solver is after an iteration; the tensors are its own, to be read and not kept."""

    iteration: int
    """From 1."""
    iterations: int
    r_amp: float
    object: Tensor
    """``(H, W)``."""
    coverage: Tensor
    """``(H, W)``: light summed over the iteration."""
    origin_px: tuple[int, int]


def solve(
    patterns: LazyArray | NDArray[np.float32],
    positions_px: NDArray[np.float64],
    probe: NDArray[np.complex64],
    config: SolverConfig,
    *,
    start: NDArray[np.complex64] | None = None,
    start_origin_px: tuple[float, float] = (0.0, 0.0),
    mask: NDArray[np.bool_] | None = None,
    device: torch.device | str = "cpu",
    progress: Callable[[Step], None] = lambda step: None,
) -> Solution:
    """Reconstruct an object from a scan.

    Without ``start`` the object begins flat. Amplitudes are brought to those of the patterns first: the probe's if it is refined and the
    object flat, else the object's.

    Args:
        patterns: amplitudes ``(M, N, N)``, zero frequency at N/2; gathered batch by batch if they are many.
        positions_px: ``(M, 2)`` centres [x, y].
        probe: ``(N, N)`` or modes ``(P, N, N)``.
        config: how.
        start: object ``(h, w)`` to begin with, for example a network's; 1 where it does not reach.
        start_origin_px: ``(x0, y0)`` of its element [0, 0], whole numbers.
        mask: ``(N, N)``, True = valid; elsewhere the model keeps its own value.
        device: where to compute.
        progress: called after every iteration.

    Raises:
        DataError: shapes do not fit each other, or nothing was measured.
        ConfigError: modes are asked for that cannot be had.
        TrainingError: it diverged.

    >>> from photic.apps.ptycho.simulate import generated_scan
    >>> scan = generated_scan(num_positions=25, seed=1)
    >>> found = solve(scan.diffraction, scan.positions_px, scan.probe_modes, SolverConfig(iterations=4, refine_probe=False))
    >>> found.object.dtype, len(found.history), found.history[-1] < found.history[0]
    (dtype('complex64'), 4, True)
    """
    solver = Solver(patterns, positions_px, probe, config, start=start, start_origin_px=start_origin_px, mask=mask, device=device)
    history = []
    with torch.no_grad():
        for iteration in range(config.iterations):
            history.append(solver.iterate(iteration))
            progress(Step(iteration + 1, config.iterations, history[-1], solver.object, solver.coverage, solver.canvas.origin_px))
        return solver.solution(tuple(history))


class Solver:
    """The state of a reconstruction; see :func:`solve` for arguments and errors.

    It runs under ``torch.no_grad``.
    """

    @torch.no_grad()
    def __init__(
        self,
        patterns: LazyArray | NDArray[np.float32],
        positions_px: NDArray[np.float64],
        probe: NDArray[np.complex64],
        config: SolverConfig,
        *,
        start: NDArray[np.complex64] | None = None,
        start_origin_px: tuple[float, float] = (0.0, 0.0),
        mask: NDArray[np.bool_] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        modes = _checked(patterns, positions_px, probe, mask)
        self.config = config
        self.device = torch.device(device)
        self._crop = CROPS[config.interpolation]
        self._source = patterns
        fits = 4 * math.prod(patterns.shape) <= RESIDENT_BYTES
        self._resident = torch.from_numpy(np.array(patterns, dtype=np.float32)).to(self.device) if fits else None
        self._mask = None if mask is None or bool(mask.all()) else torch.from_numpy(mask).to(self.device, torch.float32)
        given = torch.from_numpy(np.array(positions_px, dtype=np.float64))
        self.canvas = covering_canvas(given, modes.shape[-1], math.ceil(config.position_limit_px) if config.refine_positions else 0)
        self._given = self.canvas.local(given).to(self.device)
        self.positions = self._given.clone()
        """``(M, 2)`` in pixels of the object."""
        self._signs = checkerboard(modes.shape[-1], modes.shape[-1]).to(self.device)
        self.probe = torch.from_numpy(_with_modes(modes, config)).to(self.device) * self._signs
        """Signed ``(P, N, N)``; see :mod:`photic.apps.ptycho.solver_crops`."""
        self.object = _embedded(start, start_origin_px, self.canvas).to(self.device)
        """``(H, W)``."""
        self.coverage = torch.zeros(self.canvas.shape, device=self.device)
        """``(H, W)``: light of the iteration."""
        self._velocity, self._probe_velocity = torch.zeros_like(self.object), torch.zeros_like(self.probe)
        self.dark_counts = 0.0
        """Keeps the Poisson likelihood finite where the model is dark."""
        self.likelihood: Likelihood = "amplitude"
        self._match_energies(scales_probe=config.refine_probe and start is None)
        self._probe_energy = _energy(self.probe)

    def iterate(self, iteration: int) -> float:
        """Go through all patterns once in random order; return R_amp as it was while going.

        Raises:
            TrainingError: the numbers are not finite any more.
        """
        config, count = self.config, len(self.positions)
        order = numpy_generator(config.seed, "ptycho solver order", iteration).permutation(count)
        batches = np.array_split(order, math.ceil(count / config.batch_size))
        errors = torch.zeros(2, device=self.device)
        self.coverage.zero_()
        for number, rows in enumerate(batches):
            share = _share(config.decay, (iteration + number / len(batches)) / config.iterations)
            errors += self._update(torch.from_numpy(rows).to(self.device), rows, iteration, share)
        if config.refine_positions and iteration >= config.first_position_iteration:
            # Object and positions together may drift, which no pattern can tell.
            self.positions -= (self.positions - self._given).mean(dim=0)
        value = float(errors[0] / errors[1])
        if not math.isfinite(value):
            raise TrainingError(
                f"the reconstruction diverged in iteration {iteration + 1}; halve object_step ({config.object_step:g}) and probe_step "
                f"({config.probe_step:g}), and look at the patterns with `photic data check ptycho FILE`"
            )
        return value

    def solution(self, history: tuple[float, ...]) -> Solution:
        """Return what there is now, measured over all patterns."""
        if self.config.refine_probe and len(self.probe) > 1:
            self.probe = _orthogonal(self.probe)
        # Only the product of probe and object is measured; refining both lets one grow and the other shrink. The probe keeps its energy.
        drift = float((_energy(self.probe) / self._probe_energy).sqrt()) if self.config.refine_probe else 1.0
        unseen = self.object
        self.probe, self.object = self.probe / drift, self.object * drift
        errors = torch.zeros(2, device=self.device)
        self.coverage.zero_()
        for first in range(0, len(self.positions), self.config.batch_size):
            rows = np.arange(first, min(len(self.positions), first + self.config.batch_size))
            crop = self._crop(self.object, self.probe, self.positions[first : first + len(rows)])
            errors += self._error(intensity(torch.fft.fft2(crop.waves(), norm="ortho")).sqrt(), self._measured(rows))
            self.coverage += crop.light()
        self.object = torch.where(self.coverage > 0, self.object, unseen)
        positions = self.positions.cpu() + torch.tensor(self.canvas.origin_px, dtype=torch.float64)
        return Solution(
            object=self.object.cpu().numpy(),
            origin_px=self.canvas.origin_px,
            coverage=self.coverage.cpu().numpy(),
            probe=(self.probe * self._signs).cpu().numpy(),
            positions_px=positions.numpy(),
            r_amp=float(errors[0] / errors[1]),
            history=history,
            likelihood=self.likelihood,
        )

    def pulls(self, crop: Crop, measured: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return what a batch wants of its exit waves.

        Args:
            crop: the batch.
            measured: its amplitudes ``(B, N, N)``.

        Returns:
            Changes of the exit waves ``(B, P, N, N)``, the waves at the detector ``(B, P, N, N)``, and amplitudes there ``(B, N, N)``. The
            changes are minus half the gradient (as PyTorch counts it, twice the derivative by the conjugate) of
            ``sum (sqrt(I) - A)**2``, or of half of ``sum I - A**2 log(I + dark_counts)``. For the amplitude likelihood they lead to
            waves with the measured amplitudes at once.
        """
        field = torch.fft.fft2(crop.waves(), norm="ortho")
        counts = intensity(field)
        inverse = counts.clamp_min(_TINY).rsqrt_()  # a quarter of the time of a root and a division
        amplitude = counts * inverse
        if self.likelihood == "poisson":
            factor = (measured * measured).div_(counts + self.dark_counts).clamp_(max=_MAX_RATIO).sub_(1).mul_(0.5)
        else:
            factor = inverse.mul_(measured).sub_(1)
        if self._mask is not None:
            factor *= self._mask
        return torch.fft.ifft2(field * factor[:, None], norm="ortho"), field, amplitude

    def _update(self, index: Tensor, rows: NDArray[np.int64], iteration: int, share: float) -> Tensor:
        config = self.config
        measured = self._measured(rows) if self._resident is None else self._resident.index_select(0, index)
        crop = self._crop(self.object, self.probe, self.positions[index])
        changes, field, amplitude = self.pulls(crop, measured)
        light = crop.light()
        self.coverage += light
        strongest = torch.maximum(light.max(), intensity(crop.probes).max())
        step = config.object_step * share / ((1 - config.damping) * light + config.damping * strongest)
        self._velocity.mul_(config.momentum).addcmul_(crop.object_gradient(changes), step)
        if config.refine_probe and iteration >= config.first_probe_iteration:
            density = crop.density()
            step = config.probe_step * share / ((1 - config.damping) * density + config.damping * density.max())
            self.probe += self._probe_velocity.mul_(config.probe_momentum).addcmul_(crop.probe_gradient(changes), step)
        if config.refine_positions and iteration >= config.first_position_iteration:
            self._move(index, crop, field, amplitude, measured)
        self.object += self._velocity
        return self._error(amplitude, measured)

    def _move(self, index: Tensor, crop: Crop, field: Tensor, amplitude: Tensor, measured: Tensor) -> None:
        """Take a Gauss-Newton step of the amplitudes by the positions of a batch."""
        inverse = 1 / amplitude.clamp_min(1e-6)
        if self._mask is not None:
            inverse = inverse * self._mask
        # d sqrt(I) / dx = sum_m Re(conj(field) d field / dx) / sqrt(I)
        along_x, along_y = ((field.conj() * torch.fft.fft2(slope, norm="ortho")).real.sum(dim=1) * inverse for slope in crop.derivatives())
        missing = measured - amplitude
        xx, yy, xy = ((one * other).sum(dim=(1, 2)) for one, other in ((along_x, along_x), (along_y, along_y), (along_x, along_y)))
        gx, gy = (along_x * missing).sum(dim=(1, 2)), (along_y * missing).sum(dim=(1, 2))
        determinant = (xx * yy - xy.square()).clamp_min(1e-6 * (xx * yy).max().clamp_min(1e-30))
        steps = torch.stack([(yy * gx - xy * gy) / determinant, (xx * gy - xy * gx) / determinant], dim=1).clamp_(-0.5, 0.5)
        limit = self.config.position_limit_px
        moved = self.positions[index] + self.config.position_step * steps.double() - self._given[index]
        self.positions[index] = self._given[index] + moved.clamp_(-limit, limit)

    def _measured(self, rows: NDArray[np.int64]) -> Tensor:
        if self._resident is not None:
            return self._resident.index_select(0, torch.from_numpy(rows).to(self.device))
        return torch.from_numpy(np.asarray(self._source[rows], dtype=np.float32)).to(self.device)

    def _error(self, amplitude: Tensor, measured: Tensor) -> Tensor:
        """Return summed |sqrt(I) - A| and summed A, over valid pixels."""
        valid = 1.0 if self._mask is None else self._mask
        return torch.stack([((amplitude - measured).abs_() * valid).sum(), (measured * valid).sum()])

    def _match_energies(self, *, scales_probe: bool) -> None:
        """Bring the model to the mean energy of some patterns spread over the scan, and choose the likelihood by it."""
        count = len(self.positions)
        chosen = np.unique(np.linspace(0, count - 1, min(count, _SCALE_PATTERNS)).round().astype(np.int64))
        energies = torch.zeros(2, dtype=torch.float64)
        valid = torch.ones(1, device=self.device) if self._mask is None else self._mask
        for rows in np.array_split(chosen, math.ceil(len(chosen) / self.config.batch_size)):
            crop = self._crop(self.object, self.probe, self.positions[torch.from_numpy(rows).to(self.device)])
            model = (intensity(torch.fft.fft2(crop.waves(), norm="ortho")) * valid).sum(dtype=torch.float64)
            energies += torch.stack([model, (self._measured(rows).square() * valid).sum(dtype=torch.float64)]).cpu()
        model_energy, energy = energies.tolist()
        if energy <= 0:
            raise DataError(
                "patterns: nothing was counted in any of the patterns looked at; is the mask the wrong way round (True = valid)?"
            )
        if not (math.isfinite(model_energy) and model_energy > 0):
            raise DataError("probe: it throws no light through the object onto valid pixels; expected a finite probe that is not zero")
        factor = math.sqrt(energy / model_energy)
        if scales_probe:
            self.probe *= factor
        else:
            self.object *= factor
        num_pixels = self.probe.shape[-1] ** 2 if self._mask is None else float(self._mask.sum())
        counts = energy / len(chosen) / num_pixels
        self.dark_counts = _DARK_SHARE * min(1.0, counts)
        if self.config.likelihood == "auto":
            self.likelihood = "poisson" if counts < POISSON_BELOW_COUNTS else "amplitude"
        else:
            self.likelihood = self.config.likelihood


def _share(decay: str, time: float) -> float:
    """Return what is left of the steps at a time in [0, 1]."""
    if decay == "none":
        return 1.0
    return 1 - time if decay == "linear" else 0.5 * (1 + math.cos(math.pi * time))


def _energy(modes: Tensor) -> Tensor:
    return modes.abs().square().sum()


def _orthogonal(modes: Tensor) -> Tensor:
    """Return modes ``(P, N, N)`` of the same light that are orthogonal, the strongest first."""
    _, sizes, directions = torch.linalg.svd(modes.reshape(len(modes), -1), full_matrices=False)
    ordered: Tensor = (sizes[:, None] * directions).reshape(modes.shape)
    return ordered


def _with_modes(modes: NDArray[np.complex64], config: SolverConfig) -> NDArray[np.complex64]:
    if config.num_modes is None or config.num_modes == len(modes):
        return modes
    if config.num_modes < len(modes):
        raise ConfigError(f"num_modes: the probe has {len(modes)}, {config.num_modes} asked for; ask for {len(modes)} or more")
    if not config.refine_probe:
        raise ConfigError(
            f"num_modes: the probe has {len(modes)}, {config.num_modes} asked for, and further modes have to be found; "
            "let the probe be refined (refine_probe=true)"
        )
    more: NDArray[np.complex64] = with_modes(torch.from_numpy(modes), config.num_modes).numpy()
    return more


def _embedded(start: NDArray[np.complex64] | None, origin_px: tuple[float, float], canvas: Canvas) -> Tensor:
    """Return the part of an object that lies on a canvas, 1 elsewhere."""
    field = torch.ones(canvas.shape, dtype=torch.complex64)
    if start is None:
        return field
    offset = [given - own for given, own in zip(origin_px, canvas.origin_px, strict=True)]
    x, y = (round(value) for value in offset)
    if start.ndim != 2 or start.dtype.kind != "c" or not np.isfinite(start).all():
        raise DataError(f"start: expected a finite complex object (H, W), got {start.dtype} of shape {start.shape}")
    if max(abs(offset[0] - x), abs(offset[1] - y)) > 1e-3:
        raise DataError(f"start_origin_px: expected whole pixels, got {origin_px}")
    top, left = max(0, y), max(0, x)
    bottom, right = min(canvas.shape[0], y + start.shape[0]), min(canvas.shape[1], x + start.shape[1])
    if bottom <= top or right <= left:
        raise DataError(
            f"start: {start.shape[1]} x {start.shape[0]} px from {origin_px} on does not touch the scan, which lies at "
            f"{canvas.origin_px} and is {canvas.shape[1]} x {canvas.shape[0]} px large"
        )
    field[top:bottom, left:right] = torch.from_numpy(start[top - y : bottom - y, left - x : right - x].astype(np.complex64))
    return field


def _checked(
    patterns: LazyArray | NDArray[np.float32],
    positions_px: NDArray[np.float64],
    probe: NDArray[np.complex64],
    mask: NDArray[np.bool_] | None,
) -> NDArray[np.complex64]:
    """Return the probe as modes."""
    shape = tuple(patterns.shape)
    if len(shape) != 3 or shape[0] < 1 or shape[1] != shape[2] or shape[1] % 2:
        raise DataError(f"patterns: expected amplitudes (M, N, N) with M >= 1 and N even, got {shape}")
    if positions_px.shape != (shape[0], 2) or not np.isfinite(positions_px).all():
        raise DataError(f"positions_px: expected finite ({shape[0]}, 2) as [x, y] for patterns {shape}, got shape {positions_px.shape}")
    modes = probe[None] if probe.ndim == 2 else probe
    if modes.ndim != 3 or modes.shape[1:] != shape[1:] or modes.dtype.kind != "c":
        raise DataError(f"probe: expected complex ({shape[1]}, {shape[1]}) or (P, {shape[1]}, {shape[1]}), got {probe.dtype} {probe.shape}")
    if mask is not None and (mask.shape != shape[1:] or mask.dtype != np.bool_ or not mask.any()):
        raise DataError(f"mask: expected bool {shape[1:]} with valid pixels (True), got {mask.dtype} of shape {mask.shape}")
    return np.array(modes, dtype=np.complex64)

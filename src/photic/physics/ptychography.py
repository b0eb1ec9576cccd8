"""Far-field ptychography: a probe illuminates overlapping places of an object, a detector counts photons of the diffracted waves.

The exit wave of pattern k is ``psi = P * crop(O, r_k)``; incoherent modes m of the probe add as intensities,
``I = sum_m |F(P_m crop(O, r_k))|**2``, with F orthonormal and centred, so that ``I`` has the energy of the exit wave
(Rodenburg and Maiden, "Ptychography", Springer Handbook of Microscopy, 2019; modes: Thibault and Menzel, Nature 494, 2013).
Counts are Poisson distributed around ``scale**2 * I``.

Simulation, training and refinement all go through the functions of this file.
"""

from __future__ import annotations

import torch
from torch import Tensor

from photic.core.errors import DataError
from photic.functional.fourier import fft2c, ifft2c
from photic.functional.patches import extract_patches, place_patches


def exit_waves(patches: Tensor, probe: Tensor) -> Tensor:
    """Return the exit waves of object patches under a probe.

    Args:
        patches: complex ``(B, C, N, N)``.
        probe: complex ``(B or 1, C or 1, P, N, N)`` with P incoherent modes.

    Returns:
        ``(B, C, P, N, N)``.

    Raises:
        DataError: a rank or a size does not fit. Nothing is broadcast but dimensions of one: a probe of lower rank would
            silently multiply the batch.

    Example:
        >>> import torch
        >>> waves = exit_waves(torch.ones(2, 1, 8, 8, dtype=torch.complex64), torch.ones(1, 1, 3, 8, 8, dtype=torch.complex64))
        >>> waves.shape
        torch.Size([2, 1, 3, 8, 8])
    """
    if patches.ndim != 4 or patches.shape[-1] != patches.shape[-2]:
        raise DataError(f"object patches: expected (B, C, N, N), got {tuple(patches.shape)}")
    batch, channels, size_px, _ = patches.shape
    fits = (
        probe.ndim == 5
        and probe.shape[0] in (1, batch)
        and probe.shape[1] in (1, channels)
        and probe.shape[2] >= 1
        and probe.shape[-2:] == (size_px, size_px)
    )
    if not fits:
        raise DataError(
            f"probe: expected ({batch} or 1, {channels} or 1, modes, {size_px}, {size_px}) for patches {tuple(patches.shape)}, "
            f"got {tuple(probe.shape)}; a probe (P, N, N) for all patterns is probe[None, None]"
        )
    return patches[:, :, None] * probe


def intensities(waves: Tensor) -> Tensor:
    """Return what a detector sees of exit waves ``(..., P, N, N)``: ``(..., N, N)``, the sum over modes of each one's intensity."""
    field = fft2c(waves)
    return (field.real.square() + field.imag.square()).sum(dim=-3)


def amplitudes(waves: Tensor, floor: float = 1e-12) -> Tensor:
    """Return the square root of :func:`intensities`, with a finite slope where it is dark.

    Args:
        waves: ``(..., P, N, N)``.
        floor: added to the intensity before the root.
    """
    return (intensities(waves) + floor).sqrt()


class Ptychography:
    """The forward operator of a whole scan: object ``(H, W)`` to detector waves ``(M, P, N, N)`` and counts ``(M, N, N)``.

    Args:
        probe: complex ``(P, N, N)``.
        positions: ``(M, 2)`` centres ``[x, y]`` in pixels of the object array.
        shape: rows and columns of the object.
        scale: factor on amplitudes; counts are ``scale**2`` times the intensity.

    Raises:
        DataError: the probe has another rank, or a patch reaches beyond the object.

    Example:
        >>> import torch
        >>> probe = torch.ones(1, 8, 8, dtype=torch.complex64)
        >>> operator = Ptychography(probe, torch.tensor([[5.0, 5.5], [6.25, 7.0]]), (16, 16))
        >>> operator.measure(torch.ones(16, 16, dtype=torch.complex64)).sum(dim=(1, 2))
        tensor([64., 64.])
    """

    def __init__(self, probe: Tensor, positions: Tensor, shape: tuple[int, int], scale: float = 1.0) -> None:
        if probe.ndim != 3 or probe.shape[-1] != probe.shape[-2]:
            raise DataError(f"probe: expected (P, N, N) with P modes, got {tuple(probe.shape)}; a single mode is probe[None]")
        if positions.ndim != 2 or positions.shape[1] != 2:
            raise DataError(f"positions: expected (M, 2) as [x, y], got {tuple(positions.shape)}")
        self.probe, self.positions, self.shape, self.scale = probe, positions, shape, scale

    @property
    def size_px(self) -> int:
        """Side N of a pattern."""
        return self.probe.shape[-1]

    def apply(self, object_: Tensor) -> Tensor:
        """Return the waves at the detector, ``(M, P, N, N)``: linear in the object."""
        if object_.shape != self.shape:
            raise DataError(f"object: expected {self.shape}, got {tuple(object_.shape)}")
        patches = extract_patches(object_, self.positions, self.size_px)
        return self.scale * fft2c(exit_waves(patches[:, None], self.probe[None, None])[:, 0])

    def adjoint(self, field: Tensor) -> Tensor:
        """Return the object ``(H, W)`` that waves ``(M, P, N, N)`` at the detector back-project to."""
        patches = (self.scale * ifft2c(field) * self.probe.conj()).sum(dim=1)
        return place_patches(patches, self.positions, self.shape)

    def measure(self, object_: Tensor) -> Tensor:
        """Return the expected counts ``(M, N, N)``."""
        field = self.apply(object_)
        return (field.real.square() + field.imag.square()).sum(dim=1)

    def sample_noise(self, measurement: Tensor, generator: torch.Generator) -> Tensor:
        """Return Poisson counts around expected ones."""
        return torch.poisson(measurement, generator=generator)


def with_modes(probe: Tensor, num_modes: int, share: float = 0.02) -> Tensor:
    """Return a probe with more modes, the further ones small, orthogonal to all before, and of the probe's own extent.

    They are the first mode times low polynomials of the coordinates, as partial coherence makes them, orthogonalised.

    Args:
        probe: complex ``(P, N, N)``.
        num_modes: how many there shall be; at least P.
        share: energy of each further mode relative to the first.

    Returns:
        ``(num_modes, N, N)`` with the energy of the given probe.

    Raises:
        DataError: fewer modes are asked for than there are.
    """
    if num_modes < len(probe):
        raise DataError(
            f"probe: has {len(probe)} modes, {num_modes} asked for; give a probe with fewer modes, or ask for {len(probe)} or more"
        )
    size_px = probe.shape[-1]
    axis = (torch.arange(size_px, device=probe.device) - size_px // 2).to(probe.real.dtype) / size_px
    y, x = axis[:, None], axis[None, :]
    energy = probe.abs().square().sum()
    modes = list(probe)
    degree = 1
    while len(modes) < num_modes:
        for power in range(degree + 1):
            if len(modes) == num_modes:
                break
            candidate = probe[0] * (x ** (degree - power) * y**power)
            for mode in modes:
                overlap = (mode.conj() * candidate).sum() / mode.abs().square().sum().clamp_min(1e-30)
                candidate = candidate - overlap * mode
            norm = candidate.abs().square().sum().sqrt()
            modes.append(candidate * (share * probe[0].abs().square().sum()).sqrt() / norm.clamp_min(1e-30))
        degree += 1
    stacked = torch.stack(modes)
    return stacked * (energy / stacked.abs().square().sum()).sqrt()

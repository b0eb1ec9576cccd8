"""Sub-pixel crops of an object under a probe, for solvers: forward, and back to gradients.

Everything here works on the **signed** probe, the probe times :func:`photic.functional.fourier.checkerboard`: with it a plain FFT of the
exit wave gives the centred pattern, and in all gradients with respect to the object the signs cancel.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from photic.functional.patches import extract_patches, place_patches


def intensity(waves: Tensor) -> Tensor:
    """Return ``(B, N, N)``: squared moduli of waves ``(B, P, N, N)``, summed over modes.

    Real and imaginary parts are squared side by side: taking them apart first is three times slower on a CPU.
    """
    squares = torch.view_as_real(waves)
    squares = squares * squares
    moduli = squares[..., 0] + squares[..., 1]
    return moduli[:, 0] if moduli.shape[1] == 1 else moduli.sum(dim=1)


class Crop(ABC):
    """One batch of exit waves ``patches * probes``.

    Args:
        object_: ``(H, W)``.
        probe: signed ``(P, N, N)``.
        positions: ``(B, 2)`` [x, y] in pixels of the object array, float64.
    """

    patches: Tensor
    """``(B, 1, N, N)``."""
    probes: Tensor
    """``(B or 1, P, N, N)``."""

    def __init__(self, object_: Tensor, positions: Tensor, size_px: int) -> None:
        self.shape = (object_.shape[0], object_.shape[1])
        self.size_px = size_px
        self.base = positions.round().long() - size_px // 2
        steps = torch.arange(size_px, device=object_.device)
        starts = self.base[:, 1] * self.shape[1] + self.base[:, 0]
        self._pixels = (starts[:, None, None] + (steps[:, None] * self.shape[1] + steps)).reshape(-1)

    @abstractmethod
    def object_gradient(self, waves: Tensor) -> Tensor:
        """Return ``(H, W)``: waves ``(B, P, N, N)`` times the conjugate probes, summed over modes and put where they belong."""

    @abstractmethod
    def probe_gradient(self, waves: Tensor) -> Tensor:
        """Return signed ``(P, N, N)``: waves times the conjugate patches, summed over the batch."""

    @abstractmethod
    def derivatives(self) -> tuple[Tensor, Tensor]:
        """Return the derivatives of the exit waves ``(B, P, N, N)`` by the positions' x and y, up to what no intensity shows."""

    def waves(self) -> Tensor:
        """Return the exit waves ``(B, P, N, N)``, signed."""
        return self.patches * self.probes

    def light(self) -> Tensor:
        """Return ``(H, W)``: how much light each pixel gets in this batch."""
        return self._put(intensity(self.probes).expand(len(self.base), -1, -1))

    def density(self) -> Tensor:
        """Return ``(N, N)``: the summed intensity of the object that each pixel of the probe falls on."""
        return intensity(self.patches).sum(dim=0)

    def _cut(self, object_: Tensor) -> Tensor:
        return object_.reshape(-1).index_select(0, self._pixels).view(-1, 1, self.size_px, self.size_px)

    def _put(self, values: Tensor) -> Tensor:
        total = torch.zeros(self.shape[0] * self.shape[1], dtype=values.dtype, device=values.device)
        return total.index_add_(0, self._pixels, values.reshape(-1)).view(self.shape)


class FourierCrop(Crop):
    """The object at whole pixels, the probe shifted by the fraction in Fourier space: the same patterns, exact for a band-limited probe."""

    def __init__(self, object_: Tensor, probe: Tensor, positions: Tensor) -> None:
        size_px = probe.shape[-1]
        super().__init__(object_, positions, size_px)
        # The signs have moved the spectrum by N/2, so frequencies run from -1/2.
        self._frequencies = (torch.arange(size_px, device=probe.device, dtype=probe.real.dtype) - size_px // 2) / size_px
        angles = (positions - positions.round()).to(probe.real.dtype)[:, :, None] * (-2 * math.pi * self._frequencies)
        along_x, along_y = torch.complex(angles.cos(), angles.sin()).unbind(dim=1)
        self._phases = (along_y[:, :, None] * along_x[:, None, :])[:, None]
        self._spectra = torch.fft.fft2(probe) * self._phases
        self.probes = torch.fft.ifft2(self._spectra)
        self.patches = self._cut(object_)

    def object_gradient(self, waves: Tensor) -> Tensor:
        """See :class:`Crop`."""
        return self._put((waves * self.probes.conj()).sum(dim=1))

    def probe_gradient(self, waves: Tensor) -> Tensor:
        """See :class:`Crop`."""
        spectrum = (torch.fft.fft2(waves * self.patches.conj()) * self._phases.conj()).sum(dim=0)
        gradient: Tensor = torch.fft.ifft2(spectrum)
        return gradient

    def derivatives(self) -> tuple[Tensor, Tensor]:
        """See :class:`Crop`."""
        slopes = torch.complex(torch.zeros_like(self._frequencies), -2 * math.pi * self._frequencies)
        return (
            self.patches * torch.fft.ifft2(self._spectra * slopes),
            self.patches * torch.fft.ifft2(self._spectra * slopes[:, None]),
        )


class BilinearCrop(Crop):
    """The object interpolated bilinearly between pixels, as :func:`photic.functional.patches.extract_patches` does it."""

    def __init__(self, object_: Tensor, probe: Tensor, positions: Tensor) -> None:
        super().__init__(object_, positions, probe.shape[-1])
        self._positions = positions
        self.probes = probe[None]
        self.patches = extract_patches(object_, positions, self.size_px)[:, None]

    def object_gradient(self, waves: Tensor) -> Tensor:
        """See :class:`Crop`."""
        return place_patches((waves * self.probes.conj()).sum(dim=1), self._positions, self.shape)

    def probe_gradient(self, waves: Tensor) -> Tensor:
        """See :class:`Crop`."""
        return (waves * self.patches.conj()).sum(dim=0)

    def derivatives(self) -> tuple[Tensor, Tensor]:
        """See :class:`Crop`; differences over two pixels, zero at the patch's edge, where there is no light."""
        along_x, along_y = torch.zeros_like(self.patches), torch.zeros_like(self.patches)
        along_x[..., 1:-1] = (self.patches[..., 2:] - self.patches[..., :-2]) / 2
        along_y[..., 1:-1, :] = (self.patches[..., 2:, :] - self.patches[..., :-2, :]) / 2
        return along_x * self.probes, along_y * self.probes


CROPS: dict[str, type[FourierCrop | BilinearCrop]] = {"fourier": FourierCrop, "bilinear": BilinearCrop}

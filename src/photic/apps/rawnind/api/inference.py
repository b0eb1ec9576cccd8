"""Denoisers from Python: made by name, loaded from a file, given arrays or files."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from photic.apps.rawnind.api.architectures import FILTER_UNITS
from photic.apps.rawnind.api.arrays import UNKNOWN_ISO, Noise, factors_of, float_array, noise_of, numbers, picture_planes, raw_picture, two
from photic.apps.rawnind.api.inference_config import InferenceConfig, created_config
from photic.apps.rawnind.denoising import balance_for, denoise, heeds_noise, layout_of
from photic.apps.rawnind.files.bands import bands_of
from photic.apps.rawnind.files.developing import Developer, Development
from photic.apps.rawnind.files.reading import RAW_SUFFIXES, read_raw
from photic.apps.rawnind.files.writing import write_developed
from photic.apps.rawnind.noise_choice import ChosenNoise
from photic.apps.rawnind.picture import RawPicture
from photic.core.errors import ConfigError, DataError
from photic.data.photo.depth import from_float, to_tensor
from photic.data.photo.files import read_photo, turned, write_photo
from photic.functional.cfa import RGGB, cfa_planes, unpack
from photic.functional.colour import linear_to_srgb, srgb_to_linear
from photic.functional.demosaic import malvar
from photic.functional.raw_colour import XYZ_TO_SRGB, camera_to_rec2020, daylight_balance
from photic.inference.devices import usable_device
from photic.models.raw_denoising import Measurement, RawDenoiser


class CleanDenoiser:
    """Makes clean pictures of noisy linear RGB ones.

    Args:
        config: which network, and how it is applied; the usual one if None.
        network: takes the place of the one that ``config`` names.

    Raises:
        ConfigError: no such network, or it takes another kind of picture.
    """

    measurement: Measurement = "rgb"
    channels = 3

    def __init__(self, config: InferenceConfig | None = None, network: RawDenoiser | None = None) -> None:
        self.config = config or InferenceConfig()
        self.model = self.config.network(self.measurement) if network is None else network.eval()
        if self.model.measurement != self.measurement:
            raise ConfigError(f"{type(self).__name__}: needs a network that takes {self.measurement}, this takes {self.model.measurement}")
        self.noise_used: ChosenNoise | None = None
        """What the network was told about the last picture's noise, and who said so; None where it does not heed noise."""
        self._heeds_noise = heeds_noise(self.model)

    @classmethod
    def _created(cls, architecture: str | InferenceConfig, fields: dict[str, Any], options: dict[str, Any]) -> Self:
        return cls(created_config(architecture, fields, options))

    @property
    def architecture(self) -> str:
        """Name of the network."""
        return self.config.architecture

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        parameter = next(self.model.parameters(), None)
        return usable_device(self.config.device) if parameter is None else parameter.device

    def denoise(self, image: Any, *, noise: Noise | None = None, balance: Any = None, strength: float = 1.0) -> Any:
        """Return a clean picture.

        Args:
            image: ``(3, H, W)`` linear RGB, black 0 and white 1, not white-balanced; a tensor or an array. A Bayer denoiser takes packed
                planes ``(4, H, W)``: red, both greens, blue.
            noise: a and b of the noise's variance a x + b at the clean value x; None estimates it from the picture, where the network heeds
                it (an uncertain estimate is used as it is; for a picture too small for one, a camera at ISO 1600 is supposed).
            balance: factors ``(3,)`` of red, green and blue that make grey about grey; None: ones.
            strength: 0 leaves the noise, 1 is the network's picture; up to 2 smooths more, where the network heeds the noise.

        Returns:
            ``(3, H, W)`` in the colours of the input, of a Bayer denoiser ``(3, 2H, 2W)``; float32, not clamped; a tensor (on the
            input's device) of a tensor, an array of an array.

        Raises:
            DataError: another shape, or values that are not finite.
            ConfigError: noise, balance or strength are not possible.
        """
        array = picture_planes(image, self.channels, type(self).__name__, "; denoise_batch takes several")
        planes = np.ascontiguousarray(self._denoised(self._picture(array), noise, factors_of(balance), strength).transpose(2, 0, 1))
        return torch.from_numpy(planes).to(image.device) if isinstance(image, Tensor) else planes

    def denoise_batch(
        self, images: Any, *, noise: Noise | Sequence[Noise] | None = None, balance: Any = None, strength: float = 1.0
    ) -> Any:
        """Return clean pictures; each is made alone, so the result does not depend on the others.

        Args:
            images: ``(B, C, H, W)``, or several pictures ``(C, H, W)`` whose sizes may differ.
            noise: as for :meth:`denoise`; one for all, or one for each.
            balance: as for :meth:`denoise`, for all.
            strength: as for :meth:`denoise`.

        Returns:
            ``(B, 3, H, W)``, or a list of pictures where a list was given.

        Raises:
            DataError: as :meth:`denoise`, or there are no pictures.
        """
        count = len(images)
        if not count:
            raise DataError(f"{type(self).__name__}: expected pictures (B, {self.channels}, H, W), got none")
        each: list[Any] = [noise] * count if noise is None or np.ndim(noise) == 1 else list(noise)
        if len(each) != count:
            raise ConfigError(f"noise: expected one (a, b) for all of {count} pictures or one for each, got {len(each)}")
        made = [self.denoise(image, noise=own, balance=balance, strength=strength) for image, own in zip(images, each, strict=True)]
        if isinstance(images, Tensor):
            return torch.stack(made)
        return np.stack(made) if isinstance(images, np.ndarray) else made

    def denoise_from_file(
        self,
        path: Path | str,
        output_path: Path | str | None = None,
        *,
        noise: Noise | None = None,
        strength: float = 1.0,
        force: bool = False,
    ) -> Tensor:
        """Return the clean picture of a file, and write it.

        Of a raw file it is developed: white-balanced as the camera chose, linear Rec.2020, upright. Other pictures are taken for sRGB, made
        linear, denoised, and encoded again; those a Bayer denoiser refuses.

        Args:
            path: a raw file, or PNG, JPEG, TIFF, WebP, BMP.
            output_path: where to; of a raw file .dng, .exr, .tif, .png or .jpg, of others .png, .tif, .jpg, .webp or .bmp. None does not
                write. EXIF is kept.
            noise: as for :meth:`denoise`; None takes what the raw file says about itself, else estimates it.
            strength: as for :meth:`denoise`.
            force: replace what is at ``output_path``.

        Returns:
            ``(3, H, W)`` float32 on the CPU.

        Raises:
            DataError: the file cannot be read, or is none for this network.
            ConfigError: the output is there already, or of another kind.
            StorageError: the output cannot be written.
        """
        path = Path(path)
        if path.suffix.lower() in RAW_SUFFIXES:
            return self._from_raw(read_raw(path), output_path, noise, strength, force=force)
        return self._from_photo(path, output_path, noise, strength, force=force)

    def _from_raw(self, picture: RawPicture, output: Path | str | None, noise: Noise | None, strength: float, *, force: bool) -> Tensor:
        developer = Developer(picture, Development())
        made = self._denoised(picture, noise, balance_for(picture), strength)
        if output is not None:
            write_developed(output, picture.size, bands_of(made), picture, force=force)
        upright = turned(developer.rows(made), picture.orientation)
        return torch.from_numpy(np.ascontiguousarray(upright.transpose(2, 0, 1)))

    def _from_photo(self, path: Path, output: Path | str | None, noise: Noise | None, strength: float, *, force: bool) -> Tensor:
        photo = read_photo(path)
        linear = srgb_to_linear(to_tensor(photo.pixels)).permute(1, 2, 0).contiguous().numpy()
        picture = RawPicture(linear, None, xyz_to_camera=XYZ_TO_SRGB, iso=UNKNOWN_ISO, source=path)
        made = torch.from_numpy(self._denoised(picture, noise, np.ones(3), strength).transpose(2, 0, 1))
        encoded = linear_to_srgb(made.clamp(0, 1)).contiguous()
        if output is not None:
            write_photo(output, dataclasses.replace(photo, pixels=from_float(encoded, photo.pixels.dtype)), force=force)
        return encoded

    def _denoised(self, picture: RawPicture, noise: Noise | None, balance: NDArray[np.float64], strength: float) -> NDArray[np.float32]:
        return denoise(
            self.model,
            picture,
            self._noise_of(picture, None if noise is None else two(noise)),
            balance=balance,
            strength=strength,
            tile_px=self._tile_px(picture),
            overlap_px=self.config.tile_overlap,
            precision=self.config.precision,
        )

    def _tile_px(self, picture: RawPicture) -> int | None:
        size, overlap = self.config.tile_size, self.config.tile_overlap
        return None if size is None else max(size, 2 * layout_of(self.model, picture.pattern, None, overlap).overlap)

    def _noise_of(self, picture: RawPicture, given: Noise | None) -> Noise:
        self.noise_used = None
        if given is None and not self._heeds_noise:
            return 0.0, 0.0
        self.noise_used = noise_of(picture, given)
        return self.noise_used.values

    def _picture(self, array: NDArray[np.float32]) -> RawPicture:
        return raw_picture(array)


class CleanBayerDenoiser(CleanDenoiser):
    """Makes clean pictures, with three colours at each pixel, of noisy Bayer mosaics.

    See :class:`CleanDenoiser`; pictures are packed planes ``(4, H, W)`` (red, both greens, blue), results ``(3, 2H, 2W)``.
    """

    measurement: Measurement = "mosaic"
    channels = 4

    def denoise_bayer(self, bayer: Any, rgb_xyz_matrix: Any, *, noise: Noise | None = None, strength: float = 1.0) -> Any:
        """Return a clean picture in linear Rec.2020.

        The matrix is inverted as it is, so what is grey under daylight (D65) comes out grey: no other white balance is applied.

        Args:
            bayer: packed planes ``(4, H, W)``.
            rgb_xyz_matrix: ``(3, 3)`` or ``(4, 3)``, XYZ (D65) to camera, as LibRaw's ``rgb_xyz_matrix`` has it.
            noise: as for :meth:`denoise`.
            strength: as for :meth:`denoise`.

        Raises:
            DataError: another shape, or a matrix that cannot be inverted.
        """
        matrix = numbers(rgb_xyz_matrix)
        matrix = matrix[:3] if matrix.shape == (4, 3) else matrix
        to_rec2020 = camera_to_rec2020(matrix)
        made = self.denoise(bayer, noise=noise, balance=daylight_balance(matrix), strength=strength)
        if isinstance(made, Tensor):
            return torch.einsum("ij,jhw->ihw", torch.as_tensor(to_rec2020, dtype=made.dtype, device=made.device), made)
        return np.einsum("ij,jhw->ihw", to_rec2020.astype(made.dtype), made)

    @staticmethod
    def demosaic_fn(bayer: Any) -> Any:
        """Return three colours ``(3, 2H, 2W)`` or ``(B, 3, 2H, 2W)`` of packed planes, by Malvar's method: what denoising starts from.

        Raises:
            DataError: another shape.
        """
        packed = bayer if isinstance(bayer, Tensor) else torch.from_numpy(float_array(bayer))
        batch = packed if packed.ndim == 4 else packed[None]
        mosaic = unpack(batch)
        made = malvar(mosaic, cfa_planes(RGGB, *mosaic.shape[-2:], device=mosaic.device)[None])
        made = made if packed.ndim == 4 else made[0]
        return made if isinstance(bayer, Tensor) else made.numpy()

    def _picture(self, array: NDArray[np.float32]) -> RawPicture:
        return raw_picture(unpack(torch.from_numpy(array)).numpy())


def create_rgb_denoiser(
    architecture: str | InferenceConfig = "standard",
    checkpoint_path: Path | str | None = None,
    device: str | int | torch.device = "cpu",
    filter_units: int = FILTER_UNITS,
    **kw: Any,
) -> CleanDenoiser:
    """Return a denoiser of linear RGB pictures.

    Args:
        architecture: see :class:`InferenceConfig`; or such a config, and nothing else.
        checkpoint_path: trained weights; None leaves them as they are drawn.
        device: where to run.
        filter_units: channels at the network's first level.
        **kw: ``tile_size``, ``tile_overlap``, ``precision``, and fields of the network's config.

    Raises:
        ConfigError: no such architecture, option or device.
        CheckpointError: the weights cannot be read or do not fit.

    >>> denoiser = create_rgb_denoiser("unet", filter_units=4)
    >>> denoiser.denoise(torch.rand(3, 40, 30)).shape
    torch.Size([3, 40, 30])
    """
    fields: dict[str, Any] = {"checkpoint_path": checkpoint_path, "device": device, "filter_units": filter_units}
    return CleanDenoiser._created(architecture, fields, kw)


def create_bayer_denoiser(
    architecture: str | InferenceConfig = "standard",
    checkpoint_path: Path | str | None = None,
    device: str | int | torch.device = "cpu",
    filter_units: int = FILTER_UNITS,
    enable_preupsampling: bool = False,
    **kw: Any,
) -> CleanBayerDenoiser:
    """Return a denoiser of Bayer mosaics; arguments as for :func:`create_rgb_denoiser`.

    Args:
        architecture: likewise.
        checkpoint_path: likewise.
        device: likewise.
        filter_units: likewise.
        enable_preupsampling: the packed planes are enlarged before the network.
        **kw: likewise.

    >>> denoiser = create_bayer_denoiser("unet", filter_units=4)
    >>> denoiser.denoise(torch.rand(4, 20, 30)).shape
    torch.Size([3, 40, 60])
    """
    fields: dict[str, Any] = {"checkpoint_path": checkpoint_path, "device": device, "filter_units": filter_units}
    return CleanBayerDenoiser._created(architecture, fields | {"enable_preupsampling": enable_preupsampling}, kw)

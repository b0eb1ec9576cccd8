"""Networks that compress, from Python: made by name, loaded from a file, given arrays or files."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from photic.apps.rawnind.api.architectures import FILTER_UNITS
from photic.apps.rawnind.api.arrays import Noise, factors_of, noise_of, picture_planes, raw_picture, two
from photic.apps.rawnind.api.bitstream import Bitstream
from photic.apps.rawnind.api.inference_config import InferenceConfig, created_config
from photic.apps.rawnind.compressing.container import MAX_TILE
from photic.apps.rawnind.compressing.decoding import decompress_picture
from photic.apps.rawnind.compressing.encoding import TILE, compress_picture
from photic.apps.rawnind.compressing.sources import read_source
from photic.apps.rawnind.files.bands import bands_of
from photic.apps.rawnind.files.writing import write_developed
from photic.apps.rawnind.noise_choice import ChosenNoise
from photic.apps.rawnind.picture import RawPicture
from photic.core.errors import ConfigError
from photic.data.photo.files import MAX_PIXELS
from photic.functional.cfa import unpack
from photic.inference.predictor import LoadedModel
from photic.models.codec.entropy import EntropyModel
from photic.models.compression import Compressor
from photic.models.raw_denoising import Measurement
from photic.tasks.compression import CompressionTask


class CleanCompressor:
    """Compresses pictures into real bitstreams, and makes pictures of these again; noise is left out on the way.

    Args:
        config: which network, and how it is applied; the usual one if None.
        loaded: takes the place of the network that ``config`` names.

    Raises:
        ConfigError: no such network, or settings that are for denoisers.
    """

    def __init__(self, config: InferenceConfig | None = None, loaded: LoadedModel | None = None) -> None:
        self.config = config or InferenceConfig()
        self.config.check_compressing()
        self._loaded = self.config.compressor() if loaded is None else loaded
        task = self._loaded.task
        assert isinstance(task, CompressionTask)
        self.model: Compressor = task.network
        self.noise_used: ChosenNoise | None = None
        """What the network was told about the last picture's noise, and who said so; None where it does not heed noise."""

    @property
    def architecture(self) -> str:
        """Name of the network."""
        return self.config.architecture

    @property
    def measurement(self) -> Measurement:
        """What it takes: ``rgb``, or ``mosaic`` for packed Bayer planes."""
        return self.model.measurement

    @property
    def channels(self) -> int:
        """Channels of the pictures that it takes."""
        return 3 if self.measurement == "rgb" else 4

    @property
    def num_qualities(self) -> int:
        """Quality levels that it has."""
        return self.model.num_qualities

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self._loaded.device

    @property
    def encoder(self) -> nn.Module:
        """The part that makes latents of pictures."""
        return self.model.encoder

    @property
    def decoder(self) -> nn.Module:
        """The part that makes pictures of latents."""
        return self.model.decoder

    @property
    def bit_estimator(self) -> EntropyModel:
        """The part that says how many bits latents take, and codes them."""
        return self.model.bit_estimator

    def compress(self, image: Any, *, quality: float | None = None, noise: Noise | None = None, balance: Any = None) -> Bitstream:
        """Return a picture compressed.

        Args:
            image: ``(3, H, W)`` linear RGB, black 0 and white 1, not white-balanced; a tensor or an array. A network for mosaics takes
                packed planes ``(4, H, W)``: red, both greens, blue.
            quality: level from 1 to ``num_qualities``, in thousandths; None is the highest.
            noise: a and b of the noise's variance a x + b at the clean value x; None estimates it from the picture, where the network heeds
                it (an uncertain estimate is used as it is; for a picture too small for one, a camera at ISO 1600 is supposed).
            balance: factors ``(3,)`` of red, green and blue that make grey about grey, green's counts as 1; None: ones. The result is
                without them again.

        Raises:
            DataError: another shape, or values that are not finite.
            ConfigError: quality, noise or balance are not possible.
        """
        array = picture_planes(image, self.channels, type(self).__name__)
        picture = raw_picture(array if self.channels == 3 else unpack(torch.from_numpy(array)).numpy())
        told = self._noise_of(picture, noise)
        if balance is not None:
            picture = dataclasses.replace(picture, white_balance=factors_of(balance))
        return self._compressed(dataclasses.replace(picture, iso=None), quality, told)

    def decompress(self, bitstream: Bitstream | bytes) -> Tensor:
        """Return the picture of a bitstream.

        Args:
            bitstream: what :meth:`compress` returned, of this very model; or its bytes.

        Returns:
            ``(3, H, W)`` in the colours of what was compressed, of packed planes ``(3, 2H, 2W)``; float32 on the CPU, not clamped.

        Raises:
            BitstreamError: it is truncated, damaged, foreign, of a newer format, or another model's.
        """
        return _planes(self._decompressed(bitstream))

    def compress_to_file(
        self,
        image: Any,
        path: Path | str,
        *,
        quality: float | None = None,
        noise: Noise | None = None,
        balance: Any = None,
        force: bool = False,
    ) -> Bitstream:
        """Compress a picture, and write it to a ``.phc`` file.

        Args:
            image: as for :meth:`compress`; or the path of a raw file, or, for a network that takes RGB, of a developed picture (PNG, JPEG,
                TIFF, WebP, BMP, OpenEXR), whose colours, white balance and EXIF are kept.
            path: the file to write.
            quality: as for :meth:`compress`.
            noise: likewise; None takes what a raw file says about itself, else estimates it.
            balance: likewise; files have their own.
            force: replace what is at ``path``.

        Raises:
            DataError: as :meth:`compress`, or the file cannot be read, or is none for this network.
            ConfigError: as :meth:`compress`, or ``path`` is there already.
            StorageError: the file cannot be written.
        """
        path = Path(path)
        if path.exists() and not force:  # said before anything is compressed
            raise ConfigError(f"{path}: is there already; give another name, or force=True to replace it")
        if isinstance(image, str | Path):
            if balance is not None:
                raise ConfigError("balance: a file has its own; leave it out")
            picture = read_source(Path(image), self.measurement, max_pixels=MAX_PIXELS)
            made = self._compressed(picture, quality, self._noise_of(picture, noise))
        else:
            made = self.compress(image, quality=quality, noise=noise, balance=balance)
        made.save(path, force=force)
        return made

    def decompress_from_file(self, path: Path | str, output_path: Path | str | None = None, *, force: bool = False) -> Tensor:
        """Return the picture of a ``.phc`` file, and write it developed.

        Args:
            path: the file.
            output_path: where to: .dng, .exr, .tif, .png or .jpg, white-balanced, upright, with EXIF kept; only for pictures that came from
                files, since arrays say nothing about their colours. None does not write.
            force: replace what is at ``output_path``.

        Returns:
            As :meth:`decompress`: as the sensor saw it, not developed.

        Raises:
            BitstreamError: the file is truncated, damaged, foreign, of a newer format, or another model's.
            DataError: there is no such file, or nothing is known about its colours.
            ConfigError: the output is there already, or of another kind.
            StorageError: the output cannot be written.
        """
        picture = self._decompressed(Bitstream.load(path), str(path))
        if output_path is not None:
            write_developed(output_path, picture.size, bands_of(picture.values), picture, force=force)
        return _planes(picture)

    def _compressed(self, picture: RawPicture, quality: float | None, noise: Noise) -> Bitstream:
        size = self.config.tile_size
        tile = TILE if size is None else min(max(1, size // self.model.stride), MAX_TILE)
        return Bitstream(compress_picture(self._loaded, picture, quality=quality, noise=noise, tile=tile))

    def _decompressed(self, bitstream: Bitstream | bytes, where: str | None = None) -> RawPicture:
        return decompress_picture(self._loaded, bytes(bitstream), where=where)

    def _noise_of(self, picture: RawPicture, given: Noise | None) -> Noise:
        self.noise_used = None
        if given is None and not getattr(self.model, "noise_map", True):
            return 0.0, 0.0
        self.noise_used = noise_of(picture, None if given is None else two(given))
        return self.noise_used.values


def create_compressor(
    architecture: str | InferenceConfig = "standard",
    encoder_arch: str | None = None,
    decoder_arch: str | None = None,
    checkpoint_path: Path | str | None = None,
    device: str | int | torch.device = "cpu",
    *,
    filter_units: int = FILTER_UNITS,
    **kw: Any,
) -> CleanCompressor:
    """Return a network that compresses, with a real bitstream.

    Args:
        architecture: ``ManyPriors``, ``Hyperprior``, ``Factorized`` or ``denoise_then_compress``, in any spelling, see
            :class:`InferenceConfig`; or such a config, and nothing else.
        encoder_arch: ``Balle``.
        decoder_arch: ``Balle`` for linear RGB pictures; ``BayerPS`` or ``BayerTC`` for packed Bayer planes; None is ``Balle``.
        checkpoint_path: trained weights; None leaves them as they are drawn, so pictures mean nothing, but sizes are true.
        device: where to run.
        filter_units: 32 is the published width.
        **kw: ``tile_size``, and fields of the network's config, such as ``num_qualities``.

    Raises:
        ConfigError: no such architecture, option or device.
        CheckpointError: the weights cannot be read or do not fit.

    >>> compressor = create_compressor("ManyPriors", "Balle", "BayerPS", filter_units=1, num_latents=8, num_priors=4)
    >>> stream = compressor.compress(torch.rand(4, 20, 30))
    >>> stream.bpp == 8 * len(stream.data) / (40 * 60), compressor.decompress(stream).shape
    (True, torch.Size([3, 40, 60]))
    """
    fields: dict[str, Any] = {
        "encoder_arch": encoder_arch,
        "decoder_arch": decoder_arch,
        "checkpoint_path": checkpoint_path,
        "device": device,
        "filter_units": filter_units,
    }
    return CleanCompressor(created_config(architecture, fields, kw))


def _planes(picture: RawPicture) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture.values.transpose(2, 0, 1)))

"""Networks that compress, from Python: real bitstreams, their true size, files, and what is refused."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from photic.apps.rawnind import Bitstream, CleanCompressor, InferenceConfig, create_bayer_denoiser, create_compressor
from photic.apps.rawnind.files.reading import read_raw
from photic.core.errors import BitstreamError, CheckpointError, ConfigError, DataError, StorageError
from photic.data.photo.files import Photo, read_photo, write_photo
from photic.functional.cfa import RGGB, cfa_planes

from .raws_on_disk import drawn_light, mosaic_of, with_noise, write_dng

NOISE = (1e-3, 1e-5)
TINY: dict[str, dict[str, Any]] = {
    "many_priors": {"filter_units": 1, "num_latents": 8, "num_priors": 4},
    "hyperprior": {"filter_units": 2, "num_latents": 8},
    "factorized": {"filter_units": 2, "num_latents": 8},
}
SMALLEST_HYPERPRIOR = {"name": "hyperprior", "measurement": "rgb", "width": 8, "num_latents": 6, "hyper_widths": [6, 6]}


def picture(channels: int, height: int = 30, width: int = 44, seed: int = 0) -> torch.Tensor:
    return torch.rand(channels, height, width, generator=torch.Generator().manual_seed(seed))


def lively(compressor: CleanCompressor) -> CleanCompressor:
    """Enlarge the latents of drawn weights, so that there is something to code."""
    with torch.no_grad():
        for parameter in compressor.encoder.parameters():
            if parameter.ndim == 4:
                parameter.mul_(2.0)
    return compressor


def small(**options: Any) -> CleanCompressor:
    torch.manual_seed(0)
    return lively(create_compressor("hyperprior", "Balle", "Balle", **TINY["hyperprior"], **options))


@pytest.mark.parametrize("architecture", list(TINY))
@pytest.mark.parametrize("decoder", ["Balle", "BayerPS", "BayerTC"])
def test_what_is_decompressed_is_the_networks_own_picture_and_bits_are_those_of_the_bytes(architecture, decoder):
    torch.manual_seed(0)
    compressor = lively(create_compressor(architecture, "Balle", decoder, **TINY[architecture]))
    rgb = decoder == "Balle"
    assert (compressor.measurement, compressor.channels) == (("rgb", 3) if rgb else ("mosaic", 4))
    image = picture(compressor.channels, 37, 21)
    stream = compressor.compress(image)
    made = compressor.decompress(stream)
    sides = (37, 21) if rgb else (74, 42)
    assert (made.shape, made.dtype, stream.size) == ((3, *sides), torch.float32, sides)
    assert stream.num_bits == 8 * len(bytes(stream)) == sum(stream.parts.values())
    assert stream.bpp == stream.num_bits / (sides[0] * sides[1])  # per sensor pixel
    mosaic = image[None] if rgb else torch.nn.functional.pixel_shuffle(image, 2)[None]
    planes = torch.ones(1, 3, *sides) if rgb else cfa_planes(RGGB, *sides)[None]
    with torch.inference_mode():
        coded = compressor.model(mosaic, planes, torch.zeros(1, 2), torch.ones(1, 3))
    torch.testing.assert_close(made, coded.picture[0], atol=1e-6, rtol=1e-6)
    estimate = float(torch.stack(list(coded.bits.values())).sum())
    streams = sum(bits for part, bits in stream.parts.items() if part in ("side", "tiles"))
    assert float(coded.latents.abs().max()) > 1  # there is something to code
    assert abs(streams - estimate) < 0.01 * estimate + 8 * 64
    assert compressor.encoder is compressor.model.encoder
    assert compressor.decoder is compressor.model.decoder
    assert compressor.bit_estimator is compressor.model.bit_estimator


@pytest.mark.parametrize(
    ("spelt", "network"),
    [
        ("ManyPriors", "ManyPriors"),
        ("manypriors", "ManyPriors"),
        ("autoencoder", "ManyPriors"),  # the same transforms
        ("Hyperprior", "Hyperprior"),
        ("standard", "Hyperprior"),
        ("FACTORIZED", "Factorized"),
    ],
)
def test_architectures_and_parts_have_several_spellings(spelt, network):
    for decoder in ("BayerTC", "bayer_tc", "bayertc"):
        made = create_compressor(spelt, "balle", decoder, filter_units=1, num_latents=4)
        assert type(made.model).__name__ == network
        assert made.decoder.decoder == "bayer_tc"
    assert create_compressor(spelt, filter_units=1, num_latents=4).decoder.decoder == "balle"


def test_32_filter_units_are_the_published_width():
    widths = {name: InferenceConfig(architecture=name).compressor().config["model"]["width"] for name in ("hyperprior", "factorized")}
    assert widths == {"hyperprior": 128, "factorized": 128}


def test_denoising_first_takes_mosaics_and_compresses_rgb():
    compressor = create_compressor(
        "denoise_then_compress",
        denoiser={"name": "standard", "size": "tiny"},
        compressor=SMALLEST_HYPERPRIOR,
    )
    assert compressor.measurement == "mosaic"
    image = picture(4, 16, 20)
    stream = compressor.compress(image, noise=NOISE)
    assert compressor.decompress(stream).shape == (3, 32, 40)
    assert compressor.noise_used is not None  # its denoiser is told
    assert set(dict(compressor.encoder.named_parameters())) == set(dict(compressor.model.compressor.encoder.named_parameters()))
    with pytest.raises(ConfigError, match="decoder_arch: 'denoise_then_compress' compresses RGB pictures, so its decoder is Balle"):
        create_compressor("denoise_then_compress", "Balle", "BayerPS")


def test_a_config_object_makes_the_same_as_arguments():
    config = InferenceConfig(
        architecture="ManyPriors", encoder_arch="Balle", decoder_arch="BayerPS", filter_units=1, options={"num_latents": 4}
    )
    made, same = create_compressor(config), create_compressor("ManyPriors", "Balle", "BayerPS", None, "cpu", filter_units=1, num_latents=4)
    assert made.config == same.config == config
    assert {n: p.shape for n, p in made.model.state_dict().items()} == {n: p.shape for n, p in same.model.state_dict().items()}
    with pytest.raises(ConfigError, match="decoder_arch: give it in the InferenceConfig"):
        create_compressor(config, decoder_arch="Balle")
    with pytest.raises(ConfigError, match="decoder_arch: is for networks that compress"):
        create_bayer_denoiser(InferenceConfig(architecture="identity", decoder_arch="BayerPS"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"architecture": "manyprior"}, r"architecture: unknown architecture 'manyprior'; did you mean 'many_priors'"),
        ({"architecture": "unet"}, r"architecture: 'unet' does not compress raw pictures; use one of .*hyperprior"),
        ({"encoder_arch": "Minnen"}, r"encoder_arch: expected one of Balle, got 'Minnen'"),
        ({"decoder_arch": "BayerPT"}, r"decoder_arch: expected one of Balle, BayerPS, BayerTC, got 'BayerPT'; did you mean .*'BayerPS'"),
        ({"num_latens": 4}, r"hyperprior: unknown option 'num_latens'; did you mean 'num_latents'"),
        ({"tile_overlap": 32}, r"tile_overlap: is for denoisers"),
        ({"precision": "bf16"}, r"precision: is for denoisers"),
        ({"device": "cuda:99"}, r"device 'cuda:99' is not available here"),
        ({"device": 99}, r"device 'cuda:99' is not available here"),
        ({"device": "gpu"}, r"device: 'gpu' is none"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_what_cannot_be_had_is_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        create_compressor(**{"architecture": "hyperprior", **fields})


@pytest.mark.parametrize("device", ["cpu", -1, torch.device("cpu")], ids=str)
def test_devices_that_are_there(device):
    assert create_compressor("factorized", device=device, **TINY["factorized"]).device == torch.device("cpu")


def test_pictures_that_are_none_are_refused():
    compressor = small()
    with pytest.raises(DataError, match=r"CleanCompressor: expected a picture \(3, H, W\), got \(4, 30, 44\)"):
        compressor.compress(picture(4))
    with pytest.raises(DataError, match="expected finite values"):
        compressor.compress(torch.full((3, 8, 8), math.nan))
    with pytest.raises(DataError, match="expected floats, black at 0 and white at 1, got uint16"):
        compressor.compress(np.zeros((3, 8, 8), np.uint16))
    with pytest.raises(ConfigError, match="quality: this model has one quality, 1; got 2"):
        compressor.compress(picture(3), quality=2)
    with pytest.raises(ConfigError, match="balance: expected three finite factors above 0"):
        compressor.compress(picture(3), balance=(1, 0, 1))
    with pytest.raises(ConfigError, match="noise"):
        compressor.compress(picture(3), noise=(-1.0, 0.0))


def test_arrays_and_tensors_of_any_float_type_are_taken():
    compressor = small()
    image = picture(3).half().float()
    streams = [
        compressor.compress(given).data for given in (image, image.numpy(), image.double(), image.half(), image.numpy().copy(order="F"))
    ]
    assert len(set(streams)) == 1


def test_higher_quality_takes_more_bits_and_fractions_lie_between():
    compressor = small(num_qualities=4)
    sizes = [compressor.compress(picture(3, 64, 64), quality=quality).num_bits for quality in (1, 2.5, 4)]
    assert sizes == sorted(set(sizes))
    assert compressor.num_qualities == 4
    best = compressor.compress(picture(3, 64, 64))
    assert (best.quality, best.num_bits) == (4.0, sizes[-1])
    assert compressor.compress(picture(3, 64, 64), quality=2.5).quality == 2.5


def test_balance_is_only_for_coding():
    torch.manual_seed(0)
    compressor = lively(create_compressor("factorized", companding="root", **TINY["factorized"]))
    image = picture(3)
    factors = torch.tensor([2.0, 1.0, 1.5])
    told = compressor.compress(image, balance=factors)
    plain = compressor.compress(image * factors[:, None, None])
    assert told.parts["tiles"] == plain.parts["tiles"]
    torch.testing.assert_close(compressor.decompress(told) * factors[:, None, None], compressor.decompress(plain), atol=1e-5, rtol=1e-5)


def test_noise_is_told_estimated_or_not_heeded():
    clean = torch.linspace(0.1, 0.8, 256).view(1, 1, 256).expand(3, 256, 256)
    noisy = clean + torch.sqrt(1e-3 * clean + 1e-5) * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    compressor = small(noise_map=True)
    stream = compressor.compress(noisy)
    assert compressor.noise_used is not None
    assert compressor.noise_used.a == pytest.approx(1e-3, rel=0.3)
    assert stream.header.facts.noise == pytest.approx(compressor.noise_used.values)
    assert compressor.compress(noisy, noise=(0.5, 0.1)).data != stream.data
    compressor.compress(picture(3, 8, 8))
    assert "ISO 1600" in compressor.noise_used.origin  # too small to tell
    assert compressor.compress(picture(3, 8, 8)).header.facts.iso is None  # what is supposed is not told as a fact
    blind = small()
    blind.compress(noisy)
    assert blind.noise_used is None


def test_a_tile_size_makes_parts_that_are_decoded_alone_and_changes_no_picture():
    whole, tiled = small(), small(tile_size=64)
    image = picture(3, 100, 200)
    one, several = whole.compress(image), tiled.compress(image)
    assert (one.header.layout.num_tiles, several.header.layout.num_tiles) == (1, 8)
    assert torch.equal(whole.decompress(one), tiled.decompress(several))


def test_a_bitstream_is_saved_and_loaded_whole_or_not_at_all(tmp_path):
    compressor = small()
    stream = compressor.compress(picture(3))
    path = stream.save(tmp_path / "picture.phc")
    again = Bitstream.load(path)
    assert again == stream
    assert (again.bpp, again.size, len(again)) == (stream.bpp, (30, 44), path.stat().st_size)
    torch.testing.assert_close(compressor.decompress(again), compressor.decompress(stream.data), atol=0, rtol=0)
    with pytest.raises(ConfigError, match="is there already"):
        stream.save(path)
    stream.save(path, force=True)
    with pytest.raises(StorageError, match="cannot be written"):
        stream.save(path / "inside.phc")
    with pytest.raises(DataError, match="no such file|No such file|cannot be read"):
        Bitstream.load(tmp_path / "none.phc")


def test_damaged_foreign_and_other_models_streams_are_refused(tmp_path):
    compressor = small()
    stream = compressor.compress(picture(3))
    flipped = bytearray(stream.data)
    flipped[-3] ^= 4
    for data in (b"", stream.data[:-1], stream.data + b"x", b"\x89PNG" + stream.data, bytes(flipped)):
        with pytest.raises(BitstreamError):
            Bitstream(data)
        with pytest.raises(BitstreamError):
            compressor.decompress(data)
        (tmp_path / "bad.phc").write_bytes(data)
        with pytest.raises(BitstreamError, match=r"bad\.phc"):
            compressor.decompress_from_file(tmp_path / "bad.phc")
    torch.manual_seed(1)
    other = create_compressor("hyperprior", **TINY["hyperprior"])
    with pytest.raises(BitstreamError, match="was compressed with the model"):
        other.decompress(stream)
    with pytest.raises(DataError, match="expected the bytes of a compressed picture, got str"):
        Bitstream("picture.phc")  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def raw_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    mosaic = with_noise(mosaic_of(drawn_light(0, 96, 128), "GBRG"), 1, 1e-4, 1e-6)
    return write_dng(tmp_path_factory.mktemp("raw") / "photo.dng", mosaic, order="GBRG")


def test_a_raw_file_is_compressed_and_written_developed(raw_file, tmp_path):
    torch.manual_seed(0)
    compressor = lively(create_compressor("hyperprior", "Balle", "BayerPS", noise_map=True, **TINY["hyperprior"]))
    stream = compressor.compress_to_file(raw_file, tmp_path / "photo.phc")
    assert (tmp_path / "photo.phc").stat().st_size == len(stream)
    picture_of_file = read_raw(raw_file)
    assert stream.size == picture_of_file.size
    made = compressor.decompress_from_file(tmp_path / "photo.phc", tmp_path / "photo.dng")
    assert made.shape == (3, 96, 128)
    again = read_raw(tmp_path / "photo.dng")
    assert again.pattern is None
    np.testing.assert_allclose(again.xyz_to_camera, picture_of_file.xyz_to_camera, atol=1e-4)
    with pytest.raises(ConfigError, match=r"photo.phc: is there already"):
        compressor.compress_to_file(raw_file, tmp_path / "photo.phc")
    with pytest.raises(ConfigError, match="balance: a file has its own"):
        compressor.compress_to_file(raw_file, tmp_path / "other.phc", balance=(1, 1, 1))
    compressor.compress_to_file(raw_file, tmp_path / "photo.phc", noise=NOISE, force=True)
    assert compressor.noise_used is not None
    assert compressor.noise_used.values == NOISE


def test_photographs_are_for_networks_that_take_rgb(tmp_path):
    write_photo(tmp_path / "photo.png", Photo((255 * drawn_light(1, 40, 50)).astype(np.uint8)))
    compressor = small()
    stream = compressor.compress_to_file(tmp_path / "photo.png", tmp_path / "photo.phc")
    made = compressor.decompress_from_file(tmp_path / "photo.phc", tmp_path / "out.png")
    assert made.shape == (3, *stream.size) == (3, 40, 50)
    assert read_photo(tmp_path / "out.png").pixels.shape == (40, 50, 3)
    array = compressor.compress_to_file(picture(3), tmp_path / "array.phc")
    torch.testing.assert_close(compressor.decompress_from_file(tmp_path / "array.phc"), compressor.decompress(array), atol=0, rtol=0)
    bayer = create_compressor("hyperprior", "Balle", "BayerPS", **TINY["hyperprior"])
    with pytest.raises(DataError, match="three colours at each pixel"):
        bayer.compress_to_file(tmp_path / "photo.png", tmp_path / "bayer.phc")
    assert not (tmp_path / "bayer.phc").exists()


def test_weights_that_do_not_fit_are_refused(tmp_path):
    denoiser = create_bayer_denoiser("unet", filter_units=2)
    file = tmp_path / "weights.safetensors"
    from safetensors.torch import save_file

    save_file(denoiser.model.state_dict(), file)
    with pytest.raises(CheckpointError, match="the weights do not fit this network"):
        create_compressor("hyperprior", checkpoint_path=file, **TINY["hyperprior"])
    compressor = small()
    compressor.bit_estimator.ready()
    save_file({name: tensor.contiguous() for name, tensor in compressor.model.state_dict().items()}, file)
    again = create_compressor("hyperprior", "Balle", "Balle", file, **TINY["hyperprior"])
    stream = compressor.compress(picture(3))
    torch.testing.assert_close(again.decompress(stream), compressor.decompress(stream), atol=0, rtol=0)

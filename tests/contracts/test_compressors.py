"""What every registered network keeps to that compresses raw pictures: bits that can be learnt, and streams that decode to what it said."""

import copy
import re

import numpy as np
import pytest
import torch

from photic.core.errors import BitstreamError, DataError
from photic.core.registry import models
from photic.core.schema import field_types
from photic.engine.steps import build_optimizer, optimize
from photic.functional.cfa import RGGB, cfa_planes
from photic.losses.rate_distortion import RateDistortionConfig
from photic.losses.reconstruction import MSEConfig
from photic.models import get_registry
from photic.models.codec.entropy import EntropyModel, tile_boxes
from photic.models.compression import Compressor, CompressorConfig
from photic.models.hyperprior import HyperpriorConfig
from photic.models.standard import StandardConfig
from photic.optim.optimizers import AdamWConfig
from photic.optim.schedules import ConstantConfig
from photic.tasks.compression import CompressionConfig

NAMES = [name for name in get_registry().list_models() if issubclass(models.config_class(name), CompressorConfig)]
SMALL = {"width": 4, "num_latents": 6, "num_strides": 2, "num_priors": 5}
# Settings whose graph is another one; each is held to everything below.
VARIANTS = {
    "factorized": [{"decoder": "bayer_tc", "noise_map": True, "companding": "root", "num_qualities": 4}],
    "hyperprior": [
        {"noise_map": True, "companding": "root", "num_qualities": 3, "hyper_widths": (5, 3)},
        {"front": "demosaiced", "noise_map": True, "companding": "root", "num_qualities": 2, "start": "wavelet"},
    ],
}
CASES = [(name, {"measurement": kind}) for name in NAMES for kind in ("mosaic", "rgb")]
CASES += [(name, {"measurement": "mosaic"} | fields) for name, variants in VARIANTS.items() for fields in variants]


def label(case):
    name, fields = case
    return " ".join([name, *(str(value) for value in fields.values())])


def configured(name, fields):
    known = field_types(models.config_class(name))
    small = {key: value for key, value in SMALL.items() if key in known}
    if "compressor" in known:  # one that has others inside
        small["compressor"] = HyperpriorConfig(measurement="rgb", width=4, num_latents=6, num_strides=2, num_qualities=2)
        small["denoiser"] = StandardConfig(measurement=fields["measurement"], size="tiny")
    return models.configure(name, **small | fields)


def made_of(config):
    """Return the network with weights off their initial values, as if all of it had been trained, latents of some steps, and no tables."""
    torch.manual_seed(0)
    network = config.build().eval()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.add_((0.3 if "bit_estimator" in name else 0.01) * torch.randn(parameter.shape, generator=generator))
        latents = network.analysed(*inputs_for(network, network.multiple, network.multiple))
        last = list(network.encoder.parameters())[-2:]
        for parameter in last:
            parameter.mul_(4 / latents.std())
    network.load_state_dict(network.state_dict())
    return network


@pytest.fixture(scope="module", params=CASES, ids=label)
def config(request):
    return configured(*request.param)


@pytest.fixture(scope="module")
def original(config):
    network = made_of(config)
    network.bit_estimator.fix()
    return network


@pytest.fixture
def network(original):
    return copy.deepcopy(original)


@pytest.fixture(scope="module")
def coded(original):
    """Return what evaluation makes of a picture."""
    with torch.no_grad():
        return original(*inputs_for(original, original.multiple, 2 * original.multiple))


def inputs_for(network, height, width, *, batch=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mosaic = network.measurement == "mosaic"
    picture = torch.rand(batch, 1 if mosaic else 3, height, width, generator=generator)
    planes = cfa_planes(RGGB, height, width)[None] if mosaic else torch.ones(1, 3, height, width)
    return picture, planes, 0.01 * torch.rand(batch, 2, generator=generator), 1 + torch.rand(batch, 3, generator=generator)


def decoded(network, encoded, tile):
    """Return latents of all tiles, each decoded by itself, the last first."""
    size = tuple(encoded.latents.shape[1:])
    opened = network.bit_estimator.coder().open(encoded.side, size, tile)
    whole = torch.full_like(encoded.latents, float("nan"))
    boxes = list(tile_boxes(size, tile))
    for (row, column, top, bottom, left, right), data in reversed(list(zip(boxes, encoded.tiles, strict=True))):
        whole[:, top:bottom, left:right] = opened.tile(row, column, data)
    return whole


def num_bits(encoded):
    return 8 * (len(encoded.side) + sum(map(len, encoded.tiles)))


def test_it_is_a_compressor_and_says_how_it_is_cut(original, config):
    assert isinstance(original, Compressor)
    assert isinstance(original.bit_estimator, EntropyModel)
    assert original.measurement == config.measurement
    assert original.multiple % (original.stride * original.bit_estimator.side_stride) == 0
    assert original.tile_align % original.stride == 0
    assert original.num_qualities >= 1
    names = [name for name, _ in original.named_parameters()]
    assert len(names) == len(set(original.state_dict()) & set(names)), "no parameter stands in the state twice"


@pytest.mark.parametrize("size", [(1, 1), (2, 75), (67, 45)], ids=str)
def test_any_size_is_taken_and_comes_back_with_the_bits_of_each_part(network, size):
    rows, columns = (-(-side // network.multiple) * network.multiple // network.stride for side in size)
    for training in (False, True):
        with torch.no_grad():
            made = network.train(training)(*inputs_for(network, *size, batch=2))
        assert made.picture.shape == (2, 3, *size)
        assert made.latents.shape == made.analysed.shape == (2, network.bit_estimator.num_latents, rows, columns)
        assert "latents" in made.bits
        for bits in made.bits.values():
            assert bits.shape == (2,)
            assert (bits >= 0).all()
            assert torch.isfinite(bits).all()
        assert torch.isfinite(made.picture).all()


def test_the_picture_is_made_of_the_latents_that_are_coded(network):
    given = inputs_for(network, 2 * network.multiple, network.multiple)
    for training in (True, False):
        with torch.no_grad():
            made = network.train(training)(*given)
            assert torch.equal(made.picture, network.synthesised(made.latents, given[3]))
        assert (made.latents - made.analysed).abs().max() <= 0.5 + 1e-4
        assert (made.latents - made.latents.mean()).abs().max() > 1, "the latents say something"


def test_rate_and_distortion_reach_every_parameter(network):
    network.train()
    quality = torch.linspace(1, network.num_qualities, 4)
    made = network(*inputs_for(network, 2 * network.multiple, network.multiple, batch=4), quality)
    (torch.stack(list(made.bits.values())).sum() / 1e3 + made.picture.square().sum() + network.auxiliary_loss()).backward()
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name
            assert parameter.grad.abs().max() > 0, name


def test_bits_alone_reach_the_encoder_and_the_densities_but_not_the_decoder_and_the_quantiles(network):
    network.train()
    made = network(*inputs_for(network, network.multiple, network.multiple, batch=2), torch.ones(2))
    torch.stack(list(made.bits.values())).sum().backward()
    parts = network.parameter_parts()
    for name in ("encoder", "hyper", "entropy"):
        assert all(p.grad is not None for p in parts[name]), name
    assert all(p.grad is None for name in ("decoder", "auxiliary") for p in parts[name])


def test_the_auxiliary_loss_moves_quantiles_alone(network):
    network.train().auxiliary_loss().backward()
    parts = network.parameter_parts()
    assert parts["auxiliary"]
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in parts["auxiliary"])
    own = {id(parameter) for parameter in parts["auxiliary"]}
    assert all(p.grad is None for p in network.parameters() if id(p) not in own)


def test_parts_are_all_that_is_learnt_once(original):
    parts = original.parameter_parts()
    gains = {"gains"} if original.num_qualities > 1 else set()
    assert set(parts) == {"encoder", "decoder", "hyper", "entropy", "auxiliary"} | gains
    listed = [id(parameter) for part in parts.values() for parameter in part]
    assert sorted(listed) == sorted(id(parameter) for parameter in original.parameters() if parameter.requires_grad)


def test_every_group_of_the_optimizer_moves_in_one_step_and_nothing_frozen_does(config, network):
    task = CompressionConfig().build(config, RateDistortionConfig(distortion=MSEConfig()), {"measurement": config.measurement})
    task.network.load_state_dict(network.state_dict())
    optimizer = build_optimizer(task, AdamWConfig(lr=1e-3, weight_decay=0.0))
    picture, planes, noise, balance = inputs_for(network, 2 * network.multiple, network.multiple, batch=2)
    batch = {
        "measurement": picture,
        "planes": planes.expand(2, -1, -1, -1),
        "noise": noise,
        "balance": balance,
        "target": torch.rand(2, 3, *picture.shape[-2:], generator=torch.Generator().manual_seed(1)),
        "xyz_to_camera": torch.eye(3).expand(2, 3, 3),
        "quality": torch.tensor([1.0, float(network.num_qualities)]),
    }
    before = {name: parameter.detach().clone() for name, parameter in task.network.named_parameters()}
    optimize(task.train(), batch, optimizer, ConstantConfig().build(10, 10), step=0, clip_norm=1.0)
    names = {id(parameter): name for name, parameter in task.network.named_parameters()}
    assert {group["name"].removesuffix("_plain") for group in optimizer.param_groups} >= {"encoder", "decoder", "entropy", "auxiliary"}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            assert not torch.equal(parameter, before.pop(names[id(parameter)])), (group["name"], names[id(parameter)])
    for name, parameter in task.network.named_parameters():
        assert name not in before or torch.equal(parameter, before[name]), name


def test_higher_levels_take_more_bits_and_fractions_lie_between(original):
    given = inputs_for(original, 2 * original.multiple, 2 * original.multiple)
    levels = torch.linspace(1, original.num_qualities, 2 * original.num_qualities - 1)
    with torch.no_grad():
        bits = [torch.stack(list(original(*given, level[None]).bits.values())).sum().item() for level in levels]
    assert (np.diff(bits) > 0).all(), bits


@pytest.mark.parametrize("tile", [1, 7, 32])
def test_what_is_decoded_is_what_evaluation_said_to_the_bit(original, coded, tile):
    part = slice(None, 2 * original.bit_estimator.side_stride) if tile == 1 else slice(None)  # of many small ones fewer will do
    with torch.no_grad():
        made = original.bit_estimator(coded.analysed[..., part, part])
    encoded = original.bit_estimator.coder().encode(coded.analysed[0, :, part, part], tile)
    assert encoded.latents.dtype == torch.float32
    assert torch.equal(encoded.latents, made.latents[0])
    assert torch.equal(decoded(original, encoded, tile), encoded.latents)


def test_files_are_as_large_as_evaluation_said(original, coded):
    encoded = original.bit_estimator.coder().encode(coded.analysed[0], 1000)
    estimate = sum(bits.item() for bits in coded.bits.values())
    assert abs(num_bits(encoded) - estimate) < 0.01 * estimate + 8 * 16


def test_other_precisions_and_threads_decode_the_same(original, coded):
    encoded = original.bit_estimator.coder().encode(coded.analysed[0], 1000)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert torch.equal(decoded(original, encoded, 1000), encoded.latents)
    finally:
        torch.set_num_threads(threads)
    for precision in (torch.bfloat16, torch.float64):
        assert torch.equal(decoded(copy.deepcopy(original).to(precision), encoded, 1000), encoded.latents)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(decoded(original, encoded, 1000), encoded.latents)


def test_a_bf16_copy_encodes_what_the_original_decodes(original, coded):
    latents = coded.analysed[0]
    encoded = copy.deepcopy(original).to(torch.bfloat16).bit_estimator.coder().encode(latents, 8)
    assert torch.equal(decoded(original, encoded, 8), encoded.latents)
    assert (encoded.latents - latents).abs().max() <= 0.5 + 1e-4


def test_mixed_precision_codes_what_it_says(original, coded):
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        made = original(*inputs_for(original, original.multiple, 2 * original.multiple))
        encoded = original.bit_estimator.coder().encode(made.analysed[0], 32)
    assert made.picture.dtype == torch.float32
    assert torch.isfinite(made.picture).all()
    assert torch.equal(encoded.latents, made.latents[0])
    assert (made.picture - coded.picture).square().mean() < 0.2 * coded.picture.var()  # some latents are rounded to the other side


def test_tables_come_with_the_weights_and_are_not_made_anew(network, config):
    estimator = network.bit_estimator
    marks = [name for name, _ in estimator.named_buffers() if name.endswith("lowest")]
    with torch.no_grad():
        for name in marks:
            estimator.get_buffer(name).sub_(3)
    torch.manual_seed(77)
    other = config.build().eval()
    other.load_state_dict(network.state_dict())
    given = inputs_for(network, network.multiple, 2 * network.multiple)
    with torch.no_grad():
        made = other(*given)
        assert torch.equal(made.picture, network(*given).picture)
    encoded = other.bit_estimator.coder().encode(made.analysed[0], 8)
    for name in marks:
        assert torch.equal(other.bit_estimator.get_buffer(name), estimator.get_buffer(name)), name
    assert torch.equal(decoded(network, encoded, 8), made.latents[0])


def test_training_puts_tables_out_of_date(network, original):
    network.train()(*inputs_for(network, network.multiple, network.multiple))
    with torch.no_grad():
        for parameter in network.bit_estimator.parameters():
            parameter.mul_(1.5)
    network.eval()(*inputs_for(network, network.multiple, network.multiple))
    changed = [
        not torch.equal(tables, original.bit_estimator.get_buffer(name))
        for name, tables in network.bit_estimator.named_buffers()
        if name.endswith("frequencies")
    ]
    assert any(changed)


def test_latents_of_a_part_with_its_halo_are_those_of_the_whole(original):
    align, halo = original.tile_align, original.encoder_halo_px
    around = -(-halo // align) * align
    side = original.multiple * -(-(2 * around + 4 * align) // original.multiple)
    picture, planes, noise, balance = inputs_for(original, side, side)
    first, last = around + align, around + 2 * align  # a part of one step each way
    with torch.no_grad():
        whole = original.analysed(picture, planes, noise, balance)
        cut = slice(first - around, last + around)
        part = original.analysed(picture[..., cut, cut], planes[..., cut, cut], noise, balance)
    scale = original.stride
    inner, there = slice(around // scale, (around + align) // scale), slice(first // scale, last // scale)
    torch.testing.assert_close(part[..., inner, inner], whole[..., there, there], atol=2e-4, rtol=1e-4)


def test_pixels_of_a_part_of_the_latents_with_its_halo_are_those_of_the_whole(original):
    halo, scale = original.decoder_halo, original.stride
    latents = (3 * torch.randn(1, original.bit_estimator.num_latents, 9, 11, generator=torch.Generator().manual_seed(4))).round()
    balance = torch.tensor([[2.0, 1.0, 1.5]])
    with torch.no_grad():
        whole = original.synthesised(latents, balance)
        part = original.synthesised(latents[:, :, 4 - halo : 6 + halo, 3 - halo : 8 + halo], balance)
    assert whole.shape == (1, 3, 9 * scale, 11 * scale)
    inner = part[..., halo * scale : (halo + 2) * scale, halo * scale : (halo + 5) * scale]
    torch.testing.assert_close(inner, whole[..., 4 * scale : 6 * scale, 3 * scale : 8 * scale], atol=1e-4, rtol=1e-4)


def test_damaged_streams_end_in_an_error_or_in_latents_of_the_right_shape(original, coded):
    latents = coded.analysed[0]
    coder = original.bit_estimator.coder()
    encoded = coder.encode(latents, 64)
    (tile,) = encoded.tiles
    generator, refused = np.random.default_rng(0), 0
    for number in range(40):
        part = bytearray(encoded.side if number % 4 == 0 and encoded.side else tile)
        place = int(generator.integers(len(part)))
        if number % 3 == 0:
            del part[place:]
        else:
            part[place] ^= int(generator.integers(1, 256))
        side, data = (bytes(part), tile) if number % 4 == 0 and encoded.side else (encoded.side, bytes(part))
        try:
            made = coder.open(side, tuple(latents.shape[1:]), 64).tile(0, 0, data)
        except BitstreamError:
            refused += 1
        else:
            assert made.shape == latents.shape
            assert torch.isfinite(made).all()
    assert refused > 20


def test_an_empty_latent_costs_next_to_nothing_to_frame(original):
    """One tile of one latent, and tiles that are larger than the picture."""
    size = original.bit_estimator.side_stride
    latents = torch.zeros(original.bit_estimator.num_latents, size, size)
    for tile in (1, 1000):
        encoded = original.bit_estimator.coder().encode(latents, tile)
        assert len(encoded.tiles) == (size**2 if tile == 1 else 1)
        assert torch.equal(decoded(original, encoded, tile), encoded.latents)


def test_shapes_that_do_not_belong_together_are_refused_with_both(original):
    picture, planes, noise, balance = inputs_for(original, 8, 8, batch=2)
    channels = picture.shape[1]
    wrong = [
        ((picture.expand(-1, 3, -1, -1) if channels == 1 else picture[:, :1], planes, noise, balance), f"(B, {channels}, H, W)"),
        ((picture[0], planes, noise, balance), f"got ({channels}, 8, 8)"),
        ((picture, planes[..., :-2], noise, balance), "expected planes (B, 3, 8, 8), got (1, 3, 8, 6)"),
        ((picture, planes, noise[:1], balance), "expected noise (2, 2)"),
        ((picture, planes, noise, balance[:, :2]), "balance (2, 3)"),
    ]
    for given, message in wrong:
        with pytest.raises(DataError, match=re.escape(message)):
            original(*given)


def test_latents_that_are_no_numbers_are_not_coded(original):
    size = original.bit_estimator.side_stride
    latents = torch.full((original.bit_estimator.num_latents, size, size), float("nan"))
    with pytest.raises(DataError, match="not finite"):
        original.bit_estimator.coder().encode(latents, 8)

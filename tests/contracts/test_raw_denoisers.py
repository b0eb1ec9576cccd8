"""What every registered network keeps to that makes clean pictures of raw ones, for mosaics and for RGB."""

import copy
import re

import pytest
import torch

from photic.core.errors import ConfigError, DataError
from photic.core.registry import models
from photic.core.schema import field_types
from photic.functional.cfa import BAYER, RGGB, XTRANS, cfa_planes
from photic.models import get_registry
from photic.models.raw_denoising import RawDenoiser, RawDenoiserConfig

NAMES = [name for name in get_registry().list_models() if issubclass(models.config_class(name), RawDenoiserConfig)]
SMALL = {"width": 2, "num_latents": 2, "size": "tiny"}
MEASUREMENTS = ("mosaic", "rgb")
# Settings whose graph is another one; each is held to everything below.
VARIANTS = {"utnet2": [{"preupsample": True}], "autoencoder": [{"decoder": "bayer_tc"}]}
CASES = [(name, {"measurement": kind}) for name in NAMES for kind in MEASUREMENTS]
CASES += [(name, {"measurement": "mosaic"} | fields) for name, variants in VARIANTS.items() for fields in variants]


def label(case):
    name, fields = case
    return " ".join([name, *(str(value) for value in fields.values())])


def build(name, fields):
    """Return a small network whose parameters are off their initial values, where layers may still do nothing."""
    known = field_types(models.config_class(name))
    torch.manual_seed(0)
    network = models.configure(name, **{key: value for key, value in SMALL.items() if key in known} | fields).build().eval()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    return network


@pytest.fixture(scope="module", params=CASES, ids=label)
def network(request):
    return build(*request.param)


def inputs_for(network, height, width, *, batch=1, pattern=RGGB, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mosaic = network.measurement == "mosaic"
    picture = torch.rand(batch, 1 if mosaic else 3, height, width, generator=generator, dtype=dtype)
    planes = cfa_planes(pattern, height, width)[None] if mosaic else torch.ones(1, 3, height, width)
    noise, balance = 0.01 * torch.rand(batch, 2, generator=generator), 1 + torch.rand(batch, 3, generator=generator)
    return picture, planes.to(dtype), noise.to(dtype), balance.to(dtype)


def test_it_is_a_raw_denoiser_and_says_how_it_is_cut(network):
    assert isinstance(network, RawDenoiser)
    assert network.measurement in MEASUREMENTS
    assert network.tile_align % network.multiple == 0, "tiles begin where a network's strides do"
    assert network.margin_px >= 0
    assert not (network.needs_rggb and network.measurement == "rgb")
    assert network.tile_align % 2 == 0 or not network.needs_rggb, "tiles of a network that packs begin with red"


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (33, 2), (67, 45)], ids=str)
def test_any_size_is_taken_and_comes_back_in_three_colours(network, size):
    with torch.no_grad():
        made = network(*inputs_for(network, *size))
    assert made.shape == (1, 3, *size)
    assert torch.isfinite(made).all()


def test_planes_may_be_given_once_for_a_batch(network):
    picture, planes, noise, balance = inputs_for(network, 20, 26, batch=2)
    with torch.no_grad():
        once = network(picture, planes, noise, balance)
        assert torch.equal(once, network(picture, planes.expand(2, -1, -1, -1), noise, balance))


@pytest.mark.parametrize("level", [0.0, 1.0, -0.02])
def test_black_white_and_below_black_give_finite_pictures_and_gradients(network, level):
    network = copy.deepcopy(network)
    picture, *others = inputs_for(network, 32, 32)
    flat = torch.full_like(picture, level, requires_grad=True)
    made = network(flat, *others)
    made.square().sum().backward()
    assert torch.isfinite(made).all()
    assert torch.isfinite(flat.grad).all()
    assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters() if parameter.grad is not None)


def test_a_noise_free_picture_is_no_division_by_zero(network):
    picture, planes, noise, balance = inputs_for(network, 32, 32)
    with torch.no_grad():
        assert torch.isfinite(network(picture, planes, torch.zeros_like(noise), torch.ones_like(balance))).all()


def test_the_result_depends_on_every_pixel_of_the_measurement(network):
    picture, *others = inputs_for(network, 64, 64)
    picture.requires_grad_()
    made = network(picture, *others)
    (made * torch.linspace(1, 2, made.numel()).view_as(made)).sum().backward()
    assert torch.isfinite(picture.grad).all()
    assert (picture.grad.abs() > 0).float().mean() > 0.99


def test_every_parameter_gets_a_gradient_that_is_finite_and_not_zero(network):
    network = copy.deepcopy(network).train()
    made = network(*inputs_for(network, 64, 96, batch=2))
    if not list(network.parameters()):
        assert not made.requires_grad
        return
    (made * torch.linspace(1, 2, made.numel()).view_as(made)).square().sum().backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
        assert parameter.grad.abs().max() > 0, key


def test_crops_agree_with_the_whole_off_their_edges(network):
    """What a tile's edge changes lies within the margin, in double precision to the last digits."""
    network = copy.deepcopy(network).double()
    align, margin = network.tile_align, network.margin_px
    start = align * -(-(margin + 3) // align)
    height, width = align * -(-12 // align), start + 2 * margin + 3 * align + 5
    given = inputs_for(network, height, width, dtype=torch.float64)
    picture, planes, *others = given
    stop = start + margin + 2 * align + 3  # a right edge anywhere
    with torch.no_grad():
        whole = network(*given)
        left = network(picture[..., :stop], planes[..., :stop], *others)
        right = network(picture[..., start:], planes[..., start:], *others)
        picture, planes = (tensor.transpose(2, 3) for tensor in (picture, planes))
        upright = network(picture, planes, *others)
        below = network(picture[..., start:, :], planes[..., start:, :], *others)
    exact = {"atol": 1e-12, "rtol": 1e-10}
    torch.testing.assert_close(left[..., : stop - margin], whole[..., : stop - margin], **exact)
    torch.testing.assert_close(right[..., margin:], whole[..., start + margin :], **exact)
    torch.testing.assert_close(below[..., margin:, :], upright[..., start + margin :, :], **exact)


def test_a_whole_picture_in_tiles_is_the_whole_picture(network):
    from photic.functional.tiling import predict_tiled

    network = copy.deepcopy(network).double()
    align, margin = network.tile_align, network.margin_px
    overlap = align * -(-2 * margin // align) + align
    tile = overlap + 2 * align + 16
    picture, planes, noise, balance = inputs_for(network, 37, tile + align + 21, dtype=torch.float64)
    channels = picture.shape[1]

    def restored(piece):
        return network(piece[:, :channels], piece[:, channels:], noise, balance)

    with torch.no_grad():
        whole = network(picture, planes, noise, balance)
        tiled = predict_tiled(restored, torch.cat([picture, planes], dim=1), tile, overlap, margin=margin, align=align)
    torch.testing.assert_close(tiled, whole, atol=1e-12, rtol=1e-10)


def test_what_needs_no_rggb_takes_every_pattern(network):
    patterns = [RGGB] if network.needs_rggb or network.measurement == "rgb" else [*BAYER.values(), XTRANS]
    for pattern in patterns:
        with torch.no_grad():
            assert torch.isfinite(network(*inputs_for(network, 36, 42, pattern=pattern))).all()


def test_training_and_validation_mode_give_the_same(network):
    network = copy.deepcopy(network)
    given = inputs_for(network, 40, 56)
    with torch.no_grad():
        torch.testing.assert_close(network.train()(*given), network.eval()(*given))


def test_channels_last_is_the_same_network(network):
    given = inputs_for(network, 40, 56)
    with torch.no_grad():
        plain = network(*given)
        turned = copy.deepcopy(network).to(memory_format=torch.channels_last)
        picture = given[0].contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(turned(picture, *given[1:]), plain, atol=1e-5, rtol=1e-4)


def test_mixed_precision_gives_finite_pictures_near_those_of_full_precision(network):
    given = inputs_for(network, 64, 96)
    with torch.no_grad():
        plain = network(*given)
        with torch.autocast("cpu", torch.bfloat16):
            mixed = network(*given).float()
    assert torch.isfinite(mixed).all()
    assert (mixed - plain).square().mean().sqrt() < 0.02 * plain.square().mean().sqrt()


def test_it_can_be_exported_as_one_graph(network):
    given = inputs_for(network, 2 * network.multiple, 2 * network.multiple)
    exported = torch.export.export(network, given).module()
    with torch.no_grad():
        torch.testing.assert_close(exported(*given), network(*given), atol=1e-5, rtol=1e-4)


def test_shapes_that_do_not_belong_together_are_refused_with_both(network):
    picture, planes, noise, balance = inputs_for(network, 8, 8, batch=2)
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
            network(*given)


@pytest.mark.parametrize("name", NAMES)
def test_unknown_measurements_are_refused(name):
    with pytest.raises(ConfigError, match=rf"{name}\.measurement: expected one of 'mosaic', 'rgb', got 'bayer'"):
        models.configure(name, measurement="bayer")

"""What every registered network keeps to, by its kind: classifiers, networks for phase retrieval, enhancers, raw denoisers, compressors.

What only raw denoisers keep to stands in `test_raw_denoisers.py`, what only compressors do in `test_compressors.py`.
"""

import copy
import dataclasses
import inspect
import re

import pytest
import torch
from torch import nn

from photic.core import index
from photic.core.errors import ConfigError, DataError
from photic.core.registry import models
from photic.core.schema import field_types
from photic.functional.cfa import RGGB, cfa_planes
from photic.functional.overview import overview
from photic.models import get_registry
from photic.models.base import Classifier, ClassifierConfig
from photic.models.compression import Coded, CompressorConfig
from photic.models.enhancement import Enhancement, Enhancer, EnhancerConfig
from photic.models.phase_retrieval import PhaseRetrievalConfig, PhaseRetrievalNetwork
from photic.models.raw_denoising import RawDenoiserConfig

# A known name builds this very class. A network that is added needs no line here: it is found and held to everything below.
CLASSES = {
    "autoencoder": "RawAutoencoder",
    "cnn": "PtychoCNN",
    "convnext_tiny_cbam": "AttentiveBackbone",
    "denoise_then_compress": "DenoiseThenCompress",
    "efficientnet_lite0": "EfficientNetLite0",
    "factorized": "Factorized",
    "fno": "FourierOperator",
    "glance": "GlanceNet",
    "hybrid": "HybridOperator",
    "hybrid_resnet": "HybridResNet",
    "hyperprior": "Hyperprior",
    "identity": "RawIdentity",
    "many_priors": "ManyPriors",
    "remdinet": "UnifiedLowLightEnhancer",
    "timm": "AttentiveBackbone",
    "tiny": "TinyClassifier",
    "unet_enhancer": "UNetEnhancer",
    "utnet2": "UTNet",
    "utnet3": "UTNet",
    "zero_dce": "ZeroDCE",
}
NUM_CLASSES, NUM_PATTERNS, SIZE_PX = 3, 2, 32
# What makes a network for phase retrieval small enough for quick tests, where it has the field.
SMALL = {"width_factor": 0.25, "width": 8, "modes": 6}
# And what makes an enhancer small enough.
SMALL_ENHANCER = {
    "width": 8,
    "backbone": "mobilenetv3_small_050",
    "semantic_dim": 16,
    "num_attention_blocks": 1,
    "curve_width": 8,
    "mask_width": 8,
    "distraction_width": 8,
}
# And what makes a raw denoiser small enough.
SMALL_DENOISER = {"width": 8, "num_latents": 8}
# And what makes a network that compresses small enough.
SMALL_COMPRESSOR = {
    "width": 4,
    "num_latents": 6,
    "num_strides": 2,
    "num_priors": 3,
    "denoiser": {"name": "standard", "size": "tiny"},
    "compressor": {"name": "factorized", "measurement": "rgb", "width": 4, "num_latents": 6, "num_strides": 2},
}
NAMES = get_registry().list_models()
CLASSIFIERS = [name for name in NAMES if issubclass(models.config_class(name), ClassifierConfig)]
PHASE_RETRIEVAL = [name for name in NAMES if issubclass(models.config_class(name), PhaseRetrievalConfig)]
ENHANCERS = [name for name in NAMES if issubclass(models.config_class(name), EnhancerConfig)]
RAW_DENOISERS = [name for name in NAMES if issubclass(models.config_class(name), RawDenoiserConfig)]
COMPRESSORS = [name for name in NAMES if issubclass(models.config_class(name), CompressorConfig)]
# Compressors are held to gradients in `test_compressors.py`: their latents must not all be rounded to 0 for that.
every_one_without_rounding = pytest.mark.parametrize(
    "name", [name for name in NAMES if name not in COMPRESSORS], indirect=True, scope="module"
)
every_classifier = pytest.mark.parametrize("name", CLASSIFIERS, indirect=True, scope="module")
every_phase_retrieval = pytest.mark.parametrize("name", PHASE_RETRIEVAL, indirect=True, scope="module")
every_enhancer = pytest.mark.parametrize("name", ENHANCERS, indirect=True, scope="module")


def configured(name, **chosen):
    fields = field_types(models.config_class(name))
    if name in PHASE_RETRIEVAL:
        wanted = {"num_patterns": NUM_PATTERNS, "size_px": SIZE_PX, **SMALL}
    elif name in ENHANCERS:
        wanted = SMALL_ENHANCER
    elif name in RAW_DENOISERS:
        wanted = SMALL_DENOISER
    elif name in COMPRESSORS:
        wanted = SMALL_COMPRESSOR
    else:
        wanted = {"num_classes": NUM_CLASSES, "pretrained": False}
    return models.configure(name, **{key: value for key, value in wanted.items() if key in fields} | chosen)


def inputs_of(name):
    """Return what a network of this kind is given, a tuple of tensors."""
    generator = torch.Generator().manual_seed(0)
    if name in RAW_DENOISERS or name in COMPRESSORS:
        noise, balance = 0.01 * torch.rand(2, 2, generator=generator), 1 + torch.rand(2, 3, generator=generator)
        return torch.rand(2, 1, 64, 96, generator=generator), cfa_planes(RGGB, 64, 96).expand(2, -1, -1, -1), noise, balance
    return (pictures_of(name, generator),)


def pictures_of(name, generator):
    if name in PHASE_RETRIEVAL:  # amplitudes: most of a diffraction pattern is in its middle
        y, x = torch.meshgrid(*[torch.arange(SIZE_PX) - SIZE_PX / 2] * 2, indexing="ij")
        pattern = torch.exp(-torch.hypot(x, y) / 4) * torch.rand(2, NUM_PATTERNS, SIZE_PX, SIZE_PX, generator=generator)
        return pattern * (SIZE_PX / 2) / pattern.square().sum(dim=(2, 3)).mean().sqrt()
    if name in ENHANCERS:  # dark pictures
        return 0.2 * torch.rand(2, 3, 64, 96, generator=generator)
    return torch.randn(2, 3, 64, 96, generator=generator)


@pytest.fixture(scope="module", params=NAMES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def network(name):
    torch.manual_seed(0)
    return configured(name).build()


@pytest.fixture
def inputs(name):
    return inputs_of(name)


@pytest.fixture
def images(name):
    (given,) = inputs_of(name)
    return given


def test_none_of_the_known_networks_has_vanished():
    assert set(CLASSES) <= set(get_registry().list_models())


def test_every_network_is_of_a_kind_that_is_held_to_something_here():
    assert sorted([*CLASSIFIERS, *PHASE_RETRIEVAL, *ENHANCERS, *RAW_DENOISERS, *COMPRESSORS]) == NAMES


def test_it_builds_the_expected_class(name, network):
    assert type(network).__name__ == CLASSES.get(name, type(network).__name__)


@every_classifier
def test_a_classifier_is_one_and_knows_its_number_of_classes(network):
    assert isinstance(network, Classifier)
    assert network.num_classes == NUM_CLASSES


@every_phase_retrieval
def test_a_network_for_phase_retrieval_is_one_and_knows_its_sizes(network):
    assert isinstance(network, PhaseRetrievalNetwork)
    assert (network.num_patterns, network.size_px) == (NUM_PATTERNS, SIZE_PX)


def test_its_config_round_trips(name):
    config = configured(name)
    plain = config.to_dict()
    assert plain["name"] == name
    assert type(config).from_dict(plain) == config
    assert models.configure(plain.pop("name"), **plain) == config


def test_by_name_and_by_config_are_the_same_act(name):
    torch.manual_seed(3)
    by_config = configured(name).build()
    torch.manual_seed(3)
    fields = configured(name).to_dict()
    by_name = get_registry().get(fields.pop("name"), **fields)
    assert all(torch.equal(a, b) for a, b in zip(by_config.parameters(), by_name.parameters(), strict=True))


@every_classifier
@pytest.mark.parametrize("size", [(64, 96), (65, 97), (33, 130)])
def test_it_takes_odd_sizes_and_batch_1(network, size):
    network.eval()
    with torch.no_grad():
        assert network(torch.zeros(1, 3, *size)).shape == (1, NUM_CLASSES)


def test_an_input_gets_the_same_output_alone_and_in_a_batch(network, inputs):
    network.eval()
    with torch.no_grad():
        alone = real(network(*(tensor[1:] for tensor in inputs)))
        torch.testing.assert_close(real(network(*inputs))[1:], alone, atol=1e-5, rtol=1e-4)


def real(output):
    """Return all a network gives as one real tensor: both parts of a complex one, an enhanced picture with all it was made of, bits."""
    if isinstance(output, Coded):
        return torch.cat([output.picture.flatten(1), *(output.bits[key][:, None] for key in sorted(output.bits))], dim=1)
    if isinstance(output, Enhancement):
        return torch.cat([output.picture, *(output.parts[key] for key in sorted(output.parts))], dim=1)
    return torch.view_as_real(output) if output.is_complex() else output


@every_one_without_rounding
def test_every_trainable_parameter_gets_a_finite_gradient_that_is_not_zero(network, inputs):
    network = copy.deepcopy(network).train()
    if not any(parameter.requires_grad for parameter in network.parameters()):
        assert type(network).__name__ == "RawIdentity", "only a network that does nothing may have nothing to learn"
        return
    with torch.no_grad():  # residual branches that start at zero pass gradients on only after the first step
        for parameter in network.parameters():
            parameter.add_(0.01 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    # Batch statistics make the mean of a batch blind to biases before them: weigh the logits unevenly.
    logits = real(network(*inputs))
    (logits * torch.linspace(1, 2, logits.numel()).view_as(logits)).square().sum().backward()
    for key, parameter in network.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, key
            assert torch.isfinite(parameter.grad).all(), key
            assert parameter.grad.abs().max() > 0, key


def test_a_saved_and_loaded_network_gives_identical_outputs(name, network, inputs, tmp_path):
    from photic.core.checkpoint import Checkpoint, load_weights, read_checkpoint, write_checkpoint

    file = write_checkpoint(tmp_path / "network.safetensors", Checkpoint(network.state_dict()))
    torch.manual_seed(99)
    other = configured(name).build()
    load_weights(other, read_checkpoint(file).weights, file)
    with torch.no_grad():
        assert torch.equal(real(network.eval()(*inputs)), real(other.eval()(*inputs)))


@every_classifier
def test_activation_layer_gives_one_map_per_picture_with_gradients(network, images):
    maps = []
    handle = network.eval().activation_layer().register_forward_hook(lambda _, __, output: maps.append(output))
    logits = network(images.clone().requires_grad_())  # so that frozen networks have gradients, too
    handle.remove()
    assert len(maps) == 1
    assert maps[0].ndim == 4
    assert maps[0].shape[0] == 2
    assert maps[0].shape[2] <= maps[0].shape[3] <= 96
    (gradient,) = torch.autograd.grad(logits[:, 0].sum(), maps[0])
    assert gradient.abs().max() > 0


@every_classifier
def test_backbone_parameters_are_some_of_its_own_and_leave_a_head(network):
    own = {id(parameter) for parameter in network.parameters()}
    backbone = {id(parameter) for parameter in network.backbone_parameters()}
    assert backbone < own


@every_classifier
def test_normalisation_is_three_numbers_each(network):
    assert len(network.mean) == len(network.std) == 3
    assert min(network.std) > 0
    assert isinstance(network, nn.Module)


@every_classifier
def test_it_says_when_the_class_count_is_open(name):
    with pytest.raises(ConfigError, match=rf"{name}\.num_classes: not set"):
        models.config_class(name)().build()


@every_phase_retrieval
def test_it_says_which_size_is_open(name):
    for field in ("num_patterns", "size_px"):
        with pytest.raises(ConfigError, match=rf"{name}\.{field}: not set"):
            configured(name, **{field: None}).build()


@every_phase_retrieval
@pytest.mark.parametrize("output", ["real_imag", "amp_phase"])
def test_patches_are_complex_of_the_patterns_shape_whatever_autocast_does(name, images, output):
    torch.manual_seed(0)
    network = configured(name, output=output).build().eval()
    with torch.no_grad():
        plain = network(images)
        with torch.autocast("cpu", torch.bfloat16):
            mixed = network(images)
    for patches in (plain, mixed):
        assert patches.shape == images.shape
        assert patches.dtype == torch.complex64
    torch.testing.assert_close(mixed, plain, atol=0.05, rtol=0.05)


@every_phase_retrieval
@pytest.mark.parametrize("output", ["real_imag", "amp_phase"])
def test_an_untrained_network_gives_a_nearly_flat_object_and_nothing_outside_its_support(name, images, output):
    torch.manual_seed(0)
    network = configured(name, output=output).build().eval()
    support = network.support()
    assert (support.shape, support.dtype) == ((SIZE_PX, SIZE_PX), torch.bool)
    quarter = SIZE_PX // 4
    assert support[quarter:-quarter, quarter:-quarter].all()
    with torch.no_grad():
        patches = network(images)
    assert (patches[..., ~support] == 0).all()
    assert patches[..., support].abs().mean().item() == pytest.approx(1, abs=0.1)
    assert patches[..., support].abs().std() < 0.2
    assert patches[..., support].angle().std() < 0.2


@every_phase_retrieval
def test_where_it_predicts_every_pixel_depends_on_the_weights(network, images):
    network = copy.deepcopy(network)
    with torch.no_grad():
        before = network(images)
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))
        assert ((network(images) != before).all(dim=(0, 1)) == network.support()).all()


@every_phase_retrieval
@pytest.mark.parametrize("number", [1, 4])
def test_it_takes_groups_of_any_number_and_batch_1(name, number):
    network = configured(name, num_patterns=number).build().eval()
    with torch.no_grad():
        assert network(torch.rand(1, number, SIZE_PX, SIZE_PX)).shape == (1, number, SIZE_PX, SIZE_PX)


@every_phase_retrieval
@pytest.mark.parametrize("shape", [(2, 1, 32, 32), (2, 2, 32, 16), (2, 2, 64, 64), (2, 32, 32)], ids=str)
def test_inputs_of_another_shape_are_refused_with_both_shapes(network, shape):
    with pytest.raises(DataError, match=re.escape(f"(B, {NUM_PATTERNS}, {SIZE_PX}, {SIZE_PX})") + ".*" + re.escape(str(shape))):
        network(torch.zeros(shape))


@every_phase_retrieval
def test_complex_and_integer_inputs_are_refused(network):
    for dtype in (torch.complex64, torch.int32):
        with pytest.raises(DataError, match=str(dtype)):
            network(torch.zeros(1, NUM_PATTERNS, SIZE_PX, SIZE_PX, dtype=dtype))


@every_phase_retrieval
def test_a_side_that_cannot_be_halved_is_refused_with_the_nearest_that_can(name):
    with pytest.raises(ConfigError, match=rf"{name}\.size_px: 33 is not divisible by \d+.*32 and \d+ are the nearest sides"):
        configured(name, size_px=33).build()


def stirred(network):
    """Return a copy whose parameters are off their initial values, where layers may still do nothing."""
    network = copy.deepcopy(network).eval()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    return network


@every_enhancer
def test_an_enhancer_is_one_and_names_its_parts(network, images):
    assert isinstance(network, Enhancer)
    with torch.no_grad():
        made = network(images)
    assert made.picture.shape == images.shape
    assert set(made.parts) == network.part_names
    for key, part in made.parts.items():
        assert part.ndim == 4, key
        assert (part.shape[0], *part.shape[2:]) == (2, 64, 96), key
    assert all(isinstance(network.part_of(key), str) for key, _ in network.named_parameters())


@every_enhancer
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (33, 2), (67, 45)], ids=str)
def test_an_enhancer_takes_any_size_and_gives_it_back(network, size):
    network.eval()
    with torch.no_grad():
        made = network(torch.full((1, 3, *size), 0.1))
    assert made.picture.shape == (1, 3, *size)
    assert all(part.shape[2:] == size for part in made.parts.values())
    assert torch.isfinite(real(made)).all()


@every_enhancer
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_black_and_white_pictures_give_finite_ones_with_finite_gradients(network, level):
    network = copy.deepcopy(network)
    image = torch.full((1, 3, 32, 32), level, requires_grad=True)
    made = real(network(image))
    made.square().sum().backward()
    assert torch.isfinite(made).all()
    assert torch.isfinite(image.grad).all()
    assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters() if parameter.grad is not None)


@every_enhancer
def test_the_enhanced_picture_depends_on_the_dark_one_everywhere(network, images):
    image = images.clone().requires_grad_()
    stirred(network)(image).picture.sum().backward()
    assert torch.isfinite(image.grad).all()
    assert (image.grad.abs() > 0).float().mean() > 0.99


@every_enhancer
def test_a_decision_is_a_row_of_numbers_for_each_picture_and_comes_from_its_overview(network, images):
    network = stirred(network)
    with torch.no_grad():
        decision = network.decide(overview(images))
        assert decision.ndim == 2
        assert decision.shape[0] == 2
        assert torch.isfinite(decision).all()
        by_itself = real(network(images))
        torch.testing.assert_close(real(network(images, decision=decision)), by_itself)
        torch.testing.assert_close(real(network(images, overview(images))), by_itself)


@every_enhancer
def test_crops_with_the_decision_of_the_whole_agree_with_the_whole_off_their_edges(network):
    network = stirred(network)
    align, margin = network.tile_align, network.margin_px
    assert align % network.multiple == 0, "tiles begin where a network's strides do"
    side = align * -(-(2 * margin + 16) // align)
    start = align * -(-16 // align)
    image = 0.2 * torch.rand(1, 3, align * -(-40 // align), start + side, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        decision = network.decide(overview(image))
        whole = real(network(image, decision=decision))
        left, right = (real(network(image[..., span], decision=decision)) for span in (slice(0, side), slice(start, None)))
    torch.testing.assert_close(left[..., : side - margin], whole[..., : side - margin], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(right[..., margin:], whole[..., start + margin :], atol=1e-5, rtol=1e-4)


@every_enhancer
def test_training_and_validation_mode_give_the_same(network, images):
    network = stirred(network)
    with torch.no_grad():
        torch.testing.assert_close(real(network.train()(images)), real(network.eval()(images)))


@every_enhancer
def test_mixed_precision_gives_finite_pictures_near_those_of_full_precision(network, images):
    network = copy.deepcopy(network).eval()
    with torch.no_grad():
        plain = network(images).picture
        with torch.autocast("cpu", torch.bfloat16):
            mixed = real(network(images))
    assert torch.isfinite(mixed).all()
    torch.testing.assert_close(mixed[:, :3].float(), plain, atol=0.03, rtol=0.05)


@every_enhancer
def test_what_are_no_pictures_is_refused_with_shape_and_kind(network):
    for image in (torch.zeros(1, 1, 8, 8), torch.zeros(3, 8, 8), torch.zeros(0, 3, 8, 8), torch.zeros(1, 3, 8, 8, dtype=torch.uint8)):
        with pytest.raises(DataError, match=re.escape(f"{tuple(image.shape)} {image.dtype}")):
            network(image)


def test_the_source_index_says_what_the_imported_class_says(name):
    (entry,) = get_registry().entries(name)
    config = models.config_class(name)
    assert (entry.module, entry.qualname) == (config.__module__, config.__qualname__)
    assert entry.summary == index.first_line(inspect.getdoc(config))
    assert_same_fields(entry, config)


def assert_same_fields(entry, config):
    fields = {field.name: field for field in dataclasses.fields(config)}
    listed = {info.name: info for info in entry.fields()}
    assert list(listed) == list(fields)
    for key, info in listed.items():
        field = fields[key]
        assert info.doc, f"{key} has no docstring"
        assert info.required == (field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING)
        if field.default is not dataclasses.MISSING:
            assert info.default == field.default
            assert type(info.default) is type(field.default)
        metadata = getattr(field_types(config)[key], "__metadata__", ())
        ranges = " and ".join(str(extra) for extra in metadata if type(extra).__name__ == "Range")
        kinds = " and ".join(f"one of {extra.kind}" for extra in metadata if type(extra).__name__ == "Registered")
        assert info.range == (ranges or kinds)

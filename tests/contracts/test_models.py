"""What every registered network keeps to."""

import copy
import dataclasses
import inspect

import pytest
import torch
from torch import nn

from photic.core import index
from photic.core.registry import models
from photic.core.schema import field_types
from photic.models import get_registry
from photic.models.base import Classifier, ClassifierConfig

# A known name builds this very class. A network that is added needs no line here: it is found and held to everything below.
CLASSES = {
    "convnext_tiny_cbam": "AttentiveBackbone",
    "efficientnet_lite0": "EfficientNetLite0",
    "timm": "AttentiveBackbone",
    "tiny": "TinyClassifier",
}
NUM_CLASSES = 3


def configured(name):
    fields = field_types(models.config_class(name))
    sized = {"num_classes": NUM_CLASSES} if "num_classes" in fields else {}
    return models.configure(name, **sized, **({"pretrained": False} if "pretrained" in fields else {}))


@pytest.fixture(scope="module", params=get_registry().list_models())
def name(request):
    return request.param


@pytest.fixture(scope="module")
def network(name):
    torch.manual_seed(0)
    return configured(name).build()


@pytest.fixture(autouse=True)
def images():
    return torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


def test_none_of_the_known_networks_has_vanished():
    assert set(CLASSES) <= set(get_registry().list_models())


def test_it_builds_the_expected_class(name, network):
    assert type(network).__name__ == CLASSES.get(name, type(network).__name__)
    assert isinstance(network, Classifier)
    assert network.num_classes == NUM_CLASSES


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


@pytest.mark.parametrize("size", [(64, 96), (65, 97), (33, 130)])
def test_it_takes_odd_sizes_and_batch_1(network, size):
    network.eval()
    with torch.no_grad():
        assert network(torch.zeros(1, 3, *size)).shape == (1, NUM_CLASSES)


def test_a_picture_gets_the_same_logits_alone_and_in_a_batch(network, images):
    network.eval()
    with torch.no_grad():
        torch.testing.assert_close(network(images)[1:], network(images[1:]), atol=1e-5, rtol=1e-4)


def test_every_trainable_parameter_gets_a_finite_gradient_that_is_not_zero(network, images):
    network = copy.deepcopy(network).train()
    with torch.no_grad():  # residual branches that start at zero pass gradients on only after the first step
        for parameter in network.parameters():
            parameter.add_(0.01 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    # Batch statistics make the mean of a batch blind to biases before them: weigh the logits unevenly.
    logits = network(images)
    (logits * torch.linspace(1, 2, logits.numel()).view_as(logits)).square().sum().backward()
    for key, parameter in network.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, key
            assert torch.isfinite(parameter.grad).all(), key
            assert parameter.grad.abs().max() > 0, key


def test_a_saved_and_loaded_network_gives_identical_logits(name, network, images, tmp_path):
    from photic.core.checkpoint import Checkpoint, load_weights, read_checkpoint, write_checkpoint

    file = write_checkpoint(tmp_path / "network.safetensors", Checkpoint(network.state_dict()))
    torch.manual_seed(99)
    other = configured(name).build()
    load_weights(other, read_checkpoint(file).weights, file)
    with torch.no_grad():
        assert torch.equal(network.eval()(images), other.eval()(images))


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


def test_backbone_parameters_are_some_of_its_own_and_leave_a_head(network):
    own = {id(parameter) for parameter in network.parameters()}
    backbone = {id(parameter) for parameter in network.backbone_parameters()}
    assert backbone < own


def test_normalisation_is_three_numbers_each(network):
    assert len(network.mean) == len(network.std) == 3
    assert min(network.std) > 0
    assert isinstance(network, nn.Module)


def test_it_says_when_the_class_count_is_open(name):
    if issubclass(models.config_class(name), ClassifierConfig):
        from photic.core.errors import ConfigError

        with pytest.raises(ConfigError, match=rf"{name}\.num_classes: not set"):
            models.config_class(name)().build()


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

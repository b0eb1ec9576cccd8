"""Attention on the true stages, and starting weights that are there or refused."""

import copy
import logging

import pytest
import timm
import torch
from safetensors.torch import save_file

from photic.core.checkpoint import Checkpoint, write_checkpoint
from photic.core.errors import CheckpointError, ConfigError, UnknownNameError
from photic.models import get_registry
from photic.models.backbone import AttentiveBackbone
from photic.models.cbam import CBAM
from photic.models.convnext_cbam import ConvNeXtTinyConfig

SMALL = "convnext_atto"  # ConvNeXt with 3.7 M parameters: the same layer names as convnext_tiny


def make(name="timm", **fields):
    fields = {"num_classes": 4, "pretrained": False, **({"backbone": SMALL} if name == "timm" else {}), **fields}
    return get_registry().get(name, **fields)


def attention_inputs(network, image):
    """Return the shapes that reach each CBAM, in order."""
    seen = []
    for module in network.modules():
        if isinstance(module, CBAM):
            module.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape)))
    with torch.no_grad():
        network(image)
    return seen


def test_stages_3_and_4_of_convnext_tiny_have_384_and_768_channels_on_a_native_strip():
    with torch.device("meta"):
        network = make("convnext_tiny_cbam")
        assert attention_inputs(network, torch.zeros(1, 3, 256, 1600)) == [(1, 384, 16, 100), (1, 768, 8, 50)]


def test_all_four_stages_of_convnext_tiny_are_counted_from_1_without_stem_and_down_samplers():
    with torch.device("meta"):
        network = make("convnext_tiny_cbam", cbam_stages=[1, 2, 3, 4])
        shapes = attention_inputs(network, torch.zeros(1, 3, 256, 1600))
    assert shapes == [(1, 96, 64, 400), (1, 192, 32, 200), (1, 384, 16, 100), (1, 768, 8, 50)]


@pytest.mark.parametrize(
    ("backbone", "channels"),
    [
        ("resnet18", [64, 128, 256, 512]),
        ("tf_efficientnet_lite0", [24, 40, 112, 320]),
        ("regnety_002", [24, 56, 152, 368]),
        ("mobilenetv3_small_100", [16, 24, 48, 576]),
    ],
)
def test_stages_of_other_backbones_lie_at_a_quarter_to_a_thirty_second_of_the_picture(backbone, channels):
    shapes = attention_inputs(make(backbone=backbone, cbam_stages=[1, 2, 3, 4]).eval(), torch.zeros(1, 3, 64, 128))
    assert shapes == [(1, c, 64 // r, 128 // r) for c, r in zip(channels, (4, 8, 16, 32), strict=True)]


def test_a_channels_last_backbone_gets_attention_over_channels_and_maps_with_channels_first():
    network = make(backbone="swin_s3_tiny_224", cbam_stages=[4]).eval()
    shapes, maps = [], []
    network.activation_layer().register_forward_hook(lambda _, __, output: maps.append(tuple(output.shape)))
    shapes = attention_inputs(network, torch.zeros(1, 3, 224, 224))
    assert shapes == [(1, 768, 7, 7)]
    assert maps == [(1, 768, 7, 7)]


def test_the_order_and_the_number_of_attention_stages_follow_the_config():
    assert sum(isinstance(m, CBAM) for m in make(cbam_stages=[]).modules()) == 0
    assert sum(isinstance(m, CBAM) for m in make(cbam_stages=[2]).modules()) == 1
    with pytest.raises(ConfigError, match=r"cbam_stages.*named twice"):
        make(cbam_stages=[3, 3])
    with pytest.raises(ConfigError, match=r"cbam_stages\[0\]: expected one of 1, 2, 3, 4"):
        make(cbam_stages=[5])


def test_attention_of_a_stage_reaches_the_logits():
    torch.manual_seed(0)
    network = make(cbam_stages=[3]).eval()
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        before = network(image)
        network.stage(3).attention.spatial.convolution.weight.add_(1.0)
        assert not torch.allclose(before, network(image))


def test_activation_layer_gives_the_last_map_after_attention():
    network = make(cbam_stages=[3, 4])
    assert isinstance(network.activation_layer(), CBAM)
    assert make(cbam_stages=[3]).activation_layer() is not None


def test_plain_transformers_are_refused_with_a_way_out():
    with pytest.raises(ConfigError, match=r"no feature maps of falling resolution.*choose"):
        make(backbone="vit_tiny_patch16_224")


def test_an_unknown_backbone_is_answered_with_the_nearest():
    with pytest.raises(UnknownNameError, match=r"no network 'convnext_tinny'; did you mean 'convnext_tiny'"):
        make(backbone="convnext_tinny")
    with pytest.raises(UnknownNameError, match=r"no weights 'a1_in1' for 'resnet18'; did you mean 'a1_in1k'"):
        make(backbone="resnet18.a1_in1")


def test_an_option_the_backbone_does_not_take_is_an_error():
    with pytest.raises(ConfigError, match="drop_path_rate"):
        make(backbone="vgg11", drop_path_rate=0.1)


def test_drop_rates_reach_the_network():
    network = make("convnext_tiny_cbam", drop_rate=0.3, drop_path_rate=0.2)
    assert network.backbone.head.drop.p == 0.3
    assert max(getattr(m, "drop_prob", 0.0) or 0.0 for m in network.modules()) == pytest.approx(0.2)


def test_num_classes_left_open_is_an_error():
    with pytest.raises(ConfigError, match=r"num_classes: not set"):
        make(num_classes=None)


# Starting weights ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A file as timm publishes it: 1000 classes, no attention."""
    torch.manual_seed(1)
    source = timm.create_model(SMALL, pretrained=False)
    with torch.no_grad():
        source.head.norm.weight.uniform_(0.5, 1.5)
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    save_file(source.state_dict(), path)
    return path, source


def test_weights_from_a_file_fill_all_but_the_classification_layer_and_attention(published, caplog):
    path, source = published
    with caplog.at_level(logging.INFO, logger="photic"):
        network = make(pretrained=True, weights=str(path), cbam_stages=[3, 4])
    loaded = {name.replace(".stage.", "."): value for name, value in network.backbone.state_dict().items()}
    for name, value in source.state_dict().items():
        if not name.startswith("head.fc"):
            torch.testing.assert_close(loaded[name], value, rtol=0, atol=0)
    assert "1000 classes left out" in network.notes[0]
    assert "1000 classes left out" in caplog.text


def test_the_pretrained_normalisation_in_the_head_is_kept_and_used(published):
    path, source = published
    network = make(weights=str(path)).eval()
    torch.testing.assert_close(network.backbone.head.norm.weight, source.head.norm.weight, rtol=0, atol=0)
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        features = source.eval().forward_head(source.forward_features(image), pre_logits=True)
        torch.testing.assert_close(network(image), network.backbone.head.fc(features))


def test_a_pth_of_plain_tensors_loads_too(published, tmp_path):
    _, source = published
    torch.save(source.state_dict(), tmp_path / "model.pth")
    network = make(weights=str(tmp_path / "model.pth"))
    torch.testing.assert_close(network.backbone.stem[0].weight, source.stem[0].weight)


def test_the_classification_layer_is_kept_where_its_class_count_fits(published):
    path, source = published
    network = make(weights=str(path), num_classes=1000)
    torch.testing.assert_close(network.backbone.head.fc.weight, source.head.fc.weight, rtol=0, atol=0)
    assert network.notes == ()


def test_weights_of_a_trained_network_start_one_with_another_class_count(tmp_path):
    trained = make(cbam_stages=[3], num_classes=6)
    file = write_checkpoint(tmp_path / "best.safetensors", Checkpoint({f"graph.network.{k}": v for k, v in trained.state_dict().items()}))
    network = make(weights=str(file), cbam_stages=[3])
    assert "6 classes left out" in network.notes[0]
    torch.testing.assert_close(network.stage(3).attention.spatial.convolution.weight, trained.stage(3).attention.spatial.convolution.weight)
    with pytest.raises(CheckpointError, match=r"missing in the file[\s\S]*model settings the weights were trained with"):
        make(weights=str(file), cbam_stages=[3, 4])


def test_weights_of_another_network_are_refused_and_the_layers_named(published):
    path, _ = published
    with pytest.raises(CheckpointError, match=r"conv1\.weight: missing in the file"):
        make(backbone="resnet18", weights=str(path))
    with pytest.raises(CheckpointError, match=r"stem\.0\.weight: the network has \(48, 3, 4, 4\), the file \(40, 3, 4, 4\)"):
        make(backbone="convnext_femto", weights=str(path))


def test_a_missing_and_an_empty_weights_file_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="no such weights file"):
        make(weights=str(tmp_path / "absent.safetensors"))
    save_file({}, tmp_path / "empty.safetensors")
    with pytest.raises(CheckpointError, match="holds no weights"):
        make(weights=str(tmp_path / "empty.safetensors"))


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.mark.parametrize("name", ["convnext_tiny_cbam", "timm"])
def test_without_reach_of_the_hub_the_message_says_which_file_to_put_where(name, monkeypatch, empty_cache):
    from huggingface_hub import constants

    nowhere = "http://127.0.0.1:9"  # nothing listens there
    monkeypatch.setattr(constants, "ENDPOINT", nowhere)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", nowhere + "/{repo_id}/resolve/{revision}/{filename}")
    identity = "timm/convnext_tiny.in12k_ft_in1k" if name == "convnext_tiny_cbam" else "timm/convnext_atto.d2_in1k"
    with pytest.raises(CheckpointError) as caught:
        make(name, pretrained=True)
    text = str(caught.value)
    for part in ("model.safetensors", identity, "model.weights=", "pretrained=false", "within reach"):
        assert part in text


def test_offline_mode_asks_no_hub(monkeypatch, empty_cache):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: pytest.fail("asked the network"))
    with pytest.raises(CheckpointError, match=r"HF_HUB_OFFLINE is set.*model\.weights="):
        make("convnext_tiny_cbam", pretrained=True)


def test_weights_in_the_hub_cache_are_used_without_asking_the_hub(published, monkeypatch, empty_cache):
    path, source = published
    snapshot = empty_cache / "models--timm--convnext_atto.d2_in1k"
    (snapshot / "snapshots" / "abc").mkdir(parents=True)
    (snapshot / "refs").mkdir()
    (snapshot / "refs" / "main").write_text("abc")
    (snapshot / "snapshots" / "abc" / "model.safetensors").write_bytes(path.read_bytes())
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: pytest.fail("asked the network"))
    network = make(pretrained=True, cbam_stages=[4])
    torch.testing.assert_close(network.backbone.stem[0].weight, source.stem[0].weight, rtol=0, atol=0)
    from_file = make(weights=str(path), cbam_stages=[4])
    assert network.notes == from_file.notes


def test_a_backbone_without_published_weights_is_an_error():
    bare = next(name for name in timm.list_models("resnet*") if not timm.models.is_model_pretrained(name))
    with pytest.raises(ConfigError, match=r"no published weights.*weights=path or pretrained=false"):
        make(backbone=bare, pretrained=True)


# Freezing -----------------------------------------------------------------------------------------------------------


def test_a_frozen_backbone_trains_only_attention_and_classification_layer_and_keeps_its_statistics(published):
    network = make(backbone="resnet18", cbam_stages=[4], freeze_backbone=True)
    trainable = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert trainable == {n for n, _ in network.named_parameters() if ".attention." in n or n.startswith("backbone.fc.")}
    network.train()
    before = copy.deepcopy(network.state_dict())
    network(torch.randn(4, 3, 64, 64)).sum().backward()
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert "frozen at random weights" in network.notes[0]


def test_backbone_parameters_leave_out_attention_and_classification_layer():
    network = make("convnext_tiny_cbam")
    own = {id(parameter) for parameter in network.backbone_parameters()}
    outside = {name for name, parameter in network.named_parameters() if id(parameter) not in own}
    assert outside
    assert all(".attention." in name or ".head.fc." in name for name in outside)


def test_a_copy_of_a_network_has_its_own_attention():
    """Averages of weights are kept in copies: attention put in by hooks would be shared with the original."""
    network = make(cbam_stages=[4]).eval()
    twin = copy.deepcopy(network)
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before = network(image)
        twin.stage(4).attention.spatial.convolution.weight.add_(5.0)
        torch.testing.assert_close(network(image), before, rtol=0, atol=0)
        assert not torch.allclose(twin(image), before)


def test_the_network_class_is_not_named_after_its_attention():
    assert type(make("convnext_tiny_cbam")) is AttentiveBackbone
    assert "cbam" not in AttentiveBackbone.__name__.lower()
    assert ConvNeXtTinyConfig().cbam_stages == (3, 4)


def test_imagenet_normalisation_is_what_timm_says():
    assert make("convnext_tiny_cbam").mean == (0.485, 0.456, 0.406)
    assert make(backbone="tf_efficientnet_lite0").std == (0.5, 0.5, 0.5)

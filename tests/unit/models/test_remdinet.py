"""RemDiNet as a whole: its switches, what is decided for the whole picture, its backbone's weights."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from photic.core.errors import CheckpointError, ConfigError, UnknownNameError
from photic.functional.overview import overview
from photic.models import get_registry
from photic.models.remdinet.colour import lift_saturation, mean_saturation
from photic.models.remdinet.network import RemDiNetConfig, UnifiedLowLightEnhancer

SMALL: dict[str, Any] = {
    "backbone": "mobilenetv3_small_050",
    "semantic_dim": 16,
    "num_attention_blocks": 1,
    "curve_width": 8,
    "mask_width": 8,
    "distraction_width": 8,
}


def make(**chosen: Any) -> UnifiedLowLightEnhancer:
    torch.manual_seed(0)
    network: UnifiedLowLightEnhancer = get_registry().get("remdinet", **SMALL | chosen)
    return network


def picture(*size: int, seed: int = 0) -> Tensor:
    return 0.2 * torch.rand(*size, generator=torch.Generator().manual_seed(seed))


def numbers(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


# --- the design's numbers --------------------------------------------------------------------------------------------------------------


def test_as_designed_it_has_4_1_million_parameters_and_eight_curves() -> None:
    network = get_registry().get("remdinet")
    sizes = {name: numbers(part) for name, part in network.named_children()}
    assert sizes == {
        "snr": 0,
        "curve": 79_704,
        "backbone": 2_971_952,
        "decoder": 923_681,
        "distraction": 134_755,
        "mask": 11_009,
        "colour": 16,
    }
    assert numbers(network) == 4_121_117
    assert (network.multiple, network.tile_align, network.margin_px) == (32, 256, 67)


def test_its_size_is_a_matter_of_settings() -> None:
    assert numbers(make()) < 400_000


def test_the_picture_is_the_blend_after_affine_map_and_lift() -> None:
    network, image = make().eval(), picture(1, 3, 40, 50)
    with torch.no_grad():
        decision = network.decide(overview(image))
        made = network(image)
        mask = made.parts["mask"]
        blend = mask * made.parts["curved"] + (1 - mask) * made.parts["semantic"]
        torch.testing.assert_close(made.picture, lift_saturation(network.colour(blend), decision))
    assert made.parts["curves"].shape == (1, 24, 40, 50)


def test_the_decision_is_the_saturation_of_the_enhanced_overview_before_the_lift() -> None:
    network, small = make().eval(), picture(2, 3, 64, 64)
    with torch.no_grad():
        decision = network.decide(small)
        torch.testing.assert_close(decision, mean_saturation(network.compose(small).picture))
        grey = network(small, decision=torch.zeros(2, 1)).picture
        vivid = network(small, decision=torch.ones(2, 1)).picture
    assert decision.shape == (2, 1)
    torch.testing.assert_close(vivid, network.compose(small).picture, atol=1e-6, rtol=0)
    assert (mean_saturation(grey) > mean_saturation(vivid)).all()


def test_tiles_agree_on_the_lift_although_one_is_grey() -> None:
    network = make().eval()
    image = picture(1, 3, 64, 512)
    image[..., 256:] = image[..., 256:].mean(dim=1, keepdim=True)
    with torch.no_grad():
        decisions = [network.decide(overview(one)) for one in (image, image[..., 256:])]
        assert not torch.allclose(*decisions, atol=0.01)
        whole = network(image).picture
        tile = network(image[..., 256:], small=overview(image)).picture
    torch.testing.assert_close(tile[..., network.margin_px :], whole[..., 256 + network.margin_px :], atol=1e-5, rtol=1e-4)


# --- switches --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("switches", "parts"),
    [
        ({}, {"curves", "curved", "semantic", "guidance", "mask"}),
        ({"use_semantic": False}, {"curves", "curved"}),
        ({"use_curve": False}, {"semantic"}),
        ({"use_snr": False}, {"curves", "curved", "semantic", "guidance", "mask"}),
        ({"learned_snr": True}, {"curves", "curved", "semantic", "guidance", "mask"}),
        ({"use_semantic": False, "use_snr": False}, {"curves", "curved"}),
    ],
    ids=lambda value: str(sorted(value)),  # the order of a set differs from process to process
)
def test_every_combination_of_branches_gives_a_picture_and_a_gradient_to_all_it_learns(switches: dict[str, Any], parts: set[str]) -> None:
    network = make(**switches).train()
    made = network(picture(2, 3, 32, 64))
    assert set(made.parts) == set(network.part_names) == parts
    assert made.picture.shape == (2, 3, 32, 64)
    assert made.picture.std() > 0
    (made.picture.square().sum() + made.picture.sum()).backward()  # the picture alone reaches everything
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
        assert parameter.grad.abs().max() > 0, key


def test_without_the_semantic_branch_nothing_of_the_backbone_is_made_and_any_size_is_taken_as_it_is() -> None:
    network = make(use_semantic=False)
    assert {name for name, _ in network.named_children()} == {"snr", "curve", "colour"}
    assert (network.multiple, network.tile_align, network.margin_px) == (1, 1, 9)


def test_without_snr_noise_changes_nothing_and_the_channel_holds_a_half() -> None:
    seen: list[Tensor] = []
    for use_snr in (True, False):
        network = make(use_snr=use_snr).eval()
        assert network.curve is not None
        network.curve.network.hidden[0].register_forward_hook(lambda _, given, __: seen.append(given[0][:, 3]))
        network(picture(1, 3, 32, 32), decision=torch.ones(1, 1))
    assert seen[0].std() > 0.01
    assert (seen[1] == 0.5).all()


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"use_curve": False, "use_semantic": False}, r"remdinet: use_curve and use_semantic are both false"),
        ({"use_snr": False, "learned_snr": True}, r"remdinet\.learned_snr: true, but use_snr is false"),
        ({"semantic_dim": 20}, r"remdinet\.semantic_dim: expected a multiple of 8, got 20"),
        ({"num_curves": 0}, r"remdinet\.num_curves"),
    ],
    ids=str,
)
def test_settings_that_make_no_network_are_refused(chosen: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RemDiNetConfig(**SMALL | chosen)


def test_parameters_are_of_the_curves_the_mask_or_other() -> None:
    network = make()
    parts = {name: network.part_of(name) for name, _ in network.named_parameters()}
    assert set(parts.values()) == {"curve", "mask", "other"}
    assert parts["curve.network.last.weight"] == "curve"
    assert parts["mask.layers.0.weight"] == "mask"
    assert {part for name, part in parts.items() if name.split(".")[0] in ("backbone", "decoder", "distraction", "colour")} == {"other"}


# --- training --------------------------------------------------------------------------------------------------------------------------


def test_it_fits_one_dark_picture() -> None:
    network = make().train()
    truth = torch.nn.functional.interpolate(0.2 + 0.7 * torch.rand(1, 3, 4, 4), size=(32, 32), mode="bicubic").clamp(0, 1)
    dark = truth / 7.6 + 0.01 * torch.rand(truth.shape)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-2)
    errors = []
    for _ in range(25):
        loss = (network(dark).picture - truth).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        errors.append(loss.item())
    assert errors[0] > 0.1
    assert errors[-1] < 0.05


def test_statistics_of_the_backbone_stay_as_they_are_in_training() -> None:
    network = make().train()
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    assert any("running_mean" in name for name in buffers)
    network(picture(4, 3, 32, 32))
    assert all(torch.equal(buffers[name], buffer) for name, buffer in network.named_buffers())


class Pictures(torch.nn.Module):
    """Only the enhanced picture: exported graphs give tensors."""

    def __init__(self, network: UnifiedLowLightEnhancer) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        made: Tensor = self.network(image).picture
        return made


def test_it_can_be_exported_as_one_graph_without_branches_on_data() -> None:
    network, image = Pictures(make().eval()), picture(1, 3, 40, 50)
    exported = torch.export.export(network, (image,), strict=False).module()
    for one in (image, torch.zeros_like(image)):
        torch.testing.assert_close(exported(one), network(one))


def test_it_works_in_half_precision() -> None:
    network, image = make().eval(), picture(1, 3, 32, 32)
    with torch.no_grad():
        plain = network(image).picture
        half = copy.deepcopy(network).half()(image.half())
    assert half.picture.dtype == torch.float16
    torch.testing.assert_close(half.picture.float(), plain, atol=0.01, rtol=0.01)
    assert torch.isfinite(network.half()(torch.zeros(1, 3, 32, 32).half()).picture).all()


# --- the backbone's weights ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a whole classifier, as timm publishes them."""
    import timm

    torch.manual_seed(7)
    file = tmp_path_factory.mktemp("weights") / "model.safetensors"
    save_file(timm.create_model("mobilenetv3_small_050").state_dict(), file)
    return file


def backbone_weight(network: UnifiedLowLightEnhancer) -> Tensor:
    assert network.backbone is not None
    return network.backbone.get_parameter("features.model.conv_stem.weight")


def test_weights_from_a_file_fill_the_backbone_and_freeze_its_first_two_resolutions(published: Path) -> None:
    from safetensors.torch import load_file

    network = make(weights=published)
    assert network.backbone is not None
    expected = load_file(published)
    own = network.backbone.features.model.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in own.items())
    frozen = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    # bn1 ends the first resolution of this network and blocks.0 the second; see timm's feature_info.
    assert {name.removeprefix("backbone.features.model.").split(".")[0] for name in frozen} == {"conv_stem", "bn1", "blocks"}
    assert {name.split(".")[4] for name in frozen if ".blocks." in name} == {"0"}


def test_random_backbones_learn_as_a_whole_unless_told_otherwise() -> None:
    assert all(parameter.requires_grad for parameter in make().parameters())
    frozen = [name for name, parameter in make(frozen_stages=1).named_parameters() if not parameter.requires_grad]
    assert {name.split(".")[3] for name in frozen} == {"conv_stem", "bn1"}
    everything = make(frozen_stages=5)
    assert not any(parameter.requires_grad for parameter in everything.backbone.parameters())
    everything(picture(1, 3, 32, 32)).picture.sum().backward()
    assert backbone_weight(everything).grad is None


def test_pretrained_weights_that_come_as_a_package_work_offline() -> None:
    network = make(backbone="efficientnet_lite0", pretrained=True)
    random = make(backbone="efficientnet_lite0")
    assert not torch.equal(backbone_weight(network), backbone_weight(random))
    classifier = get_registry().get("efficientnet_lite0", num_classes=2)
    assert torch.equal(backbone_weight(network), classifier.backbone.get_parameter("conv_stem.weight"))
    assert network.backbone is not None
    assert network.backbone.mean.flatten().tolist() == [0.5, 0.5, 0.5]
    image = picture(1, 3, 64, 64)
    with torch.no_grad():
        features = network.backbone(image)[0]
        expected = classifier.eval().backbone.forward_intermediates((image - 0.5) / 0.5, intermediates_only=True)[-1]
    torch.testing.assert_close(features, expected)


def test_out_of_reach_weights_are_an_error_and_never_a_stub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match=r"remdinet\.pretrained: .*model\.weights="):
        make(pretrained=True)


def test_weights_of_another_network_are_refused(published: Path) -> None:
    with pytest.raises(CheckpointError, match="do not fit"):
        make(weights=published, backbone="mobilenetv3_large_100")
    with pytest.raises(CheckpointError, match="no weights of this backbone"):
        make(weights=published, backbone="convnext_atto")


@pytest.mark.parametrize(
    ("backbone", "error", "message"),
    [
        ("mobilenetv3_smal_050", UnknownNameError, "did you mean 'mobilenetv3_small_050'"),
        ("vit_tiny_patch16_224", ConfigError, r"at stride 16, expected 32"),
    ],
)
def test_backbones_that_do_not_fit_are_refused(backbone: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make(backbone=backbone)


def test_more_frozen_resolutions_than_there_are_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"frozen_stages: 'convnext_atto' has features at 4 resolutions, got 5"):
        make(backbone="convnext_atto", frozen_stages=5)


@pytest.mark.parametrize("backbone", ["resnet10t", "convnext_atto"])
def test_other_backbones_of_timm_serve(backbone: str) -> None:
    network = make(backbone=backbone, frozen_stages=2)
    with torch.no_grad():
        assert network(picture(1, 3, 33, 70)).picture.shape == (1, 3, 33, 70)

"""The perceptual loss: a frozen network that nothing trains, saves or averages, and that says what it lacks."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
from torch import nn

from photic.core.errors import CheckpointError, ConfigError, DataError, UnknownNameError
from photic.losses import get_registry
from photic.optim.ema import WeightAverage

RANDOM = {"backbone": "test_resnet", "pretrained": False, "layers": (0, 1, 2)}


def make(**fields):
    return get_registry().get("perceptual", **(RANDOM | fields))


def pair(size=(32, 40)):
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.rand(2, 3, *size, generator=generator) for _ in range(2))


def test_it_is_the_relative_difference_of_features_of_normalised_pictures(tmp_path):
    torch.manual_seed(3)
    network = timm.create_model("test_resnet", num_classes=7).eval()
    file = tmp_path / "weights.pth"
    torch.save(network.state_dict(), file)
    prediction, target = pair()
    mean, std = (torch.tensor(network.pretrained_cfg[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        maps = [network.forward_intermediates((x - mean) / std, indices=[0, 1, 2], intermediates_only=True) for x in (prediction, target)]
    expected = torch.stack([(one - other).abs().mean() / other.abs().mean() for one, other in zip(*maps, strict=True)]).mean()
    assert make(weights_file=file)(prediction, target).item() == pytest.approx(expected.item(), rel=1e-5)
    assert make(weights_file=file)(prediction, target) != make()(prediction, target)


def test_the_packaged_weights_work_offline_and_tell_noise_from_a_shift_of_brightness():
    """Pretrained features see structure; random ones are a stand-in."""
    loss = get_registry().get("perceptual", backbone="efficientnet_lite0")
    y, x = torch.meshgrid(torch.linspace(0, 6, 64), torch.linspace(0, 6, 64), indexing="ij")
    clean = (0.5 + 0.2 * torch.sin(3 * x) * torch.cos(2 * y)).expand(1, 3, 64, 64)
    noisy = clean + 0.05 * torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert loss(clean, clean) == 0
    assert loss(noisy, clean) > 2 * loss(clean + 0.05, clean)


def test_random_features_are_the_same_at_every_start_and_take_no_random_numbers():
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first = make()
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(first(*pair()), make()(*pair()))
    assert torch.equal(first(*pair()), copy.deepcopy(first)(*pair()))


def test_nothing_of_the_network_is_trained_saved_or_averaged():
    task = nn.ModuleDict({"network": nn.Linear(2, 2), "criterion": make()})
    assert list(task["criterion"].parameters()) == []
    assert task["criterion"].state_dict() == {}
    assert set(WeightAverage(task, 0.9).weights) == {"network.weight", "network.bias"}
    task.train()
    assert not any(module.training for module in task["criterion"].features.modules())
    prediction, target = pair()
    features = [value.clone() for value in task["criterion"].features.state_dict().values()]
    loss = task["criterion"](prediction.requires_grad_(), target)
    loss.backward()
    assert prediction.grad.ne(0).float().mean() > 0.99
    assert all(parameter.grad is None for parameter in task["criterion"].features.parameters())
    assert all(torch.equal(*both) for both in zip(features, task["criterion"].features.state_dict().values(), strict=True))


def test_the_network_follows_the_loss_to_a_device_and_type():
    task = nn.Sequential(make())
    task.double()
    assert {parameter.dtype for parameter in task[0].features.parameters()} == {torch.float64}
    assert task[0](*(part.double() for part in pair())).dtype == torch.float64
    task.to("meta")
    assert {parameter.device.type for parameter in task[0].features.parameters()} == {"meta"}


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_flat_pictures_give_finite_values_and_gradients(level):
    prediction, target = torch.full((1, 3, 32, 32), level, requires_grad=True), torch.full((1, 3, 32, 32), 0.25)
    value = make()(prediction, target)
    assert torch.isfinite(value)
    assert torch.isfinite(torch.autograd.grad(value, prediction)[0]).all()
    assert torch.isfinite(make()(target, torch.zeros_like(target)))


def test_weights_out_of_reach_are_an_error_that_says_what_to_do_and_never_other_features(monkeypatch, tmp_path):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        CheckpointError, match=r"perceptual\.pretrained: .*timm/test_resnet.*weights_file=.*efficientnet_lite0.*pretrained=false"
    ):
        make(pretrained=True)


def test_foreign_weights_are_refused(tmp_path):
    torch.save({"layer.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"other\.pth: holds no weights of this backbone"):
        make(weights_file=tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="no such weights file"):
        make(weights_file=tmp_path / "missing.pth")


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"backbone": "vgg61"}, UnknownNameError, "did you mean"),
        ({"layers": (1, 9)}, ConfigError, r"perceptual\.layers: 'test_resnet' has no such layers"),
        ({"layers": ()}, ConfigError, r"perceptual\.layers: expected at least one"),
        ({"layers": (1, 1)}, ConfigError, r"each once"),
        ({"layers": (-1,)}, ConfigError, r"perceptual\.layers"),
        ({"backbone": "test_vit", "layers": (0, 1)}, ConfigError, "no feature maps of falling resolution"),
        ({"backbone": "test_vit", "layers": (1,)}, ConfigError, "no feature maps of falling resolution"),
    ],
)
def test_impossible_settings_are_refused(fields, error, message):
    with pytest.raises(error, match=message):
        make(**fields)


def test_what_it_cannot_compare_is_refused():
    prediction, target = pair()
    with pytest.raises(DataError, match=r"perceptual: expected prediction and target of one shape \(B, 3, H, W\)"):
        make()(prediction, target[..., 1:])
    with pytest.raises(DataError, match=r"needs pictures of at least 8 x 8 pixels, got \(2, 3, 6, 40\)"):
        make()(prediction[:, :, :6], target[:, :, :6])
    with pytest.raises(ConfigError, match="perceptual: takes no mask"):
        make()(prediction, target, torch.ones(2, 1, 32, 40))
    fixed = get_registry().get("perceptual", backbone="swin_tiny_patch4_window7_224", pretrained=False, layers=(0, 1))
    with pytest.raises(DataError, match=r"does not take pictures \(2, 3, 32, 40\)"):
        fixed(prediction, target)

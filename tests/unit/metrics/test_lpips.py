"""LPIPS against torchmetrics' with the same weights, and what is said where weights are missing."""

from __future__ import annotations

import pytest
import torch
from torchmetrics.functional.image.lpips import _NoTrainLpips

from photic.core.errors import CheckpointError, ConfigError, DataError
from photic.core.registry import metrics
from photic.metrics import lpips


@pytest.fixture(scope="module")
def references(tmp_path_factory):
    """torchmetrics' networks with random convolutions, and files that hold those as torchvision names them."""
    made = {}
    for net in ("alex", "vgg"):
        torch.manual_seed(0)
        reference = _NoTrainLpips(net=net, pnet_rand=True)
        named = {f"features.{name.split('.')[1]}.{name.split('.')[2]}": value for name, value in reference.net.state_dict().items()}
        file = tmp_path_factory.mktemp("weights") / f"{net}.pth"
        torch.save(named | {"classifier.6.bias": torch.zeros(1000)}, file)
        made[net] = (reference, file)
    return made


def pair():
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.rand(2, 3, 64, 70, generator=generator) for _ in range(2))


@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_it_is_that_of_torchmetrics(references, net):
    reference, file = references[net]
    prediction, target = pair()
    metric = metrics.get("lpips", net=net, weights_file=file)
    expected = reference(prediction, target, normalize=True).flatten()
    torch.testing.assert_close(metric.values(prediction, target), expected, rtol=1e-4, atol=1e-6)
    metric.update(prediction, target)
    assert metric.compute() == {"lpips": pytest.approx(expected.mean().item(), rel=1e-4)}
    assert metric.values(target, target).eq(0).all()
    assert metric.values(torch.zeros_like(target), target).isfinite().all()
    assert metric.higher_is_better is False


def test_aligned_pictures_have_a_name_of_their_own(references):
    metric = metrics.get("lpips", weights_file=references["alex"][1], gt_mean=True)
    prediction, target = pair()
    metric.update(prediction, target)
    assert list(metric.compute()) == ["lpips_gt_mean"]
    assert metric.values(0.5 * target, target).max() < 1e-6


def test_without_weights_it_says_which_file_goes_where(monkeypatch, tmp_path, references):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match=r"lpips\.weights_file: .*alexnet-owt-7be5be79\.pth.*checkpoints.*leave lpips out"):
        metrics.get("lpips")
    cached = tmp_path / "hub" / "checkpoints" / "alexnet-owt-7be5be79.pth"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(references["alex"][1].read_bytes())
    assert metrics.get("lpips").values(*pair()).shape == (2,)


def test_without_torchmetrics_it_says_so(monkeypatch, references):
    monkeypatch.setattr(lpips.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"torchmetrics, which is not installed; run `pip install torchmetrics`"):
        metrics.get("lpips", weights_file=references["alex"][1])


def test_foreign_weights_and_tiny_pictures_are_refused(references):
    with pytest.raises(CheckpointError, match="do not fit"):
        metrics.get("lpips", net="vgg", weights_file=references["alex"][1])
    with pytest.raises(DataError, match=r"lpips: needs pictures of at least 32 x 32 pixels, got 16 x 70"):
        metrics.get("lpips", weights_file=references["alex"][1]).values(*(part[:, :, :16] for part in pair()))

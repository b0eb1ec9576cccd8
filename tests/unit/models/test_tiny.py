import pytest
import torch
from torch import nn

from photic.core.errors import ConfigError, DataError
from photic.models import get_registry
from photic.models.tiny import TinyClassifier


def make(**fields):
    return get_registry().get("tiny", num_classes=3, **fields)


def test_it_has_fewer_than_100k_parameters_and_grows_with_width():
    sizes = [sum(p.numel() for p in make(width=width).parameters()) for width in (8, 16, 32)]
    assert sizes[1] < 100_000
    assert sizes == sorted(sizes)


@pytest.mark.parametrize("size", [(16, 16), (17, 63), (256, 1600), (16, 400)])
def test_it_takes_any_size_from_16_pixels_on(size):
    with torch.no_grad():
        assert make().eval()(torch.zeros(1, 3, *size)).shape == (1, 3)


def test_smaller_pictures_are_refused():
    with pytest.raises(DataError, match=r"\(1, 3, 15, 64\).*16 pixels"):
        make()(torch.zeros(1, 3, 15, 64))


def test_it_has_no_batch_statistics_so_training_and_evaluation_agree():
    network = make()
    assert not list(network.buffers())
    images = torch.randn(4, 3, 32, 48)
    torch.testing.assert_close(network.train()(images)[:1], network.eval()(images[:1]))


def test_activation_maps_keep_an_eighth_of_the_resolution():
    network, maps = make(), []
    network.activation_layer().register_forward_hook(lambda _, __, output: maps.append(output.shape))
    network(torch.zeros(1, 3, 256, 400))
    assert maps == [(1, 64, 32, 50)]


def test_nothing_in_it_counts_as_pretrained():
    assert make().backbone_parameters() == []


def test_open_class_count_is_an_error():
    with pytest.raises(ConfigError, match="num_classes"):
        get_registry().get("tiny")


def test_it_learns_defects_of_three_pixels_in_seconds():
    """A bright dot (class 0) and a dark dot (class 1) anywhere on a noisy strip, each there half of the time."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)

    def draw(number):
        images = 0.5 + 0.05 * torch.randn(number, 1, 32, 96, generator=generator).expand(-1, 3, -1, -1).clone()
        target = (torch.rand(number, 2, generator=generator) < 0.5).float()
        for i in range(number):
            for c, value in ((0, 0.9), (1, 0.1)):
                if target[i, c]:
                    y, x = (int(torch.randint(limit - 3, (1,), generator=generator)) for limit in (32, 96))
                    images[i, :, y : y + 3, x : x + 3] = value
        return (images - 0.5) / 0.25, target

    network = TinyClassifier(num_classes=2, width=8)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for _ in range(60):
        images, target = draw(16)
        optimizer.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(network(images), target).backward()
        optimizer.step()
    images, target = draw(128)
    with torch.no_grad():
        right = ((network(images) > 0) == target.bool()).float().mean()
    assert right > 0.9

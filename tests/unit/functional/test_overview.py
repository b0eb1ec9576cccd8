"""The whole picture at a glance, and padding to what a network can halve."""

import pytest
import torch

from photic.core.errors import DataError
from photic.functional.overview import crop_to, overview, pad_to_multiple, require_pictures


def test_an_overview_is_the_mean_of_each_share():
    image = torch.rand(2, 3, 128, 192, generator=torch.Generator().manual_seed(0))
    small = overview(image)
    assert small.shape == (2, 3, 64, 64)
    torch.testing.assert_close(small[1, 2, 0, 5], image[1, 2, 0:2, 15:18].mean())
    torch.testing.assert_close(small.mean(dim=(2, 3)), image.mean(dim=(2, 3)))


@pytest.mark.parametrize("size", [(1, 1), (64, 64), (63, 200), (7, 65)])
def test_every_size_has_an_overview(size):
    assert overview(torch.full((3, *size), 0.5)).eq(0.5).all()


def test_what_is_no_picture_is_refused():
    with pytest.raises(DataError, match=r"\(4, 4\)"):
        overview(torch.zeros(4, 4))
    for image in (torch.zeros(3, 8, 8), torch.zeros(1, 1, 8, 8), torch.zeros(1, 3, 8, 8, dtype=torch.uint8), torch.zeros(1, 3, 0, 8)):
        with pytest.raises(DataError, match=r"net: expected pictures \(B, 3, H, W\)"):
            require_pictures(image, "net")


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (31, 33), (32, 64), (5, 100)])
def test_padding_reaches_the_multiple_and_cropping_gives_the_picture_back(size):
    image = torch.rand(1, 3, *size)
    padded = pad_to_multiple(image, 32)
    assert padded.shape[-2] % 32 == padded.shape[-1] % 32 == 0
    assert padded.shape[-2] - size[0] < 32
    assert torch.equal(crop_to(padded, image), image)
    assert padded.min() >= image.min()


def test_padding_mirrors_so_that_no_edge_appears():
    padded = pad_to_multiple(torch.arange(30.0).view(1, 1, 1, 30).expand(1, 3, 8, 30), 8)
    assert padded[0, 0, 0, 28:].tolist() == [28, 29, 28, 27]

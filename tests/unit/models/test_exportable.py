"""What networks do while they are exported is what they do otherwise: the same numbers, by operations that graphs for all sizes have."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from timm.layers.conv2d_same import Conv2dSame

from photic.functional.borders import mirrored, to_multiple
from photic.functional.cfa import BAYER, XTRANS, cfa_planes
from photic.functional.overview import pad_to_multiple
from photic.models.codec.hyper_entropy import MeanScaleHyperprior
from photic.models.codec.integer_synthesis import IntegerSynthesis
from photic.models.same_padding import ExportableSame, with_exportable_padding
from photic.models.spectral import SpectralConvolution
from photic.models.standard import Standard


@pytest.fixture
def exporting(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let networks believe that they are exported from the moment on that a test sets it."""
    return lambda: monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)


@pytest.mark.parametrize("size", [(2, 3), (5, 40), (31, 32), (48, 96), (97, 65)])
@pytest.mark.parametrize("multiple", [1, 2, 16, 48])
def test_pictures_are_continued_alike(size: tuple[int, int], multiple: int, exporting: Callable[[], None]) -> None:
    picture = torch.rand(2, 3, *size)
    padded, again = to_multiple(picture, multiple), pad_to_multiple(picture, multiple)
    around = mirrored(picture, top=1, bottom=3, left=2)
    exporting()
    assert torch.equal(to_multiple(picture, multiple), padded)
    assert torch.equal(pad_to_multiple(picture, multiple), again)
    assert torch.equal(mirrored(picture, top=1, bottom=3, left=2), around)


def test_a_denoiser_finds_the_pattern_of_each_picture(exporting: Callable[[], None]) -> None:
    torch.manual_seed(0)
    network = Standard("mosaic", "tiny").eval()
    planes = torch.stack([cfa_planes(pattern, 48, 96) for pattern in (BAYER["RGGB"], XTRANS, BAYER["GBRG"])])
    given = torch.rand(3, 1, 48, 96), planes, torch.full((3, 2), 1e-3), torch.tensor([[2.0, 1.0, 1.5]]).repeat(3, 1)
    with torch.no_grad():
        expected = network(*given)
        exporting()
        assert torch.equal(network(*given), expected)


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (5, 3)])
def test_integers_of_the_hyper_synthesis_are_the_same_integers(size: tuple[int, int], exporting: Callable[[], None]) -> None:
    torch.manual_seed(0)
    model = MeanScaleHyperprior(6, 5)
    model.fix()
    synthesis: IntegerSynthesis = model.integer_synthesis
    hyper = torch.randint(-40, 40, (2, 5, *size)).float()
    expected = synthesis(hyper)
    assert expected.dtype == torch.float64 and expected.abs().max() > 0
    latents = 8 * torch.randn(2, 6, 4 * size[0], 4 * size[1])
    decoded = model.rounded(latents).latents
    assert torch.equal(model.decoded(latents), decoded)
    exporting()
    assert torch.equal(synthesis(hyper), expected)
    assert torch.equal(model.decoded(latents), decoded)


@pytest.mark.parametrize(("size", "modes"), [((16, 16), 5), ((16, 24), 12), ((8, 8), 4)])
def test_spectral_convolutions_are_the_same_by_products(size: tuple[int, int], modes: int, exporting: Callable[[], None]) -> None:
    torch.manual_seed(0)
    layer = SpectralConvolution(3, 4, modes).double()
    features = torch.randn(2, 3, *size, dtype=torch.float64)
    expected = layer(features)
    exporting()
    torch.testing.assert_close(layer(features), expected, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("size", [(8, 9), (9, 8), (1, 2), (33, 64)])
def test_padding_by_size_is_the_same(kernel: int, size: tuple[int, int], exporting: Callable[[], None]) -> None:
    network = with_exportable_padding(torch.nn.Sequential(Conv2dSame(3, 4, kernel, stride=2)))
    assert type(network[0]) is ExportableSame
    features = torch.randn(2, 3, *size)
    expected = network(features)
    exporting()
    assert torch.equal(network(features), expected)

"""Every block of RemDiNet: shapes, documented numbers, and a gradient for its inputs and all it learns."""

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor, nn

from photic.core.errors import DataError
from photic.functional.colour import luma
from photic.models.remdinet.colour import GlobalColourAffine, bounded, lift_saturation, mean_saturation, scale_colour, scale_of_lift
from photic.models.remdinet.curve_branch import ImprovedCurveEstimator, MaskPredictor
from photic.models.remdinet.features import build_features, from_windows, to_windows
from photic.models.remdinet.guidance import DistractionModule, SNREstimator, guidance, snr_map
from photic.models.remdinet.semantic import CellNorm, TransformerDecoder, WindowAttentionBlock, relight


def picture(*size: int, high: float = 0.2, seed: int = 0) -> Tensor:
    return high * torch.rand(*size, generator=torch.Generator().manual_seed(seed))


def features_of(backbone: str = "mobilenetv3_small_050", **chosen: object) -> nn.Module:
    return build_features(backbone, "remdinet", **{"pretrained": False, "weights": None, "frozen_stages": None} | chosen)


def maps(channels: int = 1) -> Tensor:
    return picture(2, channels, 64, 96, high=1.0, seed=channels)


# What each block is given, and everything it gives as one tensor. Sides are divisible by 32.
BLOCKS: dict[str, tuple[Callable[[], nn.Module], Callable[[nn.Module, list[Tensor]], list[Tensor]], tuple[int, ...]]] = {
    "snr": (lambda: SNREstimator(learned=True), lambda block, given: [block(given[0])], (3,)),
    "distraction": (lambda: DistractionModule(8), lambda block, given: [block(*given)], (3, 1)),
    "curves": (lambda: ImprovedCurveEstimator(8), lambda block, given: list(block(*given)), (3, 1)),
    "mask": (lambda: MaskPredictor(8), lambda block, given: [block(*given)], (3, 1, 1)),
    "colour": (GlobalColourAffine, lambda block, given: [block(*given)], (3,)),
    "backbone": (features_of, lambda block, given: [block(given[0])[0]], (3,)),
    "decoder": (
        lambda: TransformerDecoder(5, 16, 2),
        lambda block, given: list(block(given[0], given[1][..., :2, :3], (1, 1))),
        (3, 5),
    ),
    "attention": (lambda: WindowAttentionBlock(16), lambda block, given: [block(given[0][..., :8, :7])], (16,)),
    "norm": (lambda: CellNorm(16), lambda block, given: [block(*given)], (16,)),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_every_block_has_a_finite_gradient_that_is_not_zero_for_its_inputs_and_all_it_learns(name: str) -> None:
    torch.manual_seed(0)
    make, apply, channels = BLOCKS[name]
    block = make().train()
    given = [maps(count).requires_grad_() for count in channels]
    made = apply(block, given)
    weights = torch.linspace(1, 2, sum(one.numel() for one in made))  # a normalisation is blind to an even sum
    (torch.cat([one.flatten() for one in made]) * weights).square().sum().backward()
    tensors = {f"input {number}": one for number, one in enumerate(given)} | dict(block.named_parameters())
    for key, tensor in tensors.items():
        assert tensor.grad is not None, key
        assert torch.isfinite(tensor.grad).all(), key
        assert tensor.grad.abs().max() > 0, key


@pytest.mark.parametrize("name", BLOCKS)
def test_no_block_changes_its_parameters_or_gives_constants(name: str) -> None:
    torch.manual_seed(0)
    make, apply, channels = BLOCKS[name]
    block = make().train()
    before = copy.deepcopy(block.state_dict())
    made = apply(block, [maps(count) for count in channels])
    assert all(torch.equal(before[key], tensor) for key, tensor in block.state_dict().items())
    assert all(one.std() > 0 for one in made)


# --- signal to noise, distraction ----------------------------------------------------------------------------------------------------


def test_the_snr_map_equals_a_slow_one() -> None:
    image = picture(1, 3, 9, 11)
    weights = np.array([0.299, 0.587, 0.114])
    brightness = np.tensordot(weights, image[0].numpy().astype(np.float64), axes=1)
    ones = np.ones_like(brightness)
    window = {"size": 5, "mode": "constant"}
    signal = ndimage.uniform_filter(brightness, **window) / ndimage.uniform_filter(ones, **window)
    noise = np.sqrt((brightness - signal) ** 2 + (1 / 1020) ** 2)
    ratio = signal / noise
    np.testing.assert_allclose(snr_map(image)[0, 0].numpy(), ratio / (ratio + 4), atol=1e-5)


def test_snr_is_nothing_in_black_high_in_even_light_and_falls_with_noise() -> None:
    assert snr_map(torch.zeros(1, 3, 8, 8)).abs().max() == 0
    even = torch.full((1, 3, 32, 32), 0.1)
    noisy = [snr_map((even + spread * torch.randn(even.shape)).clamp(0, 1)).mean().item() for spread in (0.0, 0.01, 0.05)]
    assert noisy[0] > 0.9
    assert noisy == sorted(noisy, reverse=True)
    assert noisy[2] < 0.6


def test_the_learned_snr_starts_near_the_measured_one() -> None:
    torch.manual_seed(0)
    image = picture(1, 3, 16, 16)
    assert (SNREstimator(learned=True)(image) - snr_map(image)).abs().max() < 0.05
    assert torch.equal(SNREstimator()(image), snr_map(image))
    assert not list(SNREstimator().parameters())


def test_the_distraction_mask_has_the_pictures_size_and_lies_between_0_and_1() -> None:
    block = DistractionModule()
    assert [layer.out_channels for layer in block.encoder if isinstance(layer, nn.Conv2d)] == [16, 32, 64]
    made = block(picture(2, 3, 32, 64), picture(2, 1, 32, 64))
    assert made.shape == (2, 1, 32, 64)
    assert made.min() > 0
    assert made.max() < 1


def test_guidance_is_the_sum_kept_within_bounds_with_a_gradient_where_a_clamp_has_none() -> None:
    small = guidance(torch.tensor(0.01), torch.tensor(0.02))
    assert small.item() == pytest.approx(0.03, abs=3e-4)
    snr, distraction = torch.tensor([0.8, 0.99, 0.0], requires_grad=True), torch.tensor([0.7, 0.99, 0.0], requires_grad=True)
    made = guidance(snr, distraction)
    made.sum().backward()
    assert made.max() <= 1
    assert (snr.grad > 0).all()
    assert (distraction.grad > 0).all()


# --- curves, mask ----------------------------------------------------------------------------------------------------------------------


def test_the_curve_estimator_gives_8_times_3_maps_near_a_hundredth_at_first_and_leaves_the_snr_alone() -> None:
    torch.manual_seed(0)
    block = ImprovedCurveEstimator()
    made, curves = block(picture(1, 3, 16, 16), picture(1, 1, 16, 16, high=1.0))
    assert (made.shape, curves.shape) == ((1, 3, 16, 16), (1, 24, 16, 16))
    assert curves.mean().item() == pytest.approx(0.01, abs=0.02)
    assert (block.network.last.bias == 0.01).all()
    assert block.network.hidden[0].in_channels == 4


def test_its_range_reaches_nine_tenths_from_a_hundredth() -> None:
    """LOL asks for a gain of 7.6; maps scaled by 0.15 for good would give 3.1."""
    torch.manual_seed(0)
    block = ImprovedCurveEstimator(width=8)
    dark, snr = torch.full((1, 3, 6, 6), 0.01), torch.full((1, 1, 6, 6), 0.5)
    optimizer = torch.optim.Adam(block.parameters(), 1e-2)
    for _ in range(120):
        loss = (block(dark, snr)[0] - 0.92).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert block(dark, snr)[0].min() >= 0.9


def test_the_mask_starts_about_a_half_and_takes_five_channels() -> None:
    torch.manual_seed(0)
    block = MaskPredictor()
    made = block(picture(2, 3, 8, 9), picture(2, 1, 8, 9), picture(2, 1, 8, 9))
    assert made.shape == (2, 1, 8, 9)
    assert made.mean().item() == pytest.approx(0.5, abs=0.1)
    assert block.layers[0].in_channels == 5


# --- windows, attention, decoder -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "grid", "window"),
    [((256, 256), (1, 1), (256, 256)), ((32, 224), (1, 1), (32, 224)), ((288, 512), (2, 2), (256, 256)), ((64, 544), (1, 3), (64, 256))],
    ids=str,
)
def test_windows_put_together_are_the_picture(size: tuple[int, int], grid: tuple[int, int], window: tuple[int, int]) -> None:
    image = picture(2, 3, *size)
    windows, found = to_windows(image)
    assert found == grid
    assert windows.shape == (2 * grid[0] * grid[1], 3, *window)
    assert torch.equal(from_windows(windows, found)[..., : size[0], : size[1]], image)


def test_features_of_a_window_do_not_depend_on_its_neighbours() -> None:
    torch.manual_seed(0)
    block = features_of()
    image = picture(1, 3, 256, 512)
    with torch.no_grad():
        whole, grid = block(image)
        alone, _ = block(image[..., 256:])
    assert grid == (1, 2)
    assert whole.shape == (2, 288, 8, 8)
    torch.testing.assert_close(whole[1:], alone)


def test_attention_sees_the_whole_window_and_where_cells_are() -> None:
    torch.manual_seed(0)
    block = WindowAttentionBlock(16)
    cells = torch.randn(1, 16, 8, 8, requires_grad=True)
    block(cells)[0, :, 0, 0].sum().backward()
    assert (cells.grad.abs().sum(dim=1) > 0).all()
    with torch.no_grad():
        assert not torch.allclose(block(cells.flip(-1)).flip(-1), block(cells), atol=1e-5)


def test_attention_equals_one_written_out() -> None:
    torch.manual_seed(0)
    block = WindowAttentionBlock(8, num_heads=2).double()
    windows = torch.randn(1, 8, 2, 3, dtype=torch.float64)
    cells = windows[0].flatten(1).T.numpy()
    state = {key: tensor.numpy() for key, tensor in block.state_dict().items()}
    index = block.relative[:2, :3, :2, :3].reshape(6, 6).numpy()

    def norm(x: np.ndarray) -> np.ndarray:
        return (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + 1e-5)

    qkv = norm(cells) @ state["to_qkv.weight"].T + state["to_qkv.bias"]
    query, key, value = np.split(qkv, 3, axis=1)
    heads = []
    for head in range(2):
        part = slice(4 * head, 4 * head + 4)
        scores = query[:, part] @ key[:, part].T / 2 + state["bias"][index, head]
        scores = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        heads.append(scores @ value[:, part])
    cells = cells + np.concatenate(heads, axis=1) @ state["to_out.weight"].T + state["to_out.bias"]
    with torch.no_grad():
        expected = torch.from_numpy(cells) + block.mlp(torch.from_numpy(norm(cells)))
        made = block(windows)[0].flatten(1).T
    torch.testing.assert_close(made, expected)


def test_windows_of_more_than_8_cells_are_refused() -> None:
    with pytest.raises(DataError, match=r"8 x 8.*\(1, 16, 9, 8\)"):
        WindowAttentionBlock(16)(torch.zeros(1, 16, 9, 8))


def test_the_decoder_has_the_documented_layers() -> None:
    block = TransformerDecoder(960)
    assert (block.project.out_channels, len(block.attention), block.attention[0].num_heads) == (128, 3, 4)
    assert [layer[0].out_channels // 4 for layer in block.enlarge] == [64, 32, 16, 16]
    assert sum(isinstance(module, nn.PixelShuffle) for module in block.modules()) == 4
    made, confidence = block(picture(1, 3, 64, 96), torch.randn(1, 960, 2, 3), (1, 1))
    assert (made.shape, confidence.shape) == ((1, 3, 64, 96), (1, 1, 64, 96))


def test_enlarging_starts_without_a_checkerboard() -> None:
    torch.manual_seed(0)
    layer = TransformerDecoder(4, 16, 0).enlarge[0]
    made = layer(torch.randn(1, 16, 5, 5))
    assert torch.equal(made[..., ::2, ::2], made[..., 1::2, 1::2])


def test_relit_pictures_keep_the_ratios_of_colours_and_get_the_luminance_exactly() -> None:
    image = 0.1 + picture(1, 3, 5, 5)
    luminance = picture(1, 1, 5, 5, high=0.8, seed=3)
    made = relight(image, luma(image), luminance)
    torch.testing.assert_close(luma(made), luminance)
    before, after = image[:, 0] / image[:, 1], made[:, 0] / made[:, 1]
    torch.testing.assert_close(after, before, rtol=0.05, atol=0)
    grey = relight(torch.zeros(1, 3, 1, 1), torch.zeros(1, 1, 1, 1), torch.full((1, 1, 1, 1), 0.4))
    torch.testing.assert_close(grey, torch.full((1, 3, 1, 1), 0.4))


def test_the_semantic_picture_is_relit_with_a_mix_of_luminances_and_a_tenth_of_a_residual() -> None:
    torch.manual_seed(0)
    block = TransformerDecoder(4, 16, 1)
    image, features = picture(1, 3, 32, 32), torch.randn(1, 4, 1, 1)
    raw: list[Tensor] = []
    block.head.register_forward_hook(lambda _, __, made: raw.append(made))
    made, confidence = block(image, features, (1, 1))
    level, colours, sure = raw[0].split([1, 3, 1], dim=1)
    own = luma(image)
    luminance = 0.7 * level.sigmoid() + 0.3 * own
    torch.testing.assert_close(made, luminance * (image + 1 / 255) / (own + 1 / 255) + 0.1 * colours.tanh())
    torch.testing.assert_close(confidence, sure.sigmoid())


# --- colour ---------------------------------------------------------------------------------------------------------------------------


def test_the_affine_map_starts_near_the_identity_with_a_vibrance_of_1_045() -> None:
    block = GlobalColourAffine()
    assert block.vibrance().item() == pytest.approx(1.045, abs=1e-6)
    assert torch.equal(block.matrix(), torch.eye(3))
    assert (block.bias() == 0).all()
    assert (block.gamma() == 1).all()
    grey = torch.full((1, 3, 1, 1), 0.3)
    torch.testing.assert_close(block(grey), grey)
    image = picture(1, 3, 8, 8, high=1.0)
    torch.testing.assert_close(block(image), scale_colour(image, torch.tensor(1.045)))


@pytest.mark.parametrize("pushed", [-1e4, -3.0, 3.0, 1e4])
def test_the_affine_map_stays_within_its_bounds_however_far_it_is_pushed_and_can_come_back(pushed: float) -> None:
    block = GlobalColourAffine()
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.fill_(pushed)
    off = ~torch.eye(3, dtype=torch.bool)
    slack = 1e-6
    assert (block.matrix()[off].abs() <= 0.02 + slack).all()
    assert (block.matrix().diagonal() - 1).abs().max() <= 0.02 + slack
    assert block.bias().abs().max() <= 0.01 + slack
    assert (block.gamma() - 1).abs().max() <= 0.05 + slack
    assert 0.98 - slack <= block.vibrance().item() <= 1.05 + slack
    (block(picture(1, 3, 8, 8, high=1.0)) * torch.linspace(1, 2, 192).view(1, 3, 8, 8)).sum().backward()
    for key, parameter in block.named_parameters():
        assert torch.isfinite(parameter.grad).all(), key
        assert (parameter.grad != 0).all(), key


def test_a_saturated_picture_keeps_its_saturation_at_the_bounds() -> None:
    """A flat clamp of the whole matrix to its diagonal's range would take 0.67 to 0.01."""
    image = torch.tensor([0.9, 0.6, 0.3]).view(1, 3, 1, 1)
    for pushed in (-1e4, 1e4):
        block = GlobalColourAffine()
        with torch.no_grad():
            block.raw_matrix.fill_(pushed)
        assert mean_saturation(block(image)).item() == pytest.approx(0.67, abs=0.06)


def test_the_affine_map_does_the_same_in_training_and_for_any_other_pictures_in_the_batch() -> None:
    block = GlobalColourAffine()
    images = picture(3, 3, 8, 8)
    assert torch.equal(block.train()(images)[:1], block.eval()(images[:1]))


def test_values_outside_the_range_have_finite_gradients() -> None:
    block = GlobalColourAffine()
    with torch.no_grad():
        block.raw_gamma.fill_(-5.0)
    image = torch.tensor([-0.1, 0.0, 1.2]).view(1, 3, 1, 1).requires_grad_()
    block(image).sum().backward()
    assert torch.isfinite(image.grad).all()
    assert (image.grad != 0).all()


def test_bounded_numbers_keep_their_centre_and_a_slope() -> None:
    raw = torch.tensor([0.0, 1e3], requires_grad=True)
    made = bounded(raw, 1.0, 0.05)
    made.sum().backward()
    assert made[0] == 1
    assert 1.0499 < made[1] < 1.05
    assert (raw.grad > 0).all()


def test_saturation_is_lifted_smoothly_below_a_fifth_and_hardly_above_a_third() -> None:
    mean = torch.linspace(0, 1, 201, requires_grad=True)
    scale = scale_of_lift(mean)
    assert scale[0].item() == pytest.approx(1.35, abs=0.01)
    assert scale[40].item() == pytest.approx(1.175, abs=1e-4)
    assert scale[mean >= 0.38].max() < 1.005
    assert scale.diff().abs().max() < 0.012  # no step
    scale.sum().backward()
    assert (mean.grad[mean < 0.6] < 0).all()


def test_the_lift_keeps_luma_and_greys_and_raises_saturation_row_by_row() -> None:
    image = torch.tensor([0.5, 0.45, 0.42]).view(1, 3, 1, 1).repeat(2, 1, 4, 4)
    made = lift_saturation(image, torch.tensor([[0.1], [0.9]]))
    torch.testing.assert_close(luma(made), luma(image))
    assert mean_saturation(made)[0] > 1.2 * mean_saturation(image)[0]
    torch.testing.assert_close(made[1], image[1])
    grey = torch.full((1, 3, 2, 2), 0.4)
    torch.testing.assert_close(lift_saturation(grey, torch.tensor([[0.0]])), grey)

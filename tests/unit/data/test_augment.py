"""Augmentations: each does what it says, on its own random numbers, and labels stay true."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from photic.core.errors import ConfigError, DataError
from photic.core.registry import augmentations
from photic.data.augment import Augmentation, AugmentationConfig, Augmented, build_augmentations
from photic.data.augment.blackout import DefectBlackoutConfig
from photic.data.augment.cutmix import CutMixConfig
from photic.data.augment.flips import HorizontalFlipConfig, VerticalFlipConfig
from photic.data.augment.photometric import BrightnessContrastConfig, ColorJitterConfig
from photic.data.augment.rotation import RotationConfig
from photic.data.augment.sensor import GaussianBlurConfig, GaussianNoiseConfig

NAMES = [
    "brightness_contrast", "color_jitter", "cutmix", "defect_blackout", "gaussian_blur", "gaussian_noise", "horizontal_flip",
    "rotation", "vertical_flip",
]  # fmt: skip


class Strips:
    """A few pictures in memory, each with one defect box of class ``position % 2``."""

    def __init__(self, size: tuple[int, int] = (24, 80), *, masks: bool = True, grey: bool = False) -> None:
        self.size, self.masks, self.grey = size, masks, grey

    def __len__(self) -> int:
        return 6

    def sample(self, position: int, draw: int) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(position)
        picture = torch.rand((1 if self.grey else 3, *self.size), generator=generator).expand(3, -1, -1) * 0.2 + 0.4
        mask = torch.zeros((2, *self.size), dtype=torch.bool)
        mask[position % 2, 8:14, 10 + 8 * position : 18 + 8 * position] = True
        picture = torch.where(mask.any(dim=0), torch.tensor(0.95), picture)
        sample = {"measurement": picture.contiguous(), "target": mask.flatten(1).any(dim=1).float(), "index": position}
        return {**sample, "mask": mask} if self.masks else sample


def apply(config: AugmentationConfig, sample: dict[str, Any], seed: int = 0, partner: Callable[[], Any] | None = None) -> dict[str, Any]:
    def nobody() -> Any:
        raise AssertionError("no partner is needed")

    return config.build().apply(sample, np.random.default_rng(seed), partner or nobody)


def test_the_registry_lists_all_of_them() -> None:
    assert set(NAMES) <= set(augmentations.names())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(70, 300), (5, 7)])
@pytest.mark.parametrize("threads", [1, 3])
def test_results_are_bounded_fresh_and_repeatable_with_any_number_of_threads(name: str, size: tuple[int, int], threads: int) -> None:
    augmentation: Augmentation = augmentations.get(name)
    samples = Strips(size)
    sample = samples.sample(1, 0)
    original = {key: value.clone() for key, value in sample.items() if isinstance(value, torch.Tensor)}
    first = augmentation.apply(sample, np.random.default_rng(3), lambda: samples.sample(2, 0))
    previous = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        again = augmentation.apply(sample, np.random.default_rng(3), lambda: samples.sample(2, 0))
    finally:
        torch.set_num_threads(previous)
    assert all(torch.equal(sample[key], original[key]) for key in original)
    assert torch.equal(first["measurement"], again["measurement"])
    assert first["measurement"].shape == sample["measurement"].shape
    assert first["measurement"].dtype == torch.float32
    assert first["measurement"].is_contiguous()
    assert first["measurement"].min() >= 0 and first["measurement"].max() <= 1
    assert first["mask"].shape == sample["mask"].shape and first["mask"].dtype == torch.bool
    assert first["target"].shape == sample["target"].shape and first["target"].dtype == torch.float32


@pytest.mark.parametrize("name", [name for name in NAMES if name != "defect_blackout"])
def test_all_but_blackout_work_without_masks(name: str) -> None:
    samples = Strips(masks=False)
    changed = augmentations.get(name).apply(samples.sample(0, 0), np.random.default_rng(0), lambda: samples.sample(1, 0))
    assert "mask" not in changed


def test_defaults_are_those_of_the_reference_recipe() -> None:
    assert (HorizontalFlipConfig().probability, VerticalFlipConfig().probability) == (0.5, 0.3)
    assert (RotationConfig().degrees, RotationConfig().probability) == (15, 0.5)
    assert (BrightnessContrastConfig().brightness, BrightnessContrastConfig().contrast) == (0.2, 0.2)
    assert (ColorJitterConfig().saturation, ColorJitterConfig().hue) == (0.1, 0.05)
    assert GaussianBlurConfig().kernel_size == 3


def test_flips_mirror_picture_and_mask() -> None:
    sample = Strips().sample(0, 0)
    for config, axis in ((HorizontalFlipConfig(), -1), (VerticalFlipConfig(), -2)):
        changed = apply(config, sample)
        for key in ("measurement", "mask"):
            assert torch.equal(changed[key], sample[key].flip(axis))


def test_rotation_by_a_half_turn_is_both_flips() -> None:
    class HalfTurn(np.random.Generator):
        def uniform(self, low: float, high: float) -> float:  # type: ignore[override]
            return 180.0

    sample = Strips().sample(0, 0)
    changed = RotationConfig(degrees=180).build().apply(sample, HalfTurn(np.random.PCG64(0)), lambda: {})
    assert torch.allclose(changed["measurement"], sample["measurement"].flip(-1, -2), atol=1e-5)
    assert torch.equal(changed["mask"], sample["mask"].flip(-1, -2))


def test_rotation_keeps_true_distances_on_a_long_strip() -> None:
    # A round spot stays round: with the aspect forgotten it would become a long ellipse.
    rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(400.0), indexing="ij")
    spot = torch.exp(-((rows - 31.5) ** 2 + (columns - 199.5) ** 2) / 10**2).expand(3, -1, -1)
    for seed in range(5):
        turned = apply(RotationConfig(degrees=15), {"measurement": spot, "target": torch.zeros(1)}, seed)["measurement"]
        assert (turned - spot).abs().max() < 0.01


def test_rotation_leaves_no_dark_corners() -> None:
    sample = {"measurement": torch.full((3, 64, 400), 0.6), "target": torch.zeros(1)}
    for seed in range(5):
        assert torch.allclose(apply(RotationConfig(degrees=30), sample, seed)["measurement"], torch.tensor(0.6), atol=1e-5)


def test_rotation_clears_a_label_only_when_its_mask_left_the_picture() -> None:
    sample = Strips((64, 400)).sample(0, 0)
    sample["mask"] = torch.zeros_like(sample["mask"])
    sample["mask"][0, 0, 0] = True
    sample["target"] = torch.tensor([1.0, 1.0])  # the second class is labelled without mask pixels: it keeps its label
    fates = set()
    for seed in range(20):
        changed = apply(RotationConfig(degrees=20), sample, seed)
        assert changed["target"][1] == 1
        assert changed["target"][0] == float(changed["mask"][0].any())
        fates.add(float(changed["target"][0]))
    assert fates == {0.0, 1.0}


def test_brightness_and_contrast_scale_mean_and_spread() -> None:
    sample = Strips().sample(0, 0)
    sample["measurement"] = sample["measurement"] * 0.5
    picture = sample["measurement"]
    for seed in range(10):
        brighter = apply(BrightnessContrastConfig(contrast=0), sample, seed)["measurement"]
        factor = float(brighter.mean() / picture.mean())
        assert 0.8 <= factor <= 1.2
        assert torch.allclose(brighter, picture * factor, atol=1e-4)
        steeper = apply(BrightnessContrastConfig(brightness=0), sample, seed)["measurement"]
        assert abs(float(steeper.mean() - picture.mean())) < 1e-3
        assert 0.79 <= float(steeper.std() / picture.std()) <= 1.21


def test_colour_jitter_changes_colours_and_leaves_grey_alone() -> None:
    colourful, grey = Strips().sample(0, 0), Strips(grey=True).sample(0, 0)
    assert not torch.equal(apply(ColorJitterConfig(), colourful)["measurement"], colourful["measurement"])
    assert torch.equal(apply(ColorJitterConfig(), grey)["measurement"], grey["measurement"])


def test_blur_is_a_normalised_gaussian_and_its_kernel_is_odd() -> None:
    picture = torch.zeros(3, 9, 9)
    picture[:, 4, 4] = 1
    blurred = apply(GaussianBlurConfig(kernel_size=5), {"measurement": picture, "target": torch.zeros(1)})["measurement"]
    assert blurred.sum(dim=(1, 2)).tolist() == pytest.approx([1, 1, 1], abs=1e-5)
    assert blurred[0, 4, 5] / blurred[0, 4, 4] == pytest.approx(np.exp(-0.5 / 1.1**2), abs=1e-4)
    with pytest.raises(ConfigError, match=r"gaussian_blur\.kernel_size: expected an odd"):
        GaussianBlurConfig(kernel_size=4)
    with pytest.raises(DataError, match="smaller than the kernel"):
        apply(GaussianBlurConfig(kernel_size=9), {"measurement": torch.zeros(3, 4, 50), "target": torch.zeros(1)})


def test_noise_has_the_given_strength_and_keeps_grey_grey() -> None:
    sample = {"measurement": torch.full((3, 100, 100), 0.5), "target": torch.zeros(1)}
    noisy = apply(GaussianNoiseConfig(std=0.05), sample)["measurement"]
    assert float(noisy.std()) == pytest.approx(0.05, rel=0.05)
    assert torch.equal(noisy[0], noisy[1])
    coloured = apply(GaussianNoiseConfig(std=0.05, per_channel=True), sample)["measurement"]
    assert not torch.equal(coloured[0], coloured[1])


def cutmix_inputs(*, masks: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    samples = Strips(masks=masks)
    own, other = samples.sample(0, 0), samples.sample(3, 0)
    own["measurement"], other["measurement"] = torch.zeros(3, 24, 80), torch.ones(3, 24, 80)
    return own, other


def test_cutmix_without_masks_mixes_labels_by_area() -> None:
    own, other = cutmix_inputs(masks=False)
    for seed in range(20):
        changed = apply(CutMixConfig(), own, seed, lambda: other)
        share = float(changed["measurement"].mean())
        assert changed["target"].tolist() == pytest.approx([1 - share, share], abs=1e-5)


def test_cutmix_with_masks_labels_what_is_visible() -> None:
    own, other = cutmix_inputs(masks=True)
    fates = set()
    for seed in range(40):
        changed = apply(CutMixConfig(), own, seed, lambda: other)
        pasted = changed["measurement"][0] == 1
        visible = [bool((own["mask"][0] & ~pasted).any()), bool((other["mask"][1] & pasted).any())]
        assert changed["target"].tolist() == [float(v) for v in visible]
        assert changed["mask"].flatten(1).any(dim=1).tolist() == visible
        fates.add(tuple(visible))
    assert len(fates) >= 3


def test_cutmix_counts_a_label_without_mask_pixels_by_area() -> None:
    own, other = cutmix_inputs(masks=True)
    own["mask"] = torch.zeros_like(own["mask"])
    other["target"] = torch.zeros(2)
    changed = apply(CutMixConfig(), own, 1, lambda: other)
    assert float(changed["target"][0]) == pytest.approx(1 - float(changed["measurement"].mean()), abs=1e-5)


def test_cutmix_refuses_pictures_of_another_size() -> None:
    own, other = cutmix_inputs(masks=False)
    other["measurement"] = torch.ones(3, 10, 10)
    with pytest.raises(DataError, match=r"cutmix: pictures of one size.*\(3, 24, 80\).*index 0.*\(3, 10, 10\).*index 3"):
        apply(CutMixConfig(), own, 0, lambda: other)


def test_blackout_paints_plausible_surface_over_the_defect_and_clears_its_label() -> None:
    sample = Strips((64, 200)).sample(1, 0)
    defect = sample["mask"].any(dim=0)
    changed = apply(DefectBlackoutConfig(margin_px=2), sample)
    painted, sound = changed["measurement"][:, defect], sample["measurement"][:, ~defect]
    assert changed["target"].tolist() == [0, 0]
    assert not changed["mask"].any()
    assert painted.max() < 0.7 and painted.min() > 0.3  # the defect had .95; the surface lies in .4 ... .6
    assert float(painted.mean()) == pytest.approx(float(sound.mean()), abs=0.03)
    assert float(painted.std()) == pytest.approx(float(sound.std()), rel=0.25)
    far = torch.ones_like(defect)
    far[4:20, 10:40] = False
    assert torch.equal(changed["measurement"][:, far], sample["measurement"][:, far])


def test_blackout_follows_local_brightness() -> None:
    sample = Strips((64, 200)).sample(1, 0)
    slope = torch.linspace(0, 0.4, 200)
    sample["measurement"] = (sample["measurement"] * 0.25 + slope).contiguous()
    sample["mask"] = torch.zeros_like(sample["mask"])
    sample["mask"][0, 20:40, 10:30] = sample["mask"][0, 20:40, 170:190] = True
    changed = apply(DefectBlackoutConfig(window_px=33), sample)["measurement"]
    for columns in (slice(10, 30), slice(170, 190)):
        assert float(changed[:, 20:40, columns].mean()) == pytest.approx(float(sample["measurement"][:, 45:60, columns].mean()), abs=0.03)


def test_blackout_keeps_labels_it_has_no_mask_for_and_leaves_mostly_masked_pictures_alone() -> None:
    sample = Strips((64, 200)).sample(1, 0)
    sample["target"] = torch.tensor([1.0, 1.0])
    assert apply(DefectBlackoutConfig(), sample)["target"].tolist() == [1, 0]
    sample["mask"] = torch.ones_like(sample["mask"])
    assert torch.equal(apply(DefectBlackoutConfig(), sample)["measurement"], sample["measurement"])


def test_blackout_without_a_mask_says_that_it_needs_one() -> None:
    with pytest.raises(DataError, match=r"defect_blackout: sample 0 has no mask; it needs"):
        apply(DefectBlackoutConfig(), Strips(masks=False).sample(0, 0))
    assert [name for name in NAMES if augmentations.get(name).needs_mask] == ["defect_blackout"]
    assert [name for name in NAMES if augmentations.get(name).uses_mask] == ["cutmix", "defect_blackout", "rotation"]


def always(*names: str) -> dict[str, Augmentation]:
    return build_augmentations({name: augmentations.configure(name, probability=1.0) for name in names})  # type: ignore[misc]


class Spy(Augmentation):
    """Notes the random numbers it got."""

    def __init__(self, stage: int, log: list[Any], probability: float = 1.0) -> None:
        super().__init__(probability)
        self.stage, self.log = stage, log  # type: ignore[assignment, misc]

    def apply(self, sample: dict[str, Any], rng: np.random.Generator, partner: Callable[[], Any]) -> dict[str, Any]:
        self.log.append((sample["index"], rng.random(3).tolist()))
        return sample


def test_switching_one_augmentation_never_changes_the_numbers_of_another() -> None:
    alone: list[Any] = []
    together: list[Any] = []
    one = Augmented(Strips(), {"spy": Spy(2, alone, 0.5)}, seed=1)
    many = Augmented(Strips(), {**always("rotation", "cutmix", "gaussian_noise"), "spy": Spy(2, together, 0.5)}, seed=1)
    for draw in range(10):
        for position in range(6):
            one.sample(position, draw)
            many.sample(position, draw)
    assert alone == together
    assert 15 <= len(alone) <= 45


def test_a_sample_depends_on_seed_draw_and_position_alone() -> None:
    augmented = Augmented(Strips(), always("rotation", "gaussian_noise", "cutmix"), seed=1)
    first = augmented.sample(2, 7)["measurement"]
    augmented.sample(0, 1)
    assert torch.equal(augmented.sample(2, 7)["measurement"], first)
    assert not torch.equal(augmented.sample(2, 8)["measurement"], first)
    assert not torch.equal(Augmented(Strips(), always("rotation", "gaussian_noise", "cutmix"), seed=2).sample(2, 7)["measurement"], first)


def test_order_is_geometry_content_appearance_however_they_are_written_down() -> None:
    names = NAMES
    forward = Augmented(Strips(), always(*names), seed=0)
    backward = Augmented(Strips(), always(*reversed(names)), seed=0)
    expected = ["horizontal_flip", "rotation", "vertical_flip", "cutmix", "defect_blackout"]
    expected += ["brightness_contrast", "color_jitter", "gaussian_blur", "gaussian_noise"]
    assert list(forward.augmentations) == list(backward.augmentations) == expected
    assert torch.equal(forward.sample(0, 0)["measurement"], backward.sample(0, 0)["measurement"])


def test_probability_zero_and_none_are_off_and_one_is_always() -> None:
    assert build_augmentations({"rotation": None, "cutmix": None}) == {}
    plain = Strips().sample(3, 0)["measurement"]
    off = Augmented(Strips(), build_augmentations({"f": HorizontalFlipConfig(probability=0.0)}), seed=0)
    on = Augmented(Strips(), build_augmentations({"f": HorizontalFlipConfig(probability=1.0)}), seed=0)
    for draw in range(20):
        assert torch.equal(off.sample(3, draw)["measurement"], plain)
        assert torch.equal(on.sample(3, draw)["measurement"], plain.flip(-1))


def test_the_mask_is_dropped_when_its_work_is_done() -> None:
    assert "mask" not in Augmented(Strips(), {}, seed=0).sample(0, 0)
    assert "mask" in Augmented(Strips(), {}, seed=0, keep_mask=True).sample(0, 0)


@pytest.mark.parametrize("probability", [-0.1, 1.1])
def test_probabilities_outside_0_to_1_are_refused(probability: float) -> None:
    with pytest.raises(ConfigError, match=r"rotation\.probability"):
        RotationConfig(probability=probability)

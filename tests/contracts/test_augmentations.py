"""What every registered augmentation keeps to, on colour pictures, grey strips and odd sizes, with masks and without."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from photic.core.errors import DataError
from photic.core.registry import augmentations
from photic.data.augment import Augmentation, AugmentationConfig, Augmented, Stage

# A known name builds this very class; names that are added need no line here.
CLASSES = {
    "brightness_contrast": "BrightnessContrast",
    "color_jitter": "ColorJitter",
    "cutmix": "CutMix",
    "defect_blackout": "DefectBlackout",
    "gaussian_blur": "GaussianBlur",
    "gaussian_noise": "GaussianNoise",
    "horizontal_flip": "_Flip",
    "rotation": "Rotation",
    "vertical_flip": "_Flip",
}
SIZES = [(64, 400), (33, 51), (7, 9)]
every_augmentation = pytest.mark.parametrize("name", augmentations.names())


def picture(seed: int, size: tuple[int, int], *, grey: bool) -> Tensor:
    values = torch.rand((1 if grey else 3, *size), generator=torch.Generator().manual_seed(seed))
    return values.expand(3, -1, -1).contiguous()


def sample(seed: int, size: tuple[int, int] = (32, 96), *, grey: bool = True, masks: bool = True) -> dict[str, Any]:
    """Three classes: the first with mask, the second labelled without any mask pixel, the third absent."""
    mask = torch.zeros((3, *size), dtype=torch.bool)
    mask[0, size[0] // 3 : size[0] // 2 + 1, size[1] // 4 : size[1] // 2] = True
    made = {"measurement": picture(seed, size, grey=grey), "target": torch.tensor([1.0, 1.0, 0.0]), "index": seed}
    return {**made, "mask": mask} if masks else made


def changed(augmentation: Augmentation, original: dict[str, Any], seed: int = 0) -> dict[str, Any]:
    size = tuple(original["measurement"].shape[-2:])
    grey = bool((original["measurement"][0] == original["measurement"][1]).all())
    partner: Callable[[], dict[str, Any]] = lambda: sample(99, size, grey=grey, masks="mask" in original)  # noqa: E731
    return augmentation.apply(original, np.random.default_rng(seed), partner)


def works(augmentation: Augmentation, masks: bool) -> bool:
    return masks or not augmentation.needs_mask


@pytest.fixture(params=augmentations.names())
def augmentation(request: pytest.FixtureRequest) -> Augmentation:
    built: Augmentation = augmentations.get(request.param)
    return built


def test_no_augmentation_has_vanished() -> None:
    assert set(CLASSES) <= set(augmentations.names())


@every_augmentation
def test_it_builds_the_expected_class_from_defaults(name: str) -> None:
    config = augmentations.configure(name)
    built = augmentations.get(name)
    assert isinstance(config, AugmentationConfig)
    assert isinstance(built, Augmentation)
    assert type(built).__name__ == CLASSES.get(name, type(built).__name__)
    assert built.stage in Stage
    assert built.probability == config.probability
    assert augmentations.get(name, probability=0.125).probability == 0.125


@pytest.mark.parametrize("masks", [True, False], ids=["masks", "no masks"])
@pytest.mark.parametrize("grey", [True, False], ids=["grey", "colour"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_shapes_types_and_range_are_kept_on_any_picture(augmentation: Augmentation, size: tuple[int, int], grey: bool, masks: bool) -> None:
    if not works(augmentation, masks):
        with pytest.raises(DataError, match="needs a data set with masks"):
            changed(augmentation, sample(1, size, grey=grey, masks=False))
        return
    for seed in range(8):
        original = sample(seed, size, grey=grey, masks=masks)
        result = changed(augmentation, original, seed)
        assert set(result) == set(original)
        assert result["index"] == original["index"]
        for key in ("measurement", "target", "mask") if masks else ("measurement", "target"):
            assert result[key].shape == original[key].shape, key
            assert result[key].dtype == original[key].dtype, key
        assert torch.isfinite(result["measurement"]).all()
        assert result["measurement"].min() >= 0 and result["measurement"].max() <= 1
        assert result["target"].min() >= 0 and result["target"].max() <= 1


def test_grey_stays_grey(augmentation: Augmentation) -> None:
    for seed in range(8):
        red, green, blue = changed(augmentation, sample(seed), seed)["measurement"]
        assert torch.equal(red, green)
        assert torch.equal(red, blue)


def test_what_it_is_given_is_left_as_it_is(augmentation: Augmentation) -> None:
    for seed in range(8):
        original, twin = sample(seed), sample(seed)
        result = changed(augmentation, original, seed)
        result["measurement"] = result["measurement"] + 1  # even if the caller goes on working with the result
        assert set(original) == set(twin)
        assert original["index"] == twin["index"]
        assert all(torch.equal(original[key], twin[key]) for key in ("measurement", "target", "mask"))


def test_a_picture_without_a_sound_pixel_and_one_without_any_defect_are_worked_on_too(augmentation: Augmentation) -> None:
    for value in (True, False):
        original = sample(3)
        original["mask"] = torch.full_like(original["mask"], value)
        result = changed(augmentation, original)
        assert result is not original
        assert torch.isfinite(result["measurement"]).all()


def test_it_depends_on_the_sample_and_the_generator_alone(augmentation: Augmentation) -> None:
    for seed in range(4):
        first = changed(augmentation, sample(3, grey=False), seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        again = changed(augmentation, sample(3, grey=False), seed)
        assert all(torch.equal(first[key], again[key]) for key in ("measurement", "target", "mask"))


def test_it_changes_something_and_not_always_the_same(augmentation: Augmentation) -> None:
    original = sample(3, grey=False)
    results = [changed(augmentation, original, seed)["measurement"] for seed in range(8)]
    assert any(not torch.equal(result, original["measurement"]) for result in results)


def test_a_label_without_mask_pixels_is_kept_and_one_with_them_follows_its_mask(augmentation: Augmentation) -> None:
    """The partner of mixing augmentations has the same labels, so absent classes stay absent."""
    for seed in range(20):
        result = changed(augmentation, sample(seed), seed)
        assert result["target"][0] == float(result["mask"][0].any())
        assert result["target"][1] == pytest.approx(1.0)
        assert result["target"][2] == 0
        assert not result["mask"][1:].any()


@pytest.mark.parametrize("name", [name for name in augmentations.names() if augmentations.get(name).stage == Stage.GEOMETRY])
def test_geometry_moves_picture_and_mask_together(name: str) -> None:
    """A picture that is its own mask stays its own mask, but for the pixels on an edge."""
    for seed in range(8):
        original = sample(seed)
        original["measurement"] = original["mask"][0].float().expand(3, -1, -1).contiguous()
        result = changed(augmentations.get(name), original, seed)
        disagree = (result["measurement"][0] > 0.5) != result["mask"][0]
        assert disagree.float().mean() < 0.01


def test_through_a_sample_set_it_is_a_function_of_seed_draw_and_position(augmentation: Augmentation) -> None:
    class Samples:
        def __len__(self) -> int:
            return 5

        def sample(self, position: int, draw: int) -> dict[str, Any]:
            return sample(position, grey=False)

    augmentation.probability = 1.0
    one, two = (Augmented(Samples(), {"it": augmentation}, seed=7, keep_mask=True) for _ in range(2))
    there = [one.sample(position, draw)["measurement"] for draw in range(2) for position in range(5)]
    back = [two.sample(position, draw)["measurement"] for draw in (1, 0) for position in (4, 3, 2, 1, 0)]
    assert all(torch.equal(a, b) for a, b in zip(there, reversed(back), strict=True))

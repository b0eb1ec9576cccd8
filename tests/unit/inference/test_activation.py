"""Class-activation maps: what they show, and that asking for them changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from photic.core.errors import ConfigError, DataError
from photic.functional.palette import CLASS_COLOURS, class_colour, rgb
from photic.inference.activation import activation_maps, overlay
from photic.losses.bce import BCEWithLogitsConfig
from photic.models.base import Classifier
from photic.models.tiny import TinyConfig
from photic.tasks.classification import MultilabelClassification, MultilabelClassificationConfig


class Linear(Classifier):
    """Features are the picture's channels at a quarter of its size; class c is the mean of channel c."""

    mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    num_classes = 3

    def __init__(self, pool: str = "mean") -> None:
        super().__init__()
        self.reduce = nn.AvgPool2d(4)
        self.scale = nn.Parameter(torch.ones(3))
        self.after = nn.ReLU(inplace=True)
        self.pool = pool

    def activation_layer(self) -> nn.Module:
        return self.reduce

    def forward(self, image: Tensor) -> Tensor:
        features = self.after(self.reduce(image))
        pooled = features.mean(dim=(2, 3)) if self.pool == "mean" else features.amax(dim=(2, 3)) - 1.5 * features.mean(dim=(2, 3))
        return pooled * self.scale


def task_of(network: Classifier) -> MultilabelClassification:
    classes = [f"c{i}" for i in range(network.num_classes)]
    return MultilabelClassification(network, BCEWithLogitsConfig().build(), classes, MultilabelClassificationConfig())


def tiny() -> MultilabelClassification:
    torch.manual_seed(0)
    return task_of(TinyConfig(num_classes=4, width=8).build())


def picture_with_spots() -> Tensor:
    image = torch.zeros(2, 3, 32, 64)
    image[0, 0, 8:12, 16:20] = 1.0  # class 0, left
    image[0, 1, 20:24, 48:52] = 0.5  # class 1, right
    image[1, 2, 0:4, 0:4] = 1.0
    return image


def test_each_class_is_seen_where_it_is() -> None:
    maps = activation_maps(task_of(Linear()), picture_with_spots())
    assert maps.shape == (2, 3, 32, 64)
    for picture, index, (row, column) in ((0, 0, (10, 18)), (0, 1, (22, 50)), (1, 2, (2, 2))):
        peak = divmod(int(maps[picture, index].argmax()), 64)
        assert abs(peak[0] - row) <= 2 and abs(peak[1] - column) <= 2


def test_for_a_network_that_ends_in_a_mean_the_map_is_grad_cam() -> None:
    task, image = task_of(Linear()), torch.rand(1, 3, 32, 32)
    features = nn.functional.avg_pool2d(image, 4)
    reference = nn.functional.interpolate(features, size=(32, 32), mode="bilinear")  # weights of CAM are 1 for the class's channel, else 0
    reference = reference / reference.amax(dim=(2, 3), keepdim=True)
    assert torch.allclose(activation_maps(task, image), reference, atol=1e-6)


def test_a_small_spot_found_by_a_maximum_is_not_drowned_in_the_clean_rest() -> None:
    # The class's gradient is 1 in one cell of 2048 and slightly negative elsewhere: averaged over the whole
    # picture, as in plain Grad-CAM, it is negative and the map would be empty.
    image = torch.full((1, 3, 64, 512), 0.2)
    image[0, 0, 20:24, 100:104] = 1.0
    activation = activation_maps(task_of(Linear("max")), image)[0, 0]
    inside = torch.zeros(64, 512, dtype=torch.bool)
    inside[10:34, 90:114] = True
    assert inside.flatten()[activation.argmax()]
    assert activation[inside].sum() > 0.95 * activation.sum()


def test_a_map_lies_where_the_cells_of_the_network_look() -> None:
    """A spot excites the cells around it; their centre, placed as the network says, is the spot's."""
    task = tiny()
    places = []
    for offset in range(8):
        plain = torch.zeros(1, 3, 128, 128)
        spot = plain.clone()
        spot[..., 60 + offset : 65 + offset, 60 + offset : 65 + offset] = 1.0
        seen: list[Tensor] = []
        with torch.inference_mode():
            handle = task.network.activation_layer().register_forward_hook(lambda _module, _inputs, output, seen=seen: seen.append(output))
            task.graph(plain)
            task.graph(spot)
            handle.remove()
        change = (seen[1] - seen[0]).square().sum(dim=(0, 1, 2))
        middle_px = float((change * torch.arange(16)).sum() / change.sum()) * 8 + 3.5
        places.append(62 + offset - middle_px)
    assert np.mean(places) == pytest.approx(task.network.cell_shift_px, abs=1.0)


def test_maps_are_normalised_each_by_its_own_peak_and_zero_where_nothing_speaks_for_the_class() -> None:
    maps = activation_maps(task_of(Linear()), picture_with_spots())
    peaks = maps.amax(dim=(2, 3))
    assert torch.equal(peaks > 0, torch.tensor([[True, True, False], [False, False, True]]))
    assert torch.allclose(peaks[peaks > 0], torch.tensor(1.0)) and maps.min() >= 0


def test_wanted_classes_come_in_the_order_asked_for() -> None:
    task, image = tiny(), torch.rand(1, 3, 32, 48)
    everything = activation_maps(task, image)
    assert torch.equal(activation_maps(task, image, [2, 0]), everything[:, [2, 0]])
    assert activation_maps(task, image, []).shape == (1, 0, 32, 48)


def test_a_batch_gives_what_its_pictures_give_alone() -> None:
    task, image = tiny(), torch.rand(3, 3, 32, 48)
    alone = torch.cat([activation_maps(task, picture[None]) for picture in image])
    assert torch.allclose(activation_maps(task, image), alone, atol=1e-5)


@pytest.mark.parametrize("mode", ["frozen", "training", "inference mode", "no_grad"])
def test_maps_do_not_depend_on_the_state_the_network_is_in(mode: str) -> None:
    task, image = tiny(), torch.rand(1, 3, 32, 48)
    task.graph.network.head = nn.Sequential(nn.Dropout(0.5), task.graph.network.head)  # differs between the modes
    expected = activation_maps(task.eval(), image)
    if mode == "frozen":
        task.requires_grad_(False)
    if mode == "training":
        task.train()
    if mode == "inference mode":
        with torch.inference_mode():
            found = activation_maps(task, image + 0)
    elif mode == "no_grad":
        with torch.no_grad():
            found = activation_maps(task, image)
    else:
        found = activation_maps(task, image)
    assert torch.equal(found, expected)


def test_nothing_is_left_behind() -> None:
    task = tiny().train()
    task.criterion.eval()
    before = {name: value.clone() for name, value in task.state_dict().items()}
    modes = [part.training for part in task.modules()]
    activation_maps(task, torch.rand(2, 3, 32, 32))
    assert all(parameter.grad is None for parameter in task.parameters())
    assert [part.training for part in task.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in task.state_dict().items())
    assert not any(part._forward_hooks for part in task.modules())
    assert torch.is_grad_enabled()


def test_bad_requests_are_refused() -> None:
    with pytest.raises(DataError, match=r"expected pictures \(B, 3, H, W\), got \(3, 32, 32\)"):
        activation_maps(tiny(), torch.rand(3, 32, 32))
    with pytest.raises(ConfigError, match="class 4 is out of range; the network has classes 0 to 3"):
        activation_maps(tiny(), torch.rand(1, 3, 32, 32), [4])
    wrong = task_of(Linear())
    wrong.network.activation_layer = nn.Identity  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match=r"Linear.activation_layer\(\): expected an output \(B, F, h, w\), got nothing"):
        activation_maps(wrong, torch.rand(1, 3, 32, 32))
    assert torch.is_grad_enabled()


def test_overlay_covers_in_proportion_to_the_map() -> None:
    image = np.full((4, 6, 3), 100, dtype=np.uint8)
    activation = np.zeros((4, 6))
    activation[:, 3:] = 1.0
    shown = overlay(image, activation, "#ff0000", strength=0.5, outline=None)
    assert (shown[:, :3] == 100).all()
    assert (shown[:, 3:] == [178, 50, 50]).all()
    assert (image == 100).all()


def test_the_outline_runs_along_the_level_inside_the_picture_only() -> None:
    image = np.zeros((5, 7, 3), dtype=np.uint8)
    activation = np.zeros((5, 7))
    activation[:, 4:] = 0.8  # reaches the picture's border: no outline there
    shown = overlay(image, activation, "#0000ff", strength=0.0, outline=0.5)
    assert (shown[:, 4] == [0, 0, 255]).all()
    assert (np.delete(shown, 4, axis=1) == 0).all()


def test_overlay_refuses_a_map_of_another_size() -> None:
    with pytest.raises(DataError, match=r"got uint8 \(4, 6, 3\) and \(6, 4\)"):
        overlay(np.zeros((4, 6, 3), dtype=np.uint8), np.zeros((6, 4)), "#ff0000")


def test_colours_are_distinct_and_repeat_after_the_last() -> None:
    assert len({rgb(colour) for colour in CLASS_COLOURS}) == len(CLASS_COLOURS)
    assert class_colour(len(CLASS_COLOURS) + 1) == class_colour(1)

"""Which class-activation map finds small defects best? Measured on generated strips, whose masks are exact.

    photic train recipe=quick_strips data.num_samples=1200 training.num_epochs=12
    python benchmarks/activation_maps.py runs/quick_strips/ID

Prints, averaged over the classes, for correctly called defects: the share of maps whose peak lies on the
defect, the share of a map's sum on it, the IoU with it above half the peak, and the share of empty maps.
Masks are widened by 4 pixels: a scratch is as thin as a pixel, a cell of the network eight.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import binary_dilation
from torch import Tensor

from photic.apps.defects.synthetic import draw_strip
from photic.inference.activation import _normalised, activation_maps
from photic.inference.predictor import load

NUM_STRIPS = 400


def rivals(features: Tensor, gradient: Tensor) -> dict[str, Tensor]:
    """Return the maps ``(1, h, w)`` of published methods for features and gradient ``(1, F, h, w)``."""
    places = (2, 3)
    squared, cubed = gradient**2, gradient**3
    alpha = squared / (2 * squared + features.sum(places, keepdim=True) * cubed + 1e-8)
    share = (features * gradient).sum(places, keepdim=True) / (features.sum(places, keepdim=True) + 1e-8)
    weighted = {
        "Grad-CAM": gradient.mean(places, keepdim=True) * features,  # Selvaraju et al. 2017
        "Grad-CAM++": (alpha * F.relu(gradient)).sum(places, keepdim=True) * features,  # Chattopadhay et al. 2018
        "LayerCAM": F.relu(gradient) * features,  # Jiang et al. 2021
        "HiResCAM": gradient * features,  # Draelos and Carin 2020
        "XGrad-CAM": share * features,  # Fu et al. 2020
    }
    return {name: F.relu(value.sum(dim=1)) for name, value in weighted.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    model = load(parser.parse_args().run, "cpu")
    network, seed = model.task.network, model.config["seed"] + 1  # strips that the run has not seen
    found: dict[tuple[str, int], list[tuple[float, ...]]] = defaultdict(list)
    for index in range(NUM_STRIPS):
        strip = draw_strip(seed, index)
        image = torch.from_numpy(strip.picture / np.float32(255))[None, None].expand(-1, 3, -1, -1)
        called = np.flatnonzero(strip.labels & (model.predict_batch(image)[0].numpy() >= model.thresholds))
        for column in called.tolist():
            target = binary_dilation(strip.masks[column], iterations=4)
            kept: list[Tensor] = []
            hook = network.activation_layer().register_forward_hook(lambda _m, _i, output, kept=kept: kept.append(output))
            (gradient,) = torch.autograd.grad(model.task.graph.logits(image)[0, column], kept)
            hook.remove()
            maps = {
                name: _normalised(value.detach()[None], target.shape, network.cell_shift_px)[0, 0].numpy()
                for name, value in rivals(kept[0], gradient).items()
            }
            maps["Photic"] = activation_maps(model.task, image, [column])[0, 0].numpy()
            for name, value in maps.items():
                above = value >= 0.5
                overlap = (above & target).sum() / (above | target).sum()
                on_target = value[target].sum() / max(float(value.sum()), 1e-12)
                found[name, column].append(
                    (float(target.flat[value.argmax()]) if value.any() else 0.0, on_target, overlap, not value.any())
                )
    print(f"{sum(len(values) for (name, _), values in found.items() if name == 'Photic')} defects found on {NUM_STRIPS} strips")
    print(f"{'':12}{'peak on it':>12}{'sum on it':>12}{'IoU':>12}{'empty':>12}")
    for name in dict.fromkeys(name for name, _ in found):
        classes = [np.mean(values, axis=0) for (other, _), values in found.items() if other == name]
        print(f"{name:12}" + "".join(f"{value:12.3f}" for value in np.mean(classes, axis=0)))


if __name__ == "__main__":
    main()

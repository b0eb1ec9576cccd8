"""Losses of pictures, blend masks and curve maps, written out in NumPy: pixel by pixel, or region by region."""

from __future__ import annotations

import math

import numpy as np
from scipy.ndimage import sobel
from skimage.metrics import structural_similarity


def pixels(target, mask):
    mask = np.ones(target.shape) if mask is None else np.broadcast_to(mask.numpy(), target.shape)
    return [place for place in np.ndindex(target.shape) if mask[place]]


def l1_slow(prediction, target, mask=None):
    places = pixels(target, mask)
    return math.fsum(abs(prediction[place] - target[place]) for place in places) / len(places)


def mse_slow(prediction, target, mask=None):
    places = pixels(target, mask)
    return math.fsum((prediction[place] - target[place]) ** 2 for place in places) / len(places)


def charbonnier_slow(prediction, target, mask=None, eps=1e-3):
    places = pixels(target, mask)
    return math.fsum(math.hypot(prediction[place] - target[place], eps) for place in places) / len(places)


def local_mean_slow(prediction, target, mask=None, side=16, tolerance=0.0):
    counted = np.ones(target.shape, bool) if mask is None else np.broadcast_to(mask.numpy().astype(bool), target.shape)
    total = 0.0
    for b, c in np.ndindex(target.shape[:2]):
        for y in range(0, target.shape[2], side):
            for x in range(0, target.shape[3], side):
                block = np.s_[b, c, y : y + side, x : x + side]
                apart = (prediction[block] - target[block])[counted[block]]
                total += len(apart) * max(0.0, abs(apart.mean()) - tolerance) ** 2 if len(apart) else 0.0
    return total / counted.sum()


def sobel_slow(prediction, target, mask=None):
    counted = np.ones(target.shape) if mask is None else np.broadcast_to(mask.numpy(), target.shape)
    differences = []
    for b, c in np.ndindex(target.shape[:2]):
        for axis in (0, 1):
            apart = np.abs(sobel(prediction[b, c], axis) - sobel(target[b, c], axis))
            for y, x in np.ndindex(*(side - 2 for side in apart.shape)):
                if counted[b, c, y : y + 3, x : x + 3].all():
                    differences.append(apart[y + 1, x + 1])
    return np.mean(differences)


def ssim_slow(prediction, target, mask=None):
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0, "channel_axis": 0}
    return 1 - np.mean([structural_similarity(x, y, **options) for x, y in zip(prediction, target, strict=True)])


def hsv_saturation(colour):
    """(max - min) / max, fading below 0.01 as the losses say."""
    level = max(0.0, *colour)
    return (max(colour) - min(colour)) * level / (level**2 + 0.01**2)


def consistency_slow(prediction, target, mask=None, weights=(1.0, 0.5, 0.5)):
    counted = np.ones(target[:, :1].shape) if mask is None else np.broadcast_to(mask.numpy(), target.shape).all(axis=1, keepdims=True)
    terms = []
    for b, _, y, x in (place for place in np.ndindex(counted.shape) if counted[place]):
        p, t = prediction[b, :, y, x], target[b, :, y, x]
        ratios = [(colour / sum(colour) - 1 / 3) * sum(colour) ** 2 / (sum(colour) ** 2 + 0.03**2) for colour in (p, t)]
        hues = [complex(r - (g + b_) / 2, math.sqrt(3) / 2 * (g - b_)) for r, g, b_ in (p, t)]
        unit = [hue / math.hypot(abs(hue), 0.01) for hue in hues]
        terms.append(
            [
                np.abs(ratios[0] - ratios[1]).mean(),
                abs(hsv_saturation(p) - hsv_saturation(t)),
                abs(hues[1]) * abs(unit[0] - unit[1]) ** 2 / 2,
            ]
        )
    return float(np.mean(terms, axis=0) @ weights)


def diversity_slow(prediction, target=None, mask=None):
    values = []
    for one in prediction:
        colours = one.reshape(3, -1).T
        apart = np.mean([[abs(r - g), abs(g - b), abs(r - b)] for r, g, b in colours])
        colourful = np.mean([hsv_saturation(colour) for colour in colours])
        values.append(0.5 * math.exp(-15 * apart) + 0.5 * math.exp(-10 * colourful))
    return np.mean(values)


def regions(values, side):
    """Means of squares of an ``(H, W)`` array, cut short at the edge."""
    rows, columns = (-(-length // side) for length in values.shape)
    return np.array([[values[side * r : side * (r + 1), side * c : side * (c + 1)].mean() for c in range(columns)] for r in range(rows)])


def exposure_slow(prediction, target=None, mask=None):
    patches = np.stack([regions(np.tensordot([0.299, 0.587, 0.114], one, 1), 16) for one in prediction])
    return np.mean([max(0, 0.45 - patch) ** 2 for patch in patches.ravel()])


def control_slow(prediction, target=None, mask=None):
    return np.mean([abs(patch - 0.6) for one in prediction for patch in regions(one.mean(axis=0), 16).ravel()])


def constancy_slow(prediction, target=None, mask=None):
    means = prediction.mean(axis=(2, 3))
    return np.mean([(r - g) ** 2 + (r - b) ** 2 + (g - b) ** 2 for r, g, b in means])


def spatial_slow(prediction, dark, mask=None):
    sums = []
    for bright, before in zip(prediction, dark, strict=True):
        y, i = regions(bright.mean(axis=0), 4), regions(before.mean(axis=0), 4)
        for row, column in np.ndindex(y.shape):
            near = [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]
            near = [(r, c) for r, c in near if 0 <= r < y.shape[0] and 0 <= c < y.shape[1]]
            sums.append(sum((abs(y[row, column] - y[j]) - abs(i[row, column] - i[j])) ** 2 for j in near))
    return np.mean(sums)


def smoothness_slow(curves, target=None, mask=None):
    steps = curves.reshape(curves.shape[0], -1, 3, *curves.shape[2:])
    total = 0.0
    for b, n, c in np.ndindex(steps.shape[:3]):
        a = steps[b, n, c]
        height, width = a.shape
        total += np.mean(
            [(abs(a[y, x + 1] - a[y, x]) + abs(a[y + 1, x] - a[y, x])) ** 2 for y in range(height - 1) for x in range(width - 1)]
        )
    return total / steps.shape[0] / steps.shape[1]


def penalty_slow(curves, target=None, mask=None):
    return np.mean([value**2 for value in curves.ravel()])


def mask_mean_slow(masks, target=None, mask=None):
    return np.mean([(np.mean(one) - 0.5) ** 2 for one in masks])

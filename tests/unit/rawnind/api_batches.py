"""Small batches as the Python interface takes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

MATRIX = torch.tensor([[0.7309, -0.1403, -0.0519], [-0.8474, 1.6008, 0.2622], [-0.2433, 0.2826, 0.8064]])
"""Of a camera: XYZ (D65) to its colours."""
OTHER_MATRIX = torch.tensor([[0.6071, -0.0747, -0.0856], [-0.7653, 1.5365, 0.2441], [-0.2025, 0.2553, 0.7315]])
# ITU-R BT.2020 with D65, as colour science's tables print it; six digits.
REC2020_TO_XYZ = np.array([[0.636958, 0.144617, 0.168881], [0.262700, 0.677998, 0.059302], [0.0, 0.028073, 1.060985]])


def packed(picture: torch.Tensor) -> torch.Tensor:
    """Return what a sensor sees of pictures ``(B, 3, H, W)``, packed."""
    red, green, blue = picture[:, 0], picture[:, 1], picture[:, 2]
    return torch.stack([red[:, ::2, ::2], green[:, ::2, 1::2], green[:, 1::2, ::2], blue[:, 1::2, 1::2]], dim=1)


def in_rec2020(picture: torch.Tensor, matrices: torch.Tensor) -> torch.Tensor:
    """Return pictures ``(B, 3, H, W)`` in linear Rec.2020, by NumPy in double precision, a picture at a time."""
    made = []
    for own, matrix in zip(picture.double().numpy(), matrices.double().numpy(), strict=True):
        to_rec2020 = np.linalg.inv(REC2020_TO_XYZ) @ np.linalg.inv(matrix)
        made.append(np.einsum("ij,jhw->ihw", to_rec2020, own))
    return torch.from_numpy(np.stack(made))


def rgb_batch(seed: int = 0, count: int = 2, side: int = 16) -> dict[str, Any]:
    """Return noisy and clean RGB pictures."""
    generator = torch.Generator().manual_seed(seed)
    clean = torch.rand(count, 3, side, side, generator=generator)
    noisy = clean + 0.05 * torch.randn(clean.shape, generator=generator)
    return {
        "clean_images": clean,
        "noisy_images": noisy,
        "masks": torch.ones(count, 1, side, side),
        "image_paths": [f"scene/{seed}_{place}.dng" for place in range(count)],
        "rgb_xyz_matrices": torch.stack([MATRIX, OTHER_MATRIX] * count)[:count],
    }


def bayer_batch(seed: int = 0, count: int = 2, side: int = 32) -> dict[str, Any]:
    """Return noisy packed pictures and clean ones in linear Rec.2020."""
    generator = torch.Generator().manual_seed(seed)
    matrices = torch.stack([MATRIX, OTHER_MATRIX] * count)[:count]
    camera = 0.1 + 0.6 * torch.rand(count, 3, 1, 1, generator=generator) * torch.rand(count, 1, side, side, generator=generator)
    noisy = packed(camera)
    return {
        "clean_images": in_rec2020(camera, matrices).float(),
        "noisy_images": noisy + 0.02 * torch.randn(noisy.shape, generator=generator),
        "masks": torch.ones(count, 1, side, side),
        "image_paths": [f"scene/{seed}_{place}.dng" for place in range(count)],
        "rgb_xyz_matrices": matrices,
    }

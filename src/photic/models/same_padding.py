"""Convolutions of timm whose padding depends on the size of the picture, in a way that graphs for all sizes can have."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn


class ExportableSame(Conv2dSame):
    """A ``Conv2dSame`` whose odd kernels of stride 2 pad by what is simple to say of any size, while they are exported."""

    def forward(self, features: Tensor) -> Tensor:
        """Return features at half the resolution; the same numbers as without export."""
        if not torch.compiler.is_exporting():
            plain: Tensor = super().forward(features)
            return plain
        reach = [(side - 1) // 2 for side in self.kernel_size]
        around = F.pad(features, (reach[1], reach[1], reach[0], reach[0]))
        for axis, side in ((-2, self.kernel_size[0]), (-1, self.kernel_size[1])):
            size = features.shape[axis]
            start, length = (size + 1) % 2, (size + 1) // 2 * 2 + side - 2  # of even sizes, one pixel less before the first
            around = around.index_select(axis, torch.arange(length, device=features.device) + start)
        return F.conv2d(around, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


def with_exportable_padding(network: nn.Module) -> nn.Module:
    """Return a timm network whose convolutions with padding by size can be exported; its weights and names stay."""
    for module in network.modules():
        if isinstance(module, Conv2dSame) and _halves(module):
            module.__class__ = ExportableSame
    return network


def _halves(layer: nn.Conv2d) -> bool:
    """Whether a convolution halves the resolution with an odd kernel."""
    return layer.stride == (2, 2) and layer.dilation == (1, 1) and all(side % 2 for side in layer.kernel_size)

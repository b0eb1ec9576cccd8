"""Convolutional block attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ChannelAttention(nn.Module):
    """Weighs the channels of a feature map by what they hold on average and at most.

    ``M_c(F) = sigmoid(W_1 relu(W_0 avg(F)) + W_1 relu(W_0 max(F)))``, with one W_0 and W_1 for both.

    Source: Woo et al. 2018, CBAM: Convolutional Block Attention Module, eq. 2.

    Args:
        channels: channels of the feature map.
        reduction: ratio of the hidden layer; never fewer than one hidden unit.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(channels // reduction, 1)
        self.mlp = nn.Sequential(nn.Linear(channels, hidden, bias=False), nn.ReLU(), nn.Linear(hidden, channels, bias=False))

    def forward(self, features: Tensor) -> Tensor:
        """Return weights ``(B, F, 1, 1)`` in (0, 1) for features ``(B, F, h, w)``."""
        summed = self.mlp(features.mean(dim=(2, 3))) + self.mlp(features.amax(dim=(2, 3)))
        return torch.sigmoid(summed)[:, :, None, None]


class SpatialAttention(nn.Module):
    """Weighs the places of a feature map by the mean and the maximum over its channels.

    ``M_s(F) = sigmoid(f_7x7([avg(F); max(F)]))``.

    Source: Woo et al. 2018, eq. 3.

    Args:
        kernel_size: odd width of the convolution in feature-map pixels.
    """

    def __init__(self, kernel_size: int = 7) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Return weights ``(B, 1, h, w)`` in (0, 1) for features ``(B, F, h, w)``."""
        pooled = torch.cat([features.mean(dim=1, keepdim=True), features.amax(dim=1, keepdim=True)], dim=1)
        return torch.sigmoid(self.convolution(pooled))


class CBAM(nn.Module):
    """Channel attention, then spatial attention; the shape stays ``(B, F, h, w)``.

    Source: Woo et al. 2018, eq. 1.

    Args:
        channels: channels F of the feature map.
        reduction: ratio of the hidden layer of the channel attention.
        kernel_size: width of the convolution of the spatial attention in feature-map pixels.

    >>> CBAM(32)(torch.zeros(2, 32, 8, 50)).shape
    torch.Size([2, 32, 8, 50])
    """

    def __init__(self, channels: int, reduction: int = 16, kernel_size: int = 7) -> None:
        super().__init__()
        self.channels = channels
        self.channel = ChannelAttention(channels, reduction)
        self.spatial = SpatialAttention(kernel_size)

    def forward(self, features: Tensor) -> Tensor:
        """Return the weighted features ``(B, F, h, w)``."""
        features = features * self.channel(features)
        attended: Tensor = features * self.spatial(features)
        return attended


class AttendedStage(nn.Module):
    """A stage of a backbone followed by attention, whatever axis the stage keeps its channels on.

    Args:
        stage: gives one feature map.
        attention: takes and gives ``(B, F, h, w)``; ``nn.Identity`` only turns the axes for activation maps.
        channels_last: the stage gives ``(B, h, w, F)``.
    """

    def __init__(self, stage: nn.Module, attention: nn.Module, *, channels_last: bool = False) -> None:
        super().__init__()
        self.stage = stage
        self.attention = attention
        self.channels_last = channels_last

    def forward(self, features: Tensor) -> Tensor:
        """Return the features of the stage after attention, axes as the stage gives them."""
        features = self.stage(features)
        if self.channels_last:
            attended: Tensor = self.attention(features.permute(0, 3, 1, 2))
            return attended.permute(0, 2, 3, 1)
        attended = self.attention(features)
        return attended

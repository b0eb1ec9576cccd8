import numpy as np
import torch

from photic.models.cbam import CBAM, AttendedStage, ChannelAttention, SpatialAttention


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_channel_attention_equals_the_paper_equation_written_out():
    torch.manual_seed(0)
    module = ChannelAttention(32, reduction=16)
    features = torch.randn(2, 32, 5, 7)
    w0, w1 = module.mlp[0].weight.detach().numpy(), module.mlp[2].weight.detach().numpy()
    x = features.numpy()
    expected = np.empty((2, 32))
    for b in range(2):
        average = np.array([x[b, c].mean() for c in range(32)])
        largest = np.array([x[b, c].max() for c in range(32)])
        expected[b] = _sigmoid(w1 @ np.maximum(w0 @ average, 0) + w1 @ np.maximum(w0 @ largest, 0))
    np.testing.assert_allclose(module(features).detach().numpy()[:, :, 0, 0], expected, atol=1e-6)


def test_spatial_attention_convolves_the_mean_and_maximum_over_channels():
    torch.manual_seed(0)
    module = SpatialAttention()
    features = torch.randn(1, 6, 9, 11)
    kernel = module.convolution.weight.detach().numpy()[0]  # (2, 7, 7): mean first, maximum second
    assert kernel.shape == (2, 7, 7)
    maps = np.stack([features[0].numpy().mean(0), features[0].numpy().max(0)])
    padded = np.pad(maps, ((0, 0), (3, 3), (3, 3)))
    expected = np.array([[_sigmoid((padded[:, i : i + 7, j : j + 7] * kernel).sum()) for j in range(11)] for i in range(9)])
    np.testing.assert_allclose(module(features)[0, 0].detach().numpy(), expected, atol=1e-6)


def test_channel_attention_comes_before_spatial_attention():
    torch.manual_seed(0)
    module = CBAM(16)
    features = torch.randn(2, 16, 6, 6)
    weighted = features * module.channel(features)
    torch.testing.assert_close(module(features), weighted * module.spatial(weighted))


def test_reduction_is_sixteen_and_never_leaves_no_hidden_unit():
    assert CBAM(384).channel.mlp[0].out_features == 24
    assert CBAM(8).channel.mlp[0].out_features == 1


def test_attention_after_a_channels_last_stage_attends_to_channels():
    torch.manual_seed(0)
    attention = CBAM(16)
    features = torch.randn(2, 16, 5, 9)
    wrapped = AttendedStage(torch.nn.Identity(), attention, channels_last=True)
    torch.testing.assert_close(wrapped(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), attention(features))

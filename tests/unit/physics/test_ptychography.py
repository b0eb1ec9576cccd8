"""The forward operator against a slow float64 reference, by adjointness, energy, and finite differences."""

import numpy as np
import pytest
import torch

from photic.core.errors import DataError
from photic.functional.fourier import checkerboard, fft2c, ifft2c
from photic.functional.patches import Canvas, Stitcher, covering_canvas, extract_patches, merge_groups, place_patches
from photic.physics.ptychography import Ptychography, amplitudes, exit_waves, intensities, with_modes


def random_complex(*shape, seed=0, dtype=torch.complex128):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def slow_patch(canvas, x, y, size):
    """Bilinear interpolation, pixel by pixel."""
    result = np.zeros((size, size), complex)
    for i in range(size):
        for j in range(size):
            row, column = y - size // 2 + i, x - size // 2 + j
            r, c = int(np.floor(row)), int(np.floor(column))
            for dr in (0, 1):
                for dc in (0, 1):
                    weight = (1 - abs(row - r - dr)) * (1 - abs(column - c - dc))
                    if weight > 0:
                        result[i, j] += weight * canvas[r + dr, c + dc]
    return result


def slow_counts(canvas, probe, positions, scale=1.0):
    """Transform by its definition, modes one after another."""
    size = probe.shape[-1]
    k = np.arange(size) - size // 2
    matrix = np.exp(-2j * np.pi * np.outer(k, k) / size) / np.sqrt(size)
    patterns = []
    for x, y in positions:
        patch = slow_patch(canvas, x, y, size)
        patterns.append(sum(np.abs(scale * matrix @ (mode * patch) @ matrix.T) ** 2 for mode in probe))
    return np.stack(patterns)


@pytest.fixture
def scan():
    object_ = random_complex(30, 34, seed=1)
    probe = random_complex(2, 8, 8, seed=2)
    positions = torch.tensor([[8.0, 9.0], [11.25, 9.75], [20.9, 17.4], [4.0, 4.0], [29.5, 25.5]], dtype=torch.float64)
    return object_, probe, positions


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (6, 10)])
def test_the_centred_transform_is_that_of_numpy(size):
    field = random_complex(3, *size)
    expected = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(field.numpy(), axes=(1, 2)), norm="ortho"), axes=(1, 2))
    np.testing.assert_allclose(fft2c(field).numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(ifft2c(fft2c(field)).numpy(), field.numpy(), atol=1e-12)


def test_the_checkerboard_is_plus_one_at_the_centre():
    assert checkerboard(6, 8)[3, 4] == 1
    assert checkerboard(6, 8)[3, 5] == -1


def test_counts_are_those_of_a_slow_reference_with_modes_adding_as_intensities(scan):
    object_, probe, positions = scan
    counts = Ptychography(probe, positions, (30, 34), scale=1.5).measure(object_)
    np.testing.assert_allclose(counts.numpy(), slow_counts(object_.numpy(), probe.numpy(), positions.numpy(), 1.5), rtol=1e-10)


def test_modes_do_not_interfere():
    patch = torch.ones(1, 1, 8, 8, dtype=torch.complex128)
    mode = random_complex(1, 1, 1, 8, 8)
    opposite = torch.cat([mode, -mode], dim=2)  # summed as waves they would be dark
    torch.testing.assert_close(intensities(exit_waves(patch, opposite)), 2 * intensities(exit_waves(patch, mode)))


@pytest.mark.parametrize(("dtype", "limit"), [(torch.complex64, 1e-6), (torch.complex128, 1e-12)])
def test_adjoint(scan, dtype, limit):
    object_, probe, positions = scan
    operator = Ptychography(probe.to(dtype), positions.to(torch.float64 if dtype == torch.complex128 else torch.float32), (30, 34), 0.7)
    x, y = object_.to(dtype), random_complex(5, 2, 8, 8, seed=3).to(dtype)
    forward = torch.vdot(operator.apply(x).flatten().to(torch.complex128), y.flatten().to(torch.complex128))
    backward = torch.vdot(x.flatten().to(torch.complex128), operator.adjoint(y).flatten().to(torch.complex128))
    assert abs(forward - backward) / abs(forward) < limit


def test_energy_is_kept(scan):
    object_, probe, positions = scan
    waves = exit_waves(extract_patches(object_, positions, 8)[:, None], probe[None, None])
    torch.testing.assert_close(intensities(waves).sum(), waves.abs().square().sum(), rtol=1e-12, atol=0)


def test_gradients_by_object_probe_and_positions_are_those_of_finite_differences(scan):
    object_, probe, positions = scan
    measured = torch.rand(5, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(4))

    def loss(o, p, r):
        return (amplitudes(exit_waves(extract_patches(o, r, 8)[:, None], p[None, None]))[:, 0] - measured).square().sum()

    # Away from whole pixels, where bilinear interpolation has a kink.
    moved = positions + torch.tensor([0.3, 0.4], dtype=torch.float64)
    moved[-1] -= 0.5
    inputs = [object_.clone().requires_grad_(), probe.clone().requires_grad_(), moved.clone().requires_grad_()]
    assert torch.autograd.gradcheck(loss, inputs, eps=1e-7, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "shape", [(8, 8), (1, 8, 8), (5, 8, 8), (2, 1, 8, 8), (3, 1, 1, 8, 8), (1, 1, 1, 8, 6), (1, 2, 1, 8, 8), (1, 1, 0, 8, 8)]
)
def test_a_probe_of_another_rank_or_size_is_refused_not_broadcast(shape):
    with pytest.raises(DataError, match="probe: expected"):
        exit_waves(torch.ones(5, 1, 8, 8, dtype=torch.complex64), torch.ones(*shape, dtype=torch.complex64))


def test_patches_of_another_rank_are_refused():
    with pytest.raises(DataError, match="object patches: expected"):
        exit_waves(torch.ones(5, 8, 8, dtype=torch.complex64), torch.ones(1, 1, 1, 8, 8, dtype=torch.complex64))
    with pytest.raises(DataError, match=r"probe: expected \(P, N, N\)"):
        Ptychography(torch.ones(8, 8, dtype=torch.complex64), torch.zeros(1, 2), (16, 16))


def test_noise_is_poissonian():
    operator = Ptychography(torch.ones(1, 8, 8, dtype=torch.complex64), torch.tensor([[8.0, 8.0]]), (16, 16))
    expected = torch.full((4000,), 3.0)
    counts = operator.sample_noise(expected, torch.Generator().manual_seed(0))
    assert counts.mean() == pytest.approx(3, abs=0.1)
    assert counts.var() == pytest.approx(3, abs=0.25)
    assert torch.equal(counts, counts.round())


def test_further_modes_are_orthogonal_small_and_keep_the_energy():
    probe = random_complex(1, 16, 16)
    modes = with_modes(probe, 4, share=0.05)
    assert modes.shape == (4, 16, 16)
    torch.testing.assert_close(modes.abs().square().sum(), probe.abs().square().sum())
    products = torch.einsum("phw,qhw->pq", modes.conj(), modes).abs()
    assert (products - torch.diag(products.diagonal())).max() < 1e-9 * products.max()
    torch.testing.assert_close(products.diagonal()[1:] / products[0, 0], torch.full((3,), 0.05, dtype=torch.float64))
    with pytest.raises(DataError, match="has 4 modes, 2 asked for"):
        with_modes(modes, 2)


# --- patches -------------------------------------------------------------------------------------


def test_patches_are_those_of_a_slow_reference(scan):
    object_, _, positions = scan
    patches = extract_patches(object_, positions, 8)
    for patch, (x, y) in zip(patches, positions.tolist(), strict=True):
        np.testing.assert_allclose(patch.numpy(), slow_patch(object_.numpy(), x, y, 8), atol=1e-12)


def test_the_centre_of_a_patch_is_its_pixel_at_half():
    canvas = torch.zeros(20, 24)
    canvas[9, 13] = 1  # row y, column x
    assert extract_patches(canvas, torch.tensor([[13.0, 9.0]]), 6)[0, 3, 3] == 1


def test_groups_have_canvases_of_their_own():
    canvases = random_complex(3, 20, 22)
    positions = torch.tensor([[[8.0, 9.5], [10.25, 7.0]]] * 3, dtype=torch.float64)
    grouped = extract_patches(canvases, positions, 8)
    for canvas, patches in zip(canvases, grouped, strict=True):
        torch.testing.assert_close(patches, extract_patches(canvas, positions[0], 8))
    back = place_patches(grouped, positions, (20, 22))
    torch.testing.assert_close(back[1], place_patches(grouped[1], positions[1], (20, 22)))


@pytest.mark.parametrize("place", [[3.9, 9], [9, 3.5], [16, 9], [9, 16.0]])
def test_a_patch_beyond_the_canvas_is_refused(place):
    with pytest.raises(DataError, match="reach beyond a canvas 20 px wide and 20 px high"):
        extract_patches(torch.zeros(20, 20), torch.tensor([place]), 8)


def test_a_covering_canvas_holds_every_patch_and_no_more():
    positions = torch.tensor([[-3.5, 100.25], [40.0, 90.0]])
    canvas = covering_canvas(positions, 8)
    extract_patches(torch.zeros(canvas.shape), canvas.local(positions), 8)
    smaller = Canvas(canvas.origin_px, (canvas.shape[0] - 1, canvas.shape[1]))
    with pytest.raises(DataError):
        extract_patches(torch.zeros(smaller.shape), smaller.local(positions), 8)


def test_stitching_gives_the_object_back_where_it_was_seen():
    rows, columns = torch.meshgrid(torch.arange(40.0), torch.arange(44.0), indexing="ij")
    object_ = torch.polar(1 + 0.01 * rows, 0.02 * columns)  # smooth: interpolating twice hardly changes it
    generator = torch.Generator().manual_seed(0)
    positions = 8 + 20 * torch.rand(60, 2, generator=generator, dtype=torch.float64)
    patches = extract_patches(object_, positions, 12)
    canvas = covering_canvas(positions, 12)
    stitcher = Stitcher(canvas)
    for part in torch.arange(60).split(16):
        stitcher.add(patches[part], positions[part], torch.rand(12, 12, generator=generator) + 0.1)
    x0, y0 = canvas.origin_px
    expected = object_[y0 : y0 + canvas.shape[0], x0 : x0 + canvas.shape[1]]
    inner = stitcher.coverage > 0.5
    assert (stitcher.object()[inner] - expected[inner]).abs().max() < 0.02
    assert (stitcher.object()[stitcher.coverage == 0] == 1).all()


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("inner", [False, True])
def test_merging_and_taking_out_gives_smooth_patches_back(channels, inner):
    """A constant stays one up to the edge of the support; a slope stays a slope inside."""
    offsets = torch.tensor([[[0.0, 0.0], [1.5, 0.25], [-2.25, 1.0], [0.5, -1.75]]] * 2, dtype=torch.float64)[:, :channels]
    size = 16
    support = torch.zeros(size, size, dtype=torch.bool)
    support[4:12, 4:12] = True
    support = support if inner else torch.ones_like(support)
    index = torch.arange(size, dtype=torch.float64) - size // 2
    slope = 1 + 0.1 * (offsets[..., 0][..., None, None] + index) + 0.05j * (offsets[..., 1][..., None, None] + index[:, None])
    merged = merge_groups(slope * support, offsets, support)
    reach = slice(6, 10) if inner else slice(3, 13)
    # Where another patch of the group ends, its last pixel counts at a place up to half a pixel beside its own.
    exact = 1e-9 if channels == 1 else 0.03
    torch.testing.assert_close(merged[..., reach, reach], slope[..., reach, reach], atol=exact, rtol=0)
    constant = merge_groups(torch.ones_like(slope) * support, offsets, support)
    torch.testing.assert_close(constant[..., support], torch.ones_like(constant[..., support]), atol=1e-6, rtol=0)


def test_a_bright_pixel_of_one_patch_shows_at_its_place_in_the_others():
    """The sign of offsets: [x, y] of a patch's own centre, so a pixel seen at +2 in x by the first is at +1 for one that lies at +1."""
    patches = torch.zeros(1, 4, 16, 16, dtype=torch.float64)
    offsets = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [0.0, 3.0], [-0.5, 0.25]]], dtype=torch.float64)
    patches[0, 0, 8, 10] = 4.0
    merged = merge_groups(patches, offsets)
    assert merged[0, 0, 8, 10] == pytest.approx(1.0)
    assert merged[0, 1, 8, 9] == pytest.approx(1.0)
    assert merged[0, 2, 5, 10] == pytest.approx(1.0)
    x, y = 10 + 0.5, 8 - 0.25
    total = merged[0, 3].sum()
    rows, columns = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    assert float((merged[0, 3] * columns).sum() / total) == pytest.approx(x, abs=0.05)
    assert float((merged[0, 3] * rows).sum() / total) == pytest.approx(y, abs=0.05)

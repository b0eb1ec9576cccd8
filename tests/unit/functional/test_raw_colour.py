"""Matrices of raw colours against published ones and plain NumPy; white stays white; balancing twice is impossible."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from photic.core.errors import DataError
from photic.functional.raw_colour import (
    D65,
    REC2020_TO_SRGB,
    REC2020_TO_XYZ,
    SRGB_TO_REC2020,
    SRGB_TO_XYZ,
    XYZ_TO_REC2020,
    XYZ_TO_SRGB,
    apply_matrix,
    camera_to_rec2020,
    camera_to_rec2020_batch,
    xyz_of_white,
)

# XYZ (D65) to the colours of a camera, of the size that such matrices have.
CAMERA = np.array([[0.6257, -0.0303, -0.1000], [-0.7880, 1.5621, 0.2396], [-0.1714, 0.1904, 0.7046]])
OTHER = np.array([[0.7868, 0.0092, -0.0658], [-0.4511, 1.1952, 0.2885], [-0.0716, 0.1424, 0.6490]])


def test_matrices_are_the_published_ones():
    # ITU-R BT.2087 and IEC 61966-2-1 print four digits.
    np.testing.assert_allclose(REC2020_TO_XYZ, [[0.6370, 0.1446, 0.1689], [0.2627, 0.6780, 0.0593], [0, 0.0281, 1.0610]], atol=6e-5)
    np.testing.assert_allclose(SRGB_TO_XYZ, [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]], atol=6e-5)
    np.testing.assert_allclose(SRGB_TO_REC2020, [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]], atol=6e-5)


def test_white_is_white_in_all_of_them_and_they_are_inverses():
    for matrix in (REC2020_TO_XYZ, SRGB_TO_XYZ):
        np.testing.assert_allclose(matrix @ np.ones(3), xyz_of_white(D65), atol=1e-14)
    for forth, back in ((REC2020_TO_XYZ, XYZ_TO_REC2020), (SRGB_TO_XYZ, XYZ_TO_SRGB), (REC2020_TO_SRGB, SRGB_TO_REC2020)):
        np.testing.assert_allclose(forth @ back, np.eye(3), atol=1e-14)
    np.testing.assert_allclose(REC2020_TO_SRGB @ np.ones(3), np.ones(3), atol=1e-14)


def test_without_a_balance_daylight_grey_is_grey():
    seen = CAMERA @ xyz_of_white()
    np.testing.assert_allclose(camera_to_rec2020(CAMERA) @ seen, np.ones(3), atol=1e-12)
    np.testing.assert_allclose(camera_to_rec2020(CAMERA), XYZ_TO_REC2020 @ np.linalg.inv(CAMERA), atol=1e-12)


def test_with_a_balance_what_it_makes_equal_is_grey():
    factors = np.array([2.1, 1.0, 1.6])
    grey = 0.4 / factors
    np.testing.assert_allclose(camera_to_rec2020(CAMERA, factors) @ grey, np.full(3, 0.4), atol=1e-12)
    # Written out: rows from Rec.2020 to the camera, each divided by its sum.
    rows = CAMERA @ REC2020_TO_XYZ
    expected = np.linalg.inv(rows / rows.sum(1, keepdims=True)) @ np.diag(factors)
    np.testing.assert_allclose(camera_to_rec2020(CAMERA, factors), expected, atol=1e-12)


def test_the_balance_that_the_matrix_itself_makes_differs_from_none_by_a_factor_only():
    own = 1 / (CAMERA @ xyz_of_white())
    np.testing.assert_allclose(camera_to_rec2020(CAMERA, own), camera_to_rec2020(CAMERA), atol=1e-12)
    # To balance and then take the matrix as it is, is the mistake: grey gets a cast of these very factors.
    twice = camera_to_rec2020(CAMERA) @ np.diag(own) @ (CAMERA @ xyz_of_white())
    assert np.abs(twice / twice[1] - 1).max() > 0.2
    assert np.allclose(camera_to_rec2020(CAMERA, own) @ (CAMERA @ xyz_of_white()), 1)


def test_a_batch_is_each_for_itself_with_numpy_as_the_judge():
    matrices = torch.tensor(np.stack([CAMERA, OTHER]), dtype=torch.float32)
    factors = torch.tensor([[2.0, 1.0, 1.5], [1.7, 1.0, 2.2]])
    for balance in (None, factors):
        found = camera_to_rec2020_batch(matrices, balance)
        assert found.dtype == torch.float32 and found.shape == (2, 3, 3)
        for index in range(2):
            expected = camera_to_rec2020(matrices[index].numpy(), None if balance is None else balance[index].numpy())
            np.testing.assert_allclose(found[index].numpy(), expected, rtol=1e-6, atol=1e-6)


def test_apply_matrix_is_the_plain_product():
    rng = np.random.default_rng(0)
    picture, matrices = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(2, 3, 3))
    expected = np.einsum("bij,bjhw->bihw", matrices, picture)
    np.testing.assert_allclose(apply_matrix(torch.tensor(picture), torch.tensor(matrices)).numpy(), expected, atol=1e-12)
    one = apply_matrix(torch.tensor(picture), matrices[0])
    np.testing.assert_allclose(one.numpy(), np.einsum("ij,bjhw->bihw", matrices[0], picture), atol=1e-12)
    half = torch.tensor(picture).to(torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        made = apply_matrix(half, matrices[0])
    assert made.dtype == torch.bfloat16
    expected = np.einsum("ij,bjhw->bihw", matrices[0], half.double().numpy())
    np.testing.assert_allclose(made.double().numpy(), expected, rtol=5e-3, atol=1e-6)
    strided = torch.tensor(picture).permute(0, 1, 3, 2)
    assert apply_matrix(strided, matrices[0]).shape == strided.shape


@pytest.mark.parametrize("matrix", [np.zeros((3, 3)), np.ones((3, 3)), np.diag([1.0, 1.0, np.nan]), np.diag([1, 1, 1e-9])])
def test_a_matrix_without_an_inverse_is_refused(matrix):
    with pytest.raises(DataError, match="colour matrix of picture 0.*invertible.*ColorMatrix"):
        camera_to_rec2020(matrix)
    with pytest.raises(DataError, match="colour matrix of picture 1"):
        camera_to_rec2020_batch(torch.tensor(np.stack([CAMERA, matrix])), torch.ones(2, 3))


def test_wrong_input_is_refused():
    with pytest.raises(DataError, match=r"\(4, 3\).*first three rows"):
        camera_to_rec2020(np.ones((4, 3)))
    for factors in ([-1.0, 0.98, 1.01], [0.0, 1, 1], [np.inf, 1, 1], [np.nan, 1, 1]):
        with pytest.raises(DataError, match="white balance of picture 0"):
            camera_to_rec2020(CAMERA, np.array(factors))
    with pytest.raises(DataError, match=r"expected \(1, 3\) factors"):
        camera_to_rec2020(CAMERA, np.ones(4))
    blind = CAMERA.copy()
    blind[0] = [-0.5, 0.2, -0.3]
    with pytest.raises(DataError, match="does not see white"):
        camera_to_rec2020(blind, np.ones(3))
    with pytest.raises(DataError, match=r"\(B, 3, 3\)"):
        camera_to_rec2020_batch(torch.eye(3))
    with pytest.raises(DataError, match=r"pictures \(B, 3, H, W\)"):
        apply_matrix(torch.zeros(3, 2, 2), np.eye(3))
    with pytest.raises(DataError, match=r"a matrix \(3, 3\) or \(2, 3, 3\)"):
        apply_matrix(torch.zeros(2, 3, 2, 2), torch.zeros(3, 3, 3))

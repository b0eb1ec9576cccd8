"""A fixed square-root-like curve and its inverse: equal steps in it are about equally visible, and carry about equal noise."""

from __future__ import annotations

from torch import Tensor

OFFSET = 1e-3
"""Linear value below which the curve turns straight; its slope at 0 is 1 / (2 sqrt(OFFSET)) = 15.8."""


def companded(linear: Tensor) -> Tensor:
    """Return ``sign(x) (sqrt(|x| + e) - sqrt(e))`` with e = 1e-3: odd, smooth enough for gradients at 0, defined below black.

    Source: Anscombe 1948 (the square root makes the variance of Poisson noise constant).

    >>> import torch
    >>> round(float(companded(torch.tensor(1.0))), 4)
    0.9689
    """
    made: Tensor = linear.sign() * ((linear.abs() + OFFSET).sqrt() - OFFSET**0.5)
    return made


def expanded(curved: Tensor) -> Tensor:
    """Return the linear values of :func:`companded` ones: ``sign(y) ((|y| + sqrt(e))^2 - e)``.

    >>> import torch
    >>> round(float(expanded(companded(torch.tensor(-0.25)))), 6)
    -0.25
    """
    made: Tensor = curved.sign() * curved.abs() * (curved.abs() + 2 * OFFSET**0.5)  # the square multiplied out: exact at 0
    return made

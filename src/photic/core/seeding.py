"""Random numbers as a function of (seed, purpose, index): nothing depends on what ran before.

Because every draw is addressed rather than taken from a running stream, a resumed run needs no
saved generator states to repeat the numbers of an uninterrupted one.
"""

from __future__ import annotations

import hashlib
import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch


def derive_seed(seed: int, purpose: str, *index: int) -> int:
    """Return a 63-bit seed that depends on every argument.

    >>> derive_seed(0, "augment", 3) != derive_seed(0, "augment", 4)
    True
    """
    text = "\x1f".join([str(seed), purpose, *map(str, index)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def torch_generator(seed: int, purpose: str, *index: int) -> torch.Generator:
    """Return a CPU generator for one purpose and place."""
    import torch

    return torch.Generator().manual_seed(derive_seed(seed, purpose, *index))


def numpy_generator(seed: int, purpose: str, *index: int) -> np.random.Generator:
    """Return a NumPy generator for one purpose and place."""
    import numpy as np

    return np.random.default_rng(derive_seed(seed, purpose, *index))


def seed_global_generators(seed: int, purpose: str, *index: int) -> None:
    """Seed the global generators of Python, NumPy and torch (all devices in use), for code that uses them, such as dropout."""
    import numpy as np
    import torch

    value = derive_seed(seed, purpose, *index)
    random.seed(value)
    np.random.seed(value % 2**32)
    # Training calls this at every step. torch.manual_seed gives the same numbers, but also keeps the seed, with a formatted
    # stack, for every kind of device that it knows and nobody has: a millisecond.
    torch.default_generator.manual_seed(value)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(value)
    if torch.backends.mps.is_available():
        torch.mps.manual_seed(value)

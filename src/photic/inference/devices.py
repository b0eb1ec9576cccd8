"""Devices by name; light, since commands that only need a device should not load what models need."""

from __future__ import annotations

import torch

from photic.core.errors import ConfigError


def usable_device(name: str) -> torch.device:
    """Return a device by name; ``auto`` is a GPU if there is one.

    Raises:
        ConfigError: there is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"device '{name}' is not available here ({str(error).splitlines()[0]}); use cpu or auto") from error
    return device

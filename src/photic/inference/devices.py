"""Devices by name; light, since commands that only need a device should not load what models need."""

from __future__ import annotations

import torch

from photic.core.errors import ConfigError


def usable_device(name: str | int | torch.device) -> torch.device:
    """Return a device by name; ``auto`` is a GPU if there is one.

    Args:
        name: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ...; or a device; or a number: -1 is the CPU, 0 the first GPU.

    Raises:
        ConfigError: there is no such device here.

    >>> usable_device(-1)
    device(type='cpu')
    """
    text = name if isinstance(name, str) else device_name(name)
    if text == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(text)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        there = f" (GPUs here: {torch.cuda.device_count()})" if "cuda" in text else ""
        raise ConfigError(f"device '{name}' is not available here{there} ({str(error).splitlines()[0]}); use cpu or auto") from error
    return device


def device_name(name: str | int | torch.device) -> str:
    """Return a device's name, whether it is there or not.

    Raises:
        ConfigError: it can be none.

    >>> device_name(1), device_name(-1)
    ('cuda:1', 'cpu')
    """
    if isinstance(name, bool) or not isinstance(name, str | int | torch.device) or (isinstance(name, int) and name < -1):
        raise ConfigError(f"device: expected 'cpu', 'cuda', 'cuda:N', a torch.device, -1 (the CPU) or the number of a GPU, got {name!r}")
    if isinstance(name, int):
        return "cpu" if name == -1 else f"cuda:{name}"
    if isinstance(name, str) and name != "auto":
        try:
            torch.device(name)
        except RuntimeError as error:
            raise ConfigError(f"device: '{name}' is none; expected 'cpu', 'cuda', 'cuda:N', -1 (the CPU) or the number of a GPU") from error
    return str(name)

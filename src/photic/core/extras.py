"""Packages that only some commands need, and that an installation may lack."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from photic.core.errors import ConfigError


def need(extra: str, modules: Sequence[str], what: str) -> None:
    """Make sure that the packages of an extra are there, before anything else is done.

    Args:
        extra: its name in ``pip install "photic[NAME]"``.
        modules: what it must bring, import names.
        what: what needs them, for the message.

    Raises:
        ConfigError: something is missing.
    """
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise ConfigError(f'{what} needs packages that are not installed ({", ".join(missing)}): pip install "photic[{extra}]"')

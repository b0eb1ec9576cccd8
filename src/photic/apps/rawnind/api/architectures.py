"""Networks by the names and numbers that this application's Python interface has for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from photic.core.errors import ConfigError, nearest
from photic.core.registry import models
from photic.core.schema import field_types
from photic.models.raw_denoising import Measurement, RawDenoiserConfig

FILTER_UNITS = 32
"""Channels at a network's first level where nothing else is said."""
_SIZES = {16: "tiny", 32: "small", 48: "base", 64: "large"}
"""Sizes of `standard` by their channels at the first level."""
_PER_UNIT = {"autoencoder": 6}
"""Channels per filter unit, of networks whose width means something else: 32 units are the published 192 channels."""


def network_config(
    architecture: str,
    measurement: Measurement,
    *,
    filter_units: int = FILTER_UNITS,
    enable_preupsampling: bool = False,
    options: Mapping[str, Any] | None = None,
    where: str = "architecture",
) -> RawDenoiserConfig:
    """Return the config of a denoiser.

    Args:
        architecture: ``standard``, ``unet`` (the same as ``utnet2``), ``utnet3``, ``autoencoder``, ``identity``, or one that a plug-in
            brings.
        measurement: ``mosaic`` or ``rgb``.
        filter_units: channels at the first level: any number for U-Nets; 16, 32, 48 or 64 for `standard`, whose sizes tiny, small, base and
            large they are; a sixth of the width of `autoencoder`.
        enable_preupsampling: packed planes are enlarged before the network, where it can.
        options: further fields of the network's config; ``size`` and ``width`` go before ``filter_units``.
        where: names the architecture in messages.

    Raises:
        ConfigError: no such architecture, it does not denoise raw pictures, or it cannot be had like this.

    >>> network_config("unet", "mosaic", filter_units=8).to_dict()["width"], network_config("standard", "rgb").to_dict()["size"]
    (8, 'small')
    """
    if architecture not in models:
        known = architectures()
        raise ConfigError(
            f"{where}: unknown architecture '{architecture}'{nearest(str(architecture), known)} (there are: {', '.join(known)})"
        )
    kind = models.config_class(architecture, where)
    if not issubclass(kind, RawDenoiserConfig):
        raise ConfigError(f"{where}: '{architecture}' does not denoise raw pictures; use one of {', '.join(architectures())}")
    fields, chosen = field_types(kind), dict(options or {})
    unknown = [name for name in chosen if name not in fields]
    if unknown:
        known = [name for name in fields if name != "measurement"]
        raise ConfigError(
            f"{architecture}: unknown option '{unknown[0]}'{nearest(unknown[0], known)} (options: {', '.join(known) or 'none'})"
        )
    if "width" in fields:
        chosen.setdefault("width", filter_units * _PER_UNIT.get(kind.registry_name or "", 1))
    elif kind.registry_name == "standard":
        if "size" not in chosen and filter_units not in _SIZES:
            raise ConfigError(f"filter_units: 'standard' has sizes of {', '.join(map(str, _SIZES))} filter units, got {filter_units}")
        chosen.setdefault("size", _SIZES.get(filter_units))
    elif filter_units != FILTER_UNITS:
        raise ConfigError(f"filter_units: '{architecture}' has no width that could be {filter_units}; leave filter_units out")
    if enable_preupsampling:
        if "preupsample" not in fields:
            raise ConfigError(f"enable_preupsampling: '{architecture}' has no pre-upsampling; U-Nets have (unet, utnet3)")
        chosen["preupsample"] = True
    return kind.from_dict({**chosen, "measurement": measurement}, architecture)


def architectures() -> list[str]:
    """Return the names of all networks that denoise raw pictures, synonyms included, without importing any."""
    entries = [entry for entry in models.entries() if any(info.name == "measurement" for info in entry.fields())]
    return sorted(name for entry in entries for name in (entry.name, *entry.aliases))

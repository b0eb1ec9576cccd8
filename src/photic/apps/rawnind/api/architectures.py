"""Networks by the names and numbers that this application's Python interface has for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from photic.core.errors import ConfigError, nearest
from photic.core.registry import models
from photic.core.schema import Config, field_types
from photic.models.base import ModelConfig
from photic.models.compression import CompressorConfig
from photic.models.raw_denoising import Measurement, RawDenoiserConfig

C = TypeVar("C", bound=ModelConfig)

FILTER_UNITS = 32
"""Channels at a network's first level where nothing else is said."""
_SIZES = {16: "tiny", 32: "small", 48: "base", 64: "large"}
"""Sizes of `standard` by their channels at the first level."""
_PER_UNIT = {"autoencoder": 6, "many_priors": 6}
"""Channels per filter unit, of networks whose width means something else: 32 units are the published 192 channels."""
_COMPRESSORS = {"standard": "hyperprior", "autoencoder": "many_priors"}
"""What these names, which denoisers have, mean where a network that compresses is asked for."""
ENCODERS = ("Balle",)
DECODERS = ("Balle", "BayerPS", "BayerTC")
"""Parts of networks that compress, by the names that this interface has for them."""


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
    kind = _kind(architecture, RawDenoiserConfig, "denoise raw pictures", where)
    fields, chosen = field_types(kind), _known(architecture, kind, options)
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


def compressor_config(
    architecture: str,
    measurement: Measurement | None = None,
    *,
    encoder_arch: str | None = None,
    decoder_arch: str | None = None,
    filter_units: int = FILTER_UNITS,
    options: Mapping[str, Any] | None = None,
    where: str = "architecture",
) -> CompressorConfig:
    """Return the config of a network that compresses.

    Args:
        architecture: ``many_priors``, ``hyperprior``, ``factorized``, ``denoise_then_compress``, in any spelling (``ManyPriors``), or one
            that a plug-in brings; ``standard`` is the best, `hyperprior`; ``autoencoder`` is `many_priors`, whose transforms it has.
        measurement: ``mosaic`` or ``rgb``; None: as the decoder takes it, or ``options`` say.
        encoder_arch: ``Balle``, the only one, or None.
        decoder_arch: ``Balle`` for RGB, ``BayerPS`` or ``BayerTC`` for mosaics, in any spelling; None: as the measurement asks, and without
            one ``Balle``.
        filter_units: a sixth of the width of `many_priors`, a quarter of that of others: 32 is as published.
        options: further fields of the network's config; ``width`` goes before ``filter_units``.
        where: names the architecture in messages.

    Raises:
        ConfigError: no such architecture, it does not compress, or it cannot be had like this.

    >>> config = compressor_config("Hyperprior", encoder_arch="Balle", decoder_arch="BayerTC", filter_units=8)
    >>> config.measurement, config.to_dict()["decoder"], config.to_dict()["width"]
    ('mosaic', 'bayer_tc', 32)
    """
    name = _matched(architecture, [*compressors(), *_COMPRESSORS])
    name = _COMPRESSORS.get(name, name)
    kind = _kind(name, CompressorConfig, "compress raw pictures", where)
    fields, chosen = field_types(kind), _known(name, kind, options)
    _chosen(encoder_arch, ENCODERS, "encoder_arch")
    decoder = _chosen(decoder_arch, DECODERS, "decoder_arch")
    if "decoder" in fields:
        seen: Measurement = chosen.get("measurement", "rgb") if decoder is None else "rgb" if decoder == "balle" else "mosaic"
        chosen |= {} if decoder is None else {"decoder": decoder}
    else:
        seen = chosen.get("measurement", "mosaic")
        if decoder not in (None, "balle"):
            raise ConfigError(f"decoder_arch: '{name}' compresses RGB pictures, so its decoder is Balle; got '{decoder_arch}'")
    chosen["measurement"] = seen if measurement is None else measurement
    if "denoiser" in fields:
        chosen.setdefault("denoiser", {"name": "standard", "measurement": chosen["measurement"]})
    if "width" in fields:
        chosen.setdefault("width", filter_units * _PER_UNIT.get(name, 4))
    elif filter_units != FILTER_UNITS:
        raise ConfigError(f"filter_units: '{name}' has no width that could be {filter_units}; leave filter_units out")
    return kind.from_dict(chosen, name)


def architectures() -> list[str]:
    """Return the names of all networks that denoise raw pictures, synonyms included."""
    return _names(RawDenoiserConfig)


def compressors() -> list[str]:
    """Return the names of all networks that compress raw pictures, synonyms included."""
    return _names(CompressorConfig)


def compresses(architecture: str, *, synonyms: bool = False) -> bool:
    """Return whether a name means a network that compresses, and none that denoises; with ``synonyms`` also those that may mean both.

    >>> compresses("HyperPrior"), compresses("autoencoder")
    (True, False)
    """
    known = [*compressors(), *(_COMPRESSORS if synonyms else ())]
    return _matched(architecture, known) in known


def _names(base: type[ModelConfig]) -> list[str]:
    entries = [entry for entry in models.entries() if any(info.name == "measurement" for info in entry.fields())]
    return sorted(name for entry in entries if issubclass(models.config_class(entry.name), base) for name in (entry.name, *entry.aliases))


def _kind(architecture: str, base: type[C], what: str, where: str) -> type[C]:
    if architecture not in models:
        known = _names(base)
        raise ConfigError(
            f"{where}: unknown architecture '{architecture}'{nearest(str(architecture), known)} (there are: {', '.join(known)})"
        )
    kind = models.config_class(architecture, where)
    if not issubclass(kind, base):
        raise ConfigError(f"{where}: '{architecture}' does not {what}; use one of {', '.join(_names(base))}")
    return kind


def _known(architecture: str, kind: type[Config], options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return options as a new dict.

    Raises:
        ConfigError: the network has no such field.
    """
    chosen, fields = dict(options or {}), field_types(kind)
    unknown = [name for name in chosen if name not in fields]
    if unknown:
        known = [name for name in fields if name != "measurement"]
        raise ConfigError(
            f"{architecture}: unknown option '{unknown[0]}'{nearest(unknown[0], known)} (options: {', '.join(known) or 'none'})"
        )
    return chosen


def _chosen(name: str | None, known: tuple[str, ...], where: str) -> str | None:
    """Return a part's name as networks' configs have it.

    Raises:
        ConfigError: there is none like that.
    """
    if name is None:
        return None
    found = {_plain(one): one for one in known}
    if _plain(name) not in found:
        raise ConfigError(f"{where}: expected one of {', '.join(known)}, got {name!r}{nearest(str(name), known)}")
    return {"BayerPS": "bayer_ps", "BayerTC": "bayer_tc"}.get(found[_plain(name)], "balle")


def _matched(name: str, known: Sequence[str]) -> str:
    """Return the known name that is spelt alike but for capitals and underscores; another name as it is."""
    return next((one for one in known if _plain(one) == _plain(name)), name)


def _plain(name: str) -> str:
    return str(name).replace("_", "").replace("-", "").lower()

"""A weighted sum of named losses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Self

import torch
from torch import Tensor, nn

from photic.core.errors import ConfigError
from photic.core.registry import losses
from photic.core.schema import Range, Registered
from photic.losses.base import BaseLoss, Compared, LossConfig


class SumLoss(BaseLoss):
    """The sum of named losses, each with its own weight.

    A term that cannot be computed raises; it never counts as zero. Terms may act on different things (diffraction and
    object patches): then :meth:`terms_on` gives each its own.

    Args:
        parts: name to loss; at least one.

    Raises:
        ConfigError: there is no part.
    """

    def __init__(self, parts: Mapping[str, BaseLoss]) -> None:
        super().__init__()
        if not parts:
            raise ConfigError("sum.terms: nothing to add up; name at least one loss, for example +loss.terms.main={name:focal}")
        self.parts = nn.ModuleDict(parts)
        self.factors: dict[str, float] = {}
        """Factor of each part, changed by :meth:`reweigh` while training goes on; 1 where there is none."""
        kinds = {part.acts_on for part in parts.values()}
        self.acts_on = kinds.pop() if len(kinds) == 1 else "parts"
        self.needs_target = any(part.needs_target for part in parts.values())

    def named_parts(self) -> dict[str, BaseLoss]:
        """Return the losses that are summed, by name; the weight of the sum comes on top of theirs."""
        return dict(self.parts.items())  # type: ignore[arg-type]

    def get_params(self) -> dict[str, Any]:
        """Return the settings of every part, with its weight."""
        return {name: {"weight": part.weight, **part.get_params()} for name, part in self.named_parts().items()}

    def reweigh(self, factors: Mapping[str, float]) -> None:
        """Take factors of parts; a part with factor 0 is neither computed nor listed among the terms until it gets another.

        Raises:
            ConfigError: a part has no factor: its weight in a scheduled sum would be an accident.
        """
        missing = [name for name in self.parts if name not in factors]
        if missing:
            raise ConfigError(
                f"config.loss.terms: the schedule has no weight for {', '.join(missing)} (it has: {', '.join(factors)}); "
                "name the term after one of these, take it out, or use another schedule"
            )
        if not any(factors[name] for name in self.parts):
            raise ConfigError(
                f"config.schedule: all terms of the loss ({', '.join(self.parts)}) have weight 0 at this step; give one a weight"
            )
        self.factors = {name: float(factors[name]) for name in self.parts}

    def fit(self, labels: Tensor, objects: Tensor | None = None) -> Self:
        """Fit every part to the labels of the whole training split."""
        for part in self.named_parts().values():
            part.fit(labels, objects)
        return self

    def value(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the sum of the weighted parts.

        Raises:
            ConfigError: the parts act on different things.
        """
        self._require_one_kind()
        return torch.stack([self._factor(name) * part(prediction, target, mask) for name, part in self._counted().items()]).sum()

    def terms(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
        """Return every part under its name (parts of a part as ``name.part``), weighted; they sum to :meth:`forward`.

        Raises:
            ConfigError: the parts act on different things.
        """
        self._require_one_kind()
        return self._joined({name: part.terms(prediction, target, mask) for name, part in self._counted().items()})

    def terms_on(self, compared: Mapping[str, Compared]) -> dict[str, Tensor]:
        """Return every part under its name, weighted, each computed from what it acts on.

        Raises:
            ConfigError: the task has not what a part acts on.
        """
        return self._joined({name: part.terms_on(compared) for name, part in self._counted().items()})

    def _joined(self, terms: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
        named: dict[str, Tensor] = {}
        for name, part in self._counted().items():
            factor = self.weight * self._factor(name)
            for inner, value in terms[name].items():
                named[name if inner == part.term_name else f"{name}.{inner}"] = factor * value
        return named

    def _factor(self, name: str) -> float:
        return self.factors.get(name, 1.0)

    def _counted(self) -> dict[str, BaseLoss]:
        return {name: part for name, part in self.named_parts().items() if self._factor(name) != 0}

    def _require_one_kind(self) -> None:
        if self.acts_on == "parts":
            kinds = ", ".join(f"{name} on {part.acts_on}" for name, part in self.named_parts().items())
            raise ConfigError(f"sum.terms: the terms act on different things ({kinds}), so they cannot be given the same; call terms_on")


@losses.register("sum")
@dataclass(frozen=True, kw_only=True)
class SumConfig(LossConfig):
    """Weighted sum of named losses."""

    terms: Annotated[dict[str, LossConfig | None], Registered("losses")] = field(default_factory=dict)
    """Name to loss, each with its `weight`; null or false switches one off. At least one must be on."""
    num_classes: Annotated[int | None, Range(ge=1)] = None
    """Number of labels, handed to the terms that leave it open; null takes it from the data."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not any(self.terms.values()):
            raise ConfigError("sum.terms: nothing to add up; name at least one loss, for example +loss.terms.main={name:focal}")
        for name in self.terms:
            if "." in name or not name or hasattr(nn.ModuleDict(), name):
                raise ConfigError(f"sum.terms: '{name}' cannot name a term (empty, with a dot, or a reserved word); choose another name")

    def make(self) -> SumLoss:
        """Return the loss."""
        return SumLoss({name: self._sized(config).build() for name, config in self.terms.items() if config is not None})

    def _sized(self, config: LossConfig) -> LossConfig:
        if self.num_classes is not None and getattr(config, "num_classes", 0) is None:
            return config.replace(num_classes=self.num_classes)
        return config

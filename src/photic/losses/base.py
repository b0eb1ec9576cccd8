"""What every loss shares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self, cast

from torch import Tensor, nn

from photic.core.errors import ConfigError
from photic.core.schema import Config, Range

ActsOn = Literal["logits", "diffraction", "object", "picture", "brightening", "mask", "curves", "parts"]
"""What a loss compares: logits ``(B, C)`` with labels; modelled with measured diffraction amplitudes ``(B, C, N, N)``; complex
object patches ``(B, C, N, N)``; pictures ``(B, 3, H, W)`` with true ones; brightened pictures with the dark ones they were made of
(which stand in the target's place); a blend mask ``(B, 1, H, W)`` or curve maps ``(B, 3 n, H, W)`` alone; or, for sums of these,
whatever each part says."""


class Compared(NamedTuple):
    """What a task gives to losses of one kind."""

    prediction: Tensor
    """``(B, ...)``; only the samples that these losses judge."""
    target: Tensor | None = None
    """What it is compared with, where there is such a thing."""
    mask: Tensor | None = None
    """What counts."""
    share: float = 1.0
    """Share of the batch's samples that is here; the loss counts by it. 0 is a sum over no samples."""


@dataclass(frozen=True, kw_only=True)
class LossConfig(Config):
    """Base of every loss's config."""

    weight: Annotated[float, Range(ge=0)] = 1.0
    """Factor of this loss in the total."""

    def make(self) -> BaseLoss:
        """Return the loss without its weight; every config defines this."""
        raise NotImplementedError

    def build(self) -> BaseLoss:
        """Return the loss; the only place where ``weight`` goes from the config to the loss."""
        loss = self.make()
        loss.weight = self.weight
        loss.term_name = self.registry_name or type(loss).__name__
        if type(loss).forward is not BaseLoss.forward:  # a class from outside that defines forward itself, weight unseen
            loss.register_forward_hook(_weigh)
        return loss


def _weigh(loss: nn.Module, _: Any, output: Tensor) -> Tensor:
    return cast("BaseLoss", loss).weight * output


class BaseLoss(nn.Module):
    """A loss: ``forward(prediction, target, mask=None) -> scalar``.

    Subclasses define :meth:`value`; the weight is applied in :meth:`forward` and nowhere else (a subclass that
    defines ``forward`` itself returns the loss before its weight; the config that builds it sees to the weight). Settings
    derived from the training data (class weights) are made once by :meth:`fit` and kept in buffers, so
    that they are saved with the run and not guessed again.
    """

    config_base: ClassVar[type[LossConfig]] = LossConfig
    weight: float = 1.0
    """Factor of this loss in the total."""
    term_name: str = "loss"
    """What the loss is called among the terms of a sum, and in logs."""
    acts_on: ActsOn = "logits"
    """What it compares."""
    needs_target: bool = True
    """Whether it looks at the target; what judges the prediction alone does not."""
    only_without_target: bool = False
    """Whether it is a substitute for a target, and leaves samples out that have one."""

    def get_params(self) -> dict[str, Any]:
        """Return the settings the loss was made with."""
        raise NotImplementedError

    def fit(self, labels: Tensor, objects: Tensor | None = None) -> Self:
        """Derive settings from the whole training split; losses without such settings return themselves.

        Args:
            labels: ``(N, C)`` binary labels of all training samples.
            objects: ``(N, C)`` numbers of objects of each class, where known.
        """
        return self

    def value(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the loss before its weight."""
        raise NotImplementedError

    def forward(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the weighted loss.

        Args:
            prediction: what the network gives, ``(B, C)`` logits for classification.
            target: what it is compared with, same shape.
            mask: same shape, 1 where the target is known and counts, 0 where it is left out; None counts everything.
        """
        return self.weight * self.value(prediction, target, mask)

    def terms(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
        """Return the named parts of the loss, weighted; their sum is :meth:`forward`."""
        return {self.term_name: self(prediction, target, mask)}

    @property
    def judges(self) -> str:
        """Which samples it judges: those with a ``known`` target, those with an ``unknown`` one, or ``any`` of them."""
        return "unknown" if self.only_without_target else "known" if self.needs_target else "any"

    def terms_on(self, compared: Mapping[str, Compared]) -> dict[str, Tensor]:
        """Return the named parts of the loss, weighted, where a task has several things to compare.

        Args:
            compared: what losses act on, to what they are given; each part takes what it acts on. Where targets may be unknown, keys
                such as ``picture:known``, ``picture:unknown`` and ``picture:any`` (see :attr:`judges`) go before ``picture``.

        Raises:
            ConfigError: the task has not what the loss acts on.
        """
        key = next((key for key in (f"{self.acts_on}:{self.judges}", self.acts_on) if key in compared), None)
        if key is None:
            known = sorted({key.partition(":")[0] for key in compared})
            raise ConfigError(
                f"config.loss: '{self.term_name}' acts on {self.acts_on}, which this task does not have; it has: "
                f"{', '.join(known)}. See `photic list losses`"
            )
        prediction, target, mask, share = Compared(*compared[key])
        if share == 0:  # a sum over no samples; it stays part of the graph, so that all processes have the same terms
            return {self.term_name: prediction.sum() * 0.0}
        terms = self.terms(prediction, cast(Tensor, target), mask)
        return terms if share == 1 else {name: share * value for name, value in terms.items()}

    def reweigh(self, factors: Mapping[str, float]) -> None:
        """Take factors of named terms that a schedule changes while training goes on; only a sum has such terms.

        Raises:
            ConfigError: this loss is no sum.
        """
        raise ConfigError(
            f"config.loss.name: the schedule weighs the terms {', '.join(factors)}, but '{self.term_name}' is a single loss; "
            "use loss.name=sum with terms of these names, or another schedule"
        )

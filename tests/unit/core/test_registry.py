"""Registries refuse duplicates, suggest near names, and import only what is asked for."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import pytest

from photic.core.catalogue import Catalogue
from photic.core.errors import ConfigError, UnknownNameError
from photic.core.registry import Registry, kinds, registry_of, schedules
from photic.core.schema import Config, Range


@pytest.fixture
def registry() -> Iterator[Registry]:
    yield Registry(Catalogue("gadgets", "gadget"))


def test_decorated_config_builds_by_name(registry: Registry) -> None:
    @registry.register("double", aliases=("twice",))
    @dataclass(frozen=True, kw_only=True)
    class DoubleConfig(Config):
        """Doubles."""

        factor: int = 2

        def build(self, value: int = 1) -> int:
            return self.factor * value

    assert registry.get("double", factor=3) == 3
    assert registry.get("twice", 5) == 10
    assert DoubleConfig().to_dict() == {"name": "double", "factor": 2}
    assert registry.names() == ["double"]
    assert registry.entries("dou*")[0].summary == "Doubles."


def test_plain_class_can_be_registered_at_run_time(registry: Registry) -> None:
    class Plain:
        def __init__(self, width: int = 3) -> None:
            self.width = width

    registry.register("plain", Plain, description="A plain thing")
    built = registry.get("plain", width=4)
    assert type(built) is Plain
    assert built.width == 4
    assert registry.entries()[0].summary == "A plain thing"
    with pytest.raises(ConfigError, match="plain: unknown field 'widht'; did you mean 'width'"):
        registry.get("plain", widht=4)


def test_duplicate_name_is_an_error(registry: Registry) -> None:
    class One: ...

    class Two: ...

    registry.register("same", One)
    with pytest.raises(ConfigError, match="the name 'same' is taken by .*One"):
        registry.register("same", Two)


def test_name_known_from_the_sources_cannot_be_taken_before_it_is_imported() -> None:
    class Mine: ...

    with pytest.raises(ConfigError, match="'warmup_cosine' is taken by photic.optim.schedules.WarmupCosineConfig"):
        schedules.register("warmup_cosine", Mine)


def test_unknown_name_answers_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="unknown schedule 'warmup_cosin'; did you mean 'warmup_cosine'"):
        schedules.get("warmup_cosin")
    with pytest.raises(UnknownNameError, match="unknown kind 'model'; did you mean 'models'"):
        registry_of("model")


def test_listing_every_kind_imports_no_torch() -> None:
    code = "import sys\nfrom photic.core.registry import kinds, registry_of\n"
    code += "assert all(isinstance(registry_of(k).names(), list) for k in kinds())\n"
    code += "bad = {'torch', 'numpy', 'hydra', 'lightning', 'yaml'} & set(sys.modules)\nassert not bad, bad"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert "models" in kinds()


def test_plain_loss_registered_at_run_time_can_be_chosen_by_configuration() -> None:
    import photic
    from photic.core.registry import losses
    from photic.losses import BaseLoss

    class Flat(BaseLoss):
        """Half of the mean logit."""

        def __init__(self, share: float = 0.5) -> None:
            super().__init__()
            self.share = share

        def get_params(self):
            return {"share": self.share}

        def value(self, prediction, target, mask=None):
            return self.share * prediction.mean()

    losses.register("flat", Flat, description="Half of the mean logit")
    config = photic.recipe("quick_strips", {"loss.name": "flat", "loss.share": 0.25, "loss.weight": 2.0})
    built = config.loss.build()
    assert type(built) is Flat
    assert (built.share, built.weight) == (0.25, 2.0)
    assert config.to_dict()["loss"] == {"name": "flat", "weight": 2.0, "share": 0.25}
    assert "flat" in losses.list_losses()


def test_a_component_made_at_run_time_tells_its_fields(registry: Registry) -> None:
    """The sources cannot show a class that is made inside a function."""

    class Made:
        def __init__(self, share: Annotated[float, Range(ge=0, le=1)], side_px: int | None = 3) -> None:
            self.share, self.side_px = share, side_px

    registry.register("made_at_run_time", Made, description="Made here")
    (entry,) = registry.entries("made_at_run_time")
    assert [(f.name, f.type, f.range, f.default, f.required) for f in entry.fields()] == [
        ("share", "float", ">= 0 and <= 1", None, True),
        ("side_px", "int | None", "", 3, False),
    ]
    with pytest.raises(ConfigError, match=r"made_at_run_time\.share: expected a value >= 0 and <= 1, got 2"):
        registry.get("made_at_run_time", share=2)

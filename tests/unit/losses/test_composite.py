import pytest
import torch

from photic.core.errors import ConfigError, UnknownNameError
from photic.losses import BaseLoss, FocalLoss, SumLoss, get_registry

LABELS = torch.tensor([[1, 0, 0], [1, 1, 0], [0, 0, 1], [1, 0, 0]])


def make(terms, **fields):
    return get_registry().get("sum", terms=terms, **fields)


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(4, 3, generator=generator), LABELS.float()


def test_terms_are_named_weighted_and_sum_to_the_total(batch):
    loss = make({"focus": {"name": "focal", "weight": 0.5}, "plain": {"name": "bce", "weight": 2.0}}, weight=3.0)
    terms = loss.terms(*batch)
    assert list(terms) == ["focus", "plain"]
    torch.testing.assert_close(terms["focus"], 3 * 0.5 * get_registry().get("focal")(*batch))
    torch.testing.assert_close(terms["plain"], 3 * 2.0 * get_registry().get("bce")(*batch))
    torch.testing.assert_close(sum(terms.values()), loss(*batch))


def test_a_key_that_is_a_loss_names_it_and_null_or_false_switches_it_off(batch):
    loss = make({"focal": True, "asymmetric": {"clip": 0.1}, "bce": None, "other": False})
    assert list(loss.terms(*batch)) == ["focal", "asymmetric"]


def test_sums_inside_sums_keep_their_names_and_the_total(batch):
    inner = {"name": "sum", "terms": {"a": {"name": "bce"}, "b": {"name": "focal"}}, "weight": 0.5}
    loss = make({"inner": inner, "outer": {"name": "asymmetric"}}, weight=2.0)
    terms = loss.terms(*batch)
    assert list(terms) == ["inner.a", "inner.b", "outer"]
    torch.testing.assert_close(sum(terms.values()), loss(*batch))


@pytest.mark.parametrize("terms", [{}, {"focal": None}, {"focal": False}])
def test_nothing_to_add_up_is_an_error(terms):
    with pytest.raises(ConfigError, match=r"sum\.terms: nothing to add up"):
        make(terms)
    with pytest.raises(ConfigError, match="nothing to add up"):
        SumLoss({})


def test_fit_reaches_every_term_and_a_term_that_cannot_be_computed_is_an_error(batch):
    loss = make({"a": {"name": "focal", "alpha": "dynamic"}, "b": {"name": "bce"}}, num_classes=3)
    with pytest.raises(ConfigError, match="not made yet"):
        loss(*batch)
    with pytest.raises(ConfigError, match="not made yet"):
        loss.terms(*batch)
    loss.fit(LABELS)
    expected = FocalLoss(3, "dynamic").fit(LABELS)(*batch) + get_registry().get("bce")(*batch)
    torch.testing.assert_close(loss(*batch), expected)


def test_the_class_count_is_handed_to_the_terms_so_that_fitted_weights_can_be_loaded(batch):
    terms = {"a": {"name": "focal", "alpha": "dynamic"}}
    fitted, loaded = make(terms, num_classes=3).fit(LABELS), make(terms, num_classes=3)
    assert {k: v.shape for k, v in fitted.state_dict().items()} == {k: v.shape for k, v in loaded.state_dict().items()}
    loaded.load_state_dict(fitted.state_dict())
    torch.testing.assert_close(loaded(*batch), fitted(*batch))


def test_the_mask_reaches_every_term(batch):
    logits, target = batch
    mask = torch.ones(4, 3)
    mask[0] = 0
    loss = make({"a": {"name": "focal"}, "b": {"name": "bce"}})
    torch.testing.assert_close(loss(logits, target, mask), loss(logits[1:], target[1:]))


def test_errors_name_the_place():
    with pytest.raises(ConfigError, match=r"terms\.a: unknown field 'gama'; did you mean 'gamma'"):
        make({"a": {"name": "focal", "gama": 1}})
    with pytest.raises(UnknownNameError, match=r"unknown loss 'focall'; did you mean 'focal'"):
        make({"a": {"name": "focall"}})
    for name in ("a.b", "", "values"):
        with pytest.raises(ConfigError, match="cannot name a term"):
            make({name: {"name": "focal"}})


def test_params_tell_every_part_and_its_weight():
    params = make({"a": {"name": "focal", "weight": 0.5, "gamma": 1.0}}).get_params()
    assert params["a"]["weight"] == 0.5
    assert params["a"]["gamma"] == 1.0


class SquareLoss(BaseLoss):
    """Mean square, as a user would write it: forward only."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, prediction, target, mask=None):
        return self.scale * (prediction - target).square().mean()


def test_a_plain_class_registered_at_run_time_is_weighted_once_too(batch, monkeypatch):
    registry = get_registry()
    monkeypatch.setattr(registry.catalogue, "classes", dict(registry.catalogue.classes))
    monkeypatch.setattr(registry.catalogue, "added", dict(registry.catalogue.added))
    registry.register("square", SquareLoss, description="Mean square")
    expected = (batch[0] - batch[1]).square().mean()
    torch.testing.assert_close(registry.get("square", scale=2.0, weight=3.0)(*batch), 6 * expected)
    terms = make({"square": {"weight": 3.0}, "focal": True}).terms(*batch)
    torch.testing.assert_close(terms["square"], 3 * expected)
    assert "square" in registry.list_losses()

"""What every registered loss keeps to, by what it acts on: logits, diffraction amplitudes, object patches."""

import copy
import dataclasses
import inspect
import json

import pytest
import torch

from photic.core import index
from photic.core.registry import losses
from photic.core.schema import field_types
from photic.losses import get_registry
from photic.losses.base import BaseLoss

# A known name builds this very class. A loss that is added needs no line here: it is found and held to everything below.
CLASSES = {
    "amplitude_mae": "AmplitudeMAELoss",
    "asymmetric": "AsymmetricLoss",
    "bce_with_logits": "BCEWithLogitsLoss",
    "complex_mae": "ComplexMAELoss",
    "focal": "FocalLoss",
    "poisson_nll": "PoissonNLLLoss",
    "sum": "SumLoss",
    "total_variation": "TotalVariationLoss",
}
REQUIRED = {"sum": {"terms": {"main": {"name": "focal", "alpha": "dynamic"}, "side": {"name": "bce_with_logits", "weight": 0.5}}}}
FITTED = {"focal": {"alpha": "dynamic"}, "bce_with_logits": {"pos_weight": "dynamic"}}
LABELS = torch.tensor([[1, 0, 0], [1, 1, 0], [0, 0, 1], [1, 0, 0]])


def configured(name, **fields):
    sized = {"num_classes": 3} if "num_classes" in field_types(losses.config_class(name)) else {}
    return losses.configure(name, **sized, **REQUIRED.get(name, {}), **fields)


ON = {name: configured(name).build().acts_on for name in get_registry().list_losses()}
ON_LOGITS = [name for name, kind in ON.items() if kind == "logits"]
TO_A_TARGET = [name for name in ON if configured(name).build().needs_target]


@pytest.fixture(params=get_registry().list_losses())
def name(request):
    return request.param


def prediction_and_target(kind, num=4):
    """Return what a loss of this kind compares: ``num`` rows of three labels, or ``num`` groups of three patterns or patches of 6 x 6."""
    generator = torch.Generator().manual_seed(0)
    shape = (num, 3, 6, 6)
    if kind == "logits":
        return torch.randn(num, 3, generator=generator, requires_grad=True), LABELS[:num].float()
    if kind == "diffraction":
        target = torch.poisson(torch.full(shape, 3.0), generator=generator).sqrt()
        return (torch.rand(shape, generator=generator) + 0.5).requires_grad_(), target
    assert kind == "object", f"say here what losses on {kind} compare"
    prediction, target = (torch.randn(shape, generator=generator, dtype=torch.complex64) + 1 for _ in range(2))
    return prediction.requires_grad_(), target


@pytest.fixture
def batch(name):
    return prediction_and_target(ON[name])


def test_none_of_the_known_losses_has_vanished():
    assert set(CLASSES) <= set(get_registry().list_losses())


def test_it_builds_the_expected_class(name):
    loss = configured(name).build()
    assert type(loss).__name__ == CLASSES.get(name, type(loss).__name__)
    assert isinstance(loss, BaseLoss)


def test_its_config_round_trips(name):
    config = configured(name, weight=0.25)
    plain = config.to_dict()
    assert plain["name"] == name
    assert type(config).from_dict(plain) == config
    assert type(config).from_dict(json.loads(json.dumps(plain))) == config


def test_it_is_a_finite_scalar_whose_gradient_reaches_every_prediction(name, batch):
    value = configured(name).build().fit(LABELS)(*batch)
    (gradient,) = torch.autograd.grad(value, batch[0])
    assert value.shape == ()
    assert torch.isfinite(value)
    assert torch.isfinite(gradient.abs()).all()
    assert gradient.abs().min() > 0


def test_its_terms_sum_to_it_and_its_weight_acts_once(name, batch):
    plain, weighted = (configured(name, weight=weight).build().fit(LABELS) for weight in (1.0, 3.0))
    terms = weighted.terms(*batch)
    torch.testing.assert_close(sum(terms.values()), weighted(*batch))
    torch.testing.assert_close(weighted(*batch), 3 * plain(*batch))


@pytest.mark.parametrize("name", ON_LOGITS)
def test_it_falls_when_logits_move_to_the_labels(name):
    loss = configured(name).build().fit(LABELS)
    right = (2 * LABELS - 1).float()
    values = [loss(scale * right, LABELS.float()).item() for scale in (-4.0, -1.0, 0.5, 2.0)]
    assert values == sorted(values, reverse=True)


@pytest.mark.parametrize("name", [name for name in TO_A_TARGET if ON[name] != "logits"])
def test_it_falls_when_the_prediction_moves_to_the_target(name):
    loss = configured(name).build()
    start, target = prediction_and_target(ON[name])
    values = [loss(start + share * (target - start), target).item() for share in (0.0, 0.3, 0.7, 1.0)]
    assert values == sorted(values, reverse=True)


def test_it_looks_at_the_target_if_it_says_so(name, batch):
    loss = configured(name).build().fit(LABELS)
    prediction, target = batch
    other = 1 - target if ON[name] == "logits" else 2 * target + 1
    assert (loss(prediction, target) != loss(prediction, other)) == (name in TO_A_TARGET)


def test_a_mask_of_ones_changes_nothing_and_rows_left_out_do_not_count(name, batch):
    loss = configured(name).build().fit(LABELS)
    prediction, target = batch
    torch.testing.assert_close(loss(prediction, target, torch.ones(target.shape)), loss(prediction, target))
    mask = torch.ones(target.shape)
    mask[1] = 0
    kept = [0, 2, 3]
    torch.testing.assert_close(loss(prediction, target, mask), loss(prediction[kept], target[kept]))


def test_batch_1_works(name):
    assert torch.isfinite(configured(name).build().fit(LABELS)(*prediction_and_target(ON[name], 1)))
    if ON[name] == "logits":
        assert torch.isfinite(configured(name).build().fit(LABELS)(torch.zeros(1, 3), torch.ones(1, 3)))


def test_its_fitted_state_is_saved_and_loaded_with_identical_values(name, batch, tmp_path):
    from photic.core.checkpoint import Checkpoint, load_weights, read_checkpoint, write_checkpoint

    config = configured(name, **FITTED.get(name, {}))
    fitted, other = config.build().fit(LABELS), config.build()
    file = write_checkpoint(tmp_path / "loss.safetensors", Checkpoint(fitted.state_dict()))
    load_weights(other, read_checkpoint(file).weights, file)
    assert torch.equal(fitted(*batch), other(*batch))
    assert torch.equal(fitted(*batch), copy.deepcopy(fitted)(*batch))


def test_its_params_are_plain_values(name):
    params = configured(name, **FITTED.get(name, {})).build().fit(LABELS).get_params()
    assert json.loads(json.dumps(params)) == params


def test_the_source_index_says_what_the_imported_class_says(name):
    (entry,) = get_registry().entries(name)
    config = losses.config_class(name)
    assert (entry.module, entry.qualname) == (config.__module__, config.__qualname__)
    assert entry.summary == index.first_line(inspect.getdoc(config))
    fields = {field.name: field for field in dataclasses.fields(config)}
    listed = {info.name: info for info in entry.fields()}
    assert list(listed) == list(fields)
    for key, info in listed.items():
        field = fields[key]
        assert info.doc, f"{key} has no docstring"
        assert info.required == (field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING)
        if field.default is not dataclasses.MISSING:
            assert info.default == field.default
        metadata = getattr(field_types(config)[key], "__metadata__", ())
        ranges = " and ".join(str(extra) for extra in metadata if type(extra).__name__ == "Range")
        kinds = " and ".join(f"one of {extra.kind}" for extra in metadata if type(extra).__name__ == "Registered")
        assert info.range == (ranges or kinds)

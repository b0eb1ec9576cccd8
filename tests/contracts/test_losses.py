"""What every registered loss keeps to, by what it acts on: logits, diffraction amplitudes, object patches, pictures, masks, curve maps."""

import copy
import dataclasses
import inspect
import json

import pytest
import torch

from photic.core import index
from photic.core.errors import ConfigError
from photic.core.registry import losses
from photic.core.schema import field_types
from photic.losses import get_registry
from photic.losses.base import BaseLoss

# A known name builds this very class. A loss that is added needs no line here: it is found and held to everything below.
CLASSES = {
    "amplitude_mae": "AmplitudeMAELoss",
    "asymmetric": "AsymmetricLoss",
    "bce_with_logits": "BCEWithLogitsLoss",
    "charbonnier": "CharbonnierLoss",
    "colour_consistency": "ColourConsistencyLoss",
    "colour_constancy": "ColourConstancyLoss",
    "colour_diversity": "ColourDiversityLoss",
    "complex_mae": "ComplexMAELoss",
    "curve_penalty": "CurvePenaltyLoss",
    "exposure": "ExposureLoss",
    "exposure_control": "ExposureControlLoss",
    "focal": "FocalLoss",
    "illumination_smoothness": "IlluminationSmoothnessLoss",
    "l1": "L1Loss",
    "local_mean": "LocalMeanLoss",
    "mask_mean": "MaskMeanLoss",
    "ms_ssim_loss": "MSSSIMLoss",
    "mse": "MSELoss",
    "perceptual": "PerceptualLoss",
    "poisson_nll": "PoissonNLLLoss",
    "rate_distortion": "RateDistortionLoss",
    "sobel_edge": "SobelEdgeLoss",
    "spatial_consistency": "SpatialConsistencyLoss",
    "ssim_loss": "SSIMLoss",
    "sum": "SumLoss",
    "total_variation": "TotalVariationLoss",
}
REQUIRED = {
    "sum": {"terms": {"main": {"name": "focal", "alpha": "dynamic"}, "side": {"name": "bce_with_logits", "weight": 0.5}}},
    "rate_distortion": {"distortion": {"name": "mse"}},  # its default needs large pictures
    "perceptual": {"backbone": "test_resnet", "pretrained": False, "layers": (0, 1)},  # no hub, no half gigabyte
}
FITTED = {"focal": {"alpha": "dynamic"}, "bce_with_logits": {"pos_weight": "dynamic"}}
LABELS = torch.tensor([[1, 0, 0], [1, 1, 0], [0, 0, 1], [1, 0, 0]])


def configured(name, **fields):
    sized = {"num_classes": 3} if "num_classes" in field_types(losses.config_class(name)) else {}
    return losses.configure(name, **sized, **REQUIRED.get(name, {}), **fields)


ON = {name: configured(name).build().acts_on for name in get_registry().list_losses()}
ON_LOGITS = [name for name, kind in ON.items() if kind == "logits"]
TO_A_TARGET = [name for name in ON if configured(name).build().needs_target]
# Shortest sides of pictures that a loss takes, where 32 pixels are too few.
SIDES_PX = {"ms_ssim_loss": 161}
# Losses of pictures that judge single pixels (or their neighbourhoods) take a mask; those that judge regions or the whole refuse one.
OF_PICTURES = ("picture", "brightening", "mask", "curves")
MASKED = (
    *("l1", "mse", "charbonnier", "log_mse", "local_mean", "sobel_edge"),
    *("colour_consistency", "ssim_loss", "ms_ssim_loss", "rate_distortion"),
)
CHANNELS = {"picture": 3, "brightening": 3, "mask": 1, "curves": 24}


@pytest.fixture(params=get_registry().list_losses())
def name(request):
    return request.param


def prediction_and_target(name, num=4):
    """Return what a loss compares: ``num`` rows of three labels, groups of three patterns or patches of 6 x 6, or (dark) pictures."""
    kind = ON[name]
    generator = torch.Generator().manual_seed(0)
    shape = (num, 3, 6, 6)
    if kind in OF_PICTURES:
        side = SIDES_PX.get(name, 32)
        sizes = (num, CHANNELS[kind], side, side)
        target = torch.rand(sizes, generator=generator)
        # Not independent of the target: MS-SSIM of pictures that have nothing in common is at its floor.
        return (0.1 + 0.3 * target + 0.2 * torch.rand(sizes, generator=generator)).requires_grad_(), target
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
    return prediction_and_target(name)


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
    if ON[name] not in OF_PICTURES:
        assert gradient.abs().min() > 0
        return
    # Some judge the brightest and the darkest channel, or differences that can cancel: of any block of pixels, something must count.
    blocks = torch.nn.functional.max_pool2d(gradient.abs().amax(dim=1), 4)
    assert blocks.min() > 0


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
    start, target = prediction_and_target(name)
    values = [loss(start + share * (target - start), target).item() for share in (0.0, 0.3, 0.7, 1.0)]
    assert values == sorted(values, reverse=True)


def test_it_looks_at_the_target_if_it_says_so(name, batch):
    loss = configured(name).build().fit(LABELS)
    prediction, target = batch
    other = 1 - target if ON[name] == "logits" else target.flip(3) if ON[name] in OF_PICTURES else 2 * target + 1
    # What brightening is judged by is the dark picture, which stands where a target would.
    assert (loss(prediction, target) != loss(prediction, other)) == (name in TO_A_TARGET or ON[name] == "brightening")


@pytest.mark.parametrize("name", [name for name in ON if ON[name] in OF_PICTURES and name not in TO_A_TARGET and ON[name] != "brightening"])
def test_what_judges_alone_takes_nothing_for_a_target(name):
    prediction, target = prediction_and_target(name)
    loss = configured(name).build()
    assert torch.equal(loss(prediction, None), loss(prediction, target))


def test_a_mask_of_ones_changes_nothing_and_rows_left_out_do_not_count(name, batch):
    loss = configured(name).build().fit(LABELS)
    prediction, target = batch
    if ON[name] in OF_PICTURES and name not in MASKED:
        with pytest.raises(ConfigError, match=f"{name}: takes no mask"):
            loss(prediction, target, torch.ones(target.shape))
        # Without a mask, samples are left out by leaving them away: each must be judged for itself.
        if name != "perceptual":  # which is relative to the features of the whole batch
            each = torch.stack([loss(prediction[row : row + 1], target[row : row + 1]) for row in range(len(target))])
            torch.testing.assert_close(loss(prediction, target), each.mean())
        return
    torch.testing.assert_close(loss(prediction, target, torch.ones(target.shape)), loss(prediction, target))
    mask = torch.ones(target.shape)
    mask[1] = 0
    kept = [0, 2, 3]
    torch.testing.assert_close(loss(prediction, target, mask), loss(prediction[kept], target[kept]))


@pytest.mark.parametrize("name", MASKED)
def test_masked_pixels_have_no_gradient_and_are_never_looked_at(name):
    loss = configured(name).build()
    prediction, target = prediction_and_target(name, 2)
    side = target.shape[-1]
    mask = (torch.rand(2, 1, side, side, generator=torch.Generator().manual_seed(1)) < 0.8).float()
    mask[:, :, 3:17, 5:25] = 0
    out = mask.expand_as(target) == 0
    value = loss(prediction, target, mask)
    (gradient,) = torch.autograd.grad(value, prediction)
    assert (gradient[out] == 0).all() and torch.isfinite(gradient).all() and gradient.abs().max() > 0
    for rubbish in (5.0, float("nan")):
        changed = (part.detach().masked_fill(out, rubbish) for part in (prediction, target))
        assert torch.equal(loss(*changed, mask), value.detach())


@pytest.mark.parametrize("name", MASKED)
def test_it_is_normalised_by_what_counts_and_not_by_the_size(name):
    """A picture beside which nothing counts has the loss that it has alone: zeros are not averaged in."""
    loss = configured(name).build()
    prediction, target = prediction_and_target(name, 1)
    side = target.shape[-1]
    mask = torch.zeros(1, 1, side, 2 * side)
    mask[..., :side] = 1
    wide = [torch.cat([part.detach(), torch.zeros_like(part)], dim=-1) for part in (prediction, target)]
    # Windows over the border hold fewer pixels that count; those of single pixels are equal exactly.
    tolerance = 0.1 if "ssim" in name else 1e-5
    assert float(loss(*wide, mask)) == pytest.approx(float(loss(prediction.detach(), target)), rel=tolerance)


def test_batch_1_works(name):
    assert torch.isfinite(configured(name).build().fit(LABELS)(*prediction_and_target(name, 1)))
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

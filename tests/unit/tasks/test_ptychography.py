"""Phase retrieval: a step against a slow reference in float64, what is trained and what not, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from photic.core.errors import ConfigError, DataError
from photic.core.registry import losses, models
from photic.data.base import PreparedData
from photic.losses.bce import BCEWithLogitsConfig
from photic.models.tiny import TinyConfig
from photic.tasks.ptychography import PtychographyConfig, PtychographyTask

N = 16
OFFSETS = np.array([[-2.4, -1.75], [2.1, -1.3], [-1.9, 1.6], [2.2, 1.45]])
"""A group of four, [x, y] from its mean."""


def random_complex(*shape: int, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.normal(size=shape) + 1j * generator.normal(size=shape)


def smooth_object(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return a specimen that can be had anywhere between pixels, and that has no symmetry."""
    return (1 + 0.3 * np.sin(0.35 * x + 0.2) * np.cos(0.23 * y)) * np.exp(1j * (0.5 * np.sin(0.31 * y + 0.17 * x) + 0.02 * x))


def true_patch(x: float, y: float) -> np.ndarray:
    """Return the specimen's patch whose centre, pixel N/2, lies at (x, y)."""
    steps = np.arange(N) - N // 2
    return smooth_object((y + steps)[:, None], (x + steps)[None, :])


def spot(num_modes: int = 1) -> np.ndarray:
    steps = np.arange(N) - N // 2
    first = np.exp(-(steps[:, None] ** 2 + steps[None] ** 2) / 12) * np.exp(0.03j * (steps[:, None] ** 2 + 2 * steps[None]))
    return np.stack([first * (0.5 * steps[None] / 3) ** mode for mode in range(num_modes)])


def slow_amplitudes(patches: np.ndarray, probe: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """Transform by its definition; modes add as intensities. ``(C, N, N)`` and ``(P, N, N)``."""
    k = np.arange(N) - N // 2
    matrix = np.exp(-2j * np.pi * np.outer(k, k) / N) / np.sqrt(N)
    return np.stack([scale * np.sqrt(sum(np.abs(matrix @ (mode * patch) @ matrix.T) ** 2 for mode in probe)) for patch in patches])


def slow_merge(patches: np.ndarray, offsets: np.ndarray, support: np.ndarray) -> np.ndarray:
    """Put every pixel of every patch where it lies, spread over the four pixels around, divide by what arrived, look it up again."""
    side, centre = 4 * N, 2 * N
    total, count = np.zeros((side, side), complex), np.zeros((side, side))

    def around(x: float, y: float, i: int, j: int) -> list[tuple[int, int, float]]:
        row, column = centre + y - N // 2 + i, centre + x - N // 2 + j
        r, c = int(np.floor(row)), int(np.floor(column))
        return [(r + a, c + b, (1 - abs(row - r - a)) * (1 - abs(column - c - b))) for a in (0, 1) for b in (0, 1)]

    for patch, (x, y) in zip(patches, offsets, strict=True):
        for i in range(N):
            for j in range(N):
                for r, c, weight in around(x, y, i, j):
                    total[r, c] += weight * patch[i, j] * support[i, j]
                    count[r, c] += weight * support[i, j]
    merged = total / np.maximum(count, 1e-6)
    result = np.zeros_like(patches)
    for number, (x, y) in enumerate(offsets):
        for i in range(N):
            for j in range(N):
                result[number, i, j] = sum(weight * merged[r, c] for r, c, weight in around(x, y, i, j))
    return result


def facts(**changes: Any) -> PreparedData:
    """Return what a data set of 40 positions tells the task."""
    known = {
        "size_px": N,
        "num_patterns": 1,
        "probes": torch.from_numpy(spot()[None].astype(np.complex64)),
        "mask": torch.ones(N, N, dtype=torch.bool),
        "normalisation": 0.25,
        "intensity_scale": 1.0,
        "num_positions": 40,
        "supervised": False,
        "refined_probe": False,
        "scaled_probe": False,
        "scans": ["scan.npz"],
    }
    return PreparedData(splits={}, names={}, extras={**known, **changes})


def built(*, loss: Any = "amplitude_mae", model: dict[str, Any] | None = None, task: dict[str, Any] | None = None, **changes: Any) -> Any:
    torch.manual_seed(0)
    network = models.configure("cnn", **{"width_factor": 0.125, "probe_big": True, **(model or {})})
    criterion = losses.configure(loss) if isinstance(loss, str) else loss
    made = PtychographyConfig(**(task or {})).build(network, criterion, facts(**changes))  # type: ignore[arg-type]
    assert isinstance(made, PtychographyTask)
    for parameter in made.network.parameters():  # away from the flat start, so that patches differ
        torch.nn.init.normal_(parameter, std=0.2)
    return made


def batch_of(channels: int = 1, count: int = 3, **changes: Tensor) -> dict[str, Any]:
    generator = np.random.default_rng(3)
    measured = torch.from_numpy(generator.random((count, channels, N, N)).astype(np.float32) * 4)
    offsets = OFFSETS if channels == 4 else np.zeros((1, 2))
    batch = {
        "measurement": measured,
        "target": measured,
        "offsets": torch.from_numpy(np.stack([offsets] * count).astype(np.float32)),
        "rows": torch.arange(count * channels).view(count, channels),
        "scan": torch.zeros(count, dtype=torch.long),
    }
    return {**batch, **changes}


def expected_step(task: PtychographyTask, batch: dict[str, Any], mask: np.ndarray, scale: float) -> dict[str, np.ndarray]:
    """Return the reference's patches, amplitudes, and R_amp, given what the network says."""
    with torch.no_grad():
        patches = task.network(batch["measurement"] * 0.25).numpy().astype(complex)
    measured = batch["measurement"].numpy().astype(float)
    support = task.network.support().numpy()
    probes = task.graph.probes.numpy().astype(complex)
    modelled = []
    for group, offsets, scan in zip(patches, batch["offsets"].numpy().astype(float), batch["scan"].tolist(), strict=True):
        merged = slow_merge(group, offsets, support) if len(group) > 1 else group
        modelled.append(slow_amplitudes(merged, probes[scan], scale))
    difference = np.abs(np.stack(modelled) - measured) * mask
    return {
        "patches": patches,
        "modelled": np.stack(modelled),
        "difference": difference.sum(axis=(1, 2, 3)),
        "total": (measured * mask).sum(axis=(1, 2, 3)),
    }


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("num_modes", [1, 2])
@pytest.mark.parametrize("probe_big", [True, False])
def test_a_step_is_that_of_the_slow_reference(channels: int, num_modes: int, probe_big: bool) -> None:
    mask = np.random.default_rng(5).random((N, N)) > 0.2
    probes = np.stack([spot(num_modes), 1j * spot(num_modes)[:, ::-1]])
    task = built(
        model={"probe_big": probe_big},
        num_patterns=channels,
        probes=torch.from_numpy(probes.astype(np.complex64)),
        mask=torch.from_numpy(mask),
        intensity_scale=1.5,
    )
    batch = batch_of(channels, scan=torch.tensor([1, 0, 1]))
    expected = expected_step(task, batch, mask, 1.5)
    result = task.train().step(batch, "train")
    np.testing.assert_allclose(result.prediction.numpy(), expected["patches"], atol=1e-6)
    np.testing.assert_allclose(
        task.modelled(result.prediction, batch).detach().numpy(), expected["modelled"], atol=3e-5 * expected["modelled"].max()
    )
    assert result.loss.item() == pytest.approx(expected["difference"].sum() / expected["total"].sum(), rel=1e-5)
    difference, total = (part.numpy() for part in result.kept())
    np.testing.assert_allclose(difference, expected["difference"], rtol=1e-4)
    np.testing.assert_allclose(total, expected["total"], rtol=1e-5)
    assert result.kept() == result.reduced


def test_a_single_pattern_does_not_depend_on_offsets() -> None:
    task, batch = built(), batch_of()
    moved = {**batch, "offsets": batch["offsets"] + 0.4}
    assert torch.equal(task.step(batch, "train").loss, task.step(moved, "train").loss)


def r_amp_of_true_patches(offsets: np.ndarray, sign: float) -> float:
    """Measure a known object at positions, let the task merge its true patches, and return how well that explains the patterns."""
    centre = np.array([40.0, 52.0])
    patches = np.stack([true_patch(*(centre + offset)) for offset in offsets])
    measured = torch.from_numpy(slow_amplitudes(patches, spot()).astype(np.float32))[None]
    task = built(num_patterns=4)
    batch = batch_of(4, 1, measurement=measured, offsets=torch.from_numpy((sign * offsets).astype(np.float32))[None])
    modelled = task.modelled(torch.from_numpy(patches.astype(np.complex64))[None], batch)
    return float((modelled - measured).abs().sum() / measured.sum())


def test_merging_true_patches_explains_the_measurement_with_the_right_sign_of_offsets_only() -> None:
    assert r_amp_of_true_patches(OFFSETS, 1.0) < 0.02  # interpolating twice blurs a little
    assert r_amp_of_true_patches(np.round(OFFSETS), 1.0) < 1e-5  # on whole pixels nothing is lost
    assert r_amp_of_true_patches(OFFSETS, -1.0) > 0.1
    assert r_amp_of_true_patches(OFFSETS[:, ::-1].copy(), 1.0) < 0.02


def test_swapped_axes_of_offsets_do_not_explain_the_measurement() -> None:
    patches = np.stack([true_patch(*(np.array([40.0, 52.0]) + offset)) for offset in OFFSETS])
    measured = torch.from_numpy(slow_amplitudes(patches, spot()).astype(np.float32))[None]
    swapped = torch.from_numpy(OFFSETS[:, ::-1].astype(np.float32).copy())[None]
    modelled = built(num_patterns=4).modelled(torch.from_numpy(patches.astype(np.complex64))[None], batch_of(4, 1, offsets=swapped))
    assert float((modelled - measured).abs().sum() / measured.sum()) > 0.05


def test_masked_pixels_count_nowhere() -> None:
    mask = torch.ones(N, N, dtype=torch.bool)
    mask[N // 2 - 1 : N // 2 + 2, N // 2 - 1 : N // 2 + 2] = False
    task = built(mask=mask)
    batch = batch_of()
    modelled = task.modelled(task.predict(batch), batch).detach()
    spoiled = torch.where(mask, modelled, torch.full_like(modelled, 1e6))  # the network sees `measurement`, so compare beside it
    compared = {"diffraction": (modelled, spoiled, task.mask), "object": (modelled, None, None)}
    assert float(task.criterion.terms_on(compared)["amplitude_mae"]) == 0
    _, total = task.step(batch, "val").kept()
    torch.testing.assert_close(total, (batch["measurement"] * mask).sum(dim=(1, 2, 3)))


def sum_of(**terms: dict[str, Any]) -> Any:
    return losses.configure("sum", terms=terms)


def test_terms_are_named_weighted_and_sum_to_the_loss() -> None:
    loss = sum_of(
        counts={"name": "poisson_nll", "weight": 0.5},
        amplitudes={"name": "amplitude_mae"},
        smooth={"name": "total_variation", "weight": 0.01},
    )
    task = built(loss=loss)
    result = task.step(batch_of(), "train")
    assert set(result.terms) == {"counts", "amplitudes", "smooth"} or set(result.terms) == {
        "counts.poisson_nll",
        "amplitudes.amplitude_mae",
        "smooth.total_variation",
    }
    torch.testing.assert_close(torch.stack(list(result.terms.values())).sum(), result.loss)
    alone = built(loss="total_variation").step(batch_of(), "train").loss
    torch.testing.assert_close(next(value for name, value in result.terms.items() if name.startswith("smooth")), 0.01 * alone)


def test_poisson_likelihood_is_that_of_the_counts() -> None:
    task, batch = built(loss="poisson_nll"), batch_of()
    rate = expected_step(task, batch, np.ones((N, N)), 1.0)["modelled"] ** 2 + 1e-6
    counts = batch["measurement"].numpy().astype(float) ** 2
    expected = (rate - counts * np.log(rate)).mean() / counts.mean()
    assert task.step(batch, "train").loss.item() == pytest.approx(expected, rel=1e-5)


TRAINED = {
    "train_probe": "graph.probe_parts",
    "train_intensity_scale": "graph.log_scale",
    "refine_positions": "shifts",
}


@pytest.mark.parametrize(
    "options", [(), *[(name,) for name in TRAINED], tuple(TRAINED)], ids=lambda options: "+".join(options) or "network"
)
def test_the_gradient_reaches_what_is_trained_and_nothing_else(options: tuple[str, ...]) -> None:
    task = built(task=dict.fromkeys(options, True), num_patterns=4)
    task.train().step(batch_of(4), "train").loss.backward()
    beside = {name: parameter for name, parameter in task.named_parameters() if not name.startswith("graph.network.")}
    assert set(beside) == {TRAINED[option] for option in options}
    for name, parameter in task.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    for name, parameter in beside.items():
        assert parameter.grad is not None
        assert parameter.grad.abs().max() > 0, name
    if "refine_positions" in options:
        assert task.shifts is not None and task.shifts.grad is not None
        assert (task.shifts.grad[:12].abs().amax(dim=1) > 0).all()
        assert (task.shifts.grad[12:] == 0).all()  # positions that were not in the batch


def test_the_gradient_by_the_probe_is_that_of_finite_differences() -> None:
    task, batch = built(task={"train_probe": True}), batch_of(count=1)
    task.graph.probe_parts.data += 0.05  # away from zeros of the amplitude
    measured = batch["measurement"].numpy().astype(float)
    with torch.no_grad():
        patches = task.predict(batch).numpy().astype(complex)[0]
    task.step(batch, "train").loss.backward()
    found = task.graph.probe_parts.grad.numpy()
    peak = float(task.graph.probe_peak)
    probe = task.graph.probes.detach().numpy().astype(complex)[0]

    def loss(changed: np.ndarray) -> float:
        return float(np.abs(slow_amplitudes(patches, changed) - measured[0]).sum() / measured.sum())

    for place in ((0, 8, 8), (0, 7, 10), (0, 11, 6)):
        for part, unit in ((0, 1.0), (1, 1j)):
            step = np.zeros_like(probe)
            step[place] = 1e-5 * unit * peak
            slope = (loss(probe + step) - loss(probe - step)) / 2e-5
            assert found[(0, *place, part)] == pytest.approx(slope, rel=0.02, abs=2e-5)


def test_the_gradient_by_positions_lowers_the_loss_of_perturbed_ones() -> None:
    """The true patches stand still; only where they are said to lie is wrong, and comes back."""
    patches = np.stack([true_patch(*(np.array([40.0, 52.0]) + offset)) for offset in OFFSETS])
    measured = torch.from_numpy(slow_amplitudes(patches, spot()).astype(np.float32))[None]
    errors = np.array([[0.6, -0.5], [-0.4, 0.7], [0.5, 0.5], [-0.7, -0.7]])
    wrong = torch.from_numpy((OFFSETS + errors).astype(np.float32))[None]
    task = built(num_patterns=4, task={"refine_positions": True}, num_positions=4).train()
    batch = batch_of(4, 1, measurement=measured, offsets=wrong, rows=torch.arange(4)[None])
    given = torch.from_numpy(patches.astype(np.complex64))[None]
    optimizer = torch.optim.Adam([task.shifts], lr=0.05)
    found = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = (task.modelled(given, batch) - measured).abs().sum() / measured.sum()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    assert found[-1] < 0.4 * found[0]
    left = errors + task.shifts.detach().numpy()
    left -= left.mean(axis=0)  # a shift of all together changes nothing within the group
    assert np.abs(left).max() < 0.5 * np.abs(errors - errors.mean(axis=0)).max()


def test_refined_positions_are_used_in_training_alone() -> None:
    task, batch = built(num_patterns=4, task={"refine_positions": True}), batch_of(4)
    before = task.eval().step(batch, "val").loss.detach()
    task.shifts.data += torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(task.eval().step(batch, "val").loss.detach(), before)
    assert not torch.equal(task.train().step(batch, "train").loss.detach(), before)


def test_supervised_training_compares_with_the_object() -> None:
    task = built(loss="complex_mae", supervised=True)
    target = torch.from_numpy(random_complex(3, 1, N, N).astype(np.complex64))
    batch = batch_of(target=target)
    result = task.step(batch, "train")
    expected = (result.prediction - target).abs().mean() / target.abs().mean()
    torch.testing.assert_close(result.loss.detach(), expected)
    assert result.target is target
    assert result.reduced is not None  # R_amp is measured all the same
    both = built(loss=sum_of(a={"name": "complex_mae"}, b={"name": "amplitude_mae"}), supervised=True)
    assert len(both.step(batch, "train").terms) == 2


def test_what_cannot_be_is_refused_with_what_to_do() -> None:
    with pytest.raises(ConfigError, match=r"config\.model\.name: 'tiny' is no network for phase retrieval"):
        PtychographyConfig().build(TinyConfig(), losses.configure("amplitude_mae"), facts())  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"'complex_mae' compares with a known object; set data\.supervised=true"):
        built(loss="complex_mae")
    with pytest.raises(ConfigError, match=r"'complex_mae' compares with a known object"):
        built(loss=sum_of(a={"name": "amplitude_mae"}, b={"name": "complex_mae"}))
    with pytest.raises(ConfigError, match=r"refine_positions: needs groups .* data\.gridsize=2"):
        built(task={"refine_positions": True})
    with pytest.raises(ConfigError, match=r"num_modes: .* set task\.train_probe=true"):
        built(task={"num_modes": 3})
    with pytest.raises(DataError, match="has 2 modes, 1 asked for"):
        built(task={"num_modes": 1}, probes=torch.from_numpy(spot(2)[None].astype(np.complex64)))
    with pytest.raises(ConfigError, match=r"config\.model\.size_px: 64 does not fit the data, which have 16"):
        built(model={"size_px": 64})
    with pytest.raises(ConfigError, match=r"config\.model\.num_patterns: 4 does not fit"):
        built(model={"num_patterns": 4})
    with pytest.raises(DataError, match="the data set brings no probe"):
        PtychographyConfig().build(
            models.configure("cnn"),  # type: ignore[arg-type]
            losses.configure("amplitude_mae"),  # type: ignore[arg-type]
            PreparedData(splits={}, names={}),
        )


def test_a_loss_on_labels_is_refused_when_it_is_built() -> None:
    with pytest.raises(ConfigError, match=r"config\.loss: 'bce_with_logits' acts on logits"):
        built(loss=BCEWithLogitsConfig())
    with pytest.raises(ConfigError, match="'bce_with_logits' acts on logits"):
        built(loss=sum_of(a={"name": "amplitude_mae"}, b={"name": "bce_with_logits"}))


def test_a_size_that_the_network_cannot_halve_is_refused_with_those_it_can() -> None:
    with pytest.raises(ConfigError, match=r"cnn\.size_px: 20 is not divisible by 8.*16 and 24"):
        built(size_px=20, probes=torch.ones(1, 1, 20, 20, dtype=torch.complex64), mask=torch.ones(20, 20, dtype=torch.bool))


@pytest.mark.parametrize(
    "task",
    [{}, {"train_probe": True, "train_intensity_scale": True, "num_modes": 3}, {"refine_positions": True}],
    ids=["plain", "probe", "positions"],
)
def test_its_description_is_json_and_builds_the_same_task(task: dict[str, Any]) -> None:
    mask = torch.ones(N, N, dtype=torch.bool)
    mask[3, 4] = False
    made = built(task=task, num_patterns=4, mask=mask, intensity_scale=1.25)
    said = json.loads(json.dumps(made.description()))
    again = PtychographyConfig(**task).build(
        models.configure("cnn", width_factor=0.125, probe_big=True), losses.configure("amplitude_mae"), said
    )  # type: ignore[arg-type]
    assert again.state_dict().keys() == made.state_dict().keys()
    again.load_state_dict(made.state_dict())
    assert again.description() == made.description()
    batch = batch_of(4)
    first, second = made.eval().step(batch, "test"), again.eval().step(batch, "test")
    assert torch.equal(first.loss, second.loss)
    assert torch.equal(first.prediction, second.prediction)
    assert torch.equal(made.graph.probes, again.graph.probes)
    assert said["ptychography"]["normalisation"] == 0.25
    assert said["ptychography"]["num_patterns"] == 4


def test_further_modes_start_small_and_leave_the_energy() -> None:
    task = built(task={"num_modes": 3, "train_probe": True})
    energies = task.graph.probes.detach().abs().square().sum(dim=(0, 2, 3))
    assert energies.shape == (3,)
    assert float(energies.sum()) == pytest.approx(float((np.abs(spot()) ** 2).sum()), rel=1e-4)
    assert float(energies[1:].max()) < 0.1 * float(energies[0])


def test_parameter_groups_have_their_own_rates_and_only_weights_decay() -> None:
    options = {
        "train_probe": True,
        "train_intensity_scale": True,
        "refine_positions": True,
        "probe_lr_factor": 0.5,
        "positions_lr_factor": 20.0,
    }
    task = built(task=options, num_patterns=4)
    groups = {group["name"]: group for group in task.parameter_groups(1e-2, 0.3)}
    assert groups["probe"]["lr"] == pytest.approx(5e-3)
    assert groups["positions"]["lr"] == pytest.approx(0.2)
    assert groups["scale"]["lr"] == pytest.approx(1e-2)
    assert {name for name, group in groups.items() if group["weight_decay"]} == {"network"}
    assert all(parameter.ndim > 1 for parameter in groups["network"]["params"])
    held = [id(parameter) for group in groups.values() for parameter in group["params"]]
    assert len(held) == len(set(held)) == len(list(task.parameters()))


def test_the_intensity_scale_and_the_probe_peak_do_not_change_what_is_modelled() -> None:
    """A scan with a thousand times the photons, and its probe with it, is the same scan for the physics."""
    batch = batch_of()
    one, other = built(), built(probes=torch.from_numpy((np.sqrt(1000) * spot()[None]).astype(np.complex64)))
    torch.testing.assert_close(
        other.modelled(one.predict(batch), batch), np.sqrt(1000) * one.modelled(one.predict(batch), batch), rtol=1e-5, atol=1e-4
    )


def test_the_preview_shows_object_modelled_and_measured_patterns() -> None:
    result = built().step(batch_of(count=3), "val")
    assert result.preview is not None
    picture = result.preview()
    assert picture.dtype == np.uint8
    assert picture.shape == (4 * N + 3 * 2, 3 * N + 2 * 2, 3)  # amplitude, phase, modelled, measured; gaps of 2


def test_reduced_precision_of_the_network_leaves_the_physics_in_float32() -> None:
    task, batch = built(), batch_of()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = task.step(batch, "train")
    assert result.loss.dtype == torch.float32
    assert result.prediction.dtype == torch.complex64
    assert result.loss.item() == pytest.approx(task.step(batch, "train").loss.item(), rel=0.05)


def test_report_and_table_are_made_of_what_is_kept() -> None:
    task = built()
    difference, total = np.array([1.0, 3.0]), np.array([10.0, 10.0])
    report = task.report(difference, total)
    assert report["r_amp"] == pytest.approx(0.2)
    assert report["r_amp_worst"] == pytest.approx(0.3)
    header, rows = task.table(["a:0", "a:7"], difference, total)
    assert header[:2] == ["file", "r_amp"]
    assert [row[0] for row in rows] == ["a:0", "a:7"]
    assert float(rows[1][1]) == pytest.approx(0.3)


def test_its_metrics_are_those_of_the_config() -> None:
    assert list(built().make_metrics()) == ["r_amp"]

"""Scans as training data: splits, groups, one normalisation, probes, masks, supervision."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from photic.apps.ptycho.datasets import PtychoScanConfig, SimulatedScanConfig
from photic.apps.ptycho.raw import RawNPZData, save_raw_npz
from photic.apps.ptycho.simulate import generated_scan
from photic.core.errors import ConfigError, DataError
from photic.data.base import PHASES, PreparedData
from photic.data.loader import evaluation_batches

N = 16


def small(**changes: Any) -> RawNPZData:
    settings: dict[str, Any] = {"size_px": N, "num_positions": 60, "step_px": 2.0, "probe_diameter_px": 7.0, "photons": 1e5}
    return generated_scan(**{**settings, **changes})


def saved(folder: Path, name: str, scan: RawNPZData, **changes: Any) -> Path:
    folder.mkdir(exist_ok=True)
    return save_raw_npz(folder / f"{name}.npz", dataclasses.replace(scan, **changes))


def prepared(path: Any, seed: int = 0, **options: Any) -> PreparedData:
    return PtychoScanConfig(path=path, **options).prepare(seed)


def rows_of(data: PreparedData, phase: str) -> np.ndarray:
    split = data.splits[phase]
    return np.stack([split.sample(position, 0)["rows"].numpy() for position in range(len(split))])


def energy(scan: RawNPZData, rows: Any = slice(None)) -> float:
    return float((np.asarray(scan.diffraction[rows], dtype=np.float64) ** 2).sum(axis=(1, 2)).mean())


# --- splits and groups ---------------------------------------------------------------------------


@pytest.mark.parametrize("gridsize", [1, 2])
@pytest.mark.parametrize("split", ["auto", "random", "block"])
def test_splits_are_disjoint_complete_and_groups_stay_inside_them(scan_file: Path, gridsize: int, split: str) -> None:
    data = prepared(scan_file, gridsize=gridsize, val_split=split, test_path=scan_file, val_fraction=0.2)
    members = {phase: set(rows_of(data, phase).ravel().tolist()) for phase in PHASES}
    assert members["train"] | members["val"] == set(range(60))
    assert not members["train"] & members["val"]
    assert members["test"] == set(range(60, 120))  # rows go on through all files
    assert len(members["val"]) == 12
    for phase in PHASES:
        seeds = rows_of(data, phase)[:, 0]
        assert len(set(seeds.tolist())) == len(seeds) == len(members[phase])  # every pattern begins a group once
        assert len(data.names[phase]) == len(set(data.names[phase])) == len(seeds)
        assert rows_of(data, phase).shape == (len(seeds), gridsize**2)


def test_without_a_test_scan_there_is_no_test_split(scan_file: Path) -> None:
    assert set(prepared(scan_file).splits) == {"train", "val"}


def test_a_block_is_the_end_of_the_scan_and_another_seed_draws_another_random_split(scan: RawNPZData, scan_file: Path) -> None:
    block = rows_of(prepared(scan_file, val_split="block", val_fraction=0.2), "val").ravel()
    assert scan.ycoords[block].min() >= np.delete(scan.ycoords, block).max()
    drawn = [rows_of(prepared(scan_file, seed=seed, val_split="random"), "val").ravel().tolist() for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_groups_never_cross_scans_or_files_and_names_say_where_they_begin(tmp_path: Path) -> None:
    """Two scans in one file and another file, all at the same places: only the index tells them apart."""
    first = small()
    index = np.arange(60) % 2
    files = [saved(tmp_path, "a", first, scan_index=index), saved(tmp_path, "b", small(seed=1), xcoords=first.xcoords, objectGuess=None)]
    data = prepared(files, gridsize=2, neighbor_count=6, val_fraction=0.3)
    label = np.concatenate([index, np.full(60, 2)])
    for phase in ("train", "val"):
        rows = rows_of(data, phase)
        assert (label[rows] == label[rows[:, :1]]).all()
        expected = [f"{'ab'[row // 60]}:{row % 60}" for row in rows[:, 0].tolist()]
        assert data.names[phase] == expected
    for number in (0, 1, 2):  # every scan gives its share to both
        share = np.mean(label[rows_of(data, "val")[:, 0]] == number)
        assert share > 0.1


def test_validation_blocks_are_the_end_of_each_scan_not_of_the_file(tmp_path: Path) -> None:
    """A scan that lies above another in the same file must not become the validation set as a whole."""
    low, high = small(num_positions=40), small(num_positions=40, seed=1)
    both = dataclasses.replace(
        low,
        xcoords=np.concatenate([low.xcoords, high.xcoords]),
        ycoords=np.concatenate([low.ycoords, high.ycoords + 500]),
        diffraction=np.concatenate([low.diffraction[:], high.diffraction[:]]),
        scan_index=np.repeat([3, 7], 40),
        objectGuess=None,
    )
    data = prepared(save_raw_npz(tmp_path / "both.npz", both), gridsize=2, val_fraction=0.45)
    for phase in ("train", "val"):
        seeds = rows_of(data, phase)[:, 0]
        assert (seeds < 40).any()
        assert (seeds >= 40).any()


@pytest.mark.parametrize(("split", "gridsize", "blocks"), [("auto", 1, False), ("auto", 2, True), ("block", 1, True), ("random", 2, False)])
def test_the_notes_say_how_patterns_were_split(scan_file: Path, split: str, gridsize: int, blocks: bool) -> None:
    notes = prepared(scan_file, val_split=split, gridsize=gridsize).notes
    assert any("scan.npz: 60 patterns of 16 px" in line for line in notes)
    assert any("block at the end of each scan" in line for line in notes) is blocks


def test_files_of_one_name_can_be_told_apart(tmp_path: Path, scan: RawNPZData) -> None:
    files = [saved(tmp_path / folder, "scan", scan) for folder in ("monday", "tuesday")]
    names = [name for split in prepared(files).names.values() for name in split]
    assert len(set(names)) == 120


def test_fewer_and_more_groups_than_patterns(scan_file: Path) -> None:
    assert len(prepared(scan_file, n_groups=20).splits["train"]) == 20
    assert len(prepared(scan_file, n_groups=20).splits["val"]) == 6  # validation is not thinned
    with pytest.warns(UserWarning, match="asked for 100 groups of 54 patterns, made 54"):
        assert len(prepared(scan_file, n_groups=100).splits["train"]) == 54
    many = rows_of(prepared(scan_file, n_groups=100, oversample=True, gridsize=2, neighbor_count=8, val_split="random"), "train")
    assert many.shape == (100, 4)
    assert len({tuple(row) for row in many.tolist()}) > 54  # a pattern begins several groups, with other neighbours


def test_too_few_patterns_or_neighbours_are_refused(tmp_path: Path, scan_file: Path) -> None:
    path = saved(tmp_path, "few", small(num_positions=6))
    with pytest.raises(DataError, match=r"few\.npz: 6 patterns are too few"):
        prepared(path, gridsize=2, neighbor_count=4)
    with pytest.raises(ConfigError, match=r"neighbor_count: groups of gridsize 2 have 4 patterns \(C\), expected K >= C, got 3"):
        prepared(scan_file, gridsize=2, neighbor_count=3)


# --- samples -------------------------------------------------------------------------------------


def test_a_sample_holds_amplitudes_offsets_from_their_mean_and_rows(scan: RawNPZData, scan_file: Path) -> None:
    data = prepared(scan_file, gridsize=2)
    sample = data.splits["train"].sample(7, 0)
    rows = sample["rows"].numpy()
    np.testing.assert_array_equal(sample["measurement"], scan.diffraction[rows])
    assert sample["measurement"].dtype == torch.float32
    assert torch.equal(sample["target"], sample["measurement"])
    places = np.stack([scan.xcoords, scan.ycoords], axis=1)[rows]
    np.testing.assert_allclose(sample["offsets"].numpy(), places - places.mean(axis=0), atol=1e-5)
    assert sample["index"] == 7
    batch = next(iter(evaluation_batches(data.splits["train"], 3, 0)))
    assert batch["measurement"].shape == (3, 4, N, N)
    assert batch["offsets"].shape == (3, 4, 2)
    assert batch["rows"].shape == (3, 4)
    assert batch["scan"].shape == (3,)


def test_the_draw_changes_nothing(scan_file: Path) -> None:
    split = prepared(scan_file).splits["train"]
    assert torch.equal(split.sample(3, 0)["measurement"], split.sample(3, 9)["measurement"])


# --- normalisation -------------------------------------------------------------------------------


def test_the_normalisation_is_one_number_from_the_training_rows_alone(scan: RawNPZData, tmp_path: Path) -> None:
    """Neither the validation rows nor the test scan may have a say in it."""
    ramp = np.linspace(0.5, 3, 60)[np.argsort(np.argsort(scan.ycoords))]  # brighter towards the end, where the validation block is
    pattern = scan.diffraction[:] * ramp[:, None, None]
    train = saved(tmp_path, "train", scan, diffraction=pattern)
    test = saved(tmp_path, "test", small(seed=1), diffraction=2 * small(seed=1).diffraction[:])
    data = prepared(train, val_split="block", test_path=test, val_fraction=0.3, probe_scale="measured")
    rows = rows_of(data, "train").ravel()
    expected = (N / 2) / np.sqrt((pattern[rows].astype(float) ** 2).sum(axis=(1, 2)).mean())
    assert data.extras["normalisation"] == pytest.approx(expected, rel=1e-5)


def test_the_test_scan_is_not_normalised_by_its_own_scale(scan: RawNPZData, tmp_path: Path) -> None:
    """Four times the photons are twice the amplitude, for the network too."""
    train = saved(tmp_path, "train", scan)
    brighter = saved(tmp_path, "brighter", scan, diffraction=2 * scan.diffraction[:])
    one, other = (prepared(train, test_path=path) for path in (train, brighter))
    assert one.extras["normalisation"] == other.extras["normalisation"]
    first, second = (data.splits["test"].sample(5, 0)["measurement"] for data in (one, other))
    torch.testing.assert_close(second, 2 * first)


def test_the_mean_input_energy_is_a_quarter_of_the_pixels(scan: RawNPZData, scan_file: Path) -> None:
    """(N/2)^2, not N^2."""
    data = prepared(scan_file)
    rows = rows_of(data, "train").ravel()
    assert data.extras["normalisation"] ** 2 * energy(scan, rows) == pytest.approx(N**2 / 4, rel=1e-5)


def test_all_files_share_one_normalisation(tmp_path: Path) -> None:
    """A file with four times the photons stays twice as bright."""
    dim, bright = small(num_positions=40), small(num_positions=80, seed=1, photons=4e5)
    files = [saved(tmp_path, "dim", dim), saved(tmp_path, "bright", bright)]
    data = prepared(files)
    rows = rows_of(data, "train").ravel()
    everything = np.concatenate([dim.diffraction[:], bright.diffraction[:]]).astype(float)
    assert data.extras["normalisation"] == pytest.approx((N / 2) / np.sqrt((everything[rows] ** 2).sum(axis=(1, 2)).mean()), rel=1e-5)


# --- probes, masks, truth ------------------------------------------------------------------------


def test_every_file_keeps_its_own_probe_and_equal_ones_are_one(tmp_path: Path) -> None:
    one, other = small(num_positions=30), small(num_positions=30, seed=1, probe_diameter_px=9.0)
    files = [saved(tmp_path, "a", one), saved(tmp_path, "b", other), saved(tmp_path, "c", one)]
    data = prepared(files)
    assert data.extras["probes"].shape == (2, 1, N, N)
    for phase in ("train", "val"):
        for position in range(len(data.splits[phase])):
            sample = data.splits[phase].sample(position, 0)
            file = int(sample["rows"][0]) // 30
            assert sample["scan"] == (0, 1, 0)[file]
    torch.testing.assert_close(data.extras["probes"][1], torch.from_numpy(other.probe_modes))


def test_files_whose_probes_have_other_numbers_of_modes_are_refused(tmp_path: Path) -> None:
    files = [saved(tmp_path, "a", small()), saved(tmp_path, "b", small(seed=1, num_modes=3))]
    with pytest.raises(DataError, match=r"b\.npz: its probe has 3 modes, that of .*a\.npz 1"):
        prepared(files)


def test_a_probe_on_another_scale_is_refused_or_scaled_where_asked(scan: RawNPZData, tmp_path: Path) -> None:
    path = saved(tmp_path, "scan", scan, probeGuess=scan.probeGuess / 300)
    with pytest.raises(DataError, match=r"scan\.npz: the probe's energy is .* but a pattern has .* Set data\.probe_scale=measured"):
        prepared(path)
    probes = prepared(path, probe_scale="measured").extras["probes"]
    assert float(probes.abs().square().sum()) == pytest.approx(energy(scan), rel=1e-4)


def test_empty_patterns_are_refused_with_a_message(scan: RawNPZData, tmp_path: Path) -> None:
    path = saved(tmp_path, "dark", scan, diffraction=np.zeros((60, N, N), np.float32))
    for scale in ("as_given", "measured"):
        with pytest.raises(DataError, match=r"dark\.npz.*zero"):
            prepared(path, probe_scale=scale)


def test_masks_of_files_and_config_are_laid_over_each_other(tmp_path: Path) -> None:
    first, second, third = (np.ones((N, N), bool) for _ in range(3))
    first[2, 3], second[4, 5], third[6, 7] = False, False, False
    files = [saved(tmp_path, "a", small(mask=first)), saved(tmp_path, "b", small(seed=1, mask=second))]
    np.save(tmp_path / "mask.npy", third)
    data = prepared(files, mask=tmp_path / "mask.npy")
    assert data.extras["mask"].dtype == torch.bool
    np.testing.assert_array_equal(data.extras["mask"].numpy(), first & second & third)
    sample = data.splits["train"].sample(0, 0)
    assert sample["measurement"][0, 6, 7] == 0  # what is masked is not seen by the network either


def test_dead_pixels_may_hold_anything(scan: RawNPZData, tmp_path: Path) -> None:
    spoiled = scan.diffraction[:].copy()
    spoiled[:, 2, 3] = np.nan
    spoiled[:, 4, 5] = -7
    mask = np.ones((N, N), bool)
    mask[2, 3] = mask[4, 5] = False
    np.savez(
        tmp_path / "scan.npz",
        xcoords=scan.xcoords,
        ycoords=scan.ycoords,
        diffraction=spoiled,
        probeGuess=scan.probeGuess,
        objectGuess=scan.objectGuess,
    )
    with pytest.raises(DataError, match=r"scan\.npz.*(negative|non-finite) value.*mask"):
        prepared(tmp_path / "scan.npz")
    np.save(tmp_path / "mask.npy", mask)
    data = prepared(tmp_path / "scan.npz", mask=tmp_path / "mask.npy")
    assert np.isfinite(data.extras["normalisation"])
    assert all(bool(data.splits["train"].sample(i, 0)["measurement"].isfinite().all()) for i in range(54))


def test_masks_that_leave_nothing_together_are_refused(tmp_path: Path) -> None:
    left = np.zeros((N, N), bool)
    left[:, : N // 2] = True
    files = [saved(tmp_path, "a", small(mask=left)), saved(tmp_path, "b", small(seed=1, mask=~left))]
    with pytest.raises(DataError, match="together their masks leave no detector pixel"):
        prepared(files)


def test_supervised_targets_are_the_truth_at_the_positions(scan: RawNPZData, scan_file: Path) -> None:
    data = prepared(scan_file, supervised=True, gridsize=2)
    sample = data.splits["train"].sample(11, 0)
    assert sample["target"].dtype == torch.complex64
    assert sample["target"].shape == (4, N, N)
    assert data.extras["supervised"] is True
    truth = scan.objectGuess
    assert truth is not None
    for row, patch in zip(sample["rows"].tolist(), sample["target"].numpy(), strict=True):
        x, y = scan.xcoords[row], scan.ycoords[row]
        for i, j in ((0, 0), (5, 11), (15, 15)):
            r, c = y - N // 2 + i, x - N // 2 + j
            r0, c0 = int(np.floor(r)), int(np.floor(c))
            expected = sum(
                (1 - abs(r - r0 - a)) * (1 - abs(c - c0 - b)) * truth[min(r0 + a, len(truth) - 1), min(c0 + b, truth.shape[1] - 1)]
                for a in (0, 1)
                for b in (0, 1)
            )
            assert patch[i, j] == pytest.approx(expected, abs=1e-5)


def test_every_file_has_its_own_truth(tmp_path: Path) -> None:
    one, other = small(num_positions=30), small(num_positions=30, seed=1, object_kind="lines")
    data = prepared([saved(tmp_path, "a", one), saved(tmp_path, "b", other)], supervised=True)
    for position in range(len(data.splits["train"])):
        sample = data.splits["train"].sample(position, 0)
        row = int(sample["rows"][0])
        scan, own = (one, row) if row < 30 else (other, row - 30)
        assert scan.objectGuess is not None
        x, y = scan.xcoords[own], scan.ycoords[own]
        centre = scan.objectGuess[int(y) : int(y) + 2, int(x) : int(x) + 2]
        assert np.abs(sample["target"][0, N // 2, N // 2].numpy() - centre).min() <= np.ptp(centre.real) + np.ptp(centre.imag) + 1e-6


def test_supervision_without_truth_is_refused_and_names_the_file(tmp_path: Path, scan: RawNPZData) -> None:
    files = [saved(tmp_path, "with", scan), saved(tmp_path, "without", scan, objectGuess=None)]
    with pytest.raises(DataError, match=r"without\.npz: no objectGuess.*set data\.supervised=false"):
        prepared(files, supervised=True)


# --- the rest ------------------------------------------------------------------------------------


def test_sizes_that_differ_are_refused(tmp_path: Path, scan: RawNPZData) -> None:
    big = small(size_px=32, probe_diameter_px=12.0)
    files = [saved(tmp_path, "small", scan), saved(tmp_path, "big", big)]
    with pytest.raises(DataError, match="patterns of one size"):
        prepared(files)
    with pytest.raises(DataError, match=r"big\.npz: patterns of 32 px, to train on 16"):
        prepared(files[0], test_path=files[1])


def test_counts_are_declared(tmp_path: Path, scan: RawNPZData, scan_file: Path) -> None:
    arrays = dict(np.load(scan_file, allow_pickle=False))
    arrays["diffraction"] = np.round(arrays["diffraction"] ** 2).astype(np.uint16)
    np.savez(tmp_path / "counts.npz", **arrays)
    data = prepared(tmp_path / "counts.npz", domain="counts")
    row = int(data.splits["train"].sample(0, 0)["rows"][0])
    np.testing.assert_allclose(data.splits["train"].sample(0, 0)["measurement"][0], scan.diffraction[row], atol=1e-2)
    with pytest.warns(UserWarning, match="whole numbers"):
        prepared(tmp_path / "counts.npz", probe_scale="measured")


def test_the_fingerprint_follows_the_content_not_the_place(tmp_path: Path, scan: RawNPZData, scan_file: Path) -> None:
    known = prepared(scan_file).fingerprint
    assert len(known) == 64
    assert prepared(saved(tmp_path, "elsewhere", scan)).fingerprint == known
    assert prepared(scan_file, seed=3).fingerprint == known
    moved = scan.xcoords.copy()
    moved[3] += 0.01
    assert prepared(saved(tmp_path, "moved", scan, xcoords=moved)).fingerprint != known
    dimmer = scan.diffraction[:].copy()
    dimmer[5] *= 0.9
    assert prepared(saved(tmp_path, "dimmer", scan, diffraction=dimmer)).fingerprint != known


def test_a_probe_refined_before_training_is_nearer_to_the_true_one(tmp_path: Path, scan: RawNPZData) -> None:
    steps = np.arange(N) - N // 2
    wrong = scan.probe_modes * np.exp(0.02j * (steps[:, None] ** 2 + steps[None] ** 2))
    path = saved(tmp_path, "scan", scan, probeGuess=wrong.astype(np.complex64))

    def likeness(probe: np.ndarray) -> float:
        true = scan.probe_modes[0]
        return float(np.abs(np.vdot(probe, true)) / np.linalg.norm(probe) / np.linalg.norm(true))

    given = prepared(path)
    refined = prepared(path, probe_iterations=20)
    assert given.extras["refined_probe"] is False
    assert refined.extras["refined_probe"] is True
    assert likeness(refined.extras["probes"][0, 0].numpy()) > likeness(given.extras["probes"][0, 0].numpy())
    again = prepared(path, probe_iterations=20)
    assert torch.equal(again.extras["probes"], refined.extras["probes"])


def test_a_simulated_scan_is_the_same_whatever_the_seed_of_training() -> None:
    config = SimulatedScanConfig(size_px=N, num_samples=60, step_px=2.0, probe_diameter_px=7.0)
    one, other = config.prepare(0), config.prepare(1)
    assert one.fingerprint == other.fingerprint
    assert one.names["val"] != other.names["val"]
    assert config.replace(scan_seed=1).prepare(0).fingerprint != one.fingerprint
    assert [len(one.splits[phase]) for phase in PHASES] == [43, 5, 12]
    assert set(config.replace(test_share=0.0).prepare(0).splits) == {"train", "val"}


def test_the_simulated_test_block_is_apart_from_the_training_patterns() -> None:
    config = SimulatedScanConfig(size_px=N, num_samples=60, step_px=2.0, probe_diameter_px=7.0)
    data = config.prepare(0)
    split: Any = data.splits["train"]
    y = split.positions[:, 1]
    assert y[rows_of(data, "test").ravel()].min() >= max(y[rows_of(data, phase).ravel()].max() for phase in ("train", "val"))


def test_odd_sizes_are_refused() -> None:
    with pytest.raises(ConfigError, match="size_px: expected an even number, got 17"):
        SimulatedScanConfig(size_px=17)

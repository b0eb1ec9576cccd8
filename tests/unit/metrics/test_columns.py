"""Values made from columns: against plain loops, and what a run's description of them may hold."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from photic.core.errors import DataError
from photic.core.seeding import numpy_generator
from photic.metrics.columns import ColumnPair, ColumnValue, column_difference
from photic.metrics.comparison import ComparisonSpec

PSNR = ColumnValue(name="psnr", label="PSNR", higher_is_better=True, column="psnr")
R_AMP = ColumnValue(name="r_amp", label="R_amp", higher_is_better=False, column="r_amp", weight="amplitude")
SPEC = ComparisonSpec(kind="denoising", samples="pictures", values=(PSNR, R_AMP), caution="few", predict="X -o Y")


def table(seed: int, num: int = 12) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    amplitude = np.random.default_rng(num).uniform(1, 50, num)  # belongs to the samples
    return {"psnr": generator.normal(30, 3, num), "r_amp": generator.uniform(0.1, 0.3, num), "amplitude": amplitude}


def plain(columns: dict[str, np.ndarray], rows: list[int]) -> list[float]:
    """Mean PSNR and the ratio of sums, one row after the other."""
    total = difference = measured = 0.0
    for row in rows:
        total += columns["psnr"][row]
        difference += columns["r_amp"][row] * columns["amplitude"][row]
        measured += columns["amplitude"][row]
    return [total / len(rows), difference / measured]


def test_values_are_means_and_ratios_of_sums() -> None:
    columns = table(0)
    assert [PSNR.of(columns), R_AMP.of(columns)] == pytest.approx(plain(columns, list(range(12))), rel=1e-12)


def test_samples_without_a_number_are_left_out_and_nothing_is_undefined() -> None:
    columns = table(0)
    columns["psnr"][[1, 4]] = [np.nan, np.inf]
    columns["r_amp"][2], columns["amplitude"][3] = np.nan, np.nan
    kept = [row for row in range(12) if row not in (1, 4)]
    assert PSNR.of(columns) == pytest.approx(plain(columns, kept)[0])
    assert R_AMP.of(columns) == pytest.approx(plain(columns, [row for row in range(12) if row not in (2, 3)])[1])
    assert math.isnan(PSNR.of({"psnr": np.full(3, np.nan)}))
    assert math.isnan(R_AMP.of({"r_amp": np.ones(3), "amplitude": np.zeros(3)}))


def test_differences_and_intervals_are_those_of_a_slow_loop() -> None:
    # Two pairs that share four of their twelve samples each: twenty in all.
    names = [[f"s{i}" for i in range(12)], [f"s{i}" for i in range(8, 20)]]
    tables = [(table(1), table(2)), (table(3), table(4))]
    found = column_difference([ColumnPair(own, *pair) for own, pair in zip(names, tables, strict=True)], (PSNR, R_AMP))

    def differences(drawn: list[int]) -> np.ndarray:
        each = []
        for own, (first, second) in zip(names, tables, strict=True):
            rows = [own.index(f"s{i}") for i in drawn if f"s{i}" in own]
            each.append(np.subtract(plain(second, rows), plain(first, rows)))
        return np.mean(each, axis=0)

    draws = numpy_generator(0, "bootstrap").integers(20, size=(1000, 20))
    samples = np.array([differences(list(draw)) for draw in draws])
    for i, name in enumerate(("psnr", "r_amp")):
        entry = found[name]
        assert entry["value"] == pytest.approx(differences(list(range(20)))[i], rel=1e-9)
        assert (entry["low"], entry["high"]) == pytest.approx(tuple(np.quantile(samples[:, i], [0.025, 0.975])), rel=1e-9)
        assert entry["share_above_zero"] == pytest.approx((samples[:, i] > 0).mean(), abs=2e-3)
        assert entry["num_valid"] == 1000


def test_a_sample_that_one_of_two_has_no_number_for_counts_for_neither() -> None:
    first, second = table(1), table(2)
    second["psnr"][5] = np.inf
    kept = [row for row in range(12) if row != 5]
    value = column_difference([ColumnPair(range(12), first, second)], [PSNR])["psnr"]["value"]
    assert value == pytest.approx(plain(second, kept)[0] - plain(first, kept)[0])


def test_the_difference_of_a_table_from_itself_is_nothing_at_all() -> None:
    entry = column_difference([ColumnPair(range(12), table(1), table(1))], [R_AMP])["r_amp"]
    assert (entry["value"], entry["low"], entry["high"], entry["share_above_zero"]) == (0, 0, 0, 0.5)


def test_wrong_pairs_are_refused() -> None:
    with pytest.raises(DataError, match="at least one pair"):
        column_difference([], [PSNR])
    with pytest.raises(DataError, match="expected 11 values in column 'psnr', one per name, got \\[12\\]"):
        column_difference([ColumnPair(range(11), table(1), table(2))], [PSNR])
    with pytest.raises(DataError, match="named twice"):
        column_difference([ColumnPair([0] * 12, table(1), table(2))], [PSNR])


# --- what is stored with a run -----------------------------------------------------------------------


def test_a_spec_survives_json() -> None:
    assert ComparisonSpec.from_dict(json.loads(json.dumps(SPEC.to_dict()))) == SPEC
    short = {"kind": "k", "samples": "s", "values": [{"name": "a", "label": "A", "higher_is_better": True, "column": "a"}]}
    assert ComparisonSpec.from_dict(short).values[0].weight is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"values": []}, r"run\.values: expected a list of at least one value, got \[\]"),
        ({"values": "psnr"}, r"run\.values: expected a list"),
        ({"values": ["psnr"]}, r"run\.values\[0\]: expected named values, got str"),
        ({"values": [{"name": "a", "label": "A", "column": "a"}]}, r"run\.values\[0\]\.higher_is_better: expected bool, got None"),
        ({"values": [PSNR.__dict__, PSNR.__dict__]}, "a name stands there twice"),
        ({"values": [{**PSNR.__dict__, "weight": 3}]}, r"\.weight: expected str or NoneType, got 3"),
        ({"kind": None}, r"run\.kind: expected str, got None"),
        ({"other": 1}, "run: unknown key 'other'; the run was written by a newer Photic"),
    ],
)
def test_damaged_specs_are_refused_by_key(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        ComparisonSpec.from_dict({**SPEC.to_dict(), **changes}, "run")


def test_what_specs_have_in_common_is_made_in_the_same_way() -> None:
    other = ComparisonSpec(kind="denoising", samples="tiles", values=(R_AMP,))
    turned = ComparisonSpec(kind="denoising", samples="pictures", values=(ColumnValue(**{**PSNR.__dict__, "higher_is_better": False}),))
    assert SPEC.common([SPEC]) == SPEC
    assert (SPEC.common([other]).values, SPEC.common([other]).samples) == ((R_AMP,), "samples")
    assert SPEC.common([turned]).values == ()

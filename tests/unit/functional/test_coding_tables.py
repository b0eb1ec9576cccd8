"""Integer frequency tables: exact sums, never a zero, and arrays that are no tables are refused."""

import copy
import pickle
from fractions import Fraction

import numpy as np
import pytest

from photic.core.errors import DataError
from photic.functional.coding_tables import MAX_ENTRIES, MAX_MAGNITUDE, TOTAL, CodingTables

PROBABILITIES = {
    "one symbol": [1.0, 0.0],
    "never escaped": [0.1, 0.2, 0.7, 0.0],
    "only the escape": [0.0, 0.0, 1.0],
    "not normalised": [3.0, 5.0, 11.0, 1.0],
    "thirds": [1 / 3, 1 / 3, 1 / 3],
    "nearly certain": [1e-12, 1.0, 1e-12, 1e-30],
    "tiny": [5e-324, 5e-324, 0.0],
    "large": [1e308, 1e308, 1.5e308],
    "Laplace": [*np.exp(-np.abs(np.arange(-40, 41)) / 3.7).tolist(), 1e-5],
    "many": np.random.default_rng(0).random(MAX_ENTRIES).tolist(),
    "many, one counts": [1.0, *[0.0] * (MAX_ENTRIES - 1)],
}


@pytest.mark.parametrize("name", PROBABILITIES)
def test_frequencies_add_up_are_never_zero_and_follow_the_probabilities(name):
    probabilities = PROBABILITIES[name]
    frequencies = CodingTables.from_probabilities([probabilities], [0]).frequencies.tolist()
    assert sum(frequencies) == TOTAL == 2**24
    assert min(frequencies) >= 1
    total = sum(map(Fraction, probabilities))
    free = TOTAL - len(probabilities)
    for probability, frequency in list(zip(probabilities, frequencies, strict=True))[:2000]:
        assert abs(Fraction(probability) / total * free - (frequency - 1)) <= 1 + Fraction(1, 1000)


def test_what_is_left_goes_to_the_largest_remainders_the_first_of_equal_ones():
    # 2**24 - 3 = 16777213 = 3 * 5592404 + 1: one is left over, and all remainders are equal.
    assert CodingTables.from_probabilities([[1.0, 1.0, 1.0]], [0]).frequencies.tolist() == [5592406, 5592405, 5592405]
    # 16777212 of four entries: 1/8, 1/8, 1/2, 1/4 are 2097151.5 twice, 8388606 and 4194303.
    assert CodingTables.from_probabilities([[1, 1, 4, 2]], [0]).frequencies.tolist() == [2097153, 2097152, 8388607, 4194304]


def test_several_tables_lie_one_after_another():
    tables = CodingTables.from_probabilities([[0.5, 0.5, 0.0], [0.2, 0.8], [0.1, 0.2, 0.3, 0.4]], lowest=[-1, 7, -2])
    assert tables.num_tables == 3
    assert tables.sizes.tolist() == [3, 2, 4]
    assert tables.starts.tolist() == [0, 3, 5]
    assert tables.highest.tolist() == [0, 7, 0]
    np.testing.assert_allclose(2.0**-tables.costs_bits, tables.frequencies / TOTAL, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint32])
def test_integers_give_the_same_tables_again(dtype):
    tables = CodingTables.from_probabilities([PROBABILITIES["Laplace"], [0.2, 0.8]], lowest=[3, 7])
    again = CodingTables(tables.frequencies.astype(dtype), tables.sizes.astype(dtype), tables.lowest.astype(dtype))
    copies = [again, copy.deepcopy(tables), pickle.loads(pickle.dumps(tables))]
    tables.model(0)
    copies.append(copy.deepcopy(tables))
    for other in copies:
        for name in ("frequencies", "sizes", "lowest", "highest", "starts"):
            np.testing.assert_array_equal(getattr(other, name), getattr(tables, name))


def test_tables_cannot_be_changed_and_keep_no_hold_on_what_they_were_made_of():
    frequencies = np.array([TOTAL - 1, 1], dtype=np.int32)
    tables = CodingTables(frequencies, [2], [0])
    frequencies[0] = 5
    assert tables.frequencies.tolist() == [TOTAL - 1, 1]
    with pytest.raises(ValueError, match="read-only"):
        tables.frequencies[0] = 5


def test_trimming_cuts_outer_symbols_of_frequency_1_and_nothing_else():
    parts = [[1, 5, 1, TOTAL - 9, 1, 1], [1, 1, 1, TOTAL - 3], [1, TOTAL - 2, 1], [TOTAL - 10, 10]]
    trimmed = CodingTables(np.concatenate(parts), [6, 4, 3, 2], [-3, 10, 0, 7]).trimmed()
    assert trimmed.frequencies.tolist() == [5, 1, TOTAL - 9, 3, 1, TOTAL - 1, TOTAL - 2, 2, TOTAL - 10, 10]
    assert trimmed.sizes.tolist() == [4, 2, 2, 2]
    assert trimmed.lowest.tolist() == [-2, 10, 1, 7]
    np.testing.assert_array_equal(trimmed.trimmed().frequencies, trimmed.frequencies)


HALF = TOTAL // 2


@pytest.mark.parametrize(
    ("frequencies", "sizes", "lowest", "message"),
    [
        ([HALF, HALF, HALF], [3], [0], r"table 0 add up to 25165824, not to 16777216"),
        ([HALF, HALF, HALF, HALF - 1], [2, 2], [0, 0], "table 1 add up to"),
        ([TOTAL, 0], [2], [0], "frequencies must lie in 1 to"),
        ([TOTAL + 1, -1], [2], [0], "frequencies must lie in 1 to"),
        ([2**40, 1], [2], [0], "frequencies must lie in 1 to"),
        ([HALF, HALF], [3], [0], "sizes add up to 3, but there are 2"),
        ([HALF, HALF], [2, 2], [0, 0], "sizes add up to 4, but there are 2"),
        ([TOTAL], [1], [0], "frequencies must lie in|sizes must lie in"),
        ([HALF, HALF], [2], [0, 1], "sizes describe 1 tables, lowest 2"),
        ([HALF, HALF], [2], [MAX_MAGNITUDE + 1], "lowest must lie in"),
        ([HALF, HALF // 2, HALF // 2], [3], [MAX_MAGNITUDE], "reaches up to the symbol 1048577"),
        ([0.5, 0.5], [2], [0], "integers in one dimension"),
        ([[HALF, HALF]], [2], [0], "integers in one dimension"),
        ([], [], [], "integers in one dimension"),
        (np.ones(MAX_ENTRIES + 1, np.int32), [MAX_ENTRIES + 1], [0], "sizes must lie in 2 to 65536"),
        (np.tile([HALF, HALF], 65537), np.full(65537, 2), np.zeros(65537, int), "1 to 65536 tables"),
    ],
)
def test_arrays_that_are_no_tables_are_refused(frequencies, sizes, lowest, message):
    with pytest.raises(DataError, match=message):
        CodingTables(frequencies, sizes, lowest)


@pytest.mark.parametrize(
    "probabilities",
    [[1.0], [], [[0.5, 0.5]], [0.5, -0.5, 1.0], [0.5, float("nan")], [0.5, float("inf")], [0.0, 0.0], np.ones(MAX_ENTRIES + 1)],
)
def test_what_are_no_probabilities_is_refused(probabilities):
    with pytest.raises(DataError, match="probabilities of table 1"):
        CodingTables.from_probabilities([[0.5, 0.5], probabilities], [0, 0])


def test_no_table_at_all_is_refused():
    with pytest.raises(DataError, match="at least one table"):
        CodingTables.from_probabilities([], [])

"""Medians, their intervals and quantiles: against plain Python."""

import random
from statistics import median

import numpy as np
import pytest

from analysis.statistics import LEAST_REPEATS, _resamples, median_with_interval, quantiles, quantiles_of_groups
from tests.analysis import plain


def test_a_median_and_its_interval():
    values = [3.0, 8.0, 1.0, 7.0, 5.0, 2.0, 9.0]
    middle, low, high = median_with_interval(values)
    assert middle == median(values) and 1 <= low < middle < high <= 9
    _resamples.cache_clear()
    assert median_with_interval(values) == (middle, low, high)  # the same chance each time
    chance = random.Random(1)
    medians = [median(chance.choices(values, k=len(values))) for _ in range(20_000)]  # resampled by other means
    assert low == pytest.approx(plain.percentile(medians, 0.025), abs=1.01)
    assert high == pytest.approx(plain.percentile(medians, 0.975), abs=1.01)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    chance = np.random.default_rng(2)
    covered = 0
    for _ in range(300):
        _, low, high = median_with_interval(chance.normal(10.0, 2.0, 15))
        covered += low <= 10.0 <= high
    assert 0.88 < covered / 300 < 0.995


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_few_values_have_a_median_and_no_interval(count):
    values = [4.0, 8.0, 5.0, 7.0][:count]
    for there in (values, [*values, np.nan, np.nan, np.nan]):
        middle, *ends = median_with_interval(there)
        assert middle == median(values) and np.isnan(ends).all()


def test_as_many_values_as_it_takes():
    assert np.isnan(median_with_interval([])).all() and np.isnan(median_with_interval([np.nan])).all()
    assert median_with_interval([2.0, np.nan, 2.0, 2.0, 2.0, 2.0]) == (2.0, 2.0, 2.0)
    chance = np.random.default_rng(4)
    for count in (LEAST_REPEATS, LEAST_REPEATS + 3):  # of what is far from symmetric, too
        ends = [median_with_interval(chance.exponential(1.0, count))[1:] for _ in range(600)]
        assert 0.88 < sum(low <= np.log(2) <= high for low, high in ends) / 600 < 0.98


def test_quantiles_lie_between_values():
    values = np.array([5.0, 1.0, np.nan, 9.0, 2.0])
    levels = (0.0, 0.1, 0.5, 0.99, 1.0)
    by_hand = [plain.percentile([5, 1, 9, 2], level) for level in levels]
    assert quantiles(values, levels).tolist() == pytest.approx(by_hand)
    assert np.isnan(quantiles(np.array([np.nan]), levels)).all()


def test_groups_of_stretches():
    chance = np.random.default_rng(3)
    values = chance.random(1000)
    starts = np.array([0, 1, 100, 350, 351, 800])
    codes = np.array([2, 0, 2, 1, 2, 0])
    of = np.repeat(codes, np.diff([*starts, 1000]))
    for levels in [(0.25, 1.0), [level / 20 for level in range(21)]]:
        table = quantiles_of_groups(values, starts, codes, 4, levels)
        for group in range(3):
            mine = values[of == group].tolist()
            assert table[group].tolist() == pytest.approx([plain.percentile(mine, level) for level in levels])
        assert np.isnan(table[3]).all()
    assert quantiles_of_groups(np.empty(0), np.empty(0, int), np.empty(0, int), 0, (0.5,)).shape == (0, 1)

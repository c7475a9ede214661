"""What repetitions tell: a median with its bootstrap interval, and quantiles of groups.

The interval is the middle 95 % of the medians of 2,000 resamples, drawn with the same chance each time, so that the
same figures always come to the same interval. Of fewer than LEAST_REPEATS repetitions there is none: even the whole
range of n values misses the median that they come from with a chance of 2^(1-n), which is a half of two, a quarter of
three and first near to 5 % of five.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import ArrayLike

RESAMPLES = 2000
SEED = 20_200_605
WITHIN = (0.025, 0.975)
LEAST_REPEATS = 5  # that say where the median lies
FEW_LEVELS = 8  # for so many not everything has to be sorted


def median_with_interval(values: ArrayLike) -> tuple[float, float, float]:
    """The median, and the ends of its interval where enough is known; what is not a number is left out."""
    known = _known(values)
    if not len(known):
        return np.nan, np.nan, np.nan
    middle = float(np.median(known))
    if len(known) < LEAST_REPEATS:
        return middle, np.nan, np.nan
    low, high = np.quantile(np.median(known[_resamples(len(known))], axis=1), WITHIN)
    return middle, float(low), float(high)


def quantiles(values: np.ndarray, levels: ArrayLike) -> np.ndarray:
    """The values at these shares, between two values where they fall between them; NaN where there are none."""
    levels = np.asarray(levels, float)
    known = _known(values)
    if not len(known):
        return np.full(len(levels), np.nan)
    place = levels * (len(known) - 1)
    below = place.astype(np.int64)
    above = np.minimum(below + 1, len(known) - 1)
    if len(levels) <= FEW_LEVELS:
        known = np.partition(known, np.unique([below, above]))
    else:
        known = np.sort(known)
    return known[below] + (place - below) * (known[above] - known[below])


def median(values: np.ndarray) -> float:
    """The median of what is a number; NaN where nothing is."""
    return float(quantiles(values, (0.5,))[0])


def quantiles_of_groups(
    values: np.ndarray, starts: np.ndarray, codes: np.ndarray, groups: int, levels: Sequence[float]
) -> np.ndarray:
    """[group][level]: quantiles of values that stand in stretches, of which each begins somewhere and has a group."""
    table = np.full((groups, len(levels)), np.nan)
    ends = np.append(starts[1:], len(values))
    order = np.argsort(codes, kind="stable")
    for of_group in np.split(order, np.flatnonzero(np.diff(codes[order])) + 1) if len(order) else ():
        parts = [values[starts[each] : ends[each]] for each in of_group]
        table[codes[of_group[0]]] = quantiles(np.concatenate(parts), levels)
    return table


def _known(values: ArrayLike) -> np.ndarray:
    values = np.asarray(values, float)
    unknown = np.isnan(values)
    return values[~unknown] if unknown.any() else values


@cache
def _resamples(count: int) -> np.ndarray:
    """[resample]: which of so many values it holds."""
    return np.random.default_rng(SEED).integers(count, size=(RESAMPLES, count))

"""Where things go that need room: ticks, labels, and signs that would lie on each other."""

from __future__ import annotations

import math
from bisect import bisect, insort
from collections.abc import Iterator, Sequence

LETTER = 6.1  # how wide a letter is, about
NEAREST = 40.0  # the most that the script zooms
ROOM = 3.0  # between two labels
BETWEEN_TICKS = 70


def ticks(from_s: float, to_s: float, width: float) -> list[tuple[float, str]]:
    """Round moments of a time, and how they are written."""
    step = step_of(to_s - from_s, width)
    digits = digits_of(step)
    numbers = range(math.ceil(from_s / step), math.floor(to_s / step) + 1)
    return [(number * step, f"{number * step:.{digits}f}") for number in numbers]


def step_of(lasts_s: float, width: float) -> float:
    """A round number of seconds between two ticks."""
    least = lasts_s * BETWEEN_TICKS / width
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))


def digits_of(step: float) -> int:
    """How many digits behind the point tell two of its multiples apart."""
    return min(12, max(0, -math.floor(math.log10(step) + 1e-9)))


def spread(places: Sequence[float], apart: float) -> list[float]:
    """By how much to move things aside that are in order and too near each other."""
    moved: list[float] = []
    for place in places:
        moved.append(max(place, moved[-1] + apart) if moved else place)
    groups: list[list[int]] = []
    for index, (place, there) in enumerate(zip(places, moved)):
        if groups and there > place:
            groups[-1].append(index)
        else:
            groups.append([index])
    shifts = [0.0] * len(places)
    for group in groups:
        back = sum(moved[index] - places[index] for index in group) / len(group)
        for index in group:
            shifts[index] = moved[index] - back - places[index]
    return shifts


def zooms(labels: Sequence[tuple[float, str]], taken: Sequence[tuple[float, float]]) -> list[float]:
    """For each label the zoom from which on it has room beside those that were there before it.

    The first label comes first, then the one in the middle of the rest, and so on, so that they are spread evenly.
    `taken` are the places and widths of what is always there.
    """
    placed, found = sorted(taken), [math.inf] * len(labels)
    for index in _halving(len(labels)):
        x, label = labels[index]
        wide = LETTER * len(label)
        at = bisect(placed, (x, wide))
        zoom = 1.0
        for other, other_wide in placed[max(0, at - 1) : at + 1]:
            needed, apart = (wide + other_wide) / 2 + ROOM, abs(x - other)
            zoom = max(zoom, needed / apart if apart else math.inf)
        if zoom <= NEAREST:
            insort(placed, (x, wide))
            found[index] = zoom
    return found


def _halving(count: int) -> Iterator[int]:
    """All indices below a count: with great steps first, then those between."""
    step = 1 << max(0, count - 1).bit_length()
    yield from range(0, count, step)
    while step > 1:
        yield from range(step // 2, count, step)
        step //= 2

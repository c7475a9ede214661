"""Drops the steps that a violation does not need."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations

from experiments.explorer.model import Model
from experiments.explorer.search import Explored
from experiments.explorer.witness import Arrival, Stage, Step, Witness, violation_of

MOST_FOR_PAIRS = 40  # steps of which also every two are left out together


def minimise(explored: Explored) -> Witness:
    """The witness of a search that found a violation, played once more with fresh stacks and made short.

    What is left cannot do without any of its steps, nor without any two of them.
    """
    assert explored.violation is not None, "nothing was found"
    witness = played(explored.model, explored.violation.property, explored.witness)
    assert witness is not None, "the layers do not do what the search says"
    while (shorter := next(_shorter(witness), None)) is not None:
        witness = shorter
    return witness


def played(model: Model, name: str, steps: tuple[Step, ...]) -> Witness | None:
    """The witness that these steps are, or None if they cannot be taken or do not break the property."""
    stage = Stage(model)
    if not all(stage.play(step) for step in steps):
        return None
    violation = violation_of(stage, name)
    return violation and Witness(model, violation, tuple(stage.steps))


def _shorter(witness: Witness) -> Iterator[Witness]:
    """The same violation with less; the last steps are dropped first."""
    for steps in _less(witness.steps):
        if (found := played(witness.model, witness.violation.property, steps)) is not None:
            yield found


def _less(steps: tuple[Step, ...]) -> Iterator[tuple[Step, ...]]:
    places = range(len(steps) - 1, -1, -1)
    for place in places:
        yield steps[:place] + steps[place + 1 :]
    if len(steps) <= MOST_FOR_PAIRS:
        for later, earlier in combinations(places, 2):
            yield steps[:earlier] + steps[earlier + 1 : later] + steps[later + 1 :]
    for place in places:
        step = steps[place]
        if type(step) is Arrival and step.copy:
            yield (*steps[:place], replace(step, copy=False), *steps[place + 1 :])

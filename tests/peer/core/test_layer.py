"""A layer's state: frozen it is a value, thawed it is a layer that goes on as before."""

import subprocess
import sys
from collections import deque
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.core.clocks import LamportClock
from peer.core.effects import Deliver
from peer.core.layer import freeze, thaw
from peer.stacks import build_layers
from tests.runs import NAMED, run_settings
from tests.table import Table

ROOT = Path(__file__).parents[3]

ATOMS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary())
KEYS = st.one_of(st.integers(), st.tuples(st.integers(), st.integers()))
VALUES = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.lists(inner, max_size=4).map(deque),
        st.dictionaries(st.integers(), inner, max_size=4),
        st.dictionaries(st.tuples(st.integers(), st.integers()), inner, max_size=4),
        st.sets(KEYS.filter(lambda key: type(key) is int), max_size=4),
        st.frozensets(st.text(), max_size=4),
        st.builds(LamportClock, inner),
    ),
    max_leaves=20,
)


@given(VALUES)
def test_values_survive(value):
    frozen = freeze(value)
    hash(frozen)
    fresh = thaw(frozen)
    assert fresh == value and type(fresh) is type(value)
    assert freeze(fresh) == frozen


@given(VALUES, VALUES)
def test_frozen_values_are_equal_where_the_values_are(one, other):
    assert (freeze(one) == freeze(other)) == (one == other and _kinds(one) == _kinds(other))


def _kinds(value):
    """The kinds of the containers of a value, which == alone does not compare: a set equals a frozenset."""
    if isinstance(value, (list, tuple, deque)):
        return (type(value), *map(_kinds, value))
    if isinstance(value, dict):
        return (dict, *(_kinds(value[key]) for key in sorted(value)))
    if isinstance(value, LamportClock):
        return (LamportClock, _kinds(value.time))
    return type(value) if isinstance(value, (set, frozenset)) else None


def test_the_order_of_entries_does_not_count():
    assert freeze({1: "a", 2: "b"}) == freeze({2: "b", 1: "a"})
    assert freeze({5, 1, 3}) == freeze({3, 5, 1})
    assert freeze([1, 2]) != freeze((1, 2)) != freeze(deque([1, 2]))


def test_what_is_thawed_is_fresh():
    value = {"list": [1], "clock": LamportClock(3)}
    fresh = thaw(freeze(value))
    fresh["list"].append(2)
    fresh["clock"].time = 9
    assert value == {"list": [1], "clock": LamportClock(3)}


@pytest.mark.parametrize("value", [object(), {"key": lambda: 0}, [iter([])], memoryview(b"x"), bytearray(b"x")])
def test_what_cannot_be_frozen(value):
    with pytest.raises(AssertionError, match="cannot be frozen"):
        freeze(value)


# -- shipped layers

LOSSY = "..x.2<.x..<" * 20


def table_of(ordering, variant, layers=build_layers, **settings):
    run = run_settings(ordering, variant, messages=6, gap_ms=(1.0, 9.0), **settings)
    return Table([layers(run, me) for me in range(3)], fates=LOSSY, rtt_s=0.01)


@pytest.mark.parametrize("ordering, variant", **NAMED)
def test_every_layer_survives(ordering, variant):
    """In the middle of a run and at its end."""
    table = table_of(ordering, variant).start()
    table.pass_time(2.0)
    table.release()
    for wait_s in (0.01, 0.01, 1000.0):
        table.pass_time(wait_s)
        for stack in table.stacks:
            for layer in stack.layers:
                frozen = freeze(layer)
                hash(frozen)
                fresh = thaw(frozen)
                assert type(fresh) is type(layer) and fresh == layer
                assert freeze(fresh) == frozen
    assert all(stack.layers[-1].drained for stack in table.stacks)


@pytest.mark.parametrize("ordering, variant", **NAMED)
def test_a_thawed_stack_goes_on_as_before(ordering, variant):
    """The same steps by the stacks themselves and, at every step, by what was made of their frozen layers."""
    without_handshake = 3  # discovery, connection and overlay have met already

    def layers(run, me):
        return build_layers(run, me)[without_handshake:]

    table, twin = table_of(ordering, variant, layers), table_of(ordering, variant, layers)
    table.start().release()
    twin.start().release()
    rounds = 0
    while table.timers or table.wire:
        for each in (table, twin):
            each.carry()
            if each.timers:
                each.fire()
        for me, stack in enumerate(twin.stacks):
            twin.stacks[me] = type(stack)([thaw(freeze(layer)) for layer in stack.layers], me, stack.members)
        rounds += 1
    assert rounds > 20
    assert twin.effects == table.effects
    assert any(type(effect) is Deliver for effect in table.effects[0])


PRINT_FROZEN = """
from peer.core.layer import freeze
from tests.peer.core.test_layer import table_of
for ordering, variant in %r:
    table = table_of(ordering, variant).start()
    table.pass_time(2.0)
    table.release().pass_time(0.02)
    print([repr(freeze(layer)) for stack in table.stacks for layer in stack.layers])
    table.settle()
    print([repr(freeze(layer)) for stack in table.stacks for layer in stack.layers])
"""


def test_state_is_the_same_in_every_process():
    """Whatever a process salts its hashes with."""
    code = PRINT_FROZEN % NAMED["argvalues"]
    printed = [
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT, env={"PYTHONHASHSEED": salt, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
        ).stdout
        for salt in ("1", "2")
    ]  # fmt: skip
    assert printed[0] == printed[1]
    assert "Block" in printed[0] and len(printed[0].splitlines()) == 2 * len(NAMED["argvalues"])

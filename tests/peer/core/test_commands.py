"""Commands and reports as JSON objects: they survive, and nothing else is taken for one."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.core.commands import (
    COMMANDS,
    REPORTS,
    Chunk,
    Close,
    Collected,
    Counts,
    Describe,
    Described,
    Fetch,
    Hello,
    Leaves,
    Prepare,
    Reached,
    Rejected,
    Release,
    Sealed,
    Stop,
    from_message,
    to_message,
)
from peer.core.errors import WireError

ITEMS = [
    Prepare("r1", 2, {"seed": "1", "members": ["a", "b"]}, {"world": "sim"}),
    Release("r1"),
    Close("r1"),
    Fetch("r1", "trace-2.bin", 4096, 65536),
    Stop("enough"),
    Hello("ana", "lab", "ff00", "3.10.2", "r1", "running"),
    Reached("r1"),
    Counts("r1", "running", 10, 7, 2, True, False, {"in the queue": 3}, ["bob"], 0.25),
    Rejected("r1", "busy", "ana is busy with run r0"),
    Leaves("r1", "ana@laptop"),
    Describe("r1"),
    Collected("r1"),
    Described("r1", 2, {"members": ["ana"]}, {"scenario": "x"}),
    Sealed("r1", {"trace-2.bin": [4096, "ab12"]}, {"datagrams": 5}),
    Chunk("r1", "trace-2.bin", 0, "ab12"),
]


def test_there_is_an_example_of_everything():
    assert {type(item) for item in ITEMS} == {*COMMANDS, *REPORTS}


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: type(item).__name__)
def test_items_survive(item):
    message = to_message(item)
    assert message["op"] == type(item).__name__
    assert from_message(json.loads(json.dumps(message))) == item


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: type(item).__name__)
def test_fields_of_another_type_are_refused(item):
    message = to_message(item)
    for name, value in message.items():
        for strange in ("text", [], {}) if name == "latency_s" else (None, 1.5, "text", 7, [], {}):
            if name != "op" and type(strange) is not type(value) and not (value is True or value is False):
                with pytest.raises(WireError, match=f"^control: {type(item).__name__}.{name} is "):
                    from_message(message | {name: strange})


@pytest.mark.parametrize(
    "message, sentence",
    [
        (None, "control: not an object"),
        ([], "control: not an object"),
        ("Release", "control: not an object"),
        ({}, "control: unknown op None"),
        ({"op": "Format"}, "control: unknown op 'Format'"),
        ({"op": ["Release"]}, "control: unknown op ['Release']"),
        ({"op": "Fetch", "run": "r1"}, "control: .*missing 3 required"),
        ({"op": "Release", "rum": "r1"}, "control: .*unexpected keyword argument 'rum'"),
        ({"op": "Release", "self": "r1"}, "control: .*self"),
    ],
)
def test_malformed(message, sentence):
    with pytest.raises(WireError, match="^" + sentence.replace("['", r"\['").replace("']", r"'\]")):
        from_message(message)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
NAMES = [cls.__name__ for cls in (*COMMANDS, *REPORTS)]
FIELDS = sorted({name for item in ITEMS for name in to_message(item)} - {"op"})


@given(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=8), st.sampled_from(NAMES) | JSON)
def test_anything_at_all(fields, op):
    try:
        item = from_message(fields | {"op": op})
    except WireError:
        return
    assert to_message(item) == {**to_message(item), **fields, "op": op}

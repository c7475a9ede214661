"""What a run leaves behind: records, files that can be mapped, and steps that can be read back without loss."""

import json
from dataclasses import fields, is_dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

import peer.core.news
from peer.core.blocks import Block
from peer.core.commands import COMMANDS, Close, Prepare, Release
from peer.core.effects import (
    EFFECTS,
    Ask,
    CancelTimer,
    Deliver,
    Finish,
    Locate,
    Note,
    RecordMulticast,
    Report,
    Save,
    SetTimer,
    Transmit,
)
from peer.core.events import EVENTS, Answered, Commanded, Moved, PacketArrived, Started, TimerFired
from peer.core.host import Host
from peer.core.news import NEWS, Drained, GroupReady, Located, Overfull, PairReady, PairRefused, Settled
from peer.core.trace import (
    ALIGNMENT,
    DELIVERED,
    DELIVERY_RECORD,
    MAGIC,
    RELEASED,
    SEAL,
    SEND_RECORD,
    VIEW,
    Recorder,
    pack_header,
    plain,
    read_header,
    unplain,
)
from peer.core.wire import packet_classes
from peer.links.ack_resend import Ack, Data
from peer.stacks import build_stack
from tests.runs import records, run_settings

BLOCK = Block(2, 10, 3, 4, 77, b"abcdefghijkl")
TOLD = [Located(1), PairReady(2), PairRefused(1, "told run 1"), GroupReady(), Settled(3), Drained(60), Overfull("")]
THINGS = [
    Started({"raft": {"term": 3, "log": [b"a", b"b"]}}, bytes(range(32)), ((1, 2), (3, 4))),
    PacketArrived(1, Data(5, 6, 7, BLOCK), 0.25, None),
    TimerFired("ack_resend", ("resend", 2)),
    Answered("group_manager", {"ok": True, "endpoints": {"p1": ["10.0.0.1", 7]}, "missing": []}),
    *[Commanded(command) for command in (Prepare("r", 1, {"a": [1]}, {}), Release("r"), Close("r"))],
    Moved(1, ("10.0.0.1", 7)),
    Transmit(1, Ack(3, 2**64 - 1)),
    Transmit(("10.0.0.1", 7), BLOCK),
    Transmit("broadcast", BLOCK),
    Locate(1, ("10.0.0.1", 7)),
    Ask("group_manager", {"op": "where", "names": ["p1"]}),
    SetTimer("ack_resend", ("ack", 1), 0.005, 0.005),
    CancelTimer("ack_resend", ("ack", 1)),
    Save("raft", "term", 3, True),
    RecordMulticast(7, 2),
    Deliver(BLOCK),
    *[Report(news) for news in TOLD],
    Finish("closed"),
    Note("uneaten", {"packet": "Ack", "source": 1, "is": "a word of its own", "bytes": b"\x00", "tuple": (1, 2)}),
]

# -- steps


def test_there_is_an_example_of_everything():
    assert {type(thing) for thing in THINGS} == {*EVENTS, *EFFECTS}
    assert {type(news) for news in TOLD} == {*NEWS}
    assert {*NEWS} == {cls for cls in vars(peer.core.news).values() if is_dataclass(cls)}


def test_no_two_classes_have_one_name():
    """A step says of what class a thing is by its name alone."""
    classes = {*EVENTS, *EFFECTS, *COMMANDS, *NEWS, *packet_classes().values()}
    assert len({cls.__name__ for cls in classes}) == len(classes)


@pytest.mark.parametrize("thing", THINGS, ids=lambda thing: f"{type(thing).__name__}")
def test_things_survive(thing):
    fresh = unplain(json.loads(json.dumps(plain(thing))))
    assert fresh == thing and type(fresh) is type(thing)
    for f in fields(thing):
        assert type(getattr(fresh, f.name)) is type(getattr(thing, f.name))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(st.text() | st.integers() | st.tuples(st.integers(), st.text()), inner, max_size=4),
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("thing", THINGS, ids=lambda thing: f"{type(thing).__name__}")
def test_things_are_slotted(thing):
    """Thousands of them are made a second."""
    assert not hasattr(thing, "__dict__")


@given(VALUES)
def test_values_survive(value):
    fresh = unplain(json.loads(json.dumps(plain(value))))
    assert fresh == value and repr(fresh) == repr(value)


@pytest.mark.parametrize("value", [{1, 2}, object(), lambda: 0])
def test_what_cannot_be_traced(value):
    with pytest.raises(AssertionError, match="cannot be traced"):
        plain(value)


def test_only_known_classes_are_made():
    with pytest.raises(KeyError):
        unplain({"is": "Stack", "layers": []})


# -- records


def test_files_of_today_are_those_of_tomorrow():
    """Runs are kept: a change here needs another MAGIC."""
    assert MAGIC == b"mol-trace-1\n" and (DELIVERED, VIEW, RELEASED, SEAL) == (0, 1, 2, 3)
    assert DELIVERY_RECORD.format == SEND_RECORD.format == "<IIIIQd"


def test_records_are_aligned_and_alike():
    """Eight-byte fields lie at multiples of eight, and a file is mapped as an array of records."""
    assert DELIVERY_RECORD.size == SEND_RECORD.size == 32
    assert ALIGNMENT % DELIVERY_RECORD.size == 0


def test_what_a_recorder_keeps():
    recorder = Recorder()
    recorder.record([], [Deliver(Block(0, 0, 1, 1, 1, b"x"))], 1.0)
    recorder.released(2.0)
    recorder.record([], [RecordMulticast(0, 2), Note("x"), Deliver(BLOCK), RecordMulticast(2, 1)], 2.5)
    recorder.record([], [Deliver(Block(2, 13, 1, 4, 78, b"....")), RecordMulticast(3, 1)], 4.0, late_s=0.25)
    recorder.record([], [RecordMulticast(4, 1)], 9000.0, late_s=8000.0)
    recorder.seal()
    deliveries, sends, steps = recorder.take()
    assert list(DELIVERY_RECORD.iter_unpack(deliveries)) == [
        (DELIVERED, 0, 0, 1, 1, 1.0),
        (RELEASED, 0, 0, 0, 0, 2.0),
        (DELIVERED, 2, 10, 3, 77, 0.5),
        (DELIVERED, 2, 13, 1, 78, 2.0),
        (SEAL, 0, 0, 0, 4, 0.0),
    ]
    assert list(SEND_RECORD.iter_unpack(sends)) == [
        (DELIVERED, 0, 2, 0, 1, 0.5),  # one delivery came before it,
        (DELIVERED, 2, 1, 0, 4, 0.5),  # and before this one three more
        (DELIVERED, 3, 1, 250_000, 5, 2.0),  # it should have been a quarter of a second before
        (DELIVERED, 4, 1, (1 << 32) - 1, 5, 8998.0),  # later than can be said
        (SEAL, 0, 0, 0, 4, 0.0),
    ]
    assert steps == "" and recorder.delivered == 5
    assert recorder.take() == (b"", b"", "")


def own(first, count=1):
    return Deliver(Block(3, first, count, 4, 5, b"...." * count))


def test_one_message_of_its_own_after_the_other_is_timed():
    """From when it was multicast to when it is delivered here; what is on its way counts once it takes longer."""
    recorder = Recorder(me=3)
    assert recorder.latency_s(1.0) is None
    recorder.released(10.0)
    recorder.record([], [RecordMulticast(0, 2)], 11.0)
    assert recorder.latency_s() is None and recorder.latency_s(11.25) == 0.25
    recorder.record([], [RecordMulticast(2, 1), Deliver(BLOCK)], 11.5)
    recorder.record([], [own(0, 2)], 12.0)
    assert recorder.latency_s() == recorder.latency_s(99.0) == 1.0, "number 2 is not the one that is timed"
    recorder.record([], [RecordMulticast(3, 1)], 13.0)
    recorder.record([], [own(2)], 13.25)
    assert (recorder.latency_s(), recorder.latency_s(13.5), recorder.latency_s(15.0)) == (1.0, 1.0, 2.0)
    recorder.record([], [own(3)], 15.5)
    assert recorder.latency_s(16.0) == 2.5


def test_nobody_is_timed_whose_recorder_is_nobodys():
    recorder = Recorder()
    recorder.record([], [RecordMulticast(0, 1), own(0)], 1.0)
    assert recorder.latency_s() is None


def test_what_is_taken_in_parts_is_the_same():
    whole, parts = Recorder("everything"), Recorder("everything")
    taken = []
    for step in range(5):
        for recorder in (whole, parts):
            recorder.record([TimerFired("x", step)], [Deliver(BLOCK), RecordMulticast(step, 1)], float(step))
        taken.append(parts.take())
    whole.seal()
    parts.seal()
    taken.append(parts.take())
    assert whole.take() == (
        b"".join(part[0] for part in taken), b"".join(part[1] for part in taken), "".join(part[2] for part in taken),
    )  # fmt: skip


def test_steps_can_be_read_back():
    recorder = Recorder("everything")
    turn, effects = [THINGS[1], THINGS[2]], [THINGS[8], Deliver(BLOCK)]
    recorder.record(turn, effects, 0.5)
    recorder.record([], [], 0.75)
    first, second = map(json.loads, recorder.take()[2].splitlines())
    assert (first["step"], first["time_s"], second["step"], second["time_s"]) == (0, 0.5, 1, 0.75)
    assert unplain(first["turn"]) == turn and unplain(first["effects"]) == effects


def test_the_door_writes_down_what_went_through_it():
    """Also of steps that a whole stack makes: read back, they are what went in and what came out."""
    run = run_settings("lamport_all_ack", trace="everything")
    host = Host(build_stack(run, 0), Recorder(run.trace))
    turns = [
        [Started(entropy=bytes(32))],
        [Answered("group_manager", {"endpoints": {"p1": ["10.0.0.2", 1]}})],
        [Commanded(Release("r"))],
        [TimerFired("steady", "gap")],
    ]
    made = [host.step(turn, float(at)) for at, turn in enumerate(turns)]
    assert any(made)
    lines = [json.loads(line) for line in host.recorder.take()[2].splitlines()]
    assert [unplain(line["turn"]) for line in lines] == turns
    assert [unplain(line["effects"]) for line in lines] == made


# -- files


@given(st.dictionaries(st.text(max_size=9), st.integers() | st.text(max_size=99), max_size=9))
def test_headers_are_aligned(header):
    packed = pack_header(header)
    assert len(packed) % ALIGNMENT == 0 and packed.startswith(MAGIC) and packed.endswith(b"\n")
    assert packed.count(b"\n") == 2  # nothing in a header can end its line


def test_headers_can_be_read_back(tmp_path):
    header = {"peer": 3, "settings": {"name": "ä\nö"}, "list": [1, 2]}
    packed = pack_header(header)
    file = tmp_path / "trace-3.bin"
    file.write_bytes(packed + DELIVERY_RECORD.pack(DELIVERED, 1, 2, 3, 4, 5.0))
    assert read_header(file) == (header, len(packed))


@pytest.mark.parametrize(
    "data, sentence",
    [
        (b"", "is not a trace file of this lab"),
        (b"#!/bin/sh\n", "is not a trace file of this lab"),
        (MAGIC[:-1], "is not a trace file of this lab"),
        (pack_header({"peer": 1})[:-1], "is cut inside its header"),
    ],
)
def test_files_that_are_none(data, sentence, tmp_path):
    (tmp_path / "some.bin").write_bytes(data)
    with pytest.raises(ValueError, match=f"some.bin {sentence}"):
        read_header(tmp_path / "some.bin")


def test_a_file_without_seal_was_cut():
    recorder = Recorder()
    recorder.record([], [Deliver(BLOCK)], 1.0)
    file = pack_header({}) + recorder.take()[0]
    with pytest.raises(AssertionError, match="not sealed"):
        records(file, DELIVERY_RECORD)
    recorder.seal()
    assert records(file + recorder.take()[0], DELIVERY_RECORD) == [(DELIVERED, 2, 10, 3, 77, 1.0)]

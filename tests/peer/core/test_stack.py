"""The stack: one queue and no re-entrant calls, events routed past who does not care, two sweeps at a turn's end."""

from dataclasses import dataclass, field

import pytest

from peer.core.blocks import Block
from peer.core.commands import Close, Release
from peer.core.effects import (
    Ask,
    CancelTimer,
    Deliver,
    Finish,
    Note,
    RecordMulticast,
    Report,
    Save,
    SetTimer,
    Transmit,
)
from peer.core.events import Answered, Commanded, Moved, PacketArrived, Started, TimerFired
from peer.core.layer import Layer
from peer.core.news import Located, PairReady, Settled
from peer.core.requests import Connect, MulticastBlock, Send, SendAll, SendTo
from peer.core.stack import Stack
from peer.core.wire import Packet

MEMBERS = (0, 1, 2)


@dataclass(slots=True)
class Ping(Packet):
    """What the middle layer eats."""

    number: int = 0


@dataclass(slots=True)
class Pong(Packet):
    """What the top layer eats."""

    number: int = 0


@dataclass(slots=True)
class Stranger(Packet):
    """What nobody eats."""


@dataclass(slots=True)
class Told:
    """A layer that writes down what it is told, and never finds itself inside another handler."""

    diary: list
    inside: list

    def note(self, layer, handler, item=None):
        self.diary.append((layer, handler, item))


class Diarist(Layer):
    """Writes everything into a diary that all layers share; `answers` says what it does then."""

    __slots__ = ("name", "told", "answers")

    def __init__(self, name, told, **answers):
        self.name, self.told, self.answers = name, told, answers

    def _live(self, handler, item, out):
        assert not self.told.inside, f"{self.name}.{handler} was called inside {self.told.inside}"
        self.told.inside.append((self.name, handler))
        self.told.note(self.name, handler, item)
        self.answers.get(handler, lambda item, out: None)(item, out)
        self.told.inside.pop()

    def start(self, out):
        self._live("start", None, out)


def handler(name, has_item=True):
    if has_item:
        return lambda self, item, out: self._live(name, item, out)
    return lambda self, out: self._live(name, None, out)


HANDLERS = {
    "on_request": True, "on_arrival": True, "on_news": True, "on_delivery": True, "on_command": True,
    "on_answer": True, "on_moved": True, "on_timer": True, "on_turn": False, "on_flush": False,
}  # fmt: skip


def diarist(name, told, handlers="", **tables_and_answers):
    """A layer with just these handlers."""
    tables = {key: tables_and_answers.pop(key) for key in ("packets", "requests", "news") if key in tables_and_answers}
    own = {each: handler(each, HANDLERS[each]) for each in handlers.split()}
    return type(name, (Diarist,), {**own, **tables, "__slots__": ()})(name, told, **tables_and_answers)


@pytest.fixture
def told():
    return Told([], [])


def handlers_called(told):
    return [(layer, handler) for layer, handler, _ in told.diary]


# -- one queue


def test_what_a_handler_asks_for_happens_after_it(told):
    def both_ways(arrival, out):
        out.tell(Settled(1))
        out.down(Connect(1))
        out.up(PacketArrived(1, Pong()))
        out.note("done")

    stack = Stack(
        [
            diarist("low", told, "on_request", requests=(Connect,), on_request=lambda _, out: out.note("connected")),
            diarist("middle", told, "on_arrival", packets=(Ping,), on_arrival=both_ways),
            diarist("high", told, "on_arrival on_news", packets=(Pong,), news=(Settled,)),
        ],
        0,
        MEMBERS,
    )
    effects = stack.handle([PacketArrived(1, Ping())])
    assert handlers_called(told) == [
        ("middle", "on_arrival"), ("high", "on_news"), ("low", "on_request"), ("high", "on_arrival"),
    ]  # fmt: skip
    assert effects == [Note("done", {}), Note("connected", {})]


def test_long_conversations_need_no_deep_stack(told):
    """Two layers answer each other ten thousand times; recursion would have ended long before."""

    def down(news, out):
        if news.blocks:
            out.down(SendTo(news.blocks, None))

    def up(request, out):
        out.tell(Settled(request.peer - 1))

    stack = Stack(
        [
            diarist("low", told, "on_request", requests=(SendTo,), on_request=up),
            diarist("high", told, "on_news", news=(Settled,), on_news=down),
        ],
        0,
        MEMBERS,
    )
    stack.ask(SendTo(10_000, None))
    assert len(told.diary) == 20_000 and stack.sweep() == []


def test_events_of_a_turn_are_played_out_one_after_the_other(told):
    def pass_on(arrival, out):
        out.up(PacketArrived(1, Pong(arrival.packet.number)))

    stack = Stack(
        [
            diarist("low", told, "on_arrival on_turn", packets=(Ping,), on_arrival=pass_on),
            diarist("high", told, "on_arrival on_turn", packets=(Pong,)),
        ],
        0,
        MEMBERS,
    )
    stack.handle([PacketArrived(1, Ping(1)), PacketArrived(2, Ping(2))])
    assert handlers_called(told) == [
        ("low", "on_arrival"), ("high", "on_arrival"), ("low", "on_arrival"), ("high", "on_arrival"),
        ("low", "on_turn"), ("high", "on_turn"),
    ]  # fmt: skip


def test_effects_belong_to_one_turn(told):
    stack = Stack([diarist("one", told, "on_timer", on_timer=lambda key, out: out.note(key))], 0, MEMBERS)
    first = stack.handle([TimerFired("one", "a"), TimerFired("one", "b")])
    second = stack.handle([TimerFired("one", "c")])
    assert first == [Note("a"), Note("b")] and second == [Note("c")]


# -- the sweeps


def test_sweeps_go_up_and_then_down(told):
    stack = Stack([diarist(name, told, "on_turn on_flush") for name in ("low", "middle", "high")], 0, MEMBERS)
    stack.handle([Commanded(Release())])
    assert handlers_called(told) == [
        ("low", "on_turn"), ("middle", "on_turn"), ("high", "on_turn"),
        ("high", "on_flush"), ("middle", "on_flush"), ("low", "on_flush"),
    ]  # fmt: skip


def test_what_a_sweep_causes_happens_before_the_next_layer_is_swept(told):
    def tells(_, out):
        out.tell(Settled(1))

    def asks(_, out):
        out.down(SendAll(None))

    stack = Stack(
        [
            diarist("low", told, "on_turn on_request on_flush", requests=(SendAll,), on_turn=tells),
            diarist("high", told, "on_news on_turn on_flush", news=(Settled,), on_flush=asks),
        ],
        0,
        MEMBERS,
    )  # fmt: skip
    stack.handle([])
    assert handlers_called(told) == [
        ("low", "on_turn"), ("high", "on_news"), ("high", "on_turn"),
        ("high", "on_flush"), ("low", "on_request"), ("low", "on_flush"),
    ]  # fmt: skip


def test_feeding_does_not_end_the_turn(told):
    stack = Stack([diarist("one", told, "on_timer on_turn", on_timer=lambda key, out: out.note(key))], 0, MEMBERS)
    stack.feed([TimerFired("one", "a")])
    stack.feed([TimerFired("one", "b")])
    assert handlers_called(told) == [("one", "on_timer")] * 2
    assert stack.sweep() == [Note("a"), Note("b")]
    assert handlers_called(told)[-1] == ("one", "on_turn")


# -- routes


def test_packets_go_to_who_eats_them(told):
    stack = Stack(
        [
            diarist("low", told, "on_arrival", packets=(Ping,)),
            diarist("middle", told),
            diarist("high", told, "on_arrival", packets=(Pong,)),
        ],
        0,
        MEMBERS,
    )
    assert stack.handle([PacketArrived(1, Pong(5)), PacketArrived(2, Ping(6))]) == []
    assert told.diary == [
        ("high", "on_arrival", PacketArrived(1, Pong(5))), ("low", "on_arrival", PacketArrived(2, Ping(6))),
    ]  # fmt: skip


def test_a_packet_that_nobody_eats_is_noted(told):
    stack = Stack([diarist("low", told, "on_arrival", packets=(Ping,))], 0, MEMBERS)
    assert stack.handle([PacketArrived(2, Stranger())]) == [Note("uneaten", {"packet": "Stranger", "source": 2})]
    assert told.diary == []


def test_a_packet_does_not_go_down(told):
    """Handed up by the top layer, a packet of a class that a lower one eats is nobody's."""
    up = {"on_timer": lambda key, out: out.up(PacketArrived(1, Ping()))}
    stack = Stack(
        [diarist("low", told, "on_arrival", packets=(Ping,)), diarist("high", told, "on_timer", **up)], 0, MEMBERS
    )
    effects = stack.handle([TimerFired("high", None)])
    assert effects == [Note("uneaten", {"packet": "Ping", "source": 1})]


def test_requests_go_to_the_nearest_below(told):
    stack = Stack(
        [
            diarist("lowest", told, "on_request", requests=(SendTo, Connect)),
            diarist("low", told, "on_request", requests=(SendTo,)),
            diarist("middle", told),
            diarist("high", told, "on_timer", on_timer=lambda key, out: out.down(key)),
        ],
        0,
        MEMBERS,
    )
    stack.handle([TimerFired("high", SendTo(1, None)), TimerFired("high", Connect(2))])
    requests = [(layer, item) for layer, handler, item in told.diary if handler == "on_request"]
    assert requests == [("low", SendTo(1, None)), ("lowest", Connect(2))]


def test_what_no_layer_takes_the_network_does(told):
    asks = [Send(1, Ping(1)), SendTo(2, Ping(2)), SendAll(Ping(3)), Connect(1)]
    stack = Stack([diarist("one", told, "on_timer", on_timer=lambda key, out: out.down(key))], 1, MEMBERS)
    effects = stack.handle([TimerFired("one", each) for each in asks])
    assert effects == [Transmit(1, Ping(1)), Transmit(2, Ping(2)), Transmit(0, Ping(3)), Transmit(2, Ping(3))]
    with pytest.raises(AssertionError, match="no layer below takes"):
        stack.handle([TimerFired("one", MulticastBlock(0, 1, 1, b"x"))])


def test_sending_is_asking_the_overlay_where_there_is_one(told):
    def top():
        return diarist("top", told, "on_timer", on_timer=lambda key, out: out.send(1, Ping(key)))

    assert Stack([top()], 0, MEMBERS).handle([TimerFired("top", 4)]) == [Transmit(1, Ping(4))]
    routed = Stack([diarist("overlay", told, "on_request", requests=(Send,)), top()], 0, MEMBERS)
    assert routed.handle([TimerFired("top", 5)]) == []
    assert told.diary[-1] == ("overlay", "on_request", Send(1, Ping(5)))


def test_news_go_to_the_nearest_above_or_leave(told):
    def tell(key, out):
        out.tell(key)

    stack = Stack(
        [
            diarist("low", told, "on_timer", on_timer=tell),
            diarist("middle", told),
            diarist("high", told, "on_news on_timer", news=(Located,), on_timer=tell),
            diarist("highest", told, "on_news", news=(Located,)),
        ],
        0,
        MEMBERS,
    )
    effects = stack.handle([TimerFired("low", Located(1)), TimerFired("low", PairReady(2))])
    assert ("high", "on_news", Located(1)) in told.diary and ("highest", "on_news", Located(1)) not in told.diary
    assert effects == [Report(PairReady(2))]
    stack.handle([TimerFired("high", Located(2))])
    assert told.diary[-1] == ("highest", "on_news", Located(2))


def test_deliveries_pass_by_who_does_not_care(told):
    block = Block(1, 0, 1, 1, 1, b"x")
    stack = Stack(
        [
            diarist("ordering", told, "on_timer", on_timer=lambda key, out: out.deliver(block)),
            diarist("between", told),
            diarist("top", told, "on_delivery", on_delivery=lambda block, out: out.deliver(block)),
        ],
        0,
        MEMBERS,
    )
    assert stack.handle([TimerFired("ordering", None)]) == [Deliver(block)]
    assert handlers_called(told) == [("ordering", "on_timer"), ("top", "on_delivery")]


def test_the_other_events(told):
    stack = Stack(
        [
            diarist("low", told, "on_command on_answer on_moved on_timer"),
            diarist("middle", told),
            diarist("high", told, "on_command on_answer on_timer"),
        ],
        0,
        MEMBERS,
    )
    stack.handle([Started(entropy=b"e")])
    assert handlers_called(told) == [("low", "start"), ("middle", "start"), ("high", "start")]
    told.diary.clear()
    stack.handle([Commanded(Close("r")), Answered("service", 5), Moved(1, ("10.0.0.1", 7)), TimerFired("low", "k")])
    assert told.diary == [
        ("low", "on_command", Close("r")), ("high", "on_command", Close("r")),
        ("low", "on_answer", Answered("service", 5)), ("high", "on_answer", Answered("service", 5)),
        ("low", "on_moved", Moved(1, ("10.0.0.1", 7))),
        ("low", "on_timer", "k"),
    ]  # fmt: skip


def test_what_a_layer_can_do(told):
    def everything(key, out):
        out.set_timer("a", 1.0)
        out.set_timer("b", 1.0, 2.0)
        out.cancel_timer("a")
        out.ask("service", {"op": "x"})
        out.save("key", 5)
        out.save("log", b"x", append=True)
        out.note("note", number=1)
        out.record_multicast(3, 2)
        out.effects.append(Finish("done"))

    stack = Stack([diarist("one", told, "on_timer", on_timer=everything)], 0, MEMBERS)
    assert stack.handle([TimerFired("one", None)]) == [
        SetTimer("one", "a", 1.0, 1.0), SetTimer("one", "b", 1.0, 2.0), CancelTimer("one", "a"),
        Ask("service", {"op": "x"}), Save("one", "key", 5, False), Save("one", "log", b"x", True),
        Note("note", {"number": 1}), RecordMulticast(3, 2), Finish("done"),
    ]  # fmt: skip


def test_what_a_layer_is_told_of_itself(told):
    seen = []

    def look(_, out):
        seen.append((out.me, out.members, out.others, out.entropy, out.saved))

    stack = Stack([diarist("one", told, start=look)], 1, MEMBERS)
    stack.handle([Started(saved={"one": {"term": 3}, "two": {"x": 1}}, entropy=b"bits")])
    assert seen == [(1, MEMBERS, (0, 2), b"bits", {"term": 3})]


# -- gates


@dataclass(slots=True)
class Gate(Layer):
    """Holds everything until it hears a Ping."""

    name = "gate"
    packets = (Ping,)
    gate = True

    shut: bool = True
    kept: list = field(default_factory=list)

    def on_arrival(self, arrival, out):
        if type(arrival.packet) is not Ping:
            self.kept.append(arrival)
            return
        for kept in self.kept:
            out.up(kept)
        self.kept = []
        self.shut = False
        out.open_gate()


def test_a_gate_sees_all_packets_until_it_opens(told):
    gate = Gate()
    low = diarist("low", told, "on_arrival", packets=(Stranger,))
    stack = Stack([low, gate, diarist("high", told, "on_arrival", packets=(Pong,))], 0, MEMBERS)
    stack.handle([PacketArrived(1, Pong(1)), PacketArrived(1, Pong(2))])
    assert told.diary == [] and len(gate.kept) == 2
    stack.handle([PacketArrived(2, Stranger())])  # what a layer below eats never came to the gate
    assert handlers_called(told) == [("low", "on_arrival")]
    stack.handle([PacketArrived(1, Ping()), PacketArrived(1, Pong(3))])
    assert [item.packet.number for layer, _, item in told.diary if layer == "high"] == [1, 2, 3]
    stack.handle([PacketArrived(1, Pong(4)), PacketArrived(1, Ping())])
    assert told.diary[-1][2].packet.number == 4 and gate.kept == []


def test_two_gates_one_above_the_other(told):
    lower, upper = Gate(), Gate()
    stack = Stack([lower, upper, diarist("high", told, "on_arrival", packets=(Pong,))], 0, MEMBERS)
    stack.handle([PacketArrived(1, Pong(1))])
    assert len(lower.kept) == 1 and upper.kept == []
    lower.shut = True
    stack.handle([PacketArrived(1, Ping())])
    assert lower.kept == [] and len(upper.kept) == 1 and told.diary == []


# -- what is asked of the whole stack


def test_layers_by_name_what_they_hold_and_lack(told):
    class Holding(Diarist):
        __slots__ = ()

        def held(self):
            return {f"in {self.name}": 3}

        def waits_for(self, out):
            return [2, 1] if self.name == "low" else [2]

    low, high = Holding("low", told), Holding("high", told)
    stack = Stack([low, high], 0, MEMBERS)
    assert stack.layer("high") is high
    assert stack.held() == {"in low": 3, "in high": 3} and stack.waits_for() == [1, 2]
    empty = Stack([diarist("one", told)], 0, MEMBERS)
    assert empty.held() == {} and empty.waits_for() == []

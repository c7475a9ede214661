"""The explorer leaves nothing out and adds nothing: it comes to the states that a search without short cuts finds."""

from collections import Counter

import pytest

from experiments.explorer.model import model_of
from experiments.explorer.search import Search
from experiments.explorer.state import Recorded, Space
from peer.core.events import PacketArrived
from peer.core.layer import freeze, thaw
from tests.explorer.naive import Naive

CASES = [
    ("lamport_all_ack", "explicit", "fifo", 2, 1),
    ("lamport_all_ack", "promise", "fifo", 2, 2),
    ("lamport_all_ack", "textbook", "fifo", 2, 1),
    ("lamport_all_ack", "promise", "reliable", 2, 1),
    ("fixed_sequencer", None, "fifo", 2, 2),
    ("fixed_sequencer", None, "fifo", 3, 1),
    ("fifo", None, "reliable", 2, 2),
    ("fifo", None, "datagrams", 2, 1),
    ("unordered", None, "datagrams", 2, 1),
]
SLOW = [
    ("lamport_all_ack", "explicit", "fifo", 2, 2),
    ("lamport_all_ack", "textbook", "fifo", 2, 2),
    ("fixed_sequencer", None, "datagrams", 2, 2),
]


@pytest.mark.parametrize("case", [*CASES, *[pytest.param(case, marks=pytest.mark.slow) for case in SLOW]], ids=str)
def test_the_same_states(case):
    """Compared is all that shows: logs, deliveries before each multicast, what is under way; and how many are alike."""
    model = model_of(*case)
    assert explored(model) == naive(model)


def explored(model):
    search = Search(model, (), 10**6, None)
    search.space = space = Space(model, Recorded())
    assert search.run().exhausted
    events = [freeze(event) for event in space.events.all]

    def shown(peer, situation):
        history, (_, inbox) = peer.histories[peer.history_of[situation]], peer.situations[situation]
        if model.network.keeps_order:
            return history.log, history.after, tuple(events[number] for queue in inbox for number in queue), 0
        copies, *numbers = inbox
        return history.log, history.after, in_any_order(events[number] for number in numbers), copies

    states = ([*zip(space.peers, space.situations(state))] for state in search.parents)
    return Counter(tuple(shown(peer, situation) for peer, situation in state) for state in states)


def naive(model):
    def shown(local):
        _, _, log, after, inbox, copies = local
        arrivals = [freeze(PacketArrived(source, thaw(packet))) for source, packet in inbox]
        return log, after, tuple(arrivals) if model.network.keeps_order else in_any_order(arrivals), copies

    return Counter(tuple(shown(local) for local in state) for state in Naive(model).states())


def in_any_order(frozen):
    return tuple(sorted(frozen, key=repr))

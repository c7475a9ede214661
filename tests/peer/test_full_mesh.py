"""Overlay `full_mesh`: a pair with everybody, and one word when all of them are ready."""

from peer.core.events import Started, TimerFired
from peer.core.layer import Layer
from peer.core.news import GroupReady, PairReady
from peer.core.requests import Connect
from peer.core.stack import Stack
from peer.overlay.full_mesh import FullMesh


class Pairs(Layer):
    """Below the overlay: notes what is asked for, and makes ready whom the test says."""

    name = "pairs"
    requests = (Connect,)
    __slots__ = ("wanted",)

    def __init__(self):
        self.wanted = []

    def on_request(self, request, out):
        self.wanted.append(request.peer)

    def on_timer(self, key, out):
        out.tell(PairReady(key))


def stack_of(members, me=0):
    pairs = Pairs()
    stack = Stack([pairs, FullMesh()], me, members)
    effects = stack.handle([Started()])

    def becomes_ready(peer):
        return [effect.news for effect in stack.handle([TimerFired("pairs", peer)])]

    return pairs, stack, effects, becomes_ready


def test_wants_a_pair_with_everybody_else():
    pairs, _, effects, _ = stack_of((0, 1, 2, 3), me=2)
    assert pairs.wanted == [0, 1, 3] and effects == []


def test_says_once_that_all_are_reached():
    _, stack, _, becomes_ready = stack_of((0, 1, 2))
    assert stack.waits_for() == [1, 2]
    assert becomes_ready(2) == [] and stack.waits_for() == [1]
    assert becomes_ready(2) == []  # counted once
    assert becomes_ready(1) == [GroupReady()] and stack.waits_for() == []
    assert becomes_ready(1) == []


def test_alone_everybody_is_reached_at_once():
    _, _, effects, _ = stack_of((0,))
    assert [effect.news for effect in effects] == [GroupReady()]

"""Which process belongs to a run: everybody is told when it begins, and another one of the same name is not let in."""

from __future__ import annotations

import pytest

from comparison_server.coordinator import HANDSHAKE, UPLOAD, Coordinator
from peer.core.commands import Close, Prepare
from tests.runs import run_settings

NAMES = ("p0", "p1", "p2")


def started(**incarnations: str) -> Coordinator:
    """A run whose members are there, in the order given."""
    coordinator = Coordinator()
    for name, incarnation in incarnations.items():
        coordinator.joined(name, 0.0, incarnation=incarnation)
    coordinator.start("r1", run_settings(peers=3), True, {}, 0.0, {})
    return coordinator


def test_everybody_is_told_the_process_of_everybody_who_is_there():
    commands = started(p1="b", p0="a", other="x").take()
    assert [name for name, _ in commands] == list(NAMES)
    assert all(type(command) is Prepare for _, command in commands)
    assert [command.incarnations for _, command in commands] == [{"p0": "a", "p1": "b"}] * 3


def test_the_same_process_that_missed_it_is_prepared_again():
    coordinator = started(p0="a", p1="b", p2="c")
    coordinator.left("p1", 1.0)
    coordinator.take()
    coordinator.joined("p1", 2.0, incarnation="b")
    (again,) = coordinator.take()
    assert again == ("p1", Prepare("r1", 1, {}, {}, {"p0": "a", "p1": "b", "p2": "c"}))
    assert coordinator.phase == HANDSHAKE and coordinator.error is None


def test_another_process_ends_the_run_by_name_instead_of_a_handshake_that_cannot_end():
    coordinator = started(p0="a", p1="b", p2="c")
    coordinator.left("p1", 1.0)
    coordinator.take()
    coordinator.joined("p1", 2.0, incarnation="d")
    assert coordinator.phase == UPLOAD and coordinator.error.peers == ["p1"]
    assert str(coordinator.error).startswith("p1 was started anew")
    assert coordinator.take() == [("p0", Close("r1")), ("p2", Close("r1"))]


@pytest.mark.parametrize("incarnation", ["c", "d"])
def test_who_comes_late_is_prepared_whichever_process_it_is(incarnation):
    coordinator = started(p0="a", p1="b")
    coordinator.take()
    coordinator.joined("p2", 2.0, incarnation=incarnation)
    ((name, command),) = coordinator.take()
    assert name == "p2" and command.incarnations == {"p0": "a", "p1": "b"} and coordinator.error is None

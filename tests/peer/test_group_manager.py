"""Discovery `group_manager`: asks until all are known, and follows who moves."""

from peer.core.effects import Ask, Locate, Report, SetTimer
from peer.core.events import Answered, Moved, Started, TimerFired
from peer.core.news import Located
from peer.core.stack import Stack
from peer.discovery.group_manager import SERVICE, GroupManager
from tests.table import Table

NAMES = ("p0", "p1", "p2")
AGAIN = TimerFired("group_manager", "again")


def stack_of(me=0):
    stack = Stack([GroupManager(NAMES)], me, (0, 1, 2))
    return stack, stack.handle([Started()])


def answer(**endpoints):
    return Answered(SERVICE, {"ok": True, "endpoints": {name: list(endpoint) for name, endpoint in endpoints.items()}})


def asked(effects):
    return [effect.question["names"] for effect in effects if type(effect) is Ask]


def located(effects):
    return [(effect.peer, effect.endpoint) for effect in effects if type(effect) is Locate]


def told(effects):
    return [effect.news for effect in effects if type(effect) is Report]


def test_asks_for_everybody_else():
    _, effects = stack_of(me=1)
    assert effects[0] == Ask(SERVICE, {"op": "where", "names": ["p0", "p2"]})
    assert [type(effect) for effect in effects] == [Ask, SetTimer]


def test_asks_again_for_who_is_missing():
    stack, _ = stack_of()
    effects = stack.handle([answer(p1=("10.0.0.1", 5))])
    assert effects == [Locate(1, ("10.0.0.1", 5)), Report(Located(1))]
    assert asked(stack.handle([AGAIN])) == [["p2"]]
    assert asked(stack.handle([AGAIN])) == [["p2"]]  # and again, for as long as it takes
    stack.handle([answer(p2=("10.0.0.2", 5))])
    assert stack.handle([AGAIN]) == []


def test_a_lost_answer_is_asked_for_again():
    stack, _ = stack_of()
    assert asked(stack.handle([AGAIN])) == [["p1", "p2"]]


def test_an_answer_that_comes_twice_says_nothing_new():
    stack, _ = stack_of()
    stack.handle([answer(p1=("10.0.0.1", 5))])
    assert stack.handle([answer(p1=("10.0.0.1", 5))]) == []


def test_who_moves_is_followed():
    stack, _ = stack_of()
    stack.handle([answer(p1=("10.0.0.1", 5))])
    moved = stack.handle([Moved(1, ("10.9.9.9", 6))])
    assert located(moved) == [(1, ("10.9.9.9", 6))] and told(moved) == []
    assert located(stack.handle([answer(p1=("10.0.0.3", 7))])) == [(1, ("10.0.0.3", 7))]


def test_who_is_heard_of_before_the_answer_comes_is_known():
    stack, _ = stack_of()
    assert told(stack.handle([Moved(2, ("10.0.0.2", 5))])) == [Located(2)]
    assert asked(stack.handle([AGAIN])) == [["p1"]]


def test_strangers_oneself_and_other_services_are_left_aside():
    stack, _ = stack_of()
    assert stack.handle([answer(nobody=("10.0.0.9", 5), p0=("10.0.0.7", 5))]) == []
    assert stack.handle([Moved(0, ("10.0.0.7", 5))]) == []
    assert stack.handle([Answered("another", {"endpoints": {"p1": ["10.0.0.1", 5]}})]) == []
    assert stack.handle([Answered(SERVICE, {"ok": False, "code": "malformed"})]) == []
    assert asked(stack.handle([AGAIN])) == [["p1", "p2"]]


def test_alone_there_is_nobody_to_ask_for():
    assert Stack([GroupManager(("p0",))], 0, (0,)).handle([Started()]) == []


def test_with_the_real_register():
    table = Table([[GroupManager(NAMES)] for _ in NAMES]).start()
    found = [[news.peer for news in table.told(me, Located)] for me in range(3)]
    assert found == [[1, 2], [0, 2], [0, 1]]


def test_a_member_that_registers_late_is_found():
    table = Table([[GroupManager(NAMES)] for _ in NAMES])
    table.manager.handle({"op": "unregister", "name": "p2"}, 0.0)
    table.start().pass_time(3.0)
    assert [news.peer for news in table.told(0, Located)] == [1]
    table.manager.handle({"op": "register", "name": "p2", "endpoint": ["10.0.0.1", 9]}, 0.0)
    table.settle()
    assert [news.peer for news in table.told(0, Located)] == [1, 2]

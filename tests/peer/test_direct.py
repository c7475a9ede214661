"""Link `direct`: a body is a packet, and what becomes of it is nobody's business."""

from peer.core.news import Settled
from peer.core.requests import SendAll, SendTo
from peer.links.direct import Direct
from tests.table import Listener, Table, Word


def table_of(peers=2, fates=""):
    return Table([[Direct(), Listener()] for _ in range(peers)], fates)


def test_bodies_go_as_they_are():
    table = table_of().ask(0, SendTo(1, Word("a")), SendTo(1, Word("b")))
    assert table.sent == [(0, 1, Word("a")), (0, 1, Word("b"))]
    assert table.carry().heard(1) == ["a", "b"]


def test_what_the_network_does_stays_done():
    table = table_of(fates=".x2<.").ask(0, *[SendTo(1, Word(text)) for text in "abcde"])
    assert table.settle().heard(1) == ["a", "c", "c", "e", "d"]
    assert len(table.sent) == 5


def test_everybody_else_gets_what_is_for_all():
    table = table_of(peers=3).ask(1, SendAll(Word("a"))).carry()
    assert [table.heard(me) for me in range(3)] == [["a"], [], ["a"]]


def test_own_blocks_are_settled_at_once():
    table = table_of(peers=3, fates="xxx").ask(0, SendAll(Word("a"), own=True), SendAll(Word("b")))
    assert table.told(0, Settled) == [Settled(1)]


def test_alone_as_well():
    table = table_of(peers=1).ask(0, SendAll(Word("a"), own=True))
    assert table.told(0, Settled) == [Settled(1)] and table.sent == []

"""The switchboard's bounds: who gets a place, who has to make room, and what happens when the system has none."""

import errno
import socket
from time import monotonic

import pytest

from peer.drivers import switchboard
from peer.drivers.control import Connection
from peer.drivers.switchboard import BROKEN, Switchboard
from tests.control_client import Client, ends, raw, reads_little, until

KEY = bytes(range(32))


class Echo:
    """A switchboard that sends every message back, and keeps what came."""

    def __init__(self, **options):
        self.board = Switchboard(("127.0.0.1", 0), KEY, **options)
        self.heard = []

    def poll(self, timeout_s=0.01):
        for connection, message, tail in self.board.poll(timeout_s):
            self.heard.append(message)
            if message is not BROKEN:
                self.board.send(connection, message, tail)

    def client(self):
        return Client(self.board.endpoint, KEY, self.poll)


@pytest.fixture
def echo():
    echo = Echo(most_connections=4)
    yield echo
    echo.board.close()


def test_messages_and_their_tails_come_back(echo):
    client = echo.client()
    client.connection.send({"a": 1}, b"tail")
    until(lambda: client.inbox, client._step)
    assert client.inbox == [({"a": 1}, b"tail")]


@pytest.mark.parametrize("message", [None, False, 0, "", [], {}])
def test_no_message_is_taken_for_the_end_of_a_connection(echo, message):
    client = echo.client()
    assert client.ask(message) == message and client.ask("next") == "next"
    assert BROKEN not in echo.heard


def test_a_connection_that_breaks_is_told_once(echo):
    client = echo.client()
    client.ask("here")
    client.connection.close()
    until(lambda: BROKEN in echo.heard, echo.poll)
    for _ in range(3):
        echo.poll()
    assert echo.heard == ["here", BROKEN]


def test_who_has_shown_no_key_makes_room(echo):
    proven = [echo.client() for _ in range(3)]
    for client in proven:
        client.ask("here")
    idle = raw(echo.board.endpoint)
    echo.poll()
    late = echo.client()
    assert late.ask("me too") == "me too"
    assert ends(idle, echo.poll)
    assert all(client.ask("still") == "still" for client in proven)


def test_who_has_shown_the_key_is_never_turned_out(echo):
    proven = [echo.client() for _ in range(4)]
    for client in proven:
        client.ask("here")
    with raw(echo.board.endpoint) as late:
        assert ends(late, echo.poll)
    assert all(client.ask("still") == "still" for client in proven)
    proven[0].connection.close()
    until(lambda: BROKEN in echo.heard, echo.poll)
    assert echo.client().ask("now") == "now"


def test_a_flood_of_connections_leaves_no_more_than_the_bound(echo):
    keeper = echo.client()
    keeper.ask("here")
    flood = []
    for _ in range(50):
        flood.append(raw(echo.board.endpoint))
        echo.poll(0)
        assert len(echo.board._lines) <= 4
    assert keeper.ask("still") == "still"
    for sock in flood:
        sock.close()


def test_who_says_nothing_in_time_is_dropped(echo, monkeypatch):
    monkeypatch.setattr(switchboard, "PROOF_S", 0.1)
    speaking = echo.client()
    speaking.ask("here")
    with raw(echo.board.endpoint) as silent:
        assert ends(silent, echo.poll)
    assert speaking.ask("still") == "still"


def test_the_reason_why_somebody_was_turned_away_is_kept(echo):
    stranger = Client(echo.board.endpoint, bytes(32), echo.poll)
    stranger.connection.send("hello")
    stranger.is_closed()
    assert "another key" in echo.board.trouble


def test_when_the_system_has_no_room_it_neither_spins_nor_stays_deaf(echo, monkeypatch):
    monkeypatch.setattr(switchboard, "DEAF_S", 0.2)
    listener = echo.board._listener

    class Full:
        calls = 0

        def fileno(self):
            return listener.fileno()

        def accept(self):
            self.calls += 1
            if self.calls == 1:
                raise OSError(errno.EMFILE, "Too many open files")
            return listener.accept()

        getsockname = listener.getsockname
        close = listener.close

    echo.board._selector.unregister(listener)
    echo.board._listener = full = Full()
    echo.board._selector.register(full, 1)
    waiting = raw(echo.board.endpoint)
    echo.poll(1)
    assert full.calls == 1
    began = monotonic()
    echo.poll(0.1)
    assert monotonic() - began > 0.05, "it went on knocking at a full system"
    waiting.close()
    assert echo.client().ask("hello") == "hello"


def test_more_than_it_takes_is_queued_and_sent_when_there_is_room():
    echo = Echo()
    client = echo.client().greeted()
    reads_little(client.connection.socket)
    parts = 100
    for number in range(parts):  # nobody reads meanwhile: more than both sockets' buffers hold
        client.connection.send(number, bytes(100_000))
    until(lambda: len(echo.heard) == parts, lambda: (echo.poll(), client.connection.write()))
    assert not echo.board.flushed()
    until(lambda: len(client.inbox) == parts, client._step)
    assert [message for message, _ in client.inbox] == list(range(parts))
    assert all(tail == bytes(100_000) for _, tail in client.inbox)
    assert echo.board.flushed()
    echo.board.close()


def test_a_dropped_connection_is_not_heard_any_more(echo):
    client = echo.client().greeted()
    for number in range(3):
        client.connection.send(number)
    heard = []

    def poll():
        for connection, message, _ in echo.board.poll(0.01):
            heard.append(message)
            echo.board.drop(connection, "enough")

    until(lambda: heard, poll)
    for _ in range(3):
        poll()
    assert heard == [0]


def test_a_silent_death_is_noticed_by_the_system(echo):
    """Probes go out on an idle connection, so that a machine that vanished does not hold its place for hours."""
    client = echo.client()
    client.ask("here")
    (connection,) = echo.board._lines
    for end in (connection, client.connection):
        assert isinstance(end, Connection)
        assert end.socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if hasattr(socket, "TCP_KEEPIDLE"):
            assert end.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) <= 30

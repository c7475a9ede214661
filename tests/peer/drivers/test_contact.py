"""A contact dials until somebody answers, and again when the connection is lost."""

from __future__ import annotations

import socket
import time

from peer.drivers.contact import FIRST_BACKOFF_S, Contact
from peer.drivers.control import Connection

KEY = bytes(32)


def serve_until(contact: Contact, reached, accepting: list[Connection] | tuple = ()) -> list:
    """Keep serving both ends until something is so; what the contact heard."""
    heard, until = [], time.monotonic() + 10
    while not reached():
        assert time.monotonic() < until, contact.trouble
        heard += [message for message, _ in contact.serve(time.monotonic())]
        for connection in accepting:
            connection.write()
            heard += [("to the server", message) for message, _ in connection.read()]
    return heard


def accepted(listener: socket.socket) -> Connection:
    sock, _ = listener.accept()
    connection = Connection(sock, KEY, accepted=True)
    connection.write()
    return connection


def test_it_speaks_first_on_every_new_connection():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        contact = Contact("server", KEY, lambda contact: contact.send({"hello": 1}))
        contact.endpoint = listener.getsockname()
        for _ in range(2):
            serve_until(contact, lambda: contact.open)
            there = accepted(listener)
            heard: list = []
            until = time.monotonic() + 10
            while not heard:
                assert time.monotonic() < until
                list(contact.serve(time.monotonic()))
                heard = list(there.read())
            assert heard == [({"hello": 1}, b"")]
            there.close()
            serve_until(contact, lambda: not contact.open)
            assert contact.trouble == "the other side closed the connection; does it have the same key?"
            assert contact.lost_at is not None
        contact.close()


def test_nobody_there_is_tried_again_later_and_the_reason_is_kept():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = listener.getsockname()
    contact = Contact("server", KEY, lambda contact: None)
    contact.endpoint = endpoint
    serve_until(contact, lambda: contact.trouble)
    assert contact.trouble == "Connection refused"
    assert 0 < contact.next_due() - time.monotonic() <= FIRST_BACKOFF_S
    with socket.create_server(endpoint):
        serve_until(contact, lambda: contact.open)
    contact.close()


def test_a_new_endpoint_is_tried_at_once():
    contact = Contact("server", KEY, lambda contact: None)
    contact.redirect(("127.0.0.1", 1))
    serve_until(contact, lambda: contact.trouble)
    assert contact.next_due() > time.monotonic()
    contact.redirect(("127.0.0.1", 1))
    assert contact.next_due() > time.monotonic(), "the same place again is no news"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        contact.redirect(listener.getsockname())
        assert contact.next_due() <= time.monotonic()
        serve_until(contact, lambda: contact.open)
        contact.redirect(listener.getsockname())
        assert not contact.connection.closed
        with socket.create_server(("127.0.0.1", 0)) as other:
            contact.redirect(other.getsockname())
            serve_until(contact, lambda: not contact.open)
            assert contact.trouble.startswith("it is somewhere else now")
            serve_until(contact, lambda: contact.open)
            assert contact.connection.socket.getpeername() == other.getsockname()
    contact.close()


def test_who_is_sent_elsewhere_while_dialling_does_not_end_up_where_it_was_going():
    contact = Contact("server", KEY, lambda contact: None)
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        contact.redirect(first.getsockname())
        assert list(contact.serve(time.monotonic())) == [] and not contact.open and contact.writers(), "it is dialling"
        contact.redirect(second.getsockname())
        serve_until(contact, lambda: contact.open)
        assert contact.connection.socket.getpeername() == second.getsockname()
    contact.close()


def test_another_key_is_told_apart_from_nobody_there():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        contact = Contact("server", bytes(31) + b"x", lambda contact: contact.send({"hello": 1}))
        contact.endpoint = listener.getsockname()
        serve_until(contact, lambda: contact.open)
        there = accepted(listener)
        until = time.monotonic() + 10
        while not there.closed:
            assert time.monotonic() < until
            list(contact.serve(time.monotonic()))
            assert list(there.read()) == []
        assert "another key" in there.closed
        contact.close()

"""The process that carries frames in the rehearsal cloud, with pipes for cards."""

from __future__ import annotations

import json
import os
import socket
from threading import Thread

from deploy.rehearsal import card
from deploy.rehearsal.plan import plain
from deploy.rehearsal.switchboard import Switchboard

SOON_S = 20.0


def test_a_card_that_is_pulled_while_it_has_something_to_say(monkeypatch):
    """What a machine sent in its last moment may still lie there to be read when it is switched off."""
    ends: dict[str, int] = {}

    def plug(port, pid=None):
        read, ends[port.name] = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        return read

    monkeypatch.setattr(card, "plug", plug)
    supervisor, requests = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with supervisor:
        supervisor.settimeout(SOON_S)
        board = Switchboard(plain(2), requests)
        board.plug("h0")
        os.write(ends["h0"], b"a frame")
        supervisor.send(json.dumps({"op": "unplug", "name": "h0"}).encode())
        carrying = Thread(target=board.run, daemon=True)
        carrying.start()
        assert json.loads(supervisor.recv(1000)) == {"done": None}
        supervisor.send(json.dumps({"op": "network status"}).encode())
        assert "done" in json.loads(supervisor.recv(1 << 16))
    carrying.join(SOON_S)
    assert not carrying.is_alive()
    requests.close()
    for file in (*ends.values(), *board.cards):
        os.close(file)

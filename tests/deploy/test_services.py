"""What the agent does on the control host, called directly: a home of its own, the real services, and no ssh."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest

from comparison_server.desk import ENDED, HOME, WAITING, Desk, write
from deploy.agent.actions import act
from deploy.agent.place import Failed, Place
from deploy.bundle import Bundle, make_bundle
from tests.deploy.test_agent import KEY, control

FIRST, SECOND = "1" * 16, "2" * 16
ME, YOU = {"id": "me", "name": "me since noon"}, {"id": "you", "name": "you since one"}
BOTH = ["collector", "group-manager"]


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return make_bundle()


class ControlHost:
    """Requests to it."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle, self.place = bundle, Place("demo")
        self.desk = Desk(self.place.desk)
        self.ports = _free_ports(2)

    def ask(self, action: str, receive=None, send=None, **fields: object) -> dict:
        request = {"lab": "demo", "digest": self.bundle.digest, "action": action, **fields}
        return act(request, b"", self.bundle.data, receive, send)

    def serve(self, operator=ME, **fields: object) -> dict:
        where = {"bind": "127.0.0.1", "manager": self.ports[0], "server": self.ports[1], "group": "demo"}
        return self.ask("serve", **{**where, "lost_s": 60.0, "keep": False, "operator": operator, **fields})

    def lives(self) -> list[str]:
        return [name for name, about in self.ask("status")["services"].items() if about["pid"] is not None]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bundle: Bundle) -> Iterator[ControlHost]:
    monkeypatch.setenv("HOME", str(tmp_path))
    host = ControlHost(bundle)
    host.ask("deploy", key=KEY)
    yield host
    host.ask("clean")


def _free_ports(count: int) -> list[int]:
    tried = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in tried]
    for each in tried:
        each.close()
    return ports


def test_both_services_are_started_once_and_are_no_peers(host):
    assert host.serve() == {"started": ["group-manager", "collector"], "running": [], "failed": {}}
    pids = {name: about["pid"] for name, about in host.ask("status")["services"].items()}
    assert sorted(pids) == BOTH and host.ask("status")["peers"] == {}
    assert host.serve()["running"] == ["group-manager", "collector"]
    assert pids == {name: about["pid"] for name, about in host.ask("status")["services"].items()}
    for pid in pids.values():
        assert os.getsid(pid) == pid, "it outlasts the request"
    assert "listens" in host.ask("logs")["services"]["group-manager"][0]
    assert host.ask("logs", peers=["a"])["services"] == {}
    for port in host.ports:
        socket.create_connection(("127.0.0.1", port), 5).close()


def test_stop_ends_them_after_no_peer_is_left_to_be_named_and_clean_leaves_nothing(host, tmp_path):
    host.serve()
    assert host.ask("stop", peers=["a"])["ended"] == [] and host.lives() == BOTH
    assert host.ask("stop", peers=[], services=True)["ended"]
    assert host.lives() == []
    host.serve()
    cleaned = host.ask("clean")
    assert sorted(cleaned["ended"]) == ["service collector", "service group-manager"]
    assert (cleaned["killed"], cleaned["stuck"], cleaned["removed"]) == ([], [], True)
    assert list(tmp_path.iterdir()) == []


def test_one_that_was_killed_is_started_again_and_the_other_stays(host):
    host.serve()
    pid = host.ask("status")["services"]["collector"]["pid"]
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert host.lives() == ["group-manager"]
    assert host.serve() == {"started": ["collector"], "running": ["group-manager"], "failed": {}}


def test_what_leads_is_not_started_anew_with_other_options_unless_nothing_is_open(host):
    host.serve()
    host.ask("order", run=FIRST, order={"operator": "me", "settings": {"members": ["a"]}})
    host.desk.outcome(FIRST).unlink(missing_ok=True)
    os.kill(host.ask("status")["services"]["collector"]["pid"], signal.SIGSTOP)  # the order stays open
    host.desk.outcome(FIRST).unlink(missing_ok=True)
    with pytest.raises(Failed, match="bring them home first"):
        host.serve(lost_s=30.0)
    assert host.serve(lost_s=30.0, keep=True)["running"] == ["group-manager", "collector"]
    host.desk.outcome(FIRST).write_text("{}")
    os.kill(host.ask("status")["services"]["collector"]["pid"], signal.SIGCONT)
    done = host.serve(lost_s=30.0)
    assert (done["started"], done["running"]) == (["collector"], ["group-manager"])


def test_a_port_that_is_taken_is_said_of_the_service_that_wants_it(host):
    with socket.create_server(("127.0.0.1", host.ports[1])):
        done = host.serve()
    assert done["started"] == ["group-manager"] and "cannot listen on 127.0.0.1" in done["failed"]["collector"]


def test_another_key_is_refused_while_the_services_live(host):
    host.serve()
    with pytest.raises(Failed, match="it has another key"):
        host.ask("deploy", key="cd" * 32)


def test_an_order_is_laid_once_and_kept_until_it_was_brought_home(host):
    first = host.ask("order", run=FIRST, order={"operator": "me"})
    assert first["orders"] == host.ask("order", run=FIRST, order={"operator": "you"})["orders"] == {FIRST: WAITING}
    host.ask("order", run=SECOND, order={"operator": "you"})
    assert host.ask("status")["orders"] == {FIRST: WAITING, SECOND: WAITING}
    (host.desk.run(FIRST) / "trace-0.bin").write_bytes(b"trace")
    (host.desk.run(FIRST) / "trace-1.bin.part").write_bytes(b"tr")
    write(host.desk.outcome(FIRST), {"run": FIRST})
    told = host.ask("brought", run=FIRST, logs=True)
    assert (told["order"], told["outcome"]) == ({"operator": "me"}, {"run": FIRST})
    assert [(file["name"], file["size"]) for file in told["files"]] == [("trace-0.bin", 5)]
    assert host.ask("brought", run=FIRST, logs=False)["files"] == []
    assert host.ask("piece", run=FIRST, name="trace-0.bin", begin=1) == {"data": "cmFjZQ=="}
    assert host.ask("status")["orders"][FIRST] == ENDED
    host.ask("home", run=FIRST)
    assert host.ask("status")["orders"][FIRST] == HOME
    host.ask("home", run="3" * 16)  # gone already, which is no harm
    assert list(host.ask("status")["orders"]) == [FIRST, SECOND]


def test_only_the_operator_who_came_last_has_all_end(host):
    host.serve()
    host.serve(YOU)
    refused = host.ask("word", word={"do": "end"}, operator="me")
    assert (refused["said"], refused["last"]) == (False, "you since one")
    pid = host.ask("status")["services"]["collector"]["pid"]
    assert host.ask("word", word={"do": "end"}, operator="you")["said"]
    assert os.waitpid(pid, 0)[1] == 0
    assert "an operator has it end" in host.ask("status")["services"]["collector"]["said"]


def test_who_watches_hears_of_every_change_and_ends_with_the_operator(host):
    host.serve()
    heard, gone = [], Event()

    def receive(timeout_s: float) -> None:
        if not gone.wait(timeout_s):
            raise TimeoutError

    def send(message: dict) -> None:
        heard.append(message["desk"])
        if len(heard) == 1:
            host.ask("order", run=FIRST, order={"settings": {}})
        elif heard[-1]["orders"] == {FIRST: ENDED}:
            gone.set()

    with pytest.raises(EOFError):
        host.ask("watch", receive, send)
    assert heard[0]["lives"] == BOTH and heard[-1]["progress"]["peers"] == []


def test_what_has_not_been_deployed_cannot_serve(tmp_path, monkeypatch, bundle):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(Failed, match="has not been deployed there"):
        ControlHost(bundle).serve()
    assert list(tmp_path.iterdir()) == []


def test_peers_of_the_control_host_start_beside_them(host):
    host.serve()
    peers = [{"name": "a", "bind": "127.0.0.1:0", "advertise": "127.0.0.1:5700"}]
    led = {**control(), "manager": ["127.0.0.1", host.ports[0]], "server": ["127.0.0.1", host.ports[1]]}
    assert host.ask("start", group="demo", peers=peers, control=led)["started"] == ["a"]
    ended = host.ask("stop")["ended"]
    assert sorted(ended) == ["a", "service collector", "service group-manager"] and ended[-1] == "a", "it comes last"

"""How the classroom program lost track of who takes part and where they are, and that the lab does not."""

import os
import pickle
import socket
from time import sleep

import pytest

from comparison_server.service import Service
from group_manager.membership import LONGEST_NAME, MOST_ENTRIES
from peer.core.errors import RunError
from peer.core.settings import DeadlineSettings
from peer.core.trace import read_header
from tests.classroom.lab import KEY, Lab, assert_flawless, eavesdropping
from tests.control_client import Client, until

ELSEWHERE = ("192.0.2.7", 6789)  # an address that no machine has
SOON = DeadlineSettings(handshake_s=0.5)


# -- who is registered


def test_a_peer_that_is_started_again_is_one_peer(lab: Lab):
    """Fails if who comes back is listed twice, started twice, or counted twice."""
    lab.start("a")
    told = []
    first, second = lab.start("b")[0], lab.start("b", say=told.append)[0]
    until(lambda: any("another process was called b just now" in sentence for sentence in told), lab.poll)
    until(lambda: list(lab.server.peers) == ["a", "b"], lab.poll)
    listed = {row["name"]: row["incarnation"] for row in lab.listed()}
    assert listed.keys() == {"a", "b"} and len(lab.listed()) == 2
    assert listed["b"] == second.incarnation
    until(lambda: first.stopping, lab.poll)
    assert first.stopping == "another process has come that is called b"
    assert_flawless(*lab.run(messages=5), 10)
    assert sorted(row["name"] for row in lab.listed()) == ["a", "b"]


def test_a_peer_that_is_gone_is_listed_no_more(lab: Lab, monkeypatch):
    """Fails if a registration outlives its process by more than its lease."""
    monkeypatch.setattr("group_manager.membership.LEASE_S", 0.4)
    killed, lives = lab.client(), lab.client()

    def register(name, client):
        assert client.ask({"op": "register", "name": name, "endpoint": ["127.0.0.1", 7000]})["ok"]

    def names():
        register("b", lives)
        return [row["name"] for row in lab.listed()]

    register("a", killed)
    assert names() == ["a", "b"]
    killed.connection.close()  # without a word
    until(lambda: names() == ["b"], lab.poll)


def test_who_ends_unregisters(lab: Lab):
    """Fails if a peer that is told to end stays in the list until its lease is over."""
    lab.start("a", "b")
    assert len(lab.listed()) == 2
    assert lab.server.end_all() == []
    until(lambda: lab.listed() == [], lab.poll, timeout_s=8.0)


def test_connections_of_the_group_manager_do_not_pile_up(lab: Lab):
    """Fails if the group manager keeps the connections of those who asked and left."""
    lab.start("a")
    before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
    for _ in range(40):
        client = lab.client()
        assert client.ask({"op": "list"})["ok"]
        client.connection.close()
    until(lambda: len(lab.manager._board._lines) <= 2, lambda: sleep(0.01))
    if before:
        assert len(os.listdir("/proc/self/fd")) <= before + 2


def test_a_list_of_any_length_comes_whole(lab: Lab):
    """Fails if the list is cut where one segment or one buffer ends: this one has more than a hundred kilobytes."""
    client = lab.client()
    for number in range(MOST_ENTRIES - 1):  # one place is the comparison server's
        name = f"p{number:04}".ljust(LONGEST_NAME, "x")
        client.connection.send({"op": "register", "name": name, "endpoint": ["127.0.0.1", 7000]})
    assert all(client.hear()["ok"] for _ in range(MOST_ENTRIES - 1))
    members = lab.listed()
    assert len(members) == MOST_ENTRIES - 1 and len(str(members)) > 100_000
    assert members[-1]["name"].startswith("p1022x")


# -- whom the server counts on


def test_the_server_knows_how_many_are_there_before_it_begins(lab: Lab):
    """Fails if a run can begin with too few peers, and then waits for logs of those who never came."""
    lab.start("a", "b")
    with pytest.raises(RunError, match=r"2 of 3 peers are here \(a, b\) after 0.1 s"):
        lab.server.wait_for_peers(3, 0.1)


def test_a_peer_that_is_not_there_is_neither_waited_for_without_end_nor_a_crash(lab: Lab):
    """Fails if a run with a member that died before hangs, or breaks off with an error of the system."""
    lab.server.coordinator.lost_s = 0.5
    lab.start("a", "b")
    outcome, verdict = lab.run(members=("a", "b", "c"), messages=5)
    assert outcome.error.peers == ["c"] and str(outcome.error).startswith("c has had no connection for 0.5 s")
    assert outcome.missing == ["c"] and verdict.rounds.rounds == 0


def test_the_comparison_server_can_be_started_again_at_once(lab: Lab):
    """Fails if its port stays taken by the connections of the last time."""
    (peer,) = lab.start("a")
    first = lab.server
    endpoint = first.endpoint
    first.close()  # it closes first, so its side of the connections lingers
    lab.server = Service(endpoint, KEY, manager=lab.manager.endpoint)
    assert lab.server.endpoint == endpoint
    until(lambda: "a" in lab.server.peers, lab.poll)
    assert not peer.stopping


# -- where they are


def test_peers_on_one_machine_are_told_apart(lab: Lab):
    """Fails if a peer is known by its address alone, or needs a port that another one has."""
    lab.start("a", "b", "c", "d")
    endpoints = [tuple(row["endpoint"]) for row in lab.listed()]
    assert {host for host, _ in endpoints} == {"127.0.0.1"} and len(set(endpoints)) == 4
    assert_flawless(*lab.run(messages=5), 20)


def test_an_address_that_is_seen_from_outside_only_is_not_bound(lab: Lab):
    """Fails if a peer listens at the address it is known by, or is lost when that one is wrong: it speaks first."""
    (peer,) = lab.start("a", advertise=ELSEWHERE)
    lab.start("b", "c")
    assert lab.listed()[0]["endpoint"] == list(ELSEWHERE) and peer.network.endpoint[0] == "127.0.0.1"
    assert_flawless(*lab.run(messages=10), 30)


def test_own_messages_do_not_go_over_the_network(lab: Lab):
    """Fails if a peer sends to itself, which needs a way back through whatever stands before its address."""
    peers = lab.start("a", "b", "c")
    at = {peer.network.endpoint: peer for peer in peers}
    for ordering in ("unordered", "lamport_all_ack", "fixed_sequencer"):
        with eavesdropping(*peers) as sent:
            assert_flawless(*lab.run(ordering, messages=5), 15)
        assert len(sent) > 15 and all(at[endpoint] is not peer for peer, _, endpoint in sent)


def test_a_name_is_a_name_and_never_looked_up(lab: Lab, monkeypatch):
    """Fails if what a machine calls itself must be an address that somebody can find."""
    look_up = socket.getaddrinfo

    def only_numbers(host, *rest, **more):
        assert host is None or host.replace(".", "").isdigit(), f"{host} is looked up"
        return look_up(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", only_numbers)
    for name in ("gethostbyname", "gethostbyname_ex", "gethostbyaddr", "getfqdn"):
        monkeypatch.setattr(socket, name, lambda *_: pytest.fail("a name is looked up"))
    lab.start("ip-10-0-0-1.ec2.internal", "no.such.host.invalid")
    assert_flawless(*lab.run(messages=5), 10)


def test_everybody_knows_its_place_and_all_names_before_anybody_has_spoken(lab: Lab):
    """Fails if who is which number follows from what is heard in the handshake: here that one never succeeds."""
    peers = lab.start("a", "b", "c")
    for peer in peers:
        peer.network._send = lambda datagrams, neighbour: None  # nobody hears anybody
    outcome, _ = lab.run(messages=5, deadlines=SOON)
    assert outcome.error.phase == "handshake" and outcome.error.peers == list("abc") and outcome.missing == []
    for place, name in enumerate("abc"):
        header, _ = read_header(lab.folder / "run1" / f"trace-{place}.bin")
        assert header["peer"] == place and header["settings"]["members"][place] == name


# -- what they send


def test_a_message_larger_than_a_datagram_arrives(lab: Lab):
    """Fails if what does not fit one datagram, or one buffer, is cut."""
    lab.start("a", "b")
    for size_bytes in (1025, 70_000, 1_000_000):
        assert_flawless(*lab.run(messages=3, size_bytes=size_bytes), 6)


def test_logs_come_as_their_peers_wrote_them(lab: Lab):
    """Fails if a log is cut on its way, or sorted, or mixed with another one."""
    lab.start("a", "b", "c")
    outcome, _ = lab.run("unordered", messages=400, size_bytes=32_769, gap_ms=(0.0, 0.0))  # no two in one block
    assert outcome.complete
    for place, name in enumerate("abc"):
        for kind in ("trace", "sends"):
            collected = (lab.folder / "run1" / f"{kind}-{place}.bin").read_bytes()
            assert collected == (lab.folder / "logs" / f"{name}-{kind}.bin").read_bytes()
        assert (lab.folder / "logs" / f"{name}-trace.bin").stat().st_size > 32_768, (
            "what the classroom program received"
        )


class Bomb:
    """A pickle that does something to whoever loads it."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return os.mkdir, (str(self.file),)


def test_a_pickle_is_not_loaded_by_anybody(lab: Lab, tmp_path):
    """Fails if bytes from the network are unpickled: these make a folder where they are."""
    peers = lab.start("a", "b")
    bomb = pickle.dumps(Bomb(tmp_path / "exploded"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for peer in peers:
            sock.sendto(bomb, peer.network.endpoint)
    for endpoint in (lab.manager.endpoint, lab.server.endpoint):
        with socket.create_connection(endpoint) as sock:
            sock.sendall(bomb)
            sock.setblocking(False)
            until(lambda sock=sock: closed(sock), lab.poll)
        said = Client(endpoint, KEY, lab.poll)
        said.connection.send({"op": "list"}, bomb)
        until(lambda said=said: said.inbox or said.connection.closed, said._step)
    assert_flawless(*lab.run(messages=5), 10)
    assert not (tmp_path / "exploded").exists()
    os.mkdir(tmp_path / "exploded")
    with pytest.raises(FileExistsError):
        pickle.loads(bomb)


def closed(sock):
    """Whether the other side has ended this connection."""
    try:
        return sock.recv(65536) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True

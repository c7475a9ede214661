"""Hosts far away and odd, over real delays: the same tasks on all of them, and how many round trips they take."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import fabric
import pytest

from deploy.bundle import Bundle, make_bundle
from deploy.each import on_each
from deploy.host_error import HostError
from deploy.inventory import Inventory, load_inventory
from deploy.rehearsal.cloud import Rehearsal, lacking
from deploy.rehearsal.plan import HostPlan, Plan, plain
from deploy.remote import Remote, _packed
from tests.deploy.operator import comes_to

WHY_NOT = lacking() or ("" if shutil.which("cc") else "there is no C compiler")
pytestmark = [pytest.mark.long, pytest.mark.skipif(bool(WHY_NOT), reason=f"no rehearsal cloud here: {WHY_NOT}")]

DEADLINE_S = 40.0
CHANCES = 3  # of a machine that is busy with other things
KEY = "ab" * 32
CONTROL = {
    "attached": "one",
    "operator": "me@here",
    "since": 1.0,
    "manager": ["127.0.0.1", 1],
    "server": ["127.0.0.1", 1],
}
ODD = Plan(
    (
        HostPlan("good", "east"),
        HostPlan("far", "west"),
        HostPlan("inner", "west", jump="far"),
        HostPlan("narrow", "west", max_startups="2:100:2", max_sessions=1),
        HostPlan("noisy", "east", noisy=True),
        HostPlan("bare", "east", python="none"),
        HostPlan("old", "west", python="old"),
        HostPlan("full", "east", disk_kb=64),
        HostPlan("plain", "east", sftp=False),
        HostPlan("dead", "west"),
    ),
    ("east", "west"),
    ((0.1, 40.0), (40.0, 0.1)),
)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return make_bundle()


@pytest.fixture(scope="module")
def odd() -> Iterator[Rehearsal]:
    with Rehearsal(ODD) as cloud, cloud.entered():
        cloud.control("kill", host="dead")
        yield cloud


def remotes_of(cloud: Rehearsal, inventory: Inventory, bundle: Bundle) -> dict[str, Remote]:
    """As the tasks make them: a host that is a jump is the same one for all behind it."""
    made: dict[str, Remote] = {}

    def remote(name: str) -> Remote:
        if name not in made:
            host = inventory.host(name)
            jump = remote(host.jump) if host.jump else None
            made[name] = Remote(host, inventory.lab, bundle, cloud.folder / "lab-known-hosts", jump, pin=True)
        return made[name]

    for host in inventory.hosts:
        remote(host.name)
    return made


@pytest.fixture
def remotes(odd, bundle) -> Iterator[dict[str, Remote]]:
    made = remotes_of(odd, load_inventory(odd.inventory), bundle)
    yield made
    for remote in made.values():
        remote.close()


def up(remote: Remote) -> list[str]:
    remote.open()
    host = remote.host
    peer = {
        "name": host.name,
        "bind": f"{host.bind}:{host.peer_port}",
        "advertise": f"{host.advertise}:{host.peer_port}",
    }
    done = remote.ask("up", key=KEY, group="g", peers=[peer], control=CONTROL)
    assert not done["failed"], done
    return done["started"] or done["running"]


def test_each_host_fails_by_itself_and_the_others_work(odd, remotes):
    before = time.monotonic()
    done = on_each(remotes.values(), up, DEADLINE_S)
    assert time.monotonic() - before < 25, "the dead one takes no longer than a connection may"
    kinds = {name: result.kind for name, result in done.items() if isinstance(result, HostError)}
    assert kinds == {"bare": "no python", "old": "old python", "full": "disk full", "dead": "unreachable"}, done
    works = {"good", "far", "inner", "narrow", "noisy", "plain"}
    assert {name for name, result in done.items() if result == [name]} == works
    assert on_each([remotes[name] for name in works], up, DEADLINE_S) == {name: [name] for name in works}
    for name in works:
        assert any(f"--name {name}" in line for line in odd.processes(name).values())
    cleaned = on_each([remotes[name] for name in works], lambda remote: remote.ask("clean"), DEADLINE_S)
    assert all(result["ended"] == [name] and not result["killed"] for name, result in cleaned.items()), cleaned
    for name in works:
        assert not [path for path in odd.files(name) if ".ordering-lab" in path or path.startswith("/tmp")]
        assert comes_to(False, lambda: any("lab.pyz" in line for line in odd.processes(name).values()))


@pytest.mark.slow
def test_a_cut_path_behind_a_jump_is_given_up_and_what_it_carried_ends(odd, remotes, monkeypatch):
    """The connection to the jump itself is in order all the time."""
    monkeypatch.setattr("deploy.remote.HEARTBEAT_S", 0.5)
    monkeypatch.setattr("deploy.remote.SILENT_S", 1.0)
    inner, far = remotes["inner"], remotes["far"]
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        there = inner.forward({"server": server.getsockname()})["server"]
        program = f"import socket; s = socket.create_connection(('127.0.0.1', {there})); s.sendall(b'x'); s.recv(1)"
        channel = inner._transport.open_session()
        channel.exec_command(f'python3 -c "{program}"')
        server.settimeout(DEADLINE_S)
        carried, _ = server.accept()
        with carried:
            carried.settimeout(DEADLINE_S)
            assert carried.recv(1) == b"x"
            odd.control("partition", groups=[["inner"], [name for name in remotes if name != "inner"] + ["operator"]])
            try:
                assert carried.recv(1) == b"", "it ends at this end"
                ended.set()
                assert not inner.is_open and far.is_open
                error = on_each([inner], lambda remote: remote.ask("status"), 4.0)["inner"]
                assert isinstance(error, HostError) and error.kind in ("timeout", "unreachable"), error
            finally:
                odd.control("heal")
    assert ended.is_set()
    assert on_each([inner, far], lambda remote: remote.ask("status"), DEADLINE_S)["inner"]["python"]


def test_a_machine_made_anew_is_told_from_one_that_is_known(odd, remotes, bundle):
    remotes["good"].open()
    odd.control("rekey", host="good")
    again = Remote(remotes["good"].host, "lab", bundle, odd.folder / "lab-known-hosts", pin=True)
    done = on_each([again], lambda remote: remote.open(), DEADLINE_S)["good"]
    assert isinstance(done, HostError) and done.kind == "changed host key"


@pytest.mark.slow
def test_it_takes_no_more_round_trips_than_fabric_for_less(bundle, tmp_path):
    """Eight hosts, nothing there yet: connect, deploy and start, against `run` of `true` and `put` of as many bytes.

    What does not grow with the delay is no round trip: they are counted by the difference between two delays.
    """
    put = tmp_path / "put.bin"
    put.write_bytes(_packed(bundle))
    for _ in range(CHANCES):
        ours, theirs = _round_trips(bundle, put)
        if ours <= theirs and ours < 17:  # connecting takes 5, asking 4, and the archive's first windows of TCP 2 or 3
            return
    raise AssertionError((ours, theirs))


def _round_trips(bundle: Bundle, put: Path) -> tuple[float, float]:
    took_s: dict[float, tuple[float, float]] = {}
    for one_way_ms in (20.0, 120.0):
        plan = plain(8, ["here", *(f"r{place}" for place in range(8))][1:], one_way_ms, operator="r0")
        with Rehearsal(plan) as cloud, cloud.entered():
            took_s[one_way_ms] = (_our_s(cloud, bundle), _fabric_s(cloud, put))
    (ours_near, theirs_near), (ours_far, theirs_far) = took_s.values()
    return (ours_far - ours_near) / 0.2, (theirs_far - theirs_near) / 0.2


def _our_s(cloud: Rehearsal, bundle: Bundle) -> float:
    remotes = remotes_of(cloud, load_inventory(cloud.inventory), bundle)
    before = time.monotonic()
    done = on_each(remotes.values(), up, DEADLINE_S)
    took_s = time.monotonic() - before
    assert done == {name: [name] for name in remotes}
    for remote in remotes.values():
        remote.close()
    return took_s


def _fabric_s(cloud: Rehearsal, file: Path) -> float:
    hosts = load_inventory(cloud.inventory).hosts
    with_key = {"key_filename": str(hosts[0].key), "look_for_keys": False, "allow_agent": False}
    group = fabric.ThreadingGroup(*(f"{host.user}@{host.address}" for host in hosts), connect_kwargs=with_key)
    before = time.monotonic()
    group.run("true", hide=True, in_stream=False)
    group.put(str(file), "put.bin")
    took_s = time.monotonic() - before
    group.close()
    return took_s

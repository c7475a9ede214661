"""What the agent does on a host, called directly: with a home of its own, real peers, and no ssh."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from deploy.agent import processes
from deploy.agent.actions import act
from deploy.agent.place import Failed, Place
from deploy.bundle import Bundle, make_bundle
from peer.core.trace import Recorder, pack_header

KEY, OTHER_KEY = "ab" * 32, "cd" * 32
SOON_S = 30.0


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return make_bundle()


class Agent:
    """Requests to one host."""

    def __init__(self, home: Path, bundle: Bundle) -> None:
        self.home, self.bundle = home, bundle
        self.place = Place("demo")

    def ask(self, action: str, lab: str = "demo", bundle: Bundle | None = None, **fields: object) -> dict:
        bundle = bundle or self.bundle
        request = {"lab": lab, "digest": bundle.digest, "action": action, **fields}
        return act(request, b"", bundle.data, None, None)

    def deploy(self, **fields: object) -> dict:
        return self.ask("deploy", **{"key": KEY, **fields})

    def start(self, *names: str, **fields: object) -> dict:
        peers = [{"name": name, "bind": "127.0.0.1:0", "advertise": "127.0.0.1:5700"} for name in names]
        return self.ask("start", **{"group": "demo", "peers": peers, "control": control(), **fields})

    def files(self) -> list[str]:
        return sorted(str(path.relative_to(self.home)) for path in self.home.rglob("*"))


def control(attached: str = "one", since: float = 1.0, port: int = 1) -> dict:
    where = ["127.0.0.1", port]
    return {"attached": attached, "operator": f"{attached}@there", "since": since, "manager": where, "server": where}


@pytest.fixture
def agent(tmp_path, monkeypatch, bundle) -> Iterator[Agent]:
    monkeypatch.setenv("HOME", str(tmp_path))
    agent = Agent(tmp_path, bundle)
    yield agent
    for peer in processes.known(agent.place):
        if peer.lives():
            os.kill(peer.pid(), signal.SIGKILL)


# Deploying.


def test_deploying_again_changes_nothing(agent):
    assert agent.deploy(settings={"a": 1}) == {"changed": ["archive", "key", "settings"], "outdated": []}
    before = {file: (agent.home / file).stat().st_mtime_ns for file in agent.files() if (agent.home / file).is_file()}
    assert agent.deploy(settings={"a": 1}) == {"changed": [], "outdated": []}
    assert before == {file: (agent.home / file).stat().st_mtime_ns for file in before}
    assert agent.deploy(settings={"a": 2})["changed"] == ["settings"]
    assert json.loads(agent.place.settings.read_text()) == {"a": 2}


def test_what_is_deployed_is_its_owners_only(agent):
    agent.deploy()
    for path in agent.place.folder, agent.place.key, agent.place.archive, agent.place.root:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_point_6_what_is_written_is_there_whole_or_not_at_all(agent, monkeypatch):
    agent.deploy()

    def ended(source: object, target: object) -> None:
        raise SystemExit(128 + signal.SIGTERM)  # what a signal does in the agent

    monkeypatch.setattr(os, "replace", ended)
    files = agent.files()
    with pytest.raises(SystemExit):
        agent.deploy(key=OTHER_KEY)
    assert agent.files() == files and agent.ask("key") == {"key": KEY}


def test_point_6_what_a_killed_one_left_half_written_is_removed(agent):
    agent.deploy()
    (agent.place.folder / ".draft-0123").write_bytes(b"half")
    agent.deploy(key=OTHER_KEY)
    assert not list(agent.place.folder.glob(".draft-*"))


def test_the_key_of_living_peers_is_not_replaced(agent):
    agent.deploy()
    agent.start("a")
    with pytest.raises(Failed, match="somebody else's.*1 of its peers") as refused:
        agent.deploy(key=OTHER_KEY)
    assert refused.value.kind == "key" and agent.ask("key") == {"key": KEY}
    agent.ask("stop")
    assert agent.deploy(key=OTHER_KEY)["changed"] == ["key"]


def test_several_labs_live_side_by_side(agent):
    agent.deploy()
    agent.deploy(lab="other", key=OTHER_KEY)
    assert agent.ask("key") == {"key": KEY} and agent.ask("key", lab="other") == {"key": OTHER_KEY}
    agent.ask("clean")
    assert agent.ask("key", lab="other") == {"key": OTHER_KEY}
    agent.ask("clean", lab="other")
    assert agent.files() == []


@pytest.mark.parametrize("lab", ["", "..", "a/b", "a b", "-a", "a" * 33, "ä"])
def test_a_lab_is_no_path(lab, agent):
    with pytest.raises(Failed, match="no name of a lab"):
        agent.ask("clean", lab=lab)


# Starting.


def test_starting_twice_starts_once(agent):
    agent.deploy()
    assert agent.start("a", "b") == {"started": ["a", "b"], "running": [], "restarted": [], "failed": {}}
    pids = {name: peer["pid"] for name, peer in agent.ask("status")["peers"].items()}
    assert agent.start("a", "b") == {"started": [], "running": ["a", "b"], "restarted": [], "failed": {}}
    assert pids == {name: peer["pid"] for name, peer in agent.ask("status")["peers"].items()}
    for name, pid in pids.items():
        assert name.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")


def test_a_peer_that_should_be_otherwise_is_started_anew(agent):
    agent.deploy()
    agent.start("a", "b")
    first = agent.ask("status")["peers"]
    wanted = [
        {"name": name, "bind": "127.0.0.1:0", "advertise": f"127.0.0.1:{port}"}
        for name, port in (("a", 1), ("b", 5700))
    ]
    said = agent.ask("start", group="demo", peers=wanted, control=control())
    assert said == {"started": [], "running": ["b"], "restarted": ["a"], "failed": {}}
    second = agent.ask("status")["peers"]
    assert first["a"]["pid"] != second["a"]["pid"] and first["b"]["pid"] == second["b"]["pid"]


def test_a_new_program_is_said_to_be_newer_than_what_lives(agent):
    agent.deploy()
    agent.start("a")
    newer = Bundle(agent.bundle.data + b"\0", hashlib.blake2b(agent.bundle.data + b"\0", digest_size=16).hexdigest())
    assert agent.deploy(bundle=newer) == {"changed": ["archive"], "outdated": ["a"]}
    assert agent.start("a", bundle=newer)["restarted"] == ["a"]
    assert agent.deploy(bundle=newer) == {"changed": [], "outdated": []}


def test_point_2_a_peer_is_of_no_ones_session_and_holds_no_ones_stream(agent):
    agent.deploy()
    agent.start("a")
    pid = agent.ask("status")["peers"]["a"]["pid"]
    assert os.getsid(pid) == pid != os.getsid(0)
    ends = {fd: os.readlink(f"/proc/{pid}/fd/{fd}") for fd in (0, 1, 2)}
    assert ends == {0: "/dev/null", 1: str(agent.place.peers / "a.txt"), 2: str(agent.place.peers / "a.txt")}


def test_point_7_what_it_is_told_stands_in_files(agent):
    agent.deploy()
    agent.start("a")
    pid = agent.ask("status")["peers"]["a"]["pid"]
    told = Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
    assert KEY.encode() not in told
    assert b"\0--control\0" + bytes(agent.place.control) + b"\0" in told
    assert json.loads(agent.place.control.read_text()) == control()


def test_a_taken_port_is_said_by_the_start(agent):
    agent.deploy()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        peers = [
            {"name": "a", "bind": f"127.0.0.1:{port}", "advertise": "127.0.0.1:1"},
            {"name": "b", "bind": "127.0.0.1:0", "advertise": "127.0.0.1:2"},
        ]
        said = agent.ask("start", group="demo", peers=peers, control=control())
    assert said["started"] == ["b"]
    assert said["failed"] == {"a": f"ended with exit code 2: cannot listen on 127.0.0.1:{port}: Address already in use"}
    assert agent.ask("status")["peers"]["a"]["pid"] is None


def test_what_an_earlier_life_said_is_not_told_of_the_next(agent):
    agent.deploy()
    peer = processes.Peer(agent.place, "a")
    peer.said.write_text("error: the sky fell down\n")
    agent.place.key.write_text("")  # it will not start with that
    said = agent.start("a")
    assert "sky" not in said["failed"]["a"] and "a key has at least" in said["failed"]["a"]
    assert agent.ask("status")["peers"]["a"]["said"] in said["failed"]["a"]
    assert agent.ask("logs")["said"]["a"][0] == "error: the sky fell down"


def test_what_peers_say_does_not_grow_without_end(agent):
    agent.deploy()
    said = processes.Peer(agent.place, "a").said
    said.write_bytes(b"x" * (processes.MOST_SAID + 1) + b"\nlast\n")
    agent.start("a")
    assert said.stat().st_size < 2 * processes.KEPT_SAID and b"\nlast\n" in said.read_bytes()


def test_one_that_never_becomes_ready_is_given_up(agent, monkeypatch):
    agent.deploy()
    monkeypatch.setattr(processes, "READY_S", 0.2)
    monkeypatch.setattr(sys, "executable", "/bin/sleep")
    real = subprocess.Popen

    def sleeping(argv: list, **options: object) -> subprocess.Popen:
        return real(["/bin/sleep", "1000"], **options)

    monkeypatch.setattr(processes.subprocess, "Popen", sleeping)
    assert agent.start("a")["failed"] == {"a": "was not ready within 0.2 s"}


def test_two_starts_at_once_start_one(agent):
    agent.deploy()
    said: list[dict] = []
    threads = [Thread(target=lambda: said.append(agent.start("a", "b"))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON_S)
    assert sorted((reply["started"], reply["running"]) for reply in said) == [
        ([], ["a", "b"]),
        ([], ["a", "b"]),
        (["a", "b"], []),
    ]
    assert all(not reply["failed"] and not reply["restarted"] for reply in said)


def test_starting_what_was_not_deployed_is_refused(agent):
    with pytest.raises(Failed) as refused:
        agent.start("a")
    assert refused.value.kind == "not deployed" and agent.files() == []


# Ending.


def test_stopping_ends_them_in_order(agent):
    agent.deploy()
    agent.start("a", "b", "c")
    assert agent.ask("stop", peers=["b"]) == {"ended": ["b"], "killed": [], "stuck": []}
    assert sorted(agent.ask("stop")["ended"]) == ["a", "c"]
    assert agent.ask("stop") == {"ended": [], "killed": [], "stuck": []}


def test_one_that_does_not_listen_is_killed_and_that_is_said(agent):
    agent.deploy()
    agent.start("a", "b")
    os.kill(agent.ask("status")["peers"]["a"]["pid"], signal.SIGSTOP)
    assert agent.ask("stop", patience_s=0.3) == {"ended": ["b"], "killed": ["a"], "stuck": []}
    assert all(peer["pid"] is None for peer in agent.ask("status")["peers"].values())


def test_point_8_a_number_in_a_file_is_not_a_peer(agent):
    """Its process may have ended without a word, and the number may be somebody else's by now."""
    agent.deploy()
    with subprocess.Popen(["sleep", "1000"]) as innocent:
        try:
            processes.Peer(agent.place, "a").pid_file.write_text(f"{innocent.pid}\n")
            assert agent.ask("status")["peers"]["a"]["pid"] is None
            assert agent.ask("stop") == {"ended": [], "killed": [], "stuck": []}
            assert agent.ask("attach", control=control())["told"] == []
            assert innocent.poll() is None
        finally:
            innocent.kill()


def test_whether_a_run_was_over_is_said_of_those_that_are_ended(agent):
    agent.deploy()
    open_log, recorder = pack_header({"peer": "a"}), Recorder()
    recorder.seal()
    (agent.place.logs / "b-trace.bin").write_bytes(open_log)
    os.utime(agent.place.logs / "b-trace.bin", (1, 1))  # of a peer that was killed before this one was started
    agent.start("a", "b", "c")
    (agent.place.logs / "a-trace.bin").write_bytes(open_log)
    (agent.place.logs / "c-trace.bin").write_bytes(open_log + recorder.take()[0])
    ended = agent.ask("stop")
    assert sorted(ended["ended"]) == ["a", "b", "c"] and ended["playing"] == ["a"]
    assert "playing" not in agent.ask("stop"), "nobody lives any more"


def test_whether_who_leads_can_be_reached_is_told_where_that_is_asked(agent):
    agent.deploy()
    with socket.create_server(("127.0.0.1", 0)) as server:
        agent.start("a", control=control(port=server.getsockname()[1]))
        assert agent.ask("status", reach=True)["reached"] is True
        assert agent.ask("status")["reached"] is None
    assert agent.ask("status", reach=True)["reached"] is False
    agent.place.control.write_text("nonsense")
    assert agent.ask("status", reach=True)["reached"] is False


def test_cleaning_leaves_nothing(agent):
    agent.deploy()
    agent.start("a", "b")
    pids = [peer["pid"] for peer in agent.ask("status")["peers"].values()]
    said = agent.ask("clean")
    assert (sorted(said["ended"]), said["removed"]) == (["a", "b"], True)
    assert agent.files() == []
    until = time.monotonic() + SOON_S  # who has let go of its pid file is about to be gone
    while any(is_alive(pid) for pid in pids):
        assert time.monotonic() < until
        time.sleep(0.01)
    assert agent.ask("clean") == {"ended": [], "killed": [], "stuck": [], "removed": False}


def test_a_request_waits_for_the_one_before_and_finds_what_that_left(agent):
    agent.deploy()
    said: list[dict] = []
    with agent.place.held(SOON_S):
        second = Thread(target=lambda: said.append(agent.deploy()))
        second.start()
        until = time.monotonic() + SOON_S
        while not waits_for_a_lock(agent.place.folder):
            assert time.monotonic() < until
            time.sleep(0.01)
        assert not said
        agent.place.remove()  # what `clean` does while it holds it
    second.join(SOON_S)
    assert said == [{"changed": ["archive", "key", "settings"], "outdated": []}]


def test_a_lab_that_is_held_for_too_long_is_said_to_be_busy(agent, monkeypatch):
    agent.deploy()
    monkeypatch.setattr("deploy.agent.actions.HELD_S", 0.1)
    monkeypatch.setattr("deploy.agent.actions.LOOK_HELD_S", 0.1)
    with agent.place.held(SOON_S):
        with pytest.raises(Failed) as refused:
            agent.ask("stop")
        assert refused.value.kind == "busy"
        assert agent.ask("status")["deployed"] == agent.bundle.digest, "who only looks may do so"


# Who leads.


def test_peers_are_told_where_control_is(agent):
    agent.deploy()
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        for server in (first, second):
            server.settimeout(SOON_S)
        agent.start("a", control=control(port=first.getsockname()[1]))
        first.accept()[0].close()
        moved = control("two", since=2.0, port=second.getsockname()[1])
        assert agent.ask("attach", control=moved) == {"told": ["a"]}
        second.accept()[0].close()
    assert agent.ask("status")["control"] == moved


def test_who_attached_earlier_does_not_take_over_from_who_came_later(agent):
    agent.deploy()
    agent.start("a", control=control("two", since=2.0))
    for action in (
        lambda **more: agent.ask("attach", control=control(), **more),
        lambda **more: agent.start("a", **more),
    ):
        with pytest.raises(Failed, match="two@there has come to lead lab demo later than you") as refused:
            action()
        assert refused.value.kind == "attached"
        assert agent.ask("status")["control"]["attached"] == "two"
    agent.ask("attach", control=control("two", since=1.5))  # it is its own
    agent.ask("attach", control=control(), force=True)
    assert agent.ask("status")["control"]["attached"] == "one"


def test_peers_that_are_to_end_only_while_one_operator_leads_them_stay_once_another_does(agent):
    agent.deploy()
    agent.start("a", control=control("two", since=2.0))
    nobody = {"ended": [], "killed": [], "stuck": []}
    assert agent.ask("stop", attached="one") == nobody and agent.ask("status")["peers"]["a"]["pid"] is not None
    assert agent.ask("stop", attached="two") == {**nobody, "ended": ["a"]}


# Looking.


def test_the_status_of_an_empty_host(agent):
    said = agent.ask("status")
    assert (said["peers"], said["deployed"], said["control"]) == ({}, "", {})
    assert said["disk_free"] > 0 and said["python"].startswith("3.")
    assert agent.files() == []


def test_the_last_lines_that_peers_said(agent):
    agent.deploy()
    for name in ("a", "b"):
        peer = processes.Peer(agent.place, name)
        peer.pid_file.touch()
        peer.said.write_text("".join(f"{name} {number}\n" for number in range(100)))
    assert agent.ask("logs", lines=2)["said"] == {"a": ["a 98", "a 99"], "b": ["b 98", "b 99"]}
    assert list(agent.ask("logs", peers=["b"])["said"]) == ["b"]


def test_the_logs_of_the_last_run(agent):
    agent.deploy()
    recorder = Recorder()
    recorder.seal()
    deliveries, sends, _ = recorder.take()
    whole = pack_header({"peer": "a"}) + deliveries
    (agent.place.logs / "a-trace.bin").write_bytes(whole)
    (agent.place.logs / "a-sends.bin").write_bytes(pack_header({"peer": "a"}) + sends[:-1])
    (agent.place.logs / "b-trace.bin").write_bytes(b"nonsense")
    found = {file["name"]: file for file in agent.ask("files")["files"]}
    assert {name: file["sealed"] for name, file in found.items()} == {
        "a-trace.bin": True,
        "a-sends.bin": False,
        "b-trace.bin": False,
    }
    trace = found["a-trace.bin"]
    assert trace["path"] == str(agent.place.logs / "a-trace.bin") and trace["size"] == len(whole)
    assert trace["hash"] == hashlib.blake2b(whole, digest_size=16).hexdigest()


def test_a_second_operator_is_given_the_key(agent):
    agent.deploy()
    assert agent.ask("key") == {"key": KEY}


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[-1].split()[0] != "Z"
    except OSError:
        return False


def waits_for_a_lock(folder: Path) -> bool:
    """Whether more than one has the folder open."""
    ours = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if exists(fd)]
    return ours.count(str(folder)) > 1


def exists(fd: str) -> bool:
    try:
        os.readlink(f"/proc/self/fd/{fd}")
        return True
    except OSError:
        return False

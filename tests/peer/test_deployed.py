"""A peer as it lives on a host: control is where a file says, and a lock says that it lives. A real process."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from comparison_server.service import Service
from group_manager.service import Service as Manager
from peer.core.errors import BAD_SETTINGS, RunError
from peer.drivers.contact import FOUND_BACKOFF_S, Contact
from peer.drivers.control_file import Control, read_control

ROOT = Path(__file__).parents[2]
KEY = bytes(range(32))
LOOPBACK = ("127.0.0.1", 0)
WAIT_S = 20


class Operator:
    """A group manager and a comparison server in this process, and the control file that leads to them."""

    def __init__(self, name: str, file: Path) -> None:
        self.manager = Manager(LOOPBACK, KEY)
        self.service = Service(LOOPBACK, KEY, manager=self.manager.endpoint, lost_s=60)
        self.name, self.file = name, file

    def lead(self) -> None:
        said = {"attached": self.name, "operator": f"{self.name}@laptop since 16:31"}
        said |= {"manager": list(self.manager.endpoint), "server": list(self.service.endpoint)}
        draft = self.file.with_suffix(".draft")
        draft.write_text(json.dumps(said))
        draft.replace(self.file)

    def until(self, reached) -> None:
        end = time.monotonic() + WAIT_S
        while not reached():
            assert time.monotonic() < end, self.service.peers
            self.manager.poll(0.01)
            self.service.poll(0.01)

    def close(self) -> None:
        self.service.close()
        self.manager.close()


@pytest.fixture
def operators(tmp_path):
    made = []

    def make(name):
        made.append(Operator(name, tmp_path / "control.json"))
        return made[-1]

    yield make
    for operator in made:
        operator.close()


@pytest.fixture
def peer(tmp_path):
    (tmp_path / "key").write_text(KEY.hex() + "\n")
    (tmp_path / "key").chmod(0o600)
    started = []

    def start(*more):
        options = ["--name", "ana", "--key", tmp_path / "key", "--logs", tmp_path / "logs", "--bind", "127.0.0.1:0"]
        options += ["--control", tmp_path / "control.json", "--pid-file", tmp_path / "ana.pid", *more]
        said = open(tmp_path / f"said-{len(started)}", "wb")
        command = [sys.executable, "-m", "peer", *map(str, options)]
        started.append(subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=said, stderr=said))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def locked(file: Path) -> bool:
    with open(file) as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
        except BlockingIOError:
            return True


def test_it_waits_for_somebody_to_say_where_control_is(operators, peer, tmp_path):
    peer()
    first = operators("first")
    first.lead()
    first.until(lambda: "ana" in first.service.peers)


def test_its_pid_file_is_locked_as_long_as_it_lives_and_says_who_it_is(operators, peer, tmp_path):
    first = operators("first")
    first.lead()
    process, file = peer(), tmp_path / "ana.pid"
    first.until(lambda: file.exists() and file.read_text())
    assert int(file.read_text()) == process.pid and locked(file)
    assert peer().wait(WAIT_S) == BAD_SETTINGS
    assert "another process holds it, and lives" in (tmp_path / "said-1").read_text()
    assert int(file.read_text()) == process.pid, "the second one changed nothing"
    process.terminate()
    process.wait(WAIT_S)
    assert not locked(file)


def test_a_peer_that_lost_control_reads_anew_where_it_is(operators, peer):
    first = operators("first")
    first.lead()
    peer()
    first.until(lambda: "ana" in first.service.peers)
    first.close()
    again = operators("first")  # the same operator, on other ports
    again.lead()
    again.until(lambda: "ana" in again.service.peers)


def test_of_two_operators_the_later_one_leads_and_the_earlier_one_is_told(operators, peer):
    first, second = operators("first"), operators("second")
    first.lead()
    process = peer()
    first.until(lambda: "ana" in first.service.peers)
    second.lead()
    os.kill(process.pid, signal.SIGHUP)
    second.until(lambda: "ana" in second.service.peers)
    with pytest.raises(RunError, match="leads no more: ana follows second@laptop since 16:31, who came later"):
        first.until(lambda: False)
    assert "second@laptop" in first.service.leads_no_more and not second.service.leads_no_more


def test_a_renewed_way_to_the_same_operator_is_followed_without_a_word(operators, peer):
    first = operators("first")
    first.lead()
    process = peer()
    first.until(lambda: "ana" in first.service.peers)
    renewed = operators("first")
    renewed.lead()
    os.kill(process.pid, signal.SIGHUP)
    renewed.until(lambda: "ana" in renewed.service.peers)
    first.until(lambda: "ana" not in first.service.peers)
    assert not first.service.leads_no_more


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"attached": "x"}', '{"attached": 1, "operator": 2, "manager": ["a", 0], "server": []}'],
)
def test_a_file_that_says_nothing_of_the_kind_is_as_none(tmp_path, text):
    file = tmp_path / "control.json"
    file.write_text(text)
    assert read_control(file) is None and read_control(tmp_path / "nowhere") is None
    file.write_text(json.dumps({"attached": "x", "operator": "o", "manager": ["::1", 1], "server": ["h", 2]}))
    assert read_control(file) == Control("x", "o", ("::1", 1), ("h", 2))


def test_where_is_asked_before_each_attempt_with_growing_pauses():
    asked, clock = [], 100.0
    contact = Contact("server", KEY, lambda contact: None, where=lambda: asked.append(clock))
    while len(asked) < 7:
        clock = contact.next_due() or clock
        list(contact.serve(clock))
        assert contact.trouble == "nobody has said where it is"
    pauses = [later - earlier for earlier, later in zip(asked, asked[1:])]
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0] and FOUND_BACKOFF_S == (0.5, 10.0)

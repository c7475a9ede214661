"""A peer as somebody starts it by hand, where its name, its manager or its output are not as they should be."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from group_manager.service import Service as Manager
from peer.core.errors import BAD_SETTINGS, INTERRUPTED
from peer.drivers.contact import Contact
from peer.drivers.program import announce, say

ROOT = Path(__file__).parents[2]
KEY = bytes(range(32))
WAIT_S = 30


@pytest.fixture
def start(tmp_path):
    """start(*arguments, **streams): a peer with a key of its own."""
    (tmp_path / "key").touch(mode=0o600)
    (tmp_path / "key").write_text(KEY.hex() + "\n")
    begun = []

    def start(*arguments, **streams):
        command = [sys.executable, "-m", "peer", "--key", "key", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        begun.append(subprocess.Popen(command, cwd=tmp_path, env=environment, **streams))
        return begun[-1]

    yield start
    for process in begun:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("option", ["--name", "--group"])
def test_a_name_that_is_no_text_is_one_sentence(start, option):
    """Fails if bytes that others cannot be told end in a traceback, or in connections that break without end."""
    process = start("--manager", "127.0.0.1:1", option.encode() + b"=\xff", stderr=subprocess.PIPE)
    _, err = process.communicate(timeout=WAIT_S)
    assert process.returncode == BAD_SETTINGS and err.count(b"\n") == 1
    assert f"argument {option}: expected a name in UTF-8".encode() in err


@pytest.mark.parametrize("name", ["a..b", "a" * 70, "\udcff"])
def test_what_is_no_name_of_a_host_is_said_in_words(name):
    """Fails if the words of a codec are told to somebody who mistyped a name."""
    contact = Contact("group manager", KEY, lambda contact: None)
    contact.endpoint = (name, 5680)
    assert list(contact.serve(0.0)) == [] and contact.trouble == "that is no name of a host"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_a_peer_plays_on_when_nobody_reads_what_it_says(start):
    """Fails if a log on a full disk, or a pipe whose reader has gone, ends the peer."""
    manager = Manager(("127.0.0.1", 0), KEY)
    where = "{}:{}".format(*manager.endpoint)
    reader, writer = os.pipe()
    os.close(reader)
    with open("/dev/full", "wb") as full:
        peers = [start("--manager", where, "--name", name, stderr=to) for name, to in (("a", full), ("b", writer))]
    os.close(writer)

    def beat():
        """Who has renewed its registration, which it does after it has said that it is registered."""
        entries = manager.membership.entries
        return {name for (_, name), entry in entries.items() if entry.expires > first.setdefault(name, entry.expires)}

    first, end = {}, time.monotonic() + WAIT_S
    try:
        while beat() != {"a", "b"}:
            assert time.monotonic() < end and [peer.poll() for peer in peers] == [None, None]
            manager.poll(0.05)
        for peer in peers:
            peer.terminate()
        assert [peer.wait(WAIT_S) for peer in peers] == [INTERRUPTED, INTERRUPTED]
    finally:
        manager.close()


def test_what_cannot_be_printed_is_no_reason_to_end(monkeypatch):
    for stream, tell in (("stdout", announce), ("stderr", say)):
        reader, writer = os.pipe()
        os.close(reader)
        with os.fdopen(writer, "w") as broken:
            monkeypatch.setattr(sys, stream, broken)
            tell("nobody reads this")
            tell("nor this")
            monkeypatch.undo()

"""Machines that are too small for a class: said in one sentence before anything starts."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from experiments import room
from experiments.room import check_room
from peer.core.errors import BAD_SETTINGS, SettingsError

ROOT = Path(__file__).parents[2]


def test_there_is_room_for_a_class_of_64_here():
    check_room(64)


def test_too_small_buffers_are_said_with_what_would_give_more(monkeypatch):
    monkeypatch.setattr(room, "BUFFER_BYTES", 100_000)  # more is not asked for, so more is not given
    check_room(4)
    given = room._receive_buffer_bytes()
    with pytest.raises(SettingsError) as caught:
        check_room(64)
    assert str(caught.value) == (
        f"peers: 64 peers need receive buffers of 419,328 bytes, and this system gives {given:,}; start fewer, or let "
        "it give more (Linux: sysctl -w net.core.rmem_max=419328)"
    )


def limited(soft, hard, *command):
    """What a command says and ends with that may open so many files."""

    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        preexec_fn=limit,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "command",
    [("comparison_server", "--spawn", "64"), ("experiments", "local", "lan", "--peers", "64")],
    ids=lambda command: command[0],
)
def test_too_few_open_files_are_said_before_anything_starts(command, tmp_path):
    where = ("--out", str(tmp_path / "runs"), "--key", str(tmp_path / "key"))
    (tmp_path / "key").touch(mode=0o600)
    (tmp_path / "key").write_text("ab" * 32)
    code, out, err = limited(200, 200, *command, *where)
    assert code == BAD_SETTINGS and out == "" and err.count("\n") == 1
    assert err == (
        "error: peers: 64 peers need 320 open files at once, and this process may have 200; start fewer, or let it "
        "have more (ulimit -n 320)\n"
    )
    assert not (tmp_path / "runs").exists()


@pytest.mark.long
def test_a_limit_that_may_be_raised_is_raised(tmp_path):
    code, out, err = limited(
        70, 4096, "experiments", "local", "lan", "--peers", "4", "--messages", "2", "--out", str(tmp_path)
    )
    assert (code, err) == (0, "")

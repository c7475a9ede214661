"""The interactive run, as somebody in front of a terminal meets it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from time import sleep

import pytest

from comparison_server.__main__ import PROMPT
from peer.core.errors import BAD_SETTINGS, HELD, INTERRUPTED, UNFINISHED
from tests.control_client import until

pytestmark = pytest.mark.long  # real processes

ROOT = Path(__file__).parents[2]
LISTENS = "The comparison server listens on 127.0.0.1:"
WAIT_S = 60


@pytest.fixture
def place(tmp_path):
    """A key, and a folder to run in."""
    (tmp_path / "key").write_text(bytes(range(32)).hex() + "\n")
    return tmp_path


def start(place, *arguments, module="comparison_server"):
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments, "--key", str(place / "key")],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(place)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def said(process, answers=""):
    out, err = process.communicate(answers, timeout=WAIT_S)
    return process.returncode, out, err


def read_until(process, text):
    """What it says up to this text; the prompt ends no line."""
    heard = ""
    while not heard.endswith(text):
        character = process.stdout.read(1)
        assert character, f"it ended after {heard!r}, and {process.stderr.read()!r}"
        heard += character
    return heard


def wait_for_deliveries(process, place):
    """Until some peer has something in the log that it keeps while the run goes on."""
    until(
        lambda: any(log.stat().st_size > 4096 for log in place.glob("ordering-lab-*/logs/*-trace.bin")),
        lambda: sleep(0.02) if process.poll() is None else pytest.fail(process.stderr.read()),
    )


def children(process):
    table = subprocess.run(["ps", "-e", "-o", "pid=,ppid=,stat="], capture_output=True, text=True).stdout
    rows = [line.split() for line in table.splitlines()]
    return [int(pid) for pid, parent, state in rows if int(parent) == process.pid and not state.startswith("Z")]


def gone(pids):
    table = subprocess.run(["ps", "-e", "-o", "pid=,stat="], capture_output=True, text=True).stdout
    alive = {int(line.split()[0]) for line in table.splitlines() if not line.split()[1].startswith("Z")}
    return not alive & set(pids)


def verdict_in(folder):
    return json.loads((folder / "verdict.json").read_text())


def test_it_asks_until_it_gets_a_number_runs_asks_again_and_ends_with_0(place):
    process = start(place, "--spawn", "3", "--ordering", "lamport_all_ack")
    heard = read_until(process, PROMPT)
    assert heard.startswith(LISTENS) and "Peers: p0, p1, p2\n" in heard
    started = children(process)
    assert len(started) == 4, "three peers and a group manager"
    code, out, err = said(process, "many\n-1\n\n99999999999999\n" + "9" * 5000 + "\n 4 \n3\n0\n")
    assert (code, err) == (HELD, "")
    answers = out.split(PROMPT)
    assert [answer.splitlines()[0] for answer in answers[:5]] == [
        "Expected a whole number, found 'many'.",
        "Expected 0 to 178,956,970, found -1.",
        "Expected a whole number, found ''.",
        "Expected 0 to 178,956,970, found 99999999999999.",
        f"Expected a whole number, found {'9' * 40!r}.",
    ]
    for answer, messages in ((answers[5], 4), (answers[6], 3)):
        assert f"lamport_all_ack in the world local: 3 peers, {messages} messages each" in answer
        assert f"{3 * messages} rounds, 0 out of order" in answer and "total" in answer
    assert answers[7:] == [""] and gone(started)
    runs = sorted(path.name for path in (place / "runs").iterdir())
    assert runs == ["interactive-local-lamport_all_ack-1", "interactive-local-lamport_all_ack-1-1"]
    first = place / "runs" / runs[0]
    assert verdict_in(first)["messages_per_peer"] == 4 and not (first / "partial").exists()


def test_disorder_shows(place):
    code, out, err = said(start(place, "--spawn", "3", "--messages", "15"))
    assert (code, err) == (HELD, "")
    verdict = verdict_in(place / "runs" / "interactive-local-unordered-1")
    assert verdict["out_of_order_rounds"] > 10 and f"{verdict['out_of_order_rounds']} out of order" in out
    assert PROMPT not in out


@pytest.mark.parametrize("answers", ["", "0\n", "0"])
def test_nobody_to_answer_is_taken_for_0(place, answers):
    process = start(place, "--spawn", "1")
    code, out, err = said(process, answers)
    assert (code, err) == (HELD, "") and out.count(PROMPT) == 1
    assert not (place / "runs").exists()


def test_ctrl_c_at_the_prompt_ends_it_and_all_it_started(place):
    process = start(place, "--spawn", "2")
    read_until(process, PROMPT)
    started = children(process)
    os.killpg(process.pid, signal.SIGINT)
    code, out, err = said(process)
    assert code == INTERRUPTED and "Traceback" not in err and gone(started)


def test_ctrl_c_during_a_run_keeps_what_there_is(place):
    process = start(place, "--spawn", "2", "--messages", "100000")
    read_until(process, LISTENS)
    wait_for_deliveries(process, place)
    started = children(process)
    os.killpg(process.pid, signal.SIGINT)
    code, out, err = said(process)
    assert code == INTERRUPTED and "Traceback" not in err and gone(started)
    folder = place / "runs" / "interactive-local-unordered-1"
    assert (folder / "partial").exists()
    assert {f"trace-{peer}.bin" for peer in range(2)} <= {path.name for path in folder.iterdir()}


def test_a_peer_that_dies_in_a_run_is_named(place):
    process = start(place, "--spawn", "3", "--messages", "100000")
    read_until(process, LISTENS)
    wait_for_deliveries(process, place)
    *_, peer = sorted(children(process))
    os.kill(peer, signal.SIGKILL)
    code, out, err = said(process)
    assert code == UNFINISHED and err == "error: p2 was ended by SIGKILL\n"
    assert "3 peers" in out and "The run is in runs/interactive-local-unordered-1" in out


def test_peers_and_manager_that_were_there_before_play_and_end_with_it(place):
    """The servers and the peers started by hand, as on machines of a cloud."""
    manager = start(place, "--bind", "127.0.0.1:0", module="group_manager")
    at = manager.stdout.readline().split()[-1]
    server = start(place, "--manager", at, "--bind", "127.0.0.1:0", "--peers", "2", "--ordering", "fixed_sequencer")
    peers = [start(place, "--manager", at, "--name", name, "--logs", name, module="peer") for name in ("zoe", "ana")]
    heard = read_until(server, PROMPT)
    assert "Peers: ana, zoe\n" in heard
    code, out, err = said(server, "6\n0\n")
    assert (code, err) == (HELD, "")
    assert "fixed_sequencer in the world cloud: 2 peers, 6 messages each\n12 rounds, 0 out of order" in out
    assert [said(process)[0] for process in (*peers, manager)] == [0, 0, 0]


def test_with_messages_given_it_leaves_those_who_were_there_before(place):
    manager = start(place, "--bind", "127.0.0.1:0", module="group_manager")
    at = manager.stdout.readline().split()[-1]
    peer = start(place, "--manager", at, "--name", "ana", module="peer")
    options = ["--manager", at, "--bind", "127.0.0.1:0", "--peers", "1"]
    assert said(start(place, *options, "--messages", "3"))[0] == HELD
    assert peer.poll() is None and manager.poll() is None
    assert said(start(place, *options, "--messages", "0"))[0] == HELD  # another server, on another port
    assert said(peer)[0] == 0 and said(manager)[0] == 0


def test_who_is_missing_is_said_when_nobody_comes(place):
    code, out, err = said(start(place, "--manager", "127.0.0.1:1", "--bind", "127.0.0.1:0", "--wait-s", "0.3"))
    assert code == UNFINISHED
    assert err == (
        "error: 0 of 2 peers are here (none) after 0.3 s; the group manager at 127.0.0.1:1: Connection refused\n"
    )


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["--ordering", "alphabetical"], "unknown ordering alphabetical"),
        (["--ordering", "lamport_all_ack:loud"], "unknown variant of lamport_all_ack loud"),
        (["--ordering", "fifo,unordered"], "one ordering at a time"),
        (["--spawn", "3", "--peers", "4"], "--peers says 4"),
        (["--spawn", "300"], "peers"),
        (["--spawn", "2", "--group", "red"], "not for --spawn"),
        (["--spawn", "none"], "--spawn"),
        (["--bind", "127.0.0.1:here"], "HOST:PORT"),
        (["--key", "/nonexistent/key"], "cannot read the key"),
        (["--messages", "-1"], "--messages"),
        (["--spawn", "2", "--messages", "400000000"], "268,435,456"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_what_cannot_be_is_one_sentence(place, arguments, sentence):
    command = [sys.executable, "-m", "comparison_server", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=WAIT_S)
    assert done.returncode == BAD_SETTINGS and done.stdout == ""
    assert sentence in done.stderr and done.stderr.count("\n") == 1


def test_help_has_an_example():
    command = [sys.executable, "-m", "comparison_server", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=WAIT_S)
    assert done.returncode == 0 and "python -m comparison_server --spawn" in done.stdout and "judge" in done.stdout


def test_on_a_terminal_it_says_live_who_is_there_and_who_is_missing(place):
    pexpect = pytest.importorskip("pexpect")
    manager = start(place, "--bind", "127.0.0.1:0", module="group_manager")
    at = manager.stdout.readline().split()[-1]
    arguments = ["-m", "comparison_server", "--manager", at, "--bind", "127.0.0.1:0", "--key", "key", "--peers", "2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "120"}
    server = pexpect.spawn(sys.executable, arguments, cwd=str(place), env=environment, timeout=WAIT_S, encoding="utf-8")
    server.expect_exact("0 of 2 peers are here (none), 2 missing")
    peers = [start(place, "--manager", at, "--name", "ana", module="peer")]
    server.expect_exact("1 of 2 peers are here (ana), 1 missing")
    peers.append(start(place, "--manager", at, "--name", "ben", "--logs", "ben", module="peer"))
    server.expect_exact(PROMPT)
    server.sendline("40")
    server.expect("send|drain")
    server.expect_exact("80 rounds")
    server.expect_exact(PROMPT)
    server.sendline("0")
    server.expect(pexpect.EOF)
    server.close()
    assert server.exitstatus == 0
    assert [said(process)[0] for process in (*peers, manager)] == [0, 0, 0]

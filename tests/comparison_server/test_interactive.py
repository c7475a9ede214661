"""The interactive run, as somebody in front of a terminal meets it."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep

import pytest

from comparison_server.__main__ import Lead
from comparison_server.coordinator import STILL_S
from comparison_server.prompt import PROMPT
from peer.core.errors import BAD_SETTINGS, HELD, INTERRUPTED, UNFINISHED
from tests.control_client import Client, until

pytestmark = pytest.mark.long  # real processes

ROOT = Path(__file__).parents[2]
LISTENS = "The comparison server listens on 127.0.0.1:"
WAIT_S = 60
ENDED = "The peers have ended: {}.\nThe group manager has ended.\nThe comparison server ends.\n"


@pytest.fixture
def place(tmp_path):
    """A key, and a folder to run in."""
    (tmp_path / "key").touch(mode=0o600)
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
        f"Expected a whole number from 0 to 178,956,970, found {nonsense!r}."
        for nonsense in ("many", "-1", "", "99999999999999", "9" * 40)
    ]
    for answer, messages in ((answers[5], 4), (answers[6], 3)):
        assert f"lamport_all_ack in the world local: 3 peers, {messages} messages each" in answer
        assert f"{3 * messages} rounds, 0 out of order" in answer and "total" in answer
    assert answers[7:] == [ENDED.format("p0, p1, p2")] and gone(started)
    runs = sorted(path.name for path in (place / "runs").iterdir())
    assert runs == ["interactive-local-lamport_all_ack-1", "interactive-local-lamport_all_ack-1-1"]
    first = place / "runs" / runs[0]
    assert verdict_in(first)["messages_per_peer"] == 4 and not (first / "partial").exists()


def test_a_spawned_manager_listens_where_it_is_told_to(place):
    process = start(place, "--spawn", "1", "--manager", "127.0.0.1:0", "--ordering", "fifo")
    first = process.stdout.readline()
    assert first.startswith("The group manager listens on 127.0.0.1:")
    read_until(process, PROMPT)
    host, _, port = first.split()[-1].rpartition(":")
    listed = Client((host, int(port)), bytes(range(32)), sleep).ask({"op": "list", "name": "guest", "group": ""})
    assert [member["name"] for member in listed["members"]] == ["p0"]
    assert said(process)[0] == HELD


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
    assert (code, err) == (HELD, "") and out.count(PROMPT) == 1 and out.endswith(ENDED.format("p0"))
    assert not (place / "runs").exists()


def test_ctrl_c_at_the_prompt_ends_it_and_all_it_started(place):
    process = start(place, "--spawn", "2")
    read_until(process, PROMPT)
    started = children(process)
    os.killpg(process.pid, signal.SIGINT)
    code, out, err = said(process)
    assert (code, err) == (INTERRUPTED, "interrupted\n") and gone(started)
    assert out.endswith(ENDED.format("p0, p1"))


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
    assert code == UNFINISHED and err.startswith("error: p2 was ended by SIGKILL") and err.count("\n") == 1
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


@pytest.fixture
def classroom(place):
    """A group manager and three peers that were started by hand; what starts a comparison server for them."""
    manager = start(place, "--bind", "127.0.0.1:0", module="group_manager")
    where = manager.stdout.readline().split()[-1]
    started = [manager]
    for name in ("ana", "bob", "eva"):
        about = ["--manager", where, "--name", name, "--bind", "127.0.0.1:0", "--logs", str(place / "logs")]
        started.append(start(place, *about, module="peer"))

    def serve(*arguments):
        listen = ["--manager", where, "--bind", "127.0.0.1:0", "--peers", "3", "--ordering", "lamport_all_ack"]
        started.append(start(place, *listen, *arguments))
        return started[-1]

    yield serve
    for process in started:
        process.kill()
        process.communicate()


def test_a_run_whose_server_was_killed_is_taken_up_by_the_next_one(place, classroom):
    first = classroom("--messages", "100")
    until(lambda: any(log.stat().st_size > 4096 for log in place.glob("logs/*-trace.bin")), lambda: sleep(0.02))
    first.kill()
    first.communicate()
    second = classroom()
    heard = read_until(second, PROMPT)
    taken_up = "ana, bob, eva play a run that is not led from here (lamport_all_ack): it is taken up."
    assert taken_up in heard and "The run was taken up from another comparison server.\n" in heard
    assert "lamport_all_ack in the world cloud: 3 peers, 100 messages each" in heard
    assert "300 rounds, 0 out of order" in heard
    code, out, err = said(second, "5\n0\n")
    assert (code, err) == (HELD, "") and "15 rounds, 0 out of order" in out
    assert sorted(path.name for path in (place / "runs").iterdir()) == [
        "interactive-cloud-lamport_all_ack-1",  # of the one that was killed: partial
        "interactive-cloud-lamport_all_ack-1.2",
        "interactive-cloud-lamport_all_ack-1.3",
    ]
    assert (place / "runs" / "interactive-cloud-lamport_all_ack-1" / "partial").exists()
    taken = verdict_in(place / "runs" / "interactive-cloud-lamport_all_ack-1.2")
    assert taken["complete"] and taken["error"] is None
    told, *away = taken["remarks"]
    assert told == "The run was taken up from another comparison server."
    assert all(re.fullmatch(r"(ana|bob|eva) was without connection for \d+\.\d s\.", remark) for remark in away)


def test_a_server_that_slept_blames_nobody(place, classroom):
    """As on a laptop whose lid was closed for longer than the run's deadlines let anybody be late."""
    server = classroom("--messages", "60")
    until(lambda: any(log.stat().st_size > 4096 for log in place.glob("logs/*-trace.bin")), lambda: sleep(0.02))
    os.kill(server.pid, signal.SIGSTOP)
    woken = monotonic() + STILL_S + 1
    until(lambda: monotonic() > woken, lambda: sleep(0.05))
    os.kill(server.pid, signal.SIGCONT)
    code, out, err = said(server)
    assert (code, err) == (HELD, "") and "180 rounds, 0 out of order" in out
    assert "The comparison server stood still for " in out


def test_a_group_that_is_led_is_not_led_by_a_second_server_unless_it_takes_over(place, classroom):
    first = classroom()
    read_until(first, PROMPT)
    code, out, err = said(classroom())
    assert code == BAD_SETTINGS and "the group is led by the comparison server at 127.0.0.1:" in err
    assert "--take-over" in err and "--group" in err
    third = classroom("--take-over")
    read_until(third, PROMPT)
    assert first.wait(WAIT_S) == UNFINISHED and "this comparison server leads no more" in first.stderr.read()
    assert said(third, "4\n0\n")[0] == HELD


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
        (["--ordering", "fifo,unordered"], "expected one ordering"),
        (["--spawn", "3", "--peers", "4"], "--peers says 4"),
        (["--spawn", "300"], "--spawn"),
        (["--peers", "300"], "--peers"),
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


@pytest.mark.parametrize("file", [None, "runs/one/verdict.json"])
def test_a_full_disk_ends_a_run_and_not_the_lesson(monkeypatch, capsys, file):
    """Fails if the comparison server ends, and a class of peers is left alone, because a run cannot be kept."""

    def run(self, messages):
        raise OSError(errno.ENOSPC, "No space left on device", file)

    monkeypatch.setattr(Lead, "wait", lambda self: HELD)
    monkeypatch.setattr(Lead, "run", run)
    assert Lead(None, None, 2, 1.0, Path("runs"))._wait_and_run(3) == UNFINISHED
    assert capsys.readouterr().err == f"error: the run cannot be kept: {file or 'runs'}: No space left on device\n"


# On a terminal

SHOWN = PROMPT.rstrip()  # a terminal is told to move the cursor, not to print a space
UP, CTRL_C, CTRL_D = "\x1b[A", "\x03", "\x04"


@pytest.fixture
def terminal(place):
    pexpect = pytest.importorskip("pexpect")
    begun = []

    def terminal(*arguments):
        process = pexpect.spawn(
            sys.executable,
            ["-m", "comparison_server", *arguments, "--key", "key"],
            cwd=str(place),
            env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(place), "TERM": "xterm"},
            dimensions=(40, 150),
            timeout=WAIT_S,
            encoding="utf-8",
        )
        begun.append(process)
        return process

    yield terminal
    for process in begun:
        process.close(force=True)


def answer(process, keys):
    process.expect_exact(SHOWN)
    process.send(keys)


def ended(process, peers):
    """It says that all end in order; its exit code."""
    process.expect_exact(ENDED.format(peers).replace("\n", "\r\n"))
    process.read()
    process.close()
    return process.exitstatus


def wrapped(text):
    """What finds this text whatever the width of the terminal."""
    return r"\s+".join(map(re.escape, text.split()))


def child_called(process, name):
    table = subprocess.run(["ps", "-e", "-ww", "-o", "pid=,ppid=,args="], capture_output=True, text=True).stdout
    rows = [line.split() for line in table.splitlines()]
    (pid,) = (int(row[0]) for row in rows if row[1] == str(process.pid) and {"--name", name} <= set(row))
    return pid


def test_a_lesson_on_a_terminal(place, terminal):
    """Nonsense, arrow keys, a peer killed in between, Ctrl-C in a run, one run more; 0 at the end."""
    server = terminal("--spawn", "4", "--ordering", "fixed_sequencer")
    for nonsense in ("many", "-3"):
        answer(server, nonsense + "\r")
        server.expect_exact(f"Expected a whole number from 0 to 134,217,728, found {nonsense!r}.")
    answer(server, "6\r")
    server.expect_exact("24 rounds, 0 out of order")
    started = children(server)
    answer(server, f"{UP}\r")
    server.expect_exact("24 rounds, 0 out of order")
    server.expect_exact(SHOWN)
    os.kill(child_called(server, "p2"), signal.SIGKILL)
    server.send("7\r")
    server.expect_exact("p2 was ended by SIGKILL; it is gone for good, and 3 of 4 peers are left.")
    server.expect_exact("21 rounds, 0 out of order")
    server.expect_exact("The verdict calls the peers by their numbers: 0 is p0, 1 is p1, 2 is p3.")
    answer(server, "100000\r")
    server.expect_exact("Ctrl-C ends this run")
    server.expect_exact("running")
    server.sendintr()
    server.expect_exact("3 peers, 100000 messages each")
    server.expect_exact("error: interrupted in phase send")
    answer(server, "3\r")
    server.expect_exact("9 rounds, 0 out of order")
    answer(server, "0\r")
    assert ended(server, "p0, p1, p3") == UNFINISHED, "which is the worst of these runs"
    assert len(started) == 5 and gone(started)
    runs = list((place / "runs").iterdir())
    assert len(runs) == 5
    assert [run.name for run in runs if (run / "partial").exists()] == ["interactive-local-fixed_sequencer-1-3"]
    assert (place / ".lab" / "history").read_text().split() == ["6", "6", "7", "100000", "3", "0"]


@pytest.mark.parametrize(("key", "code"), [(CTRL_C, INTERRUPTED), (CTRL_D, HELD)])
def test_ctrl_c_or_d_at_the_prompt_of_a_terminal_ends_everything(terminal, key, code):
    server = terminal("--spawn", "2")
    server.expect_exact(SHOWN)
    started = children(server)
    server.send(key)
    assert ended(server, "p0, p1") == code and gone(started)


def test_ctrl_c_twice_in_a_run_ends_everything(terminal):
    server = terminal("--spawn", "3")
    answer(server, "100000\r")
    server.expect_exact("running")
    started = children(server)
    still, other = child_called(server, "p0"), child_called(server, "p1")
    os.kill(still, signal.SIGSTOP)  # its log will be waited for
    server.sendintr()
    server.expect_exact("upload")
    server.sendintr()
    until(lambda: gone([other]), lambda: sleep(0.05), timeout_s=WAIT_S)
    os.kill(still, signal.SIGCONT)
    assert ended(server, "p0, p1, p2") == INTERRUPTED and gone(started)


def test_too_few_of_the_spawned_are_left(terminal):
    server = terminal("--spawn", "2")
    server.expect_exact(SHOWN)
    started = children(server)
    os.kill(child_called(server, "p1"), signal.SIGKILL)
    server.send("5\r")
    server.expect_exact("p1 was ended by SIGKILL; it is gone for good, and 1 of 2 peers are left.")
    server.expect_exact("error: 1 of 2 peers are left, and a run needs 2")
    assert ended(server, "p0") == UNFINISHED and gone(started)


def test_on_a_terminal_it_says_while_it_waits_why_nobody_can_come(place, terminal):
    """Fails if a wrong port or a wrong key is told only when the waiting has ended, which may take ten minutes."""
    server = terminal("--manager", "127.0.0.1:1", "--bind", "127.0.0.1:0")
    server.expect(r"listens on (\S+)\s")
    where = server.match[1]
    server.expect(wrapped("the group manager at 127.0.0.1:1: Connection refused; Ctrl-C ends the waiting"))
    (place / "other").touch(mode=0o600)
    (place / "other").write_text(bytes(32).hex() + "\n")
    command = [sys.executable, "-m", "peer", "--server", where, "--manager", "127.0.0.1:1", "--key", "other"]
    peer = subprocess.Popen(command, cwd=place, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL)
    try:
        server.expect(wrapped("a connection was turned away: key: the other side has another key"))
    finally:
        peer.kill()
        peer.communicate()


def test_on_a_terminal_it_says_live_who_is_there_and_who_is_missing(place, terminal):
    """Peers that were started by hand may come back, or others in their place: their number is what is wanted."""

    def peer(name):
        return start(place, "--manager", at, "--name", name, "--logs", name, module="peer")

    manager = start(place, "--bind", "127.0.0.1:0", module="group_manager")
    at = manager.stdout.readline().split()[-1]
    server = terminal("--manager", at, "--bind", "127.0.0.1:0", "--peers", "2")
    server.expect_exact("0 of 2 peers are here (none), 2 missing")
    ana = peer("ana")
    server.expect_exact("1 of 2 peers are here (ana), 1 missing")
    ben = peer("ben")
    answer(server, "40\r")
    server.expect_exact("running")
    server.expect_exact("80 rounds")
    server.expect_exact(SHOWN)
    ben.kill()
    ben.communicate()
    server.send("3\r")
    server.expect_exact("1 of 2 peers are here (ana), 1 missing: ben; Ctrl-C ends the waiting")
    server.sendintr()
    server.expect_exact("No more waiting, and no run.")
    answer(server, "3\r")
    server.expect_exact("1 missing: ben")
    cy = peer("cy")
    server.expect_exact("6 rounds")
    server.expect_exact("0 is ana, 1 is cy")
    answer(server, "0\r")
    assert ended(server, "ana, cy") == HELD
    assert [said(process)[0] for process in (ana, cy, manager)] == [0, 0, 0]

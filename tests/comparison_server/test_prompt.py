"""The question for the number of messages, on a terminal and without one."""

import os
import subprocess
import sys
from pathlib import Path
from time import sleep

import pytest

from comparison_server.prompt import HISTORY, PROMPT, named
from peer.core.commands import Hello, to_message
from tests.control_client import Client

ROOT = Path(__file__).parents[2]
KEY = bytes(range(32))
WAIT_S = 30
MOST = 1000
SHOWN = PROMPT.rstrip()  # a terminal is told to move the cursor, not to print a space
UP = "\x1b[A"

# Asks as the comparison server does, without any run.
ASKS = f"""
from comparison_server.prompt import answers, ask
from comparison_server.service import Service

with Service(("127.0.0.1", 0), {KEY!r}) as service:
    print("listens on {{}}:{{}}".format(*service.endpoint), flush=True)
    lines = answers()
    print(type(lines).__name__, flush=True)
    try:
        while messages := ask(lines, service, lambda: {MOST}):
            print("answered", messages, "with", *service.peers, flush=True)
        print("ended", flush=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


@pytest.fixture
def asks(tmp_path):
    pexpect = pytest.importorskip("pexpect")
    (tmp_path / "asks.py").write_text(ASKS)
    begun = []

    def asks(term="xterm", kind="Terminal"):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": term}
        terminal = pexpect.spawn(
            sys.executable, ["asks.py"], cwd=str(tmp_path), env=environment, timeout=WAIT_S, encoding="utf-8"
        )
        begun.append(terminal)
        terminal.expect(r"listens on 127.0.0.1:(\d+)\s")
        terminal.endpoint = ("127.0.0.1", int(terminal.match[1]))
        terminal.expect_exact(kind)
        return terminal

    asks.folder = tmp_path
    yield asks
    for terminal in begun:
        terminal.close(force=True)


def answer(terminal, keys):
    terminal.expect_exact(SHOWN)
    terminal.send(keys)


def ended(terminal, how):
    terminal.expect_exact(how)
    terminal.expect_exact("\r\n")
    assert terminal.read() == "", "nothing comes after that"
    terminal.close()
    return terminal.exitstatus == 0


@pytest.mark.parametrize("nonsense", ["many", "-1", "", "1.5", "1001", "9" * 5000])
def test_nonsense_is_told_what_is_expected_and_asked_again(nonsense):
    asked = subprocess.run(
        [sys.executable, "-c", ASKS],
        cwd=ROOT,
        input=f"{nonsense}\n 7 \n0\n",
        capture_output=True,
        text=True,
        timeout=30,
    )
    first, second, third, last = asked.stdout.split(PROMPT)
    assert first.endswith("Lines\n") and asked.stderr == ""
    assert second == f"Expected a whole number from 0 to 1,000, found {nonsense[:40]!r}.\n"
    assert third == "answered 7 with\n" and last == "ended\n"


@pytest.mark.parametrize("end", ["", "3"])
def test_the_end_of_a_pipe_is_0(end):
    asked = subprocess.run(
        [sys.executable, "-c", ASKS], cwd=ROOT, input=end, capture_output=True, text=True, timeout=WAIT_S
    )
    assert asked.stdout.endswith(f"{PROMPT}\nended\n") and asked.stdout.count("answered 3") == len(end)


def test_arrow_keys_edit_the_line_and_bring_back_what_was_answered(asks):
    terminal = asks()
    answer(terminal, "12\r")
    terminal.expect_exact("answered 12 with")
    answer(terminal, "35\x1b[D4\r")  # one to the left
    terminal.expect_exact("answered 345 with")
    answer(terminal, "nonsense\r")
    terminal.expect_exact("Expected a whole number from 0 to 1,000, found 'nonsense'.")
    answer(terminal, f"{UP}{UP}{UP}\r")
    terminal.expect_exact("answered 12 with")
    answer(terminal, "0\r")
    assert ended(terminal, "ended")
    assert (asks.folder / HISTORY).read_text() == "12\n345\n12\n0\n"


def test_answers_of_another_day_are_remembered(asks):
    (asks.folder / HISTORY).parent.mkdir()
    (asks.folder / HISTORY).write_bytes(b"\xff\n23\n")
    terminal = asks()
    answer(terminal, f"{UP}\r")
    terminal.expect_exact("answered 23 with")
    answer(terminal, "\x04")
    assert ended(terminal, "ended")


def test_a_history_that_cannot_be_written_is_none(asks):
    (asks.folder / HISTORY.parent).write_text("a file where the folder should be")
    terminal = asks()
    answer(terminal, "12\r")
    terminal.expect_exact("answered 12 with")
    answer(terminal, f"{UP}\r")  # of this time it is remembered
    terminal.expect_exact("answered 12 with")
    answer(terminal, "0\r")
    assert ended(terminal, "ended")


def test_ctrl_d_is_0_and_ctrl_c_an_interrupt(asks):
    for key, how in (("\x04", "ended"), ("\x03", "interrupted")):
        terminal = asks()
        answer(terminal, key)
        assert ended(terminal, how)


def test_to_be_ended_from_outside_leaves_the_terminal_as_it_was(asks):
    terminal = asks()
    terminal.expect_exact(SHOWN)
    os.kill(terminal.pid, 2)
    assert ended(terminal, "interrupted")


def test_a_dumb_terminal_gets_plain_lines(asks):
    for term in ("dumb", "unknown"):
        terminal = asks(term, "Lines")
        answer(terminal, "12\r")
        terminal.expect_exact("answered 12 with")
        answer(terminal, "\x03")
        assert ended(terminal, "interrupted")


@pytest.mark.parametrize(("term", "kind"), [("xterm", "Terminal"), ("dumb", "Lines")])
def test_who_comes_while_somebody_types_is_served(asks, term, kind):
    terminal = asks(term, kind)
    answer(terminal, "1")
    ana = Client(terminal.endpoint, KEY, sleep)
    assert ana.ask(
        to_message(Hello("ana", "", "1", "3.11", "some run", "running"))
    )  # about a run that it does not know
    terminal.send("2\r")
    terminal.expect_exact("answered 12 with ana")


def test_many_names_are_cut():
    assert named([]) == "none" and named(["a", "b"]) == "a, b"
    assert named([f"p{number}" for number in range(9)], 3) == "p0, p1, p2 and 6 more"

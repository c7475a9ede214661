"""A run as a terminal shows it: who lags is told first, and it never grows beyond the terminal."""

import io
import os
import sys
import termios
from pathlib import Path

import pytest
from rich.console import Console

from comparison_server import live
from comparison_server.live import LiveRun, shown
from comparison_server.service import MemberProgress, Progress

MESSAGES = 50


def member(name, delivered=0, **about):
    given = {"phase": "running", "connected": True, "silent_s": 0.5, "asked": 10, "resent": 0, "waits_for": []}
    return MemberProgress(name, delivered=delivered, **{**given, **about})


def progress(*members, waiting_for=(), phase="send"):
    return Progress(phase, 7.4, list(waiting_for), MESSAGES, list(members), 2_000, 8_000)


def lines(progress, most=20, width=120):
    console = Console(file=io.StringIO(), width=width, height=50)
    console.print(shown(progress, most))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_a_line_for_each_peer_says_how_far_it_is_and_what_keeps_it():
    bar, titles, *rows = lines(
        progress(
            member("ana", 1234, asked=50, resent=7, waits_for=["ana", "ben", "cy"], phase="drained", latency_s=0.187),
            member("ben", 20, silent_s=4.2, waits_for=["ana"], latency_s=12.34),
            member("cy", connected=False, silent_s=3.4),
            member("[red]dan", 90, latency_s=0.00042),
            waiting_for=["ben", "cy"],
        )
    )
    assert bar.endswith("send 7 s, 1,344 of 800 deliveries, waits for ben, cy")
    assert titles.split() == ["peer", "phase", "sent", "delivered", "resent", "latency"]
    assert [" ".join(row.split()) for row in rows] == [
        "ana drained 50 of 50 1,234 of 200 7 187 ms waits for ben, cy",
        "ben running 10 of 50 20 of 200 0 12.3 s silent for 4 s, waits for ana",
        "cy running 10 of 50 0 of 200 0 no connection for 3 s",
        "[red]dan running 10 of 50 90 of 200 0 0.4 ms",
    ]


def test_logs_are_counted_in_bytes():
    bar, *_ = lines(progress(member("ana"), phase="upload", waiting_for=["ana"]))
    assert bar.endswith("upload 7 s, 2,000 of 8,000 bytes of logs, waits for ana")


def test_logs_that_come_from_a_control_host_come_without_peers():
    """Fails if the picture needs at least one of them."""
    bar, *_ = lines(progress(phase="upload"))
    assert bar.endswith("upload 7 s, 2,000 of 8,000 bytes of logs")


def test_what_is_shown_is_told_elsewhere_too_also_where_no_terminal_is():
    heard = []
    with LiveRun(also=heard.append) as view:
        view.show(of_one := progress(member("ana")))
    assert heard == [of_one]


@pytest.mark.parametrize("most", [-3, 1, 5, 20, 63])
def test_of_many_peers_those_that_keep_the_run_come_first_and_the_rest_is_summed_up(most):
    members = [member(f"p{number}", 100 + number) for number in range(64)]
    members[40].connected = False
    of_many = progress(*members, waiting_for=["p50", "p60", "p3", "p40", "p7"])
    bar, _, *rows, rest = lines(of_many, most)
    assert len(rows) == max(1, most)
    assert bar.endswith("waits for p50, p60, p3, p40 and 1 more")
    assert [row.split()[0] for row in rows[:6]] == ["p40", "p3", "p7", "p50", "p60", "p0"][: len(rows)]
    told = {row.split()[0] for row in rows}
    left = [each.delivered for each in members if each.name not in told]
    between = f"{left[0]}" if len(left) == 1 else f"{min(left)} to {max(left)}"
    assert (
        rest == f"and {len(left)} more: sent {10 * len(left)} of {50 * len(left):,}, each delivered {between}, 0 resent"
    )


def test_no_line_is_wrapped_where_the_terminal_is_narrow():
    members = [member("a" * 64, waits_for=[f"peer-{number}" for number in range(9)]) for _ in range(3)]
    shown = lines(progress(*members, waiting_for=["a" * 64] * 3), width=60)
    assert len(shown) == 1 + 1 + 3 and all(len(line) <= 60 for line in shown)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """A terminal of 12 lines as standard error, and a clock."""

    def terminal(term="xterm"):
        screen = Terminal()
        monkeypatch.setattr("sys.stderr", screen)
        monkeypatch.setenv("TERM", term)
        monkeypatch.setenv("LINES", "12")
        monkeypatch.setenv("COLUMNS", "100")
        return screen

    return terminal


def test_it_is_drawn_a_few_times_a_second_within_the_terminal_and_vanishes(terminal, monkeypatch):
    screen, now = terminal(), [100.0]
    monkeypatch.setattr(live, "monotonic", lambda: now[0])
    with LiveRun("[dim]how to end it[/]") as view:
        for step in range(20):
            view.show(progress(*(member(f"p{number}", step) for number in range(64))))
            now[0] += live.REDRAWN_S / 4
    drawn = screen.getvalue().split("how to end it")
    assert len(drawn) == 1 + 1 + 5 + 1  # before anything, as it begins, as the run goes on, as it ends
    assert all(picture.count("\n") < 12 for picture in drawn)
    assert drawn[-1].endswith("\x1b[2K") and "and 57 more" in drawn[2]


@pytest.mark.parametrize("term", ["dumb", None])
def test_nothing_is_drawn_where_nobody_looks(terminal, term, capsys):
    screen = terminal(term) if term else None
    with LiveRun("heading") as view:
        view.show(progress(member("ana")))
        view.between_runs()
    assert (screen.getvalue() if screen else capsys.readouterr().err) == ""


def test_of_a_name_something_is_left_where_the_terminal_is_narrow():
    """Fails if who lags cannot be told from the others on a terminal of 40 columns."""
    of_two = progress(member("p0", 1234, waits_for=["p1"]), member("p1", resent=1234, phase="handshake"))
    _, _, *rows = lines(of_two, width=40)
    assert [row.split()[0] for row in rows] == ["p0", "p1"]
    of_two.members[1].name = "peer-with-a-long-name"
    assert lines(of_two, width=40)[3].startswith("peer-wi")


WATCHED = """
from comparison_server.live import LiveRun
try:
    with LiveRun("heading"):
        print("shown", flush=True)
        input()
        raise KeyboardInterrupt
except KeyboardInterrupt:
    print("over", flush=True)
input()
"""


@pytest.mark.parametrize("end", ["typed\r", "\x03"])
def test_what_is_typed_does_not_shift_it_and_the_terminal_gets_its_manners_back(end):
    """Fails if keys are echoed into the picture, or are no more after it, however it ended."""
    pexpect = pytest.importorskip("pexpect")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "TERM": "xterm"}
    process = pexpect.spawn(sys.executable, ["-c", WATCHED], env=environment, timeout=30, encoding="utf-8")
    try:
        assert process.getecho()
        process.expect_exact("shown")
        assert not process.getecho()
        process.send(end)
        process.expect_exact("over")
        assert "typed" not in process.before and process.getecho()
        process.send("seen\r")
        process.expect_exact("seen")
    finally:
        process.close(force=True)


def test_a_terminal_of_somebody_else_is_left_alone(monkeypatch):
    """Fails if a program in the background, which would be stopped for that, changes the terminal."""
    controller, terminal = os.openpty()
    before = termios.tcgetattr(terminal)
    with os.fdopen(terminal, "w") as screen:
        monkeypatch.setattr("sys.stderr", screen)
        monkeypatch.setattr("os.tcgetpgrp", lambda descriptor: os.getpgrp() + 1)
        with live.typing_unseen():
            assert termios.tcgetattr(screen) == before
    os.close(controller)

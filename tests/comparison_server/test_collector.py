"""The collector as a program of its own, with a desk, and with peers that play nothing, and badly."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from comparison_server.collector import CLOSE, END, LOSE, as_written, outcome_from, progress_from
from comparison_server.desk import ENDED, HOME, LED, WAITING, Desk, read, write
from comparison_server.service import MemberProgress, Outcome, Progress
from peer.core.commands import Close, Counts, Prepare, Release
from peer.core.errors import RunError
from tests.comparison_server.fake_peer import FakePeer
from tests.control_client import until
from tests.runs import run_settings

ROOT = Path(__file__).parents[2]
KEY = bytes(range(32))
FIRST, SECOND, THIRD = "1" * 16, "2" * 16, "3" * 16
IN_TIME_S = 20.0

pytestmark = pytest.mark.long  # real processes


class Place:
    """A control host with a desk, a collector that is started and killed, and peers."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.desk = folder, Desk(folder / "desk")
        self.desk.make()
        (folder / "key").write_text(KEY.hex())
        (folder / "key").chmod(0o600)
        self.endpoint = ("127.0.0.1", _free_port())
        self.process: subprocess.Popen | None = None
        self.peers: dict[str, FakePeer] = {}
        self.words = 0

    def command(self, **options: object) -> list[str]:
        given = {
            "--desk": self.desk.folder,
            "--bind": "{}:{}".format(*self.endpoint),
            "--manager": "127.0.0.1:1",
            "--key": self.folder / "key",
            "--pid-file": self.folder / "collector.pid",
            **{f"--{name.replace('_', '-')}": value for name, value in options.items()},
        }
        return [
            sys.executable,
            "-m",
            "comparison_server.collector",
            *(str(word) for pair in given.items() for word in pair),
        ]

    def start(self, **options: object) -> subprocess.Popen:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        self.process = subprocess.Popen(self.command(**options), cwd=ROOT, **pipes)
        self.until(lambda: self.desk.progress.exists(), "the collector says how it is")
        return self.process

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=IN_TIME_S)
        self.desk.progress.unlink(missing_ok=True)

    def join(self, *names: str, **options: Any) -> list[FakePeer]:
        for name in names:
            self.peers[name] = FakePeer(name, self.endpoint, KEY, **options).start()
        self.until(lambda: set(names) <= set(read(self.desk.progress)["peers"]), f"{names} are here")
        return [self.peers[name] for name in names]

    def order(self, run: str, *members: str, **changed: Any) -> None:
        settings = replace(run_settings(peers=len(members)), members=members)
        order = {"settings": asdict(settings), "agreement": True, "header": {"scenario": "test"}, "operator": "me"}
        self.desk.run(run).mkdir(exist_ok=True)
        write(self.desk.order(run), order | changed)

    def say(self, **word: object) -> None:
        self.words += 1
        write(self.desk.words / f"{self.words}.json", word)

    def outcome(self, run: str, timeout_s: float = IN_TIME_S) -> Outcome:
        self.until(lambda: self.desk.outcome(run).exists(), f"run {run} has ended", timeout_s)
        return outcome_from(read(self.desk.outcome(run)), self.desk.run(run))

    def progress(self, run: str, phase: str) -> Progress:
        """Once it is told that this run is that far."""

        def told() -> dict[str, Any] | None:
            said = read(self.desk.progress) or {}
            return said.get("progress") if said.get("run") == run else None

        self.until(lambda: (told() or {}).get("phase") == phase, f"run {run} is in phase {phase}")
        return progress_from(told())

    def until(self, true: Callable[[], Any], what: str, timeout_s: float = IN_TIME_S) -> None:
        deadline = monotonic() + timeout_s
        while not true():
            assert self.process.poll() is None, f"before {what}, the collector ended: {self.process.communicate()[0]}"
            assert monotonic() < deadline, f"not in time: {what}"
            sleep(0.01)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    for peer in place.peers.values():
        peer.end()
    if place.process is not None and place.process.poll() is None:
        place.process.kill()
        place.process.communicate(timeout=IN_TIME_S)


def _free_port() -> int:
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return tried.getsockname()[1]


def _holds(folder: Path, place: int, peer: FakePeer) -> bool:
    return all((folder / f"{kind}-{place}.bin").read_bytes() == data for kind, data in peer.files.items())


# -- orders


def test_orders_are_led_in_the_order_in_which_they_were_laid_and_nobody_need_be_there(place):
    place.order(SECOND, "a", "b")
    os.utime(place.desk.order(SECOND), ns=(1, 1))
    place.order(FIRST, "a", "b")
    place.start()
    a, b = place.join("a", "b")
    for run in (SECOND, FIRST):
        outcome = place.outcome(run)
        assert (outcome.run, outcome.complete, outcome.error, outcome.missing) == (run, True, None, [])
        assert outcome.counts["a"].delivered == 21 and outcome.measures["b"] == {"datagrams_sent": 42}
        assert _holds(outcome.folder, 0, a) and _holds(outcome.folder, 1, b)
    prepared = [command.run for command in a.heard if type(command) is Prepare]
    assert prepared[-2:] == [SECOND, FIRST]  # maybe told twice: it came while the run began
    assert a.told.header["scenario"] == "test"
    assert place.desk.orders() == {SECOND: ENDED, FIRST: ENDED}


def test_it_tells_how_far_a_run_is_and_who_is_there(place):
    place.start()
    place.join("a", deaf_to=(Close,))
    place.join("b")
    place.order(FIRST, "a", "b")
    progress = place.progress(FIRST, "upload")
    assert [member.name for member in progress.members] == ["a", "b"]
    assert progress.waiting_for == ["a"] and progress.delivered == 42
    assert read(place.desk.progress)["peers"] == ["a", "b"]
    assert place.desk.orders() == {FIRST: LED}


@pytest.mark.parametrize("wrong", [{"settings": {"members": "many"}}, {"settings": None}, {"settings": {}}])
def test_an_order_that_cannot_be_understood_ends_with_an_error_and_keeps_nobody(place, wrong):
    place.order(FIRST, "a", **wrong)
    os.utime(place.desk.order(FIRST), ns=(1, 1))
    place.order(SECOND, "a")
    place.start()
    place.join("a")
    assert "the order cannot be understood" in str(place.outcome(FIRST).error)
    assert place.outcome(SECOND).complete


def test_of_what_was_brought_home_only_the_last_stays_when_others_come(place):
    place.start()
    place.join("a")
    for run in (FIRST, SECOND):
        place.order(run, "a")
        place.outcome(run)
        place.desk.home(run).touch()
    place.order(THIRD, "a")
    place.outcome(THIRD)
    assert place.desk.orders() == {SECOND: HOME, THIRD: ENDED}
    assert not place.desk.run(FIRST).exists()


# -- words


def test_a_run_that_is_to_be_closed_is_closed_and_collected(place):
    place.start()
    a, b = place.join("a", "b", deaf_to=(Release,))
    place.order(FIRST, "a", "b")
    place.progress(FIRST, "send")
    place.say(do=CLOSE, run=SECOND)  # another one
    place.say(do=CLOSE, run=FIRST)
    outcome = place.outcome(FIRST)
    assert (outcome.error.phase, str(outcome.error)) == ("send", "interrupted in phase send")
    assert not outcome.complete and outcome.missing == [] and _holds(outcome.folder, 0, a)
    for peer in (a, b):
        peer.deaf_to = ()
    place.order(SECOND, "a", "b")
    assert place.outcome(SECOND).complete, "one that was closed does not close the next one"


def test_an_order_that_waits_can_be_taken_back(place):
    place.start()
    (a,) = place.join("a", deaf_to=(Release,))
    place.order(FIRST, "a")
    place.progress(FIRST, "send")
    place.order(SECOND, "a")
    assert place.desk.orders()[SECOND] == WAITING
    place.say(do=CLOSE, run=SECOND)
    assert str(place.outcome(SECOND).error) == "interrupted before it began"
    assert place.desk.orders() == {FIRST: LED, SECOND: ENDED}
    place.say(do=CLOSE, run=FIRST)
    place.outcome(FIRST)
    assert [command.run for command in a.heard if type(command) is Prepare] == [FIRST]


def test_a_peer_that_is_known_to_be_gone_is_not_waited_for(place):
    place.start()
    place.join("a")
    place.join("b", deaf_to=(Release,))
    place.order(FIRST, "a", "b")
    place.progress(FIRST, "send")
    place.peers["b"].end()
    place.say(do=LOSE, run=FIRST, name="b", sentence="b was seen to end")
    outcome = place.outcome(FIRST)
    assert outcome.error.peers == ["b"] and "b was seen to end, in phase send" in str(outcome.error)
    assert outcome.missing == ["b"]


def test_it_ends_the_peers_and_itself_once_nothing_is_left_to_be_led(place):
    place.start()
    a, b = place.join("a", "b", deaf_to=(Release,))
    place.order(FIRST, "a", "b")
    place.progress(FIRST, "send")
    place.order(SECOND, "a", "b")
    place.say(do=END)
    place.until(lambda: not list(place.desk.words.iterdir()), "it was heard")
    assert a.stopped is None
    for peer in (a, b):
        peer.deaf_to = ()
    place.say(do=CLOSE, run=FIRST)
    assert place.process.wait(IN_TIME_S) == 0
    assert place.desk.orders() == {FIRST: ENDED, SECOND: ENDED}
    assert a.stopped and b.stopped and not place.desk.progress.exists()


# -- its own death


@pytest.mark.parametrize(("deaf_to", "phase"), [(Prepare, "handshake"), (Release, "send"), (Close, "upload")])
def test_killed_and_started_again_it_leads_on_what_the_peers_play(place, deaf_to, phase):
    place.start()
    a, b = place.join("a", "b", **({} if deaf_to is Prepare else {"deaf_to": (deaf_to,)}))
    if deaf_to is Prepare:
        a.deaf_to = (Prepare,)
    place.order(FIRST, "a", "b")
    place.progress(FIRST, phase)
    place.order(SECOND, "a", "b")
    place.kill()
    a.deaf_to = b.deaf_to = ()
    place.start()
    outcome = place.outcome(FIRST)
    assert outcome.complete and outcome.error is None, outcome
    assert "The run was taken up from another comparison server." in outcome.remarks
    assert _holds(outcome.folder, 0, a) and _holds(outcome.folder, 1, b)
    assert place.outcome(SECOND).complete


def test_a_run_that_nobody_plays_any_more_ends_with_an_error(place):
    place.start()
    place.join("a", deaf_to=(Release,))
    place.order(FIRST, "a")
    place.progress(FIRST, "send")
    place.kill()
    place.peers["a"].end()
    place.say(do=END)  # to the one that was there before
    place.start(return_s=1)
    assert "no peer plays it any more" in str(place.outcome(FIRST).error)
    place.join("b")
    place.order(SECOND, "b")
    assert place.outcome(SECOND).complete


def test_ended_in_the_middle_it_says_so_of_the_run_and_the_peers_are_free_for_the_next(place):
    process = place.start()
    place.join("a", deaf_to=(Release,))
    place.order(FIRST, "a")
    place.progress(FIRST, "send")
    process.send_signal(signal.SIGTERM)
    assert process.wait(IN_TIME_S) == 130
    outcome = outcome_from(read(place.desk.outcome(FIRST)), place.desk.run(FIRST))
    assert str(outcome.error) == "the collector was ended while it led the run"
    place.peers["a"].deaf_to = ()
    place.start()
    place.order(SECOND, "a")
    assert place.outcome(SECOND).complete


def test_a_run_that_was_begun_from_elsewhere_is_led_on_and_kept_like_one_that_was_ordered(place, tmp_path):
    place.start()
    place.join("a", deaf_to=(Release,))
    place.order(FIRST, "a")
    place.progress(FIRST, "send")
    place.kill()
    shutil.rmtree(place.desk.run(FIRST))
    place.peers["a"].deaf_to = ()
    place.start()
    outcome = place.outcome(FIRST)
    assert outcome.complete and read(place.desk.order(FIRST))["header"] == {"scenario": "test"}


def test_a_second_one_beside_it_is_refused_in_one_sentence(place):
    first = place.start()
    command = place.command()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=IN_TIME_S)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "another process holds it" in done.stderr
    command = place.command(pid_file=place.folder / "other.pid")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=IN_TIME_S)
    assert done.returncode == 2 and done.stderr.startswith("error: cannot listen on 127.0.0.1:")
    first.send_signal(signal.SIGTERM)
    assert first.wait(IN_TIME_S) == 130
    assert "Traceback" not in first.stdout.read()


# -- a full disk


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="a disk of its own takes root")
def test_a_full_disk_is_an_error_of_the_run_and_is_said(place):
    """The desk is on a disk of 4 MB that only the collector's process sees, under /proc by us."""
    mount = f'mount -t tmpfs -o size=4m tmpfs {place.desk.folder} && exec "$@"'
    inside = ["unshare", "--mount", "sh", "-c", mount, "sh", *place.command()]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    place.process = subprocess.Popen(inside, cwd=ROOT, **pipes)
    place.desk = Desk(Path(f"/proc/{place.process.pid}/root{place.desk.folder}"))
    place.until(lambda: place.desk.progress.exists(), "the collector says how it is")
    (small,) = place.join("small")

    def once_the_small_one_is_home(number: int, data: bytes) -> bytes:
        until(lambda: small.phase == "collected", lambda: sleep(0.01), IN_TIME_S)
        return data

    place.join("large", files={"trace": os.urandom(1 << 22), "sends": b"sends"}, spoil=once_the_small_one_is_home)
    place.order(FIRST, "small", "large")
    outcome = place.outcome(FIRST)
    assert "No space left on device" in str(outcome.error) and outcome.missing == ["large"], outcome
    assert not outcome.complete and not place.desk.reserve.exists()
    for part in place.desk.run(FIRST).glob("*.part"):
        part.unlink()
    place.order(SECOND, "small")
    again = place.outcome(SECOND)
    assert again.complete and _holds(again.folder, 0, place.peers["small"]) and place.desk.reserve.exists()
    (place.desk.folder / "somebody").write_bytes(bytes(place.desk.reserve.stat().st_size))
    place.desk.reserve.unlink()
    with open(place.desk.folder / "somebody", "ab", buffering=0) as others:
        with pytest.raises(OSError):
            while True:
                others.write(bytes(4096))
    folder = place.desk.run(THIRD)
    folder.mkdir()
    with open(place.desk.folder / "somebody", "ab") as others:
        others.truncate(others.tell() - (64 << 10))
    place.order(THIRD, "small")
    assert "cannot keep logs: No space left on device" in str(place.outcome(THIRD).error)


# -- what is written


def test_an_outcome_and_progress_come_back_as_they_were_written(tmp_path):
    error = RunError("drain", ["b"], "b is silent", kept=str(tmp_path))
    counts = {"a": Counts("1", "closed", 3, 9, 1, True, False, {"early": 2}, ["b"])}
    outcome = Outcome("1", tmp_path, False, error, counts, {"a": {"resent": 1}}, ["b"], ["b was away."])
    again = outcome_from(json.loads(json.dumps(as_written(outcome))), tmp_path)
    told = (again.error.phase, again.error.peers, str(again.error), again.error.kept)
    assert told == ("drain", ["b"], "b is silent", str(tmp_path))
    assert replace(again, error=error) == outcome
    progress = Progress("send", 1.5, ["b"], 3, [MemberProgress("b", "running", False, 2.0, 3, 9, 1, ["a"], 0.25)], 4, 5)
    assert progress_from(json.loads(json.dumps(asdict(progress)))) == progress

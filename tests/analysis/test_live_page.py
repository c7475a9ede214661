"""The live page without a browser: what is told to whom, what is refused, that nothing stays or holds a run up."""

import asyncio
import http.client
import json
import os
import socket
import threading
from math import acos, cos, radians, sin
from time import monotonic, sleep

import pytest

from analysis.live import board as boards
from analysis.live import serving
from analysis.live.application import FILES, told
from analysis.live.board import Board
from analysis.live.places import PLACES
from analysis.live.serving import live_page
from comparison_server import face
from comparison_server.service import MemberProgress, Progress
from comparison_server.verdict import judge
from experiments.planet import load_planet
from peer.core.errors import SettingsError
from tests.comparison_server.corpus import evidence
from tests.control_client import until

WAIT_S = 30


def member(name, delivered=0, **about):
    given = {"phase": "running", "connected": True, "silent_s": 0.5, "asked": 1, "resent": 0, "waits_for": []}
    return MemberProgress(name, delivered=delivered, **{**given, **about})


def progress(*members, phase="send"):
    return Progress(phase, 1.5, [], 10, list(members), 0, 0)


def begun(board, *names):
    board.plan(["fifo"])
    board.begin("fifo", names, ["lan"] * len(names), 10)
    return board


@pytest.fixture
def page():
    """A page on a port that nobody else has; so several tests can run beside each other."""
    with socket.socket() as free:
        free.bind((serving.LOOPBACK, 0))
        port = free.getsockname()[1]
    with live_page(port, "a <b>test</b>") as board:
        board.port = port
        yield board


def asked(port, method="GET", path="/", **headers):
    connection = http.client.HTTPConnection(serving.LOOPBACK, port, timeout=WAIT_S)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    text = b"" if answer.getheader("content-type", "").startswith("text/event-stream") else answer.read()
    return answer, text


def raw(port, request):
    """What is said to bytes that are no request of ours, until the other side closes or says a whole head."""
    with socket.create_connection((serving.LOOPBACK, port), timeout=WAIT_S) as connection:
        connection.sendall(request)
        said = b""
        while b"\r\n\r\n" not in said and (more := connection.recv(65536)):
            said += more
        return said


class Listener:
    """Hears what is told, as a browser would."""

    def __init__(self, port):
        answer, _ = asked(port, path="/events")
        assert answer.status == 200
        self.answer, self.heard = answer, {}

    def hear(self, wanted):
        """Until this is true of what was heard; False if it ends before."""
        while not wanted(self.heard):
            name = None
            while line := self.answer.readline():
                field, _, value = line.decode().strip().partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    self.heard[name] = json.loads(value)
                elif not field:
                    break
            else:
                return False
        return True

    def ended(self):
        return not self.hear(lambda heard: False)


# -- what is told


def test_who_comes_is_told_what_holds_and_then_each_change(page):
    begun(page, "p0", "p1")
    page.show(progress(member("p0", 3), member("p1", 4, waits_for=["p0"], latency_s=0.25)))
    first = Listener(page.port)
    assert first.hear(lambda heard: len(heard) == 2)
    present = first.heard["present"]
    assert present["members"] == ["p0", "p1"] and present["places"] == {}
    assert [each["delivered"] for each in present["progress"]["members"]] == [3, 4]
    assert present["progress"]["members"][1]["latency_s"] == 0.25
    assert first.heard["runs"]["runs"][0]["state"] == "playing" and first.heard["runs"]["name"] == "a <b>test</b>"
    page.show(progress(member("p0", 5), member("p1", 6)))
    second = Listener(page.port)  # as after a reload
    for listener in (first, second):
        assert listener.hear(
            lambda heard: heard.get("present", present)["progress"]["members"][0]["delivered"] == 5 and "runs" in heard
        )


def test_the_last_word_is_told_before_the_page_goes():
    with socket.socket() as free:
        free.bind((serving.LOOPBACK, 0))
        port = free.getsockname()[1]
    with live_page(port, "ends") as board:
        begun(board, "p0")
        listener = Listener(port)
        assert listener.hear(lambda heard: "runs" in heard)
        board.show(progress(member("p0", 10), phase="done"))
        board.end(judge(evidence(a="+a1 a1", b="a1"), {"fifo"}), "", "runs/here")
    assert listener.ended()
    assert listener.heard["runs"]["over"] and listener.heard["runs"]["runs"][0]["state"] == "held"
    assert listener.heard["runs"]["runs"][0]["unknown"] == 1, "one delivery says nothing of order"
    assert listener.heard["present"]["progress"]["phase"] == "done"
    with pytest.raises(ConnectionRefusedError):
        asked(port)


async def pulled(board, times):
    """What a reader that is slow is told: between two things that it takes much happens."""
    heard, reader = [], told(board)
    for turn in range(times):
        heard.append(await anext(reader))
        for step in range(1000):
            board.show(progress(member("p0", 1000 * turn + step)))
    await reader.aclose()
    return heard


def test_nothing_piles_up_for_a_slow_reader(monkeypatch):
    """Fails if changes are kept until they were read."""
    monkeypatch.setattr("analysis.live.application.LOOKED_EVERY_S", 0.001)
    heard = asyncio.run(pulled(begun(Board("slow"), "p0"), 6))
    seen = [json.loads(text.split("data: ")[1])["progress"] for text in heard if "event: present" in text]
    assert [each["members"][0]["delivered"] for each in seen if each][-2:] == [3999, 4999]


def test_to_tell_takes_no_time_however_many_look_and_do_not_read(page):
    begun(page, *(f"p{number}" for number in range(64)))
    deaf = [socket.create_connection((serving.LOOPBACK, page.port)) for _ in range(8)]
    for each in deaf:
        each.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    shown = progress(*(member(f"p{number}") for number in range(64)))
    began = monotonic()
    for _ in range(10_000):
        page.show(shown)
    assert monotonic() - began < 5
    for each in deaf:
        each.close()


# -- what is refused


def test_the_page_is_what_it_is_made_of_and_may_ask_nobody_else(page):
    for path, (file, media_type) in FILES.items():
        answer, text = asked(page.port, path=path)
        assert answer.status == 200 and text == file.read_bytes() and media_type in answer.getheader("content-type")
        policy = answer.getheader("content-security-policy")
        assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
        assert answer.getheader("x-content-type-options") == "nosniff"
        assert answer.getheader("access-control-allow-origin") is None
        assert answer.getheader("cache-control") == "no-store"
    html = FILES["/"][0].read_text()
    assert "style=" not in html and "<script>" not in html and "//" not in html.replace("<!DOCTYPE", "")


@pytest.mark.parametrize(
    "path",
    ["/nothing", "/../board.py", "/%2e%2e/board.py", "//etc/passwd", "/page.js/", "/page.js/../board.py", "/events/x"]
    + ["/board.py", "/" + "a" * 2000, "/%00", "/?x=<script>alert(1)</script>/../y.py"],
)
def test_there_is_nothing_at_any_other_address(page, path):
    answer, text = asked(page.port, path=path)
    if path.startswith("/?"):
        assert text == FILES["/"][0].read_bytes()
    else:
        assert answer.status == 404 and b"the page is at /" in text and b"import" not in text
    assert answer.getheader("content-security-policy")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "NONSENSE"])
@pytest.mark.parametrize("path", ["/", "/events", "/nothing"])
def test_it_can_only_be_looked_at(page, method, path):
    answer, _ = asked(page.port, method, path)
    assert answer.status == 405 and answer.getheader("allow") == "GET"


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.", "10.0.0.1", "[::2]", "", "a b", "localhost:1:2"]
)
@pytest.mark.parametrize("path", ["/", "/events"])
def test_who_comes_by_another_name_is_turned_away(page, host, path):
    """Fails if a page from elsewhere can have its own name point here, and read what is told."""
    answer, text = asked(page.port, path=path, Host=host)
    assert answer.status in (400, 403) and b"<" not in text


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST:9000", "[::1]:80", "127.0.0.1:65535"])
def test_this_machine_may_be_called_by_any_name_of_its_own(page, host):
    """Also by another port: that is how it looks at the end of a tunnel."""
    assert asked(page.port, Host=host)[0].status == 200


@pytest.mark.parametrize(
    "request_",
    [b"\x00\xff\x00\xff\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"]
    + [b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n"]
    + [b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 200_000 + b"\r\n\r\n"],
)
def test_nonsense_is_refused_and_the_page_stays(page, request_, capfd):
    said = raw(page.port, request_)
    assert said.startswith((b"HTTP/1.1 400", b"HTTP/1.1 403", b"HTTP/1.0 403")), said[:80]
    assert asked(page.port)[0].status == 200
    assert "Traceback" not in capfd.readouterr().err


def test_it_cannot_be_reached_from_another_machine(page):
    """Fails if it listens on any address but the loopback's."""
    others = {address[4][0] for address in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # nothing is sent
            others.add(probe.getsockname()[0])
        except OSError:
            pass
    for address in [each for each in others if not each.startswith("127.")]:
        with socket.socket() as other:
            other.settimeout(2)
            assert other.connect_ex((address, page.port)) != 0


# -- where it is


def test_a_port_that_is_taken_is_passed_over_unless_it_was_asked_for(capfd, monkeypatch):
    with socket.socket() as taken:
        taken.bind((serving.LOOPBACK, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"--live: cannot listen on port {port}: ") as refused:
            with live_page(port, ""):
                pass
        assert refused.value.exit_code == 2
        monkeypatch.setattr(serving, "PORT", port)
        monkeypatch.setattr(serving, "PORTS", 1)
        with live_page(0, ""):
            said = capfd.readouterr().err
            assert said.startswith(f"remark: port {port} is taken, so the live page has another\nlive page: http://")
            at = int(said.strip().rstrip("/").rpartition(":")[2])
            assert at != port and asked(at)[0].status == 200


def test_nobody_who_does_not_ask_has_a_page():
    with live_page(None, "") as page:
        assert page is None


@pytest.mark.parametrize(
    "given, taken",
    [
        (["local", "--live"], ["local", "--live", "0"]),
        (["local", "--live", "9000", "lan"], ["local", "--live", "9000", "lan"]),
        (["local", "--live", "lan"], ["local", "--live", "0", "lan"]),
        (["local", "--live", "--seed", "3"], ["local", "--live", "0", "--seed", "3"]),
        (["local", "--live=9"], ["local", "--live=9"]),
        ([], []),
    ],
)
def test_the_port_may_be_left_out(given, taken):
    assert list(face._with_ports(given)) == taken


# -- how it ends


def open_files():
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


def test_it_ends_with_the_block_also_where_somebody_does_not_read(capfd):
    """Fails if a thread, a socket, or the wait for a browser that hangs is left behind."""
    with live_page(0, "warm"):  # what is imported once stays
        pass
    before, threads = open_files(), threading.active_count()
    with live_page(0, "ends") as board:
        begun(board, "p0")
        board.plan(["x" * 50_000] * 199)  # more than the system takes for somebody who does not read
        thread = next(each for each in threading.enumerate() if each.name == "live page")
        port = int(capfd.readouterr().err.strip().rstrip("/").rpartition(":")[2])
        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        deaf.connect((serving.LOOPBACK, port))
        deaf.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        half = socket.create_connection((serving.LOOPBACK, port))
        half.sendall(b"GET / HT")
        listener = Listener(port)
        assert listener.hear(lambda heard: "runs" in heard)
        began = monotonic()
    assert monotonic() - began < serving.LAST_WORDS_S + serving.END_S + serving.JOIN_S
    assert not thread.is_alive()
    listener.answer.close()
    deaf.close()
    half.close()
    until(lambda: open_files() <= before and threading.active_count() <= threads, lambda: sleep(0.05), WAIT_S)


# -- the board


def test_of_very_many_runs_those_that_ended_first_are_only_counted(monkeypatch):
    monkeypatch.setattr(boards, "MOST_RUNS", 3)
    board = Board("many")
    for number in range(5):
        board.plan([f"run {number}"])
        board.begin(f"run {number}", ["p0"], ["lan"], 1)
        board.leave()
    board.plan(["next", "after"])
    assert (board.listed.earlier, board.listed.present) == (4, 0)
    assert [run.title for run in board.listed.runs] == ["run 4", "next", "after"]
    board.begin("next", ["p0"], ["lan"], 1)
    assert [run.state for run in board.listed.runs] == ["unfinished", "playing", "planned"]
    assert json.loads(board.parts()["runs"])["present"] == 1


def test_what_is_not_played_any_more_leaves_the_list_and_what_was_begun_says_why():
    board = Board("left")
    board.plan(["one", "two"])
    board.begin("one", ["p0"], ["lan"], 1)
    board.leave()
    (run,) = board.listed.runs
    assert run.state == "unfinished" and "before it could be judged" in run.error


def test_peers_of_whom_nothing_is_told_while_their_logs_come_home_stay_as_they_were():
    board = begun(Board("direct"), "p0")
    board.show(progress(member("p0", 7)))
    board.show(Progress("upload", 0.1, [], 10, [], 5, 9))
    shown = board.now.progress
    assert (shown.phase, shown.collected_bytes, shown.members[0].delivered) == ("upload", 5, 7)


@pytest.mark.parametrize("planet", ["aws-2020-06-05", "gcp"])
def test_every_region_of_the_planets_that_come_with_the_lab_has_a_place(planet):
    assert set(load_planet(planet).regions) <= set(PLACES)
    assert all(-60 < latitude < 75 and -180 <= longitude <= 180 for _, latitude, longitude in PLACES.values())


def test_distances_on_the_map_and_round_trips_belong_together():
    """Fails if a place was mistyped: no message is faster than light in a fibre."""
    for name in ("aws-2020-06-05", "gcp"):
        planet = load_planet(name)
        for origin in planet.regions:
            for target in planet.regions:
                (_, a, b), (_, c, d) = PLACES[origin], PLACES[target]
                a, b, c, d = map(radians, (a, b, c, d))
                km = 6371 * acos(min(1.0, sin(a) * sin(c) + cos(a) * cos(c) * cos(b - d)))
                assert planet.one_way_s(origin, target) >= 0.95 * km / 200_000 - 1e-4, (origin, target, km)

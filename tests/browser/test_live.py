"""The live page in a real browser, over real runs on this machine."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from analysis.live.board import Board
from analysis.live.serving import live_page
from comparison_server.service import MemberProgress, Progress
from peer.core.errors import HELD, INTERRUPTED, UNFINISHED
from tests.browser.conftest import PHONE, awaited, barriers

ROOT = Path(__file__).parents[2]
END_S = 60
FOR_EVER = 20_000  # messages: what is to be seen is seen long before
REGIONS = "us-east-1,eu-west-1,ap-northeast-1"

pytestmark = pytest.mark.long


class Program:
    """An experiment that plays, and has a page."""

    def __init__(self, *arguments: object) -> None:
        command = [sys.executable, "-m", "experiments", *map(str, arguments), "--live"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, text=True, **pipes)
        self.said: list[str] = []
        for line in self.process.stderr:
            self.said.append(line)
            if found := re.search(r"live page: (http://127\.0\.0\.1:\d+/)", line):
                self.url = found.group(1)
                break
        else:
            raise AssertionError("".join(self.said))
        self.out: list[str] = []
        self.readers = [
            threading.Thread(target=lambda: self.out.append(self.process.stdout.read())),
            threading.Thread(target=lambda: self.said.append(self.process.stderr.read())),
        ]
        for reader in self.readers:
            reader.start()

    def end(self) -> int:
        """Its exit code, once it has ended."""
        code = self.process.wait(END_S)
        for reader in self.readers:
            reader.join()
        return code

    def peer(self, name: str) -> psutil.Process:
        children = psutil.Process(self.process.pid).children(recursive=True)
        return next(child for child in children if name in child.cmdline())

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.end()


@pytest.fixture
def begin() -> Iterator[type[Program]]:
    programs = []

    def begin(*arguments: object) -> Program:
        programs.append(Program(*arguments))
        return programs[-1]

    yield begin
    for program in programs:
        program.kill()


DELIVERED = "document.getElementById('deliveries').value"


def moves(page, above=0.0):
    """How much was delivered, once that is more than this."""
    return awaited(page, f"{DELIVERED} > {above} && {DELIVERED}")


def row(page, name):
    return page.locator(f"#members tr[data-peer={name}]")


def in_state(page, name, state):
    awaited(page, f"document.querySelector('#members tr[data-peer={name}]').dataset.state === '{state}'")


def test_a_run_is_seen_while_it_goes_on(begin, look, tmp_path):
    """Progress, reload, a second browser, a peer that stands still, two that die, keyboard, contrast."""
    program = begin(
        "local", "lan", "--planet", "aws-2020-06-05", "--regions", REGIONS, "--peers", 4, "--messages", FOR_EVER,
        "--ordering", "lamport_all_ack,fifo", "--out", tmp_path,
    )  # fmt: skip
    page = look(program.url)
    first = moves(page)
    assert page.locator("#heading-now").inner_text() == "lamport_all_ack"
    assert page.locator("#list tr").evaluate_all("rows => rows.map(row => row.dataset.state)") == ["playing", "planned"]
    assert page.locator("#steps [aria-current=step]").inner_text() == "sending"
    assert moves(page, first) > first
    assert page.locator(".region").all_text_contents() == REGIONS.split(",")
    assert page.locator("path.land").get_attribute("d")
    awaited(page, "document.querySelectorAll('.wait').length > 0")
    awaited(page, "[...document.querySelectorAll('#members tr')].every(row => / m?s$/.test(row.children[6].innerText))")

    page.reload()
    assert moves(page, first) > first and page.locator("#heading-now").inner_text() == "lamport_all_ack"
    other = look(program.url, color_scheme="dark", viewport=PHONE)
    assert moves(other, first) > first
    assert other.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert (barriers(page), barriers(other)) == ([], [])

    program.peer("p2").suspend()
    in_state(page, "p2", "silent")
    awaited(page, "document.querySelectorAll('.wait.grave').length > 0")
    assert "p2" in row(page, "p0").locator(".waits").inner_text()
    program.peer("p2").resume()
    in_state(page, "p2", "plays")

    by_keyboard(page)

    program.peer("p1").kill()
    awaited(page, "document.querySelector('#list tr').dataset.state === 'unfinished'")
    assert "p1 was ended by SIGKILL" in page.locator("#list tr").first.inner_text()
    awaited(page, "document.getElementById('heading-now').innerText === 'fifo'")  # with p1 started anew
    in_state(page, "p1", "plays")
    program.peer("p3").kill()
    for each in (page, other):
        awaited(each, "document.getElementById('link').innerText === 'ended'")
        in_state(each, "p3", "gone")
        states = each.locator("#list tr").evaluate_all("rows => rows.map(row => row.dataset.state)")
        assert states == ["unfinished", "unfinished"]
        assert "p3 was ended by SIGKILL" in each.locator("#list").inner_text()
    assert program.end() == UNFINISHED and "Traceback" not in "".join(program.said)


def test_ctrl_c_ends_the_page_with_the_program(begin, look, tmp_path):
    page = look("about:blank")
    orderings = ("--ordering", "fifo,unordered")
    program = begin("local", "lan", "--peers", 2, "--messages", FOR_EVER, *orderings, "--out", tmp_path)
    page.goto(program.url)
    moves(page)
    program.process.send_signal(signal.SIGINT)
    awaited(page, "document.getElementById('link').innerText === 'ended'")
    assert page.locator("#list tr").evaluate_all("rows => rows.map(row => row.dataset.state)") == ["unfinished"]
    assert "interrupted in phase send" in page.locator("#list").inner_text()
    assert program.end() == INTERRUPTED and "Traceback" not in "".join(program.said)


def by_keyboard(page):
    """A peer is chosen and let go again without a mouse."""
    page.locator("#theme").focus()
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.keyboard.press("Enter")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")  # the table, which can be scrolled
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "p0"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    assert row(page, "p0").locator("button").get_attribute("aria-pressed") == "true"
    assert page.locator(".peer.chosen .who").text_content() == "p0"
    page.keyboard.press("Escape")
    assert row(page, "p0").locator("button").get_attribute("aria-pressed") == "false"


@pytest.mark.slow
def test_what_came_of_the_runs_stands_after_the_end(begin, look, tmp_path):
    page = look("about:blank")
    program = begin(
        "local", "lan", "--peers", 3, "--messages", 120, "--ordering", "unordered,fixed_sequencer", "--json",
        "--out", tmp_path,
    )  # fmt: skip
    page.goto(program.url)
    awaited(page, "document.getElementById('link').innerText === 'ended'")
    assert program.end() == HELD
    runs = json.loads(program.out[0])["runs"]
    cells = "rows => rows.map(row => [...row.children].map(cell => cell.innerText))"
    rows = page.locator("#list tr").evaluate_all(cells)
    assert len(rows) == len(runs) == 2
    for (title, state, rounds, promises, broken, folder), run in zip(rows, runs):
        properties = run["properties"]
        promised = [name for name in properties if properties[name]["promised"]]
        assert title.strip() == run["ordering"] and state == "held" and folder == run["folder"]
        assert rounds.replace(",", "") == f"{run['out_of_order_rounds']} of {run['rounds']}"
        assert promises == f"all {len(promised)} held"
        assert broken == ", ".join(name for name in properties if properties[name]["holds"] is False)
    assert page.locator("#delivered").inner_text() == "1,080 of 1,080"
    have, of = page.locator("#logs").evaluate("bar => [bar.value, bar.max]")
    assert have == of > 1000
    assert page.locator("#count").inner_text() == "2 of 2"
    assert barriers(page) == []


# -- what a run would not show so soon


def member(name, **about):
    given = {"phase": "running", "connected": True, "silent_s": 0.1, "asked": 5, "delivered": 9, "resent": 0}
    return MemberProgress(name, **{"waits_for": [], **given, **about})


@pytest.fixture
def told(capfd) -> Iterator[tuple[Board, str]]:
    """A page of which the test says what is on it, and its address."""
    with live_page(0, "told <i>by hand</i>") as board:
        yield board, capfd.readouterr().err.split("live page: ")[1].strip()


NAUGHTY = "<img src=x onerror=alert(1)>"


def test_names_are_text_whatever_they_hold(told, look):
    board, url = told
    board.plan(["</script><script>alert(2)</script>"])
    board.begin("</script><script>alert(2)</script>", [NAUGHTY, "b"], ['"><b>here', "lan"], 10)
    board.show(Progress("send", 1, [NAUGHTY], 10, [member(NAUGHTY, waits_for=["b"]), member("b")], 0, 0))
    page = look(url)
    page.on("dialog", lambda dialog: pytest.fail("a name was run as a script"))
    awaited(page, "document.querySelectorAll('#members tr').length === 2")
    assert page.locator("#members button").first.inner_text() == NAUGHTY
    assert page.locator("#heading-now").inner_text() == "</script><script>alert(2)</script>"
    assert page.locator("h1").inner_text() == "told <i>by hand</i>"
    assert page.locator("img, h1 i, #members b").count() == 0
    page.locator("#members button").first.click()
    assert page.locator(".peer.chosen").count() == 1


@pytest.mark.parametrize("viewport", [PHONE, {"width": 1280, "height": 900}], ids=["phone", "wide"])
@pytest.mark.parametrize(
    "regions", ["lan", "us-east-1 eu-west-1 ap-northeast-1", "eu-west-1 somewhere"], ids=["ring", "map", "both"]
)
@pytest.mark.parametrize("count", [1, 6, 40])
def test_every_peer_has_its_place_and_none_hides_another(told, look, viewport, regions, count):
    board, url = told
    names, regions = [f"p{number}" for number in range(count)], regions.split()
    board.plan(["fifo"])
    board.begin("fifo", names, [regions[number % len(regions)] for number in range(count)], 10)
    board.show(Progress("send", 1, [], 10, [member(name, waits_for=names[:3]) for name in names], 0, 0))
    page = look(url, viewport=viewport)
    awaited(page, f"document.querySelectorAll('.peer .disc').length === {count}")
    boxes = page.locator(".peer .disc").evaluate_all("all => all.map(one => one.getBoundingClientRect().toJSON())")
    frame = page.locator("#map").evaluate("map => map.getBoundingClientRect().toJSON()")
    centres = [(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2) for box in boxes]
    for place, (x, y) in enumerate(centres):
        assert frame["left"] < x < frame["right"] and frame["top"] < y < frame["bottom"]
        assert all(abs(x - a) > 4 or abs(y - b) > 4 for a, b in centres[:place])
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_who_asks_for_less_motion_sees_none(told, look):
    board, url = told
    board.plan(["fifo"])
    board.begin("fifo", ["a", "b"], ["lan", "lan"], 10)
    board.show(Progress("send", 1, [], 10, [member("a", waits_for=["b"]), member("b")], 0, 0))
    moving = "getComputedStyle(document.querySelector('.wait')).animationName"
    for motion, animation in {"reduce": "none", "no-preference": "flow"}.items():
        page = look(url, reduced_motion=motion)
        page.wait_for_selector(".wait", state="attached")
        assert page.evaluate(moving) == animation


def test_a_connection_that_broke_is_said_and_made_anew(chromium, capfd):
    """Fails if a page that lost its server stays silent, or does not come back with it."""
    with live_page(0, "first") as board:
        url = capfd.readouterr().err.split("live page: ")[1].strip()
        port = int(url.rstrip("/").rpartition(":")[2])
        context = chromium.new_context()
        page = context.new_page()
        page.goto(url)
        awaited(page, "document.getElementById('link').innerText === 'live'")
        board.conclude = lambda: None  # as if it were killed
    awaited(page, "document.getElementById('link').innerText === 'no connection'")
    with live_page(port, "second"):
        awaited(page, "document.querySelector('h1').innerText === 'second'")
        awaited(page, "document.getElementById('link').innerText === 'live'")
    context.close()

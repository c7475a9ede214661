"""Diagrams in a browser: zooming and moving by wheel, fingers, mouse and keys; several on a page; who sees what."""

import re

import pytest

from analysis import diagram
from analysis.run import load_run
from tests.analysis import by_hand, plain
from tests.browser.conftest import barriers

pytestmark = pytest.mark.long

PLANE, DIAGRAM = "svg.space-time .plane", "svg.space-time"


@pytest.fixture(scope="module")
def windows(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    (run,) = plain.played(out, "wan-3-sites", "unordered", peers=4, messages=20)
    peers = by_hand.chat(4, 4)
    peers[3] = by_hand.moved(peers[3], "0:1", by_hand.time_of(peers[3], "1:1") + 0.03)
    broken = load_run(by_hand.written(run.folder, out / "broken", peers))
    return diagram.around(broken, "causal"), diagram.stretch(load_run(run.folder))


@pytest.fixture(scope="module")
def file(windows, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "diagram.html"
    path.write_text(diagram.page(windows[0], "Causal order is broken"))
    return path.as_uri()


def shown(page, selector=DIAGRAM):
    """(zoom, shift) as soon as what was asked for is drawn."""
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    found = page.locator(selector)
    return float(found.get_attribute("data-zoom")), float(found.get_attribute("data-shift"))


def middle(page, selector=DIAGRAM):
    box = page.locator(selector).bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 3


def test_keys_zoom_and_move(look, file):
    page = look(file)
    assert shown(page) == (1, 0)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.matches('svg.space-time')")
    assert page.locator(DIAGRAM).evaluate("svg => getComputedStyle(svg).outlineStyle") == "solid"
    page.keyboard.press("+")
    page.keyboard.press("+")
    zoom, shift = shown(page)
    assert zoom == 2.25 and shift < 0
    page.keyboard.press("ArrowRight")
    assert shown(page)[1] < shift
    for _ in range(20):
        page.keyboard.press("ArrowLeft")
    assert shown(page) == (2.25, 0)
    page.keyboard.press("-")
    assert shown(page)[0] == 1.5
    page.keyboard.press("0")
    assert shown(page) == (1, 0)


def test_zooming_keeps_signs_in_shape_and_makes_room_for_positions(look, file):
    page = look(file)
    mark, late = page.locator(f"{PLANE} .mark").first, page.locator(f"{PLANE} .position.late")
    before, hidden = mark.bounding_box(), late.count()
    ticks = page.locator(".axis .tick").all_text_contents()
    page.locator(DIAGRAM).focus()
    for _ in range(6):
        page.keyboard.press("+")
    zoom, _ = shown(page)
    assert zoom > 10 and late.count() <= hidden
    after = mark.bounding_box()
    assert after["width"] == pytest.approx(before["width"], abs=0.5)
    finer = page.locator(".axis .tick").all_text_contents()
    assert finer != ticks and len(finer) >= 3 and len(set(finer)) == len(finer)
    page.keyboard.press("0")
    shown(page)
    assert page.locator(".axis .tick").all_text_contents() == ticks


def test_the_wheel_is_the_pages_until_a_diagram_was_clicked(look, file):
    page = look(file)
    page.mouse.move(*middle(page))
    page.mouse.wheel(0, -300)
    assert shown(page) == (1, 0)
    page.mouse.click(*middle(page))
    page.mouse.wheel(0, -300)
    zoom, shift = shown(page)
    assert zoom > 1.5
    page.mouse.dblclick(*middle(page))
    assert shown(page) == (1, 0)


def test_what_is_under_the_pointer_stays_there(look, file):
    page = look(file)
    mark = page.locator(f"{PLANE} .ring").first
    box = mark.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.click(x, y)
    page.mouse.wheel(0, -500)
    zoom, _ = shown(page)
    after = mark.bounding_box()
    assert zoom > 2 and after["x"] + after["width"] / 2 == pytest.approx(x, abs=10)


def test_dragging_moves(look, file):
    page = look(file)
    page.locator(DIAGRAM).focus()
    for _ in range(3):
        page.keyboard.press("+")
    _, before = shown(page)
    x, y = middle(page)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 80, y, steps=4)
    page.mouse.up()
    _, after = shown(page)
    scale = page.locator(DIAGRAM).evaluate("svg => svg.getScreenCTM().a")
    assert after - before == pytest.approx(-80 / scale, abs=2)
    page.mouse.move(x + 200, y)
    assert shown(page)[1] == after


def test_two_fingers_zoom(look, file):
    page = look(file, has_touch=True, is_mobile=True, viewport={"width": 1000, "height": 700})
    x, y = middle(page)

    def finger(kind, number, at):
        page.locator(DIAGRAM).dispatch_event(
            kind, {"pointerId": number, "pointerType": "touch", "clientX": at, "clientY": y, "bubbles": True}
        )

    finger("pointerdown", 11, x - 40)
    finger("pointerdown", 12, x + 40)
    finger("pointermove", 11, x - 80)
    finger("pointermove", 12, x + 80)
    assert shown(page)[0] == pytest.approx(2, abs=0.05)
    finger("pointerup", 11, x - 80)
    finger("pointerup", 12, x + 80)


def test_several_on_a_page_do_not_disturb_each_other(look, windows, tmp_path):
    path = tmp_path / "several.html"
    drawn = "".join(f"<div id='d{at}'>{diagram.svg(window, f'number {at}')}</div>" for at, window in enumerate(windows))
    path.write_text(
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>several</title><body>"
        f"<div hidden id='later'>{diagram.svg(windows[0], 'hidden')}</div>{drawn}"
        f"<script>const before = Object.keys(window).length;{diagram.INTERACTION_JS};"
        "document.body.dataset.added = Object.keys(window).length - before;</script>"
    )
    page = look(path.as_uri())
    assert page.locator("body").get_attribute("data-added") == "0"
    page.locator("#d1 svg.space-time").focus()
    page.keyboard.press("+")
    assert shown(page, "#d1 svg.space-time")[0] == 1.5
    assert shown(page, "#d0 svg.space-time") == shown(page, "#later svg.space-time") == (1, 0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1280])
def test_it_is_fit_for_everybody(look, file, scheme, width):
    page = look(file, color_scheme=scheme, viewport={"width": width, "height": 700})
    assert barriers(page) == []
    ground = page.evaluate("getComputedStyle(document.querySelector('.space-time .back')).fill")
    lightness = sum(map(int, re.findall(r"\d+", ground)[:3])) / 3
    assert lightness > 200 if scheme == "light" else lightness < 60


def test_on_a_telephone_it_scrolls_in_its_own_box(look, file):
    page = look(file, viewport={"width": 320, "height": 640})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    box = page.locator(".box")
    assert box.evaluate("box => box.scrollWidth > 2 * box.clientWidth && getComputedStyle(box).overflowX == 'auto'")


def test_a_picture_stands_alone(look, windows, tmp_path):
    path = tmp_path / "picture.svg"
    path.write_text(diagram.picture(windows[1], "who sent what"))
    page = look(path.as_uri(), color_scheme="dark")
    assert page.evaluate("document.documentElement.getAttribute('role')") == "img"
    assert page.evaluate("getComputedStyle(document.querySelector('.lane')).stroke") == "rgb(86, 98, 115)"


@pytest.mark.parametrize("kind", ["label", "mark"])
def test_signs_of_a_witness_do_not_lie_on_each_other(look, file, kind):
    boxes = look(file).evaluate(
        f"[...document.querySelectorAll('.plane .{kind}')].map(each => each.getBoundingClientRect().toJSON())"
    )
    assert len(boxes) >= 9
    for at, one in enumerate(boxes):
        for other in boxes[at + 1 :]:
            apart = one["right"] <= other["left"] + 1.5 or other["right"] <= one["left"] + 1.5
            assert apart or one["bottom"] <= other["top"] + 3 or other["bottom"] <= one["top"] + 3

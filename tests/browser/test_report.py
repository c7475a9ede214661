"""The report in a browser, offline: all of it is there with data, and works by mouse, by keys, small and on paper."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import analysis
from analysis.page.page import page as page_of
from tests.analysis import plain
from tests.browser.conftest import awaited, barriers

SECTIONS = {
    "verdict", "comparison", "latency", "disorder", "classroom", "cost", "bound", "scaling", "blocked", "violations",
    "side-by-side", "settings",
}  # fmt: skip
ORDERINGS = "unordered,lamport_all_ack:textbook,fixed_sequencer"  # the longest names there are
NARROW = {"width": 320, "height": 640}
ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report of runs against loss, distance and the number of peers, in two worlds."""
    folders = []
    for options in ({}, {"loss": 0.1}, {"planet": "lan"}, {"peers": 4}):
        out = tmp_path_factory.mktemp("runs")
        settings = {"messages": 10, "peers": 3, "loss": 0.0} | options
        repeats = 5 if "loss" in options else 1  # of so many there are intervals
        folders += [run.folder for run in plain.played(out, "wan-3-sites", ORDERINGS, repeats=repeats, **settings)]
    for run in plain.played(tmp_path_factory.mktemp("local"), "wan-3-sites", ORDERINGS, messages=10, peers=3, seed=5):
        plain.change(run.folder / "scenario.json", world="local")
        folders.append(run.folder)
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_bytes(page_of(analysis.load(*folders)))
    return path.as_uri()


@pytest.fixture
def opened(look, report):
    """Opens the report without any network, until all charts are drawn."""

    def opened(**options):
        page = look(report, offline=True, **options)
        assert awaited(page, "document.documentElement.dataset.drawn") == "all"
        return page

    return opened


def check_every_section(page):
    """Each is there, and has numbers, charts with marks in them, or diagrams."""
    there = page.locator("section")
    assert {there.nth(n).get_attribute("id") for n in range(there.count())} == SECTIONS
    for name in SECTIONS:
        section = page.locator(f"section#{name}")
        assert section.locator(".lacking").count() == 0, name
        held = section.locator("data, svg.marks, .diagrams button").count()
        assert held > 0, name
    marks = page.locator(".drawn svg").count()
    assert marks == page.locator(".chart").count() > 12
    drawn = "svg => svg.querySelectorAll('.mark-line path, .mark-symbol path, .mark-rect path, .mark-rule line').length"
    for n in range(marks):
        assert page.locator(".drawn svg").nth(n).evaluate(drawn) > 0, n


def test_every_section_is_there_with_data(opened):
    check_every_section(opened())


def test_the_demo_ends_with_a_report_that_has_everything(look, tmp_path):
    """What `make demo` does, in another folder; every violation that it shows opens its diagram."""
    python = f"RUN={sys.executable}"
    recipe = ["make", "--dry-run", "--no-print-directory", "--old-file=.venv/ready", "demo", python]
    commands = subprocess.run(recipe, cwd=ROOT, capture_output=True, text=True, check=True, timeout=30).stdout
    assert commands.count(sys.executable) == 2, commands
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run(["sh", "-ec", commands], cwd=tmp_path, env=environment, check=True, timeout=300)
    page = look((tmp_path / "runs" / "demo-report.html").as_uri(), offline=True)
    assert awaited(page, "document.documentElement.dataset.drawn") == "all"
    check_every_section(page)
    buttons = page.locator("#violations .diagrams button").all()
    for button in buttons:
        button.click()
        assert page.locator(f"#{button.get_attribute('aria-controls')} svg.space-time").is_visible()
    assert len(buttons) >= 2


def test_nothing_is_asked_of_the_network(look, report):
    asked = []
    page = look("about:blank")
    page.on("request", lambda request: asked.append(request.url))
    page.goto(report)
    awaited(page, "document.documentElement.dataset.drawn")
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


@pytest.mark.parametrize("how", ["click", "Enter", "Space"])
def test_a_violation_opens_its_diagram(opened, how):
    page = opened()
    button = page.locator("#violations .diagrams button").first
    diagram = page.locator(f"#{button.get_attribute('aria-controls')}")
    assert button.get_attribute("aria-expanded") == "false" and not diagram.is_visible()
    for expanded in ("true", "false"):
        if how == "click":
            button.click()
        else:
            button.focus()
            page.keyboard.press(how)
        assert button.get_attribute("aria-expanded") == expanded
        assert diagram.locator("svg.space-time").is_visible() == (expanded == "true")
    button.click()
    assert diagram.locator("q").inner_text() and diagram.locator("svg.space-time .witness").count() > 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_keeps_people_out(opened, scheme):
    page = opened(color_scheme=scheme)
    for button in page.locator(".diagrams button").all()[:2]:
        button.click()
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    assert barriers(page) == []


def test_the_theme_follows_the_system_until_it_is_switched(opened):
    ground = "getComputedStyle(document.body).backgroundColor"
    light, dark = opened(color_scheme="light"), opened(color_scheme="dark")
    colours = light.evaluate(ground), dark.evaluate(ground)
    assert colours[0] != colours[1]
    for page, other in ((light, colours[1]), (dark, colours[0])):
        page.locator("#theme").click()
        assert page.evaluate(ground) == other
    text = ".drawn svg .role-axis-label text"
    shade = "node => getComputedStyle(node).fill"
    assert light.locator(text).first.evaluate(shade) != dark.locator(text).first.evaluate(shade)


def test_the_keyboard_reaches_everything(opened):
    page = opened()
    wanted = {"theme", "nav", "legend", "choice", "table", "summary", "diagram"}
    what = """() => { const on = document.activeElement; return on.id === "theme" ? "theme"
        : on.closest("nav") ? "nav" : on.closest(".legend") ? "legend" : on.matches("select") ? "choice"
        : on.matches(".scrolls") ? "table" : on.matches("summary") ? "summary"
        : on.matches(".diagrams button") ? "diagram" : on === document.body ? "body" : "other" }"""
    reached = set()
    for _ in range(250):
        page.keyboard.press("Tab")
        reached.add(page.evaluate(what))
    assert wanted <= reached


def test_an_ordering_that_is_switched_off_leaves_all_charts(opened):
    page = opened()
    line = "#chart-latency-others .drawn svg .mark-line path"
    before = page.locator(line).count()
    page.locator(".legend input").first.uncheck()
    awaited(page, f"document.querySelectorAll('{line}').length === {before - 1}")
    page.locator(".legend input").first.check()
    awaited(page, f"document.querySelectorAll('{line}').length === {before}")


def test_what_is_chosen_in_one_chart_is_chosen_in_all(opened):
    page = opened()
    first, second = (page.locator(f"#chart-{name} select") for name in ("latency-own", "cost-bytes"))
    value = first.locator("option").nth(2).inner_text()
    bars = "document.querySelector('#chart-cost-bytes .mark-rect').innerHTML"
    before = page.evaluate(bars)
    first.select_option(value)
    assert second.input_value() == value
    awaited(page, f"{bars} !== {before!r}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_never_scrolls_sideways(opened, scheme):
    page = opened(viewport=NARROW, color_scheme=scheme)
    for button in page.locator(".diagrams button").all():
        button.click()
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") == NARROW["width"]
    for chart in page.locator(".drawn svg.marks").all():
        box = chart.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= NARROW["width"]


@pytest.mark.parametrize("width", [1180, 1600])
def test_the_comparison_fits_from_the_width_of_a_small_laptop_on(opened, width):
    table = opened(viewport={"width": width, "height": 800}).locator("#table-comparison .scrolls")
    assert table.locator("td .interval small").count() > 10
    assert table.evaluate("box => box.scrollWidth <= box.clientWidth")


def test_headings_of_groups_are_read_whole_on_a_phone(opened):
    table = opened(viewport=NARROW).locator("#table-comparison .scrolls")
    assert table.evaluate("box => box.scrollWidth > box.clientWidth")
    across, headings = table.bounding_box(), table.locator("tr.group th > span").all()
    assert len(headings) > 3
    for heading in headings:
        box = heading.bounding_box()
        assert box["x"] >= across["x"] and box["x"] + box["width"] <= across["x"] + across["width"]


def test_on_paper_there_is_no_menu_and_nothing_is_dark(opened):
    page = opened(color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    for gone in ("nav", ".legend", "#theme"):
        assert not page.locator(gone).first.is_visible(), gone
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.querySelector('section')).color") == "rgb(26, 29, 35)"
    pages = len(re.findall(rb"/Type\s*/Page\b", page.pdf(format="A4")))
    assert 3 <= pages <= 30


def test_one_run_has_a_page_too(look, tmp_path):
    (run,) = plain.played(tmp_path, "wan-3-sites", "fifo", messages=5)
    path = tmp_path / "report.html"
    path.write_bytes(page_of(analysis.load(run.folder)))
    page = look(path.as_uri(), offline=True)
    assert awaited(page, "document.documentElement.dataset.drawn") == "all"
    lacking = page.locator(".lacking")
    assert lacking.count() > 0 and all("python -m" in text for text in lacking.all_inner_texts())
    assert barriers(page) == []

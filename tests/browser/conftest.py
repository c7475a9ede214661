"""Pages in a real browser: the system's Chromium, and what every page is asked for."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
WAIT_S = 60
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 375, "height": 812}

# Opens a page; options are those of a browser context, as `color_scheme`.
Look = Callable[..., Page]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The browser, once for all tests."""
    if shutil.which(CHROMIUM) is None:
        pytest.skip("there is no Chromium on this machine (apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def complaints() -> list[str]:
    """What pages said on their consoles, and errors of their scripts."""
    return []


@pytest.fixture
def look(chromium: Browser, complaints: list[str]) -> Iterator[Look]:
    """Looks at an address as a person does who was never there; at the end no page may have complained."""
    contexts = []

    def look(url: str, **options: object) -> Page:
        context = chromium.new_context(**{"viewport": WIDE, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT_S * 1000)
        page.on("console", lambda said: said.type in ("error", "warning") and complaints.append(said.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(url)
        return page

    yield look
    for context in contexts:
        context.close()
    assert complaints == []


def awaited(page: Page, expression: str) -> Any:
    """The value of an expression in a page, once it is true; the page's own policy forbids Playwright's way to wait."""
    until = monotonic() + WAIT_S
    while not (value := page.evaluate(expression)):
        assert monotonic() < until, f"{expression} did not become true: {page.locator('body').inner_text()}"
        page.wait_for_timeout(50)
    return value


def barriers(page: Page) -> list[str]:
    """What keeps people from using a page, as far as a program can tell: serious findings of axe."""
    found = Axe().run(page).response["violations"]
    return [
        f"{each['id']}: {node['target']} {node['failureSummary']}"
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]

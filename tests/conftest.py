"""What holds for all tests: a skipped test may be made a failure, and random examples are the same every time."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

settings.register_profile("same every time", derandomize=True, deadline=None)
settings.load_profile("same every time")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    outcome = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("LAB_REQUIRE_ALL"):
        report.outcome = "failed"
        report.longrepr = f"skipped, but LAB_REQUIRE_ALL is set: {report.longrepr[-1]}"

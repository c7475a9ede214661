"""What holds for all tests: a skip may count as a failure, random examples are the same every time, Ctrl-C works."""

from __future__ import annotations

import os
import signal

import pytest
from hypothesis import settings

settings.register_profile("same every time", derandomize=True, deadline=None)
settings.load_profile("same every time")

# A shell starts what runs in the background with Ctrl-C ignored, and programs hand that on; tests press it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    outcome = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("LAB_REQUIRE_ALL"):
        report.outcome = "failed"
        report.longrepr = f"skipped, but LAB_REQUIRE_ALL is set: {report.longrepr[-1]}"

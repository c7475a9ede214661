"""Faults in words: where they show, and who called for them."""

import json
import re

import pytest

from peer.core.clocks import LamportClock
from peer.drivers.program import bug


def at_home():
    raise AssertionError


def in_the_core():
    LamportClock().receive("a stamp")


def in_the_library():
    json.loads("{\n")


@pytest.mark.parametrize(
    "slip, told",
    [
        (at_home, r"AssertionError in test_program\.py, line 13"),
        (in_the_core, r"TypeError in clocks\.py, line \d+, called in test_program\.py, line 17: .*str.*"),
        (in_the_library, r"JSONDecodeError in decoder\.py, line \d+, called in test_program\.py, line 21: .*"),
    ],
)
def test_where_a_bug_is(slip, told):
    with pytest.raises(Exception) as caught:
        slip()
    assert re.fullmatch(told, bug(caught.value))

"""How many states there are, to the last one: whatever changes what the peers can do changes a number here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.explorer import state
from experiments.explorer.search import explore
from peer.stacks import ORDERINGS

ROOT = Path(__file__).parents[2]

# ordering, variant, links, peers, messages of each -> states between turns, turns, depth
COUNTS = {
    ("unordered", "plain", "datagrams", 2, 2): (1_535, 3_810, 9),
    ("unordered", "plain", "reliable", 3, 1): (421, 1_128, 9),
    ("fifo", "plain", "datagrams", 2, 2): (994, 2_792, 8),
    ("fifo", "plain", "reliable", 3, 1): (421, 1_128, 9),
    ("lamport_all_ack", "explicit", "fifo", 2, 2): (628, 1_961, 6),
    ("lamport_all_ack", "explicit", "fifo", 3, 1): (128_431, 938_234, 13),
    ("lamport_all_ack", "promise", "fifo", 2, 2): (225, 602, 6),
    ("lamport_all_ack", "promise", "fifo", 2, 4): (11_611, 61_162, 10),
    ("lamport_all_ack", "promise", "fifo", 3, 1): (7_351, 37_950, 11),
    ("lamport_all_ack", "textbook", "fifo", 2, 2): (465, 1_125, 8),
    ("fixed_sequencer", "ub", "fifo", 2, 2): (168, 280, 10),
    ("fixed_sequencer", "ub", "fifo", 3, 1): (447, 848, 11),
    ("fixed_sequencer", "ub", "fifo", 3, 2): (81_129, 203_180, 22),
    ("fixed_sequencer", "ub", "datagrams", 2, 2): (5_795, 18_693, 12),  # more than it promises: it counts on no order
}
SLOW = {
    ("fifo", "plain", "reliable", 3, 2): (278_934, 1_451_709, 16),
    ("lamport_all_ack", "explicit", "fifo", 2, 3): (11_528, 55_628, 8),
    ("lamport_all_ack", "textbook", "fifo", 3, 1): (964_743, 4_215_409, 20),
    ("fixed_sequencer", "ub", "fifo", 4, 1): (29_224, 80_591, 19),
}


def parameters():
    return [
        pytest.param(case, numbers, id=" ".join(map(str, case)), marks=marks)
        for counts, marks in ((COUNTS, ()), (SLOW, (pytest.mark.slow,)))
        for case, numbers in counts.items()
    ]


@pytest.mark.parametrize("case, numbers", parameters())
def test_nothing_is_found_and_nothing_is_left(case, numbers):
    explored = explore(*case)
    assert explored.violation is None and explored.exhausted and explored.stopped == ""
    assert (explored.states, explored.transitions, explored.depth) == numbers


def test_every_ordering_is_counted():
    variants = {(name, variant) for name, ordering in ORDERINGS.items() for variant in ordering.variants}
    assert {case[:2] for case in COUNTS} == variants


def test_what_is_checked_is_what_is_promised():
    explicit = explore("lamport_all_ack", "explicit", "fifo", 2, 1)
    assert set(explicit.checked) == explicit.model.promised
    fifo = explore("fifo", "plain", "datagrams", 2, 1)
    assert set(fifo.checked) == {"integrity", "fifo"}  # what is said of the end cannot be judged where packets get lost
    assert set(explore("fifo", "plain", "reliable", 2, 1).checked) == {"integrity", "fifo", "validity", "agreement"}


def test_a_search_gives_up_and_says_so():
    explored = explore("lamport_all_ack", "explicit", "fifo", 3, 1, max_states=1000)
    assert not explored.exhausted and explored.violation is None
    assert explored.stopped == "more than 1000 states" and 1000 < explored.states < 1100


def test_a_search_that_outgrows_its_numbers_says_so(monkeypatch):
    monkeypatch.setattr(state, "MOST_SITUATIONS", 100)
    explored = explore("lamport_all_ack", "explicit", "fifo", 3, 1)
    assert not explored.exhausted and explored.violation is None
    assert explored.stopped.startswith("a peer can be in more than")


def test_progress_is_told():
    told = []
    explored = explore("lamport_all_ack", "explicit", "fifo", 3, 1, progress=told.append)
    states = [each.states for each in told]
    assert states == sorted(states) and states[-1] == explored.states
    assert told[-1].waiting == 0 and told[-1].depth == explored.depth
    assert max(each.waiting for each in told) > 1000


COUNT = """
import json
from experiments.explorer.minimise import minimise
from experiments.explorer.search import explore
found = []
for case in (("lamport_all_ack", "promise", "fifo", 3, 1), ("fixed_sequencer", "ub", "reliable", 2, 2)):
    explored = explore(*case)
    found.append([explored.states, explored.transitions, explored.depth])
broken = explore("lamport_all_ack", "explicit", "datagrams", 2, 2, check=["total"])
found += [broken.states, broken.transitions, minimise(broken).as_dict()]
print(json.dumps(found))
"""


def test_the_same_in_every_process():
    outputs = set()
    for seed in ("1", "2"):
        process = subprocess.run(
            [sys.executable, "-c", COUNT],
            cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True, timeout=60,
        )  # fmt: skip
        outputs.add(process.stdout)
    assert len(outputs) == 1
    assert json.loads(outputs.pop())[0] == list(COUNTS["lamport_all_ack", "promise", "fifo", 3, 1])

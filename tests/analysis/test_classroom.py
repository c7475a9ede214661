"""The classroom program's own count: that we count as it did, and that its published figures come out again."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.classroom import PUBLISHED, PUBLISHED_OF, count
from experiments.sweep.plan import load_plan
from tests.runs import play


def as_the_program_did(msgs, nMsgs):
    """The program's own loop, word for word, over the lists in the order in which they arrived."""
    N = len(msgs)
    unordered = 0
    for j in range(0, nMsgs - 1):
        firstMsg = msgs[0][j]
        for i in range(1, N - 1):
            if firstMsg != msgs[i][j]:
                unordered = unordered + 1
                break
    return unordered


@st.composite
def lists_of_messages(draw):
    """Up to five logs of the same messages, most of them in the same order, and an order of arrival."""
    peers, messages = draw(st.integers(2, 5)), draw(st.integers(1, 6))
    everything = [sender << 32 | number for number in range(messages) for sender in range(peers)]
    shuffled = st.one_of(st.just(everything), st.permutations(everything))
    return draw(st.lists(shuffled, min_size=peers, max_size=peers)), messages, draw(st.permutations(range(peers)))


@given(lists_of_messages())
def test_it_counts_as_the_program_did(drawn):
    logs, messages, arrival = drawn
    arrays = [np.array(log, np.uint64) for log in logs]
    arrived = [logs[peer] for peer in arrival]
    assert count(arrays, messages, arrival) == (as_the_program_did(arrived, messages), messages - 1)
    assert count(arrays, messages) == (as_the_program_did(logs, messages), messages - 1)


@pytest.mark.parametrize(
    ("logs", "found"),
    [
        (["abcdef", "bacdef", "abcdef"], 2),
        (["abcdef", "abcdef", "fedcba"], 0),  # the last log to arrive is never compared
        (["abcdef", "fedcba"], 0),  # so of two logs none is
        (["abcdef", "abcfed", "abcdef"], 0),  # n messages a peer, n - 1 positions: 3 of 6 are never looked at
        (["abcdef", "bacdef", "badcef", "abcdef"], 3),  # a position counts once
        (["abcdef", "a", "abcdef"], 2),  # the program broke off at a log that had ended
        (["abcdef"], 0),
        ([], 0),
    ],
)
def test_what_it_sees(logs, found):
    assert count([np.array([ord(letter) for letter in log]) for log in logs], 4) == (found, 3)


@pytest.mark.parametrize("messages", [0, 1])
def test_with_one_message_a_peer_it_looks_at_nothing(messages):
    logs = [np.array([one, two, 3]) for one, two in ((1, 2), (2, 1), (1, 2))]
    assert count(logs, messages) == (0, 0)


# The figure that it is known for: positions of 99, by place and peers of the plan, over all seeds, and their median
FIGURES = {
    ("three-without-tokyo", 3): ((75, 95), (80, 92)),
    ("three-without-virginia", 3): ((88, 99), (92, 99)),
    ("three-without-ireland", 3): ((95, 99), (97, 99)),
    ("two-near-compared", 3): ((0, 10), (0, 2)),
    ("two-far-compared", 3): ((80, 99), (90, 99)),
    ("two", 4): ((96, 99), (97, 99)),
    ("two", 6): ((96, 99), (98, 99)),
    ("two", 8): ((96, 99), (98, 99)),
    **{("one", peers): ((0, 15), (0, 5)) for peers in (3, 4, 6, 8)},
}
TRULY = {"three": 0.95, "two": 0.85, "one": 0.0}  # at least this share of all rounds is out of order


@pytest.fixture(scope="module")
def counted():
    """counted(ordering, place, peers, repeats): what the program would have counted, and the share in truth."""
    runs = load_plan("classroom").runs

    def counted(ordering, place, peers, repeats):
        chosen = [run for run in runs if run.name.startswith(f"{ordering}-{place}-{peers}p-") and run.repeat < repeats]
        assert len(chosen) == repeats
        played = [play(run.settings) for run in chosen]
        found = [count([log.ids for log in each.evidence.logs], 100) for each in played]
        assert {of for _, of in found} == {99}
        assert {each.verdict.rounds.rounds for each in played} == {100 * peers}
        return [rounds for rounds, _ in found], [each.verdict.rounds.out_of_order / (100 * peers) for each in played]

    return counted


def check_figure(counted, place, peers, repeats):
    (low, high), (lowest_median, highest_median) = FIGURES[place, peers]
    rounds, share = counted("unordered", place, peers, repeats)
    assert low <= min(rounds) and max(rounds) <= high, rounds
    assert repeats < 20 or lowest_median <= np.median(rounds) <= highest_median, rounds
    kind = place.partition("-")[0]
    assert min(share) >= TRULY[kind] and (kind != "one" or max(share) < 0.1), share
    total_order, share = counted("lamport_all_ack", place, peers, min(repeats, 1 + repeats // 4))
    assert not any(total_order) and not any(share)


def test_three_peers_in_three_far_regions_as_published(counted):
    rounds, _ = counted("unordered", "three-without-tokyo", 3, 20)
    assert 75 <= min(rounds) and max(rounds) <= 95 and 80 <= np.median(rounds) <= 92, rounds


@pytest.mark.parametrize(("place", "peers"), FIGURES)
def test_the_figure_with_a_seed_or_two(counted, place, peers):
    check_figure(counted, place, peers, 2)


@pytest.mark.slow
@pytest.mark.parametrize(("place", "peers"), FIGURES)
def test_the_figure_with_all_seeds(counted, place, peers):
    check_figure(counted, place, peers, 20)


def test_the_plan_has_what_was_published():
    assert all(low <= high <= PUBLISHED_OF for low, high in PUBLISHED.values())
    assert {peers for _, peers in FIGURES} == set(PUBLISHED)

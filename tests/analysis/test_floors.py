"""The floors of all orderings: against a published table, and against small cases worked out by hand."""

from itertools import permutations

import numpy as np
import pytest

from analysis.floors import BOUNDS, bound, expected, rotation, shortest_paths
from experiments.planet import load_planet
from experiments.resolution import delays_s

FIVE = ("eu-west-1", "us-west-1", "ap-southeast-1", "ca-central-1", "sa-east-1")
THREE = ("us-east-1", "eu-west-1", "ap-northeast-1")

# Means and worst pairs in ms of the measurements of 2020-06-05; None: not in the table.
TABLE = [
    # what is computed                    5 sites: mean, worst, at                3 sites: mean, worst, at
    ("unordered",                         68.7, 169.1, None,                      47.5, 102.2, None),
    ("fifo",                              68.7, 169.1, None,                      47.5, 102.2, None),
    ("causal",                            68.7, 169.1, None,                      47.5, 102.2, None),
    ("fixed_sequencer, best place",       99.2, 221.3, "ca-central-1",            74.3, 152.4, "us-east-1"),
    ("fixed_sequencer, worst place",      185.5, 338.1, "ap-southeast-1",         119.0, 204.4, "ap-northeast-1"),
    ("raft_log, best place",              177.6, 299.6, "ca-central-1",           144.8, 222.9, "us-east-1"),
    ("lamport_all_ack",                   237.8, 338.1, None,                     157.3, 204.4, None),
    ("skeen:all",                         237.8, 338.1, None,                     157.3, 204.4, None),
    ("skeen:sender",                      323.5, 507.2, None,                     234.6, 306.7, None),
]  # fmt: skip


def milliseconds(regions):
    return np.array(delays_s(load_planet("aws-2020-06-05"), regions)) * 1000


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row[0])
@pytest.mark.parametrize("regions", [FIVE, THREE], ids=["5 sites", "3 sites"])
def test_table_of_bounds(row, regions):
    what, *numbers = row
    mean, worst, region = numbers[:3] if regions is FIVE else numbers[3:]
    name, _, place = what.partition(", ")
    ordering, _, variant = name.partition(":")
    option = "leader" if ordering == "raft_log" else "sequencer"
    floors = {at: bound(ordering, variant or None, milliseconds(regions), {option: p}) for p, at in enumerate(regions)}
    at = (max if place == "worst place" else min)(floors, key=lambda at: floors[at].mean())
    assert floors[at].mean() == pytest.approx(mean, abs=0.05001)
    assert floors[at].max() == pytest.approx(worst, abs=0.05001)
    assert region in (None, at)


@pytest.mark.parametrize(
    "regions, moving, ring_mean, ring_worst", [(FIVE, 137.3, 257.1, 546.0), (THREE, 95.0, 154.3, 315.9)]
)
def test_table_of_expectations(regions, moving, ring_mean, ring_worst):
    delays = milliseconds(regions)
    assert expected("moving_sequencer", None, delays).mean() == pytest.approx(moving, abs=0.05001)
    best = min(permutations(range(len(regions))), key=lambda ring: rotation(delays, ring))
    assert expected("token_ring", None, delays, {"ring": best}).mean() == pytest.approx(ring_mean, abs=0.05001)
    worst = rotation(delays, best) + bound("token_ring", None, delays).max()  # the token has just left
    assert worst == pytest.approx(ring_worst, abs=0.1)


# Four peers in which every delay is another one, so that no term can stand for another.
FOUR = np.array([[0, 1, 10, 100], [2, 0, 20, 200], [3, 30, 0, 300], [4, 40, 400, 0]])


@pytest.mark.parametrize(
    "ordering, variant, options, sender, receiver, floor",
    [
        ("unordered", None, {}, 1, 2, 20),
        ("causal", None, {}, 2, 2, 0),
        ("lamport_all_ack", None, {}, 1, 2, 200 + 400),  # what the farthest member says
        ("lamport_all_ack", "textbook", {}, 1, 1, 200 + 40),
        ("lamport_all_ack", "promise", {}, 1, 2, 20),
        ("fixed_sequencer", None, {}, 1, 2, 2 + 10),  # peer 0 numbers, and the way through it is shorter
        ("fixed_sequencer", "bb", {}, 1, 2, 20),  # but with bb the block itself comes the direct way
        ("fixed_sequencer", "ub", {"sequencer": 3}, 1, 1, 200 + 40),
        ("fixed_sequencer", "bb", {"sequencer": 3}, 3, 2, 400),
        ("moving_sequencer", None, {}, 1, 2, 20),
        ("token_ring", None, {}, 1, 2, 20),
        ("skeen", None, {}, 1, 2, (200 + 40) + 20),
        ("skeen", "sender", {}, 2, 2, 300 + 400),
        ("skeen", "all", {}, 1, 2, 200 + 400),
        ("raft_log", None, {}, 1, 2, 2 + (10 + 3) + 10),  # of the round trips 3, 13, 104 two must be over
        ("raft_log", None, {"leader": 3}, 3, 3, 40 + 200),
    ],
)
def test_floor_by_hand(ordering, variant, options, sender, receiver, floor):
    assert bound(ordering, variant, FOUR, options)[sender, receiver] == floor


def test_majority_of_an_odd_group():
    three = FOUR[:3, :3]
    assert bound("raft_log", None, three)[0, 0] == 1 + 2  # one other suffices, the nearest


def test_safe_token_has_been_everywhere():
    # The token goes 0 -> 1 -> 2 -> 3 -> 0 and waits where it overtakes the block.
    floors = bound("token_ring", "safe", FOUR)
    at_1 = 1
    at_2 = at_1 + 20
    at_3 = at_2 + 300
    assert floors[0, 3] == at_3  # the last on its way is the first to know
    assert floors[0, 0] == at_3 + 4
    assert floors[0, 1] == at_3 + 4 + 1
    assert floors[0, 2] == at_3 + 4 + 1 + 20
    # From 2 backwards the token would be at 3 after 30 + 2 + 100, but the block takes 300.
    floors = bound("token_ring", "safe", FOUR, {"ring": [2, 1, 0, 3]})
    assert floors[2, 3] == 300
    assert floors[2, 2] == 300 + 400


def test_expectations_by_hand():
    assert rotation(FOUR) == 1 + 20 + 300 + 4
    assert rotation(FOUR, [0, 2, 1, 3]) == 10 + 30 + 200 + 4
    assert expected("token_ring", "plain", FOUR, {"ring": [0, 2, 1, 3]})[1, 2] == 244 / 2 + 20
    safe = expected("token_ring", "safe", FOUR) - bound("token_ring", "safe", FOUR)
    assert np.allclose(safe, 325 / 2)
    through = [2 + 10, 20, 20, 200 + 400]  # numbered by 0 (but the block takes 20), by 1, by 2, by 3
    assert expected("moving_sequencer", None, FOUR)[1, 2] == (20 + sum(through[1:])) / 4
    assert (expected("lamport_all_ack", "promise", FOUR) == bound("lamport_all_ack", "explicit", FOUR)).all()
    assert (expected("skeen", None, FOUR) == bound("skeen", None, FOUR)).all()


ALL = [(ordering, variant) for ordering in BOUNDS for variant in BOUNDS[ordering]]


@pytest.mark.parametrize("ordering, variant", ALL)
def test_nothing_beats_the_network(ordering, variant):
    delays = milliseconds(FIVE)
    floors = bound(ordering, variant, delays)
    # Only a block that travels through the sequencer or leader and nowhere else can profit from a shorter way.
    fastest = delays if (ordering, variant) not in [("fixed_sequencer", "ub"), ("raft_log", "plain")] else (
        shortest_paths(delays, [(a, b) for a in range(5) for b in range(a)])
    )  # fmt: skip
    assert (floors >= fastest - 1e-9).all()
    assert (expected(ordering, variant, delays) >= floors - 1e-9).all()


@pytest.mark.parametrize("ordering, variant", ALL)
def test_alone_there_is_nothing_to_wait_for(ordering, variant):
    assert bound(ordering, variant, [[0]]).tolist() == expected(ordering, variant, [[0]]).tolist() == [[0]]


def test_mesh_goes_the_shortest_way():
    paths = shortest_paths(FOUR, [(0, 1), (1, 2), (2, 3)])
    assert paths[0].tolist() == [0, 1, 1 + 20, 1 + 20 + 300]
    assert paths[3].tolist() == [400 + 30 + 2, 400 + 30, 400, 0]
    assert np.isinf(shortest_paths(FOUR, [(0, 1)])[0, 2])


@pytest.mark.parametrize("delays", [[0], [[0, 1]], [[0, 1], [1, 5]]])
def test_what_is_no_matrix_of_delays(delays):
    with pytest.raises(AssertionError):
        bound("fifo", None, delays)


def test_what_has_no_bound_is_refused():
    with pytest.raises(ValueError, match="no bound is known for 'paxos'"):
        bound("paxos", None, FOUR)
    with pytest.raises(ValueError, match="variant 'bbb' of fixed_sequencer; known are ub, bb"):
        expected("fixed_sequencer", "bbb", FOUR)

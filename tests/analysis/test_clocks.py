"""Clocks of their own: how far they are apart, how sure that is, and latencies across sites that rest on it."""

import json

import numpy as np
import pytest

import analysis
from analysis.clocks import clocks
from analysis.run import load_run
from peer.core.trace import DELIVERED, RELEASED, read_header
from tests.analysis import plain

APART_S = [0.0, 7000.0, -3.5]  # by how much the clocks of the three are set apart


@pytest.fixture
def apart(copied):
    """The run as peers would have told it whose clocks are set apart; without what they told of each other's."""
    for peer, ahead_s in enumerate(APART_S):
        run = read_header(copied / f"trace-{peer}.bin")[0]["run"]
        records = [(RELEASED, 0, 0, 0, 0, plain.zero(copied, peer) + ahead_s)]
        records += [(DELIVERED, s, n, 1, stamp, time_s) for s, n, time_s, stamp in plain.delivered(copied, peer)]
        plain.write_trace(copied, peer, records, run=run)
    plain.change(copied / "scenario.json", clock="own")
    return copied


def tell(folder, by_phase):
    """What each peer saw of each other: by_phase[phase][peer][other], None where it heard nothing."""
    peers = json.loads((folder / "measures.json").read_text())["peers"]
    for number, name in enumerate(("p0", "p1", "p2")):
        told = [{phase: table[number][other] for phase, table in by_phase.items()} for other in range(3)]
        peers[name]["clocks_ahead_s"] = told
    plain.change(folder / "measures.json", peers=peers)


def seen(ways_s, apart_s=APART_S):
    """What they see of each other if the quickest datagram from a to b takes ways_s[a][b]."""
    return [
        [None if here == there else apart_s[there] - apart_s[here] - ways_s[there][here] for there in range(3)]
        for here in range(3)
    ]


WAYS_S = [[0, 0.040, 0.10], [0.030, 0, 0.15], [0.12, 0.11, 0]]


def test_the_quickest_datagrams_of_both_directions_pin_an_offset_down(apart):
    nothing = [[None] * 3] * 3
    tell(apart, {"before": nothing, "during": seen(WAYS_S), "after": nothing})
    found = clocks(load_run(apart))
    for a in range(3):
        for b in range(3):
            assert found.uncertain_s[a, b] == pytest.approx((WAYS_S[a][b] + WAYS_S[b][a]) / 2 if a != b else 0)
            truth = APART_S[b] - APART_S[a]
            assert abs(found.ahead_s[a, b] - truth) <= found.uncertain_s[a, b] + 1e-9
            assert found.ahead_s[a, b] == pytest.approx(truth + (WAYS_S[a][b] - WAYS_S[b][a]) / 2, abs=1e-9)


def test_all_phases_count(apart):
    slow = [[0 if a == b else 0.5 for b in range(3)] for a in range(3)]
    tell(apart, {"before": seen(slow), "during": seen(WAYS_S), "after": seen(slow)})
    assert clocks(load_run(apart)).uncertain_s[0, 1] == pytest.approx(0.035)


def test_clocks_that_gained_on_each_other_are_less_sure(apart):
    drifted = [0.0, 7001.0, -3.5]  # a whole second from one phase to the next
    tell(apart, {"before": seen(WAYS_S), "during": seen(WAYS_S, drifted), "after": [[None] * 3] * 3})
    found = clocks(load_run(apart))
    low, high = found.ahead_s[0, 1] - found.uncertain_s[0, 1], found.ahead_s[0, 1] + found.uncertain_s[0, 1]
    assert low <= 7000 < 7001 <= high and found.uncertain_s[0, 2] == pytest.approx(0.11)


def test_latencies_across_sites_with_their_uncertainty(apart, lossy):
    tell(apart, {"before": [[None] * 3] * 3, "during": seen(WAYS_S), "after": [[None] * 3] * 3})
    truth = analysis.load(lossy["fifo"])
    lab = analysis.load(apart)
    assert not lab.runs["shared_clock"][0]
    keys = ["sender", "receiver", "number"]
    both = lab.latencies.merge(truth.latencies, on=keys, suffixes=("", "_truth"))
    assert len(both) == len(lab.latencies) == 225
    wrong_s = (both["latency_s"] - both["latency_s_truth"]).abs()
    own = both["sender"] == both["receiver"]
    assert (both["uncertain_s"][own] == 0).all() and (wrong_s[own] < 1e-9).all()
    for row in both[~own].itertuples():
        there_and_back_s = WAYS_S[row.sender][row.receiver] + WAYS_S[row.receiver][row.sender]
        assert row.uncertain_s == pytest.approx(there_and_back_s / 2)
    assert (wrong_s[~own] <= both["uncertain_s"][~own] + 1e-9).all() and wrong_s[~own].max() > 0.004
    released = lab.costs["released_s"]
    assert released.min() == 0 and released.max() < 0.1


def test_clocks_that_nobody_compared(apart):
    lab = analysis.load(apart)
    own = lab.latencies["sender"] == lab.latencies["receiver"]
    across = lab.latencies[~own]
    assert len(across) == 150 and across["latency_s"].isna().all() and across["uncertain_s"].isna().all()
    assert lab.latencies["latency_s"][own].notna().all() and lab.latencies["asked_s"].notna().all()
    assert np.isnan(lab.runs["others_p50_s"][0]) and lab.runs["own_p50_s"][0] == 0
    assert lab.costs["released_s"].isna().tolist() == [True] * 3 or lab.costs["released_s"].isna().sum() == 2
    for asked_s, time_s in zip(lab.latencies["asked_s"][own], lab.sends["time_s"]):
        assert asked_s == time_s  # since its own sender was released


def test_nonsense_about_clocks_is_no_knowledge(apart):
    tell(apart, {"before": [["x"] * 3] * 3, "during": [[None] * 3] * 3, "after": [[None] * 3] * 3})
    assert np.isnan(clocks(load_run(apart)).ahead_s[0, 1])
    peers = json.loads((apart / "measures.json").read_text())["peers"]
    peers["p0"]["clocks_ahead_s"] = 3
    plain.change(apart / "measures.json", peers=peers)
    assert np.isnan(clocks(load_run(apart)).ahead_s[0, 1])

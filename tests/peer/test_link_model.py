"""The emulated network between two peers: as much loss, delay and disorder as was asked for, and no more."""

from dataclasses import replace
from statistics import mean

import pytest

from peer.drivers.chance import bits, stream
from peer.drivers.link_model import LONGEST_HOLD, PairModel
from tests.runs import run_settings

MANY = 20_000


def fates(source=0, target=1, seed=1, count=MANY, **network):
    model = PairModel(run_settings(seed=seed, **network), source, target)
    return model, [model.fates() for _ in range(count)]


def test_a_calm_network_only_delays():
    run = run_settings()
    _, all_fates = fates(count=10)
    assert all_fates == [(run.delays_s[0][1],)] * 10


@pytest.mark.parametrize("loss", [0.01, 0.1, 0.3, 0.9])
def test_as_much_is_lost_as_was_asked_for(loss):
    model, all_fates = fates(loss=loss)
    lost = all_fates.count(())
    assert lost == model.lost == pytest.approx(MANY * loss, abs=5 * (MANY * loss * (1 - loss)) ** 0.5)
    assert {len(each) for each in all_fates} == {0, 1}


def test_nothing_arrives_where_all_is_lost():
    assert set(fates(loss=1.0, duplicate=0.5)[1]) == {()}


def test_as_much_is_doubled_as_was_asked_for():
    model, all_fates = fates(duplicate=0.2, jitter_ms=1.0)
    doubled = [each for each in all_fates if len(each) == 2]
    assert len(doubled) == model.doubled == pytest.approx(MANY * 0.2, rel=0.1)
    assert all(one != other for one, other in doubled)  # the copies travel apart


def test_jitter_is_added_and_spread_evenly():
    _, all_fates = fates(jitter_ms=10.0)
    delay_s = run_settings().delays_s[0][1]
    extra = [each[0] - delay_s for each in all_fates]
    assert min(extra) >= 0 and max(extra) <= 0.010 and mean(extra) == pytest.approx(0.005, rel=0.05)


def test_what_is_reordered_is_held_back():
    run = run_settings()
    there, back = run.delays_s[0][1], run.delays_s[1][0]
    model, all_fates = fates(reorder=0.25)
    held = [each[0] - there for each in all_fates if each[0] > there]
    assert len(held) == model.held == pytest.approx(MANY * 0.25, rel=0.1)
    assert 0.99 < max(held) / (LONGEST_HOLD * (there + back)) <= 1 and mean(held) == pytest.approx(
        max(held) / 2, rel=0.1
    )


def test_the_same_seed_the_same_fates():
    network = {"loss": 0.1, "duplicate": 0.1, "reorder": 0.1, "jitter_ms": 5.0}
    assert fates(**network)[1] == fates(**network)[1]
    for other in ({"seed": 2}, {"source": 1, "target": 0}, {"target": 2}):
        assert [len(each) for each in fates(**other, **network)[1]] != [len(each) for each in fates(**network)[1]]


def test_a_change_elsewhere_changes_nothing_here():
    """What a pair meets depends on the seed and the pair, not on which ordering runs or who else is there."""
    run = run_settings("lamport_all_ack", loss=0.3)
    grown = run_settings("unordered", peers=7, loss=0.3)
    one, other = (PairModel(replace(each, seed="5"), 1, 2) for each in (run, grown))
    assert [one.fates() for _ in range(500)] == [other.fates() for _ in range(500)]


def test_streams_do_not_touch_each_other():
    purposes = [("timer", 1, "a"), ("timer", 11, "a"), ("timer", 1, "b"), ("network", 1, "a"), ("timer", 1), ()]
    draws = [stream("1", *purpose).random() for purpose in purposes] + [stream("2", "timer", 1, "a").random()]
    assert len(set(draws)) == len(draws)
    assert stream("1", "timer", 1, "a").random() == draws[0]
    assert len({bits("1", "entropy", me) for me in range(9)} | {bits("2", "entropy", 0)}) == 10
    assert len(bits("1", "entropy", 0)) == 32

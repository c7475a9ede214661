"""How early an ordering delivers: as early as the delays allow when a message is alone, and never earlier at any load.

Alone means workload `single`: one message in the group at a time, no jitter, no loss. Then the median of every
(sender, receiver) pair is that pair's floor, in virtual time and with real processes over emulated delays.
"""

import numpy as np
import pandas as pd
import pytest

from analysis import measures
from analysis.run import Run, load_run
from experiments import scenario
from experiments.local import in_local
from experiments.play import Planned, in_simulator, plan, play
from peer.drivers.link_model import PairModel
from peer.ordering.lamport_all_ack import Explicit
from peer.stacks import ORDERINGS
from tests.runs import NAMED

SITES = ("wan-3-sites", "wan-5-sites")
WITH_A_PLACE = [(name, option) for name, option in (("fixed_sequencer", "sequencer"),) if name in ORDERINGS]
LEAST_S = 1e-9  # what two clock readings may differ by after they were added and subtracted
CHANCES = 8  # to be in time, on a machine that is busy with other things

every_ordering = pytest.mark.parametrize("ordering, variant", **NAMED)


def planned(sites: str, ordering: str, variant: str | None, *assignments: str, world: str = "sim") -> list[Planned]:
    chosen = scenario.override(scenario.load(sites), assignments)
    return plan(chosen, [(ordering, variant)], 1, world)


def alone(messages: int) -> list[str]:
    """One message in the group at a time; so many of each peer."""
    return ["workload.kind=single", f"workload.messages={messages}"]


def simulated(tmp_path, *of_plan) -> Run:
    (played,) = play(planned(*of_plan), in_simulator, tmp_path)
    assert played.error is None and played.verdict.complete and played.verdict.violated() == []
    return load_run(played.folder)


def off(run: Run, rel: float, abs_s: float) -> pd.DataFrame:
    """The pairs whose median is not what it is for a message alone, and the mean over all pairs if it is not."""
    pairs = measures.pair_latencies(run)
    alone_s = measures.alone_s(run)
    assert len(pairs) == len(run.peers) ** 2 and (pairs["deliveries"] == run.settings.workload.messages).all()
    pairs["alone_s"] = alone_s[pairs["sender"], pairs["receiver"]]
    mean = {"sender": -1, "receiver": -1, "p50_s": pairs["p50_s"].mean(), "alone_s": alone_s.mean()}
    pairs = pd.concat([pairs, pd.DataFrame([mean])])
    allowed_s = np.maximum(rel * pairs["alone_s"], abs_s)
    wrong = (pairs["p50_s"] - pairs["alone_s"]).abs() > allowed_s
    return pairs[wrong][["sender", "receiver", "p50_s", "alone_s"]]


def early(run: Run) -> pd.DataFrame:
    """The pairs of which some delivery was made before it could be."""
    pairs = measures.pair_latencies(run)
    assert len(pairs) == len(run.peers) ** 2
    return pairs[pairs["min_s"] < pairs["floor_s"] - LEAST_S][["sender", "receiver", "min_s", "floor_s"]]


# -- alone


@pytest.mark.parametrize("sites", SITES)
@every_ordering
def test_in_virtual_time_a_message_alone_takes_exactly_its_floor(tmp_path, sites, ordering, variant):
    run = simulated(tmp_path, sites, ordering, variant, *alone(15))
    assert off(run, 0.01, 10e-6).empty, off(run, 0.01, 10e-6)


@pytest.mark.parametrize("place", [1, 2])
@pytest.mark.parametrize("ordering, option", WITH_A_PLACE)
def test_floors_follow_the_place_of_a_sequencer(tmp_path, ordering, option, place):
    for variant in ORDERINGS[ordering].variants:
        where = f"ordering_options.{ordering}.{option}={place}"
        run = simulated(tmp_path, "wan-3-sites", ordering, variant, where, *alone(9))
        assert off(run, 0.01, 10e-6).empty, off(run, 0.01, 10e-6)
        best = simulated(tmp_path, "wan-3-sites", ordering, variant, *alone(9))
        assert measures.alone_s(best).mean() < measures.alone_s(run).mean()


# -- with real processes


@pytest.fixture(scope="module")
def cluster():
    with in_local(3) as world:
        yield world


@pytest.mark.alone
@pytest.mark.long
@every_ordering
def test_in_real_time_a_message_alone_takes_its_floor(tmp_path, cluster, ordering, variant):
    for _ in range(CHANCES):
        (played,) = play(planned("wan-3-sites", ordering, variant, *alone(3), world="local"), cluster, tmp_path)
        assert played.error is None and played.verdict.complete and played.verdict.violated() == []
        run = load_run(played.folder)
        assert early(run).empty, early(run)
        wrong, late = off(run, 0.05, 1e-3), measures.lateness(run)
        if wrong.empty:
            return
    raise AssertionError(f"{wrong}\nthe emulated network was late by\n{late}")


# -- at any load

FAULTY = ["network={loss: 0.1, duplicate: 0.05, reorder: 0.1, jitter_ms: 5}"]
LOADS = {
    "steady": ["workload={kind: steady, messages: 40, gap_ms: [0, 15]}"],
    "burst": ["workload={kind: burst, messages: 200}", "window.blocks=8", "network.datagram_bytes=1372"],
}


def check_never_early(tmp_path, ordering, variant, load_, seeds):
    for seed in seeds:
        for sites in SITES:
            run = simulated(tmp_path, sites, ordering, variant, *FAULTY, *LOADS[load_], f"seed={seed}")
            assert early(run).empty, f"{sites}, seed {seed}\n{early(run)}"
            assert measures.latencies(run)["latency_s"].max() > measures.floor_s(run).max()


@pytest.mark.parametrize("load_", LOADS)
@every_ordering
def test_at_any_load_nothing_is_delivered_before_it_can_be(tmp_path, ordering, variant, load_):
    check_never_early(tmp_path, ordering, variant, load_, range(2))


@pytest.mark.slow
@pytest.mark.parametrize("load_", LOADS)
@every_ordering
def test_at_any_load_nothing_is_delivered_before_it_can_be_with_many_seeds(tmp_path, ordering, variant, load_):
    check_never_early(tmp_path, ordering, variant, load_, range(100, 140))


# -- and these tests can fail


def test_a_delivery_on_arrival_is_too_early_for_total_order(tmp_path, monkeypatch):
    right = ["wan-3-sites", "lamport_all_ack", "explicit"]
    runs = {"alone": alone(6), "under load": [*FAULTY, *LOADS["steady"]]}
    assert early(simulated(tmp_path, *right, *runs["alone"])).empty
    monkeypatch.setattr(Explicit, "is_sure", lambda self, block: True)
    for name, assignments in runs.items():
        (played,) = play(planned(*right, *assignments), in_simulator, tmp_path)
        assert not early(load_run(played.folder)).empty, name


def test_half_a_millisecond_too_late_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(PairModel, "fates", lambda self: (self.delay_s + 0.0005,))
    run = simulated(tmp_path, "wan-3-sites", "fifo", "plain", *alone(3))
    wrong = off(run, 0.01, 10e-6)
    assert set(zip(wrong["sender"], wrong["receiver"])) == {(0, 1), (1, 0)}  # it is less than 1 % of the others

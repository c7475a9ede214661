"""Round trips as a run measures them: an even sample in little memory, kept apart by phase."""

from statistics import median

from peer.drivers.round_trips import MOST_KEPT, RoundTrips
from tests.peer.drivers.test_udp import Group


def test_few_are_kept_as_they_are():
    trips = RoundTrips()
    assert trips.summary() is None
    for trip_s in (0.3, 0.1, 0.2):
        trips.add(trip_s)
    assert trips.summary() == {"count": 3, "least_s": 0.1, "p50_s": 0.2}


def test_of_many_an_even_sample_is_kept():
    trips, told = RoundTrips(), [0.001 * number for number in range(1, 100_001)]
    for trip_s in told:
        trips.add(trip_s)
    summary = trips.summary()
    assert len(trips.kept) <= MOST_KEPT and summary["count"] == 100_000 and summary["least_s"] == told[0]
    steps = {round((b - a) / 0.001) for a, b in zip(trips.kept, trips.kept[1:])}
    assert steps == {trips.every}, "as many of the beginning as of the end"
    assert abs(summary["p50_s"] - median(told)) < 0.01 * median(told)


def test_a_run_measures_every_pair_before_during_and_after(tmp_path):
    with Group(tmp_path, messages=20, gap_ms=(1, 2)) as group:
        group.run()
        group.until(lambda peer: peer.session.phase == "drained")
        measured = [peer.network.neighbours for peer in group.peers]
        group.until(
            lambda peer: all(
                trips.count
                for other, neighbour in enumerate(measured[group.peers.index(peer)])
                if other != group.peers.index(peer)
                for trips in neighbour.trips_by_phase.values()
            )
        )
        for place, each in enumerate(group.finish()):
            told = each.measures["round_trips"]
            assert [phases["during"] is None for phases in told] == [other == place for other in range(3)]
            assert all(0 < phases["after"]["p50_s"] < 5 for other, phases in enumerate(told) if other != place)


def test_a_question_is_answered_once_and_an_answer_never(tmp_path):
    with Group(tmp_path, messages=0) as group:
        group.run()
        group.until(lambda peer: peer.session.phase == "drained")
        ana, bob = group.peers[:2]
        for peer in group.peers:
            while peer.network.read(64):
                pass
        sent = [peer.network.sent for peer in group.peers]
        ana.network.ask_round_trips()
        for _ in range(50):
            for peer in group.peers:
                peer.network.read(64)
        assert [peer.network.sent - before for peer, before in zip(group.peers, sent)] == [2, 1, 1]
        assert bob.network.dropped.total() == 0

"""Contradictions in logs long enough that chunks, lengths and tangles matter, planted where they are known."""

import numpy as np
import pytest

from comparison_server.evidence import Evidence, PeerLog, message_ids
from comparison_server.positions import Positions
from comparison_server.properties import PROPERTIES

LENGTH = 30_000
PEERS = 6


def whole() -> np.ndarray:
    places = np.arange(LENGTH)
    return message_ids(places % PEERS, places // PEERS)


def total(*logs: np.ndarray):
    made = [PeerLog(str(number), ids, sender=number) for number, ids in enumerate(logs)]
    return PROPERTIES["total"](Positions(Evidence(made)))


def without(ids: np.ndarray, *messages: int) -> np.ndarray:
    return ids[~np.isin(ids, np.array(messages, np.uint64))]


def lossy(share: float, seed: int) -> list[np.ndarray]:
    chance = np.random.default_rng(seed)
    return [whole()[chance.random(LENGTH) >= share] for _ in range(PEERS)]


@pytest.mark.parametrize("share", [0.001, 0.05, 0.5, 0.98])
def test_logs_that_lack_messages_of_one_order_hold(share):
    assert total(*lossy(share, seed=1)).holds is True


@pytest.mark.parametrize("at", [0, 500, LENGTH - 2])
def test_a_swap_of_two_neighbours_anywhere_is_found(at):
    swapped = whole()
    swapped[[at, at + 1]] = swapped[[at + 1, at]]
    finding = total(whole(), whole(), swapped)
    assert finding.violations == "at least 2"
    assert finding.witness["positions"] == [[at, at + 1], [at + 1, at]] and finding.witness["peers"] == ["0", "2"]


def test_the_pair_that_is_complete_first_is_found_among_many():
    logs = [whole() for _ in range(4)]
    for log, at in ((1, 20_000), (2, 700), (3, 701)):
        logs[log][[at, at + 3]] = logs[log][[at + 3, at]]
    finding = total(*logs)
    last = max(position for row in finding.witness["positions"] for position in row)
    assert last == 703 and finding.witness["peers"] == ["0", "2"]


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5])
@pytest.mark.parametrize("legs", [3, 4, 5])
def test_a_ring_is_found_in_logs_that_lack_messages(legs, share):
    """Messages that only two logs hold each, in a ring, between messages around which they all agree."""
    logs, ring = lossy(share, seed=legs), [int(ident) for ident in whole()[15_000 : 15_000 + legs]]
    logs = [without(ids, *ring) for ids in logs]
    for peer in range(legs):
        middle = int(np.searchsorted(place_in_whole(logs[peer]), 15_000))
        logs[peer] = np.insert(logs[peer], middle, np.array([ring[peer], ring[(peer + 1) % legs]], np.uint64))
    finding = total(*logs)
    assert finding.holds is False and finding.violations == "at least 1"
    assert len(finding.witness["messages"]) == legs
    found = {message_id(each) for each in finding.witness["messages"]}
    assert found == set(ring)
    straight = [ids if number else without(ids, ring[0]) for number, ids in enumerate(logs)]
    assert total(*straight).holds is True


def test_of_two_rings_the_one_that_is_complete_first_is_shown():
    base, logs = whole(), [whole() for _ in range(3)]
    rings = [[int(ident) for ident in base[at : at + 3]] for at in (9_000, 4_000, 21_000)]
    logs = [without(ids, *sum(rings, [])) for ids in logs]
    for ring in sorted(rings, reverse=True):
        for peer in range(3):
            at = int(np.searchsorted(place_in_whole(logs[peer]), place_in_whole(np.array(ring, np.uint64))[0]))
            logs[peer] = np.insert(logs[peer], at, np.array([ring[peer], ring[(peer + 1) % 3]], np.uint64))
    finding = total(*logs)
    assert {message_id(each) for each in finding.witness["messages"]} == set(rings[1])


def place_in_whole(ids: np.ndarray) -> np.ndarray:
    return (ids & np.uint64(0xFFFFFFFF)).astype(np.int64) * PEERS + (ids >> np.uint64(32)).astype(np.int64)


def message_id(message: dict) -> int:
    return int(message["sender"]) << 32 | message["number"]

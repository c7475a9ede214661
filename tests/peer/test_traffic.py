"""What peers count of what they sent: against every packet in the trace of every step."""

import json
from collections import Counter

import pytest

from analysis.run import load_run
from experiments.local import in_local
from experiments.play import in_simulator, plan, play
from experiments.scenario import load, orderings, override
from peer.core.blocks import Block
from peer.drivers.datagram import Opened
from peer.drivers.network import Neighbour, Network
from peer.drivers.round_trips import BEFORE, DURING
from peer.drivers.traffic import Traffic
from peer.links.ack_resend import Ack, Data
from peer.ordering.lamport_all_ack import Holds, Promise
from peer.stacks import ORDERINGS

CLOCK_BYTES = {"Block": 8, "Promise": 8, "BlockAck": 8, "Numbered": 8}
ORDERING_ACKS = ("Holds", "Promise", "BlockAck")


def left(folder, peer):
    """How often each class of packet left, alone or in another one, by every step that was recorded."""
    found = Counter()
    for line in (folder / f"steps-{peer}.jsonl").read_text().splitlines():
        for effect in json.loads(line)["effects"]:
            if effect["is"] == "Transmit":
                found[effect["packet"]["is"]] += 1
                if "body" in effect["packet"] and effect["packet"]["is"] == "Data":
                    found[effect["packet"]["body"]["is"]] += 1
    return found


def played(world, out, ordering, **options):
    scenario = override(load("lossy"), ["trace=everything"], ordering=ordering, messages=8, seed=4, **options)
    return list(play(plan(scenario, orderings(ordering, ORDERINGS), 1, "sim"), world, out))


def check(run):
    counted = load_run(run.folder).measures["peers"]
    for peer in range(3):
        mine, found = counted[f"p{peer}"], left(run.folder, peer)
        assert mine["packets"] == dict(found)
        assert mine["packets_sent"] == sum(found.values()) - found["Data"]  # each of these carries one of the others
        assert mine["link_acks"] == found["Ack"] > 0
        assert mine["link_ack_bytes"] == 13 * found["Ack"] + 12 * found["Data"]
        assert mine["ordering_acks"] == sum(found[kind] for kind in ORDERING_ACKS)
        assert mine["clock_bytes"] == sum(found[kind] * size for kind, size in CLOCK_BYTES.items())
        assert sum(mine["bytes_to"]) == mine["bytes_sent"] and sum(mine["datagrams_to"]) == mine["datagrams_sent"]
        assert mine["bytes_to"][peer] == 0 and all(mine["bytes_to"][other] for other in range(3) if other != peer)
    return counted


def test_simulated_peers_count_every_packet(tmp_path):
    acks = {}
    for run in played(in_simulator, tmp_path, "all:variants"):
        counted = check(run)
        acks[run.planned.title] = sum(peer["ordering_acks"] for peer in counted.values())
    assert acks["unordered"] == acks["fifo"] == acks["fixed_sequencer"] == 0  # its numbers are no acknowledgements
    assert acks["lamport_all_ack:textbook"] > acks["lamport_all_ack:explicit"] > 0


def test_counting_changes_nothing_of_what_the_wire_carries():
    """What a class says of itself is no field: the bytes that acknowledge and those of clocks are those on the wire."""
    from peer.core.wire import codec_of

    block = Block(1, 2, 1, 3, 4, b"abc")
    assert codec_of(Ack(1, 2)).head_bytes == Ack.ack_bytes
    assert codec_of(Data(1, 2, 3, block)).head_bytes == 1 + 4 + Data.ack_bytes  # its kind and its number
    assert Block.clock_bytes == Promise.clock_bytes == 8 and Holds.clock_bytes == 0


def test_what_rides_counts_with_what_carries_it():
    traffic = Traffic()
    block = Block(1, 2, 1, 3, 4, b"abc")
    traffic.count([Data(0, 0, 0, block), Data(1, 0, 0, Holds((1,), (2,))), Ack(1, 0), block])
    told = traffic.measures()
    assert told["packets"] == {"Ack": 1, "Block": 2, "Data": 2, "Holds": 1}
    assert (told["link_acks"], told["ordering_acks"], told["clock_bytes"]) == (1, 1, 16)


@pytest.mark.long
def test_real_peers_count_every_packet_and_see_each_others_clocks(tmp_path):
    with in_local(3) as world:
        (run,) = played(world, tmp_path, "lamport_all_ack")
    counted = load_run(run.folder).measures["peers"]
    for peer in range(3):
        mine, found = counted[f"p{peer}"], left(run.folder, peer)
        for kind in ("Data", "Ack", "Block", "Holds"):  # a handshake also speaks to who is nowhere yet
            assert mine["packets"][kind] == found[kind], kind
    for a in range(3):
        for b in range(3):
            seen = [each for each in counted[f"p{a}"]["clocks_ahead_s"][b].values() if each is not None]
            assert (not seen) == (a == b)
            assert all(-5 < each <= 0 for each in seen)  # one clock for all, and no datagram is there before it left


def test_how_far_a_clock_is_ahead_is_what_the_quickest_datagram_of_a_phase_shows():
    network = Network("ana", b"key", "1", ("127.0.0.1", 0))
    network.neighbours = [Neighbour(None), Neighbour(None)]
    for phase, heard in ((BEFORE, [(100.0, 1.5), (101.0, 2.2), (102.0, 3.9)]), (DURING, [(110.0, 11.0)])):
        network.enter(phase)
        for stamp_s, now in heard:
            network._hand_in(1, Opened(1, 1, 1, 1, round(stamp_s * 1e9), 0, 0, [Ack(0, 0)]), now, [])
    told = network.measures()["clocks_ahead_s"]
    assert told[0] == {"before": None, "during": None, "after": None}
    assert told[1] == {"before": pytest.approx(98.8), "during": pytest.approx(99.0), "after": None}
    network.close()

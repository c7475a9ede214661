"""How one round of the classroom program spoiled the next, and that runs do not touch each other here."""

import socket
from dataclasses import asdict

from comparison_server.coordinator import HANDSHAKE, SEND
from experiments.simulator.world import World
from peer.core.commands import Prepare
from peer.core.layer import freeze
from peer.stacks import build_layers, promised
from tests.classroom.lab import Lab, assert_flawless, eavesdropping
from tests.peer.drivers.test_udp import Group
from tests.runs import ORDERINGS_AND_VARIANTS, run_settings


def test_datagrams_of_the_last_run_do_not_spoil_the_next(lab: Lab):
    """Fails if a peer takes what was sent in an earlier run for a part of this one."""
    peers = lab.start("a", "b", "c")
    with eavesdropping(*peers) as earlier:
        assert_flawless(*lab.run(messages=20), 60)
    assert len(earlier) > 60
    phases = set()

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as straggler:

        def all_once_more(progress):
            if progress.phase in (HANDSHAKE, SEND) and progress.phase not in phases:
                phases.add(progress.phase)
                for _, datagram, endpoint in earlier:
                    straggler.sendto(datagram, endpoint)

        outcome, verdict = lab.run(on_progress=all_once_more, messages=20, gap_ms=(5.0, 10.0))
    assert_flawless(outcome, verdict, 60)
    assert SEND in phases
    for measures in outcome.measures.values():
        assert measures["dropped"]["other run"] > 20 and set(measures["dropped"]) <= {"other run", "no run"}


def test_the_same_processes_play_one_run_after_the_other(lab: Lab):
    """Fails if anything must be started anew between two runs, or if one counts what came in another."""
    peers = lab.start("a", "b", "c")
    for ordering, messages in (("unordered", 7), ("lamport_all_ack", 12), ("fixed_sequencer", 5), ("fifo", 0)):
        assert_flawless(*lab.run(ordering, messages=messages), 3 * messages)
    assert not any(peer.stopping for peer in peers)


def test_a_stack_begins_every_run_as_the_first():
    """Fails if a clock, a queue, a count or a flag of one run is still there in the next."""
    for ordering, variant in ORDERINGS_AND_VARIANTS:
        run = run_settings(ordering, variant, peers=3, messages=5, loss=0.1)
        world = World(run, "first", "agreement" in promised(run), {}, 1e5)
        fresh = [[freeze(layer) for layer in build_layers(run, place)] for place in range(3)]
        assert world.play().coordinator.complete
        for peer in world.peers:
            told, used = peer.session.prepare, peer.session.host.stack
            assert [freeze(layer) for layer in used.layers] != fresh[told.me]
            peer.session.on_command(Prepare("second", told.me, told.settings), 0.0)
            assert [freeze(layer) for layer in peer.session.host.stack.layers] == fresh[told.me]


# What belongs to the process and stays, what is a moment of the clock, and what is only ever compared for being equal.
STAYS = {"session", "incarnation", "socket", "trains", "receive", "envelope", "manager", "server", "buffer", "logs",
         "only_datagrams", "watched"}  # fmt: skip
MOMENTS = {"began", "looked", "heartbeat_due", "counts_due", "dropped_by_kernel_before"}
GROWS = {"timer_count", "held_count", "asked"}


def state(value):
    """All that an object of the lab keeps for a run, as values that can be compared."""
    if isinstance(value, dict):
        return {str(key): state(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [state(each) for each in value]
    if not type(value).__module__.startswith("peer."):
        return value if value is None or isinstance(value, (int, float, str, bytes)) else type(value).__name__
    names = getattr(type(value), "__slots__", None) or vars(value)
    kept = {name: getattr(value, name) for name in names if name not in STAYS | MOMENTS | GROWS}
    if "timers" in kept:
        kept["timers"] = sorted((layer, key) for _, _, layer, key, _ in kept["timers"])
        kept["timer_of"] = sorted(kept["timer_of"])
    return state(kept)


def test_a_process_begins_every_run_as_the_first(tmp_path):
    """Fails if timers, held datagrams, measures, addresses or round trips of one run are still there in the next."""
    with Group(tmp_path / "used", messages=10, gap_ms=(1, 2)) as used, Group(tmp_path / "fresh") as fresh:
        used.run()
        used.finish()
        again = Prepare("second", 0, asdict(used.settings))
        before = used.peers[0]
        assert before.network.sent and before.network.neighbours[1].rtt_s
        assert before.sealed and sum(before.timer_lateness.counts)
        states = []
        for group in (used, fresh):
            group.peers[0]._on_command(again)
            states.append(state(group.peers[0]))
        assert states[0] == states[1]

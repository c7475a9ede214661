"""How runs of the classroom program hung before their first message or after their last, and that none does here.

The peers are real ones in virtual time; what is lost is lost on purpose.
"""

import re
from itertools import permutations

import pytest

from comparison_server.coordinator import DRAIN, HANDSHAKE
from experiments.simulator.world import World
from peer.connection.ready_ack import HandshakeAck, Ready
from peer.core.blocks import Block
from peer.core.commands import Release
from peer.core.news import GroupReady
from peer.core.settings import DeadlineSettings
from peer.core.trace import DELIVERED, DELIVERY_RECORD, RELEASED
from peer.ordering.lamport_all_ack import Holds
from peer.session import READY
from peer.stacks import promised
from tests.classroom.losing import is_end
from tests.peer.test_ready_ack import layers
from tests.runs import NAMED, Played, play, records, run_settings
from tests.table import Table

FOR_EVER = 1 << 60
EVERY_ORDERING = pytest.mark.parametrize(("ordering", "variant"), **NAMED)


def played(world):
    """A run in a world of the test's own making."""
    return Played(world.run, world.play())


def world_of(kind, ordering="lamport_all_ack", variant=None, **settings):
    run = run_settings(ordering, variant, **settings)
    return kind(run, "test", "agreement" in promised(run), {}, 1e5)


# -- before the first message


@pytest.mark.parametrize("what", [Ready, HandshakeAck])
def test_a_ready_or_its_confirmation_that_is_lost_is_said_again(losing, what):
    """Fails if a READY is said once, or confirmed once: everybody would wait for ever."""
    losses = losing(lambda source, target, part: type(part) is what, 4)
    play(run_settings(peers=4, messages=3)).assert_flawless()
    assert len(losses.lost) == 12 and set(losses.lost.values()) == {4}


def test_readies_that_never_come_end_the_run_and_it_is_said_whose(losing):
    """Fails if a peer can wait for a READY without end, or if nobody learns for which."""
    losing(lambda source, target, part: {source, target} == {0, 2}, FOR_EVER)
    run = run_settings(peers=3, messages=3, deadlines=DeadlineSettings(handshake_s=5.0))
    error = play(run).coordinator.error
    assert error.phase == HANDSHAKE and error.peers == ["p0", "p2"]
    assert str(error) == "the handshake did not end in time: p0 has not reached p2; p2 has not reached p0"


@pytest.mark.parametrize("order", list(permutations(range(4))), ids=lambda order: "".join(map(str, order)))
def test_a_confirmation_counts_whenever_it_comes(order):
    """Fails if a confirmation is overlooked that comes before the other's READY, or between two READYs."""
    table = Table([layers(me) for me in range(2)], {(0, 1): "x" * 9, (1, 0): "x" * 9}).start()
    ((_, mine),) = table.sent_by(0, Ready)[:1]
    said = [Ready(99, 7), HandshakeAck(mine.nonce, 7), Ready(99, 7), HandshakeAck(mine.nonce, 7)]
    for which in order:
        table.arrive(0, 1, said[which])
    assert len(table.told(0, GroupReady)) == 1


class SlowPair(World):
    """Notes when the peers are released, and in which phase each of them was then."""

    def _send_commands(self):
        releases = [name for name, command in self.coordinator.outbox if type(command) is Release]
        if releases:
            self.phases = [peer.session.phase for peer in self.peers]
            self.asked = [peer.session.counts().asked for peer in self.peers]
        super()._send_commands()


@EVERY_ORDERING
def test_nobody_sends_before_everybody_has_reached_everybody(losing, ordering, variant):
    """Fails if a peer begins when its own handshakes are done: two of them are, seconds before the third's."""
    losing(lambda source, target, part: {source, target} == {1, 2} and type(part) is Ready, 6)
    world = world_of(SlowPair, ordering, variant, peers=3, messages=5)
    run = played(world)
    run.assert_flawless()
    assert world.phases == [READY] * 3 and world.asked == [0] * 3


class LateRelease(World):
    """Of the command to begin one peer hears seconds after the others."""

    def _send_commands(self):
        late = [entry for entry in self.coordinator.outbox if entry[0] == "p2" and type(entry[1]) is Release]
        self.coordinator.outbox = [entry for entry in self.coordinator.outbox if entry not in late]
        for _, command in late:
            self.schedule.after(3.0, self.peers[2].on_command, command)
        super()._send_commands()


@EVERY_ORDERING
def test_what_comes_before_a_peer_has_begun_is_not_thrown_away(ordering, variant):
    """Fails if who has not been told to begin throws away what the others have multicast meanwhile."""
    run = played(world_of(LateRelease, ordering, variant, peers=3, messages=10))
    run.assert_flawless()
    kinds = [row[0] for row in records(run.simulated.traces[2], DELIVERY_RECORD)]
    assert kinds[: kinds.index(RELEASED)].count(DELIVERED) == 20, "all that the others have multicast"


# -- after the last message


@EVERY_ORDERING
def test_an_end_that_is_lost_is_said_again(losing, ordering, variant):
    """Fails if the last word of a sender is said once: who missed it would never end, and its log never come."""
    losses = losing(lambda source, target, part: is_end(part), 4)
    play(run_settings(ordering, variant, peers=3, messages=5)).assert_flawless()
    assert losses.lost and set(losses.lost.values()) == {4}


@EVERY_ORDERING
def test_nothing_is_left_undelivered_at_the_end(losing, ordering, variant):
    """Fails if who has heard all ENDs is taken to be done, while messages before them are still to come."""
    losses = losing(lambda source, target, part: type(part) is Block and part.following == 19, 4)
    world = world_of(World, ordering, variant, peers=4, messages=20, delay_s=0.001)
    played(world).assert_flawless()
    assert set(losses.lost.values()) >= {4}, "one of the last messages comes long after the END"
    for peer in world.peers:
        held = peer.session.host.stack.held()
        assert not {what for what, amount in held.items() if amount} - {"unacknowledged"}, held


def test_a_queue_that_cannot_be_emptied_is_told_as_an_error(losing):
    """Fails if a run ends well, or never, although a peer's queue waits for acks that do not come."""
    losing(lambda source, target, part: (source, target) == (1, 2) and type(part) is Holds, FOR_EVER)
    run = play(run_settings("lamport_all_ack", "explicit", peers=3, messages=5))
    error = run.coordinator.error
    assert error.phase == DRAIN and "p2" in error.peers and not run.coordinator.complete
    assert str(error).startswith("the drain did not end in time; when last heard: ")
    assert re.search(r"p2 delivered \d+ of 15 \(.*\d+ in the queue.*\) and waits for .*p1", str(error))

"""The simulator: real stacks, sessions, coordinator and membership in virtual time, over an emulated network.

Deterministic to the byte: one seed, one run. Packets travel as objects; all packets of
one turn for one target share a datagram, as they do on a real socket.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from heapq import heappop
from typing import Any

from comparison_server.coordinator import DONE, Coordinator
from experiments.simulator.schedule import Schedule
from group_manager.membership import HEARTBEAT_S, Membership
from peer.core.commands import Hello
from peer.core.effects import Ask, CancelTimer, Effect, Report, SetTimer, Transmit
from peer.core.events import Answered, Event, PacketArrived, Started, TimerFired
from peer.core.names import PeerId
from peer.core.settings import RunSettings
from peer.core.trace import pack_header
from peer.core.wire import size_of
from peer.drivers.chance import bits, stream
from peer.drivers.datagram import ENTRY_BYTES, OVERHEAD_BYTES, Envelope
from peer.drivers.link_model import PairModel
from peer.session import Play, Seal, Session

CONTROL_DELAY_S = 0.0005  # one way between a peer and the servers
COUNTS_EVERY_S = 1.0


@dataclass
class Simulated:
    """What a simulated run leaves: the same files that a real one does, and how it ended."""

    traces: list[bytes]
    sends: list[bytes]
    steps: list[str]
    coordinator: Coordinator
    measures: list[dict[str, Any]]
    virtual_s: float
    turns: int


def simulate(
    run: RunSettings, *, run_id: str, agreement: bool, header: dict[str, Any] | None = None, limit_s: float = 1e5
) -> Simulated:
    """Play one run to its end."""
    return World(run, run_id, agreement, header or {}, limit_s).play()


class World:
    """Virtual time, the network, the servers and the peers."""

    def __init__(self, run: RunSettings, run_id: str, agreement: bool, header: dict[str, Any], limit_s: float) -> None:
        assert run.delays_s is not None, "a simulated run needs its delays"
        self.run, self.run_id, self.agreement, self.header, self.limit_s = run, run_id, agreement, header, limit_s
        self.schedule = Schedule()
        self.envelope = Envelope(bits(run.seed, "key")) if run.network.wire else None
        self.membership = Membership()
        self.coordinator = Coordinator()
        members = range(len(run.members))
        self.peers = [SimulatedPeer(self, me) for me in members]
        self.models = [[PairModel(run, p, q) if p != q else None for q in members] for p in members]
        self.turns = 0

    def play(self) -> Simulated:
        """Register, prepare, run, close."""
        for peer in self.peers:
            peer.register()
        self.schedule.after(4 * CONTROL_DELAY_S, self._begin)
        self.schedule.after(COUNTS_EVERY_S, self._tick)
        schedule, coordinator = self.schedule, self.coordinator
        heap = schedule.heap
        while heap and coordinator.phase != DONE:
            schedule.now, _, action, arguments = heappop(heap)
            action(*arguments)
            assert schedule.now < self.limit_s, f"no end after {self.limit_s} simulated seconds"
        return Simulated(
            [bytes(peer.trace) for peer in self.peers],
            [bytes(peer.sends) for peer in self.peers],
            ["".join(peer.steps) for peer in self.peers],
            self.coordinator,
            [peer.measures() for peer in self.peers],
            self.schedule.now,
            self.turns,
        )

    def say(self, name: str, report: Any) -> None:
        """A session's report reaches the coordinator."""
        now = self.schedule.now
        if type(report) is Hello:
            self.coordinator.joined(name, now)
        else:
            self.coordinator.on_report(name, report, now)
        self._send_commands()

    def over_the_wire(self, packets: list, size: int) -> list:
        """The packets after their way through the shipped codec: sealed, opened, as large as they were taken for."""
        bodies: dict = {}
        entries = [self.envelope.entry(packet, bodies) for packet in packets]
        datagram = self.envelope.seal((0, 0, 0, 0, 0, 0, 0), entries)
        assert len(datagram) == size, f"{len(datagram)} bytes, taken for {size}: {packets}"
        return self.envelope.open(memoryview(datagram)).packets

    def _begin(self) -> None:
        self.coordinator.start(self.run_id, self.run, self.agreement, self.header, self.schedule.now, asdict(self.run))
        self._send_commands()

    def _tick(self) -> None:
        self.coordinator.tick(self.schedule.now)
        self._send_commands()
        self.schedule.after(COUNTS_EVERY_S, self._tick)

    def _send_commands(self) -> None:
        for name, command in self.coordinator.take():
            peer = self.peers[self.run.members.index(name)]
            self.schedule.after(CONTROL_DELAY_S, peer.on_command, command)


class SimulatedPeer:
    """One peer's process: its session, its timers, its side of the network."""

    def __init__(self, world: World, me: PeerId) -> None:
        self.world, self.me = world, me
        self.name = world.run.members[me]
        self.session = Session(self.name)
        self.timers: dict[tuple, int] = {}  # (layer, key) -> the count of the firing that is meant
        self.chances: dict[tuple, Any] = {}
        members = len(world.run.members)
        self.rtt_s: list[float | None] = [None] * members
        self.heard_delay_s: list[float | None] = [None] * members  # of the last datagram heard from each
        self.heard_at: list[float | None] = [None] * members
        self.trace, self.sends, self.steps = bytearray(), bytearray(), []
        self.datagrams = self.packets = self.bytes = 0

    def register(self) -> None:
        """Come up: tell the group manager and the comparison server."""
        world = self.world
        request = {"op": "register", "name": self.name, "endpoint": [f"10.0.0.{self.me + 1}", 1]}
        world.schedule.after(CONTROL_DELAY_S, world.membership.handle, request, world.schedule.now)
        world.schedule.after(HEARTBEAT_S, self._heartbeat)
        world.schedule.after(CONTROL_DELAY_S, world.say, self.name, Hello(self.name, "", "", ""))
        world.schedule.after(COUNTS_EVERY_S, self._report_counts)

    def on_command(self, command: Any) -> None:
        """The comparison server wants something."""
        self._perform(self.session.on_command(command, self.world.schedule.now))

    def _heartbeat(self) -> None:
        schedule = self.world.schedule
        self.world.membership.handle({"op": "heartbeat", "name": self.name}, schedule.now)
        schedule.after(HEARTBEAT_S, self._heartbeat)

    def _report_counts(self) -> None:
        schedule = self.world.schedule
        if self.session.host is not None:
            schedule.after(CONTROL_DELAY_S, self.world.say, self.name, self.session.counts())
        schedule.after(COUNTS_EVERY_S, self._report_counts)

    # Turns.

    def _step(self, turn: Sequence[Event]) -> None:
        self.world.turns += 1
        self._perform(self.session.host.step(turn, self.world.schedule.now))

    def _on_datagram(self, source: PeerId, packets: list, delay_s: float, echo_s: float | None) -> None:
        now = self.world.schedule.now
        rtt_s = self.rtt_s[source]
        if echo_s is not None:
            sample = delay_s + echo_s
            rtt_s = self.rtt_s[source] = sample if rtt_s is None else rtt_s + (sample - rtt_s) / 8
        heard_at = self.heard_at[source]
        silence_s = None if heard_at is None else now - heard_at
        self.heard_at[source] = now
        self.heard_delay_s[source] = delay_s
        self.world.turns += 1
        if len(packets) == 1:
            turn = [PacketArrived(source, packets[0], rtt_s, silence_s)]
        else:
            turn = [PacketArrived(source, packet, rtt_s, silence_s) for packet in packets]
        self._perform(self.session.host.step(turn, now))

    def _on_timer(self, layer: str, key: Any, count: int) -> None:
        name = (layer, key)
        if self.timers.get(name) == count:
            del self.timers[name]
            self._step([TimerFired(layer, key)])

    def _perform(self, effects: Sequence[Effect | Play | Seal]) -> None:
        trains: dict[PeerId, list] = {}
        for effect in effects:
            kind = type(effect)
            if kind is Transmit:
                train = trains.get(effect.target)
                if train is None:
                    trains[effect.target] = [effect.packet]
                else:
                    train.append(effect.packet)
            elif kind is SetTimer:
                self._set_timer(effect)
            elif kind is CancelTimer:
                self.timers.pop((effect.layer, effect.key), None)
            elif kind is Report:
                self._perform(self.session.on_news(effect.news))
            elif kind is Ask:
                self._ask(effect)
            elif kind is Play:
                self._play(effect)
            elif kind is Seal:
                self._seal()
        for target, packets in trains.items():
            self._transmit(target, packets)

    def _transmit(self, target: PeerId, packets: list) -> None:
        room = self.world.run.network.datagram_bytes
        size = OVERHEAD_BYTES
        first = 0
        for at, packet in enumerate(packets):
            packet_bytes = size_of(packet) + ENTRY_BYTES
            if size + packet_bytes > room and at > first:
                self._send_datagram(target, packets[first:at], size)
                first, size = at, OVERHEAD_BYTES
            size += packet_bytes
        self._send_datagram(target, packets[first:] if first else packets, size)

    def _send_datagram(self, target: PeerId, packets: list, size: int) -> None:
        self.datagrams += 1
        self.packets += len(packets)
        self.bytes += size
        world = self.world
        if world.envelope is not None:
            packets = world.over_the_wire(packets, size)
        schedule = world.schedule
        peer = world.peers[target]
        echo_s = self.heard_delay_s[target]
        for delay_s in world.models[self.me][target].fates():
            schedule.at(schedule.now + delay_s, peer._on_datagram, self.me, packets, delay_s, echo_s)

    def _set_timer(self, effect: SetTimer) -> None:
        schedule = self.world.schedule
        wait_s = effect.earliest_s
        name = (effect.layer, effect.key)
        if effect.latest_s > wait_s:
            chance = self.chances.get(name)
            if chance is None:
                chance = self.chances[name] = stream(self.world.run.seed, "timer", self.me, *name).random
            wait_s += chance() * (effect.latest_s - wait_s)
        schedule.at(schedule.now + wait_s, self._on_timer, effect.layer, effect.key, schedule.count + 1)
        self.timers[name] = schedule.count

    def _ask(self, ask: Ask) -> None:
        world = self.world
        if ask.service == "group_manager":
            world.schedule.after(CONTROL_DELAY_S, self._manager_hears, ask.question)
        else:
            world.schedule.after(CONTROL_DELAY_S, world.say, self.name, ask.question)

    def _manager_hears(self, question: dict) -> None:
        world = self.world
        reply = world.membership.handle(question, world.schedule.now)
        world.schedule.after(CONTROL_DELAY_S, self._step, [Answered("group_manager", reply)])

    def _play(self, play: Play) -> None:
        self._collect()
        self.timers.clear()
        self.trace += pack_header({**play.header, "records": "deliveries"})
        self.sends += pack_header({**play.header, "records": "sends"})
        self._step([Started(entropy=bits(play.settings.seed, "entropy", self.me))])

    def _collect(self) -> None:
        deliveries, sends, steps = self.session.host.recorder.take() if self.session.host else (b"", b"", "")
        self.trace += deliveries
        self.sends += sends
        if steps:
            self.steps.append(steps)

    def _seal(self) -> None:
        self._collect()
        world = self.world
        world.schedule.after(CONTROL_DELAY_S, world.coordinator.collected, self.name, world.schedule.now)

    def measures(self) -> dict[str, Any]:
        """What this peer sent, and what the network did to what was sent to it."""
        models = [row[self.me] for row in self.world.models if row[self.me] is not None]
        layers = self.session.host.stack.layers if self.session.host else []
        return {
            "datagrams_sent": self.datagrams,
            "packets_sent": self.packets,
            "bytes_sent": self.bytes,
            "lost_by_model": sum(model.lost for model in models),
            "doubled_by_model": sum(model.doubled for model in models),
            "held_by_model": sum(model.held for model in models),
            "resent": sum(getattr(layer, "resent", 0) for layer in layers),
            "duplicates": sum(getattr(layer, "duplicates", 0) for layer in layers),
            "rtt_s": self.rtt_s,
        }

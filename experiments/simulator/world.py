"""The simulator: real stacks, sessions, coordinator and membership in virtual time, over an emulated network.

Deterministic to the byte: one seed, one run. Packets travel as objects; all packets of
one turn for one target share a datagram, as they do on a real socket.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from comparison_server.coordinator import DONE, Coordinator
from experiments.simulator.schedule import Schedule
from group_manager.membership import HEARTBEAT_S, Membership
from peer.core.commands import Hello
from peer.core.effects import Ask, CancelTimer, Effect, Report, SetTimer, Transmit
from peer.core.errors import WireError
from peer.core.events import Answered, Event, PacketArrived, Started, TimerFired
from peer.core.names import PeerId
from peer.core.settings import RunSettings
from peer.core.trace import pack_header
from peer.core.wire import size_of
from peer.drivers.chance import bits, stream
from peer.drivers.datagram import ENTRY_BYTES, OVERHEAD_BYTES, Border, Envelope
from peer.drivers.link_model import PairModel
from peer.drivers.traffic import Traffic
from peer.session import Play, Seal, Session

# Hears every datagram (source, target, bytes) once it is on its way, and may give any bytes to any peer (`take`).
Intruder = Callable[["World", PeerId, PeerId, bytes], None]

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
    run: RunSettings,
    *,
    run_id: str,
    agreement: bool,
    header: dict[str, Any] | None = None,
    limit_s: float = 1e5,
    intruder: Intruder | None = None,
) -> Simulated:
    """Play one run to its end."""
    collects = gc.isenabled()
    gc.disable()  # while a run is played no circles of objects are left behind; looking for some takes half the time
    try:
        return World(run, run_id, agreement, header or {}, limit_s, intruder).play()
    finally:
        if collects:
            gc.enable()
            gc.collect(0)  # of what was made meanwhile, the world itself: that is a circle


class World:
    """Virtual time, the network, the servers and the peers."""

    def __init__(
        self,
        run: RunSettings,
        run_id: str,
        agreement: bool,
        header: dict[str, Any],
        limit_s: float,
        intruder: Intruder | None = None,
    ) -> None:
        assert run.delays_s is not None, "a simulated run needs its delays"
        assert intruder is None or run.network.wire, "only what is bytes can be heard and forged"
        self.run, self.run_id, self.agreement, self.header, self.limit_s = run, run_id, agreement, header, limit_s
        self.intruder = intruder
        self.schedule = Schedule()
        self.membership = Membership()
        self.coordinator = Coordinator()
        members = range(len(run.members))
        self.peers = [SimulatedPeer(self, me) for me in members]
        for peer in self.peers:
            peer.meet(self.peers)

    def play(self) -> Simulated:
        """Register, prepare, run, close."""
        for peer in self.peers:
            peer.register()
        self.schedule.after(4 * CONTROL_DELAY_S, self._begin)
        self.schedule.after(COUNTS_EVERY_S, self._tick)
        self.schedule.play(self.limit_s)
        return Simulated(
            [bytes(peer.trace) for peer in self.peers],
            [bytes(peer.sends) for peer in self.peers],
            ["".join(peer.steps) for peer in self.peers],
            self.coordinator,
            [peer.measures() for peer in self.peers],
            self.schedule.now,
            sum(peer.turns for peer in self.peers),
        )

    def say(self, name: str, report: Any) -> None:
        """A session's report reaches the coordinator."""
        now = self.schedule.now
        if type(report) is Hello:
            self.coordinator.joined(name, now, incarnation=report.incarnation)
        else:
            self.coordinator.on_report(name, report, now)
        self._send_commands()

    def collected(self, name: str) -> None:
        """The logs of a session are here."""
        self.coordinator.collected(name, self.schedule.now)
        self.schedule.over = self.coordinator.phase == DONE

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
        self.schedule.over = self.coordinator.phase == DONE


class Neighbour:
    """What one peer knows of the network between it and another one."""

    __slots__ = ("receive", "model", "datagrams", "bytes", "rtt_s", "heard_delay_s", "heard_at")

    def __init__(self, receive: Callable[..., None], model: PairModel) -> None:
        self.receive, self.model = receive, model  # of the way to it
        self.datagrams = self.bytes = 0  # sent to it
        self.rtt_s: float | None = None
        self.heard_delay_s: float | None = None  # of the last datagram heard from it,
        self.heard_at: float | None = None  # and when that was


class SimulatedPeer:
    """One peer's process: its session, its timers, its side of the network."""

    def __init__(self, world: World, me: PeerId) -> None:
        self.world, self.schedule, self.me = world, world.schedule, me
        self.name = world.run.members[me]
        self.incarnation = f"{me:016x}"
        self.session = Session(self.name)
        self.border: Border | None = None  # where datagrams are bytes
        self.dropped: Counter[str] = Counter()
        self.neighbours: list[Neighbour | None] = []  # by peer; none of itself
        self.timers: dict[tuple, int] = {}  # (layer, key) -> the count of the firing that is meant
        self.chances: dict[tuple, Any] = {}
        self.trace, self.sends, self.steps = bytearray(), bytearray(), []
        self.turns = 0
        self.traffic = Traffic()
        self.told: dict[str, Any] = {}  # what its layers told when the logs were sealed

    def meet(self, peers: Sequence[SimulatedPeer]) -> None:
        """These are all, itself included."""
        self.neighbours = [
            Neighbour(peer.on_datagram, PairModel(self.world.run, self.me, peer.me)) if peer is not self else None
            for peer in peers
        ]

    def register(self) -> None:
        """Come up: tell the group manager and the comparison server."""
        world = self.world
        request = {"op": "register", "name": self.name, "endpoint": [f"10.0.0.{self.me + 1}", 1]}
        world.schedule.after(CONTROL_DELAY_S, world.membership.handle, request, world.schedule.now)
        world.schedule.after(HEARTBEAT_S, self._heartbeat)
        world.schedule.after(CONTROL_DELAY_S, world.say, self.name, Hello(self.name, "", self.incarnation, ""))
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

    # The wire.

    def hear(self, datagram: bytes) -> tuple[PeerId, list] | None:
        """Whose packets these bytes are, and which; None if they are not let in."""
        try:
            if self.border is None:
                raise WireError("no run")
            source, opened = self.border.admit(memoryview(datagram))
        except WireError as error:
            self.dropped[error.reason] += 1
            return None
        return source, opened.packets

    def take(self, datagram: bytes) -> None:
        """Bytes from anywhere are here now."""
        heard = self.hear(datagram)
        if heard is not None:
            self.on_datagram(*heard, 0.0, None)

    def _over_the_wire(self, target: PeerId, packets: list, size: int) -> list | None:
        """The packets as the target hears them, if it does: sealed, let in, as large as they were taken for."""
        bodies: dict = {}
        entries = [self.border.envelope.entry(packet, bodies) for packet in packets]
        datagram = self.border.seal(target, 0, 0, 0, entries)
        assert len(datagram) == size, f"{len(datagram)} bytes, taken for {size}: {packets}"
        heard = self.world.peers[target].hear(datagram)
        if self.world.intruder is not None:
            self.world.intruder(self.world, self.me, target, datagram)
        return None if heard is None else heard[1]

    # Turns.

    def _step(self, turn: Sequence[Event]) -> None:
        self.turns += 1
        effects = self.session.host.step(turn, self.schedule.now)
        if effects:
            self._perform(effects)

    def on_datagram(self, source: PeerId, packets: list, delay_s: float, echo_s: float | None) -> None:
        now, neighbour = self.schedule.now, self.neighbours[source]
        rtt_s, heard_at = neighbour.rtt_s, neighbour.heard_at
        if echo_s is not None:
            sample = delay_s + echo_s
            rtt_s = neighbour.rtt_s = sample if rtt_s is None else rtt_s + (sample - rtt_s) / 8
        silence_s = None if heard_at is None else now - heard_at
        neighbour.heard_at, neighbour.heard_delay_s = now, delay_s
        if len(packets) == 1:
            self._step([PacketArrived(source, packets[0], rtt_s, silence_s)])
        else:
            self._step([PacketArrived(source, packet, rtt_s, silence_s) for packet in packets])

    def _on_timer(self, name: tuple[str, Any], count: int) -> None:
        if self.timers.get(name) == count:
            del self.timers[name]
            self._step([TimerFired(*name)])

    def _perform(self, effects: Sequence[Effect | Play | Seal]) -> None:
        if len(effects) == 1 and type(effects[0]) is Transmit:  # most often
            self._transmit(effects[0].target, [effects[0].packet])
            return
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
        if len(packets) == 1:
            self._send_datagram(target, packets, OVERHEAD_BYTES + ENTRY_BYTES + size_of(packets[0]))
            return
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
        schedule, neighbour = self.schedule, self.neighbours[target]
        neighbour.datagrams += 1
        neighbour.bytes += size
        self.traffic.count(packets)
        if self.border is not None:
            packets = self._over_the_wire(target, packets, size)
            if packets is None:
                return
        for delay_s in neighbour.model.fates():
            arrival = (self.me, packets, delay_s, neighbour.heard_delay_s)
            schedule.at(schedule.now + delay_s, neighbour.receive, arrival)

    def _set_timer(self, effect: SetTimer) -> None:
        schedule = self.schedule
        wait_s = effect.earliest_s
        name = (effect.layer, effect.key)
        if effect.latest_s > wait_s:
            chance = self.chances.get(name)
            if chance is None:
                chance = self.chances[name] = stream(self.world.run.seed, "timer", self.me, *name).random
            wait_s += chance() * (effect.latest_s - wait_s)
        schedule.at(schedule.now + wait_s, self._on_timer, (name, schedule.count + 1))
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
        run = play.settings
        if run.network.wire:
            envelope = Envelope(bits(run.seed, "key"), self.name)
            self.border = Border(envelope, self.incarnation, play.run, self.me, run.members, play.incarnations)
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
        self.told = self.session.host.stack.measures()
        self.schedule.after(CONTROL_DELAY_S, self.world.collected, self.name)

    def measures(self) -> dict[str, Any]:
        """What this peer sent, and what the network did to what was sent to it."""
        models = [peer.neighbours[self.me].model for peer in self.world.peers if peer is not self]
        datagrams_to = [neighbour.datagrams if neighbour else 0 for neighbour in self.neighbours]
        bytes_to = [neighbour.bytes if neighbour else 0 for neighbour in self.neighbours]
        layers = self.session.host.stack.layers if self.session.host else []
        return {
            "datagrams_sent": sum(datagrams_to),
            "bytes_sent": sum(bytes_to),
            **self.traffic.measures(),
            "datagrams_to": datagrams_to,
            "bytes_to": bytes_to,
            "lost_by_model": sum(model.lost for model in models),
            "doubled_by_model": sum(model.doubled for model in models),
            "held_by_model": sum(model.held for model in models),
            "resent": sum(getattr(layer, "resent", 0) for layer in layers),
            "duplicates": sum(getattr(layer, "duplicates", 0) for layer in layers),
            "dropped": dict(sorted(self.dropped.items())),
            **self.told,
        }

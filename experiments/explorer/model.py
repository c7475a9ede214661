"""What is searched: one ordering layer at each of a few peers, an application on top, an ideal network below."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from experiments.explorer.network import NETWORKS, Network
from experiments.yaml_files import unknown
from peer.core.effects import Effect
from peer.core.errors import SettingsError
from peer.core.guarantees import FIFO_LINKS, RELIABLE
from peer.core.layer import Layer, Out
from peer.core.names import PeerId
from peer.core.requests import MulticastBlock
from peer.core.settings import (
    DeadlineSettings,
    LayerSettings,
    NetworkSettings,
    RunSettings,
    StackSettings,
    WindowSettings,
    WorkloadSettings,
)
from peer.core.stack import Stack
from peer.stacks import ORDERINGS, build_layers, variant_class

LETTERS = "abcdefghijklmnopqrstuvwxyz"
PEERS = range(2, 9)
NO_LAYERS = StackSettings(None, None, None, None, None, None, None, allow_unmet=True)


@dataclass(frozen=True, slots=True)
class Model:
    """The peers, what they may do, and within which bounds."""

    ordering: str
    variant: str
    options: Mapping[str, Any]
    network: Network
    peers: int
    messages: int  # that each peer multicasts, one a block
    firings: int = 1  # of each timer of each peer
    layer: type[Layer] | None = None  # a test's own instead of the one that ships under this name

    @property
    def promised(self) -> frozenset[str]:
        """What the ordering promises over this network."""
        layer = self._class
        return layer.promises.union(*(more for need, more in layer.promises_if.items() if need in self.network.gives))

    @property
    def unmet(self) -> tuple[str, ...]:
        """What the ordering needs for its promises and this network does not give."""
        return tuple(sorted(self._class.needs - self.network.gives, reverse=True))

    @property
    def _class(self) -> type[Layer]:
        return self.layer or variant_class(self.ordering, self.variant)

    def bounds(self, timers: bool = False) -> str:
        """What is searched, in words; `timers` says whether there are any."""
        network = self.network.sentence
        if self.network.duplicates:
            network += f" and {_so_many(self.network.duplicates, 'duplicate')} at each peer"
        firings = f", each timer fires at most {_so_many(self.firings, 'time')}" if timers else ""
        return (
            f"{self.peers} peers, each multicasts {_so_many(self.messages, 'message')} at any moment, over {network}, "
            f"any number of arrivals in a turn{firings}"
        )

    def message_name(self, ident: int) -> str:
        """A message as a person reads it: a, b, ... are the first peer's, the next ones the second's."""
        sender, number = divmod(ident, 1 << 32)
        place = sender * self.messages + number
        if sender < self.peers and number < self.messages and self.peers * self.messages <= len(LETTERS):
            return LETTERS[place]
        return f"p{sender}:{number}"

    def stack(self, me: PeerId) -> SteppedStack:
        """A fresh stack of one peer."""
        return SteppedStack([self._ordering(me), Application()], me, tuple(range(self.peers)))

    def _ordering(self, me: PeerId) -> Layer:
        options = {"variant": self.variant, **self.options} if self.variant else dict(self.options)
        run = RunSettings(
            members=tuple(f"p{peer}" for peer in range(self.peers)),
            regions=("here",) * self.peers,
            stack=replace(NO_LAYERS, ordering=LayerSettings(self.ordering, options)),
            workload=WorkloadSettings(messages=self.messages),
            network=NetworkSettings(),
            window=WindowSettings(),
            deadlines=DeadlineSettings(),
            delays_s=None,
            seed="0",
        )
        return build_layers(run, me)[0] if self.layer is None else self.layer.make(run, me, dict(self.options))


def model_of(
    ordering: str | type[Layer],
    variant: str | None = None,
    network: str | None = None,
    peers: int = 3,
    messages: int = 1,
    *,
    options: Mapping[str, Any] | None = None,
    duplicates: int | None = None,
    firings: int = 1,
) -> Model:
    """A model by names; by default over the network that gives exactly what the ordering needs."""
    if isinstance(ordering, str):
        name, layer = ordering, None
        if name not in ORDERINGS:
            raise SettingsError(unknown("ordering", name, ORDERINGS), path="ordering")
        variant = variant or ORDERINGS[name].variants[0]
        needs = variant_class(name, variant).needs
    else:
        name, layer, needs = ordering.name, ordering, ordering.needs
    if network is None:
        network = "fifo" if FIFO_LINKS in needs else "reliable" if RELIABLE in needs else "datagrams"
    if network not in NETWORKS:
        raise SettingsError(unknown("link", network, NETWORKS), path="link")
    if peers not in PEERS:
        raise SettingsError(f"expected {PEERS[0]} to {PEERS[-1]} peers, found {peers}", path="peers")
    if messages < 1:
        raise SettingsError(f"expected at least 1 message, found {messages}", path="messages")
    ideal = NETWORKS[network]
    if duplicates is not None:
        if RELIABLE in ideal.gives and duplicates:
            raise SettingsError(f"{network} links make no duplicates", path="duplicates")
        ideal = replace(ideal, duplicates=duplicates)
    found = Model(name, variant or "", dict(options or {}), ideal, peers, messages, firings, layer)
    found.stack(0)  # refuses options that the ordering does not have
    return found


@dataclass(slots=True)
class Application(Layer):
    """The search's hand on top of the stack: multicasts one message when told to, named by its sender and number.

    It does so at once, in the middle of a turn, or as all workloads do, when the layers below have concluded.
    """

    name = "application"

    asked: int = 0
    late: int = 0  # to be multicast when this turn has concluded

    def on_timer(self, key: str, out: Out) -> None:
        out.record_multicast(self.asked, 1)
        out.down(MulticastBlock(self.asked, 1, 1, b"."))
        self.asked += 1

    def on_flush(self, out: Out) -> None:
        while self.late:
            self.late -= 1
            self.on_timer("late", out)


class SteppedStack(Stack):
    """A stack whose turns are played step by step."""

    __slots__ = ()

    @property
    def ordering(self) -> Layer:
        return self.layers[0]

    @property
    def application(self) -> Application:
        return self.layers[1]

    def take(self) -> list[Effect]:
        """The effects of this turn so far; a sweep does not return them again."""
        taken = self._effects[:]
        self._effects.clear()
        return taken


def _so_many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"

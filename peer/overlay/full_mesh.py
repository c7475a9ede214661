"""Overlay `full_mesh`: a ready pair with every member, so every datagram goes straight there."""

from __future__ import annotations

from dataclasses import dataclass, field

from peer.core.guarantees import PAIRS, REACH
from peer.core.layer import Layer, Out
from peer.core.names import PeerId
from peer.core.news import GroupReady, PairReady
from peer.core.requests import Connect


@dataclass(slots=True)
class FullMesh(Layer):
    """Everybody is a neighbour of everybody."""

    name = "full_mesh"
    needs = frozenset({PAIRS})
    gives = frozenset({REACH})
    news = (PairReady,)

    reached: list[PeerId] = field(default_factory=list)

    def start(self, out: Out) -> None:
        for peer in out.others:
            out.down(Connect(peer))
        if not out.others:
            out.tell(GroupReady())

    def on_news(self, news: PairReady, out: Out) -> None:
        if news.peer not in self.reached:
            self.reached.append(news.peer)
            if len(self.reached) == len(out.others):
                out.tell(GroupReady())

    def waits_for(self, out: Out) -> list[PeerId]:
        return [peer for peer in out.others if peer not in self.reached]

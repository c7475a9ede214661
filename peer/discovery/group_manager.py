"""Discovery `group_manager`: ask the group manager where every member is.

Rule: ask for the endpoints of all members by name; ask again for those that are
missing, until all are known. A member whose datagrams come from another endpoint
(behind NAT, or moved) is followed there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from peer.core.effects import Locate
from peer.core.events import Answered, Moved
from peer.core.guarantees import ADDRESSES
from peer.core.layer import Layer, Out
from peer.core.names import PeerId, is_endpoint
from peer.core.news import Located

SERVICE = "group_manager"


@dataclass(slots=True)
class GroupManager(Layer):
    """Names to addresses, by a service that everybody registered with."""

    name = "group_manager"
    gives = frozenset({ADDRESSES})

    names: tuple[str, ...]
    ask_again_s: float = 0.5
    known: dict[PeerId, tuple[str, int]] = field(default_factory=dict)

    @classmethod
    def make(cls, run: Any, me: PeerId, options: dict[str, Any]) -> GroupManager:
        return cls(names=run.members, **options)

    def start(self, out: Out) -> None:
        self._ask(out)

    def on_timer(self, key: Any, out: Out) -> None:
        self._ask(out)

    def on_answer(self, answered: Answered, out: Out) -> None:
        if answered.service != SERVICE or not isinstance(endpoints := answered.reply.get("endpoints"), dict):
            return
        for name in sorted(endpoints):
            endpoint = endpoints[name]
            if name in self.names and is_endpoint(endpoint):
                self._locate(self.names.index(name), (endpoint[0], endpoint[1]), out)

    def on_moved(self, moved: Moved, out: Out) -> None:
        self._locate(moved.source, moved.endpoint, out)

    def _ask(self, out: Out) -> None:
        missing = [self.names[member] for member in out.others if member not in self.known]
        if missing:
            out.ask(SERVICE, {"op": "where", "names": missing})
            out.set_timer("again", self.ask_again_s)

    def _locate(self, peer: PeerId, endpoint: tuple[str, int], out: Out) -> None:
        if peer == out.me or self.known.get(peer) == endpoint:
            return
        newly = peer not in self.known
        self.known[peer] = endpoint
        out.effects.append(Locate(peer, endpoint))
        if newly:
            out.tell(Located(peer))

"""Link `direct`: one datagram a body, and whatever the network makes of it.

Promises nothing: a body may be lost, doubled or overtaken. Own blocks are settled as
soon as they are sent, since nobody will ever say that they arrived.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from peer.core.guarantees import REACH
from peer.core.layer import Layer, Out
from peer.core.news import Settled
from peer.core.requests import SendAll, SendTo


@dataclass(slots=True)
class Direct(Layer):
    """Bodies are packets."""

    name = "direct"
    needs = frozenset({REACH})
    requests = (SendTo, SendAll)

    def on_request(self, request: Any, out: Out) -> None:
        if type(request) is SendTo:
            out.send(request.peer, request.body)
            return
        for peer in out.others:
            out.send(peer, request.body)
        if request.own:
            out.tell(Settled(1))

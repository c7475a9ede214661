"""Connection `ready_ack`: READY until the HANDSHAKE_ACK comes, in both directions.

Rule: send READY with a nonce to every wanted member, again and again until its
HANDSHAKE_ACK brings that nonce back; answer every READY, also late ones. A pair is
ready when the other's READY was heard and the own one confirmed: distinct members
are counted, never messages. What a member sends before its pair is ready here is
held and handed up when it is. Both packets carry a digest of the run and its
settings; members that were told different runs refuse each other.
"""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from peer.core.events import PacketArrived
from peer.core.guarantees import ADDRESSES, PAIRS
from peer.core.layer import Layer, Out
from peer.core.names import PeerId
from peer.core.news import Located, PairReady, PairRefused
from peer.core.requests import Connect
from peer.core.wire import U64, Packet, register

FIRST_RETRY_S, SLOWEST_RETRY_S = 0.1, 1.0
HELD_AT_MOST = 1024  # early packets in all; what is beyond is lost like any datagram, and resent by the link


@dataclass(slots=True)
class Ready(Packet):
    """I listen; say so if you do."""

    nonce: U64
    digest: U64


@dataclass(slots=True)
class HandshakeAck(Packet):
    """I heard the READY with this nonce."""

    nonce: U64
    digest: U64


register(10, Ready)
register(11, HandshakeAck)


@dataclass(slots=True)
class ReadyAck(Layer):
    """Both ends of every wanted pair confirm each other."""

    name = "ready_ack"
    needs = frozenset({ADDRESSES})
    gives = frozenset({PAIRS})
    packets = (Ready, HandshakeAck)
    requests = (Connect,)
    news = (Located,)
    gate = True

    digest: int
    shut: bool = True
    wanted: list[PeerId] = field(default_factory=list)
    located: list[PeerId] = field(default_factory=list)
    heard: list[PeerId] = field(default_factory=list)
    confirmed: list[PeerId] = field(default_factory=list)
    ready: list[PeerId] = field(default_factory=list)
    refused: list[PeerId] = field(default_factory=list)
    early: deque = field(default_factory=deque)
    retry_s: float = FIRST_RETRY_S

    @classmethod
    def make(cls, run: Any, me: PeerId, options: dict[str, Any]) -> ReadyAck:
        return cls(digest=int.from_bytes(run.digest(), "little"), **options)

    def start(self, out: Out) -> None:
        if out.others:
            out.set_timer("retry", self.retry_s)

    def on_request(self, request: Connect, out: Out) -> None:
        if request.peer not in self.wanted:
            self.wanted.append(request.peer)
            self._send_ready(request.peer, out)

    def on_news(self, news: Located, out: Out) -> None:
        if news.peer not in self.located:
            self.located.append(news.peer)
            self._send_ready(news.peer, out)

    def on_timer(self, key: Any, out: Out) -> None:
        waiting = [peer for peer in self.wanted if peer not in self.confirmed]
        for peer in waiting:
            self._send_ready(peer, out)
        if waiting or not self.wanted:
            self.retry_s = min(2 * self.retry_s, SLOWEST_RETRY_S)
            out.set_timer("retry", self.retry_s * 0.75, self.retry_s)

    def on_arrival(self, arrival: PacketArrived, out: Out) -> None:
        packet, source = arrival.packet, arrival.source
        if type(packet) is Ready:
            self._on_ready(source, packet, out)
        elif type(packet) is HandshakeAck:
            if packet.nonce == self._nonce(source, out) and source not in self.confirmed:
                self.confirmed.append(source)
                self._conclude(source, out)
        elif source in self.ready:
            out.up(arrival)
        elif len(self.early) < HELD_AT_MOST:
            self.early.append(arrival)
        else:
            out.note("early packet dropped", source=source)

    def _on_ready(self, source: PeerId, packet: Ready, out: Out) -> None:
        if packet.digest != self.digest:
            if source not in self.refused:
                self.refused.append(source)
                out.tell(PairRefused(source, f"told run {packet.digest:016x}, this peer run {self.digest:016x}"))
            return
        out.send(source, HandshakeAck(packet.nonce, self.digest))
        if source not in self.heard:
            self.heard.append(source)
            if source in self.wanted and source not in self.confirmed:
                self._send_ready(source, out)  # it listens now, whatever became of the first READY
            self._conclude(source, out)

    def _conclude(self, peer: PeerId, out: Out) -> None:
        if peer not in self.heard or peer not in self.confirmed:
            return
        self.ready.append(peer)
        out.tell(PairReady(peer))
        kept: deque = deque()
        for arrival in self.early:
            if arrival.source == peer:
                out.up(arrival)
            else:
                kept.append(arrival)
        self.early = kept
        if len(self.ready) == len(out.others):
            self.shut = False
            out.open_gate()

    def _send_ready(self, peer: PeerId, out: Out) -> None:
        if peer in self.located and peer in self.wanted:
            out.send(peer, Ready(self._nonce(peer, out), self.digest))

    def _nonce(self, peer: PeerId, out: Out) -> int:
        digest = hashlib.blake2b(b"ready %d" % peer, key=out.entropy, digest_size=8).digest()
        return int.from_bytes(digest, "little")

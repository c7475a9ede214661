"""Link `ack_resend`: numbered packets, acknowledged and sent again until they are.

Rule: every pair counts its packets. The receiver says up to which number it holds
everything (`upto`) and which of the next 64 it holds beyond the gap (`mask`), in every
packet that goes the other way, else in an ACK of its own: at once for a gap or a
duplicate, when eight are owed, or after 5 ms. The sender resends what a mask shows
missing, and when nothing moved for the resend time, which follows the measured round
trip. A duplicate is acknowledged again and not handed up again. Bodies larger than a
datagram are cut and joined; the pieces of one have consecutive numbers.

`order: fifo` hands up in the order sent, `order: none` on arrival.

Timers are lazy: one a pair, never cancelled; when it fires the pair looks whether what
was outstanding when it was set is outstanding still.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Literal

from peer.core import wire
from peer.core.blocks import BESIDE_BODY_BYTES
from peer.core.errors import SettingsError, WireError
from peer.core.events import PacketArrived
from peer.core.guarantees import FIFO_LINKS, LARGE, ONCE, REACH, RELIABLE
from peer.core.layer import Layer, Out
from peer.core.names import PeerId
from peer.core.news import Overfull, Settled
from peer.core.requests import SendAll, SendTo
from peer.core.settings import MOST_HELD_BYTES
from peer.core.wire import U16, U32, U64, Packet, register

ACK_EVERY = 8  # packets owed an acknowledgement before one leaves by itself
ACK_DELAY_S = 0.005
MASK_BITS = 64
OVERTAKEN = 3  # later packets that arrived before a missing one counts as lost
AGAIN_AFTER = 16  # later packets before the same one is resent for a gap once more
RESEND_AT_ONCE = 16  # packets resent by one firing of a timer
FIRST_RESEND_S, QUICKEST_RESEND_S, SLOWEST_RESEND_S = 0.2, 0.04, 2.0
HEADERS_BYTES = 128  # of a datagram, at most: its own header, the link's and those of what rides along
LARGEST_BODY = 16 * 1024 * 1024 + 1024  # a message of 16 MiB and what the layers put around it
MOST_PIECES = 0xFFFF  # they are counted in 16 bits
LEAST_PIECE_BYTES = -(-LARGEST_BODY // MOST_PIECES)
WIDEST_WINDOW = 4096  # what has come beyond a gap is kept, of every pair as much as the window is wide


@dataclass(slots=True)
class Data(Packet):
    """Packet `number` of this pair, and what its sender holds of the other direction."""

    carries = True
    ack_bytes = 12

    number: U32
    upto: U32
    mask: U64
    body: Packet


@dataclass(slots=True)
class Ack(Packet):
    """The sender holds everything below `upto`, and upto + 1 + i where bit i of `mask` is set."""

    acknowledges = "link"
    ack_bytes = 13

    upto: U32
    mask: U64


@dataclass(slots=True)
class Piece(Packet):
    """One of `of` pieces of a body larger than a datagram."""

    whole: U32
    index: U16
    of: U16
    data: bytes


register(20, Data)
register(21, Ack)
register(22, Piece)


@dataclass(slots=True)
class Whole:
    """A body of which not all pieces have come."""

    of: int
    size: int = 0  # bytes of the pieces that are here
    pieces: dict = field(default_factory=dict)  # index -> data


@dataclass(slots=True)
class Pair:
    """The two directions between this peer and one member."""

    next: int = 0  # the number of the next packet
    unacked: dict = field(default_factory=dict)  # number -> (body, resend for a gap once this was overtaken, token)
    lowest: int = 0  # nothing below it is unacknowledged
    waiting: deque = field(default_factory=deque)  # (body, token) that found the window full,
    waiting_bytes: int = 0  # and how much that is
    resend_set: bool = False  # the lazy timer runs;
    resend_upto: int = 0  # what was below this number when it was set has waited a whole resend time when it fires
    patience: int = 1  # doubles with every resend time without progress
    rtt_s: float | None = None
    expected: int = 0  # everything below it was received
    ahead: dict = field(default_factory=dict)  # number -> body received beyond a gap (None once handed up)
    owed: int = 0  # packets received that no acknowledgement has covered
    urgent: bool = False  # a gap or a duplicate: acknowledge at the end of the turn
    listed: bool = False  # something came in this turn: it is among those to whom an acknowledgement may be owed
    ack_set: bool = False  # the timer of a late acknowledgement runs
    joining: dict = field(default_factory=dict)  # number of a body -> Whole; one at a time over `order: fifo`


@dataclass(slots=True)
class AckResend(Layer):
    """What was sent arrives, each body once; in order unless told otherwise."""

    name = "ack_resend"
    needs = frozenset({REACH})
    gives = frozenset({RELIABLE, FIFO_LINKS, ONCE, LARGE})
    packets = (Data, Ack)
    requests = (SendTo, SendAll)

    members: int
    order: Literal["fifo", "none"] = "fifo"
    window: int = 256  # packets on their way to one member; what is beyond waits,
    most_bytes: int = MOST_HELD_BYTES  # and this bounds it where the workloads' windows do not
    piece_bytes: int = 1300
    pairs: list[Pair] = field(default_factory=list)
    tokens: int = 0  # own blocks so far
    unsettled: dict[int, int] = field(default_factory=dict)  # token of an own block -> packets not acknowledged
    owing: list[PeerId] = field(default_factory=list)  # to whom an acknowledgement may be owed at the end of the turn
    wholes: int = 0  # bodies cut so far
    resent: int = 0
    duplicates: int = 0

    def __post_init__(self) -> None:
        if not self.pairs:
            self.pairs = [Pair() for _ in range(self.members)]

    @classmethod
    def make(cls, run: Any, me: PeerId, options: dict[str, Any]) -> AckResend:
        options.setdefault("piece_bytes", run.network.datagram_bytes - HEADERS_BYTES)
        options.setdefault("most_bytes", run.most_held_bytes())
        for name, low, high in (("piece_bytes", LEAST_PIECE_BYTES, LARGEST_BODY), ("window", 1, WIDEST_WINDOW)):
            if not low <= options.get(name, low) <= high:
                raise SettingsError(f"expected {low:,} to {high:,}, found {options[name]:,}", path=f"stack.link.{name}")
        return cls(members=len(run.members), **options)

    def granted(self) -> frozenset[str]:
        return self.gives if self.order == "fifo" else self.gives - {FIFO_LINKS}

    # Sending.

    def on_request(self, request: Any, out: Out) -> None:
        body = request.body
        bodies = (body,) if wire.size_of(body) <= self.piece_bytes else self._cut(body)
        if type(request) is SendTo:
            for part in bodies:
                self._send(request.peer, part, 0, out)
            return
        token = 0
        if request.own:
            token = self.tokens = self.tokens + 1
            self.unsettled[token] = len(bodies) * len(out.others)
            if not out.others:
                self._settle(token, out)
        for part in bodies:
            for peer in out.others:
                self._send(peer, part, token, out)

    def _send(self, peer: PeerId, body: Any, token: int, out: Out) -> None:
        pair = self.pairs[peer]
        if pair.waiting or len(pair.unacked) >= self.window:
            self._wait(peer, pair, body, token, out)
            return
        number = pair.next
        pair.next = number + 1
        pair.unacked[number] = (body, number + OVERTAKEN, token)
        self._transmit(peer, pair, number, body, out)
        if not pair.resend_set:
            self._set_resend(peer, pair, out)

    def _wait(self, peer: PeerId, pair: Pair, body: Any, token: int, out: Out) -> None:
        size = BESIDE_BODY_BYTES + wire.size_of(body)
        if pair.waiting_bytes + size > self.most_bytes:
            out.tell(Overfull(f"{len(pair.waiting)} packets wait for peer {peer}, which acknowledges too little"))
            return
        pair.waiting.append((body, token))
        pair.waiting_bytes += size

    def _transmit(self, peer: PeerId, pair: Pair, number: int, body: Any, out: Out) -> None:
        pair.owed = 0
        pair.urgent = False
        out.send(peer, Data(number, pair.expected, _mask(pair) if pair.ahead else 0, body))

    def _cut(self, body: Any) -> list[Piece]:
        whole = wire.encode(body)
        assert len(whole) <= LARGEST_BODY, f"a body of {len(whole)} bytes; at most {LARGEST_BODY} can be sent"
        self.wholes += 1
        of = -(-len(whole) // self.piece_bytes)
        size = self.piece_bytes
        return [Piece(self.wholes, index, of, whole[index * size : (index + 1) * size]) for index in range(of)]

    # Receiving.

    def on_arrival(self, arrival: PacketArrived, out: Out) -> None:
        packet, source = arrival.packet, arrival.source
        pair = self.pairs[source]
        pair.rtt_s = arrival.rtt_s
        if packet.upto > pair.lowest or packet.mask:
            self._acknowledged(source, pair, packet.upto, packet.mask, out)
        if type(packet) is Ack:
            return
        number = packet.number
        if not pair.listed:
            pair.listed = True
            self.owing.append(source)
        if number == pair.expected:
            pair.owed += 1
            pair.expected = number + 1
            self._hand_up(pair, arrival, packet.body, out)
            if pair.ahead:
                pair.urgent = True
                self._close_gap(pair, arrival, out)
        elif number < pair.expected or number in pair.ahead:
            self.duplicates += 1
            pair.urgent = True
        elif number < pair.expected + self.window:
            pair.owed += 1
            pair.urgent = True
            if self.order == "fifo":
                pair.ahead[number] = packet.body
            else:
                pair.ahead[number] = None
                self._hand_up(pair, arrival, packet.body, out)

    def _close_gap(self, pair: Pair, arrival: PacketArrived, out: Out) -> None:
        ahead = pair.ahead
        while pair.expected in ahead:
            body = ahead.pop(pair.expected)
            pair.expected += 1
            if body is not None:
                self._hand_up(pair, arrival, body, out)

    def _hand_up(self, pair: Pair, arrival: PacketArrived, body: Any, out: Out) -> None:
        if type(body) is Piece:
            body = self._join(pair, body, out)
            if body is None:
                return
        out.up(PacketArrived(arrival.source, body, arrival.rtt_s, arrival.silence_s))

    def _join(self, pair: Pair, piece: Piece, out: Out) -> Any:
        joining = pair.joining
        whole = joining.get(piece.whole)
        if whole is None:
            while len(joining) >= (1 if self.order == "fifo" else self.window):  # its other pieces can come no more
                self._give_up(pair, next(iter(joining)), "its end is missing", out)
            whole = joining[piece.whole] = Whole(piece.of)
        whole.size += len(piece.data)
        if piece.of != whole.of or piece.index >= whole.of or piece.index in whole.pieces or whole.size > LARGEST_BODY:
            self._give_up(pair, piece.whole, "its pieces do not fit each other", out)
            return None
        whole.pieces[piece.index] = piece.data
        if len(whole.pieces) < whole.of:
            return None
        del joining[piece.whole]
        try:
            return wire.decode(b"".join(whole.pieces[index] for index in range(whole.of)))
        except WireError as error:
            out.note("a body was given up", problem=str(error))
            return None

    def _give_up(self, pair: Pair, number: int, problem: str, out: Out) -> None:
        del pair.joining[number]
        out.note("a body was given up", problem=problem)

    # Acknowledgements.

    def _acknowledged(self, peer: PeerId, pair: Pair, upto: int, mask: int, out: Out) -> None:
        unacked = pair.unacked
        if upto > pair.next or mask and upto + mask.bit_length() >= pair.next:
            return  # it acknowledges what was never sent
        progress = upto > pair.lowest
        if progress:
            for number in range(pair.lowest, upto):
                entry = unacked.pop(number, None)
                if entry is not None and entry[2]:
                    self._settle(entry[2], out)
            pair.lowest = upto
        if mask:
            highest = upto + mask.bit_length()
            for number in range(upto + 1, highest + 1):
                if mask >> (number - upto - 1) & 1:
                    entry = unacked.pop(number, None)
                    if entry is not None:
                        progress = True
                        if entry[2]:
                            self._settle(entry[2], out)
            for number in range(upto, highest):
                entry = unacked.get(number)
                if entry is not None and highest >= entry[1]:
                    unacked[number] = (entry[0], pair.next + AGAIN_AFTER, entry[2])
                    self.resent += 1
                    self._transmit(peer, pair, number, entry[0], out)
        if progress:
            pair.patience = 1
            while pair.waiting and len(unacked) < self.window:
                body, token = pair.waiting.popleft()
                pair.waiting_bytes -= BESIDE_BODY_BYTES + wire.size_of(body)
                number = pair.next
                pair.next = number + 1
                unacked[number] = (body, number + OVERTAKEN, token)
                self._transmit(peer, pair, number, body, out)

    def _settle(self, token: int, out: Out) -> None:
        left = self.unsettled[token] - 1
        if left > 0:
            self.unsettled[token] = left
        else:
            del self.unsettled[token]
            out.tell(Settled(1))

    def on_flush(self, out: Out) -> None:
        if not self.owing:
            return
        for peer in self.owing:
            pair = self.pairs[peer]
            pair.listed = False
            if pair.urgent or pair.owed >= ACK_EVERY:
                self._send_ack(peer, pair, out)
            elif pair.owed and not pair.ack_set:
                pair.ack_set = True
                out.set_timer(("ack", peer), ACK_DELAY_S)
        self.owing.clear()

    def _send_ack(self, peer: PeerId, pair: Pair, out: Out) -> None:
        pair.owed = 0
        pair.urgent = False
        out.send(peer, Ack(pair.expected, _mask(pair) if pair.ahead else 0))

    # Timers.

    def _set_resend(self, peer: PeerId, pair: Pair, out: Out) -> None:
        pair.resend_set = True
        pair.resend_upto = pair.next
        if pair.rtt_s is None:
            wait_s = FIRST_RESEND_S
        else:
            wait_s = max(QUICKEST_RESEND_S, 2 * pair.rtt_s + 2 * ACK_DELAY_S)
        wait_s = min(wait_s * pair.patience, max(SLOWEST_RESEND_S, wait_s))
        out.set_timer(("resend", peer), wait_s, 1.1 * wait_s)

    def on_timer(self, key: Any, out: Out) -> None:
        what, peer = key
        pair = self.pairs[peer]
        if what == "ack":
            pair.ack_set = False
            if pair.owed:
                self._send_ack(peer, pair, out)
            return
        pair.resend_set = False
        if not pair.unacked:
            return
        overdue = [number for number in _first(pair.unacked, RESEND_AT_ONCE) if number < pair.resend_upto]
        for number in overdue:
            body, _, token = pair.unacked[number]
            pair.unacked[number] = (body, pair.next + AGAIN_AFTER, token)
            self._transmit(peer, pair, number, body, out)
        if overdue:
            self.resent += len(overdue)
            pair.patience = min(2 * pair.patience, 64)
        self._set_resend(peer, pair, out)

    def waits_for(self, out: Out) -> list[PeerId]:
        return [peer for peer, pair in enumerate(self.pairs) if pair.patience > 1]

    def held(self) -> dict[str, int]:
        return {
            "unacknowledged": sum(len(pair.unacked) + len(pair.waiting) for pair in self.pairs),
            "beyond a gap": sum(len(pair.ahead) for pair in self.pairs),
        }


def _mask(pair: Pair) -> int:
    """Which of the MASK_BITS packets after the first missing one are held."""
    beyond = pair.expected + 1
    mask = 0
    for number in pair.ahead:
        if number - beyond < MASK_BITS:
            mask |= 1 << (number - beyond)
    return mask


def _first(numbers: dict, count: int) -> list[int]:
    """The first keys of a dict that was filled in rising order; resending keeps a key's place."""
    return [number for number, _ in zip(numbers, range(count))]

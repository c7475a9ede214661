"""Packets as bytes: a binary codec for every packet class, built once from its annotations.

    packet   = kind u8 | fixed fields, little endian | lists of numbers and texts | tail
    fixed    = U8 U16 U32 U64 F64, and a u16 length for every list and text
    tail     = at most one field, the last: bytes, or another packet (its body) of that class

Nothing is ever evaluated; only registered classes are made, and every length is
compared with what is there before anything is allocated. `decode` is the only
place that raises WireError.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import fields
from functools import lru_cache
from operator import attrgetter
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from peer.core.errors import WireError

U8 = Annotated[int, "B"]
U16 = Annotated[int, "H"]
U32 = Annotated[int, "I"]
U64 = Annotated[int, "Q"]
F64 = Annotated[float, "d"]

Decoder = Callable[[Any, int, int, int], "Packet"]  # data, from where to where, how deep in other packets

DEEPEST = 4  # how many packets may lie one inside the other


class Packet:
    """The mark of a packet class: a slotted dataclass whose fields have the types above.

    A class whose fields must fit each other has a method `check`, which raises WireError. What a class says of
    itself beside its fields is for the operator, who wants to know what was sent for what.
    """

    __slots__ = ()

    carries = False  # whether its `body` is a packet of a layer above
    acknowledges = ""  # who does nothing else with it: "link" or "ordering"
    ack_bytes = 0  # how much of it acknowledges for the link
    clock_bytes = 0  # how much of it are logical clocks: stamps, vectors


class Codec:
    """How one packet class becomes bytes and back."""

    def __init__(self, cls: type[Packet], kind: int) -> None:
        self.cls, self.kind = cls, kind
        hints = get_type_hints(cls, include_extras=True)
        layout, numbers, lists = "", [], []
        self.tail, self.tail_class, self.tail_is_packet = None, bytes, False
        names = [f.name for f in fields(cls)]
        for name in names:
            form = hints[name]
            assert self.tail is None, f"{cls.__name__}.{self.tail} must be the last field"
            if get_origin(form) is Annotated:
                layout += get_args(form)[1]
                numbers.append(name)
            elif form is bool:
                layout += "?"
                numbers.append(name)
            elif get_origin(form) is tuple:
                lists.append((name, get_args(get_args(form)[0])[1]))
            elif form is str:
                lists.append((name, "s"))
            else:
                assert form is bytes or issubclass(form, Packet), f"{cls.__name__}.{name} has no wire form"
                self.tail, self.tail_class = name, form
                self.tail_is_packet = form is not bytes
        assert names == numbers + [name for name, _ in lists] + ([self.tail] if self.tail else []), (
            f"{cls.__name__}: numbers first, then lists and texts, then the tail"
        )
        assert not (self.tail_is_packet and lists), f"{cls.__name__}: a packet with a body has fixed fields only"
        self.head = struct.Struct("<B" + layout + "H" * len(lists))
        self.head_bytes = self.head.size
        self.lists = lists
        self.item_bytes = [1 if code == "s" else struct.calcsize("<" + code) for _, code in lists]
        self.get_lists = [(attrgetter(name), code) for name, code in lists]
        if len(numbers) == 1:
            single = attrgetter(numbers[0])
            self.get_numbers = lambda packet: (single(packet),)
        else:
            self.get_numbers = attrgetter(*numbers) if numbers else lambda packet: ()
        self.get_tail = attrgetter(self.tail) if self.tail else None
        self.size, self.decode = self._sizer(), self._decoder()

    def encode_own(self, packet: Packet) -> bytes:
        """Everything but the tail."""
        if not self.lists:
            return self.head.pack(self.kind, *self.get_numbers(packet))
        parts, lengths = [], []
        for get, code in self.get_lists:
            value = get(packet)
            raw = value.encode() if code == "s" else _array(len(value), code).pack(*value)
            parts.append(raw)
            lengths.append(len(raw) if code == "s" else len(value))
        return self.head.pack(self.kind, *self.get_numbers(packet), *lengths) + b"".join(parts)

    def _sizer(self) -> Callable[[Packet], int]:
        """The quickest way to say how many bytes `encode` would make."""
        head, get_tail = self.head_bytes, self.get_tail
        if self.lists:
            return self._sizer_of_lists()
        if self.tail is None:
            return lambda packet: head
        if self.tail_is_packet:
            return self._sizer_around()
        return lambda packet: head + len(get_tail(packet))

    def _sizer_around(self) -> Callable[[Packet], int]:
        """Of a packet that carries another one, often the same one as the packet before, to the next member."""
        head, get_tail = self.head_bytes, self.get_tail
        last = (None, 0)  # a body and its size, in one piece: several threads may ask

        def size(packet: Packet) -> int:
            nonlocal last
            body, known = get_tail(packet), last
            if known[0] is not body:
                last = known = (body, size_of(body))
            return head + known[1]

        return size

    def _sizer_of_lists(self) -> Callable[[Packet], int]:
        head, get_tail = self.head_bytes, self.get_tail
        widths = [(get, width) for (get, code), width in zip(self.get_lists, self.item_bytes) if code != "s"]
        texts = [get for get, code in self.get_lists if code == "s"]

        def size(packet: Packet) -> int:
            total = head
            for get, width in widths:
                total += len(get(packet)) * width
            for get in texts:
                total += len(get(packet).encode())
            return total if get_tail is None else total + len(get_tail(packet))

        return size

    def _decoder(self) -> Decoder:
        """What makes the packet that the bytes from `at` to `end` are."""
        cls, head, lists, check = self.cls, self.head_bytes, self.lists, hasattr(self.cls, "check")
        numbers = struct.Struct(self.head.format.replace("B", "x", 1)).unpack_from  # all but the kind
        tail_of: Decoder | None
        if self.tail is None:
            tail_of = None
        elif not self.tail_is_packet:
            tail_of = _decode_bytes
        else:
            tail_of = _decode if self.tail_class is Packet else self._decode_tail

        def decode(data: Any, at: int, end: int, depth: int) -> Packet:
            tail = at + head
            if tail > end:
                raise WireError("cut", cls.__name__)
            values = numbers(data, at)
            if lists:
                values, tail = self._decode_lists(data, tail, end, values)
            if tail_of is not None:
                packet = cls(*values, tail_of(data, tail, end, depth + 1))
            elif tail == end:
                packet = cls(*values)
            else:
                raise WireError("overlong", cls.__name__)
            if check:
                packet.check()
            return packet

        return decode

    def _decode_tail(self, data: Any, at: int, end: int, depth: int) -> Packet:
        body = _decode(data, at, end, depth)
        if not isinstance(body, self.tail_class):
            raise WireError("body", f"{type(body).__name__} in {self.cls.__name__}")
        return body

    def _decode_lists(self, data: Any, at: int, end: int, numbers: tuple) -> tuple[list[Any], int]:
        """The numbers, with what the lists and texts hold in the place of their lengths; where they end."""
        lengths = numbers[-len(self.lists) :]
        values = [*numbers[: -len(self.lists)]]
        for (_, code), width, length in zip(self.lists, self.item_bytes, lengths):
            stop = at + length * width
            if stop > end:
                raise WireError("cut", self.cls.__name__)
            if code != "s":
                values.append(_array(length, code).unpack_from(data, at))
            else:
                try:
                    values.append(str(data[at:stop], "utf-8"))
                except UnicodeDecodeError:
                    raise WireError("text", self.cls.__name__) from None
            at = stop
        return values, at


def _decode_bytes(data: Any, at: int, end: int, depth: int) -> bytes:
    return bytes(data[at:end])


@lru_cache(1024)
def _array(length: int, code: str) -> struct.Struct:
    return struct.Struct(f"<{length}{code}")


_CODECS: dict[type, Codec] = {}
_KINDS: dict[int, Codec] = {}


def register(kind: int, cls: type[Packet]) -> None:
    """Give a packet class its number on the wire."""
    assert kind not in _KINDS and 0 < kind < 256, f"{cls.__name__}: kind {kind} is taken by {_KINDS.get(kind)}"
    _CODECS[cls] = _KINDS[kind] = Codec(cls, kind)


def packet_classes() -> dict[str, type[Packet]]:
    """All registered classes by name."""
    return {cls.__name__: cls for cls in _CODECS}


def codec_of(packet: Packet) -> Codec:
    """The codec of a packet's class."""
    return _CODECS[type(packet)]


def codec_of_kind(kind: int) -> Codec | None:
    """The codec of a kind byte, or None."""
    return _KINDS.get(kind)


def size_of(packet: Packet) -> int:
    """How many bytes a packet takes."""
    return _CODECS[type(packet)].size(packet)


def encode(packet: Packet) -> bytes:
    """A packet as bytes."""
    codec = _CODECS[type(packet)]
    own = codec.encode_own(packet)
    if codec.tail is None:
        return own
    tail = codec.get_tail(packet)
    return own + (encode(tail) if codec.tail_is_packet else tail)


def decode(data: bytes | memoryview, at: int = 0, end: int | None = None) -> Any:
    """The packet that these bytes (of them, those from `at` to `end`) are; WireError if they are none."""
    return _decode(data, at, len(data) if end is None else end, 1)


def _decode(data: bytes | memoryview, at: int, end: int, depth: int) -> Packet:
    if at >= end:
        raise WireError("empty")
    if depth > DEEPEST:
        raise WireError("nested")
    codec = _KINDS.get(data[at])
    if codec is None:
        raise WireError("kind", str(data[at]))
    return codec.decode(data, at, end, depth)

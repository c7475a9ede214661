"""What no program of the lab sends: packets, messages and bytes, drawn from a seed so that they come again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from random import Random
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import peer.stacks  # noqa: F401  (all packets are registered)
from peer.core.blocks import Block, pack
from peer.core.commands import COMMANDS, REPORTS
from peer.core.wire import DEEPEST, Packet, packet_classes

BITS = {"B": 8, "H": 16, "I": 32, "Q": 64}
OURS = [cls for cls in packet_classes().values() if cls.__module__.startswith("peer.")]
WORDS = ("", "p0", "p1", "p2", "mallory", "none", "x" * 65, "\u00fc\u2603", "\n", "../p0", "a b", "%s{}", "0" * 5000)
OPS = ("register", "heartbeat", "unregister", "list", "where")  # `stop` is no nonsense: it is obeyed


def number(chance: Random, bits: int) -> int:
    """A small number, an edge of its type, or any."""
    kind = chance.random()
    if kind < 0.6:
        return chance.randrange(min(8 if kind < 0.4 else 300, 1 << bits))
    if kind < 0.8:
        edge = 1 << chance.randrange(bits + 1)
        return min(max(0, edge + chance.randrange(-2, 2)), (1 << bits) - 1)
    return chance.getrandbits(bits)


def block(chance: Random) -> Block:
    """A block that is let in: its body is what it says."""
    count = chance.choice((0, 1, 1, 1, 2, 5, 100))
    words = [b"deposit 7", b"insert salt 123", b"1. No!", chance.randbytes(chance.randrange(9))]
    size, body = pack([chance.choice(words) for _ in range(count)]) if count else (0, b"")
    first, stamp = number(chance, 32), number(chance, 57)
    return Block(number(chance, 8), first, count, size, min(stamp, 1 << 56), body)


def packet(chance: Random, depth: int = 1) -> Packet:
    """A packet of any class; its fields are right for the wire and senseless beyond it."""
    if depth > 1 and chance.random() < 0.5:
        return block(chance)
    cls = chance.choice(OURS)
    if cls is Block and chance.random() < 0.9:
        return block(chance)
    return cls(*[_field(chance, form, depth) for form in _forms(cls)])


_FORMS: dict[type, list[Any]] = {}


def _forms(cls: type) -> list[Any]:
    if cls not in _FORMS:
        hints = get_type_hints(cls, include_extras=True)
        _FORMS[cls] = [hints[f.name] for f in fields(cls)]
    return _FORMS[cls]


def _field(chance: Random, form: Any, depth: int) -> Any:
    if get_origin(form) is Annotated:
        return number(chance, BITS[get_args(form)[1]])
    if get_origin(form) is tuple:
        return tuple(_field(chance, get_args(form)[0], depth) for _ in range(chance.choice((0, 1, 3, 40))))
    if form is str:
        return chance.choice(WORDS)
    if form is bytes:
        return chance.randbytes(chance.choice((0, 1, 7, 64, 1200)))
    assert issubclass(form, Packet)
    if form is not Packet:
        return block(chance)
    return packet(chance, depth + 1) if depth < DEEPEST else block(chance)


def mutated(chance: Random, data: bytes, others: list[bytes]) -> bytes:
    """Bytes that were right once: some flipped, cut, extended, or joined with others."""
    kind = chance.randrange(5)
    if kind == 0 or not data:
        return chance.randbytes(chance.choice((0, 1, 40, 73, 100, 1400)))
    at = chance.randrange(len(data))
    if kind == 1:
        changed = bytearray(data)
        for _ in range(chance.choice((1, 1, 1, 2, 8))):
            changed[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        return bytes(changed)
    if kind == 2:
        return data[:at]
    if kind == 3:
        return data + chance.randbytes(chance.randrange(1, 60))
    other = chance.choice(others)
    return data[:at] + other[chance.randrange(len(other) + 1) :]


def rubbish(chance: Random, depth: int = 0) -> Any:
    """Anything that JSON can hold."""
    kind = chance.randrange(10 if depth < 4 else 7)
    if kind < 2:
        return chance.choice((0, -1, 1, 2**31, 2**63, -(2**64), 10**19, True, False, None))
    if kind < 4:
        return chance.choice((0.5, -1.5, 1e300, 5e-324))
    if kind < 7:
        return chance.choice(WORDS)
    if kind < 8:
        return {chance.choice(WORDS): rubbish(chance, depth + 1) for _ in range(chance.randrange(4))}
    deep: Any = [rubbish(chance, depth + 1) for _ in range(chance.randrange(4))]
    if kind == 9 and chance.random() < 0.1:
        for _ in range(chance.choice((20, 900, 5000))):  # nested far too deep
            deep = [deep]
    return deep


# What the fields of commands and reports are, each with something that may stand there.
_KNOWN: dict[str, Callable[[Random], Any]] = {
    "str": lambda chance: chance.choice(("r1", "busy", "handshake", "drained", "trace", *WORDS)),
    "int": lambda chance: chance.choice((0, 1, 2, 3, 60, -1, 2**31, 2**63)),
    "float | None": lambda chance: chance.choice((None, 0.0, 0.25, -1.0, 5e-324, 1e300)),
    "bool": lambda chance: chance.random() < 0.5,
    "dict": lambda chance: chance.choice(
        ({}, {"trace": [96, "00"], "sends": [64, "11"]}, {"trace": [10**18, "x"], "sends": []}, {"a": 1}, {"p0": "x"})
    ),
    "list": lambda chance: chance.choice(([], ["p0"], ["p2", "nobody"], [1], [[]])),
}


def control(chance: Random, run: str = "r1", kinds: tuple[type, ...] = COMMANDS + REPORTS) -> Any:
    """A command or report as it comes over a control connection: near enough to be taken for one, or far from it."""
    if chance.random() < 0.1:
        return rubbish(chance)
    cls = chance.choice(kinds)
    message: dict[str, Any] = {"op": cls.__name__}
    for f in fields(cls):
        draw = chance.random()
        if draw < 0.75:
            message[f.name] = run if f.name == "run" else _KNOWN[f.type.split("[")[0]](chance)
        elif draw < 0.85:
            message[f.name] = rubbish(chance)
    if chance.random() < 0.05:
        message[chance.choice(WORDS)] = rubbish(chance)
    return message


def request(chance: Random, names: tuple[str, ...]) -> Any:
    """A request to the group manager."""
    if chance.random() < 0.1:
        return rubbish(chance)
    fitting = {
        "op": OPS,
        "name": names,
        "group": ("", "", "other"),
        "endpoint": (["10.0.0.1", 7], ["10.0.0.1", 70000], ["", 1], ["a" * 300, 1], ["\u2603", 1], [1, 1], "here"),
        "names": (list(names), ["p0"], [1], [[]], "p0", ["x"] * 3000),
        "role": ("peer", "peer", "server", "king"),
        "incarnation": ("a", "b", 7, None),
        "take_over": (True, False, "yes"),
        "id": (1, "1", [[1]], {}),
    }
    message = {key: chance.choice(values) for key, values in fitting.items() if chance.random() < 0.8}
    if chance.random() < 0.2:
        message[chance.choice(tuple(fitting)[1:])] = rubbish(chance)
    return message

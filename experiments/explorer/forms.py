"""Layers as values, made to measure: what a class holds is read from its annotations once.

`peer.core.layer.freeze` asks every value what it is. A search freezes and thaws the same few classes all the time,
and asks the classes instead, which is several times as fast. Packets never change: they are numbered, equal ones
alike, and stand in a frozen layer as that number.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import cache
from operator import attrgetter
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

from peer.core.layer import Layer, freeze, thaw
from peer.core.wire import Packet

ATOMS = (int, float, str, bytes, bool)


class Form(NamedTuple):
    """How values of one type are frozen and thawed; both None where they are hashable and never change."""

    freeze: Callable[[Any], Any] | None
    thaw: Callable[[Any], Any] | None


AS_IT_IS = Form(None, None)
ASKED = Form(freeze, thaw)  # where the annotation does not say enough


class Packets:
    """All packets of a search, numbered as they were met."""

    def __init__(self) -> None:
        self.all: list[Packet] = []
        self._numbers: dict[tuple, int] = {}
        self._places: dict[int, int] = {}  # the same by where in memory a packet is, for those in `all`, which stay

    def number(self, packet: Packet) -> int:
        """The number of a packet."""
        number = self._places.get(id(packet))
        if number is None:
            value = type(packet), *map(self._plain, _values_of(type(packet))(packet))
            number = self._numbers.setdefault(value, len(self.all))
            if number == len(self.all):
                self.all.append(packet)
                self._places[id(packet)] = number
        return number

    def _plain(self, value: Any) -> Any:
        return ("packet", self.number(value)) if isinstance(value, Packet) else value


class Frozen:
    """Freezes and wakes the layers of one class."""

    def __init__(self, kind: type[Layer], packets: Packets) -> None:
        self._packets = packets
        self._values = _values_of(kind)
        self._fields = self._fields_of(kind)
        self._freezes = [form.freeze for _, form in self._fields]

    def freeze(self, layer: Layer) -> tuple:
        """A hashable value that says all of a layer."""
        return _each(self._freezes, self._values(layer))

    def wake(self, layer: Layer, frozen: tuple) -> None:
        """Make the layer what it was when it was frozen."""
        for (name, form), value in zip(self._fields, frozen):
            setattr(layer, name, value if form.thaw is None else form.thaw(value))

    def _fields_of(self, kind: type) -> list[tuple[str, Form]]:
        hints = get_type_hints(kind)
        return [(each.name, self._form(hints[each.name])) for each in fields(kind)]

    def _form(self, hint: Any) -> Form:
        kind, args = get_origin(hint), get_args(hint)
        if hint in ATOMS:
            return AS_IT_IS
        if kind in (list, deque, set):
            return _collection(kind, self._form(args[0]))
        if kind is tuple:
            return self._tuple(args)
        if kind is dict and self._form(args[0]) is AS_IT_IS:
            return _mapping(self._form(args[1]))
        if kind is None and isinstance(hint, type) and issubclass(hint, Packet):
            return Form(self._packets.number, self._packets.all.__getitem__)
        if kind is None and is_dataclass(hint):
            return _record(hint, self._fields_of(hint))
        return ASKED

    def _tuple(self, args: tuple) -> Form:
        if args[1:] == (...,):
            return _collection(tuple, self._form(args[0]))
        forms = [self._form(arg) for arg in args]
        if all(form is AS_IT_IS for form in forms):
            return AS_IT_IS
        freezes, thaws = [form.freeze for form in forms], [form.thaw for form in forms]
        return Form(lambda value: _each(freezes, value), lambda frozen: _each(thaws, frozen))


def _collection(kind: type, item: Form) -> Form:
    if kind is set:
        return Form(lambda value: tuple(sorted(value)), set) if item is AS_IT_IS else ASKED
    if item is AS_IT_IS:
        return AS_IT_IS if kind is tuple else Form(tuple, kind)
    return Form(lambda value: tuple(map(item.freeze, value)), lambda frozen: kind(map(item.thaw, frozen)))


def _mapping(item: Form) -> Form:
    if item is AS_IT_IS:
        return Form(lambda value: tuple(sorted(value.items())), dict)
    return Form(
        lambda value: tuple([(key, item.freeze(value[key])) for key in sorted(value)]),
        lambda frozen: {key: item.thaw(each) for key, each in frozen},
    )


def _record(kind: type, form_of: list[tuple[str, Form]]) -> Form:
    values, freezes = _values_of(kind), [form.freeze for _, form in form_of]

    def thawed(frozen: tuple) -> Any:
        fresh = kind.__new__(kind)
        for (name, form), value in zip(form_of, frozen):
            setattr(fresh, name, value if form.thaw is None else form.thaw(value))
        return fresh

    return Form(lambda value: _each(freezes, values(value)), thawed)


def _each(ways: list[Callable[[Any], Any] | None], values: tuple) -> tuple:
    return tuple([value if way is None else way(value) for way, value in zip(ways, values)])


@cache
def _values_of(kind: type) -> Callable[[Any], tuple]:
    """A fast way to get the values of all fields."""
    names = [each.name for each in fields(kind)]
    return attrgetter(*names) if len(names) > 1 else lambda value: tuple([getattr(value, name) for name in names])

"""Whether what JSON gave has the type that an annotation says."""

from __future__ import annotations

from functools import cache
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


@cache
def hints_of(cls: type) -> dict[str, Any]:
    """The annotations of a class's fields, as types."""
    return get_type_hints(cls)


def fits(value: Any, hint: Any) -> bool:
    """Whether a value is of this type; a list may stand for a tuple, a whole number for a float, nothing for a bool."""
    kind, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if kind is Literal:
        return any(type(value) is type(each) and value == each for each in inner)
    if kind in (Union, UnionType):
        return any(fits(value, each) for each in inner)
    if kind is tuple and isinstance(value, (list, tuple)) and inner[1:] != (...,):
        return len(value) == len(inner) and all(map(fits, value, inner))
    if kind is tuple and isinstance(value, (list, tuple)) or kind is list and isinstance(value, list):
        if isinstance(inner[0], type):
            value = {type(item): item for item in value}.values()  # one of each type is as good as all of them
        return all(fits(item, inner[0]) for item in value)
    if kind is dict and isinstance(value, dict):
        return all(fits(key, inner[0]) and fits(item, inner[1]) for key, item in value.items())
    if isinstance(value, bool):
        return hint is bool
    return kind is None and isinstance(value, (int, float) if hint is float else hint)


def shown(value: Any) -> str:
    """A value in a sentence about it, of which nobody knows how long it is."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."

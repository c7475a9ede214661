"""Checks what was read from a file against a dataclass, and says in one sentence what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import lru_cache
from typing import Any, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError

from experiments.yaml_files import shown, unknown
from peer.core.errors import SettingsError

Path = tuple[int | str, ...]
IN_YAML = {"an object": "settings as `key: value`", "a valid array": "a list"}  # what pydantic says in words of JSON


@lru_cache
def adapter(cls: type) -> TypeAdapter:
    """Pydantic's view of a dataclass, made once."""
    return TypeAdapter(cls)


def validated(
    cls: type,
    written: Mapping[str, Any],
    file: str,
    *,
    also: Sequence[str] = (),
    expected: Mapping[str, str] | None = None,
) -> Any:
    """An instance of `cls` from plain mappings and lists, taken strictly: neither "5" nor true is a number.

    `also` are keys that a file may have at the top beside the fields, `expected` says by dotted path what
    belongs there, where a person wants to hear something else than pydantic does.
    """
    try:
        text = json.dumps(written, default=str)  # only of JSON does pydantic's strict mode take lists for tuples
    except (TypeError, ValueError) as error:
        raise SettingsError(f"holds something that is no setting: {error}", file=file) from None
    try:
        return adapter(cls).validate_json(text, strict=True)
    except ValidationError as error:
        path, problem = _first_problem(cls, error, json.loads(text), also, expected or {})
    raise SettingsError(problem, path=".".join(map(str, path)), file=file)


def _first_problem(
    cls: type, error: ValidationError, written: Any, also: Sequence[str], expected: Mapping[str, str]
) -> tuple[Path, str]:
    found = [(_path_in(written, each["loc"]), each) for each in error.errors(include_url=False)]
    found.sort(key=lambda pair: pair[1]["type"] == "missing")  # what is missing may only be misspelt
    first_key = found[0][0][:1]
    # Where pydantic tried several types for one key, the error that lies deepest is of the type that was meant.
    path, first = max((pair for pair in found if pair[0][:1] == first_key), key=lambda pair: len(pair[0]))
    if first["type"] == "unexpected_keyword_argument":
        known = [each.name for each in fields(_class_at(cls, path[:-1]))]
        known = [*also, *known] if len(path) == 1 else known
        return path, unknown("setting", path[-1], known, _elsewhere(cls, str(path[-1])))
    if first["type"] == "missing":
        return path, "is missing"
    want = first["msg"].removeprefix("Input should be ").removeprefix("Tuple should have ").split(" after ")[0]
    want = expected.get(".".join(map(str, path)), IN_YAML.get(want, want))
    return path, f"expected {want}, found {shown(first['input'])}"


def _path_in(written: Any, location: Path) -> Path:
    """Where in the file an error is: pydantic's location without the names of the types that it tried."""
    path: list[int | str] = []
    for step in location:
        if isinstance(written, dict) and step in written:
            written = written[step]
        elif isinstance(written, list) and isinstance(step, int):
            written = written[step] if step < len(written) else None
        elif not (isinstance(written, dict) and str(step).isidentifier()):  # a key that is missing stays
            continue
        path.append(step)
    return tuple(path)


def _elsewhere(cls: type, name: str) -> Iterator[str]:
    """The dotted paths inside the fields of a dataclass at which there is a setting of this name."""
    for key, kind in get_type_hints(cls).items():
        if inner := _dataclass_in(kind):
            if name in get_type_hints(inner):
                yield f"{key}.{name}"
            yield from (f"{key}.{path}" for path in _elsewhere(inner, name))


def _class_at(cls: Any, path: Path) -> Any:
    """The dataclass whose fields lie at a path."""
    for step in path:
        if isinstance(step, str):
            cls = _dataclass_in(get_type_hints(cls)[step])
    return cls


def _dataclass_in(kind: Any) -> Any:
    if is_dataclass(kind):
        return kind
    return next((inner for inner in map(_dataclass_in, get_args(kind)) if inner), None)

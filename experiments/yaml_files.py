"""Finds YAML files by a standard name or a path, and reads them with errors that a person can act on."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from peer.core.errors import SettingsError


def standard_names(folder: Path) -> list[str]:
    """The names of the files that come with the lab."""
    return sorted(path.stem for path in folder.glob("*.yml"))


def find(kind: str, name: str, folder: Path, beside: Path = Path(), *, file: str = "", path: str = "") -> Path:
    """The file of a standard name, or of a path that starts at the folder `beside`; `file`, `path`: who says so."""
    if name in standard_names(folder):
        return folder / f"{name}.yml"
    looks_like_path = "/" in name or name.endswith((".yml", ".yaml"))
    if not looks_like_path:
        problem = f"{unknown(kind, name, standard_names(folder))}, or the path of a .yml file"
        raise SettingsError(problem, file=file, path=path)
    found = beside / name
    if found.is_dir():
        raise SettingsError("expected a file, found a folder", file=str(found), path=path)
    if not found.is_file():
        raise SettingsError(f"no such file: {found}", file=file, path=path)
    return found


def read(path: Path) -> dict[str, Any]:
    """The mapping that a file holds."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"cannot be read: {error.strerror}", file=str(path)) from None
    except UnicodeDecodeError:
        raise SettingsError("is not text in UTF-8", file=str(path)) from None
    value = parse(text, file=str(path))
    if not isinstance(value, dict):
        raise SettingsError(f"expected settings as `key: value`, found {shown(value)}", file=str(path))
    return value


def parse(text: str, *, file: str = "", path: str = "") -> Any:
    """The value that a text stands for."""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise SettingsError(f"is not YAML{line}: {error.problem}", file=file, path=path) from None
    except RecursionError:
        raise SettingsError("is nested too deeply", file=file, path=path) from None
    except yaml.YAMLError as error:
        raise SettingsError(f"is not YAML: {' '.join(str(error).split())}", file=file, path=path) from None


def unknown(kind: str, name: object, known: Iterable[str], elsewhere: Iterable[str] = ()) -> str:
    """The sentence about a name that nobody knows here; `elsewhere`: where there is one of that very name."""
    known = list(known)
    meant = [*elsewhere, *get_close_matches(str(name), known, n=1, cutoff=0.5)]
    guess = f"; did you mean {meant[0]}?" if meant else ";"
    return f"unknown {kind} {shown(name)}{guess} known are {', '.join(known)}"


def shown(value: object) -> str:
    """A value as a person wrote it, cut where it grows long."""
    if value is None:
        return "nothing"
    text = in_one_line(value)
    return text if len(text) <= 60 else text[:57] + "..."


def in_one_line(value: object) -> str:
    """A value as a person writes it on a command line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False)
    return " ".join(text.removesuffix("...\n").split())


class _Loader(yaml.SafeLoader):
    """Plain YAML, but a key that is given twice is refused instead of silently replaced."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: list[str] = []
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"{key.value} is given twice", problem_mark=key.start_mark)
            seen.append(key.value)
        return super().construct_mapping(node, deep)

"""A planet: regions and the round trips between them, as somebody measured them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from experiments.yaml_files import find, read, shown, standard_names, unknown
from peer.core.errors import SettingsError

PLANETS = Path(__file__).parent / "planets"


@dataclass(frozen=True, slots=True)
class Planet:
    """Round trips in ms, [from][to] in the order of `regions`; two directions may differ."""

    name: str
    about: str
    measured: str
    regions: tuple[str, ...]
    round_trips_ms: tuple[tuple[float, ...], ...]

    def one_way_s(self, origin: str, target: str) -> float:
        """Half the round trip; within a region half of what was measured between two of its machines."""
        return round(self.round_trips_ms[self._index(origin)][self._index(target)] / 2000, 9)

    def _index(self, region: str) -> int:
        if region not in self.regions:
            raise SettingsError(f"{unknown('region', region, self.regions)} (planet {self.name})", path="regions")
        return self.regions.index(region)


def planet_names() -> list[str]:
    """The planets that come with the lab."""
    return standard_names(PLANETS)


@lru_cache
def load_planet(name: str) -> Planet:
    """A planet by its standard name, or from the path of a YAML file of the same shape."""
    path = find("planet", name, PLANETS)
    content = read(path)
    table = content.pop("round_trips_ms", None)
    if not isinstance(table, dict) or not table:
        problem = f"expected one row a region, as in `lan: [0.2]`, found {shown(table)}"
        raise SettingsError(problem, path="round_trips_ms", file=str(path))
    for region, row in table.items():
        if not _is_row(row, len(table)):
            problem = f"expected {len(table)} round trips in ms, one a region, found {shown(row)}"
            raise SettingsError(problem, path=f"round_trips_ms.{region}", file=str(path))
    about, measured = str(content.pop("about", "")), str(content.pop("measured", ""))
    if content:
        known = ("about", "measured", "round_trips_ms")
        raise SettingsError(unknown("setting", next(iter(content)), known), file=str(path))
    rows = tuple(tuple(float(cell) for cell in row) for row in table.values())
    return Planet(path.stem, about, measured, tuple(str(region) for region in table), rows)


def _is_row(row: Any, regions: int) -> bool:
    return (
        isinstance(row, list)
        and len(row) == regions
        and all(type(cell) in (int, float) and 0 <= cell < 60_000 for cell in row)
    )

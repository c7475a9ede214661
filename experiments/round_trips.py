"""The round trips that a run measured itself, kept as a planet: the next run can be emulated on it."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import yaml

from analysis.round_trips import Measured, between_peers_s
from peer.core.settings import RunSettings

PLANET = "planet.yml"
UNMEASURED_MS = 0.2  # between two machines of a region in which there was but one


def keep_as_planet(peers: Measured, settings: RunSettings, folder: Path) -> None:
    """Write the planet of this run beside its logs, if every two regions were measured."""
    table, alone = between_regions_ms(peers, settings)
    if table is None:
        return
    about = f"measured by the run in {folder.name} itself, before, during and after it, between {len(peers)} peers"
    if alone:
        about += f"; in {', '.join(alone)} there was only one machine: {UNMEASURED_MS} ms within it is a round number"
    said = {"about": about, "measured": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")}
    rows = [f"  {region}: [{', '.join(f'{cell:.3f}' for cell in row)}]" for region, row in table.items()]
    text = yaml.safe_dump(said, sort_keys=False, width=1000) + "\n".join(["round_trips_ms:", *rows, ""])
    (folder / PLANET).write_text(text, encoding="utf-8")


def between_regions_ms(peers: Measured, settings: RunSettings) -> tuple[dict[str, list[float]] | None, list[str]]:
    """The median round trip of the peers of each two regions, None if one is missing; which regions have one peer."""
    trips_ms = between_peers_s(peers, settings.members) * 1000
    regions, of = list(dict.fromkeys(settings.regions)), np.array(settings.regions)
    np.fill_diagonal(trips_ms, np.nan)
    table: dict[str, list[float]] = {}
    for a in regions:
        parts = [trips_ms[np.ix_(of == a, of == b)].ravel() for b in regions]
        row = [np.nan if np.isnan(part).all() else float(np.nanmedian(part)) for part in parts]
        table[a] = [UNMEASURED_MS if np.isnan(cell) and a == b else cell for b, cell in zip(regions, row)]
    alone = [region for region in regions if (of == region).sum() == 1]
    return (None if any(np.isnan(row).any() for row in table.values()) else table), alone

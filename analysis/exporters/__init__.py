"""The forms in which a run can be handed to other programs and to people; one file each, and these tables of them.

An exporter takes a run and yields the bytes of a file, a part at a time, so that a log larger than memory passes
through. A part ends with a line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from analysis.exporters import csv, text
from analysis.run import Run

Exporter = Callable[[Run], Iterator[bytes]]

EXPORTERS: dict[str, Exporter] = {"csv": csv.deliveries, "text": text.deliveries}
SENDS: dict[str, Exporter] = {"csv": csv.sends}  # what goes to a second file

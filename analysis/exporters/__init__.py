"""The forms in which runs can be handed to other programs and to people; one file each, and these tables of them.

An exporter takes a run and yields the bytes of a file, a part at a time, so that a log larger than memory passes
through. A part of a text ends with a line. A form of frames takes the pieces of one frame and yields the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import pandas as pd

from analysis.exporters import csv, jsonl, parquet, shiviz, text
from analysis.run import Run

Exporter = Callable[[Run], Iterator[bytes]]
FrameForm = Callable[[str, Iterable[pd.DataFrame]], Iterator[bytes]]

EXPORTERS: dict[str, Exporter] = {
    "csv": csv.deliveries,
    "text": text.deliveries,
    "parquet": parquet.deliveries,
    "jsonl": jsonl.deliveries,
    "shiviz": shiviz.events,
}
SENDS: dict[str, Exporter] = {"csv": csv.sends}  # what goes to a second file
FRAME_FORMS: dict[str, FrameForm] = {"csv": csv.frame, "parquet": parquet.frame, "jsonl": jsonl.frame}

"""Frames as Parquet: their types there, and files whose bytes depend on nothing but what is in them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.columns import Column

GROUP_ROWS = 1 << 17  # that are kept together; pieces of any size give the same groups


def schema(columns: Mapping[str, Column]) -> Any:
    """The columns of a frame as Arrow knows them."""
    import pyarrow as pa

    types = {name: _ALIASES.get(kind, kind.lower()) for name, (kind, _) in columns.items()}
    return pa.schema([(name, pa.type_for_alias(alias)) for name, alias in types.items()])


_ALIASES = {"str": "string", "category": "string", "boolean": "bool", "float64": "double", "float32": "float"}


def arrow(table: pd.DataFrame, columns: Mapping[str, Column]) -> Any:
    """A piece of a frame as an Arrow table."""
    import pyarrow as pa

    return pa.Table.from_pandas(table, schema(columns), preserve_index=False).replace_schema_metadata(None)


class Groups:
    """Writes the pieces of a frame to a file that is open; nothing tells of the machine or the time."""

    def __init__(self, sink: Any, columns: Mapping[str, Column]) -> None:
        from pyarrow.parquet import ParquetWriter

        self._columns = columns
        self._writer = ParquetWriter(sink, schema(columns), compression="zstd", store_schema=False)
        self._waiting: list[pd.DataFrame] = []
        self._rows = 0

    def add(self, piece: pd.DataFrame) -> None:
        """More of its rows."""
        self._waiting.append(piece)
        self._rows += len(piece)
        if self._rows >= GROUP_ROWS:
            self._write(self._rows - self._rows % GROUP_ROWS)

    def end(self) -> None:
        """That was all."""
        if self._rows:
            self._write(self._rows)
        self._writer.close()

    def give_up(self) -> None:
        """What was written is of no use; the writer must not try to end it later, when there is no file any more."""
        with suppress(Exception):
            self._writer.close()

    def _write(self, rows: int) -> None:
        together = pd.concat(self._waiting, ignore_index=True) if len(self._waiting) > 1 else self._waiting[0]
        self._writer.write_table(arrow(together.iloc[:rows], self._columns), row_group_size=GROUP_ROWS)
        self._waiting, self._rows = [together.iloc[rows:]], self._rows - rows


class File:
    """A Parquet file that appears when all of it is there."""

    def __init__(self, path: Path, columns: Mapping[str, Column]) -> None:
        self._path, self._beside, self._columns = path, path.with_name(f".{path.name}.part"), columns

    def __enter__(self) -> Groups:
        self._sink = open(self._beside, "wb")
        self._groups = Groups(self._sink, self._columns)
        return self._groups

    def __exit__(self, kind: type | None, *error: object) -> None:
        whole = False
        try:
            if kind is None:
                self._groups.end()
                whole = True
        finally:
            if not whole:
                self._groups.give_up()
            self._sink.close()
            if whole:
                self._beside.replace(self._path)
            else:
                self._beside.unlink(missing_ok=True)

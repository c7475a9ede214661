"""Runs as tidy pandas frames, any number of them at once: what `analysis.load` gives.

    load(paths) -> Frames      run folders, and folders of sweeps
    Frames.runs, .deliveries, .sends, .rounds, .violations, .latencies, .costs
    write(frames, folder)      the same as Parquet files, which `load` finds in the folder of a sweep

A frame is made when it is first asked for and then kept. Frames are as long as the logs are; `stream` gives them in
parts. FRAMES tells of every column its type and what it says.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from itertools import chain, count
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from analysis import parquet
from analysis.columns import FRAMES
from analysis.run import PARTIAL, Run, load_run
from analysis.tidy import (
    IN_PIECES,
    Columns,
    Tidy,
    failed,
    rows_of,
    starts_of_pairs,
    together,
    with_blocked,
    with_latency_figures,
)
from peer.core.errors import LabError, SettingsError

__all__ = ["FRAMES", "Frames", "load", "write"]

PLAN, FAILED, RUNS, KEPT = "plan.json", "failed.json", "runs", "frames"  # what the folder of a sweep holds
TOGETHER = ("runs", "latencies", "costs")  # these rest on latencies, so they are made of a run at once
BATCH_ROWS = 1 << 17  # deliveries of runs whose pieces are made together


class Source(Protocol):
    """Where the frames of some runs come from."""

    names: list[str]  # of its runs, as they are called there

    def path(self, name: str) -> Path:
        """The folder of a run."""

    def one(self, name: str) -> Run:
        """A run."""

    def frames(self, *names: str) -> dict[str, pd.DataFrame]:
        """Some frames of all its runs, and perhaps others that came with them; in `run` stand its own names."""

    def pieces(self, *names: str) -> Iterator[tuple[str, pd.DataFrame]]:
        """The same in pieces that fit into memory, those of one frame in order."""


class Frames:
    """All that is known of some runs, as tables."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = list(sources)
        self._called = _unique([source.names for source in self._sources])
        self._where = {
            called: (source, name)
            for source, calls in zip(self._sources, self._called)
            for name, called in zip(source.names, calls)
        }
        self._kept: dict[str, pd.DataFrame] = {}

    @property
    def names(self) -> list[str]:
        """What the runs are called, in the order in which they were given."""
        return list(self._where)

    def path(self, run: str) -> Path:
        """The folder of a run."""
        source, name = self._source_of(run)
        return source.path(name)

    def one(self, run: str) -> Run:
        """A run with its settings, its verdict and its logs."""
        source, name = self._source_of(run)
        return source.one(name)

    @property
    def warm_up_s(self) -> float:
        """What was asked for before then has no latencies here."""
        return 0.0

    @property
    def all_was_warm_up(self) -> bool:
        """Whether latencies were known, and all of them are left out."""
        return False

    @property
    def runs(self) -> pd.DataFrame:
        """One row a run."""
        return self.frame("runs")

    @property
    def deliveries(self) -> pd.DataFrame:
        """One row a delivery."""
        return self.frame("deliveries")

    @property
    def sends(self) -> pd.DataFrame:
        """One row a message, at its sender."""
        return self.frame("sends")

    @property
    def rounds(self) -> pd.DataFrame:
        """One row a round."""
        return self.frame("rounds")

    @property
    def violations(self) -> pd.DataFrame:
        """One row a property that does not hold in a run."""
        return self.frame("violations")

    @property
    def latencies(self) -> pd.DataFrame:
        """One row a message and a peer that delivered it."""
        return self.frame("latencies")

    @property
    def costs(self) -> pd.DataFrame:
        """One row a peer of a run."""
        return self.frame("costs")

    @cached_property
    def starts_of_pairs(self) -> np.ndarray:
        """Where in `latencies` the rows of another run, receiver or sender begin: those of a pair are together."""
        return starts_of_pairs(self.latencies)

    def frame(self, name: str) -> pd.DataFrame:
        """The frame of that name."""
        _check_name(name)
        if name not in self._kept:
            made = [source.frames(name) for source in self._sources]
            for each in set(made[0]).intersection(*made):
                self._kept[each] = _together(list(map(self._renamed, [of[each] for of in made], self._called)))
        return self._kept[name]

    def stream(self, name: str) -> Iterator[pd.DataFrame]:
        """A frame in parts that fit into memory, however large the whole of it is."""
        _check_name(name)
        for _, piece in self.pieces(name):
            yield piece

    def pieces(self, *names: str) -> Iterator[tuple[str, pd.DataFrame]]:
        """Several frames in pieces, while the logs of each run are read once."""
        for source, called in zip(self._sources, self._called):
            for name, piece in source.pieces(*names):
                yield name, self._renamed(piece, called)

    def after(self, warm_up_s: float) -> Frames:
        """The same, but for the latencies of what was asked for in the first seconds, when a group is not warm yet.

        The figures of latency in `runs`, and of the time blocked in `costs`, leave the same out.
        """
        return _Warm(self, warm_up_s)

    def _source_of(self, run: str) -> tuple[Source, str]:
        if run not in self._where:
            raise SettingsError(f"there is no run {run!r}; there are {', '.join(self.names)}")
        return self._where[run]

    def _renamed(self, table: pd.DataFrame, called: Sequence[str]) -> pd.DataFrame:
        """With the runs called as they are here; a table's categories are all runs of its source, in order."""
        if len(self._sources) == 1:
            return table
        first = self.names.index(called[0]) if called else 0
        codes = table["run"].cat.codes.to_numpy()
        if first:
            codes = codes.astype(np.int32) + first
        return table.assign(run=pd.Categorical.from_codes(codes, categories=self.names))


class _Warm(Frames):
    """Frames without what was asked for in the first seconds."""

    def __init__(self, cold: Frames, warm_up_s: float) -> None:
        super().__init__(cold._sources)
        self._cold, self._warm_up_s = cold, warm_up_s

    @property
    def warm_up_s(self) -> float:
        """What was asked for before then has no latencies here."""
        return self._warm_up_s

    @property
    def all_was_warm_up(self) -> bool:
        """Whether latencies were known, and all of them are left out."""
        return self.latencies.empty and bool(self._cold.latencies["latency_s"].notna().any())

    def frame(self, name: str) -> pd.DataFrame:
        """The frame of that name."""
        if name not in TOGETHER:
            return self._cold.frame(name)
        if name not in self._kept:
            warm = _asked_after(self._cold.latencies, self._warm_up_s)
            self._kept = {
                "latencies": warm,
                "runs": with_latency_figures(self._cold.runs, warm),
                "costs": with_blocked(self._cold.costs, warm),
            }
        return self._kept[name]

    def pieces(self, *names: str) -> Iterator[tuple[str, pd.DataFrame]]:
        """Several frames in pieces, while the logs of each run are read once."""
        for name, piece in self._cold.pieces(*(name for name in names if name not in TOGETHER or name == "latencies")):
            yield name, _asked_after(piece, self._warm_up_s) if name == "latencies" else piece
        for name in names:
            if name in TOGETHER and name != "latencies":
                yield name, self.frame(name)


def _asked_after(latencies: pd.DataFrame, warm_up_s: float) -> pd.DataFrame:
    return latencies[latencies["asked_s"] >= warm_up_s].reset_index(drop=True)


# Sources


class Folders:
    """Run folders, whose logs are read when a frame is asked for.

    `failures`: of runs that have nothing but a reason, that reason and what is known of them.
    """

    def __init__(
        self,
        paths: Mapping[str, Path],
        partial: bool = False,
        failures: Mapping[str, tuple[str, Mapping[str, Any]]] | None = None,
        load: Callable[..., Run] = load_run,
    ) -> None:
        self.names = list(paths)
        self._paths, self._failures = dict(paths), failures or {}
        there = (name for name in self.names if name not in self._failures)
        self._runs = {name: load(paths[name], partial=partial) for name in there}
        self._all = pd.CategoricalDtype(self.names)

    def path(self, name: str) -> Path:
        """The folder of a run."""
        return self._paths[name]

    def one(self, name: str) -> Run:
        """A run."""
        if name in self._failures:
            raise SettingsError(f"there is nothing of the run {name!r}: {self._failures[name][0]}")
        return self._runs[name]

    def frames(self, *names: str) -> dict[str, pd.DataFrame]:
        """Some frames of all its runs; those that rest on the same come together."""
        wanted = tuple(dict.fromkeys(chain(names, TOGETHER if set(names) & set(TOGETHER) else ())))
        return self._tables(range(len(self.names)), wanted)

    def pieces(self, *names: str) -> Iterator[tuple[str, pd.DataFrame]]:
        """The same in pieces."""
        for places, long in self._batches():
            in_pieces = [name for name in names if long is not None and name in IN_PIECES]
            yield from self._tables(places, [name for name in names if name not in in_pieces]).items()
            for name in in_pieces:
                yield from ((name, self._table(name, [(places[0], part)])) for part in IN_PIECES[name](long))

    def _batches(self) -> Iterator[tuple[list[int], Run | None]]:
        """The places of runs in order: a long one alone, with the run, and many short ones together."""
        waiting: list[int] = []
        rows = 0
        for place, name in enumerate(self.names):
            run = self._runs.get(name)
            long = run is not None and run.is_long
            if waiting and (long or rows >= BATCH_ROWS):
                yield waiting, None
                waiting, rows = [], 0
            if long:
                yield [place], run
            else:
                waiting.append(place)
                rows += sum(peer.delivered for peer in run.peers) if run is not None else 0
        if waiting:
            yield waiting, None

    def _tables(self, places: Iterable[int], names: Sequence[str]) -> dict[str, pd.DataFrame]:
        """Frames of some runs."""
        parts: dict[str, list[tuple[int, Columns]]] = {name: [] for name in names}
        for place in places:
            for name, columns in self._whole(self.names[place], names):
                parts[name].append((place, columns))
        return {name: self._table(name, each) for name, each in parts.items()}

    def _whole(self, run: str, names: Sequence[str]) -> Iterator[tuple[str, Columns]]:
        """Frames of one run."""
        if run in self._runs:
            tidy = Tidy(self._runs[run])
            yield from ((name, tidy.frame(name)) for name in names)
        elif "runs" in names:
            yield "runs", failed(*self._failures[run])

    def _table(self, name: str, parts: Sequence[tuple[int, Columns]]) -> pd.DataFrame:
        """Parts of a frame, each of the run in that place."""
        places, rows = [place for place, _ in parts], [rows_of(columns) for _, columns in parts]
        codes = np.repeat(np.array(places, np.int8 if len(self.names) < 128 else np.int32), rows)
        run = pd.Categorical.from_codes(codes, dtype=self._all)
        return pd.DataFrame({"run": run, **together(name, [columns for _, columns in parts])}, copy=False)


class Kept:
    """The folder of a sweep, whose frames were kept as Parquet."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.folder, self.names = folder, list(names)

    def path(self, name: str) -> Path:
        """The folder of a run."""
        return self.folder / RUNS / name

    def one(self, name: str) -> Run:
        """A run."""
        return _of_sweep(self.path(name), partial=True)

    def frames(self, *names: str) -> dict[str, pd.DataFrame]:
        """Some frames of all its runs."""
        return {name: _together(list(self._groups(name))) for name in names}

    def pieces(self, *names: str) -> Iterator[tuple[str, pd.DataFrame]]:
        """The same in pieces."""
        for name in names:
            yield from ((name, group) for group in self._groups(name))

    def _groups(self, name: str) -> Iterator[pd.DataFrame]:
        import pyarrow as pa
        from pyarrow.parquet import ParquetFile

        path = self.folder / KEPT / f"{name}.parquet"
        try:
            file = ParquetFile(path, read_dictionary=["run"])
            if file.schema_arrow.names != list(FRAMES[name]):
                raise SettingsError(f"is of another version; {_AGAIN}", file=str(path))
            if not file.num_row_groups:
                yield self._typed(name, file.schema_arrow.empty_table())
            for group in range(file.num_row_groups):
                yield self._typed(name, file.read_row_group(group))
        except FileNotFoundError:
            raise SettingsError(f"is missing; {_AGAIN}", file=str(path)) from None
        except (pa.ArrowException, OSError) as error:
            raise SettingsError(f"is damaged: {str(error).splitlines()[0]}; {_AGAIN}", file=str(path)) from None

    def _typed(self, name: str, table: Any) -> pd.DataFrame:
        types = {column: kind for column, (kind, _) in FRAMES[name].items() if column != "run"}
        run = pd.Categorical(table["run"].to_pandas(), categories=self.names)
        rest = table.drop_columns("run").to_pandas(types_mapper=_nullable().get).astype(types)
        return pd.DataFrame({"run": run, **dict(rest.items())}, copy=False)


_AGAIN = "`python -m experiments sweep` with the same plan writes it again"


def _nullable() -> dict[Any, Any]:
    """How Parquet's types that may hold nothing come back whole."""
    import pyarrow as pa

    return {pa.int16(): pd.Int16Dtype(), pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}


# Loading


def load(*paths: Path | str, partial: bool = False) -> Frames:
    """The runs in these folders, each a run's or a sweep's; SettingsError in one sentence where something is wrong.

    `partial`: take runs and sweeps that did not come to their end, too, as far as they are there.
    """
    if not paths:
        raise SettingsError("expected folders of runs or of a sweep, found none")
    folders = checked(paths)
    sources: list[Source] = []
    alone: dict[str, Path] = {}

    def take_alone() -> None:
        if alone:
            sources.append(Folders(dict(alone), partial))
            alone.clear()

    for folder in folders:
        if (folder / PLAN).is_file():
            take_alone()
            sources.append(_sweep(folder, partial))
        else:
            name = folder.resolve().name
            alone[next(each for each in _suffixed(name) if each not in alone)] = folder
    take_alone()
    return Frames(sources)


def checked(paths: Iterable[Path | str]) -> list[Path]:
    """The folders, each of which is a run's or a sweep's, once; what is in them is not looked at."""
    seen: dict[Path, Path] = {}
    for folder in map(Path, paths):
        if (before := seen.setdefault(folder.resolve(), folder)) is not folder:
            same = "" if before == folder else f", once as {before}"
            raise SettingsError(f"is given twice{same}", file=str(folder))
        if not any((folder / name).is_file() for name in (PLAN, "scenario.json")):
            _refuse(folder)
    return list(seen.values())


def _refuse(folder: Path) -> None:
    if not folder.is_dir():
        raise SettingsError("there is no such folder", file=str(folder))
    below = sorted(path.parent for path in folder.glob("*/scenario.json"))
    hint = f"; {len(below)} runs are in it: say {folder}/*" if below else ""
    problem = f"this is neither the folder of a run nor that of a sweep: it holds no scenario.json and no {PLAN}{hint}"
    raise SettingsError(problem, file=str(folder))


def _sweep(folder: Path, partial: bool) -> Source:
    """The runs of a sweep in the order of its plan, from its frames where they were kept."""
    points = _planned(folder)
    names = list(points)
    failures = _object(folder / FAILED) if (folder / FAILED).exists() else {}
    there = {name for name in names if _is_there(folder / RUNS / name, partial)}
    lacking = [name for name in names if name not in there and name not in failures]
    if lacking and not partial:
        here = len(names) - len(lacking)
        how = "the same sweep command plays the rest, --partial takes these"
        problem = f"{here} of its {len(names)} runs are here; {how}"
        raise SettingsError(problem, file=str(folder))
    if (folder / KEPT).is_dir() and not lacking:
        return Kept(folder, names)
    paths = {name: folder / RUNS / name for name in names if name in there or name in failures}
    if not paths:
        raise SettingsError("none of its runs are here yet", file=str(folder))
    reasons = {name: (str(failures[name]), points[name]) for name in paths if name not in there}
    return Folders(paths, partial, reasons, _of_sweep)


def _of_sweep(folder: Path, *, partial: bool) -> Run:
    """A run that can be played again if something is wrong with its folder."""
    try:
        return load_run(folder, partial=partial)
    except LabError as error:
        again = f"remove {folder}, and the same sweep command plays that run again"
        raise SettingsError(f"{error}; {again}") from None


def _planned(folder: Path) -> dict[str, Mapping[str, Any]]:
    """The runs of a sweep in order, by name, and what the plan says of each."""
    plan = _object(folder / PLAN)
    try:
        return {str(row["run"]): {"commit": str(plan.get("commit") or ""), **row} for row in plan["points"]}
    except (KeyError, TypeError):
        raise SettingsError("is damaged: it does not tell its runs", file=str(folder / PLAN)) from None


def _object(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except ValueError as error:
        raise SettingsError(f"is damaged: {error}", file=str(path)) from None
    if not isinstance(document, dict):
        raise SettingsError("is damaged: it holds no object", file=str(path))
    return document


def _is_there(folder: Path, partial: bool) -> bool:
    return (folder / "scenario.json").is_file() and (partial or not (folder / PARTIAL).exists())


# Writing


def write(frames: Frames, folder: Path | str) -> None:
    """All frames as Parquet files in a folder; the same runs give the same bytes."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        files = {name: stack.enter_context(parquet.File(folder / f"{name}.parquet", FRAMES[name])) for name in FRAMES}
        for name, piece in frames.pieces(*FRAMES):
            files[name].add(piece)


# Names and tables


def _unique(names: Sequence[Sequence[str]]) -> list[list[str]]:
    """What the runs of each source are called among all: a name that is taken gets the next free suffix."""
    taken: set[str] = set()
    called = []
    for of_source in names:
        called.append([])
        for name in of_source:
            free = next(each for each in _suffixed(name) if each not in taken)
            taken.add(free)
            called[-1].append(free)
    return called


def _suffixed(name: str) -> Iterator[str]:
    """name, name.2, name.3, ..."""
    return (name if number == 1 else f"{name}.{number}" for number in count(1))


def _together(tables: list[pd.DataFrame]) -> pd.DataFrame:
    return tables[0] if len(tables) == 1 else pd.concat(tables, ignore_index=True)


def _check_name(name: str) -> None:
    if name not in FRAMES:
        raise SettingsError(f"there is no frame {name!r}; there are {', '.join(FRAMES)}")

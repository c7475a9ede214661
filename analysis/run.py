"""A run folder as data: what is known of the run, and what each peer delivered and multicast, as pandas tables.

    load_run -> Run         its settings, verdict and measures; every log was looked through once
    Run.deliveries          peer, position, sender, number, time_s, stamp
    Run.sends               peer, number, time_s, due_s, after

Peers and senders are numbers, positions count a peer's deliveries from 0, times are seconds on the peer's own clock
since it was released, `due_s` says when it was to multicast, and `after` how many deliveries it had made when it did.
A group may have delivered more than fits into memory: `deliveries_of` reads the log of one peer at a time,
`deliveries_in_parts` a part of that.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from comparison_server.evidence import Evidence, PeerLog
from comparison_server.run_folder import DELIVERY, MOST_MESSAGES, Survey, load_traces, survey
from peer.core.errors import LabError, SettingsError
from peer.core.settings import RunSettings, from_json
from peer.core.trace import DELIVERED, RELEASED, read_header

SHORT = 1 << 17  # messages of a log that is kept when it was read once
PART_ROWS = 1 << 20  # of a log that comes in parts
DELIVERY_COLUMNS = {
    "peer": np.int32, "position": np.int64, "sender": np.int32, "number": np.int64, "time_s": float, "stamp": np.int64,
}  # fmt: skip
PARTIAL = "partial"  # a file of this name marks a folder whose run did not come to its end
VERDICT = (  # what verdict.json holds at least
    "ordering", "world", "peers", "messages_per_peer", "rounds", "out_of_order_rounds", "short_rounds",
    "disordered_rounds", "up", "complete", "inversions", "first_divergence", "on_time", "properties",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Peer:
    """One member of the group, and how much of its log is here."""

    number: int
    name: str
    region: str
    delivered: int  # messages
    multicast: int  # messages that it recorded to have multicast
    start: int  # the place in the group's order at which its log begins
    zero_s: float | None  # when it was released, on its own clock; None: never
    sealed: bool  # whether its log was closed in order


@dataclass(frozen=True, slots=True)
class Run:
    """One run, as its folder tells it."""

    folder: Path
    scenario: Mapping[str, Any]  # scenario.json
    settings: RunSettings
    verdict: Mapping[str, Any]  # verdict.json; empty where a run was cut before it was judged
    measures: Mapping[str, Any]  # measures.json, likewise
    peers: tuple[Peer, ...]
    partial: bool
    short_logs: Mapping[int, PeerLog] = field(default_factory=dict)  # by peer; of longer ones each is read when needed

    @property
    def title(self) -> str:
        """What a person calls it: its ordering, and the variant where one was chosen."""
        ordering = self.settings.stack.ordering
        return ":".join(filter(None, (ordering.name, ordering.options.get("variant"))))

    @property
    def shared_clock(self) -> bool:
        """Whether the times of two peers may be compared."""
        return self.scenario.get("clock") == "shared"

    @property
    def is_long(self) -> bool:
        """Whether its logs are looked at one by one rather than together."""
        return len(self.short_logs) < len(self.peers)

    def log_of(self, peer: Peer) -> PeerLog:
        """What one peer delivered and multicast, as the judge reads it, with times."""
        known = self.short_logs.get(peer.number)
        return _log(self.folder, peer.number) if known is None else known

    def evidence(self) -> Evidence:
        """All logs, as the judge reads them."""
        names = [str(peer.number) for peer in self.peers]
        return Evidence([self.log_of(peer) for peer in self.peers], names)

    @property
    def deliveries(self) -> pd.DataFrame:
        """What everybody delivered, peer after peer."""
        return pd.concat([self.deliveries_of(peer) for peer in self.peers], ignore_index=True)

    @property
    def sends(self) -> pd.DataFrame:
        """What everybody multicast, peer after peer."""
        return pd.concat([self.sends_of(peer) for peer in self.peers], ignore_index=True)

    def deliveries_of(self, peer: Peer) -> pd.DataFrame:
        """What one peer delivered, in order."""
        (whole,) = self.deliveries_in_parts(peer, MOST_MESSAGES)
        return whole

    def deliveries_in_parts(self, peer: Peer, most: int | None = None) -> Iterator[pd.DataFrame]:
        """The same, of about so many deliveries at a time; at least one part, which may be empty."""
        for columns in self.delivery_columns(peer, most):
            typed = {name: np.array(columns[name], kind) for name, kind in DELIVERY_COLUMNS.items()}
            yield pd.DataFrame(typed, copy=False)

    def delivery_columns(self, peer: Peer, most: int | None = None) -> Iterator[dict[str, np.ndarray]]:
        """The same as arrays of whatever types the records have, to be read before the next part comes."""
        position = 0
        for runs, times_s in _delivery_runs(_trace(self.folder, peer.number), peer.zero_s, most or PART_ROWS):
            counts, numbers, senders, stamps = (runs[name] for name in ("count", "first", "sender", "stamp"))
            rows = len(runs)
            if not (counts == 1).all():
                rows = int(counts.sum(dtype=np.int64))
                numbers = np.repeat(numbers - (np.cumsum(counts, dtype=np.int64) - counts), counts) + np.arange(rows)
                senders, stamps, times_s = (np.repeat(column, counts) for column in (senders, stamps, times_s))
            yield {
                "peer": np.full(rows, peer.number, np.int16),
                "position": np.arange(position, position + rows),
                "sender": senders,
                "number": numbers,
                "time_s": times_s,
                "stamp": stamps,
            }
            position += rows

    def sends_of(self, peer: Peer) -> pd.DataFrame:
        """What one peer multicast, in order."""
        return pd.DataFrame(self.send_columns(peer))

    def send_columns(self, peer: Peer) -> dict[str, np.ndarray]:
        """The same as arrays."""
        sends = self.log_of(peer).sends
        nothing = ([], [], [], [])
        numbers, times_s, due_s, after = (
            nothing if sends is None else (sends.numbers, sends.times_s, sends.due_s, sends.after)
        )
        return {
            "peer": np.full(len(numbers), peer.number, np.int32),
            "number": np.asarray(numbers, np.int64),
            "time_s": np.asarray(times_s, float),
            "due_s": np.asarray(due_s, float),
            "after": np.asarray(after, np.int64),
        }


def load_run(folder: Path | str, *, partial: bool = False) -> Run:
    """The run in a folder; SettingsError in one sentence if there is none, or if something of it is missing or damaged.

    A run that did not come to its end is refused too, unless `partial` asks for what there is of it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise SettingsError("there is no such folder", file=str(folder))
    if not (folder / "scenario.json").is_file():
        raise SettingsError("this is not the folder of a run: it holds no scenario.json", file=str(folder))
    is_partial = (folder / PARTIAL).exists()
    scenario = _document(folder / "scenario.json", "settings")
    settings = _settings(folder / "scenario.json", scenario["settings"])
    verdict, measures = (
        {} if is_partial and not path.exists() else _document(path, *holds)
        for path, holds in ((folder / "verdict.json", VERDICT), (folder / "measures.json", ()))
    )
    if is_partial and not partial:
        _, _, reason = (folder / PARTIAL).read_text(encoding="utf-8").partition(": ")
        why = (verdict.get("error") or {}).get("sentence") or reason.strip() or "the run did not come to its end"
        problem = f"only a part of the run is here: {why}; --partial takes what there is of it"
        raise SettingsError(problem, file=str(folder))
    surveys = [_survey(folder, number) for number in range(len(settings.members))]
    peers = tuple(_peer(settings, number, found) for number, found in enumerate(surveys))
    if not is_partial:
        _check_whole(folder, peers, scenario)
    short = [peer.number for peer in peers if peer.delivered + peer.multicast <= SHORT]
    logs = {number: _log(folder, number) for number in short}
    return Run(folder, scenario, settings, verdict, measures, peers, is_partial, logs)


# Documents


def _document(path: Path, *holds: str) -> dict[str, Any]:
    """The object in a file, which holds at least these."""
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise SettingsError("is missing, though the run came to its end", file=str(path)) from None
    except ValueError as error:
        raise SettingsError(f"is damaged: {error}", file=str(path)) from None
    if not isinstance(document, dict):
        raise SettingsError("is damaged: it holds no object", file=str(path))
    if lacking := [name for name in holds if name not in document]:
        raise SettingsError(f"is damaged: it holds no {lacking[0]!r}", file=str(path))
    return document


def _settings(path: Path, written: Any) -> RunSettings:
    try:
        return from_json(RunSettings, written)
    except (LabError, TypeError) as error:
        raise SettingsError(f"tells settings that this version does not know: {error}", file=str(path)) from None


# Logs


def _peer(settings: RunSettings, number: int, found: Survey) -> Peer:
    return Peer(
        number=number,
        name=settings.members[number],
        region=settings.regions[number] if number < len(settings.regions) else "",
        delivered=found.deliveries,
        multicast=found.multicasts,
        start=found.start,
        zero_s=found.zero_s,
        sealed=found.sealed,
    )


def _survey(folder: Path, number: int) -> Survey:
    """What one peer's log comes to, checked; nothing where there is none."""
    found = survey(_trace(folder, number))
    if found.sender != number:
        raise SettingsError(f"is the log of peer {found.sender}", file=str(_trace(folder, number)))
    return found


def _check_whole(folder: Path, peers: tuple[Peer, ...], scenario: Mapping[str, Any]) -> None:
    """Every log of a run that came to its end is there, whole, and of that run; but a crashed peer's may be cut."""
    not_up = scenario.get("not_up") or {}
    runs = set()
    for peer in peers:
        for path in (_trace(folder, peer.number), folder / f"sends-{peer.number}.bin"):
            if not path.exists():
                raise SettingsError("is missing, though the run came to its end", file=str(path))
            runs.add(read_header(path)[0].get("run"))
            if len(runs) > 1:
                raise SettingsError("is a log of another run", file=str(path))
        if not peer.sealed and str(peer.number) not in not_up:
            problem = "its log is cut, though the run came to its end"
            raise SettingsError(problem, file=str(folder), path=f"peer {peer.number}")


def _log(folder: Path, number: int) -> PeerLog:
    """One peer's log; an empty one where there is none. Who was never released has no times."""
    (log,) = load_traces([_trace(folder, number)], times=True).logs
    if log.zero_s is None:
        log.times_s[:] = np.nan
    return log


def _delivery_runs(trace: Path, zero_s: float | None, most: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The records of deliveries, of about so many messages at a time, and their times since Release.

    What came before the release has times of a clock without zero; whoever never was released has no times at all.
    """
    header, offset = read_header(trace) if trace.exists() else ({}, 0)
    count = (trace.stat().st_size - offset) // DELIVERY.itemsize if header else 0
    records = np.memmap(trace, DELIVERY, "r", offset, (count,)) if count else np.empty(0, DELIVERY)
    shift_s = np.nan if zero_s is None else -zero_s
    for low in range(0, max(1, count), most):
        part = np.asarray(records[low : low + most])
        delivered, times_s = part["kind"] == DELIVERED, part["time_s"]
        if shift_s:
            released = np.flatnonzero(part["kind"] == RELEASED)
            until = released[0] if len(released) else len(part)
            times_s = np.concatenate([times_s[:until] + shift_s, times_s[until:]])
            shift_s = 0.0 if len(released) else shift_s
        if not delivered.all():
            part, times_s = part[delivered], times_s[delivered]
        messages = np.cumsum(part["count"], dtype=np.int64)
        cuts = [0, *(np.flatnonzero(np.diff(messages // most)) + 1), len(part)]
        yield from ((part[begin:end], times_s[begin:end]) for begin, end in pairwise(cuts))


def _trace(folder: Path, number: int) -> Path:
    return folder / f"trace-{number}.bin"

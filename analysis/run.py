"""A run folder as data: what is known of the run, and what each peer delivered and multicast, as pandas tables.

    load_run -> Run         its settings, verdict and measures; every log was looked through once
    Run.deliveries          peer, position, sender, number, time_s, stamp
    Run.sends               peer, number, time_s, after

Peers and senders are numbers, positions count a peer's deliveries from 0, times are seconds on the peer's own clock
since it was released, `after` is how many deliveries it had made by then. A group may have delivered more than fits
into memory: `deliveries_of` reads the log of one peer at a time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from comparison_server.evidence import NUMBER_BITS, NUMBERS, PeerLog
from comparison_server.run_folder import DELIVERY, load_traces
from peer.core.errors import LabError, SettingsError
from peer.core.settings import RunSettings, from_json
from peer.core.trace import DELIVERED, RELEASED, read_header

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
    def deliveries(self) -> pd.DataFrame:
        """What everybody delivered, peer after peer."""
        return pd.concat([self.deliveries_of(peer) for peer in self.peers], ignore_index=True)

    @property
    def sends(self) -> pd.DataFrame:
        """What everybody multicast, peer after peer."""
        return pd.concat([self.sends_of(peer) for peer in self.peers], ignore_index=True)

    def deliveries_of(self, peer: Peer) -> pd.DataFrame:
        """What one peer delivered, in order."""
        ids = _log(self.folder, peer.number).ids
        runs = _delivery_runs(_trace(self.folder, peer.number))
        counts = runs["count"]
        return pd.DataFrame(
            {
                "peer": np.full(len(ids), peer.number, np.int32),
                "position": np.arange(len(ids)),
                "sender": (ids >> np.uint64(NUMBER_BITS)).astype(np.int32),
                "number": (ids & np.uint64(NUMBERS - 1)).astype(np.int64),
                "time_s": np.repeat(runs["time_s"], counts),
                "stamp": np.repeat(runs["stamp"], counts).astype(np.int64),
            }
        )

    def sends_of(self, peer: Peer) -> pd.DataFrame:
        """What one peer multicast, in order."""
        sends = _log(self.folder, peer.number).sends
        numbers, times_s, after = ([], [], []) if sends is None else (sends.numbers, sends.times_s, sends.after)
        return pd.DataFrame(
            {
                "peer": np.full(len(numbers), peer.number, np.int32),
                "number": np.asarray(numbers, np.int64),
                "time_s": np.asarray(times_s, float),
                "after": np.asarray(after, np.int64),
            }
        )


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
        why = (verdict.get("error") or {}).get("sentence", "the run did not come to its end")
        raise SettingsError(f"only a part of the run is here: {why}", file=str(folder))
    peers = tuple(_peer(folder, settings, number) for number in range(len(settings.members)))
    if not is_partial:
        _check_whole(folder, peers, scenario)
    return Run(folder, scenario, settings, verdict, measures, peers, is_partial)


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


def _peer(folder: Path, settings: RunSettings, number: int) -> Peer:
    log = _log(folder, number)
    return Peer(
        number=number,
        name=settings.members[number],
        region=settings.regions[number] if number < len(settings.regions) else "",
        delivered=len(log.ids),
        multicast=0 if log.sends is None else len(log.sends.numbers),
        start=log.start,
        zero_s=log.zero_s,
        sealed=bool(log.sealed),
    )


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
    """One peer's log, checked; an empty one where there is none."""
    (log,) = load_traces([_trace(folder, number)], times=True).logs
    if log.sender != number:
        raise SettingsError(f"is the log of peer {log.sender}", file=str(_trace(folder, number)))
    return log


def _delivery_runs(trace: Path) -> np.ndarray:
    """The records of deliveries with their times since Release, which came after some of them perhaps."""
    if not trace.exists():
        return np.empty(0, DELIVERY)
    records = np.fromfile(trace, DELIVERY, offset=read_header(trace)[1])
    zeros = records["time_s"][records["kind"] == RELEASED]
    # Until a peer was released its clock had no zero yet; whoever never was has no times at all.
    first = zeros[0] if len(zeros) else np.nan
    released = np.cumsum(records["kind"] == RELEASED)
    records["time_s"] += (np.append(0.0, zeros) - first)[released]
    return records[records["kind"] == DELIVERED]


def _trace(folder: Path, number: int) -> Path:
    return folder / f"trace-{number}.bin"

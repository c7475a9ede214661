"""Evidence from the binary files that a run leaves behind."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from comparison_server.evidence import NUMBERS, Evidence, EvidenceError, PeerLog, Sends, message_ids
from peer.core.trace import DELIVERED, DELIVERY_RECORD, MAGIC, RELEASED, SEAL, SEND_RECORD, VIEW, read_header

# The fields of DELIVERY_RECORD and SEND_RECORD, for reading many at once.
DELIVERY = np.dtype(
    [("kind", "<u4"), ("sender", "<u4"), ("first", "<u4"), ("count", "<u4"), ("stamp", "<u8"), ("time_s", "<f8")]
)
SEND = np.dtype(
    [("kind", "<u4"), ("first", "<u4"), ("count", "<u4"), ("late_us", "<u4"), ("after", "<u8"), ("time_s", "<f8")]
)
assert DELIVERY.itemsize == DELIVERY_RECORD.size and SEND.itemsize == SEND_RECORD.size

# More in one file is taken for damage, not for a log: its ids alone would take 4 GB.
MOST_MESSAGES = 1 << 29
MOST_PEERS = 1 << 16
PARTIAL = "partial"  # a file of this name says that the run was not, or not yet, brought to its end
# Records looked at together: two megabytes, so that what is made of them on the way stays in the cache.
CHUNK = 1 << 16


def load_run(folder: Path | str, *, not_up: Mapping[str, str] | None = None, times: bool = False) -> Evidence:
    """The logs of a run folder.

    `not_up` says of peers, by label, why they are not up where their logs cannot: "crashed" of one that came back and
    closed its log in order. scenario.json may say so too, under the same name, and its settings who was a member.
    """
    folder = Path(folder)
    scenario = _scenario(folder)
    traces = sorted({*folder.glob("trace-*.bin"), *(_trace_of(sends) for sends in folder.glob("sends-*.bin"))})
    if not traces:
        raise EvidenceError(f"{folder} holds no trace-<peer>.bin")
    members = _part(scenario, "settings").get("members")
    evidence = load_traces(traces, peers=None if members is None else len(members), times=times)
    for label, why in {**_part(scenario, "not_up"), **(not_up or {})}.items():
        for log in evidence.logs:
            if log.label == str(label):
                log.up, log.why = False, why
    return evidence


def load_traces(traces: Sequence[Path | str], *, peers: int | None = None, times: bool = False) -> Evidence:
    """Some trace files, each with the send records beside it; of `peers` whose files are missing nothing is known."""
    logs = [_load_log(Path(trace), times) for trace in traces]
    have = {log.sender for log in logs}
    for number in range(peers or 0):
        if number not in have:
            logs.append(PeerLog(str(number), np.empty(0, np.uint64), number, sealed=False, why="no log"))
    logs.sort(key=lambda log: log.sender or 0)
    _mark_left_out(logs)
    names = [str(number) for number in range(max((log.sender or 0 for log in logs), default=-1) + 1)]
    for log in logs:
        names[log.sender or 0] = log.label
    return Evidence(logs, names, closed=peers is not None)


@dataclass(frozen=True, slots=True)
class Survey:
    """What is to be known of a log without holding it: how much it says, and how it begins and ends."""

    sender: int
    deliveries: int
    multicasts: int
    start: int
    zero_s: float | None
    sealed: bool


def survey(trace: Path) -> Survey:
    """Looks through one log and the send records beside it, and refuses what `load_traces` would."""
    header, sender, records, sealed = _open_log(trace)
    deliveries = _check(trace, records, {DELIVERED, VIEW, RELEASED, SEAL})
    zero_s = None
    for _, part in _parts(records):
        if zero_s is None and len(zeros := part["time_s"][part["kind"] == RELEASED]):
            zero_s = float(zeros[0])
    path, multicasts, sends_sealed = _sends_of(trace), 0, True
    if path.exists():
        _, sends, sends_sealed = _read(path, SEND, "after")
        multicasts = _check(path, sends, {DELIVERED, SEAL})
        _check_after(path, sends)
    return Survey(sender, deliveries, multicasts, int(header.get("start", 0)), zero_s, bool(sealed and sends_sealed))


def facts_of(folder: Path | str) -> dict[str, object]:
    """What the scenario of a run folder tells of the run, as far as a verdict repeats it."""
    scenario = _scenario(Path(folder))
    workload = _part(_part(scenario, "settings"), "workload")
    return {
        "ordering": scenario.get("ordering"),
        "world": scenario.get("world"),
        **({"messages_per_peer": workload["messages"]} if "messages" in workload else {}),
    }


def missing(folder: Path | str) -> list[str]:
    """The logs that a folder lacks, of members that its scenario does not say were down."""
    folder = Path(folder)
    scenario = _scenario(folder)
    members = range(len(_part(scenario, "settings").get("members") or ()))
    up = [number for number in members if str(number) not in _part(scenario, "not_up")]
    names = [f"{kind}-{number}.bin" for number in up for kind in ("trace", "sends")]
    return [name for name in names if not (folder / name).exists()]


def is_sealed(log: Path) -> bool:
    """Whether a log, of deliveries or of sends, is whole as far as its two ends tell; ValueError if it is none."""
    _, offset = read_header(log)
    records, rest = divmod(log.stat().st_size - offset, DELIVERY_RECORD.size)
    if records < 1 or rest:
        return False
    with open(log, "rb") as file:
        file.seek(-DELIVERY_RECORD.size, os.SEEK_END)
        kind, *_, before, _ = DELIVERY_RECORD.unpack(file.read())  # in either kind of log these are in one place
    return kind == SEAL and before == records - 1


def is_trace(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def _scenario(folder: Path) -> dict:
    try:
        scenario = json.loads((folder / "scenario.json").read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise EvidenceError(f"{folder / 'scenario.json'} is not JSON: {error}") from None
    return scenario if isinstance(scenario, dict) else {}


def _part(document: dict, name: str) -> dict:
    part = document.get(name)
    return part if isinstance(part, dict) else {}


def _trace_of(sends: Path) -> Path:
    return sends.with_name("trace-" + sends.name.removeprefix("sends-"))


def _sends_of(trace: Path) -> Path:
    return trace.with_name("sends-" + trace.name.removeprefix("trace-"))


def _load_log(trace: Path, times: bool) -> PeerLog:
    label = trace.stem.removeprefix("trace-")
    header, sender, records, sealed = _open_log(trace)
    sends, sends_sealed = _load_sends(_sends_of(trace), times)
    messages = _check(trace, records, {DELIVERED, VIEW, RELEASED, SEAL})
    ids, times_s = np.empty(messages, np.uint64), np.empty(messages) if times else None
    views: list[tuple[int, int]] = []
    zero_s, released = None, 0
    for part, counts, where in _runs(records):
        ids[where] = _expanded(message_ids(part["sender"], part["first"]), counts)
        if times_s is not None:
            times_s[where] = np.repeat(part["time_s"], counts)
        for kind, first, time_s, before in _moments(part, counts):
            if kind == VIEW:
                views.append((where.start + before, first))
            elif kind == RELEASED and zero_s is None:
                zero_s, released = time_s, where.start + before
    if times_s is not None and zero_s is not None:
        times_s[:released] -= zero_s  # delivered before it was itself released
    return PeerLog(
        label,
        ids,
        sender,
        sends,
        sealed=sealed and sends_sealed,
        start=int(header.get("start", 0)),
        views=views,
        times_s=times_s,
        zero_s=zero_s,
    )


def _open_log(trace: Path) -> tuple[dict, int, np.ndarray, bool]:
    """The header of a log, whose it is, its records, and whether it was closed in order."""
    header, records, sealed = _read(trace, DELIVERY, "stamp") if trace.exists() else ({}, np.empty(0, DELIVERY), False)
    sender = header.get("peer", trace.stem.removeprefix("trace-"))
    if not str(sender).isdecimal() or int(sender) >= MOST_PEERS:
        raise EvidenceError(f"{trace} does not tell the number of its peer")
    return header, int(sender), records, sealed


def _load_sends(path: Path, times: bool) -> tuple[Sends | None, bool]:
    if not path.exists():
        return None, True  # nothing was recorded, which does not cut the log
    _, records, sealed = _read(path, SEND, "after")
    messages = _check(path, records, {DELIVERED, SEAL})
    _check_after(path, records)
    numbers, after = np.empty(messages, np.uint64), np.empty(messages, np.int64)
    times_s, due_s = (np.empty(messages), np.empty(messages)) if times else (None, None)
    for part, counts, where in _runs(records):
        numbers[where] = _expanded(part["first"].astype(np.uint64), counts)
        after[where] = np.repeat(part["after"].astype(np.int64), counts)
        if times_s is not None and due_s is not None:
            times_s[where] = np.repeat(part["time_s"], counts)
            due_s[where] = np.repeat(part["time_s"] - part["late_us"] / 1e6, counts)
    return Sends(numbers, after, times_s, due_s), sealed


def _read(path: Path, record: np.dtype, sealed_count: str) -> tuple[dict, np.ndarray, bool]:
    """The header of a file, its whole records, and whether it was closed in order."""
    try:
        header, offset = read_header(path)
    except ValueError as error:
        raise EvidenceError(str(error) if str(path) in str(error) else f"{path} has a damaged header") from None
    count = (path.stat().st_size - offset) // record.itemsize
    records = np.memmap(path, record, "r", offset, (count,)) if count else np.empty(0, record)
    sealed = bool(count) and records["kind"][-1] == SEAL
    if sealed and records[sealed_count][-1] != count - 1:
        raise EvidenceError(
            f"{path} was closed after {records[sealed_count][-1]} records, but {count - 1} come before its seal"
        )
    return header if isinstance(header, dict) else {}, records, sealed


def _check(path: Path, records: np.ndarray, kinds: set[int]) -> int:
    """Refuses what no peer writes, before anything is made of it; of how many messages the records speak."""
    messages = 0
    for low, part in _parts(records):
        strange = np.flatnonzero(~np.isin(part["kind"], sorted(kinds)))
        if len(strange):
            at = strange[0]
            raise EvidenceError(f"{path}, record {low + at}: there is no record of kind {part['kind'][at]}")
        counts = _counts(part)
        beyond = np.flatnonzero(part["first"] + counts > NUMBERS)
        if len(beyond):
            at = beyond[0]
            raise EvidenceError(
                f"{path}, record {low + at}: a run of {counts[at]} messages goes beyond the last number"
            )
        messages += int(counts.sum())
    if messages > MOST_MESSAGES:
        raise EvidenceError(f"{path} speaks of {messages} messages, more than a log can hold")
    return messages


def _check_after(path: Path, records: np.ndarray) -> None:
    """Refuses send records whose counts of deliveries made before go back."""
    latest = 0
    for low, part in _parts(records):
        runs = np.flatnonzero(part["kind"] == DELIVERED)
        after = part["after"][runs].astype(np.int64)
        if len(back := np.flatnonzero(np.diff(after, prepend=latest) < 0)):
            record, made = low + runs[back[0]], after[back[0]]
            raise EvidenceError(f"{path}, record {record}: {made} deliveries made before are fewer than before")
        latest = int(after[-1]) if len(after) else latest


def _parts(records: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """The records in chunks, each with the number of its first."""
    for low in range(0, len(records), CHUNK):
        yield low, records[low : low + CHUNK]


def _runs(records: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, slice]]:
    """The records in chunks, each with how many messages its records hold and where these stand among all."""
    end = 0
    for _, part in _parts(records):
        counts = _counts(part)
        begin, end = end, end + int(counts.sum())
        yield part, counts, slice(begin, end)


def _counts(records: np.ndarray) -> np.ndarray:
    """How many messages each record holds; one of another kind holds none."""
    return np.where(records["kind"] == DELIVERED, records["count"], 0).astype(np.int64)


def _expanded(firsts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Of each run first, first + 1, ...; the id after an id is that of its sender's next message."""
    begins = (np.cumsum(counts) - counts).astype(np.uint64)
    return np.repeat(firsts - begins, counts) + np.arange(int(counts.sum()), dtype=np.uint64)


def _moments(records: np.ndarray, counts: np.ndarray) -> Iterator[tuple[int, int, float, int]]:
    """What is no delivery: kind, first, time, and how many messages the records before hold."""
    at = np.flatnonzero(records["kind"] != DELIVERED)
    before = np.cumsum(counts)[at] if len(at) else at
    return zip(*(records[name][at].tolist() for name in ("kind", "first", "time_s")), before.tolist())


def _mark_left_out(logs: Sequence[PeerLog]) -> None:
    """Who did not come as far as the last view was left out of it."""
    last = max((log.views[-1][1] for log in logs if log.views), default=None)
    for log in logs:
        if last is not None and log.up and (not log.views or log.views[-1][1] < last):
            log.up, log.why = False, f"left out of view {last}"

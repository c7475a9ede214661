"""Evidence from text: the CSV export of a run, and rows `sender,number` that any program can write.

A plain file is the log of one process: a row `sender,number` for each delivery, in order, the sender any text and the
number an integer; a row `send,number` where the process multicast a message of its own. A line of titles may come
first, if it can be nothing else. An export holds all peers: rows `peer,position,sender,number,time_s`, and in a second
file, where send records were asked for, rows `peer,number,time_s,after`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from comparison_server.evidence import NUMBERS, Evidence, EvidenceError, PeerLog, Sends, message_ids

DELIVERIES = ["peer", "position", "sender", "number", "time_s"]
SENDS = ["peer", "number", "time_s", "after"]
SEND = "send"
# The titles by which programs are known to call the two columns.
SENDER_TITLES = {"sender", "from", "source", "origin", "peer", "process", "member", "node", "who", "name", "id"}
NUMBER_TITLES = {"number", "no", "nr", "num", "n", "seq", "seqno", "sequence", "count", "message", "msg", "id"}


@dataclass(slots=True)
class Draft:
    """A log as it was read: senders are numbered in the order in which they turned up, numbers are as written."""

    label: str
    where: Path
    named: bool  # by the operator, or in the file: then the label is the name of its sender too
    senders: list[int] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)
    after: list[int] = field(default_factory=list)
    sent_s: list[float] = field(default_factory=list)
    recorded: bool = False  # whether it says at all what the process multicast


def load_text(files: Sequence[tuple[str | None, Path]], *, self_delivery: bool = True) -> Evidence:
    """The logs in some text files, each with the name of its process where the operator gave one."""
    names: dict[str, int] = {}
    drafts: dict[str, Draft] = {}
    for label, path in files:
        for draft in _read(label, path, names, drafts):
            drafts[draft.label] = draft
    return _assemble(list(drafts.values()), names, self_delivery)


# Reading


def _read(label: str | None, path: Path, names: dict[str, int], drafts: dict[str, Draft]) -> list[Draft]:
    """The logs that a file begins; what it adds to others is added."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file, skipinitialspace=True)
            first = next(rows, [])
            if first not in (DELIVERIES, SENDS):
                draft = Draft(label or path.stem, path, label is not None)
                if draft.label in drafts:
                    raise EvidenceError(f"{path} and {drafts[draft.label].where} are both logs of {draft.label}")
                _read_plain(draft, path, first, rows, names)
                return [draft]
            if label is not None:
                raise EvidenceError(f"{path} is an export that names its peers itself; leave out {label}=")
            if first == SENDS:
                return _read_sends(path, rows, drafts)
            return _read_deliveries(path, rows, names, drafts)
    except UnicodeDecodeError:
        raise EvidenceError(f"{path} is not text") from None
    except csv.Error as error:
        raise EvidenceError(f"{path} cannot be read as rows: {error}") from None


def _read_plain(draft: Draft, path: Path, first: list[str], rows: Any, names: dict[str, int]) -> None:
    if not _are_titles(first):
        _add_row(draft, path, 1, first, names)
    for row in rows:
        _add_row(draft, path, rows.line_num, row, names)


def _are_titles(row: list[str]) -> bool:
    words = [word.strip().lower() for word in row]
    return len(words) == 2 and words[0] in SENDER_TITLES and words[1] in NUMBER_TITLES


def _add_row(draft: Draft, path: Path, line: int, row: list[str], names: dict[str, int]) -> None:
    if not row:
        return
    if len(row) != 2:
        raise EvidenceError(f"{path}, line {line}: expected sender,number and found {_shown(row)}")
    sender = row[0].strip()
    number = _integer(row[1], "a number", path, line)
    if sender == SEND:
        draft.sent.append(number)
        draft.after.append(len(draft.numbers))
        draft.recorded = True
    else:
        draft.senders.append(names.setdefault(sender, len(names)))
        draft.numbers.append(number)


def _read_deliveries(path: Path, rows: Any, names: dict[str, int], drafts: dict[str, Draft]) -> list[Draft]:
    begun: dict[str, Draft] = {}
    for line, (peer, position, sender, number, time_s) in _fields(path, rows, DELIVERIES):
        draft = begun.get(peer) or drafts.get(peer)
        if draft is None or (peer not in begun and draft.numbers):
            if draft is not None:
                raise EvidenceError(f"{path} and {draft.where} are both logs of {peer}")
            draft = Draft(peer, path, named=True)
        begun[peer] = draft
        if _integer(position, "a position", path, line) != len(draft.numbers):
            raise EvidenceError(
                f"{path}, line {line}: expected position {len(draft.numbers)} of peer {peer} and found {position}"
            )
        draft.senders.append(names.setdefault(sender, len(names)))
        draft.numbers.append(_integer(number, "a number", path, line))
        draft.times_s.append(_time(time_s, path, line))
    return list(begun.values())


def _read_sends(path: Path, rows: Any, drafts: dict[str, Draft]) -> list[Draft]:
    begun: dict[str, Draft] = {}
    for line, (peer, number, time_s, after) in _fields(path, rows, SENDS):
        draft = begun.setdefault(peer, drafts.get(peer) or Draft(peer, path, named=True))
        draft.sent.append(_integer(number, "a number", path, line))
        draft.sent_s.append(_time(time_s, path, line))
        draft.after.append(_integer(after, "a count of deliveries", path, line))
        if draft.after[-1] < max(draft.after[-2:-1], default=0):
            raise EvidenceError(f"{path}, line {line}: peer {peer} cannot have made {after} deliveries by then")
        draft.recorded = True
    return list(begun.values())


def _fields(path: Path, rows: Any, titles: list[str]) -> Iterator[tuple[int, list[str]]]:
    for row in rows:
        if row:
            line = rows.line_num
            if len(row) != len(titles):
                raise EvidenceError(f"{path}, line {line}: expected {','.join(titles)} and found {_shown(row)}")
            yield line, row


def _integer(text: str, what: str, path: Path, line: int) -> int:
    try:
        if "_" not in text:
            return int(text)
    except ValueError:
        pass
    raise EvidenceError(f"{path}, line {line}: expected {what} and found {text!r}")


def _time(text: str, path: Path, line: int) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        raise EvidenceError(f"{path}, line {line}: expected seconds and found {text!r}") from None


def _shown(row: list[str]) -> str:
    text = ",".join(row)
    return repr(text if len(text) <= 60 else text[:57] + "...")


# Making logs of what was read


def _assemble(drafts: list[Draft], names: dict[str, int], self_delivery: bool) -> Evidence:
    senders = _own_senders(drafts, names)
    for draft, sender in zip(drafts, senders):
        if sender is None and draft.recorded:
            raise EvidenceError(
                f"{draft.where} has send rows, and no log holds a message of {draft.label}: "
                "name its process as the logs do, with PEER=FILE"
            )
        if sender is None and not self_delivery:
            raise EvidenceError(
                f"no log holds a message of {draft.label}, so whose log {draft.where} is cannot be told: "
                "name its process as the logs do, with PEER=FILE"
            )
    offsets = _offsets(drafts, senders, names)
    delivered = set().union(*(draft.senders for draft in drafts))
    somebody_recorded = any(draft.recorded for draft in drafts)
    logs = []
    for draft, sender in zip(drafts, senders):
        # Where others recorded what they multicast, one without such rows of whom nobody has a message multicast none.
        recorded = draft.recorded or (somebody_recorded and sender is not None and sender not in delivered)
        sends = None
        if recorded:
            shift = offsets.get(sender, 0) if sender is not None else 0
            numbers = [number - shift for number in draft.sent] if shift else draft.sent
            sends = Sends(np.array(numbers, np.uint64), np.array(draft.after, np.int64), _array(draft.sent_s))
        numbers = draft.numbers
        if offsets:
            numbers = [number - offsets.get(of, 0) for of, number in zip(draft.senders, numbers)]
        ids = message_ids(np.array(draft.senders, np.uint64), np.array(numbers, np.uint64))
        logs.append(PeerLog(draft.label, ids, sender, sends, times_s=_array(draft.times_s)))
    return Evidence(logs, list(names), offsets, self_delivery, closed=False)


def _own_senders(drafts: list[Draft], names: dict[str, int]) -> list[int | None]:
    """For each log the number of its process among the senders.

    Where the operator did not name it, a file is taken for the log of a sender whose name it bears (`bob.csv`) or ends
    in (`log-bob.csv`, `logfile3.log`), but only if no other file could be meant.
    """
    guesses = [draft.label if draft.named else _name_in(draft.label, names) for draft in drafts]
    for draft in drafts:
        if draft.named:
            names.setdefault(draft.label, len(names))
    return [names[guess] if guess is not None and guesses.count(guess) == 1 else None for guess in guesses]


def _name_in(label: str, names: dict[str, int]) -> str | None:
    ends = (re.search(ending, label) for ending in (r".*", r"[^-_. ]+$", r"\d+$"))
    return next((end[0] for end in ends if end and end[0] in names), None)


def _offsets(drafts: list[Draft], senders: list[int | None], names: dict[str, int]) -> dict[int, int]:
    """What to take off each sender's numbers so that they fit: its smallest, where one of them does not."""
    written = [numbers for draft in drafts for numbers in (draft.numbers, draft.sent) if numbers]
    if all(min(numbers) >= 0 and max(numbers) < NUMBERS for numbers in written):
        return {}
    least: dict[int, int] = {}
    most: dict[int, int] = {}
    for draft, sender in zip(drafts, senders):
        own = [] if sender is None else [(sender, number) for number in draft.sent]
        for of, number in [*zip(draft.senders, draft.numbers), *own]:
            least[of] = min(least.get(of, number), number)
            most[of] = max(most.get(of, number), number)
    for name, of in names.items():
        if of in least and most[of] - least[of] >= NUMBERS:
            raise EvidenceError(f"the numbers of sender {name} run from {least[of]} to {most[of]}, too far apart")
    return {of: low for of, low in least.items() if low < 0 or most[of] >= NUMBERS}


def _array(times_s: list[float]) -> np.ndarray | None:
    return np.array(times_s) if times_s else None

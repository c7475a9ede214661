"""The replicas of a run, worked out again from the logs: how many different ones there are, and where two of them part.

    compare -> Replicas     None where the workload keeps no replica
    of_folder -> Replicas   the same of a run that lies in a folder
    describe                a summary as people read it: a sentence and a small table
    details_in_words        where two logs part, and what else the workload lets differ

What members report of their own replicas is held against it. A difference is no disorder but a fault of the program.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import numpy as np

from comparison_server.evidence import NUMBER_BITS, NUMBERS, Evidence, PeerLog
from comparison_server.rounds import compare as compare_rounds
from peer.core.errors import LabError
from peer.core.settings import RunSettings, from_json
from peer.stacks import WORKLOADS
from peer.workload.replica import Replica, Replicated

SHOWN_BEFORE, SHOWN_AFTER = 1, 8  # positions around the first one at which two logs part
MOST_COLUMNS = 8  # members side by side


@dataclass(slots=True)
class Replicas:
    """`summary` stands in `verdict.json`, `details` stand in `measures.json`."""

    summary: dict[str, Any]
    details: dict[str, Any]


def compare(evidence: Evidence, run: RunSettings, reported: Mapping[str, Any]) -> Replicas | None:
    """The replicas of all members, from their logs; `reported` are the measures that each of them sent, by name."""
    kind = WORKLOADS.get(run.workload.kind)
    if kind is None or not issubclass(kind, Replicated):
        return None
    retold = _retell(evidence, run, kind)
    differ = list(dict.fromkeys(each.replica.digest() for each in retold))
    peers = {each.name: _of_peer(each, differ, run, reported.get(each.name)) for each in retold}
    details = {"parting": _parting(retold, run, kind), **FORMS[kind.name].details(retold)}
    summary = {
        "workload": kind.name,
        "title": FORMS[kind.name].title,
        "different": len(differ),
        "sentence": _sentence(kind.name, len(differ), retold, details) + _missing(retold, run),
        "peers": peers,
        "faults": [fault for each in retold for fault in _faults(each, reported.get(each.name))],
    }
    return Replicas(summary, details)


def of_folder(folder: Path, evidence: Evidence) -> Replicas | None:
    """The replicas of a run whose logs are this evidence; None also where its settings are not known here."""
    try:
        run = from_json(RunSettings, json.loads((folder / "scenario.json").read_bytes())["settings"])
    except (OSError, LabError, ValueError, KeyError, TypeError):
        return None
    try:
        reported = json.loads((folder / "measures.json").read_bytes())["peers"]
    except (OSError, ValueError, KeyError, TypeError):
        reported = {}
    return compare(evidence, run, reported if isinstance(reported, dict) else {})


# From the logs


@dataclass(slots=True)
class Retold:
    """One member's log, and what it comes to."""

    name: str
    log: PeerLog
    replica: Replica
    answers: dict[int, str] = field(default_factory=dict)  # store: id of a query -> what came of it


def _retell(evidence: Evidence, run: RunSettings, kind: type[Replicated]) -> list[Retold]:
    """Every log that there is; logs that are equal are gone through once."""
    known: dict[bytes, Retold] = {}
    retold = []
    for log in evidence.logs:
        if log.sender is None or log.sender >= len(run.members) or not (len(log.ids) or log.sealed):
            continue  # of a member whose log is not here, nothing is known
        key = hashlib.blake2b(np.ascontiguousarray(log.ids)).digest()
        if key not in known:
            replica = kind.replicates()
            said = _outcomes(log, replica, run, kind)
            answers = {ident: outcome for ident, outcome in said if outcome.startswith("query ")}
            known[key] = Retold("", log, replica, answers if kind.name == "store" else {})
        same = known[key]
        retold.append(Retold(run.members[log.sender], log, same.replica, same.answers))
    return retold


def _outcomes(log: PeerLog, replica: Replica, run: RunSettings, kind: type[Replicated]) -> Iterator[tuple[int, str]]:
    """Goes through a log: each message's id, and in words what came of it."""
    members = len(run.members)
    for ident in map(int, log.ids):
        sender, number = divmod(ident, NUMBERS)
        outcome = None
        if sender < members:
            outcome = replica.take(sender, number, kind.say(run.seed, members, sender, number))
        yield ident, outcome or "nothing that anybody can say"


def _of_peer(each: Retold, differ: Sequence[str], run: RunSettings, measures: Any) -> dict[str, Any]:
    summary = each.replica.summary()
    told = _told(measures)
    return {
        "region": run.regions[each.log.sender],
        "group": _letter(differ.index(summary["digest"])),
        **summary,
        "reported": None if told is None or not each.log.sealed else told == summary,
    }


def _told(measures: Any) -> Any:
    return measures.get("replica") if isinstance(measures, Mapping) else None


def _faults(each: Retold, measures: Any) -> list[str]:
    """A log that is cut holds less than its member had applied; of all others the two must be the same."""
    told, worked_out = _told(measures), each.replica.summary()
    if told is None or not each.log.sealed or told == worked_out:
        return []
    said = told if isinstance(told, Mapping) else {}
    wrong = [f"{what} {_shown(said.get(what))}" for what in worked_out if said.get(what) != worked_out[what]]
    right = [f"{what} {_shown(worked_out[what])}" for what in worked_out if said.get(what) != worked_out[what]]
    difference = f"{', '.join(wrong)} where its log comes to {', '.join(right)}" if wrong else "more than there is"
    return [f"{each.name} reports {difference}: a fault of this program, unless {each.name} runs another one."]


def _parting(retold: Sequence[Retold], run: RunSettings, kind: type[Replicated]) -> dict[str, Any] | None:
    """What two members saw around the place where they part: the first, and who differs from it earliest."""
    first, *others = retold or [None]
    parted = [(_common(first.log.ids, other.log.ids), other) for other in others if _differ(first, other)]
    if not parted:
        return None
    position, other = min(parted, key=lambda pair: pair[0])
    low, high = max(0, position - SHOWN_BEFORE), position + SHOWN_AFTER
    sides = []
    for side in (first, other):
        told = islice(_outcomes(side.log, kind.replicates(), run, kind), low, high)
        words = [f"{_speaker(ident, run)}: {outcome}" for ident, outcome in told]
        sides.append(words + [""] * (high - low - len(words)))
    last = max(len(first.log.ids), len(other.log.ids))
    rows = [[low + at, *pair] for at, pair in enumerate(zip(*sides)) if low + at < last]
    return {"peers": [first.name, other.name], "position": position, "rows": rows}


def _differ(one: Retold, other: Retold) -> bool:
    return one.replica.digest() != other.replica.digest()


def _common(one: np.ndarray, other: np.ndarray) -> int:
    """How many deliveries two logs have in common at their beginning."""
    length = min(len(one), len(other))
    differs = one[:length] != other[:length]
    return int(np.argmax(differs)) if differs.any() else length


def _speaker(ident: int, run: RunSettings) -> str:
    sender = ident >> NUMBER_BITS
    return run.members[sender] if sender < len(run.members) else f"stranger {sender}"


# What each workload lets differ beside, and the sentence about it


def _of_bank(retold: Sequence[Retold]) -> dict[str, Any]:
    return {}


def _bank_in_words(different: int, retold: Sequence[Retold], details: Mapping[str, Any]) -> str:
    if different == 1:
        return f"Everybody has the same balance, {retold[0].replica.state()}."
    return f"{different} different balances among {len(retold)} peers."


def _of_store(retold: Sequence[Retold]) -> dict[str, Any]:
    """The items whose rows differ in the end, and the queries that were not answered alike."""
    items = sorted({item for each in retold for item in each.replica.rows})
    prices = {item: {each.name: each.replica.rows.get(item) for each in retold} for item in items}
    asked = sorted({ident for each in retold for ident in each.answers})
    unlike, example = 0, None
    for ident in asked:
        answers: dict[str, list[str]] = {}
        for each in retold:
            if ident in each.answers:
                words, _, answer = each.answers[ident].partition(": ")
                answers.setdefault(answer, []).append(each.name)
        unlike += len(answers) > 1
        if len(answers) > max(1, len(example["answers"]) if example else 0):
            example = {"message": f"{ident >> NUMBER_BITS}:{ident % NUMBERS}", "words": words, "answers": answers}
    return {
        "lists": len({each.replica.state() for each in retold}),
        "items": {item: row for item, row in prices.items() if len(set(row.values())) > 1},
        "queries": len(asked),
        "unlike": unlike,
        "example": example,
    }


def _store_in_words(different: int, retold: Sequence[Retold], details: Mapping[str, Any]) -> str:
    lists, queries, unlike = details["lists"], details["queries"], details["unlike"]
    same = "Everybody has the same price list"
    what = same if lists == 1 else f"{lists} different price lists among {len(retold)} peers"
    answered = f"{unlike} of {queries} queries were not answered alike" if unlike else "all queries were answered alike"
    return f"{what}{', but ' if (lists == 1) == (unlike > 0) else ', and '}{answered}."


def _of_text(retold: Sequence[Retold]) -> dict[str, Any]:
    """How many lines do not stand in the same place everywhere, and who read a speaker's own lines out of order."""
    rounds = compare_rounds([(each.log.ids, each.log.start) for each in retold])
    return {
        "lines": rounds.rounds,
        "unlike": rounds.out_of_order,
        "jumbled": [each.name for each in retold if _jumbled(each.log.ids)],
    }


def _jumbled(ids: np.ndarray) -> bool:
    """Whether any sender's messages are not in the order in which it multicast them."""
    by_sender = ids[np.argsort(ids >> np.uint64(NUMBER_BITS), kind="stable")]
    return bool((by_sender[1:] < by_sender[:-1]).any())


def _text_in_words(different: int, retold: Sequence[Retold], details: Mapping[str, Any]) -> str:
    if different == 1:
        return "Everybody read the same conversation."
    jumbled = details["jumbled"]
    own = f"out of order at {_few(jumbled)}" if jumbled else "in order everywhere"
    unlike = f"{details['unlike']} of {details['lines']} lines do not stand in the same place everywhere"
    return f"{different} different conversations among {len(retold)} peers: {unlike}. What one speaker said is {own}."


@dataclass(frozen=True, slots=True)
class Form:
    """How the replicas of a workload are told."""

    title: str  # of a replica's state
    details: Callable[[Sequence[Retold]], dict[str, Any]]
    sentence: Callable[[int, Sequence[Retold], Mapping[str, Any]], str]


FORMS: Mapping[str, Form] = {
    "bank": Form("balance", _of_bank, _bank_in_words),
    "store": Form("price list", _of_store, _store_in_words),
    "text": Form("the last line", _of_text, _text_in_words),
}


def _sentence(name: str, different: int, retold: Sequence[Retold], details: Mapping[str, Any]) -> str:
    if not retold:
        return "There is nothing to compare."
    uneven = len({each.replica.applied for each in retold}) > 1
    sentence = FORMS[name].sentence(different, retold, details)
    return sentence + (" Not all logs go equally far." if uneven else "")


def _missing(retold: Sequence[Retold], run: RunSettings) -> str:
    have = {each.name for each in retold}
    lacking = [name for name in run.members if name not in have]
    return f" There is no log of {_few(lacking)}." if lacking else ""


# In words


def describe(summary: Mapping[str, Any]) -> str:
    """A sentence, who has what in the end, and what is wrong with the program."""
    rows = [
        [name, each["region"], each["applied"], each["group"], each["state"]] for name, each in summary["peers"].items()
    ]
    table = _table(["peer", "region", "messages", "group", summary["title"]], rows)
    return "\n".join([summary["sentence"], *table, *(f"FAULT: {fault}" for fault in summary["faults"])])


def details_in_words(details: Mapping[str, Any]) -> str:
    """Where two logs part, which rows differ, and a query that was not answered alike; nothing where all is alike."""
    lines: list[str] = []
    if parting := details["parting"]:
        rows = [[*row, "" if row[1] == row[2] else "<"] for row in parting["rows"]]
        lines += [f"Where {' and '.join(parting['peers'])} part (< marks what is not alike):"]
        lines += _table(["position", *parting["peers"], ""], rows)
    if items := details.get("items"):
        names = list(next(iter(items.values())))[:MOST_COLUMNS]
        rows = [[item, *("-" if row[name] is None else row[name] for name in names)] for item, row in items.items()]
        lines += ["Rows that are not the same everywhere (- is no row):", *_table(["item", *names], rows)]
    if example := details.get("example"):
        given = "; ".join(f"{answer} at {_few(peers)}" for answer, peers in example["answers"].items())
        lines += [f"Message {example['message']}, {example['words']}, was answered: {given}."]
    return "\n".join(lines)


def _table(titles: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    """Columns of text to the left, of numbers to the right."""
    rows = list(rows)
    cells = [list(titles), *([f"{cell:,}" if type(cell) is int else cell for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells)]
    right = [all(type(cell) is int or cell == "-" for cell in column) for column in zip(*rows)] or [False] * len(titles)
    aligned = ([cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(row, widths, right)] for row in cells)
    return [("  " + "  ".join(row)).rstrip() for row in aligned]


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(names[:MOST_COLUMNS])
    return f"{shown} and {len(names) - MOST_COLUMNS} more" if len(names) > MOST_COLUMNS else shown


def _letter(number: int) -> str:
    """A, B, ..., Z, A1, B1, ..."""
    turn, place = divmod(number, len(ascii_uppercase))
    return ascii_uppercase[place] + (str(turn) if turn else "")


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:37] + "..."

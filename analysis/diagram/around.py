"""The window around a violation: the smallest that shows its witness, what it is about marked and told in the lanes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from analysis.diagram.logs import Log
from analysis.diagram.window import Focus, Ident, Scene, Window, named, whole, why_down
from analysis.run import Run
from comparison_server.evidence import NUMBERS
from comparison_server.properties import PROPERTIES
from peer.core.errors import SettingsError

ABOUT_ONE = ("validity", "agreement", "uniform_agreement")  # message: who of all has it?
CONTEXT = 3  # deliveries on either side of one that matters
MOST_IN_THE_PAST = 20_000  # deliveries that are followed back


@dataclass(slots=True)
class Case:
    """A witness, held against the logs."""

    scene: Scene
    property: str
    witness: Mapping[str, Any]
    messages: list[Ident]
    peers: list[int]
    places: dict[int, dict[Ident, list[int]]] = field(default_factory=dict)  # by peer, then message: its positions

    def look_up(self, *messages: Ident) -> None:
        """Where each log holds these messages."""
        for number, log in self.scene.logs.items():
            for message in messages:
                self.places.setdefault(number, {})[message] = log.find(whole(message))

    def place(self, peer: int, message: Ident) -> int | None:
        """Where a log first holds one of the messages."""
        return next(iter(self.places.get(peer, {}).get(message, ())), None)

    def asked_s(self, message: Ident) -> float | None:
        sender, number = message
        asked = self.scene.logs[sender].asked(number) if sender in self.scene.logs else None
        return None if asked is None else asked.time_s

    def order_at(self, peer: int, another: Ident | None = None) -> str:
        """In which order a log holds the messages, and perhaps another one, in words."""
        about = dict.fromkeys([*self.messages, *filter(None, [another])])
        first = {message: self.place(peer, message) for message in about}
        there = sorted((place, message) for message, place in first.items() if place is not None)
        if not there:
            return f"without {' and '.join(map(named, first))}"
        if len(there) == 1 and len(first) > 1:
            return f"only {named(there[0][1])}"
        return (" before " if len(there) == 2 else ", ").join(named(message) for _, message in there)


Told = dict[str, Any]  # what a property adds to a focus


def violated(run: Run) -> list[str]:
    """The properties that do not hold, promised ones first."""
    findings = run.verdict.get("properties") or {}
    broken = [name for name, finding in findings.items() if finding.get("holds") is False]
    return sorted(broken, key=lambda name: not findings[name].get("promised"))


def around(run: Run, finding_name: str, peers: Sequence[str] | None = None) -> Window:
    """The window around the witness of a property that the verdict found broken."""
    finding = _finding(run, finding_name)
    try:
        case = _case(run, finding_name, finding["witness"], peers)
        case.look_up(*case.messages)
        _check(case)
        told = TELLERS[finding_name](case)
        focus = Focus(finding_name, str(finding.get("sentence", "")), tuple(dict.fromkeys(case.messages)), **told)
        marked = list(dict.fromkeys([*focus.messages, *filter(None, [focus.between])]))
        from_s, to_s = _extent(case, focus, marked)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        problem = f"the witness that {finding_name} is broken does not fit the logs; judge the run again"
        raise SettingsError(problem, file=str(run.folder / "verdict.json")) from None
    if finding_name == "causal":
        focus = replace(focus, past_s=_past(case, from_s))
    return case.scene.cut(from_s, to_s, keep=[whole(each) for each in marked], glance=True, focus=focus)


# The witness


def _finding(run: Run, name: str) -> Mapping[str, Any]:
    if name not in PROPERTIES:
        raise SettingsError(f"there is no property {name!r}; there are {', '.join(PROPERTIES)}", path="--around")
    finding = (run.verdict.get("properties") or {}).get(name)
    if not finding or finding.get("holds") is not False:
        broken = ", ".join(violated(run)) or "none"
        raise SettingsError(f"the verdict does not find {name} broken; broken are: {broken}", path="--around")
    return finding


def _case(run: Run, name: str, witness: Mapping[str, Any], peers: Sequence[str] | None) -> Case:
    messages = [(int(each["sender"]), int(each["number"])) for each in witness["messages"]]
    if any(not 0 <= part < NUMBERS for message in messages for part in message):
        raise ValueError("no message has such a number")
    of = [int(label) for label in witness["peers"]]
    if not messages or not of or any(not 0 <= peer < len(run.peers) for peer in of):
        raise ValueError("there is no such peer")
    scene = Scene(run, peers, [*of, *(sender for sender, _ in messages)])
    return Case(scene, name, witness, messages, of)


def _check(case: Case) -> None:
    """The logs hold the messages where the witness says."""
    for peer, positions in zip(case.peers, case.witness["positions"], strict=True):
        for message, position in zip(case.messages, positions, strict=True):
            if case.place(peer, message) != position:
                raise ValueError("the log holds it elsewhere")


# What each property points at


def _order(case: Case) -> Told:
    """Total order: who delivered the messages in which order; each leg's two deliveries break it."""
    legs = zip(case.peers, case.messages, [*case.messages[1:], case.messages[0]])
    offending = [(peer, case.place(peer, message)) for peer, one, then in legs for message in (one, then)]
    return {"offending": frozenset(offending), "notes": _notes(case, case.order_at)}


def _parting(case: Case) -> Told:
    """Prefix: what each log holds at the position at which they part."""
    position = int(case.witness["position"])

    def says(peer: int) -> str:
        start = case.scene.run.peers[peer].start
        held = case.scene.logs[peer].at(position - start)
        if held is not None:
            return f"position {position}: {named(held)}"
        return f"begins after position {position}" if position < start else f"ends before position {position}"

    offending = zip(case.peers, (position - case.scene.run.peers[peer].start for peer in case.peers))
    return {"offending": frozenset(offending), "notes": _notes(case, says)}


def _sequence(case: Case) -> Told:
    """FIFO: the two deliveries that do not continue each other, and the first message between them."""
    (peer,), (one_at, then_at), (one, then) = case.peers, case.witness["at"], case.messages
    if any(at not in case.places[peer][message] for message, at in ((one, one_at), (then, then_at)) if at is not None):
        raise ValueError("the log holds it elsewhere")
    between = None
    if one_at is not None and one_at < then_at and one[1] + 1 < then[1]:
        between = one[0], one[1] + 1
        case.look_up(between)
    notes = _notes(case, lambda other: case.order_at(other, between))
    if one_at is None or one_at > then_at:
        notes[peer] = f"{named(then)} {'without' if one_at is None else 'before'} {named(one)}"
    else:
        notes[peer] = f"{named(then)} right after {named(one)}"
        if between is not None:
            notes[peer] += f", {named(between)} {'never' if case.place(peer, between) is None else 'later'}"
    offending = frozenset((peer, at) for at in (one_at, then_at) if at is not None)
    return {"offending": offending, "notes": notes, "between": between}


def _dependency(case: Case) -> Told:
    """Causal order: the way from the message that was needed to the one that came before it."""
    (needed, message), (peer, sender) = case.messages, case.peers
    needed_s, message_s = case.asked_s(needed), case.asked_s(message)
    here, late = case.place(peer, message), case.place(peer, needed)
    chain = [] if needed_s is None else [(needed[0], needed_s)]
    notes = _notes(case, case.order_at)
    if case.witness["link"] == "delivered":
        chain.append((sender, case.scene.logs[sender].time_s(case.place(sender, needed))))
        notes[sender] = f"had {named(needed)}, then multicast {named(message)}"
    else:
        notes[sender] = f"multicast {named(needed)}, then {named(message)}"
    chain += [(sender, message_s), (peer, case.scene.logs[peer].time_s(here))]
    if peer == sender:
        notes[peer] = f"{notes[peer]}; " + case.order_at(peer)
    elif late is None:
        notes[peer] = f"{named(message)} without {named(needed)}"
    offending = frozenset((peer, at) for at in (here, late) if at is not None)
    return {"offending": offending, "notes": notes, "chain": tuple(chain), "lacks": () if late is not None else (peer,)}


def _intruder(case: Case) -> Told:
    """Integrity: what was delivered twice, or was never multicast."""
    (message,), (peer,) = case.messages, case.peers
    again, first = case.witness["again"], case.place(peer, message)
    offending = first if again is None else int(again)
    if offending not in case.places[peer][message]:
        raise ValueError("the log holds it elsewhere")
    notes = _notes(case, lambda other: _had(case, other, message))
    notes[peer] = (
        f"{named(message)}, which nobody multicast"
        if again is None
        else f"{named(message)} at position {first}, again at {again}"
    )
    return {"offending": frozenset([(peer, offending)]), "notes": notes}


def _lacking(case: Case) -> Told:
    """Agreement: who has the message, and who lacks it for which reason."""
    (message,), why = case.messages, case.witness["why"]
    lacks = tuple(peer for peer in case.peers if str(peer) in why)
    notes = _notes(case, lambda other: _had(case, other, message))
    notes |= {peer: f"lacks {named(message)}: {why[str(peer)]}" for peer in lacks}
    has = [(case.place(peer, message), peer) for peer in case.peers if peer not in lacks]
    notes |= {peer: f"had {named(message)}, then went down" for _, peer in has if why_down(case.scene.run, peer)}
    place, earliest = min(has)
    return {"offending": frozenset([(earliest, place)]), "notes": notes, "lacks": lacks}


def _own(case: Case) -> Told:
    """Validity: a message that its own sender never delivered."""
    (message,), (peer,) = case.messages, case.peers
    notes = _notes(case, lambda other: _had(case, other, message))
    notes[peer] = f"multicast {named(message)}, never had it"
    return {"offending": frozenset(), "notes": notes, "lacks": (peer,)}


def _view(case: Case) -> Told:
    """Same view: who delivered a message in a view, and who went through that view without it."""
    (message,), (has, lacks), view = case.messages, case.peers, int(case.witness["view"])
    late = case.place(lacks, message)
    notes = _notes(case, lambda other: _had(case, other, message))
    notes[has] = f"{named(message)} in view {view}"
    notes[lacks] = f"not in view {view}" + ("" if late is None else f", at position {late}")
    offending = [(has, case.place(has, message))] + ([] if late is None else [(lacks, late)])
    return {"offending": frozenset(offending), "notes": notes, "lacks": () if late is not None else (lacks,)}


TELLERS: dict[str, Callable[[Case], Told]] = {
    "validity": _own,
    "integrity": _intruder,
    "agreement": _lacking,
    "uniform_agreement": _lacking,
    "fifo": _sequence,
    "causal": _dependency,
    "total": _order,
    "uniform_total": _order,
    "prefix": _parting,
    "same_view": _view,
}


def _notes(case: Case, says: Callable[[int], str]) -> dict[int, str]:
    return {peer.number: says(peer.number) for peer in case.scene.peers if peer.number in case.scene.logs}


def _had(case: Case, peer: int, message: Ident) -> str:
    place = case.place(peer, message)
    return f"without {named(message)}" if place is None else f"{named(message)} at position {place}"


# How long, and what came before


def _extent(case: Case, focus: Focus, marked: Iterable[Ident]) -> tuple[float, float]:
    """From the first multicast to the last delivery that matters, with some room on both sides."""
    logs, moments = case.scene.logs, [time_s for _, time_s in focus.chain]
    moments += [time_s for message in marked if (time_s := case.asked_s(message)) is not None]
    matters = {*focus.offending, *((peer, case.place(peer, each)) for peer in case.peers for each in marked)}
    moments += [logs[peer].time_s(position) for peer, position in matters if position is not None]
    if case.property == "same_view":
        moments += [time_s for peer in case.peers for time_s, view in logs[peer].views if _ends(case, view)]
    from_s, to_s = min(moments), max(moments)
    others = [
        logs[log.peer.number].time_s(position)
        for log in case.scene.shown
        for message in marked
        for position in case.places.get(log.peer.number, {}).get(message, ())
    ]
    if case.property in ABOUT_ONE and others:
        to_s = max(to_s, sorted(others)[len(others) // 2])
    to_s = max([to_s, *(time_s for time_s in others if time_s <= to_s + (to_s - from_s))])
    meanwhile = {(peer, logs[peer].between(from_s, to_s)[0]) for peer in focus.lacks}
    before_s, after_s = _context(case, matters | meanwhile)
    lasts_s = to_s - from_s
    if (after_s - before_s) > 20 * lasts_s:  # nearly one instant: its neighbours say how long is long here
        lasts_s = (after_s - before_s) or 1e-3
    from_s, to_s = max(min(from_s, before_s), from_s - 2 * lasts_s), min(max(to_s, after_s), to_s + 2 * lasts_s)
    lasts_s = (to_s - from_s) or lasts_s or 1e-3
    return from_s - 0.08 * lasts_s, to_s + 0.08 * lasts_s


def _ends(case: Case, view: int) -> bool:
    return view in (int(case.witness["view"]), int(case.witness["view"]) + 1)


def _context(case: Case, deliveries: Iterable[tuple[int, int | None]]) -> tuple[float, float]:
    """From when to when these deliveries and some on both sides of them were made."""
    moments = []
    for peer, position in deliveries:
        if position is not None:
            log: Log = case.scene.logs[peer]
            moments += [log.time_s(each) for each in (position - CONTEXT, position + CONTEXT) if 0 <= each < log.length]
    return min(moments, default=math.inf), max(moments, default=-math.inf)


def _past(case: Case, from_s: float) -> dict[int, float]:
    """Up to which moment each peer lies in the causal past of the offending message's multicast."""
    logs, message = case.scene.logs, case.messages[-1]
    tip = logs[message[0]].asked(message[1]) if message[0] in logs else None
    if tip is None:
        return {}
    begins = {number: log.between(from_s, from_s)[0] for number, log in logs.items()}
    past_s, known, due, followed = {message[0]: tip.time_s}, dict(begins), {message[0]: tip.after}, 0
    while due and followed < MOST_IN_THE_PAST:
        peer, until = due.popitem()
        part = logs[peer].part(known[peer], until)
        known[peer] = max(known[peer], until)
        followed += len(part.ids)
        for ident in part.ids.tolist():
            sender, number = divmod(ident, NUMBERS)
            asked = logs[sender].asked(number) if sender in logs else None
            if asked is None or asked.time_s < from_s:
                continue
            past_s[sender] = max(past_s.get(sender, asked.time_s), asked.time_s)
            if asked.after > known[sender]:
                due[sender] = max(due.get(sender, 0), asked.after)
    return past_s

"""Which properties hold of the logs, asked again and again while they grow.

The judge of whole runs (comparison_server/properties) says in full what each property means; here the same is asked
of short logs, very often, and each answer is kept. A sentence names the two things that disagree.

Nobody crashes in a search, so the uniform properties say the same as the plain ones.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations

from experiments.explorer.model import Model
from experiments.explorer.state import History, Recorded, sender_of
from peer.core.guarantees import (
    AGREEMENT,
    CAUSAL,
    FIFO,
    INTEGRITY,
    PREFIX,
    TOTAL,
    UNIFORM_AGREEMENT,
    UNIFORM_TOTAL,
    VALIDITY,
)
from peer.core.names import PeerId, message_id

ANY_TIME = (INTEGRITY, FIFO, CAUSAL, TOTAL, UNIFORM_TOTAL, PREFIX)  # what is broken once stays broken
AT_THE_END = (VALIDITY, AGREEMENT, UNIFORM_AGREEMENT)  # when nothing can happen any more
PROPERTIES = ANY_TIME + AT_THE_END


@dataclass(frozen=True, slots=True)
class Violation:
    """A property that does not hold, and why, in one sentence."""

    property: str
    sentence: str


def recorded(properties: Collection[str]) -> Recorded:
    """What of a history these properties look at.

    Causal order needs no look of its own where those are judged that imply it: of two logs one of which is a prefix
    of the other, whoever delivered a message has before it all that its sender's log has; and what the sender had
    multicast before comes first by FIFO.
    """
    causal = CAUSAL in properties and not {INTEGRITY, FIFO, PREFIX} <= set(properties)
    return Recorded(across=bool({CAUSAL, TOTAL, UNIFORM_TOTAL, PREFIX} & set(properties)), after=causal)


class Judge:
    """Finds what does not hold of the histories of all peers; of several properties the first in the list above."""

    def __init__(self, model: Model, properties: Collection[str]) -> None:
        self.peers, self.name_of, self.properties = model.peers, model.message_name, frozenset(properties)
        self.total = next((each for each in (TOTAL, UNIFORM_TOTAL) if each in properties), "")
        self.agreement = next((each for each in (AGREEMENT, UNIFORM_AGREEMENT) if each in properties), "")
        self.causal = recorded(properties).after
        self._alone = cache(lambda *known: next(self._of_one(*known), None))
        self._between = cache(lambda *known: next(self._of_two(*known), None))

    def at_any_time(self, histories: Sequence[History]) -> Violation | None:
        """What can be said while things are under way."""
        found = [self._alone(p, history) for p, history in enumerate(histories)]
        found += [self._between(p, q, histories[p], histories[q]) for p, q in combinations(range(len(histories)), 2)]
        if not any(found) and self.total and PREFIX not in self.properties:
            found.append(self._cycle(histories))
        return min(filter(None, found), key=lambda each: PROPERTIES.index(each.property), default=None)

    def at_the_end(self, histories: Sequence[History]) -> Violation | None:
        """What can be said when nothing is under way any more and all has been asked for."""
        found = [*self._undelivered(histories), *self._disagreeing(histories)]
        return found[0] if found else None

    # One log.

    def _of_one(self, p: PeerId, history: History) -> Iterator[Violation]:
        log, name_of = history.log, self.name_of
        if INTEGRITY in self.properties:
            for place, ident in enumerate(log):
                if ident in log[:place]:
                    yield Violation(INTEGRITY, f"p{p} delivered {name_of(ident)} twice")
                if sender_of(ident) >= self.peers:
                    yield Violation(INTEGRITY, f"p{p} delivered {name_of(ident)}, and there is no such peer")
        if FIFO in self.properties:
            following: dict[PeerId, int] = {}
            for ident in log:
                sender = sender_of(ident)
                expected = following.get(sender, message_id(sender, 0))
                if ident > expected:
                    why = f"though p{sender} had multicast {name_of(expected)} first"
                    missing = f"p{p} delivered {name_of(ident)} and not {name_of(expected)} before it"
                    yield Violation(FIFO, f"{missing}, {why}")
                if ident < expected:
                    yield Violation(FIFO, f"p{p} delivered {name_of(ident)} again after {name_of(expected - 1)}")
                following[sender] = ident + 1
        yield from self._of_sender(p, p, history, history)

    # Two logs.

    def _of_two(self, p: PeerId, q: PeerId, one: History, other: History) -> Iterator[Violation]:
        yield from self._of_sender(p, q, one, other)
        yield from self._of_sender(q, p, other, one)
        if self.total and (opposed := _opposed(one.log, other.log)):
            x, y = map(self.name_of, opposed)
            yield Violation(self.total, f"p{p} delivered {x} before {y}, but p{q} delivered {y} before {x}")
        if PREFIX in self.properties:
            for place, (x, y) in enumerate(zip(_once(one.log), _once(other.log)), 1):
                if x != y:
                    which = f"the {_ordinal(place)} message that p{p} delivered is {self.name_of(x)}"
                    yield Violation(PREFIX, f"{which}, the {_ordinal(place)} of p{q} is {self.name_of(y)}")

    def _of_sender(self, p: PeerId, sender: PeerId, here: History, there: History) -> Iterator[Violation]:
        """What p's log says of the messages of a sender."""
        own = [(place, ident) for place, ident in enumerate(here.log) if sender_of(ident) == sender]
        multicast = message_id(sender, there.asked)  # everything below it
        if INTEGRITY in self.properties:
            for _, ident in own:
                if ident >= multicast:
                    name = self.name_of(ident)
                    yield Violation(INTEGRITY, f"p{p} delivered {name}, but p{sender} had not multicast it")
        if self.causal:
            for place, ident in own:
                number = ident - message_id(sender, 0)
                had = {each: "multicast" for each in range(message_id(sender, 0), min(ident, multicast))}
                had |= {each: "delivered" for each in there.log[: sum(there.after[number : number + 1])]}
                for needed, how in had.items():
                    if needed not in here.log[:place]:
                        names = self.name_of(ident), self.name_of(needed)
                        why = f"which p{sender} had {how} before it multicast {names[0]}"
                        yield Violation(CAUSAL, f"p{p} delivered {names[0]} and not {names[1]} before it, {why}")

    # All logs.

    def _cycle(self, histories: Sequence[History]) -> Violation | None:
        """Orders that no single one can hold, though no two contradict each other: a b, b c and c a."""
        legs: dict[int, dict[int, PeerId]] = {}
        for p, history in enumerate(histories):
            log = _once(history.log)
            for place, ident in enumerate(log):
                for later in log[place + 1 :]:
                    legs.setdefault(ident, {}).setdefault(later, p)
        for start in legs:
            ways = {start: []}
            for at in (waiting := [start]):
                for later, p in legs.get(at, {}).items():
                    way = [*ways[at], f"p{p} delivered {self.name_of(at)} before {self.name_of(later)}"]
                    if later == start:
                        return Violation(self.total, ", ".join(way))
                    if later not in ways:
                        ways[later] = way
                        waiting.append(later)
        return None

    def _undelivered(self, histories: Sequence[History]) -> Iterator[Violation]:
        if VALIDITY in self.properties:
            for p, history in enumerate(histories):
                for ident in range(message_id(p, 0), message_id(p, history.asked)):
                    if ident not in history.log:
                        name = self.name_of(ident)
                        what = f"p{p} multicast {name}, and now that all is at rest never delivers it"
                        yield Violation(VALIDITY, what)

    def _disagreeing(self, histories: Sequence[History]) -> Iterator[Violation]:
        if self.agreement:
            for p, one in enumerate(histories):
                for q, other in enumerate(histories):
                    for ident in one.log:
                        if ident not in other.log:
                            what = f"p{p} delivered {self.name_of(ident)}, and now that all is at rest p{q} never does"
                            yield Violation(self.agreement, what)


def _once(log: tuple[int, ...]) -> list[int]:
    """A log without its repeats, which integrity and FIFO alone complain of."""
    return list(dict.fromkeys(log))


def _opposed(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, int] | None:
    """Two messages that stand in these logs in opposite order."""
    places = {ident: place for place, ident in enumerate(_once(other))}
    common = [ident for ident in _once(one) if ident in places]
    return next(((x, y) for x, y in zip(common, common[1:]) if places[x] > places[y]), None)


def _ordinal(number: int) -> str:
    return {1: "first", 2: "second", 3: "third"}.get(number, f"{number}th")

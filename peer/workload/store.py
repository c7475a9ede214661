"""Workload `store`: everybody keeps a copy of one small price list, changes it and asks it.

Rule: a message is `insert ITEM PRICE`, `update ITEM PRICE`, `delete ITEM` or `query ITEM`. An
insert makes a row and is refused where there is one; an update and a delete change a row and
are refused where there is none; a query is answered with the price, or that there is no row.
Everybody does and answers everything. The items are few, so that members get in each other's
way. What was answered counts as much as what is in the list at the end. Multicasts when
`steady` would.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from peer.core.names import PeerId
from peer.workload.replica import Replica, Replicated, drawn, hashed

ITEMS = ("bread", "honey", "olives", "rice", "salt", "tea")
LOWEST, HIGHEST = 100, 999  # prices
SAID = ("insert", "insert", "insert", "update", "update", "update", "delete", "query", "query", "query")  # how often
_ITEM = "|".join(ITEMS)
MESSAGE = re.compile(rf"(insert|update) ({_ITEM}) (\d{{3}})|(delete|query) ({_ITEM})".encode())
ANSWERS_BITS = 64


@dataclass(slots=True)
class PriceList(Replica):
    """One copy of the list, and a fingerprint of all answers it gave."""

    rows: dict[str, int] = field(default_factory=dict)
    answers: int = 0  # a sum of hashes: who was answered what, but not in which order

    def apply(self, sender: PeerId, number: int, message: bytes) -> str:
        said = MESSAGE.fullmatch(message)
        if said is None:
            raise ValueError("neither insert nor update nor delete nor query")
        words = message.decode()
        verb, item, *price = words.split()
        if verb == "query":
            answer = str(self.rows.get(item, "no row"))
            what = hashed(f"{sender}:{number} {answer}".encode())
            self.answers = (self.answers + int.from_bytes(what, "little")) % 2**ANSWERS_BITS
            return f"{words}: {answer}"
        if (item in self.rows) == (verb == "insert"):
            return f"{words}: refused, {'a row is there' if verb == 'insert' else 'no row'}"
        if verb == "delete":
            del self.rows[item]
        else:
            self.rows[item] = int(price[0])
        return f"{words}: done"

    def state(self) -> str:
        return ", ".join(f"{item} {self.rows[item]}" for item in sorted(self.rows)) or "empty"

    def digest(self) -> str:
        return hashed(f"{self.state()}; {self.answers}".encode()).hex()


@dataclass(slots=True)
class Store(Replicated):
    """Three inserts, three updates, a delete and three queries in ten messages, by chance."""

    name = "store"
    replicates = PriceList
    longest = len(b"insert olives 999")

    replica: PriceList = field(default_factory=PriceList)

    @staticmethod
    def say(seed: str, members: int, peer: PeerId, number: int) -> bytes:
        chance, verb = divmod(drawn(seed, "store", peer, number), len(SAID))
        chance, item = divmod(chance, len(ITEMS))
        words = f"{SAID[verb]} {ITEMS[item]}"
        if SAID[verb] in ("insert", "update"):
            words += f" {LOWEST + chance % (HIGHEST - LOWEST + 1)}"
        return words.encode()

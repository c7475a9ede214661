"""Workload `bank`: everybody keeps a copy of one account, and what happens to it does not commute.

Rule: the account opens with 1,000.00; a message is `deposit CENTS` or `interest PERCENT`. A
deposit adds its cents. Interest adds so many percent of the balance, rounded to a whole cent,
half a cent up; in bad months it is negative. All of it is arithmetic of whole numbers: the
same order gives the same balance everywhere, another order nearly always another one.
Multicasts when `steady` would.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from peer.core.names import PeerId
from peer.workload.replica import Replica, Replicated, drawn, hashed

OPENING = 1_000_00  # cents
MOST_DEPOSITED = 100_00  # cents
RATES = (-3, -2, -1, 1, 2, 3)  # percent; up about as often as down, so that long runs stay readable
FULL = 10**15  # cents; an account that others could fill without end would never fit a report
MESSAGE = re.compile(rb"deposit ([1-9]\d{0,4})|interest (-?[1-3])")


@dataclass(slots=True)
class Account(Replica):
    """One copy of the account."""

    cents: int = OPENING

    def apply(self, sender: PeerId, number: int, message: bytes) -> str:
        said = MESSAGE.fullmatch(message)
        if said is None:
            raise ValueError("neither a deposit nor interest")
        deposit, percent = said.groups()
        change = int(deposit) if deposit else (self.cents * int(percent) + 50) // 100
        if self.cents + change > FULL:
            raise ValueError("the account is full")
        self.cents += change
        what = f"deposit {money(change)}" if deposit else f"interest {int(percent)} %"
        return f"{what} -> {self.state()}"

    def state(self) -> str:
        return money(self.cents)

    def digest(self) -> str:
        return hashed(str(self.cents).encode()).hex()


@dataclass(slots=True)
class Bank(Replicated):
    """Every other message is a deposit, by chance."""

    name = "bank"
    replicates = Account
    longest = len(b"deposit 10000")

    replica: Account = field(default_factory=Account)

    @staticmethod
    def say(seed: str, members: int, peer: PeerId, number: int) -> bytes:
        chance, is_deposit = divmod(drawn(seed, "bank", peer, number), 2)
        if is_deposit:
            return b"deposit %d" % (1 + chance % MOST_DEPOSITED)
        return b"interest %d" % RATES[chance % len(RATES)]


def money(cents: int) -> str:
    """Cents as people write them: 1,234.56."""
    return f"{cents // 100:,}.{cents % 100:02}"

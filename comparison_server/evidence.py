"""What is judged: the sequence of messages that each process delivered, and what it multicast in between.

A message is one 64-bit id, the sender's number in the upper half and the message's own number in the lower. Nothing
else of a message matters here: no stamp of a protocol, no clock of a machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from peer.core.errors import BAD_SETTINGS, LabError

NUMBER_BITS = 32
NUMBERS = 1 << NUMBER_BITS


class EvidenceError(LabError, ValueError):
    """A file that cannot be judged; the one sentence says which, where, and what was found there."""

    exit_code = BAD_SETTINGS


def message_ids(senders: np.ndarray | int, numbers: np.ndarray | Sequence[int]) -> np.ndarray:
    """Ids of messages: sender << 32 | number."""
    return np.asarray(senders, np.uint64) << np.uint64(NUMBER_BITS) | np.asarray(numbers, np.uint64)


@dataclass(slots=True, eq=False)
class Sends:
    """What one process multicast, in order: the number of each message, and how many deliveries came before it.

    `times_s` says when, `due_s` when it was to do so: a process that is held up is late.
    """

    numbers: np.ndarray
    after: np.ndarray
    times_s: np.ndarray | None = None
    due_s: np.ndarray | None = None

    def __post_init__(self) -> None:
        self.numbers = np.asarray(self.numbers, np.uint64)
        self.after = np.asarray(self.after, np.int64)


@dataclass(slots=True, eq=False)
class PeerLog:
    """What one process delivered, in order.

    `sender` is the number under which its own messages stand in ids, None where that is not known. `sends` is None
    where nobody recorded them, which is not the same as an empty record. `why` says in a few words why a process is
    not up. `start` is the place in the group's order at which a process that joined later began. `views` holds, for
    each view that was installed, how many deliveries had been made by then, and the view's number.
    """

    label: str
    ids: np.ndarray
    sender: int | None = None
    sends: Sends | None = None
    up: bool = True
    sealed: bool = True
    why: str = ""
    start: int = 0
    views: Sequence[tuple[int, int]] = ()
    times_s: np.ndarray | None = None
    zero_s: float | None = None

    def __post_init__(self) -> None:
        if self.ids.dtype != np.uint64:  # a mapped array stays a mapped array
            self.ids = np.asarray(self.ids, np.uint64)
        if self.sends is not None and self.sender is None:
            raise EvidenceError(f"the log of {self.label} has send records, but not the sender they belong to")
        if not self.sealed:  # who did not close its log in order is not up, whatever else is known of it
            self.up = False
            self.why = self.why or "log cut"
        if not self.up:
            self.why = self.why or "not up"


@dataclass(slots=True, eq=False)
class Evidence:
    """The logs of one run.

    `names` and `offsets` turn an id back into what the operator wrote: the sender's name, and what was taken off its
    numbers to make them fit. `closed` says that every process there was has a log here, so that a message of anybody
    else is foreign. `self_delivery` is False for programs that do not deliver their own messages.
    """

    logs: Sequence[PeerLog]
    names: Sequence[str] = ()
    offsets: dict[int, int] = field(default_factory=dict)
    self_delivery: bool = True
    closed: bool = True

    def __post_init__(self) -> None:
        seen: set[object] = set()
        for log in self.logs:
            for what in (log.label, log.sender):
                if what is not None and what in seen:
                    raise EvidenceError(f"two logs are those of {log.label}")
                seen.add(what)

    def sender_name(self, sender: int) -> str:
        return self.names[sender] if sender < len(self.names) else str(sender)

    def message(self, ident: int) -> dict[str, object]:
        """A message as a witness shows it."""
        sender, number = divmod(int(ident), NUMBERS)
        return {"sender": self.sender_name(sender), "number": number + self.offsets.get(sender, 0)}

    def message_name(self, ident: int) -> str:
        """A message as a sentence names it."""
        message = self.message(ident)
        return f"{message['sender']}:{message['number']}"

"""A window in words: what is to be seen in its picture, what is not drawn, and what a pointer is told of a message."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.diagram.places import digits_of, step_of
from analysis.diagram.signs import counted
from analysis.diagram.window import Delivery, Message, Window

FINE = 9000  # a moment is told as if the window were so wide


class Words:
    """What is said of one window, with as many digits as its moments need."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self._digits = digits_of(step_of(window.to_s - window.from_s, FINE))

    def description(self) -> str:
        """What is to be seen, for whoever does not see it."""
        return " ".join([*self._shown(), *self.captions()])

    def _shown(self) -> Iterator[str]:
        window, focus = self.window, self.window.focus
        regions = list(dict.fromkeys(lane.region for lane in window.lanes if lane.region))
        where = f" in {counted(len(regions), 'region')} ({', '.join(regions)})" if regions else ""
        what = f"{counted(len(window.lanes), 'peer')}{where} with {counted(len(window.messages), 'message')}"
        yield f"Space-time diagram of {what}, from {self.time(window.from_s)} to {self.time(window.to_s)} s."
        if focus:
            yield f"{focus.property} does not hold: {focus.sentence}"
            yield from (f"Peer {peer}: {note}." for peer, note in sorted(focus.notes.items()))

    def captions(self) -> Iterator[str]:
        """What is to be known of the picture."""
        yield "A message s:n is number n of peer s; a line leads from its multicast to its delivery by another peer."
        if not self.window.shared_clock:
            yield (
                "Each peer has a clock of its own: the lanes are lined up at their releases, so that a line may be too"
                " steep, too flat, or seem to lead back in time."
            )
        if left_out := list(self._left_out()):
            yield f"Not drawn: {'; '.join(left_out)}."

    def _left_out(self) -> Iterator[str]:
        window = self.window
        if window.asked_to_s is not None:
            yield f"the time from {self.time(window.to_s)} to {self.time(window.asked_to_s)} s"
        if window.left_out:
            yield f"{counted(window.left_out, 'other message')} of this time"
        if window.hidden:
            yield f"{counted(len(window.hidden), 'peer')} ({', '.join(window.hidden)})"

    def message(self, message: Message) -> str:
        """What became of a message."""
        asked, deliveries = self.multicast(message), message.deliveries
        if len(deliveries) <= 3:
            return "; ".join([asked, *(f"delivered by {self.delivery(each)}" for each in deliveries)])
        first, last = (self.time(end(each.time_s for each in deliveries)) for end in (min, max))
        low, high = (end(each.position for each in deliveries) for end in (min, max))
        at = f"position {low}" if low == high else f"positions {low} to {high}"
        return f"{asked}; delivered by {len({each.peer for each in deliveries})} peers from {first} to {last} s at {at}"

    def multicast(self, message: Message) -> str:
        """When it was multicast."""
        if message.asked_s is None:
            return f"{message.name}, of which no multicast is recorded"
        return f"{message.name}, multicast by peer {message.sender} at {self.time(message.asked_s)} s"

    def delivery(self, delivery: Delivery) -> str:
        """Who delivered something where, and when."""
        again = " again" if delivery.again else ""
        return f"peer {delivery.peer}{again} at position {delivery.position} ({self.time(delivery.time_s)} s)"

    def time(self, time_s: float) -> str:
        return f"{time_s:.{self._digits}f}"

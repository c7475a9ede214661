"""A window as a picture: SVG that takes its colours from CSS variables and else follows light and dark.

Time goes from left to right, a lane a peer. What is to be seen is told in words, too, by <desc> and by tooltips. All
that moves when a person zooms lies in the group `plane`, which is stretched along time; what has the class `fix` in it
keeps its own shape, and shows from the zoom on that its `data-from` says.
"""

from __future__ import annotations

from collections.abc import Iterator

from analysis.diagram.places import LETTER, NEAREST, spread, ticks, zooms
from analysis.diagram.signs import fixed, num, outline, ranged, safe, short, wrapped
from analysis.diagram.style import PALETTE, style
from analysis.diagram.window import Delivery, Ident, Lane, Message, Window, named
from analysis.diagram.words import Words

WIDTH, EDGE = 1000, 12
GUTTER, NOTES = 150, 244  # beside the lanes: names on the left, words on the right
PITCH, HEAD, AXIS = 42, 18, 34  # of a lane, above the lanes of a region, below all lanes
SENTENCE, CAPTION, NOTE = 145, 155, 31  # letters in a line
MARK, RING = 5.2, 9.5  # radii
ASIDE = 2 * MARK + 2  # what two marks are apart at least


def svg(window: Window, title: str, *, heading: bool = False, fixed_colours: bool = False) -> str:
    """The picture of a window; `heading` puts the title and the sentence into it, for a file that stands alone.

    `fixed_colours` leaves the variables out, for programs that do not know them.
    """
    return _Picture(window, title, heading, fixed_colours).written()


class _Picture:
    """One drawing, put together from top to bottom."""

    def __init__(self, window: Window, title: str, heading: bool, fixed_colours: bool) -> None:
        self.window, self.title, self.fixed_colours = window, title, fixed_colours
        self.focus, self.words = window.focus, Words(window)
        self.notes = self.focus.notes if self.focus else {}
        self.sentence = wrapped(self.focus.sentence, SENTENCE) if self.focus and heading else []
        self.left, self.right = GUTTER, WIDTH - (NOTES if self.notes else EDGE)
        self.width = self.right - self.left
        self.scale = self.width / (window.to_s - window.from_s)
        self.marked: dict[Ident, int] = {}  # messages that are pointed at, and their places among these
        if self.focus:
            idents = [*self.focus.messages, *filter(None, [self.focus.between])]
            self.marked = {ident: place for place, ident in enumerate(idents)}
        self.witnesses = [
            (message, self.marked[message.ident]) for message in window.messages if message.ident in self.marked
        ]
        self.others = [message for message in window.messages if message.ident not in self.marked]
        self.heading = heading
        self.top = 40.0 + 16 * len(self.sentence) + 6 * bool(self.sentence) if heading else 8.0
        self.regions = list(dict.fromkeys(lane.region for lane in window.lanes))
        self.lanes = sorted(window.lanes, key=lambda lane: (self.regions.index(lane.region), lane.peer))
        self.y: dict[int, float] = {}  # of each lane
        self.bands: list[tuple[str, float, float]] = []  # of each region: from where to where
        self.bottom = self._place_lanes()

    def written(self) -> str:
        below, end = self._below(self.bottom + AXIS + 18)
        label, height = safe(self.title), num(end)
        top, high = num(self.top), num(self.bottom - self.top)
        return "\n".join(
            [
                '<svg xmlns="http://www.w3.org/2000/svg" class="space-time" role="img" tabindex="0"'
                f' aria-label="{label}" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}">',
                f"<title>{label}</title>",
                f"<desc>{safe(self.words.description())}</desc>",
                f"<style>{style(self.fixed_colours)}</style>",
                f'<rect class="back" width="{WIDTH}" height="{height}"/>',
                *self._head(),
                *self._gutter(),
                *self._axis(),
                f'<svg class="plot" x="{self.left}" y="{top}" width="{self.width}" height="{high}"'
                f' viewBox="0 {top} {self.width} {high}" style="width:{self.width}px;height:{high}px">',
                '<g class="plane">',
                *self._plane(),
                "</g></svg>",
                *self._notes(),
                *below,
                "</svg>\n",
            ]
        )

    # Where things are

    def x(self, time_s: float) -> float:
        """Along the lanes, from the beginning of the window; far outside it does not matter how far."""
        return min(max((time_s - self.window.from_s) * self.scale, -self.width), 2.0 * self.width)

    def at(self, peer: int, time_s: float) -> str:
        """A moment of a peer, as paths have it."""
        return f"{num(self.x(time_s))} {num(self.y[peer])}"

    def seen(self, time_s: float | None) -> bool:
        return time_s is not None and self.window.from_s <= time_s <= self.window.to_s

    def origin(self, message: Message) -> str | None:
        """Where the lines of a message begin; None where no lane or no record tells."""
        if message.asked_s is None or message.sender not in self.y:
            return None
        return self.at(message.sender, message.asked_s)

    def _place_lanes(self) -> float:
        y = self.top
        for region in self.regions:
            begin, y = y, y + (HEAD if region else 6)
            for lane in self.lanes:
                if lane.region == region:
                    self.y[lane.peer] = y + PITCH / 2
                    y += PITCH
            y += 6
            self.bands.append((region, begin, y))
            y += 4
        return self.bands[-1][2]

    # Around the lanes

    def _head(self) -> Iterator[str]:
        if self.heading:
            yield f'<text class="title" x="{EDGE}" y="25">{safe(short(self.title, 110))}</text>'
        for row, line in enumerate(self.sentence):
            yield f'<text class="sentence" x="{EDGE}" y="{46 + 16 * row}">{safe(line)}</text>'

    def _gutter(self) -> Iterator[str]:
        """The regions, and the names of the peers."""
        for place, (region, begin, end) in enumerate(self.bands):
            yield f'<rect class="band" x="4" y="{num(begin)}" width="{WIDTH - 8}" height="{num(end - begin)}" rx="6"/>'
            x = EDGE
            if region and not self.focus:
                square = f'x="{EDGE}" y="{num(begin + 7)}" width="8" height="8" rx="2"'
                yield f'<rect class="fill-{1 + place % PALETTE}" {square}/>'
                x += 13
            if region:
                yield f'<text class="region" x="{x}" y="{num(begin + 15)}">{safe(short(region, 120))}</text>'
        for lane in self.lanes:
            called = "" if lane.name in (str(lane.peer), f"p{lane.peer}") else f" peer {lane.peer}"
            whole = ", ".join(filter(None, [f"peer {lane.peer}: {lane.name}", lane.region]))
            yield (
                f'<text class="name" x="{EDGE}" y="{num(self.y[lane.peer] + 4)}"><title>{safe(whole)}</title>'
                f'{safe(short(lane.name, 18 - len(called)))}<tspan class="muted">{called}</tspan></text>'
            )

    def _axis(self) -> Iterator[str]:
        """Lines and numbers of time; the script makes others when it zooms."""
        window, top, bottom = self.window, num(self.top), num(self.bottom)
        yield (
            f'<g class="axis" transform="translate({self.left} 0)" data-from="{window.from_s!r}"'
            f' data-lasts="{window.to_s - window.from_s!r}" data-width="{self.width}"'
            f' data-top="{top}" data-bottom="{bottom}">'
        )
        for time_s, label in ticks(window.from_s, window.to_s, self.width):
            x = num(self.x(time_s))
            yield f'<path class="grid" d="M{x} {top}V{bottom}"/>'
            yield f'<text class="tick" x="{x}" y="{num(self.bottom + 14)}">{label}</text>'
        yield "</g>"
        unit = "seconds since the first release" if window.shared_clock else "seconds since each peer's release"
        yield f'<text class="muted" x="{self.left}" y="{num(self.bottom + 29)}">{unit}</text>'
        yield f'<text class="muted hint" x="{self.right}" y="{num(self.bottom + 29)}"></text>'

    def _notes(self) -> Iterator[str]:
        """What is said of each peer, on the right of its lane."""
        for lane in self.lanes:
            note = self.notes.get(lane.peer, "")
            if not note:
                continue
            y, concerned = self.y[lane.peer], self._concerned(lane.peer)
            lines = wrapped(note, NOTE)[:2]
            top = y + 4 - 6.5 * (len(lines) - 1)
            yield f'<g class="note{" strong" if concerned else ""}"><title>{safe(note)}</title>'
            if concerned:
                yield f'<path class="flag" d="M{self.right + 6} {num(y - 9)}v18"/>'
            for row, line in enumerate(lines):
                where = f'x="{self.right + 13}" y="{num(top + 13 * row)}"'
                yield f"<text {where}>{safe(short(line, NOTE + 2))}</text>"
            yield "</g>"

    def _concerned(self, peer: int) -> bool:
        """Whether what this peer did, or lacks, is what is wrong."""
        focus = self.focus
        return focus is not None and (peer in focus.lacks or any(peer == other for other, _ in focus.offending))

    # Inside

    def _plane(self) -> Iterator[str]:
        yield from self._past()
        for lane in self.lanes:
            yield from self._lane(lane)
        for message in self.others:
            yield from self._plain(message)
        yield from self._chain()
        for message, place in self.witnesses:
            yield from self._ways(message, place)
        for lane in self.lanes:
            yield from self._positions(lane)
        yield from self._crosses()
        for lane in self.lanes:
            yield from self._got(lane)
            yield from self._sent(lane)

    def _past(self) -> Iterator[str]:
        """What lies in the causal past of the offending message."""
        for peer, time_s in (self.focus.past_s if self.focus else {}).items():
            if peer in self.y and self.x(time_s) > 0:
                yield f'<path class="past" d="M0 {num(self.y[peer])}H{num(self.x(time_s))}"/>'

    def _chain(self) -> Iterator[str]:
        points = [self.at(*point) for point in (self.focus.chain if self.focus else ()) if point[0] in self.y]
        if len(points) > 1:
            yield f'<path class="chain" d="M{"L".join(points)}"/>'

    def _lane(self, lane: Lane) -> Iterator[str]:
        y = self.y[lane.peer]
        if lane.begins_s is None:
            why = lane.why or "nothing of it is known"
            yield fixed(0, y, f'<text class="muted small" x="8" y="4">{safe(short(why, 60))}</text>')
            return
        end = self.width if lane.ends_s is None else min(self.width, max(0.0, self.x(lane.ends_s)))
        yield f'<path class="lane" d="M0 {num(y)}H{num(end)}"/>'
        if end < self.width:
            why = short(lane.why, 30)
            room = self.width - end > 30 + LETTER * len(why)
            where = 'x="26" y="4"' if room else 'x="-6" y="17" text-anchor="end"'
            sign = '<path class="end" d="M0-9V9M4-9V9"/>' if end else ""
            words = f'<text class="muted small" {where}>{safe(why)}</text>'
            yield fixed(end, y, f"<title>{safe(lane.why)}</title>{sign}{words}")
        for time_s, view in lane.views:
            if self.seen(time_s):
                sign = '<path class="view" d="M0-15V15"/>'
                words = f'<text class="muted small" x="3" y="-9">view {view}</text>'
                yield fixed(self.x(time_s), y, f"<title>installed view {view}</title>{sign}{words}")

    def _plain(self, message: Message) -> Iterator[str]:
        """A message that no witness is about: faded where there is a witness, else in its region's colour."""
        origin = self.origin(message)
        places = [(each.peer, self.at(each.peer, each.time_s)) for each in message.deliveries]
        ways = "".join(f"M{origin}L{place}" for peer, place in places if origin and peer != message.sender)
        parts = [f'<path class="way" d="{ways}"/>'] if ways else []
        if places:
            parts.append(f'<path class="got" d="{"".join(f"M{place}h0" for _, place in places)}"/>')
        if origin and self.seen(message.asked_s):
            parts.append(f'<path class="sent" d="M{origin}h0"/>')
        if parts:
            told = safe(self.words.message(message))
            yield f'<g class="message {self._kind(message)}"><title>{told}</title>{"".join(parts)}</g>'

    def _kind(self, message: Message) -> str:
        if self.focus:
            past_s = self.focus.past_s.get(message.sender)
            if past_s is None or message.asked_s is None:
                return "faded"
            return "before" if message.asked_s <= past_s else "faded"
        region = next((lane.region for lane in self.lanes if lane.peer == message.sender), None)
        return "faded" if region is None else f"line-{1 + self.regions.index(region) % PALETTE}"

    def _ways(self, message: Message, place: int) -> Iterator[str]:
        """The slanted lines of a message that the witness is about."""
        origin = self.origin(message)
        for each in message.deliveries:
            if origin and each.peer != message.sender:
                told = safe(f"{message.name} to {self.words.delivery(each)}")
                look = f"witness line-{1 + place % PALETTE} dash-{1 + place % 4}"
                way = f"M{origin}L{self.at(each.peer, each.time_s)}"
                yield f'<path class="{look}" d="{way}"><title>{told}</title></path>'

    def _crosses(self) -> Iterator[str]:
        """A cross in the lane of a peer that never had the message, beside where it came to the others last."""
        if not self.focus or not self.focus.lacks:
            return
        message, place = min(self.witnesses, key=lambda each: each[1])
        origin = self.origin(message)
        x = 6 * RING + (self.x(message.asked_s) if message.asked_s is not None else 0.0)
        x = max([x, *(self.x(each.time_s) for each in message.deliveries if self.seen(each.time_s))])
        for peer in self.focus.lacks:
            if peer in self.y:
                y = self.y[peer]
                if origin and peer != message.sender:
                    yield f'<path class="lost line-{1 + place % PALETTE}" d="M{origin}L{num(x)} {num(y)}"/>'
                told = safe(f"peer {peer} never delivered {message.name}")
                yield fixed(x, y, f'<title>{told}</title><path class="cross" d="M-6-6L6 6M-6 6L6-6"/>')

    def _got(self, lane: Lane) -> Iterator[str]:
        """Deliveries of the witness's messages; two at one place stand beside each other in their order."""
        got = [
            (delivery, message, place)
            for message, place in self.witnesses
            for delivery in message.deliveries
            if delivery.peer == lane.peer and self.seen(delivery.time_s)
        ]
        got.sort(key=lambda each: each[0].position)
        places = [self.x(delivery.time_s) for delivery, _, _ in got]
        sent = [x for x, _, _ in self._sent_by(lane)]
        clear = [max([x, *(other + ASIDE for other in sent if other <= x < other + ASIDE)]) for x in places]
        marks = [there + shift for there, shift in zip(clear, spread(clear, ASIDE))]
        widest = max((len(str(delivery.position)) for delivery, _, _ in got), default=0)
        labels = [mark + shift for mark, shift in zip(marks, spread(marks, 8 + LETTER * widest))]
        for (delivery, message, place), x, mark, label in zip(got, places, marks, labels):
            yield fixed(x, self.y[lane.peer], self._delivered(delivery, message, place, num(mark - x), num(label - x)))

    def _delivered(self, delivery: Delivery, message: Message, place: int, mark: str, label: str) -> str:
        offends = self.focus is not None and (delivery.peer, delivery.position) in self.focus.offending
        number, shape = 1 + place % PALETTE, outline(place, MARK)
        told = f"{message.name} delivered by {self.words.delivery(delivery)}{', which breaks it' if offends else ''}"
        return (
            f"<title>{safe(told)}</title>"
            + (f'<circle class="ring" cx="{mark}" cy="0" r="{RING}"/>' if offends else "")
            + f'<path class="mark line-{number}" transform="translate({mark} 0)" d="{shape}"/>'
            + f'<text class="label ink-{number}" x="{label}" y="{-13 if offends else -10}">{delivery.position}</text>'
        )

    def _sent(self, lane: Lane) -> Iterator[str]:
        """Multicasts of the witness's messages."""
        sent = self._sent_by(lane)
        widest = max((len(message.name) for _, message, _ in sent), default=0)
        for (x, message, place), aside in zip(sent, spread([x for x, _, _ in sent], 8 + LETTER * widest)):
            number, shape = 1 + place % PALETTE, outline(place, MARK + 0.6)
            yield fixed(
                x,
                self.y[lane.peer],
                f"<title>{safe(self.words.multicast(message))}</title>"
                f'<path class="mark full fill-{number}" d="{shape}"/>'
                f'<text class="label ink-{number}" x="{num(aside)}" y="17">{message.name}</text>',
            )

    def _sent_by(self, lane: Lane) -> list[tuple[float, Message, int]]:
        """Of the witness's messages those that this peer multicast in the window, in order, and where each stands."""
        sent = [
            (self.x(message.asked_s), message, place)
            for message, place in self.witnesses
            if message.sender == lane.peer and message.asked_s is not None and self.seen(message.asked_s)
        ]
        return sorted(sent, key=lambda each: (each[0], each[1].number))

    def _positions(self, lane: Lane) -> Iterator[str]:
        """The position at each other delivery: where there is room, and as soon as zooming makes room."""
        at_once: dict[float, list[int]] = {}
        for message in self.others:
            for delivery in message.deliveries:
                if delivery.peer == lane.peer and self.seen(delivery.time_s):
                    at_once.setdefault(delivery.time_s, []).append(delivery.position)
        labels = [(self.x(time_s), ranged(positions)) for time_s, positions in sorted(at_once.items())]
        for (x, label), zoom in zip(labels, zooms(labels, self._taken(lane))):
            half = LETTER * len(label) / 2
            if zoom <= NEAREST and half < x < self.width - half:
                late, where = " late" if zoom > 1 else "", f"{num(x)} {num(self.y[lane.peer] - 7)}"
                shown = f'class="fix position{late}" data-from="{num(zoom)}" transform="translate({where})"'
                yield f"<text {shown}>{label}</text>"

    def _taken(self, lane: Lane) -> list[tuple[float, float]]:
        """Where labels of the witness's deliveries, and of views, are above a lane, and how wide these are."""
        return [
            (self.x(each.time_s), 2 * ASIDE + LETTER * len(str(each.position)))
            for message, _ in self.witnesses
            for each in message.deliveries
            if each.peer == lane.peer
        ] + [(self.x(time_s) + 18, 40.0) for time_s, _ in lane.views]

    # Below

    def _below(self, y: float) -> tuple[list[str], float]:
        """The key to the signs, and what else is to be known; and where the picture ends."""
        parts, x = [], float(EDGE)
        for sign, words in self._key():
            wide = 30 + LETTER * len(words)
            if x + wide > WIDTH - EDGE and x > EDGE:
                x, y = float(EDGE), y + 20
            inside = f'{sign}<text x="24" y="4">{safe(words)}</text>'
            parts.append(f'<g class="sign" transform="translate({num(x)} {num(y)})">{inside}</g>')
            x += wide + 14
        y += 26
        for line in (line for caption in self.words.captions() for line in wrapped(caption, CAPTION)):
            parts.append(f'<text class="muted" x="{EDGE}" y="{num(y)}">{safe(line)}</text>')
            y += 15
        return parts, y

    def _key(self) -> Iterator[tuple[str, str]]:
        """Signs that occur, and what they mean."""
        focus, asked = self.focus, {message.ident for message, _ in self.witnesses if message.asked_s is not None}
        for ident, place in self.marked.items():
            number, shape = 1 + place % PALETTE, outline(place, MARK - 1)
            x = 16 if ident in asked else 10
            got = f'<path class="mark line-{number}" transform="translate({x} 0)" d="{shape}"/>'
            if ident in asked:
                way = f'<path class="witness line-{number} dash-{1 + place % 4}" d="M0 0H16"/>'
                sent = f'<path class="mark full fill-{number}" transform="translate(3 0)" d="{shape}"/>'
                due = ", due between" if focus and ident == focus.between else ""
                yield f"{way}{sent}{got}", f"{named(ident)} multicast, delivered{due}"
            else:
                yield got, f"{named(ident)} delivered, no multicast recorded"
        if focus and focus.offending:
            ring = f'<circle class="ring" cx="10" r="{RING - 2}"/>'
            yield ring, "first delivery" if "agreement" in focus.property else "delivery that breaks it"
        if focus and focus.lacks:
            yield '<path class="cross" d="M4-6L16 6M4 6L16-6"/>', "never delivered here"
        if focus and focus.chain:
            yield '<path class="chain" d="M3 0H15"/>', "how the one came to depend on the other"
        if focus and focus.past_s:
            yield '<path class="past" d="M0 0H20"/>', "its causal past"
        dots = '<path class="way" d="M3 6L17-6"/><path class="sent" d="M3 6h0"/><path class="got" d="M17-6h0"/>'
        if focus:
            yield f'<g class="message faded">{dots}</g>', "another message"
        else:
            coloured = ", in the colour of the sender's region" if len(self.regions) > 1 else ""
            yield f'<g class="message line-1">{dots}</g>', f"multicast and delivery{coloured}"
        yield '<text class="position" x="10" y="4">12</text>', "position in that peer's log, from 0"

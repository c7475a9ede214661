"""A second judge, written straight from the definitions with plain loops, that shares no code with the first.

Each property lists all its violations as keys that sort, so that the least is what a smallest witness must reach;
None stands for no evidence. Logs are lists of (sender, number); sends are None or lists of (number, after).
"""

from dataclasses import dataclass, field


@dataclass
class Peer:
    log: list
    sends: list | None = None
    up: bool = True
    views: list = field(default_factory=list)


@dataclass
class Case:
    peers: list
    self_delivery: bool = True
    closed: bool = True


class PlainJudge:
    def __init__(self, case):
        self.case, self.peers = case, case.peers
        self.N = range(len(case.peers))
        self.up = [p for p in self.N if case.peers[p].up]
        self.log = [peer.log for peer in case.peers]
        self.first = [list(dict.fromkeys(log)) for log in self.log]
        self.sent = [None if p.sends is None else {} for p in case.peers]
        for p in self.N:
            for number, after in case.peers[p].sends or []:
                self.sent[p].setdefault((p, number), after)
        self.delivered = {message for log in self.log for message in log}
        self.known = self.delivered | {message for sent in self.sent for message in sent or {}}
        self.least = {}
        for sender, number in self.known:
            self.least[sender] = min(number, self.least.get(sender, number))

    def violations(self, name):
        """Those of a property; where there are none and too little was delivered for any, there is no evidence."""
        least = 2 if name in ("fifo", "causal", "total", "uniform_total", "prefix") else 1
        found = getattr(self, name)()
        return None if not found and all(len(log) < least for log in self.first) else found

    def owes(self, p, message):
        return self.case.self_delivery or message[0] != p

    def unrecorded(self):
        return any(s not in self.N or self.sent[s] is None for s, _ in self.delivered)

    def validity(self):
        if not self.case.self_delivery or not self.up:
            return None
        keys = [(i, p) for p in self.up for i, m in enumerate(self.sent[p] or {}) if m not in self.log[p]]
        return keys if keys or all(self.sent[p] is not None for p in self.up) else None

    def foreign(self, message):
        s, number = message
        if all(sent is None for sent in self.sent):
            return False
        if s not in self.N:
            return self.case.closed
        if self.sent[s] is None or message in self.sent[s]:
            return False
        return self.peers[s].up or number < max((n for _, n in self.sent[s]), default=-1)

    def integrity(self):
        return [(i, p) for p in self.N for i, m in enumerate(self.log[p]) if m in self.log[p][:i]] + [
            (self.log[p].index(m), p) for p in self.N for m in self.first[p] if self.foreign(m)
        ]

    def lacking(self, logs):
        lacks = [(m, p) for m in {m for p in logs for m in self.log[p]} for p in self.up]
        lacks = [(m, p) for m, p in lacks if m not in self.log[p] and self.owes(p, m)]
        return [min((self.log[q].index(m), q) for q in logs if m in self.log[q]) for m, _ in lacks]

    def agreement(self):
        return self.lacking(self.up) if len(self.up) > 1 else None

    def uniform_agreement(self):
        return self.lacking(self.N) if self.up and len(self.peers) > 1 else None

    def fifo(self):
        keys = []
        for p in self.N:
            following = {s: number for s, number in self.least.items()}
            for i, (s, number) in enumerate(self.log[p]):
                if number != following[s]:
                    keys.append((i, p))
                following[s] = number + 1
        return keys

    def dependencies(self, message):
        """In the order of the sender's own history: (position, 0) of a multicast, (position, 1) of a delivery."""
        s = message[0]
        if s not in self.N or message not in (self.sent[s] or {}):
            return []
        after, records = self.sent[s][message], list(self.sent[s].items())
        history = [((a, 0), m) for m, a in records[: [m for m, _ in records].index(message)]]
        history += [((i, 1), m) for i, m in enumerate(self.log[s][:after]) if m not in self.log[s][:i]]
        return [m for _, m in sorted(history) if m != message]

    def causal(self):
        if all(sent is None for sent in self.sent):
            return None
        keys = []
        for p in self.N:
            for m in self.first[p]:
                before = self.log[p][: self.log[p].index(m)]
                if any(d not in before and self.owes(p, d) for d in self.dependencies(m)):
                    keys.append((len(before), p))
        return keys if keys or not self.unrecorded() else None

    @staticmethod
    def closes(logs, legs):
        one = {a: set().union(*(log[log.index(a) + 1 :] for log in logs if a in log)) for log in logs for a in log}
        reach = one
        for _ in range(legs - 1):
            reach = {a: set().union(*(one[b] for b in there)) for a, there in reach.items()}
        return any(a in there for a, there in reach.items())

    def contradiction(self, logs):
        logs = [self.first[p] for p in logs]
        for legs in range(2, len(logs) + 1):
            if self.closes(logs, legs):
                return [
                    (legs, length)
                    for length in range(max(map(len, logs)) + 1)
                    if self.closes([log[:length] for log in logs], legs)
                ]
        return []

    def total(self):
        return self.contradiction(self.up) if len(self.up) > 1 else None

    def uniform_total(self):
        return self.contradiction(self.N) if len(self.peers) > 1 else None

    def prefix(self):
        if not self.case.self_delivery or len(self.up) < 2:
            return None
        logs = [self.first[p] for p in self.up]
        return [j for j in range(max(map(len, logs))) if len({log[j] for log in logs if j < len(log)}) > 1]

    def passed(self, p, view):
        """What a process delivered in a view, None unless it went on to the next."""
        records = self.peers[p].views
        if records:
            records = [(0, records[0][1] - 1), *records]
        for (begin, v), (end, following) in zip(records, records[1:]):
            if v == view and following == view + 1:
                return {m for m in self.first[p] if begin <= self.log[p].index(m) < end}

    def same_view(self):
        if not any(peer.views for peer in self.peers):
            return None
        keys = []
        for view in range(-1, max(v for peer in self.peers for _, v in peer.views)):
            passed = {p: self.passed(p, view) for p in self.N if self.passed(p, view) is not None}
            for message in set().union(*passed.values()):
                has = min((self.log[p].index(message), p) for p in passed if message in passed[p])
                lacks = [p for p in passed if message not in passed[p] and self.owes(p, message)]
                keys += [(view, *has, p) for p in lacks]
        return keys

    def rounds(self, logs):
        """(rounds, out of order, short, disordered, first out of order) of some logs."""
        logs = [self.log[p] for p in logs]
        longest = max(map(len, logs), default=0)
        at = [[log[j] if j < len(log) else None for log in logs] for j in range(longest)]
        out = [j for j in range(longest) if len(set(at[j])) > 1]
        short = [j for j in range(longest) if None in at[j]]
        disordered = [j for j in range(longest) if len(set(at[j]) - {None}) > 1]
        return longest, len(out), len(short), len(disordered), min(out, default=None)

    def complete(self):
        lacks = any(
            m not in self.log[p] and self.owes(p, m) for p in self.up for sent in self.sent for m in sent or {}
        )
        return False if lacks else None if self.unrecorded() or None in self.sent else True

    def inversions(self):
        pairs = [(p, q) for p in self.N for q in self.N if p < q]
        return sum(
            (self.first[p].index(a) < self.first[p].index(b)) != (self.first[q].index(a) < self.first[q].index(b))
            for p, q in pairs
            for a in self.first[p]
            for b in self.first[p]
            if a < b and a in self.first[q] and b in self.first[q]
        )

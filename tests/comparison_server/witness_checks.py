"""Checks a witness against the logs it speaks of, property by property; returns the key that the plain judge gives it.

Nothing is believed: whatever the witness says is looked up in the case again.
"""

from tests.comparison_server.plain_judge import Case, PlainJudge
from tests.comparison_server.random_cases import NAMES


class WitnessChecker:
    def __init__(self, case: Case, plain: PlainJudge):
        self.case, self.plain = case, plain
        self.names = NAMES[: len(case.peers)] + ["nobody", "stranger"]

    def check(self, name, witness, sentence):
        messages = [(self.names.index(each["sender"]), each["number"]) for each in witness["messages"]]
        peers = [NAMES.index(label) for label in witness["peers"]]
        logs = [self.case.peers[p].log for p in peers]
        for log, positions in zip(logs, witness["positions"], strict=True):
            assert positions == [log.index(m) if m in log else None for m in messages]
        assert sentence.endswith(".") and all(f"{s}:{n}" in sentence for s, n in self._named(messages))
        return getattr(self, name.removeprefix("uniform_"))(name, witness, messages, peers, logs)

    def _named(self, messages):
        return [(self.names[s], n) for s, n in messages]

    def validity(self, name, witness, messages, peers, logs):
        (message,), (p,) = messages, peers
        assert self.case.peers[p].up and message not in logs[0]
        return list(self.plain.sent[p]).index(message), p

    def integrity(self, name, witness, messages, peers, logs):
        (message,), (p,), (log,) = messages, peers, logs
        if witness["again"] is None:
            assert self.plain.foreign(message)
            return log.index(message), p
        assert log[witness["again"]] == message and log.index(message) < witness["again"]
        return witness["again"], p

    def agreement(self, name, witness, messages, peers, logs):
        (message,) = messages
        asked = self.plain.up if name == "agreement" else list(self.plain.N)
        has = [p for p in self.plain.N if message in self.plain.log[p]]
        lacks = [p for p in self.plain.N if message not in self.plain.log[p] and self.plain.owes(p, message)]
        assert sorted(peers) == sorted(has + lacks)
        assert any(p in self.plain.up for p in lacks) and any(p in asked for p in has)
        assert set(witness["why"]) == {NAMES[p] for p in lacks}
        for p in lacks:
            later = any(s == message[0] and n > message[1] for s, n in self.plain.log[p])
            reason = "passed over" if later else "not yet"
            assert witness["why"][NAMES[p]] == (reason if p in self.plain.up else "crashed")
        return min((self.plain.log[p].index(message), p) for p in has if p in asked)

    def fifo(self, name, witness, messages, peers, logs):
        (before, message), (p,), (log,) = messages, peers, logs
        was, at = witness["at"]
        assert log[at] == message and before[0] == message[0]
        earlier = [i for i in range(at) if log[i][0] == message[0]]
        if earlier:
            assert was == earlier[-1] and log[was] == before and message[1] != before[1] + 1
        else:
            assert before[1] == self.plain.least[message[0]] != message[1] and was == witness["positions"][0][0]
        return at, p

    def causal(self, name, witness, messages, peers, logs):
        (needed, message), (p, s), (log, history) = messages, peers, logs
        assert message[0] == s and witness["sender"] == NAMES[s]
        after = self.plain.sent[s][message]
        assert witness["after"] == after
        if witness["link"] == "delivered":
            assert needed in history[:after]
        else:
            records = list(self.plain.sent[s])
            assert records.index(needed) < records.index(message)
        before = log[: log.index(message)]
        missing = [d for d in self.plain.dependencies(message) if d not in before and self.plain.owes(p, d)]
        assert missing[0] == needed
        return len(before), p

    def total(self, name, witness, messages, peers, logs):
        assert len(messages) == len(peers) == len(set(messages))
        length = 0
        for p, message, then in zip(peers, messages, messages[1:] + messages[:1]):
            first = self.plain.first[p]
            assert first.index(message) < first.index(then)
            assert name == "uniform_total" or self.case.peers[p].up
            length = max(length, first.index(then) + 1)
        return len(messages), length

    def prefix(self, name, witness, messages, peers, logs):
        for p, message in zip(peers, messages, strict=True):
            assert self.case.peers[p].up and self.plain.first[p][witness["position"]] == message
        assert messages[0] != messages[1]
        return witness["position"]

    def same_view(self, name, witness, messages, peers, logs):
        (message,), (has, lacks) = messages, peers
        assert message in self.plain.passed(has, witness["view"])
        assert message not in self.plain.passed(lacks, witness["view"])
        return witness["view"], logs[0].index(message), has, lacks

"""What the explorer asks of short logs is what the judge of whole runs asks: on random logs both say the same."""

import random

import numpy as np
import pytest

from comparison_server.evidence import Evidence, PeerLog, Sends
from comparison_server.positions import Positions
from comparison_server.properties import PROPERTIES as JUDGES
from experiments.explorer.judging import ANY_TIME, AT_THE_END, PROPERTIES, Judge, recorded
from experiments.explorer.model import model_of
from experiments.explorer.state import History, Recorded, sender_of
from peer.core.names import message_id


def random_histories(chance, foreign=False):
    """Logs of two to four peers that are mostly in some common order, some cut, some disturbed."""
    peers, messages = chance.choice([(2, 1), (2, 3), (3, 1), (3, 2), (4, 1)])
    asked = [chance.randint(0, messages) for _ in range(peers)]
    order = [message_id(sender, number) for sender in range(peers) for number in range(asked[sender])]
    chance.shuffle(order)
    if chance.random() < 0.7:  # each sender's in order, as most protocols would have it
        order.sort(key=lambda ident: ident & 0xFF)
    histories = []
    for me in range(peers):
        log = order[: chance.randint(0, len(order))] if chance.random() < 0.5 else list(order)
        disturbance = chance.random()
        if disturbance < 0.15 and len(log) > 1:
            place = chance.randrange(len(log) - 1)
            log[place : place + 2] = log[place + 1], log[place]
        elif disturbance < 0.25 and log:
            log.insert(chance.randint(0, len(log)), chance.choice(log))
        elif disturbance < 0.35 and log:
            log.remove(chance.choice(log))
        elif disturbance < 0.4 and foreign:
            log.append(message_id(chance.randrange(peers), messages))
        elif disturbance < 0.5:
            chance.shuffle(log)
        own = [place for place, ident in enumerate(log) if sender_of(ident) == me]
        latest = min(own, default=len(log))
        after = sorted(chance.randint(0, latest) for _ in range(asked[me]))
        histories.append(History(tuple(log), tuple(after), asked[me]))
    return model_of("unordered", None, "reliable", peers, messages), histories


def judged(name, histories):
    logs = [
        PeerLog(f"p{me}", np.array(log, np.uint64), me, Sends(np.arange(asked), np.array(after)))
        for me, (log, after, asked) in enumerate(histories)
    ]
    return JUDGES[name](Positions(Evidence(logs, [log.label for log in logs]))).holds is False


@pytest.mark.parametrize("cases", [1000, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", PROPERTIES)
def test_both_judges_agree(name, cases):
    chance = random.Random(name)
    broken = 0
    for case in range(cases):
        model, histories = random_histories(chance, foreign=name == "integrity")  # only there both mean the same by it
        judge = Judge(model, (name,))
        found = judge.at_any_time(histories) if name in ANY_TIME else judge.at_the_end(histories)
        assert (found is not None) == judged(name, histories), (case, histories, found)
        if found is not None:
            broken += 1
            assert found.property == name and found.sentence.startswith(("p", "the "))
    assert cases // 20 < broken < cases, "the random logs should be of both kinds"


def test_an_order_that_only_three_logs_contradict():
    a, b, c = (message_id(sender, 0) for sender in range(3))
    histories = [History((a, b), (), 1), History((b, c), (), 1), History((c, a), (), 1)]
    violation = Judge(model_of("fifo", None, "reliable", 3, 1), ("total",)).at_any_time(histories)
    assert violation.sentence == "p0 delivered a before b, p1 delivered b before c, p2 delivered c before a"


@pytest.mark.parametrize(
    "name, logs, sentence",
    [
        ("integrity", ["aa", ""], "p0 delivered a twice"),
        ("integrity", ["", "d"], "p1 delivered d, but p1 had not multicast it"),
        ("fifo", ["", "b"], "p1 delivered b and not a before it, though p0 had multicast a first"),
        ("fifo", ["aba", ""], "p0 delivered a again after b"),
        ("total", ["ac", "ca"], "p0 delivered a before c, but p1 delivered c before a"),
        ("prefix", ["ab", "ac"], "the second message that p0 delivered is b, the second of p1 is c"),
        ("validity", ["ab", "ab"], "p1 multicast c, and now that all is at rest never delivers it"),
        ("agreement", ["abc", "ac"], "p0 delivered b, and now that all is at rest p1 never does"),
    ],
)
def test_a_sentence_names_what_disagrees(name, logs, sentence):
    ids = {"abcd"[2 * sender + number]: message_id(sender, number) for sender in (0, 1) for number in (0, 1)}
    histories = [History(tuple(ids[each] for each in log), (), asked) for log, asked in zip(logs, (2, 1))]
    judge = Judge(model_of("fifo", None, "reliable", 2, 2), (name,))
    violation = (judge.at_the_end if name in AT_THE_END else judge.at_any_time)(histories)
    assert (violation.property, violation.sentence) == (name, sentence)


def test_causal_says_how_the_sender_knew():
    a, b = message_id(0, 0), message_id(1, 0)
    histories = [History((a,), (0,), 1), History((a, b), (1,), 1), History((b,), (), 0)]
    violation = Judge(model_of("fifo", None, "reliable", 3, 1), ("causal",)).at_any_time(histories)
    assert violation.sentence == "p2 delivered b and not a before it, which p1 had delivered before it multicast b"


def test_what_is_recorded_is_what_is_looked_at():
    assert recorded(("integrity", "fifo", "agreement", "validity")) == Recorded(across=False, after=False)
    assert recorded(("causal",)) == Recorded(across=True, after=True)
    assert recorded(("integrity", "fifo", "total", "causal")) == Recorded(across=True, after=True)
    assert recorded(("integrity", "fifo", "prefix", "causal")) == Recorded(across=True, after=False)


def test_causal_follows_from_integrity_fifo_and_prefix():
    """This is why the search may leave it out where it judges these three."""
    chance = random.Random("follows")
    kept = 0
    for _ in range(20_000):
        model, histories = random_histories(chance)
        if Judge(model, ("integrity", "fifo", "prefix")).at_any_time(histories) is None:
            kept += 1
            assert Judge(model, ("causal",)).at_any_time(histories) is None, histories
    assert kept > 1000

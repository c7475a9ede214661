"""Counterexamples: short, readable, confirmed by the layers themselves, and good for being played again later."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from comparison_server.evidence import Evidence, PeerLog, Sends
from comparison_server.positions import Positions
from comparison_server.properties import PROPERTIES as JUDGES
from experiments.explorer.minimise import minimise, played
from experiments.explorer.search import explore
from experiments.explorer.witness import Arrival, Multicast, Stage, TurnEnd, load
from peer.core.errors import SettingsError

GOLDENS = Path(__file__).parents[1] / "goldens" / "counterexamples"

FOUND = [
    # ordering, variant, links, peers, messages, property
    ("lamport_all_ack", "explicit", "datagrams", 2, 2, "total"),
    ("lamport_all_ack", "promise", "datagrams", 2, 2, "total"),
    ("lamport_all_ack", "textbook", "datagrams", 2, 2, "total"),
    ("unordered", "plain", "reliable", 2, 2, "fifo"),
    ("unordered", "plain", "reliable", 2, 1, "total"),
    ("fifo", "plain", "reliable", 3, 1, "causal"),
    ("fifo", "plain", "reliable", 2, 1, "total"),
]


def name_of(case):
    return f"{case[0]}-{case[1]}-{case[2]}-{case[5]}"


@pytest.mark.parametrize("case", FOUND, ids=name_of)
def test_found_and_confirmed(case, tmp_path):
    *which, name = case
    explored = explore(*which, check=[name])
    assert explored.violation is not None and explored.violation.property == name and not explored.exhausted
    witness = minimise(explored)
    kept = load(witness.save(tmp_path))
    assert (kept.model, kept.violation, kept.steps) == (witness.model, witness.violation, witness.steps)

    stage = Stage(kept.model)
    assert all(stage.play(step) for step in kept.steps)
    logs = [
        PeerLog(f"p{me}", np.array(log, np.uint64), me, Sends(np.arange(asked), np.array(after)))
        for me, (log, after, asked) in enumerate(stage.histories)
    ]
    finding = JUDGES[name](Positions(Evidence(logs)))
    assert finding.holds is False, "the judge of whole runs sees it too"

    for place in range(len(witness.steps)):
        rest = witness.steps[:place] + witness.steps[place + 1 :]
        assert played(witness.model, name, rest) is None, "every step is needed"


@pytest.mark.parametrize("path", sorted(GOLDENS.glob("*.json")), ids=lambda path: path.stem)
def test_kept_counterexamples_are_still_ones(path):
    witness = load(path)
    again = played(witness.model, witness.violation.property, witness.steps)
    assert again is not None, "the layers no longer do this; search again and look at what changed"
    assert again.violation == witness.violation and again.steps == witness.steps
    assert again.conversation() == json.loads(path.read_text(encoding="utf-8"))["conversation"]


def test_there_are_kept_counterexamples():
    assert {path.stem.split("-")[1] for path in GOLDENS.glob("*.json")} == {"lamport_all_ack", "fifo", "unordered"}


def test_a_conversation_that_a_person_can_read():
    witness = minimise(explore("lamport_all_ack", "explicit", "datagrams", 2, 2, check=["total"]))
    assert witness.conversation() == [
        "p0 multicasts a and b and sends a and b to p1",
        "b reaches p1",
        "p1 ends its turn, sends Holds(senders (0), upto (2)) to p0 and delivers b",
        "Holds(senders (0), upto (2)) of p1 reaches p0",
        "p0 ends its turn and delivers a and b",
        "a reaches p1",
        "p1 ends its turn, sends Holds(senders (0), upto (2)) to p0 and delivers a",
        "So p0 delivered a before b, but p1 delivered b before a: total does not hold.",
    ]


def test_needless_steps_are_dropped():
    """Somebody else's messages, a copy nobody needs and a turn that could be part of the next."""
    explored = explore("fifo", "plain", "datagrams", 3, 1, check=["total"])
    shortest = minimise(explored)
    a = next(step.packet for step in explored.witness if type(step) is Arrival)
    longer = (Multicast(2), TurnEnd(2), *explored.witness, Arrival(2, a.sender, a, copy=True), TurnEnd(2))
    assert played(explored.model, "total", longer) is not None
    assert len(minimise(replace(explored, witness=longer)).steps) == len(shortest.steps) == 6


def test_what_cannot_happen_is_not_played():
    model = explore("fifo", "plain", "reliable", 2, 1).model
    stage = Stage(model)
    assert stage.play(TurnEnd(0, late=1)) and not stage.play(Multicast(0)) and not stage.play(TurnEnd(0, late=1))
    assert stage.play(Multicast(1)) and stage.play(TurnEnd(1))
    mine = next(step for step in (Arrival(1, 0, _block(model, 0)), Arrival(1, 1, _block(model, 1))) if stage.play(step))
    assert mine.source == 0 and not stage.play(mine), "it has arrived, and there is only one"


def _block(model, sender):
    stage = Stage(model)
    stage.play(TurnEnd(sender, late=1))
    (number, _, _), *_ = model.network.next(stage._inboxes[1 - sender])
    return stage._events.all[number].packet


def test_a_file_that_says_something_else_is_not_replaced(tmp_path):
    witness = minimise(explore("fifo", "plain", "reliable", 2, 1, check=["total"]))
    first = witness.save(tmp_path)
    assert witness.save(tmp_path) == first
    first.write_text("mine", encoding="utf-8")
    second = witness.save(tmp_path)
    assert second != first and first.read_text(encoding="utf-8") == "mine" and load(second).steps == witness.steps


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"ordering": "fifo"}'])
def test_a_file_that_is_no_counterexample(tmp_path, text):
    path = tmp_path / "it.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match="is no counterexample"):
        load(path)

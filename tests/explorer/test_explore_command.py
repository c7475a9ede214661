"""The command `explore`: what it says, what it keeps, and its exit codes."""

import json

import pytest

from comparison_server import face
from experiments.__main__ import app
from experiments.explorer import command, state
from experiments.explorer.witness import load
from peer.ordering.unordered import Unordered


@pytest.fixture
def explore(tmp_path, capsys):
    def explore(*arguments):
        code = face.run(app, ["explore", "--out", str(tmp_path), *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return explore


def test_nothing_to_be_found(explore, tmp_path):
    code, said, complaints = explore("--ordering", "lamport_all_ack:promise,fixed_sequencer", "--peers", "2")
    assert code == 0 and complaints == "" and not list(tmp_path.iterdir())
    assert said.count("exhausted, nothing was found: integrity, fifo, causal, total, prefix, validity, agreement") == 2


def test_a_broken_promise(explore, tmp_path):
    code, said, _ = explore("--ordering", "lamport_all_ack", "--link", "datagrams", "--peers", "2", "--messages", "2")
    unmet = "over reliable links and fifo links only (here: datagrams)"
    assert code == 1 and f"integrity, which is promised {unmet}, is broken" in said
    (kept,) = tmp_path.iterdir()
    assert f"python -m experiments replay {kept}" in said and load(kept).violation.sentence in said
    for line in load(kept).conversation():
        assert line in said


def test_a_promise_that_is_broken_where_all_that_it_needs_is_given(explore, monkeypatch):
    monkeypatch.setattr(Unordered, "promises", Unordered.promises | {"total"})
    code, said, _ = explore("--ordering", "unordered", "--peers", "2", "--check", "total")
    assert code == 1 and "total, which is promised, is broken" in said


def test_what_was_not_promised_may_be_broken(explore):
    code, said, _ = explore("--ordering", "unordered", "--peers", "2", "--check", "total")
    assert code == 0 and "total, which is not promised, is broken" in said
    assert "So p0 delivered a before b, but p1 delivered b before a: total does not hold." in said


@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_what_cannot_be_kept_is_told_all_the_same(explore, tmp_path, as_json):
    (tmp_path / "file").touch()
    both = ("--ordering", "unordered,lamport_all_ack", "--link", "reliable", "--peers", "2", "--messages", "2")
    arguments = ("--check", "total,fifo", "--out", str(tmp_path / "file" / "below"), *as_json)
    code, said, complaints = explore(*both, *arguments)
    assert code == 1 and "does not hold" in said and complaints.count("the counterexample is not kept: ") == 2
    if as_json:
        assert [run["violation"]["file"] for run in json.loads(said)["runs"]] == [None, None]
    code, said, _ = explore("--ordering", "unordered", "--peers", "2", *arguments)
    assert code == 3 and "does not hold" in said, "nothing that was promised"


def test_bounds_are_said(explore):
    code, said, _ = explore("--ordering", "fifo", "--peers", "2", "--duplicates", "2", "--max-states", "5")
    assert "2 peers, each multicasts 1 message at any moment, over datagrams in any order" in said
    assert code == 3 and "2 duplicates at each peer" in said
    assert "nothing was found so far, more than 5 states; raise --max-states: " in said


def test_a_search_that_gave_up_does_not_hide_a_broken_promise(explore):
    both = ("--ordering", "lamport_all_ack,unordered", "--link", "reliable", "--peers", "2", "--messages", "2")
    code, said, _ = explore(*both, "--max-states", "50")
    assert code == 1 and "is broken" in said and "more than 50 states" in said


def test_a_search_for_which_a_peer_can_do_too_much(explore, monkeypatch):
    monkeypatch.setattr(state, "MOST_SITUATIONS", 5)
    code, said, _ = explore("--ordering", "fifo", "--peers", "2")
    assert code == 3 and "; take fewer --peers or --messages: " in said


def test_one_json_object(explore, tmp_path):
    both = ("--ordering", "unordered,lamport_all_ack", "--link", "reliable", "--peers", "2", "--messages", "2")
    code, said, _ = explore("--json", *both)
    runs = json.loads(said)["runs"]
    assert code == 1 and [run["ordering"] for run in runs] == ["unordered", "lamport_all_ack"]
    assert runs[0]["exhausted"] and runs[0]["violation"] is None and runs[0]["states"] > 0
    assert [run["unmet"] for run in runs] == [[], ["fifo links"]]
    assert runs[1]["violation"]["promised"] is True and runs[1]["violation"]["property"] in runs[1]["checked"]
    assert load(tmp_path / runs[1]["violation"]["file"]).violation.property == runs[1]["violation"]["property"]


@pytest.mark.parametrize(
    "arguments, complaint",
    [
        (["--ordering", "lamport"], "unknown ordering lamport"),
        (["--ordering", "fifo:fast"], "fast"),
        (["--link", "wire"], "unknown link wire; known are fifo, reliable, datagrams"),
        (["--peers", "1"], "expected 2 to 8 peers, found 1"),
        (["--messages", "0"], "expected at least 1 message, found 0"),
        (["--max-states", "0"], "max-states"),
        (["--check", "beauty"], "unknown property beauty"),
        (["--link", "datagrams", "--check", "agreement"], "agreement is judged when all has arrived"),
        (["--link", "fifo", "--duplicates", "1"], "fifo links make no duplicates"),
    ],
    ids=lambda each: each[-1] if isinstance(each, list) else "",
)
def test_wrong_arguments(explore, arguments, complaint):
    code, said, complaints = explore(*arguments)
    assert code == 2 and said == "" and complaint in complaints and "Traceback" not in complaints


def test_an_interruption_keeps_what_was_found(explore, monkeypatch):
    search = command.search

    def interrupted(ordering, *arguments, **options):
        if ordering == "fifo":
            raise KeyboardInterrupt
        return search(ordering, *arguments, **options)

    monkeypatch.setattr(command, "search", interrupted)
    code, said, _ = explore("--json", "--ordering", "unordered,fifo", "--peers", "2")
    assert code == 130 and [run["ordering"] for run in json.loads(said)["runs"]] == ["unordered"]

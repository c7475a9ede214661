"""Replay of folders that are not as they were left."""

from __future__ import annotations

import pytest

from comparison_server import face
from experiments.__main__ import app
from experiments.explorer.minimise import minimise
from experiments.explorer.search import explore
from experiments.play import in_simulator, plan, play
from experiments.replay import recorded_peers, replay_peer
from experiments.scenario import load, override
from peer.core.errors import SettingsError
from peer.ordering.unordered import Unordered


@pytest.fixture
def run(tmp_path):
    written = override(load("lan"), peers=2, messages=5, trace="everything")
    (played,) = play(plan(written, [("fifo", None)], 1, "sim"), in_simulator, tmp_path)
    return played.folder


def test_an_untouched_folder_replays(run):
    assert recorded_peers(run) == [0, 1]
    assert all(replay_peer(run, peer)[1] is None for peer in (0, 1))


def cut_trace(run):
    (run / "trace-0.bin").write_bytes((run / "trace-0.bin").read_bytes()[:100])


def no_trace(run):
    (run / "trace-0.bin").write_bytes(b"")


def noise(run):
    (run / "steps-0.jsonl").write_bytes(bytes(range(256)) + b"\n")


def nothing(run):
    (run / "steps-0.jsonl").write_bytes(b"")


def a_line_less(run):
    lines = (run / "steps-0.jsonl").read_bytes().splitlines(keepends=True)
    (run / "steps-0.jsonl").write_bytes(b"".join(lines[:3] + lines[4:]))


def another_line(run):
    (run / "steps-0.jsonl").write_bytes(b"{}\n" + (run / "steps-0.jsonl").read_bytes())


DAMAGE = [cut_trace, no_trace, noise, nothing, a_line_less, another_line]


@pytest.mark.parametrize("change", DAMAGE, ids=lambda change: change.__name__)
def test_a_damaged_folder_is_told_in_a_sentence(run, change):
    change(run)
    with pytest.raises(SettingsError, match="damaged"):
        replay_peer(run, 0)


def test_a_folder_that_is_none(tmp_path):
    with pytest.raises(SettingsError, match="there is no such folder"):
        recorded_peers(tmp_path / "nothing")
    with pytest.raises(SettingsError, match="play it again with --trace everything"):
        recorded_peers(tmp_path)


def test_the_last_step_of_a_peer_that_was_killed_may_be_cut(run):
    text = (run / "steps-0.jsonl").read_bytes()
    (run / "steps-0.jsonl").write_bytes(text[:-10])
    steps, difference = replay_peer(run, 0)
    assert steps == text.count(b"\n") - 1 and difference is None


# -- counterexamples of the search


@pytest.fixture
def counterexample(tmp_path):
    return minimise(explore("unordered", peers=2, check=["total"])).save(tmp_path)


def replayed(capsys, *arguments):
    code = face.run(app, ["replay", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_counterexample_is_told_again(counterexample, capsys):
    code, said, complaints = replayed(capsys, counterexample)
    assert (code, complaints) == (0, "") and said.startswith("unordered:plain: 2 peers, ")
    assert "p0 multicasts a" in said and said.endswith("p1 delivered b before a: total does not hold.\n")


def test_a_counterexample_of_an_ordering_that_was_mended_is_none_any_more(counterexample, capsys, monkeypatch):
    monkeypatch.setattr(Unordered, "on_arrival", lambda self, arrival, out: None)
    code, _, complaints = replayed(capsys, counterexample)
    assert code == 1 and "do not break total any more" in complaints


def test_what_is_no_counterexample_is_refused(counterexample, capsys):
    code, said, complaints = replayed(capsys, counterexample, "--peer", "0")
    assert (code, said) == (2, "") and "--peer: a counterexample is replayed with all its peers" in complaints
    for content in (b"{}", b"# words", b"\xff" * 1000):
        counterexample.write_bytes(content)
        code, said, complaints = replayed(capsys, counterexample)
        assert (code, said) == (2, "") and "is no counterexample of this lab" in complaints and len(complaints) < 300

"""Replay of folders that are not as they were left."""

from __future__ import annotations

import pytest

from experiments.play import in_simulator, plan, play
from experiments.replay import recorded_peers, replay_peer
from experiments.scenario import load, override
from peer.core.errors import SettingsError


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

"""The same scenario in two worlds: what holds in one holds in the other."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from statistics import mean, stdev

import pytest

from experiments.local import in_local
from experiments.play import Played, in_simulator, plan, play
from experiments.replay import replay_peer
from experiments.scenario import Scenario, load, override
from peer.ordering.lamport_all_ack import LamportAllAck
from peer.stacks import ORDERINGS

VARIANTS = [(name, variant) for name, cls in ORDERINGS.items() for variant in cls.variants]
LOSSES = (0.0, 0.01, 0.1, 0.3)


def scenario(peers: int, loss: float, **settings: object) -> Scenario:
    """Three sites, duplication and reordering, gaps short enough for many runs."""
    changes = [
        f"network.loss={loss}",
        "network.duplicate=0.05",
        "network.reorder=0.1",
        "network.jitter_ms=2",
        "workload.gap_ms=[5, 20]",
        *(f"{path.replace('__', '.')}={json.dumps(value)}" for path, value in settings.items()),
    ]
    return override(load("wan-3-sites"), changes, peers=peers, messages=15)


def promised_and_held(run: Played) -> dict[str, bool | None]:
    """What each promised property turned out to be."""
    return {name: run.verdict.findings[name].holds for name in sorted(run.verdict.promised)}


def outcome(run: Played) -> tuple:
    """What must be equal in all worlds."""
    assert run.error is None, run.error
    return run.planned.title, run.verdict.complete, promised_and_held(run)


def compare_worlds(written: Scenario, out: Path, variants: list[tuple[str, str]]) -> None:
    simulated = [outcome(run) for run in play(plan(written, variants, 1, "sim"), in_simulator, out)]
    with in_local(written.peers) as world:
        real = [outcome(run) for run in play(plan(written, variants, 1, "local"), world, out)]
    assert real == simulated
    for title, complete, held in real:
        assert complete, title
        assert all(held.values()), (title, held)


@pytest.mark.long
def test_local_and_simulated_runs_agree(tmp_path: Path) -> None:
    compare_worlds(scenario(peers=3, loss=0.1), tmp_path, VARIANTS)


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("peers", [2, 3, 4, 6, 9, 16])
def test_local_and_simulated_runs_agree_everywhere(peers: int, loss: float, tmp_path: Path) -> None:
    compare_worlds(scenario(peers, loss), tmp_path, VARIANTS)


def disorder(runs: list[Played]) -> tuple[float, float]:
    """The 95 % interval of the share of out-of-order rounds."""
    shares = [run.verdict.rounds.out_of_order / run.verdict.rounds.rounds for run in runs]
    half = 2.093 * stdev(shares) / math.sqrt(len(shares))  # Student's t for 20 runs
    return mean(shares) - half, mean(shares) + half


@pytest.mark.slow
def test_unordered_is_as_disordered_here_as_in_the_simulator(tmp_path: Path) -> None:
    # Two sites close to each other and long gaps: some rounds are disordered, many are not, so that a difference shows.
    written = override(
        load("wan-3-sites"),
        ["regions=[eu-west-1, eu-west-2]", "workload.gap_ms=[10, 99]", "network.loss=0.01"],
        peers=3,
        messages=25,
    )
    chosen = [("unordered", None)]
    simulated = list(play(plan(written, chosen, 20, "sim"), in_simulator, tmp_path))
    with in_local(written.peers) as world:
        real = list(play(plan(written, chosen, 20, "local"), world, tmp_path))
    (low, high), (real_low, real_high) = disorder(simulated), disorder(real)
    assert 0.05 < low and high < 0.98, "the scenario is to leave room on both sides"
    assert low <= real_high and real_low <= high, (
        f"simulated {low:.3f}-{high:.3f}, local {real_low:.3f}-{real_high:.3f}"
    )


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A local and a simulated run with everything on record."""
    out = tmp_path_factory.mktemp("recorded")
    written = override(scenario(3, 0.05), trace="everything")
    chosen = [("lamport_all_ack", "explicit")]
    folders = [run.folder for run in play(plan(written, chosen, 1, "sim"), in_simulator, out)]
    with in_local(written.peers) as world:
        folders += [run.folder for run in play(plan(written, chosen, 1, "local"), world, out)]
    return folders


def test_replay_gives_equal_effects(recorded: list[Path]) -> None:
    for folder in recorded:
        for peer in range(3):
            steps, difference = replay_peer(folder, peer)
            assert steps > 50 and difference is None, difference


def test_replay_names_what_a_changed_line_changes(recorded: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    enqueue = LamportAllAck.enqueue

    def at_the_end(self: LamportAllAck, block: object, out: object) -> bool:
        there_is_room = enqueue(self, block, out)
        self.queue.sort(key=lambda entry: -entry[0])
        return there_is_room

    monkeypatch.setattr(LamportAllAck, "enqueue", at_the_end)
    for folder in recorded:
        differences = [difference for _, difference in (replay_peer(folder, peer) for peer in range(3)) if difference]
        assert differences, "a queue sorted the other way round must show"
        text = str(differences[0])
        assert re.match(r"peer \d, step \d+ \(at [\d.]+ s\):\n  recorded: .+\n  replayed: .+", text), text
        assert "Deliver(" in text

"""Many peers, and peers that play for long: complete, and with the memory that they began with."""

import os
from pathlib import Path
from time import monotonic

import pytest

from comparison_server.run_folder import load_run
from comparison_server.verdict import judge
from experiments.local import LocalCluster
from peer.core.settings import DeadlineSettings
from peer.stacks import promised
from tests.runs import run_settings

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read where Linux shows it"),
]

EVERY_S = 5.0
GROWTH_BYTES = 4_000_000  # what an allocator may take more; a leak of a hundred bytes a message is a hundred times that


def resident_bytes(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"process {pid} has no memory")


class Memory:
    """What each process of a cluster takes, every few seconds while messages are sent."""

    def __init__(self, cluster):
        self.pids = {**cluster.pids, "comparison server": os.getpid()}
        self.due = 0.0
        self.samples = {name: [] for name in self.pids}

    def look(self, progress):
        if progress.phase == "send" and monotonic() >= self.due:
            self.due = monotonic() + EVERY_S
            for name, pid in self.pids.items():
                self.samples[name].append(resident_bytes(pid))

    def assert_flat(self):
        """From a fifth of the run on nobody takes more."""
        for name, samples in self.samples.items():
            settled = samples[len(samples) // 5 :]
            assert len(settled) >= 3, "too short to say"
            assert max(settled) - settled[0] < GROWTH_BYTES, (name, samples)


def play(tmp_path, peers, minutes, gap_ms, **options):
    """A run that goes on for so many minutes."""
    messages = int(minutes * 60_000 / (sum(gap_ms) / 2))
    deadlines = DeadlineSettings(handshake_s=120.0, deadline_s=minutes * 120 + 300)
    settings = run_settings(
        peers=peers, messages=messages, gap_ms=gap_ms, delay_s=0.0001, deadlines=deadlines, **options
    )
    with LocalCluster(peers) as cluster:
        memory = Memory(cluster)
        outcome = cluster.run(settings, "agreement" in promised(settings), {"world": "local"}, tmp_path, memory.look)
    assert outcome.complete and outcome.error is None, outcome.error
    verdict = judge(load_run(tmp_path), promised(settings))
    assert verdict.complete and verdict.violated() == [] and verdict.rounds.out_of_order == 0
    assert verdict.rounds.rounds == peers * messages
    memory.assert_flat()


def test_64_peers_on_one_machine(tmp_path):
    play(tmp_path, 64, 2.0, (2_000.0, 6_000.0), ordering="fixed_sequencer")


def test_16_peers_for_half_an_hour_at_1000_messages_a_second_in_all(tmp_path):
    play(tmp_path, 16, 30.0, (1.0, 31.0))

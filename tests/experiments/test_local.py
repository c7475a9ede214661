"""Clusters of real processes on this machine: what they play, how they end, and that none is left behind."""

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep

import pytest

from comparison_server.run_folder import load_run
from comparison_server.verdict import judge
from experiments import local
from experiments.local import LocalCluster
from peer.core.errors import RunError, SettingsError
from peer.stacks import promised
from tests.control_client import until
from tests.runs import run_settings

pytestmark = pytest.mark.long  # real processes

ROOT = Path(__file__).parents[2]
QUICK = {"gap_ms": (0.0, 5.0), "delay_s": 0.003}


def play(cluster, folder, ordering="lamport_all_ack", on_progress=None, **options):
    settings = run_settings(ordering, peers=len(cluster.names), **{**QUICK, **options})
    agreement = "agreement" in promised(settings)
    return settings, cluster.run(settings, agreement, {"world": "local"}, folder, on_progress)


def lives(pid):
    """Whether a process runs; one that ended and that nobody asked about does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return bool(state) and not state.startswith("Z")


def all_gone(pids):
    until(lambda: not any(lives(pid) for pid in pids), lambda: sleep(0.05), timeout_s=20)
    return True


def test_several_runs_in_a_row_by_the_same_processes(tmp_path):
    with LocalCluster(3) as cluster:
        pids = dict(cluster.pids)
        assert set(pids) == {"p0", "p1", "p2", "group manager"} and all(map(lives, pids.values()))
        orderings = ["unordered", "lamport_all_ack", "fixed_sequencer", "lamport_all_ack"]
        for number, ordering in enumerate(orderings):
            folder = tmp_path / str(number)
            settings, outcome = play(cluster, folder, ordering)
            assert outcome.error is None and outcome.complete, outcome.error
            assert cluster.service.coordinator.unaware() == [], "else another server would take up the same run again"
            verdict = judge(load_run(folder), promised(settings))
            assert verdict.violated() == [] and verdict.rounds.rounds == 3 * 20
            assert ordering == "unordered" or verdict.rounds.out_of_order == 0
            assert all(outcome.measures[name]["datagrams_sent"] > 0 for name in cluster.names)
            assert {counts.delivered for counts in outcome.counts.values()} == {60}
        assert cluster.pids == pids and all(map(lives, pids.values()))
    assert all_gone(pids.values())


def test_everything_that_a_replay_needs_is_collected_too(tmp_path):
    with LocalCluster(2) as cluster:
        _, outcome = play(cluster, tmp_path, trace="everything")
    assert outcome.complete
    for number in range(2):
        lines = (tmp_path / f"steps-{number}.jsonl").read_text().splitlines()
        assert [json.loads(line)["step"] for line in lines] == list(range(len(lines))) and lines


def test_its_key_is_its_own_and_nothing_of_it_stays():
    with LocalCluster(1) as cluster:
        folder = cluster._folder.path
        assert stat.S_IMODE((folder / "key").stat().st_mode) == 0o600
    assert not folder.exists()


def test_what_a_killed_owner_left_is_removed_by_the_next(tmp_path, monkeypatch):
    monkeypatch.setattr(local.tempfile, "tempdir", str(tmp_path))
    script = "import os, signal\nfrom experiments import local\nprint(local._Folder().path, flush=True)\n{}"
    killed, living = script.format("os.kill(os.getpid(), signal.SIGKILL)"), script.format("input()")
    begun = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(tmp_path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for code in (killed, living)
    ]
    abandoned, kept = [Path(process.stdout.readline().strip()) for process in begun]
    begun[0].wait(20)
    (tmp_path / f"{local.FOLDER}link").symlink_to(kept)
    (tmp_path / f"{local.FOLDER}file").touch()
    local._Folder().remove()
    assert abandoned.exists(), "a folder so young may not be locked yet"
    for folder in (abandoned, kept):
        (folder / "logs").mkdir()
        os.utime(folder, (0, 0))
    local._Folder().remove()
    begun[1].communicate("\n", timeout=20)
    assert not abandoned.exists() and (kept / "logs").exists() and len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_whatever_happens_inside_no_process_is_left(error):
    with pytest.raises(error):
        with LocalCluster(2) as cluster:
            pids = list(cluster.pids.values())
            raise error
    assert len(pids) == 3 and all_gone(pids)


# -- what goes wrong at the start


def failing(tmp_path, when, how):
    """An interpreter that fails where its arguments hold `when`."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\ncase "$*" in *"{when}"*) {how};; esac\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o700)
    return str(python)


def test_a_peer_that_dies_at_the_start_is_named_with_what_it_said(tmp_path):
    python = failing(tmp_path, "--name p1", "echo first >&2; echo 'no more disks' >&2; exit 7")
    began = monotonic()
    with pytest.raises(RunError) as caught:
        with LocalCluster(3, python=python):
            pass
    assert str(caught.value) == "p1 ended with exit code 7: no more disks" and caught.value.peers == ["p1"]
    assert monotonic() - began < local.END_S, "who has not come so far yet need not be waited for"


def test_a_manager_that_dies_at_the_start_is_named_with_what_it_said(tmp_path):
    python = failing(tmp_path, "group_manager", "echo 'not today' >&2; exit 3")
    with pytest.raises(RunError) as caught:
        with LocalCluster(1, python=python):
            pass
    assert str(caught.value) == "group manager ended with exit code 3: not today"


def test_a_peer_that_never_connects_is_waited_for_no_longer_than_a_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(local, "START_S", 1.5)
    monkeypatch.setattr(local, "START_PEER_S", 0.0)
    monkeypatch.setattr(local, "END_S", 0.3)
    python = failing(tmp_path, "--name p1", "exec sleep 60")
    began = monotonic()
    with pytest.raises(RunError, match=r"1 of 2 peers are here \(p0\) after 1.5 s"):
        with LocalCluster(2, python=python):
            pass
    assert monotonic() - began < 10


def test_an_unreadable_key_is_said_before_anything_starts(tmp_path):
    (tmp_path / "key").write_text("00\n")
    cluster = LocalCluster(1, key=tmp_path / "key")
    with pytest.raises(SettingsError, match="at least 16 bytes"):
        with cluster:
            pass
    assert cluster.pids == {}


# -- what goes wrong later


def test_a_peer_that_is_killed_in_a_run_ends_it_at_once_and_the_others_are_collected(tmp_path):
    with LocalCluster(3) as cluster:

        def on_progress(progress):
            if progress.delivered > 10 and lives(cluster.pids["p1"]):
                os.kill(cluster.pids["p1"], signal.SIGKILL)

        began = monotonic()
        _, outcome = play(cluster, tmp_path, on_progress=on_progress, messages=10_000, gap_ms=(5.0, 6.0))
        assert str(outcome.error).startswith("p1 was ended by SIGKILL") and outcome.missing == ["p1"]
        assert monotonic() - began < 10
        logs = {log.label: log for log in load_run(tmp_path).logs}
        assert len(logs["0"].ids) > 0 and len(logs["2"].ids) > 0
        assert cluster.wait_for_peers(2, 10.0) == ["p0", "p2"] and list(cluster.deaths) == ["p1"]
        with pytest.raises(RunError, match="p1 was ended by SIGKILL"):
            cluster.wait_for_peers(3, 10.0)
        _, outcome = play(cluster, tmp_path / "again", messages=5)
        assert str(outcome.error).startswith("p1 was ended by SIGKILL"), "nor does the next run wait for it"


def test_a_peer_that_hangs_does_not_keep_the_others_from_ending(monkeypatch):
    monkeypatch.setattr(local, "END_S", 0.3)
    began = monotonic()
    with LocalCluster(2) as cluster:
        pids = list(cluster.pids.values())
        os.kill(cluster.pids["p1"], signal.SIGSTOP)
    assert all_gone(pids) and monotonic() - began < 10


@pytest.mark.parametrize("following", [True, False], ids=["followed by the system", "noticed by themselves"])
def test_they_end_when_this_process_is_killed(following):
    if following and not sys.platform.startswith("linux"):
        pytest.skip("only Linux tells a process that its parent died")
    script = (
        "import json, time\n"
        "from experiments import local\n"
        + ("local.ORPHAN_S = 60\n" if following else "local.ORPHAN_S = 1\nlocal.follow_parent = lambda: None\n")
        + "with local.LocalCluster(2) as cluster:\n"
        "    print(json.dumps(cluster.pids), flush=True)\n"
        "    time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    pids = json.loads(parent.stdout.readline())
    assert all(map(lives, pids.values()))
    parent.kill()
    parent.communicate(timeout=10)
    assert all_gone(pids.values())

def test_ctrl_c_while_the_peers_are_started_is_not_lost_and_forgets_nobody(monkeypatch):
    started = []

    class Struck(subprocess.Popen):
        def __init__(self, *arguments, **named):
            super().__init__(*arguments, **named)
            started.append(self)
            if len(started) == 3:
                os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", Struck)
    with pytest.raises(KeyboardInterrupt), LocalCluster(3):
        raise AssertionError("it is not up")
    assert len(started) == 4 and all(process.returncode is not None for process in started)

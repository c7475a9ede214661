"""Sweeps on a Dask cluster: a real scheduler and two workers, the same bytes as without, and whatever of them dies."""

import json
import re
import signal
import subprocess
import sys
from time import monotonic, sleep

import pytest

import analysis
from comparison_server import face
from experiments.__main__ import app
from tests.control_client import until
from tests.experiments.sweeps import PLAN, QUICK, ROOT, RUNS, WAIT_S, Sweeping, contents, finished, written

pytestmark = pytest.mark.long  # real processes that take their time to come up

LOOPBACK = ["--host", "127.0.0.1", "--no-dashboard"]


class Cluster:
    """A scheduler, and workers that can be added and killed."""

    def __init__(self, place):
        self.place = place
        self.processes = {}
        file = place / "scheduler.json"
        self.start("scheduler", "scheduler", *LOOPBACK, "--port", "0", "--scheduler-file", file)
        until(lambda: file.exists() and file.read_text().endswith("}"), lambda: sleep(0.05), timeout_s=WAIT_S)
        self.address = json.loads(file.read_text())["address"]

    def start(self, name, *words, cwd=ROOT):
        with open(self.place / f"{name}.txt", "wb") as said:
            command = [sys.executable, "-m", "dask", *map(str, words)]
            self.processes[name] = subprocess.Popen(command, cwd=cwd, stdout=said, stderr=said)

    def add_worker(self, name, cwd=ROOT):
        """A worker process that is there when this returns."""
        options = ["--nthreads", "1", "--no-nanny", "--local-directory", self.place / name, "--name", name]
        self.start(name, "worker", self.address, *LOOPBACK, *options, cwd=cwd)
        said = self.place / f"{name}.txt"

        def there():
            assert self.processes[name].poll() is None, said.read_text()
            return "Registered to" in said.read_text()

        until(there, lambda: sleep(0.05), timeout_s=WAIT_S)

    def end(self, name):
        process = self.processes.pop(name)
        process.kill()
        process.wait(20)

    def close(self):
        for name in list(self.processes):
            self.end(name)


@pytest.fixture
def cluster(tmp_path):
    (tmp_path / "cluster").mkdir()
    cluster = Cluster(tmp_path / "cluster")
    try:
        yield cluster
    finally:
        cluster.close()


@pytest.fixture
def command(capsys):
    def command(plan, out, *options):
        capsys.readouterr()
        code = face.run(app, ["sweep", str(plan), "--out", str(out), *options])
        said = capsys.readouterr()
        return code, said.out, said.err

    return command


def test_a_cluster_plays_the_same_and_may_lose_a_worker(cluster, command, tmp_path):
    plan = written(tmp_path, PLAN)
    cluster.add_worker("one")
    cluster.add_worker("two")
    sweeping = Sweeping(plan, "--out", tmp_path / "dask", "--scheduler", cluster.address)
    sweeping.until_finished(tmp_path / "dask" / "small", RUNS // 4)
    cluster.end("one")  # with what it plays
    code, said, errors = sweeping.said()
    assert (code, errors) == (0, ""), errors
    assert f"{RUNS} of {RUNS} runs are done" in said
    assert command(plan, tmp_path / "here")[0] == 0
    there, here = (contents(tmp_path / place / "small") for place in ("dask", "here"))
    assert there.keys() == here.keys() and [name for name in there if there[name] != here[name]] == []
    left = [path for path in (tmp_path / "cluster").glob("two/**/sweep-*")]
    assert left == [], "a worker keeps nothing of a run"


@pytest.mark.slow
def test_480_runs_killed_half_way_and_480_on_a_cluster_are_the_same_as_480_runs(cluster, tmp_path):
    """A minute or two on two cores, three times; what is asserted is what they come to."""
    whole = {name: tmp_path / name / "whole" for name in ("done", "cut", "dask")}

    def play(name, *options):
        assert Sweeping("whole", "--out", whole[name].parent, *options).process.wait(1800) == 0

    play("done")
    sweeping = Sweeping("whole", "--out", whole["cut"].parent)
    sweeping.until_finished(whole["cut"], 240)
    sweeping.end(signal.SIGKILL)
    assert 240 <= len(finished(whole["cut"])) < 480
    play("cut", "--resume")
    cluster.add_worker("one")
    cluster.add_worker("two")
    play("dask", "--scheduler", cluster.address)
    for name, folder in whole.items():
        assert contents(folder) == contents(whole["done"]), name
    assert len(analysis.load(whole["cut"]).runs) == 480


def test_a_lost_scheduler_is_told_and_what_is_done_is_kept(cluster, command, tmp_path):
    plan = written(tmp_path, PLAN)
    cluster.add_worker("one")
    sweeping = Sweeping(plan, "--out", tmp_path, "--scheduler", cluster.address)
    sweeping.until_finished(tmp_path / "small", 3)
    cluster.end("scheduler")
    code, said, errors = sweeping.said()
    done = len(finished(tmp_path / "small"))
    assert code == 3 and 3 <= done < RUNS
    assert errors.count("\n") == 1, errors
    assert f"the connection to the Dask scheduler at {cluster.address} is lost" in errors
    assert f"{done} of {RUNS} runs are done" in said
    code, said, errors = command(plan, tmp_path, "--resume")
    assert code == 0 and f"{done} of them before" in said, errors


def test_a_worker_that_cannot_play_is_told_before_anything_is_played(cluster, command, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    cluster.add_worker("stranger", cwd=tmp_path / "elsewhere")
    code, said, errors = command(written(tmp_path, QUICK), tmp_path, "--scheduler", cluster.address)
    assert code == 3 and finished(tmp_path / "quick") == {}
    assert re.search(r"error: the worker \S+ cannot play: .*No module named 'experiments'", errors), errors
    assert "python -m dask worker" in errors and "Traceback" not in errors


def test_a_worker_with_other_sources_is_told(cluster, command, tmp_path, monkeypatch):
    from experiments.sweep import on_dask

    cluster.add_worker("one")
    monkeypatch.setattr(on_dask, "digest_of_sources", lambda: "changed")
    code, _, errors = command(written(tmp_path, QUICK), tmp_path, "--scheduler", cluster.address)
    assert code == 3 and "has another version of the lab's sources" in errors
    monkeypatch.setattr(on_dask, "_check_worker", lambda *_: None)  # as if it had come later
    code, _, errors = command(written(tmp_path, QUICK), tmp_path, "--scheduler", cluster.address)
    assert code == 3 and errors.count("has another version of the lab's sources") == 8


def test_a_cluster_without_workers_is_told(cluster, command, tmp_path, monkeypatch):
    from experiments.sweep import on_dask

    monkeypatch.setattr(on_dask, "WORKERS_S", 0.5)
    code, _, errors = command(written(tmp_path, QUICK), tmp_path, "--scheduler", cluster.address)
    assert code == 3 and f"the scheduler at {cluster.address} has no workers" in errors
    assert f"python -m dask worker {cluster.address}" in errors


@pytest.mark.slow
def test_a_cluster_that_loses_all_its_workers_is_told(cluster, tmp_path):
    cluster.add_worker("one")
    soon = "from experiments.sweep import on_dask; on_dask.WITHOUT_S = 1.0"
    sweeping = Sweeping(written(tmp_path, PLAN), "--out", tmp_path, "--scheduler", cluster.address, before=soon)
    sweeping.until_finished(tmp_path / "small", 2)
    cluster.end("one")
    code, _, errors = sweeping.said()
    assert code == 3 and "has had no workers for 1 s" in errors and len(finished(tmp_path / "small")) >= 2


def test_nobody_at_the_address_is_told_within_seconds(command, tmp_path, monkeypatch):
    from experiments.sweep import on_dask

    plan = written(tmp_path, QUICK)
    monkeypatch.setattr(on_dask, "CONNECT_S", 1.0)
    began = monotonic()
    code, _, errors = command(plan, tmp_path, "--scheduler", "tcp://127.0.0.1:1")
    assert code == 3 and "no Dask scheduler answered at tcp://127.0.0.1:1 within 1 s" in errors, errors
    assert monotonic() - began < 30
    for wrong in ("somewhere", "tcp://127.0.0.1", "http://127.0.0.1:8786", "127.0.0.1:x"):
        code, _, errors = command(plan, tmp_path, "--scheduler", wrong)
        assert code == 2 and "--scheduler: expected the address of a Dask scheduler" in errors


@pytest.mark.slow
def test_ctrl_c_ends_it_in_order(cluster, command, tmp_path):
    plan = written(tmp_path, PLAN)
    cluster.add_worker("one")
    sweeping = Sweeping(plan, "--out", tmp_path, "--scheduler", cluster.address)
    sweeping.until_finished(tmp_path / "small", 2)
    code, _, errors = sweeping.end(signal.SIGINT)
    assert code == 130 and "the same command goes on from there" in errors and "Traceback" not in errors, errors
    assert cluster.processes["one"].poll() is None, "the cluster is there for others"
    assert command(plan, tmp_path, "--scheduler", cluster.address, "--resume")[0] == 0

"""Sweeps: whatever interrupts one, it is gone on with, and comes to the same as one that nothing interrupted."""

import errno
import fcntl
import json
import os
import re
import signal
import sys

import pexpect
import pytest

import analysis
from comparison_server import face
from experiments.__main__ import app
from experiments.play import in_simulator
from experiments.sweep import command, folder, playing, pool
from peer.core.errors import RunError
from tests.experiments.sweeps import (
    PLAN,
    QUICK,
    QUICK_RUNS,
    ROOT,
    RUNS,
    WAIT_S,
    Sweeping,
    contents,
    finished,
    gone,
    written,
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A sweep that nothing interrupted, by one process."""
    place = tmp_path_factory.mktemp("whole")
    assert face.run(app, ["sweep", str(written(place, PLAN)), "--out", str(place), "--workers", "1"]) == 0
    return place / "small"


@pytest.fixture
def sweep(tmp_path, capsys):
    """The command in this process: its exit code, and what it says."""

    def sweep(plan=QUICK, *options, out=tmp_path):
        capsys.readouterr()
        code = face.run(app, ["sweep", str(written(tmp_path, plan)), "--out", str(out), *options])
        said = capsys.readouterr()
        return code, said.out, said.err

    return sweep


def test_what_a_sweep_leaves(whole):
    assert {path.name for path in whole.iterdir()} == {"plan.json", "runs", "failed.json", "frames", "lock"}
    plan = json.loads((whole / "plan.json").read_bytes())
    assert plan["plan"]["grid"][0]["peers"] == [4, 6]
    assert re.fullmatch(r"python -m experiments sweep \S+", plan["command"])
    assert json.loads((whole / "failed.json").read_bytes()) == {}
    assert sorted(point["run"] for point in plan["points"]) == sorted(finished(whole)) and len(plan["points"]) == RUNS
    for point in plan["points"]:
        run = whole / "runs" / point["run"]
        verdict = json.loads((run / "verdict.json").read_bytes())
        assert verdict["folder"] == point["run"] and verdict["ordering"] == point["ordering"]
        assert not (run / "partial").exists()
    frames = analysis.load(whole)
    assert list(frames.runs["run"]) == [point["run"] for point in plan["points"]]
    assert set(frames.runs["outcome"]) == {"held"} and frames.runs["chance"].nunique() == 4
    again = analysis.load(*(whole / "runs" / point["run"] for point in plan["points"]))
    assert again.runs.drop(columns="run").equals(frames.runs.drop(columns="run"))


@pytest.mark.long
def test_a_killed_sweep_is_gone_on_with_and_comes_to_the_same(whole, tmp_path):
    plan, out = written(tmp_path, PLAN), tmp_path / "out"
    sweeping = Sweeping(plan, "--out", out, "--workers", 2)
    sweeping.until_finished(out / "small", RUNS // 3)
    workers = sweeping.children()
    code, *_ = sweeping.end(signal.SIGKILL)
    assert code == -signal.SIGKILL and len(workers) == 2
    gone(workers)
    before = finished(out / "small")
    assert RUNS // 3 <= len(before) < RUNS, "it was to be killed among its runs"
    assert not (out / "small" / "frames").exists()
    with_remains(out / "small")
    code, said, errors = Sweeping(plan, "--out", out, "--resume").said()
    assert code == 0 and f"{RUNS} of {RUNS} runs are done, {len(before)} of them before" in said, errors
    after = finished(out / "small")
    assert {name: after[name] for name in before} == before, "what was finished is not played again"
    assert differing(out / "small", whole) == []


def with_remains(sweep):
    """What may be left of a sweep that was cut at another moment."""
    cut = sweep / "partial" / "half-a-run"
    cut.mkdir(parents=True, exist_ok=True)
    (cut / "trace-0.bin").write_bytes(b"LAB")


def differing(sweep, other):
    """The files in which two sweeps of one plan differ, but for where the file of the plan lay."""
    one, two = contents(sweep), contents(other)
    for files in (one, two):
        plan = json.loads(files.pop("plan.json"))
        files["plan.json but for the command"] = {key: plan[key] for key in plan if key != "command"}
    return sorted(name for name in {**one, **two} if one.get(name) != two.get(name))


def test_a_run_that_a_power_failure_cut_is_played_again(sweep, tmp_path):
    assert sweep()[0] == 0
    expected = contents(tmp_path / "quick")
    empty, cut, headless, damaged, *_ = sorted((tmp_path / "quick" / "runs").iterdir())
    (empty / "trace-1.bin").write_bytes(b"")
    (cut / "sends-0.bin").write_bytes((cut / "sends-0.bin").read_bytes()[:-32])  # without its seal
    (headless / "trace-0.bin").write_bytes((headless / "trace-0.bin").read_bytes()[:40])
    (damaged / "verdict.json").write_bytes(b"")
    code, said, _ = sweep()
    assert code == 0 and f"{QUICK_RUNS - 4} of them before" in said
    assert contents(tmp_path / "quick") == expected


def test_a_sweep_that_is_through_is_left_alone(sweep, tmp_path, monkeypatch):
    assert sweep()[0] == 0
    expected = contents(tmp_path / "quick")
    monkeypatch.setattr(pool, "play_simulated", None)
    monkeypatch.setattr(folder.SweepFolder, "write_frames", None)
    code, said, errors = sweep(QUICK, "--resume", "--json")
    document = json.loads(said)
    assert (code, errors) == (0, "") and (document["done"], document["found"]) == (QUICK_RUNS, QUICK_RUNS)
    assert contents(tmp_path / "quick") == expected


def test_resume_insists(sweep, tmp_path):
    code, said, errors = sweep(QUICK, "--resume")
    assert code == 2 and said == "" and "nothing to be resumed" in errors
    assert not (tmp_path / "quick").exists()


def test_another_plan_or_program_is_refused(sweep, tmp_path, monkeypatch):
    assert sweep()[0] == 0
    expected = contents(tmp_path / "quick")
    for change, said in (
        ({"repeat": 3}, "(repeat: 2 there, 3 here)"),
        ({"scenario": "demo"}, "(scenario: lan there, demo here)"),
        ({"set": {"workload.messages": 5}}, "(set.workload.messages: 4 there, 5 here)"),
        ({"grid": QUICK["grid"] | {"loss": [0, 0.2]}}, "(grid.0.loss: [0.0, 0.1] there, [0.0, 0.2] here)"),
        ({"grid": QUICK["grid"] | {"size_bytes": [64]}}, "(grid.0.size_bytes: nothing there, [64] here)"),
    ):
        code, out, errors = sweep({**QUICK, **change})
        assert code == 2 and out == "" and said in errors, errors
        assert "--anew moves" in errors and "quick aside first, --out plays elsewhere" in errors
    monkeypatch.setattr(folder, "digest_of_sources", lambda: "other")
    code, out, errors = sweep()
    assert code == 2 and "another version of the program" in errors
    assert contents(tmp_path / "quick") == expected


def test_runs_of_another_plan_or_program_are_moved_aside_on_request(sweep, tmp_path, monkeypatch):
    assert sweep(QUICK, "--anew")[0] == 0 and not (tmp_path / "quick.1").exists(), "there was nothing in the way"
    first = contents(tmp_path / "quick")
    code, said, errors = sweep(QUICK, "--anew")
    assert code == 0 and f"{QUICK_RUNS} of them before" in said and contents(tmp_path / "quick") == first
    code, said, errors = sweep({**QUICK, "repeat": 1}, "--anew")
    assert code == 0 and f"are in {tmp_path / 'quick.1'} now" in errors and "before" not in said
    assert contents(tmp_path / "quick.1") == first and len(finished(tmp_path / "quick")) == QUICK_RUNS // 2
    monkeypatch.setattr(folder, "digest_of_sources", lambda: "other")
    assert sweep({**QUICK, "repeat": 1}, "--anew")[0] == 0 and len(finished(tmp_path / "quick.2")) == QUICK_RUNS // 2


def test_what_is_no_sweep_is_never_moved(sweep, tmp_path):
    (tmp_path / "quick").mkdir()
    (tmp_path / "quick" / "thesis.tex").write_text("all of it")
    code, _, errors = sweep(QUICK, "--anew")
    assert code == 2 and "it holds thesis.tex" in errors and not (tmp_path / "quick.1").exists()


def test_a_folder_of_something_else_is_refused(sweep, tmp_path):
    (tmp_path / "quick").mkdir()
    (tmp_path / "quick" / "thesis.tex").write_text("all of it")
    code, _, errors = sweep()
    assert code == 2 and "it holds thesis.tex" in errors
    assert (tmp_path / "quick" / "thesis.tex").read_text() == "all of it"
    (tmp_path / "file").write_text("")
    code, _, errors = sweep(out=tmp_path / "file")
    assert code == 2 and "--out: " in errors


def test_a_second_sweep_at_once_is_refused(sweep, tmp_path):
    assert sweep()[0] == 0
    expected = contents(tmp_path / "quick")
    with open(tmp_path / "quick" / "lock", "r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, said, errors = sweep()
    assert code == 2 and said == "" and "another process plays this sweep just now" in errors
    assert contents(tmp_path / "quick") == expected and sweep()[0] == 0


@pytest.mark.long
def test_a_second_process_is_refused_while_the_first_one_plays(tmp_path):
    plan = written(tmp_path, PLAN)
    first = Sweeping(plan, "--out", tmp_path)
    first.until_finished(tmp_path / "small", 1)
    os.kill(first.process.pid, signal.SIGSTOP)  # so that it cannot come to its end meanwhile
    try:
        code, _, errors = Sweeping(plan, "--out", tmp_path).said()
    finally:
        os.kill(first.process.pid, signal.SIGCONT)
    assert code == 2 and "another process plays" in errors
    assert first.said()[0] == 0


# -- runs that fail


def failing(monkeypatch, how, name="fifo-loss0-r0"):
    """One run of all goes wrong."""

    def world(planned, place):
        if planned.name.startswith(name):
            how()
        return in_simulator(planned, place)

    monkeypatch.setattr(playing, "in_simulator", world)


def raising(error):
    def how():
        raise error

    return how


@pytest.mark.parametrize(
    "how, reason",
    [
        (raising(RunError("drain", ["p1"], "p1 is silent")), "p1 is silent"),
        (raising(ValueError("what is that?")), r"ValueError in test_sweep.py, line \d+: what is that\?"),
        (raising(OSError(errno.ENOSPC, "No space left on device")), "cannot be written: No space left on device"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "the process that played it was ended by SIGKILL"),
        (lambda: os._exit(3), "the process that played it ended with exit code 3"),
    ],
)
def test_a_run_that_fails_is_listed_and_tried_again(sweep, tmp_path, monkeypatch, how, reason):
    with monkeypatch.context() as patch:
        failing(patch, how)
        code, said, errors = sweep()
    place = tmp_path / "quick"
    failed = json.loads((place / "failed.json").read_bytes())
    ((name, told),) = failed.items()
    assert code == 3 and name.startswith("fifo-loss0-r0") and re.search(reason, told), failed
    assert f"error: {name}: " in errors and re.search(reason, errors)
    assert len(finished(place)) == QUICK_RUNS - 1 and f"{QUICK_RUNS - 1} of {QUICK_RUNS} runs are done" in said
    row = analysis.load(place).runs.set_index("run").loc[name]
    assert row["outcome"] == "failed" and row["ordering"] == "fifo" and re.search(reason, row["error"])
    code, said, _ = sweep(QUICK, "--json")
    assert code == 0 and json.loads(said)["failed"] == {} and json.loads(said)["found"] == QUICK_RUNS - 1
    assert json.loads((place / "failed.json").read_bytes()) == {}
    assert set(analysis.load(place).runs["outcome"]) == {"held"}


def test_all_runs_fail(sweep, tmp_path, monkeypatch):
    failing(monkeypatch, lambda: os._exit(1), name="")
    code, said, errors = sweep()
    assert code == 3 and f"0 of {QUICK_RUNS} runs are done" in said and errors.count("exit code 1") == QUICK_RUNS


def test_what_there_is_of_a_run_without_an_end_is_kept(sweep, tmp_path):
    hopeless = {
        **QUICK, "grid": {"ordering": ["lamport_all_ack"], "loss": [0, 0.4]}, "repeat": 1,
        "set": {"workload.messages": 20, "stack": {"link": "direct", "allow_unmet": True}, "deadlines.drain_s": 2},
    }  # fmt: skip
    code, _, errors = sweep(hopeless)
    failed = json.loads((tmp_path / "quick" / "failed.json").read_bytes())
    assert code == 3 and [name.startswith("lamport_all_ack-loss0.4") for name in failed] == [True], failed
    (name,) = failed
    assert (tmp_path / "quick" / "runs" / name / "partial").exists()
    assert (tmp_path / "quick" / "runs" / name / "verdict.json").exists()
    before = finished(tmp_path / "quick")
    assert sweep(hopeless)[0] == 3
    after = finished(tmp_path / "quick")
    assert before.keys() == after.keys() and {run for run in after if after[run] != before[run]} == {name}


def test_a_broken_promise_is_the_exit_code(sweep, tmp_path):
    broken = {
        **QUICK, "grid": {"ordering": ["lamport_all_ack:promise"]}, "repeat": 2,
        "set": {"stack": {"link": {"name": "ack_resend", "order": "none"}, "allow_unmet": True}, "peers": 3,
                "network": {"jitter_ms": 300}, "workload": {"messages": 20, "gap_ms": [1, 5]}},
    }  # fmt: skip
    for _ in range(2):  # the second time it is read from the folders
        code, said, _ = sweep(broken)
        assert code == 1 and said.count("broke what it promised: ") == 2 and "total" in said, said


def test_a_full_disk_ends_the_sweep_with_a_sentence(sweep, tmp_path, monkeypatch):
    keep = folder.SweepFolder.keep
    kept = []

    def full(self, name, result):
        if len(kept) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        kept.append(name)
        keep(self, name, result)

    with monkeypatch.context() as patch:
        patch.setattr(folder.SweepFolder, "keep", full)
        code, _, errors = sweep()
    assert code == 3 and f"No space left on device; 3 of {QUICK_RUNS} runs are done; make room" in errors
    assert sorted(finished(tmp_path / "quick")) == sorted(kept)
    assert sweep(QUICK, "--resume")[0] == 0


# -- ends


@pytest.mark.long
def test_ctrl_c_keeps_what_is_done_and_says_how_to_go_on(whole, tmp_path):
    plan = written(tmp_path, PLAN)
    sweeping = Sweeping(plan, "--out", tmp_path, "--workers", 2, "--json")
    sweeping.until_finished(tmp_path / "small", 3)
    workers = sweeping.children()
    code, said, errors = sweeping.end(signal.SIGINT)
    gone(workers)
    done = len(finished(tmp_path / "small"))
    assert code == 130 and errors.endswith("interrupted\n") and "Traceback" not in errors
    assert f"{done} of {RUNS} runs are done; the same command goes on from there" in errors
    assert json.loads(said)["done"] == done < RUNS
    assert Sweeping(plan, "--out", tmp_path).said()[0] == 0
    assert differing(tmp_path / "small", whole) == []


@pytest.mark.long
def test_no_worker_outlives_its_parent_where_the_system_does_not_see_to_it(tmp_path):
    unable = "from experiments import following; following.follow_parent = lambda *_: None"
    sweeping = Sweeping(written(tmp_path, PLAN), "--out", tmp_path, "--workers", 2, before=unable)
    sweeping.until_finished(tmp_path / "small", 1)
    workers = sweeping.children()
    assert len(workers) == 2
    sweeping.end(signal.SIGKILL)
    gone(workers)


@pytest.mark.long
def test_a_terminal_shows_how_far_it_is_and_how_long_it_takes(tmp_path):
    words = ["-m", "experiments", "sweep", str(written(tmp_path, PLAN)), "--out", str(tmp_path)]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "140"}
    terminal = pexpect.spawn(sys.executable, words, cwd=ROOT, env=environment, timeout=WAIT_S, encoding="utf-8")
    terminal.expect(rf"small .*\d+/{RUNS}.*left: .*\d:\d\d:\d\d")
    terminal.expect(f"{RUNS} of {RUNS} runs are done")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0


def test_in_a_pipe_it_is_quiet(sweep):
    code, said, errors = sweep()
    assert (code, errors) == (0, "") and "\x1b" not in said
    assert said.splitlines()[-1].startswith(f"Sweep: {QUICK_RUNS} of {QUICK_RUNS} runs are done, in ")


@pytest.mark.parametrize(
    "options, said", [(["--workers", "0"], "--workers"), (["--workers", "2", "--scheduler", "x:1"], "own workers")]
)
def test_options_that_make_no_sense(sweep, tmp_path, options, said):
    code, _, errors = sweep(QUICK, *options)
    assert code == 2 and said in errors and not (tmp_path / "quick").exists()


@pytest.mark.long
def test_real_processes_play_one_after_another_beside_simulated_runs(sweep, tmp_path):
    plan = {
        **QUICK, "grid": {"world": ["sim", "local"], "ordering": ["fifo", "unordered"], "peers": [2, 3]}, "repeat": 1,
    }  # fmt: skip
    code, said, errors = sweep(plan)
    assert code == 0, errors
    runs = analysis.load(tmp_path / "quick").runs
    assert runs.groupby(["world", "peers", "ordering"]).size().to_list() == [1] * 8
    assert set(runs["outcome"]) == {"held"}
    before = finished(tmp_path / "quick")
    assert sweep(plan, "--resume")[0] == 0 and finished(tmp_path / "quick") == before


def test_peers_that_do_not_come_up_fail_their_runs_only(sweep, tmp_path, monkeypatch):
    def broken(peers, *_):
        raise RunError("start", [], f"{peers} peers do not start")

    monkeypatch.setattr(playing, "in_local", broken)
    code, _, errors = sweep({**QUICK, "grid": {"world": ["sim", "local"], "peers": [2, 3]}, "repeat": 1})
    failed = json.loads((tmp_path / "quick" / "failed.json").read_bytes())
    assert code == 3 and sorted(failed.values()) == ["2 peers do not start", "3 peers do not start"]
    assert len(finished(tmp_path / "quick")) == 2


def test_cores():
    assert 1 <= command.cores() <= (os.cpu_count() or 1)

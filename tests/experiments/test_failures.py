"""What befalls a run of real processes, injected at what was seen of it: each ends as it must."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep

import pytest

from comparison_server.coordinator import DRAIN, HANDSHAKE, SEND, UPLOAD
from comparison_server.run_folder import load_run
from comparison_server.service import Service
from comparison_server.verdict import judge
from experiments.local import LocalCluster
from peer.core.settings import DeadlineSettings, WindowSettings
from peer.drivers.control import parse_endpoint
from peer.stacks import promised
from tests.control_client import Client, until
from tests.runs import run_settings

pytestmark = pytest.mark.long  # real processes

ROOT = Path(__file__).parents[2]
LOOPBACK = ("127.0.0.1", 0)
SOON_S = 20.0  # far below the deadlines that the runs have unless told otherwise


def settings_of(names, ordering="lamport_all_ack", **options):
    options = {"gap_ms": (1.0, 5.0), "delay_s": 0.003, "messages": 200, **options}
    return replace(run_settings(ordering, peers=len(names), **options), members=tuple(names))


def play(server, names, folder, on_progress=None, *, settings=None, **options):
    settings = settings or settings_of(names, **options)
    return settings, server.run(settings, "agreement" in promised(settings), {"world": "local"}, folder, on_progress)


def judged(folder, settings):
    """The verdict on what was kept; nothing in it contradicts a promise but what did not come to its end."""
    verdict = judge(load_run(folder), promised(settings))
    assert set(verdict.violated()) <= {"validity", "agreement", "uniform_agreement"}, verdict.findings
    return verdict


class Once:
    """Does something the first time that a progress is such."""

    def __init__(self, such, do):
        self.such, self.do, self.at = such, do, None

    def __call__(self, progress):
        if self.at is None and self.such(progress):
            self.at = monotonic()
            self.do()


def large_logs(names):
    """A run with a block for every message, so that uploading its logs takes a while."""
    settings = settings_of(names, "unordered", workload="burst", messages=20_000, size_bytes=8)
    return replace(settings, window=WindowSettings(blocks=64, block_bytes=8))


# How a run is brought into each phase, and kept there for long enough to be seen in it.
IN_PHASE = {
    HANDSHAKE: lambda names: settings_of(names, delay_s=0.5),
    SEND: lambda names: settings_of(names, messages=100_000),
    DRAIN: lambda names: settings_of(names, workload="burst", messages=10, delay_s=0.7),
    UPLOAD: large_logs,
}
AT_NIGHT = [pytest.param(phase, marks=pytest.mark.slow) for phase in (DRAIN, UPLOAD)]


@pytest.mark.parametrize("phase", IN_PHASE)
def test_a_peer_that_is_killed_ends_the_run_which_says_when_and_the_others_logs_are_judged(tmp_path, phase):
    with LocalCluster(3) as cluster:
        kill = Once(
            lambda progress: progress.phase == phase and (phase != SEND or progress.delivered > 10),
            lambda: os.kill(cluster.pids["p1"], signal.SIGKILL),
        )
        settings, outcome = play(cluster, cluster.names, tmp_path, kill, settings=IN_PHASE[phase](cluster.names))
        assert kill.at is not None and monotonic() - kill.at < SOON_S
    assert outcome.error.phase == phase and outcome.error.peers == ["p1"] and not outcome.complete
    assert str(outcome.error).startswith(f"p1 was ended by SIGKILL, in phase {phase}, ")
    assert outcome.missing == ["p1"]
    logs = {log.label: log for log in load_run(tmp_path).logs}
    assert phase == HANDSHAKE or all(len(logs[other].sends.numbers) > 0 for other in "02")
    assert phase != SEND or all(len(logs[other].ids) > 0 for other in "02")
    judged(tmp_path, settings)


def test_the_sequencer_that_is_killed_is_named_as_any_other_peer(tmp_path):
    with LocalCluster(3) as cluster:
        kill = Once(lambda progress: progress.delivered > 10, lambda: os.kill(cluster.pids["p0"], signal.SIGKILL))
        settings, outcome = play(cluster, cluster.names, tmp_path, kill, ordering="fixed_sequencer", messages=100_000)
        assert monotonic() - kill.at < SOON_S
    assert outcome.error.peers == ["p0"] and outcome.missing == ["p0"]
    assert judged(tmp_path, settings).rounds.rounds > 0


@pytest.mark.parametrize("phase", [HANDSHAKE, SEND, *AT_NIGHT])
def test_a_peer_that_falls_silent_for_longer_than_its_phase_may_last_ends_the_run(tmp_path, phase):
    deadlines = DeadlineSettings(handshake_s=3.0, drain_s=3.0, upload_s=3.0)
    with LocalCluster(3) as cluster:
        pause = Once(
            lambda progress: progress.phase == phase and (phase != SEND or progress.delivered > 10),
            lambda: os.kill(cluster.pids["p1"], signal.SIGSTOP),
        )
        settings = replace(IN_PHASE[phase](cluster.names), deadlines=deadlines)
        _, outcome = play(cluster, cluster.names, tmp_path, pause, settings=settings)
        assert monotonic() - pause.at < SOON_S
        os.kill(cluster.pids["p1"], signal.SIGCONT)
    assert outcome.error.phase == phase and "p1" in outcome.error.peers and outcome.missing == ["p1"], outcome.error
    assert "p1" in str(outcome.error)
    judged(tmp_path, settings)


def test_a_peer_that_stands_still_for_a_while_holds_the_run_up_and_is_named(tmp_path):
    pause_s = 10.0
    with LocalCluster(3) as cluster:
        pid = cluster.pids["p1"]
        pause = Once(lambda progress: progress.delivered > 50, lambda: os.kill(pid, signal.SIGSTOP))
        wake = Once(lambda _: pause.at and monotonic() - pause.at > pause_s, lambda: os.kill(pid, signal.SIGCONT))
        settings, outcome = play(
            cluster, cluster.names, tmp_path, lambda progress: (pause(progress), wake(progress)), gap_ms=(2.0, 10.0)
        )
    assert wake.at is not None and outcome.complete and outcome.error is None, outcome.error
    (remark,) = outcome.remarks
    assert (
        remark.startswith("p1 stood still for 1") and outcome.measures["p1"]["stood_still"][0]["for_s"] >= pause_s - 1.1
    )
    verdict = judge(load_run(tmp_path), promised(settings))
    assert verdict.violated() == [] and verdict.rounds.out_of_order == 0 and verdict.complete


def test_a_peer_that_died_in_one_run_of_a_command_is_started_anew_for_the_next(tmp_path):
    with LocalCluster(3) as cluster:
        kill = Once(lambda progress: progress.delivered > 10, lambda: os.kill(cluster.pids["p1"], signal.SIGKILL))
        _, outcome = play(cluster, cluster.names, tmp_path / "one", kill, messages=100_000)
        assert outcome.error.peers == ["p1"] and set(cluster.deaths) == {"p1"}
        cluster.replace_dead()
        assert cluster.deaths == {}
        settings, outcome = play(cluster, cluster.names, tmp_path / "two", messages=20)
        assert outcome.complete and judged(tmp_path / "two", settings).complete


# -- processes that were started one by one, as on several machines


class Lab:
    """A group manager and peers, each a process of its own; whoever leads them comes and goes."""

    def __init__(self, folder):
        self.folder, self.processes, self.port = folder, {}, 0
        self.key = folder / "key"
        self.key.touch(mode=0o600)
        self.key.write_text("ab" * 32 + "\n")
        self.secret = bytes.fromhex("ab" * 32)
        self.start_manager()

    @property
    def manager(self):
        return ("127.0.0.1", self.port)

    def start(self, name, *arguments):
        with open(self.folder / f"{name}.txt", "ab") as said:
            command = [sys.executable, "-m", *arguments, "--key", str(self.key)]
            self.processes[name] = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=said, text=True)
        return self.processes[name]

    def start_manager(self):
        process = self.start("group manager", "group_manager", "--bind", f"127.0.0.1:{self.port}")
        self.port = parse_endpoint(process.stdout.readline().split()[-1])[1]

    def start_peers(self, *names, logs=None):
        for name in names:
            where = ["--manager", "127.0.0.1:{}".format(self.port), "--bind", "127.0.0.1:0"]
            self.start(name, "peer", "--name", name, *where, "--logs", str(logs or self.folder / "logs"))

    def kill(self, name):
        self.processes[name].kill()
        self.processes[name].wait()

    def said(self, name):
        return (self.folder / f"{name}.txt").read_text()

    def end(self):
        for process in self.processes.values():
            process.kill()
            process.wait()
            process.stdout.close()


@pytest.fixture
def lab(tmp_path):
    lab = Lab(tmp_path)
    yield lab
    lab.end()
    for name in lab.processes:
        assert "Traceback" not in lab.said(name), lab.said(name)


def leading(lab, **options):
    return Service(LOOPBACK, lab.secret, manager=lab.manager, **options)


def test_a_group_manager_that_is_killed_and_comes_back_is_filled_again_and_the_run_completes(lab, tmp_path):
    names = ["a", "b", "c"]
    lab.start_peers(*names)
    with leading(lab) as service:
        service.wait_for_peers(3, SOON_S)
        kill = Once(lambda progress: progress.delivered > 20, lambda: lab.kill("group manager"))
        back = Once(lambda _: kill.at and monotonic() - kill.at > 1, lab.start_manager)
        settings, outcome = play(
            service, names, tmp_path / "run", lambda progress: (kill(progress), back(progress)), gap_ms=(5.0, 20.0)
        )
        assert back.at is not None and outcome.complete and outcome.error is None
        assert judged(tmp_path / "run", settings).complete
        until(lambda: service.registered, service.poll)

        def known():
            reply = Client(lab.manager, lab.secret, sleep).ask({"op": "list"})
            return sorted(row["name"] for row in reply["members"])

        until(lambda: known() == names, service.poll, SOON_S)
        _, outcome = play(service, names, tmp_path / "next", messages=5)
        assert outcome.complete and outcome.error is None
        service.end_all()


LEAD = """
import sys
from comparison_server.service import Service
from peer.stacks import promised
from tests.experiments.test_failures import LOOPBACK, settings_of
port, key, folder, phase, messages = sys.argv[1:]
with Service(LOOPBACK, bytes.fromhex(key), manager=("127.0.0.1", int(port))) as service:
    names = service.wait_for_peers(3, 20)
    settings = settings_of(names, messages=int(messages), gap_ms=(5.0, 20.0))
    said = []

    def tell(progress):
        if not said and progress.phase == phase and (phase != "send" or progress.delivered > 20):
            said.append(print("now", flush=True))

    service.run(settings, True, {"world": "cloud", "scenario": "taken up"}, folder, tell)
"""


@contextmanager
def led_until(lab, phase, folder, messages=200):
    """A comparison server in a process of its own, which is killed as soon as its run is in this phase."""
    command = [sys.executable, "-c", LEAD, str(lab.port), lab.secret.hex(), str(folder), phase, str(messages)]
    with open(lab.folder / "server.txt", "wb") as said:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=said, text=True)
    try:
        assert process.stdout.readline() == "now\n", (lab.folder / "server.txt").read_text()
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("phase", [HANDSHAKE, SEND, UPLOAD])
def test_a_comparison_server_that_is_killed_is_replaced_by_one_that_takes_its_run_up(lab, tmp_path, phase):
    lab.start_peers("a", "b", "c")
    with led_until(lab, phase, tmp_path / "first"):
        pass
    with leading(lab) as service:
        until(lambda: service.found and len(service.peers) == 3, service.poll, SOON_S)
        (found,) = service.found
        assert found.settings.members == ("a", "b", "c") and found.header["scenario"] == "taken up"
        until(lambda: len(found.counts) == 3, service.poll, SOON_S)
        outcome = service.take_up(found, True, tmp_path / "second")
        assert outcome.complete and outcome.error is None and outcome.missing == [], outcome.error
        verdict = judge(load_run(tmp_path / "second"), promised(found.settings))
        assert verdict.violated() == [] and verdict.complete and verdict.rounds.rounds == 3 * 200
        assert verdict.rounds.out_of_order == 0
        _, outcome = play(service, ["a", "b", "c"], tmp_path / "next", messages=5)
        assert outcome.complete
        service.end_all()


def test_peers_whose_comparison_server_was_killed_play_on_and_keep_their_logs(lab, tmp_path):
    lab.start_peers("a", "b", "c")
    with led_until(lab, SEND, tmp_path / "first"):
        pass
    logs = sorted((tmp_path / "logs").glob("*-trace.bin"))
    sizes = [log.stat().st_size for log in logs]
    until(lambda: all(log.stat().st_size > size + 1000 for log, size in zip(logs, sizes)), lambda: sleep(0.05), SOON_S)
    assert len(logs) == 3 and all(lab.processes[name].poll() is None for name in "abc")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="a disk of its own to be filled needs root")
def test_a_full_disk_at_a_peer_ends_the_run_and_the_others_logs_are_judged(lab, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], check=True)
    try:
        lab.start_peers("a", "c")
        lab.start_peers("b", logs=disk)
        with leading(lab) as service:
            service.wait_for_peers(3, SOON_S)
            began = monotonic()
            settings, outcome = play(service, ["a", "b", "c"], tmp_path / "run", messages=100_000, gap_ms=(0.0, 1.0))
            assert monotonic() - began < SOON_S
            assert outcome.error.peers == ["b"] and outcome.error.phase == SEND
            assert str(outcome.error).startswith(
                "b cannot write its logs: No space left on device, in phase send, with "
            )
            logs = {log.label: log for log in load_run(tmp_path / "run").logs}
            assert all(len(logs[peer].ids) > 100 for peer in "012"), "what it had written before is kept as well"
            judged(tmp_path / "run", settings)
            service.end_all()
    finally:
        lab.end()
        subprocess.run(["umount", str(disk)], check=True)

"""What befalls the lab in the middle of something: ways that break, people who give up or come twice, peers that die.

Real fab tasks over real sshds. Every fault is injected at what was seen: a file on a host, a process there, words
that were printed. Each ends in time with a sentence, and with nothing left on any host that should not be there.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
import yaml

from comparison_server.run_folder import PARTIAL
from deploy.rehearsal.cloud import Rehearsal, lacking
from deploy.rehearsal.plan import HostPlan, Plan
from tests.deploy.operator import Operator, Said, comes_to, remarks_of

if reason := lacking():
    pytest.skip(reason, allow_module_level=True)

HOSTS = ("h0", "h1", "h2")
LAB = "rehearsal"
SOON_S = 20.0  # for what should be there in a moment
RUN_S = 90.0  # for a whole command
GIVEN_UP_S = 8.0  # from Ctrl-C to the shell's prompt
SHIM = Path(__file__).parents[2] / "deploy" / "rehearsal" / "shim.c"


@pytest.fixture(scope="module")
def cloud() -> Iterator[Rehearsal]:
    """Three hosts beside each other; the operator works from somewhere else."""
    plan = Plan(
        tuple(HostPlan(name, "here") for name in HOSTS), ("here", "home"), ((0.1, 5), (5, 0.1)), operator="home"
    )
    with Rehearsal(plan) as cloud:
        yield cloud


@dataclass
class Bench:
    """The cloud as one test has it, with whoever works there."""

    cloud: Rehearsal
    folder: Path

    def operator(self, name: str = "ana", **environment: str) -> Operator:
        return Operator(self.cloud, self.folder / name, LOGNAME=name, **environment)

    def inventory(self, name: str, **changes: Any) -> Path:
        """As the cloud's own, but for this."""
        inventory = yaml.safe_load(self.cloud.inventory.read_text())
        inventory["defaults"] |= changes.pop("defaults", {})
        file = self.cloud.folder / f"{name}.yml"
        file.write_text(yaml.safe_dump(inventory | changes))
        return file

    @contextmanager
    def running(self, operator: Operator, task: str, *more: object, **options: Any) -> Iterator[subprocess.Popen]:
        process = operator.begin(task, *more, **options)
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    # What can be seen.

    def place(self, host: str, lab: str = LAB) -> Path:
        """The lab's folder on a host, as this machine sees it."""
        pid = self.cloud.control("status")["hosts"][host]["pid"]
        return Path(f"/proc/{pid}/root/home/lab/.ordering-lab/{lab}")

    def told(self, host: str) -> dict[str, Any]:
        """What the peers of a host are told of control."""
        with suppress(OSError):
            return json.loads((self.place(host) / "control.json").read_text())
        return {}

    def recorded(self, host: str) -> int:
        """Bytes of deliveries that a peer has written down."""
        log = self.place(host) / "logs" / f"{host}-trace.bin"
        return log.stat().st_size if log.exists() else 0

    def peers(self, host: str, lab: str = LAB) -> dict[str, str]:
        return {pid: line for pid, line in self.cloud.processes(host).items() if f"/{lab}/lab.pyz peer " in line}

    def all_play(self, bytes_more: int = 3000) -> bool:
        """Whether deliveries are being written down everywhere."""
        return all(self.recorded(host) > bytes_more for host in HOSTS)

    def nothing_runs(self) -> None:
        for host in HOSTS:
            assert comes_to({}, lambda: self.cloud.processes(host))

    # What can be done to it.

    def cut(self, *hosts: str, silently: bool = False) -> None:
        """No ssh between here and these hosts. What is open breaks there; silently: nothing is heard of that here."""
        for host in hosts:
            self.cloud.control("block", source="operator", target=host, what="ssh")
            if silently:
                self.cloud.control("block", source=host, target="operator", what="ssh")
            self.hang_up(host)

    def hang_up(self, host: str) -> None:
        """End the sessions of a host's sshd, not sshd itself."""
        theirs = os.readlink(f"/proc/{self.cloud.control('status')['hosts'][host]['pid']}/ns/pid")
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                line = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
                if re.match(rb"sshd(-session)?: lab", line) and os.readlink(entry / "ns/pid") == theirs:
                    os.kill(int(entry.name), signal.SIGKILL)

    def mend(self) -> None:
        self.cloud.control("heal")
        self.cloud.control("network", regions=["here", "home"], rate_mbit=None)
        for host, about in self.cloud.control("status")["hosts"].items():
            if about["state"] == "paused":
                self.cloud.control("resume", host=host)

    def slow(self, rate_mbit: float) -> None:
        """The way between here and the hosts."""
        self.cloud.control("network", regions=["here", "home"], rate_mbit=rate_mbit)


@pytest.fixture
def bench(cloud: Rehearsal, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(cloud, tmp_path)
    yield bench
    bench.mend()
    Operator(cloud, tmp_path / "cleaner").fab("clean")
    bench.nothing_runs()
    assert not [path for host in HOSTS for path in cloud.files(host) if ".ordering-lab" in path or "/tmp/" in path]


def until(reached: Callable[[], Any], timeout_s: float = SOON_S, process: subprocess.Popen | None = None) -> Any:
    """Wait for this; not for ever, and not for a process that has ended."""
    end = monotonic() + timeout_s
    while not (found := reached()):
        assert monotonic() < end, "it did not come to that in time"
        assert process is None or process.poll() is None, f"it has ended: {process.communicate()}"
        sleep(0.02)
    return found


def ended(process: subprocess.Popen, timeout_s: float = RUN_S) -> Said:
    out, err = process.communicate(timeout=timeout_s)
    said = Said(process.returncode, out, err)
    assert "Traceback" not in out + err, str(said)
    return said


def runs_of(said: Said) -> list[dict[str, Any]]:
    return json.loads(said.out.splitlines()[-1])["runs"]


def is_whole(run: dict[str, Any], messages: int) -> None:
    """Everything was delivered by everybody, once and in one order."""
    assert run["complete"] and run["error"] is None, run
    assert (run["rounds"], run["out_of_order_rounds"], run["short_rounds"]) == (3 * messages, 0, 0)
    assert all(about["holds"] for about in run["properties"].values() if about["promised"])


def violated(run: dict[str, Any]) -> list[str]:
    return [name for name, about in run["properties"].items() if about["promised"] and about["holds"] is False]


def kept(operator: Operator) -> dict[str, dict[str, Any]]:
    """The verdict of each run folder of an operator."""
    verdicts = sorted((operator.home / "runs").glob("*/verdict.json"))
    return {path.parent.name: json.loads(path.read_text()) for path in verdicts}


def is_partial(folder: Path) -> bool:
    return (folder / PARTIAL).exists()


def playing(messages: int, *more: object) -> tuple[object, ...]:
    return ("--messages", messages, "--ordering", "lamport_all_ack", *more)


LARGE = ("--set", "workload.kind=burst", "--set", "window.block_bytes=8", "--set", "workload.size_bytes=8")


def parts(operator: Operator) -> int:
    """Bytes of logs that are on their way to an operator."""
    return sum(path.stat().st_size for path in (operator.home / "runs").glob("*/*.part"))


# The way to a host breaks.


@pytest.mark.slow
@pytest.mark.parametrize("silently", [False, True])
def test_ssh_cut_during_deploy(bench, silently):
    operator, lab = bench.operator(), bench.inventory("hasty", deadline_s=12)
    bench.slow(1)  # so that it takes a while
    with bench.running(operator, "deploy", inventory=lab) as process:
        until(lambda: bench.cloud.processes("h1"), process=process)
        bench.cut("h1", silently=silently)
        said = ended(process, 30)
    assert said.code == 3 and "1 of 3 hosts failed, and the policy is all: h1" in said.err
    why = r"still asking for deploy after 1\d.* s; it was given up" if silently else "the connection broke while"
    assert re.search(f"FAILED: {why}", said.line_of("h1"))
    assert all("has a new archive, key" in said.line_of(host) for host in ("h0", "h2"))
    bench.mend()
    again = operator.fab("deploy", inventory=lab)
    assert again.code == 0 and all(again.line_of(host) == "is as it was" for host in ("h0", "h2"))
    assert "has a new archive, key" in again.line_of("h1")
    bench.nothing_runs()


@pytest.mark.long
def test_ssh_cut_during_the_run(bench):
    away_s, operator = 8.0, bench.operator()
    with bench.running(operator, "run", *playing(300, "--json")) as process:
        until(bench.all_play, process=process)
        before, peers = bench.told("h1"), bench.peers("h1")
        bench.cut("h1", silently=True)
        began = monotonic()
        there = bench.recorded("h1")
        until(lambda: bench.recorded("h1") > there + 2000, process=process)
        assert bench.peers("h1") == peers, "it is not disturbed"
        until(lambda: monotonic() > began + away_s)
        bench.mend()
        said = ended(process)
    assert said.code == 0, str(said)
    after = bench.told("h1")
    assert after["attached"] == before["attached"] and after["server"] != before["server"], "another way to the same"
    (run,) = runs_of(said)
    is_whole(run, 300)
    found = re.findall(r"^(\w+) was without connection for (.*) s\.$", "\n".join(run["remarks"]), re.M)
    away = {name: max(float(said_s) for each, said_s in found if each == name) for name, _ in found}
    assert away_s - 1 < away.pop("h1", 0.0) < away_s + 20, run["remarks"]
    assert all(said_s < away_s - 1 for said_s in away.values()) and remarks_of(run) == [], run["remarks"]
    bench.nothing_runs()


@pytest.mark.slow
@pytest.mark.parametrize("silently", [False, True])
def test_ssh_cut_while_logs_are_collected(bench, silently):
    operator = bench.operator()
    bench.slow(2)
    with bench.running(operator, "run", *playing(10_000, *LARGE, "--json")) as process:
        log = operator.home / "runs" / f"{LAB}-cloud-lamport_all_ack-1" / "trace-1.bin.part"
        until(lambda: log.exists() and log.stat().st_size > 100_000, 60, process)
        bench.cut("h1", silently=silently)
        have = log.stat().st_size
        began = monotonic()
        until(lambda: monotonic() > began + 4)
        bench.cloud.control("heal")
        until(lambda: not log.exists() or log.stat().st_size > have, 60, process)
        assert not log.exists() or log.stat().st_size >= have, "it is gone on with, not begun anew"
        bench.slow(100)
        said = ended(process)
    assert said.code == 0, str(said)
    (run,) = runs_of(said)
    is_whole(run, 10_000)
    assert not [remark for remark in run["remarks"] if "over its control connection" in remark], run["remarks"]
    bench.nothing_runs()


@pytest.mark.slow
def test_ssh_cut_for_longer_than_the_lab_waits(bench):
    operator, lab = bench.operator(), bench.inventory("hasty", lost_s=6, deadline_s=15)
    with bench.running(operator, "run", *playing(1000, "--json"), inventory=lab) as process:
        until(bench.all_play, process=process)
        bench.cut("h1")
        said = ended(process)
    assert said.code == 3, str(said)
    (run,) = runs_of(said)
    sentence = run["error"]["sentence"]
    assert run["error"]["peers"] == ["h1"] and run["error"]["phase"] == "send"
    pattern = r"h1 has had no connection for 6 s, in phase send, with [\d,]+ of 3,000 messages delivered"
    assert re.match(pattern, sentence), sentence
    assert run["properties"]["total"]["holds"] and run["rounds"] > 0, "what the others delivered was judged"
    folder = operator.home / run["folder"]
    assert is_partial(folder)
    assert {path.name for path in folder.glob("trace-*.bin")} == {"trace-0.bin", "trace-2.bin"}
    assert not bench.peers("h0") and not bench.peers("h2")
    assert re.search("remark: h1: .* what lives on h1 is ended by `fab stop` once it can be reached", said.err), (
        said.err
    )
    bench.mend()
    stopped = operator.fab("stop")
    assert stopped.code == 0 and "h1 ended; the run that h1 played was not over" in stopped.line_of("h1")
    collected = operator.fab("collect")  # with the logs of h1
    assert collected.code == 3, str(collected)
    assert re.search(r"ended before the run was: one of them had delivered \d+ of 3000 messages", collected.err)
    again = kept(operator)[f"{folder.name}.2"]
    assert again["peers"] == 3 and again["properties"]["total"]["holds"] and not violated(again)
    assert len(list((operator.home / "runs" / f"{folder.name}.2").glob("trace-*.bin"))) == 3
    bench.nothing_runs()


# Somebody gives up.


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["check", "deploy", "starting", "handshake", "sending", "collecting", "twice"])
def test_ctrl_c(bench, stage):
    operator = bench.operator()
    task = stage if stage in ("check", "deploy") else "run"
    more: tuple[object, ...] = playing(1000) if task == "run" else ()
    seen: Callable[[], Any] = {
        "check": lambda: any(bench.cloud.processes(host) for host in HOSTS),
        "deploy": lambda: any(bench.cloud.processes(host) for host in HOSTS),
        "starting": lambda: any(bench.peers(host) for host in HOSTS),
        "handshake": lambda: all(bench.recorded(host) for host in HOSTS),
        "sending": bench.all_play,
        "collecting": lambda: parts(operator) > 200_000,
        "twice": lambda: parts(operator) > 200_000,
    }[stage]
    if stage in ("check", "deploy", "starting"):
        bench.slow(1)
    if stage == "handshake":
        for a, b in [(a, b) for a in HOSTS for b in HOSTS if a != b]:
            bench.cloud.control("block", source=a, target=b, what="udp")
    if stage in ("collecting", "twice"):
        bench.slow(2)
        more = playing(10_000, *LARGE)
    with bench.running(operator, task, *more) as process:
        until(seen, 60, process)
        process.send_signal(signal.SIGINT)
        began = monotonic()
        if stage == "twice":  # for who does not want to wait for what can still be collected
            until(lambda: monotonic() > began + 1, process=process)
            process.send_signal(signal.SIGINT)
        said = ended(process, 40)
    took_s = monotonic() - began
    assert said.code == 130 and "interrupted" in said.err, str(said)
    assert took_s < (GIVEN_UP_S if stage != "collecting" else GIVEN_UP_S + 10), f"{took_s:.1f} s"
    bench.mend()
    until(lambda: not any(bench.cloud.processes(host) for host in HOSTS), 5)
    folders = list((operator.home / "runs").glob("*"))
    assert len(folders) == (stage in ("handshake", "sending", "collecting", "twice"))
    assert all(is_partial(folder) for folder in folders)
    if stage == "sending":
        (verdict,) = kept(operator).values()
        assert verdict["error"]["sentence"].startswith("interrupted in phase send")
        assert verdict["rounds"] > 0 and verdict["properties"]["total"]["holds"]


@pytest.mark.slow
def test_ctrl_c_at_the_prompt(bench):
    """Once, in the middle of a run, ends that run alone; where nothing is played it ends everything."""
    operator = bench.operator()
    said_file = bench.folder / "said.txt"
    with open(said_file, "w") as out:
        more = ("--ordering", "lamport_all_ack")
        with bench.running(operator, "run", *more, stdin=-1, stdout=out, stderr=subprocess.STDOUT) as process:
            process.stdin.write("1000\n")
            process.stdin.flush()
            until(bench.all_play, process=process)
            process.send_signal(signal.SIGINT)
            until(lambda: said_file.read_text().count("Messages per peer") == 2, process=process)
            assert all(bench.peers(host) for host in HOSTS)
            process.stdin.write("5\n")
            process.stdin.flush()
            until(lambda: said_file.read_text().count("Messages per peer") == 3, process=process)
            process.send_signal(signal.SIGINT)
            process.wait(GIVEN_UP_S)
    said = said_file.read_text()
    assert process.returncode == 130 and "Traceback" not in said, said
    first, second = kept(operator).values()
    assert first["error"]["sentence"].startswith("interrupted in phase send") and first["rounds"] > 0
    is_whole(second, 5)
    bench.nothing_runs()


# The operator's process is killed.


def killed_in_the_middle(bench: Bench, operator: Operator, messages: int) -> None:
    with bench.running(operator, "run", *playing(messages)) as process:
        until(bench.all_play, process=process)
        process.kill()
    there = {host: bench.recorded(host) for host in HOSTS}
    until(lambda: all(bench.recorded(host) > there[host] + 1000 for host in HOSTS))  # they go on


def collected_once(bench: Bench, operator: Operator, folder: str) -> None:
    """Asked once more, all of it is there already."""
    before = sorted((operator.home / "runs").iterdir())
    again = operator.fab("collect")
    assert again.code == 0 and all(re.search(f"run \\w+ is in {folder}", again.line_of(host)) for host in HOSTS)
    assert sorted((operator.home / "runs").iterdir()) == before


@pytest.mark.long
def test_operator_killed_and_attached_again(bench):
    operator = bench.operator()
    killed_in_the_middle(bench, operator, 200)
    status = operator.fab("status")
    led = r"live, led by ana@\S+ \(process \d+\) since \d\d:\d\d.*, to whom there is no way from there just now; "
    assert all(re.match(f"{host} {led}", status.line_of(host)) for host in HOSTS), str(status)
    assert [line.split()[0] for line in status.out.splitlines()] == list(HOSTS), "in the order of the inventory"
    said = operator.fab("collect")
    assert said.code == 0, str(said)
    assert "h0, h1, h2 play a run (lamport_all_ack): it is taken up." in said.out
    (folder, verdict), *more = kept(operator).items()
    is_whole(verdict, 200)
    assert not more and not is_partial(operator.home / "runs" / folder)
    first = operator.home / "runs" / folder.removesuffix(".2")
    assert is_partial(first) and first.name != folder, "what the first one had made is not taken for a run"
    collected_once(bench, operator, f"runs/{folder}")
    assert all(bench.peers(host) for host in HOSTS), "they live until they are told to end"
    assert operator.fab("stop").code == 0
    bench.nothing_runs()


@pytest.mark.slow
def test_operator_killed_and_run_takes_it_up_before_it_plays(bench):
    operator = bench.operator()
    killed_in_the_middle(bench, operator, 200)
    peers = {host: bench.peers(host) for host in HOSTS}
    with bench.running(operator, "run", *playing(7, "--json")) as process:
        until(lambda: all(bench.told(host)["operator"] for host in HOSTS), process=process)
        said = ended(process)
    assert said.code == 0, str(said)
    taken, own = runs_of(said)
    is_whole(taken, 200)
    is_whole(own, 7)
    assert len(kept(operator)) == 2 and all(len(each) == 1 for each in peers.values())
    bench.nothing_runs()


@pytest.mark.slow
def test_another_operator_without_the_key_attaches(bench):
    killed_in_the_middle(bench, bench.operator("ana"), 200)
    other = bench.operator("bob")
    assert not list(other.home.iterdir())
    said = other.fab("collect")
    assert said.code == 0 and "the key comes from the hosts: somebody else deployed this lab" in said.err, str(said)
    ((folder, verdict),) = kept(other).items()
    is_whole(verdict, 200)
    collected_once(bench, other, f"runs/{folder}")
    status = other.fab("status")
    assert all("led by bob@" in status.line_of(host) for host in HOSTS)


@pytest.mark.slow
@pytest.mark.parametrize("peers", ["live", "have ended"])
def test_operator_killed_while_collecting(bench, peers):
    """Some logs are here already, under their names: the run is not taken for one that is here."""
    operator = bench.operator()
    bench.slow(4)
    with bench.running(operator, "run", *playing(10_000, *LARGE)) as process:
        until(lambda: parts(operator) > 200_000, 60, process)
        bench.cut("h2")
        until(lambda: len(list((operator.home / "runs").glob("*/*-[01].bin"))) == 4, 60, process)
        process.kill()
    (first,) = (operator.home / "runs").iterdir()
    assert not (first / "trace-2.bin").exists()
    bench.mend()
    if peers == "have ended":
        assert operator.fab("stop").code == 0
        bench.nothing_runs()
    said = operator.fab("collect")
    assert said.code == 0, str(said)
    ((folder, verdict),) = kept(operator).items()
    is_whole(verdict, 10_000)
    assert f"is whole in runs/{folder}: runs/{first.name}, which held a part of it, is removed." in said.out
    assert [left.name for left in (operator.home / "runs").iterdir()] == [folder]
    assert ("`fab stop` ends them" in said.out) == (peers == "live")
    collected_once(bench, operator, f"runs/{folder}")


# Two operators.


@pytest.mark.slow
@pytest.mark.parametrize("task", ["collect", "run"])
def test_of_two_operators_the_later_one_leads(bench, task):
    ana, bob = bench.operator("ana"), bench.operator("bob")
    with bench.running(ana, "run", *playing(300)) as first:
        until(bench.all_play, process=first)
        with bench.running(bob, task, *(playing(5) if task == "run" else ())) as second:
            said = ended(first)
            assert said.code == 3, str(said)
            led = r"this comparison server leads no more: h\d follows bob@\S+ \(process \d+\) since \d\d:\d\d"
            assert re.search(led, said.err), str(said)
            assert all(bench.peers(host) for host in HOSTS), "the first one ends nothing that is not its own any more"
            other = ended(second)
    assert other.code == 0, str(other)
    verdicts = list(kept(bob).values())
    is_whole(verdicts[-1 if len(verdicts) == 1 else 1], 300) if task == "collect" else is_whole(verdicts[0], 300)
    assert all(is_partial(folder) for folder in (ana.home / "runs").iterdir())


@pytest.mark.slow
def test_two_operators_who_begin_at_the_same_moment(bench):
    """One of them leads, whichever; the other is told who."""
    ana, bob = bench.operator("ana"), bench.operator("bob")
    assert ana.fab("deploy").code == 0  # so that there is one key
    with (
        bench.running(ana, "run", *playing(30, "--json")) as first,
        bench.running(bob, "run", *playing(30, "--json")) as second,
    ):
        both = ended(first), ended(second)
    codes = sorted(said.code for said in both)
    assert codes == [0, 3], "\n".join(map(str, both))
    won, lost = sorted(both, key=lambda said: said.code)
    is_whole(runs_of(won)[-1], 30)
    winner = "ana" if won is both[0] else "bob"
    assert re.search(rf"{winner}@\S+ \(process \d+\) since \d\d:\d\d", lost.err), str(lost)
    bench.nothing_runs()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("cc") is None, reason="clocks cannot be set apart without a C compiler")
def test_a_later_operator_whose_clock_is_behind_leads_all_the_same(bench):
    shim, offset = bench.folder / "clock.so", bench.folder / "offset"
    offset.write_bytes(struct.pack("=q", -60 * 10**9))
    define = f'-DOFFSET_FILE="{offset}"'
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", define, "-o", str(shim), str(SHIM)], check=True)
    ana, bob = bench.operator("ana"), bench.operator("bob", LD_PRELOAD=str(shim))
    with bench.running(ana, "run", *playing(300)) as first:
        until(bench.all_play, process=first)
        before = bench.told("h0")
        with bench.running(bob, "collect") as second:
            said, other = ended(first), ended(second)
    assert said.code == 3 and re.search(r"leads no more: h\d follows bob@", said.err), str(said)
    assert other.code == 0, str(other)
    (verdict,) = kept(bob).values()
    is_whole(verdict, 300)
    after = bench.told("h0")
    assert before["since"] < after["since"] < before["since"] + 1, "its own clock would have said a minute less"


# Peers die, hosts stand still, labs are side by side.


@pytest.mark.slow
def test_a_peer_that_is_killed_is_named_and_the_others_logs_are_kept(bench):
    operator = bench.operator()
    with bench.running(operator, "run", *playing(1000, "--json")) as process:
        until(bench.all_play, process=process)
        (pid,) = bench.peers("h1")
        assert bench.cloud.ssh("h1", f"kill -9 {pid}").returncode == 0
        began = monotonic()
        said = ended(process)
    assert said.code == 3 and monotonic() - began < SOON_S
    (run,) = runs_of(said)
    assert run["error"]["peers"] == ["h1"] and run["error"]["phase"] == "send"
    assert re.match(r"h1 has ended.*, in phase send, with [\d,]+ of 3,000 messages", run["error"]["sentence"])
    assert run["properties"]["total"]["holds"] and run["rounds"] > 0
    folder = operator.home / run["folder"]
    assert {path.name for path in folder.glob("trace-*.bin")} == {"trace-0.bin", "trace-2.bin"} and is_partial(folder)
    bench.nothing_runs()


@pytest.mark.slow
def test_a_host_that_stands_still_for_a_while_is_waited_for_and_named(bench):
    operator = bench.operator()
    with bench.running(operator, "run", *playing(300, "--json")) as process:
        until(bench.all_play, process=process)
        bench.cloud.control("pause", host="h1")
        began = monotonic()
        until(lambda: monotonic() > began + 10, process=process)
        bench.cloud.control("resume", host="h1")
        said = ended(process)
    assert said.code == 0, str(said)
    (run,) = runs_of(said)
    is_whole(run, 300)
    assert any(re.match(r"h1 stood still for (9|[1-3]\d)\.\d s", remark) for remark in run["remarks"]), run["remarks"]
    long = [remark for remark in run["remarks"] if re.search(r" for (9|[1-3]\d)\.\d s", remark)]
    assert all(remark.startswith("h1 ") for remark in long), "nobody else is said to have"
    assert remarks_of(run) == [], run["remarks"]
    bench.nothing_runs()


@pytest.mark.slow
def test_two_labs_on_the_same_hosts(bench):
    ana, bob = bench.operator("ana"), bench.operator("bob")
    other = bench.inventory("other", lab="other", defaults={"peer_port": 5800})
    assert ana.fab("check").code == 0
    more = ("--ordering", "lamport_all_ack")

    def things(lab: str) -> dict[str, Any]:
        """The processes of a lab, and its files with what is in them."""
        files = {}
        for host in HOSTS:
            for path in sorted(bench.place(host, lab).rglob("*")):
                files[host, str(path).partition(".ordering-lab")[2]] = path.is_file() and path.read_bytes()
        return {"processes": {host: bench.peers(host, lab) for host in HOSTS}, "files": files}

    said = [open(bench.folder / f"{name}.txt", "w+") for name in ("ana", "bob")]
    with (
        bench.running(ana, "run", *more, stdin=-1, stdout=said[0], stderr=subprocess.STDOUT) as first,
        bench.running(bob, "run", *more, stdin=-1, stdout=said[1], stderr=subprocess.STDOUT, inventory=other) as second,
    ):
        for process in (first, second):
            process.stdin.write("100\n")
            process.stdin.flush()
        until(lambda: all(Path(file.name).read_text().count("Messages per peer") == 2 for file in said), 60)
        for operator in (ana, bob):
            (verdict,) = kept(operator).values()
            is_whole(verdict, 100)
        before = things(LAB)
        assert all(len(each) == 1 for each in before["processes"].values()) and before["files"]
        cleaned = bob.fab("clean", inventory=other)
        assert cleaned.code == 0 and all("nothing of the lab is left" in cleaned.line_of(host) for host in HOSTS)
        assert things(LAB) == before
        assert things("other") == {"processes": {host: {} for host in HOSTS}, "files": {}}
        first.stdin.write("10\n0\n")
        first.stdin.flush()
        assert first.wait(RUN_S) == 0
        second.stdin.write("0\n")
        second.stdin.flush()
        second.wait(RUN_S)
    words = [Path(file.name).read_text() for file in said]
    assert not [each for each in words if "Traceback" in each], words
    assert second.returncode == 0, words[1]
    is_whole(list(kept(ana).values())[1], 10)
    for file in said:
        file.close()
    bench.nothing_runs()

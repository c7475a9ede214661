"""What is wrong with hosts and with the ways to them: told in a plain sentence each, while the others do their part.

Real fab tasks over real sshds. Each task ends within the deadline of its inventory, with a line for each host, and
leaves nothing on any host that the lab cannot take away again.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
import yaml

from comparison_server.run_folder import load_run
from deploy.bundle import make_bundle
from deploy.rehearsal.cloud import Rehearsal, lacking
from deploy.rehearsal.plan import HostPlan, Plan
from tests.deploy.operator import ROOT, Operator, Said, comes_to, remarks_of

if reason := lacking() or ("" if shutil.which("cc") else "clocks cannot be set apart without a C compiler"):
    pytest.skip(reason, allow_module_level=True)

PLAN = Plan(
    (
        HostPlan("a", "east"),
        HostPlan("b", "west"),
        HostPlan("c", "west"),
        HostPlan("bare", "east", python="none"),
        HostPlan("old", "west", python="old"),
        HostPlan("full", "east", disk_kb=64),
        HostPlan("odd", "east", noisy=True, sftp=False),
        HostPlan("noisy", "west", noisy=True),
        HostPlan("nat", "west", nat=True),
        HostPlan("ahead", "east", clock_offset_s=5.0, uptime_s=300_000),
        HostPlan("anew", "east"),
    ),
    ("east", "west"),
    ((0.1, 5.0), (5.0, 0.1)),
)
HOSTS = [host.name for host in PLAN.hosts]
DISK_KB = 256 * 1024
DEADLINE_S = 16.0  # for a task on one host: longer than a connection is waited for
START_S = 10.0  # for fab itself, and for what is done after the hosts were asked
RUN_S = 60.0  # for a command that plays
SOON_S = 20.0  # for what should be seen in a moment
RUN = ("run", "--messages", 5, "--ordering", "lamport_all_ack", "--json")

NO_PYTHON = "it has no python3; install one, 3.10 or later"
SILENT = (
    "no answer from {}:22 within 10 s; is the machine running, and does its security group let that port in from here?"
)
FULL = r"the disk that holds /home/lab/.ordering-lab is full \(\d+ kB are free\); make room there"
NO_SFTP = "SFTP is switched off; give its sshd_config `Subsystem sftp internal-sftp`"
PRINTS = "something there prints before SFTP can speak, such as a .bashrc; have it print in interactive shells only"


@pytest.fixture(scope="module")
def cloud() -> Iterator[Rehearsal]:
    with Rehearsal(PLAN) as cloud:
        yield cloud


@pytest.fixture(scope="module")
def bare_hosts(cloud: Rehearsal) -> dict[str, Any]:
    """What is on the hosts before anything is done with them."""
    return what_is_on(cloud)


def what_is_on(cloud: Rehearsal) -> dict[str, Any]:
    return {host: (cloud.processes(host), cloud.files(host)) for host in HOSTS}


@dataclass
class Bench:
    """The cloud as one test has it, and the person who works there."""

    cloud: Rehearsal
    operator: Operator

    def __post_init__(self) -> None:
        self.home = self.operator.home
        self.known_hosts = self.home / ".lab" / "known_hosts"
        self.inventory = self.home / "rehearsal.yml"  # of the lab that was written last

    def lab(self, *hosts: str, known: bool = True, changes: dict[str, dict] | None = None, **top: Any) -> Path:
        """Write an inventory of these hosts; `known`: their keys are pinned, as after a `fab check`."""
        written = yaml.safe_load(self.cloud.inventory.read_text())
        written["hosts"] = {name: written["hosts"][name] | (changes or {}).get(name, {}) for name in hosts}
        written |= {"deadline_s": DEADLINE_S} | top
        self.inventory = self.home / f"{written['lab']}.yml"
        self.inventory.write_text(yaml.safe_dump(written, sort_keys=False))
        self.known_hosts.parent.mkdir(exist_ok=True)
        self.known_hosts.write_text("".join(map(self.entry, hosts)) if known else "")
        return self.inventory

    def entry(self, host: str) -> str:
        """A host as it stands in known_hosts when its present key is known."""
        kind, key = (self.cloud.folder / "keys" / f"{host}.pub").read_text().split()[:2]
        return f"{self.address(host)} {kind} {key}\n"

    def address(self, host: str) -> str:
        return self.cloud.plan.address(host)

    def fab(self, task: str, *more: object, within_s: float = DEADLINE_S + START_S) -> Said:
        """A task, to its end, which comes in time."""
        return self.operator.fab(task, *more, inventory=self.inventory, timeout=within_s)

    def begin(self, task: str, *more: object, **options: Any) -> subprocess.Popen:
        return self.operator.begin(task, *more, inventory=self.inventory, **options)

    def played(self, *options: object, within_s: float = RUN_S, code: int = 0) -> list[Run]:
        """Runs, and what is left of each."""
        said = self.fab(*RUN, *options, within_s=within_s)
        assert said.code == code, str(said)
        return [Run(self.home / run["folder"], run) for run in json.loads(said.out)["runs"]]

    def place(self, host: str) -> Path:
        """The lab's folder on a host, as this machine sees it."""
        pid = self.cloud.control("status")["hosts"][host]["pid"]
        return Path(f"/proc/{pid}/root/home/lab/.ordering-lab/rehearsal")

    def recorded(self, host: str) -> int:
        """Bytes of deliveries that the peer of a host has written down."""
        log = self.place(host) / "logs" / f"{host}-trace.bin"
        return log.stat().st_size if log.exists() else 0

    def mend(self) -> None:
        """The cloud as it was made, but for host keys."""
        self.cloud.control("heal")
        for host, about in self.cloud.control("status")["hosts"].items():
            if about["state"] in MENDED_BY:
                self.cloud.control(MENDED_BY[about["state"]], host=host)
        self.cloud.control("disk", host="c", free_kb=DISK_KB)


MENDED_BY = {"paused": "resume", "off": "boot"}


@dataclass
class Run:
    """One run that was played."""

    folder: Path
    verdict: dict[str, Any]
    measures: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.measures = json.loads((self.folder / "measures.json").read_text())

    @property
    def members(self) -> list[str]:
        return json.loads((self.folder / "scenario.json").read_text())["settings"]["members"]

    @property
    def hosts(self) -> dict[str, Any]:
        """How the hosts of the inventory took part."""
        return self.measures["hosts"]

    def is_complete(self, *members: str) -> None:
        """These played it to its end, and all logs are there."""
        verdict = self.verdict
        assert verdict["error"] is None and verdict["complete"], verdict
        assert (self.members, verdict["out_of_order_rounds"]) == (list(members), 0)
        for log in load_run(self.folder).logs:
            assert log.sealed and len(log.ids) == 5 * len(members)


@pytest.fixture
def bench(cloud: Rehearsal, tmp_path: Path, bare_hosts: dict[str, Any]) -> Iterator[Bench]:
    bench = Bench(cloud, Operator(cloud, tmp_path / "operator"))
    yield bench
    bench.mend()
    bench.lab(*(host for host in HOSTS if host not in ("bare", "old")))
    cleaned = bench.fab("clean")
    assert cleaned.code == 0, str(cleaned)
    assert comes_to(bare_hosts, lambda: what_is_on(cloud))


def until(reached: Callable[[], Any], process: subprocess.Popen | None = None) -> Any:
    """Wait for this; not for ever, and not for a process that has ended."""
    end = monotonic() + SOON_S
    while not (found := reached()):
        assert monotonic() < end, "it did not come to that in time"
        if process is not None and process.poll() is not None:
            raise AssertionError(f"it ended before: {process.communicate()}")
        sleep(0.005)
    return found


def ended(process: subprocess.Popen, within_s: float = RUN_S) -> Said:
    out, err = process.communicate(timeout=within_s)
    said = Said(process.returncode, out, err)
    assert "Traceback" not in out + err, str(said)
    return said


def healthy(said: Said, *hosts: str) -> None:
    """Whatever befell others, these have the lab now."""
    for host in hosts:
        assert said.line_of(host) == "has a new archive, key, settings", str(said)


# Hosts that nobody reaches.


@pytest.mark.long
def test_a_dead_host(bench):
    """Two tasks at a time, as each waits as long as one waits for a connection."""
    bench.cloud.control("kill", host="c")
    why = SILENT.format(bench.address("c"))
    bench.lab("a", "b", "c", policy={"at_least": 2})
    with bench.begin(*RUN, stdout=subprocess.PIPE) as running:
        try:
            bench.lab("a", "b", "c", lab="other")
            deployed = bench.fab("deploy")
            assert deployed.code == 3 and deployed.line_of("c") == f"FAILED: {why}", str(deployed)
            assert deployed.err == "error: 1 of 3 hosts failed, and the policy is all: c\n"
            healthy(deployed, "a", "b")
            ran = ended(running)
        finally:
            running.kill()
    assert ran.code == 0, str(ran)
    assert ran.err == f"remark: c: {why}\nremark: 1 of 3 hosts failed, which the policy allows: c\n"
    (verdict,) = json.loads(ran.out)["runs"]
    run = Run(bench.home / verdict["folder"], verdict)
    run.is_complete("a", "b")
    assert run.hosts == {"policy": "at least 2", "left_out": {"c": why}, "lost": {}}
    assert remarks_of(verdict) == [f"c was left out: {why}"]
    bench.cloud.control("boot", host="c")
    assert bench.fab("clean").code == 0, "the other lab"


@pytest.mark.slow
def test_a_host_that_stands_still(bench):
    """It takes no connection, and refuses none."""
    bench.cloud.control("pause", host="c")
    why = SILENT.format(bench.address("c"))
    bench.lab("a", "b", "c")
    with bench.begin("check") as checking:
        try:
            bench.lab("a", "b", "c", lab="other", policy="any")
            deployed = bench.fab("deploy")
            checked = ended(checking, DEADLINE_S)
        finally:
            checking.kill()
    assert deployed.code == 0 and deployed.line_of("c") == f"FAILED: {why}", str(deployed)
    assert deployed.err == "warning: 1 of 3 hosts failed, which the policy allows: c\n"
    healthy(deployed, "a", "b")
    assert checked.code == 3 and f"error: c: {why}\n" in checked.out, str(checked)
    assert checked.err == "error: 1 of 3 hosts failed, and the policy is all: c\n"
    assert re.search(r"│ a +│ +- │ +\d+\.\d │ not tried │", checked.out), "the others were checked"
    bench.lab("a", "b", "c", lab="other", deadline_s=5)
    status = bench.fab("status", within_s=5 + START_S)
    given_up = f"still connecting to {bench.address('c')}:22 after 5 s; it was given up; try again, or allow more time"
    assert status.code == 3 and status.line_of("c") == f"FAILED: {given_up}", str(status)
    assert status.line_of("a").startswith("no peer lives")
    bench.cloud.control("resume", host="c")
    assert bench.fab("clean").code == 0


@pytest.mark.slow
def test_ctrl_c_while_a_host_is_waited_for(bench):
    bench.cloud.control("pause", host="c")
    bench.lab("a", "c")
    with bench.begin("deploy") as process:
        try:
            assert process.stdout.readline() == "a  has a new archive, key, settings\n"
            began = monotonic()
            process.send_signal(signal.SIGINT)
            said = ended(process)
        finally:
            process.kill()
    assert (said.code, said.out, said.err) == (130, "", "interrupted\n") and monotonic() - began < 6


# Who is let in, and who answers.


@pytest.mark.slow
def test_a_key_that_is_not_let_in_and_a_user_who_is_not_there(bench):
    other = bench.home / "other_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True, timeout=SOON_S)
    bench.lab("a", "b", "c", changes={"b": {"key": str(other)}, "c": {"user": "nobody-there"}})
    advice = "check `user` and `key` in the inventory"
    why_b = f"lab is not let in with {other}; {advice}"
    why_c = f"nobody-there is not let in with {bench.cloud.folder / 'client_key'}; {advice}"
    deployed = bench.fab("deploy")
    assert deployed.code == 3 and deployed.err == "error: 2 of 3 hosts failed, and the policy is all: b, c\n"
    assert deployed.line_of("b") == f"FAILED: {why_b}" and deployed.line_of("c") == f"FAILED: {why_c}"
    healthy(deployed, "a")
    checked = bench.fab("check")
    assert checked.code == 3 and f"error: b: {why_b}\nerror: c: {why_c}\n" in checked.out, str(checked)
    ran = bench.fab(*RUN)
    assert (ran.code, ran.out) == (3, ""), str(ran)
    told = {f"remark: b: {why_b}", f"remark: c: {why_c}", "error: 2 of 3 hosts failed, and the policy is all: b, c"}
    assert set(ran.err.splitlines()) == told
    lost = bench.home / "key_of_nobody"
    bench.lab("a", "b", changes={"b": {"key": str(lost)}})
    refused = bench.fab("deploy")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == f"error: {bench.inventory}, hosts.b.key: no such file: {lost}\n"


@pytest.mark.slow
def test_a_changed_host_key_and_how_it_is_accepted(bench):
    bench.lab("a", "anew")
    deployed = bench.fab("deploy")
    assert deployed.code == 0, str(deployed)
    healthy(deployed, "a", "anew")
    bench.cloud.control("rekey", host="anew")
    again = bench.fab("deploy")
    assert again.code == 3 and again.line_of("a") == "is as it was", str(again)
    sentence = again.line_of("anew").removeprefix("FAILED: ")
    assert sentence == (
        f"its host key has changed to {fingerprint(bench, 'anew')}; if you made that machine anew, "
        f"`ssh-keygen -f .lab/known_hosts -R '{bench.address('anew')}'` and then `fab check`; "
        "if not, somebody else may be answering in its place"
    )
    ran = bench.fab(*RUN)
    assert ran.code == 3 and f"remark: anew: {sentence}\n" in ran.err, str(ran)
    forget, check = re.findall(r"`(.*?)`", sentence)
    subprocess.run(shlex.split(forget), cwd=bench.home, check=True, capture_output=True, timeout=SOON_S)
    checked = bench.fab(check.removeprefix("fab "))
    assert checked.code == 0 and "Lab rehearsal can run: 2 peers on 2 hosts." in checked.out, str(checked)
    accepted = bench.fab("deploy")
    assert accepted.code == 0 and accepted.line_of("anew") == "is as it was", str(accepted)


@pytest.mark.slow
def test_hosts_that_nobody_has_met_are_pinned_by_a_check_alone(bench):
    bench.lab("a", "b", known=False)
    for task in (("deploy",), RUN, ("status",)):
        said = bench.fab(*task)
        assert said.code == 3 and said.err.endswith("error: 2 of 2 hosts failed, and the policy is all: a, b\n")
        for host in "ab":
            why = f"its host key ({fingerprint(bench, host)}) is not known yet; `fab check` pins it"
            assert f"remark: {host}: {why}\n" in said.err or said.line_of(host) == f"FAILED: {why}", str(said)
    assert bench.known_hosts.read_text() == "" and not bench.place("a").exists()
    checked = bench.fab("check")
    assert checked.code == 0, str(checked)
    assert sorted(bench.known_hosts.read_text().splitlines(True)) == sorted(map(bench.entry, "ab"))
    deployed = bench.fab("deploy")
    assert deployed.code == 0, str(deployed)
    healthy(deployed, "a", "b")


def fingerprint(bench: Bench, host: str) -> str:
    key = bench.cloud.folder / "keys" / f"{host}.pub"
    asked = subprocess.run(["ssh-keygen", "-lf", key], capture_output=True, text=True, check=True, timeout=SOON_S)
    return asked.stdout.split()[1]


# What hosts lack.


@pytest.mark.slow
def test_no_python(bench):
    bench.lab("a", "bare")
    deployed = bench.fab("deploy")
    assert deployed.code == 3 and deployed.line_of("bare") == f"FAILED: {NO_PYTHON}", str(deployed)
    assert deployed.err == "error: 1 of 2 hosts failed, and the policy is all: bare\n"
    healthy(deployed, "a")
    ran = bench.fab(*RUN)
    assert (ran.code, ran.out) == (3, ""), str(ran)
    assert ran.err == f"remark: bare: {NO_PYTHON}\nerror: 1 of 2 hosts failed, and the policy is all: bare\n"
    bench.lab("a", "b", "bare", policy="any")
    (run,) = bench.played()
    run.is_complete("a", "b")
    assert run.hosts == {"policy": "any", "left_out": {"bare": NO_PYTHON}, "lost": {}}


@pytest.mark.slow
def test_an_old_python(bench):
    why = "its python3 is 3.8, and 3.10 or later is needed"
    bench.lab("a", "old")
    checked, deployed, ran = bench.fab("check"), bench.fab("deploy"), bench.fab(*RUN)
    assert (checked.code, deployed.code, ran.code) == (3, 3, 3)
    assert f"error: old: {why}\n" in checked.out and deployed.line_of("old") == f"FAILED: {why}"
    assert ran.err == f"remark: old: {why}\nerror: 1 of 2 hosts failed, and the policy is all: old\n"
    healthy(deployed, "a")


@pytest.mark.slow
def test_a_disk_that_is_full_from_the_beginning(bench):
    bench.lab("a", "b", "full")
    checked, deployed = bench.fab("check"), bench.fab("deploy")
    assert checked.code == 3
    assert re.search(
        r"^error: full has \d+ kB of disk left, and logs want at least 32 MB; make room there$", checked.out, re.M
    )
    assert deployed.code == 3 and re.fullmatch(f"FAILED: {FULL}", deployed.line_of("full")), str(deployed)
    healthy(deployed, "a", "b")
    assert bench.fab("status").line_of("full") == "the lab has not been deployed there"
    ran = bench.fab(*RUN, within_s=RUN_S)
    assert ran.code == 3 and re.match(
        f"remark: full: {FULL}\nerror: 1 of 3 hosts failed, and the policy is all: full\n", ran.err
    )
    assert all(comes_to({}, lambda: bench.cloud.processes(host)) for host in "ab"), "what was started in vain is ended"
    bench.lab("a", "b", "full", policy={"at_least": 2})
    (run,) = bench.played()
    run.is_complete("a", "b")
    assert re.fullmatch(FULL, run.hosts["left_out"]["full"])


@pytest.mark.slow
def test_a_disk_that_is_full_in_the_middle_of_a_run(bench):
    bench.lab("a", "b", "c")
    with bench.begin("run", "--messages", 20_000, "--ordering", "unordered", "--json") as process:
        try:
            until(lambda: bench.recorded("c") > 3000, process)
            bench.cloud.control("disk", host="c", free_kb=0)
            said = ended(process)
        finally:
            process.kill()
    assert said.code == 3, str(said)
    (verdict,) = json.loads(said.out)["runs"]
    error, run = verdict["error"], Run(bench.home / verdict["folder"], verdict)
    assert error["peers"] == ["c"], error
    assert re.fullmatch(
        r"c cannot write its logs: No space left on device, in phase \w+, with [\d,]+ of 60,000 messages delivered",
        error["sentence"],
    )
    a, b, c = load_run(run.folder).logs
    assert a.sealed and b.sealed and len(c.ids) > 0, "what was written before is kept"
    collected = bench.fab("collect")
    assert collected.code == 0 and "is in runs/" in collected.line_of("a")


@pytest.mark.long
def test_a_shell_that_prints_and_no_sftp(bench):
    """All works: what SFTP cannot bring comes another way, and that is told."""
    hosts = ("a", "odd", "noisy")
    bench.lab(*hosts)
    checked, deployed = bench.fab("check"), bench.fab("deploy")
    assert checked.code == 0 and "Lab rehearsal can run: 3 peers on 3 hosts." in checked.out, str(checked)
    assert deployed.code == 0, str(deployed)
    healthy(deployed, *hosts)
    (run,) = bench.played()
    run.is_complete(*hosts)
    log = ".ordering-lab/rehearsal/logs/noisy-trace.bin"
    assert sorted(remarks_of(run.verdict)) == [
        f"noisy: {log} cannot be fetched: {PRINTS}; the logs of noisy come over its control connection.",
        f"odd: {NO_SFTP}; the logs of odd come over its control connection.",
    ]
    before = {file.name: file.read_bytes() for file in run.folder.glob("*.bin")}
    shutil.rmtree(bench.home / "runs")
    collected = bench.fab("collect")
    assert collected.code == 0 and all(collected.line_of(host).endswith("is fetched") for host in hosts), str(collected)
    assert f"remark: odd: {NO_SFTP}; the logs of odd were brought without it\n" in collected.err
    (folder,) = (bench.home / "runs").iterdir()
    assert {file.name: file.read_bytes() for file in folder.glob("*.bin")} == before


# Ways and clocks.


@pytest.mark.long
def test_udp_blocked_one_way(bench):
    bench.lab("a", "b", "c")
    bench.cloud.control("block", source="a", target="b", what="udp")
    checked = bench.fab("check")
    rule = f"allow UDP 5700 to b from {bench.address('a')}/32"
    assert checked.code == 3, str(checked)
    assert f"error: UDP from a does not reach b, though it does the other way; {rule}\n" in checked.out, str(checked)
    (run,) = bench.played("--set", "deadlines.handshake_s=3", within_s=20, code=3)
    assert run.verdict["error"] == {
        "phase": "handshake",
        "peers": ["a", "b"],
        "sentence": "the handshake did not end in time: a has not reached b; b has not reached a",
    }
    hint = "`fab check` tells where UDP does not get through, and the rule that lets it."
    assert remarks_of(run.verdict) == [hint]
    assert [log.sealed for log in load_run(run.folder).logs] == [True] * 3, "logs are kept all the same"
    bench.cloud.control("heal")
    (run,) = bench.played()
    run.is_complete("a", "b", "c")


@pytest.mark.slow
def test_a_host_behind_nat(bench):
    bench.lab("a", "nat")
    checked, deployed = bench.fab("check"), bench.fab("deploy")
    assert checked.code == 0 and f"{bench.address('nat')} (NAT)" in checked.out, str(checked)
    assert deployed.code == 0, str(deployed)
    (run,) = bench.played()
    run.is_complete("a", "nat")
    assert bench.fab("collect").line_of("nat").endswith(f"is in runs/{run.folder.name}")


@pytest.mark.slow
def test_wall_clocks_that_differ(bench):
    """And monotonic ones, by days: nothing compares the one or the other between hosts."""
    bench.lab("a", "ahead")
    checked = bench.fab("check")
    warning = "warning: the wall clock of ahead is 5.0 s ahead of yours; no run depends on it"
    assert checked.code == 0 and warning in checked.out, str(checked)
    for run in bench.played("--repeat", 2):
        run.is_complete("a", "ahead")
        assert json.loads((run.folder / "scenario.json").read_text())["clock"] == "own"
        planet = yaml.safe_load((run.folder / "planet.yml").read_text())
        assert planet["round_trips_ms"]["east"][0] < 10, "as between hosts whose clocks agree"
    assert bench.fab("collect").code == 0


# Doing it twice, and with another version.


@pytest.mark.slow
def test_deploy_again_and_with_another_version_while_peers_play(bench, tmp_path):
    hosts = ("a", "b")
    bench.lab(*hosts)
    healthy(bench.fab("deploy"), *hosts)
    again = bench.fab("deploy")
    assert again.code == 0 and [again.line_of(host) for host in hosts] == ["is as it was"] * 2
    other = tmp_path / "other"
    for name in ("peer", "group_manager", "comparison_server", "analysis", "experiments", "deploy", "fabfile.py"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        other.mkdir(exist_ok=True)
        copy(ROOT / name, other / name)
    with open(other / "peer" / "session.py", "a") as source:
        source.write("\n# Another version.\n")
    assert make_bundle(other).digest != make_bundle().digest
    process = bench.begin("run", "--ordering", "lamport_all_ack", stdin=subprocess.PIPE)
    try:
        until(lambda: all(bench.cloud.processes(host) for host in hosts), process)
        until(lambda: "Peers: a, b" in process.stdout.readline(), process)
        newer = Operator(bench.cloud, bench.home, root=other)
        deployed = newer.fab("deploy", inventory=bench.inventory)
        assert deployed.code == 0, str(deployed)
        for host in hosts:
            old = f"{host} still run what was there before: `fab stop` ends them"
            assert deployed.line_of(host) == f"has a new archive; {old}"
        out, err = process.communicate("5\n0\n", timeout=RUN_S)
        assert process.returncode == 0 and "0 of 10" in out, out + err
    finally:
        process.kill()


# How many hosts it takes.


@pytest.mark.slow
@pytest.mark.parametrize("policy, code", [("all", 3), ({"at_least": 3}, 3), ({"at_least": 2}, 0), ("any", 0)], ids=str)
def test_policies(bench, policy, code):
    bench.lab("a", "b", "bare", policy=policy)
    words = policy if isinstance(policy, str) else f"at least {policy['at_least']}"
    sentence = (
        f"1 of 3 hosts failed, {'which the policy allows' if code == 0 else f'and the policy is {words}'}: bare\n"
    )
    kind = "warning" if code == 0 else "error"
    checked, deployed = bench.fab("check"), bench.fab("deploy")
    assert (checked.code, checked.err) == (code, f"{kind}: {sentence}"), str(checked)
    assert f"error: bare: {NO_PYTHON}\n" in checked.out
    assert (deployed.code, deployed.err) == (code, f"{kind}: {sentence}"), str(deployed)
    healthy(deployed, "a", "b")
    ran = bench.fab(*RUN, within_s=RUN_S)
    kind = "remark" if code == 0 else "error"
    assert (ran.code, ran.err) == (code, f"remark: bare: {NO_PYTHON}\n{kind}: {sentence}"), str(ran)
    if code == 0:
        (verdict,) = json.loads(ran.out)["runs"]
        run = Run(bench.home / verdict["folder"], verdict)
        run.is_complete("a", "b")
        assert run.hosts == {"policy": words, "left_out": {"bare": NO_PYTHON}, "lost": {}}


@pytest.mark.slow
def test_more_hosts_than_there_are_is_refused(bench):
    bench.lab("a", "b", policy={"at_least": 3})
    for task in (("check",), ("deploy",), RUN):
        said = bench.fab(*task)
        problem = "policy.at_least: expected a number of hosts from 1 to 2, found 3"
        assert (said.code, said.out, said.err) == (2, "", f"error: {bench.inventory}, {problem}\n")


@pytest.mark.slow
def test_a_late_host_is_named_and_done_without(bench):
    """It stands still while its peers are being started."""
    bench.lab("a", "b", "c", policy={"at_least": 2}, deadline_s=8)
    assert bench.fab("deploy").code == 0
    with bench.begin(*RUN) as process:
        try:
            until((bench.place("c") / "control.json").exists, process)
            bench.cloud.control("pause", host="c")
            said = ended(process)
        finally:
            process.kill()
    assert said.code == 0, str(said)
    (verdict,) = json.loads(said.out)["runs"]
    run = Run(bench.home / verdict["folder"], verdict)
    run.is_complete("a", "b")
    assert list(run.hosts["left_out"]) == ["c"] and run.hosts["policy"] == "at least 2"
    late = r"still asking for start after [\d.]+ s; it was given up; try again, or allow more time"
    assert re.fullmatch(late, run.hosts["left_out"]["c"])


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["all", "any"])
def test_a_lost_host_is_named_and_what_follows_does_without_it_if_it_may(bench, policy):
    bench.lab("a", "b", "c", policy=policy)
    with bench.begin("run", "--messages", 60, "--ordering", "unordered", "--repeat", 2, "--json") as process:
        try:
            until(lambda: bench.recorded("c") > 3000, process)
            (pid,) = bench.cloud.processes("c")
            bench.cloud.ssh("c", f"kill -9 {pid}")
            said = ended(process)
        finally:
            process.kill()
    assert said.code == 3, str(said)
    runs = [Run(bench.home / verdict["folder"], verdict) for verdict in json.loads(said.out)["runs"]]
    first = runs.pop(0)
    assert (first.members, first.verdict["error"]["peers"]) == (["a", "b", "c"], ["c"])
    assert first.hosts["left_out"] == {} and first.hosts["lost"]["c"].startswith("c has ended")
    assert {log.sealed for log in load_run(first.folder).logs[:2]} == {True}, "the others' logs are whole"
    if policy == "all":
        assert runs == [] and "error: c has ended" in said.err, str(said)
    else:
        (second,) = runs
        assert second.members == ["a", "b"] and second.verdict["complete"], second.verdict
        assert second.hosts["left_out"]["c"].startswith("c has ended") and second.hosts["lost"] == {}


# Many through one.


@pytest.mark.slow
def test_thirty_hosts_behind_one_whose_door_is_full(tmp_path):
    """MaxStartups is what it is by default: a hundred who came before and say nothing keep everybody else out."""
    behind = [f"h{place}" for place in range(30)]
    hosts = (HostPlan("gate", "east"), *(HostPlan(name, "east", jump="gate") for name in behind))
    assert hosts[0].max_startups == "10:30:100"
    with Rehearsal(Plan(hosts, ("east",), ((0.1,),))) as cloud, ExitStack() as held:
        operator = Operator(cloud, tmp_path / "operator")
        with cloud.entered():
            fill(cloud.plan.address("gate"), held)
        connected = connections_to(cloud, "gate")
        process = operator.begin("deploy")
        try:
            until(lambda: connections_to(cloud, "gate") >= connected + 2, process)  # so the first was refused
            held.close()
            deployed = ended(process)
        finally:
            process.kill()
        assert deployed.code == 0, str(deployed)
        healthy(deployed, "gate", *behind)
        checked = operator.fab("check")
        assert checked.code == 0 and "Lab rehearsal can run: 31 peers on 31 hosts." in checked.out, str(checked)
        ran = operator.fab("run", "--messages", 1, "--ordering", "unordered", "--json")
        assert ran.code == 0 and json.loads(ran.out)["runs"][0]["complete"], str(ran)
        cleaned = operator.fab("clean")
        assert cleaned.code == 0, str(cleaned)
        assert all("nothing of the lab is left" in cleaned.line_of(host) for host in ("gate", *behind))
        assert all(comes_to({}, lambda: cloud.processes(host)) for host in ("gate", *behind))


def fill(address: str, held: ExitStack) -> None:
    """Have as many connections as an sshd takes before anybody signs in. The more there are, the more it refuses."""
    count, end = 0, monotonic() + RUN_S
    while count < 100:
        assert monotonic() < end
        connection = socket.create_connection((address, 22), SOON_S)
        if connection.recv(4) == b"SSH-":
            count += 1
            held.enter_context(connection)
        else:
            connection.close()


def connections_to(cloud: Rehearsal, host: str) -> int:
    """How many that host has taken since it was started."""
    pid = cloud.control("status")["hosts"][host]["pid"]
    names, values = (
        line.split() for line in Path(f"/proc/{pid}/net/snmp").read_text().splitlines() if line.startswith("Tcp:")
    )
    return int(values[names.index("PassiveOpens")])

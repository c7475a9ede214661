"""Control on one of the hosts: runs go on, are led to their end and collected while no operator is connected."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest
import yaml

from deploy.rehearsal.cloud import Rehearsal, lacking
from deploy.rehearsal.plan import HostPlan, Plan, Weather, plain
from tests.deploy.operator import Operator, comes_to, remarks_of

pytestmark = [pytest.mark.long]
if reason := lacking():
    pytestmark.append(pytest.mark.skip(reason=reason))

CONTROL, PLAYERS = "h3", ["h0", "h1", "h2"]
MANAGER_PORT, SERVER_PORT = 5690, 5691
DESK = "/home/lab/.ordering-lab/rehearsal/desk"
IN_TIME_S = 60.0
LONG = ("--messages", 150, "--ordering", "lamport_all_ack")  # takes eight seconds


@pytest.fixture(scope="module")
def cloud() -> Iterator[Rehearsal]:
    with Rehearsal(plain(4, ["frankfurt", "london"], one_way_ms=10)) as cloud:
        written = yaml.safe_load(cloud.inventory.read_text())
        written["hosts"][CONTROL]["peers"] = 0
        where = {"control": "direct", "control_host": CONTROL, "manager_port": MANAGER_PORT, "server_port": SERVER_PORT}
        cloud.inventory.write_text(yaml.safe_dump(where | written, sort_keys=False))
        yield cloud


@pytest.fixture
def operator(cloud: Rehearsal, tmp_path: Path) -> Iterator[Operator]:
    operator = Operator(cloud, tmp_path / "operator")
    yield operator
    cloud.control("heal")
    assert operator.fab("clean").code == 0
    for host in cloud.plan.hosts:
        assert comes_to({}, lambda: cloud.processes(host.name))


def until(true: Callable[[], object], what: str) -> None:
    deadline = monotonic() + IN_TIME_S
    while not true():
        assert monotonic() < deadline, f"not in time: {what}"
        sleep(0.1)


def on_desk(cloud: Rehearsal, name: str) -> list[str]:
    """The runs on the desk that have come so far that this file is there."""
    return [path for path in cloud.files(CONTROL) if re.fullmatch(rf"{DESK}/runs/\w+/{name}", path)]


def lives(cloud: Rehearsal, host: str, program: str) -> bool:
    return any(f"lab.pyz {program}" in line for line in cloud.processes(host).values())


def is_whole(folder: Path, messages: int = 150) -> bool:
    """All logs, and a verdict over all that was to be delivered."""
    verdict = json.loads((folder / "verdict.json").read_text())
    logs = {path.name for path in folder.glob("*.bin")}
    wanted = {f"{kind}-{peer}.bin" for kind in ("trace", "sends") for peer in range(len(PLAYERS))}
    return logs == wanted and (verdict["complete"], verdict["rounds"]) == (True, messages * len(PLAYERS))


@pytest.mark.slow
def test_from_nothing_to_results_and_back(cloud, tmp_path):
    hosts = [host.name for host in cloud.plan.hosts]
    def look():
        return {host: (cloud.processes(host), cloud.files(host)) for host in hosts}

    before = look()
    operator = Operator(cloud, tmp_path / "operator")

    checked = operator.fab("check")
    assert checked.code == 0, str(checked)
    assert f"TCP to {CONTROL} in ms" in checked.out and "can run: 3 peers on 4 hosts" in checked.out
    assert comes_to(before, look), "check leaves nothing"

    deployed = operator.fab("deploy")
    assert deployed.code == 0 and all("has a new archive, key" in deployed.line_of(host) for host in hosts)

    process = operator.begin("run", "--messages", 50, "--ordering", "unordered,lamport_all_ack", "--json")
    until(lambda: on_desk(cloud, "begun"), "a run has begun")
    status = operator.fab("status")
    assert f"led by the collector on {CONTROL}" in status.line_of("h0") and "no way" not in status.line_of("h0")
    assert status.line_of(CONTROL).startswith("no peer lives; the collector and the group-manager live")
    address = cloud.plan.address(CONTROL)
    said = json.loads(cloud.ssh("h0", "cat .ordering-lab/rehearsal/control.json").stdout)
    assert (said["manager"], said["server"]) == ([address, MANAGER_PORT], [address, SERVER_PORT])
    listening = cloud.run(["ss", "-H", "-ltun"], capture_output=True, text=True, timeout=10).stdout
    assert not listening, f"nothing listens on the operator's machine, not even on loopback: {listening}"
    out, err = process.communicate(timeout=90)
    assert process.returncode == 0, out + err
    unordered, total = json.loads(out)["runs"]
    assert unordered["out_of_order_rounds"] > 0 and unordered["complete"]
    assert (total["out_of_order_rounds"], total["rounds"], total["complete"]) == (0, 150, True)
    folder = operator.home / total["folder"]
    assert is_whole(folder, 50) and is_whole(operator.home / unordered["folder"], 50)
    assert {path.name for path in folder.iterdir() if path.suffix != ".bin"} == {
        "scenario.json", "verdict.json", "measures.json", "planet.yml"
    }  # fmt: skip
    for host in hosts:
        assert comes_to({}, lambda: cloud.processes(host)), "the peers and the services have ended with it"

    collected = operator.fab("collect")
    assert collected.code == 0, str(collected)
    assert all(re.fullmatch(rf"run \w+ is in {total['folder']}", collected.line_of(host)) for host in PLAYERS)
    assert collected.line_of(CONTROL) == "there are no logs"
    assert "collector: leads run" in operator.fab("logs").out

    cleaned = operator.fab("clean")
    assert cleaned.code == 0 and all("nothing of the lab is left" in cleaned.line_of(host) for host in hosts)
    assert comes_to(before, look)


def test_the_prompt_asks_again_after_each_run_and_zero_ends_everything(cloud, operator):
    process = operator.begin("run", "--ordering", "fixed_sequencer", stdin=-1)
    out, err = process.communicate("3\n2\n0\n", timeout=90)
    assert process.returncode == 0, out + err
    assert out.count("Messages per peer") == 3 and out.count("0 of 9") == 1 and out.count("0 of 6") == 1, out
    assert all(comes_to({}, lambda: cloud.processes(host.name)) for host in cloud.plan.hosts)


@pytest.mark.slow
def test_an_operator_who_was_killed_in_the_middle_brings_the_run_home_later(cloud, operator):
    process = operator.begin("run", *LONG)
    until(lambda: on_desk(cloud, "begun"), "a run has begun")
    process.kill()
    process.communicate(timeout=10)
    assert not on_desk(cloud, "outcome.json"), "it goes on"
    until(lambda: on_desk(cloud, "outcome.json"), "it ends while nobody is there")
    assert all(lives(cloud, host, "peer") for host in PLAYERS)

    collected = operator.fab("collect")
    assert collected.code == 0, str(collected)
    assert f"On {CONTROL} lies a run of" in collected.out and "that has ended" in collected.out
    (folder,) = {path.parent for path in operator.home.glob("runs/*/verdict.json")}
    assert is_whole(folder) and json.loads((folder / "verdict.json").read_text())["error"] is None
    assert on_desk(cloud, "home")
    again = operator.fab("collect")
    assert again.code == 0 and "live, and play nothing that is not here" in again.out
    assert len(list(operator.home.glob("runs/*/verdict.json"))) == 1
    assert all(lives(cloud, host, "peer") for host in PLAYERS) and lives(cloud, CONTROL, "collector")


@pytest.mark.slow
def test_a_run_that_still_goes_on_is_followed_by_who_comes_and_both_have_it(cloud, operator, tmp_path):
    """The second one's own run waits for its turn; the first one does not end the peers under it."""
    first = operator.begin("run", *LONG, "--json")
    until(lambda: on_desk(cloud, "begun"), "a run has begun")
    second = Operator(cloud, tmp_path / "second")
    ran = second.fab("run", "--messages", 5, "--ordering", "fifo")
    out, err = first.communicate(timeout=60)
    assert first.returncode == 0, out + err
    (run,) = json.loads(out)["runs"]
    assert is_whole(operator.home / run["folder"])
    assert ran.code == 0 and f"On {CONTROL} a run of" in ran.out and "it is followed" in ran.out, str(ran)
    joined, own = sorted(second.home.glob("runs/*"), key=lambda folder: folder.stat().st_ctime)
    assert is_whole(joined) and is_whole(own, 5)
    for host in cloud.plan.hosts:
        assert comes_to({}, lambda: cloud.processes(host.name)), "the second one ended them"


@pytest.mark.slow
def test_a_run_goes_on_while_the_control_host_cannot_be_reached_by_ssh(cloud, operator):
    process = operator.begin("run", *LONG, "--json")
    until(lambda: on_desk(cloud, "begun"), "a run has begun")
    for source, target in (("operator", CONTROL), (CONTROL, "operator")):
        cloud.control("block", source=source, target=target, what="ssh")
    until(lambda: on_desk(cloud, "outcome.json"), "it ends while nobody is there")
    assert process.poll() is None and not on_desk(cloud, "home")
    cloud.control("heal")
    out, err = process.communicate(timeout=90)
    assert process.returncode == 0, out + err
    (run,) = json.loads(out)["runs"]
    assert run["error"] is None and is_whole(operator.home / run["folder"])


@pytest.mark.slow
def test_a_collector_that_was_killed_is_started_by_the_next_run_and_leads_on(cloud, operator):
    process = operator.begin("run", *LONG)
    until(lambda: on_desk(cloud, "begun"), "a run has begun")
    assert cloud.ssh(CONTROL, "kill -9 $(cat .ordering-lab/rehearsal/services/collector.pid)").returncode == 0
    out, err = process.communicate(timeout=60)
    assert process.returncode == 3 and f"the collector on {CONTROL} has ended" in err, out + err
    assert not on_desk(cloud, "outcome.json") and all(lives(cloud, host, "peer") for host in PLAYERS)
    ran = operator.fab("run", "--messages", 5, "--ordering", "fifo", "--json")
    assert ran.code == 0, str(ran)
    said = json.loads(ran.out)["runs"]
    assert [run["ordering"] for run in said] == ["lamport_all_ack", "fifo"]
    assert all(run["complete"] and run["error"] is None for run in said)
    assert "The run was taken up from another comparison server." in said[0]["remarks"]
    assert is_whole(operator.home / said[0]["folder"])


@pytest.mark.slow
def test_what_was_stopped_in_the_middle_keeps_nobody_from_the_next_run(cloud, operator):
    process = operator.begin("run", *LONG)
    until(lambda: on_desk(cloud, "begun"), "a run has begun")
    stopped = operator.fab("stop")
    assert "service collector, service group-manager ended" in stopped.line_of(CONTROL).replace(
        "service group-manager, service collector", "service collector, service group-manager"
    )
    out, err = process.communicate(timeout=60)
    assert process.returncode == 3 and "the collector was ended while it led the run" in out + err, out + err
    ran = operator.fab("run", "--messages", 5)
    assert ran.code == 0, str(ran)


@pytest.mark.slow
def test_ctrl_c_closes_the_run_and_what_there_is_of_it_is_judged(cloud, operator):
    process = operator.begin("run", *LONG, "--json")
    until(lambda: on_desk(cloud, "begun"), "a run has begun")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in out + err, out + err
    (run,) = json.loads(out)["runs"]
    assert "interrupted in phase" in run["error"]["sentence"] and not run["complete"]
    assert len(list((operator.home / run["folder"]).glob("trace-*.bin"))) == 3
    assert all(comes_to({}, lambda: cloud.processes(host.name)) for host in cloud.plan.hosts)


@pytest.mark.slow
def test_where_tcp_is_blocked_check_names_the_rule_that_would_mend_it(cloud, operator):
    cloud.control("block", source="h1", target=CONTROL, what="tcp")
    checked = operator.fab("check")
    rule = f"allow TCP {MANAGER_PORT}-{SERVER_PORT} to {CONTROL} from {cloud.plan.address('h1')}/32"
    assert checked.code == 3 and rule in checked.out, str(checked)
    assert f"is not reached from h1: no answer; {rule}" in checked.out
    cloud.control("heal")
    assert operator.fab("check").code == 0


@pytest.mark.slow
def test_a_port_that_somebody_has_there_is_named_before_anything_is_started(cloud, operator):
    serve = f"import os, socket, time; s = socket.create_server((str(), {SERVER_PORT})); "
    serve += "print(os.getpid(), flush=True); time.sleep(99)"
    begin = ["ssh", "-F", cloud.ssh_config, CONTROL, f"python3 -c '{serve}'"]
    somebody = cloud.popen(begin, stdout=-1, stdin=-1, text=True)
    try:
        pid = int(somebody.stdout.readline())
        checked = operator.fab("check")
        assert checked.code == 3 and f"TCP {SERVER_PORT} of {CONTROL} cannot be listened on" in checked.out
        ran = operator.fab("run", "--messages", 5)
        assert ran.code == 3 and "cannot listen on" in ran.err and "server_port" in ran.err, str(ran)
        assert all(not lives(cloud, host, "peer") for host in PLAYERS), "nothing that was started in vain stays"
    finally:
        cloud.ssh(CONTROL, f"kill {pid}")
        somebody.communicate(timeout=10)


@pytest.mark.slow
def test_a_full_disk_of_the_control_host_is_an_error_of_the_run(cloud, operator):
    process = operator.begin("run", *LONG)
    until(lambda: on_desk(cloud, "begun"), "a run has begun")
    cloud.control("disk", host=CONTROL, free_kb=0)
    try:
        out, err = process.communicate(timeout=90)
    finally:
        cloud.control("disk", host=CONTROL, free_kb=1 << 18)
    assert process.returncode == 3 and "No space left on device" in out + err, out + err
    again = operator.fab("run", "--messages", 5)
    assert again.code == 0, str(again)
    collected = operator.fab("collect")
    assert collected.code == 0, str(collected)


@pytest.mark.slow
def test_a_host_that_is_gone_is_left_out_if_the_policy_allows_it(cloud, operator, tmp_path):
    lab = cloud.inventory.with_name("any.yml")
    lab.write_text("policy: any\n" + cloud.inventory.read_text())
    cloud.control("kill", host="h2")
    try:
        ran = operator.fab("run", "--messages", 5, "--json", inventory=lab)
        refused = operator.fab("run", "--messages", 5)
    finally:
        cloud.control("boot", host="h2")
    assert ran.code == 0 and "1 of 3 hosts failed, which the policy allows: h2" in ran.err, str(ran)
    (run,) = json.loads(ran.out)["runs"]
    assert run["peers"] == 2 and run["complete"] and any("h2 was left out" in remark for remark in run["remarks"])
    assert refused.code == 3 and "1 of 3 hosts failed, and the policy is all: h2" in refused.err, str(refused)
    for host in cloud.plan.hosts:
        assert comes_to({}, lambda: cloud.processes(host.name)), "nothing that was started in vain stays"


@pytest.mark.slow
def test_without_its_control_host_no_policy_helps(cloud, operator):
    lab = cloud.inventory.with_name("any.yml")
    lab.write_text("policy: any\n" + cloud.inventory.read_text())
    cloud.control("kill", host=CONTROL)
    try:
        ran = operator.fab("run", "--messages", 5, inventory=lab)
    finally:
        cloud.control("boot", host=CONTROL)
    assert ran.code == 3 and ran.err.count(f"error: {CONTROL}") == 1, str(ran)


@pytest.mark.slow
def test_a_control_host_behind_a_nat_that_plays_a_peer_and_has_no_sftp_and_is_the_way_to_another(tmp_path):
    odd = Plan(
        hosts=(HostPlan("a", "here", nat=True, sftp=False, noisy=True), HostPlan("b", "here", jump="a")),
        between=Weather(),
    )
    with Rehearsal(odd) as cloud:
        lab = cloud.inventory
        lab.write_text("control: direct\ncontrol_host: a\n" + lab.read_text())
        operator = Operator(cloud, tmp_path / "operator")
        checked = operator.fab("check")
        assert checked.code == 0, str(checked)
        ran = operator.fab("run", "--messages", 20, "--json")
        assert ran.code == 0, str(ran)
        (run,) = json.loads(ran.out)["runs"]
        assert run["complete"] and (run["rounds"], remarks_of(run)) == (40, [])
        assert operator.fab("clean").code == 0
        assert all(comes_to({}, lambda: cloud.processes(host)) for host in "ab")

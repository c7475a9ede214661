"""From hosts on which there is nothing to results, and back to nothing: fab as a person runs it, over real sshds."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import numpy as np
import pytest

from analysis.clocks import clocks
from analysis.run import load_run
from deploy.rehearsal.cloud import Rehearsal, lacking
from deploy.rehearsal.plan import Weather, plain
from experiments.planet import load_planet
from experiments.scenario import load, override, resolve
from tests.deploy.operator import Operator, comes_to

pytestmark = [pytest.mark.long]
if reason := lacking():
    pytestmark.append(pytest.mark.skip(reason=reason))

REGIONS = ["frankfurt", "london", "singapore"]
ONE_WAY_MS = [[0.1, 5, 85], [5, 0.1, 90], [85, 90, 0.1]]


@pytest.fixture(scope="module")
def cloud():
    plan = plain(6, REGIONS, ONE_WAY_MS, between=Weather(loss=0.01), inside=Weather(loss=0.01))
    with Rehearsal(plan) as cloud:
        yield cloud


def test_from_nothing_to_results_and_back(cloud, tmp_path):
    hosts = [host.name for host in cloud.plan.hosts]
    def look():
        return {host: (cloud.processes(host), cloud.files(host)) for host in hosts}

    before = look()
    operator = Operator(cloud, tmp_path / "operator")

    checked = operator.fab("check")
    assert checked.code == 0, str(checked)
    assert "can run: 6 peers on 6 hosts" in checked.out
    assert comes_to(before, look), "check leaves nothing"

    deployed = operator.fab("deploy")
    assert deployed.code == 0, str(deployed)
    assert all("has a new archive, key" in deployed.line_of(host) for host in hosts)
    again = operator.fab("deploy")
    assert again.code == 0 and all(again.line_of(host) == "is as it was" for host in hosts)

    ran = operator.fab("run", "--messages", 50, "--ordering", "unordered,lamport_all_ack", "--json")
    assert ran.code == 0, str(ran)
    unordered, total = json.loads(ran.out)["runs"]
    assert (unordered["ordering"], total["ordering"]) == ("unordered", "lamport_all_ack")
    assert unordered["out_of_order_rounds"] > 0 and unordered["complete"]
    assert (total["out_of_order_rounds"], total["rounds"], total["complete"]) == (0, 300, True)
    for run in (unordered, total):
        _is_a_run_folder(operator.home / run["folder"])

    collected = operator.fab("collect")
    assert collected.code == 0, str(collected)
    assert all(re.fullmatch(rf"run \w+ is in {total['folder']}", collected.line_of(host)) for host in hosts)

    cleaned = operator.fab("clean")
    assert cleaned.code == 0 and all("nothing of the lab is left" in cleaned.line_of(host) for host in hosts)
    assert comes_to(before, look)
    once_more = operator.fab("clean")
    assert once_more.code == 0 and all("there was nothing" in once_more.line_of(host) for host in hosts)


def _is_a_run_folder(folder):
    names = {path.name for path in folder.iterdir()}
    logs = {f"{kind}-{peer}.bin" for kind in ("trace", "sends") for peer in range(6)}
    assert names == {*logs, "scenario.json", "verdict.json", "measures.json", "planet.yml"}
    scenario = json.loads((folder / "scenario.json").read_text())
    assert (scenario["world"], scenario["clock"]) == ("cloud", "own")
    assert scenario["settings"]["regions"] == REGIONS * 2
    _tells_how_far_clocks_are_apart(folder)


def _tells_how_far_clocks_are_apart(folder):
    """These hosts share a clock, which no peer knows: what is made of their stamps must allow for that."""
    known = clocks(load_run(folder))
    across = ~np.eye(6, dtype=bool)
    assert (abs(known.ahead_s) <= known.uncertain_s)[across].all(), known
    assert (known.uncertain_s[across] < 0.2).all(), known


@pytest.mark.slow
def test_the_prompt_asks_again_after_each_run_and_zero_ends_the_peers(cloud, tmp_path):
    operator = Operator(cloud, tmp_path / "operator")
    process = operator.begin("run", "--ordering", "fixed_sequencer", stdin=-1)
    out, err = process.communicate("nonsense\n3\n2\n0\n", timeout=90)
    assert process.returncode == 0, out + err
    assert "Expected a whole number" in out and out.count("Messages per peer") == 4
    assert out.count("0 of 18") == 1 and out.count("0 of 12") == 1, out
    status = operator.fab("status")
    assert all("no peer lives" in status.line_of(host.name) for host in cloud.plan.hosts)
    assert operator.fab("clean").code == 0


@pytest.mark.slow
def test_the_round_trips_that_a_run_measured_are_a_planet_for_the_next(cloud, tmp_path):
    operator = Operator(cloud, tmp_path / "operator")
    ran = operator.fab("run", "--messages", 20, "--ordering", "lamport_all_ack", "--json")
    assert ran.code == 0, str(ran)
    folder = operator.home / json.loads(ran.out)["runs"][0]["folder"]
    planet = load_planet(str(folder / "planet.yml"))
    assert planet.regions == tuple(REGIONS) and re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", planet.measured)
    for a, row in enumerate(ONE_WAY_MS):
        for b, one_way_ms in enumerate(row):
            late_ms = 8 + 0.05 * one_way_ms  # by which a busy machine may lengthen a round trip
            assert abs(planet.round_trips_ms[a][b] - 2 * one_way_ms) < late_ms, planet
    scenario = override(load("lan"), planet=str(folder / "planet.yml"), peers=6)
    delays = resolve(scenario, "fifo", None, "1", "sim").delays_s
    assert delays[0][1] == planet.one_way_s("frankfurt", "london")
    assert operator.fab("clean").code == 0


@pytest.mark.slow
def test_the_operator_has_no_open_port_and_the_hosts_no_way_out(cloud, tmp_path):
    """Looked at while a run goes on: whatever listens on the operator's machine, its live page too, is for itself."""
    operator = Operator(cloud, tmp_path / "operator")
    process = operator.begin("run", "--messages", 200, "--ordering", "lamport_all_ack", "--live", LIVE_PORT)
    reader = None
    try:
        while not any(" peer " in line for line in cloud.processes("h0").values()):
            assert process.poll() is None, process.communicate()
        listening = cloud.run(["ss", "-H", "-ltun"], capture_output=True, text=True, timeout=10).stdout
        for line in listening.splitlines():
            assert line.split()[4].rpartition(":")[0].startswith("127."), line
        assert f"127.0.0.1:{LIVE_PORT}" in listening, "the services do listen, on loopback"
        reader = cloud.popen(
            [sys.executable, "-c", READER], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for host in cloud.plan.hosts:
            routes = cloud.ssh(host.name, "cat /proc/net/route").stdout
            assert not [line for line in routes.splitlines()[1:] if line.split()[1] == "00000000" and "198.18" in line]
            dial = 'import socket; socket.create_connection(("192.0.2.1", 80), 2)'
            assert cloud.ssh(host.name, f"python3 -c '{dial}'").returncode != 0
    finally:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, out + err
    heard, said = reader.communicate(timeout=60)
    assert reader.returncode == 0, said
    present, runs = map(json.loads, heard.splitlines())
    assert present["regions"] == REGIONS * 2
    assert [member["delivered"] for member in present["progress"]["members"]] == [1200] * 6
    assert runs["over"] and [(run["title"], run["state"]) for run in runs["runs"]] == [("lamport_all_ack", "held")]
    assert operator.fab("clean").code == 0


LIVE_PORT = 18642
# What a browser hears of a run until there is nothing more to tell: the last of the run, the last of all runs.
READER = f"""
import urllib.request
last = {{}}
with urllib.request.urlopen("http://127.0.0.1:{LIVE_PORT}/events", timeout=60) as events:
    for line in events:
        name, _, text = line.decode().rstrip().partition(": ")
        kind = text if name == "event" else kind if name == "data" else ""
        if name == "data":
            last[kind] = text
print(last["present"], last["runs"], sep="\\n")
"""

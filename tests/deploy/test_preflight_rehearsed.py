"""A check over ssh, of odd hosts in a network that blocks: in the rehearsal cloud, as it would be in a real one."""

from dataclasses import replace

import pytest

from deploy.bundle import make_bundle
from deploy.inventory import load_inventory
from deploy.preflight import preflight
from deploy.rehearsal.cloud import Rehearsal, lacking
from deploy.rehearsal.plan import HostPlan, Plan
from deploy.remote import Remote
from tests.deploy.operator import comes_to

pytestmark = [pytest.mark.long, pytest.mark.skipif(bool(lacking()), reason=f"no rehearsal cloud here: {lacking()}")]

PLAN = Plan(
    (
        HostPlan("a", "x", nat=True),
        HostPlan("b", "y", clock_offset_s=3.5, peers=2),
        HostPlan("c", "z", jump="a", noisy=True, sftp=False),
        HostPlan("old", "y", python="old"),
        HostPlan("bare", "z", python="none"),
        HostPlan("full", "x", disk_kb=64),
    ),
    ("x", "y", "z"),
    ((0.1, 20, 40), (20, 0.1, 30), (40, 30, 0.1)),
)
# Something on a host that has its peers' port; it has it when the command returns, and lets it go after a minute.
TAKE = """python3 -c '
import os, socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("", 5700))
if os.fork(): os._exit(0)
null = os.open("/dev/null", os.O_RDWR); [os.dup2(null, n) for n in (0, 1, 2)]; time.sleep(60)'"""


@pytest.fixture(scope="module")
def cloud():
    with Rehearsal(PLAN) as cloud:
        yield cloud


def checked(cloud, deadline_s=60.0):
    inventory = replace(load_inventory(cloud.inventory), deadline_s=deadline_s)
    bundle, known_hosts = make_bundle(), cloud.folder / "pinned"
    remotes: dict[str, Remote] = {}
    for host in sorted(inventory.hosts, key=lambda host: bool(host.jump)):
        jump = remotes.get(host.jump)
        remotes[host.name] = Remote(host, inventory.lab, bundle, known_hosts, jump, pin=True)
    with cloud.entered():
        try:
            return preflight([remotes[host.name] for host in inventory.hosts], inventory)
        finally:
            for remote in remotes.values():
                remote.close()


@pytest.fixture(scope="module")
def files_before(cloud):
    return {name: set(cloud.files(name)) for name in "abc"}


@pytest.fixture(scope="module")
def findings(cloud, files_before):
    """One way blocked from a to b, both ways between b and c; between y and z only small packets pass."""
    cloud.control("block", source="a", target="b", what="udp")
    cloud.control("block", source="b", target="full", what="udp")
    cloud.control("block", source="full", target="b", what="udp")
    cloud.control("network", regions=["y", "z"], largest_bytes=1300)
    try:
        yield checked(cloud)
    finally:
        cloud.control("heal")


def between(findings, origin, target):
    return findings.pairs_between(origin, target)[0]


def test_a_host_without_python_and_one_with_an_old_one_are_told_in_one_sentence(findings):
    assert findings.hosts["old"].trouble.startswith("old: its python3 is 3.8")
    assert findings.hosts["bare"].trouble.startswith("bare: ") and "python3" in findings.hosts["bare"].trouble


def test_clocks_are_compared_and_not_trusted(findings):
    for name, expected in {"a": 0.0, "b": 3.5, "c": 0.0}.items():
        finding = findings.hosts[name]
        assert abs(finding.clock_offset_s - expected) <= finding.clock_uncertainty_s + 0.005
        assert finding.clock_uncertainty_s < 0.2
    assert any(sentence.startswith("the wall clock of b is 3.5 s ahead of yours") for sentence in findings.warnings)


def test_nat_is_seen_from_outside(findings):
    a = findings.hosts["a"]
    assert a.behind_nat is True and a.seen_as == (a.host.advertise,) and a.local != a.seen_as
    assert findings.hosts["b"].behind_nat is False


def test_blocked_udp_is_found_per_direction_with_the_rule_that_lacks(findings):
    blocked = sorted({(pair.origin, pair.target) for pair in findings.pairs if pair.blocked})
    assert blocked == [("a", "b"), ("b", "full"), ("full", "b")]
    a, b, full = (findings.hosts[name].host.advertise for name in ("a", "b", "full"))
    assert f"UDP from a does not reach b, though it does the other way; allow UDP 5700-5701 to b from {a}/32" in (
        findings.failures
    )
    rules = f"allow UDP 5700 to full from {b}/32, and allow UDP 5700-5701 to b from {full}/32"
    assert f"UDP between b and full is blocked both ways; {rules}" in findings.failures


def test_round_trips_and_the_largest_datagram(findings):
    assert 0.08 <= between(findings, "a", "c").round_trip_s < 0.14
    assert 0.06 <= between(findings, "c", "b").round_trip_s < 0.12
    assert between(findings, "a", "full").round_trip_s < 0.05
    assert between(findings, "a", "c").largest == 1472
    assert between(findings, "b", "c").largest == between(findings, "c", "b").largest == 1232
    assert any(s.endswith("run with network.datagram_bytes=1232") for s in findings.failures)


def test_a_full_disk_is_told(findings):
    (sentence,) = (sentence for sentence in findings.failures if "disk" in sentence)
    assert sentence.startswith("full has ") and sentence.endswith("; make room there")


@pytest.mark.slow
def test_a_host_that_hangs_keeps_nobody_and_a_port_that_is_taken_is_told(cloud, findings):
    cloud.control("heal")
    cloud.ssh("b", TAKE)
    cloud.control("pause", host="full")
    try:
        again = checked(cloud, deadline_s=12.0)
    finally:
        cloud.control("resume", host="full")
    assert again.hosts["full"].trouble.startswith("full: ")
    assert again.hosts["b"].ports == {5700: "taken", 5701: ""}
    assert any(sentence.startswith("UDP 5700 of b is taken by somebody") for sentence in again.failures)
    taken, free = again.pairs_between("a", "b")
    assert taken.asked == 0 and free.arrived == free.asked > 0  # no longer blocked
    assert between(again, "b", "a").round_trip_s == pytest.approx(0.04, abs=0.02)
    assert between(again, "c", "a").round_trip_s == pytest.approx(0.08, abs=0.02)


def test_nothing_is_left_on_the_hosts(cloud, files_before, findings):
    """A check needs no folder there."""
    assert findings.hosts["a"].python and findings.hosts["c"].python
    for name in "ac":  # b has something else on it that took a port
        assert set(cloud.files(name)) == files_before[name]
        assert comes_to(False, lambda: any("python" in command for command in cloud.processes(name).values()))

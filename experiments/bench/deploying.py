"""The lab on eight hosts and its peers started, beside Fabric's ThreadingGroup doing one `run` and one `put`, all cold.

Both in one rehearsal cloud, taking turns; the file that Fabric puts is as large as what the lab sends to each host.
"""

from __future__ import annotations

import tempfile
import zlib
from pathlib import Path
from statistics import median
from time import monotonic

import fabric

from deploy.bundle import Bundle, make_bundle
from deploy.each import on_each
from deploy.inventory import Inventory, load_inventory
from deploy.rehearsal.cloud import Rehearsal, lacking
from deploy.rehearsal.plan import HostPlan, Plan
from deploy.remote import Remote
from experiments.bench.row import Lacking, Row, Say
from experiments.cloud.cluster import known_hosts_of, remotes_of
from experiments.cloud.keeper import told
from peer.core.errors import RunError

HOSTS, TIMES = 8, 5
DESK, ONE_WAY_MS = "desk", {"desk": 0, "near": 10, "far": 45, "farthest": 90}  # from the desk, where the operator is
DEADLINE_S = 60.0
KEY = bytes(32).hex()
CONTROL = {"attached": "bench", "operator": "bench", "since": 0.0}
SERVICES = {"manager": ("127.0.0.1", 1), "server": ("127.0.0.1", 1)}  # nobody is there: what is measured ends before


def run(say: Say) -> list[Row]:
    """Seconds of both."""
    if reason := lacking():
        raise Lacking(f"there can be no rehearsal cloud here ({reason})")
    bundle = make_bundle()
    sent = zlib.compress(bundle.data)
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as place, Rehearsal(_plan()) as cloud, cloud.entered():
        file = Path(place) / "archive"
        file.write_bytes(sent)
        inventory, known_hosts = load_inventory(cloud.inventory), known_hosts_of(cloud.inventory)
        for time in range(TIMES):
            say(f"{time + 1} of {TIMES}")
            theirs.append(_with_fabric(inventory, file))
            ours.append(_with_the_lab(inventory, bundle, known_hosts))
    return [
        Row(f"Fabric: run, and put of {len(sent):,} bytes, on {HOSTS} hosts", median(theirs), "s"),
        Row(f"deploy and start on {HOSTS} hosts", median(ours), "s", median(theirs)),
    ]


def _plan() -> Plan:
    regions = [region for region in ONE_WAY_MS if region != DESK]
    return Plan(
        hosts=tuple(HostPlan(f"h{place}", regions[place % len(regions)]) for place in range(HOSTS)),
        regions=tuple(ONE_WAY_MS),
        one_way_ms=tuple(tuple(max(0.1, abs(a - b)) for b in ONE_WAY_MS.values()) for a in ONE_WAY_MS.values()),
        operator=DESK,
    )


def _with_fabric(inventory: Inventory, file: Path) -> float:
    hosts = [
        fabric.Connection(host.address, host.user, host.port, connect_kwargs={"key_filename": str(host.key)})
        for host in inventory.hosts
    ]
    began = monotonic()
    group = fabric.ThreadingGroup.from_connections(hosts)
    group.run("true", hide=True, in_stream=False)
    group.put(str(file), "archive")
    took_s = monotonic() - began
    group.close()
    return took_s


def _with_the_lab(inventory: Inventory, bundle: Bundle, known_hosts: Path) -> float:
    def bring_up(remote: Remote) -> None:
        remote.ask("deploy", key=KEY, settings={})
        name, host = remote.name, remote.host
        peers = [
            {"name": name, "bind": f"{host.bind}:{host.peer_port}", "advertise": f"{host.address}:{host.peer_port}"}
        ]
        control = told(remote, SERVICES, CONTROL)
        if failed := remote.ask("start", group="bench", peers=peers, control=control, force=True)["failed"]:
            raise RunError("start", [name], str(failed))

    remotes = remotes_of(inventory, bundle, known_hosts)
    began = monotonic()
    done = on_each(remotes, bring_up, DEADLINE_S)
    took_s = monotonic() - began
    failures = [result for result in done.values() if result is not None]
    on_each(remotes, lambda remote: remote.ask("clean"), DEADLINE_S)
    for remote in remotes:
        remote.close()
    if failures:
        raise failures[0]
    return took_s

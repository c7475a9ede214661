"""Looks whether TCP gets from every host to the two services on the control host, where control is direct."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deploy.each import on_each
from deploy.host_error import HostError
from deploy.inventory import Inventory
from deploy.remote import Remote

LEAST_S = 10.0  # for knocking, however late it is


@dataclass(slots=True)
class DoorFinding:
    """TCP from one host to one port of the control host; from nowhere: whether the port is free there."""

    origin: str
    target: str
    port: int
    took_s: float | None = None  # to connect: a round trip
    why: str = ""  # it did not


def knock(remotes: Sequence[Remote], inventory: Inventory, deadline_s: float) -> list[DoorFinding]:
    """Have the control host listen, unless the services do already, and all others of these connect to it."""
    remote = next((each for each in remotes if each.name == inventory.control_host), None)
    if remote is None:
        return []
    ports = [inventory.manager_port, inventory.server_port]
    within_s = max(LEAST_S, deadline_s)
    target, address = remote.host.name, remote.host.advertise
    try:
        with remote.talk("listen", timeout_s=within_s, ports=ports, bind=remote.host.bind) as talk:
            taken = dict(talk.receive(within_s)["taken"])
            if taken and any(about["pid"] for about in remote.ask("status")["services"].values()):
                taken = {}  # by the lab itself
            others = [each for each in remotes if each is not remote]
            knocked = on_each(others, lambda each: each.ask("dial", address=address, ports=ports), within_s)
            talk.send({"do": "end"})
            talk.finish(within_s)
    except HostError:
        return []  # it was looked at before, and what is the matter is said of that
    findings = [DoorFinding("", target, port, why=why) for port, why in taken.items()]
    for name, result in knocked.items():
        if not isinstance(result, HostError):
            for port, how in result["knocked"]:
                is_open = isinstance(how, float)
                findings.append(DoorFinding(name, target, port, how if is_open else None, "" if is_open else how))
    return findings

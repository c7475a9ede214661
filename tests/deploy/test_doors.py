"""Whether TCP gets to the control host: the agent's part of the look, and what is said of what it finds."""

from __future__ import annotations

import os
import socket

from deploy.agent import doors
from deploy.doors import DoorFinding
from deploy.inventory import Host
from deploy.preflight import Findings, HostFinding


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as tried:
        return tried.getsockname()[1]


class Operator:
    """Has every door knocked at as soon as they are said to be open, and then has them closed."""

    def __init__(self, ports: list[int]) -> None:
        self.ports, self.said, self.knocked = ports, None, None
        self.reading, self.writing = os.pipe()

    def __call__(self, timeout_s: float) -> dict:
        if self.knocked is None:
            raise TimeoutError
        return {"do": "end"}

    def fileno(self) -> int:
        return self.reading

    def send(self, message: dict) -> None:
        self.said = message
        self.knocked = doors.dial({"address": "127.0.0.1", "ports": self.ports})["knocked"]
        os.write(self.writing, b"1")


def test_doors_open_where_nobody_has_them_and_are_closed_again():
    mine = free_port()
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        taken = somebody.getsockname()[1]
        operator = Operator([mine, taken])
        assert doors.listen({"bind": "127.0.0.1", "ports": [mine, taken]}, operator, operator.send) == {}
    assert operator.said == {"taken": [[taken, "Address already in use"]]}
    assert [port for port, how in operator.knocked if isinstance(how, float)] == [mine, taken]
    assert doors.dial({"address": "127.0.0.1", "ports": [mine]})["knocked"] == [[mine, "Connection refused"]]
    os.close(operator.reading)
    os.close(operator.writing)


def findings(*doors: DoorFinding) -> Findings:
    hosts = {
        name: HostFinding(Host(name, "", address, advertise=address), python="3.11")
        for name, address in (("a", "192.0.2.1"), ("b", "192.0.2.2"), ("c", "192.0.2.3"))
    }
    hosts["b"].seen_as = ("203.0.113.2",)  # behind a NAT
    return Findings("lab", hosts, [], list(doors))


def test_what_is_closed_is_told_with_the_rule_that_opens_it():
    found = findings(
        DoorFinding("a", "c", 5680, 0.01), DoorFinding("a", "c", 5678, why="no answer"),
        DoorFinding("b", "c", 5680, why="no answer"), DoorFinding("b", "c", 5678, why="no answer"),
    )  # fmt: skip
    assert found.failures == [
        "TCP 5678 of c, where control is, is not reached from a: no answer; allow TCP 5678 to c from 192.0.2.1/32",
        "TCP 5678, 5680 of c, where control is, is not reached from b: no answer; "
        "allow TCP 5678, 5680 to c from 203.0.113.2/32",
    ]
    both = findings(DoorFinding("a", "c", 5680, why="no answer"), DoorFinding("b", "c", 5680, why="no answer"))
    assert len(both.failures) == 1 and "from 192.0.2.1/32, 203.0.113.2/32" in both.failures[0]


def test_a_port_that_is_taken_and_doors_that_are_open():
    assert findings(DoorFinding("a", "c", 5680, 0.01)).failures == []
    assert findings(DoorFinding("", "c", 5680, why="Address already in use")).failures == [
        "TCP 5680 of c cannot be listened on: Address already in use; "
        "end who does, or choose another `manager_port` or `server_port`"
    ]

"""Keeps the way to a host open, and asks there what became of a peer that is not heard of any more."""

from __future__ import annotations

import threading
from time import monotonic
from typing import Any

from deploy.host_error import HostError
from deploy.remote import Remote
from experiments.cloud.leading import Leading

ASK_S = 20.0  # for what is asked of a host
AWAY_S = 3.0  # a peer without connection for so long may have died: its host is asked
SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 10.0  # between attempts to reach a host again
GLANCE_S = 0.5  # between looks at whether all is well


class Keeper:
    """A thread for each host; it ends when another operator leads the peers, or when it is told to."""

    def __init__(
        self,
        remote: Remote,
        targets: dict[str, tuple[str, int]],
        control: dict[str, Any],
        said: dict[str, Any],
        service: Leading,
    ) -> None:
        """`said`: what the peers there were told of control last."""
        self.deaths: dict[str, str] = {}
        self._remote, self._targets, self._control, self._said, self._service = remote, targets, control, said, service
        self._away: dict[str, float] = {}  # peers without connection: since when, or when was asked last
        self._ending = threading.Event()
        threading.Thread(target=self._keep, name=f"keeper of {remote.name}", daemon=True).start()

    def end(self) -> None:
        self._ending.set()

    def _keep(self) -> None:
        pause_s = SHORTEST_PAUSE_S
        while not self._ending.wait(GLANCE_S):
            try:
                self._keep_the_way()
                pause_s = SHORTEST_PAUSE_S
                self._ask_about_the_missing()
            except HostError as error:
                if error.kind == "attached" and self._finds_that_others_lead():
                    return
                self._ending.wait(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _keep_the_way(self) -> None:
        """Whoever else uses the connection may have made it anew as well: then what it carries is to be mended here."""
        control = told(self._remote, self._targets, self._control)
        if control != self._said:
            self._remote.ask("attach", control=control, timeout_s=ASK_S)
            self._said = control

    def _ask_about_the_missing(self) -> None:
        here, now = self._service.peers, monotonic()
        missing = [name for name in self._remote.host.peer_names() if name not in here]
        for name in list(self._away):
            if name not in missing:
                del self._away[name]
                self.deaths.pop(name, None)
        for name in missing:
            self._away.setdefault(name, now)
        overdue = [name for name in missing if now - self._away[name] > AWAY_S and name not in self.deaths]
        if overdue:
            self._away |= dict.fromkeys(overdue, now)
            status = self._remote.ask("status", timeout_s=ASK_S)
            if self._gives_way(status["control"]):
                return
            for name in overdue:
                known = status["peers"].get(name)
                if known is None:
                    self.deaths[name] = f"{name} is not there any more: the lab was cleaned away on its host"
                elif known["pid"] is None:
                    said = f" (it said last: {known['said']})" if known["said"] else ""
                    self.deaths[name] = f"{name} has ended{said}"

    def _finds_that_others_lead(self) -> bool:
        try:
            return self._gives_way(self._remote.ask("status", timeout_s=ASK_S)["control"])
        except HostError:
            return False  # that it cannot be asked now; it will be again

    def _gives_way(self, control: dict[str, Any]) -> bool:
        """If the peers there were told to follow somebody else: they may never have come here to say so."""
        if control.get("attached") in (None, self._control["attached"]):
            return False
        self._service.give_way(self._remote.name, str(control.get("operator")))
        self._ending.set()
        return True


def told(remote: Remote, targets: dict[str, tuple[str, int]], control: dict[str, Any]) -> dict[str, Any]:
    """What the peers of a host are told of control: who has it, and the ends of the ways to it there."""
    ports = remote.forward(targets)
    return control | {name: ["127.0.0.1", port] for name, port in ports.items()}

"""A cluster whose services live on one of its hosts, and need nobody here: `control: direct`."""

from __future__ import annotations

import secrets
from time import time
from typing import Any, TypeVar

from comparison_server.coordinator import Found
from comparison_server.desk import ENDED, HOME
from comparison_server.prompt import named
from deploy.host_error import HostError
from deploy.inventory import Inventory
from deploy.remote import Remote
from experiments.cloud.cluster import SOON_S, CloudCluster, Look, operator
from experiments.cloud.distant import Distant
from peer.core.errors import LabError

T = TypeVar("T")


def cluster_of(inventory: Inventory, **options: Any) -> CloudCluster:
    """The cluster of an inventory, of the kind that it says."""
    return (DirectCluster if inventory.control == "direct" else CloudCluster)(inventory, **options)


class DirectCluster(CloudCluster):
    """Peers reach the control host by themselves; what is ordered there goes on while nobody is connected to it."""

    _where: dict[str, Any]  # what the services are told of where they are to listen
    _is_served = _started_services = False

    @property
    def _at(self) -> Remote:
        """The control host."""
        return next(remote for remote in self._remotes if remote.name == self.inventory.control_host)

    def how_found(self, found: Found, title: str) -> str:
        """A run that was found, in a sentence for the person here."""
        about, at = self.service.runs[found.run], self._at.name
        whose = f"a run of {about['operator']}" if about["operator"] else "a run"
        if about["state"] == ENDED:
            return f"On {at} lies {whose} that has ended ({title}): it is brought home."
        return f"On {at} {whose} goes on, of {named(list(found.settings.members))} ({title}): it is followed."

    def _open(self, key: bytes, seen: dict[str, Look]) -> dict[str, tuple[str, int]]:
        host, inventory = self._at.host, self.inventory
        me = {"id": secrets.token_hex(8), "name": operator()}
        self.service = Distant(self._at, me, inventory.lost_s)
        look = seen[host.name]
        if self._start_peers and _is_open(look) and look.deployed != self._bundle.digest:
            sentence = "a run goes on there with another version of this program; bring it home first: fab collect"
            raise HostError(host.name, "busy", sentence)
        manager, server = inventory.manager_port, inventory.server_port
        self._where = {"bind": host.bind, "manager": manager, "server": server, "group": inventory.lab}
        self._where |= {"lost_s": inventory.lost_s, "operator": me}
        control = {
            "direct": host.name,
            "operator": f"the collector on {host.name}",
            "manager": [host.advertise, manager],
            "server": [host.advertise, server],
        }
        # Whoever comes leads by the same collector: for the peers nothing changes.
        attached = f"{host.name} {host.advertise}:{manager}:{server}"
        since = max([time(), *(look.since + 1e-3 for look in seen.values())])
        self._control = {**control, "attached": attached, "since": since}
        return {}

    def _as_told(self, remote: Remote, control: dict[str, Any]) -> dict[str, Any]:
        """On its own host control is at hand, whatever the address is under which others see that."""
        if remote is not self._at:
            return control
        here = "127.0.0.1" if remote.host.bind == "0.0.0.0" else remote.host.bind
        return control | {name: [here, control[name][1]] for name in ("manager", "server")}

    def _before_peers(self, remote: Remote, look: Look) -> None:
        if remote is not self._at or not (self._start_peers or self._living or _is_open(look)):
            return
        self._is_served = True
        done = remote.ask("serve", keep=not self._start_peers, **self._where)
        self._started_services = bool(done["started"])
        if done["failed"]:
            why = "; ".join(f"the {name} {how}" for name, how in done["failed"].items())
            raise HostError(remote.name, "start", f"{why}; manager_port and server_port choose other ports")

    def _succeeded(self, results: dict[str, T | LabError]) -> dict[str, T]:
        if isinstance(failure := results[self._at.name], LabError):
            raise failure
        if self._start_peers:
            return super()._succeeded(results)
        # What has ended there can be brought home even if other hosts are gone.
        failed = {name: result for name, result in results.items() if isinstance(result, LabError)}
        self.left_out |= failed
        for error in failed.values():
            self._say(str(error))
        return {name: result for name, result in results.items() if name not in failed}

    def _is_up(self) -> None:
        self.service.begin(self._is_served)

    def _end_what_was_started(self) -> None:
        super()._end_what_was_started()
        if self._started_services:
            self._each([self._at], self._stop_services, SOON_S)

    def close(self) -> None:
        """Lead no more. What was only started to bring something home is not needed any more."""
        if self._started_services and not (self._start_peers or self._living):
            self._each([self._at], self._stop_services, SOON_S)
        super().close()

    def _stop_services(self, remote: Remote) -> None:
        remote.ask("stop", peers=[], services=True)

    def end(self) -> None:
        """Have the peers end, and the services too, unless others need them."""
        self.service.end_all(2 * SOON_S)
        if self.service.needed:
            self._say(self.service.needed)
            return
        remotes = [remote for remote in self._remotes if remote.name not in self.left_out]
        self._each(remotes, self._stop_all, self.inventory.deadline_s)

    def _stop_all(self, remote: Remote) -> None:
        """Of what lives there; most has ended by itself."""
        peers, mine = list(remote.host.peer_names()), self._control["attached"]
        remote.ask("stop", peers=peers, services=remote is self._at, attached=mine)


def _is_open(look: Look) -> bool:
    """Whether something lies on the desk there that is still to be led."""
    return any(state not in (ENDED, HOME) for state in look.orders.values())

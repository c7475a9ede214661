"""A cluster of the world `cloud`: peers on the hosts of an inventory, the group manager and the comparison server here.

    with CloudCluster(inventory, key) as cluster:
        for run in play(cluster.plan(scenario, orderings, repeats), cluster.world, out): ...

No door is open anywhere: peers reach the two services through ssh connections that were made
from here, and read anew where these come out whenever they are lost. Peers outlive all of it;
whoever comes next, with the same inventory, finds what they play and can lead it on.
"""

from __future__ import annotations

import getpass
import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from time import monotonic, time
from typing import Any, TypeVar

from comparison_server.coordinator import HANDSHAKE, Found
from comparison_server.prompt import named
from comparison_server.service import Outcome, Progress, Service
from deploy.bundle import Bundle, make_bundle
from deploy.each import on_each
from deploy.host_error import HostError
from deploy.inventory import Host, Inventory
from deploy.remote import Remote
from experiments.cloud.carrier import Carrier
from experiments.cloud.keeper import Keeper, told
from experiments.cloud.leading import Leading
from experiments.play import Ended, Planned, ended, header_of, plan
from experiments.round_trips import keep_as_planet
from experiments.scenario import Scenario, override
from group_manager.service import Service as GroupManager
from peer.core.errors import LabError, RunError, SettingsError
from peer.drivers.control import DEFAULT_KEY, read_key
from peer.stacks import promised

T = TypeVar("T")

LOOPBACK = ("127.0.0.1", 0)
KNOWN_HOSTS = Path(".lab/known_hosts")
END_S = 10.0  # for peers that were told to end
SOON_S = 8.0  # the same where starting them failed or was interrupted: somebody waits for the prompt
GLANCE_S = 0.5  # how long the group manager waits for requests before it looks whether it is to end

Say = Callable[[str], None]


class CloudCluster:
    """The peers of an inventory, each known by its name there, while they are led from here."""

    def __init__(
        self,
        inventory: Inventory,
        *,
        key: Path | None = None,
        known_hosts: Path = KNOWN_HOSTS,
        world: str = "cloud",
        start: bool = True,
        measure: Callable[[], dict[str, Any]] = dict,
        say: Say = lambda sentence: None,
    ) -> None:
        """`key`: its file; by default the one that the hosts have, or else the operator's own. `start`: have all peers
        live; else only those are led that live already. `measure`: what else is known of a run that has just ended.
        """
        self.inventory, self.world_name = inventory, world
        self.service: Leading | None = None  # while the cluster is up
        self.hosts = [host for host in inventory.hosts if host.peers]
        self.left_out: dict[str, LabError] = {}  # hosts that do not take part, and why
        self._start_peers, self._key_file, self._measure, self._say = start, key, measure, say
        self._living: set[str] = set()  # when they were looked at
        self._bundle = make_bundle()
        self._remotes = remotes_of(inventory, self._bundle, known_hosts)
        self._manager: _Manager | None = None
        self._carrier: Carrier | None = None
        self._control: dict[str, Any] = {}  # what the peers are told of who leads them
        self._started_on: list[Remote] = []  # whether or not that succeeded
        self._keepers: list[Keeper] = []

    def __enter__(self) -> CloudCluster:
        try:
            self._come_up()
        except BaseException:
            try:
                self._end_what_was_started()
            finally:
                self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def names(self) -> list[str]:
        """The peers that are there or may come back, in the order of the inventory."""
        there = [host for host in self.hosts if host.name not in self.left_out]
        names = [name for host in there for name in host.peer_names()]
        return names if self._start_peers else [name for name in names if name in self._living]

    @property
    def deaths(self) -> dict[str, str]:
        """The peers that are known to have ended, and what each of them said last."""
        return {name: how for keeper in self._keepers for name, how in keeper.deaths.items()}

    def plan(self, scenario: Scenario, orderings: Iterable[tuple[str, str | None]], repeats: int) -> list[Planned]:
        """The runs of a scenario with the peers that are there: who they are and where is the inventory's to say."""
        members = tuple(name for name in self.names if name in self.service.peers)
        regions = {name: host.region for host in self.hosts for name in host.peer_names()}
        fitted = override(scenario, peers=len(members))
        return [
            replace(
                planned,
                settings=replace(planned.settings, members=members, regions=tuple(regions[name] for name in members)),
            )
            for planned in plan(fitted, orderings, repeats, self.world_name)
        ]

    def world(self, planned: Planned, folder: Path, show: Callable[[Progress], None] | None = None) -> Ended:
        """Play one of them."""
        settings = planned.settings
        agreement, header = "agreement" in promised(settings), header_of(planned)
        how = self.service.run(settings, agreement, header, folder, self._looking(show))
        return self._measured(how, planned, folder)

    def take_up(
        self, found: Found, planned: Planned, folder: Path, show: Callable[[Progress], None] | None = None
    ) -> Ended:
        """Lead a run on that was begun from elsewhere."""
        agreement = "agreement" in promised(found.settings)
        how = self.service.take_up(found, agreement, folder, self._looking(show))
        return self._measured(how, planned, folder)

    def wait_for_all(self, timeout_s: float, on_wait: Callable[[list[str], list[str]], None] | None = None) -> None:
        """Until all peers are here, or the policy does without those that are not; RunError names who did not come.

        `on_wait` hears who is here and who is not.
        """
        until = monotonic() + timeout_s
        while missing := [name for name in self.names if name not in self.service.peers]:
            if monotonic() > until or all(name in self.deaths for name in missing):
                self._go_on_without(missing, timeout_s)
                return
            if on_wait is not None:
                on_wait([name for name in self.names if name not in missing], missing)
            self.service.poll()

    def _go_on_without(self, missing: list[str], waited_s: float) -> None:
        why = {name: self.deaths.get(name, f"{name} did not come within {waited_s:g} s") for name in missing}
        error = RunError("wait", missing, f"{'; '.join(why.values())}; `fab logs` shows what they said")
        gone = {self.remote_of(name).name for name in missing}
        left = [host for host in self.hosts if host.name not in gone and host.name not in self.left_out]
        if not left or not self.inventory.enough(len(left), len(self.hosts)):
            raise error
        self.left_out |= dict.fromkeys(gone, error)

    def end(self) -> None:
        """Have the peers end; they are not needed any more."""
        left = self.service.end_all(END_S)
        hosts = {host.name for host in self.hosts if any(name in left for name in host.peer_names())}
        away = {name for name in self.names if name not in self.service.peers and name not in self.deaths}
        hosts |= {host.name for host in self.hosts if away & set(host.peer_names())}
        hosts -= set(self.left_out)
        late = [remote for remote in self._started_on if remote.name in self.left_out]  # it may have come to life there
        remotes = [remote for remote in self._remotes if remote.name in hosts]
        deadline_s = SOON_S if late and not remotes else self.inventory.deadline_s
        ended = self._each([*remotes, *late], lambda remote: self._stop(remote, remote.host.peer_names()), deadline_s)
        for name, how in ended.items():
            if isinstance(how, LabError):
                self._say(f"{how}; what lives on {name} is ended by `fab stop` once it can be reached")

    def _end_what_was_started(self) -> None:
        """Coming up failed or was interrupted: peers that were not there before are not there after."""
        if not self._started_on:
            return
        new = {
            remote: [name for name in remote.host.peer_names() if name not in self._living]
            for remote in self._started_on
        }
        self._each([remote for remote in new if new[remote]], lambda remote: self._stop(remote, new[remote]), SOON_S)

    def _stop(self, remote: Remote, peers: Sequence[str]) -> None:
        """Only as long as nobody else leads them."""
        remote.ask("stop", peers=list(peers), attached=self._control["attached"])

    def close(self) -> None:
        """Lead no more. Peers that were not ended stay, for whoever leads them next."""
        for keeper in self._keepers:
            keeper.end()
        if self.service is not None:
            self.service.close()
        if self._manager is not None:
            self._manager.end()
        for remote in self._remotes:
            remote.stop()
        if self._carrier is not None:
            self._carrier.end()

    # Coming up.

    def _come_up(self) -> None:
        began = monotonic()
        seen = self._succeeded(self._each(self._remotes, _look, self.inventory.deadline_s))
        self._living = {name for look in seen.values() for name in look.living}
        key = self._key(seen)
        targets = self._open(key, seen)

        def bring_up(remote: Remote) -> dict[str, Any]:
            said = told(remote, targets, self._as_told(remote, self._control))
            if self._start_peers and seen[remote.name].deployed != self._bundle.digest:
                remote.ask("deploy", key=key.hex(), settings={})
            self._before_peers(remote, seen[remote.name])
            if not self._start_peers:
                remote.ask("attach", control=said)
                return said
            host = remote.host
            peers = [
                {"name": name, "bind": f"{host.bind}:{port}", "advertise": f"{host.advertise}:{port}"}
                for name, port in zip(host.peer_names(), host.ports())
            ]
            self._started_on.append(remote)
            done = remote.ask("start", group=self.inventory.lab, peers=peers, control=said)
            if done["failed"]:
                raise HostError(host.name, "start", "; ".join(f"{name}: {why}" for name, why in done["failed"].items()))
            return said

        rest_s = max(1.0, self.inventory.deadline_s - (monotonic() - began))
        there = [remote for remote in self._remotes if remote.name in seen]
        said = self._succeeded(self._each(there, bring_up, rest_s))
        self._is_up()
        for remote in there:
            if remote.name in said:
                control = self._as_told(remote, self._control)
                self._keepers.append(Keeper(remote, targets, control, said[remote.name], self.service))

    # What is different where the services live on one of the hosts.

    def _open(self, key: bytes, seen: dict[str, Look]) -> dict[str, tuple[str, int]]:
        """Begin to lead; what peers are to reach here, by way of their hosts."""
        self._manager = _Manager(key)
        carrier = self._carrier = Carrier(self.inventory.lab, self.remote_of)
        manager, group = self._manager.endpoint, self.inventory.lab
        lost_s = self.inventory.lost_s
        self.service = Service(LOOPBACK, key, manager=manager, group=group, lost_s=lost_s, carrier=carrier)
        self._control = {
            "attached": secrets.token_hex(8),
            "operator": operator(),
            "since": max([time(), *(look.since + 1e-3 for look in seen.values())]),
        }
        return {"manager": manager, "server": self.service.endpoint}

    def _as_told(self, remote: Remote, control: dict[str, Any]) -> dict[str, Any]:
        """What the peers of this host are told of control, beside the ways to it."""
        return control

    def _before_peers(self, remote: Remote, look: Look) -> None:
        """On this host, before its peers are started."""

    def _is_up(self) -> None:
        """All hosts have been told."""

    def how_found(self, found: Found, title: str) -> str:
        """A run that was found, in a sentence for the person here."""
        return f"{named(list(found.settings.members))} play a run ({title}): it is taken up."

    def _succeeded(self, results: dict[str, T | LabError]) -> dict[str, T]:
        """What came of it on those hosts where something did; RunError if these are too few for the policy."""
        failed = {name: result for name, result in results.items() if isinstance(result, LabError)}
        self.left_out |= failed
        for error in failed.values():
            self._say(str(error))
        enough, sentence = self.inventory.judged(self.left_out, len(self.hosts))
        if not enough:
            raise RunError("start", list(failed), sentence)
        if failed:
            self._say(sentence)
        return {name: result for name, result in results.items() if name not in failed}

    def _key(self, seen: dict[str, Look]) -> bytes:
        """The key of the lab: the one named, the one that the hosts have already, or the operator's own."""
        if self._key_file is not None:
            return read_key(self._key_file)
        keys = {look.key for look in seen.values() if look.key}
        if len(keys) > 1:
            holders = ", ".join(name for name, look in seen.items() if look.key)
            raise SettingsError(f"{holders} hold different keys; say with --key which counts, or clean the lab first")
        if keys and not (DEFAULT_KEY.exists() and read_key(DEFAULT_KEY).hex() in keys):
            self._say("the key comes from the hosts: somebody else deployed this lab")
        return bytes.fromhex(keys.pop()) if keys else read_key(None)

    def _each(
        self, remotes: Sequence[Remote], job: Callable[[Remote], T], deadline_s: float
    ) -> dict[str, T | HostError]:
        """The job on each host at once, while the services here go on."""
        if self.service is None:
            return on_each(remotes, job, deadline_s)
        results: dict[str, T | HostError] = {}
        failure: list[BaseException] = []

        def ask_all() -> None:
            try:
                results.update(on_each(remotes, job, deadline_s))
            except BaseException as error:  # noqa: BLE001 - raised where it is waited for
                failure.append(error)

        asking = threading.Thread(target=ask_all, daemon=True)
        asking.start()
        try:
            while asking.is_alive():
                self.service.poll()
        except BaseException:
            for remote in remotes:
                remote.stop()
            asking.join(END_S)  # nothing more is begun on any host
            raise
        if failure:
            raise failure[0]
        return results

    # While a run goes on.

    def _looking(self, show: Callable[[Progress], None] | None) -> Callable[[Progress], None]:
        def look(progress: Progress) -> None:
            for name, how in self.deaths.items():
                self.service.lose(name, how)
            if show is not None:
                show(progress)

        return look

    def _measured(self, outcome: Outcome, planned: Planned, folder: Path) -> Ended:
        how = ended(outcome)
        keep_as_planet(how.measures["peers"], planned.settings, folder)
        left_out = {name: getattr(error, "sentence", str(error)) for name, error in self.left_out.items()}
        away = [name for name in planned.settings.members if name not in self.service.peers]
        lost = {name: self.deaths.get(name, f"there was no connection to {name} at the end") for name in away}
        how.measures["hosts"] = {"policy": self.inventory.policy_in_words, "left_out": left_out, "lost": lost}
        how.measures |= self._measure()
        how.remarks += [f"{name} was left out: {why}" for name, why in left_out.items()]
        if how.error is not None and how.error.phase == HANDSHAKE:
            how.remarks.append("`fab check` tells where UDP does not get through, and the rule that lets it.")
        return how

    def remote_of(self, peer: str) -> Remote:
        """The host that plays this peer."""
        return next(remote for remote in self._remotes if peer in remote.host.peer_names())


@dataclass
class Look:
    """What a host shows before anything is asked of it."""

    deployed: str
    key: str
    since: float  # when somebody attached to the lab there last, by that one's clock
    living: tuple[str, ...]  # peers
    control: dict[str, Any]  # what they are told of it
    orders: dict[str, str]  # what lies on the desk of a control host, and what became of it


def _look(remote: Remote) -> Look:
    said = remote.ask("status")
    key = remote.ask("key")["key"] if said["deployed"] else ""
    living = tuple(name for name, about in said["peers"].items() if about["pid"] is not None)
    control = said["control"]
    return Look(said["deployed"], key, float(control.get("since", 0.0)), living, control, said["orders"])


def remotes_of(
    inventory: Inventory, bundle: Bundle, known_hosts: Path, *, hosts: Sequence[Host] | None = None, pin: bool = False
) -> list[Remote]:
    """The hosts as they are reached: those that are in use, or these; a jump host is shared by all that need it."""
    jumps: dict[tuple[str, str, int], Remote] = {}

    def reached(host: Host) -> Remote:
        way = inventory.jump_of(host)
        return Remote(host, inventory.lab, bundle, known_hosts, jump=None if way is None else jump(way), pin=pin)

    def jump(host: Host) -> Remote:
        where = (host.user, host.address, host.port)
        if where not in jumps:
            jumps[where] = reached(host)
        return jumps[where]

    return [reached(host) for host in (hosts or inventory.in_use())]


def operator() -> str:
    """Who sits here, at which terminal, since when."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "somebody"
    now = datetime.now().astimezone().strftime("%H:%M %Z")
    return f"{user}@{socket.gethostname()} (process {os.getpid()}) since {now}"


def known_hosts_of(inventory: Path) -> Path:
    """Where the host keys are kept: beside an inventory of the lab's if somebody put them there, else with its files.

    What lies beside a configuration file of OpenSSH is its user's own, and nothing is ever pinned there.
    """
    beside = inventory.parent / KNOWN_HOSTS.name
    return beside if inventory.suffix in (".yml", ".yaml") and beside.is_file() else KNOWN_HOSTS


class _Manager:
    """The group manager, in a thread of this process."""

    def __init__(self, key: bytes) -> None:
        self._service = GroupManager(LOOPBACK, key)
        self.endpoint = self._service.endpoint
        self._ending = False
        self._thread = threading.Thread(target=self._serve, name="group manager", daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._ending = True
        self._thread.join(END_S)

    def _serve(self) -> None:
        try:
            while not self._ending:
                self._service.poll(GLANCE_S)
        finally:
            self._service.close()

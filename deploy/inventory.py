"""The inventory: which hosts a lab has, how each is reached, and which peers it plays.

    load_inventory -> Inventory    from YAML, or from a configuration file of OpenSSH

In a file of OpenSSH every `Host` without wildcards is a host; what ssh does not know stands in
comments like `# lab: region=eu-west-1 peers=2`, which apply to what the block they stand in
applies to. Those of the whole lab (`# lab: lab=demo policy=any`) stand above the first block.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

from pydantic import Field

from experiments.validation import adapter, validated
from experiments.yaml_files import read, shown, unknown
from peer.core.errors import SettingsError
from peer.core.settings import MOST_MEMBERS

NO_JUMP = "none"  # as OpenSSH says it: a host that takes no part in the default
LONGEST_NAME = 60  # of a host, so that name-254 is still the name of a peer
SSH_PORT, PEER_PORT = 22, 5700
MANAGER_PORT, SERVER_PORT = 5680, 5678  # of TCP, where control is direct

Port = Annotated[int, Field(ge=1, le=65535)]
Name = Annotated[str, Field(pattern=rf"^[A-Za-z0-9][A-Za-z0-9._-]{{0,{LONGEST_NAME - 1}}}$")]
Peers = Annotated[int, Field(ge=0, le=MOST_MEMBERS)]
User = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.][A-Za-z0-9_.@$-]{0,63}$")]
EXPECTED = {
    "lab": "letters, digits and dashes, at most 32",
    "policy": "all, any or {at_least: number}",
    "deadline_s": "seconds from 1 to 3600",
    "lost_s": "seconds from 1 to 3600",
    "hosts": "hosts as `name: {address: ...}`",
    "defaults": "settings as `key: value`",
    "groups": "groups as `name: [host, host]`",
    "port": "a port from 1 to 65535",
    "peer_port": "a port from 1 to 65535",
    "manager_port": "a port from 1 to 65535",
    "server_port": "a port from 1 to 65535",
    "peers": f"a number from 0 to {MOST_MEMBERS}",
    "user": "the name of a user",
    "region": "letters, digits, dots and dashes",
}

# What a file says.


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenDefaults:
    """What holds for every host that does not say otherwise."""

    __pydantic_config__ = {"extra": "forbid"}

    region: Name | None = None
    user: User | None = None
    key: str | None = None
    port: Port | None = None
    jump: str | None = None
    peers: Peers | None = None
    peer_port: Port | None = None
    bind: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenHost(WrittenDefaults):
    """One host as a file says it."""

    __pydantic_config__ = {"extra": "forbid"}

    address: str | None = None  # must be there, which is said after what is there and should not be
    advertise: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenInventory:
    """A whole file; the defaults and each host are checked by themselves."""

    __pydantic_config__ = {"extra": "forbid"}

    lab: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,31}$")] = "lab"
    policy: Literal["all", "any"] | dict[str, int] = "all"
    deadline_s: Annotated[float, Field(ge=1, le=3600)] = 60.0
    lost_s: Annotated[float, Field(ge=1, le=3600)] = 60.0
    control: Literal["forward", "direct"] = "forward"
    control_host: str | None = None
    manager_port: Port | None = None
    server_port: Port | None = None
    defaults: dict[str, Any] = field(default_factory=dict)
    hosts: dict[str, Any]
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)


OF_THE_LAB = ("lab", "policy", "deadline_s", "lost_s", "control", "control_host", "manager_port", "server_port")
OF_A_HOST = ("region", "peers", "peer_port", "bind", "advertise")  # that ssh does not know


# What is made of it.


@dataclass(frozen=True, slots=True)
class Host:
    """A machine, with everything filled in."""

    name: str
    region: str
    address: str  # where ssh finds it
    user: str = ""  # empty: whom ssh takes by itself
    key: Path | None = None  # None: what ssh finds by itself
    port: int = SSH_PORT
    jump: str = ""  # another host of the inventory, or [user@]host[:port]
    peers: int = 1
    peer_port: int = PEER_PORT  # of its first peer; the next ones follow
    bind: str = "0.0.0.0"
    advertise: str = ""  # where other hosts reach its peers

    def peer_names(self) -> tuple[str, ...]:
        """The peers that it plays."""
        return (self.name,) if self.peers == 1 else tuple(f"{self.name}-{place}" for place in range(self.peers))

    def ports(self) -> tuple[int, ...]:
        """The UDP port of each of its peers."""
        return tuple(range(self.peer_port, self.peer_port + self.peers))


@dataclass(frozen=True, slots=True)
class Inventory:
    """The hosts of a lab, in the order of the file."""

    lab: str
    policy: str | int  # all, any, or how many hosts it takes at least
    deadline_s: float  # for all that one task does on one host
    control: str  # forward or direct
    control_host: str  # where the services run, if control is direct
    hosts: tuple[Host, ...]
    groups: Mapping[str, tuple[str, ...]]
    lost_s: float = 60.0  # a host that a run cannot be led on for so long is not waited for any more
    manager_port: int = MANAGER_PORT  # where the group manager listens on the control host,
    server_port: int = SERVER_PORT  # and the comparison server

    def host(self, name: str) -> Host:
        """The host of this name."""
        found = next((host for host in self.hosts if host.name == name), None)
        if found is None:
            raise SettingsError(unknown("host", name, [host.name for host in self.hosts]))
        return found

    def in_use(self) -> tuple[Host, ...]:
        """Those that play peers, and the one that the services run on."""
        return tuple(host for host in self.hosts if host.peers or host.name == self.control_host)

    def of_group(self, said: str) -> tuple[Host, ...]:
        """The hosts of a group, or of several with commas between; a host's own name stands for that host alone."""
        names = [host.name for host in self.hosts]
        chosen: set[str] = set()
        for name in map(str.strip, said.split(",")):
            if name not in self.groups and name not in names:
                raise SettingsError(unknown("group or host", name, [*self.groups, *names]))
            chosen.update(self.groups.get(name, (name,)))
        return tuple(host for host in self.hosts if host.name in chosen)

    def jump_of(self, host: Host) -> Host | None:
        """The host that the way to this one leads through; one from elsewhere plays no peers."""
        if not host.jump:
            return None
        known = next((each for each in self.hosts if each.name == host.jump), None)
        return known or _jump_from_elsewhere(host.jump, host.key)

    @property
    def policy_in_words(self) -> str:
        """As a person says it."""
        return self.policy if isinstance(self.policy, str) else f"at least {self.policy}"

    def enough(self, succeeded: int, tried: int) -> bool:
        """Whether a task that was tried on so many hosts is done, if it succeeded on so many."""
        least = {"all": tried, "any": 1}.get(self.policy, self.policy)
        return succeeded >= min(least, tried)

    def judged(self, failed: Collection[str], tried: int) -> tuple[bool, str]:
        """The same for a task that failed on these hosts, and a sentence that says so."""
        enough = self.enough(tried - len(failed), tried)
        words = "which the policy allows" if enough else f"and the policy is {self.policy_in_words}"
        return enough, f"{len(failed)} of {tried} hosts failed, {words}: {', '.join(failed)}"


def load_inventory(path: str | Path) -> Inventory:
    """The inventory in this file; SettingsError says what is wrong with it."""
    file = Path(path)
    written = _read_ssh(file) if _is_of_ssh(file) else read(file)
    return _Checker(file).inventory(written)


def inventory_schema() -> dict[str, Any]:
    """The JSON schema of an inventory in YAML, for editors."""
    schema = adapter(WrittenInventory).json_schema()
    schema["properties"]["hosts"]["additionalProperties"] = adapter(WrittenHost).json_schema() | {
        "required": ["address"]
    }
    schema["properties"]["defaults"] = adapter(WrittenDefaults).json_schema()
    schema["properties"]["policy"] = {
        "default": "all",
        "anyOf": [
            {"enum": ["all", "any"]},
            {
                "type": "object",
                "properties": {"at_least": {"type": "integer", "minimum": 1}},
                "required": ["at_least"],
                "additionalProperties": False,
            },
        ],
    }
    return schema


# What makes no sense is refused.

DOMAIN_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*")
JUMP = re.compile(r"(?:([^@\s]+)@)?([^@:/,\s]+)(?::(\d{1,5}))?")


class _Checker:
    """Makes an inventory of what one file says."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def inventory(self, content: dict[str, Any]) -> Inventory:
        hosts = content.get("hosts")
        for name in hosts if isinstance(hosts, dict) else ():
            if not isinstance(name, str):
                self.refuse("hosts", f"{name!r} is no text to YAML, so it can be no name; put it in quotes")
        written: WrittenInventory = validated(WrittenInventory, content, str(self.file), expected=EXPECTED)
        defaults = self.validated(WrittenDefaults, written.defaults, "defaults")
        if not written.hosts:
            self.refuse("hosts", "an inventory has at least one host")
        hosts = {name: self.host(name, entry, defaults) for name, entry in written.hosts.items()}
        hosts = self.without_default_jumps_to_themselves(hosts, defaults.jump)
        self.check_jumps(hosts)
        self.check_machines(hosts)
        self.check_addresses(hosts)
        self.check_peers(hosts)
        self.check_groups(written.groups, hosts)
        self.check_control(written, hosts)
        policy = self.policy(written.policy, hosts)
        deadline_s, control_host = float(written.deadline_s), written.control_host or ""
        return Inventory(
            written.lab,
            policy,
            deadline_s,
            written.control,
            control_host,
            tuple(hosts.values()),
            written.groups,
            float(written.lost_s),
            written.manager_port or MANAGER_PORT,
            written.server_port or SERVER_PORT,
        )

    def host(self, name: str, entry: Any, defaults: WrittenDefaults) -> Host:
        path = f"hosts.{name}"
        if not re.fullmatch(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{LONGEST_NAME - 1}}}", name) or name == NO_JUMP:
            wanted = f"at most {LONGEST_NAME} letters, digits, dots and dashes"
            self.refuse(path, f"the name of a host is {wanted}" if name != NO_JUMP else "no host can have this name")
        written = self.validated(WrittenHost, entry, path)
        if written.address is None:
            self.refuse(f"{path}.address", "is missing")
        said = {key: value for key, value in asdict(defaults).items() if value is not None}
        said |= {key: value for key, value in asdict(written).items() if value is not None}
        by = {key: path if getattr(written, key) is not None else "defaults" for key in said}  # who says it
        self.check_address(said["address"], f"{path}.address")
        self.check_address(said.setdefault("advertise", said["address"]), f"{path}.advertise")
        self.check_bind(said.get("bind", "0.0.0.0"), f"{by.get('bind')}.bind")
        if "key" in said:
            said["key"] = self.key(said["key"], f"{by['key']}.key")
        if said.get("jump") == NO_JUMP:
            said["jump"] = ""
        return Host(name=name, **({"region": name} | said))  # without a region it is a place of its own

    def key(self, text: str, path: str) -> Path:
        try:
            key = self.file.parent / Path(text).expanduser()
        except RuntimeError:  # ~somebody
            self.refuse(path, f"nobody here has that home: {text}")
        if key.suffix == ".pub":
            self.refuse(path, f"{text} is the public half of a key; name the file without .pub")
        if not key.is_file():
            self.refuse(path, f"no such file: {key}")
        return key

    def without_default_jumps_to_themselves(self, hosts: dict[str, Host], jump: str | None) -> dict[str, Host]:
        """Where one host is the way to all others, the default is not meant for itself, nor for those on the way."""
        way = [host.name for host in _way(jump, hosts)] if jump else []
        return {
            name: replace(host, jump="") if name in way and host.jump == jump else host for name, host in hosts.items()
        }

    def check_jumps(self, hosts: dict[str, Host]) -> None:
        for host in hosts.values():
            path = f"hosts.{host.name}.jump"
            if not host.jump:
                continue
            way = [each.name for each in _way(host.jump, hosts)]
            if host.name in way:
                self.refuse(path, f"leads in a circle: {', '.join([host.name, *way[: way.index(host.name) + 1]])}")
            if host.jump in hosts:
                continue
            said = JUMP.fullmatch(host.jump)
            if "," in host.jump:
                self.refuse(path, "one host to jump through, not several; give that host a jump of its own")
            if not said or not any(sign in host.jump for sign in "@:."):
                self.refuse(path, f"{unknown('host', host.jump, hosts)}, or user@host:port of another machine")
            self.check_address(said[2], path)
            if said[3] and not 0 < int(said[3]) < 65536:
                self.refuse(path, f"expected {EXPECTED['port']}, found {said[3]}")

    def check_machines(self, hosts: dict[str, Host]) -> None:
        accounts: dict[tuple[Any, ...], str] = {}
        for host in hosts.values():
            account = (host.address.lower(), host.port, host.user, host.jump)
            if account in accounts:
                problem = f"{accounts[account]} is the same machine; several peers of one machine are `peers: 2`"
                self.refuse(f"hosts.{host.name}.address", problem)
            accounts[account] = host.name

    def check_addresses(self, hosts: dict[str, Host]) -> None:
        players = [host for host in hosts.values() if host.peers]
        endpoints: dict[tuple[str, int], str] = {}
        for host in players:
            where = "advertise" if host.advertise != host.address else "address"
            if _means_here(host.advertise) and len(players) > 1:
                problem = f"no other host can reach {host.advertise}; say under which address they reach this one"
                self.refuse(f"hosts.{host.name}.{where}", problem)
            if _is_loopback(host.bind) and len(players) > 1:
                self.refuse(f"hosts.{host.name}.bind", f"what listens on {host.bind} hears no other host")
            for port in host.ports():
                other = endpoints.setdefault((host.advertise.lower(), port), host.name)
                if other != host.name:
                    problem = f"{host.advertise}:{port} is {other}'s already; give one of them another peer_port"
                    self.refuse(f"hosts.{host.name}.peer_port", problem)

    def check_peers(self, hosts: dict[str, Host]) -> None:
        names: dict[str, str] = {}
        for host in hosts.values():
            if host.peers and host.ports()[-1] > 65535:
                problem = f"{host.peers} peers from port {host.peer_port} on would need ports above 65535"
                self.refuse(f"hosts.{host.name}.peer_port", problem)
            for name in host.peer_names():
                if names.setdefault(name, host.name) != host.name:
                    self.refuse(f"hosts.{host.name}", f"its peer {name} has the name of a peer of {names[name]}")
        if not 1 <= len(names) <= MOST_MEMBERS:
            self.refuse("hosts", f"play {len(names)} peers in all; a lab has from 1 to {MOST_MEMBERS}")

    def check_groups(self, groups: Mapping[str, tuple[str, ...]], hosts: dict[str, Host]) -> None:
        for name, members in groups.items():
            if name in hosts:
                self.refuse(f"groups.{name}", "is the name of a host as well")
            if not members:
                self.refuse(f"groups.{name}", "has no hosts")
            for place, member in enumerate(members):
                if member not in hosts:
                    self.refuse(f"groups.{name}.{place}", unknown("host", member, hosts))

    def check_control(self, written: WrittenInventory, hosts: dict[str, Host]) -> None:
        named = written.control_host
        if written.control == "direct" and named is None:
            self.refuse(
                "control_host", f"is missing: control is direct, and the services run on one of {', '.join(hosts)}"
            )
        if written.control == "forward" and named is not None:
            self.refuse("control_host", "is for `control: direct`")
        for port in ("manager_port", "server_port"):
            if written.control == "forward" and getattr(written, port) is not None:
                self.refuse(port, "is for `control: direct`")
        if (written.manager_port or MANAGER_PORT) == (written.server_port or SERVER_PORT):
            self.refuse("server_port", "is that of the group manager; they cannot share one")
        if named is not None and named not in hosts:
            self.refuse("control_host", unknown("host", named, hosts))
        if named is not None and _means_here(hosts[named].advertise) and len(hosts) > 1:
            self.refuse("control_host", f"no other host can reach {named} at {hosts[named].advertise}")
        if named is not None and _is_loopback(hosts[named].bind) and len(hosts) > 1:
            self.refuse("control_host", f"what listens on {hosts[named].bind} hears no other host than {named}")

    def policy(self, written: str | dict[str, int], hosts: dict[str, Host]) -> str | int:
        if isinstance(written, str):
            return written
        if set(written) != {"at_least"}:
            self.refuse("policy", f"expected {EXPECTED['policy']}, found {shown(written)}")
        if not 1 <= written["at_least"] <= len(hosts):
            known = f"a number of hosts from 1 to {len(hosts)}"
            self.refuse("policy.at_least", f"expected {known}, found {written['at_least']}")
        return written["at_least"]

    def check_address(self, text: str, path: str) -> None:
        is_name = DOMAIN_NAME.fullmatch(text) and len(text) <= 253 and not text.rpartition(".")[2].isdigit()
        if not is_name and _ipv4(text) is None:
            self.refuse(path, f"expected an IPv4 address or a name, found {shown(text)}")

    def check_bind(self, text: str, path: str) -> None:
        if _ipv4(text) is None:
            self.refuse(path, f"expected an IPv4 address of the host, or 0.0.0.0 for all it has, found {shown(text)}")

    def validated(self, cls: type, entry: Any, path: str) -> Any:
        if not isinstance(entry, dict):
            self.refuse(path, f"expected settings as `key: value`, found {shown(entry)}")
        try:
            return validated(cls, entry, str(self.file), expected=EXPECTED)
        except SettingsError as error:
            self.refuse(".".join(filter(None, (path, error.path))), error.problem)

    def refuse(self, path: str, problem: str) -> NoReturn:
        raise SettingsError(problem, path=path, file=str(self.file))


def _way(jump: str, hosts: Mapping[str, Host]) -> Iterator[Host]:
    """The hosts of the inventory that a way leads through, ending where it comes back to one of them."""
    seen: list[str] = []
    while jump in hosts:
        yield hosts[jump]
        if jump in seen:
            return
        seen.append(jump)
        jump = hosts[jump].jump


def _jump_from_elsewhere(text: str, key: Path | None) -> Host:
    user, address, port = JUMP.fullmatch(text).groups()
    return Host(text, "", address, user or "", key, int(port or SSH_PORT), peers=0)


def _ipv4(text: str) -> IPv4Address | None:
    try:
        return IPv4Address(text)
    except ValueError:
        return None


def _is_loopback(text: str) -> bool:
    address = _ipv4(text)
    return address.is_loopback if address else text.lower() in ("localhost", "localhost.localdomain")


def _means_here(text: str) -> bool:
    """Whether an address means another machine on every machine."""
    address = _ipv4(text)
    return _is_loopback(text) or (address is not None and address.is_unspecified)


# Files of OpenSSH.

BLOCK = re.compile(r"\s*(host|match)(?:\s*=\s*|\s+)(.+)", re.IGNORECASE)
COMMENT = re.compile(r"\s*#\s*lab:(.*)", re.IGNORECASE)
UNREAD = re.compile(r"\s*(include|proxycommand)(?:\s*=\s*|\s+)(?!none\s*$)", re.IGNORECASE)


def _is_of_ssh(file: Path) -> bool:
    if file.suffix in (".yml", ".yaml", ".json"):
        return False
    try:
        return any(map(BLOCK.match, file.read_text(encoding="utf-8").splitlines()))
    except (OSError, UnicodeDecodeError):
        return False  # reading it as YAML says what is the matter


def _read_ssh(file: Path) -> dict[str, Any]:
    """What a file of OpenSSH says, in the shape of one in YAML."""
    import paramiko  # takes its time, and most inventories are YAML

    names, of_the_lab, lines = _with_comments_as_settings(file)
    hosts: dict[str, dict[str, Any]] = {}
    groups: dict[str, list[str]] = {}
    try:
        config = paramiko.SSHConfig.from_text("\n".join(lines))
        for name in names:
            found = dict(config.lookup(name))
            host = {"address": found["hostname"], "user": found.get("user"), "jump": found.get("proxyjump")}
            if keys := found.get("identityfile"):
                host["key"] = next((key for key in keys if (file.parent / key).is_file()), keys[0])
            host |= {key: found.get(f"lab_{key}") for key in OF_A_HOST} | {"port": found.get("port")}
            for group in (found.get("lab_groups") or "").split(","):
                groups.setdefault(group, []).append(name)
            hosts[name] = {key: setting_from_text(key, value) for key, value in host.items() if value is not None}
    except (paramiko.SSHException, ValueError, KeyError) as error:
        raise SettingsError(f"is no configuration file of OpenSSH: {error}", file=str(file)) from None
    groups.pop("", None)
    return of_the_lab | {"hosts": hosts, "groups": groups}


def _with_comments_as_settings(file: Path) -> tuple[list[str], dict[str, Any], list[str]]:
    """The names of the hosts, what is said of the whole lab, and the lines, with our comments as settings among them.

    As settings they follow the rules of all others: the first block that fits a host and says it counts.
    """
    names: list[str] = []
    of_the_lab: dict[str, Any] = {}
    lines: list[str] = []
    in_block = False
    for line in file.read_text(encoding="utf-8").splitlines():
        if UNREAD.match(line):
            problem = f"{line.split()[0]} is not followed here; name the hosts in this file, and ways with ProxyJump"
            raise SettingsError(problem, file=str(file))
        if block := BLOCK.match(line):
            in_block = True
            if block[1].lower() == "host":
                patterns = block[2].replace('"', "").split()
                names += [each for each in patterns if not set(each) & set("*?!") and each not in names]
        if not (comment := COMMENT.match(line)):
            lines.append(line)
            continue
        for said in comment[1].split():
            key, equals, value = said.partition("=")
            known = [*OF_A_HOST, "groups"] if in_block else [*OF_THE_LAB, *OF_A_HOST, "groups"]
            if not equals or not value:
                raise SettingsError(f"expected `# lab: key=value`, found {shown(said)}", file=str(file))
            if key in OF_THE_LAB and in_block:
                raise SettingsError(f"{key} is of the whole lab; say it above the first Host", file=str(file), path=key)
            if key not in known:
                raise SettingsError(unknown("setting in `# lab:`", key, known), file=str(file))
            if key in OF_THE_LAB:
                of_the_lab[key] = setting_from_text(key, value)
            else:
                lines.append(f"lab_{key} {value}")
    if not names:
        raise SettingsError("names no host: every block has a wildcard", file=str(file), path="hosts")
    return names, of_the_lab, lines


def setting_from_text(key: str, text: str) -> Any:
    """A setting as YAML would hold it; what is no number where one belongs stays a text, which will be refused."""
    try:
        if key in ("port", "peers", "peer_port", "manager_port", "server_port"):
            return int(text)
        if key in ("deadline_s", "lost_s"):
            return float(text)
        return {"at_least": int(text)} if key == "policy" else text
    except ValueError:
        return text

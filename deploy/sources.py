"""Writes the inventory of machines that exist already, from what a cloud's own tool says about them.

    aws        aws ec2 describe-instances --output json
    gcp        gcloud compute instances list --format=json
    terraform  terraform output -json

These speak of one region or project at a time: a file may hold several such outputs, one after the other.
Terraform says what its configuration lets it say: an output `hosts` (or `lab_hosts`) is to be a list of
objects with `name` and `address`, or a map from names to objects with `address`; each may have whatever
else an inventory says of a host:

    output "hosts" {
      value = { for vm in aws_instance.lab : vm.tags.Name => { address = vm.public_ip, region = var.region } }
    }
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NoReturn

import yaml

from deploy.inventory import LONGEST_NAME, WrittenHost, setting_from_text
from experiments.yaml_files import shown, unknown
from peer.core.errors import SettingsError

KEYS_OF_A_HOST = tuple(field.name for field in fields(WrittenHost))


def inventory_from(kind: str, path: str | Path) -> str:
    """An inventory in YAML of what this file says; SettingsError if it is no such file."""
    if kind not in SOURCES:
        raise SettingsError(unknown("source", kind, SOURCES), path="--from")
    source = SOURCES[kind]
    output = Output(str(path), source.command)
    found = list(source.machines(output, _documents(output)))
    if not found:
        output.refuse("", f"has no {source.thing}; is it that of another region or project?")
    return _told(kind, source, _with_names_of_their_own(found))


@dataclass(slots=True)
class Machine:
    """What a source says of one machine."""

    name: str
    settings: dict[str, Any]
    note: str = ""  # what it does not say, and somebody should


@dataclass(frozen=True, slots=True)
class Source:
    """A tool, and how its output is read."""

    command: str
    thing: str  # what it lists
    machines: Callable[[Output, list[Any]], Iterator[Machine]]
    about_users: str = ""


@dataclass(frozen=True, slots=True)
class Output:
    """The file, for what is wrong with it."""

    file: str
    command: str

    def refuse(self, path: str, problem: str) -> NoReturn:
        raise SettingsError(f"{problem} (expected the output of `{self.command}`)", path=path, file=self.file)

    def get(self, holder: dict[str, Any], key: str, kind: type, path: str) -> Any:
        """What must be there."""
        if key not in holder:
            self.refuse(f"{path}.{key}".removeprefix("."), "is missing")
        return self.checked(holder[key], kind, f"{path}.{key}".removeprefix("."))

    def checked(self, value: Any, kind: type, path: str) -> Any:
        if not isinstance(value, kind) or value == "":
            wanted = {dict: "an object", list: "a list", str: "a text"}[kind]
            self.refuse(path, f"expected {wanted}, found {shown(value)}")
        return value

    def each(self, values: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """The objects of a list, each with its path."""
        for place, value in enumerate(self.checked(values, list, path)):
            where = f"{path}.{place}".removeprefix(".")
            yield where, self.checked(value, dict, where)


# The sources.


def _of_aws(output: Output, documents: list[Any]) -> Iterator[Machine]:
    for document in documents:
        reservations = output.get(output.checked(document, dict, ""), "Reservations", list, "")
        for path, reservation in output.each(reservations, "Reservations"):
            instances = output.get(reservation, "Instances", list, path)
            for where, instance in output.each(instances, f"{path}.Instances"):
                if output.get(instance, "State", dict, where).get("Name") == "running":
                    yield _aws_instance(output, instance, where)


def _aws_instance(output: Output, instance: dict[str, Any], path: str) -> Machine:
    tags = {tag.get("Key"): tag.get("Value") for _, tag in output.each(instance.get("Tags", []), f"{path}.Tags")}
    placement = output.get(instance, "Placement", dict, path)
    zone = output.get(placement, "AvailabilityZone", str, f"{path}.Placement")
    private = output.get(instance, "PrivateIpAddress", str, path)
    machine = _machine(
        tags.get("Name") or output.get(instance, "InstanceId", str, path),
        zone.rstrip("abcdefghijklmnopqrstuvwxyz"),
        instance.get("PublicIpAddress"),
        private,
    )
    if pair := instance.get("KeyName"):
        _take_key(machine, f"~/.ssh/{pair}.pem", f"the private half of its key pair is called {pair}")
    return machine


def _of_gcp(output: Output, documents: list[Any]) -> Iterator[Machine]:
    for document in documents:
        for path, instance in output.each(document, ""):
            if output.get(instance, "status", str, path) == "RUNNING":
                yield _gcp_instance(output, instance, path)


def _gcp_instance(output: Output, instance: dict[str, Any], path: str) -> Machine:
    zone = output.get(instance, "zone", str, path).rpartition("/")[2]  # a whole URL ends with it
    interfaces = list(output.each(output.get(instance, "networkInterfaces", list, path), f"{path}.networkInterfaces"))
    if not interfaces:
        output.refuse(f"{path}.networkInterfaces", "is empty")
    where, interface = interfaces[0]
    ways_in = output.each(interface.get("accessConfigs", []), f"{where}.accessConfigs")
    public = next((config["natIP"] for _, config in ways_in if config.get("natIP")), None)
    private = output.get(interface, "networkIP", str, where)
    machine = _machine(output.get(instance, "name", str, path), zone.rpartition("-")[0], public, private)
    _take_key(machine, "~/.ssh/google_compute_engine", "`gcloud compute ssh` makes ~/.ssh/google_compute_engine")
    return machine


def _of_terraform(output: Output, documents: list[Any]) -> Iterator[Machine]:
    for document in documents:
        outputs = output.checked(document, dict, "")
        name = next((name for name in ("hosts", "lab_hosts") if name in outputs), None)
        if name is None:
            output.refuse("", f"has no output `hosts` nor `lab_hosts`; its outputs are {', '.join(outputs) or 'none'}")
        path = f"{name}.value"
        value = output.get(outputs, name, dict, "").get("value")
        if isinstance(value, dict):
            entries = [
                (f"{path}.{key}", key, output.checked(entry, dict, f"{path}.{key}")) for key, entry in value.items()
            ]
        else:
            entries = [
                (where, output.get(entry, "name", str, where), entry) for where, entry in output.each(value, path)
            ]
        for where, called, entry in entries:
            yield _terraform_host(output, called, entry, where)


def _terraform_host(output: Output, name: str, entry: dict[str, Any], path: str) -> Machine:
    output.get(entry, "address", str, path)
    settings = {key: value for key, value in entry.items() if key != "name" and value is not None}
    if unknown_key := next((key for key in settings if key not in KEYS_OF_A_HOST), None):
        output.refuse(f"{path}.{unknown_key}", unknown("setting", unknown_key, ["name", *KEYS_OF_A_HOST]))
    for key, value in settings.items():  # in a map of texts, numbers are texts
        settings[key] = setting_from_text(key, value) if isinstance(value, str) else value
    return Machine(name, settings)


SOURCES = {
    "aws": Source(
        "aws ec2 describe-instances --output json",
        "running instance",
        _of_aws,
        "AWS does not say it: admin for Debian, ubuntu for Ubuntu, ec2-user for Amazon Linux and Red Hat",
    ),
    "gcp": Source(
        "gcloud compute instances list --format=json",
        "running instance",
        _of_gcp,
        "Google Cloud does not say it: whom `gcloud compute ssh` takes, often your own name",
    ),
    "terraform": Source("terraform output -json", "host", _of_terraform),
}


def _machine(name: str, region: str, public: str | None, private: str) -> Machine:
    if public:  # which the machine itself does not have: it listens on its private one
        return Machine(name, {"region": region, "address": public, "bind": private})
    note = "has no public address: say through which host it is reached (jump), and that others reach it"
    return Machine(name, {"region": region, "address": private, "bind": private}, note)


def _take_key(machine: Machine, file: str, otherwise: str) -> None:
    if Path(file).expanduser().is_file():
        machine.settings["key"] = file
    else:
        machine.note = "; ".join(filter(None, (machine.note, otherwise)))


# Reading and writing.


def _documents(output: Output) -> list[Any]:
    """The JSON texts in a file, one after the other."""
    try:
        text = Path(output.file).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SettingsError(f"cannot be read: {error.strerror}", file=output.file) from None
    except UnicodeDecodeError:
        raise SettingsError("is not text in UTF-8", file=output.file) from None
    documents: list[Any] = []
    decoder, place = json.JSONDecoder(), 0
    while rest := text[place:].lstrip():
        place = len(text) - len(rest)
        try:
            document, place = decoder.raw_decode(text, place)
        except json.JSONDecodeError as error:
            output.refuse("", f"is not JSON in line {error.lineno}: {error.msg}")
        except RecursionError:
            output.refuse("", "is nested too deeply")
        documents.append(document)
    if not documents:
        output.refuse("", "is empty")
    return documents


def _with_names_of_their_own(machines: list[Machine]) -> list[Machine]:
    """Names that an inventory can have, and no two the same: an autoscaling group calls all its machines alike."""
    taken: set[str] = set()
    for machine in machines:
        plain = re.sub(r"[^A-Za-z0-9.]+", "-", machine.name).strip("-.")[: LONGEST_NAME - 5].rstrip("-.") or "host"
        name, count = plain, 1
        while name in taken or name == "none":
            count += 1
            name = f"{plain}-{count}"
        taken.add(name)
        machine.name = name
    return machines


def _told(kind: str, source: Source, machines: list[Machine]) -> str:
    """The text of an inventory: one line a host, and as comments what is still to be said."""
    keys = {machine.settings.get("key") for machine in machines}
    of_all = keys.pop() if len(keys) == 1 else None
    lines = [
        f"# From `{source.command}`, written by `fab inventory --from {kind}`.",
        "lab: lab",
        "policy: all",
    ]
    if source.about_users:
        lines += [f"# defaults.user: {source.about_users}"]
    lines += [f"defaults: {_flow({'key': of_all} if of_all else {})}", "hosts:"]
    for machine in machines:
        settings = {key: value for key, value in machine.settings.items() if not (key == "key" and of_all)}
        note = f"  # {' '.join(machine.note.split())}" if machine.note else ""
        lines += [f"  {_flow(machine.name)}: {_flow(settings)}{note}"]
    return "\n".join(lines) + "\n"


def _flow(value: Any) -> str:
    """A value on one line of YAML."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10_000)
    return text.removesuffix("\n").removesuffix("\n...")

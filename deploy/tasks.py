"""The fab tasks: what can be done with the hosts of an inventory, one line of result for each of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

from fabric import task
from invoke import Exit

from analysis.live.serving import live_page
from comparison_server.service import Interrupted
from deploy.bundle import Bundle, make_bundle
from deploy.each import on_each
from deploy.inventory import Inventory, load_inventory
from deploy.preflight import preflight, tell
from deploy.remote import Remote
from deploy.sources import inventory_from
from experiments.cloud.cluster import known_hosts_of, remotes_of
from experiments.cloud.collect import collect as collect_runs
from experiments.cloud.direct import cluster_of
from experiments.cloud.run import Wanted
from experiments.cloud.run import run as run_on_hosts
from experiments.scenario import Scenario, check_names, load, orderings, override
from peer.core.errors import HELD, INTERRUPTED, UNFINISHED, LabError, SettingsError
from peer.drivers.control import read_key
from peer.drivers.program import announce, nobody_reads, say
from peer.stacks import ORDERINGS, PLACES, WORKLOADS

INVENTORY = "lab.yml"
MOST_DIGITS = 18  # of a number that an option says
HIGHEST_PORT = 65535
INVENTORY_HELP = {
    "inventory": f"the hosts: YAML, or a configuration file of OpenSSH ({INVENTORY})",
    "group": "only these groups or hosts, with commas between",
}


def of_the_lab(**options: Any) -> Callable[[Callable[..., int | None]], Any]:
    """A fab task whose result is an exit code, and whose errors are told in one sentence."""

    def decorate(body: Callable[..., int | None]) -> Any:
        @wraps(body)
        def told(*arguments: Any, **named: Any) -> None:
            try:
                code = body(*arguments, **named) or HELD
            except KeyboardInterrupt as stopped:
                left = [] if isinstance(stopped, Interrupted) else map(str, stopped.args)
                print("; ".join(["interrupted", *left]), file=sys.stderr)
                code = INTERRUPTED
            except LabError as error:
                say(str(error))
                code = error.exit_code
            except BrokenPipeError:  # `head` has seen enough
                nobody_reads()
                code = HELD
            except OSError as error:  # a full disk, a folder that may not be written
                say(f"{error.filename}: {error.strerror}" if error.filename else str(error))
                code = UNFINISHED
            if code:
                raise Exit(code=code)

        return task(auto_shortflags=False, **options)(told)

    return decorate


@of_the_lab(help=INVENTORY_HELP)
def check(context: Any, inventory: str = INVENTORY, group: str = "") -> int:
    """Look whether every host and every way between two of them is fit for runs.

    Example: fab check --inventory lab.yml
    """
    lab = _inventory(inventory, group)
    remotes = remotes_of(lab, make_bundle(), known_hosts_of(Path(inventory)), pin=True)
    try:
        findings = preflight(remotes, lab)
    finally:
        for remote in remotes:
            remote.stop()
    tell(findings)
    code = _judged(lab, findings.failed, len(remotes))
    return UNFINISHED if findings.failures_between else code


@of_the_lab(help=INVENTORY_HELP | {"key": "the lab's key (.lab/key, made on first use)"})
def deploy(context: Any, inventory: str = INVENTORY, group: str = "", key: str = "") -> int:
    """Put the lab on every host: one archive and the key. Nothing is installed, and unchanged hosts are skipped.

    Example: fab deploy
    """
    bundle, secret = make_bundle(), read_key(key or None)

    def put(remote: Remote) -> str:
        done = remote.ask("deploy", key=secret.hex(), settings={})
        changed = f"has a new {', '.join(done['changed'])}" if done["changed"] else "is as it was"
        old = done["outdated"]
        return changed + (f"; {', '.join(old)} still run what was there before: `fab stop` ends them" if old else "")

    return _on_hosts(inventory, group, put, bundle)


@of_the_lab(
    iterable=["set"],
    optional=["live"],
    help=INVENTORY_HELP
    | {
        "scenario": "a standard scenario or a YAML file: the workload and the settings of a run (100 messages each)",
        "ordering": "NAME[:VARIANT],... or all or all:variants (lamport_all_ack, or what the scenario says)",
        "messages": "messages that each peer multicasts; if it is not given, it is asked, and again after each run",
        "repeat": "play each ordering so often, each time with its own chance (1)",
        "seed": "the same seed, the same chance",
        "trace": "deliveries, or everything (needed by replay)",
        "set": "PATH=VALUE, any other setting of a scenario file; may be given several times",
        "out": "where run folders are made (runs)",
        "report": "write a report that compares the runs to this file",
        "json": "print one JSON object and nothing else",
        "key": "the lab's key (the one that the hosts have, or .lab/key)",
        "live": "show the runs in a browser of this machine, at this port (8642, or one after it)",
    },
)
def run(
    context: Any,
    inventory: str = INVENTORY,
    group: str = "",
    scenario: str = "",
    ordering: str = "",
    messages: str = "",
    repeat: str = "1",
    seed: str = "",
    trace: str = "",
    set: Sequence[str] | None = None,  # a list; of another default invoke would take the type
    out: str = "runs",
    report: str = "",
    json: bool = False,
    key: str = "",
    live: str | None = None,  # True if it is given without a port
) -> int:
    """Start the peers on the hosts, lead them through runs, collect their logs, compare; the peers end with it.

    Example: fab run --messages 50 --ordering unordered,lamport_all_ack
    """
    lab = _inventory(inventory, group)
    count = _whole(messages, "--messages") if messages else None
    chosen = override(
        load(scenario) if scenario else Scenario(name=lab.lab),
        set or (),
        peers=sum(host.peers for host in lab.hosts) or None,
        ordering=ordering or None,
        messages=count,
        seed=_whole(seed, "--seed") if seed else None,
        trace=trace or None,
    )
    check_names(chosen, {**PLACES, "workload": WORKLOADS}, chosen.name)
    own = chosen.stack.ordering
    wanted = Wanted(
        chosen,
        orderings(ordering, ORDERINGS) if ordering else [(own.name, own.options.get("variant"))],
        count,
        _whole(repeat, "--repeat", 1),
        Path(out),
        Path(report) if report else None,
        json,
    )
    port = None if live is None else 0 if live is True else _whole(live, "--live", most=HIGHEST_PORT)
    known_hosts = known_hosts_of(Path(inventory))
    cluster = cluster_of(lab, key=Path(key) if key else None, known_hosts=known_hosts, say=_remark)
    with live_page(port, f"cloud {chosen.name}") as page:
        return run_on_hosts(cluster, wanted, page)


@of_the_lab(help=INVENTORY_HELP)
def status(context: Any, inventory: str = INVENTORY, group: str = "") -> int:
    """Who lives on each host, and who leads them.

    Example: fab status
    """

    def look(remote: Remote) -> str:
        found = remote.ask("status", reach=True)
        if not found["deployed"]:
            return "the lab has not been deployed there"
        peers = found["peers"]
        living = [name for name, about in peers.items() if about["pid"] is not None]
        ended = [f"{name} ended: {about['said']}" for name, about in peers.items() if about["pid"] is None]
        by = f", led by {found['control'].get('operator')}" if living and found["control"] else ""
        by += "" if found["reached"] or not by else ", to whom there is no way from there just now"
        words = [f"{', '.join(living)} live{by}" if living else "no peer lives", *(ended if living else [])]
        services = [name for name, about in found["services"].items() if about["pid"] is not None]
        words += [f"the {' and the '.join(services)} live"] if services else []
        free = f"{found['disk_free'] / 2**30:.1f} GiB free, Python {found['python']}"
        return "; ".join([*words, free])

    return _on_hosts(inventory, group, look, in_order=True)


@of_the_lab(help=INVENTORY_HELP | {"lines": "how many of each peer (20)"})
def logs(context: Any, inventory: str = INVENTORY, group: str = "", lines: str = "20") -> int:
    """What the peers said last.

    Example: fab logs --group frankfurt
    """

    most = _whole(lines, "--lines", 1)

    def ask(remote: Remote) -> str:
        done = remote.ask("logs", lines=most)
        told = [f"\n  {line}" for said in (done["services"], done["said"]) for each in said.values() for line in each]
        return "".join(told) or "nothing was said there"

    return _on_hosts(inventory, group, ask, in_order=True)


@of_the_lab(help=INVENTORY_HELP | {"out": "where run folders are made (runs)", "key": "the lab's key (the hosts' own)"})
def collect(context: Any, inventory: str = INVENTORY, group: str = "", out: str = "runs", key: str = "") -> int:
    """Bring home what is on the hosts: a run that goes on is led to its end, logs of one that ended are fetched.

    Example: fab collect
    """
    lab, secret = _inventory(inventory, group), Path(key) if key else None
    return collect_runs(lab, Path(out), key=secret, known_hosts=known_hosts_of(Path(inventory)), say=_remark)


@of_the_lab(help=INVENTORY_HELP)
def stop(context: Any, inventory: str = INVENTORY, group: str = "") -> int:
    """End the peers; their logs stay.

    Example: fab stop
    """
    return _on_hosts(inventory, group, lambda remote: _ended(remote.ask("stop")))


@of_the_lab(help=INVENTORY_HELP)
def clean(context: Any, inventory: str = INVENTORY, group: str = "") -> int:
    """End the peers and remove all that the lab put on the hosts, their logs too.

    Example: fab clean
    """

    def remove(remote: Remote) -> str:
        done = remote.ask("clean")
        return f"{_ended(done)}; " + ("nothing of the lab is left" if done["removed"] else "there was nothing")

    return _on_hosts(inventory, group, remove)


@of_the_lab(
    positional=["file"],
    help={
        "file": "what the tool of a cloud wrote",
        "from": "aws, gcp or terraform: whose tool that was",
        "out": f"where to write the inventory ({INVENTORY})",
    },
)
def inventory(context: Any, file: str, from_: str = "", out: str = INVENTORY) -> int:
    """Write an inventory from what a cloud's own tool tells of its machines.

    Example: aws ec2 describe-instances > vms.json; fab inventory --from aws vms.json
    """
    if not from_:
        raise SettingsError("whose tool wrote it: aws, gcp or terraform? (fab --help inventory)", path="--from")
    text = inventory_from(from_, Path(file))
    target = Path(out)
    if target.exists():
        raise SettingsError("is there already; name another file with --out", file=str(target))
    target.write_text(text, encoding="utf-8")
    hosts = load_inventory(target).hosts
    print(f"{target}: {len(hosts)} hosts ({', '.join(host.name for host in hosts)}); look at it, then: fab check")
    return HELD


def _whole(text: str, path: str, least: int = 0, most: int | None = None) -> int:
    """The number that an option says; fab's own way to read numbers ends in a traceback."""
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS else -1
    if number < least or most is not None and number > most:
        range_ = f"from {least} on" if most is None else f"from {least} to {most}"
        raise SettingsError(f"expected a whole number {range_}, found {text[:40]!r}", path=path)
    return number


def _inventory(path: str, group: str) -> Inventory:
    if path == INVENTORY and not Path(path).exists():
        problem = "no such file: write one by hand (docs/cloud.md shows it) or with `fab inventory --from ...`"
        raise SettingsError(f"{problem}, or name another with --inventory", file=path)
    lab = load_inventory(path)
    chosen = lab.of_group(group) if group else lab.hosts
    return replace(lab, hosts=tuple(host if host in chosen else replace(host, peers=0) for host in lab.hosts))


def _on_hosts(
    inventory: str, group: str, job: Callable[[Remote], str], bundle: Bundle | None = None, in_order: bool = False
) -> int:
    """The job on each host at once; a line for each as soon as it is done, or, in order, when all are.

    How many must succeed, the policy says.
    """
    lab = _inventory(inventory, group)
    hosts = [host for host in lab.in_use() if not group or host in lab.of_group(group)]
    remotes = remotes_of(lab, bundle or make_bundle(), known_hosts_of(Path(inventory)), hosts=hosts)
    width = max((len(remote.name) for remote in remotes), default=0)

    def told(name: str, result: str | LabError) -> None:
        failed = isinstance(result, LabError)
        sentence = f"FAILED: {getattr(result, 'sentence', result)}" if failed else result
        announce(f"{name:<{width}}  {sentence}")

    results = on_each(remotes, job, lab.deadline_s, None if in_order else told)
    for name, result in results.items() if in_order else ():
        told(name, result)
    for remote in remotes:
        remote.stop()
    return _judged(lab, [name for name, result in results.items() if isinstance(result, LabError)], len(results))


def _judged(lab: Inventory, failed: Sequence[str], tried: int) -> int:
    """The exit code of a task that failed on these hosts; if there are any, that is told."""
    enough, sentence = lab.judged(failed, tried)
    if failed:
        say(sentence, "warning" if enough else "error")
    return HELD if enough else UNFINISHED


def _ended(done: dict[str, Any]) -> str:
    words = [f"{', '.join(done[how])} {said}" for how, said in HOW_ENDED.items() if done[how]]
    words += [f"the run that {', '.join(done['playing'])} played was not over"] if done.get("playing") else []
    return "; ".join(words) or "no peer lived"


HOW_ENDED = {"ended": "ended", "killed": "had to be killed", "stuck": "cannot be ended, not even by SIGKILL"}


def _remark(sentence: str) -> None:
    say(sentence, "remark")

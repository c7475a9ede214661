"""Brings home what is on the hosts: a run that goes on is led to its end, the logs of one that ended are fetched."""

from __future__ import annotations

import filecmp
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from comparison_server.coordinator import Found
from comparison_server.delivery_log import NAMES, PART
from comparison_server.desk import HOME
from comparison_server.prompt import named
from comparison_server.run_folder import PARTIAL, load_run
from deploy.bundle import make_bundle
from deploy.each import on_each
from deploy.host_error import HostError
from deploy.inventory import Inventory
from deploy.remote import Remote
from experiments.cloud.cluster import Say, remotes_of
from experiments.cloud.direct import cluster_of
from experiments.cloud.fetching import hash_of, in_pieces
from experiments.cloud.run import Lead, Wanted
from experiments.play import Ended, Planned, Played, in_use, planned_as, play
from experiments.run_folder import is_complete
from experiments.scenario import load
from experiments.telling import tell
from peer.core.errors import HELD, UNFINISHED, LabError, RunError
from peer.core.settings import RunSettings, from_json
from peer.core.trace import read_header
from peer.drivers.program import say as say_error
from peer.stacks import promised

COLLECT = "collect"


@dataclass
class Log:
    """One log on a host."""

    remote: Remote
    path: str
    peer: str
    kind: str
    size: int
    hash: str
    run: str


@dataclass
class Seen:
    """What the hosts told."""

    logs: list[Log] = field(default_factory=list)
    living: list[str] = field(default_factory=list)
    is_ordered: bool = False  # something lies on the desk of the control host that nobody has brought home
    failed: dict[str, LabError] = field(default_factory=dict)


def collect(inventory: Inventory, out: Path, *, key: Path | None, known_hosts: Path, say: Say) -> int:
    """A line for each host, then what came of the runs; the exit code of the worst of them."""
    remotes = remotes_of(inventory, make_bundle(), known_hosts)
    try:
        seen = _look(remotes, inventory.deadline_s)
        kept = _kept_runs(out)
        code = HELD if inventory.enough(len(remotes) - len(seen.failed), len(remotes)) else UNFINISHED
        if seen.living or seen.is_ordered:
            code = max(code, _lead_on(inventory, out, key, known_hosts, say))
            kept = _kept_runs(out)
            seen = _look(remotes, inventory.deadline_s)
        runs = _by_run(seen.logs)
        known = {run: folder for run, logs in runs.items() if (folder := _folder_of(logs, kept.get(run, {})))}
        _tell_hosts(remotes, seen, known)
        if seen.failed:
            say(inventory.judged(seen.failed, len(remotes))[1])
        fetched = {run: _fetched(run, logs, out) for run, logs in runs.items() if run not in known}
    finally:
        for remote in remotes:
            remote.stop()
    if fetched:
        tell(list(fetched.values()))
    for run, folder in {**known, **{run: played.folder for run, played in fetched.items()}}.items():
        if is_complete(folder):
            _remove_parts(run, folder, out)
    if seen.living:
        print(f"Peers live on: {named(sorted(seen.living))}; `fab stop` ends them.", flush=True)
    return max([code, *(played.exit_code for played in fetched.values())])


def _look(remotes: list[Remote], deadline_s: float) -> Seen:
    def ask(remote: Remote) -> tuple[dict[str, Any], dict[str, Any]]:
        return remote.ask("status"), remote.ask("files")

    seen = Seen()
    for name, result in on_each(remotes, ask, deadline_s).items():
        if isinstance(result, LabError):
            seen.failed[name] = result
            continue
        remote = next(remote for remote in remotes if remote.name == name)
        status, files = result
        seen.is_ordered |= any(state != HOME for state in status["orders"].values())
        seen.living += [peer for peer, about in status["peers"].items() if about["pid"] is not None]
        for file in files["files"]:
            peer, _, kind = Path(file["name"]).stem.rpartition("-")
            if kind in NAMES and file["run"]:
                seen.logs.append(Log(remote, file["path"], peer, kind, file["size"], file["hash"], file["run"]))
    return seen


def _lead_on(inventory: Inventory, out: Path, key: Path | None, known_hosts: Path, say: Say) -> int:
    """Of the peers that live: what they play is led to its end, and they go on living."""
    with cluster_of(inventory, key=key, known_hosts=known_hosts, start=False, say=say) as cluster:
        lead = Lead(cluster, Wanted(load("lan"), [], out=out))
        lead.wait()
        if not lead.take_up() and cluster.names:
            print(f"{named(cluster.names)} live, and play nothing that is not here.", flush=True)
        lead.tell()
        return lead.exit_code


def _tell_hosts(remotes: list[Remote], seen: Seen, known: dict[str, Path]) -> None:
    width = max(len(remote.name) for remote in remotes)
    for remote in remotes:
        runs = sorted({log.run for log in seen.logs if log.remote is remote})
        words = [f"run {run} is in {known[run]}" if run in known else f"run {run} is fetched" for run in runs]
        if remote.name in seen.failed:
            error = seen.failed[remote.name]
            words = [f"FAILED: {error.sentence if isinstance(error, HostError) else error}"]
        print(f"{remote.name:<{width}}  {'; '.join(words) or 'there are no logs'}", flush=True)


def _by_run(logs: list[Log]) -> dict[str, list[Log]]:
    runs: dict[str, list[Log]] = defaultdict(list)
    for log in logs:
        runs[log.run].append(log)
    return runs


def _kept_runs(out: Path) -> dict[str, dict[Path, set[str]]]:
    """The runs that are here, each with its folders, and whose logs each of these holds."""
    runs: dict[str, dict[Path, set[str]]] = defaultdict(lambda: defaultdict(set))
    for trace in sorted(out.glob("*/trace-*.bin")):
        try:
            header, _ = read_header(trace)
            peer = header["settings"]["members"][header["peer"]]
        except (OSError, ValueError, LookupError, TypeError):
            continue
        if trace.with_name(trace.name.replace("trace", "sends")).exists():
            runs[str(header.get("run", ""))][trace.parent].add(peer)
    return runs


def _folder_of(logs: list[Log], folders: dict[Path, set[str]]) -> Path | None:
    """One that holds all that the hosts have of a run: whoever led it may have been killed while collecting it."""
    wanted = {log.peer for log in logs}
    judged = [folder for folder, held in folders.items() if wanted <= held and (folder / "verdict.json").exists()]
    return max(judged, key=is_complete, default=None)


def _remove_parts(run: str, whole: Path, out: Path) -> None:
    """Folders in which somebody began to collect a run are not needed any more once all of it is in another."""
    for folder in sorted(mark.parent for mark in out.glob(f"*/{PARTIAL}")):
        try:
            with in_use(folder):
                if not _adds_nothing(folder, run, whole):
                    continue
                for file in sorted(folder.iterdir(), key=lambda file: file.name == PARTIAL):  # the mark goes last
                    file.unlink()
                folder.rmdir()
        except OSError:
            continue  # somebody is still at it, or it is not ours to remove
        print(f"Run {run} is whole in {whole}: {folder}, which held a part of it, is removed.", flush=True)


def _adds_nothing(folder: Path, run: str, whole: Path) -> bool:
    """Whether it is known to be of this run, and each of its files is in the other folder, as it is here."""
    files = [file for file in folder.iterdir() if file.name not in (PARTIAL, "scenario.json")]
    return _runs_of(files) == {run} and all(_is_in(whole, file) for file in files)


def _runs_of(files: Iterable[Path]) -> set[str]:
    """What their headers tell, of those that have one."""
    runs = set()
    for file in files:
        try:
            runs.add(str(read_header(file)[0]["run"]))
        except (OSError, ValueError, LookupError, TypeError):
            continue
    return runs


def _is_in(whole: Path, file: Path) -> bool:
    if file.suffix == PART:
        return (whole / file.stem).exists()
    is_empty = file.stat().st_size == 0  # as a full disk leaves it
    return is_empty or ((whole / file.name).exists() and filecmp.cmp(file, whole / file.name, shallow=False))


def _fetched(run: str, logs: list[Log], out: Path) -> Played:
    """The folder of a run of which nothing is left but its logs on the hosts."""
    with tempfile.TemporaryDirectory() as place:
        files = {(log.peer, log.kind): _fetch(log, Path(place)) for log in logs}
        files = {which: file for which, file in files.items() if file is not None}
        headers = [read_header(file)[0] for (_, kind), file in files.items() if kind == "trace"]
        if not headers:
            raise RunError(COLLECT, [log.peer for log in logs], f"no log of run {run} could be fetched")
        settings = from_json(RunSettings, headers[0]["settings"])
        planned = planned_as(Found(run, settings, headers[0], headers[0]["settings"]))

        def world(planned: Planned, folder: Path) -> Ended:
            for (peer, kind), file in files.items():
                if peer in settings.members:
                    log = folder / NAMES[kind].format(settings.members.index(peer))
                    log.with_name(log.name + PART).write_bytes(file.read_bytes())
                    log.with_name(log.name + PART).replace(log)
            missing = [name for name in settings.members if (name, "trace") not in files]
            words = f"the logs of {named(missing)} are not to be had" if missing else _not_its_end(settings, folder)
            return Ended(RunError(COLLECT, missing, words) if words else None, {"peers": None})

        return next(play([planned], world, out))


def _not_its_end(settings: RunSettings, folder: Path) -> str:
    """Why a run that nobody led to its end is not to be judged as a whole one; empty if it may be."""
    total = len(settings.members) * settings.workload.messages
    least = min(len(log.ids) for log in load_run(folder).logs)
    if "agreement" not in promised(settings) or least == total:
        return ""
    return f"its peers were ended before the run was: one of them had delivered {least} of {total} messages"


def _fetch(log: Log, place: Path) -> Path | None:
    file = place / f"{log.peer}-{log.kind}"
    try:
        try:
            log.remote.fetch(log.path, file)
        except HostError as error:
            if error.kind != "sftp":
                raise
            in_pieces(log.remote.name, file, log.size, partial(_ask_for, log))
            if log.kind == "trace":  # it is the same with its other logs
                say_error(f"{error}; the logs of {log.peer} were brought without it", "remark")
        if hash_of(file) != log.hash:
            raise HostError(log.remote.name, "changed", f"{log.path} is not what it was a moment ago; collect again")
    except HostError as error:
        say_error(str(error))
        return None
    return file


def _ask_for(log: Log, begin: int) -> dict[str, Any]:
    return log.remote.ask("part", name=Path(log.path).name, begin=begin)

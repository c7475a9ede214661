"""What can be asked of a host: each request is one of these, and may be asked again without harm."""

from __future__ import annotations

import base64
import json
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from comparison_server.desk import Desk
from deploy.agent import processes
from deploy.agent.place import Failed, Place, described, last_line, read, tail
from deploy.agent.processes import LAST_LINE, Peer

HELD_S = 30.0  # for another request that changes the lab to be done with it
LOOK_HELD_S = 2.0  # the same for one that only looks, and looks all the same then
PATIENCE_S = 10.0  # for a peer that was told to end
REACH_S = 2.0  # for who leads the peers to take a connection from here
LINE_BYTES = 400  # so long a line of a peer is in the mean, at most
LARGEST_KEY, LARGEST_CONTROL = 4096, 64 * 1024
PART_BYTES = 4 << 20

Request = dict[str, Any]


def act(request: Request, payload: bytes, archive: bytes, receive: Callable, send: Callable) -> dict[str, Any]:
    """Do what is asked; what came of it. Failed says why it cannot be done."""
    place = Place(request["lab"])
    try:
        action = request["action"]
        if action == "deploy":
            return deploy(place, request, archive)
        if action == "up":  # both on one trip
            return deploy(place, request, archive) | start(place, request)
        if action in ("probe", "look"):
            from deploy.agent import probe  # which most requests do not need

            return probe.look(request) if action == "look" else probe.run(request, receive, send)
        if action in CONTROL_HOST:
            from deploy.agent import services  # of which there is one

            return services.act(place, request, receive, send)
        return ACTIONS[action](place, request)
    except OSError as error:
        raise place.trouble(error) from error


def deploy(place: Place, request: Request, archive: bytes) -> dict[str, Any]:
    """Have the archive, the key and the settings here."""
    key = request["key"].strip().encode() + b"\n"
    with place.held(HELD_S, make=True):
        lives = [*processes.living(place), *filter(Peer.lives, processes.services(place))]
        there = read(place.key)
        if lives and there is not None and there.strip() != key.strip():
            sentence = (
                f"lab {place.lab} is somebody else's there: it has another key, and {len(lives)} of its peers live; "
                "take their key to join them, stop them, or choose another name for yours"
            )
            raise Failed("key", sentence)
        written = {
            "archive": place.write(place.archive, archive),
            "key": place.write(place.key, key),
            "settings": place.write(place.settings, _text(request.get("settings") or {})),
        }
        outdated = [peer.name for peer in lives if _started_with(peer).get("archive") != request["digest"]]
    return {"changed": [what for what, changed in written.items() if changed], "outdated": outdated}


def start(place: Place, request: Request) -> dict[str, Any]:
    """Have these peers live, started like this; one that lives but was started otherwise is started anew."""
    with place.held(HELD_S) as there:
        if not there or not place.archive.exists():
            raise Failed("not deployed", f"lab {place.lab} has not been deployed there; deploy it first")
        digest = described(place.archive)["hash"]
        _lead(place, request)
        lives = {peer.name: peer for peer in processes.living(place)}
        options = {
            wanted["name"]: processes.options_of(place, request["group"], wanted, digest) for wanted in request["peers"]
        }
        same = [name for name, how in options.items() if name in lives and processes.is_as(lives[name], how)]
        others = [lives[name] for name in options if name in lives and name not in same]
        stuck = processes.stop(others, PATIENCE_S)["stuck"]
        wanted = {name: how for name, how in options.items() if name not in same and name not in stuck}
        failed = dict.fromkeys(stuck, "cannot be ended, not even by SIGKILL")
        failed |= processes.start(place, wanted)
        for name in same:
            lives[name].signal(signal.SIGHUP)  # control may be elsewhere by now
    restarted = [peer.name for peer in others if peer.name not in failed]
    started = [name for name in wanted if name not in failed and name not in restarted]
    return {"started": started, "running": same, "restarted": restarted, "failed": failed}


def attach(place: Place, request: Request) -> dict[str, Any]:
    """Tell the peers that live where control is now."""
    with place.held(HELD_S) as there:
        if not there:
            raise Failed("not deployed", f"lab {place.lab} has not been deployed there; deploy it first")
        _lead(place, request)
        lives = processes.living(place)
        for peer in lives:
            peer.signal(signal.SIGHUP)
    return {"told": [peer.name for peer in lives]}


def status(place: Place, request: Request) -> dict[str, Any]:
    """What is here, and who lives. If somebody is at work on the lab for long, as it looks in the middle of that."""
    reached = _reached(place) if request.get("reach") else None
    try:
        with place.held(LOOK_HELD_S, shared=True):
            return _status(place) | {"reached": reached}
    except Failed as error:
        if error.kind != "busy":
            raise
        return _status(place) | {"reached": reached}


def _reached(place: Place) -> bool:
    """Whether anybody takes connections where peers are told that control is."""
    try:
        host, port = _read_control(place)["server"]
        socket.create_connection((host, port), REACH_S).close()
    except (KeyError, TypeError, ValueError, OSError):
        return False
    return True


def _status(place: Place) -> dict[str, Any]:
    peers = {}
    for peer in processes.known(place):
        lives, options = peer.lives(), _started_with(peer)
        peers[peer.name] = {
            "pid": peer.pid() if lives else None,
            "said": last_line(tail(peer.said, LAST_LINE)),
            "bind": options.get("--bind"),
            "advertise": options.get("--advertise"),
            "archive": options.get("archive"),
        }
    return {
        "peers": peers,
        "services": {
            service.name: {
                "pid": service.pid() if service.lives() else None,
                "said": last_line(tail(service.said, LAST_LINE)),
            }
            for service in processes.services(place)
        },
        "orders": Desk(place.desk).orders(),
        "deployed": described(place.archive)["hash"] if place.archive.exists() else "",
        "control": _read_control(place),
        "disk_free": place.free_bytes(),
        "python": ".".join(map(str, sys.version_info[:3])),
    }


def logs(place: Place, request: Request) -> dict[str, Any]:
    """The last lines of what peers said."""
    lines, wanted = request.get("lines", 20), request.get("peers")
    return {
        "said": {
            peer.name: tail(peer.said, lines * LINE_BYTES).splitlines()[-lines:]
            for peer in processes.known(place)
            if wanted is None or peer.name in wanted
        },
        "services": {
            service.name: tail(service.said, lines * LINE_BYTES).splitlines()[-lines:]
            for service in processes.services(place)
            if wanted is None
        },
    }


def stop(place: Place, request: Request) -> dict[str, Any]:
    """End the peers, or those that are named; none if they are to be ended only while one operator leads them."""
    with place.held(HELD_S) as there:
        if there and request.get("attached") not in (None, _read_control(place).get("attached")):
            return processes.stop([], 0.0)
        return _stopped(place, request) if there else processes.stop([], 0.0)


def clean(place: Place, request: Request) -> dict[str, Any]:
    """End all peers and leave nothing of the lab here."""
    with place.held(HELD_S) as there:
        ended = _stopped(place, {**request, "peers": None, "services": True}) if there else processes.stop([], 0.0)
        if ended["stuck"]:
            sentence = f"{', '.join(ended['stuck'])} cannot be ended, not even by SIGKILL; restart that machine"
            raise Failed("stuck", sentence)
        return {**ended, "removed": place.remove()}


def files(place: Place, request: Request) -> dict[str, Any]:
    """The logs of the last run of each peer; those that were closed in order are `sealed`."""
    return {"files": [_log(file) for file in sorted(place.logs.glob("*.bin")) if file.is_file()]}


def part(place: Place, request: Request) -> dict[str, Any]:
    """What one of these logs says from a place on, for an operator who cannot have it by SFTP."""
    with open(place.logs / Path(request["name"]).name, "rb") as log:
        log.seek(request["begin"])
        return {"data": base64.b64encode(log.read(PART_BYTES)).decode("ascii")}


def key(place: Place, request: Request) -> dict[str, Any]:
    """The key of the lab, for another operator who may log in here anyway."""
    said = read(place.key)
    if said is None:
        raise Failed("not deployed", f"lab {place.lab} has not been deployed there, so there is no key to take")
    return {"key": said[:LARGEST_KEY].decode("ascii").strip()}


ACTIONS: dict[str, Callable[[Place, Request], dict[str, Any]]] = {
    "start": start,
    "attach": attach,
    "status": status,
    "logs": logs,
    "stop": stop,
    "clean": clean,
    "files": files,
    "part": part,
    "key": key,
}


CONTROL_HOST = ("serve", "order", "word", "watch", "brought", "piece", "home", "listen", "dial")


def _stopped(place: Place, request: Request) -> dict[str, Any]:
    """Peers and services are ended; where peers are named, only these."""
    with_services = request.get("services", request.get("peers") is None)
    services: list[Peer] = [*processes.services(place)] if with_services else []
    playing = _playing(place, _named(place, request))
    # The services first: else the collector would see the peers leave, and take that for what befell its run.
    patience_s = request.get("patience_s", PATIENCE_S)
    served, peers = processes.stop(services, patience_s), processes.stop(_named(place, request), patience_s)
    ended = {how: [f"service {name}" for name in served[how]] + peers[how] for how in peers}
    return ended | ({"playing": playing} if playing else {})


def _playing(place: Place, peers: list[Peer]) -> list[str]:
    """Those of them that are in the middle of a run: they live, and their deliveries are not closed."""
    found = []
    for peer in peers:
        with suppress(OSError):  # no run has begun, or another begins in this very moment
            log = (place.logs / f"{peer.name}-trace.bin").stat()
            is_its_own = log.st_mtime >= peer.pid_file.stat().st_mtime
            if is_its_own and peer.lives() and not _is_sealed(place.logs / f"{peer.name}-trace.bin", log.st_size):
                found.append(peer.name)
    return found


def _lead(place: Place, request: Request) -> None:
    """Write where control is. Of two operators the one who attached later leads."""
    control, present = request["control"], _read_control(place)
    is_others = present.get("attached") not in (None, control["attached"])
    if is_others and present.get("since", 0) > control["since"] and not request.get("force"):
        sentence = (
            f"{present.get('operator')} has come to lead lab {place.lab} later than you; "
            "agree with them, or take it over with `fab collect` or `fab run`"
        )
        raise Failed("attached", sentence)
    place.write(place.control, _text(control))


def _read_control(place: Place) -> dict[str, Any]:
    try:
        said = json.loads((read(place.control) or b"{}")[:LARGEST_CONTROL])
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _named(place: Place, request: Request) -> list[Peer]:
    names = request.get("peers")
    return [peer for peer in processes.known(place) if names is None or peer.name in names]


def _started_with(peer: Peer) -> dict[str, Any]:
    try:
        return json.loads(read(peer.record) or b"{}")
    except ValueError:
        return {}


def _log(file: Path) -> dict[str, Any]:
    about = described(file)
    return {**about, "sealed": _is_sealed(file, about["size"]), "run": _run_of(file)}


def _run_of(file: Path) -> str:
    """Which run it is a log of; empty if it does not say."""
    from peer.core.trace import read_header

    try:
        return str(read_header(file)[0].get("run", ""))
    except (OSError, ValueError):
        return ""


def _is_sealed(file: Path, size: int) -> bool:
    """Whether its records end with the one that says that nothing follows."""
    from peer.core.trace import DELIVERY_RECORD, SEAL, SEND_RECORD, read_header  # which no other request needs

    kind = file.stem.rpartition("-")[2]
    if kind == "steps":  # lines; they are closed together with the deliveries
        twin = file.with_name(file.name.replace("-steps.bin", "-trace.bin"))
        return twin.exists() and _is_sealed(twin, twin.stat().st_size)
    record = {"trace": DELIVERY_RECORD, "sends": SEND_RECORD}.get(kind)
    try:
        _, begin = read_header(file)
    except ValueError:
        return False
    if record is None or size < begin + record.size or (size - begin) % record.size:
        return False
    with open(file, "rb") as opened:
        opened.seek(size - record.size)
        return record.unpack(opened.read(record.size))[0] == SEAL


def _text(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode() + b"\n"

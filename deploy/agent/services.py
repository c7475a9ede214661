"""What is asked of the control host: to run the group manager and the collector, and what lies on their desk."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Callable
from pathlib import Path
from time import monotonic, time_ns
from typing import Any

from comparison_server.desk import Desk, read
from deploy.agent import processes
from deploy.agent.place import Failed, Place, described, last_line, tail
from deploy.agent.processes import LAST_LINE, Service

HELD_S, LOOK_HELD_S = 30.0, 2.0  # for another request to be done with the lab; of one that only looks
PATIENCE_S = 10.0  # for a service that was told to end
GLANCE_S = 0.25  # between two looks at the desk
BEAT_S = 3.0  # what has not changed is said again, so that silence means that the way is broken
MANAGER, COLLECTOR = "group-manager", "collector"
PIECE_BYTES = 1 << 20
LOGS = ("*.bin", "*.jsonl")

Request = dict[str, Any]


def act(place: Place, request: Request, receive: Callable, send: Callable) -> dict[str, Any]:
    """Do what is asked."""
    action = request["action"]
    if action in ("listen", "dial"):
        from deploy.agent import doors

        return doors.listen(request, receive, send) if action == "listen" else doors.dial(request)
    if action == "watch":
        return watch(place, receive, send)
    if action == "piece":
        return piece(Desk(place.desk), request)
    with place.held(HELD_S) as there:
        if not there or not place.archive.exists():
            raise Failed("not deployed", f"lab {place.lab} has not been deployed there; deploy it first")
        place.services.mkdir(mode=0o700, exist_ok=True)
        desk = Desk(place.desk)
        desk.make()
        return {"serve": serve, "order": order, "word": word, "brought": brought, "home": home}[action](
            place, desk, request
        )


def serve(place: Place, desk: Desk, request: Request) -> dict[str, Any]:
    """Have both live, and who asks be the operator who came last; what they lead is not ended by that."""
    place.write(_operator_file(desk), _text(request["operator"]))
    wanted = _options(place, desk, request)
    lives = {service.name: service for service in processes.services(place) if service.lives()}
    same = [
        name for name in wanted if name in lives and (request["keep"] or processes.is_as(lives[name], wanted[name]))
    ]
    others = [lives[name] for name in wanted if name in lives and name not in same]
    if others and desk.open_orders():
        sentence = "its collector leads runs, and was started otherwise; bring them home first: fab collect"
        raise Failed("busy", sentence)
    stuck = processes.stop(others, PATIENCE_S)["stuck"]
    missing = {name: how for name, how in wanted.items() if name not in same and name not in stuck}
    failed = dict.fromkeys(stuck, "cannot be ended, not even by SIGKILL")
    failed |= processes.start(place, missing, Service)
    return {"started": [name for name in missing if name not in failed], "running": same, "failed": failed}


def order(place: Place, desk: Desk, request: Request) -> dict[str, Any]:
    """Lay an order on the desk; laid twice it is the same one."""
    desk.run(request["run"]).mkdir(mode=0o700, exist_ok=True)
    file = desk.order(request["run"])
    if not file.exists():
        place.write(file, _text(request["order"]))
    return {"orders": desk.orders()}


def word(place: Place, desk: Desk, request: Request) -> dict[str, Any]:
    """Say something to the collector. To have all end is for the operator who came last."""
    last = read(_operator_file(desk)) or {}
    if request["word"]["do"] == "end" and last.get("id") != request["operator"]:
        return {"said": False, "last": last.get("name", ""), "orders": desk.orders()}
    place.write(desk.words / f"{time_ns():020d}-{secrets.token_hex(4)}.json", _text(request["word"]))
    return {"said": True, "last": "", "orders": desk.orders()}


def brought(place: Place, desk: Desk, request: Request) -> dict[str, Any]:
    """All there is of a run but its logs, and what these are."""
    run = request["run"]
    files = sorted(file for pattern in LOGS for file in desk.run(run).glob(pattern))
    return {
        "order": read(desk.order(run)),
        "outcome": read(desk.outcome(run)),
        "files": [described(file) for file in files] if request["logs"] else [],
    }


def piece(desk: Desk, request: Request) -> dict[str, Any]:
    """What one of these logs says from a place on, for an operator who cannot have it by SFTP."""
    with open(desk.run(request["run"]) / Path(request["name"]).name, "rb") as log:
        log.seek(request["begin"])
        return {"data": base64.b64encode(log.read(PIECE_BYTES)).decode("ascii")}


def home(place: Place, desk: Desk, request: Request) -> dict[str, Any]:
    """This run was brought home: what is here of it may go when others come."""
    if desk.run(request["run"]).is_dir():
        desk.home(request["run"]).touch()
    return {}


def watch(place: Place, receive: Callable, send: Callable) -> dict[str, Any]:
    """Say what lies on the desk whenever that changes, until the operator goes."""
    said, due = None, 0.0
    while True:
        seen = _seen(place)
        if seen is not None and (seen != said or monotonic() >= due):
            send({"desk": seen})
            said, due = seen, monotonic() + BEAT_S
        try:
            if receive(GLANCE_S) is None:
                raise EOFError
        except TimeoutError:
            pass


def _seen(place: Place) -> dict[str, Any] | None:
    """None if somebody is at work on the lab just now."""
    try:
        with place.held(LOOK_HELD_S, shared=True) as there:
            desk = Desk(place.desk)
            return {
                "orders": desk.orders() if there else {},
                "progress": read(desk.progress),
                "ended": {
                    service.name: last_line(tail(service.said, LAST_LINE))
                    for service in processes.services(place)
                    if not service.lives()
                },
                "lives": [service.name for service in processes.services(place) if service.lives()],
            }
    except Failed as error:
        if error.kind != "busy":
            raise
        return None


def _options(place: Place, desk: Desk, request: Request) -> dict[str, dict[str, Any]]:
    """How each is started."""
    bind, manager, server = request["bind"], request["manager"], request["server"]
    here = "127.0.0.1" if bind == "0.0.0.0" else bind
    digest, key = {"archive": described(place.archive)["hash"]}, {"--key": str(place.key)}
    return {
        MANAGER: {**digest, **key, "--bind": f"{bind}:{manager}"},
        COLLECTOR: {
            **digest,
            **key,
            "--bind": f"{bind}:{server}",
            "--manager": f"{here}:{manager}",
            "--group": request["group"],
            "--lost-s": str(request["lost_s"]),
            "--desk": str(desk.folder),
        },
    }


def _operator_file(desk: Desk) -> Path:
    return desk.folder / "operator.json"


def _text(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode() + b"\n"

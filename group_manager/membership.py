"""Who has registered, in which group, at which endpoint, and for how long that holds.

Pure: requests and the time go in, replies come out. A registration is a lease that
heartbeats renew; what is not renewed is gone. The same name registered again replaces
itself, so a restarted peer is one peer. A group has one comparison server: a second one is
told that the group is taken, unless it takes it over, which the first one is told.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from peer.core.names import is_endpoint

LEASE_S = 10.0
HEARTBEAT_S = 2.0
LONGEST_NAME = 64
NAME = re.compile(r"(\w[\w .@-]*)?")
MOST_ENTRIES = 1024
OPS = ("register", "heartbeat", "unregister", "list", "where", "stop")


@dataclass
class Entry:
    """One registered process."""

    name: str
    group: str
    role: str  # peer, or server: the comparison server of the group
    endpoint: tuple[str, int]
    incarnation: str
    expires: float


@dataclass
class Membership:
    """The register of all groups."""

    entries: dict[tuple[str, str], Entry] = field(default_factory=dict)  # (group, name), in order of registration
    stopped: bool = False  # somebody asked for the end

    def handle(self, request: Any, now: float) -> dict[str, Any]:
        """The reply to a request; a bad one harms nothing and is told what is wrong."""
        self.expire(now)
        if not isinstance(request, dict):
            return _refuse("malformed", "a request is a JSON object")
        for what in ("name", "group"):
            value = request.get(what, "")
            if not isinstance(value, str) or len(value) > LONGEST_NAME:
                return _refuse("malformed", f"{what} must be a text of at most {LONGEST_NAME} characters")
            if not NAME.fullmatch(value):  # it becomes part of file names
                return _refuse(
                    "malformed", f"{what} {value!r}: letters, digits, dots, dashes, underscores and blanks only"
                )
        op = request.get("op")
        if op == "register":
            return self._register(request, now)
        if op == "heartbeat":
            return self._heartbeat(request, now)
        if op == "unregister":
            return self._unregister(request)
        if op == "list":
            return {"ok": True, "members": [_row(entry) for entry in self._of(request)]}
        if op == "where":
            return self._where(request)
        if op == "stop":
            return self._stop(request)
        return _refuse("unknown op", f"unknown op {str(op)[:40]!r}; known are {', '.join(OPS)}")

    def expire(self, now: float) -> None:
        """Forget whose lease ran out."""
        for key in [key for key, entry in self.entries.items() if entry.expires < now]:
            del self.entries[key]

    def _register(self, request: dict[str, Any], now: float) -> dict[str, Any]:
        name, group = request.get("name", ""), request.get("group", "")
        endpoint, role = request.get("endpoint"), request.get("role", "peer")
        if not name:
            return _refuse("malformed", "who registers has a name")
        if role not in ("peer", "server"):
            return _refuse("malformed", f"role must be peer or server, found {str(role)[:40]!r}")
        if not is_endpoint(endpoint):
            return _refuse("malformed", f"endpoint must be [address, port], found {str(endpoint)[:80]!r}")
        key = _key(request)
        incarnation = str(request.get("incarnation", ""))[:LONGEST_NAME]
        leading = self._server(group)
        if role == "server" and leading and leading.incarnation != incarnation and not request.get("take_over"):
            return _busy(leading)
        if key not in self.entries and len(self.entries) >= MOST_ENTRIES:
            return _refuse("full", f"{MOST_ENTRIES} processes are registered")
        if role == "server" and leading:
            del self.entries[leading.group, leading.name]
        replaces = key in self.entries and _is_another(self.entries[key], request)
        self.entries[key] = Entry(name, group, role, (endpoint[0], endpoint[1]), incarnation, now + LEASE_S)
        terms = {"lease_s": LEASE_S, "heartbeat_s": HEARTBEAT_S, "replaces": replaces}
        return {"ok": True, **terms, "server": self._endpoint_of_server(group)}

    def _heartbeat(self, request: dict[str, Any], now: float) -> dict[str, Any]:
        entry = self.entries.get(_key(request))
        if entry is None:
            return _refuse("unknown name", "not registered (any more); register again", definite=False)
        if entry.role == "server" and _is_another(entry, request):
            return _busy(entry)
        entry.expires = now + LEASE_S
        return {"ok": True, "server": self._endpoint_of_server(entry.group)}

    def _unregister(self, request: dict[str, Any]) -> dict[str, Any]:
        entry = self.entries.get(_key(request))
        known = entry is not None and not _is_another(entry, request)
        if known:
            del self.entries[_key(request)]
        return {"ok": True, "known": known}

    def _stop(self, request: dict[str, Any]) -> dict[str, Any]:
        """One operator does not end what another one uses."""
        others = [entry for entry in self.entries.values() if entry.role == "server"]
        others = [entry for entry in others if entry.group != request.get("group", "") or _is_another(entry, request)]
        if others:
            return _busy(others[0])
        self.stopped = True
        return {"ok": True}

    def _where(self, request: dict[str, Any]) -> dict[str, Any]:
        names = request.get("names")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            return _refuse("malformed", f"names must be a list of texts, found {str(names)[:40]!r}")
        wanted = dict.fromkeys(names[:MOST_ENTRIES])
        endpoints = {entry.name: list(entry.endpoint) for entry in self._of(request) if entry.name in wanted}
        return {"ok": True, "endpoints": endpoints, "missing": [name for name in wanted if name not in endpoints]}

    def _of(self, request: dict[str, Any]) -> list[Entry]:
        group = request.get("group", "")
        return [entry for entry in self.entries.values() if entry.group == group and entry.role == "peer"]

    def _server(self, group: str) -> Entry | None:
        for entry in self.entries.values():
            if entry.group == group and entry.role == "server":
                return entry
        return None

    def _endpoint_of_server(self, group: str) -> list | None:
        server = self._server(group)
        return list(server.endpoint) if server else None


def _key(request: dict[str, Any]) -> tuple[str, str]:
    return request.get("group", ""), request.get("name", "")


def _is_another(entry: Entry, request: dict[str, Any]) -> bool:
    """Whether the request comes from another process than the registration of that name."""
    return str(request.get("incarnation", entry.incarnation)) != entry.incarnation


def _busy(server: Entry) -> dict[str, Any]:
    where = "{}:{}".format(*server.endpoint)
    what = f"group {server.group!r}" if server.group else "the group"
    return _refuse("busy", f"{what} is led by the comparison server at {where}", definite=False)


def _row(entry: Entry) -> dict[str, Any]:
    return {"name": entry.name, "endpoint": list(entry.endpoint), "incarnation": entry.incarnation}


def _refuse(code: str, sentence: str, *, definite: bool = True) -> dict[str, Any]:
    return {"ok": False, "code": code, "sentence": sentence, "definite": definite}

"""Brings the logs of a run from the hosts by SFTP; where that cannot be, the peers send them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic, sleep

from comparison_server.delivery_log import DeliveryLog
from deploy.host_error import HostError
from deploy.remote import Remote

LOGS = ".ordering-lab/{lab}/logs/{peer}-{kind}.bin"  # on a host, from the home of its user
IN_VAIN = ("sftp", "no file", "this side")  # errors that trying again does not mend
BROKEN_S = 60.0  # for the way to a host to be made anew, when it broke in the middle
GLANCE_S = 0.5  # between looks at whether it has been
END_S = 2.0  # for what is under way to notice that it is not wanted any more


class Carrier:
    """Brings logs from the hosts by SFTP; where that cannot be, the peers send them."""

    def __init__(self, lab: str, remote_of: Callable[[str], Remote]) -> None:
        """`remote_of`: the host that plays a peer."""
        self._lab, self._remote_of = lab, remote_of
        self._under_way: dict[tuple[str, ...], threading.Thread] = {}  # by run, member and the hashes of its logs,
        self._came: dict[tuple[str, ...], str] = {}  # as is the trouble there was, until somebody has heard of it;
        self._tried: set[tuple[str, ...]] = set()  # afterwards they are here
        self._guard = threading.Lock()

    def bring(self, run: str, member: str, logs: dict[str, DeliveryLog]) -> bool:
        """Begin, unless that is going on; False if it was tried before, whatever came of it."""
        what = (run, member, *(log.hash for log in logs.values()))
        with self._guard:
            if what in self._tried:
                return False
            if what not in self._under_way:
                self._under_way[what] = threading.Thread(target=self._bring, args=(what, dict(logs)), daemon=True)
                self._under_way[what].start()
        return True

    def came(self) -> list[tuple[str, str, str]]:
        """Of which run whose logs came since the last time; or the sentence that says why they did not."""
        with self._guard:
            came, self._came = self._came, {}
            self._tried |= came.keys()
        return [(run, member, trouble) for (run, member, *_), trouble in came.items()]

    def forget(self, run: str) -> None:
        """What is still under way of this run is not wanted any more, and is not to be in the way of anything else."""
        with self._guard:
            vain = [what for what in self._under_way if what[0] == run and what not in {*self._came, *self._tried}]
            self._tried.update(vain)
        for _, member, *_ in vain:
            self._remote_of(member).close()  # much was asked for ahead; the way is made anew

    def end(self) -> None:
        """Of no run is anything wanted."""
        for run in {run for run, *_ in self._under_way}:
            self.forget(run)
        for thread in self._under_way.values():
            thread.join(END_S)

    def _bring(self, what: tuple[str, ...], logs: dict[str, DeliveryLog]) -> None:
        (_, member, *_), trouble = what, ""
        remote = self._remote_of(member)
        try:
            for kind, log in logs.items():
                if not log.whole:
                    path = LOGS.format(lab=self._lab, peer=member, kind=kind)
                    self._fetch(remote, path, log, lambda: what in self._tried)
        except HostError as error:
            trouble = str(error)
        with self._guard:
            self._came[what] = trouble

    def _fetch(self, remote: Remote, path: str, log: DeliveryLog, is_vain: Callable[[], bool]) -> None:
        """One log, from where it was cut if the way broke and was made anew."""
        moved = monotonic()

        def count(have: int, size: int) -> None:
            nonlocal moved
            log.have, moved = have, monotonic()

        while True:
            try:
                remote.fetch(path, log.partial_path, count)
                return
            except HostError as error:
                if error.kind in IN_VAIN or is_vain() or monotonic() - moved > BROKEN_S:
                    raise
                sleep(GLANCE_S)

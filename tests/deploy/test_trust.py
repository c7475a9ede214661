"""Whom is trusted, and who we are."""

from __future__ import annotations

from threading import Event, Thread

import fabric

from deploy import trust
from experiments.cloud.cluster import KNOWN_HOSTS, known_hosts_of


def test_nothing_is_pinned_in_a_users_own_known_hosts(tmp_path):
    (tmp_path / "known_hosts").touch()
    assert known_hosts_of(tmp_path / "config") == KNOWN_HOSTS
    assert known_hosts_of(tmp_path / "lab.yml") == tmp_path / "known_hosts"


def test_no_two_connections_share_a_configuration():
    """Whenever one is looked at anew it is empty for a moment, in which another thread's connection finds nothing."""
    one, other = trust.ssh_configuration(), trust.ssh_configuration()
    ended = Event()

    def look_anew():
        while not ended.is_set():
            one.merge()

    thread = Thread(target=look_anew, daemon=True)
    thread.start()
    try:
        connection = fabric.Connection("127.0.0.1", config=other)
        for _ in range(5000):
            assert connection.authentication.strategy_class is None
    finally:
        ended.set()
        thread.join(10)

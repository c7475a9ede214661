"""Whom is trusted, and who we are."""

from __future__ import annotations

import subprocess
from threading import Event, Thread

import fabric
import paramiko
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from deploy import trust
from deploy.host_error import HostError
from experiments.cloud.cluster import KNOWN_HOSTS, known_hosts_of

NOT_FOR_SIGNING = X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
ON_A_TOKEN = """\
-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAASgAAABpzay1zc2gtZWQy
NTUxOUBvcGVuc3NoLmNvbQAAACABAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQAAAARz
c2g6AAAAoAAAAAcAAAAHAAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIAEBAQEBAQEB
AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAAAABHNzaDoBAAAAPGhhbmRsZWhhbmRsZWhhbmRsZWhh
bmRsZWhhbmRsZWhhbmRsZWhhbmRsZWhhbmRsZWhhbmRsZWhhbmRsZQAAAAAAAAACbWUGBwg=
-----END OPENSSH PRIVATE KEY-----
"""


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


@pytest.mark.parametrize("content", [NOT_FOR_SIGNING, ON_A_TOKEN])
def test_a_key_of_another_kind_is_refused_in_a_sentence(content, tmp_path):
    file = tmp_path / "key"
    file.write_text(content)
    with pytest.raises(HostError, match=f"{file} holds no private key that can be used here") as refused:
        trust.key_in("frankfurt", file)
    assert refused.value.kind == "auth"


@pytest.mark.parametrize("cipher", ["aes256-ctr", "aes128-cbc", "chacha20-poly1305@openssh.com"])
def test_however_a_key_was_locked_an_agent_can_open_it(cipher, tmp_path):
    file = tmp_path / "key"
    make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-Z", cipher, "-f", file]
    subprocess.run(make, check=True, timeout=20)
    assert trust.key_in("frankfurt", file) == (None, True)


@pytest.mark.parametrize("end", ["", "\n"])
def test_what_is_pinned_stands_on_a_line_of_its_own(end, tmp_path):
    """Whoever wrote to the file by hand may not have ended the last line."""
    file, keys = tmp_path / "known_hosts", [paramiko.ECDSAKey.generate() for _ in range(2)]
    file.write_text(f"one {keys[0].get_name()} {keys[0].get_base64()}{end}")
    trust.Unknown("two", file, pin=True).missing_host_key(paramiko.SSHClient(), "two", keys[1])
    known = paramiko.HostKeys(str(file))
    assert known.check("one", keys[0]) and known.check("two", keys[1])
    assert len(file.read_text().splitlines()) == 2

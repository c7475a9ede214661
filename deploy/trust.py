"""Whom is trusted, and who we are: the lab's own known hosts, the keys to sign in with, the user's settings of ssh."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from threading import Lock

import fabric
import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from paramiko import PasswordRequiredException, SSHException
from paramiko.pkey import UnknownKeyType

from deploy import host_error
from deploy.host_error import HostError
from peer.core.errors import SettingsError


def load(client: paramiko.SSHClient, known_hosts: Path) -> None:
    """Have a client know the hosts in this file, and no others."""
    try:
        if known_hosts.exists():
            client.load_host_keys(str(known_hosts))
    except (OSError, ValueError, paramiko.hostkeys.InvalidHostKey) as error:
        raise SettingsError(f"the known host keys cannot be read: {error}", file=str(known_hosts)) from None


class Unknown(paramiko.MissingHostKeyPolicy):
    """What is done about a host whose key was never seen: it is pinned if that is wanted, else refused."""

    def __init__(self, host: str, known_hosts: Path, pin: bool) -> None:
        self._host, self._known_hosts, self._pin = host, known_hosts, pin

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        if not self._pin:
            raise host_error.of_unknown_key(self._host, key.fingerprint)
        file = self._known_hosts
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            before = file.read_bytes() if file.exists() else b""
            begin = "\n" if before and not before.endswith(b"\n") else ""  # of who wrote there by hand
            with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "w") as opened:
                opened.write(f"{begin}{hostname} {key.get_name()} {key.get_base64()}\n")
        except OSError as error:
            raise SettingsError(f"host keys cannot be kept: {error.strerror}", file=str(file)) from None


def entry(address: str, port: int) -> str:
    """A host as its line in known_hosts begins."""
    return address if port == paramiko.config.SSH_PORT else f"[{address}]:{port}"


def ssh_configuration() -> fabric.Config:
    """The user's own, a copy for each connection: invoke empties and fills a configuration whenever one looks anew."""
    with _configuration_lock:
        return _configuration().clone()


@lru_cache
def _configuration() -> fabric.Config:
    """It is read once for all hosts."""
    try:
        return fabric.Config()
    except Exception as error:  # whatever is wrong with files that are not ours
        raise SettingsError(f"the configuration of ssh or Fabric cannot be read: {error}") from None


_configuration_lock = Lock()


def key_in(host: str, file: Path) -> tuple[paramiko.PKey | None, bool]:
    """The key in a file, or whether it is one that only an ssh agent can open."""
    try:
        return _load_key(file, file.stat().st_mtime_ns)
    except OSError as error:
        raise HostError(host, "auth", f"cannot read the key {file}: {error.strerror}") from None
    except (SSHException, ValueError, TypeError, UnsupportedAlgorithm, UnknownKeyType):
        sentence = f"{file} holds no private key that can be used here (RSA, ECDSA and Ed25519 can)"
        raise HostError(host, "auth", sentence) from None


@lru_cache
def _load_key(file: Path, _: int) -> tuple[paramiko.PKey | None, bool]:
    try:
        return paramiko.PKey.from_path(file), False
    except PasswordRequiredException:
        return None, True
    except (TypeError, UnsupportedAlgorithm) as error:  # how the library below paramiko says that of some keys
        if "assword" in str(error) or "Unsupported cipher" in str(error):
            return None, True
        raise

"""What can go wrong with one host, each told in one sentence that says what to do next."""

from __future__ import annotations

import errno
import shlex
import socket
from pathlib import Path

from paramiko import AuthenticationException, BadAuthenticationType, BadHostKeyException, ChannelException, SSHException
from paramiko.sftp import SFTPError
from paramiko.ssh_exception import IncompatiblePeer, NoValidConnectionsError

from deploy.agent.place import FULL
from peer.core.errors import LabError

ADMINISTRATIVELY_PROHIBITED = 1  # why a channel was not opened, in the words of RFC 4254


class HostError(LabError):
    """One host could not do what it was asked; `kind` is for programs, the sentence for people."""

    def __init__(self, host: str, kind: str, sentence: str, detail: str = "") -> None:
        self.host, self.kind, self.sentence, self.detail = host, kind, sentence, detail
        super().__init__(f"{host}: {sentence}")


def of_connecting(host: str, where: str, error: Exception) -> HostError:
    """Why no connection could be made to an sshd."""
    if isinstance(error, NoValidConnectionsError):
        error = next(iter(error.errors.values()))
    if isinstance(error, (socket.gaierror, UnicodeError)):  # the latter of what can be no name
        return HostError(host, "unreachable", f"the name in {where} is not known here; mend `address` in the inventory")
    if isinstance(error, ConnectionRefusedError):
        return HostError(host, "refused", f"nothing listens at {where}; is sshd running, and on that port?")
    if isinstance(error, IncompatiblePeer):
        return HostError(host, "refused", f"{where} and this side have no way to encrypt in common: {error}")
    if isinstance(error, OSError) and not isinstance(error, TimeoutError):
        return HostError(host, "unreachable", f"there is no way to {where}: {error.strerror or error}")
    return HostError(host, "refused", f"what listens at {where} does not speak ssh as it should: {error}")


def of_silence(host: str, where: str, waited_s: float) -> HostError:
    """Nobody answers, not even with a no."""
    ask = "is the machine running, and does its security group let that port in from here?"
    return HostError(host, "unreachable", f"no answer from {where} within {waited_s:g} s; {ask}")


def of_closed_door(host: str, where: str, tries: int) -> HostError:
    """Connections are taken and closed before anything is said."""
    why = "too many come at once (MaxStartups), or it is no sshd"
    return HostError(host, "busy", f"{where} closed {tries} connections without a word; {why}; try again in a minute")


def of_the_way(host: str, jump: str, where: str, error: Exception) -> HostError:
    """Why the host in between does not lead there."""
    if isinstance(error, ChannelException) and error.code == ADMINISTRATIVELY_PROHIBITED:
        why = f"{jump}, on the way there, passes no connections on; set AllowTcpForwarding in its sshd_config"
        return HostError(host, "jump", why)
    said = error.text if isinstance(error, ChannelException) else str(error)
    if "imeout" in said or "timed out" in said:
        said = "no answer; is the machine running, and does its security group let that port in from there?"
    return HostError(host, "unreachable", f"{jump}, on the way there, cannot reach {where}: {said}")


def of_signing_in(host: str, user: str, key: Path | None, locked: bool, error: Exception) -> HostError | None:
    """Why nobody was let in; None if that is not what went wrong."""
    has_none = "No authentication methods available" in str(error)
    if locked and (has_none or isinstance(error, AuthenticationException)):
        return HostError(host, "auth", f"the key {key} has a passphrase; `ssh-add {key}` first, once")
    if has_none:
        return HostError(host, "auth", "there is no key to sign in with; name one as `key` in the inventory")
    if isinstance(error, BadAuthenticationType):
        return HostError(host, "auth", f"it takes no keys from {user}, only {', '.join(error.allowed_types)}")
    if "timeout" in str(error):
        return None
    if isinstance(error, AuthenticationException) and "EOF" in str(error):
        ask = "if your ssh agent has many keys, name the right one as `key` in the inventory"
        return HostError(host, "auth", f"it hung up while {user} was signing in; {ask}")
    if isinstance(error, AuthenticationException):
        with_what = f"with {key}" if key else "with any key of yours"
        return HostError(host, "auth", f"{user} is not let in {with_what}; check `user` and `key` in the inventory")
    return None


def of_unknown_key(host: str, fingerprint: str) -> HostError:
    """It was never seen before."""
    return HostError(host, "unknown host key", f"its host key ({fingerprint}) is not known yet; `fab check` pins it")


def of_changed_key(host: str, known_hosts: Path, entry: str, error: BadHostKeyException) -> HostError:
    """It is not the one that was seen before."""
    forget = f"`ssh-keygen -f {shlex.quote(str(known_hosts))} -R '{entry}'` and then `fab check`"
    sentence = f"its host key has changed to {error.key.fingerprint}; if you made that machine anew, {forget}"
    return HostError(host, "changed host key", f"{sentence}; if not, somebody else may be answering in its place")


def of_fetching(host: str, path: str, error: Exception) -> HostError | None:
    """Why a file did not come; None if it is the connection's fault."""
    if isinstance(error, SFTPError):
        why = (
            "something there prints before SFTP can speak, such as a .bashrc; have it print in interactive shells only"
        )
        return HostError(host, "sftp", f"{path} cannot be fetched: {why}")
    if isinstance(error, OSError) and error.errno == errno.ENOENT:
        return HostError(host, "no file", f"{path} is not there")
    if isinstance(error, OSError) and error.errno == errno.EACCES:
        return HostError(host, "no file", f"{path} may not be read by the user who signed in")
    return None


def of_this_side(host: str, file: Path | str, error: OSError) -> HostError:
    """The host is not to blame."""
    sentence = f"what is fetched from it cannot be kept in {file} on this side: {error.strerror}"
    return HostError(host, "this side", sentence + ("; make room there" if error.errno in FULL else ""))


def of_no_sftp(host: str) -> HostError:
    """The subsystem cannot be had."""
    return HostError(host, "sftp", "SFTP is switched off; give its sshd_config `Subsystem sftp internal-sftp`")


def of_too_many_sessions(host: str) -> HostError:
    """All that one connection may have are in use."""
    return HostError(
        host, "busy", "it lets no more be done at a time; try again, or raise MaxSessions in its sshd_config"
    )


def of_loss(host: str, doing: str, error: Exception | None = None) -> HostError:
    """The connection broke."""
    detail = str(error) if error is not None and not isinstance(error, SSHException) else ""
    return HostError(host, "lost", f"the connection broke while {doing}; try again", detail)


def of_deadline(host: str, doing: str, waited_s: float) -> HostError:
    """It takes too long."""
    return HostError(
        host, "timeout", f"still {doing} after {waited_s:.3g} s; it was given up; try again, or allow more time"
    )

"""One file over SFTP: from where the file here ends, all parts asked for ahead, and whatever fails leaves what came."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from threading import Event
from typing import Any

import paramiko
from paramiko import SSHException

from deploy import host_error
from deploy.host_error import HostError

READ_BYTES = 32 * 1024
QUIET_S = 15.0  # for what asked ahead to see that nothing more is wanted


def fetch(host: str, sftp: paramiko.SFTPClient, path: str, file: Path, on_bytes: Callable[[int, int], None]) -> int:
    size = sftp.stat(path).st_size
    with _opened_there(sftp, path) as there, _opened_here(host, file) as here:
        if (have := here.tell()) > size:  # it is no beginning of that one
            here.truncate(have := 0)
        on_bytes(have, size)
        if have == size:
            return size
        there.seek(have)
        with _read_ahead(sftp, there, size):
            while have < size:
                data = there.read(min(READ_BYTES, size - have))
                if not data:
                    sentence = f"{path} has become shorter while it was fetched; fetch it again"
                    raise HostError(host, "no file", sentence)
                _keep(host, here, data)
                have += len(data)
                on_bytes(have, size)
    return size


@contextmanager
def _opened_there(sftp: paramiko.SFTPClient, path: str) -> Iterator[paramiko.SFTPFile]:
    """Closed without waiting for a word about it; one that is left to be collected as garbage prints a traceback."""
    there = sftp.open(path, "rb")
    try:
        yield there
    finally:
        there._close(async_=True)


@contextmanager
def _read_ahead(sftp: paramiko.SFTPClient, there: paramiko.SFTPFile, size: int) -> Iterator[None]:
    """All parts are asked for at once, by a thread of paramiko's that nobody waits for and that prints how it fails.

    Here it is waited for: what it sent after the channel was closed would reach the next channel of the same number.
    """
    ended, ask = Event(), there._prefetch_thread

    def quietly(*arguments: Any) -> None:
        with suppress(OSError, EOFError, SSHException):
            ask(*arguments)
        ended.set()

    there._prefetch_thread = quietly
    there.prefetch(size)
    try:
        yield
    finally:
        with suppress(OSError, EOFError, SSHException):
            sftp.get_channel().shutdown_write()  # it asks for no more
        ended.wait(QUIET_S)


def _opened_here(host: str, file: Path) -> FileIO:
    try:
        return FileIO(file, "a")
    except OSError as error:
        raise host_error.of_this_side(host, file, error) from None


def _keep(host: str, here: FileIO, data: bytes) -> None:
    try:
        while data:
            data = data[here.write(data) :]
    except OSError as error:
        raise host_error.of_this_side(host, here.name, error) from None

"""An sshd of one's own: on a free port of 127.0.0.1, with a host key, settings and a home of its own."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from deploy.inventory import Host

SSHD = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
START_S = 10.0
USUAL_PATH = "/usr/local/bin:/usr/bin:/bin"


class Sshd:
    """`home` is where its sessions are at home; what they may run is what `path` leads to."""

    def __init__(self, folder: Path, *settings: str, path: str = USUAL_PATH, home: Path | None = None) -> None:
        if SSHD is None:
            pytest.skip("there is no sshd on this machine")
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where sshd of root shuts itself in
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.home = folder, home or folder / "home"
        if home is None:
            self.home.mkdir(exist_ok=True)
        self.user, self.key = getpass.getuser(), make_key(folder / "id")
        self.known_hosts = folder / "known_hosts"
        make_key(folder / "host_key")
        shutil.copy(f"{self.key}.pub", folder / "authorized_keys")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        lines = [
            f"ListenAddress 127.0.0.1:{self.port}",
            f"HostKey {folder}/host_key",
            f"AuthorizedKeysFile {folder}/authorized_keys",
            f"SetEnv HOME={self.home} PATH={path}",
            "PidFile none",
            "StrictModes no",
            "UsePAM no",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "PermitRootLogin yes",
            *([] if any(line.startswith("Subsystem") for line in settings) else ["Subsystem sftp internal-sftp"]),
        ]
        (folder / "config").write_text("\n".join([*settings, *lines]) + "\n")
        self.process: subprocess.Popen | None = None
        self.start()

    def start(self) -> None:
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [SSHD, "-D", "-e", "-f", str(self.folder / "config")], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        until = time.monotonic() + START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                said = (self.folder / "log").read_text()
                assert self.process.poll() is None and time.monotonic() < until, said
                time.sleep(0.01)

    def stop(self) -> None:
        """The one that listens and those that it has become for each connection."""
        for pid in [*self.sessions(), self.process.pid]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait(START_S)

    def sessions(self) -> list[int]:
        """The processes that serve connections, inner ones first."""
        found, todo = [], [self.process.pid]
        while todo:
            pid = todo.pop()
            try:
                children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            except OSError:
                continue
            todo += [int(child) for child in children]
            found += [int(child) for child in children if is_sshd(int(child))]
        return found[::-1]

    def hang_up(self) -> None:
        """End every connection, without a word; one process of them may take others with it."""
        for pid in self.sessions():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def host(self, name: str = "frankfurt", **changed: object) -> Host:
        """As an inventory would say it."""
        fields = {"region": "here", "address": "127.0.0.1", "user": self.user, "key": self.key, "port": self.port}
        return Host(name, **(fields | changed))


def is_sshd(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().startswith("sshd")
    except OSError:
        return False


def make_key(file: Path, passphrase: str = "") -> Path:
    file.unlink(missing_ok=True)
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", "test", "-f", str(file)], check=True, timeout=20
    )
    return file

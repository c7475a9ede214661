"""One host over a real sshd, in good order and in every kind of trouble; and many at once."""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from deploy import remote as remote_module
from deploy.bundle import Bundle, make_bundle
from deploy.each import on_each
from deploy.host_error import HostError
from deploy.remote import Remote
from tests.deploy.operator import comes_to
from tests.deploy.sshd import USUAL_PATH, Sshd, make_key

pytestmark = pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")

KEY = "ab" * 32
CONTROL = {
    "attached": "one",
    "operator": "me@here",
    "since": 1.0,
    "manager": ["127.0.0.1", 1],
    "server": ["127.0.0.1", 1],
}
SFTP_SERVERS = ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/libexec/sftp-server")
SOON_S = 20.0


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return make_bundle()


@pytest.fixture(scope="module")
def sshd(tmp_path_factory) -> Iterator[Sshd]:
    """One with ordinary settings, for all tests that leave it as it is."""
    server = Sshd(tmp_path_factory.mktemp("sshd"))
    yield server
    server.stop()


@pytest.fixture
def servers() -> Iterator[Callable[..., Sshd]]:
    """Further ones, each with settings of its own."""
    made: list[Sshd] = []

    def make(folder: Path, *settings: str, **options: object) -> Sshd:
        made.append(Sshd(folder, *settings, **options))
        return made[-1]

    yield make
    for server in made:
        server.stop()


@pytest.fixture
def connect(bundle) -> Iterator[Callable[..., Remote]]:
    """Remotes that are closed in the end."""
    made: list[Remote] = []

    def make(sshd: Sshd, pin: bool = True, jump: Remote | None = None, **host: object) -> Remote:
        made.append(Remote(sshd.host(**host), "demo", bundle, sshd.known_hosts, jump, pin))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture(autouse=True)
def nothing_is_left(capfd) -> Iterator[None]:
    """No test leaves a thread that the program would wait for, and none has paramiko print anything."""
    yield
    until = time.monotonic() + 5
    while lingering := [
        each for each in threading.enumerate() if not each.daemon and each is not threading.main_thread()
    ]:
        assert time.monotonic() < until, lingering
        time.sleep(0.01)
    assert capfd.readouterr() == ("", "")


def refused(action: Callable[[], object]) -> HostError:
    with pytest.raises(HostError) as error:
        action()
    sentence = str(error.value)
    assert (
        sentence.startswith("frankfurt: ") and "\n" not in sentence and not re.search(r"[a-z]Error|Exception", sentence)
    ), sentence
    return error.value


def listen_for_ever(connection: socket.socket) -> None:
    while connection.recv(1 << 16):
        pass


@contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[tuple[str, int]]:
    """A service of one's own; each connection in a thread."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def whole(connection: socket.socket) -> None:
            with connection:
                serve(connection)

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=whole, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()
        server.shutdown(socket.SHUT_RDWR)


# Asking.


def test_all_that_is_asked_of_a_host(sshd, connect):
    remote = connect(sshd)
    assert not remote.is_open
    assert remote.ask("status")["deployed"] == ""
    assert remote.ask("deploy", key=KEY)["changed"] == ["archive", "key", "settings"]
    assert remote.ask("deploy", key=KEY)["changed"] == []
    assert remote.ask("status")["deployed"] == remote.bundle.digest
    assert remote.ask("key") == {"key": KEY}
    assert remote.ask("clean")["removed"]
    assert list(sshd.home.iterdir()) == []


def test_point_2_and_3_peers_outlast_the_session(servers, tmp_path, connect):
    """Also where there is a systemd-run that fails: it is not asked."""
    shims = tmp_path / "bin"
    shims.mkdir()
    (shims / "systemd-run").write_text("#!/bin/sh\necho Failed to connect to bus >&2\nexit 1\n")
    (shims / "systemd-run").chmod(0o755)
    sshd = servers(tmp_path / "sshd", path=f"{shims}:{USUAL_PATH}")
    remote = connect(sshd)
    remote.ask("deploy", key=KEY)
    peers = [{"name": name, "bind": "127.0.0.1:0", "advertise": "127.0.0.1:5700"} for name in ("a", "b")]
    assert remote.ask("start", group="g", peers=peers, control=CONTROL)["started"] == ["a", "b"]
    pids = [peer["pid"] for peer in remote.ask("status")["peers"].values()]
    remote.close()
    assert comes_to([], sshd.sessions)
    for pid in pids:
        os.kill(pid, 0)
    assert [peer["pid"] for peer in remote.ask("status")["peers"].values()] == pids
    assert remote.ask("clean")["killed"] == []


def test_a_key_is_told_over_the_encrypted_stream_only(sshd):
    assert KEY not in remote_module.command() and "demo" not in remote_module.command()


def test_what_a_bashrc_prints_is_no_answer(servers, tmp_path, connect):
    sshd = servers(tmp_path)
    (sshd.home / ".bashrc").write_text("echo welcome; echo '=lab= welcome'; printf 'no end of line'\n")
    remote = connect(sshd)
    assert remote.ask("deploy", key=KEY)["changed"]
    assert remote.ask("status")["deployed"] == remote.bundle.digest


def test_what_a_bashrc_prints_without_end_is_not_listened_to_for_ever(servers, tmp_path, connect):
    sshd = servers(tmp_path)
    (sshd.home / ".bashrc").write_text("yes welcome &\n")
    with connect(sshd).talk("listen", ports=[], bind="127.0.0.1") as talk:
        assert talk.receive(SOON_S) == {"taken": []}
        before = time.monotonic()
        assert refused(lambda: talk.receive(0.5)).kind == "timeout" and time.monotonic() - before < 10


def test_a_lost_connection_is_made_anew_when_something_is_asked_again(sshd, connect):
    remote = connect(sshd)
    remote.ask("status")
    sshd.hang_up()
    until = time.monotonic() + SOON_S
    while remote.is_open:
        assert time.monotonic() < until
        time.sleep(0.01)
    assert remote.ask("status")["python"]


def test_a_connection_that_breaks_while_it_is_waited_for(sshd, connect, monkeypatch):
    remote = connect(sshd)
    with remote.talk("status") as talk:
        sshd.hang_up()
        error = refused(lambda: (talk.finish(SOON_S), talk.finish(SOON_S)))
    assert error.kind == "lost"


# Hosts that cannot be asked.


def test_point_1_an_unknown_host_key_is_refused_and_not_pinned(sshd, connect, tmp_path):
    remote = connect(sshd, pin=False)
    remote.known_hosts = tmp_path / "known_hosts"
    error = refused(remote.open)
    assert error.kind == "unknown host key" and "SHA256:" in str(error) and "fab check" in str(error)
    assert not remote.known_hosts.exists() and not remote.is_open


def test_point_1_what_is_pinned_is_known_from_then_on(sshd, connect, tmp_path):
    first = connect(sshd)
    first.known_hosts = tmp_path / "lab" / "known_hosts"
    first.open()
    assert stat.S_IMODE(first.known_hosts.stat().st_mode) == 0o600
    second = connect(sshd, pin=False)
    second.known_hosts = first.known_hosts
    second.open()
    assert len(first.known_hosts.read_text().splitlines()) == 1


def test_point_1_a_changed_host_key_is_refused_and_what_is_told_to_do_helps(servers, tmp_path, connect):
    sshd = servers(tmp_path)
    connect(sshd).open()
    sshd.stop()
    make_key(sshd.folder / "host_key")
    sshd.start()
    for pin in (False, True):  # what is known is not pinned anew
        error = refused(connect(sshd, pin=pin).open)
        assert error.kind == "changed host key"
    advice = re.search(r"`(ssh-keygen [^`]+)`", str(error))[1]
    subprocess.run(advice, shell=True, check=True, capture_output=True, timeout=SOON_S)
    assert refused(connect(sshd, pin=False).open).kind == "unknown host key"
    connect(sshd).open()


def test_known_hosts_that_cannot_be_read(sshd, connect, tmp_path):
    remote = connect(sshd)
    remote.known_hosts = tmp_path / "known_hosts"
    remote.known_hosts.mkdir()
    with pytest.raises(Exception, match="known host keys cannot be read") as error:
        remote.open()
    assert type(error.value).__name__ == "SettingsError"


def test_nothing_listens(sshd, connect):
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    error = refused(connect(sshd, port=port).open)
    assert error.kind == "refused" and f"127.0.0.1:{port}" in str(error)


@pytest.mark.parametrize("name", ["no-such-host", "x" * 64])  # which is longer than any part of a name can be
def test_a_name_that_nobody_knows(name, sshd, connect):
    error = refused(connect(sshd, address=f"{name}.invalid").open)
    assert error.kind == "unreachable" and "not known" in str(error)


def test_point_5_a_host_that_takes_connections_and_says_nothing(sshd, connect, monkeypatch):
    monkeypatch.setattr(remote_module, "SIGN_IN_S", 1)
    with listening(listen_for_ever) as (_, port):
        before = time.monotonic()
        error = refused(connect(sshd, port=port).open)
    assert error.kind in ("unreachable", "timeout") and time.monotonic() - before < 10


def test_point_5_a_host_that_stalls_after_its_first_words(sshd, connect, monkeypatch):
    monkeypatch.setattr(remote_module, "SIGN_IN_S", 1)

    def greet(connection: socket.socket) -> None:
        connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
        listen_for_ever(connection)

    with listening(greet) as (_, port):
        before = time.monotonic()
        error = refused(connect(sshd, port=port).open)
    assert error.kind in ("unreachable", "timeout") and time.monotonic() - before < 10


def test_what_listens_is_no_sshd(sshd, connect, monkeypatch):
    monkeypatch.setattr(remote_module, "KNOCKS_S", (0.01, 0.01))

    def answer(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 200)

    with listening(answer) as (_, port):
        error = refused(connect(sshd, port=port).open)
    assert error.kind in ("refused", "busy")


def test_a_user_who_is_not_let_in(sshd, connect, tmp_path):
    stranger = make_key(tmp_path / "stranger")
    error = refused(connect(sshd, key=stranger).open)
    assert error.kind == "auth" and str(stranger) in str(error)
    error = refused(connect(sshd, user="nobody-of-that-name").open)
    assert error.kind == "auth" and "nobody-of-that-name" in str(error)


def test_a_key_with_a_passphrase(sshd, connect, tmp_path, monkeypatch):
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    locked = make_key(tmp_path / "locked", passphrase="secret")
    error = refused(connect(sshd, key=locked).open)
    assert error.kind == "auth" and f"ssh-add {locked}" in str(error)


def test_a_key_with_a_passphrase_that_the_agent_has(sshd, connect, tmp_path, monkeypatch):
    if not shutil.which("ssh-agent"):
        pytest.skip("there is no ssh-agent")
    locked = make_key(tmp_path / "locked", passphrase="secret")
    with open(sshd.folder / "authorized_keys", "a") as keys:
        keys.write(Path(f"{locked}.pub").read_text())
    plain = tmp_path / "plain"
    shutil.copy(locked, plain)
    change = ["ssh-keygen", "-q", "-p", "-P", "secret", "-N", "", "-f", str(plain)]
    subprocess.run(change, check=True, capture_output=True, timeout=SOON_S)
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(tmp_path / "agent")], stdout=subprocess.DEVNULL)
    try:
        until = time.monotonic() + SOON_S
        while not (tmp_path / "agent").exists():
            assert time.monotonic() < until
            time.sleep(0.01)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
        subprocess.run(["ssh-add", str(plain)], check=True, capture_output=True, timeout=SOON_S)
        connect(sshd, key=locked).open()
        connect(sshd, key=None).open()
    finally:
        agent.kill()
        agent.wait(SOON_S)


@pytest.mark.parametrize("content", ["", "nonsense\n", None])
def test_a_key_that_is_none(content, sshd, connect, tmp_path):
    file = tmp_path / "key"
    if content is not None:
        file.write_text(content)
    error = refused(connect(sshd, key=file).open)
    assert error.kind == "auth" and str(file) in str(error)


def test_no_key_at_all(sshd, connect, tmp_path, monkeypatch):
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    error = refused(connect(sshd, key=None).open)
    assert error.kind == "auth" and "no key" in str(error)


def test_point_10_a_host_without_python(servers, tmp_path, connect):
    shims = tmp_path / "bin"
    shims.mkdir()
    (shims / "sh").symlink_to("/bin/sh")
    sshd = servers(tmp_path / "sshd", path=str(shims))
    error = refused(lambda: connect(sshd).ask("status"))
    assert error.kind == "no python" and "install one" in str(error)


def test_point_10_a_host_with_an_old_python(servers, tmp_path, connect):
    shims = tmp_path / "bin"
    shims.mkdir()
    shim = f'#!/bin/sh\nexec {sys.executable} -I -c "import sys; sys.version_info = (3, 8, 10)\n$3"\n'
    (shims / "python3").write_text(shim)
    (shims / "python3").chmod(0o755)
    sshd = servers(tmp_path / "sshd", path=f"{shims}:{USUAL_PATH}")
    error = refused(lambda: connect(sshd).ask("status"))
    assert error.kind == "old python" and "3.8" in str(error)


def test_an_account_without_a_shell(servers, tmp_path, connect):
    sshd = servers(tmp_path, "ForceCommand echo This account is not available; exit 1")
    error = refused(lambda: connect(sshd).ask("status"))
    assert error.kind == "no answer" and "This account is not available" in str(error)


def test_point_9_a_host_that_takes_no_commands(servers, tmp_path, connect):
    error = refused(lambda: connect(servers(tmp_path, "MaxSessions 0")).ask("status", timeout_s=0.5))
    assert error.kind == "busy" and "MaxSessions" in str(error)


def test_point_9_more_at_a_time_than_one_connection_may_have(servers, tmp_path, connect):
    sshd = servers(tmp_path, "MaxSessions 2")
    remote, said = connect(sshd), []
    (sshd.home / "log").write_bytes(os.urandom(1_000_000))

    def ask(number: int) -> None:
        said.append(remote.ask("status")["python"])
        said.append(remote.fetch(str(sshd.home / "log"), tmp_path / f"log-{number}"))

    threads = [threading.Thread(target=ask, args=(number,), daemon=True) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON_S)
    assert len(said) == 24 and said.count(1_000_000) == 12
    assert all((tmp_path / f"log-{n}").read_bytes() == (sshd.home / "log").read_bytes() for n in range(12))


# Waiting.


def test_point_5_a_path_that_is_cut(sshd, connect):
    """Nothing comes back and nothing is closed; what paramiko waits for without limit is ended all the same."""
    remote = connect(sshd)
    assert comes_to([], sshd.sessions)
    remote.open()
    stopped: set[int] = set()
    while fresh := set(sshd.sessions()) - stopped:
        for pid in fresh:
            with suppress(ProcessLookupError):  # one that was only there to let somebody in
                os.kill(pid, signal.SIGSTOP)
        stopped |= fresh
    try:
        before = time.monotonic()
        error = refused(lambda: remote.ask("status", timeout_s=0.5))
        assert error.kind == "timeout" and time.monotonic() - before < 10
        assert not remote.is_open
    finally:
        for pid in stopped:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
    assert remote.ask("status")["python"]


def test_points_4_and_5_one_deadline_covers_it_all_and_the_others_succeed(sshd, connect, servers, tmp_path):
    """Of each host what it came to, whatever became of the others."""
    frozen = servers(tmp_path)
    good, cut = connect(sshd, name="good"), connect(frozen, name="cut")
    silent_ended = threading.Event()

    def silence(connection: socket.socket) -> None:
        listen_for_ever(connection)
        silent_ended.set()

    cut.open()
    pids = frozen.sessions()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    heard: list[str] = []
    try:
        with listening(silence) as (_, port), socket.create_server(("127.0.0.1", 0)) as gone:
            refused_port = gone.getsockname()[1]
            gone.close()
            silent = connect(sshd, name="silent", port=port)
            refusing = connect(sshd, name="refusing", port=refused_port)
            before = time.monotonic()
            done = on_each(
                [silent, good, cut, refusing],
                lambda remote: remote.ask("status"),
                3.0,
                lambda name, _: heard.append(name),
            )
            assert time.monotonic() - before < 8
            assert silent_ended.wait(SOON_S), "its connection is closed"
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    assert list(done) == ["silent", "good", "cut", "refusing"] and sorted(heard) == sorted(done)
    assert done["good"]["python"]
    kinds = {name: result.kind for name, result in done.items() if isinstance(result, HostError)}
    assert kinds == {"silent": "timeout", "cut": "timeout", "refusing": "refused"}
    assert "still " in str(done["cut"]) and "after 3 s" in str(done["cut"])
    assert on_each([cut], lambda remote: remote.ask("status"), SOON_S)["cut"]["python"], "another time it may do"


def test_a_fault_of_our_own_is_no_host_error(sshd, connect):
    def job(remote: Remote) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        on_each([connect(sshd)], job, SOON_S)


INTERRUPTED = """
import sys, time
from pathlib import Path
from deploy.each import on_each
from deploy.bundle import Bundle
from deploy.inventory import Host
from deploy.remote import Remote
hosts = [Host(f"h{n}", "r", "127.0.0.1", "me", None, int(sys.argv[1])) for n in range(4)]
remotes = [Remote(host, "demo", Bundle(b"", "00"), Path("/nonexistent/known_hosts")) for host in hosts]
behind = remotes.pop(0)
behind.jump = Remote(hosts[0], "demo", Bundle(b"", "00"), Path("/nonexistent/known_hosts"))
remotes.append(behind)
try:
    on_each(remotes, lambda remote: remote.ask("status"), 300)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize("greeting", [b"", b"SSH-2.0-OpenSSH_9.2\r\n"])
def test_point_15_ctrl_c_ends_everything_at_once(greeting):
    """Also in the middle of a handshake, where paramiko has a timer that would hold the program up."""
    connected = threading.Semaphore(0)

    def greet(connection: socket.socket) -> None:
        connection.sendall(greeting)
        seen = b""
        while data := connection.recv(1 << 16):
            seen += data
            if len(seen) > 100 or not greeting:  # the handshake has begun
                connected.release()
                seen = b""

    with listening(greet) as (_, port):
        process = subprocess.Popen(
            [sys.executable, "-c", INTERRUPTED, str(port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        try:
            for _ in range(4):
                assert connected.acquire(timeout=SOON_S)
            before = time.monotonic()
            process.send_signal(signal.SIGINT)
            said, complained = process.communicate(timeout=SOON_S)
            assert (said, complained) == (b"interrupted\n", b"")
            assert time.monotonic() - before < 8
        finally:
            process.kill()
            process.wait(SOON_S)


# Many at once.


def test_point_9_more_at_once_than_an_sshd_lets_in(servers, tmp_path, connect):
    sshd = servers(tmp_path, "MaxStartups 3:100:3")
    remotes = [connect(sshd, name=f"h{number}") for number in range(12)]
    done = on_each(remotes, lambda remote: remote.open(), 60.0)
    assert done == dict.fromkeys(done) and all(remote.is_open for remote in remotes)


def test_point_9_a_door_that_stays_closed_is_said(sshd, connect, monkeypatch):
    monkeypatch.setattr(remote_module, "KNOCKS_S", (0.01, 0.01))
    knocks: list[int] = []

    def close(connection: socket.socket) -> None:
        knocks.append(1)
        connection.sendall(b"Exceeded MaxStartups\r\n")
        connection.close()

    with listening(close) as (_, port):
        error = refused(connect(sshd, port=port).open)
    assert error.kind == "busy" and "MaxStartups" in str(error) and len(knocks) == 3


def test_point_9_hosts_behind_one_jump_share_its_connection(sshd, connect, servers, tmp_path):
    jump = connect(sshd, name="jump")
    behind = servers(tmp_path, "MaxStartups 100")
    remotes = [connect(behind, name=f"h{number}", jump=jump) for number in range(12)]
    done = on_each(remotes, lambda remote: remote.ask("status")["python"], 60.0)
    assert all(isinstance(version, str) for version in done.values()), done
    assert comes_to(1 if os.geteuid() == 0 else 2, lambda: len(sshd.sessions()))


def test_a_jump_that_cannot_be_reached_is_tried_once(sshd, connect):
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    jump = connect(sshd, name="jump", port=port)
    remotes = [connect(sshd, name=f"h{number}", jump=jump) for number in range(6)]
    done = on_each(remotes, lambda remote: remote.open(), SOON_S)
    assert {result.kind for result in done.values()} == {"refused"}
    assert str(done["h0"]).startswith("h0: it is reached through jump, and there: nothing listens at")


@pytest.mark.parametrize("setting, kind", [("AllowTcpForwarding no", "jump"), ("", "unreachable")])
def test_a_jump_that_does_not_lead_there(setting, kind, servers, tmp_path, connect, sshd):
    through = connect(servers(tmp_path, *filter(None, [setting])), name="jump")
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    error = refused(connect(sshd, jump=through, port=port).open)
    assert error.kind == kind and "jump, on the way there" in str(error)


def test_a_jump_whose_connection_breaks_is_not_taken_for_one_that_does_not_lead_there(servers, tmp_path, connect, sshd):
    gate = servers(tmp_path)
    through = connect(gate, name="jump")
    opened = through.open

    def open_and_break() -> None:
        opened()
        gate.hang_up()

    through.open = open_and_break
    error = refused(connect(sshd, jump=through).open)
    assert error.kind == "lost" and "broke while passing through jump" in str(error)


def test_each_host_behind_a_jump_hears_its_own_trouble(sshd, connect):
    jump = connect(sshd, name="jump")
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    there = [connect(sshd, name=f"good-{number}", jump=jump) for number in range(6)]
    refusing = [connect(sshd, name=f"refusing-{number}", jump=jump, port=port) for number in range(6)]
    unknown = [connect(sshd, name=f"unknown-{n}", jump=jump, address="no-such-host.invalid") for n in range(6)]
    remotes = [each for three in zip(there, refusing, unknown) for each in three]
    done = on_each(remotes, lambda remote: remote.open(), SOON_S)
    for name, result in done.items():
        if name.startswith("good"):
            assert result is None
        else:
            where = f"127.0.0.1:{port}" if name.startswith("refusing") else "no-such-host.invalid"
            assert result.kind == "unreachable" and where in str(result), result
            assert str(result).endswith(("refused", "known", "resolution", "failed"))
            assert ("refused" in str(result)) == name.startswith("refusing"), result


# Forwarding.


def echo(connection: socket.socket) -> None:
    """Everything back, and the end only after the end."""
    data = b""
    while part := connection.recv(1 << 16):
        data += part
    connection.sendall(data)


def test_a_forwarded_connection_carries_both_ways_and_half_closes(sshd, connect):
    remote = connect(sshd)
    with listening(echo) as target:
        ports = remote.forward({"manager": target, "server": target})
        assert remote.forward({"server": target}) == {"server": ports["server"]}
        assert len(set(ports.values())) == 2
        sent = os.urandom(5 << 20)
        for port in ports.values():
            with socket.create_connection(("127.0.0.1", port), SOON_S) as there:
                there.sendall(sent)
                there.shutdown(socket.SHUT_WR)
                got = b""
                while part := there.recv(1 << 16):
                    got += part
                assert got == sent
    until = time.monotonic() + SOON_S
    while remote.carried:
        assert time.monotonic() < until, "a connection that has ended is let go"
        time.sleep(0.01)


def test_a_slow_reader_slows_the_writer(sshd, connect):
    """Nothing piles up in between: what is on its way is bounded by the windows of ssh and TCP."""
    gate, total = threading.Event(), 64 << 20
    received: list[int] = []

    def sip(connection: socket.socket) -> None:
        gate.wait(SOON_S)
        got = 0
        while part := connection.recv(1 << 20):
            got += len(part)
        received.append(got)

    remote = connect(sshd)
    with listening(sip) as target:
        port = remote.forward({"server": target})["server"]
        with socket.create_connection(("127.0.0.1", port), SOON_S) as there:
            there.setblocking(False)
            sent, quiet_since = 0, time.monotonic()
            while sent < total and time.monotonic() - quiet_since < 1.0:
                try:
                    sent += there.send(b"x" * (1 << 16))
                    quiet_since = time.monotonic()
                except BlockingIOError:
                    time.sleep(0.01)
            assert sent < total, "it never had to wait"
            gate.set()
            there.settimeout(SOON_S)
            there.shutdown(socket.SHUT_WR)
            assert there.recv(1) == b""
    assert received == [sent]


def test_a_target_that_is_not_there_closes_the_connection(sshd, connect):
    with socket.create_server(("127.0.0.1", 0)) as gone:
        target = gone.getsockname()
    port = connect(sshd).forward({"server": target})["server"]
    with socket.create_connection(("127.0.0.1", port), SOON_S) as there:
        assert there.recv(1) == b""


def test_closing_ends_what_is_carried_at_both_ends(sshd, connect):
    ended = threading.Event()

    def serve(connection: socket.socket) -> None:
        connection.sendall(b"hello")
        assert connection.recv(1) == b""
        ended.set()

    remote = connect(sshd)
    assert comes_to([], sshd.sessions)
    with listening(serve) as target:
        port = remote.forward({"server": target})["server"]
        with socket.create_connection(("127.0.0.1", port), SOON_S) as there:
            assert there.recv(5, socket.MSG_WAITALL) == b"hello"
            assert remote.carried == 1
            remote.close()
            assert ended.wait(SOON_S)
            assert there.recv(1) == b""
    assert remote.carried == 0
    until = time.monotonic() + SOON_S
    while takes_connections(port):
        assert time.monotonic() < until, "the port is given back"
        time.sleep(0.01)


def takes_connections(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def test_a_connection_that_answers_nothing_any_more_is_closed(sshd, connect, monkeypatch):
    """So that what it carries breaks at this end too; TCP would take minutes, and behind a jump it never notices."""
    monkeypatch.setattr(remote_module, "HEARTBEAT_S", 0.1)
    monkeypatch.setattr(remote_module, "SILENT_S", 0.3)
    ended = threading.Event()

    def serve(connection: socket.socket) -> None:
        connection.sendall(b"hello")
        connection.recv(1)
        ended.set()

    remote = connect(sshd)
    assert comes_to([], sshd.sessions)
    with listening(serve) as target:
        port = remote.forward({"server": target})["server"]
        with socket.create_connection(("127.0.0.1", port), SOON_S) as there:
            assert there.recv(5, socket.MSG_WAITALL) == b"hello"
            assert not ended.wait(1.0) and remote.is_open, "while it answers it stays"
            pids = sshd.sessions()
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            try:
                assert ended.wait(SOON_S)
                assert not remote.is_open
            finally:
                for pid in pids:
                    os.kill(pid, signal.SIGCONT)


def test_forwarding_that_is_not_allowed(servers, tmp_path, connect):
    error = refused(lambda: connect(servers(tmp_path, "AllowTcpForwarding no")).forward({"server": ("127.0.0.1", 1)}))
    assert error.kind == "forward refused" and "AllowTcpForwarding" in str(error)


# Fetching.


@pytest.fixture
def log(sshd) -> Path:
    file = sshd.home / "a-trace.bin"
    file.write_bytes(os.urandom(3_000_001))
    return file


def test_a_file_is_fetched_and_its_bytes_are_told(sshd, connect, log, tmp_path):
    told: list[tuple[int, int]] = []
    remote, file = connect(sshd), tmp_path / "here"
    assert remote.fetch(str(log), file, lambda have, size: told.append((have, size))) == 3_000_001
    assert file.read_bytes() == log.read_bytes()
    assert told[0] == (0, 3_000_001) and told[-1] == (3_000_001, 3_000_001)
    assert [have for have, _ in told] == sorted(have for have, _ in told)


@pytest.mark.parametrize("have", [1, 1_000_000, 3_000_001])
def test_fetching_goes_on_from_what_is_there(have, sshd, connect, log, tmp_path):
    file = tmp_path / "here"
    file.write_bytes(log.read_bytes()[:have])
    told: list[int] = []
    connect(sshd).fetch(str(log), file, lambda have, size: told.append(have))
    assert told[0] == have and file.read_bytes() == log.read_bytes()


def test_what_is_longer_than_the_file_is_no_beginning_of_it(sshd, connect, log, tmp_path):
    file = tmp_path / "here"
    file.write_bytes(b"x" * 3_000_002)
    connect(sshd).fetch(str(log), file)
    assert file.read_bytes() == log.read_bytes()


def test_an_empty_file(sshd, connect, log, tmp_path):
    log.write_bytes(b"")
    assert connect(sshd).fetch(str(log), tmp_path / "here") == 0
    assert (tmp_path / "here").read_bytes() == b""


def test_a_connection_that_is_cut_in_the_middle_loses_nothing(sshd, connect, log, tmp_path):
    log.write_bytes(os.urandom(20_000_000))
    remote, file = connect(sshd), tmp_path / "here"

    def cut(have: int, size: int) -> None:
        if have > 5_000_000:
            sshd.hang_up()

    assert refused(lambda: remote.fetch(str(log), file, cut)).kind == "lost"
    kept = file.read_bytes()
    assert len(kept) > 5_000_000 and log.read_bytes().startswith(kept)
    told: list[int] = []
    remote.fetch(str(log), file, lambda have, size: told.append(have))
    assert told[0] == len(kept) and file.read_bytes() == log.read_bytes()


def test_a_fetch_that_is_given_up_does_not_disturb_what_comes_after(sshd, connect, log, tmp_path):
    """Its last requests must not reach the channel that comes after its own."""
    remote = connect(sshd)
    threads = threading.active_count()

    def give_up(have: int, size: int) -> None:
        if have > 500_000:
            raise HostError("frankfurt", "enough", "enough of that")

    for number in range(20):
        log.write_bytes(os.urandom(3_000_001))
        file = tmp_path / f"here-{number}"
        assert refused(lambda: remote.fetch(str(log), file, give_up)).kind == "enough"
        assert remote.fetch(str(log), file) == 3_000_001
        assert file.read_bytes() == log.read_bytes()
    until = time.monotonic() + SOON_S
    while threading.active_count() > threads + 1:
        assert time.monotonic() < until, "none of paramiko's threads is left but the connection's own"
        time.sleep(0.01)


def test_a_disk_of_this_side_that_is_full(sshd, connect, log, tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    remote = connect(sshd)
    error = refused(lambda: remote.fetch(str(log), Path("/dev/full")))
    assert error.kind == "this side" and str(error).endswith("No space left on device; make room there")
    nowhere = refused(lambda: remote.fetch(str(log), tmp_path / "none" / "here"))
    assert nowhere.kind == "this side" and str(nowhere).endswith("on this side: No such file or directory")


def test_a_file_that_is_not_there(sshd, connect, tmp_path):
    error = refused(lambda: connect(sshd).fetch(f"{sshd.home}/nothing", tmp_path / "here"))
    assert error.kind == "no file" and "is not there" in str(error)
    assert not (tmp_path / "here").exists()


def test_point_6_sftp_that_is_switched_off(servers, tmp_path, connect):
    error = refused(
        lambda: connect(servers(tmp_path, "Subsystem other /bin/true")).fetch("/etc/hostname", tmp_path / "here")
    )
    assert error.kind == "sftp" and "switched off" in str(error)


def test_point_6_sftp_behind_a_bashrc_that_prints(servers, tmp_path, connect):
    """Which is read before a program that serves SFTP is run, as most sshds do."""
    program = next((file for file in SFTP_SERVERS if Path(file).exists()), None)
    if program is None:
        pytest.skip("there is no sftp-server on this machine")
    sshd = servers(tmp_path, f"Subsystem sftp {program}")
    remote = connect(sshd)
    remote.fetch("/etc/passwd", tmp_path / "before")
    (sshd.home / ".bashrc").write_text("echo welcome\n")
    error = refused(lambda: remote.fetch("/etc/passwd", tmp_path / "here"))
    assert error.kind == "sftp" and ".bashrc" in str(error)


def test_paramiko_has_nowhere_to_print_to():
    assert not logging.getLogger("paramiko").propagate

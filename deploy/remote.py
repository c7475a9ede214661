"""One host over ssh: asked for something, forwarded to, fetched from. Fabric and paramiko are used nowhere else.

    with Remote(host, lab, bundle, known_hosts) as remote:
        remote.ask("deploy", key=key)

Whatever paramiko waits for is bounded: much of it waits without limit, so it is ended from outside, by closing what
it waits on. Nothing of paramiko's reaches the caller: every failure is a HostError, and its log goes nowhere.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import random
import shlex
import socket
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from pathlib import Path
from threading import BoundedSemaphore, Event, Lock, RLock, Thread, Timer
from typing import Any

import fabric
import paramiko
from paramiko import BadHostKeyException, Channel, ChannelException, SSHException

from deploy import host_error, sftp, trust
from deploy.agent import loader
from deploy.bundle import Bundle
from deploy.host_error import HostError
from deploy.inventory import Host
from deploy.pump import Pump
from deploy.transport import Transport

CONNECT_S = 10.0  # for a host to take a connection,
SIGN_IN_S = 15  # for each of: its first words, letting us in
CHANNEL_S = 15.0  # for a channel to be opened
ASK_S, FETCH_S = 120.0, 600.0
STALL_S = 30.0  # without a byte of a file that is being fetched
TALK_LIMIT_S = 600.0  # how long the other side of a talk may live
HEARTBEAT_S, SILENT_S = 15.0, 20.0  # of a connection that carries others: how often it is tried, how long that may take
KNOCKS_S = (0.3, 0.7, 1.5, 3.0, 5.0)  # pauses before knocking again where connections are closed without a word
AT_ONCE = 8  # that knock at one sshd or pass through one at the same time; it begins to refuse them at ten
SESSIONS = 8  # at a time on one connection; an sshd lets ten be, unless it is told otherwise
SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 0.25  # before asking again for one that it did not let be
MOST_NOISE = 4096  # bytes of what else is printed there, kept to tell why there was no answer
LONGEST_LINE = 16 * 1024 * 1024

logging.getLogger("paramiko").addHandler(logging.NullHandler())  # without one it prints on its own
logging.getLogger("paramiko").propagate = False


class Remote:
    """One host. Opened when it is first needed; any number of threads may ask and fetch, and pass through it."""

    def __init__(
        self,
        host: Host,
        lab: str,
        bundle: Bundle,
        known_hosts: Path,
        jump: Remote | None = None,
        pin: bool = False,
    ) -> None:
        """`jump`: the host that the way leads through. `pin`: what is met for the first time is known from then on."""
        self.host, self.name, self.lab, self.bundle = host, host.name, lab, bundle
        self.known_hosts, self.jump, self.pin = known_hosts, jump, pin
        self.doing = "waiting for its turn"  # for who waits for it
        self._connection: fabric.Connection | None = None
        self._socket: socket.socket | Channel | None = None
        self._pump: Pump | None = None
        self._forwarded: dict[str, int] = {}
        self._opening, self._requests, self._changing = RLock(), Lock(), Lock()
        self._cuts, self._stopped, self._sessions = 0, Event(), BoundedSemaphore(SESSIONS)
        self._attempts, self._failure = 0, None  # of opening, so that those who waited for one share how it ended

    def __enter__(self) -> Remote:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def where(self) -> str:
        """Its sshd."""
        return f"{self.host.address}:{self.host.port}"

    @property
    def is_open(self) -> bool:
        """Whether there is a connection that is not known to be broken."""
        transport = self._transport
        return transport is not None and transport.is_active() and transport.is_authenticated()

    def open(self) -> None:
        """Connect and sign in, unless that has been done."""
        attempts = self._attempts
        with self._opening:
            if self.is_open:
                return
            if self._failure is not None and self._attempts > attempts:
                raise self._failure
            self._attempts += 1
            try:
                self._open()
                self._failure = None
            except HostError as error:
                self._failure = error
                raise

    def close(self) -> None:
        """Let go of the host; what was forwarded ends."""
        self._cut()

    def stop(self) -> None:
        """From any thread: whatever is being done ends at once, with an error, and nothing is begun until `resume`."""
        self._stopped.set()
        self._cut()
        if self.jump is not None and not self.jump.is_open:
            self.jump.stop()  # it is what is waited for

    def resume(self) -> None:
        """After `stop`."""
        self._stopped.clear()
        if self.jump is not None:
            self.jump.resume()

    # Asking.

    def ask(self, action: str, payload: bytes = b"", timeout_s: float = ASK_S, **request: Any) -> dict[str, Any]:
        """Have the agent there do something; what it says when it is done."""
        with self.talk(action, payload, timeout_s, limit_s=timeout_s, **request) as talk:
            return talk.finish(timeout_s)

    @contextmanager
    def talk(
        self,
        action: str,
        payload: bytes = b"",
        timeout_s: float = ASK_S,
        limit_s: float = TALK_LIMIT_S,
        **request: Any,
    ) -> Iterator[Talk]:
        """The same for actions that say and hear more than once, within `limit_s` in all."""
        request |= {"lab": self.lab, "digest": self.bundle.digest, "size": len(_packed(self.bundle))}
        request |= {"action": action, "payload": len(payload), "limit_s": limit_s}
        with self._session(timeout_s) as channel:
            talk = Talk(self, channel, action)
            with self._within(timeout_s, f"asking for {action}"):
                channel.settimeout(timeout_s)
                channel.exec_command(command())
                talk.write(json.dumps(request).encode() + b"\n" + payload)
                if not talk.receive(timeout_s)["has"]:
                    talk.write(_packed(self.bundle))
            yield talk

    # Forwarding.

    def forward(self, targets: dict[str, tuple[str, int]]) -> dict[str, int]:
        """For each target the port of 127.0.0.1 there from which it can be reached, as long as this is open."""
        self.open()
        pump, ports = self._pump, self._forwarded  # whoever cuts the connection meanwhile takes them away
        if pump is not None and all(
            name in ports and pump.targets.get(ports[name]) == targets[name] for name in targets
        ):
            return {name: ports[name] for name in targets}
        with self._within(CHANNEL_S, "opening the way back"):
            is_first = pump is None
            if is_first:
                pump = self._pump = Pump()
            for name, target in targets.items():
                if name not in ports:
                    ports[name] = self._forward_one(pump)
                pump.targets[ports[name]] = target
            if is_first:
                Thread(target=self._watch, args=(self._live(), self._cuts), daemon=True).start()
        return {name: ports[name] for name in targets}

    @property
    def carried(self) -> int:
        """How many connections are being carried."""
        return self._pump.carried if self._pump else 0

    def _forward_one(self, pump: Pump) -> int:
        with self._requests:
            try:
                return self._live().request_port_forward("127.0.0.1", 0, pump.accept)
            except SSHException:
                if not self.is_open:
                    raise
                sentence = "it does not let ports be forwarded; set AllowTcpForwarding in its sshd_config"
                raise HostError(self.name, "forward refused", f"{sentence}, or have `control: direct`") from None

    def _watch(self, transport: paramiko.Transport, cuts: int) -> None:
        """Close a connection that answers nothing any more, so that those it carries are not left hanging.

        What paramiko calls a keepalive wants no answer, and TCP itself notices much later, behind a jump never.
        """
        while True:
            transport.join(HEARTBEAT_S)  # it is a thread, and ends with the connection
            if not transport.is_active():
                self._cut(cuts)
                return
            silent = Timer(SILENT_S, self._cut, [cuts])
            silent.daemon = True
            silent.start()
            with self._requests, suppress(SSHException, OSError, EOFError):
                transport.global_request("keepalive@openssh.com", wait=True)
            silent.cancel()

    # Fetching.

    def fetch(
        self,
        path: str,
        file: Path,
        on_bytes: Callable[[int, int], None] | None = None,
        timeout_s: float = FETCH_S,
    ) -> int:
        """Bring a file from there, from where this one ends; how large it is. What came before an error is kept."""
        with self._session(timeout_s) as channel, self._within(timeout_s, f"fetching {path}"):
            channel.settimeout(STALL_S)
            try:
                return sftp.fetch(self.name, self._sftp(channel), path, file, on_bytes or (lambda have, size: None))
            except (OSError, EOFError, SSHException, paramiko.SFTPError) as error:
                raise host_error.of_fetching(self.name, path, error) or error from None

    def _sftp(self, channel: Channel) -> paramiko.SFTPClient:
        try:
            channel.invoke_subsystem("sftp")
            return paramiko.SFTPClient(channel)
        except (SSHException, EOFError):
            if not self.is_open:
                raise
            raise host_error.of_no_sftp(self.name) from None

    # Connecting.

    @contextmanager
    def _session(self, patience_s: float) -> Iterator[Channel]:
        """A channel for something that runs there. Only so many may be at a time (MaxSessions): one is waited for."""
        self.open()
        until, pause_s, channel = time.monotonic() + patience_s, SHORTEST_PAUSE_S, None
        answer_s = min(patience_s, CHANNEL_S)
        if not self._sessions.acquire(timeout=patience_s):
            raise host_error.of_too_many_sessions(self.name)
        try:
            while channel is None:
                with self._within(answer_s, "opening a session"):
                    try:
                        channel = self._live().open_session(timeout=answer_s)
                    except ChannelException:
                        if time.monotonic() > until:
                            raise host_error.of_too_many_sessions(self.name) from None
                if channel is None:
                    self._stopped.wait(pause_s)
                    pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            yield channel
        finally:
            self._sessions.release()
            with suppress(OSError, EOFError, SSHException):
                if channel is not None:
                    channel.close()

    @property
    def _transport(self) -> paramiko.Transport | None:
        connection = self._connection
        return connection.client.get_transport() if connection is not None else None

    def _live(self) -> paramiko.Transport:
        if (transport := self._transport) is None:
            raise EOFError  # it was closed since it was opened
        return transport

    def _open(self) -> None:
        if self.jump is not None:
            self.doing = f"waiting for {self.jump.name}, on the way there"
            try:
                self.jump.open()
            except HostError as error:
                sentence = f"it is reached through {error.host}, and there: {error.sentence}"
                raise HostError(self.name, error.kind, sentence, error.detail) from None
        self._cut()
        with self._door():
            for pause_s in (*KNOCKS_S, None):
                try:
                    self._connect()
                    return
                except _ClosedWithoutAWord:
                    if pause_s is None:
                        tries = len(KNOCKS_S) + 1
                        raise host_error.of_closed_door(self.name, self.where, tries) from None
                self.doing = f"knocking again at {self.where}, which closes connections without a word"
                if self._stopped.wait(pause_s * random.uniform(0.5, 1.5)):  # not all at the same time again
                    raise host_error.of_loss(self.name, self.doing)

    def _connect(self) -> None:
        connection, locked = self._new_connection()
        cuts, waited_s = self._cuts, CONNECT_S + 2 * SIGN_IN_S
        with self._within(waited_s, f"connecting to {self.where}"):
            try:
                if not connection.gateway:  # which the user's own configuration of ssh may name
                    connection.connect_kwargs["sock"] = self._dial((connection.host, int(connection.port)))
                with self._changing:
                    self._connection = connection
                if self._stopped.is_set():
                    raise host_error.of_loss(self.name, self.doing)
                self.doing = f"signing in at {self.where}"
                connection.open()
                self._forwarded, self._pump = {}, None
            except (SSHException, OSError, EOFError) as error:
                if self._cuts != cuts:
                    raise  # somebody did that, and knows why
                raise self._why_not_open(connection, locked, error) from None
            finally:
                if not self.is_open:
                    self._cut_quietly(connection, self._socket)

    def _dial(self, where: tuple[str, int]) -> socket.socket | Channel:
        """A socket of our own, so that it can be closed while paramiko waits for it."""
        if self.jump is not None:
            try:
                sock = self.jump._live().open_channel("direct-tcpip", where, ("", 0), timeout=CONNECT_S)
            except (SSHException, EOFError, OSError) as error:
                if not self.jump.is_open:
                    raise host_error.of_loss(self.name, f"passing through {self.jump.name}", error) from None
                raise host_error.of_the_way(self.name, self.jump.name, self.where, error) from None
        else:
            try:
                sock = socket.create_connection(where, timeout=CONNECT_S)
            except TimeoutError:
                raise host_error.of_silence(self.name, self.where, CONNECT_S) from None
            except (OSError, UnicodeError) as error:
                raise host_error.of_connecting(self.name, self.where, error) from None
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._changing:
            self._socket = sock
        return sock

    def _new_connection(self) -> tuple[fabric.Connection, bool]:
        """A connection that is not open yet, and whether its key can only be had from an ssh agent."""
        key, locked = trust.key_in(self.name, self.host.key) if self.host.key else (None, False)
        named = self.host.key is not None
        connection = fabric.Connection(
            self.host.address,
            user=self.host.user or None,
            port=self.host.port,
            config=trust.ssh_configuration(),
            gateway=False if self.jump is not None else None,
            connect_timeout=SIGN_IN_S,  # which paramiko takes for the first words as well
            connect_kwargs={
                "pkey": key,
                "allow_agent": not named or locked,
                "look_for_keys": not named,
                "banner_timeout": SIGN_IN_S,
                "auth_timeout": SIGN_IN_S,
                "channel_timeout": CHANNEL_S,
                "transport_factory": partial(Transport, patience_s=SIGN_IN_S),
            },
        )
        # Files that the user's configuration of ssh names may not be there, which ssh does not mind.
        found = [file for file in connection.connect_kwargs.pop("key_filename", []) if os.path.exists(file)]
        if found and not named:
            connection.connect_kwargs["key_filename"] = found
        hop: Any = connection
        while isinstance(hop, fabric.Connection):  # Fabric itself takes any key of any host
            hop.client.set_missing_host_key_policy(trust.Unknown(self.name, self.known_hosts, self.pin))
            trust.load(hop.client, self.known_hosts)
            hop = hop.gateway
        return connection, locked

    def _why_not_open(self, connection: fabric.Connection, locked: bool, error: Exception) -> Exception:
        transport = connection.client.get_transport()
        if isinstance(error, BadHostKeyException):
            entry = trust.entry(error.hostname, int(connection.port))
            return host_error.of_changed_key(self.name, self.known_hosts, entry, error)
        if transport is None:
            return host_error.of_connecting(self.name, self.where, error)
        if not transport.initial_kex_done:
            if transport.was_silent:
                return host_error.of_silence(self.name, self.where, SIGN_IN_S)
            if not transport.remote_version:
                return _ClosedWithoutAWord()
            return host_error.of_connecting(self.name, self.where, error)
        return host_error.of_signing_in(self.name, connection.user, self.host.key, locked, error) or error

    @contextmanager
    def _door(self) -> Iterator[None]:
        """At most so many at once knock at one sshd; those behind a jump pass through that one together."""
        first = self.jump or self
        with _doors_lock:
            door = _doors.setdefault(first.where, BoundedSemaphore(AT_ONCE))
        with door:
            yield

    # Ending.

    @contextmanager
    def _within(self, timeout_s: float, doing: str) -> Iterator[None]:
        """What is done in here ends in time, and ends as a HostError if it fails."""
        if self._stopped.is_set():
            raise host_error.of_loss(self.name, doing)
        self.doing, since, cuts = doing, time.monotonic(), self._cuts
        timer = Timer(timeout_s, self._cut, [cuts])
        timer.daemon = True
        timer.start()
        try:
            yield
        except (HostError, _ClosedWithoutAWord):
            raise
        except (SSHException, OSError, EOFError) as error:
            waited_s = time.monotonic() - since
            if isinstance(error, TimeoutError) or waited_s >= timeout_s:
                self._cut(cuts)  # also where the timer was not the first to notice
                raise host_error.of_deadline(self.name, self.doing, waited_s) from None
            raise host_error.of_loss(self.name, self.doing, error) from None
        finally:
            timer.cancel()

    def _cut(self, only_if: int | None = None) -> None:
        """Close all there is, whatever waits for it; `only_if` nobody else has since."""
        with self._changing:
            if only_if is not None and self._cuts != only_if:
                return
            self._cuts += 1
            connection, self._connection = self._connection, None
            sock, self._socket = self._socket, None
            pump, self._pump, self._forwarded = self._pump, None, {}
        if pump is not None:
            pump.close()
        self._cut_quietly(connection, sock)

    def _cut_quietly(self, connection: fabric.Connection | None, sock: socket.socket | Channel | None = None) -> None:
        transport = connection.client.get_transport() if connection is not None else None
        for end in (transport, sock):
            if end is not None:
                with suppress(OSError, EOFError, SSHException):
                    end.close()


class Talk:
    """An exchange with the agent on one host."""

    def __init__(self, remote: Remote, channel: Channel, action: str) -> None:
        self.action = action
        self._remote, self._channel = remote, channel
        self._in, self._noise = bytearray(), ""

    def send(self, message: dict[str, Any]) -> None:
        """Say something to the agent."""
        with self._remote._within(CHANNEL_S, f"talking about {self.action}"):
            self.write(json.dumps(message).encode() + b"\n")

    def receive(self, timeout_s: float) -> dict[str, Any]:
        """The next thing it says; HostError if it fails, or says nothing in time (kind `timeout`: ask again then)."""
        until = time.monotonic() + timeout_s
        while (message := self._next_message()) is None:
            rest_s = until - time.monotonic()
            self._channel.settimeout(max(0.0, rest_s))
            try:
                if rest_s < 0:  # noise alone would keep it from ever being late
                    raise TimeoutError
                data = self._channel.recv(1 << 16)
            except TimeoutError:
                doing = f"waiting for its answer ({self.action})"
                raise host_error.of_deadline(self._remote.name, doing, timeout_s) from None
            if not data:
                raise self._no_answer()
            self._in += data
            if len(self._in) > LONGEST_LINE:
                raise HostError(self._remote.name, "fault", f"it answers without end ({self.action})")
        if "failed" in message:
            raise HostError(self._remote.name, message["kind"], message["failed"], message.get("detail", ""))
        return message

    def finish(self, timeout_s: float) -> dict[str, Any]:
        """What it says when it is done; whatever it says before is passed over."""
        until = time.monotonic() + timeout_s
        while "done" not in (message := self.receive(until - time.monotonic())):
            pass
        return message["done"]

    def write(self, data: bytes) -> None:
        """Bytes to its standard input. If it has ended, what it said last says why: that is still to be received."""
        try:
            self._channel.sendall(data)
        except TimeoutError:
            raise
        except OSError:
            pass

    def _next_message(self) -> dict[str, Any] | None:
        while b"\n" in self._in:
            line, _, rest = self._in.partition(b"\n")
            self._in = rest
            text = line.decode(errors="replace")
            if text.startswith(loader.MARK):
                with suppress(ValueError):
                    return json.loads(text.removeprefix(loader.MARK))
            self._noise = (self._noise + text + "\n")[-MOST_NOISE:]
        return None

    def _no_answer(self) -> HostError:
        """Why it ended without having said how it went."""
        transport = self._channel.get_transport()
        if not transport.is_active():
            return host_error.of_loss(self._remote.name, f"waiting for its answer ({self.action})")
        self._channel.settimeout(1.0)
        said = self._noise
        with suppress(TimeoutError):
            said += self._channel.recv_stderr(MOST_NOISE).decode(errors="replace")
        last = next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "it said nothing")
        sentence = f"its shell ended the request without an answer: {last}"
        return HostError(self._remote.name, "no answer", sentence, said)


# What is the same for all hosts.


@lru_cache
def command() -> str:
    """What is run on a host, whatever is asked: its Python with the loader, or a word about the lack of a Python.

    One line without any sign that one login shell or other would take as meant for itself.
    """
    source = Path(loader.__file__).read_bytes()
    packed = base64.b64encode(zlib.compress(source, 9)).decode()
    lack = json.dumps({"failed": "it has no python3; install one, 3.10 or later", "kind": "no python"})
    lack = (loader.MARK + lack).replace('"', '\\"')
    run = 'exec python3 -I -c "import base64,zlib;exec(zlib.decompress(base64.b64decode(\\"$0\\")))"'
    script = f'command -v python3 >/dev/null 2>&1 || {{ echo; echo "{lack}"; exit 127; }}; {run}'
    return f"exec sh -c {shlex.quote(script)} {packed}"


@lru_cache(maxsize=4)
def _packed(bundle: Bundle) -> bytes:
    return zlib.compress(bundle.data, 6)


class _ClosedWithoutAWord(Exception):
    """An sshd took the connection and closed it: it has too many that are not signed in yet."""


_doors: dict[str, BoundedSemaphore] = {}
_doors_lock = Lock()

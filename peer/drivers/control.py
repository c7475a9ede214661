"""Control connections: framed JSON over TCP, every frame tagged with the lab's key.

    frame = length u32 | tag 16 bytes | JSON length u32 | JSON | further bytes

Whoever accepts a connection first sends a nonce; every tag covers it, the direction and
a counter, so that no frame can be forged, replayed or moved to another connection.
Authenticated, not encrypted. Nothing here blocks: bytes in, messages out.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import os
import secrets
import socket
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from peer.core.errors import LabError, SettingsError, WireError
from peer.drivers.program import say

GREETING = b"mol-control-1\n"
NONCE_BYTES = 16
TAG_BYTES = 16
LARGEST_FRAME = 4 * 1024 * 1024
LARGEST_FIRST_FRAME = 128 * 1024  # of who connects: no more is kept for a stranger
LONGEST_NUMBER = 20  # digits of a whole one: 64 bits
DEEPEST = 16  # how many lists and objects of a message may lie one inside the other
CHUNK_BYTES = 256 * 1024
KEY_BYTES = 32  # of a fresh one; those from elsewhere have
LEAST_KEY_BYTES, MOST_KEY_BYTES = 16, 64
MOST_KEY_TEXT = 1024
DEFAULT_KEY = Path(".lab/key")

_LENGTH = struct.Struct("<I")


def read_key(path: str | Path | None) -> bytes:
    """The key in this file; the default file is made on first use, for its owner only."""
    file = Path(path) if path else DEFAULT_KEY
    try:
        if path is None and not file.exists():
            _make_key(file)
        with open(file, "rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            key = bytes.fromhex(str(opened.read(MOST_KEY_TEXT), "ascii").strip())
    except OSError as error:
        how = ""
        if path is not None and isinstance(error, FileNotFoundError):
            how = f"; without --key one is made in {DEFAULT_KEY}, and a copy of it may have any name"
        raise SettingsError(f"cannot read the key: {error.strerror}{how}", file=str(file)) from None
    except ValueError:
        raise SettingsError("a key is one line of hexadecimal digits", file=str(file)) from None
    if len(key) < LEAST_KEY_BYTES:
        raise SettingsError(f"a key has at least {LEAST_KEY_BYTES} bytes, this one {len(key)}", file=str(file))
    if len(key) > MOST_KEY_BYTES:
        raise SettingsError(f"a key has at most {MOST_KEY_BYTES} bytes, this one {len(key)}", file=str(file))
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        say(f"the key in {file} is open to others; `chmod 600 {file}` keeps it to its owner", "warning")
    return key


def _make_key(file: Path) -> None:
    """A fresh key, all of it or nothing: of several processes that make one at once all read the same."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f"{file.name}-{secrets.token_hex(8)}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(secrets.token_hex(KEY_BYTES) + "\n")
    try:
        os.link(draft, file)
    except FileExistsError:
        pass  # another process was quicker
    finally:
        draft.unlink()


class Connection:
    """One end of a control connection over a socket that does not block."""

    def __init__(self, sock: socket.socket, key: bytes, *, accepted: bool, largest_frame: int = LARGEST_FRAME) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _notice_death(sock)
        self.socket, self.key, self.accepted, self.largest_frame = sock, key, accepted, largest_frame
        self.closed = ""  # why, once it is
        self._in, self._out = bytearray(), bytearray()
        self._nonce: bytes | None = None
        self._sent = self._received = 0
        self._early: list[tuple[Any, bytes]] = []  # what was to be sent before the nonce came
        if accepted:
            self._nonce = secrets.token_bytes(NONCE_BYTES)
            self._out += GREETING + self._nonce

    def fileno(self) -> int:
        return self.socket.fileno()

    @property
    def wants_to_write(self) -> bool:
        """Whether bytes wait for room in the socket's buffer."""
        return bool(self._out)

    @property
    def backlog(self) -> int:
        """How many bytes wait to be sent."""
        return len(self._out)

    def send(self, message: Any, tail: bytes = b"") -> None:
        """Queue a message (and bytes behind it) and send what can be sent at once."""
        if self.closed:
            return
        if self._nonce is None:
            self._early.append((message, tail))
            return
        text = json.dumps(message, separators=(",", ":")).encode()
        payload = _LENGTH.pack(len(text)) + text + tail
        tag = self._tag(payload, self._sent, self.accepted)
        self._sent += 1
        self._out += _LENGTH.pack(TAG_BYTES + len(payload)) + tag + payload
        self.write()

    def write(self) -> None:
        """Send what the socket takes."""
        try:
            while self._out and not self.closed:
                sent = self.socket.send(memoryview(self._out)[:262144].tobytes())
                del self._out[:sent]
        except BlockingIOError:
            pass
        except OSError as error:
            self.close(error.strerror or "the connection broke")

    def read(self) -> Iterator[tuple[Any, bytes]]:
        """The messages that have arrived whole; `closed` says when there will be no more."""
        try:
            while True:
                data = self.socket.recv(262144)
                if not data:
                    yield from self._messages()
                    self.close(self.closed or "the other side closed the connection")
                    return
                self._in += data
                yield from self._messages()
                if self.closed or len(data) < 262144:
                    return
        except BlockingIOError:
            return
        except OSError as error:
            self.close(error.strerror or "the connection broke")

    def close(self, why: str = "closed") -> None:
        """Nothing more is sent or read."""
        self.closed = self.closed or why
        self.socket.close()

    def _messages(self) -> Iterator[tuple[Any, bytes]]:
        try:
            if self._nonce is None and not self._greeted():
                return
            while len(self._in) >= _LENGTH.size:
                (length,) = _LENGTH.unpack_from(self._in)
                largest = LARGEST_FIRST_FRAME if self.accepted and not self._received else LARGEST_FRAME
                if not TAG_BYTES + _LENGTH.size <= length <= min(largest, self.largest_frame):
                    raise WireError("frame", f"a length of {length}")
                if len(self._in) < _LENGTH.size + length:
                    return
                frame = bytes(self._in[_LENGTH.size : _LENGTH.size + length])
                del self._in[: _LENGTH.size + length]
                yield self._open(frame)
        except WireError as error:
            self.close(str(error))

    def _greeted(self) -> bool:
        if len(self._in) < len(GREETING) + NONCE_BYTES:
            if not GREETING.startswith(bytes(self._in[: len(GREETING)])):
                raise WireError("greeting", "not a service of this lab")
            return False
        if not self._in.startswith(GREETING):
            raise WireError("greeting", "not a service of this lab")
        self._nonce = bytes(self._in[len(GREETING) : len(GREETING) + NONCE_BYTES])
        del self._in[: len(GREETING) + NONCE_BYTES]
        early, self._early = self._early, []
        for message, tail in early:
            self.send(message, tail)
        return True

    def _open(self, frame: bytes) -> tuple[Any, bytes]:
        payload = frame[TAG_BYTES:]
        if not hmac.compare_digest(frame[:TAG_BYTES], self._tag(payload, self._received, not self.accepted)):
            raise WireError("key", "the other side has another key")
        self._received += 1
        (length,) = _LENGTH.unpack_from(payload)
        if length > len(payload) - _LENGTH.size:
            raise WireError("frame", "the JSON is cut")
        return message_of(payload[_LENGTH.size : _LENGTH.size + length]), payload[_LENGTH.size + length :]

    def _tag(self, payload: bytes, counter: int, from_accepter: bool) -> bytes:
        context = self._nonce + struct.pack("<Q?", counter, from_accepter)
        return hashlib.blake2b(context + payload, key=self.key, digest_size=TAG_BYTES).digest()


def message_of(text: bytes) -> Any:
    """What a frame says; WireError unless it is JSON that can be said again: not deep, its numbers finite."""
    try:
        message = json.loads(str(text, "utf-8"), parse_int=_whole, parse_float=_finite, parse_constant=_finite)
        if b"\\u" in text:
            json.dumps(message, ensure_ascii=False).encode()  # which half of a letter cannot be
    except (ValueError, RecursionError):  # RecursionError: brackets nested without end
        raise WireError("json") from None
    if _is_deeper(message, DEEPEST):
        raise WireError("json", "nested too deep")
    return message


def _whole(text: str) -> int:
    if len(text) > LONGEST_NUMBER:
        raise ValueError(text)
    return int(text)


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(text)
    return value


def _is_deeper(value: Any, levels: int) -> bool:
    if type(value) is dict:
        value = value.values()
    elif type(value) is not list:
        return False
    return not levels or any(_is_deeper(item, levels - 1) for item in value)


def _notice_death(sock: socket.socket) -> None:
    """Have the system close a connection whose other side has been silent, even to probes, for half a minute."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 15), ("TCP_KEEPALIVE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):  # what macOS calls KEEPALIVE, Linux calls KEEPIDLE
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def dial(endpoint: tuple[str, int], key: bytes, timeout_s: float = 5.0) -> Connection:
    """Connect to a service; LabError with one sentence if nobody answers."""
    try:
        return Connection(socket.create_connection(endpoint, timeout=timeout_s), key, accepted=False)
    except OSError as error:
        where = f"{endpoint[0]}:{endpoint[1]}"
        raise LabError(f"cannot connect to {where}: {error.strerror or error or 'timed out'}") from None


def parse_endpoint(text: str, *, port: int | None = None, path: str = "") -> tuple[str, int]:
    """HOST:PORT as a pair; HOST alone where a default port is given. `path`: the option or setting that says so."""
    host, colon, number = text.rpartition(":")
    if not colon and port is not None:
        host, number = text, str(port)
    if not (number.isascii() and number.isdigit()):
        raise SettingsError(f"expected HOST:PORT, found {text!r}", path=path)
    if len(number) > 9 or int(number) > 65535:
        raise SettingsError(f"expected HOST:PORT with a port from 0 to 65535, found {text!r}", path=path)
    if ":" in host:
        raise SettingsError(f"expected HOST:PORT with a name or an IPv4 address, found {text!r}", path=path)
    return host or "0.0.0.0", int(number)

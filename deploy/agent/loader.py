"""The first program of every request: sent to a host as an argument of its Python, it brings the agent there to life.

It is read by whatever `python3` that host has, so its syntax is that of Python 3.4: one that is too old says so
itself. The agent is imported from an archive in memory, from the lab's own if that is the one wanted, else from one
that the operator sends: nothing is written anywhere for that, so a full disk is no matter and nothing is left behind.

    operator -> line of JSON, payload, and the archive if it was asked for, compressed
    operator <- lines `=lab= {json}`; what else comes is no word of ours (a .bashrc that prints, say)
"""

import hashlib
import importlib.util
import io
import json
import os
import select
import signal
import sys
import traceback
import zipfile
import zlib

MARK = "=lab= "
OLDEST = (3, 10)
REQUEST_S = 60  # for the request to be here; it says itself how long the rest may take
LONGEST_LINE = 1 << 20
ARCHIVE = ("~", ".ordering-lab", "{lab}", "lab.pyz")  # where `deploy.agent.place` keeps it


class Archive:
    """Finds modules in an archive that is held in memory."""

    def __init__(self, data):
        self.data = data
        self.files = zipfile.ZipFile(io.BytesIO(data))
        self.names = frozenset(self.files.namelist())

    def find_spec(self, name, path=None, target=None):
        stem = name.replace(".", "/")
        for file, is_package in ((stem + "/__init__.py", True), (stem + ".py", False)):
            if file in self.names:
                return importlib.util.spec_from_loader(name, self, origin=file, is_package=is_package)
        return None

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        origin = module.__spec__.origin
        exec(compile(self.files.read(origin), origin, "exec"), module.__dict__)


class Operator:
    """What the operator says on standard input: bytes first, then messages."""

    def __init__(self):
        self.held = bytearray()

    def fileno(self):
        return 0

    def __call__(self, timeout_s):
        """The next message; None if there will be none any more, TimeoutError if there was none in time."""
        while True:
            line, end, _ = self.held.partition(b"\n")
            if end:
                del self.held[: len(line) + 1]
                return json.loads(line.decode("utf-8"))
            if len(self.held) > LONGEST_LINE:
                raise ValueError("a message without end")
            if not select.select([0], [], [], timeout_s)[0]:
                raise TimeoutError
            if not self.read_some():
                return None

    def bytes(self, size):
        """Exactly so many; EOFError if there are fewer."""
        while len(self.held) < size:
            if not self.read_some():
                raise EOFError
        data = bytes(self.held[:size])
        del self.held[:size]
        return data

    def read_some(self):
        data = os.read(0, 1 << 16)
        self.held += data
        return bool(data)


def say(message):
    """A line to the operator. It begins with an end of line, as whoever spoke before may not have ended theirs."""
    data = ("\n" + MARK + json.dumps(message) + "\n").encode("ascii")
    while data:
        data = data[os.write(1, data) :]


def digest_of(data, like):
    return hashlib.blake2b(data, digest_size=len(like) // 2).hexdigest()


def archive_of(request, operator):
    """The archive that the request wants: the one that is here, or the one that the operator has."""
    parts = [part.replace("{lab}", request["lab"]) for part in ARCHIVE]
    try:
        with open(os.path.expanduser(os.path.join(*parts)), "rb") as file:
            data = file.read()
    except OSError:
        data = b""
    has = digest_of(data, request["digest"]) == request["digest"]
    say({"has": has})
    if not has:
        data = zlib.decompress(operator.bytes(request["size"]))
        if digest_of(data, request["digest"]) != request["digest"]:
            raise ValueError("the archive is not what its digest says")
    return Archive(data)


def end(number, frame):
    """Of a signal: whatever is to be tidied up on the way out is."""
    raise SystemExit(128 + number)


def serve():
    """Do what the request says; the exit code."""
    if sys.version_info < OLDEST:
        mine = ".".join(str(part) for part in sys.version_info[:2])
        least = ".".join(str(part) for part in OLDEST)
        say({"failed": "its python3 is " + mine + ", and " + least + " or later is needed", "kind": "old python"})
        return 1
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, end)
    signal.alarm(REQUEST_S)
    operator = Operator()
    try:
        request = operator(REQUEST_S)
        if request is None:
            return 1
        signal.alarm(int(request["limit_s"]) + 1)
        payload = operator.bytes(request["payload"])
        archive = archive_of(request, operator)
        sys.meta_path.insert(0, archive)
        from deploy.agent.actions import act

        say({"done": act(request, payload, archive.data, operator, say)})
        return 0
    except (EOFError, BrokenPipeError):
        return 1  # the operator has gone
    except Exception as error:
        sentence = str(error) if hasattr(error, "kind") else type(error).__name__ + ": " + str(error)
        failed = {"failed": sentence, "kind": getattr(error, "kind", "fault")}
        if failed["kind"] == "fault":
            failed["detail"] = traceback.format_exc()
        try:
            say(failed)
        except OSError:
            pass
        return 1


if __name__ == "__main__":
    sys.exit(serve())

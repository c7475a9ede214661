"""The group manager on real sockets: replies, strangers, and the process itself."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from group_manager.service import LARGEST_REQUEST, Service
from peer.core.errors import BAD_SETTINGS, INTERRUPTED
from peer.drivers.control import dial
from tests.control_client import WAIT_S, Client, ends, frame_length, raw, reads_little, until

KEY = bytes(range(32))
ROOT = Path(__file__).parents[2]


@pytest.fixture
def service():
    service = Service(("127.0.0.1", 0), KEY)
    yield service
    service.close()


def register(name, **more):
    return {"op": "register", "name": name, "endpoint": ["127.0.0.1", 7000], **more}


def test_a_reply_repeats_the_id_of_its_request(service):
    client = Client(service.endpoint, KEY, service.poll)
    assert client.ask(register("p0", id=17))["id"] == 17
    assert client.ask({"op": "list", "id": "a"}) == {
        "ok": True,
        "members": [{"name": "p0", "endpoint": ["127.0.0.1", 7000], "incarnation": ""}],
        "id": "a",
    }
    assert "id" not in client.ask({"op": "list"})


def test_many_requests_in_one_segment_are_answered_in_order(service):
    client = Client(service.endpoint, KEY, service.poll)
    for number in range(500):
        client.connection.send({"op": "list", "id": number})
    assert [client.hear()["id"] for _ in range(500)] == list(range(500))


NONSENSE = [None, 3, "list", [], [[]], {}, {"op": None}, {"op": "heartbeat", "name": {"a": []}}]


@pytest.mark.parametrize("request_", NONSENSE)
def test_what_it_does_not_understand_gets_a_reply(service, request_):
    client = Client(service.endpoint, KEY, service.poll)
    assert client.ask(request_)["ok"] is False
    assert client.ask(register("p0"))["ok"], "and the connection goes on"


def test_another_key_ends_that_connection_and_no_other(service):
    good = Client(service.endpoint, KEY, service.poll)
    assert good.ask(register("p0"))["ok"]
    bad = Client(service.endpoint, bytes(32), service.poll)
    bad.connection.send(register("p1"))
    assert bad.is_closed()
    assert [row["name"] for row in good.ask({"op": "list"})["members"]] == ["p0"]


@pytest.mark.parametrize(
    "noise",
    [
        b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n",
        b"\x80\x04\x95pickle",
        bytes(64),
        frame_length(LARGEST_REQUEST + 1) + bytes(100),
        frame_length(0xFFFFFFFF),
        frame_length(3) + bytes(3),
        frame_length(40) + bytes(40),
    ],
)
def test_noise_ends_that_connection_and_no_other(service, noise):
    good = Client(service.endpoint, KEY, service.poll)
    assert good.ask(register("p0"))["ok"]
    with raw(service.endpoint) as sock:
        sock.sendall(noise)
        assert ends(sock, service.poll)
    assert good.ask({"op": "heartbeat", "name": "p0"})["ok"]


def test_a_frame_that_the_key_opens_may_still_be_too_large(service):
    client = Client(service.endpoint, KEY, service.poll).greeted()
    client.connection.send({"op": "list", "padding": "x" * LARGEST_REQUEST})
    assert client.is_closed()


def test_brackets_without_end_do_no_harm(service):
    deep = Client(service.endpoint, KEY, service.poll).greeted()
    text = b"[" * 60_000
    payload = len(text).to_bytes(4, "little") + text
    connection = deep.connection
    frame = connection._tag(payload, 0, False) + payload
    connection.socket.setblocking(True)
    connection.socket.sendall(frame_length(len(frame)) + frame)
    connection.socket.setblocking(False)
    assert deep.is_closed()
    assert Client(service.endpoint, KEY, service.poll).ask({"op": "list"})["ok"]


def test_a_registration_outlives_its_connection_by_its_lease(service):
    client = Client(service.endpoint, KEY, service.poll)
    client.ask(register("p0"))
    client.connection.close()
    other = Client(service.endpoint, KEY, service.poll)
    assert other.ask({"op": "heartbeat", "name": "p0"})["ok"]


# -- the process


def start(key_file, *arguments):
    command = [sys.executable, "-m", "group_manager", "--bind", "127.0.0.1:0", "--key", str(key_file), *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    host, _, port = process.stdout.readline().split()[-1].rpartition(":")
    return process, (host, int(port))


@pytest.fixture
def key_file(tmp_path):
    file = tmp_path / "key"
    file.touch(mode=0o600)
    file.write_text(KEY.hex() + "\n")
    return file


def test_it_says_where_it_listens_and_ends_quietly_on_ctrl_c(key_file):
    process, endpoint = start(key_file)
    client = Client(endpoint, KEY, time.sleep)
    assert client.ask({"op": "list"})["ok"]
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=WAIT_S)
    assert (process.returncode, out, err) == (INTERRUPTED, "", "")


def test_it_ends_when_it_is_told_to_and_says_so_first(key_file):
    process, endpoint = start(key_file)
    client = Client(endpoint, KEY, time.sleep)
    assert client.ask({"op": "stop"})["ok"]
    assert process.wait(WAIT_S) == 0
    assert client.is_closed()
    process.communicate()


def test_a_port_in_use_is_one_sentence(key_file):
    process, endpoint = start(key_file)
    try:
        port = "{}:{}".format(*endpoint)
        command = [sys.executable, "-m", "group_manager", "--bind", port, "--key", str(key_file)]
        second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=WAIT_S)
        assert second.returncode == BAD_SETTINGS and second.stdout == ""
        assert second.stderr == f"error: cannot listen on {port}: Address already in use\n"
    finally:
        process.terminate()
        process.communicate(timeout=WAIT_S)


def test_the_port_can_be_taken_again_at_once(key_file):
    process, endpoint = start(key_file)
    client = Client(endpoint, KEY, time.sleep)
    client.ask({"op": "stop"})  # the manager closes first, so its side of the connection lingers
    process.communicate(timeout=WAIT_S)
    again = Service(endpoint, KEY)
    assert again.endpoint == endpoint
    again.close()


@pytest.mark.parametrize("bind", ["127.0.0.1:port", "127.0.0.1:65536", "192.0.2.1:0", "no.such.host.invalid:0"])
def test_an_address_that_cannot_be_is_one_sentence(bind, key_file):
    command = [sys.executable, "-m", "group_manager", "--bind", bind, "--key", str(key_file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.returncode == BAD_SETTINGS
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1 and bind in done.stderr


def test_it_follows_the_process_that_started_it(key_file):
    """A parent that is killed cannot say goodbye; --child-of notices."""
    command = [sys.executable, "-m", "group_manager", "--bind", "127.0.0.1:0", "--key", str(key_file)]
    script = (
        "import json, os, subprocess, sys, time\n"
        "child = subprocess.Popen(json.loads(sys.argv[1]) + ['--child-of', str(os.getpid())], stdout=subprocess.PIPE)\n"
        "print(child.stdout.readline().decode().split()[-1], flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, json.dumps(command)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    host, _, port = parent.stdout.readline().strip().rpartition(":")
    client = Client((host, int(port)), KEY, time.sleep)
    assert client.ask({"op": "list"})["ok"]
    os.kill(parent.pid, signal.SIGKILL)
    parent.communicate()
    assert client.is_closed()


def test_help_has_an_example():
    command = [sys.executable, "-m", "group_manager", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=WAIT_S)
    assert done.returncode == 0 and "python -m group_manager --bind" in done.stdout


def test_reading_nothing_is_no_way_to_fill_its_memory(service, monkeypatch):
    monkeypatch.setattr("peer.drivers.switchboard.MOST_BACKLOG_BYTES", 64 * 1024)
    client = dial(service.endpoint, KEY)
    reads_little(client.socket)
    until(lambda: client._nonce, lambda: (service.poll(0.01), list(client.read())))
    request = {"op": "where", "names": [f"{number:060}" for number in range(900)]}

    def ask_without_reading():
        client.send(request)
        service.poll(0)

    until(lambda: client.closed, ask_without_reading)

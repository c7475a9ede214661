"""Logs from a kilobyte to half a gigabyte: fetched over connections that break three times, and judged in time."""

import filecmp
import hashlib
import json
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic

import pytest

from comparison_server.service import Service
from experiments.bench.logs import write_logs
from group_manager.service import Service as Manager
from peer.core.trace import DELIVERY_RECORD
from peer.drivers.control import CHUNK_BYTES
from tests.comparison_server.relay import Relay
from tests.runs import run_settings

KEY = bytes(range(32))
ROOT = Path(__file__).parents[2]
LOOPBACK = ("127.0.0.1", 0)
PEERS = 2
CUTS = 3
JUDGE = """
import sys
from comparison_server.__main__ import app
from comparison_server.face import run
from experiments.bench.memory import peak_mb
code = run(app, ["judge", sys.argv[1], "--json", "--expect", "total,agreement,prefix,validity,integrity"])
print(peak_mb())
sys.exit(code)
"""


@contextmanager
def group_manager():
    """Serves in a thread of its own; where it listens."""
    manager, ending = Manager(LOOPBACK, KEY), threading.Event()

    def serve():
        while not ending.is_set():
            manager.poll(0.05)
        manager.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield manager.endpoint
    finally:
        ending.set()
        thread.join(10)


@contextmanager
def peer_with_logs(place, folder, manager, server):
    """A process that hands in what lies in folder/written."""
    (folder / "key").write_text(KEY.hex())
    who = ["--name", f"p{place}", "--key", str(folder / "key"), "--logs", str(folder), "--orphan-s", "5"]
    where = ["--manager", "{}:{}".format(*manager), "--server", "{}:{}".format(*server), "--bind", "127.0.0.1:0"]
    command = [sys.executable, "-m", "tests.comparison_server.peer_with_logs", *who, *where]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        yield
        process.wait(10)
    finally:
        process.kill()
        process.wait()


def collect(source: Path, collected: Path, announced: int):
    """A run whose peers hand in what lies in source/written; its outcome, what was announced, and the relays."""
    settings = run_settings(peers=PEERS, messages=1, workload="burst", delay_s=0.0)
    cuts = [announced * (cut + 1) // (CUTS + 1) for cut in range(CUTS)]
    with ExitStack() as stack:
        manager = stack.enter_context(group_manager())
        service = stack.enter_context(Service(LOOPBACK, KEY, manager=manager))
        relays = [Relay(service.endpoint, cuts) for _ in range(PEERS)]
        for relay in relays:
            stack.callback(relay.end)
        for place, relay in enumerate(relays):
            stack.enter_context(peer_with_logs(place, source, manager, relay.endpoint))
        service.wait_for_peers(PEERS, 20)
        outcome = service.run(settings, True, {}, collected)
        sealed = [service.coordinator.members[name].sealed.files for name in settings.members]
        assert service.end_all() == []
    return outcome, sealed, relays


def judge(folder: Path, timeout_s: float):
    """What the command says in a process of its own; how long it took, and how much memory it needed at most."""
    began = monotonic()
    done = subprocess.run(
        [sys.executable, "-c", JUDGE, folder], check=False, cwd=ROOT, capture_output=True, timeout=timeout_s
    )
    took_s = monotonic() - began
    assert done.returncode == 0, done.stderr.decode()
    verdict, peak_mb = done.stdout.decode().splitlines()
    return json.loads(verdict), took_s, float(peak_mb)


@pytest.mark.parametrize(
    ("size", "within_s"),
    [
        pytest.param(1024, 5, id="1 KB"),
        pytest.param(27 * 1024, 5, id="27 KB"),
        pytest.param(5 * 1024**2, 5, id="5 MB"),
        pytest.param(500 * 1024**2, 60, id="500 MB", marks=pytest.mark.slow),
    ],
)
def test_logs_come_whole_over_connections_that_break_and_are_judged_in_time(size, within_s):
    with tempfile.TemporaryDirectory(prefix="big-logs-") as folder:  # gone with the test, whatever comes of it
        source, collected = Path(folder, "peers"), Path(folder, "run")
        (source / "written").mkdir(parents=True)
        deliveries = size // DELIVERY_RECORD.size
        write_logs(source / "written", PEERS, deliveries)
        written = sum(path.stat().st_size for path in (source / "written").iterdir())

        outcome, sealed, relays = collect(source, collected, written // PEERS)

        assert outcome.complete and outcome.error is None and outcome.missing == []
        assert sorted(path.name for path in collected.iterdir()) == [
            f"{kind}-{place}.bin" for kind in ("sends", "trace") for place in range(PEERS)
        ]
        for place, files in enumerate(sealed):
            for kind, (announced, digest) in files.items():
                here = collected / f"{kind}-{place}.bin"
                assert filecmp.cmp(source / f"p{place}-{kind}.bin", here, shallow=False)
                with open(here, "rb") as file:
                    assert here.stat().st_size == announced
                    assert hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest() == digest
            assert size <= files["trace"][0] < size + 1024
        for relay in relays:
            assert relay.cuts == []
            assert relay.passed <= written // PEERS + CUTS * CHUNK_BYTES, "what was there came again"

        verdict, took_s, peak_mb = judge(collected, within_s)
        assert verdict["rounds"] == deliveries and verdict["out_of_order_rounds"] == 0 and verdict["complete"] is True
        assert [name for name, each in verdict["properties"].items() if each["holds"] is False] == []
        assert took_s < within_s and peak_mb < 2000

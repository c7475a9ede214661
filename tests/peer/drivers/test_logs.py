"""The logs that a peer keeps of its run, and what becomes of them when the disk is full or somebody meddles."""

import hashlib
import resource
import signal

import pytest

from peer.core.trace import Recorder, read_header
from peer.drivers.logs import RunLogs


def recorder_with(records):
    recorder = Recorder("everything")
    recorder.deliveries += bytes(records * 32)
    recorder.sends += b"s" * 32
    recorder.steps.append("{}")
    return recorder


def test_what_was_recorded_is_written_once_sealed_and_handed_out_in_parts(tmp_path):
    logs = RunLogs(tmp_path / "deep" / "down", "ana")
    logs.begin({"run": "ab"}, everything=True)
    recorder = recorder_with(3)
    logs.write(recorder)
    logs.write(recorder)
    assert not recorder.holds_records()
    sealed = logs.seal()
    assert set(sealed) == {"trace", "sends", "steps"} and not logs.is_open
    for kind, (size, digest) in sealed.items():
        data = logs.path(kind).read_bytes()
        assert (len(data), hashlib.blake2b(data, digest_size=16).hexdigest()) == (size, digest)
        assert logs.part(kind, 0, 2) + logs.part(kind, 2, 10**9) == data
        assert logs.part(kind, size, 1) is None and logs.part(kind, -1, 1) is None
    header, offset = read_header(logs.path("trace"))
    assert header == {"run": "ab", "records": "deliveries"}
    assert logs.path("trace").read_bytes()[offset:] == bytes(96)
    assert logs.part("other", 0, 1) is None


def test_the_next_run_forgets_the_one_before_and_nobody_elses(tmp_path):
    ana, ana_2 = RunLogs(tmp_path, "ana"), RunLogs(tmp_path, "ana-2")
    for logs in (ana, ana_2):
        logs.begin({}, everything=True)
        logs.write(recorder_with(1))
        logs.seal()
    kept = ana_2.path("trace").read_bytes()
    ana.begin({}, everything=False)
    assert not ana.path("steps").exists() and ana.part("trace", 0, 1) is None
    assert ana_2.path("trace").read_bytes() == kept and ana_2.path("steps").exists()
    ana.close()


def test_a_log_that_somebody_removed_has_no_parts(tmp_path):
    logs = RunLogs(tmp_path, "ana")
    logs.begin({}, everything=False)
    logs.seal()
    logs.path("trace").unlink()
    assert logs.part("trace", 0, 1) is None and logs.part("sends", 0, 1) is not None


def test_of_a_disk_that_is_full_what_was_written_before_is_kept(tmp_path):
    logs = RunLogs(tmp_path, "ana")
    logs.begin({}, everything=False)
    before = logs.path("trace").stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before + 1000, hard))  # no file may grow larger
        recorder = recorder_with(100)
        with pytest.raises(OSError):
            logs.write(recorder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert not logs.is_open
    logs.write(recorder)  # is of no consequence
    assert logs.seal()["trace"][0] == before + 1000


def test_a_folder_that_cannot_be(tmp_path):
    (tmp_path / "logs").write_text("a file")
    logs = RunLogs(tmp_path / "logs", "ana")
    with pytest.raises(OSError):
        logs.begin({}, everything=False)
    assert not logs.is_open and logs.seal() == {}

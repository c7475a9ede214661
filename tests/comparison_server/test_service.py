"""The comparison server on real sockets, with peers that play nothing, and badly."""

import os
import random
import signal
import threading
from dataclasses import asdict, replace
from time import monotonic, sleep

import pytest

from comparison_server import service as service_module
from comparison_server.service import Interrupted, Service
from group_manager.service import Service as Manager
from peer.core.commands import (
    Close,
    Collected,
    Counts,
    Describe,
    Fetch,
    Hello,
    Prepare,
    Reached,
    Release,
    Sealed,
    Stop,
    to_message,
)
from peer.core.errors import RunError, SettingsError
from peer.core.settings import DeadlineSettings, RunSettings, from_json
from tests.comparison_server.fake_peer import FakePeer
from tests.control_client import Client, ends, raw, until
from tests.runs import run_settings

KEY = bytes(range(32))
LOOPBACK = ("127.0.0.1", 0)


@pytest.fixture
def service():
    with Service(LOOPBACK, KEY) as service:
        yield service


@pytest.fixture
def join(service):
    """Starts fake peers, and ends them after the test."""
    started = []

    def join(*names, **options):
        for name in names:
            started.append(FakePeer(name, service.endpoint, KEY, **options).start())
        return started[-len(names) :]

    yield join
    for peer in started:
        peer.end()


def settings(*names, **deadlines):
    run = run_settings(peers=len(names), deadlines=DeadlineSettings(**deadlines))
    return RunSettings(**{name: getattr(run, name) for name in run.__slots__} | {"members": names})


def play(service, *names, folder, on_progress=None, **deadlines):
    service.wait_for_peers(len(names), 10)
    return service.run(settings(*names, **deadlines), True, {"scenario": "test"}, folder, on_progress)


# -- who is there


def test_peers_are_waited_for_and_come_in_their_natural_order(service, join):
    join("p10", "p9", "p1")
    seen = []
    names = service.wait_for_peers(3, 10, lambda here, lacking: seen.append((len(here), lacking)))
    assert names == ["p1", "p9", "p10"]
    assert seen[0] == (0, 3) and all(here + lacking == 3 for here, lacking in seen)
    assert service.wait_for_peers(2, 0) == ["p1", "p9"]


def test_who_is_missing_when_time_is_up_is_said(service, join):
    join("ana")
    service.wait_for_peers(1, 10)
    with pytest.raises(RunError) as caught:
        service.wait_for_peers(3, 0.1)
    assert str(caught.value) == "1 of 3 peers are here (ana) after 0.1 s"
    assert caught.value.peers == ["ana"]


def test_a_peer_with_another_key_is_told_of_while_waiting(service):
    stranger = FakePeer("ana", service.endpoint, bytes(32)).start()
    with pytest.raises(RunError, match="another key"):
        service.wait_for_peers(1, 0.3)
    stranger.end()


def test_who_leaves_is_not_there_any_more(service, join):
    ana, ben = join("ana", "ben")
    service.wait_for_peers(2, 10)
    ana.end()
    until(lambda: list(service.peers) == ["ben"], service.poll)


def test_the_same_process_may_connect_again_while_the_old_connection_lingers(service, join):
    (ana,) = join("ana")
    service.wait_for_peers(1, 10)
    (again,) = join("ana", incarnation=ana.incarnation)
    until(lambda: again.connections and ana.connections > 1, service.poll)
    assert ana.stopped is None, "it is the same process: nobody is told to end"
    ana.end()


def test_of_two_processes_with_one_name_the_latest_stays(service, join):
    (first,) = join("ana", incarnation="1")
    service.wait_for_peers(1, 10)
    (second,) = join("ana", incarnation="2")
    until(lambda: first.stopped, service.poll)
    assert first.stopped == "another process has come that is called ana"
    assert service.peers["ana"].incarnation == "2" and second.stopped is None


@pytest.mark.parametrize(
    "message",
    [
        None,
        "Hello",
        {},
        {"op": "register", "name": "ana"},
        {"op": "Hello"},
        to_message(Hello("", "", "1", "3.11")),
        to_message(Hello("n" * 65, "", "1", "3.11")),
        to_message(Hello("ana", "another group", "1", "3.11")),
        {**to_message(Hello("ana", "", "1", "3.11")), "name": ["ana"]},
        to_message(Reached("run")),
        to_message(Release("run")),
    ],
)
def test_who_does_not_introduce_itself_properly_is_not_let_in(service, join, message):
    join("ben")
    service.wait_for_peers(1, 10)
    client = Client(service.endpoint, KEY, service.poll)
    client.connection.send(message)
    assert client.is_closed()
    assert list(service.peers) == ["ben"]


def test_a_peer_has_one_name(service):
    client = Client(service.endpoint, KEY, service.poll)
    client.connection.send(to_message(Hello("ana", "", "1", "3.11")))
    client.connection.send(to_message(Hello("ben", "", "1", "3.11")))
    assert client.is_closed()
    until(lambda: not service.peers, service.poll)


def test_noise_does_not_disturb_a_run(service, join, tmp_path):
    join("p0", "p1")
    service.wait_for_peers(2, 10)
    with raw(service.endpoint) as noise:
        noise.sendall(b"GET / HTTP/1.1\r\n\r\n" + random.Random(1).randbytes(10_000))
        outcome = play(service, "p0", "p1", folder=tmp_path)
        assert ends(noise, service.poll)
    assert outcome.complete


# -- a run


def test_a_run_from_its_beginning_to_its_logs(service, join, tmp_path):
    peers = join("p0", "p1", "p2")
    for number, peer in enumerate(peers):
        peer.files = {"trace": b"T%d" % number * 1000, "sends": b"S%d" % number, "steps": b"{}\n" * number}
    phases = []
    folder = tmp_path / "runs" / "one"
    outcome = play(service, "p0", "p1", "p2", folder=folder, on_progress=lambda progress: phases.append(progress.phase))
    assert outcome.complete and outcome.error is None and outcome.missing == []
    assert outcome.folder == folder
    counts = Counts(outcome.run, "drained", asked=7, delivered=21, ended=True, drained=True)
    assert outcome.counts["p1"] in (counts, replace(counts, phase="collected"))  # if it knows already
    assert outcome.measures == {f"p{number}": {"datagrams_sent": 42} for number in range(3)}
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        f"{kind}-{number}.{'jsonl' if kind == 'steps' else 'bin'}": data
        for number, peer in enumerate(peers)
        for kind, data in peer.files.items()
    }
    assert sorted(set(phases), key=phases.index)[-1] == "done"
    until(lambda: all(peer.phase == "collected" for peer in peers), service.poll)
    for number, peer in enumerate(peers):
        kinds = [type(command) for command in peer.heard]
        assert kinds[:3] == [Prepare, Release, Close] and set(kinds[3:-1]) == {Fetch} and kinds[-1] is Collected
        prepare = peer.heard[0]
        assert (prepare.run, prepare.me, prepare.header) == (outcome.run, number, {"scenario": "test"})
        assert from_json(RunSettings, prepare.settings) == settings("p0", "p1", "p2")


def test_runs_have_names_that_fit_a_datagram_and_differ(service, join, tmp_path):
    join("p0")
    runs = [play(service, "p0", folder=tmp_path / str(number)).run for number in range(5)]
    assert len(set(runs)) == 5 and all(0 < int(run, 16) < 1 << 64 for run in runs)


def test_members_are_those_of_the_settings_in_their_order(service, join, tmp_path):
    join("zoe", "ana", "ben")
    service.wait_for_peers(3, 10)
    outcome = play(service, "zoe", "ana", folder=tmp_path)
    assert outcome.complete and list(outcome.counts) == ["zoe", "ana"]
    assert (tmp_path / "trace-1.bin").exists() and not (tmp_path / "trace-2.bin").exists()


def test_progress_says_how_far_it_is(service, join, tmp_path):
    join("p0", "p1", files={"trace": bytes(3_000_000), "sends": b"s"})
    seen = []
    play(service, "p0", "p1", folder=tmp_path, on_progress=seen.append)
    assert seen[-1].phase == "done" and seen[-1].waiting_for == []
    assert (seen[-1].asked, seen[-1].delivered) == (14, 42)
    assert seen[-1].collected_bytes == seen[-1].announced_bytes == 2 * 3_000_001
    assert any(progress.waiting_for for progress in seen)


@pytest.mark.parametrize("size", [1_000_000, 5_000_001])
def test_large_logs_come_through_cuts_and_damage(service, join, tmp_path, size):
    def spoil(number, data):
        return data[:-1] + bytes([data[-1] ^ 1]) if number % 7 == 3 else data

    names = ("p0", "p1", "p2")
    peers = []
    for seed, name in enumerate(names):
        files = {"trace": random.Random(seed).randbytes(size), "sends": random.Random(-seed).randbytes(size // 3)}
        peers += join(name, files=files, cut_every=3, spoil=spoil)
    outcome = play(service, *names, folder=tmp_path)
    assert outcome.complete and outcome.error is None
    assert all(peer.connections > 1 and peer.chunks > 3 for peer in peers)
    for seed, _ in enumerate(names):
        assert (tmp_path / f"trace-{seed}.bin").read_bytes() == random.Random(seed).randbytes(size)
        assert (tmp_path / f"sends-{seed}.bin").read_bytes() == random.Random(-seed).randbytes(size // 3)
    assert not list(tmp_path.glob("*.part"))


def test_a_slow_upload_is_no_silent_one(service, join, tmp_path):
    def slowly(number, data):
        sleep(0.15)
        return data

    join("p0", files={"trace": bytes(3_000_000), "sends": b"s"}, spoil=slowly)
    began = monotonic()
    outcome = play(service, "p0", folder=tmp_path, upload_s=0.6)
    assert outcome.complete and monotonic() - began > 2 * 0.6


def test_what_a_stranger_says_of_a_run_is_not_heard(service, join, tmp_path):
    join("p0", files={"trace": bytes(2_000_000), "sends": b"s"})
    service.wait_for_peers(1, 10)
    stranger = Client(service.endpoint, KEY, service.poll)
    stranger.connection.send(to_message(Hello("p9", "", "1", "3.11")))
    until(lambda: "p9" in service.peers, stranger._step)
    sent = []

    def on_progress(progress):
        if progress.phase == "upload":
            run = service.coordinator.run
            stranger.connection.send(to_message(Sealed(run, {"trace": [1, ""], "sends": [1, ""]})))
            sent.append(run)

    outcome = play(service, "p0", folder=tmp_path, on_progress=on_progress)
    assert outcome.complete and sent and len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("command", [Prepare, Release, Close, Fetch])
def test_a_connection_that_breaks_at_any_command_is_mended(service, join, tmp_path, command):
    """The answer is never sent; after the next connect the server says again what was missed."""
    (p0, _) = join("p0", "p1", cut_before=(command,))
    outcome = play(service, "p0", "p1", folder=tmp_path)
    assert outcome.complete and outcome.error is None
    assert p0.connections == 2
    assert [type(each) for each in p0.heard].count(command) >= 2


def test_a_peer_that_comes_during_the_handshake_takes_part(service, join, tmp_path):
    join("p0")
    late = []

    def on_progress(progress):
        if progress.phase == "handshake" and progress.elapsed_s > 0.2 and not late:
            late.extend(join("p1"))

    service.wait_for_peers(1, 10)
    outcome = service.run(settings("p0", "p1"), True, {}, tmp_path, on_progress)
    assert outcome.complete and late


# -- a run that cannot finish


NOTHING_YET = "when last heard: p1 delivered 0 of 40 to come"


@pytest.mark.parametrize(
    "deaf_to, deadlines, phase, sentence",
    [
        (Prepare, {"handshake_s": 0.3}, "handshake", "the handshake did not end in time: p1 has reported nothing"),
        (Release, {"send_s": 0.3}, "send", f"the send did not end in time; {NOTHING_YET}"),
        (Release, {"deadline_s": 0.3}, "send", f"the deadline passed in phase send; {NOTHING_YET}"),
        (Close, {"upload_s": 0.3}, "upload", "the logs of p1 did not come in time"),
        (Fetch, {"upload_s": 0.3}, "upload", "the logs of p1 did not come in time"),
    ],
)
def test_a_silent_peer_is_named_and_the_others_are_collected(
    service, join, tmp_path, deaf_to, deadlines, phase, sentence
):
    join("p0")
    (p1,) = join("p1", deaf_to=(deaf_to,))
    outcome = play(service, "p0", "p1", folder=tmp_path, **{"upload_s": 0.5, **deadlines})
    assert not outcome.complete
    assert (outcome.error.phase, outcome.error.peers, str(outcome.error)) == (phase, ["p1"], sentence)
    assert outcome.error.kept == str(tmp_path)
    assert (tmp_path / "trace-0.bin").exists() and "p0" not in outcome.missing
    p1.deaf_to = ()
    again = play(service, "p0", "p1", folder=tmp_path / "again")
    assert again.complete, "the next run is not disturbed"


def test_a_refusal_is_the_error_and_nobody_waits_for_logs_that_are_not_there(service, join, tmp_path):
    join("p0")
    join("p1", rejects=("busy", "p1 is busy with run 5"))
    began = monotonic()
    outcome = play(service, "p0", "p1", folder=tmp_path)
    assert str(outcome.error) == "p1 is busy with run 5" and outcome.missing == ["p1"]
    assert monotonic() - began < 5 and (tmp_path / "trace-0.bin").exists()


def test_damage_without_end_is_an_error_of_that_peer(service, join, tmp_path):
    join("p0")
    join("p1", spoil=lambda number, data: b"x" + data)
    outcome = play(service, "p0", "p1", folder=tmp_path)
    assert (
        str(outcome.error)
        == "p1 sent a part of trace-1.bin damaged 3 times, in phase upload, before its logs were here"
    )
    assert outcome.missing == ["p1"] and not outcome.complete
    assert (tmp_path / "trace-0.bin").exists() and not (tmp_path / "trace-1.bin").exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_ends_the_run_with_one_sentence(service, join, tmp_path):
    (tmp_path / "trace-0.bin.part").symlink_to("/dev/full")
    join("p0", files={"trace": bytes(1_000_000), "sends": b""})
    outcome = play(service, "p0", folder=tmp_path)
    assert str(outcome.error) == f"cannot write {tmp_path / 'trace-0.bin'}: No space left on device"
    assert play(service, "p0", folder=tmp_path / "again").complete


def test_a_peer_that_is_started_anew_in_a_run_is_named(service, join, tmp_path):
    join("p0")
    (p1,) = join("p1", deaf_to=(Release,))
    fresh = []

    def on_progress(progress):
        if progress.phase == "send" and not fresh:
            p1.end()
            fresh.extend(join("p1", incarnation="2"))

    outcome = play(service, "p0", "p1", folder=tmp_path, on_progress=on_progress)
    assert str(
        outcome.error
    ) == "p1 was started anew, in phase send, with 0 of 40 messages delivered" and outcome.missing == ["p1"]


def test_a_peer_that_is_known_to_be_gone_is_not_waited_for(service, join, tmp_path):
    _, p1 = join("p0", "p1", deaf_to=(Release,))

    def on_progress(progress):
        if progress.phase == "send":
            p1.end()
            service.lose("p1", "p1 fell over")

    outcome = play(service, "p0", "p1", folder=tmp_path, on_progress=on_progress)
    assert str(outcome.error) == "p1 fell over, in phase send, with 0 of 40 messages delivered" and outcome.missing == [
        "p1"
    ]


# -- a server that was killed, and the next one


@pytest.mark.parametrize("phase", ["handshake", "send", "upload"])
def test_a_run_of_a_server_that_was_killed_is_taken_up_and_led_to_its_end(tmp_path, phase):
    deaf_to = {"handshake": (Prepare,), "send": (Release,), "upload": (Fetch,)}[phase]
    with Service(LOOPBACK, KEY) as first:
        endpoint = first.endpoint
        peers = [FakePeer("p0", endpoint, KEY).start(), FakePeer("p1", endpoint, KEY, deaf_to=deaf_to).start()]
        first.wait_for_peers(2, 10)
        run = settings("p0", "p1")
        first.coordinator.start("ab", run, True, {"scenario": "x"}, monotonic(), asdict(run))
        until(lambda: first.coordinator.phase == phase and all(peer.heard for peer in peers), first.poll)
    for peer in peers:
        peer.deaf_to = ()
    with Service(endpoint, KEY) as second:
        playing = 1 if phase == "handshake" else 2
        until(lambda: len(second.peers) == 2 and second.found and len(second.found[0].counts) == playing, second.poll)
        (found,) = second.found
        assert found.run == "ab" and found.header == {"scenario": "x"} and found.settings.members == ("p0", "p1")
        outcome = second.take_up(found, True, tmp_path)
        assert outcome.complete and outcome.error is None and outcome.missing == [] and second.found == []
        assert (tmp_path / "trace-0.bin").read_bytes() == b"trace" and (tmp_path / "sends-1.bin").exists()
        assert outcome.remarks[0] == "The run was taken up from another comparison server."
        second.end_all()
    for peer in peers:
        peer.end()


def test_a_log_that_was_collected_is_not_offered_again(service, join, tmp_path):
    p0, _ = join("p0", "p1")
    assert play(service, "p0", "p1", folder=tmp_path).complete
    until(lambda: p0.phase == "collected", service.poll)
    service.coordinator = type(service.coordinator)()
    p0.cut_before = (Stop,)
    service._board.send(service._seats["p0"].connection, to_message(Stop("")))  # it connects again instead
    until(lambda: p0.connections == 2 and "p0" in service.peers, service.poll)
    assert service.found == [] and Describe not in map(type, p0.heard)


def test_a_run_that_was_not_taken_up_is_closed_by_the_next_one(service, join, tmp_path):
    run = settings("p0", "p1")
    told = [Prepare("ab", me, asdict(run), {}) for me in range(2)]
    for me, name in enumerate(("p0", "p1")):
        join(name, run="ab", phase="drained", told=told[me])
    until(lambda: service.found and len(service.found[0].counts) == 2, service.poll)
    outcome = play(service, "p0", "p1", folder=tmp_path)
    assert outcome.complete and outcome.run != "ab"


# -- Ctrl-C


def test_ctrl_c_closes_the_run_and_collects_what_there_is(service, join, tmp_path):
    join("p0", "p1", deaf_to=(Release,))

    def on_progress(progress):
        if progress.phase == "send":
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt) as caught:
        play(service, "p0", "p1", folder=tmp_path, on_progress=on_progress)
    assert isinstance(caught.value, Interrupted)
    outcome = caught.value.outcome
    assert str(outcome.error) == "interrupted in phase send" and not outcome.complete and outcome.missing == []
    assert (tmp_path / "trace-0.bin").read_bytes() == b"trace" and (tmp_path / "trace-1.bin").exists()
    assert signal.getsignal(signal.SIGINT) is before
    service.coordinator.joined("p9", 0.0)  # still of use


def test_ctrl_c_waits_for_the_logs_no_longer_than_a_bound(service, join, tmp_path, monkeypatch):
    monkeypatch.setattr(service_module, "WRAP_UP_S", 0.3)
    join("p0")
    join("p1", deaf_to=(Release, Close))

    def on_progress(progress):
        if progress.phase == "send":
            signal.raise_signal(signal.SIGINT)

    began = monotonic()
    with pytest.raises(Interrupted) as caught:
        play(service, "p0", "p1", folder=tmp_path, on_progress=on_progress)
    assert monotonic() - began < 10
    assert caught.value.outcome.missing == ["p1"] and (tmp_path / "trace-0.bin").exists()


def test_a_second_ctrl_c_does_not_wait(service, join, tmp_path):
    join("p0", deaf_to=(Release, Close))
    times = []

    def on_progress(progress):
        if progress.phase in ("send", "upload"):
            times.append(monotonic())
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as caught:
        play(service, "p0", folder=tmp_path, on_progress=on_progress)
    assert not isinstance(caught.value, Interrupted) and len(times) == 2
    assert service.coordinator.phase == "done"


def test_a_run_can_be_led_from_a_thread_that_gets_no_signals(service, join, tmp_path):
    join("p0")
    outcomes = []
    thread = threading.Thread(target=lambda: outcomes.append(play(service, "p0", folder=tmp_path)))
    thread.start()
    thread.join(20)
    assert outcomes and outcomes[0].complete


# -- the end


def test_all_are_told_to_end_and_waited_for(service, join):
    peers = join("p0", "p1")
    service.wait_for_peers(2, 10)
    assert service.end_all() == []
    assert all(peer.stopped == "the comparison server ends everything" for peer in peers)


def test_who_does_not_end_is_named_in_time(service, join):
    join("p0")
    join("p1", deaf_to=(Stop,))
    service.wait_for_peers(2, 10)
    began = monotonic()
    assert service.end_all(0.3) == ["p1"]
    assert monotonic() - began < 2


def test_a_port_in_use_is_one_sentence(service):
    with pytest.raises(SettingsError, match="cannot listen on .*: Address already in use"):
        Service(service.endpoint, KEY)


# -- at the group manager


class Managed:
    """A group manager in a thread, which can be taken away and put back."""

    def __init__(self):
        self.manager = Manager(LOOPBACK, KEY)
        self.endpoint = self.manager.endpoint
        self._run()

    def _run(self):
        self.over = False
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        while not self.over and not self.manager.stopped:
            self.manager.poll(0.02)
        self.manager.close()

    def away(self):
        self.over = True
        self.thread.join(10)

    def back(self):
        self.manager = Manager(self.endpoint, KEY)
        self._run()

    def server(self, group=""):
        request = {"op": "register", "name": "test", "group": group, "endpoint": ["127.0.0.1", 1]}
        return Client(self.endpoint, KEY, sleep).ask(request)["server"]


@pytest.fixture
def managed():
    managed = Managed()
    yield managed
    managed.away()


def test_it_registers_and_peers_learn_where_it_is(managed):
    with Service(LOOPBACK, KEY, manager=managed.endpoint, group="red") as service:
        until(lambda: service.registered, service.poll)
        assert managed.server("red") == list(service.endpoint) and managed.server() is None
    until(lambda: managed.server("red") is None, lambda: sleep(0.01))


def test_another_address_can_be_advertised_and_an_open_one_is_made_definite(managed):
    with Service(LOOPBACK, KEY, manager=managed.endpoint, advertise=("192.0.2.9", 99)) as service:
        until(lambda: service.registered, service.poll)
        assert managed.server() == ["192.0.2.9", 99]
    with Service(("0.0.0.0", 0), KEY, manager=managed.endpoint) as service:
        until(lambda: service.registered, service.poll)
        assert managed.server() == ["127.0.0.1", service.endpoint[1]]


def test_a_manager_that_comes_back_learns_of_it_again(managed):
    with Service(LOOPBACK, KEY, manager=managed.endpoint) as service:
        until(lambda: service.registered, service.poll)
        managed.away()
        until(lambda: not service.registered, service.poll)
        managed.back()
        until(lambda: service.registered, service.poll)
        assert managed.server() == list(service.endpoint)
        (remark,) = service.coordinator.remarks
        assert remark.startswith("The group manager was away for ")


def test_a_second_server_of_a_group_is_told_that_it_is_taken_and_leads_it_once_it_is_free(managed):
    with Service(LOOPBACK, KEY, manager=managed.endpoint) as first:
        until(lambda: first.registered, first.poll)
        with Service(LOOPBACK, KEY, manager=managed.endpoint) as second:
            until(lambda: "led by" in second.trouble, second.poll)
            where = "127.0.0.1:{}".format(first.endpoint[1])
            assert second.trouble.endswith(f"the group is led by the comparison server at {where}")
            assert managed.server() == list(first.endpoint)
            first.close()
            until(lambda: second.registered, second.poll)
            assert managed.server() == list(second.endpoint)


def test_servers_of_different_groups_are_not_in_each_others_way(managed):
    with Service(LOOPBACK, KEY, manager=managed.endpoint, group="red") as red:
        with Service(LOOPBACK, KEY, manager=managed.endpoint, group="blue") as blue:
            until(lambda: red.registered and blue.registered, lambda: (red.poll(0.01), blue.poll(0.01)))
            assert managed.server("red") == list(red.endpoint) and managed.server("blue") == list(blue.endpoint)


def test_of_two_servers_the_later_may_take_over_and_the_earlier_is_told(managed, monkeypatch):
    monkeypatch.setattr("group_manager.membership.HEARTBEAT_S", 0.05)
    with Service(LOOPBACK, KEY, manager=managed.endpoint) as first:
        until(lambda: first.registered, first.poll)
        with Service(LOOPBACK, KEY, manager=managed.endpoint, take_over=True) as second:
            until(lambda: second.registered, second.poll)
            assert managed.server() == list(second.endpoint)
            with pytest.raises(RunError, match="leads no more: the group is led by the comparison server at 127"):
                until(lambda: False, first.poll)
            first.close()
            assert managed.server() == list(second.endpoint), "the earlier one unregisters itself only"


def test_a_run_that_is_taken_over_ends_with_that_sentence_and_says_nothing_more_to_the_peers(
    managed, tmp_path, monkeypatch
):
    monkeypatch.setattr("group_manager.membership.HEARTBEAT_S", 0.05)
    with Service(LOOPBACK, KEY, manager=managed.endpoint) as first:
        peer = FakePeer("p0", first.endpoint, KEY, deaf_to=(Release,)).start()
        until(lambda: first.registered, first.poll)
        others = []

        def take_over(progress):
            if progress.phase == "send":
                if not others:
                    others.append(Service(LOOPBACK, KEY, manager=managed.endpoint, take_over=True))
                others[0].poll(0.01)

        outcome = play(first, "p0", folder=tmp_path, on_progress=take_over)
        others[0].close()
        assert str(outcome.error).startswith("this comparison server leads no more: ") and not outcome.complete
        assert Close not in map(type, peer.heard)
        peer.end()


def test_a_manager_that_forgot_is_told_again(managed, monkeypatch):
    monkeypatch.setattr(service_module, "HEARTBEAT_S", 0.05)
    monkeypatch.setattr("group_manager.membership.HEARTBEAT_S", 0.05)
    with Service(LOOPBACK, KEY, manager=managed.endpoint) as service:
        until(lambda: service.registered, service.poll)
        managed.manager.membership.entries.clear()
        until(lambda: managed.manager.membership.entries, service.poll)
        until(lambda: service.registered, service.poll)


def test_an_unreachable_manager_is_named_and_no_run_waits_for_it(tmp_path):
    gone = Manager(LOOPBACK, KEY)
    endpoint = gone.endpoint
    gone.close()
    with Service(LOOPBACK, KEY, manager=endpoint) as service:
        with pytest.raises(RunError) as caught:
            service.wait_for_peers(1, 0.2)
        where = "{}:{}".format(*endpoint)
        assert str(caught.value) == (
            f"0 of 1 peers are here (none) after 0.2 s; the group manager at {where}: Connection refused"
        )
        peer = FakePeer("p0", service.endpoint, KEY).start()
        assert play(service, "p0", folder=tmp_path).complete
        assert service.end_manager(0.1) is False
        peer.end()


def test_a_manager_with_another_key_is_named():
    stranger = Manager(LOOPBACK, bytes(32))
    with Service(LOOPBACK, KEY, manager=stranger.endpoint) as service:
        with pytest.raises(RunError, match="the group manager at .*: the other side closed the connection"):
            service.wait_for_peers(1, 0.3, lambda here, lacking: stranger.poll(0))
    stranger.close()


def test_who_registered_but_did_not_connect_is_named(managed, monkeypatch):
    monkeypatch.setattr(service_module, "HEARTBEAT_S", 0.05)
    managed.server()  # registers a peer that is called test
    with Service(LOOPBACK, KEY, manager=managed.endpoint) as service:
        until(lambda: service.registered, service.poll)
        with pytest.raises(RunError) as caught:
            service.wait_for_peers(1, 0.3)
    assert str(caught.value) == "0 of 1 peers are here (none) after 0.3 s; registered but not connected: test"


def test_the_manager_ends_when_it_is_told_to(managed):
    with Service(LOOPBACK, KEY, manager=managed.endpoint) as service:
        until(lambda: service.registered, service.poll)
        assert service.end_manager() is True
    managed.thread.join(5)
    assert managed.manager.stopped and not managed.thread.is_alive()

"""What a check finds: over real UDP between addresses of loopback, on a network that blocks, cuts and translates."""

import errno
import io
import json
import os
import select
import socket
import threading
from contextlib import contextmanager, suppress
from types import SimpleNamespace

import pytest
from rich.console import Console

from deploy import preflight as module
from deploy.agent import probe
from deploy.host_error import HostError
from deploy.inventory import Host, Inventory
from deploy.preflight import preflight, tell

ADDRESSES = ("127.1.0.1", "127.1.0.2", "127.1.0.3", "127.1.0.4")  # each is a host
QUICK = {"rounds": 4, "gap_s": 0.01, "answer_s": 0.3}


class Weather:
    """A network in front of every socket of a probe: what it does not let in never arrived."""

    def __init__(self):
        self.blocked = set()  # (from, to)
        self.stateful = set()  # addresses that let nothing in that does not answer what they sent
        self.largest = {}  # (from, to): bytes
        self.public = {}  # an address, and what others see in its place
        self.ports_change = set()  # addresses whose ports others see changed
        self.lost = {}  # (from, to): numbers of datagrams, in the order in which they arrive
        self.down = set()  # addresses that no datagram can be sent to
        self.buffer = None

    def socket(weather):
        class Socket(socket.socket):
            def __init__(self, *arguments):
                super().__init__(*arguments)
                self.sent_to, self.count = set(), 0

            def recvfrom(self, size):
                while True:
                    datagram, source = super().recvfrom(size)
                    here = self.getsockname()[0]
                    way = (source[0], here)
                    self.count += 1
                    known = source in self.sent_to or here not in weather.stateful
                    small = len(datagram) <= weather.largest.get(way, len(datagram))
                    if way in weather.blocked or not known or not small or self.count in weather.lost.get(way, ()):
                        continue
                    port = source[1] ^ 1 if source[0] in weather.ports_change else source[1]
                    return datagram, (weather.public.get(source[0], source[0]), port)

            def sendto(self, datagram, target):
                real = {public: own for own, public in weather.public.items()}.get(target[0], target[0])
                port = target[1] ^ 1 if real in weather.ports_change and target[1] > 10_000 else target[1]
                if real in weather.down:
                    raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))
                self.sent_to.add((real, port))
                return super().sendto(datagram, (real, port))

            def getsockopt(self, *arguments):
                return weather.buffer or super().getsockopt(*arguments)

        return Socket


@pytest.fixture
def weather(monkeypatch):
    weather = Weather()
    shim = SimpleNamespace(**{name: getattr(socket, name) for name in dir(socket) if not name.startswith("__")})
    shim.socket = weather.socket()
    monkeypatch.setattr(probe, "socket", shim)
    return weather


class Lines:
    """One end of a conversation: a message a line."""

    def __init__(self, sock):
        self.sock, self.held = sock, b""

    def fileno(self):
        return self.sock.fileno()

    def __call__(self, timeout_s):
        while b"\n" not in self.held:
            if not select.select([self.sock], [], [], timeout_s)[0]:
                raise TimeoutError
            if not (data := self.sock.recv(65536)):
                return None
            self.held += data
        line, _, self.held = self.held.partition(b"\n")
        return json.loads(line)

    def send(self, message):
        self.sock.sendall(json.dumps(message).encode() + b"\n")


class Talk:
    """As the talk of a `Remote`."""

    def __init__(self, name, lines, remote):
        self.name, self.lines, self.remote = name, lines, remote
        self.send = lines.send

    def receive(self, timeout_s):
        try:
            message = self.lines(min(timeout_s, 20))
        except TimeoutError:
            raise HostError(self.name, "timeout", "did not answer in time") from None
        if message is None:
            raise HostError(self.name, "lost", "the connection broke")
        return message

    def finish(self, timeout_s):
        while "done" not in (message := self.receive(timeout_s)):
            pass
        return message["done"]


class Near:
    """A host that is a thread here, asked as a `Remote` is."""

    def __init__(self, host, **odd):
        self.host, self.name, self.doing = host, host.name, "talking"
        self.odd = odd  # what is odd with it: unreachable, silent, dies_when, living, look
        self.ends = []

    def resume(self): ...

    def stop(self):
        for end in self.ends:
            with suppress(OSError):  # it has ended already
                end.shutdown(socket.SHUT_RDWR)

    def ask(self, action, payload=b"", timeout_s=120.0, **request):
        if sentence := self.odd.get("unreachable"):
            raise HostError(self.name, "unreachable", sentence)
        if action == "status":
            return {"peers": {name: {"pid": 7, "said": ""} for name in self.odd.get("living", ())}}
        assert action == "look"
        return json.loads(json.dumps(probe.look(request) | self.odd.get("look", {})))

    @contextmanager
    def talk(self, action, payload=b"", timeout_s=60.0, limit_s=60.0, **request):
        assert action == "probe"
        mine, its = socket.socketpair()
        self.ends = [mine, its]
        thread = threading.Thread(target=self.serve, args=(json.loads(json.dumps(request | QUICK)), Lines(its)))
        thread.start()
        try:
            yield Talk(self.name, Lines(mine), self)
        finally:
            mine.close()
            thread.join(10)
            its.close()
            assert not thread.is_alive()

    def serve(self, request, lines):
        if self.odd.get("silent"):
            lines(20)
            return

        def receive(timeout_s):
            message = lines(timeout_s)
            if message is None or message["do"] == self.odd.get("dies_when"):
                lines.sock.shutdown(socket.SHUT_RDWR)
                return None
            return message

        receive_with_fileno = type(
            "Receive", (), {"__call__": lambda _, s: receive(s), "fileno": lambda _: lines.fileno()}
        )
        try:
            lines.send({"done": probe.run(request, receive_with_fileno(), lines.send)})
        except (EOFError, OSError):
            pass


@pytest.fixture
def free_port():
    """A port that is free on all addresses, and the next one too."""
    while True:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as first,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as second,
        ):
            first.bind(("", 0))
            port = first.getsockname()[1]
            try:
                second.bind(("", port + 1))
            except (OSError, OverflowError):
                continue
        return port


@pytest.fixture
def checked(weather, free_port):
    """The findings for so many hosts a, b, c..., changed by `hosts`, and odd as in `odd`."""

    def check(count=3, deadline_s=15.0, hosts=None, odd=None, on_progress=None):
        made = []
        for name, address in zip("abcd"[:count], ADDRESSES):
            settings = {"address": address, "advertise": address, "bind": address, "peer_port": free_port}
            made.append(Host(name, "here", **(settings | (hosts or {}).get(name, {}))))
        inventory = Inventory("demo", "all", deadline_s, "forward", "", tuple(made), {})
        return preflight([Near(host, **(odd or {}).get(host.name, {})) for host in made], inventory, on_progress)

    return check


def told(findings):
    out = io.StringIO()
    tell(findings, Console(file=out, width=80, highlight=False))
    return out.getvalue()


def pair(findings, origin, target):
    (found,) = findings.pairs_between(origin, target)
    return found


# All is well.


def test_hosts_that_can_play(checked, free_port):
    phases = []
    findings = checked(hosts={"b": {"peers": 2}}, on_progress=lambda host, phase: phases.append((host, phase)))
    assert findings.failures == []
    assert len(findings.pairs) == 8  # b has two ports
    for each in findings.pairs:
        assert (each.asked, each.arrived, each.answered, each.blocked) == (4, 4, 4, False)
        assert 0 < each.round_trip_s < 0.5
    assert {each.largest for each in findings.pairs if each.port == free_port} == {probe.SIZES[-1]}
    assert {each.source for each in findings.pairs if each.origin == "a"} == {"127.1.0.1"}
    for name, address in zip("abc", ADDRESSES):
        finding = findings.hosts[name]
        assert finding.seen_as == finding.local == (address,) and finding.behind_nat is False
        assert not finding.ports_change and finding.disk_free > 0 and finding.python.startswith("3.")
        assert abs(finding.clock_offset_s) <= finding.clock_uncertainty_s + 0.01 < 0.5
        assert [phase for host, phase in phases if host == name] == ["looking", "listening", "asking", "done"]


def test_what_is_told_of_hosts_that_can_play(checked, free_port):
    text = told(checked(hosts={"b": {"peers": 2}}))
    lines = text.splitlines()
    row = next(line for line in lines if line.startswith("│ b"))
    assert f"{free_port}-{free_port + 1}" in row and "127.1.0.2" in row and "…" not in text
    assert "Datagrams of up to 8973 bytes get through in one piece" in text
    assert lines[-1] == "Lab demo can run: 4 peers on 3 hosts."
    assert "error" not in text and "\x1b" not in text


def test_a_host_without_peers_is_looked_at_and_not_asked(checked):
    findings = checked(hosts={"c": {"peers": 0}})
    assert findings.failures == [] and findings.hosts["c"].python
    assert {each.target for each in findings.pairs} == {each.origin for each in findings.pairs} == {"a", "b"}


# Blocked.


def test_one_direction_that_is_blocked_is_told_from_both(checked, weather, free_port):
    weather.blocked = {("127.1.0.1", "127.1.0.2")}
    findings = checked()
    assert [(each.origin, each.target) for each in findings.pairs if each.blocked] == [("a", "b")]
    assert findings.failures == [
        f"UDP from a does not reach b, though it does the other way; allow UDP {free_port} to b from 127.1.0.1/32"
    ]
    back = pair(findings, "b", "a")
    assert back.arrived == 4 and back.answered == 0 and back.round_trip_s is None  # its answers are blocked
    text = told(findings)
    assert "blocked" in text and "no answer" in text and "can run" not in text


def test_both_directions_that_are_blocked_are_one_sentence(checked, weather, free_port):
    weather.blocked = {("127.1.0.1", "127.1.0.2"), ("127.1.0.2", "127.1.0.1")}
    findings = checked()
    assert findings.failures == [
        f"UDP between a and b is blocked both ways; allow UDP {free_port} to b from 127.1.0.1/32, and allow UDP "
        f"{free_port} to a from 127.1.0.2/32"
    ]
    assert pair(findings, "a", "c").round_trip_s and pair(findings, "c", "b").round_trip_s


def test_a_host_that_nobody_reaches_is_one_sentence(checked, weather, free_port):
    weather.blocked = {(address, "127.1.0.2") for address in ADDRESSES}
    findings = checked(4, hosts={"b": {"peers": 2}})
    assert findings.failures == [
        f"UDP from nobody reaches b; allow UDP {free_port}-{free_port + 1} to b from 127.1.0.1/32, 127.1.0.3/32, "
        "127.1.0.4/32"
    ]


def test_a_firewall_that_lets_answers_in_does_not_hide_what_it_blocks(checked, weather, free_port):
    """As security groups do: b sends, so what comes back to where it sent from arrives, and nothing else."""
    weather.stateful = {"127.1.0.2"}
    findings = checked(2)
    assert pair(findings, "a", "b").blocked
    back = pair(findings, "b", "a")
    assert back.arrived == 4 and back.answered == 4
    assert findings.failures == [
        f"UDP from a does not reach b, though it does the other way; allow UDP {free_port} to b from 127.1.0.1/32"
    ]


def test_a_host_that_cannot_even_send_is_no_firewall_of_the_other(checked, weather):
    weather.down = {"127.1.0.2"}
    findings = checked(2)
    # b sends to itself alone too, so only its own way out is open
    assert any(
        sentence.startswith("a cannot send to b at 127.1.0.2: Network is unreachable") for sentence in findings.failures
    )
    assert not any("allow UDP" in sentence and "to b" in sentence for sentence in findings.failures)


# What the network does to datagrams.


def test_the_largest_datagram_that_passes(checked, weather):
    weather.largest = {("127.1.0.1", "127.1.0.2"): 1400, ("127.1.0.2", "127.1.0.1"): 1232}
    findings = checked(2)
    assert (pair(findings, "a", "b").largest, pair(findings, "b", "a").largest) == (1372, 1232)
    assert findings.failures == [
        "datagrams of more than 1232 bytes do not get from b to a; run with network.datagram_bytes=1232"
    ]
    assert "Datagrams of up to 1232 bytes get through in one piece" in told(findings)


def test_nat_is_seen_and_rules_name_what_others_see(checked, weather, free_port):
    weather.public = {"127.1.0.1": "127.9.0.1"}
    weather.blocked = {("127.1.0.1", "127.1.0.2")}
    findings = checked(hosts={"a": {"advertise": "127.9.0.1"}})
    a = findings.hosts["a"]
    assert a.behind_nat is True and (a.local, a.seen_as) == (("127.1.0.1",), ("127.9.0.1",))
    assert findings.failures == [
        f"UDP from a does not reach b, though it does the other way; allow UDP {free_port} to b from 127.9.0.1/32"
    ]
    assert "127.9.0.1 (NAT)" in told(findings)
    assert not any("advertises" in sentence for sentence in findings.warnings)


def test_an_advertised_address_that_others_do_not_see(checked, weather):
    weather.public = {"127.1.0.1": "127.9.0.1"}
    findings = checked(2)  # a is reached under its own address, and comes from another one
    assert findings.warnings[0].startswith("a advertises 127.1.0.1, but its datagrams come from 127.9.0.1;")


def test_a_nat_that_changes_ports(checked, weather):
    weather.ports_change = {"127.1.0.1"}
    findings = checked(2)
    assert findings.hosts["a"].ports_change and not findings.hosts["b"].ports_change
    assert any(sentence.startswith("a NAT on the way from a changes its ports") for sentence in findings.warnings)


def test_loss_is_counted(checked, weather):
    weather.lost = {("127.1.0.1", "127.1.0.2"): {2}}
    findings = checked(2)
    # Each socket counts what arrives at it: b's listener lost the second question, b's asker the second answer.
    assert pair(findings, "a", "b").arrived == 3 and pair(findings, "b", "a").answered == 3
    assert any(sentence == "datagrams get lost: 1 of 4 from a to b" for sentence in findings.warnings)
    assert findings.failures == []


def test_datagrams_of_somebody_else_are_ignored(checked, weather, free_port):
    stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    stranger.bind(("127.1.0.4", 0))
    header = probe.HEADER.pack(probe.MAGIC, b"x" * 16, probe.QUESTION, 1, 0, free_port, 0, 0)

    def annoy(host, phase):
        if phase == "asking":
            for datagram in (b"", b"hello", header.ljust(99, b"\0"), probe.MAGIC + b"\0" * 200):
                stranger.sendto(datagram, ("127.1.0.1", free_port))

    findings = checked(2, on_progress=annoy)
    assert findings.failures == [] and findings.hosts["b"].seen_as == ("127.1.0.2",)
    assert not select.select([stranger], [], [], 0)[0]  # and not answered either
    stranger.close()


# What is the matter with hosts.


def test_an_unreachable_host_keeps_nobody(checked):
    findings = checked(odd={"b": {"unreachable": "no answer from 127.1.0.2:22 within 5 s; is the machine running?"}})
    assert findings.failures == ["b: no answer from 127.1.0.2:22 within 5 s; is the machine running?"]
    assert pair(findings, "a", "c").round_trip_s and pair(findings, "c", "a").round_trip_s
    assert pair(findings, "a", "b").asked == 0 and pair(findings, "b", "a").asked == 0
    text = told(findings)
    assert "not checked" in text and "not tried" in text and "error: b: no answer from" in text


def test_a_host_that_hangs_is_given_up_at_the_deadline(checked):
    findings = checked(deadline_s=4.0, odd={"c": {"silent": True}})
    assert findings.hosts["c"].trouble.startswith("c: ")
    assert len(findings.failures) == 1
    assert pair(findings, "a", "b").round_trip_s and pair(findings, "b", "a").round_trip_s
    assert findings.hosts["c"].python  # which it said before


@pytest.mark.parametrize("moment", ["clock", "probe", "report"])
def test_a_host_that_is_lost_in_the_middle(checked, moment):
    findings = checked(odd={"c": {"dies_when": moment}})
    assert findings.failures == ["c: the connection broke"]
    assert pair(findings, "a", "b").arrived == 4 and pair(findings, "b", "a").answered == 4
    assert not pair(findings, "a", "c").blocked and pair(findings, "a", "c").arrived is None


def test_a_port_that_is_taken(checked, free_port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.1.0.2", free_port))
        findings = checked()
    assert findings.failures == [
        f"UDP {free_port} of b is taken by somebody, maybe peers of another lab, or another program; end it, or choose "
        "another `peer_port`"
    ]
    assert pair(findings, "a", "b").asked == 0 and pair(findings, "b", "a").answered == 4
    assert "taken or barred" in told(findings)


def test_ports_that_the_labs_own_peers_use(checked, free_port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.1.0.2", free_port))
        findings = checked(hosts={"b": {"peers": 2}}, odd={"b": {"living": ["b-0"]}})
    assert findings.failures == []
    assert findings.warnings[0] == (
        f"UDP {free_port} of b is in use: b-0 of this lab lives there; "
        "`fab stop` first to have the way to it tried as well"
    )
    first, second = findings.pairs_between("a", "b")
    assert (first.asked, second.arrived) == (0, 4)


def test_a_bind_address_that_the_host_does_not_have(checked):
    findings = checked(2, hosts={"b": {"bind": "203.0.113.77"}})
    assert findings.failures == [
        "b cannot listen on 203.0.113.77, which is no address of this host; `bind: 0.0.0.0` listens on all it has"
    ]


def test_an_advertised_name_that_cannot_be_looked_up(checked):
    findings = checked(2, hosts={"b": {"advertise": "no-such-host.invalid"}})
    (sentence,) = findings.failures
    assert sentence.startswith("a cannot look up no-such-host.invalid, where b is to be reached (")
    assert sentence.endswith("; give b an IPv4 address as `advertise`")


def test_little_disk_small_buffers_and_a_wrong_clock(checked, weather, monkeypatch):
    weather.buffer = 2 * 212_992
    monkeypatch.setattr(module, "time_ns", lambda real=module.time_ns: real() - 37_000_000_000)
    findings = checked(2, odd={"b": {"look": {"disk_free": 3 << 20, "synchronised": False}}})
    assert findings.failures == ["b has 3 MB of disk left, and logs want at least 32 MB; make room there"]
    assert [sentence for sentence in findings.warnings if "wall clock" in sentence] == [
        f"the wall clock of {name} is 37.0 s ahead of yours; "
        "no run depends on it, but times in what its peers say do (NTP would set it right)"
        for name in "ab"
    ]
    assert findings.warnings[-1] == (
        "a, b: receive buffers have 208 kB of the 8 MB asked for; "
        "`sudo sysctl -w net.core.rmem_max=8388608` there gives more"
    )
    assert "+37.0 s ±" in told(findings) and "not kept by NTP" in told(findings)


def test_a_bug_is_not_taken_for_a_trouble_of_the_host(checked, monkeypatch):
    monkeypatch.setattr(module, "_clock_of", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        checked(2, deadline_s=5.0)


# The agent alone.


def test_a_look_says_what_there_is(free_port):
    seen = probe.look({"bind": "127.0.0.1", "ports": [free_port, 1]})
    assert seen["python"].startswith("3.") and seen["system"] and seen["disk_free"] > 0
    assert seen["synchronised"] in (True, False, None)
    assert (seen["clock_error_s"] is not None) == bool(seen["synchronised"])
    assert seen["ports"][0] == [free_port, ""]
    assert 0 < seen["buffer"]["given"] <= seen["buffer"]["asked"] == 8 << 20
    assert probe.look({"bind": "127.0.0.1", "ports": [], "buffer_bytes": 4096})["buffer"]["given"] == 4096


def probing(request):
    """A probe in a thread, the operator's end of its conversation, and what it came to."""
    mine, its = socket.socketpair()
    ended = []

    def serve():
        lines = Lines(its)
        try:
            ended.append(probe.run(request, lines, lines.send))
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=serve)
    thread.start()
    return mine, thread, ended


def test_an_operator_who_goes_away_or_is_silent_ends_the_probe(free_port):
    request = {"token": "ab" * 16, "me": 0, "bind": "127.0.0.1", "ports": [free_port], "hosts": ["127.0.0.1"]}
    mine, thread, ended = probing(request)
    assert json.loads(mine.recv(4096)) == {"bound": [[free_port, ""]], "unresolved": []}
    mine.close()
    thread.join(10)
    assert isinstance(ended[0], EOFError)
    mine, thread, ended = probing(request | {"silent_s": 0.1})
    thread.join(10)
    assert str(ended[0]) == "the operator said nothing for 0.1 s"
    mine.close()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
        again.bind(("127.0.0.1", free_port))  # nothing of it is left


def test_an_answer_is_never_larger_than_its_question(free_port):
    """So that nobody can have a probe flood somebody else, not even who knows the token."""
    request = {
        "token": "ab" * 16,
        "me": 0,
        "bind": "127.0.0.1",
        "ports": [free_port],
        "hosts": ["127.0.0.1", "x.invalid"],
    }
    mine, thread, ended = probing(request)
    lines = Lines(mine)
    lines(20)
    asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    asker.bind(("127.0.0.1", 0))
    question = probe.HEADER.pack(probe.MAGIC, b"\xab" * 16, probe.QUESTION, 1, 0, free_port, 3, 5)
    asker.sendto(question, ("127.0.0.1", free_port))  # shorter than an answer
    asker.sendto(question.ljust(probe.SMALLEST, b"\0"), ("127.0.0.1", free_port))
    asker.settimeout(10)
    answer = asker.recv(4096)
    assert len(answer) == probe.SMALLEST
    seen = probe.SEEN_AS.unpack_from(answer, probe.HEADER.size)
    assert seen == (socket.inet_aton("127.0.0.1"), asker.getsockname()[1])
    lines.send({"do": "report"})
    thread.join(10)
    assert ended[0]["heard"] == [
        {"from": 1, "port": free_port, "count": 1, "source": asker.getsockname(), "largest": probe.SMALLEST}
    ]
    asker.close(), mine.close()

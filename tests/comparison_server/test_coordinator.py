"""The life of a run, in pure time: every way it goes on, every wait that ends in a named timeout, every way back in."""

from dataclasses import asdict

import pytest

from comparison_server.coordinator import DONE, DRAIN, HANDSHAKE, IDLE, LOST_S, SEND, STILL_S, UPLOAD, Coordinator
from peer.core.commands import (
    Close,
    Collected,
    Counts,
    Describe,
    Described,
    Prepare,
    Reached,
    Rejected,
    Release,
    Sealed,
)
from peer.core.settings import DeadlineSettings
from tests.runs import run_settings

NAMES = ("p0", "p1", "p2")
UNDONE = {
    HANDSHAKE: "before everybody had reached everybody",
    SEND: "with 0 of 60 messages delivered",
    DRAIN: "with 30 of 60 messages delivered",
    UPLOAD: "before its logs were here",
}
DEADLINES = DeadlineSettings(handshake_s=30.0, send_s=100.0, drain_s=60.0, upload_s=50.0, deadline_s=600.0)


class Led:
    """A coordinator, its clock, and what it told whom since the last look."""

    def __init__(self, agreement=True, deadlines=DEADLINES, present=NAMES):
        self.coordinator = Coordinator()
        self.agreement = agreement
        self.settings = run_settings(peers=3, deadlines=deadlines)
        self.now = 1000.0
        self.silent = set()
        for name in present:
            self.coordinator.joined(name, self.now)

    def start(self, run="one"):
        self.coordinator.start(run, self.settings, self.agreement, {"h": 1}, self.now, {"wire": 1})
        return self

    @property
    def phase(self):
        return self.coordinator.phase

    @property
    def error(self):
        return self.coordinator.error

    def told(self):
        return self.coordinator.take()

    def wait(self, seconds):
        """Time passes, second by second, as it does between ticks; who is there goes on saying how far it is."""
        until = self.now + seconds
        while self.now < until:
            self.now = min(self.now + 0.5, until)
            for name, member in self.coordinator.members.items():
                if name not in self.silent and member.gone_since is None:
                    self.coordinator.on_report(name, member.counts or Counts(self.coordinator.run, "running"), self.now)
            self.coordinator.tick(self.now)

    def report(self, kind, *names, run=None, **fields):
        run = run or self.coordinator.run
        for name in names or NAMES:
            self.coordinator.on_report(name, kind(run, **fields), self.now)

    def counts(self, *names, **fields):
        self.report(Counts, *names, phase="running", **fields)

    def collected(self, *names):
        for name in names or NAMES:
            self.coordinator.collected(name, self.now)

    def to(self, phase):
        """As far as this phase, everything going well."""
        self.start()
        steps = {
            HANDSHAKE: lambda: None,
            SEND: lambda: self.report(Reached),
            DRAIN: lambda: self.counts(asked=20, delivered=30, ended=True),
            UPLOAD: lambda: self.counts(asked=20, delivered=60, ended=True, drained=True),
            DONE: lambda: (self.report(Sealed, files={}), self.collected()),
        }
        for reached, step in steps.items():
            step()
            assert self.phase == reached
            if reached == phase:
                self.told()
                return self


def test_a_run_goes_through_its_phases_and_everybody_is_told():
    led = Led()
    assert led.phase == IDLE
    led.start()
    assert led.told() == [(name, Prepare("one", me, {"wire": 1}, {"h": 1})) for me, name in enumerate(NAMES)]
    led.report(Reached, "p0", "p1")
    assert led.phase == HANDSHAKE and led.told() == [] and led.coordinator.waiting_for() == ["p2"]
    led.report(Reached, "p2")
    assert led.phase == SEND and led.told() == [(name, Release("one")) for name in NAMES]
    led.counts("p0", "p1", ended=True)
    assert led.phase == SEND and led.coordinator.waiting_for() == ["p2"]
    led.counts("p2", ended=True)
    assert led.phase == DRAIN and led.told() == []
    led.counts(ended=True, drained=True)
    assert led.phase == UPLOAD and led.told() == [(name, Close("one")) for name in NAMES]
    led.report(Sealed, files={})
    assert led.phase == UPLOAD and led.coordinator.waiting_for() == list(NAMES)
    led.collected()
    assert led.phase == DONE and led.coordinator.complete and led.error is None


def test_a_run_is_over_for_a_session_when_it_says_that_it_knows():
    led = Led().to(DONE)
    assert led.coordinator.unaware() == ["p0", "p1", "p2"]
    led.report(Counts, "p0", phase="collected")
    led.report(Counts, "p1", phase="closed")
    led.report(Counts, "p2", phase="collected", run="another")
    assert led.coordinator.unaware() == ["p1", "p2"]
    led.coordinator.left("p2", led.now)
    assert led.coordinator.unaware() == ["p1"], "who is gone is not waited for"


def test_a_quick_peer_may_be_drained_before_others_have_sent_everything():
    led = Led().to(SEND)
    led.counts("p0", "p1", ended=True, drained=True)
    assert led.phase == SEND
    led.counts("p2", ended=True, drained=True)
    assert led.phase == UPLOAD and led.coordinator.complete


def test_several_runs_one_after_the_other():
    led = Led().to(DONE)
    for run in ("two", "three"):
        led.start(run)
        assert led.phase == HANDSHAKE and led.error is None and not led.coordinator.complete
        led.told()
        led.report(Reached, run="one")
        led.report(Counts, run="one", phase="drained", ended=True, drained=True)
        led.report(Rejected, run="one", code="busy", sentence="late")
        assert led.phase == HANDSHAKE, "what is said of an earlier run counts for nothing"
        led.report(Reached)
        led.counts(ended=True, drained=True)
        led.collected()
        assert led.phase == DONE and led.coordinator.complete


def test_reports_of_strangers_count_for_nothing():
    led = Led(present=(*NAMES, "p3")).to(HANDSHAKE)
    led.report(Rejected, "p3", code="busy", sentence="no")
    led.report(Reached, "p3")
    assert led.phase == HANDSHAKE and led.error is None


# -- named timeouts


def test_the_handshake_ends_in_time_and_says_who_lacks_whom():
    led = Led().to(HANDSHAKE)
    led.report(Reached, "p0")
    led.report(Counts, "p1", phase="handshake", waits_for=["p2"])
    led.silent = {"p2"}
    led.wait(DEADLINES.handshake_s)
    assert led.phase == HANDSHAKE
    led.wait(1)
    assert led.phase == UPLOAD and led.told() == [(name, Close("one")) for name in NAMES]
    assert led.error.phase == HANDSHAKE and led.error.peers == ["p1", "p2"]
    assert str(led.error) == ("the handshake did not end in time: p1 has not reached p2; p2 has reported nothing")
    led.collected()
    assert led.phase == DONE and not led.coordinator.complete


def test_the_sending_ends_in_time_and_says_who_has_not_sent_all():
    led = Led().to(SEND)
    led.counts("p0", "p1", asked=20, delivered=45, ended=True)
    led.counts("p2", asked=5, delivered=44)
    led.wait(DEADLINES.send_s + 1)
    assert led.error.phase == SEND and led.error.peers == ["p2"]
    assert str(led.error) == "the send did not end in time; when last heard: p2 delivered 44 of 60 to come"


def test_without_a_limit_of_its_own_the_sending_may_last_until_the_deadline():
    led = Led(deadlines=DeadlineSettings(deadline_s=600.0)).to(SEND)
    led.counts("p0", asked=3)
    led.wait(599)
    assert led.phase == SEND
    led.wait(2)
    assert led.error.phase == SEND and "the deadline passed in phase send" in str(led.error)
    assert led.error.peers == list(NAMES)


def test_the_draining_ends_when_nothing_has_moved_for_long_and_says_what_is_held():
    led = Led().to(DRAIN)
    for delivered in range(31, 36):  # as long as something moves, it goes on
        led.wait(DEADLINES.drain_s - 1)
        led.counts("p1", asked=20, delivered=delivered, ended=True, held={"unstable": 25})
    assert led.phase == DRAIN
    led.counts("p0", "p2", asked=20, delivered=60, ended=True, drained=True)
    led.wait(DEADLINES.drain_s + 1)
    assert led.phase == UPLOAD and led.error.phase == DRAIN and led.error.peers == ["p1"]
    assert str(led.error) == "the drain did not end in time; when last heard: p1 delivered 35 of 60 (25 unstable)"
    assert not led.coordinator.complete


def test_the_deadline_holds_even_while_things_move():
    led = Led().to(DRAIN)
    delivered = 0
    while led.phase == DRAIN and led.now < 2000.0:
        led.wait(10)
        delivered += 1
        led.counts("p1", asked=20, delivered=delivered, ended=True)
    assert led.error is not None and "the deadline passed in phase drain" in str(led.error)
    assert led.now - 1000.0 == pytest.approx(DEADLINES.deadline_s, abs=11)


def test_logs_that_do_not_come_end_in_time_and_the_run_is_not_complete():
    led = Led().to(UPLOAD)
    assert led.coordinator.complete
    led.collected("p0")
    led.wait(DEADLINES.upload_s + 1)
    assert led.phase == DONE and not led.coordinator.complete
    assert led.error.phase == UPLOAD and led.error.peers == ["p1", "p2"]
    assert str(led.error) == "the logs of p1, p2 did not come in time"


def test_as_long_as_logs_are_coming_they_may_come():
    led = Led().to(UPLOAD)
    led.collected("p0", "p1")
    for _ in range(10):
        led.wait(DEADLINES.upload_s - 1)
        led.coordinator.collecting(led.now)
    assert led.phase == UPLOAD
    led.collected("p2")
    assert led.phase == DONE and led.coordinator.complete


def test_nothing_but_logs_prolongs_the_upload():
    led = Led().to(UPLOAD)
    led.collected("p0", "p1")
    led.report(Sealed, "p2", files={})
    began = led.now
    number = 0
    while led.phase == UPLOAD and led.now < began + 1000:
        led.wait(5)
        number += 1
        led.counts("p2", delivered=number)
        led.report(Sealed, "p2", files={})
    assert led.now - began == pytest.approx(DEADLINES.upload_s, abs=6)


# -- coming to rest, where agreement is not promised


def test_without_agreement_a_run_that_has_come_to_rest_is_over_without_an_error():
    led = Led(agreement=False).to(DRAIN)
    led.wait(1.5)
    led.counts("p0", asked=20, delivered=31, ended=True)
    led.wait(1.5)
    assert led.phase == DRAIN
    led.wait(1)
    assert led.phase == UPLOAD and led.error is None and not led.coordinator.complete
    led.collected()
    assert led.phase == DONE and not led.coordinator.complete


def test_that_a_message_takes_longer_and_longer_is_no_movement():
    """Fails if a run that stands still is kept by what its peers say of how long they have waited."""
    led = Led(agreement=False).to(DRAIN)
    for waited_s in range(5):
        led.counts("p0", asked=20, delivered=60, ended=True, drained=True, latency_s=float(waited_s))
        led.wait(1)
    assert led.phase == UPLOAD


def test_what_is_held_is_waited_for_longer():
    led = Led(agreement=False).to(DRAIN)
    led.counts("p0", asked=20, delivered=31, ended=True, held={"gaps": 2})
    led.wait(DEADLINES.drain_s - 1)
    assert led.phase == DRAIN


def test_with_agreement_rest_is_no_end():
    led = Led(agreement=True).to(DRAIN)
    led.wait(DEADLINES.drain_s - 1)
    assert led.phase == DRAIN


# -- who comes late, who goes, who comes back


def test_a_late_joiner_is_prepared_when_it_comes():
    led = Led(present=("p0", "p1")).to(HANDSHAKE)
    led.report(Reached, "p0", "p1")
    led.wait(LOST_S - 1)
    assert led.phase == HANDSHAKE
    led.coordinator.joined("p2", led.now)
    assert led.told() == [("p2", Prepare("one", 2, {"wire": 1}, {"h": 1}))]
    led.report(Reached, "p2")
    assert led.phase == SEND


def test_who_never_comes_is_lost_and_named():
    led = Led(present=("p0", "p1")).to(HANDSHAKE)
    led.wait(LOST_S + 1)
    assert led.error.phase == HANDSHAKE and led.error.peers == ["p2"]
    assert str(led.error) == (
        "p2 has had no connection for 10 s, in phase handshake, before everybody had reached everybody"
    )
    assert led.told() == [("p0", Close("one")), ("p1", Close("one"))]
    led.collected("p0", "p1")
    assert led.phase == DONE


@pytest.mark.parametrize("phase", [HANDSHAKE, SEND, DRAIN])
def test_who_is_away_too_long_is_lost_and_the_rest_is_collected(phase):
    led = Led().to(phase)
    led.coordinator.left("p1", led.now)
    led.wait(LOST_S + 1)
    assert led.phase == UPLOAD and led.error.phase == phase and led.error.peers == ["p1"]
    led.collected("p0", "p2")
    assert led.phase == DONE and not led.coordinator.complete


def test_who_has_no_connection_is_not_called_connected_however_long_that_is_allowed():
    led = Led().to(SEND)
    led.coordinator.lost_s = led.coordinator.settings.deadlines.drain_s
    led.silent = {"p1"}
    led.wait(2)
    led.coordinator.left("p1", led.now)
    led.wait(led.coordinator.lost_s + 1)
    assert str(led.error).startswith("p1 has had no connection for 60 s")


@pytest.mark.parametrize("phase", [HANDSHAKE, SEND, DRAIN, UPLOAD])
def test_who_is_back_in_time_is_not_lost(phase):
    led = Led().to(phase)
    for _ in range(3):
        led.coordinator.left("p1", led.now)
        led.wait(LOST_S - 1)
        playing = {HANDSHAKE: "handshake", UPLOAD: "closed"}.get(phase, "running")
        led.coordinator.joined("p1", led.now, "one", playing)
    assert led.phase == phase and led.error is None and led.told() == []


def test_who_is_lost_after_everybody_drained_leaves_the_run_incomplete():
    led = Led().to(UPLOAD)
    led.collected("p0", "p2")
    led.coordinator.left("p1", led.now)
    led.wait(LOST_S + 1)
    assert led.phase == DONE and not led.coordinator.complete
    assert led.error.phase == UPLOAD and led.error.peers == ["p1"]


def test_who_is_lost_after_its_logs_came_is_not_missed():
    led = Led().to(UPLOAD)
    led.collected("p1")
    led.coordinator.left("p1", led.now)
    led.wait(LOST_S + 1)
    led.collected("p0", "p2")
    assert led.phase == DONE and led.coordinator.complete and led.error is None


def test_reached_that_was_said_into_a_broken_connection_is_learned_at_the_next():
    led = Led().to(HANDSHAKE)
    led.report(Reached, "p0", "p1")
    led.coordinator.left("p2", led.now)
    led.wait(1)
    led.coordinator.joined("p2", led.now, "one", "ready")
    assert led.phase == SEND


def test_release_is_said_again_to_who_missed_it():
    led = Led().to(HANDSHAKE)
    led.report(Reached)
    led.coordinator.left("p1", led.now)
    led.told()
    led.coordinator.joined("p1", led.now, "one", "ready")
    assert led.told() == [("p1", Release("one"))]
    led.coordinator.joined("p1", led.now, "one", "running")
    assert led.told() == []


def test_close_is_said_again_to_who_missed_it():
    led = Led().to(UPLOAD)
    led.coordinator.left("p1", led.now)
    led.wait(2)
    led.coordinator.joined("p1", led.now, "one", "drained")
    assert led.told() == [("p1", Close("one"))]
    led.coordinator.joined("p1", led.now, "one", "closed")
    assert led.told() == []


def test_who_was_lost_and_comes_back_is_closed_and_collected_after_all():
    led = Led().to(SEND)
    led.coordinator.left("p1", led.now)
    led.wait(LOST_S + 1)
    led.told()
    led.coordinator.joined("p1", led.now, "one", "running")
    assert led.told() == [("p1", Close("one"))]
    led.collected("p0", "p2")
    assert led.phase == UPLOAD
    led.collected("p1")
    assert led.phase == DONE and led.error.peers == ["p1"] and not led.coordinator.complete


def test_who_is_started_anew_during_the_handshake_is_prepared_anew():
    led = Led().to(HANDSHAKE)
    led.report(Reached, "p0", "p1")
    led.coordinator.left("p1", led.now)
    led.coordinator.joined("p1", led.now)
    assert led.told() == [("p1", Prepare("one", 1, {"wire": 1}, {"h": 1}))]
    led.report(Reached, "p2")
    assert led.phase == HANDSHAKE, "that the earlier process had reached everybody does not count"
    led.report(Reached, "p1")
    assert led.phase == SEND


@pytest.mark.parametrize("phase", [SEND, DRAIN, UPLOAD])
def test_who_is_started_anew_later_has_lost_its_log(phase):
    led = Led().to(phase)
    led.coordinator.left("p1", led.now)
    led.coordinator.joined("p1", led.now)
    assert str(led.error) == f"p1 was started anew, in phase {phase}, {UNDONE[phase]}" and led.error.peers == ["p1"]
    led.collected("p0", "p2")
    assert led.phase == DONE and not led.coordinator.complete


def test_a_run_that_is_in_the_way_is_closed():
    led = Led(present=("p0", "p1")).start()
    led.told()
    led.coordinator.joined("p2", led.now, "forgotten", "drained")
    assert led.told() == [("p2", Close("forgotten")), ("p2", Prepare("one", 2, {"wire": 1}, {"h": 1}))]


def test_who_comes_back_after_the_run_is_freed_of_it():
    led = Led().to(SEND)
    led.coordinator.left("p1", led.now)
    led.wait(LOST_S + 1)
    led.collected("p0", "p2")
    assert led.phase == DONE
    led.told()
    led.coordinator.joined("p1", led.now, "one", "running")
    assert led.told() == [("p1", Close("one"))]


# -- refusals, and giving up


@pytest.mark.parametrize("code", ["busy", "settings", "other settings", "disk"])
def test_a_refusal_ends_the_run_with_the_sentence_of_who_refused(code):
    led = Led().to(HANDSHAKE)
    led.report(Reached, "p0", "p2")
    led.report(Rejected, "p1", code=code, sentence="p1 has its reasons")
    assert led.phase == UPLOAD and led.error.phase == HANDSHAKE and led.error.peers == ["p1"]
    assert str(led.error) == "p1 has its reasons"
    assert led.told() == [(name, Close("one")) for name in NAMES]


def test_of_two_refusals_the_first_is_the_error():
    led = Led().to(HANDSHAKE)
    led.report(Rejected, "p1", code="other settings", sentence="first")
    led.report(Rejected, "p2", code="other settings", sentence="second")
    assert str(led.error) == "first"
    led.collected()
    assert led.phase == DONE, "both have logs to collect"


def test_who_was_busy_has_nothing_to_collect():
    led = Led().to(HANDSHAKE)
    led.report(Rejected, "p1", code="busy", sentence="p1 is busy")
    led.report(Rejected, "p1", code="unknown run", sentence="p1 does not play run one")
    led.collected("p0", "p2")
    assert led.phase == DONE and str(led.error) == "p1 is busy"


def test_a_log_that_a_peer_does_not_have_is_not_waited_for():
    led = Led().to(UPLOAD)
    led.collected("p0", "p1")
    led.report(Rejected, "p2", code="no such log", sentence="p2 has no such part of a log")
    assert led.phase == DONE and not led.coordinator.complete
    assert led.error.peers == ["p2"] and str(led.error).startswith("p2 has no such part of a log, in phase upload")


@pytest.mark.parametrize("phase", [HANDSHAKE, SEND, DRAIN])
def test_an_interruption_closes_and_collects(phase):
    led = Led().to(phase)
    led.coordinator.interrupt(led.now)
    assert led.phase == UPLOAD and str(led.error) == f"interrupted in phase {phase}"
    assert led.told() == [(name, Close("one")) for name in NAMES]
    led.collected()
    assert led.phase == DONE and not led.coordinator.complete


def test_an_interruption_while_collecting_changes_nothing():
    led = Led().to(UPLOAD)
    led.coordinator.interrupt(led.now)
    led.collected()
    assert led.phase == DONE and led.error is None and led.coordinator.complete


def test_giving_up_ends_it_at_once_and_lets_the_peers_go():
    led = Led().to(SEND)
    led.coordinator.give_up(None, led.now)
    assert led.phase == DONE and not led.coordinator.complete and led.error is not None
    assert led.told() == [(name, Close("one")) for name in NAMES]
    led.start("two")
    assert led.phase == HANDSHAKE


@pytest.mark.parametrize("phase", [HANDSHAKE, SEND, DRAIN, UPLOAD])
def test_a_peer_that_is_known_to_be_gone_is_not_waited_for(phase):
    led = Led().to(phase)
    led.coordinator.lose("p1", "p1 was ended by SIGKILL", led.now)
    assert led.phase == UPLOAD and led.error.phase == phase and led.error.peers == ["p1"]
    said = str(led.error)
    assert said == f"p1 was ended by SIGKILL, in phase {phase}, {UNDONE[phase]}"
    led.coordinator.lose("p1", "and again", led.now)
    led.collected("p0", "p2")
    assert led.phase == DONE and not led.coordinator.complete and str(led.error) == said


def test_two_runs_at_once_are_our_own_fault():
    led = Led().to(SEND)
    with pytest.raises(AssertionError):
        led.start("two")


# -- who says nothing, and who stood still


@pytest.mark.parametrize("phase", [SEND, DRAIN])
def test_who_is_connected_and_says_nothing_is_lost_in_time_and_named(phase):
    led = Led(deadlines=DeadlineSettings(drain_s=20.0)).to(phase)
    led.silent = {"p1"}
    for second in range(25):  # the others go on
        led.wait(1)
        led.counts("p0", "p2", asked=20, delivered=second, ended=phase == DRAIN)
    assert led.phase == UPLOAD and led.error.peers == ["p1"]
    assert str(led.error).startswith(f"p1 is connected, but has said nothing for 20 s, in phase {phase}, with ")
    led.collected("p0", "p2")
    assert led.phase == DONE and not led.coordinator.complete


def test_a_server_that_stood_still_blames_nobody_and_says_so():
    led = Led().to(DRAIN)
    led.wait(1)
    led.coordinator.left("p1", led.now)
    led.now += 3600  # the lid of the laptop was closed
    led.coordinator.tick(led.now)
    assert led.phase == DRAIN and led.error is None
    assert led.coordinator.remarks == ["The comparison server stood still for 3600.0 s."]
    led.coordinator.joined("p1", led.now + 2, "one", "running")
    led.counts(asked=20, delivered=60, ended=True, drained=True)
    assert led.phase == UPLOAD and led.coordinator.complete
    assert led.coordinator.remarks[1:] == ["p1 was without connection for 2.0 s."]


def test_a_look_that_comes_a_little_late_is_no_standstill():
    led = Led().to(SEND)
    led.now += STILL_S
    led.coordinator.tick(led.now)
    assert led.coordinator.remarks == []


# -- a run of a server that is no more


def found_by_another(*phases, run="one", **counts):
    """A new coordinator, to which the sessions of a run come that it knows nothing of."""
    before = Led().to(SEND)
    led = Led(present=())
    for name, phase in zip(NAMES, phases):
        led.coordinator.joined(name, led.now, run, phase)
    asked = led.told()
    assert asked == [(name, Describe(run)) for name, phase in zip(NAMES, phases) if phase not in ("idle", "collected")]
    for me, (name, phase) in enumerate(zip(NAMES, phases)):
        if phase != "idle":
            led.report(Described, name, run=run, me=me, settings=asdict(before.settings), header={"h": 1})
            led.report(Counts, name, run=run, phase=phase, **counts)
    return led


def test_a_run_without_a_server_is_found_and_led_to_its_end():
    led = found_by_another("running", "ready", "drained", asked=20, delivered=30)
    (found,) = led.coordinator.found.values()
    assert found.run == "one" and found.settings == led.settings and found.header == {"h": 1}
    led.coordinator.take_up("one", True, led.now)
    assert led.phase == SEND and led.told() == [(name, Release("one")) for name in NAMES]
    led.counts(asked=20, delivered=60, ended=True, drained=True)
    assert led.phase == UPLOAD and led.told() == [(name, Close("one")) for name in NAMES]
    led.collected()
    assert led.phase == DONE and led.coordinator.complete and led.error is None
    assert led.told() == [(name, Collected("one")) for name in NAMES]


def test_a_run_found_in_its_handshake_goes_on_with_it():
    led = found_by_another("handshake", "ready", "handshake")
    led.coordinator.take_up("one", True, led.now)
    assert led.phase == HANDSHAKE and led.coordinator.waiting_for() == ["p0", "p2"]
    led.report(Reached)
    assert led.phase == SEND


def test_a_run_found_closed_is_only_collected():
    led = found_by_another("closed", "drained", "collected", asked=20, delivered=60, ended=True, drained=True)
    led.coordinator.take_up("one", True, led.now)
    assert led.phase == UPLOAD and led.told() == [(name, Close("one")) for name in NAMES]
    led.collected()
    assert led.phase == DONE and led.coordinator.complete


def test_a_run_found_closed_before_everybody_had_everything_is_not_complete():
    led = found_by_another("closed", "closed", "closed", asked=20, delivered=59, ended=True)
    led.coordinator.take_up("one", True, led.now)
    led.collected()
    assert led.phase == DONE and not led.coordinator.complete
    assert str(led.error) == "the run had been closed before everybody was done"


def test_who_does_not_come_back_to_a_run_that_was_taken_up_is_lost():
    led = found_by_another("running", "running", "idle")
    led.coordinator.left("p2", led.now)
    led.coordinator.take_up("one", True, led.now)
    led.wait(LOST_S + 1)
    assert led.phase == UPLOAD and led.error.peers == ["p2"]


def test_a_new_run_closes_one_that_was_found():
    led = found_by_another("running", "running", "running")
    led.start("two")
    assert led.told()[:3] == [(name, Close("one")) for name in NAMES]
    assert led.coordinator.found == {} and led.phase == HANDSHAKE


def test_what_cannot_be_understood_is_not_found():
    led = Led(present=())
    led.coordinator.joined("p0", led.now, "one", "running")
    led.report(Described, "p0", run="one", me=0, settings={"members": 3}, header={})
    led.report(Counts, "p0", run="one", phase="running")
    assert led.coordinator.found == {}


def test_what_nobody_asked_for_is_not_found():
    led = found_by_another("running", "running", "running")
    settings = asdict(led.settings)
    led.report(Described, "p0", run="two", me=0, settings=settings, header={})
    led.report(Counts, "p0", run="two", phase="running")
    assert list(led.coordinator.found) == ["one"]


def test_a_run_that_nobody_plays_any_more_is_not_offered():
    led = found_by_another("running", "running", "running")
    assert [found.run for found in led.coordinator.known()] == ["one"]
    for name in NAMES:
        led.coordinator.left(name, led.now)
    assert led.coordinator.known() == []

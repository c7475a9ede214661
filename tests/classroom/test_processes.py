"""What the processes of a run do beside playing it: whom they call, what they listen to, and how they end.

They are the shipped programs, unmodified; Python itself notes what they ask of the system.
"""

import ipaddress
import json
import sys

import pytest

from comparison_server.run_folder import load_run
from comparison_server.verdict import judge
from experiments.local import LocalCluster
from peer.stacks import promised
from tests.classroom.lab import assert_flawless
from tests.runs import run_settings

pytestmark = pytest.mark.long  # real processes

# Python imports a module of this name before any program.
NOTES = """
import json, os, sys

file = os.open(os.path.join({folder!r}, str(os.getpid())), os.O_WRONLY | os.O_CREAT)
seen, kinds = set(), {{1: "tcp", 2: "udp"}}

def note(event, arguments):
    if event.partition(".")[0] not in ("socket", "time", "_thread", "pickle", "subprocess", "os.system"):
        return
    given = [kinds.get(each.type & 15) if hasattr(each, "recvfrom_into") else each for each in arguments]
    line = json.dumps([event, given], default=str)
    if line not in seen:
        seen.add(line)
        os.write(file, line.encode() + b"\\n")

sys.addaudithook(note)
"""


class Notes:
    """What the processes of a cluster did, by name, and how they ended."""

    def __init__(self, folder, cluster, outcome, verdict):
        self.events = {
            name: [json.loads(line) for line in (folder / str(pid)).read_text().splitlines()]
            for name, pid in cluster.pids.items()
        }
        self.codes = {child.name: child.process.returncode for child in cluster._children()}
        self.outcome, self.verdict = outcome, verdict

    def of(self, event, process=None):
        """What was given to this event, by all processes or by one."""
        names = [process] if process else list(self.events)
        return [given for name in names for each, given in self.events[name] if each == event]


@pytest.fixture(scope="module")
def notes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("notes")
    (folder / "sitecustomize.py").write_text(NOTES.format(folder=str(folder)))
    run = run_settings(peers=3, messages=20, gap_ms=(0.0, 5.0), delay_s=0.003, loss=0.05)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", str(folder))
        with LocalCluster(3) as cluster:
            outcome = cluster.run(run, True, {"world": "local"}, folder / "run")
    return Notes(folder, cluster, outcome, judge(load_run(folder / "run"), promised(run)))


def test_nobody_outside_is_asked_for_anything(notes):
    """Fails if a process looks a name up, or speaks to any address but those it was given: here all on this machine."""
    assert_flawless(notes.outcome, notes.verdict, 60)
    spoken_to = [given[1][0] for event in ("connect", "sendto", "sendmsg") for given in notes.of(f"socket.{event}")]
    assert len(spoken_to) >= 3 * 4, "a peer speaks to two servers and two others"
    assert set(spoken_to) == {"127.0.0.1"}
    looked_up = [given[0] for given in notes.of("socket.getaddrinfo")]
    assert looked_up and all(ipaddress.ip_address(host) for host in looked_up)
    for event in ("gethostbyname", "gethostbyaddr", "getnameinfo"):
        assert notes.of(f"socket.{event}") == []


def test_a_peer_listens_on_one_udp_port_of_no_fixed_number_and_on_no_tcp_port(notes):
    """Fails if a peer needs ports of its own to be free or open, which a second one on the machine would need too."""
    for name in ("p0", "p1", "p2"):
        assert notes.of("socket.bind", name) == [["udp", ["127.0.0.1", 0]]]
    assert [kind for kind, _ in notes.of("socket.bind", "group manager")] == ["tcp"]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="older ones do not note when they sleep")
def test_no_process_sleeps_starts_a_thread_or_loads_a_pickle(notes):
    """Fails if any of this happens while a run is played, in whatever library."""
    for event in ("time.sleep", "_thread.start_new_thread", "pickle.find_class", "subprocess.Popen"):
        assert notes.of(event) == [], event


def test_who_is_told_to_end_ends_wholly(notes):
    """Fails if a process outlives the 0 of the prompt, or must be killed: the codes say that each ended by itself."""
    assert notes.codes == {"p0": 0, "p1": 0, "p2": 0, "group manager": 0}

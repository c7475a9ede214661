"""The command line that every run folder tells: it plays the same run again."""

import json
import shlex

import pytest

from comparison_server import face
from experiments import __main__ as program
from experiments.command_line import command_of
from experiments.play import in_simulator, plan, play
from experiments.scenario import load, override, resolve, scenario_names
from experiments.sweep.plan import load_plan, plan_names
from peer.core.errors import BAD_SETTINGS, HELD, SettingsError
from peer.core.trace import MAGIC

FAR = {"planet": "aws-2020-06-05", "regions": {"us-west-1": 1, "eu-west-1": 2}}
CHANGED = [
    dict(peers=5, messages=7, loss=0.25, seed=9, trace="everything"),
    dict(FAR),
    dict(planet="gcp"),
    dict(planet="gcp", regions=["us-east1", "asia-east1"], peers=4),
]
ASSIGNED = [
    "name=my-own",
    "workload={kind: burst, gap_ms: [0.5, 1.25], size_bytes: 9}",
    "network={duplicate: 0.00001, jitter_ms: 3.5, broadcast: none, wire: true}",
    "stack={link: {name: ack_resend, order: none}, allow_unmet: true}",
    "window.blocks=7",
    "deadlines={drain_s: 5, handshake_s: 2.5}",
    "ordering_options={fixed_sequencer: {sequencer: 2, variant: ub}, lamport_all_ack: {variant: textbook}}",
]


@pytest.fixture
def asked(monkeypatch):
    """The runs that a command line asks for."""

    def asked(command):
        runs = []

        def only_planned(*given):
            runs.extend(plan(*given))
            raise SettingsError("enough")

        monkeypatch.setattr(program, "plan", only_planned)
        python, m, module, *words = shlex.split(command)
        assert (python, m, module) == ("python", "-m", "experiments")
        assert face.run(program.app, words) == BAD_SETTINGS
        return runs

    return asked


def same(asked, scenario, ordering, variant=None, world="sim", repeat=0):
    (planned,) = plan(scenario, [(ordering, variant)], 1, world, repeat or None)
    command = command_of(scenario, planned.settings, world, repeat)
    (again,) = asked(command)
    assert again.settings == planned.settings and again.world == world, command
    assert again.scenario.name == scenario.name, command


@pytest.mark.parametrize("name", scenario_names())
def test_standard_scenarios(asked, name):
    for world in ("sim", "local"):
        same(asked, load(name), "fifo", world=world)
    same(asked, load(name), "lamport_all_ack", "promise", repeat=3)


@pytest.mark.parametrize("changes", CHANGED, ids=str)
@pytest.mark.parametrize("name", ["lan", "demo", "bank"])
def test_what_options_change(asked, name, changes):
    same(asked, override(load(name), **changes), "lamport_all_ack", repeat=1)


def test_what_else_changes(asked):
    on_nodes = override(load("lan"), [*ASSIGNED, "nodes={a: [0, 3], b: [1, 2]}"])
    for start in (override(load("lossy"), ASSIGNED), on_nodes):
        for ordering, variant in (("fixed_sequencer", None), ("fixed_sequencer", "ub"), ("unordered", None)):
            same(asked, start, ordering, variant, repeat=2)


@pytest.mark.parametrize("name", plan_names())
def test_the_runs_of_standard_plans(asked, name):
    runs = load_plan(name).runs
    for planned in runs[:: max(1, len(runs) // 8)]:
        command = command_of(planned.scenario, planned.settings, planned.world, planned.repeat or 0)
        (again,) = asked(command)
        assert again.settings == planned.settings, command


def test_other_worlds_say_what_they_can():
    demo = load("demo")
    settings = resolve(demo, "fifo", None, "7/2", "rehearsal")
    expected = "python -m experiments cloud demo --rehearsal --ordering fifo --repeat 3"
    assert command_of(demo, settings, "rehearsal", 2) == expected
    assert command_of(demo, settings, "cloud").startswith("python -m experiments cloud demo --ordering fifo")


def test_it_stands_in_the_folder_and_makes_the_same_logs(tmp_path):
    scenario = override(load("lan"), peers=3, messages=5, loss=0.2)
    first, second = play(plan(scenario, [("fifo", None)], 2, "sim"), in_simulator, tmp_path)
    command = json.loads((second.folder / "scenario.json").read_bytes())["command"]
    assert face.run(program.app, [*shlex.split(command)[3:], "--out", str(tmp_path / "again")]) == HELD
    (again,) = (tmp_path / "again").iterdir()

    def records(folder):
        files = {path.name: path.read_bytes() for path in folder.glob("*.bin")}
        return {name: content[content.index(b"\n", len(MAGIC)) :] for name, content in files.items()}

    assert records(again) == records(second.folder) != records(first.folder) and len(records(again)) == 6

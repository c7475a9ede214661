"""Plans: what may stand in one, what is said of what may not, and the runs that one comes to."""

import json
from itertools import product

import pytest
import yaml

from analysis.frames import FRAMES
from comparison_server import face
from experiments.__main__ import app
from experiments.scenario import load
from experiments.sweep.plan import AXES, json_schema, load_plan, plan_names
from peer.core.errors import SettingsError
from peer.core.settings import to_json


@pytest.fixture
def plan(tmp_path):
    """A plan from what its file says."""

    def plan(text="", **content):
        file = tmp_path / "mine.yml"
        file.write_text(text or json.dumps(content))  # JSON is YAML
        return load_plan(file)

    return plan


def test_a_grid_comes_to_its_product_repetition_by_repetition(plan):
    loaded = plan(
        scenario="lan",
        set={"workload.messages": 5, "network": {"jitter_ms": 2}},
        grid={
            "ordering": ["fifo", "lamport_all_ack:promise"],
            "peers": [2, 3],
            "planet": ["lan", {"planet": "gcp", "regions": ["us-east1", "asia-east1"]}],
            "loss": [0, 0.5],
            "gap_ms": [[1, 2], [0.5, 9]],
            "size_bytes": [9, 64],
            "world": ["sim", "local"],
        },
        repeat=2,
        seed=3,
    )
    found = [
        (
            run.settings.seed, run.world, run.scenario.planet, run.scenario.peers, run.scenario.network.loss,
            run.scenario.workload.gap_ms, run.scenario.workload.size_bytes, run.ordering,
        )
        for run in loaded.runs
    ]  # fmt: skip
    expected = product(
        ("3", "3/1"), ("sim", "local"), ("lan", "gcp"), (2, 3), (0, 0.5), ((1, 2), (0.5, 9)), (9, 64),
        ("fifo", "lamport_all_ack"),
    )  # fmt: skip
    assert found == list(expected)
    assert {run.repeat for run in loaded.runs} == {0, 1}
    assert {run.settings.network.jitter_ms for run in loaded.runs} == {2.0}
    assert {run.settings.workload.messages for run in loaded.runs} == {5}
    assert {run.variant for run in loaded.runs} == {None, "promise"}
    names = [run.name for run in loaded.runs]
    assert len(set(names)) == len(names)
    assert names[0].startswith("fifo-sim-lan-2p-loss0-gap1-2-9b-r0-")
    assert names[-1].startswith("lamport_all_ack-promise-local-us-east1+asia-east1-3p-loss0.5-gap0.5-9-64b-r1-")


def test_what_a_grid_leaves_open_is_as_the_scenario_says(plan):
    (run,) = plan(grid={"ordering": ["fifo"]}, scenario="demo").runs
    demo = load("demo")
    assert (run.scenario.regions, run.scenario.peers, run.scenario.network) == (demo.regions, 6, demo.network)
    assert (run.settings.seed, run.repeat, run.world) == ("7", None, "sim") and run.name.startswith("fifo-")
    own = plan(grid={"loss": [0.1]}, scenario="bank").runs
    assert [each.ordering for each in own] == ["unordered"]
    everywhere = plan(grid={"planet": ["aws-2020-06-05"]}, scenario="demo").runs  # a planet is all of its regions
    assert len(set(everywhere[0].settings.regions)) == 6 and everywhere[0].scenario.regions == ()


def test_all_orderings_and_their_variants(plan):
    titles = [(run.ordering, run.variant) for run in plan(grid={"ordering": ["fifo", "all:variants", "fifo"]}).runs]
    assert titles[0] == ("fifo", None) and len(set(titles)) == len(titles) > 5
    assert ("lamport_all_ack", "textbook") in titles
    for word in ("all", "all:variants", "fifo,unordered"):  # a word alone is a list of one
        alone, listed = (plan(grid={"ordering": said}).runs for said in (word, [word]))
        assert [run.name for run in alone] == [run.name for run in listed] and len(alone) > 1


def test_several_grids_play_what_they_share_once(plan):
    one = {"ordering": ["fifo", "unordered"], "loss": [0.1]}
    other = {"ordering": ["fifo"], "loss": [0, 0.1], "repeat": 3}
    loaded = plan(grid=[one, other], repeat=1)
    found = [(run.ordering, run.scenario.network.loss, run.settings.seed) for run in loaded.runs]
    assert found == [
        ("fifo", 0.1, "1"), ("unordered", 0.1, "1"), ("fifo", 0, "1"),
        ("fifo", 0, "1/1"), ("fifo", 0.1, "1/1"), ("fifo", 0, "1/2"), ("fifo", 0.1, "1/2"),
    ]  # fmt: skip


def test_names_do_not_depend_on_what_is_not_said(plan):
    runs = [plan(grid={"peers": [2, 3]}, repeat=2).runs for _ in range(2)]
    assert [run.name for run in runs[0]] == [run.name for run in runs[1]]
    assert runs[0][0].name.startswith("lamport_all_ack-2p-r0-") and len(runs[0][0].name.rpartition("-")[2]) == 8
    larger = plan(grid={"peers": [2, 3]}, set={"workload.size_bytes": 65}, repeat=2).runs
    assert not {run.name for run in runs[0]} & {run.name for run in larger}, "other settings are another run"


def test_options_in_a_plan_keep_the_order_of_their_keys(plan):
    (run,) = plan("set: {regions: {us-west-1: 1, eu-west-1: 2}, planet: aws-2020-06-05}\ngrid: {loss: [0]}").runs
    assert run.settings.regions == ("us-west-1", "eu-west-1", "eu-west-1")


def test_a_scenario_of_ones_own_lies_beside_the_plan(plan, tmp_path, monkeypatch):
    (tmp_path / "own.yml").write_text("base: lan\npeers: 2\n")
    monkeypatch.chdir("/")
    (run,) = plan(scenario="./own.yml", grid={"ordering": ["fifo"]}).runs
    assert (run.scenario.name, run.scenario.peers) == ("own", 2)


GRID = "grid: {ordering: [fifo]}\n"


@pytest.mark.parametrize(
    "text, path, problem",
    [
        ("name: x", "grid", "is missing"),
        ("grid: {}", "grid", "expected values of"),
        ("grid: []", "grid", "at least one grid"),
        ("grid: 5", "grid", "expected what is varied"),
        ("grid: {loss: []}", "grid.loss", "at least one value"),
        ("grid: {loss: 0.1}", "grid.loss", "expected a list of values, found 0.1"),
        ("grid: [{loss: [0]}, {loss: [2]}]", "grid.1.loss", "expected 0 to 1, found 2"),
        ("grid: {loss: [1]}", "grid.loss", "less than 1"),
        ("grid: {los: [0]}", "grid.los", "did you mean loss?"),
        ("grid: {ordering: [fiffo]}", "grid.ordering", "unknown ordering fiffo; did you mean fifo?"),
        ("grid: {ordering: ['fifo:x']}", "grid.ordering", "unknown variant of fifo"),
        ("grid: {peers: [0]}", "grid.peers", "expected 1 to"),
        ("grid: {peers: ['3']}", "grid.peers.0", "found '3'"),
        ("grid: {planet: [mars]}", "grid.planet", "unknown planet mars"),
        ("grid: {planet: [{planet: gcp, regions: [us-east-1]}]}", "grid.planet", "did you mean us-east1?"),
        ("grid: {planet: [{planet: gcp, name: 'a/b'}]}", "grid.planet.0.name", "expected at most 48 letters"),
        ("grid: {planet: [{planet: gcp, region: x}]}", "grid.planet.0.region", "did you mean regions?"),
        ("grid: {gap_ms: [[9, 1]]}", "grid.gap_ms", "expected [shortest, longest]"),
        ("grid: {gap_ms: [5]}", "grid.gap_ms.0", "expected a list, found 5"),
        ("grid: {size_bytes: [-1]}", "grid.size_bytes", "expected"),
        ("grid: {world: [cloud]}", "grid.world.0", "expected 'sim' or 'local'"),
        ("grid: {loss: [0], repeat: 0}", "grid.repeat", "expected 1 to"),
        (GRID + "repeat: 0", "repeat", "expected 1 to"),
        (GRID + "repeat: 100001", "repeat", "expected 1 to 100,000"),
        ("grid: {loss: [0, 0.1], peers: [2, 3]}\nrepeat: 50000", "grid", "at most 100,000 runs in all, found 200,000"),
        (GRID + "seed: -1", "seed", "expected 0 to"),
        (GRID + "name: a/b", "name", "expected letters"),
        (GRID + "name: " + "a" * 101, "name", "expected at most 100 characters, found 101"),
        ("grdi: {loss: [0]}", "grdi", "did you mean grid?"),
        (GRID + "colour: red", "colour", "unknown setting colour"),
        (GRID + "scenario: lann", "scenario", "did you mean lan?"),
        (GRID + "set: {workload.mesages: 5}", "set.workload.mesages", "did you mean messages?"),
        (GRID + "set: {workload: {messages: -5}}", "set.workload.messages", "expected 0 to"),
        (GRID + "set: {stack.link: carrier_pigeon}", "stack.link", "unknown link"),
        ("grid: {ordering: [fifo, unordered]}\nset: {ordering_options.x: 1}", "set.ordering_options.x", "say whose"),
        ("grid: {ordering: all}\nset: {ordering_options.x: 1}", "set.ordering_options.x", "say whose"),
        ("grid: {ordering: [lamport_all_ack]}\nset: {stack.link: direct}", "stack", "needs fifo links"),
        (GRID + "set: {faults: [{at_s: 1, crash: 0}]}", "faults", "no world can make faults yet"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place_before_anything_runs(plan, tmp_path, text, path, problem):
    with pytest.raises(SettingsError) as caught:
        plan(text)
    said = str(caught.value)
    assert said.startswith(f"{tmp_path / 'mine.yml'}, {path}: "), said
    assert problem in said


def test_a_folder_is_no_plan(capsys, tmp_path):
    assert face.run(app, ["sweep", str(tmp_path)]) == 2
    assert f"{tmp_path}: expected a file, found a folder" in capsys.readouterr().err


def test_an_unknown_plan(capsys):
    assert face.run(app, ["sweep", "hole"]) == 2
    assert "unknown plan hole; did you mean whole?" in capsys.readouterr().err


def test_standard_plans():
    assert {"demo", "first", "whole"} <= set(plan_names())
    for name in plan_names():
        loaded = load_plan(name)
        assert loaded.plan.name == name and loaded.runs
    whole = load_plan("whole").runs
    assert len(whole) == 4 * 3 * 4 * 10
    assert {(run.scenario.peers, run.settings.workload.messages) for run in whole} == {(6, 50)}
    demo = load_plan("demo").runs
    assert len({run.ordering for run in demo}) == 3 and {run.scenario.peers for run in demo} == {3, 4, 6}
    assert len({run.settings.regions for run in demo}) >= 3 and len({run.scenario.network.loss for run in demo}) >= 4


def test_plan_json_speaks_in_the_words_of_the_frame_of_runs():
    document = load_plan("demo").as_dict()
    json.dumps(document)
    for planned, row in zip(load_plan("demo").runs, document["points"], strict=True):
        assert row["run"] == planned.name and planned.name.endswith(row["digest"])
        assert set(row) - {"digest"} <= set(FRAMES["runs"])
        assert row["chance"] == planned.settings.seed and str(row["peers"]) in to_json(planned.settings)


def test_the_schema_knows_every_setting(capsys):
    assert face.run(app, ["schema", "plan"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema == json_schema()
    assert set(AXES) <= set(schema["$defs"]["Grid"]["properties"]) and "grid" in schema["required"]
    for name in plan_names():
        written = yaml.safe_load((load_plan.__globals__["PLANS"] / f"{name}.yml").read_text())
        assert set(written) <= set(schema["properties"])

"""What the benchmarks say of what they measure; never how fast anything is."""

import json
import re
import sys
from importlib import import_module
from types import ModuleType

import pytest

from comparison_server.run_folder import load_run
from comparison_server.verdict import judge
from experiments.bench import command, zeromq
from experiments.bench.logs import UNDER_WAY, write_logs
from experiments.bench.row import Lacking, Row
from peer.core.errors import SettingsError


@pytest.mark.parametrize(
    ("value", "unit", "floor", "ratio"),
    [
        (300.0, "messages/s", 200.0, 1.5),
        (150.0, "messages/s", 200.0, 0.75),
        (2.0, "s", 3.0, 1.5),
        (400.0, "MB", 300.0, 0.75),
        (75.0, "us", 150.0, 2.0),
        (1.0, "s", None, None),
    ],
)
def test_a_ratio_says_how_many_times_as_good_as_its_floor_a_figure_is(value, unit, floor, ratio):
    assert Row("it", value, unit, floor).ratio == ratio


@pytest.fixture
def benches(monkeypatch):
    """Three benchmarks that measure nothing; one cannot."""

    def lacks(say):
        raise Lacking("nothing to weigh with")

    told = []
    for name, run in {
        "speed": lambda say: say("once") or told.append("speed") or [Row("a", 12_345.6, "steps/s", 10_000.0)],
        "weight": lacks,
        "time": lambda say: told.append("time") or [Row("b", 0.25, "s", 0.5), Row("c", 3, "s")],
    }.items():
        module = ModuleType(f"a_bench_of_{name}")
        module.run = run
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(command, "BENCHES", {name: f"a_bench_of_{name}" for name in ("speed", "weight", "time")})
    return told


def test_figures_stand_beside_their_floors_and_above_all_is_what_measured(benches, capsys):
    assert command.bench("all", False) == 0
    printed = capsys.readouterr()
    machine = re.escape(f"{command.python()}, {command.cores()} cores; a loop of 5,000,000 additions takes ")
    assert re.fullmatch(machine + r"\d+\.\d\d s", printed.out.splitlines()[0])
    rows = [line.replace("│", " ").split() for line in printed.out.splitlines()]
    assert ["a", "12,346", "steps/s", "10,000", "1.23"] in rows
    assert ["b", "0.25", "s", "at", "most", "0.5", "2.00"] in rows
    assert ["c", "3", "s"] in rows
    assert "weight: nothing to weigh with" in printed.err.splitlines()
    assert benches == ["speed", "time"]


def test_one_benchmark_as_json(benches, capsys):
    assert command.bench("speed", True) == 0
    printed = json.loads(capsys.readouterr().out)
    row = {"name": "a", "value": 12_345.6, "unit": "steps/s", "floor": 10_000.0, "ratio": 1.23456}
    assert printed.pop("loop_s") > 0
    assert printed == {"python": command.python(), "cores": command.cores(), "benches": {"speed": [row]}}
    assert benches == ["speed"]


def test_an_unknown_benchmark_is_refused(benches):
    with pytest.raises(SettingsError, match="unknown benchmark 'width'; known are all, speed, weight, time"):
        command.bench("width", False)


def test_every_benchmark_can_be_asked_for():
    for module in command.BENCHES.values():
        assert callable(import_module(module).run)


@pytest.mark.parametrize("displaced", [0.0, 0.1])
def test_written_logs_are_those_of_a_whole_run(tmp_path, displaced):
    write_logs(tmp_path, 3, 1000, displaced)
    evidence = load_run(tmp_path)
    verdict = judge(evidence)
    assert verdict.complete and [len(log.ids) for log in evidence.logs] == [1000] * 3
    assert [len(log.sends.numbers) for log in evidence.logs] == [334, 333, 333]
    assert all(log.sends.after.tolist()[-1] in range(1000 - UNDER_WAY - 3, 1000) for log in evidence.logs)
    assert {name for name, each in verdict.findings.items() if each.holds is False} == (
        {"fifo", "causal", "total", "uniform_total", "prefix"} if displaced else set()
    )
    assert (verdict.rounds.disordered > 0) == (displaced > 0)


def test_a_run_of_zeromq_ends_when_everybody_has_everything():
    pytest.importorskip("zmq", reason="pyzmq is not installed")
    assert zeromq._flood(messages=400, size=64, batch=4) > 0


def test_without_zeromq_the_benchmark_says_so(monkeypatch):
    monkeypatch.setattr(zeromq, "zmq", None)
    with pytest.raises(Lacking, match="pyzmq is not installed"):
        zeromq.run(lambda what: None)

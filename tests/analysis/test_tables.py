"""The table that shows several runs side by side."""

import pytest
from rich.text import Text

from analysis.tables import comparison
from experiments.play import in_simulator, plan, play
from experiments.scenario import load, override


@pytest.mark.parametrize("repeats", [1, 3])
def test_repeated_runs_are_told_apart(tmp_path, repeats):
    scenario = override(load("lan"), peers=2, messages=3)
    chosen = [("fifo", None), ("lamport_all_ack", "promise")]
    runs = list(play(plan(scenario, chosen, repeats, "sim"), in_simulator, tmp_path))
    table = comparison([run.as_dict() for run in runs], [run.measures for run in runs])
    columns = {column.header: [Text.from_markup(cell).plain for cell in column.cells] for column in table.columns}
    assert columns["ordering"] == ["fifo", "lamport_all_ack:promise"] * repeats
    if repeats == 1:
        assert "repeat" not in columns
        assert [run.planned.title for run in runs] == ["fifo", "lamport_all_ack:promise"]
    else:
        assert columns["repeat"] == ["0", "0", "1", "1", "2", "2"]
        assert [run.folder.name.rpartition("-")[2] for run in runs] == columns["repeat"]
        assert runs[-1].planned.title == "lamport_all_ack:promise, repeat 2"


def test_rounds_that_are_short_because_logs_are_missing_are_told_apart_from_disorder(tmp_path):
    (run,) = play(plan(override(load("lan"), peers=2, messages=3), [("fifo", None)], 1, "sim"), in_simulator, tmp_path)
    verdict = run.as_dict()

    def shown(**changes):
        column = comparison([verdict | changes], [run.measures]).columns[1]
        return [Text.from_markup(cell).plain for cell in column.cells]

    assert shown() == ["0 of 6"]
    found = {name: each | {"holds": None} for name, each in verdict["properties"].items() if name == "fifo"}
    unknown = comparison([verdict | {"properties": verdict["properties"] | found}], [run.measures]).columns[3]
    assert list(unknown.cells) == ["3 of 4 held; no evidence: fifo"]  # and not green
    cut = {"out_of_order_rounds": 4, "short_rounds": 4, "disordered_rounds": 0}
    assert shown(**cut, complete=False) == ["4 of 6 (4 cut short)"]
    assert shown(**cut, complete=True) == ["4 of 6"]

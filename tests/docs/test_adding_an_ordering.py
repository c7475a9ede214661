"""The ordering that ARCHITECTURE.md shows as an example works as it stands there."""

import importlib
import re
import sys
from pathlib import Path

import pytest

from experiments.explorer.search import explore
from peer import stacks
from tests.runs import faulty, play, run_settings

ARCHITECTURE = Path(__file__).parents[2] / "ARCHITECTURE.md"


@pytest.fixture
def round_robin(tmp_path, monkeypatch):
    section = ARCHITECTURE.read_text(encoding="utf-8").partition("\n## Adding an ordering\n")[2]
    (tmp_path / "round_robin.py").write_text(re.search(r"```python\n(.*?)```", section, re.DOTALL)[1])
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(stacks.ORDERINGS, "round_robin", importlib.import_module("round_robin").RoundRobin)
    yield
    del sys.modules["round_robin"]


@pytest.mark.parametrize("peers, workload", [(1, "steady"), (3, "burst"), (4, "bank")])
def test_the_example_keeps_what_it_promises(round_robin, peers, workload):
    run = run_settings("round_robin", peers=peers, workload=workload, **faulty(0.1))
    play(run).assert_flawless()


def test_the_example_is_searched(round_robin):
    explored = explore("round_robin", peers=2, messages=2)
    assert explored.exhausted and explored.violation is None and "total" in explored.checked

"""A slip of the pen in somebody's ordering is told with its place in every world, and does not look like a result."""

import json
import re
from functools import partial

import pytest

from analysis.__main__ import app as analysis
from comparison_server import face
from experiments import local
from experiments.__main__ import app
from peer.ordering.unordered import Unordered
from tests.experiments import buggy_peer

TOLD = r"AttributeError in buggy_peer\.py, line 10: 'Unordered' object has no attribute 'nxet'"
SMALL = ("lan", "--ordering", "unordered", "--peers", "2", "--messages", "3")


@pytest.fixture
def said(tmp_path, capsys):
    def said(*arguments):
        code = face.run(app, list(arguments))
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err + captured.out
        return code, captured.err

    return said


@pytest.fixture
def slip(monkeypatch):
    monkeypatch.setattr(Unordered, "on_arrival", buggy_peer.on_arrival)


def test_in_the_simulator(said, slip, tmp_path):
    code, told = said("sim", *SMALL, "--out", str(tmp_path))
    (folder,) = tmp_path.iterdir()
    assert code == 3 and re.fullmatch(f"error: {TOLD}; what there is of it is in {folder}\n", told)
    assert re.search(TOLD, (folder / "partial").read_text())
    assert (folder / "bug.txt").read_text().startswith("Traceback")


def test_in_the_search(said, slip, tmp_path):
    code, told = said("explore", "--ordering", "unordered", "--peers", "2", "--out", str(tmp_path))
    assert code == 3 and re.fullmatch(f"error: {TOLD}\n", told) and not list(tmp_path.iterdir())


def test_in_a_replay(said, tmp_path, monkeypatch):
    assert said("sim", *SMALL, "--trace", "everything", "--out", str(tmp_path)) == (0, "")
    monkeypatch.setattr(Unordered, "on_arrival", buggy_peer.on_arrival)
    code, told = said("replay", *map(str, tmp_path.iterdir()))
    assert code == 3 and re.fullmatch(f"error: {TOLD}\n", told)


@pytest.mark.long
def test_in_real_processes(said, tmp_path, monkeypatch):
    buggy = partial(local.LocalCluster, peer_module="tests.experiments.buggy_peer")
    monkeypatch.setattr(local, "LocalCluster", buggy)
    code, told = said("local", *SMALL, "--out", str(tmp_path))
    (folder,) = tmp_path.iterdir()
    assert code == 3 and re.search(rf"p\d ended with exit code 3: {TOLD}", told) and str(folder) in told
    kept = [path.read_text() for path in folder.glob("bug-p*.txt")]
    assert kept and all("Traceback" in text and re.search(TOLD, text) for text in kept)
    verdict = folder / "verdict.json"  # which is there if one peer's log is
    reason = json.loads(verdict.read_text())["error"]["sentence"] if verdict.exists() else ""
    assert re.search(TOLD, reason or (folder / "partial").read_text())


def test_a_report_on_what_is_left_tells_the_reason(said, slip, tmp_path, capsys):
    said("sim", *SMALL, "--out", str(tmp_path))
    code = face.run(analysis, ["report", *map(str, tmp_path.iterdir())])
    assert code == 2 and re.search(TOLD, capsys.readouterr().err)

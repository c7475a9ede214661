"""What is told of runs that were played: the report in the form that its name asks for, and of what else."""

import json

import pytest

from comparison_server import face
from experiments.__main__ import app
from experiments.telling import tell
from peer.core.errors import BAD_SETTINGS
from tests.analysis import plain


@pytest.mark.parametrize(
    "options, sentence",
    [
        (["--also", "OUT"], "--also: it is for a report; say --report FILE too"),
        (["--also", "OUT/none", "--report", "OUT/x.html"], "none, --also: there is no such folder"),
        (["--also", "OUT", "--report", "OUT/x.html"], "--also: this is neither the folder of a run nor"),
        (["--repeat", "3", "--repetition", "3"], "--repetition: of 3 repetitions the last one is 2; leave out"),
        (["--report", "OUT"], "expected a file, found a folder"),
    ],
)
def test_what_cannot_be_told_or_means_nothing_is_refused_before_anything_is_played(tmp_path, capsys, options, sentence):
    options = [option.replace("OUT", str(tmp_path)) for option in options]
    assert face.run(app, ["sim", "lan", "--messages", "1", "--out", str(tmp_path / "runs"), *options]) == BAD_SETTINGS
    assert sentence in capsys.readouterr().err and list(tmp_path.iterdir()) == []


def test_a_report_tells_of_other_runs_too(tmp_path, capsys):
    played = plain.played(tmp_path / "runs", "lan", "unordered", messages=3)
    (other,) = plain.played(tmp_path / "others", "lan", "fixed_sequencer", messages=3)
    page, text = tmp_path / "new" / "report.html", tmp_path / "report.txt"
    for report in (page, text):
        tell(played, report=report, also=[other.folder])
        assert f"\nReport: {report}\n" in capsys.readouterr().out
        assert all(run.folder.name in report.read_text() for run in (*played, other))
    assert page.read_text().startswith("<!DOCTYPE html>") and text.read_text().startswith("2 runs of multicast")
    tell(played, as_json=True, report=page)
    assert len(json.loads(capsys.readouterr().out)["runs"]) == 1 and other.folder.name not in page.read_text()

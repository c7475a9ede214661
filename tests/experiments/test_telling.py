"""What is told of runs that were played: the report in the form that its name asks for, and of what else."""

import json

from experiments.telling import tell
from tests.analysis import plain


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

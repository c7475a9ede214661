"""What many runs come to in plain text: the medians and intervals of the comparison, and who failed and why."""

import json
import re

import pytest

import analysis
from analysis import reports, summaries
from analysis.overview import COLUMNS
from tests.analysis import plain

TITLES = ["ordering", "runs", *(title for title, _ in COLUMNS.values()), "promises"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two orderings at two loss rates, five times each."""
    found = []
    for loss in (0.0, 0.1):
        out = tmp_path_factory.mktemp("runs")
        played = plain.played(out, "wan-3-sites", "unordered,fixed_sequencer", messages=8, loss=loss, repeats=5)
        found += [run.folder for run in played]
    return found


def text_of(*folders, **options):
    return b"".join(reports.as_text(analysis.load(*folders, **options))).decode()


def test_medians_with_their_intervals_point_by_point(folders):
    text, table = text_of(*folders), summaries.comparison(analysis.load(*folders))
    assert text.startswith("20 runs of multicast orderings\n") and "Run 1:" not in text
    blocks = re.findall(r"^sim, (.*)\n\n  (.*)\n((?:  .*\n)+)", text, re.MULTILINE)
    assert [point for point, *_ in blocks] == list(dict.fromkeys(table["point"]))
    for point, titles, lines in blocks:
        assert re.split(r"\s{2,}", titles) == TITLES
        for line, row in zip(lines.splitlines(), table[table["point"] == point].itertuples(), strict=True):
            ordering, runs, disorder, own, others, *_, promises = re.split(r"\s{2,}", line.strip())
            assert (ordering, runs, promises) == (row.title, "5", "kept")
            for cell, measure, factor in ((disorder, "out_of_order_share", 100), (others, "others_p50_ms", 1)):
                told = [float(number.replace(",", "")) for number in re.findall(r"[\d.,]+", cell)]
                right = [getattr(row, measure + end) * factor for end in ("", "_low", "_high")]
                assert told == pytest.approx(right[: len(told)], abs=0.051), (line, measure)
    assert "of fewer than 5 repetitions\nthere is no interval" in text
    assert re.search(r"python -m analysis report \S+unordered\S+\n$", text)


def test_few_runs_are_told_at_length(folders):
    assert "Run 12:" in text_of(*folders[:12]) and "Run 1:" not in text_of(*folders[:13])


def test_who_did_not_come_to_an_end_is_named(folders, tmp_path):
    plain.change(folders[0] / "verdict.json", error={"sentence": "p1 fell silent"})
    try:
        assert f"1 runs did not come to an end\n\n  {folders[0].name}: p1 fell silent\n" in text_of(*folders)
    finally:
        plain.change(folders[0] / "verdict.json", error=None)
    (tmp_path / "runs").mkdir()
    (tmp_path / "plan.json").write_text(json.dumps({"points": [{"run": "a"}]}))
    (tmp_path / "failed.json").write_text(json.dumps({"a": "2 peers do not start"}))
    text = text_of(tmp_path)
    assert "  a: 2 peers do not start\n" in text and "One run at length" not in text
    assert text.endswith("\n\nNo run was played to its end, so there is nothing to compare.\n")
    assert "Medians" not in text and "interval" not in text

"""The page and its files for papers: what is told first, what is said where there is nothing, how large it gets."""

import csv
import json
import math
import re
from itertools import combinations

import pytest

import analysis
from analysis.__main__ import app
from analysis.overview import overview
from analysis.page import palette
from analysis.page.material import Material
from analysis.page.page import Page, page
from analysis.page.parts import Interval, Number, Setting, listed, number, words, written
from analysis.page.sections import sections
from comparison_server import face
from peer.stacks import ORDERINGS
from tests.analysis import plain


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Three orderings, at two loss rates."""
    found = []
    for loss in (0.0, 0.1):
        out = tmp_path_factory.mktemp("runs")
        names = "unordered,lamport_all_ack:promise,lamport_all_ack"
        found += [run.folder for run in plain.played(out, "wan-3-sites", names, messages=6, loss=loss)]
    return found


def parts_of(*folders, **options):
    return {section.name: section for section in sections(Material(analysis.load(*folders, **options)))}


def plain_text(html):
    """What a page says, without its scripts and tags."""
    return re.sub(r"<[^>]*>", "", re.sub(r"<script.*?</script>", "", html.decode(), flags=re.DOTALL))


def report(*arguments):
    return face.run(app, ["report", *map(str, arguments)])


# What it says


def test_failures_and_broken_promises_come_first(runs, tmp_path):
    plain.change(runs[2] / "verdict.json", error={"sentence": "p1 fell silent"})
    verdict = json.loads((runs[1] / "verdict.json").read_text())
    broken = verdict["properties"]["total"] | {"holds": False, "violations": 2, "sentence": "Two logs differ."}
    broken["witness"] = {"messages": [], "peers": [], "positions": []}
    plain.change(runs[1] / "verdict.json", properties=verdict["properties"] | {"total": broken})
    try:
        told = parts_of(*runs)
        first, second, *others = told["verdict"].parts
        assert (first.kind, second.kind) == ("bad", "bad") and all(each.kind != "bad" for each in others)
        assert str(first.words) == f"1 run did not come to an end: {runs[2].name} (p1 fell silent)."
        assert (
            str(second.words) == "lamport_all_ack:promise broke its promise of total in 1 of 2 runs: Two logs differ."
        )
        (kept,) = (each for each in others if each.kind == "good")
        assert "unordered" in str(kept.words) and "promise (" not in str(kept.words)
        listed_first = told["violations"].parts[0].drawn[0]
        assert listed_first.bad and "though promised" in str(listed_first.heading)
        assert not listed_first.svg and "--around total" in str(listed_first.command)  # its witness is none
    finally:
        plain.change(runs[1] / "verdict.json", properties=verdict["properties"])
        plain.change(runs[2] / "verdict.json", error=None)


def test_what_there_is_no_evidence_for_is_not_said_to_be_kept(tmp_path):
    (cut,) = plain.played(tmp_path / "cut", "lan", "lamport_all_ack", "deadlines.deadline_s=1", messages=50)
    whole = plain.played(tmp_path / "whole", "lan", "lamport_all_ack", repeats=2, messages=50)
    (silent,) = plain.played(tmp_path / "silent", "lan", "lamport_all_ack", messages=0)
    assert silent.exit_code == 0
    for folders, promises, outcome in (
        ([silent.folder], "0 of 9 held, no evidence for 9", "no promise broken"),
        ([cut.folder], "6 of 9 held, no evidence for 3", "unfinished"),
        ([cut.folder, *(run.folder for run in whole)], "6 of 9 held, no evidence for 3", "unfinished"),
        ([run.folder for run in whole], "kept", "held"),
    ):
        parts = parts_of(*folders, partial=True)
        (row,) = parts["comparison"].parts[0].rows
        kept = promises == "kept"
        assert str(row.cells[2]) == promises and ('class="good"' in row.cells[2].__html__()) is kept
        assert str(parts["settings"].parts[-1].rows[0].cells[9]) == outcome
        assert (parts["violations"].parts[0].kind == "good") is kept
        said = [str(each.words) for each in parts["verdict"].parts]
        assert any("no round of any run was out of order" in each for each in said) is kept
        assert any("kept every promise" in each for each in said) is kept
        assert f"  {promises}\n" in "".join(overview(analysis.load(*folders, partial=True)))


def test_what_is_lacking_is_said_with_what_to_run(runs):
    sections_of_one = parts_of(runs[0])
    lacking = {name for name, section in sections_of_one.items() if section.lacks}
    assert lacking == {"disorder", "scaling", "side-by-side"}
    for name in lacking:
        assert "python -m experiments" in str(sections_of_one[name].lacks) and not sections_of_one[name].parts
    assert not {name for name, section in parts_of(*runs).items() if section.lacks} & {"disorder", "cost", "bound"}


def test_where_no_run_was_played_that_is_said_and_nothing_else(tmp_path):
    points = [
        {"run": f"{peers}p", "title": "fifo", "ordering": "fifo", "world": "sim", "peers": peers} for peers in (2, 3)
    ]
    (tmp_path / "plan.json").write_text(json.dumps({"points": points, "commit": "c0ffee"}))
    (tmp_path / "failed.json").write_text(json.dumps({"2p": "nobody answers", "3p": "nobody answers"}))
    (tmp_path / "runs").mkdir()
    made = parts_of(tmp_path)
    assert list(made) == ["verdict", "settings"]
    assert [str(part.words) for part in made["verdict"].parts] == [
        "2 runs could not be played: 2p (nobody answers), 3p (nobody answers).",
        "No run was played to its end, so there is nothing to compare.",
    ]
    text = plain_text(page(analysis.load(tmp_path)))
    assert "No run that could be played2 runs in the world sim\n" in text and text.count("c0ffee") == 2
    assert "unknown" not in text and "Report: No run that could be played" in text


def test_numbers_of_peers_that_do_not_differ_alone_are_not_said_to_be_equal(runs, tmp_path):
    (more,) = plain.played(tmp_path, "wan-3-sites", "unordered", messages=7, peers=4)
    assert str(parts_of(runs[0], more.folder)["scaling"].lacks).startswith("No two runs differ in how many peers")
    assert str(parts_of(runs[0])["scaling"].lacks).startswith("All runs that were played have equally many peers")


def test_the_long_names_of_places_come_last_in_the_headings_of_groups(runs, tmp_path):
    (far,) = plain.played(tmp_path, "wan-3-sites", "unordered", messages=6, loss=0.1, regions="us-east-1,sa-east-1")
    rows = parts_of(runs[0], runs[3], far.folder)["comparison"].parts[0].rows
    places = "aws-2020-06-05, 3 regions", "aws-2020-06-05, 3 regions", "aws-2020-06-05, 2 regions"
    assert [str(row.group) for row in rows] == [f"{loss} % loss, {place}" for loss, place in zip((0, 10, 10), places)]


def test_the_same_runs_give_the_same_page_and_it_is_small(runs):
    first, again = (page(analysis.load(*runs)) for _ in range(2))
    assert first == again and len(first) < 4_000_000
    text = first.decode()
    without_scripts = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert not re.search(r'(?:src|href)="(?!#|data:)', without_scripts)  # nothing is fetched
    for folder in runs:
        assert folder.name in text and json.loads((folder / "scenario.json").read_text())["settings"]["seed"] in text


def test_few_repetitions_have_no_interval_and_it_is_said(runs, tmp_path):
    few = "Of fewer than 5 repetitions there is no interval, for their range says little"
    assert few in str(parts_of(*runs)["verdict"].lead) and "brackets" not in str(parts_of(*runs)["verdict"].lead)
    for repeats in (4, 5):
        played = plain.played(tmp_path / str(repeats), "wan-3-sites", "unordered,fifo", messages=4, repeats=repeats)
        told = parts_of(*(run.folder for run in played))
        cells = [cell for row in told["comparison"].parts[0].rows for cell in row.cells if isinstance(cell, Interval)]
        assert cells and all((cell.low is None) == (repeats < 5) for cell in cells)
        lead = str(told["verdict"].lead)
        assert (few in lead, "An interval in brackets is where" in lead) == (repeats < 5, repeats == 5)


def test_a_warm_up_is_left_out(runs):
    folders = runs[0], runs[1]
    whole = analysis.load(*folders)
    rows = [list(Material(frames).regions["deliveries"]) for frames in (whole, whole.after(0.15))]
    assert sum(rows[1]) < sum(rows[0])
    named = "latencies without what was asked for before 0.15 s, which --warm-up left out"
    assert named in plain_text(page(whole.after(0.15))) and "warm-up" not in plain_text(page(whole))


def test_a_warm_up_that_leaves_nothing_is_why_there_are_no_latencies(runs):
    cold = analysis.load(runs[0], runs[1])
    told = {section.name: section for section in sections(Material(cold.after(1000)))}
    for name in ("latency", "bound", "blocked"):
        assert str(told[name].lacks) == "All messages were asked for before 1000 s, which --warm-up left out.", name
    assert not any("--warm-up" in str(section.lacks) for section in sections(Material(cold.after(0.15))))


# How numbers are written


@pytest.mark.parametrize(
    "value, text",
    [(0, "0"), (0.0, "0"), (1234567, "1,234,567"), (1234.5, "1,234"), (99.96, "100"), (0.99999, "1.00"), (1.0, "1.00"),
     (12.345, "12.3"), (0.1, "0.100"), (0.012345, "0.0123"), (0.000012, "0.0000"), (-2.5, "-2.50")],
)  # fmt: skip
def test_how_a_number_is_written(value, text):
    assert written(value) == text


def test_a_number_names_itself_and_nothing_is_no_number():
    html = number(0.5, "runs", 'a "b"', "<c>").__html__()
    assert (
        html
        == '<data data-key="[&quot;runs&quot;,&quot;a \\&quot;b\\&quot;&quot;,&quot;&lt;c&gt;&quot;]" value="0.5">'
        "0.500</data>"
    )
    assert [str(number(nothing, "x")) for nothing in (None, math.nan)] == ["–", "–"]
    assert words("<b> ", Setting("& 3")).__html__() == '&lt;b&gt; <span class="setting">&amp; 3</span>'
    assert str(listed("abc")) == "a, b and c"
    wide, narrow = (Interval(*(Number(("x",), value) for value in values)) for values in ((1, 0, 2), (1.0, 1.0, 1.0)))
    assert re.sub("<[^>]*>", "", wide.__html__()) == "1 (0 to 2)" and "small" not in narrow.__html__()
    assert "0</data></span> <span>to" in wide.__html__()  # a cell that is narrow may part it there and nowhere else


# Colours


def linear(colour):
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    return [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]


def light(colour):
    return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), linear(colour)))


def contrast(one, other):
    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


EYES = {  # as they see: Machado, Oliveira and Fernandes (2009), severity 1
    "all cones": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "no red": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "no green": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "no blue": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}


def seen(colour, eyes):
    """In the space Lab."""
    r, g, b = (max(0.0, sum(w * part for w, part in zip(row, linear(colour)))) for row in EYES[eyes])
    xyz = (
        (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.95047,
        0.2126 * r + 0.7152 * g + 0.0722 * b,
        (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.08883,
    )
    x, y, z = (part ** (1 / 3) if part > 0.008856 else 7.787 * part + 16 / 116 for part in xyz)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def test_every_ordering_has_a_colour_for_light_and_dark():
    assert set(ORDERINGS) <= set(palette.COLOURS) and len(set(palette.COLOURS.values())) == len(palette.COLOURS)
    for name, colour in palette.COLOURS.items():
        assert contrast(colour, "#ffffff") >= 3 and contrast(colour, "#161a21") >= 3, name


@pytest.mark.parametrize("eyes", EYES)
def test_people_with_any_eyes_tell_the_orderings_apart(eyes):
    for one, other in combinations([palette.COLOURS[name] for name in ORDERINGS], 2):
        assert math.dist(seen(one, eyes), seen(other, eyes)) > 18, (one, other)


def test_variants_have_their_orderings_colour_and_looks_of_their_own():
    looks = palette.looks(["fifo", "lamport_all_ack", "lamport_all_ack:promise"])
    assert (
        looks["lamport_all_ack"].colour == looks["lamport_all_ack:promise"].colour == palette.colour("lamport_all_ack")
    )
    assert len({tuple(look.dash) for look in looks.values()}) == len({look.shape for look in looks.values()}) == 3


# The command


def test_the_name_of_the_file_says_the_form(runs, tmp_path, capsys):
    assert report(runs[0], "--out", tmp_path / "report.html") == report(runs[0], "--out", tmp_path / "report.txt") == 0
    assert (tmp_path / "report.html").read_text().startswith("<!DOCTYPE html>")
    assert (tmp_path / "report.txt").read_text().startswith("A run of unordered\n")
    capsys.readouterr()
    assert report(runs[0]) == 0
    assert capsys.readouterr().out == (tmp_path / "report.txt").read_text()
    for more in ([], ["--out", tmp_path / "cold.txt", "--figures", tmp_path / "figures"]):
        assert report(runs[0], "--warm-up", "1", *more) == 2
        assert "--warm-up: the text does not know it" in capsys.readouterr().err
    assert not (tmp_path / "cold.txt").exists()


@pytest.mark.long
def test_figures_and_tables_for_papers(runs, tmp_path, capsys):
    """Charts in every form, and tables that hold the numbers of the page."""
    capsys.readouterr()
    assert report(*runs, "--figures", tmp_path / "figures") == 0
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    assert f"{len(names)} files for papers are in {tmp_path / 'figures'}" in capsys.readouterr().err
    for chart in ("disorder-loss", "side-by-side"):
        there = {name.rpartition(".")[2] for name in names if name.startswith(chart)}
        assert there == ({"svg", "png", "pdf"} if chart == "disorder-loss" else set())
    begins = {"svg": b"<svg", "png": b"\x89PNG", "pdf": b"%PDF"}
    for ending, magic in begins.items():
        assert (tmp_path / "figures" / f"disorder-loss.{ending}").read_bytes().startswith(magic)
    svg = (tmp_path / "figures" / "disorder-loss.svg").read_text()
    assert "lamport_all_ack:promise" in svg and "rounds out of order, %" in svg  # its legend, its axis

    made = Page(analysis.load(*runs))
    (table,) = (part for section in made._sections if section.name == "comparison" for part in section.parts)
    with open(tmp_path / "figures" / "comparison.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(table.rows) == 6
    for row, of_page in zip(rows, table.rows):
        assert row["group"] == str(of_page.group) and row["ordering"] == str(of_page.cells[0])
        assert float(row["out-of-order rounds, %"]) == of_page.cells[3].middle.value
    markdown = (tmp_path / "figures" / "comparison.md").read_text()
    latex = (tmp_path / "figures" / "comparison.tex").read_text()
    assert markdown.count("| lamport_all_ack:promise |") == 2 and latex.count(r"lamport\_all\_ack:promise &") == 2
    assert latex.startswith("% Orderings side by side\n\\begin{tabular}{lrrrr") and r"\bottomrule" in latex

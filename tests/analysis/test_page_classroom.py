"""The section on the classroom's own count: every number of it is worked out anew from the logs, and it says when it
does not apply."""

import json
import re
from html import unescape
from statistics import median

import pytest

import analysis
from analysis.classroom import PUBLISHED, RECORDED
from analysis.page.classroom import section
from analysis.page.material import Material
from analysis.page.page import render
from analysis.page.parts import Chart
from tests.analysis import plain
from tests.analysis.test_classroom import as_the_program_did

REGIONS = ("us-east-1", "eu-west-1")
DATA = re.compile(r'<data data-key="([^"]*)" value="([^"]*)">')


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Three peers in two regions either way round, twice each, with an order and without; by title and place."""
    found = {}
    for near in (2, 1):
        regions = f"regions={{{REGIONS[0]}: {near}, {REGIONS[1]}: {3 - near}}}"
        for seed in (1, 2):
            out = tmp_path_factory.mktemp("runs")
            for run in plain.played(out, "wan-3-sites", "unordered,fixed_sequencer", regions, seed=seed):
                found.setdefault((run.planned.title, near), []).append(run.folder)
    return found


@pytest.fixture(scope="module")
def material(folders):
    return Material(analysis.load(*(folder for several in folders.values() for folder in several)))


@pytest.fixture(scope="module")
def numbers(material):
    """Every number of the section as it is in the page, by its key."""
    html = render(material, [section(material)])
    found = [(tuple(json.loads(unescape(key))), float(value)) for key, value in DATA.findall(html)]
    assert len(found) > 30
    return found


def test_every_number_is_what_the_logs_come_to(folders, numbers):
    for key, value in numbers:
        if key[0] == "classroom" and key[1] != "all":
            _, world, title, point, column = key
            near = near_of(point)
            logs = [logs_in(folder) for folder in folders[title, near]]
            counts = [as_the_program_did(each, 100) for each in logs]
            truly = [sum(len(set(here)) > 1 for here in zip(*each, strict=True)) for each in logs]
            expected = {
                "runs": 2, "low": min(counts), "median": median(counts), "high": max(counts), "of": 99,
                "truly": median(truly), "rounds": 300,
            }  # fmt: skip
            assert (world, value) == ("sim", expected[column]), key
        elif key[0] == "published":
            assert value == PUBLISHED[int(key[1])][("low", "high").index(key[2])]
        elif key[0] == "recorded":
            assert value == RECORDED[key[1]]
        else:
            assert value == {"overlap": overlap(folders), "comparable": 2, "runs": 8}[key[-1]], key


def logs_in(folder):
    """What the three delivered, message by message."""
    return [[row[:2] for row in plain.delivered(folder, peer)] for peer in range(3)]


def near_of(point):
    """How many of the three are in the first region."""
    return 2 if f"{REGIONS[0]} x 2" in point else 1


def overlap(folders):
    """At how many of the two placements the counts of both runs reach into what was published for three."""
    found = 0
    for near in (1, 2):
        counts = [as_the_program_did(logs_in(folder), 100) for folder in folders["unordered", near]]
        found += max(counts) >= 82 and min(counts) <= 89
    return found


def test_the_chart_shows_what_the_logs_come_to(folders, material):
    (chart,) = (part for part in section(material).parts if isinstance(part, Chart))
    rows = {2 if "2 x" in row["place"].replace("×", "x") else 1: row for row in chart.spec["data"]["values"]}
    for near, row in rows.items():
        logs = [logs_in(folder) for folder in folders["unordered", near]]
        counts = [as_the_program_did(each, 100) for each in logs]
        truly = [sum(len(set(here)) > 1 for here in zip(*each, strict=True)) for each in logs]
        expected = {"low": min(counts) / 99, "median": median(counts) / 99, "high": max(counts) / 99}
        expected |= {"truly": median(truly) / 300, "published_low": 82 / 99, "published_high": 89 / 99}
        for name, share in expected.items():
            assert row[name] == pytest.approx(100 * share, rel=1e-5), (near, name)
    assert set(rows) == {1, 2}


def test_three_peers_in_two_regions_give_anything(numbers):
    unordered = [(key, value) for key, value in numbers if key[0] == "classroom" and "unordered" in key]
    medians = {near_of(key[3]): value for key, value in unordered if key[-1] == "median"}
    assert medians[2] < 10 and medians[1] > 80
    assert all(value > 240 for key, value in unordered if key[-1] == "truly")


def test_a_total_order_has_none(numbers):
    assert {value for key, value in numbers if "fixed_sequencer" in key and key[-1] in ("median", "truly")} == {0.0}


def test_no_number_stands_in_words(material):
    """What counts something is marked as a number, so that none is missed here."""
    text = re.sub(r"<(data|span|code|q)\b[^>]*>.*?</\1>", "", part_of(render(material, [section(material)])))
    assert not re.findall(r"\d+", unescape(re.sub(r"<[^>]*>", "", text)))


def part_of(html):
    inside = re.search(r'<section id="classroom".*?</section>', html, re.DOTALL)[0]
    return re.sub(r"<script.*?</script>", "", inside, flags=re.DOTALL)


@pytest.mark.parametrize(
    ("ordering", "messages", "there"),
    [("unordered", 1, False), ("fifo", 20, False), ("unordered", 2, True), ("unordered,fifo", 20, True)],
)
def test_when_it_is_shown(ordering, messages, there, tmp_path):
    runs = plain.played(tmp_path, "lan", ordering, messages=messages)
    found = section(Material(analysis.load(*(run.folder for run in runs))))
    assert (found is not None) is there
    if found:  # nothing like that was published, which is said
        assert "nothing to be held against them" in str(found.parts[0].words)

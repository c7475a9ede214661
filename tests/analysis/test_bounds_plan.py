"""The plan `bounds`: every ordering takes as long as the distances leave it, and the report shows that."""

import numpy as np
import pytest

import analysis
from analysis.page.material import Material
from analysis.page.parts import Chart
from analysis.page.sections import bound
from analysis.summaries import against_bound
from comparison_server import face
from experiments.__main__ import app
from experiments.sweep.plan import load_plan
from tests.runs import ORDERINGS_AND_VARIANTS

SITES = (3, 5)
MEANS_MS = {  # over all pairs of peers, the sender's own included; as published for these round trips
    "unordered": {5: 68.7, 3: 47.5},
    "fifo": {5: 68.7, 3: 47.5},
    "lamport_all_ack:explicit": {5: 237.8, 3: 157.3},
    "lamport_all_ack:promise": {5: 237.8, 3: 157.3},
    "lamport_all_ack:textbook": {5: 237.8, 3: 157.3},
    "fixed_sequencer:ub": {5: 99.2, 3: 74.3},
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    place = tmp_path_factory.mktemp("bounds")
    assert face.run(app, ["sweep", "bounds", "--out", str(place)]) == 0
    return analysis.load(place / "bounds")


def test_no_ordering_is_left_out():
    runs = load_plan("bounds").runs
    played = {(run.ordering, run.settings.stack.ordering.options.get("variant")) for run in runs}
    assert {(name, variant or "plain") for name, variant in played} == set(ORDERINGS_AND_VARIANTS)
    assert len(runs) == len(SITES) * len(ORDERINGS_AND_VARIANTS)


def test_the_median_of_every_way_is_its_bound(lab):
    table = against_bound(lab)
    assert len(table) == len(ORDERINGS_AND_VARIANTS) * sum(sites**2 for sites in SITES)
    np.testing.assert_allclose(table["p50_ms"], table["least_ms"], rtol=0.01, atol=0.01)
    at_any_load = table["title"] != "lamport_all_ack:promise"  # which need not wait while others send, too
    assert (table["least_ms"] == table["bound_ms"])[at_any_load].all()
    for title, means in MEANS_MS.items():
        for sites, mean_ms in means.items():
            (point,) = {point for point in table["point"] if f" {sites} peers" in point}
            of_these = table[(table["title"] == title) & (table["point"] == point)]
            assert of_these["p50_ms"].mean() == pytest.approx(mean_ms, abs=0.06), (title, sites)


def test_the_report_draws_every_way_on_the_line(lab):
    (chart,) = (part for part in bound(Material(lab)).parts if isinstance(part, Chart))
    marks = chart.spec["data"]["values"]
    for title in set(lab.runs["title"]):
        drawn = [mark for mark in marks if mark["title"] == title]
        assert len({mark["place"] for mark in drawn}) == len(SITES)
        assert len(drawn) >= sum(sites * (sites - 1) for sites in SITES), title
        for mark in drawn:
            assert mark["p50_ms"] == pytest.approx(mark["least_ms"], rel=0.01, abs=0.01), mark

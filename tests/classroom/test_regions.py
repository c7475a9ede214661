"""The experiment that the classroom program was made for: the same peers in one region and in two."""

import pytest

from experiments.scenario import load, override, resolve
from peer.core.guarantees import TOTAL
from peer.stacks import variant_class
from tests.runs import ORDERINGS_AND_VARIANTS, play

TOTAL_ORDERS = [each for each in ORDERINGS_AND_VARIANTS if TOTAL in variant_class(*each).promises]
ONE, TWO = "regions={eu-west-1: 6}", "regions={us-east-1: 4, eu-west-1: 2}"


def out_of_order(ordering, regions, variant=None):
    """Of 600 rounds, with a message of each of six peers every 10 to 99 ms."""
    written = override(load("wan-3-sites"), [regions, "workload.gap_ms=[10, 99]"], peers=6, messages=100)
    played = play(resolve(written, ordering, variant, "1", "sim"))
    played.assert_flawless()
    assert played.verdict.rounds.rounds == 600
    return played.verdict.rounds.out_of_order


def test_without_an_order_the_disorder_grows_with_the_distance():
    """Fails if distance makes no difference, or if disorder is not seen where there is some."""
    near, far = out_of_order("unordered", ONE), out_of_order("unordered", TWO)
    assert 0 < near < far / 2 and far > 500


@pytest.mark.parametrize(("ordering", "variant"), TOTAL_ORDERS)
def test_a_total_order_has_none_at_any_distance(ordering, variant):
    """Fails if what promises a total order leaves a single round out of order."""
    assert out_of_order(ordering, ONE, variant) == out_of_order(ordering, TWO, variant) == 0

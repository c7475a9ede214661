"""When messages are multicast: at random moments, as random as was asked for, and the same for the same seed."""

from itertools import pairwise

import pytest

from peer.core.trace import SEND_RECORD
from tests.runs import play, records, run_settings


def gaps_ms(**settings):
    """The times between the multicasts of each peer."""
    run = play(run_settings("fifo", peers=3, messages=100, **settings))
    moments = [[row[5] for row in records(sends, SEND_RECORD)] for sends in run.simulated.sends]
    return [[1000 * (after - before) for before, after in pairwise([0.0, *each])] for each in moments]


@pytest.mark.parametrize("gap_ms", [(10.0, 99.0), (1.0, 2.0), (50.0, 50.0)])
def test_between_two_messages_passes_a_random_time_within_bounds(gap_ms):
    """Fails if a gap is outside of what was asked for, or if gaps are not spread evenly over it."""
    low, high = gap_ms
    for gaps in gaps_ms(gap_ms=gap_ms):
        assert len(gaps) == 100 and low - 1e-6 <= min(gaps) and max(gaps) <= high + 1e-6
        assert sum(gaps) / 100 == pytest.approx((low + high) / 2, rel=0.15)
        assert max(gaps) - min(gaps) >= 0.9 * (high - low) - 1e-6


def test_the_moments_follow_from_the_seed_and_differ_between_peers():
    """Fails if a run cannot be repeated, or if all peers draw the same numbers."""
    first, again, other = gaps_ms(seed=1), gaps_ms(seed=1), gaps_ms(seed=2)
    assert first == again and first != other
    assert first[0] != first[1] != first[2] != first[0]

"""Every ordering keeps its promises over bad networks, and what it does not promise can be seen broken."""

import pytest

from peer.core.errors import SettingsError
from peer.stacks import ORDERINGS, promised
from tests.runs import NAMED, faulty, play, run_settings

LOSSES = (0.0, 0.01, 0.1, 0.3)
SIZES = (2, 3, 5, 8, 16)

every_ordering = pytest.mark.parametrize("ordering, variant", **NAMED)


def messages_for(peers: int) -> int:
    """Large groups say less each."""
    return 24 if peers < 8 else 4


# -- promises are kept


@every_ordering
@pytest.mark.parametrize("loss", LOSSES)
def test_promises_are_kept(ordering, variant, loss):
    for seed, peers in enumerate((2, 3, 3, 4, 5, 7)):
        play(run_settings(ordering, variant, peers=peers, seed=seed, messages=24, **faulty(loss))).assert_flawless()


@every_ordering
def test_promises_are_kept_in_a_large_group(ordering, variant):
    play(run_settings(ordering, variant, peers=16, messages=3, **faulty(0.1))).assert_flawless()


@every_ordering
def test_promises_are_kept_alone(ordering, variant):
    for workload in ("steady", "burst"):
        play(run_settings(ordering, variant, peers=1, messages=5, workload=workload)).assert_flawless()


@every_ordering
def test_promises_are_kept_under_load(ordering, variant):
    """As fast as the window lets, over small datagrams."""
    run = run_settings(
        ordering, variant, messages=600, workload="burst", size_bytes=100, datagram_bytes=1372, **faulty(0.05)
    )
    play(run).assert_flawless()


@every_ordering
def test_promises_are_kept_with_messages_larger_than_a_datagram(ordering, variant):
    run = run_settings(
        ordering, variant, messages=4, workload="burst", size_bytes=5_000, datagram_bytes=1372, **faulty(0.1)
    )
    play(run).assert_flawless()


@every_ordering
def test_promises_are_kept_where_there_is_no_distance(ordering, variant):
    """All delays are 0, so that everything happens at once."""
    run = run_settings(ordering, variant, peers=4, delay_s=0.0, gap_ms=(0.0, 0.0), messages=30)
    play(run).assert_flawless()


@pytest.mark.slow
@every_ordering
@pytest.mark.parametrize("peers", SIZES)
@pytest.mark.parametrize("loss", LOSSES)
def test_promises_are_kept_with_many_seeds(ordering, variant, loss, peers):
    for seed in range(20):
        run = run_settings(ordering, variant, peers=peers, seed=seed, messages=messages_for(peers), **faulty(loss))
        played = play(run)
        try:
            played.assert_flawless()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error


# -- and no more than is promised

# Over which link, and what must be seen broken there.
NOT_PROMISED = {
    ("unordered", "plain", "ack_resend"): {"fifo", "causal", "total"},
    ("fifo", "plain", "ack_resend"): {"causal", "total"},
    ("causal", "plain", "ack_resend"): {"total"},
    ("unordered", "plain", "direct"): {"agreement", "fifo", "causal", "total"},
    ("fifo", "plain", "direct"): {"agreement", "causal", "total"},
    ("lamport_all_ack", "explicit", "direct"): {"total"},
    ("lamport_all_ack", "promise", "direct"): {"total"},
    ("lamport_all_ack", "textbook", "direct"): {"agreement"},
}  # fmt: skip


@pytest.mark.parametrize(
    "ordering, variant, link, missing",
    [
        (*stack, missing)
        for stack, missing in NOT_PROMISED.items()
        if stack[0] in ORDERINGS and stack[1] in ORDERINGS[stack[0]].variants
    ],
)
def test_what_is_not_promised_is_seen_broken(ordering, variant, link, missing):
    broken = set()
    for seed in range(20):
        run = run_settings(
            ordering, variant, seed=seed, link_name=link, allow_unmet=True, gap_ms=(1.0, 20.0), **faulty(0.05)
        )
        if link == "ack_resend":
            assert not missing & promised(run)
        played = play(run)
        broken |= {name for name, finding in played.verdict.findings.items() if finding.holds is False}
        if missing <= broken:
            return
    raise AssertionError(f"never seen broken: {missing - broken}")


@every_ordering
def test_a_stack_without_what_it_needs_is_refused(ordering, variant):
    needs = ORDERINGS[ordering].needs
    if needs:
        with pytest.raises(SettingsError, match=f"{ordering} needs "):
            promised(run_settings(ordering, variant, link_name="direct"))

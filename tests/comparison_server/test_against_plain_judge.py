"""The judge and the plain judge agree on random runs, and no witness could be smaller."""

import random
from collections import Counter

import pytest

from comparison_server.properties import PROPERTIES
from comparison_server.verdict import judge
from tests.comparison_server.plain_judge import PlainJudge
from tests.comparison_server.random_cases import evidence_of, random_case
from tests.comparison_server.witness_checks import WitnessChecker


def agree_on(seeds) -> Counter:
    """How often each property held, was broken, or had no evidence; fails at the first case the judges differ on."""
    seen = Counter()
    for seed in seeds:
        case = random_case(random.Random(seed))
        plain = PlainJudge(case)
        verdict = judge(evidence_of(case), count_inversions=True)
        checker = WitnessChecker(case, plain)
        for name, finding in verdict.findings.items():
            where = f"seed {seed}, {name}: {finding}"
            violations = plain.violations(name)
            expected = None if violations is None else not violations
            assert finding.holds is expected, where
            seen[name, expected] += 1
            if expected is not False:
                assert finding.witness is None and finding.violations == 0, where
                continue
            assert checker.check(name, finding.witness, finding.sentence) == min(violations), where
            if "total" in name:
                legs = len(finding.witness["messages"])
                seen["legs", legs] += 1
                found = int(finding.violations.removeprefix("at least "))
                assert 1 <= found and (legs > 2 or found <= plain.inversions()), where
            else:
                assert finding.violations == len(violations), where
        _compare_counts(verdict, plain, seed)
    return seen


def _compare_counts(verdict, plain, seed):
    shown = verdict.as_dict()
    assert shown["inversions"] == plain.inversions(), seed
    assert shown["complete"] is plain.complete(), seed
    keys = ("rounds", "out_of_order_rounds", "short_rounds", "disordered_rounds")
    if not plain.case.self_delivery:
        assert [shown[key] for key in keys] == [None] * 4 and shown["up"] is None, seed
        return
    *counts, first = plain.rounds(plain.N)
    assert [shown[key] for key in keys] == counts, seed
    assert (shown["first_divergence"] or {"position": None})["position"] == first, seed
    if len(plain.up) == len(plain.peers):
        assert shown["up"] is None
    else:
        assert [shown["up"][key] for key in keys] == list(plain.rounds(plain.up)[:4]), seed


def assert_all_seen(seen, least):
    """Random runs prove nothing of what they do not contain."""
    for name in PROPERTIES:
        for holds in (True, False, None):
            assert seen[name, holds] >= least, (name, holds)
    assert seen["legs", 2] >= least and seen["legs", 3] >= least and seen["legs", 4] >= least // 10


def test_agrees_on_a_thousand_runs():
    assert_all_seen(agree_on(range(1_000)), least=10)


@pytest.mark.slow
def test_agrees_on_ten_thousand_runs():
    assert_all_seen(agree_on(range(10_000)), least=100)

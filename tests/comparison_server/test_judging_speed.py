"""Sixteen logs of a million deliveries are judged within stated limits of time and memory."""

import pytest

from experiments.bench import judging


@pytest.mark.slow
def test_sixteen_logs_of_a_million_deliveries():
    rows = judging.run(lambda what: None)
    held = [row for row in rows if row.floor is not None]
    assert len(held) == 10 and [f"{row.name}: {row.value:.3g} {row.unit}" for row in held if row.ratio < 1] == []

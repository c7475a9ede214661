"""Sixteen logs of a million deliveries are judged within stated limits of memory; how fast, the benchmark says."""

import pytest

from experiments.bench import judging


@pytest.mark.slow
def test_sixteen_logs_of_a_million_deliveries():
    held = [row for row in judging.run(lambda what: None) if row.unit == "MB" and row.floor is not None]
    assert len(held) == 4 and [f"{row.name}: {row.value:.3g} {row.unit}" for row in held if row.ratio < 1] == []

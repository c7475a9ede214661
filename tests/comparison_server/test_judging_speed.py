"""Sixteen logs of a million deliveries are judged within stated limits of time and memory."""

import pytest

from experiments.bench import judging


@pytest.mark.slow
def test_sixteen_logs_of_a_million_deliveries():
    measured = {row["name"]: row["value"] for row in judging.run()}
    for kind, properties_s in (("equal", 1.0), ("2% displaced", 5.0)):
        rounds, properties = (f"{what} of 16 x 1,000,000, {kind}" for what in ("rounds", "all properties"))
        assert measured[rounds] < 0.3 and measured[f"{rounds}: peak memory"] < 250
        assert measured[properties] < properties_s and measured[f"{properties}: peak memory"] < 1000

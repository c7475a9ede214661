"""Settings as peers get them: what was sent is what arrives, and what is no settings is refused by its path."""

import json
from dataclasses import asdict, replace

import pytest

from peer.core.errors import BAD_SETTINGS, SettingsError
from peer.core.settings import (
    DeadlineSettings,
    LayerSettings,
    NetworkSettings,
    RunSettings,
    StackSettings,
    WindowSettings,
    WorkloadSettings,
    from_json,
    to_json,
)
from tests.runs import run_settings

RUN = run_settings("lamport_all_ack", "promise", loss=0.25, workload="burst", peers=4)


def test_a_run_survives_the_wire():
    assert from_json(RunSettings, json.loads(to_json(RUN))) == RUN
    real = replace(RUN, delays_s=None, stack=replace(RUN.stack, link=None, membership=None))
    assert from_json(RunSettings, json.loads(to_json(real))) == real


def test_what_is_left_out_has_its_default():
    assert from_json(NetworkSettings, {"loss": 0.5}) == NetworkSettings(loss=0.5)
    assert from_json(StackSettings, {"ordering": {"name": "fifo"}}) == StackSettings(ordering=LayerSettings("fifo"))
    for cls in (StackSettings, WorkloadSettings, NetworkSettings, WindowSettings, DeadlineSettings):
        assert from_json(cls, {}) == cls()


@pytest.mark.parametrize(
    "cls, value, sentence",
    [
        (NetworkSettings, {"los": 0.1}, "los: unknown setting; known are loss, duplicate, reorder, jitter_ms"),
        (RunSettings, {"network": {"los": 0.1}}, "network.los: unknown setting; known are loss"),
        (RunSettings, {"stack": {"link": {"nam": "x"}}}, "stack.link.nam: unknown setting; known are name, options"),
        (RunSettings, {"stack": {"link": "direct"}}, "stack.link: expected an object, found 'direct'"),
        (RunSettings, {"workload": [1]}, "workload: expected an object, found [1]"),
        (RunSettings, {"stack": None}, "stack: expected an object, found None"),
        (StackSettings, {"ordering": None}, "ordering: expected an object, found None"),
        (RunSettings, [], "RunSettings: expected an object, found []"),
        (RunSettings, None, "RunSettings: expected an object, found None"),
    ],
)
def test_refusals(cls, value, sentence):
    with pytest.raises(SettingsError) as refused:
        from_json(cls, value)
    assert str(refused.value).startswith(sentence) and refused.value.exit_code == BAD_SETTINGS


def test_lists_become_tuples():
    found = from_json(RunSettings, json.loads(to_json(RUN)))
    assert type(found.members) is tuple and type(found.delays_s[0]) is tuple
    assert type(found.workload.gap_ms) is tuple


def test_settings_are_hashed_by_what_they_say():
    told = from_json(RunSettings, json.loads(to_json(RUN)))
    assert told.digest() == RUN.digest() and len(RUN.digest()) == 8
    others = [
        replace(RUN, seed="2"),
        replace(RUN, members=RUN.members[::-1]),
        replace(RUN, network=replace(RUN.network, loss=0.2)),
        replace(RUN, stack=replace(RUN.stack, ordering=LayerSettings("lamport_all_ack", {"variant": "explicit"}))),
    ]
    assert len({RUN.digest(), *(other.digest() for other in others)}) == 1 + len(others)


def test_the_text_of_settings_is_canonical():
    assert to_json(RUN) == to_json(from_json(RunSettings, json.loads(to_json(RUN))))
    assert json.loads(to_json(RUN)) == json.loads(json.dumps(asdict(RUN)))


def test_a_block_fits_a_datagram_with_its_headers():
    assert RUN.block_bytes() == RUN.network.datagram_bytes - 192
    assert replace(RUN, window=WindowSettings(block_bytes=300)).block_bytes() == 300
    small = replace(RUN, network=replace(RUN.network, datagram_bytes=1372))
    assert small.block_bytes() == 1372 - 192


def test_the_longest_round_trip():
    assert replace(RUN, delays_s=((0.0, 0.03), (0.05, 0.0))).longest_round_trip_s() == 0.1
    jittery = replace(RUN, delays_s=((0.0, 0.03), (0.05, 0.0)), network=NetworkSettings(jitter_ms=10.0))
    assert jittery.longest_round_trip_s() == pytest.approx(0.12)
    assert replace(RUN, delays_s=None).longest_round_trip_s() == 0.5


def test_one_wrong_delay_among_many_is_found():
    told = json.loads(to_json(replace(RUN, delays_s=((0.0,) * 50,) * 50)))
    assert from_json(RunSettings, told).delays_s == ((0.0,) * 50,) * 50
    told["delays_s"][49][48] = "0.1"
    with pytest.raises(SettingsError, match="delays_s"):
        from_json(RunSettings, told)

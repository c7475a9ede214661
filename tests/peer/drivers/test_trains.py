"""Trains on a real socket: what goes in as many datagrams comes out as the same ones, whatever the system can."""

import random
import socket
from contextlib import contextmanager

import pytest

from peer.drivers import trains as trains_module
from peer.drivers.trains import MOST_BYTES, MOST_CARS, Trains, _coupled


@contextmanager
def pair():
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
    ):
        for sock in (one, other):
            sock.bind(("127.0.0.1", 0))
            sock.settimeout(10)
        yield one, other


def received(receiver, count, *, trains):
    """So many datagrams, and how many calls that took."""
    receive = Trains(receiver).receive(wanted=trains)
    buffer = memoryview(bytearray(65536))
    datagrams, calls = [], 0
    while len(datagrams) < count:
        size, _, car_bytes = receive(buffer)
        calls += 1
        datagrams += [bytes(buffer[start : min(start + car_bytes, size)]) for start in range(0, size, car_bytes)]
    return datagrams, calls


def some(sizes, seed=1):
    chance = random.Random(seed)
    return [chance.randbytes(size) for size in sizes]


needs_trains = pytest.mark.skipif(
    not Trains(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)).possible, reason="this system has no UDP_SEGMENT"
)


@pytest.mark.parametrize("can_send", [False, True])
@pytest.mark.parametrize("can_receive", [False, True])
def test_every_datagram_comes_out_as_it_went_in(can_send, can_receive):
    chance = random.Random(7)
    for _ in range(30):
        sizes = [chance.choice([100, 100, 100, 1372, 1372, 40, 1]) for _ in range(chance.randrange(1, 40))]
        datagrams = some(sizes)
        with pair() as (one, other):
            sender = Trains(one)
            sender.can_send = sender.can_send and can_send
            receive_first = Trains(other).receive(wanted=can_receive)  # before anything is on its way
            assert receive_first
            sender.send(datagrams, other.getsockname())
            assert received(other, len(datagrams), trains=can_receive)[0] == datagrams


@needs_trains
def test_equal_datagrams_travel_together():
    datagrams = some([1372] * 40)
    with pair() as (one, other):
        Trains(other).receive(wanted=True)
        Trains(one).send(datagrams, other.getsockname())
        assert received(other, 40, trains=True) == (datagrams, 1)


@needs_trains
def test_where_the_path_has_no_room_for_trains_they_go_one_by_one(monkeypatch):
    datagrams = some([100] * 5)
    with pair() as (one, other):
        sender = Trains(one)
        monkeypatch.setattr(trains_module, "UDP_SEGMENT", 9999)  # an option that the system refuses
        sender.send(datagrams, other.getsockname())
        assert not sender.can_send and received(other, 5, trains=False) == (datagrams, 5)


def test_an_error_of_another_kind_is_told():
    with pair() as (one, _):
        with pytest.raises(OSError):
            Trains(one).send([b"a" * 70_000], ("127.0.0.1", 9))


@pytest.mark.parametrize(
    "sizes, coupled",
    [
        ([5], [1]),
        ([5, 5, 5], [3]),
        ([5, 5, 3], [3]),
        ([5, 3, 3], [2, 1]),
        ([3, 5, 5], [1, 2]),
        ([5, 3, 5], [2, 1]),
        ([5] * (MOST_CARS + 1), [MOST_CARS, 1]),
        ([20_000] * 4, [3, 1]),
        ([20_000, 20_000, 5, 5], [3, 1]),
        ([65_507, 65_507], [1, 1]),
    ],
)
def test_how_datagrams_are_coupled(sizes, coupled):
    datagrams = some(sizes)
    trains = _coupled(datagrams)
    assert [len(train) for train in trains] == coupled and sum(trains, []) == datagrams
    assert all(sum(map(len, train)) <= max(MOST_BYTES, len(train[0])) for train in trains)

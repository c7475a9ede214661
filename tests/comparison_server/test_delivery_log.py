"""Logs on their way: whole or not at all, resumed after cuts, checked part by part."""

import hashlib
import os
import random
from collections import deque

import pytest

from comparison_server import delivery_log
from comparison_server.delivery_log import MOST_TRIES, PARTS_AHEAD, Collection
from peer.core.commands import Chunk
from peer.core.errors import RunError

PART = 100


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(delivery_log, "CHUNK_BYTES", PART)


def digest(data):
    return hashlib.blake2b(data, digest_size=16).hexdigest()


class Peer:
    """A peer that has sealed its logs and answers what it is asked for, in order, over a connection that can be cut."""

    def __init__(self, collection, name="p0", **files):
        self.collection, self.name, self.files = collection, name, files
        self.fetches = deque()
        self.asked = []  # everything that was ever asked for

    def announced(self):
        return {kind: [len(data), digest(data)] for kind, data in self.files.items()}

    def seal(self, files=None):
        self.take(self.collection.sealed(self.name, files or self.announced()))

    def take(self, fetches):
        self.fetches.extend(fetches)
        self.asked.extend(fetches)
        assert len(self.fetches) <= PARTS_AHEAD

    def answer(self, spoil=lambda data: data):
        """Send the next part, or, with `spoil`, something else under its hash."""
        fetch = self.fetches.popleft()
        assert fetch.run == "run" and 0 < fetch.length <= PART
        data = self.files[fetch.file][fetch.offset : fetch.offset + fetch.length]
        assert len(data) == fetch.length, "it was asked for what is not there"
        chunk = Chunk("run", fetch.file, fetch.offset, digest(data))
        self.take(self.collection.on_chunk(self.name, chunk, spoil(data)))

    def answer_all(self):
        while self.fetches:
            self.answer()

    def reconnect(self):
        self.fetches.clear()
        self.collection.cut(self.name)
        self.seal()


def bytes_of(length, seed=1):
    return random.Random(seed).randbytes(length)


def collection_in(tmp_path, members=("p0",)):
    return Collection("run", tmp_path, members)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1, PART * PARTS_AHEAD, 57 * PART + 3])
def test_logs_of_any_size_arrive_as_they_were(tmp_path, size):
    peer = Peer(collection_in(tmp_path), trace=bytes_of(size), sends=bytes_of(size // 2, 2), steps=b"{}\n" * size)
    peer.seal()
    assert not peer.collection.whole("p0") or size == 0
    peer.answer_all()
    assert peer.collection.whole("p0")
    assert contents(tmp_path) == {
        "trace-0.bin": peer.files["trace"],
        "sends-0.bin": peer.files["sends"],
        "steps-0.jsonl": peer.files["steps"],
    }
    total = sum(map(len, peer.files.values()))
    assert peer.collection.progress() == (total, total)
    assert sum(fetch.length for fetch in peer.asked) == total, "something was fetched twice"


def test_logs_bear_the_number_of_their_peer(tmp_path):
    members = ("zoe", "p10", "p2")
    collection = collection_in(tmp_path, members)
    peers = [Peer(collection, name, trace=name.encode() * 99, sends=name.encode()) for name in members]
    for peer in peers:
        peer.seal()
    while any(peer.fetches for peer in peers):  # in turn, so that they come at the same time
        for peer in peers:
            if peer.fetches:
                peer.answer()
    for place, name in enumerate(members):
        assert (tmp_path / f"trace-{place}.bin").read_bytes() == name.encode() * 99
        assert (tmp_path / f"sends-{place}.bin").read_bytes() == name.encode()


def test_until_it_is_whole_a_log_does_not_bear_its_name(tmp_path):
    peer = Peer(collection_in(tmp_path), trace=bytes_of(5 * PART), sends=b"")
    peer.seal()
    for _ in range(4):
        peer.answer()
        assert set(contents(tmp_path)) == {"trace-0.bin.part"}
    peer.collection.close()
    assert contents(tmp_path) == {"trace-0.bin.part": peer.files["trace"][: 4 * PART]}
    assert not peer.collection.whole("p0")


@pytest.mark.parametrize("after", range(12))
def test_after_a_cut_it_goes_on_where_it_was(tmp_path, after):
    peer = Peer(collection_in(tmp_path), trace=bytes_of(7 * PART + 1), sends=bytes_of(3 * PART))
    peer.seal()
    for _ in range(min(after, 11)):
        peer.answer()
    before = len(peer.asked)
    have, _ = peer.collection.progress()
    peer.reconnect()
    again = peer.asked[before:]
    assert sum(fetch.length for fetch in again if fetch.file == "trace") == max(0, 7 * PART + 1 - have)
    peer.answer_all()
    assert peer.collection.whole("p0")
    assert contents(tmp_path) == {"trace-0.bin": peer.files["trace"], "sends-0.bin": peer.files["sends"]}


def test_a_seal_that_is_told_twice_asks_for_nothing_twice(tmp_path):
    peer = Peer(collection_in(tmp_path), trace=bytes_of(20 * PART), sends=b"s")
    for _ in range(3):
        peer.seal()
    peer.answer()
    peer.seal()
    peer.answer_all()
    assert peer.collection.whole("p0")
    assert sum(fetch.length for fetch in peer.asked) == 20 * PART + 1
    peer.seal()
    assert not peer.fetches and peer.collection.whole("p0")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: bytes([data[0] ^ 1]) + data[1:],
        lambda data: data[:-1],
        lambda data: data + b"x",
        lambda data: b"",
    ],
    ids=["flipped", "short", "long", "empty"],
)
def test_a_damaged_part_is_fetched_again(tmp_path, spoil):
    peer = Peer(collection_in(tmp_path), trace=bytes_of(20 * PART), sends=b"s")
    peer.seal()
    for _ in range(5):
        peer.answer()
    for _ in range(MOST_TRIES - 1):
        bad = peer.fetches[0]
        peer.fetches = deque([bad])  # what was on its way behind it will be asked for again
        peer.answer(spoil)
        assert peer.fetches[0] == bad
    peer.answer_all()
    assert contents(tmp_path) == {"trace-0.bin": peer.files["trace"], "sends-0.bin": b"s"}


def test_parts_behind_a_damaged_one_are_not_mistaken_for_others(tmp_path):
    """They are still on their way when the damaged one is asked for again."""
    peer = Peer(collection_in(tmp_path), trace=bytes_of(20 * PART), sends=b"s")
    peer.seal()
    for number in range(100):  # the peer answers in order: what is asked for anew comes after what was asked before
        if not peer.fetches:
            break
        fetch = peer.fetches.popleft()
        data = peer.files[fetch.file][fetch.offset : fetch.offset + fetch.length]
        chunk = Chunk("run", fetch.file, fetch.offset, digest(data))
        peer.fetches.extend(peer.collection.on_chunk("p0", chunk, bytes(PART) if number in (2, 15) else data))
    assert contents(tmp_path) == {"trace-0.bin": peer.files["trace"], "sends-0.bin": b"s"}


def test_a_part_that_is_always_damaged_is_given_up(tmp_path):
    peer = Peer(collection_in(tmp_path), trace=bytes_of(20 * PART), sends=b"s")
    peer.seal()
    with pytest.raises(RunError) as caught:
        for _ in range(MOST_TRIES):
            peer.fetches = deque([peer.fetches[0]])
            peer.answer(lambda data: bytes(len(data)))
    assert caught.value.peers == ["p0"] and caught.value.phase == "upload"
    assert str(caught.value) == f"p0 sent a part of trace-0.bin damaged {MOST_TRIES} times"
    assert not peer.collection.whole("p0")


def test_a_log_whose_parts_are_right_and_whose_whole_is_not_is_fetched_anew_and_given_up(tmp_path):
    peer = Peer(collection_in(tmp_path), trace=bytes_of(3 * PART), sends=b"s")
    with pytest.raises(RunError) as caught:
        peer.seal({**peer.announced(), "trace": [3 * PART, digest(b"another")]})
        peer.answer_all()
    assert str(caught.value) == f"trace-0.bin came from p0 damaged {MOST_TRIES} times"
    assert sum(fetch.length for fetch in peer.asked) == MOST_TRIES * 3 * PART
    assert set(contents(tmp_path)) == {"trace-0.bin.part"}


def test_a_log_that_was_wrong_as_a_whole_may_be_right_the_next_time(tmp_path):
    """Each part is what its hash says, yet one of them is of another log."""
    peer = Peer(collection_in(tmp_path), trace=bytes_of(4 * PART), sends=b"s")
    right = peer.files["trace"]
    peer.seal()
    peer.answer()
    peer.files["trace"] = bytes_of(4 * PART, seed=2)
    peer.answer()
    peer.files["trace"] = right
    peer.answer_all()
    assert contents(tmp_path) == {"trace-0.bin": right, "sends-0.bin": b"s"}
    assert sum(fetch.length for fetch in peer.asked) == 2 * 4 * PART + 1


def test_other_logs_than_before_the_cut_are_fetched_from_their_beginning(tmp_path):
    peer = Peer(collection_in(tmp_path), trace=bytes_of(9 * PART), sends=b"s")
    peer.seal()
    for _ in range(4):
        peer.answer()
    peer.files["trace"] = bytes_of(9 * PART, seed=2)
    peer.reconnect()
    peer.answer_all()
    assert contents(tmp_path) == {"trace-0.bin": peer.files["trace"], "sends-0.bin": b"s"}


def test_what_nobody_asked_for_is_not_written(tmp_path):
    collection = collection_in(tmp_path, ("p0", "p1"))
    data = bytes(PART)
    chunk = Chunk("run", "trace", 0, digest(data))
    assert collection.on_chunk("p0", chunk, data) == []
    peer = Peer(collection, trace=bytes_of(4 * PART), sends=b"s")
    peer.seal()
    for name, kind, offset in [("p1", "trace", 0), ("p0", "sends", 0), ("p0", "steps", 0), ("p0", "trace", PART)]:
        assert collection.on_chunk(name, Chunk("run", kind, offset, digest(data)), data) == []
    collection.cut("p0")
    assert collection.on_chunk("p0", chunk, data) == [], "it is of the connection that was cut"
    peer.reconnect()
    peer.answer_all()
    assert contents(tmp_path) == {"trace-0.bin": peer.files["trace"], "sends-0.bin": b"s"}


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"trace": [0, ""]},
        {"sends": [0, ""]},
        {"trace": None, "sends": [0, ""]},
        {"trace": [-1, ""], "sends": [0, ""]},
        {"trace": ["3", ""], "sends": [0, ""]},
        {"trace": [3], "sends": [0, ""]},
        {"trace": [3, 4], "sends": [0, ""]},
        {"trace": "x" * 10_000, "sends": [0, ""]},
    ],
)
def test_an_announcement_that_makes_no_sense_is_an_error_of_that_peer(tmp_path, files):
    with pytest.raises(RunError) as caught:
        collection_in(tmp_path).sealed("p0", files)
    assert caught.value.peers == ["p0"] and len(str(caught.value)) < 200


def test_kinds_of_logs_that_nobody_knows_are_left_where_they_are(tmp_path):
    peer = Peer(collection_in(tmp_path), trace=b"t", sends=b"s")
    peer.seal({**peer.announced(), "../../evil": [3, digest(b"abc")]})
    peer.answer_all()
    assert peer.collection.whole("p0") and set(contents(tmp_path)) == {"trace-0.bin", "sends-0.bin"}


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_is_one_sentence_and_nobodys_fault(tmp_path):
    (tmp_path / "trace-0.bin.part").symlink_to("/dev/full")
    peer = Peer(collection_in(tmp_path), trace=bytes_of(100 * PART), sends=b"s")
    with pytest.raises(RunError) as caught:
        peer.seal()
        peer.answer_all()
    assert caught.value.peers == []
    assert str(caught.value) == f"cannot write {tmp_path / 'trace-0.bin'}: No space left on device"
    peer.collection.close()


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    peer = Peer(Collection("run", tmp_path / "gone", ["p0"]), trace=b"t", sends=b"s")
    with pytest.raises(RunError) as caught:
        peer.seal()
    assert caught.value.peers == [] and "No such file or directory" in str(caught.value)


@pytest.mark.parametrize("seed", range(40))
def test_whatever_happens_on_the_way_the_logs_arrive_as_they_were(tmp_path, seed):
    chance = random.Random(seed)
    collection = collection_in(tmp_path, ("p0", "p1", "p2"))
    peers = [
        Peer(
            collection,
            name,
            trace=chance.randbytes(chance.randrange(40 * PART)),
            sends=chance.randbytes(chance.randrange(10 * PART)),
        )
        for name in ("p0", "p1", "p2")
    ]
    for peer in peers:
        peer.seal()
    bad = dict.fromkeys(("p0", "p1", "p2"), 0)
    while not all(collection.whole(peer.name) for peer in peers):
        peer = chance.choice(peers)
        what = chance.random()
        if what < 0.05:
            peer.reconnect()
        elif what < 0.1:
            peer.seal()
        elif peer.fetches and what < 0.2 and bad[peer.name] < MOST_TRIES - 1:
            peer.fetches = deque([peer.fetches[0]])
            bad[peer.name] += 1
            peer.answer(lambda data: data[::-1] + b"!")
        elif peer.fetches:
            bad[peer.name] = 0
            peer.answer()
    for place, peer in enumerate(peers):
        assert (tmp_path / f"trace-{place}.bin").read_bytes() == peer.files["trace"]
        assert (tmp_path / f"sends-{place}.bin").read_bytes() == peer.files["sends"]
    assert len(contents(tmp_path)) == 6

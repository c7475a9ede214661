"""Rounds and inversions, on small logs and on logs of many chunks."""

import random

import numpy as np
import pytest

from comparison_server import inversions
from comparison_server.positions import Positions
from comparison_server.rounds import CHUNK, Rounds, compare, held, same
from tests.comparison_server.corpus import evidence


def logs(*texts: str, starts=None):
    return [
        (np.array([ord(letter) for letter in text], np.uint64), start)
        for text, start in zip(texts, starts or [0] * len(texts))
    ]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (("abc", "abc", "abc"), Rounds(3, 0, 0, 0, None, None)),
        (("abc", "abc", "abd"), Rounds(3, 1, 0, 1, 2, 2)),  # the last position of the last log
        (("ab", "ba"), Rounds(2, 2, 0, 2, 0, 0)),  # two logs
        (("abc", "ab", "abc"), Rounds(3, 1, 1, 0, 2, None)),  # a missing tail
        (("abcd", "acd", "abcd"), Rounds(4, 3, 1, 2, 1, 1)),  # a missing middle
        (("abcd", "ab", "abdc"), Rounds(4, 2, 2, 2, 2, 2)),  # short and disordered at once
        (("aab", "ab"), Rounds(3, 2, 1, 1, 1, 1)),  # a repeat shifts what follows
        (("", "ab"), Rounds(2, 2, 2, 0, 0, None)),
        (("abc",), Rounds(3, 0, 0, 0, None, None)),
        ((), Rounds(0, 0, 0, 0, None, None)),
    ],
)
def test_rounds(texts, expected):
    assert compare(logs(*texts)) == expected


def test_who_joined_later_takes_part_from_where_it_began():
    assert compare(logs("abcd", "cd", starts=[0, 2])) == Rounds(4, 0, 0, 0, None, None)
    assert compare(logs("abcd", "dc", starts=[0, 2])) == Rounds(4, 2, 0, 2, 2, 2)
    assert compare(logs("abcd", "c", starts=[0, 2])) == Rounds(4, 1, 1, 0, 3, None)
    assert held(logs("abcd", "c", starts=[0, 2]), 1) == [ord("b"), None]
    assert held(logs("abcd", "c", starts=[0, 2]), 3) == [ord("d"), None]


def test_logs_of_many_chunks_are_counted_as_loops_count_them():
    chance = random.Random(4)
    whole = np.arange(3 * CHUNK + 17, dtype=np.uint64)
    for _ in range(20):
        made = []
        for _ in range(3):
            ids = whole[: chance.choice([len(whole), len(whole) - 5, CHUNK, 2 * CHUNK + 1])].copy()
            for _ in range(chance.randint(0, 3)):
                at = chance.choice([0, CHUNK - 1, CHUNK, 2 * CHUNK, len(ids) - 1, chance.randrange(len(ids))])
                ids[min(at, len(ids) - 1)] += np.uint64(1 << 40)
            made.append(ids)
        padded = np.full((3, max(map(len, made))), -1, np.int64)
        for row, ids in zip(padded, made):
            row[: len(ids)] = ids
        short = (padded == -1).any(axis=0)
        top, low = padded.max(axis=0), np.where(padded == -1, np.iinfo(np.int64).max, padded).min(axis=0)
        disordered = top != low
        out = short | disordered
        first = int(np.argmax(out)) if out.any() else None
        rounds = compare([(ids, 0) for ids in made])
        assert (rounds.rounds, rounds.out_of_order, rounds.short, rounds.disordered, rounds.first) == (
            padded.shape[1],
            int(out.sum()),
            int(short.sum()),
            int(disordered.sum()),
            first,
        )


def test_same_sees_the_last_id_of_the_last_chunk():
    ids = np.arange(2 * CHUNK + 1, dtype=np.uint64)
    other = ids.copy()
    assert same(ids, other)
    other[-1] += np.uint64(1)
    assert not same(ids, other) and not same(ids, ids[:-1])


@pytest.mark.parametrize("length", [0, 1, 2, 7, 64, 300])
def test_inversions_are_counted_as_loops_count_them(length):
    chance = random.Random(length)
    for kind in ("any", "near"):
        values = chance.sample(range(-1000, 1000), length)
        if kind == "near":
            values.sort()
            for _ in range(length // 8):
                at = chance.randrange(length)
                values.insert(max(0, at - chance.randint(0, 9)), values.pop(at))
        expected = sum(values[i] > values[j] for i in range(length) for j in range(i + 1, length))
        assert inversions.count(np.array(values, np.int32)) == expected


def test_inversions_of_all_pairs_of_logs_over_what_both_hold():
    positions = Positions(evidence(a="a1 b1 c1", b="c1 b1 a1", c="a1 b1 c1", d="b1 a1"))
    pairs = {"ab": 3, "ac": 0, "ad": 1, "bc": 3, "bd": 0, "cd": 1}
    assert inversions.between_logs(positions, positions.everybody) == sum(pairs.values())

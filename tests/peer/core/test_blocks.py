"""Blocks: messages in, the same messages out, and no block whose body does not fit what it says."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.core.blocks import HIGHEST_STAMP, Block, pack, unpack
from peer.core.errors import WireError

MESSAGES = st.one_of(
    st.lists(st.binary(max_size=30), min_size=1, max_size=20),
    st.integers(1, 30).flatmap(lambda size: st.lists(st.binary(min_size=size, max_size=size), min_size=1, max_size=20)),
)


def block_of(messages):
    size, body = pack(messages)
    return Block(3, 100, len(messages), size, 7, body)


@given(MESSAGES)
def test_messages_survive(messages):
    block = block_of(messages)
    block.check()
    assert [bytes(message) for message in unpack(block)] == messages
    assert block.following == 100 + len(messages)


def test_equal_sizes_need_no_table():
    assert pack([b"ab", b"cd"]) == (2, b"abcd")
    assert pack([b"ab"]) == (2, b"ab")
    size, body = pack([b"a", b"", b"bc"])
    assert size == 0 and len(body) == 3 * 4 + 3
    assert pack([b"", b""]) == (0, bytes(8))  # messages of no length are messages all the same


def test_an_end_takes_one_place():
    end = Block(1, 20, 0, 0, 5, b"")
    end.check()
    assert end.following == 21 and list(unpack(end)) == []


@given(MESSAGES, st.integers(-10, 10).filter(bool))
def test_a_body_of_another_length_is_refused(messages, change):
    block = block_of(messages)
    body = block.body[:change] if change < 0 else block.body + bytes(change)
    if len(body) != len(block.body):
        with pytest.raises(WireError, match="^block: "):
            replace(block, body=body).check()


@given(count=st.integers(0, 2**32 - 1), size=st.integers(0, 2**32 - 1), body=st.binary(max_size=100))
def test_what_is_not_refused_can_be_unpacked(count, size, body):
    block = Block(1, 0, count, size, 1, body)
    try:
        block.check()
    except WireError:
        return
    messages = list(unpack(block))
    assert len(messages) == count and sum(map(len, messages)) <= len(body)


def test_a_stamp_that_no_clock_can_have_is_refused():
    Block(0, 0, 0, 0, HIGHEST_STAMP, b"").check()
    with pytest.raises(WireError, match="stamp"):
        Block(0, 0, 0, 0, HIGHEST_STAMP + 1, b"").check()

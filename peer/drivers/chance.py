"""Chance, in streams of its own for every purpose: what one protocol draws does not change what another meets."""

from __future__ import annotations

import hashlib
from random import Random


def stream(seed: str, *purpose: object) -> Random:
    """The stream of this seed and purpose (a kind of draw, a peer or a pair, a key)."""
    text = "\x1f".join([seed, *map(str, purpose)])
    return Random(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "little"))


def bits(seed: str, *purpose: object) -> bytes:
    """256 bits of this seed and purpose."""
    return hashlib.blake2b("\x1f".join([seed, *map(str, purpose)]).encode(), digest_size=32).digest()

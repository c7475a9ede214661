"""What a property says of a run: whether it holds, how often it does not, the smallest proof, and one sentence.

A witness always has the keys `messages`, `peers` and `positions`: positions[i][j] is where the log of peers[i] holds
messages[j], None where it does not. Each property adds what its own proof needs.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Finding:
    """`holds` is None where there is no evidence; `violations` is a number, or "at least k"."""

    holds: bool | None
    violations: int | str
    witness: dict | None
    sentence: str


def no_evidence(sentence: str) -> Finding:
    return Finding(None, 0, None, sentence)


def held(sentence: str) -> Finding:
    return Finding(True, 0, None, sentence)


def broken(violations: int | str, witness: dict, sentence: str) -> Finding:
    return Finding(False, violations, witness, sentence[:1].upper() + sentence[1:])

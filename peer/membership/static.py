"""Membership `static`: the members of the run, from its first moment to its last."""

from __future__ import annotations

from dataclasses import dataclass

from peer.core.guarantees import VIEW
from peer.core.layer import Layer


@dataclass(slots=True)
class Static(Layer):
    """The view never changes."""

    name = "static"
    gives = frozenset({VIEW})

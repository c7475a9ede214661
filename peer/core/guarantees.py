"""What layers need and give, and what orderings promise, by name."""

from __future__ import annotations

# What a link between two members may give to the layers above it.
RELIABLE = "reliable links"  # nothing is lost while both ends live
FIFO_LINKS = "fifo links"  # handed up in the order sent, each once
ONCE = "links without duplicates"
LARGE = "bodies larger than a datagram"

# What the lower layers give each other.
ADDRESSES = "addresses"  # names are turned into endpoints
PAIRS = "ready pairs"  # both ends know that the other listens
REACH = "reach"  # a datagram can be carried to every member
VIEW = "a view"  # the members are known

GIVEN = frozenset({RELIABLE, FIFO_LINKS, ONCE, LARGE, ADDRESSES, PAIRS, REACH, VIEW})  # all that may be needed

# What an ordering may promise; the names of the judged properties.
VALIDITY = "validity"
INTEGRITY = "integrity"
AGREEMENT = "agreement"
UNIFORM_AGREEMENT = "uniform_agreement"
FIFO = "fifo"
CAUSAL = "causal"
TOTAL = "total"
UNIFORM_TOTAL = "uniform_total"
PREFIX = "prefix"
SAME_VIEW = "same_view"

PROMISED = frozenset(  # all that may be promised
    {VALIDITY, INTEGRITY, AGREEMENT, UNIFORM_AGREEMENT, FIFO, CAUSAL, TOTAL, UNIFORM_TOTAL, PREFIX, SAME_VIEW}
)

"""A peer with an application: one callback a message, which counts it."""

from __future__ import annotations

import sys

from peer.__main__ import main

counted = 0


def count(sender: int, number: int, message: bytes) -> None:
    """What an application does with a message, at the least."""
    global counted
    counted += 1


if __name__ == "__main__":
    sys.exit(main(application=count))

"""A peer with a slip of the pen in its ordering."""

import sys

from peer.__main__ import main
from peer.ordering.unordered import Unordered


def on_arrival(self, arrival, out):
    self.nxet.append(arrival)


if __name__ == "__main__":
    Unordered.on_arrival = on_arrival
    sys.exit(main())

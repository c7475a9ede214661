"""A peer like any other, but that it hands in logs that were written beforehand, as if its run had made them.

They lie in the folder `written` beside its own, named as in a run folder.
"""

from __future__ import annotations

import sys

import peer.__main__ as program
from comparison_server.delivery_log import NAMES
from peer.drivers.udp import UdpPeer


class PeerWithLogs(UdpPeer):
    """Its run is played as it should be, and of no consequence."""

    def _seal(self, run: str) -> None:
        for kind in ("trace", "sends"):
            (self.logs.folder / "written" / NAMES[kind].format(self.session.me)).replace(self.logs.path(kind))
        super()._seal(run)


if __name__ == "__main__":
    program.UdpPeer = PeerWithLogs
    sys.exit(program.main())

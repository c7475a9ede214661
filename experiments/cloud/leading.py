"""What a cluster needs of whoever leads its peers: the comparison server here, or one on the control host."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Protocol

from comparison_server.coordinator import Found
from comparison_server.service import Outcome, Progress
from peer.core.settings import RunSettings

Shown = Callable[[Progress], None]


class Leading(Protocol):
    """Between calls somebody polls, also while a person thinks about what is to be run next."""

    @property
    def peers(self) -> Collection[str]:
        """Who is connected."""

    @property
    def leads_no_more(self) -> str:
        """Whom the peers follow instead, in a sentence, if they do."""

    def poll(self, timeout_s: float = ...) -> None:
        """Serve everybody, for about this long or until something has happened."""

    def settled(self, timeout_s: float = ...) -> list[Found]:
        """The runs that were begun before, and are to be brought to their end or home."""

    def run(
        self,
        settings: RunSettings,
        agreement: bool,
        header: dict[str, Any],
        folder: Path,
        on_progress: Shown | None = ...,
    ) -> Outcome:
        """Play one run to its end and have its logs in this folder. Ctrl-C closes it, then raises Interrupted."""

    def take_up(self, found: Found, agreement: bool, folder: Path, on_progress: Shown | None = ...) -> Outcome:
        """The same with a run that was found, from where it is."""

    def lose(self, name: str, sentence: str) -> None:
        """Do not wait for this peer in the present run: it is known to be gone."""

    def give_way(self, host: str, operator: str) -> None:
        """Peers of this host were told to follow somebody who came later; they may never have been connected here."""

    def end_all(self, timeout_s: float = ...) -> list[str]:
        """Have every peer end; who has not in time."""

    def close(self) -> None:
        """Lead no more; peers stay."""

"""A measured figure, and the floor that it is held against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

LESS_IS_BETTER = frozenset({"s", "us", "MB"})

Say = Callable[[str], None]  # what a benchmark tells of its progress


class Lacking(Exception):
    """What this benchmark needs is not installed; the sentence says what."""


@dataclass(slots=True)
class Row:
    """`floor` is the least that `value` should be, or of a time and of memory the most; None: nobody asks for any."""

    name: str
    value: float
    unit: str
    floor: float | None = None

    @property
    def ratio(self) -> float | None:
        """How many times as good as the floor it is."""
        if self.floor is None:
            return None
        return self.floor / self.value if self.unit in LESS_IS_BETTER else self.value / self.floor

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"ratio": self.ratio}

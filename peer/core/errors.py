"""What can go wrong, by whose fault it is.

    LabError
    ├── SettingsError   the operator's file or arguments: said before anything starts, exit 2
    ├── WireError       the network or the other side: only `wire.decode` raises it, only drivers catch it
    ├── Refused         a service said no; `definite` tells whether asking again is useless
    └── RunError        a run could not finish: names the phase and the silent peers, exit 3

A failed `assert` is our own fault. A broken ordering guarantee is no error at all
but the result of the experiment.
"""

from __future__ import annotations

HELD, VIOLATED, BAD_SETTINGS, UNFINISHED, INTERRUPTED = 0, 1, 2, 3, 130


class LabError(Exception):
    """The root of all errors that are told to a person in one sentence."""

    exit_code = UNFINISHED


class SettingsError(LabError):
    """Wrong settings: which file, which dotted path, what was found, what is known."""

    exit_code = BAD_SETTINGS

    def __init__(self, problem: str, *, path: str = "", file: str = "") -> None:
        self.problem, self.path, self.file = problem, path, file
        where = ", ".join(part for part in (file, path) if part)
        super().__init__(f"{where}: {problem}" if where else problem)


class WireError(LabError):
    """Bytes that are no packet of ours; `reason` is a short word that is counted."""

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason = reason
        super().__init__(f"{reason}: {detail}" if detail else reason)


class Refused(LabError):
    """A service said no."""

    def __init__(self, code: str, sentence: str, *, definite: bool = True) -> None:
        self.code, self.definite = code, definite
        super().__init__(sentence)


class RunError(LabError):
    """A run could not finish."""

    def __init__(self, phase: str, peers: list[str], sentence: str, *, kept: str = "") -> None:
        self.phase, self.peers, self.kept = phase, peers, kept
        super().__init__(sentence)

"""Plays one run of a sweep and brings its files, wherever that is: in a process of this machine or of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory

from comparison_server.service import Progress
from experiments.local import in_local
from experiments.play import Planned, World, in_simulator, play
from peer.core.errors import LabError
from peer.drivers.program import bug


@dataclass(frozen=True)
class Result:
    """What is left of a run: the files of its folder by name, and why it failed if it did."""

    files: dict[str, bytes]
    failure: str = ""


def play_simulated(planned: Planned, place: Path | None = None) -> Result:
    """Play a run in virtual time; `place`: a folder for what is written on the way."""
    return _played(planned, in_simulator, place)


def play_here(
    runs: list[Planned], place: Path, show: Callable[[Progress], None]
) -> Iterator[tuple[Planned, Result]]:
    """Play runs with real processes, one after another; the processes stay while there are equally many peers."""
    by_peers = sorted(runs, key=lambda planned: planned.scenario.peers)
    for peers, group in groupby(by_peers, key=lambda planned: planned.scenario.peers):
        waiting = list(group)
        try:
            with in_local(peers, None, show) as world:
                while waiting:
                    yield waiting[0], _played(waiting[0], world, place)
                    waiting.pop(0)
        except LabError as error:  # the processes did not come up
            yield from ((planned, Result({}, str(error))) for planned in waiting)


def _played(planned: Planned, world: World, place: Path | None) -> Result:
    try:
        with TemporaryDirectory(prefix="sweep-", dir=place) as folder:
            (played,) = play([planned], world, Path(folder))
            files = {path.name: path.read_bytes() for path in sorted(played.folder.iterdir())}
            return Result(files, "" if played.error is None else str(played.error))
    except LabError as error:
        return Result({}, str(error))
    except OSError as error:
        return Result({}, f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except Exception as error:  # a fault of the program's own: the other runs are played all the same
        return Result({}, bug(error))

"""The folder of a sweep: one process's at a time, and at any moment fit to go on from.

    plan.json     the plan, and its runs in order
    runs/NAME     run folders; they appear whole, or marked as partial if their run did not come to its end
    failed.json   the runs that have no folder, or a partial one: why
    frames/       all runs as tables, once the sweep is through
    partial/      what is being written; whatever is found there is of a sweep that was cut
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from comparison_server.run_folder import PARTIAL, is_sealed
from experiments.run_folder import commit
from experiments.sweep.plan import Loaded
from experiments.sweep.playing import Result
from experiments.sweep.sources import digest_of_sources
from experiments.yaml_files import shown
from peer.core.errors import SettingsError

PLAN, RUNS, FAILED, FRAMES, BEING_WRITTEN, LOCK = "plan.json", "runs", "failed.json", "frames", "partial", "lock"


class SweepFolder:
    """The folder of a sweep that this process plays."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self.lock = lock  # the open file; whoever inherits it keeps the folder locked
        self.failed: dict[str, str] = {}
        self.being_written = path / BEING_WRITTEN

    def outcome_of(self, name: str) -> list[str] | None:
        """The promised properties that were broken in a run that came to its end; None if it has to be played."""
        folder = self.path / RUNS / name
        if not (folder / PARTIAL).exists():
            try:
                json.loads((folder / "scenario.json").read_bytes())
                json.loads((folder / "measures.json").read_bytes())
                verdict = json.loads((folder / "verdict.json").read_bytes())
                logs = [*folder.glob("trace-*.bin"), *folder.glob("sends-*.bin")]
                if len(logs) == 2 * verdict["peers"] and (verdict["error"] or all(map(is_sealed, logs))):
                    return broken(verdict)
            except (OSError, ValueError, KeyError, TypeError):  # cut by a power failure, say
                pass
        return None

    def keep(self, name: str, result: Result) -> None:
        """A run's folder appears; a run that failed is listed."""
        if result.files:
            folder = self.being_written / name
            folder.mkdir()
            for file, content in result.files.items():
                (folder / file).write_bytes(content)
            target = self.path / RUNS / name
            shutil.rmtree(target, ignore_errors=True)  # a partial one, of an earlier attempt
            folder.rename(target)
        if result.failure:
            self.failed[name] = result.failure
            self.write_failed()

    def write_failed(self) -> None:
        """Which runs failed so far."""
        self._write(FAILED, self.failed)

    def forget_frames(self) -> None:
        """There are to be more runs than the tables know."""
        shutil.rmtree(self.path / FRAMES, ignore_errors=True)

    def write_frames(self) -> None:
        """All runs as tables."""
        from analysis import frames  # pandas and pyarrow take a while to import, and most calls do not come here

        fresh = self.being_written / FRAMES
        frames.write(frames.load(self.path), fresh)
        self.forget_frames()
        fresh.rename(self.path / FRAMES)

    @property
    def has_frames(self) -> bool:
        """Whether the tables of all runs are there."""
        return (self.path / FRAMES).is_dir()

    def prepare(self, loaded: Loaded, command: str) -> None:
        """What is there is of this very plan, or the plan is written; what was cut is removed."""
        document = {"command": command, "commit": commit(), **_identity(loaded)}
        known = self.known()
        if known is not None and (difference := _difference_between(known, document)):
            other = f"--anew moves {self.path} aside first, --out plays elsewhere"
            raise SettingsError(f"{difference}; {other}", file=str(self.path))
        shutil.rmtree(self.being_written, ignore_errors=True)
        (self.path / RUNS).mkdir(exist_ok=True)
        self.being_written.mkdir()
        if known is None:
            self._write(PLAN, document)
        self.write_failed()

    def known(self) -> dict[str, Any] | None:
        """The plan that the folder holds."""
        try:
            known = json.loads((self.path / PLAN).read_bytes())
        except FileNotFoundError:
            strange = sorted({path.name for path in self.path.iterdir()} - {LOCK, RUNS, BEING_WRITTEN})
            if strange:
                problem = f"this folder is no sweep's: it holds {strange[0]}, and no {PLAN}; give another --out"
                raise SettingsError(problem, file=str(self.path)) from None
            return None
        except ValueError as error:
            raise SettingsError(f"is damaged: {error}", file=str(self.path / PLAN)) from None
        return known if isinstance(known, dict) else {}

    def _write(self, name: str, document: Any) -> None:
        """A document of the sweep appears as a whole."""
        fresh = self.being_written / name
        fresh.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        fresh.replace(self.path / name)


@contextmanager
def opened(loaded: Loaded, out: Path, command: str, resume: bool) -> Iterator[SweepFolder]:
    """The folder of a plan, ready to be gone on with; SettingsError if it is another's, or at work."""
    path = out / loaded.plan.name
    if resume and not (path / PLAN).is_file():
        problem = f"there is nothing to be resumed: {path} holds no sweep; without --resume it is begun"
        raise SettingsError(problem, path="--resume")
    with _locked(path) as lock:
        folder = SweepFolder(path, lock)
        folder.prepare(loaded, command)
        yield folder
        shutil.rmtree(folder.being_written, ignore_errors=True)


def set_aside(loaded: Loaded, out: Path) -> Path | None:
    """Where the folder of a plan is now, if it held the runs of another plan or version and had to make way."""
    path = out / loaded.plan.name
    with _locked(path) as lock:
        known = SweepFolder(path, lock).known()
        if known is None or not _difference_between(known, _identity(loaded)):
            return None
        aside = next(free for number in count(1) if not (free := out / f"{path.name}.{number}").exists())
        path.rename(aside)
        return aside


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """The folder is there, and no other process plays in it; the open file that says so."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise SettingsError(f"{path} cannot be made: {error.strerror}", path="--out") from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            problem = "another process plays this sweep just now; wait for its end, or give another --out"
            raise SettingsError(problem, file=str(path)) from None
        yield lock
    finally:
        os.close(lock)


def broken(verdict: Mapping[str, Any]) -> list[str]:
    """The properties that a verdict finds broken though they were promised."""
    found = verdict["properties"].items()
    return [name for name, finding in found if finding["promised"] and finding["holds"] is False]


def _identity(loaded: Loaded) -> dict[str, Any]:
    """What has to be alike in all runs of a sweep."""
    return {**loaded.as_dict(), "sources": digest_of_sources()}


def _difference_between(known: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Why runs of these two sweeps are not to be mixed: they are of two plans, or of two versions of the program."""
    for part in ("plan", "scenario"):
        if differs := _difference(known.get(part), wanted[part], [] if part == "plan" else [part]):
            where, was, now = differs
            return f"this is the sweep of another plan ({where}: {shown(was)} there, {shown(now)} here)"
    if known.get("sources") != wanted["sources"]:
        by = f"as of commit {known['commit']}, or with changes" if known.get("commit") else "of a commit unknown"
        return f"its runs were played by another version of the program ({by})"
    if known.get("points") != wanted["points"]:  # a planet was measured again, say
        return "this plan comes to other runs by now"
    return ""


def _difference(was: Any, now: Any, path: Sequence[str | int]) -> tuple[str, Any, Any] | None:
    """Where two documents part first, and what stands there in either."""
    if was == now:
        return None
    pairs: Iterator[tuple[str | int, Any, Any]] = iter(())
    if isinstance(was, dict) and isinstance(now, dict):
        pairs = ((key, was.get(key), now.get(key)) for key in {**was, **now})
    elif isinstance(was, list) and isinstance(now, list) and any(isinstance(each, (dict, list)) for each in now):
        pairs = zip(range(min(len(was), len(now))), was, now)
    inside = (_difference(one, other, [*path, key]) for key, one, other in pairs)
    return next(filter(None, inside), (".".join(map(str, path)), was, now))

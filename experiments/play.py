"""Plays the runs of a scenario in one world and leaves a folder for each: logs, verdict, measures.

    scenario -> planned runs -> world -> logs -> verdict

The worlds differ only in who performs the effects; what they leave is alike.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from comparison_server import replicas
from comparison_server.coordinator import Found
from comparison_server.evidence import EvidenceError
from comparison_server.run_folder import PARTIAL, load_run
from comparison_server.service import Interrupted, Outcome
from comparison_server.verdict import Verdict, judge, without_an_end
from experiments import bugs
from experiments.run_folder import commit, fresh_folder, mark_complete, run_folder_name, write_scenario
from experiments.scenario import Scenario, as_written, from_written, resolve, seed_text
from experiments.simulator.world import simulate
from peer.core.errors import HELD, UNFINISHED, VIOLATED, RunError, SettingsError
from peer.core.settings import RunSettings, to_json
from peer.core.shapes import fits
from peer.stacks import promised


@dataclass(frozen=True)
class Planned:
    """One run that is to be played."""

    scenario: Scenario
    ordering: str
    variant: str | None
    repeat: int | None
    world: str
    settings: RunSettings
    name: str | None = None  # of its folder; None: after its scenario

    @property
    def title(self) -> str:
        """What a person calls it."""
        variant = f":{self.variant}" if self.variant else ""
        return self.ordering + variant + ("" if self.repeat is None else f", repeat {self.repeat}")


@dataclass
class Played:
    """A run that was played, how it ended, and what is left of it."""

    planned: Planned
    folder: Path
    verdict: Verdict
    error: RunError | None
    measures: dict[str, Any]
    remarks: list[str] = field(default_factory=list)  # what befell it without keeping it from its end

    @property
    def exit_code(self) -> int:
        """0 promised and held, 1 violated, 3 not finished."""
        if self.verdict.violated():
            return VIOLATED
        return UNFINISHED if self.error is not None else HELD

    def as_dict(self) -> dict[str, Any]:
        """The verdict, and where the rest of it is."""
        error = None
        if self.error is not None:
            error = {"phase": self.error.phase, "peers": self.error.peers, "sentence": str(self.error)}
        planned = self.planned
        about = {"variant": planned.variant, "repeat": planned.repeat, "folder": str(self.folder)}
        return {**self.verdict.as_dict(), **about, "error": error, "remarks": self.remarks}


FULL = (errno.ENOSPC, errno.EDQUOT)

# Plays a planned run into a folder: how it ended, and its measures by peer.
World = Callable[[Planned, Path], "Ended"]


@dataclass
class Ended:
    """How a world says that a run ended."""

    error: RunError | None
    measures: dict[str, Any]
    remarks: list[str] = field(default_factory=list)


def ended(outcome: Outcome) -> Ended:
    """How a run ended that a comparison server led."""
    return Ended(outcome.error, {"peers": outcome.measures}, outcome.remarks)


def plan(
    scenario: Scenario,
    orderings: Iterable[tuple[str, str | None]],
    repeats: int,
    world: str,
    repetition: int | None = None,
) -> list[Planned]:
    """All runs, ordering by ordering within each repetition, so that what is compared runs close together.

    `repetition`: only the runs of that one.
    """
    if repetition is not None and 1 < repeats <= repetition:
        problem = f"of {repeats} repetitions the last one is {repeats - 1}; leave out --repeat, or name another"
        raise SettingsError(problem, path="--repetition")
    chosen = list(orderings)
    runs = []
    for repeat in range(repeats) if repetition is None else [repetition]:
        seed = seed_text(scenario.seed, repeat)
        for ordering, variant in chosen:
            settings = resolve(scenario, ordering, variant, seed, world)
            promised(settings)  # a stack that does not fit together is refused before anything starts
            one_of_several = repeats > 1 or repetition is not None
            runs.append(Planned(scenario, ordering, variant, repeat if one_of_several else None, world, settings))
    return runs


def play(runs: Iterable[Planned], world: World, out: Path) -> Iterator[Played]:
    """Play one after another; what is left of each."""
    for planned in runs:
        usual_name = run_folder_name(planned.scenario, planned.settings, planned.world, planned.repeat)
        folder = fresh_folder(out, planned.name or usual_name)
        clock = "own" if planned.world == "cloud" else "shared"  # the other worlds are on one machine
        with in_use(folder), _room_asked_for(planned, folder), bugs.kept(folder):
            write_scenario(folder, planned.scenario, planned.settings, planned.world, clock, planned.repeat or 0)
            try:
                how = world(planned, folder)
            except Interrupted as stopped:
                try:
                    what_there_is = conclude(planned, folder, ended(stopped.outcome))
                except (RunError, EvidenceError):
                    raise stopped from None  # before there was anything to be judged
                yield what_there_is
                raise
            except KeyboardInterrupt:
                rest = "; `fab collect` brings the rest of it" if planned.world == "cloud" else ""
                raise KeyboardInterrupt(f"what there is of the run is in {folder}{rest}") from None
            yield conclude(planned, folder, how)


@contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """A folder whose run has not come to its end is one process's only; BlockingIOError if it is another's."""
    with open(folder / PARTIAL, "r+") as mark:
        fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


@contextmanager
def _room_asked_for(planned: Planned, folder: Path) -> Iterator[None]:
    """A full disk ends the run that is written there, in a sentence that says how to go on."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        then = "`fab collect` brings what is still on the hosts" if planned.world == "cloud" else "run it again"
        raise RunError("write", [], f"{folder} cannot be written: {error.strerror}; make room, then {then}") from None


def conclude(planned: Planned, folder: Path, how: Ended) -> Played:
    """Judge what is in the folder and write the verdict and the measures beside it."""
    workload = planned.settings.workload
    facts = {"ordering": planned.ordering, "world": planned.world, "messages_per_peer": workload.messages}
    try:
        evidence = load_run(folder)
    except EvidenceError:
        if how.error is not None:  # which is why there is nothing to be judged
            raise how.error from None
        raise
    verdict = judge(evidence, promised(planned.settings), facts)
    if how.error is not None:
        without_an_end(verdict)
    delivered = sum(len(log.ids) for log in evidence.logs)
    counted = how.measures.get("peers") or {}
    measures = {"totals": totals(counted, delivered), **how.measures}
    if compared := replicas.compare(evidence, planned.settings, counted):
        verdict.replicas = compared.summary
        measures["replicas"] = compared.details
    played = Played(planned, folder, verdict, how.error, measures, how.remarks)
    _write(folder / "verdict.json", {**played.as_dict(), "folder": folder.name})  # which may be moved elsewhere
    _write(folder / "measures.json", measures)
    if how.error is None:
        mark_complete(folder)
    return played


def in_simulator(planned: Planned, folder: Path) -> Ended:
    """The world `sim`."""
    settings = planned.settings
    run_id = hashlib.blake2b(to_json(settings).encode(), digest_size=8).hexdigest()
    agreement = "agreement" in promised(settings)
    done = simulate(settings, run_id=run_id, agreement=agreement, header=header_of(planned))
    for peer, (trace, sends, steps) in enumerate(zip(done.traces, done.sends, done.steps)):
        (folder / f"trace-{peer}.bin").write_bytes(trace)
        (folder / f"sends-{peer}.bin").write_bytes(sends)
        if steps:
            (folder / f"steps-{peer}.jsonl").write_text(steps)
    peers = {name: measures for name, measures in zip(settings.members, done.measures)}
    return Ended(done.coordinator.error, {"peers": peers, "virtual_s": done.virtual_s, "turns": done.turns})


def header_of(planned: Planned) -> dict[str, Any]:
    """What opens every trace of a run, beside the peer and its settings: enough to know what was planned."""
    return {
        "plan": {"scenario": as_written(planned.scenario), "repeat": planned.repeat},
        "scenario": planned.scenario.name,
        "world": planned.world,
        "ordering": planned.ordering,
        "variant": planned.variant,
        "commit": commit(),
    }


def planned_as(found: Found) -> Planned:
    """What another comparison server had planned, of which a run was found."""
    header, ordering = found.header, found.settings.stack.ordering
    try:
        scenario, repeat, world = (
            from_written(header["plan"]["scenario"]),
            header["plan"]["repeat"],
            str(header["world"]),
        )
    except (KeyError, TypeError):
        raise SettingsError(f"the run {found.run} was begun by another version of this program") from None
    return Planned(scenario, ordering.name, ordering.options.get("variant"), repeat, world, found.settings)


def totals(peers: dict[str, dict[str, Any]], delivered: int) -> dict[str, Any]:
    """What the run cost, in all and for each of the messages delivered anywhere; None where nobody counted."""
    counted: dict[str, int | None] = {}
    for what in ("datagrams_sent", "packets_sent", "bytes_sent", "resent"):
        amounts = [row[what] for row in peers.values() if fits(row.get(what), int)]
        counted[what] = sum(amounts) if amounts else None
    per = {
        f"{what}_per_delivery": None if amount is None or not delivered else amount / delivered
        for what, amount in counted.items()
    }
    return {**counted, **per}


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

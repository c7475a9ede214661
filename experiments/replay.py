"""Replay: the recorded events of a run go into fresh stacks, and their effects are compared with the recorded ones.

A run recorded at level `everything` holds all that ever went into each stack, so a
failure that was seen anywhere can be run again here, step by step. A counterexample that
the search kept holds its steps as well, and is played with fresh stacks too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from comparison_server.face import say
from experiments import bugs
from experiments.explorer import witness
from experiments.explorer.minimise import played
from peer.core.errors import HELD, VIOLATED, SettingsError
from peer.core.settings import RunSettings, from_json
from peer.core.trace import plain, read_header, unplain
from peer.stacks import build_stack


@dataclass(frozen=True)
class Difference:
    """Where a fresh stack first does something else than the recorded one."""

    peer: int
    step: int
    time_s: float
    recorded: str
    replayed: str

    def __str__(self) -> str:
        return (
            f"peer {self.peer}, step {self.step} (at {self.time_s:.6f} s):\n"
            f"  recorded: {self.recorded}\n  replayed: {self.replayed}"
        )


def replay(
    run: Annotated[
        Path, typer.Argument(help="a run folder, recorded with --trace everything, or a counterexample of explore")
    ],
    peer: Annotated[int | None, typer.Option("--peer", help="only this peer")] = None,
) -> int:
    """Feed the recorded events to fresh stacks and compare what they do: 0 the same, 1 something else.

    A counterexample is told again, step by step; it is no longer one (1) where the ordering has been mended.

    Example: python -m experiments replay runs/demo-local-lamport_all_ack-7
    """
    if run.is_file():
        if peer is not None:
            raise SettingsError("a counterexample is replayed with all its peers", path="--peer")
        return replay_counterexample(run)
    peers = recorded_peers(run) if peer is None else [peer]
    code = HELD
    for each in peers:
        steps, difference = replay_peer(run, each)
        if difference is None:
            print(f"peer {each}: {steps} steps, the same effects")
        else:
            say(f"{difference}")
            code = VIOLATED
    return code


def replay_counterexample(file: Path) -> int:
    """What happens in it, as the search told it, and whether it still breaks what it broke."""
    kept = witness.load(file)
    model, name = kept.model, kept.violation.property
    print(f"{model.ordering}{f':{model.variant}' if model.variant else ''}: {model.bounds()}")
    with bugs.told("replay"):
        again = played(model, name, kept.steps)
    if again is None:
        say(f"{file}: the steps can no longer be taken, or do not break {name} any more; explore searches anew")
        return VIOLATED
    print("\n".join(f"  {number:3}  {line}" for number, line in enumerate(again.conversation(), 1)))
    return HELD


def recorded_peers(run: Path) -> list[int]:
    """Whose steps the folder holds."""
    if not run.is_dir():
        raise SettingsError("there is no such folder, and no such file", file=str(run))
    peers = sorted(int(path.stem.removeprefix("steps-")) for path in run.glob("steps-*.jsonl"))
    if not peers:
        raise SettingsError("no recorded steps; play it again with --trace everything", file=str(run))
    return peers


def replay_peer(run: Path, peer: int) -> tuple[int, Difference | None]:
    """How many steps were replayed, and the first difference."""
    trace, steps = run / f"trace-{peer}.bin", run / f"steps-{peer}.jsonl"
    if not trace.exists() or not steps.exists():
        raise SettingsError(f"no recorded steps of peer {peer}; play it again with --trace everything", file=str(run))
    try:
        header, _ = read_header(trace)
        stack = build_stack(from_json(RunSettings, header["settings"]), header["peer"])
    except (ValueError, KeyError) as error:
        raise SettingsError(f"damaged, and so it cannot be replayed: {error}", file=str(trace)) from None
    count = 0
    for step, time_s, turn, recorded in _steps(steps):
        if step != count:
            raise SettingsError(f"damaged: step {count} is missing", file=str(steps))
        with bugs.told("replay"):
            replayed = json.loads(json.dumps(plain(stack.handle(turn))))
        if replayed != recorded:
            return count, Difference(peer, step, time_s, *_first_difference(recorded, replayed))
        count += 1
    if not count:
        raise SettingsError("damaged: it holds no step", file=str(steps))
    return count, None


def _steps(path: Path) -> Iterator[tuple[int, float, list, list]]:
    """Number, time, events and recorded effects of each step; a last one that is cut is of a peer that was killed."""
    with open(path, "rb") as file:
        for number, text in enumerate(file):
            if not text.endswith(b"\n"):
                return
            try:
                line = json.loads(text)
                yield line["step"], line["time_s"], unplain(line["turn"]), line["effects"]
            except (ValueError, KeyError, TypeError):
                raise SettingsError(f"damaged: line {number + 1} is no step", file=str(path)) from None


def _first_difference(recorded: list, replayed: list) -> tuple[str, str]:
    for one, other in zip(recorded, replayed):
        if one != other:
            return _words(one), _words(other)
    longer = recorded if len(recorded) > len(replayed) else replayed
    extra = _words(longer[min(len(recorded), len(replayed))])
    return (extra, "nothing more") if longer is recorded else ("nothing more", extra)


def _words(effect: Any) -> str:
    """An effect as its class would print it."""
    text = str(unplain(effect))
    return text if len(text) <= 400 else text[:400] + " ..."

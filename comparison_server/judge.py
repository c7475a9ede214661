"""The command `judge`: the verdict on logs that any program wrote."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from comparison_server import replicas
from comparison_server import verdict as verdicts
from comparison_server.evidence import Evidence, EvidenceError
from comparison_server.properties import PROPERTIES
from comparison_server.run_folder import PARTIAL, facts_of, is_trace, load_run, load_traces, missing
from comparison_server.text_logs import load_text
from peer.core.errors import SettingsError
from peer.drivers.program import say


def judge(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...|PEER=FILE...", help="one log a process, an export, or a run folder")
    ],
    no_self: Annotated[
        bool, typer.Option("--no-self", help="for programs that do not deliver their own messages")
    ] = False,
    expect: Annotated[str, typer.Option(help="properties that must hold, with commas between")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="print the verdict as one JSON object")] = False,
    inversions: Annotated[
        bool, typer.Option("--inversions", help="count the pairs of messages that two logs hold in opposite order")
    ] = False,
) -> int:
    """Judge logs that any program wrote.

    A log is a text file with a row sender,number for each delivery, in order; the sender is any text, the number an
    integer. A row send,number says where the process multicast a message of its own. An export of this project and a
    run folder can be judged too; a run that did not come to its end is judged by what there is of it.

    Example: python -m comparison_server judge ana=ana.csv bob=bob.csv --expect total,agreement

    Ends with 0, with 1 if an expected property does not hold, with 2 if a file is missing or cannot be read.
    """
    expected = {name.strip() for name in expect.split(",") if name.strip()}
    if unknown := sorted(expected - set(PROPERTIES)):
        raise SettingsError(f"there is no property {unknown[0]}; there are {', '.join(PROPERTIES)}", path="--expect")
    if expect and not expected:
        raise SettingsError(
            f"expected properties, found {expect!r}; there are {', '.join(PROPERTIES)}", path="--expect"
        )
    evidence = load(files, self_delivery=not no_self)
    folder = Path(files[0]) if Path(files[0]).is_dir() else None
    whole = folder is None or _is_whole(folder)
    verdict = verdicts.judge(evidence, expected, facts_of(folder) if folder else {}, count_inversions=inversions)
    if not whole:
        verdicts.without_an_end(verdict)
    compared = replicas.of_folder(folder, evidence) if folder else None
    verdict.replicas = compared and compared.summary
    for name in (name for name in PROPERTIES if name in expected and verdict.findings[name].holds is None):
        say(f"whether {name} holds cannot be told: {verdict.findings[name].sentence}", "warning")
    print(json.dumps(verdict.as_dict(), ensure_ascii=False) if as_json else verdicts.describe(verdict))
    return verdicts.exit_code(verdict)


def load(arguments: Sequence[str], *, self_delivery: bool = True) -> Evidence:
    """The evidence in what the command line names: text files, trace files, or one run folder."""
    try:
        return _load([_split(argument) for argument in arguments], self_delivery)
    except OSError as error:
        raise EvidenceError(f"{error.filename} cannot be read: {error.strerror}") from None


def _load(files: list[tuple[str | None, Path]], self_delivery: bool) -> Evidence:
    binary = [path for _, path in files if path.is_dir() or is_trace(path)]
    if not binary:
        return load_text(files, self_delivery=self_delivery)
    if not self_delivery:
        raise EvidenceError(f"--no-self is for logs of other programs, and {binary[0]} is not one")
    if len(files) == 1 and binary[0].is_dir():
        return load_run(binary[0])
    if strange := [path for label, path in files if label is not None or path not in binary or path.is_dir()]:
        raise EvidenceError(f"{strange[0]} cannot be judged together with trace files or another folder")
    return load_traces(binary)


def _is_whole(folder: Path) -> bool:
    """Whether a run came to its end; what of it is missing is told, or refused where nothing may be."""
    partial, lacking = (folder / PARTIAL).exists(), ", ".join(missing(folder))
    if partial:
        say("this run did not come to its end" + (f"; missing: {lacking}" if lacking else ""), "warning")
    elif lacking:
        raise EvidenceError(f"{folder}: missing, though the run came to its end: {lacking}")
    return not partial


def _split(argument: str) -> tuple[str | None, Path]:
    label, equals, path = argument.partition("=")
    if not equals or Path(argument).exists():
        return None, Path(argument)
    return label, Path(path)

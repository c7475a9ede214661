"""Tells a person, or a program, what came of the runs that were played."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis import load, output
from analysis.tables import comparison, show
from comparison_server import face, replicas
from experiments.play import Played
from peer.core.errors import SettingsError


def check_report(report: Path | None, also: Sequence[Path] | None) -> None:
    """Refuses before anything is played what could not be told afterwards."""
    if also and report is None:
        raise SettingsError("it is for a report; say --report FILE too", path="--also")
    if report is not None:
        output.check(report)
    if also:
        from analysis.frames import checked  # pandas takes a while to import, and most runs are told without it

        try:
            checked(also)
        except SettingsError as error:
            raise SettingsError(error.problem, file=error.file, path="--also") from None


def tell(
    played: Sequence[Played], *, as_json: bool = False, report: Path | None = None, also: Sequence[Path] = ()
) -> None:
    """The comparison of what was played; as one JSON object; and as a report in a file.

    `also`: folders of other runs and of sweeps that the report tells of as well.
    """
    verdicts = [run.as_dict() for run in played]
    if as_json:
        print(json.dumps({"runs": verdicts}, ensure_ascii=False), flush=True)
    elif verdicts:
        _show(played, verdicts)
    if report is not None and played:
        from analysis.reports import in_form_of  # see above

        frames = load(*(run.folder for run in played), *also, partial=True)
        output.write(in_form_of(report, frames), report)
        if not as_json:
            print(f"Report: {report}", flush=True)


def _show(played: Sequence[Played], verdicts: Sequence[Mapping[str, Any]]) -> None:
    show(comparison(verdicts, [run.measures for run in played]))
    for run in played:
        if run.error is not None:
            face.say(f"{run.planned.title}: {run.error}; what there is of it is in {run.folder}")
        for remark in run.remarks:
            print(f"{run.planned.title}: {remark}")
        for name in run.verdict.violated():
            print(f"{run.planned.title}: {run.verdict.findings[name].sentence}")
        if run.verdict.replicas is not None:
            _tell_replicas(run)
    print("Runs: " + ", ".join(str(run.folder) for run in played), flush=True)


def _tell_replicas(run: Played) -> None:
    """What the members' replicas came to; of repetitions only the first is told at length."""
    summary = run.verdict.replicas
    if run.planned.repeat and not summary["faults"]:
        print(f"{run.planned.title}: {summary['sentence']}")
        return
    parts = [replicas.describe(summary), replicas.details_in_words(run.measures["replicas"])]
    print(f"{run.planned.title}: " + "\n".join(filter(None, parts)) + "\n")

"""The folder of one run: its name, its opening document, and whether it is complete."""

from __future__ import annotations

import json
import platform
import subprocess
import sysconfig
from dataclasses import asdict
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Any, Literal

from comparison_server.run_folder import PARTIAL
from experiments.command_line import command_of
from experiments.scenario import Scenario, as_written
from peer.core.errors import SettingsError
from peer.core.settings import RunSettings


def run_folder_name(scenario: Scenario, settings: RunSettings, world: str, repeat: int | None = None) -> str:
    """`<scenario>-<world>-<ordering>[-<variant>]-<seed>[-<repeat>]`; repeat: None where there is but one."""
    ordering = settings.stack.ordering
    parts = [scenario.name, world, ordering.name, ordering.options.get("variant"), scenario.seed, repeat]
    return "-".join(str(part) for part in parts if part is not None)


def fresh_folder(out: Path | str, name: str) -> Path:
    """A new folder in `out`, marked as partial; where the name is taken it gets the next free suffix: name.2, ..."""
    for number in count(1):
        folder = Path(out) / (name if number == 1 else f"{name}.{number}")
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir()  # of two runs that want the same name at the same time one gets it
            (folder / PARTIAL).write_text("This run has not come to its end.\n", encoding="utf-8")
            return folder
        except FileExistsError:
            if not folder.exists():  # then a file is where `out` should be
                raise SettingsError(f"{folder.parent} is not a folder", path="--out") from None
        except OSError as error:
            raise SettingsError(f"{folder} cannot be made: {error.strerror}", path="--out") from None
    raise AssertionError("there is always a next number")


def mark_complete(folder: Path) -> None:
    """The run came to its end and everything of it is in the folder."""
    (folder / PARTIAL).unlink(missing_ok=True)


def is_complete(folder: Path) -> bool:
    """Whether a folder holds a whole run."""
    return (folder / "scenario.json").is_file() and not (folder / PARTIAL).exists()


def write_scenario(
    folder: Path,
    scenario: Scenario,
    settings: RunSettings,
    world: str,
    clock: Literal["shared", "own"],
    repeat: int = 0,
) -> None:
    """`scenario.json`: what ran, exactly, and what it ran on. `clock`: may two peers' times be compared?"""
    document = {
        "scenario": as_written(scenario),
        "settings": asdict(settings),
        "ordering": settings.stack.ordering.name,
        "variant": settings.stack.ordering.options.get("variant"),
        "world": world,
        "clock": clock,
        "seed": scenario.seed,
        "repeat": repeat,
        "command": command_of(scenario, settings, world, repeat),
        "commit": commit(),
        "versions": versions(),
    }
    text = json.dumps(document, indent=2, ensure_ascii=False)
    (folder / "scenario.json").write_text(text + "\n", encoding="utf-8")


def versions() -> dict[str, Any]:
    """The Python and the system that this runs on; `pgo`: was that Python built with the guidance of a profile?"""
    arguments = sysconfig.get_config_var("CONFIG_ARGS")
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "pgo": None if arguments is None else "--enable-optimizations" in arguments,
        "platform": platform.platform(),
    }


@lru_cache
def commit() -> str | None:
    """The commit of this program's own sources, as it was when that was first asked."""
    return commit_of(Path(__file__).resolve().parent.parent)


def commit_of(root: Path) -> str | None:
    """The commit of the sources in a folder; None where they are not a git checkout."""
    command = ["git", "rev-parse", "--show-toplevel", "HEAD"]
    try:
        answer = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = answer.stdout.split("\n")
    inside_another = Path(lines[0]).resolve() != root  # unpacked inside some other repository
    return None if answer.returncode or inside_another else lines[1]

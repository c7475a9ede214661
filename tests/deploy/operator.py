"""An operator with a shell on the operator's machine of a rehearsal cloud: runs fab there as a person would."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from deploy.rehearsal.cloud import Rehearsal

ROOT = Path(__file__).parents[2]
FAB = str(Path(sys.executable).with_name("fab"))
OF_A_SLOW_MACHINE = re.compile(r"\S+( \S+)* (was without connection|stood still) for [\d.]+ s\b.*")


def remarks_of(run: dict[str, Any]) -> list[str]:
    """What is remarked on a run, but for what a machine that is slow enough adds to any."""
    return [remark for remark in run["remarks"] if not OF_A_SLOW_MACHINE.fullmatch(remark)]


def comes_to(wanted: Any, look: Callable[[], Any], timeout_s: float = 20.0) -> bool:
    """Whether what is seen becomes what is wanted; a helper of what was asked last may still be ending on a host."""
    until = monotonic() + timeout_s
    while (seen := look()) != wanted:
        assert monotonic() < until, seen
        sleep(0.05)
    return True


@dataclass
class Said:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str

    def line_of(self, host: str) -> str:
        """The result of one host: there is exactly one line of it."""
        lines = [line for line in self.out.splitlines() if re.match(rf"{re.escape(host)}\s", line)]
        assert len(lines) == 1, f"{host} has {len(lines)} lines in\n{self}"
        return lines[0][len(host) :].strip()

    def __str__(self) -> str:
        return f"exit {self.code}\n{self.out}\n{self.err}"


class Operator:
    """One person with a folder of their own."""

    def __init__(self, cloud: Rehearsal, home: Path, root: Path = ROOT, **environment: str) -> None:
        """`root`: where this person has the program; `environment`: what is different with this person's shell."""
        home.mkdir(exist_ok=True)
        self.cloud, self.home, self.root, self.environment = cloud, home, root, environment

    def fab(self, task: str, *more: object, timeout: float = 90, inventory: Path | None = None) -> Said:
        """Run a task to its end."""
        with self.begin(task, *more, inventory=inventory) as process:
            try:
                out, err = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                raise AssertionError(f"fab {task} did not end within {timeout} s: {process.communicate()}") from None
        said = Said(process.returncode, out, err)
        assert "Traceback" not in said.out + said.err, str(said)
        return said

    def begin(self, task: str, *more: object, inventory: Path | None = None, **options: object) -> subprocess.Popen:
        """Start a task."""
        inventory = inventory or self.cloud.inventory
        command = [FAB, "-r", self.root, task, "--inventory", inventory, *map(str, more)]
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        environment = {**os.environ, "COLUMNS": "300", **self.environment}
        return self.cloud.popen(command, cwd=self.home, env=environment, **{**pipes, **options})

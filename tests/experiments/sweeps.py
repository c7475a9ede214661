"""Sweeps for tests: plans, the command as a process, what is left in its folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from time import sleep

from tests.control_client import until

ROOT = Path(__file__).parents[2]
WAIT_S = 300.0  # for what a busy machine does

# 32 runs, some 0.05 s each: enough to be interrupted among them.
PLAN = {
    "name": "small",
    "scenario": "wan-3-sites",
    "set": {"workload.messages": 20},
    "grid": {"ordering": ["unordered", "lamport_all_ack:promise"], "peers": [4, 6], "loss": [0, 0.1]},
    "repeat": 4,
    "seed": 7,
}
RUNS = 32
# And eight that take next to nothing.
QUICK = {
    "name": "quick",
    "scenario": "lan",
    "set": {"workload.messages": 4},
    "grid": {"ordering": ["unordered", "fifo"], "peers": [2], "loss": [0, 0.1]},
    "repeat": 2,
}
QUICK_RUNS = 8


def written(folder: Path, plan: dict) -> Path:
    """The file of a plan."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{plan['name']}.yml"
    file.write_text(json.dumps(plan))  # JSON is YAML
    return file


def contents(folder: Path) -> dict[str, bytes]:
    """Every file in the folder of a sweep, by its path in there."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def finished(folder: Path) -> dict[str, int]:
    """The runs that are there, each with what changes if it were played again."""
    runs = folder / "runs"
    return {run.name: run.stat().st_ino for run in runs.iterdir()} if runs.is_dir() else {}


class Sweeping:
    """The command as a process of its own."""

    def __init__(self, *arguments: object, before: str = "") -> None:
        """`before`: what its program does first, to be another one than it is."""
        command = f"import sys; from comparison_server import face; from experiments.__main__ import app\n{before}\n"
        command += "sys.exit(face.run(app, sys.argv[1:]))"
        self.process = subprocess.Popen(
            [sys.executable, "-c", command, "sweep", *map(str, arguments)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def until_finished(self, folder: Path, count: int) -> None:
        """Wait until there are so many runs."""

        def there() -> bool:
            assert self.process.poll() is None, self.process.communicate()
            return len(finished(folder)) >= count

        until(there, lambda: sleep(0.005), timeout_s=WAIT_S)

    def children(self) -> list[int]:
        """The processes that it has started and that live."""
        tasks = Path(f"/proc/{self.process.pid}/task")
        return [int(pid) for task in tasks.iterdir() for pid in (task / "children").read_text().split()]

    def end(self, how: signal.Signals) -> tuple[int, str, str]:
        """Send it this signal; its exit code and what it said."""
        os.kill(self.process.pid, how)
        return self.said()

    def said(self) -> tuple[int, str, str]:
        """Wait for its end."""
        out, errors = self.process.communicate(timeout=WAIT_S)
        return self.process.returncode, out, errors


def gone(pids: list[int]) -> None:
    """Wait until none of these processes lives."""

    def lives(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False

    until(lambda: not any(map(lives, pids)), lambda: sleep(0.02), timeout_s=20)

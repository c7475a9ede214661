"""How much memory this process has needed at most."""

from __future__ import annotations

import resource
import sys
from pathlib import Path


def peak_mb() -> float:
    """In megabytes. Linux counts in `ru_maxrss` what the process that started this one needed; its own is elsewhere."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)

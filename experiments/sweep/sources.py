"""Which version of the program plays: a digest of the sources that decide what a run comes to."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
DECIDING = ("peer", "group_manager", "comparison_server", "experiments/simulator", "experiments/play.py")
DIGEST_BYTES = 8


@lru_cache
def digest_of_sources() -> str:
    """Alike where runs with the same settings come out alike; as the sources were when that was first asked."""
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for name in DECIDING:
        path = ROOT / name
        for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
            digest.update(f"{file.relative_to(ROOT).as_posix()}\n".encode() + file.read_bytes())
    return digest.hexdigest()

"""The archive that a host of the lab runs: one file, of sources only, the same to the byte for the same sources."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from peer.drivers.program import ARCHIVE_DIGEST_BYTES

ROOT = Path(__file__).resolve().parents[1]
# A package stands for all its modules; of any other module the packages around it come along.
SHIPS = (
    "peer",
    "group_manager",
    "comparison_server/collector.py",
    "comparison_server/coordinator.py",
    "comparison_server/desk.py",
    "comparison_server/service.py",
    "comparison_server/delivery_log.py",
    "deploy/agent",
)
LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the archive does not say when a file was written, nor by whom, nor for whom
ON_UNIX, PLAIN_FILE = 3, 0o100644

# Understood by every Python 3, so that one that is too old can say so.
MAIN = '''\
"""What a host of the lab runs: one of the programs in this archive."""

import sys

PROGRAMS = {
    "peer": ("peer", "one peer"),
    "group-manager": ("group_manager", "the group manager, which knows who is there"),
    "collector": ("comparison_server.collector", "leads runs by orders, and collects their logs"),
    "agent": ("deploy.agent.loader", "does what an operator asks for, line by line on its standard input"),
}
KNOWN = "\\n".join("  %-15s%s" % (name, about) for name, (_, about) in sorted(PROGRAMS.items()))
HELP = "usage: python3 lab.pyz PROGRAM [OPTION...]\\n\\n%s\\n\\nPROGRAM --help says what each of them takes." % KNOWN


def main(arguments):
    if arguments[:1] in (["--help"], ["-h"]):
        print(HELP)
        return 0
    if sys.version_info < (3, 10):
        print("error: this needs Python 3.10 or later, and here is %d.%d" % sys.version_info[:2], file=sys.stderr)
        return 2
    if not arguments or arguments[0] not in PROGRAMS:
        found = "unknown program %r" % arguments[0] if arguments else "no program is named"
        print("error: %s; known are %s" % (found, ", ".join(sorted(PROGRAMS))), file=sys.stderr)
        return 2
    import runpy

    sys.argv = arguments
    runpy.run_module(PROGRAMS[arguments[0]][0], run_name="__main__", alter_sys=True)
    return 0


sys.exit(main(sys.argv[1:]))
'''


@dataclass(frozen=True, slots=True)
class Bundle:
    """lab.pyz, and the digest by which a host knows whether it has it."""

    data: bytes
    digest: str


def make_bundle(root: Path = ROOT) -> Bundle:
    """The archive of what ships of the sources in this folder."""
    files = {path.relative_to(root).as_posix(): _text_of(path) for path in _sources(root)} | {"__main__.py": MAIN}
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as opened:  # it is compressed on its way, as a whole
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, LONG_AGO)
            entry.create_system, entry.external_attr = ON_UNIX, PLAIN_FILE << 16
            opened.writestr(entry, files[name].encode())
    data = archive.getvalue()
    return Bundle(data, hashlib.blake2b(data, digest_size=ARCHIVE_DIGEST_BYTES).hexdigest())


def _sources(root: Path) -> Iterator[Path]:
    for shipped in SHIPS:
        place = root / shipped
        yield from place.rglob("*.py") if place.is_dir() else [place]
        for parent in Path(shipped).parents:
            if parent.name:
                yield root / parent / "__init__.py"


def _text_of(path: Path) -> str:
    """A source with line ends of one kind, whatever a checkout made of them."""
    return path.read_text(encoding="utf-8")

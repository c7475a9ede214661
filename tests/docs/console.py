r"""Documents whose commands are run: what they print is what the document says they print.

    ```console                  one shell runs all blocks of a document, in a new folder, from top to bottom
    $ command \                 a command goes on where its line ends in a backslash
          --option
    what it prints              exactly, but for spaces at a line's end
    took ... seconds            ... is whatever stands there
    ...                         any number of lines
    ```

A block of code whose first line is `# a/file.name` is written to that file before what follows it is run. A command
ends with exit code 0, unless the next one is `echo $?`. Blocks of other kinds are for reading. A picture of the
document is the file of that name that its commands leave.

    python -m tests.docs.console docs/first-experiment.md      tells what is not so
    python -m tests.docs.console --rewrite docs/*.md           and puts what is printed into the documents
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENT_S = 600  # all commands of a document together
WIDTH = 160  # of what is printed
ANYTHING = "..."
PROMPT = "$ "
MARK = "=== command ended with"

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PICTURE = re.compile(r"!\[[^\]]*\]\(([\w./-]+)\)")
FILE = re.compile(r"# ([\w./-]+\.\w+)\n")


@dataclass(frozen=True, slots=True)
class Command:
    """A command of a document, and what the document says it prints, from line to line."""

    text: str
    printed: tuple[str, ...]
    start: int  # where the lines that it prints begin in the document
    end: int


@dataclass(frozen=True, slots=True)
class File:
    """A file that the reader is asked to write."""

    name: str
    content: str


@dataclass(frozen=True, slots=True)
class Result:
    """What a command printed, and its exit code."""

    lines: tuple[str, ...]
    code: int


# Reading a document


def steps(document: str) -> list[Command | File]:
    """The commands and files of a document, in order."""
    found: list[Command | File] = []
    for fence in FENCE.finditer(document):
        kind, content = fence.groups()
        if kind == "console":
            found += _commands(content, fence.start(2))
        elif named := FILE.match(content):
            found.append(File(named[1], content))
    return found


def _commands(content: str, at: int) -> Iterator[Command]:
    lines = content.splitlines(keepends=True)
    assert lines and lines[0].startswith(PROMPT), f"a block of commands begins with {PROMPT!r}: {content!r}"
    while lines:
        said = [lines.pop(0)]
        while said[-1].endswith("\\\n"):
            said.append(lines.pop(0))
        start = at + sum(map(len, said))
        printed = []
        while lines and not lines[0].startswith(PROMPT):
            printed.append(lines.pop(0))
        at = start + sum(map(len, printed))
        text = "".join(said).removeprefix(PROMPT).rstrip("\n")
        yield Command(text, tuple(line.rstrip() for line in printed), start, at)


# Running it


def results(wanted: Sequence[Command | File], folder: Path) -> list[Result]:
    """What the commands did, one after the other in one shell; a `python` there is this one, and knows the lab."""
    script = "".join(map(_as_script, wanted))
    programs = folder / ".programs"
    programs.mkdir()
    (programs / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (programs / "python").chmod(0o755)
    path = f"{programs}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8", "COLUMNS": str(WIDTH)}
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=DOCUMENT_S,
    )
    *texts, rest = re.split(rf"{MARK} (\d+)\n", done.stdout)
    assert not rest, f"the shell ended within a command: {rest}"
    return [Result(_lines(text), int(code)) for text, code in zip(texts[::2], texts[1::2])]


def _as_script(step: Command | File) -> str:
    """A command and then a mark with its exit code, which the next command still finds in $?."""
    if isinstance(step, Command):
        return f'{step.text}\nended=$?\nprintf "{MARK} %d\\n" $ended\n(exit $ended)\n'
    folder = f"mkdir -p $(dirname {step.name})\n"
    return f"{folder}cat > {step.name} <<'END OF FILE'\n{step.content}END OF FILE\n"


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.rstrip() for line in text.splitlines())


# Comparing


def untrue(document: str, folder: Path, beside: Path = ROOT) -> list[str]:
    """What is not as the document says, a sentence each; its pictures lie `beside` it."""
    wanted = steps(document)
    commands = [step for step in wanted if isinstance(step, Command)]
    complaints = []
    for place, (command, result) in enumerate(zip(commands, results(wanted, folder), strict=True)):
        if not fits(command.printed, result.lines):
            said, found = "\n".join(command.printed), "\n".join(result.lines)
            complaints.append(f"$ {command.text}\nis said to print\n{said}\nand prints\n{found}")
        following = commands[place + 1].text if place + 1 < len(commands) else ""
        if result.code and following != "echo $?":
            complaints.append(f"$ {command.text}\nends with exit code {result.code}:\n" + "\n".join(result.lines))
    for name in PICTURE.findall(document):
        if not (folder / name).is_file() or (folder / name).read_bytes() != (beside / name).read_bytes():
            complaints.append(f"{name} is not the picture that its commands draw")
    return complaints


def fits(expected: Sequence[str], lines: Sequence[str]) -> bool:
    """Whether these lines were expected."""
    whole = "".join(_pattern(line) for line in expected)
    return re.fullmatch(whole, "".join(f"{line}\n" for line in lines)) is not None


def _pattern(line: str) -> str:
    if line.strip() == ANYTHING:
        return r"(?:.*\n)*?"
    return ".*".join(map(re.escape, line.split(ANYTHING))) + r"\n"


# Rewriting


def rewritten(document: str, folder: Path) -> str:
    """The document with what its commands print now, where that is not what it says."""
    wanted = steps(document)
    commands = [step for step in wanted if isinstance(step, Command)]
    for command, result in reversed(list(zip(commands, results(wanted, folder), strict=True))):
        if not fits(command.printed, result.lines):
            text = "".join(f"{line}\n" for line in _with_gaps(command.printed, result.lines))
            document = document[: command.start] + text + document[command.end :]
    return document


def _with_gaps(old: Sequence[str], lines: Sequence[str]) -> list[str]:
    """The new lines, with what the old ones left open left open where that can be told."""
    gaps = [place for place, line in enumerate(old) if line.strip() == ANYTHING]
    if gaps:
        before, after = gaps[0], len(old) - gaps[-1] - 1
        lines = [*lines[:before], ANYTHING, *lines[len(lines) - after :]]
    open_lines = [line for line in old if ANYTHING in line and line.strip() != ANYTHING]
    return [next((each for each in open_lines if fits([each], [line])), line) for line in lines]


def main(arguments: Sequence[str]) -> int:
    """Compares the documents that are named, or rewrites them."""
    rewrite = "--rewrite" in arguments
    wrong = 0
    for path in (Path(argument) for argument in arguments if argument != "--rewrite"):
        document = path.read_text(encoding="utf-8")
        with tempfile.TemporaryDirectory() as folder:
            if rewrite:
                path.write_text(new := rewritten(document, Path(folder)), encoding="utf-8")
                for name in PICTURE.findall(document):
                    shutil.copy(Path(folder, name), path.parent / name)
                print(f"{path}: {'as it was' if new == document else 'rewritten'}")
            else:
                complaints = untrue(document, Path(folder), path.parent)
                wrong += len(complaints)
                print(f"{path}: {len(complaints)} commands do not as it says", *complaints, sep="\n\n")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

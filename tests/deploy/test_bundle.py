"""The archive: equal bytes for equal sources, nothing in it that may not ship, and it runs on a bare Python."""

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from deploy.bundle import MAIN, SHIPS, make_bundle

ROOT = Path(__file__).parents[2]
PYTHONS = [sys.executable, *(["/usr/bin/python3"] if Path("/usr/bin/python3").exists() else [])]


@pytest.fixture(scope="module")
def bundle():
    return make_bundle()


@pytest.fixture
def archive(bundle, tmp_path):
    path = tmp_path / "lab.pyz"
    path.write_bytes(bundle.data)
    return path


def copied(folder: Path) -> Path:
    """The sources once more, as another person's checkout has them."""
    for name in {Path(shipped).parts[0] for shipped in SHIPS}:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def names(bundle) -> set[str]:
    return set(zipfile.ZipFile(io.BytesIO(bundle.data)).namelist())


def ran(python, archive, *arguments, **options):
    command = [python, "-I", "-S", str(archive), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=archive.parent, **options)


def test_the_same_sources_make_the_same_bytes_anywhere(bundle, tmp_path):
    folder = copied(tmp_path / "elsewhere")
    for count, path in enumerate(sorted(folder.rglob("*"))):
        path.chmod(0o700 if path.is_dir() or count % 2 else 0o600)
        os.utime(path, (1_000_000_000 + count, 1_000_000_000 + count))
    for path in folder.rglob("*.py"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    (folder / "peer" / "__pycache__").mkdir()
    (folder / "peer" / "__pycache__" / "stacks.cpython-311.pyc").write_bytes(b"compiled")
    (folder / "peer" / "notes.txt").write_text("not a source")
    assert make_bundle(folder) == bundle


def test_other_sources_make_another_digest(bundle, tmp_path):
    folder = copied(tmp_path / "elsewhere")
    with open(folder / "peer" / "stacks.py", "a") as source:
        source.write("# one more line\n")
    changed = make_bundle(folder)
    assert changed.digest != bundle.digest
    (folder / "peer" / "one_more.py").write_text("")
    assert names(make_bundle(folder)) - names(bundle) == {"peer/one_more.py"}


def test_the_digest_is_of_the_bytes(bundle):
    assert bundle.digest == hashlib.blake2b(bundle.data, digest_size=16).hexdigest()


def test_it_holds_what_ships_and_nothing_else(bundle):
    may_ship = {
        *(
            path.relative_to(ROOT).as_posix()
            for folder in ("peer", "group_manager", "deploy/agent")
            for path in (ROOT / folder).rglob("*.py")
        ),
        *(f"comparison_server/{name}.py" for name in ("__init__", "collector", "coordinator", "desk")),
        *(f"comparison_server/{name}.py" for name in ("service", "delivery_log")),
        "deploy/__init__.py",
        "__main__.py",
    }  # fmt: skip
    assert names(bundle) == may_ship
    assert {"peer/__main__.py", "group_manager/service.py", "comparison_server/delivery_log.py"} <= may_ship
    assert not any("__pycache__" in name or "numpy" in name for name in names(bundle))


@pytest.mark.parametrize("python", PYTHONS)
def test_its_programs_run_on_the_standard_library_alone(archive, python):
    programs = {"peer": "--manager HOST:PORT", "group-manager": "--bind HOST:PORT", "collector": "--desk DIR"}
    for program, said in programs.items():
        done = ran(python, archive, program, "--help")
        assert done.returncode == 0 and said in done.stdout, done.stderr


def test_its_agent_answers_from_the_archive(archive, bundle, tmp_path):
    place = tmp_path / ".ordering-lab" / "demo" / "lab.pyz"
    place.parent.mkdir(parents=True)
    place.write_bytes(bundle.data)
    request = {"lab": "demo", "digest": bundle.digest, "size": 0, "payload": 0, "limit_s": 30}
    asked = json.dumps(request | {"action": "look", "bind": "127.0.0.1", "ports": []}) + "\n"
    for python in PYTHONS:
        done = ran(python, archive, "agent", input=asked, env={"HOME": str(tmp_path)})
        said = [json.loads(line.removeprefix("=lab= ")) for line in done.stdout.splitlines() if line]
        assert said[0] == {"has": True} and said[1]["done"]["ports"] == [], done.stderr
        assert done.returncode == 0


def test_a_program_ends_with_its_own_exit_code_and_sentence(archive):
    done = ran(sys.executable, archive, "peer", "--no-such-option")
    assert done.returncode == 2 and "--no-such-option (--help shows what is known)" in done.stderr


def test_all_its_modules_can_be_imported_on_the_standard_library_alone(archive, bundle):
    modules = sorted(name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in names(bundle))
    modules = [name for name in modules if not name.endswith("__main__")]
    code = f"import sys, importlib; sys.path.insert(0, {str(archive)!r})\n"
    code += f"print(all(importlib.import_module(name).__file__.startswith({str(archive)!r}) for name in {modules!r}))"
    for python in PYTHONS:
        done = subprocess.run([python, "-I", "-S", "-c", code], capture_output=True, text=True, timeout=60)
        assert done.stdout == "True\n", done.stderr


def test_it_says_what_is_known(archive):
    helped, without, unknown = (ran(sys.executable, archive, *words) for words in (["--help"], [], ["judge"]))
    assert helped.returncode == 0
    known = ["agent", "collector", "group-manager", "peer"]
    assert [line.split()[0] for line in helped.stdout.splitlines()[2:6]] == known
    assert (without.returncode, without.stderr) == (
        2,
        f"error: no program is named; known are {', '.join(known)}\n",
    )
    assert unknown.returncode == 2
    assert unknown.stderr == f"error: unknown program 'judge'; known are {', '.join(known)}\n"


def test_a_python_that_is_too_old_is_told_in_one_sentence():
    code = f"import sys; sys.version_info, sys.argv = (3, 8, 0), ['lab.pyz', 'peer']\n{MAIN}"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (2, "error: this needs Python 3.10 or later, and here is 3.8\n")

"""The loader under real Pythons, as a program that is spoken to over its standard streams."""

from __future__ import annotations

import ast
import json
import os
import shutil
import signal
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from deploy.agent import loader
from deploy.bundle import Bundle, make_bundle
from deploy.remote import command

ANSWER_S = 60
PYTHONS = sorted({os.path.realpath(python) for python in (sys.executable, "/usr/bin/python3") if Path(python).exists()})
SHELLS = list(filter(shutil.which, ["sh", "bash", "dash", "zsh", "fish", "tcsh", "ksh"]))
OLD = 'import sys; sys.version_info = (3, 8, 10, "final", 0)\n'
SOURCE = Path(loader.__file__).read_text()


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return make_bundle()


def request_of(bundle: Bundle, action: str = "status", **fields: object) -> dict:
    compressed = zlib.compress(bundle.data)
    said = {"lab": "demo", "digest": bundle.digest, "size": len(compressed), "payload": 0, "limit_s": ANSWER_S}
    return {**said, "action": action, **fields}


def run(stdin: bytes, home: Path | str, argv: list[str] | None = None, **options: object) -> list[dict]:
    """Everything that it says, and nothing else is printed."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(home)}
    argv = argv or ["sh", "-c", command()]
    done = subprocess.run(argv, input=stdin, capture_output=True, env=environment, timeout=ANSWER_S, **options)
    assert done.stderr == b""
    return messages(done.stdout)


def messages(said: bytes) -> list[dict]:
    lines = [line for line in said.decode().splitlines() if line]
    assert all(line.startswith(loader.MARK) for line in lines), lines
    return [json.loads(line.removeprefix(loader.MARK)) for line in lines]


def whole(bundle: Bundle, **fields: object) -> bytes:
    """A request with the archive right behind it, whether it will be asked for or not."""
    return json.dumps(request_of(bundle, **fields)).encode() + b"\n" + zlib.compress(bundle.data)


# Whatever Python there is.


def test_point_10_its_syntax_is_that_of_old_pythons():
    ast.parse(SOURCE, feature_version=(3, 4))
    for newer in ("f'{x}'", "x: int = 1", "async def f(): return [x async for x in y]"):
        with pytest.raises(SyntaxError):
            ast.parse(newer, feature_version=(3, 4))
    tree = ast.parse(SOURCE)
    assert not any(isinstance(node, ast.JoinedStr) for node in ast.walk(tree))
    assert not any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in ast.walk(tree))


def test_point_10_an_old_python_says_so_in_one_sentence(tmp_path, bundle):
    said = run(whole(bundle), tmp_path, [sys.executable, "-I", "-c", OLD + SOURCE])
    assert said == [{"failed": "its python3 is 3.8, and 3.10 or later is needed", "kind": "old python"}]


def test_point_10_no_python_is_said_in_one_sentence(tmp_path, bundle):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sh").symlink_to(shutil.which("sh"))
    argv = [shutil.which("env"), f"PATH={tmp_path}/bin", "sh", "-c", command()]
    assert [reply["kind"] for reply in run(whole(bundle), tmp_path, argv)] == ["no python"]


@pytest.mark.parametrize("shell", SHELLS)
def test_every_login_shell_takes_the_command(shell, tmp_path, bundle):
    said = run(whole(bundle), tmp_path, [shell, "-c", command()])
    assert said[0] == {"has": False} and said[1]["done"]["deployed"] == ""


@pytest.mark.parametrize("python", PYTHONS)
def test_every_python_here_answers(python, tmp_path, bundle):
    said = run(whole(bundle), tmp_path, [python, "-I", "-c", SOURCE])
    assert [*said[0], *said[1]] == ["has", "done"]


# What it leaves: nothing.


def test_the_archive_is_asked_for_once(tmp_path, bundle):
    first = run(whole(bundle, action="deploy", key="ab" * 16), tmp_path)
    assert first == [{"has": False}, {"done": {"changed": ["archive", "key", "settings"], "outdated": []}}]
    again = run(json.dumps(request_of(bundle)).encode() + b"\n", tmp_path)
    assert again[0] == {"has": True} and again[1]["done"]["deployed"] == bundle.digest


def test_a_damaged_archive_on_the_host_is_replaced(tmp_path, bundle):
    run(whole(bundle, action="deploy", key="ab" * 16), tmp_path)
    archive = tmp_path / ".ordering-lab" / "demo" / "lab.pyz"
    archive.write_bytes(archive.read_bytes()[:-1])
    said = run(whole(bundle, action="deploy", key="ab" * 16), tmp_path)
    assert said == [{"has": False}, {"done": {"changed": ["archive"], "outdated": []}}]


def test_an_archive_that_is_not_what_its_digest_says_is_not_run(tmp_path, bundle):
    said = run(whole(bundle, digest="00" * 16), tmp_path)
    assert said[1]["kind"] == "fault" and "digest" in said[1]["failed"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_loader_that_is_ended_leaves_nothing(number, tmp_path, bundle):
    home, scratch = tmp_path / "home", tmp_path / "tmp"
    home.mkdir(), scratch.mkdir()
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(scratch)}
    pipe = subprocess.PIPE
    with subprocess.Popen(["sh", "-c", command()], stdin=pipe, stdout=pipe, stderr=pipe, env=environment) as process:
        process.stdin.write(json.dumps(request_of(bundle)).encode() + b"\n" + zlib.compress(bundle.data)[:1000])
        process.stdin.flush()
        assert messages(process.stdout.readline() + process.stdout.readline()) == [{"has": False}]
        process.send_signal(number)
        assert process.wait(ANSWER_S) in (128 + number, -number)
        assert process.stderr.read() == b""
    assert [*home.iterdir(), *scratch.iterdir()] == []


@pytest.mark.parametrize("cut", [0, 10, -1])
def test_an_operator_who_goes_away_ends_it_quietly(cut, tmp_path, bundle):
    done = subprocess.run(
        ["sh", "-c", command()],
        input=whole(bundle)[: cut or 0],
        capture_output=True,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        timeout=ANSWER_S,
    )
    assert done.returncode == 1 and done.stderr == b""
    assert list(tmp_path.iterdir()) == []


def test_nobody_who_listens_ends_it_quietly(tmp_path, bundle):
    pipe = subprocess.PIPE
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    with subprocess.Popen(["sh", "-c", command()], stdin=pipe, stdout=pipe, stderr=pipe, env=environment) as process:
        process.stdout.close()
        try:
            process.stdin.write(whole(bundle))
            process.stdin.close()
        except BrokenPipeError:
            pass
        process.stdin = None
        assert process.wait(ANSWER_S) == 1
        assert process.stderr.read() == b""


def test_a_request_that_takes_longer_than_it_may_is_ended(tmp_path, bundle):
    pipe = subprocess.PIPE
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    with subprocess.Popen(["sh", "-c", command()], stdin=pipe, stdout=pipe, stderr=pipe, env=environment) as process:
        process.stdin.write(json.dumps(request_of(bundle, limit_s=0.1)).encode() + b"\n")
        process.stdin.flush()  # and the archive never comes
        assert process.wait(ANSWER_S) == 128 + signal.SIGALRM


# Hosts on which nothing can be written.


def on_a_disk(mount: str, home: Path) -> list[str]:
    """The command, with a file system of its own as its home that nobody else sees."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("needs root, to mount a disk of its own")
    return ["unshare", "-m", "sh", "-c", f"mount -t tmpfs -o {mount} none {home} && exec sh -c '{quoted()}'"]


def quoted() -> str:
    return command().replace("'", "'\"'\"'")


def test_point_10_a_full_disk_is_said_and_what_was_there_stays(tmp_path, bundle):
    said = run(whole(bundle, action="deploy", key="ab" * 16), tmp_path, on_a_disk("size=64k", tmp_path))
    assert said[0] == {"has": False} and said[1]["kind"] == "disk full"
    assert "full (" in said[1]["failed"] and "make room" in said[1]["failed"]
    keep = f"mount -t tmpfs -o size=1M none {tmp_path} && mkdir -p {tmp_path}/.ordering-lab/demo && "
    keep += f"echo old > {tmp_path}/.ordering-lab/demo/lab.pyz && head -c 1000000 /dev/zero > {tmp_path}/ballast; "
    there = "ls -A | tr '\\n' ' '"
    after = f'; cd {tmp_path}/.ordering-lab/demo; echo \'{loader.MARK}\'[\\"$({there})\\", \\"$(cat lab.pyz)\\"]'
    on_a_disk("", tmp_path)
    script = f"{keep} sh -c '{quoted()}'{after}"
    said = run(whole(bundle, action="deploy", key="ab" * 16), tmp_path, ["unshare", "-m", "sh", "-c", script])
    assert said[1]["kind"] == "disk full"
    assert said[2] == ["lab.pyz logs peers ", "old"], "the old archive is there, and no half of the new one"


def test_point_10_a_full_disk_is_no_reason_not_to_answer(tmp_path, bundle):
    said = run(whole(bundle), tmp_path, on_a_disk("size=4k,nr_inodes=2", tmp_path))
    assert said[1]["done"]["peers"] == {}


def test_a_home_that_may_not_be_written_is_said(tmp_path, bundle):
    said = run(whole(bundle, action="deploy", key="ab" * 16), tmp_path, on_a_disk("ro", tmp_path))
    assert said[1]["kind"] == "no home" and str(tmp_path) in said[1]["failed"]


@pytest.mark.parametrize("action, kind", [("deploy", "no home"), ("start", "not deployed"), ("key", "not deployed")])
def test_a_home_that_is_not_there_is_said(action, kind, bundle):
    said = run(whole(bundle, action=action, key="ab" * 16, group="demo", peers=[]), "/nonexistent/home")
    assert said[1]["kind"] == kind


@pytest.mark.parametrize("action", ["status", "stop", "clean", "files", "logs"])
def test_nothing_there_is_nothing_to_fail_about(action, bundle):
    said = run(whole(bundle, action=action), "/nonexistent/home")
    assert "done" in said[1], said


def test_what_goes_wrong_in_the_agent_itself_is_said_with_where(tmp_path, bundle):
    said = run(whole(bundle, action="no such action"), tmp_path)
    assert said[1]["kind"] == "fault" and "Traceback" in said[1]["detail"]

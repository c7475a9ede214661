"""The programs at their edges: Ctrl-C while they load, help, and what they say of words that they cannot use."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from peer.core.errors import BAD_SETTINGS, INTERRUPTED

ROOT = Path(__file__).parents[1]
PROGRAMS = ("comparison_server", "experiments", "analysis", "group_manager", "peer")
WAIT_S = 60


def said(place, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=WAIT_S,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("program", PROGRAMS)
def test_ctrl_c_while_a_program_loads_ends_it_without_a_traceback(program, tmp_path):
    (tmp_path / "selectors.py").write_text("print('loading', flush=True)\ninput()\n")  # all of them want this one
    process = subprocess.Popen(
        [sys.executable, "-m", program, "--help"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "loading\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(WAIT_S) == INTERRUPTED
    assert process.communicate() == ("", "interrupted\n")


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_has_an_example(program, tmp_path):
    code, out, err = said(tmp_path, program, "--help")
    assert (code, err) == (0, "") and f"python -m {program} " in out and re.search("[Ee]xample:", out)


@pytest.mark.parametrize("program", ["experiments", "analysis"])
def test_no_command_shows_which_there_are(program, tmp_path):
    code, out, err = said(tmp_path, program)
    assert (code, out) == (BAD_SETTINGS, "") and err.startswith(f"Usage: python -m {program}") and "Example" in err


@pytest.mark.parametrize("program", ["comparison_server", "experiments"])
def test_what_takes_a_while_to_import_waits_until_it_is_needed(program):
    late = {"altair", "dask", "fabric", "pandas", "paramiko", "prompt_toolkit", "pyarrow", "starlette", "uvicorn"}
    code = f"import sys, {program}.__main__\nprint({late} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=WAIT_S)
    assert (done.stdout, done.stderr) == ("set()\n", "")


@pytest.mark.parametrize(
    "words, sentence",
    [
        ("peer --orphan-s -1", "--orphan-s: expected seconds, 0 or more, found '-1'"),
        ("peer --orphan-s nan", "--orphan-s: expected seconds, 0 or more, found 'nan'"),
        ("peer --manager ana:99999", "--manager: expected HOST:PORT with a port from 0 to 65535, found 'ana:99999'"),
        ("peer --manager ::1", "--manager: expected HOST:PORT with a name or an IPv4 address, found '::1'"),
        ("group_manager --bind a..b:0", "cannot listen on a..b:0: that is no name of a host"),
        ("peer --server ana:", "--server: expected HOST:PORT, found 'ana:'"),
        ("peer --nonsense", "unrecognized arguments: --nonsense"),
        ("group_manager --bind :99999", "--bind: expected HOST:PORT with a port from 0 to 65535, found ':99999'"),
        ("group_manager --child-of me", "argument --child-of: invalid int value: 'me'"),
        ("comparison_server --bind a:1e3", "--bind: expected HOST:PORT, found 'a:1e3'"),
        ("comparison_server --advertise a:-1", "--advertise: expected HOST:PORT, found 'a:-1'"),
        ("comparison_server --manager a:65536", "--manager: expected HOST:PORT with a port from 0 to 65535"),
        ("comparison_server --wait-s -1", "Invalid value for '--wait-s'"),
        (
            "comparison_server --ordering all",
            "--ordering: expected one ordering, found all; known are unordered, fifo,",
        ),
        ("comparison_server --ordering all:variants", "--ordering: expected one ordering, found all:variants"),
        ("experiments sim --peers 0", "--peers: expected 1 to 255, found 0"),
        ("experiments sim --peers 4 --messages 134217729", "--messages: expected 0 to 134,217,728 for 4 peers, found"),
        ("experiments sim --ordering x", "--ordering: unknown ordering x; known are unordered, "),
        ("experiments sim --set workload.messages=x", "--set workload.messages: expected a valid integer"),
        ("experiments local --loss 2", "--loss: expected 0 to 1, found 2"),
        ("experiments play", "No such command 'play'"),
    ],
)
def test_what_cannot_be_is_one_sentence_that_begins_alike(words, sentence, tmp_path):
    code, out, err = said(tmp_path, *words.split())
    assert (code, out) == (BAD_SETTINGS, "")
    assert err.startswith("error: ") and err.count("\n") == 1 and sentence in err

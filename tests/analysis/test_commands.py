"""The command line of analysis: what it writes where, and what it says when it cannot."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from analysis import load, output
from analysis.__main__ import app
from analysis.columns import FRAMES
from analysis.exporters import EXPORTERS, FRAME_FORMS, SENDS
from analysis.run import load_run
from comparison_server import face

ROOT = Path(__file__).parents[2]


@pytest.fixture
def command(capsysbinary):
    def command(*arguments):
        code = face.run(app, [str(argument) for argument in arguments])
        printed = capsysbinary.readouterr()
        return code, printed.out.decode(), printed.err.decode()

    return command


def test_an_export_goes_to_standard_output(command, lossy):
    for to, exporter in EXPORTERS.items():
        if to != "parquet":  # no text
            expected = b"".join(exporter(load_run(lossy["fifo"]))).decode()
            assert command("export", lossy["fifo"], "--to", to) == (0, expected, "")


def test_a_file_of_bytes_goes_anywhere_but_to_a_terminal(command, lossy, tmp_path, monkeypatch):
    out = tmp_path / "deliveries.parquet"
    assert command("export", lossy["fifo"], "--to", "parquet", "--out", out) == (0, "", "")
    assert out.read_bytes() == b"".join(EXPORTERS["parquet"](load_run(lossy["fifo"])))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    code, printed, err = command("export", lossy["fifo"], "--to", "parquet")
    assert (code, printed) == (2, "") and "a terminal cannot show it; name a file" in err


def test_an_export_goes_into_files_and_replaces_them(command, lossy, tmp_path):
    out, sends = tmp_path / "deliveries.csv", tmp_path / "sends.csv"
    out.write_text("what was there before")
    for name in ("fifo", "unordered"):
        assert command("export", lossy[name], "--to", "csv", "--out", out, "--sends", sends) == (0, "", "")
        assert out.read_bytes() == b"".join(EXPORTERS["csv"](load_run(lossy[name])))
        assert sends.read_bytes() == b"".join(SENDS["csv"](load_run(lossy[name])))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deliveries.csv", "sends.csv"]


@pytest.mark.parametrize("to", FRAME_FORMS)
def test_all_tables_of_several_runs(command, lossy, tmp_path, to):
    tables = tmp_path / "some" / "tables"
    assert command("export", *lossy.values(), "--to", to, "--frames", tables) == (0, "", "")
    assert sorted(path.name for path in tables.iterdir()) == sorted(f"{name}.{to}" for name in FRAMES)
    lab = load(*lossy.values())
    for name in FRAMES:
        assert (tables / f"{name}.{to}").read_bytes() == b"".join(FRAME_FORMS[to](name, lab.stream(name)))


def test_a_log_that_is_too_long_for_shiviz_is_exported_with_a_note(command, lossy, monkeypatch):
    monkeypatch.setattr("analysis.exporters.shiviz.MANY_EVENTS", 299)
    code, out, err = command("export", lossy["fifo"], "--to", "shiviz")
    assert code == 0 and out.count("\n") == 302 and err.startswith("note: 300 events; ShiViz draws some thousands")


def test_a_file_is_replaced_as_a_whole_or_not_at_all(tmp_path):
    def parts():
        yield b"half of "
        raise OSError(28, "No space left on device")

    out = tmp_path / "out"
    out.write_text("as it was")
    with pytest.raises(OSError, match="No space left") as caught:
        output.write(parts(), out)
    assert caught.value.filename == str(out)
    assert out.read_text() == "as it was" and list(tmp_path.iterdir()) == [out]


def test_a_folder_that_is_not_there_is_made(tmp_path):
    output.write([b"all of it"], tmp_path / "a" / "b" / "out")
    assert (tmp_path / "a" / "b" / "out").read_bytes() == b"all of it"


def test_a_dash_is_standard_output_for_one_of_two(command, lossy, tmp_path):
    run, out = lossy["fifo"], tmp_path / "out"
    deliveries, sends = (b"".join(table["csv"](load_run(run))).decode() for table in (EXPORTERS, SENDS))
    assert command("export", run, "--to", "csv", "--out", "-") == (0, deliveries, "")
    assert command("export", run, "--to", "csv", "--out", out, "--sends", "-") == (0, sends, "")
    assert out.read_text() == deliveries
    for both in (["--sends", "-"], ["--out", "-", "--sends", "-"]):
        code, told, err = command("export", run, "--to", "csv", *both)
        assert (code, told) == (2, "") and "one file cannot hold both" in err
    assert not Path("-").exists()


def test_a_link_stays_a_link_and_a_pipe_a_pipe(tmp_path):
    link, pipe = tmp_path / "link", tmp_path / "pipe"
    link.symlink_to(tmp_path / "file")
    output.write([b"through a link"], link)
    assert link.is_symlink() and (tmp_path / "file").read_text() == "through a link"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    output.write([b"through ", b"a pipe"], pipe)
    assert pipe.is_fifo() and os.read(reader, 100) == b"through a pipe"
    os.close(reader)


@pytest.mark.parametrize(
    "arguments, code, sentence",
    [
        (["export", "RUN", "--to", "xml"], 2, "--to: unknown form 'xml'; known are csv, text, parquet, jsonl, shiviz"),
        (["export", "RUN", "RUN", "--to", "csv"], 2, "of 2 runs only tables can be written; say --frames DIR"),
        (["export", "RUN", "--to", "text", "--frames", "OUT/t"], 2, "as 'text'; they can as csv, parquet, jsonl"),
        (["export", "RUN", "--to", "csv", "--frames", "OUT/t", "--out", "OUT/a"], 2, "leave out --out and --sends"),
        (["export", "RUN", "--to", "csv", "--frames", "RUN/verdict.json"], 2, "expected a folder, found a file"),
        (["export", "RUN", "RUN", "--to", "csv", "--frames", "OUT/t"], 2, "is given twice"),
        (["export", "OUT", "--to", "csv", "--frames", "OUT/t"], 2, "neither the folder of a run nor that of a sweep"),
        (["export", "RUN", "--to", "text", "--sends", "OUT/s"], 2, "--sends: text has no second file; csv has one"),
        (["export", "RUN", "--to", "csv", "--sends", "OUT/a", "--out", "OUT/a"], 2, "--sends: one file cannot"),
        (["export", "RUN", "--to", "csv", "--out", "OUT"], 2, ": expected a file, found a folder"),
        (["export", "RUN", "--to", "csv", "--out", "RUN/trace-0.bin/a"], 2, "trace-0.bin is a file, and no folder"),
        (["export", "RUN"], 2, "Missing option '--to'"),
        (["export", "OUT", "--to", "csv"], 2, "not the folder of a run"),
        (["report", "RUN", "OUT/none"], 2, "none: there is no such folder"),
        (["report"], 2, "Missing argument"),
        (["draw", "RUN"], 2, "No such command 'draw'"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_sentence(command, lossy, tmp_path, arguments, code, sentence):
    places = {"RUN": str(lossy["fifo"]), "OUT": str(tmp_path)}
    for name, place in places.items():
        arguments = [argument.replace(name, place) for argument in arguments]
    ended, out, err = command(*arguments)
    assert (ended, out) == (code, "") and err.startswith("error: ") and sentence in err and err.count("\n") == 1
    assert not any(tmp_path.iterdir())


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("words", [["report"], ["export", "--to", "csv"], ["diagram"]])
def test_where_nothing_can_be_written_is_said_before_anything_is_read(command, tmp_path, words):
    os.seteuid(65534)
    try:
        ended, out, err = command(*words, "unread", "--out", f"/{tmp_path.name}/x.html")
    finally:
        os.seteuid(0)
    assert (ended, out) == (2, "") and ": cannot be written: / may not be written to; name another file\n" in err


def test_partial_runs_on_request(command, copied):
    (copied / "partial").write_text("")
    for words in (["report", copied], ["export", copied, "--to", "csv"], ["diagram", copied]):
        code, _, err = command(*words)
        assert code == 2 and "; --partial takes what there is of it" in err
    code, out, _ = command("report", "--partial", copied)
    assert code == 0 and "This run did not come to its end" in out
    assert command("export", "--partial", copied, "--to", "csv")[0] == 0


def test_a_report_goes_into_a_file(command, lossy, tmp_path):
    _, out, _ = command("report", lossy["fifo"], lossy["unordered"])
    assert command("report", lossy["fifo"], lossy["unordered"], "--out", tmp_path / "report.txt") == (0, "", "")
    assert (tmp_path / "report.txt").read_text() == out and out.startswith("2 runs of multicast orderings\n")


@pytest.mark.parametrize("name", ["report", "export"])
def test_help_has_an_example(command, name):
    code, out, _ = command(name, "--help")
    assert code == 0 and f"Example: python -m analysis {name} runs/" in out


def test_whoever_reads_may_stop(lossy):
    arguments = [sys.executable, "-m", "analysis", "export", str(lossy["fifo"]), "--to", "text"]
    with subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()  # before it has begun to write
        err = process.stderr.read()
        assert process.wait(60) == 0 and err == b""


def test_the_commands_judge_and_export_fit_together(lossy, tmp_path):
    """As a person would do it, in processes of their own."""

    def run(*arguments):
        done = subprocess.run([sys.executable, "-m", *map(str, arguments)], cwd=ROOT, capture_output=True, timeout=120)
        assert done.stderr == b"", done.stderr
        return done.returncode, done.stdout

    files = tmp_path / "deliveries.csv", tmp_path / "sends.csv"
    run("analysis", "export", lossy["fifo"], "--to", "csv", "--out", files[0], "--sends", files[1])
    code, out = run("comparison_server", "judge", *files, "--json", "--expect", "fifo,agreement,validity,integrity")
    assert code == 0
    code, of_run = run("comparison_server", "judge", lossy["fifo"], "--json")
    verdict, of_run = json.loads(out), json.loads(of_run)
    assert verdict["first_divergence"] == of_run["first_divergence"] is not None
    holds = {name: each["holds"] for name, each in verdict["properties"].items()}
    assert holds == {name: each["holds"] for name, each in of_run["properties"].items()}
    assert holds["causal"] is False and holds["fifo"] is True
    code, _ = run("comparison_server", "judge", *files, "--expect", "total")
    assert code == 1

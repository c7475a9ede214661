"""The command `judge`: what it prints, and the codes it ends with."""

import json

import pytest
import typer

from comparison_server import face
from comparison_server.judge import judge
from comparison_server.properties import PROPERTIES
from peer.core.trace import DELIVERED, DELIVERY_RECORD, SEAL, pack_header

app = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None)
app.command()(judge)


@pytest.fixture
def command(capsys):
    def command(*arguments):
        code = face.run(app, [str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return command


@pytest.fixture
def files(tmp_path):
    (tmp_path / "ana.csv").write_text("ana,1\nbob,1\nana,2\n")
    (tmp_path / "bob.csv").write_text("ana,1\nana,2\nbob,1\n")
    return [tmp_path / "ana.csv", tmp_path / "bob.csv"]


def test_it_prints_the_verdict_and_ends_with_zero(command, files):
    code, out, err = command(*files)
    assert (code, err) == (0, "")
    assert "3 rounds, 2 out of order (0 short, 2 disordered)." in out
    assert all(name in out for name in PROPERTIES)


def test_json_is_one_object_and_nothing_else(command, files):
    _, out, _ = command(*files, "--json", "--inversions")
    verdict = json.loads(out)
    assert verdict["peers"] == 2 and verdict["inversions"] == 1 and verdict["properties"]["total"]["holds"] is False
    assert verdict["properties"]["total"]["promised"] is False


@pytest.mark.parametrize(
    ("expect", "code"), [("agreement, integrity", 0), ("agreement,total", 1), ("causal", 0), ("totl", 2), ("", 0)]
)
def test_it_ends_as_expected(command, files, expect, code):
    ended, out, err = command(*files, "--expect", expect)
    assert ended == code
    if code == 2:
        assert out == "" and err.startswith("error: --expect: there is no property totl; there are validity")


def test_a_bad_file_is_one_sentence_and_two(command, files):
    files[1].write_text("ana,1\nbob,one\n")
    said = f"error: {files[1]}, line 2: expected a number and found 'one'\n"
    assert command(*files, "--json") == (2, "", said)


def test_programs_that_do_not_deliver_their_own(command, tmp_path):
    for name, text in {"ana": "bob,1\ncy,1\n", "bob": "cy,1\nana,1\n", "cy": "bob,1\nana,1\n"}.items():
        (tmp_path / f"{name}.csv").write_text(text)
    files = [tmp_path / f"{name}.csv" for name in ("ana", "bob", "cy")]
    code, out, _ = command(*files, "--no-self", "--json", "--expect", "agreement")
    assert code == 0 and json.loads(out)["rounds"] is None
    assert command(*files, "--expect", "agreement")[0] == 1


def test_a_run_folder_is_judged_with_what_its_scenario_tells(command, tmp_path):
    records = DELIVERY_RECORD.pack(DELIVERED, 0, 1, 2, 0, 0.5) + DELIVERY_RECORD.pack(SEAL, 0, 0, 0, 1, 0.0)
    for peer in range(2):
        (tmp_path / f"trace-{peer}.bin").write_bytes(pack_header({"peer": peer}) + records)
    (tmp_path / "scenario.json").write_text(json.dumps({"ordering": "fifo", "world": "sim"}))
    code, out, _ = command(tmp_path, "--expect", "total")
    assert code == 0 and out.startswith("fifo in the world sim: 2 peers\n2 rounds, 0 out of order")


def test_help_has_an_example(command):
    code, out, _ = command("--help")
    assert code == 0 and "python -m comparison_server judge ana=ana.csv" in out

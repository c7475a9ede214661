"""The command `judge`: what it prints, and the codes it ends with."""

import json

import pytest
import typer

from comparison_server import face
from comparison_server.judge import judge
from comparison_server.properties import PROPERTIES
from peer.core.trace import DELIVERED, DELIVERY_RECORD, SEAL, SEND_RECORD, pack_header

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


@pytest.mark.parametrize("nothing", [",", " , ", " "])
def test_to_expect_nothing_is_refused(command, files, nothing):
    code, out, err = command(*files, "--expect", nothing)
    assert (code, out) == (2, "") and err.startswith("error: --expect: expected properties, found") and "total" in err


def test_what_was_expected_and_cannot_be_told_is_warned_of(command, files):
    code, out, err = command(*files, "--expect", "same_view,integrity,agreement", "--json")
    assert code == 0 and json.loads(out)["properties"]["same_view"]["holds"] is None
    assert err == "warning: whether same_view holds cannot be told: No views were recorded.\n"


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


@pytest.fixture
def run(tmp_path):
    """The folder of a run of two peers that both delivered the only message."""
    for peer in range(2):
        header = pack_header({"peer": peer})
        seal = DELIVERY_RECORD.pack(SEAL, 0, 0, 0, 1, 0.0)
        (tmp_path / f"trace-{peer}.bin").write_bytes(header + DELIVERY_RECORD.pack(DELIVERED, 0, 0, 1, 0, 0.5) + seal)
        sent = SEND_RECORD.pack(DELIVERED, 0, 1, 0, 0, 0.1) if peer == 0 else b""
        (tmp_path / f"sends-{peer}.bin").write_bytes(
            header + sent + SEND_RECORD.pack(SEAL, 0, 0, 0, len(sent) // 32, 0.0)
        )
    settings = {"members": ["ana", "bob"], "workload": {"messages": 1}}
    (tmp_path / "scenario.json").write_text(json.dumps({"ordering": "fifo", "world": "sim", "settings": settings}))
    return tmp_path


@pytest.mark.parametrize("lacking", ["trace-1.bin", "sends-1.bin", "sends-0.bin"])
def test_a_run_of_which_a_log_is_missing_is_not_judged(command, run, lacking):
    assert command(run, "--expect", "agreement")[0] == 0
    (run / lacking).unlink()
    said = f"error: {run}: missing, though the run came to its end: {lacking}\n"
    assert command(run, "--expect", "agreement") == (2, "", said)


def test_of_a_run_that_did_not_come_to_its_end_there_may_be_a_part(command, run):
    (run / "partial").touch()
    code, out, err = command(run, "--expect", "integrity")
    assert (code, err) == (0, "warning: this run did not come to its end\n")
    (run / "trace-1.bin").unlink()
    (run / "sends-1.bin").unlink()
    code, out, err = command(run, "--expect", "agreement", "--json")
    assert code == 0 and json.loads(out)["properties"]["agreement"]["holds"] is None
    assert err.splitlines() == [
        "warning: this run did not come to its end; missing: trace-1.bin, sends-1.bin",
        "warning: whether agreement holds cannot be told: The run did not come to its end.",
    ]
    (run / "trace-0.bin").write_bytes(b"not a trace")
    assert command(run)[0] == 2


def test_help_has_an_example(command):
    code, out, _ = command("--help")
    assert code == 0 and "python -m comparison_server judge ana=ana.csv" in out

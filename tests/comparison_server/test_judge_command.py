"""The command `judge`: what it prints, and the codes it ends with."""

import json

import pytest
import typer
from typer.testing import CliRunner

from comparison_server.judge import judge
from comparison_server.properties import PROPERTIES

app = typer.Typer()
app.command()(judge)


@pytest.fixture
def run(tmp_path):
    (tmp_path / "ana.csv").write_text("ana,1\nbob,1\nana,2\n")
    (tmp_path / "bob.csv").write_text("ana,1\nana,2\nbob,1\n")

    def run(*arguments):
        files = [str(tmp_path / name) for name in ("ana.csv", "bob.csv")]
        return CliRunner().invoke(app, [*files, *arguments])

    return run


def test_it_prints_the_verdict_and_ends_with_zero(run):
    result = run()
    assert result.exit_code == 0 and result.stderr == ""
    assert "3 rounds, 2 out of order (0 short, 2 disordered)." in result.stdout
    assert all(name in result.stdout for name in PROPERTIES)


def test_json_is_one_object_and_nothing_else(run):
    result = run("--json", "--inversions")
    verdict = json.loads(result.stdout)
    assert verdict["peers"] == 2 and verdict["inversions"] == 1 and verdict["properties"]["total"]["holds"] is False


@pytest.mark.parametrize(
    ("expect", "code"), [("agreement,integrity", 0), ("agreement,total", 1), ("causal", 0), ("totl", 2), ("", 0)]
)
def test_it_ends_as_expected(run, expect, code):
    result = run("--expect", expect)
    assert result.exit_code == code
    if code == 2:
        assert result.stdout == "" and result.stderr.startswith("--expect: there is no property totl; there are validity")


def test_a_bad_file_is_one_sentence_and_two(run, tmp_path):
    (tmp_path / "bob.csv").write_text("ana,1\nbob,one\n")
    result = run("--json")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"{tmp_path / 'bob.csv'}, line 2: expected a number and found 'one'\n"


def test_programs_that_do_not_deliver_their_own(tmp_path):
    (tmp_path / "ana.csv").write_text("bob,1\ncy,1\n")
    (tmp_path / "bob.csv").write_text("cy,1\nana,1\n")
    (tmp_path / "cy.csv").write_text("bob,1\nana,1\n")
    files = [str(tmp_path / f"{name}.csv") for name in ("ana", "bob", "cy")]
    result = CliRunner().invoke(app, [*files, "--no-self", "--json", "--expect", "agreement"])
    assert result.exit_code == 0 and json.loads(result.stdout)["rounds"] is None
    assert CliRunner().invoke(app, [*files, "--expect", "agreement"]).exit_code == 1


def test_help_has_an_example():
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0 and "python -m comparison_server judge ana=ana.csv" in result.stdout

"""Run folders: their names, that nothing is overwritten, and that a broken run shows."""

import json
import subprocess

import pytest

from experiments import run_folder
from experiments.run_folder import (
    commit_of,
    fresh_folder,
    is_complete,
    mark_complete,
    run_folder_name,
    versions,
    write_scenario,
)
from experiments.scenario import load, override, resolve, seed_text
from peer.core.errors import SettingsError
from peer.core.settings import RunSettings, from_json


def test_names():
    demo = load("demo")

    def name(ordering, variant, world, repeat=None):
        return run_folder_name(demo, resolve(demo, ordering, variant, "7", world), world, repeat)

    assert name("fifo", None, "sim") == "demo-sim-fifo-7"
    assert name("lamport_all_ack", "promise", "local", 2) == "demo-local-lamport_all_ack-promise-7-2"
    assert name("fifo", None, "sim", 0) == "demo-sim-fifo-7-0"


def test_no_folder_is_used_twice(tmp_path):
    out = tmp_path / "deep" / "runs"
    folders = [fresh_folder(out, "lan-sim-fifo-1") for _ in range(3)]
    assert [folder.name for folder in folders] == ["lan-sim-fifo-1", "lan-sim-fifo-1.2", "lan-sim-fifo-1.3"]
    assert all(folder.parent == out and folder.is_dir() for folder in folders)
    (out / "taken").write_text("a file, not a folder")
    assert fresh_folder(out, "taken").name == "taken.2"
    assert (out / "taken").read_text() == "a file, not a folder"


def test_a_folder_is_partial_until_it_is_complete(tmp_path):
    lan = load("lan")
    folder = fresh_folder(tmp_path, "run")
    write_scenario(folder, lan, resolve(lan, "fifo", None, "1", "sim"), "sim", "shared")
    assert not is_complete(folder)
    mark_complete(folder)
    mark_complete(folder)
    assert is_complete(folder)
    (folder / "scenario.json").unlink()
    assert not is_complete(folder)


def test_out_is_a_file(tmp_path):
    (tmp_path / "out").write_text("")
    for out in (tmp_path / "out", tmp_path / "out" / "below"):
        with pytest.raises(SettingsError, match="^--out: "):
            fresh_folder(out, "run")


def test_scenario_json_repeats_the_run(tmp_path):
    scenario = override(load("demo"), ["ordering_options.fixed_sequencer.sequencer=2"])
    settings = resolve(scenario, "fixed_sequencer", "bb", seed_text(7, 3), "local")
    folder = fresh_folder(tmp_path, "run")
    write_scenario(folder, scenario, settings, "local", "own", 3)
    document = json.loads((folder / "scenario.json").read_text(encoding="utf-8"))
    assert from_json(RunSettings, document["settings"]) == settings
    assert document["ordering"] == "fixed_sequencer" and document["variant"] == "bb"
    assert (document["world"], document["clock"]) == ("local", "own")
    assert (document["seed"], document["repeat"], document["settings"]["seed"]) == (7, 3, "7/3")
    (tmp_path / "again.yml").write_text(json.dumps(document["scenario"]))  # JSON is YAML
    assert load(tmp_path / "again.yml") == scenario
    assert document["versions"] == versions()


def test_commit_is_that_of_this_checkout(tmp_path, monkeypatch):
    lab = tmp_path / "lab"
    lab.mkdir()

    def git(*words, folder):
        who = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        answer = subprocess.run(["git", *who, *words], cwd=folder, capture_output=True, text=True, check=True)
        return answer.stdout.strip()

    assert commit_of(lab) is None  # no repository
    git("init", folder=tmp_path)
    git("commit", "--allow-empty", "-m", "another project's", folder=tmp_path)
    assert commit_of(lab) is None  # unpacked inside of somebody else's
    git("init", folder=lab)
    assert commit_of(lab) is None  # nothing committed yet
    git("commit", "--allow-empty", "-m", "ours", folder=lab)
    assert commit_of(lab) == git("rev-parse", "HEAD", folder=lab)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit_of(lab) is None  # no git


def test_versions_tell_a_fast_build(monkeypatch):
    for arguments, pgo in (("'--enable-optimizations' '--with-lto'", True), ("'--prefix=/usr'", False), (None, None)):
        monkeypatch.setattr(run_folder.sysconfig, "get_config_var", lambda name, a=arguments: {"CONFIG_ARGS": a}[name])
        assert versions()["pgo"] is pgo
    assert set(versions()) == {"python", "implementation", "pgo", "platform"}

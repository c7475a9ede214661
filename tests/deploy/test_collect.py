"""What `fab collect` makes of the logs that hosts still have: without hosts, from the logs of a simulated run."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from comparison_server.run_folder import PARTIAL
from deploy.inventory import load_inventory
from experiments.cloud import collect as collecting
from experiments.cloud.fetching import hash_of
from experiments.play import Planned, Played, in_simulator, in_use, plan, play
from experiments.scenario import load, override
from peer.core.errors import HELD, RunError

KINDS = ("trace", "sends")


class FakeRemote:
    """A host that has the logs of one peer of a run; `living` peers play nothing."""

    def __init__(self, name: str, run: str, folder: Path, place: int) -> None:
        self.name, self.run, self.living = name, run, []
        self.logs = {f"{name}-{kind}.bin": folder / f"{kind}-{place}.bin" for kind in KINDS}

    def ask(self, what: str) -> dict[str, Any]:
        if what == "status":
            return {"orders": {}, "peers": {name: {"pid": 7} for name in self.living}}
        files = [
            {"name": name, "path": name, "size": log.stat().st_size, "hash": hash_of(log), "run": self.run}
            for name, log in self.logs.items()
        ]
        return {"files": files}

    def fetch(self, path: str, file: Path) -> None:
        file.write_bytes(self.logs[path].read_bytes())

    def resume(self) -> None:
        pass

    def stop(self) -> None:
        pass


class Lab:
    """Two hosts that have the logs of a run, and the folder of somebody who collects them."""

    def __init__(self, folder: Path) -> None:
        self.out = folder / "runs"
        scenario = override(load("lan"), peers=2, messages=3)
        (self.played,) = play(plan(scenario, [("fifo", None)], 1, "sim"), in_simulator, folder / "there")
        self.members = self.played.planned.settings.members
        self.run = collecting.read_header(self.played.folder / "trace-0.bin")[0]["run"]
        self.remotes = [FakeRemote(name, self.run, self.played.folder, at) for at, name in enumerate(self.members)]
        file = folder / "lab.yml"
        hosts = "".join(f"  {name}: {{region: here, address: {name}.test}}\n" for name in self.members)
        file.write_text(f"lab: test\npolicy: all\ndefaults: {{user: lab}}\nhosts:\n{hosts}")
        self.inventory = load_inventory(file)

    def collect(self) -> int:
        return collecting.collect(self.inventory, self.out, key=None, known_hosts=self.out, say=pytest.fail)

    def begun(self, name: str, *logs: str) -> Path:
        """What somebody who was killed had collected."""
        folder = self.out / name
        folder.mkdir(parents=True)
        for file in ("scenario.json", *logs):
            (folder / file).write_bytes((self.played.folder / file.removesuffix(".part")).read_bytes())
        (folder / PARTIAL).write_text("This run has not come to its end.\n")
        return folder

    def whole(self) -> Path:
        """The folder of the run that is here from its beginning to its end."""
        (folder,) = {verdict.parent for verdict in self.out.glob("*/verdict.json")}
        assert not (folder / PARTIAL).exists()
        return folder


@pytest.fixture
def lab(tmp_path, monkeypatch):
    lab = Lab(tmp_path)
    monkeypatch.setattr(collecting, "remotes_of", lambda *_: lab.remotes)
    monkeypatch.setattr(collecting, "make_bundle", lambda: None)
    return lab


def test_what_nobody_counted_is_unknown_and_not_zero(lab, capsys):
    assert lab.collect() == HELD
    measures = json.loads((lab.whole() / "measures.json").read_text())
    assert measures["peers"] is None
    assert set(measures["totals"].values()) == {None} and "datagrams_sent_per_delivery" in measures["totals"]
    (row,) = [line for line in capsys.readouterr().out.splitlines() if "fifo" in line and "│" in line]
    assert row.split("│")[-2].strip() == "-"


@pytest.mark.parametrize(
    "logs",
    [("trace-0.bin", "sends-0.bin"), ("trace-0.bin.part",), ("sends-1.bin", "trace-1.bin.part")],
    ids=lambda logs: " ".join(logs),
)
def test_a_folder_in_which_the_run_was_begun_goes_once_all_of_it_is_in_another(lab, capsys, logs):
    begun, other = lab.begun("begun", *logs), lab.begun("other")
    assert lab.collect() == HELD
    assert not begun.exists() and other.exists(), "nobody knows of what run a folder without logs is"
    said = f"Run {lab.run} is whole in {lab.whole()}: {begun}, which held a part of it, is removed."
    assert said in capsys.readouterr().out
    begun = lab.begun("begun again", *logs)
    assert lab.collect() == HELD and not begun.exists(), "also when the whole run was here before"
    assert {folder.name for folder in lab.out.iterdir()} == {"other", lab.whole().name}


def test_a_folder_goes_only_if_nothing_is_lost_with_it(lab):
    different, noted, used = (lab.begun(name, "trace-0.bin", "sends-0.bin") for name in ("different", "noted", "used"))
    with open(different / "trace-0.bin", "ab") as log:
        log.write(b"more")
    (noted / "notes.txt").write_text("mine")
    begun = lab.begun("begun", "trace-0.bin")
    (begun / "planet.yml").touch()  # the disk was full
    of_another_run = lab.begun("of another run", "sends-0.bin")
    log = (of_another_run / "sends-0.bin").read_bytes()
    (of_another_run / "trace-0.bin.part").write_bytes(log.replace(lab.run.encode(), b"0" * len(lab.run)))
    with in_use(used):
        assert lab.collect() == HELD
    assert not begun.exists()
    for folder in (different, noted, used, of_another_run):
        assert (folder / "sends-0.bin").exists() and (folder / PARTIAL).exists(), folder


def test_no_folder_goes_while_the_run_is_not_whole(lab):
    begun = lab.begun("begun", "trace-0.bin", "sends-0.bin")
    del lab.remotes[1]
    assert lab.collect() != HELD
    assert (begun / "trace-0.bin").exists()


def test_logs_that_nobody_judged_are_collected_again(lab):
    begun = lab.begun("begun", "trace-0.bin", "sends-0.bin", "trace-1.bin", "sends-1.bin")
    assert lab.collect() == HELD
    assert lab.whole() != begun and not begun.exists()


def test_peers_that_live_on_are_named_with_what_ends_them(lab, capsys, monkeypatch):
    monkeypatch.setattr(collecting, "_lead_on", lambda *_: HELD)
    told = "Peers live on: p0; `fab stop` ends them.\n"
    assert lab.collect() == HELD and "live on" not in capsys.readouterr().out
    lab.remotes[0].living = ["p0"]
    assert lab.collect() == HELD and capsys.readouterr().out.endswith(told)


def test_a_log_that_the_disk_has_no_room_for_does_not_bear_its_name(lab, monkeypatch):
    write, logs = Path.write_bytes, []

    def write_a_part(path: Path, data: bytes) -> int:
        logs.append(path.name)
        write(path, data[:100])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as full:
        full.setattr(Path, "write_bytes", write_a_part)
        full.setattr(FakeRemote, "fetch", lambda self, path, file: write(file, self.logs[path].read_bytes()))
        with pytest.raises(RunError, match="No space left on device; make room"):
            lab.collect()
    (folder,) = lab.out.iterdir()
    assert logs and not list(folder.glob("*.bin")) and (folder / PARTIAL).exists()


def played_in(out: Path, world: str, error: BaseException) -> Played:
    def breaks(planned: Planned, folder: Path) -> None:
        raise error

    return next(play(plan(override(load("lan"), peers=2, messages=3), [("fifo", None)], 1, world), breaks, out))


@pytest.mark.parametrize(
    "world, then", [("cloud", "`fab collect` brings what is still on the hosts"), ("sim", "run it again")]
)
def test_a_full_disk_is_an_error_that_says_how_to_go_on(tmp_path, world, then):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    sentence = f"lan-{world}-fifo-1 cannot be written: No space left on device; make room, then {then}$"
    with pytest.raises(RunError, match=sentence):
        played_in(tmp_path, world, full)
    with pytest.raises(PermissionError):
        played_in(tmp_path, world, PermissionError(errno.EACCES, "denied"))


def test_who_gives_up_collecting_is_told_what_brings_the_rest(tmp_path):
    with pytest.raises(KeyboardInterrupt, match="lan-cloud-fifo-1; `fab collect` brings the rest of it$"):
        played_in(tmp_path, "cloud", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt, match="lan-sim-fifo-1$"):
        played_in(tmp_path, "sim", KeyboardInterrupt())

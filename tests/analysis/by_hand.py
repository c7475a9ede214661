"""Runs written by hand: what each peer multicast and delivered, and when; judged by the real judge."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from comparison_server.run_folder import load_run as evidence_of
from comparison_server.verdict import judge
from peer.core.trace import DELIVERED, RELEASED, VIEW
from tests.analysis import plain

Moment = tuple[float, str]  # "1:3" delivers that message, "send" multicasts the next one, "view 2" installs that view


def written(
    base: Path,
    folder: Path,
    peers: Sequence[Sequence[Moment]],
    *,
    not_up: Mapping[str, str] | None = None,
    clock: str = "shared",
    zeros: Sequence[float] = (),
    promised: Sequence[str] = (),
) -> Path:
    """A run folder like that of a run of as many peers, with these moments in the order in which they happened."""
    shutil.copytree(base, folder)
    for number, moments in enumerate(peers):
        records = [(RELEASED, 0, 0, 0, 0, zeros[number] if zeros else 5.0)]
        sends, delivered = [], 0
        for time_s, what in moments:
            if what == "send":
                sends.append((len(sends), 1, delivered, time_s))
            elif what.startswith("view"):
                records.append((VIEW, 0, int(what.split()[1]), 0, 0, time_s))
            else:
                sender, message = map(int, what.split(":"))
                records.append((DELIVERED, sender, message, 1, 0, time_s))
                delivered += 1
        plain.write_trace(folder, number, records, run="by hand")
        plain.write_sends(folder, number, sends, run="by hand")
    plain.change(folder / "scenario.json", clock=clock, not_up=dict(not_up or {}))
    judged(folder, promised)
    return folder


def judged(folder: Path, promised: Sequence[str] = ()) -> None:
    """The verdict on what is in a folder now."""
    verdict = judge(evidence_of(folder), promised).as_dict()
    (folder / "verdict.json").write_text(json.dumps(verdict, indent=1))


def chat(peers: int, messages: int, gap_s: float = 0.04, delay_s: float = 0.024) -> list[list[Moment]]:
    """Everybody multicasts in turn; each message reaches its sender at once and the others a delay later."""
    moments: list[list[Moment]] = [[] for _ in range(peers)]
    for count in range(messages):
        for sender in range(peers):
            asked_s = 0.01 + (count * peers + sender) * gap_s
            moments[sender].append((asked_s, "send"))
            for peer in range(peers):
                apart = (abs(peer - sender) * 0.25 + 0.75) * delay_s
                moments[peer].append((asked_s + (0.0004 if peer == sender else apart), f"{sender}:{count}"))
    return [sorted(each) for each in moments]


def without(moments: Sequence[Moment], what: str) -> list[Moment]:
    return [each for each in moments if each[1] != what]


def moved(moments: Sequence[Moment], what: str, time_s: float) -> list[Moment]:
    """The same with one delivery made at another time."""
    return sorted([*without(moments, what), (time_s, what)])


def added(moments: Sequence[Moment], what: str, time_s: float) -> list[Moment]:
    return sorted([*moments, (time_s, what)])


def time_of(moments: Sequence[Moment], what: str) -> float:
    return next(time_s for time_s, each in moments if each == what)


def violations(base: Path, out: Path) -> dict[str, Path]:
    """A run for every kind of violation, which its name says."""
    def run(name: str, change, **more) -> Path:
        peers = chat(4, 4)
        change(peers)
        return written(base, out / name, peers, **more)

    def validity(peers):
        peers[1] = without(peers[1], "1:2")

    def twice(peers):
        peers[2] = added(peers[2], "0:1", time_of(peers[2], "0:2") + 0.004)

    def foreign(peers):
        peers[3] = added(peers[3], "2:77", 0.33)

    def agreement(peers):
        peers[2], peers[3] = without(peers[2], "0:2"), without(peers[3], "0:2")

    def uniform_agreement(peers):
        end = time_of(peers[3], "3:1") + 0.002
        peers[3] = [each for each in peers[3] if each[0] <= end]
        peers[:3] = [[each for each in peer if each[1] not in ("3:1", "3:2", "3:3")] for peer in peers[:3]]

    def fifo(peers):
        peers[2] = moved(peers[2], "1:1", time_of(peers[2], "1:2") + 0.01)

    def fifo_gap(peers):
        peers[2] = without(peers[2], "1:1")

    def causal(peers):
        peers[3] = moved(peers[3], "0:1", time_of(peers[3], "1:1") + 0.03)

    def causal_never(peers):
        peers[3] = without(peers[3], "0:1")

    def total(peers):
        peers[3] = moved(peers[3], "1:2", time_of(peers[3], "2:2") + 0.006)

    def cycle(peers):
        peers[0] = without(without(moved(peers[0], "1:1", 0.4), "2:1"), "3:1")
        peers[1] = without(without(peers[1], "0:1"), "3:1")
        peers[2] = without(without(peers[2], "1:1"), "3:1")
        peers[0] = moved(peers[0], "1:1", time_of(peers[0], "0:1") + 0.02)
        peers[2] = moved(peers[2], "0:1", time_of(peers[2], "2:1") + 0.02)
        peers[3] = without(without(without(without(peers[3], "0:1"), "1:1"), "2:1"), "3:1")

    def uniform_total(peers):
        total(peers)
        end = time_of(peers[3], "1:2") + 0.01
        peers[3] = [each for each in peers[3] if each[0] <= end]

    def same_view(peers):
        for number in range(4):
            peers[number] = added(added(added(peers[number], "view 1", 0.02), "view 2", 0.36), "view 3", 0.62)
        peers[2] = moved(peers[2], "0:1", 0.39)

    return {
        "validity": run("validity", validity),
        "integrity": run("twice", twice),
        "integrity-foreign": run("foreign", foreign),
        "agreement": run("agreement", agreement),
        "uniform_agreement": run("uniform_agreement", uniform_agreement, not_up={"3": "crashed"}),
        "fifo": run("fifo", fifo),
        "fifo-gap": run("fifo_gap", fifo_gap),
        "causal": run("causal", causal),
        "causal-never": run("causal_never", causal_never),
        "total": run("total", total),
        "total-cycle": run("cycle", cycle),
        "uniform_total": run("uniform_total", uniform_total, not_up={"3": "crashed"}),
        "prefix": run("prefix", total),
        "same_view": run("same_view", same_view),
    }

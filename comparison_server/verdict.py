"""The verdict on a run: its rounds, how complete and timely it was, and what each property finds."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass

from comparison_server import inversions as inversion_counts
from comparison_server import replicas
from comparison_server.evidence import Evidence
from comparison_server.finding import Finding, no_evidence
from comparison_server.positions import Positions
from comparison_server.properties import PROPERTIES
from comparison_server.rounds import Rounds, compare, held
from peer.core.guarantees import AGREEMENT, UNIFORM_AGREEMENT, VALIDITY

ONLY_OF_WHOLE_RUNS = (VALIDITY, AGREEMENT, UNIFORM_AGREEMENT)  # what was on its way is no evidence against these


@dataclass(slots=True)
class Verdict:
    """What `verdict.json` holds, and for describe() who seems to have sorted its log at the end.

    `rounds` are None for programs that do not deliver their own messages, as their logs cannot be equal; `up_rounds`
    are those of the logs of who is up, None when everybody is. `on_time` is by peer the share of its deliveries that
    it made before its own last multicast.
    """

    ordering: str | None
    world: str | None
    peers: int
    messages_per_peer: int | None
    rounds: Rounds | None
    up_rounds: Rounds | None
    complete: bool | None
    inversions: int | None
    first_divergence: dict | None
    on_time: dict[str, float | None]
    promised: frozenset[str]
    findings: dict[str, Finding]
    sorted_at_the_end: list[str]
    replicas: dict | None = None  # what the members' replicas came to, where the workload keeps any

    def as_dict(self) -> dict:
        """The verdict as it stands in `verdict.json`."""
        return {
            "ordering": self.ordering,
            "world": self.world,
            "peers": self.peers,
            "messages_per_peer": self.messages_per_peer,
            **_counts(self.rounds),
            "up": None if self.up_rounds is None else _counts(self.up_rounds),
            "complete": self.complete,
            "inversions": self.inversions,
            "first_divergence": self.first_divergence,
            "on_time": self.on_time,
            "replicas": self.replicas,
            "properties": {
                name: {"promised": name in self.promised, **asdict(finding)} for name, finding in self.findings.items()
            },
        }

    def violated(self) -> list[str]:
        """The promised properties that do not hold."""
        return [name for name, finding in self.findings.items() if name in self.promised and finding.holds is False]


def judge(
    evidence: Evidence,
    promised: Collection[str] = (),
    facts: Mapping[str, object] | None = None,
    *,
    count_inversions: bool = False,
) -> Verdict:
    """Judges a run. `facts` may hold what no log says: its `ordering`, `world` and `messages_per_peer`."""
    if unknown := sorted(set(promised) - set(PROPERTIES)):
        raise ValueError(f"there is no property {unknown[0]!r}; there are {', '.join(PROPERTIES)}")
    facts = facts or {}
    positions = Positions(evidence)
    comparable = evidence.self_delivery
    rounds = _rounds(positions, positions.everybody) if comparable else None
    return Verdict(
        ordering=facts.get("ordering"),  # type: ignore[arg-type]
        world=facts.get("world"),  # type: ignore[arg-type]
        peers=len(evidence.logs),
        messages_per_peer=facts.get("messages_per_peer", _messages_per_peer(positions)),  # type: ignore[arg-type]
        rounds=rounds,
        up_rounds=_rounds(positions, positions.up) if comparable and len(positions.up) < len(evidence.logs) else None,
        complete=_complete(positions),
        inversions=inversion_counts.between_logs(positions, positions.everybody) if count_inversions else None,
        first_divergence=None if rounds is None else _divergence(positions, rounds),
        on_time={log.label: _on_time(positions, number) for number, log in enumerate(evidence.logs)},
        promised=frozenset(promised),
        findings={name: judge_property(positions) for name, judge_property in PROPERTIES.items()},
        sorted_at_the_end=[
            log.label for number, log in enumerate(evidence.logs) if _sorted_at_the_end(positions, number)
        ],
    )


def without_an_end(verdict: Verdict) -> None:
    """The run did not come to its end, so that what only a whole run can show is not shown."""
    verdict.findings.update(dict.fromkeys(ONLY_OF_WHOLE_RUNS, no_evidence("The run did not come to its end.")))
    if verdict.complete:  # so far; there was to be more
        verdict.complete = None


def exit_code(verdict: Verdict) -> int:
    """1 if a promised property does not hold, else 0; what there is no evidence for is not violated."""
    return 1 if verdict.violated() else 0


def describe(verdict: Verdict) -> str:
    """The verdict in words, for people."""
    lines = [_heading(verdict)]
    if verdict.rounds is None:
        lines.append("Rounds are not counted: these programs do not deliver their own messages.")
    else:
        lines.append(_rounds_in_words(verdict.rounds))
    if verdict.up_rounds is not None:
        lines.append(f"Of those that are up: {_rounds_in_words(verdict.up_rounds)}")
    if verdict.first_divergence is not None:
        lines.append(_divergence_in_words(verdict.first_divergence))
    if verdict.complete is not None:
        lines.append(f"Everybody that is up delivered everything: {'yes' if verdict.complete else 'no'}.")
    if verdict.inversions is not None:
        lines.append(f"Inversions between the logs: {verdict.inversions}.")
    for label in verdict.sorted_at_the_end:
        lines.append(f"Peer {label} delivered nothing before its own last multicast: its log looks sorted at the end.")
    lines.append("")
    for name, finding in verdict.findings.items():
        promised = name in verdict.promised
        word = {True: "holds", None: "no evidence", False: "VIOLATED" if promised else "does not hold"}[finding.holds]
        count = f"{finding.violations}: " if finding.holds is False else ""
        lines.append(f"{name:<18}{'promised' if promised else '':<10}{word:<15}{count}{finding.sentence}")
    if verdict.replicas is not None:
        lines += ["", replicas.describe(verdict.replicas)]
    return "\n".join(lines)


def _rounds(positions: Positions, logs: list[int]) -> Rounds:
    return compare([(positions.logs[log].ids, positions.logs[log].start) for log in logs])


def _counts(rounds: Rounds | None) -> dict[str, int | None]:
    return {
        "rounds": rounds and rounds.rounds,
        "out_of_order_rounds": rounds and rounds.out_of_order,
        "short_rounds": rounds and rounds.short,
        "disordered_rounds": rounds and rounds.disordered,
    }


def _messages_per_peer(positions: Positions) -> int | None:
    counts = {None if multicasts is None else len(multicasts.messages) for multicasts in positions.multicasts}
    return counts.pop() if len(counts) == 1 else None


def _complete(positions: Positions) -> bool | None:
    """Whether everybody who is up delivered everything that everybody multicast; None where that is not known."""
    multicast = positions.multicast_messages()
    for party in positions.parties(positions.up):
        lacked = multicast & (party.order.place < 0)
        if party.spared is not None:
            lacked &= ~party.spared
        if lacked.any():
            return False
    recorded = all(multicasts is not None for multicasts in positions.multicasts)
    strangers = any(positions.log_of_sender(int(sender)) is None for sender in positions.senders)
    return True if positions.logs and recorded and not strangers else None


def _divergence(positions: Positions, rounds: Rounds) -> dict | None:
    """The first round that is out of order, and who holds what there."""
    if rounds.first is None:
        return None
    logs = positions.logs
    peers: dict[int | None, list[str]] = {}
    for log, ident in zip(logs, held([(log.ids, log.start) for log in logs], rounds.first)):
        if ident is not None or log.start <= rounds.first:
            peers.setdefault(ident, []).append(log.label)
    there = [
        {"message": None if ident is None else positions.evidence.message(ident), "peers": labels}
        for ident, labels in peers.items()
    ]
    return {"position": rounds.first, "held": there}


def _on_time(positions: Positions, log: int) -> float | None:
    multicasts, deliveries = positions.multicasts[log], len(positions.logs[log].ids)
    if multicasts is None or not len(multicasts.messages) or not deliveries:
        return None
    return min(int(multicasts.positions[-1]), deliveries) / deliveries


def _sorted_at_the_end(positions: Positions, log: int) -> bool:
    multicasts = positions.multicasts[log]
    return multicasts is not None and len(multicasts.messages) > 1 and _on_time(positions, log) == 0


def _heading(verdict: Verdict) -> str:
    what = verdict.ordering or "logs"
    where = f" in the world {verdict.world}" if verdict.world else ""
    many = f", {verdict.messages_per_peer} messages each" if verdict.messages_per_peer is not None else ""
    return f"{what}{where}: {verdict.peers} peer{'' if verdict.peers == 1 else 's'}{many}"


def _rounds_in_words(rounds: Rounds) -> str:
    return (
        f"{rounds.rounds} rounds, {rounds.out_of_order} out of order"
        f" ({rounds.short} short, {rounds.disordered} disordered)."
    )


def _divergence_in_words(divergence: dict) -> str:
    says = []
    for each in divergence["held"]:
        message, peers = each["message"], each["peers"]
        name = "nothing" if message is None else f"{message['sender']}:{message['number']}"
        says.append(f"{name} at peer{'s' if len(peers) > 1 else ''} {', '.join(peers)}")
    return f"First out of order is position {divergence['position']}: {'; '.join(says)}."

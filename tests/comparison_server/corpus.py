"""Runs written by hand, one string a process: `evidence(a="+a1 a1 b1", b="a1 +b1 b1")`.

A word is a delivery, sender and number; with a + before it the process multicasts that message at this moment. If no
log has such a word, there are no send records.
"""

import re

from comparison_server.evidence import Evidence, PeerLog, Sends, message_ids
from comparison_server.finding import Finding
from comparison_server.positions import Positions
from comparison_server.properties import PROPERTIES

NAMES = "abcdefgh"


def evidence(*, self_delivery: bool = True, closed: bool = True, logs: dict | None = None, **texts: str) -> Evidence:
    """`logs` holds further fields of some logs: {"a": {"up": False}}."""
    recorded = any("+" in text for text in texts.values())
    made = []
    for label, text in texts.items():
        deliveries, sends = [], []
        for plus, sender, number in re.findall(r"(\+?)([a-h])(\d+)", text):
            if plus:
                assert sender == label
                sends.append((int(number), len(deliveries)))
            else:
                deliveries.append((NAMES.index(sender), int(number)))
        made.append(
            PeerLog(
                label,
                message_ids([s for s, _ in deliveries], [n for _, n in deliveries]),
                sender=NAMES.index(label),
                sends=Sends([n for n, _ in sends], [after for _, after in sends]) if recorded else None,
                **(logs or {}).get(label, {}),
            )
        )
    return Evidence(made, NAMES, self_delivery=self_delivery, closed=closed)


def find(name: str, **texts) -> Finding:
    return PROPERTIES[name](Positions(evidence(**texts)))


def holding(**texts) -> dict[str, bool | None]:
    positions = Positions(evidence(**texts))
    return {name: judge(positions).holds for name, judge in PROPERTIES.items()}


def named(finding: Finding) -> list[str]:
    """The messages of a witness, as the texts have them."""
    return [f"{each['sender']}{each['number']}" for each in finding.witness["messages"]]

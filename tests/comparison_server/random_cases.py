"""Small random runs with everything that can go wrong in them, and the same as evidence."""

from comparison_server.evidence import Evidence, PeerLog, Sends, message_ids
from tests.comparison_server.plain_judge import Case, Peer

NAMES = ["ana", "bob", "cy", "dee", "eve", "nobody", "stranger"]


def random_case(rng) -> Case:
    """Two to five peers that deliver up to eight messages; most of what can go wrong does not in any one case."""
    count = rng.randint(2, 5)
    firsts = [rng.choice([0, 1, 1, 7]) for _ in range(count)]
    sent = [0] * count
    order = []
    for _ in range(rng.randint(0, 8)):
        sender = rng.randrange(count)
        order.append((sender, firsts[sender] + sent[sender]))
        sent[sender] += 1
    wrong = {kind for kind in ("swap", "lose", "repeat", "cut", "foreign", "crash", "few") if rng.random() < 0.25}
    logs = [_damaged(order, wrong, count, rng) for _ in range(count)]
    if rng.random() < 0.08:
        logs = _ring(order, count, rng)
    case = Case([Peer(log) for log in logs], self_delivery=rng.random() < 0.85, closed=rng.random() < 0.8)
    recorded, viewed = rng.random(), rng.random() < 0.4
    for p, peer in enumerate(case.peers):
        if not case.self_delivery:
            peer.log = [message for message in peer.log if message[0] != p]
        if rng.random() < recorded * 1.5:
            peer.sends = _sends(p, order, peer.log, wrong, rng)
        if "crash" in wrong and rng.random() < 0.4:
            peer.up = False
            if rng.random() < 0.5:
                peer.log = peer.log[: rng.randint(0, len(peer.log))]
            if peer.sends and rng.random() < 0.5:
                peer.sends = peer.sends[: rng.randint(0, len(peer.sends))]
        if viewed:
            peer.views = _views(peer.log, rng)
    return case


def _ring(order, count, rng):
    """Logs of a message and the one after it in a ring, among messages that only few share: cycles without a pair."""
    ring = rng.sample(order, min(len(order), rng.randint(2, count)))
    logs = [[message, ring[(at + 1) % len(ring)]] for at, message in enumerate(ring)]
    logs += [[] for _ in range(count - len(ring))]
    for log in logs:
        for message in order:
            if message not in ring and rng.random() < 0.3:
                log.insert(rng.randint(0, len(log)), message)
    rng.shuffle(logs)
    return logs


def _damaged(order, wrong, count, rng):
    log = list(order)
    if "few" in wrong:
        rng.shuffle(log)
        log = log[: rng.randint(0, 3)]
    if "swap" in wrong and log and rng.random() < 0.7:
        for _ in range(rng.randint(1, 2)):
            at, to = rng.randrange(len(log)), rng.randrange(len(log))
            log.insert(to, log.pop(at))
    if "lose" in wrong and log and rng.random() < 0.5:
        log.pop(rng.randrange(len(log)))
    if "repeat" in wrong and log and rng.random() < 0.5:
        log.insert(rng.randint(0, len(log)), rng.choice(log))
    if "foreign" in wrong and rng.random() < 0.3:
        log.insert(rng.randint(0, len(log)), (rng.randrange(count + 2), rng.choice([rng.randint(0, 9), 10**9])))
    if "cut" in wrong and rng.random() < 0.4:
        log = log[: rng.randint(0, len(log))]
    return log


def _sends(p, order, log, wrong, rng):
    """Mostly what a process can have done: it multicast a message before it delivered it, one that it lacks at will."""
    sends, after = [], 0
    for message in order:
        if message[0] == p and not ("lose" in wrong and rng.random() < 0.1):
            latest = log.index(message) if message in log else len(log)
            after = rng.randint(after, max(after, latest))
            sends.append((message[1], after))
    if sends and "repeat" in wrong and rng.random() < 0.2:
        sends.append((rng.choice(sends)[0], after))
    return sends


def _views(log, rng):
    views, position, number = [], 0, rng.choice([0, 0, 0, 1])
    if rng.random() < 0.5:
        views.append((0, number))
    for _ in range(rng.randint(0, 2)):
        position, number = rng.randint(position, len(log)), number + rng.choice([1, 1, 1, 2])
        views.append((position, number))
    return views


def evidence_of(case: Case) -> Evidence:
    logs = [
        PeerLog(
            NAMES[p],
            message_ids([s for s, _ in peer.log], [n for _, n in peer.log]),
            sender=p,
            sends=None if peer.sends is None else Sends([n for n, _ in peer.sends], [a for _, a in peer.sends]),
            up=peer.up,
            why="" if peer.up else "crashed",
            views=peer.views,
        )
        for p, peer in enumerate(case.peers)
    ]
    names = NAMES[: len(case.peers)] + ["nobody", "stranger"]
    return Evidence(logs, names, self_delivery=case.self_delivery, closed=case.closed)

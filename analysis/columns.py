"""What stands in the frames of runs: every column with its type and a sentence. Units are in the names of columns.

`Int32`, `Float64` and `boolean` may hold nothing (NA) where a run does not tell it; where nothing is told of a
`float64` or `float32` it is not a number.
"""

from __future__ import annotations

Column = tuple[str, str]  # its type, and a sentence about it

RUN = ("category", "the run: its folder's name, made unique where two folders are called alike")

RUNS: dict[str, Column] = {
    "run": RUN,
    "title": ("str", "the ordering, with its variant where one was chosen: ordering[:variant]"),
    "ordering": ("str", "the ordering"),
    "variant": ("str", "the variant that was chosen; empty: the ordering's first"),
    "world": ("str", "where it ran: sim, local, cloud or rehearsal"),
    "scenario": ("str", "the name of the scenario"),
    "planet": ("str", "where the round trips come from; real: nothing was emulated by the peers"),
    "regions": ("str", "the regions, with commas, in the order of their first use"),
    "places": ("str", "the region of each peer, with commas"),
    "peers": ("int32", "how many peers"),
    "messages": ("int64", "how many messages each peer was to multicast"),
    "workload": ("str", "the kind of workload"),
    "gap_min_ms": ("float64", "the shortest gap between two multicasts of a peer that the workload was asked for"),
    "gap_max_ms": ("float64", "the longest"),
    "size_bytes": ("int64", "the size of a message"),
    "loss": ("float64", "the share of datagrams that the emulated network lost"),
    "duplicate": ("float64", "the share that it doubled"),
    "reorder": ("float64", "the share that it held back"),
    "jitter_ms": ("float64", "by how much it delayed a datagram more, at most"),
    "seed": ("int64", "the seed of the scenario"),
    "repeat": ("int32", "which repetition of the scenario, from 0"),
    "chance": ("str", "the text from which all chance of the run was drawn; orderings are paired by it"),
    "shared_clock": ("bool", "whether all peers read one clock; else latencies across sites rest on estimated offsets"),
    "commit": ("str", "the commit of the program that ran; empty where it is not known"),
    "outcome": ("str", "held, violated, unfinished, or failed (there is no run, only a reason)"),
    "error": ("str", "why it did not come to its end, in a sentence; else empty"),
    "promised": ("Int64", "how many properties its ordering promised; nothing where it was not judged"),
    "promised_held": ("Int64", "of these, how many held; of the rest some were broken, or there is no evidence"),
    "rounds": ("Int64", "positions of the longest log; round j is the j-th delivery of everybody"),
    "out_of_order_rounds": ("Int64", "rounds in which not all logs hold the same message"),
    "short_rounds": ("Int64", "of these, rounds that some log has not"),
    "disordered_rounds": ("Int64", "of these, rounds in which two logs hold different messages"),
    "classroom_rounds": ("Int64", "what the classroom program would have counted of the same logs"),
    "classroom_of": ("Int64", "out of how many positions it looks at"),
    "inversions": ("Int64", "pairs of messages that two logs hold the opposite way round, over all pairs of logs"),
    "inversion_share": ("float64", "inversions, of all pairs of messages that both of two logs hold"),
    "displacement_mean": ("float64", "how many positions a message is from its median position, in the mean"),
    "displacement_max": ("float64", "the same at most"),
    "first_divergence": ("Int64", "the first position out of order; nothing where there is none"),
    "complete": ("boolean", "whether everybody who is up delivered everything that was multicast"),
    "delivered": ("Int64", "messages delivered by all peers together"),
    "multicast": ("Int64", "messages multicast by all peers together"),
    "took_s": ("float64", "from a peer's first multicast or delivery to its last delivery, at most"),
    "deliveries_per_s": ("float64", "deliveries in that time, at the slowest peer"),
    "rtt_max_ms": ("float64", "the longest round trip between two of its peers"),
    "rtt_mean_ms": ("float64", "the mean over all pairs of different peers"),
    "own_p50_s": ("float64", "median latency of messages at their own senders"),
    "own_p99_s": ("float64", "the 99th percentile of these"),
    "others_p50_s": ("float64", "median latency of messages at the other peers"),
    "others_p99_s": ("float64", "the 99th percentile of these"),
    "bound_ratio": ("float64", "median latency of a pair of peers over its bound, in the median of the pairs"),
}

DELIVERIES: dict[str, Column] = {
    "run": RUN,
    "peer": ("int16", "who delivered"),
    "position": ("int32", "the how-manieth of its deliveries this is, from 0"),
    "sender": ("int32", "whose message"),
    "number": ("uint32", "the message's own number, from 0"),
    "time_s": ("float64", "when, on the peer's own clock since it was released"),
    "stamp": ("int64", "the Lamport stamp of its block"),
}

SENDS: dict[str, Column] = {
    "run": RUN,
    "peer": ("int16", "who multicast"),
    "number": ("uint32", "the message's number, from 0"),
    "time_s": ("float64", "when the application asked for it, on the peer's own clock since it was released"),
    "due_s": ("float64", "when it was to ask for it; a peer that is held up asks later. Latencies count from here"),
    "after": ("int32", "how many deliveries the peer had made by then"),
}

ROUNDS: dict[str, Column] = {
    "run": RUN,
    "position": ("int32", "the round, from 0"),
    "logs": ("int16", "how many logs hold a message there"),
    "kinds": ("int16", "how many different messages they hold there"),
    "out_of_order": ("bool", "whether they differ there, or a log that takes part has ended"),
}

VIOLATIONS: dict[str, Column] = {
    "run": RUN,
    "property": ("str", "the property that does not hold"),
    "promised": ("bool", "whether the ordering promises it"),
    "violations": ("int64", "how often it was violated"),
    "at_least": ("bool", "whether that is only known to be so many or more"),
    "sentence": ("str", "one violation in words"),
    "witness": ("str", "the smallest proof, as JSON"),
}

LATENCIES: dict[str, Column] = {
    "run": RUN,
    "sender": ("int16", "who multicast the message"),
    "receiver": ("int16", "who delivered it; the first time counts, and only what was recorded to have been multicast"),
    "number": ("uint32", "the message's number, from 0"),
    "asked_s": ("float64", "when the application was to ask for it, since the first peer was released; since its"
                " sender was, where it is not known how far clocks are apart"),
    "latency_s": ("float64", "from then to the delivery; not a number across sites whose clocks nobody compared"),
    "bound_s": ("float32", "no delivery of the pair can be faster, at any load, given the run's own round trips"),
    "alone_s": ("float32", "the mean of a message of the pair that has the whole group to itself"),
    "blocked_s": ("float32", "how much longer it took than the one way from sender to receiver"),
    "through": ("int16", "the member that a message of the pair waits for when it has the group to itself; -1: none"),
    "uncertain_s": ("float32", "by how much latency_s may be wrong: 0 where the clock is shared or the peer its own"
                    " sender; not a number where nobody compared the clocks"),
}  # fmt: skip

COSTS: dict[str, Column] = {
    "run": RUN,
    "peer": ("int16", "the peer"),
    "name": ("str", "its name"),
    "region": ("str", "its region"),
    "released_s": ("float64", "when it was released, since the first one was; not a number where that is not known"),
    "delivered": ("int64", "messages delivered"),
    "multicast": ("int64", "messages multicast"),
    "on_time": ("float64", "the share of its deliveries that it made before its own last multicast"),
    "datagrams_sent": ("Int64", "datagrams sent, handshakes and ends included"),
    "packets_sent": ("Int64", "packets in them"),
    "bytes_sent": ("Int64", "bytes of them, without the headers of UDP and IP"),
    "resent": ("Int64", "packets that the link sent again"),
    "duplicates": ("Int64", "packets that came again"),
    "link_acks": ("Int64", "packets of the link that do nothing but acknowledge"),
    "link_ack_bytes": ("Int64", "bytes of acknowledgements of the link: those packets, and what rides in its others"),
    "ordering_acks": ("Int64", "packets of the ordering that do nothing but acknowledge or promise"),
    "clock_bytes": ("Int64", "bytes of logical clocks in what was sent: stamps and vectors"),
    "egress_bytes": ("Int64", "bytes to members in other regions, with 28 of UDP and IP a datagram"),
    "lost_by_model": ("Int64", "datagrams to it that the emulated network lost"),
    "dropped": ("Int64", "datagrams that it or its system dropped"),
    "timers_late_s": ("float64", "how late its timers fired, and with them what its application asked for, at the 99th"
                      " percentile; not a number in virtual time"),
    "blocked_s": ("float64", "the sum of blocked_s over all that it delivered"),
    "blocked_on": ("Int16", "the member that it waited for longest, of what its ordering's way explains; NA: for none"),
}  # fmt: skip

FRAMES: dict[str, dict[str, Column]] = {
    "runs": RUNS,
    "deliveries": DELIVERIES,
    "sends": SENDS,
    "rounds": ROUNDS,
    "violations": VIOLATIONS,
    "latencies": LATENCIES,
    "costs": COSTS,
}

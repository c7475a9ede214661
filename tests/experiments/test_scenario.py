"""Scenario files: what they may say, what follows from it, and how everything else is refused."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import yaml

from experiments.planet import load_planet, planet_names
from experiments.scenario import (
    Fault,
    Scenario,
    as_written,
    check_names,
    describe,
    json_schema,
    load,
    orderings,
    override,
    resolve,
    scenario_names,
    seed_text,
)
from peer.core.errors import BAD_SETTINGS, SettingsError
from peer.core.settings import LayerSettings, RunSettings, StackSettings, from_json, to_json

TABLE = {
    "unordered": SimpleNamespace(variants=("plain",)),
    "lamport_all_ack": SimpleNamespace(variants=("explicit", "promise")),
    "fixed_sequencer": SimpleNamespace(variants=("ub", "bb")),
}


@pytest.fixture
def file(tmp_path, monkeypatch):
    """Writes `mine.yml` beside the others of the test and stands in its folder."""
    monkeypatch.chdir(tmp_path)

    def write(text, name="mine.yml"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return name

    return write


def refusal(call, *args, **kwargs):
    with pytest.raises(SettingsError) as caught:
        call(*args, **kwargs)
    assert caught.value.exit_code == BAD_SETTINGS
    assert "\n" not in str(caught.value)
    return str(caught.value)


# -- what a file may say


def test_the_file_that_says_everything(file):
    scenario = load(
        file("""
        name: three-regions
        peers: 6
        planet: aws-2020-06-05
        regions: [us-east-1, eu-west-1, ap-northeast-1]
        stack: {discovery: group_manager, connection: ready_ack, overlay: full_mesh, hop_link: null,
                link: {name: ack_resend, order: none, resend_s: 0.3}, membership: static, election: null,
                ordering: lamport_all_ack, allow_unmet: true}
        ordering_options: {variant: explicit}
        workload: {kind: steady, messages: 50, gap_ms: [5, 9.5], size_bytes: 100}
        network: {loss: 0.01, duplicate: 0, reorder: 0.5, jitter_ms: 2, broadcast: all}
        faults: [{at_s: 1.5, crash: 3}, {at_s: 2, partition: [[0, 1], [2, 3, 4, 5]], for_s: 4}]
        deadlines: {handshake_s: 31, send_s: 32, drain_s: 33, upload_s: 34, deadline_s: 35}
        on_failure: stop
        seed: 7
        trace: everything
        window: {blocks: 16}
        nodes: {n0: [0, 1], n1: [2, 3], n2: [4, 5]}
        """)
    )
    assert (scenario.name, scenario.peers, scenario.seed, scenario.trace) == ("three-regions", 6, 7, "everything")
    assert scenario.stack.link == LayerSettings("ack_resend", {"order": "none", "resend_s": 0.3})
    assert scenario.stack.discovery == LayerSettings("group_manager") and scenario.stack.allow_unmet
    assert scenario.ordering_options == {"lamport_all_ack": {"variant": "explicit"}}
    assert scenario.workload.gap_ms == (5.0, 9.5) and scenario.workload.messages == 50
    assert (scenario.network.jitter_ms, scenario.network.broadcast, scenario.network.reorder) == (2.0, "all", 0.5)
    assert scenario.faults == (Fault(1.5, crash=3), Fault(2.0, partition=((0, 1), (2, 3, 4, 5)), for_s=4.0))
    assert (scenario.deadlines.handshake_s, scenario.deadlines.deadline_s) == (31.0, 35.0)
    assert scenario.window.blocks == 16
    assert scenario.nodes == {"n0": (0, 1), "n1": (2, 3), "n2": (4, 5)}
    run = resolve(override(scenario, ["faults=[]"]), "lamport_all_ack", None, "7", "sim")
    assert from_json(RunSettings, json.loads(to_json(run))) == run
    assert run.deadlines.send_s == 32.0 and run.trace == "everything"


def test_an_empty_mapping_is_a_scenario(file):
    assert load(file("{}", "quiet.yml")) == Scenario(name="quiet")


@pytest.mark.parametrize("name", scenario_names())
def test_standard_scenarios(name, file):
    scenario = load(name)
    assert scenario.name == name
    assert load(file(yaml.safe_dump(as_written(scenario)))) == scenario  # a file that says all of it
    assert override(scenario) == scenario
    for world in ("local", "sim", "cloud", "rehearsal"):
        run = resolve(scenario, "unordered", None, seed_text(scenario.seed), world)
        assert from_json(RunSettings, json.loads(to_json(run))) == run
        assert len(run.members) == len(run.regions) == scenario.peers
        assert (run.delays_s is None) == (world in ("cloud", "rehearsal"))


def test_what_the_standard_scenarios_are():
    assert scenario_names() == ["bank", "demo", "lan", "lossy", "store", "text", "wan-3-sites", "wan-5-sites"]
    assert load("lan").planet == "lan" and load("lan").placed() == ("lan",) * 4
    assert load("wan-3-sites").placed() == ("us-east-1", "eu-west-1", "ap-northeast-1")
    five = ("eu-west-1", "us-west-1", "ap-southeast-1", "ca-central-1", "sa-east-1")
    assert load("wan-5-sites").placed() == five
    lossy = load("lossy").network
    assert (lossy.loss, lossy.duplicate, lossy.reorder) == (0.1, 0.05, 0.1)
    demo = load("demo")
    assert demo.placed() == ("us-east-1", "eu-west-1", "ap-northeast-1") * 2
    assert (demo.network.loss, demo.workload.messages, demo.workload.gap_ms) == (0.01, 100, (10.0, 99.0))


def test_a_scenario_is_a_change_of_its_base(file):
    file("base: lossy\nnetwork: {loss: 0.2}\nordering_options: {variant: promise}\n", "first.yml")
    second = load(file("base: ./first.yml\nstack: {ordering: fixed_sequencer}\nordering_options: {sequencer: 2}"))
    assert second.name == "mine"
    assert (second.network.loss, second.network.duplicate) == (0.2, 0.05)
    # Plain options are those of the ordering that the stack had where they were written.
    assert second.ordering_options == {"lamport_all_ack": {"variant": "promise"}, "fixed_sequencer": {"sequencer": 2}}


def test_layers_of_a_base(file):
    file("stack: {link: {name: ack_resend, resend_s: 0.5}, discovery: {name: leaders, known: x}}", "first.yml")
    stack = load(file("base: first.yml\nstack: {link: {order: none}, discovery: {name: broadcast_ping}}")).stack
    assert stack.link == LayerSettings("ack_resend", {"resend_s": 0.5, "order": "none"})
    assert stack.discovery == LayerSettings("broadcast_ping")  # nothing of another layer's options


def test_peers_follow_from_regions(file):
    scenario = load(file("base: demo\nregions: {us-east-1: 4, eu-west-1: 2, sa-east-1: 1}"))
    assert scenario.peers == 7
    assert scenario.placed() == ("us-east-1",) * 4 + ("eu-west-1",) * 2 + ("sa-east-1",)
    assert load(file("planet: gcp\npeers: 2")).placed() == ("asia-east1", "asia-east2")


def test_description():
    assert describe(load("demo")) == (
        "demo: 6 peers in us-east-1 (2), eu-west-1 (2), ap-northeast-1 (2) (planet aws-2020-06-05)\n"
        "  steady: 100 messages of 64 bytes from each, 10 to 99 ms apart\n"
        "  lamport_all_ack over static, ack_resend, full_mesh, ready_ack, group_manager\n"
        "  1 % of the datagrams lost; seed 7"
    )
    quiet = describe(override(load("lan"), ["network.jitter_ms=2"], peers=1, messages=1))
    assert "lan: 1 peer in lan (" in quiet and "1 message of 64" in quiet and "up to 2 ms of jitter; seed 1" in quiet
    assert "an undisturbed network" in describe(load("lan"))


def test_schema_for_editors():
    schema = json_schema()
    assert {"base", "peers", "stack", "faults", "ordering_options"} <= set(schema["properties"])
    assert schema["additionalProperties"] is False
    assert {"type": "string"} in schema["$defs"]["LayerSettings"]["anyOf"]
    assert schema["$defs"]["Network"]["properties"]["broadcast"]["enum"] == ["region", "all", "none"]


# -- what is refused


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("pears: 3", "pears: unknown setting pears; did you mean peers? known are base, name, peers, "),
        ("workload: {mesages: 3}", "workload.mesages: unknown setting mesages; did you mean messages? known are "),
        ("deadlines: {drain: 3}", "deadlines.drain: unknown setting drain; did you mean drain_s? known are "),
        ("faults: [{at_s: 1, crsh: 1}]", "faults.0.crsh: unknown setting crsh; did you mean crash? known are "),
        ("peers: many", "peers: expected a valid integer, found many"),
        ("peers: '3'", "peers: expected a valid integer, found '3'"),
        ("peers: true", "peers: expected a valid integer, found true"),
        ("peers:", "peers: expected a valid integer, found nothing"),
        ("workload: 5", "workload: expected settings as `key: value`, found 5"),
        ("stack: [link]", "stack: expected settings as `key: value`, found [link]"),
        ("stack: {link: 5}", "stack.link: expected the name of a layer, or {name: ..., option: value}, found 5"),
        ("stack: {hop_link: {order: none}}", "stack.hop_link.name: is missing"),
        ("stack: {lnk: direct}", "stack.lnk: unknown setting lnk; did you mean link? known are discovery, "),
        ("stack: {ordering: null}", "stack.ordering: expected the name of a layer, or {name: ..., option: value}, "),
        ("ordering_options: 3", "ordering_options: expected settings as `key: value`, found 3"),
        ("ordering_options: {variant: 3}", "ordering_options.lamport_all_ack.variant: expected the name of "),
        ("trace: all", "trace: expected 'deliveries' or 'everything', found all"),
        ("on_failure: go", "on_failure: expected 'stop' or 'continue', found go"),
        ("network: {broadcast: no}", "network.broadcast: expected 'region', 'all' or 'none', found false"),
        ("peers: 0", "peers: expected 1 to 255, found 0"),
        ("peers: 256", "peers: expected 1 to 255, found 256"),
        ("seed: -1", "seed: expected 0 to 9,223,372,036,854,775,807, found -1"),
        ("workload: {messages: -1}", "workload.messages: expected 0 to 178,956,970 for 3 peers, found -1"),
        ("workload: {size_bytes: 7}", "workload.size_bytes: expected 8 to 16,777,216, found 7"),
        ("workload: {size_bytes: 16777217}", "workload.size_bytes: expected 8 to 16,777,216, found 16,777,217"),
        ("workload: {gap_ms: [99, 10]}", "workload.gap_ms: expected [shortest, longest] in ms, found [99, 10]"),
        ("workload: {gap_ms: [-1, 10]}", "workload.gap_ms: expected [shortest, longest] in ms, found [-1, 10]"),
        ("workload: {gap_ms: [1, .nan]}", "workload.gap_ms: expected [shortest, longest] in ms, found [1, nan]"),
        ("workload: {gap_ms: [1]}", "workload.gap_ms.1: is missing"),
        ("workload: {gap_ms: [1, 2, 3]}", "workload.gap_ms: expected at most 2 items, found [1, 2, 3]"),
        ("workload: {gap_ms: [1, x]}", "workload.gap_ms.1: expected a valid number, found x"),
        ("network: {loss: -0.1}", "network.loss: expected 0 to 1, found -0.1"),
        ("network: {loss: .nan}", "network.loss: expected 0 to 1, found nan"),
        ("network: {loss: 1}", "network.loss: expected less than 1: a network that loses everything delivers nothing"),
        ("network: {duplicate: 1.01}", "network.duplicate: expected 0 to 1, found 1.01"),
        ("network: {reorder: 2}", "network.reorder: expected 0 to 1, found 2.0"),
        ("network: {jitter_ms: -1}", "network.jitter_ms: expected 0 to 60,000, found -1.0"),
        ("network: {datagram_bytes: 100000}", "network.datagram_bytes: expected 548 to 65,507, found 100,000"),
        ("window: {blocks: 0}", "window.blocks: expected 1 to 1,000,000, found 0"),
        ("deadlines: {drain_s: 0}", "deadlines.drain_s: expected 0.001 to 1,000,000, found 0.0"),
        ("deadlines: {deadline_s: .inf}", "deadlines.deadline_s: expected 0.001 to 1,000,000, found inf"),
        ("name: ../../up", "name: expected letters, digits, dots, dashes and underscores, found ../../up"),
        ("name: ..", "name: expected letters, digits, dots, dashes and underscores, found .."),
        ("planet: gpc", "planet: unknown planet gpc; did you mean gcp? known are aws-2020-06-05, gcp, lan, or the "),
        ("planet: no/such.yml", "planet: no such file: no/such.yml"),
        ("base: lossi", "base: unknown scenario lossi; did you mean lossy? known are bank, demo, lan, "),
        ("base: [lan]", "base: expected the name of a scenario, found [lan]"),
        ("base: mine.yml", "base: comes back to itself: a scenario cannot be its own base"),
        ("planet: gcp\nregions: [us-east-1]", "regions: unknown region us-east-1; did you mean us-east1? known "),
        ("regions: 5", "regions: expected a list of regions, or {region: number of peers}, found 5"),
        ("regions: [lan, 5]", "regions.1: expected a valid string, found 5"),
        ("regions: {lan: some}", "regions.lan: expected a valid integer, found some"),
        ("regions: {lan: 2}\npeers: 3", "regions: 2 peers have a region here, but `peers` is 3"),
        ("regions: {lan: -1}\npeers: 3", "regions.lan: expected how many peers are there, found -1"),
        ("nodes: {a: [0, 1]}", "nodes: expected each of the peers 0 to 2 on one node, found [0, 1]"),
        ("nodes: {a: [0, 1], b: [1, 2]}", "nodes: expected each of the peers 0 to 2 on one node, found [0, 1, 1, 2]"),
        ("faults: [{crash: 1}]", "faults.0.at_s: is missing"),
        ("faults: [{at_s: 1}]", "faults.0: expected either `crash: PEER` or `partition: [[PEER, "),
        ("faults: [{at_s: 1, crash: 1, partition: [[0], [1, 2]]}]", "faults.0: expected either `crash: PEER` or "),
        ("faults: [{at_s: 1, crash: 3}]", "faults.0.crash: expected a peer, 0 to 2, found 3"),
        ("faults: [{at_s: -1, crash: 1}]", "faults.0.at_s: expected seconds since the start, found -1"),
        ("faults: [{at_s: 1, crash: 1, for_s: 2}]", "faults.0.for_s: a crash is for good; only a partition ends"),
        ("faults: [{at_s: 1, partition: [[0], [1, 2]], for_s: 0}]", "faults.0.for_s: expected seconds, more than 0, "),
        ("faults: [{at_s: 1, partition: [[0], [1]]}]", "faults.0.partition: expected each of the peers 0 to 2 in "),
        ("faults: [{at_s: 1, partition: [[0, 1, 2]]}]", "faults.0.partition: expected each of the peers 0 to 2 in "),
        ("faults: [{at_s: 1, partition: [[0, 1, 2], []]}]", "faults.0.partition: expected each of the peers 0 to "),
        ("on_failure: continue", "on_failure: cannot continue: expected membership views, or raft_log "),
        ("[1, 2]", "expected settings as `key: value`, found [1, 2]"),
        ("", "expected settings as `key: value`, found nothing"),
        ("peers: [", "is not YAML in line 1: expected the node content, but found '<stream end>'"),
        ("peers: 3\nseed: 1\npeers: 4", "is not YAML in line 3: peers is given twice"),
        ("seed: 1\nx: !!python/object:os.system {}", "is not YAML in line 2: could not determine a constructor"),
        ("workload: &a {kind: *a}", "mine.yml: holds something that is no setting: Circular reference detected"),
        ("x: " + "[" * 5000, "mine.yml: is nested too deeply"),
        ("trace: 'a\n\n  b'", "trace: expected 'deliveries' or 'everything', found 'a b'"),
    ],
    ids=lambda text: text[:50],
)
def test_refusals(file, text, sentence):
    found = refusal(load, file(text))
    assert found.startswith("mine.yml"), found
    assert sentence in found, found


def test_the_farthest_that_is_allowed(file):
    for text in (
        "peers: 1\nworkload: {messages: 0, size_bytes: 8, gap_ms: [0, 0]}\nnetwork: {loss: 0, duplicate: 1}",
        "network: {reorder: 1, jitter_ms: 60000}",
        "peers: 255\nworkload: {size_bytes: 16777216, gap_ms: [3600000, 3600000]}\nregions: {lan: 255}",
        "planet: gcp\nregions: {us-east1: 3, us-east4: 0}",
        "faults: [{at_s: 0, crash: 0}, {at_s: 1.0e+6, partition: [[2], [1], [0]], for_s: 1.0e+6}, {at_s: 1, crash: 2}]",
    ):
        assert resolve(override(load(file(text)), ["faults=[]"]), "fifo", None, "1", "sim")


def test_a_long_value_is_cut(file):
    sixty = "x" * 60
    assert refusal(load, file(f"trace: {sixty}")).endswith(f"found {sixty}")
    assert refusal(load, file(f"trace: {sixty}x")).endswith(f"found {sixty[:57]}...")


def test_files_that_cannot_be_read(file, tmp_path):
    assert refusal(load, "wann") == (
        "unknown scenario wann; did you mean lan? known are bank, demo, lan, lossy, store, text, wan-3-sites,"
        " wan-5-sites, or the path of a .yml file"
    )
    assert refusal(load, "no/such.yml") == "no such file: no/such.yml"
    (tmp_path / "mine.yml").write_bytes(b"name: \xff")
    assert refusal(load, "mine.yml") == "mine.yml: is not text in UTF-8"


# -- the command line


def test_options_of_the_command_line():
    demo = load("demo")
    changed = override(
        demo,
        ["workload.gap_ms=[1, 2]", "network.jitter_ms=2", "stack.link.order=none", "name=other"],
        ordering="fixed_sequencer:bb", peers=4, messages=5, regions="us-east-1, sa-east-1", loss=0.5, seed=9,
        trace="everything",
    )  # fmt: skip
    assert changed == replace(
        demo,
        name="other",
        peers=4,
        regions=("us-east-1", "sa-east-1"),
        stack=replace(
            demo.stack,
            link=LayerSettings("ack_resend", {"order": "none"}),
            ordering=LayerSettings("fixed_sequencer"),
        ),
        ordering_options={"fixed_sequencer": {"variant": "bb"}},
        workload=replace(demo.workload, messages=5, gap_ms=(1.0, 2.0)),
        network=replace(demo.network, loss=0.5, jitter_ms=2.0),
        seed=9,
        trace="everything",
    )


def test_options_belong_to_one_ordering(file):
    mine = load(file("ordering_options: {variant: promise}"))
    changed = override(mine, ["ordering_options.sequencer=1"], ordering="fixed_sequencer")
    assert changed.ordering_options == {"lamport_all_ack": {"variant": "promise"}, "fixed_sequencer": {"sequencer": 1}}
    assert override(mine, ["stack.ordering.sequencer=1"], ordering="fixed_sequencer") == changed
    several = override(mine, ["ordering_options.fixed_sequencer.sequencer=1"], ordering="all")
    assert several.ordering_options == changed.ordering_options
    assert several.stack.ordering.name == "lamport_all_ack"
    for text in ("all", "all:variants", "fixed_sequencer:bb,unordered"):
        for path in ("ordering_options.sequencer=1", "ordering_options={sequencer: 1}", "stack.ordering.sequencer=1"):
            assert "several orderings run: say whose option it is" in refusal(override, mine, [path], ordering=text)


def test_another_planet_has_other_regions():
    demo = load("demo")
    assert override(demo, planet="lan").placed() == ("lan",) * 6
    assert override(demo, planet="aws-2020-06-05") == demo
    assert override(demo, planet="gcp", regions=["us-west1"]).placed() == ("us-west1",) * 6
    assert override(demo, ["regions={eu-west-1: 2, eu-west-2: 1}"]).placed() == ("eu-west-1", "eu-west-1", "eu-west-2")


@pytest.mark.parametrize(
    "assignments, options, sentence",
    [
        (["peers"], {}, "--set: expected PATH=VALUE, as in workload.messages=10, found peers"),
        (["a..b=1"], {}, "--set: expected PATH=VALUE, as in workload.messages=10, found a..b=1"),
        (["network.los=0.1"], {}, "--set network.los: unknown setting los; did you mean loss? known "),
        (["loss=0.1"], {}, "--set loss: unknown setting loss; did you mean network.loss? known are base, "),
        (["peers=3"], {"peers": 4}, "--set peers: --peers says it, too; leave one of them out"),
        (["network={loss: 0.3}"], {"loss": 0.0}, "--set network: --loss says it, too; leave one of them out"),
        (["stack.ordering=fifo"], {"ordering": "fifo"}, "--set stack.ordering: --ordering says it, too; leave one"),
        (["peers=[1"], {}, "--set peers: is not YAML in line 1: "),
        (["stack=5"], {}, "--set stack: expected settings as `key: value`, found 5"),
        (["seed.x=1"], {}, "--set seed: expected a valid integer, found {x: 1}"),
        ([], {"loss": 1.5}, "--loss: expected 0 to 1, found 1.5"),
        ([], {"regions": "us-east1"}, "--regions: unknown region us-east1; did you mean us-east-1? known "),
        ([], {"trace": "some"}, "--trace: expected 'deliveries' or 'everything', found some"),
        ([], {"messages": -1}, "--messages: expected 0 to 89,478,485 for 6 peers, found -1"),
    ],
)
def test_refusals_on_the_command_line(assignments, options, sentence):
    assert refusal(override, load("demo"), assignments, **options).startswith(sentence)


def test_choice_of_orderings():
    chosen = [("unordered", None), ("fixed_sequencer", "bb")]
    assert orderings("unordered, fixed_sequencer:bb,unordered", TABLE) == chosen
    assert orderings("all", TABLE) == [("unordered", None), ("lamport_all_ack", None), ("fixed_sequencer", None)]
    assert orderings("all:variants", TABLE) == [
        ("unordered", None),
        ("lamport_all_ack", "explicit"),
        ("lamport_all_ack", "promise"),
        ("fixed_sequencer", "ub"),
        ("fixed_sequencer", "bb"),
    ]


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("lamport", "--ordering: unknown ordering lamport; did you mean lamport_all_ack? known are unordered, "),
        ("unordered:", "--ordering: unknown variant of unordered ''; known are plain"),
        ("fixed_sequencer:bbb", "--ordering: unknown variant of fixed_sequencer bbb; did you mean bb? known are "),
        ("all:some", "--ordering: expected all or all:variants, found all:some"),
        (" , ", "--ordering: expected the name of an ordering, or all; known are unordered, "),
    ],
)
def test_refused_orderings(text, sentence):
    assert refusal(orderings, text, TABLE).startswith(sentence)


def test_names_that_are_in_no_table():
    tables = {"link": {"ack_resend": 1}, "election": {}, "ordering": TABLE, "workload": {"steady": 1}}
    lan = load("lan")
    check_names(lan, tables)
    cases = {
        "stack.link=ack_resent": "f, stack.link: unknown link ack_resent; did you mean ack_resend? known ",
        "stack.ordering=fifo": "f, stack.ordering: unknown ordering fifo; known are unordered, ",
        "workload.kind=stedy": "f, workload.kind: unknown workload stedy; did you mean steady? known are ",
        "ordering_options.fifo={}": "f, ordering_options.fifo: unknown ordering fifo; ",
        "ordering_options.variant=x": "f, ordering_options.lamport_all_ack.variant: unknown variant of ",
    }
    for assignment, sentence in cases.items():
        assert refusal(check_names, override(lan, [assignment]), tables, "f").startswith(sentence)


# -- runs


def test_a_run_is_complete():
    run = resolve(load("demo"), "lamport_all_ack", "promise", "7", "local")
    assert run.members == ("p0", "p1", "p2", "p3", "p4", "p5")
    assert run.regions == ("us-east-1", "eu-west-1", "ap-northeast-1") * 2
    assert run.stack.ordering == LayerSettings("lamport_all_ack", {"variant": "promise"})
    assert run.network.datagram_bytes == 60_000 and run.deadlines.handshake_s == 30.0
    planet = load_planet("aws-2020-06-05")
    for a, origin in enumerate(run.regions):
        for b, target in enumerate(run.regions):
            assert run.delays_s[a][b] == (0 if a == b else planet.one_way_s(origin, target))
    assert run.delays_s[0][3] > 0  # two peers of one region are as far apart as its machines
    lan = resolve(load("lan"), "unordered", None, "1", "sim")
    assert lan.delays_s[0] == (0.0, 0.0001, 0.0001, 0.0001)


@pytest.mark.parametrize(
    "ordering, order", [("unordered", "none"), ("causal", "none"), ("fifo", "fifo"), ("skeen", "fifo")]
)
def test_order_of_the_link(ordering, order, file):
    assert resolve(load("lan"), ordering, None, "1", "sim").stack.link.options == {"order": order}
    mine = load(file("stack: {link: {name: ack_resend, order: fifo}}"))
    assert resolve(mine, ordering, None, "1", "sim").stack.link.options == {"order": "fifo"}
    direct = override(mine, ["stack.link=direct"])
    assert resolve(direct, ordering, None, "1", "sim").stack.link == LayerSettings("direct")
    bare = override(mine, ["stack={link: null, discovery: null, connection: null, membership: null, overlay: null}"])
    stack = resolve(bare, ordering, None, "1", "sim").stack
    assert (stack.link, stack.discovery, stack.ordering.name) == (None, None, ordering)


def test_what_else_follows(file):
    lan = load("lan")
    assert resolve(lan, "raft_log", None, "1", "sim").stack.election == LayerSettings("raft")
    assert resolve(lan, "skeen", None, "1", "sim").stack.election is None
    other = override(lan, ["stack.election=lowest_id"])
    assert resolve(other, "raft_log", None, "1", "sim").stack.election == LayerSettings("lowest_id")
    for patient in ("synchronize", "ready_to_receive"):
        slow = override(lan, [f"stack.connection={patient}"])
        assert resolve(slow, "fifo", None, "1", "sim").deadlines.handshake_s == 120.0
        slow = override(slow, ["deadlines.handshake_s=7"])
        assert resolve(slow, "fifo", None, "1", "sim").deadlines.handshake_s == 7.0
    assert resolve(lan, "fifo", None, "1", "cloud").network.datagram_bytes == 1_372
    small = override(lan, ["network.datagram_bytes=999"])
    assert resolve(small, "fifo", None, "1", "cloud").network.datagram_bytes == 999


def test_nodes_of_the_leaders():
    def nodes(scenario):
        return resolve(scenario, "fifo", None, "1", "sim").stack.discovery.options["nodes"]

    leaders = ["stack.discovery=leaders"]
    assert nodes(override(load("lan"), leaders, peers=5)) == [[0, 1], [2, 3], [4]]
    assert nodes(override(load("demo"), leaders)) == [[0, 3], [1, 4], [2, 5]]
    assert nodes(override(load("lan"), [*leaders, "nodes={a: [3, 0], b: [1, 2]}"])) == [[0, 3], [1, 2]]


def test_options_of_the_ordering_that_runs(file):
    scenario = load(file("ordering_options: {fixed_sequencer: {sequencer: 2, variant: bb}, variant: promise}"))

    def options(name, variant=None):
        return resolve(scenario, name, variant, "1", "sim").stack.ordering.options

    assert options("fixed_sequencer") == {"sequencer": 2, "variant": "bb"}
    assert options("fixed_sequencer", "ub") == {"sequencer": 2, "variant": "ub"}
    assert options("lamport_all_ack") == {"variant": "promise"}
    assert options("fifo") == {}
    built = Scenario(stack=StackSettings(ordering=LayerSettings("fixed_sequencer", {"sequencer": 1})))
    run = resolve(built, "fixed_sequencer", "bb", "1", "sim")
    assert run.stack.ordering.options == {"sequencer": 1, "variant": "bb"}
    assert resolve(built, "fifo", None, "1", "sim").stack.ordering.options == {}


def test_runs_that_are_refused(file):
    crash = load(file("faults: [{at_s: 1, crash: 2}]"))
    for world in ("sim", "local", "cloud", "rehearsal"):
        sentence = "scenario mine, faults: no world can make faults yet"
        assert refusal(resolve, crash, "fifo", None, "1", world) == sentence
    onward = load(file("on_failure: continue\nstack: {ordering: raft_log}"))
    resolve(onward, "raft_log", None, "1", "sim")
    assert refusal(resolve, onward, "skeen", None, "1", "sim") == (
        "scenario mine, on_failure: cannot continue: expected membership views, or raft_log over static;"
        " found skeen over static"
    )
    resolve(override(onward, ["stack.membership=views"]), "skeen", None, "1", "sim")
    assert "unknown world moon" in refusal(resolve, crash, "fifo", None, "1", "moon")


def test_repeats_draw_from_other_seeds():
    assert len({seed_text(seed, repeat) for seed in range(30) for repeat in range(30)}) == 900


# -- planets


@pytest.mark.parametrize(
    "planet, origin, target, ms",
    [
        ("aws-2020-06-05", "us-east-1", "eu-west-1", 70.508),
        ("aws-2020-06-05", "eu-west-1", "us-east-1", 70.501),
        ("aws-2020-06-05", "ap-northeast-1", "eu-west-1", 204.446),
        ("aws-2020-06-05", "eu-west-2", "us-west-2", 145.186),
        ("aws-2020-06-05", "af-south-1", "ap-southeast-2", 412.886),
        ("aws-2020-06-05", "ap-southeast-1", "ap-southeast-1", 0.172),
        ("gcp", "asia-east1", "southamerica-east1", 290.227),
        ("gcp", "us-east1", "asia-south1", 278.322),
        ("gcp", "us-east1", "us-east1", 0.272),
        ("lan", "lan", "lan", 0.2),
    ],
)
def test_planets_are_what_was_measured(planet, origin, target, ms):
    assert load_planet(planet).one_way_s(origin, target) == pytest.approx(ms / 2000, abs=1e-9)


def test_planets_are_whole():
    assert planet_names() == ["aws-2020-06-05", "gcp", "lan"]
    assert [len(load_planet(name).regions) for name in planet_names()] == [19, 20, 1]
    for name in ("aws-2020-06-05", "gcp"):
        planet = load_planet(name)
        assert "github.com/vitorenesduarte/fantoch" in planet.measured
        here = [row[at] for at, row in enumerate(planet.round_trips_ms)]
        assert all(min(row) == own for row, own in zip(planet.round_trips_ms, here))  # home is nearest


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("about: x", "own.yml, round_trips_ms: expected one row a region, as in `lan: [0.2]`, "),
        ("round_trips_ms: {a: [1, 2]}", "own.yml, round_trips_ms.a: expected 1 round trips in ms, one a "),
        ("round_trips_ms: {}", "own.yml, round_trips_ms: expected one row a region, as in `lan: [0.2]`, found {}"),
        ("round_trips_ms: {a: [60000]}", "own.yml, round_trips_ms.a: expected 1 round trips in ms"),
        ("round_trips_ms: {a: [-1]}", "own.yml, round_trips_ms.a: expected 1 round trips in ms"),
        ("round_trips_ms: {a: [x]}", "own.yml, round_trips_ms.a: expected 1 round trips in ms"),
        ("round_trips_ms: {a: [1]}\nabuot: x", "own.yml: unknown setting abuot; did you mean about? known "),
    ],
)
def test_a_planet_of_ones_own(file, text, sentence):
    load_planet.cache_clear()
    file(text, "own.yml")
    assert refusal(load_planet, "own.yml").startswith(sentence)
    file("round_trips_ms:\n  a: [1, 20]\n  b: [30, 0]", "own.yml")
    scenario = load(file("planet: own.yml\npeers: 3"))
    delays_s = resolve(scenario, "fifo", None, "1", "sim").delays_s
    assert delays_s == ((0, 0.01, 0.0005), (0.015, 0, 0.015), (0.0005, 0.01, 0))
    load_planet.cache_clear()

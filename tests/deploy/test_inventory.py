"""Inventories: what they come to, and all that can be wrong in one, each with the path that says where."""

import json
from pathlib import Path

import pytest
import yaml

from deploy.inventory import Host, inventory_schema, load_inventory
from peer.core.errors import SettingsError

EXAMPLE = """
lab: demo
policy: {at_least: 2}
deadline_s: 90
defaults: {user: admin, key: keys/lab, port: 2222, peer_port: 5800}
hosts:
  frankfurt: {region: eu-central-1, address: 203.0.113.5, peers: 0}
  tokyo:
    {region: ap-northeast-1, address: 198.51.100.9, bind: 10.0.0.9, advertise: 203.0.113.9, jump: frankfurt, peers: 2}
  sydney: {address: syd.example.org, user: lab, port: 22, jump: "ops@bastion.example.org:2200"}
groups: {far: [tokyo, sydney]}
"""


@pytest.fixture
def written(tmp_path):
    """Writes an inventory beside the key that it may name."""
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "lab").write_text("a key")

    def write(text: str, name: str = "lab.yml") -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def test_an_inventory_has_everything_filled_in(written, tmp_path):
    inventory = load_inventory(written(EXAMPLE))
    key = tmp_path / "keys" / "lab"
    assert (inventory.lab, inventory.policy, inventory.deadline_s) == ("demo", 2, 90.0)
    assert (inventory.control, inventory.control_host) == ("forward", "")
    assert inventory.hosts == (
        Host("frankfurt", "eu-central-1", "203.0.113.5", "admin", key, 2222, "", 0, 5800, "0.0.0.0", "203.0.113.5"),
        Host(
            "tokyo", "ap-northeast-1", "198.51.100.9", "admin", key, 2222, "frankfurt", 2, 5800, "10.0.0.9",
            "203.0.113.9",
        ),
        Host(
            "sydney", "sydney", "syd.example.org", "lab", key, 22, "ops@bastion.example.org:2200", 1, 5800, "0.0.0.0",
            "syd.example.org",
        ),
    )  # fmt: skip


def test_the_least_that_can_be_said(written):
    inventory = load_inventory(written("hosts: {one: {address: 192.0.2.1}}"))
    assert (inventory.lab, inventory.policy, inventory.deadline_s) == ("lab", "all", 60.0)
    assert inventory.hosts == (Host("one", "one", "192.0.2.1", advertise="192.0.2.1"),)
    assert inventory.hosts[0].bind == "0.0.0.0" and inventory.hosts[0].key is None


def test_peers_and_their_ports(written):
    frankfurt, tokyo, sydney = load_inventory(written(EXAMPLE)).hosts
    assert (frankfurt.peer_names(), frankfurt.ports()) == ((), ())
    assert (tokyo.peer_names(), tokyo.ports()) == (("tokyo-0", "tokyo-1"), (5800, 5801))
    assert (sydney.peer_names(), sydney.ports()) == (("sydney",), (5800,))


def test_groups_and_single_hosts(written):
    inventory = load_inventory(written(EXAMPLE))
    assert [host.name for host in inventory.of_group("far")] == ["tokyo", "sydney"]
    assert [host.name for host in inventory.of_group("sydney")] == ["sydney"]
    assert [host.name for host in inventory.of_group("far, frankfurt")] == ["frankfurt", "tokyo", "sydney"]
    with pytest.raises(SettingsError, match="unknown group or host qqq; known are far, frankfurt, tokyo, sydney"):
        inventory.of_group("qqq")
    with pytest.raises(SettingsError, match="unknown host syd; did you mean sydney[?]"):
        inventory.host("syd")


def test_the_way_to_a_host(written, tmp_path):
    inventory = load_inventory(written(EXAMPLE))
    frankfurt, tokyo, sydney = inventory.hosts
    assert inventory.jump_of(frankfurt) is None
    assert inventory.jump_of(tokyo) is frankfurt
    bastion = inventory.jump_of(sydney)
    assert (bastion.user, bastion.address, bastion.port) == ("ops", "bastion.example.org", 2200)
    assert bastion.key == tmp_path / "keys" / "lab" and bastion.peer_names() == ()


def test_a_default_way_is_not_meant_for_the_hosts_on_it(written):
    text = """
    defaults: {jump: inner}
    hosts:
      outer: {address: 203.0.113.1, jump: none}
      inner: {address: 10.0.0.1, jump: outer}
      one: {address: 10.0.0.2}
      two: {address: 203.0.113.2, jump: none}
    """
    assert [host.jump for host in load_inventory(written(text)).hosts] == ["", "outer", "inner", ""]
    text = text.replace("jump: outer", "").replace("203.0.113.1, jump: none", "203.0.113.1, jump: inner")
    assert [host.jump for host in load_inventory(written(text)).hosts] == ["inner", "", "inner", ""]


@pytest.mark.parametrize(
    "policy, enough, too_few",
    [
        ("all", (3, 3), (2, 3)),
        ("any", (1, 3), (0, 3)),
        ("{at_least: 2}", (2, 3), (1, 3)),
        ("{at_least: 2}", (1, 1), (0, 1)),
    ],
)
def test_how_many_hosts_are_enough(written, policy, enough, too_few):
    hosts = ", ".join(f"h{n}: {{address: 192.0.2.{n}}}" for n in (1, 2, 3))
    inventory = load_inventory(written(f"policy: {policy}\nhosts: {{{hosts}}}"))
    assert inventory.enough(*enough) and not inventory.enough(*too_few)


def test_a_key_is_found_at_home_and_beside_the_inventory(written, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for said in ("~/keys/lab", "keys/lab", str(tmp_path / "keys" / "lab")):
        inventory = load_inventory(written(f"hosts: {{one: {{address: 192.0.2.1, key: {said}}}}}"))
        assert inventory.hosts[0].key == tmp_path / "keys" / "lab"


def test_services_on_one_of_the_hosts(written):
    text = "control: direct\ncontrol_host: two\nhosts: {one: {address: 192.0.2.1}, two: {address: 192.0.2.2, peers: 0}}"
    inventory = load_inventory(written(text))
    assert (inventory.control, inventory.control_host) == ("direct", "two")
    assert (inventory.manager_port, inventory.server_port) == (5680, 5678)
    assert [host.name for host in inventory.in_use()] == ["one", "two"]
    inventory = load_inventory(written("manager_port: 7000\nserver_port: 7001\n" + text))
    assert (inventory.manager_port, inventory.server_port) == (7000, 7001)


# What is refused.

ONE, TWO = "one: {address: 192.0.2.1}", "two: {address: 192.0.2.2}"


def hosts(*entries: str, above: str = "") -> str:
    return f"{above}\nhosts: {{{', '.join(entries)}}}"


WRONG = {
    # the whole file
    "": ("", "expected settings as `key: value`, found nothing"),
    "- one": ("", "expected settings as `key: value`, found [one]"),
    "hosts: {": ("", "is not YAML in line 1"),
    "lab: demo": ("hosts", "is missing"),
    "hosts: [one]": ("hosts", "expected hosts as `name: {address: ...}`, found [one]"),
    "hosts: {}": ("hosts", "an inventory has at least one host"),
    "hosts: {one: {address: 192.0.2.1}, one: {address: 192.0.2.2}}": ("", "one is given twice"),
    hosts(ONE, above="labs: demo"): ("labs", "unknown setting labs; did you mean lab? known are lab, policy"),
    hosts(ONE, above="lab: de_mo"): ("lab", "expected letters, digits and dashes, at most 32, found de_mo"),
    hosts(ONE, above="lab: ../x"): ("lab", "expected letters, digits"),
    hosts(ONE, above="lab: 7"): ("lab", "expected letters, digits and dashes, at most 32, found 7"),
    hosts(ONE, above="deadline_s: soon"): ("deadline_s", "expected seconds from 1 to 3600, found soon"),
    hosts(ONE, above="lost_s: never"): ("lost_s", "expected seconds from 1 to 3600, found never"),
    hosts(ONE, above="deadline_s: 0"): ("deadline_s", "expected seconds from 1 to 3600, found 0"),
    hosts(ONE, above="deadline_s: .nan"): ("deadline_s", "expected seconds from 1 to 3600"),
    hosts(ONE, above="deadline_s: 1e9"): ("deadline_s", "expected seconds"),
    # policy
    hosts(ONE, above="policy: most"): ("policy", "expected all, any or {at_least: number}, found most"),
    hosts(ONE, above="policy: 2"): ("policy", "expected all, any or {at_least: number}, found 2"),
    hosts(ONE, above="policy: {at_most: 1}"): ("policy", "expected all, any or {at_least: number}, found {at_most: 1}"),
    hosts(ONE, above="policy: {at_least: 2}"): ("policy.at_least", "expected a number of hosts from 1 to 1, found 2"),
    hosts(ONE, above="policy: {at_least: 0}"): ("policy.at_least", "expected a number of hosts from 1 to 1, found 0"),
    hosts(ONE, above="policy: {at_least: x}"): ("policy.at_least", "expected a valid integer, found x"),
    # control
    hosts(ONE, above="control: reverse"): ("control", "expected 'forward' or 'direct', found reverse"),
    hosts(ONE, above="control: direct"): ("control_host", "is missing: control is direct, and the services"),
    hosts(ONE, above="control_host: one"): ("control_host", "is for `control: direct`"),
    hosts(ONE, above="control: direct\ncontrol_host: oen"): ("control_host", "unknown host oen; did you mean one?"),
    hosts(ONE, above="server_port: 7000"): ("server_port", "is for `control: direct`"),
    hosts(ONE, above="control: direct\ncontrol_host: one\nmanager_port: 5678"): (
        "server_port",
        "is that of the group manager; they cannot share one",
    ),
    hosts(ONE, above="control: direct\ncontrol_host: one\nserver_port: 0"): (
        "server_port",
        "expected a port from 1 to 65535, found 0",
    ),
    hosts(ONE, "two: {address: 192.0.2.2, bind: 127.0.0.1, peers: 0}", above="control: direct\ncontrol_host: two"): (
        "control_host",
        "what listens on 127.0.0.1 hears no other host than two",
    ),
    # defaults
    hosts(ONE, above="defaults: [x]"): ("defaults", "expected settings as `key: value`, found [x]"),
    hosts(ONE, above="defaults: {address: x}"): ("defaults.address", "unknown setting address; known are region, user"),
    hosts(ONE, above="defaults: {port: 0}"): ("defaults.port", "expected a port from 1 to 65535, found 0"),
    hosts(ONE, above="defaults: {port: '22'}"): ("defaults.port", "expected a port from 1 to 65535, found '22'"),
    hosts(ONE, above="defaults: {peers: 256}"): ("defaults.peers", "expected a number from 0 to 255, found 256"),
    hosts(ONE, above="defaults: {key: nowhere}"): ("defaults.key", "no such file: "),
    hosts(ONE, above="defaults: {bind: eth0}"): ("defaults.bind", "expected an IPv4 address of the host"),
    # a host
    "hosts: {one: 192.0.2.1}": ("hosts.one", "expected settings as `key: value`, found 192.0.2.1"),
    "hosts: {one: {}}": ("hosts.one.address", "is missing"),
    "hosts: {one: {adress: x}}": ("hosts.one.adress", "unknown setting adress; did you mean address?"),
    "hosts: {region: {address: x, prot: 1}}": ("hosts.region.prot", "unknown setting prot; did you mean port?"),
    "hosts: {'a b': {address: x}}": ("hosts.a b", "the name of a host is at most 60 letters, digits, dots and dashes"),
    "hosts: {../x: {address: x}}": ("hosts.../x", "the name of a host is"),
    "hosts: {none: {address: x}}": ("hosts.none", "no host can have this name"),
    f"hosts: {{{'x' * 61}: {{address: x}}}}": ("hosts." + "x" * 61, "the name of a host is at most 60"),
    "hosts: {one: {address: 7}}": ("hosts.one.address", "expected a valid string, found 7"),
    "hosts: {one: {address: 300.0.2.1}}": ("hosts.one.address", "expected an IPv4 address or a name, found 300.0.2.1"),
    "hosts: {one: {address: '2001:db8::1'}}": ("hosts.one.address", "expected an IPv4 address or a name"),
    "hosts: {one: {address: 'lab@x'}}": ("hosts.one.address", "expected an IPv4 address or a name, found lab@x"),
    "hosts: {one: {address: -oProxyCommand=x}}": ("hosts.one.address", "expected an IPv4 address or a name"),
    "hosts: {one: {address: x, user: a b}}": ("hosts.one.user", "expected the name of a user, found a b"),
    "hosts: {one: {address: x, user: -x}}": ("hosts.one.user", "expected the name of a user, found -x"),
    "hosts: {one: {address: x, port: 65536}}": ("hosts.one.port", "expected a port from 1 to 65535, found 65536"),
    "hosts: {one: {address: x, peers: true}}": ("hosts.one.peers", "expected a number from 0 to 255, found true"),
    "hosts: {one: {address: x, region: a b}}": ("hosts.one.region", "expected letters, digits, dots and dashes"),
    "hosts: {one: {address: x, key: nowhere}}": ("hosts.one.key", "no such file: "),
    "hosts: {one: {address: x, key: keys/lab.pub}}": ("hosts.one.key", "is the public half of a key"),
    "hosts: {one: {address: x, key: ~nobody-here/key}}": ("hosts.one.key", "nobody here has that home"),
    "hosts: {one: {address: x, advertise: 'x:1'}}": ("hosts.one.advertise", "expected an IPv4 address or a name"),
    "hosts: {one: {address: x, bind: x}}": ("hosts.one.bind", "expected an IPv4 address of the host, or 0.0.0.0"),
    # jumps
    hosts(ONE, "two: {address: x, jump: oen}"): ("hosts.two.jump", "unknown host oen; did you mean one?"),
    hosts(ONE, "two: {address: x, jump: one.x/y}"): ("hosts.two.jump", "unknown host one.x/y"),
    hosts(ONE, "two: {address: x, jump: 'a.b:99999'}"): ("hosts.two.jump", "expected a port from 1 to 65535, found"),
    hosts(ONE, "two: {address: x, jump: 'u@300.1.1.1'}"): ("hosts.two.jump", "expected an IPv4 address or a name"),
    hosts(ONE, "two: {address: x, jump: 'one,u@b.c'}"): ("hosts.two.jump", "one host to jump through, not several"),
    hosts(ONE, "two: {address: x, jump: two}"): ("hosts.two.jump", "leads in a circle: two, two"),
    hosts("a: {address: x, jump: b}", "b: {address: y, jump: c}", "c: {address: z, jump: a}"): (
        "hosts.a.jump",
        "leads in a circle: a, b, c, a",
    ),
    # several hosts
    hosts(ONE, "two: {address: 192.0.2.1}"): ("hosts.two.address", "one is the same machine; several peers"),
    hosts(ONE, "two: {address: 192.0.2.2, advertise: 192.0.2.1}"): (
        "hosts.two.peer_port",
        "192.0.2.1:5700 is one's already",
    ),
    hosts("one: {address: 192.0.2.1, peers: 3}", "two: {address: x, advertise: 192.0.2.1, peer_port: 5702}"): (
        "hosts.two.peer_port",
        "192.0.2.1:5702 is one's already",
    ),
    hosts(ONE, "two: {address: 127.0.0.1}"): ("hosts.two.address", "no other host can reach 127.0.0.1"),
    hosts(ONE, "two: {address: localhost}"): ("hosts.two.address", "no other host can reach localhost"),
    hosts(ONE, "two: {address: x, advertise: 0.0.0.0}"): ("hosts.two.advertise", "no other host can reach 0.0.0.0"),
    hosts(ONE, "two: {address: x, advertise: 127.0.1.1}"): ("hosts.two.advertise", "no other host can reach 127.0.1.1"),
    hosts(ONE, "two: {address: x, bind: 127.0.0.1}"): ("hosts.two.bind", "what listens on 127.0.0.1 hears no"),
    "hosts: {one: {address: x, peers: 0}}": ("hosts", "play 0 peers in all; a lab has from 1 to 255"),
    hosts("one: {address: x, peers: 200}", "two: {address: y, peers: 56}"): ("hosts", "play 256 peers in all"),
    hosts("one: {address: x, peers: 2, peer_port: 65535}"): ("hosts.one.peer_port", "would need ports above 65535"),
    hosts("one: {address: x, peers: 2}", "one-1: {address: y}"): ("hosts.one-1", "its peer one-1 has the name of a"),
    # groups
    hosts(ONE, above="groups: [one]"): ("groups", "expected groups as `name: [host, host]`, found [one]"),
    hosts(ONE, above="groups: {all: one}"): ("groups.all", "expected a list, found one"),
    hosts(ONE, above="groups: {one: [one]}"): ("groups.one", "is the name of a host as well"),
    hosts(ONE, above="groups: {all: []}"): ("groups.all", "has no hosts"),
    hosts(ONE, above="groups: {all: [one, tow]}"): ("groups.all.1", "unknown host tow"),
}  # fmt: skip


@pytest.mark.parametrize("text", WRONG, ids=lambda text: " ".join(text.split())[:70] or "empty")
def test_what_is_wrong_is_said_with_its_place(written, text):
    path, problem = WRONG[text]
    file = written(text)
    (file.parent / "keys" / "lab.pub").write_text("the public half")
    with pytest.raises(SettingsError) as caught:
        load_inventory(file)
    assert caught.value.path == path and problem in caught.value.problem, str(caught.value)
    assert caught.value.file == str(file) and "\n" not in str(caught.value)


@pytest.mark.parametrize("alone", ["127.0.0.1", "localhost"])
def test_a_host_alone_may_be_this_machine(written, alone):
    assert load_inventory(written(f"hosts: {{one: {{address: {alone}, peers: 3}}}}")).hosts[0].advertise == alone


def test_no_file_is_one_sentence(tmp_path):
    with pytest.raises(SettingsError, match="lab.yml: cannot be read: No such file or directory"):
        load_inventory(tmp_path / "lab.yml")


# Files of OpenSSH.

SSH = """
# lab: lab=demo deadline_s=30 policy=2

Host frankfurt
    HostName 203.0.113.5
    # lab: region=eu-central-1 peers=0
    IdentityFile keys/old
    IdentityFile keys/lab

Host tokyo "osaka"
    # the two in Japan
    HostName %h.example.org
    Port=2200
    ProxyJump frankfurt
    # lab: region=ap-northeast-1 groups=asia,far

Host sydney
    HostName 203.0.113.9
    User lab
    ProxyJump ops@bastion.example.org:2200
    # lab: peer_port=6000 bind=10.0.0.9 advertise=203.0.113.10 groups=far

Host * !frankfurt
    # lab: peers=2 region=somewhere
Host *
    User admin
"""


def test_a_configuration_of_openssh_is_an_inventory(written, tmp_path):
    key = tmp_path / "keys" / "lab"
    inventory = load_inventory(written(SSH, "config"))
    assert (inventory.lab, inventory.policy, inventory.deadline_s) == ("demo", 2, 30.0)
    assert inventory.hosts == (
        Host("frankfurt", "eu-central-1", "203.0.113.5", "admin", key, peers=0, advertise="203.0.113.5"),
        *(
            Host(
                name, "ap-northeast-1", f"{name}.example.org", "admin", None, 2200, "frankfurt", 2,
                advertise=f"{name}.example.org",
            )
            for name in ("tokyo", "osaka")
        ),
        Host(
            "sydney", "somewhere", "203.0.113.9", "lab", None, 22, "ops@bastion.example.org:2200", 2, 6000, "10.0.0.9",
            "203.0.113.10",
        ),
    )  # fmt: skip
    assert inventory.groups == {"asia": ("tokyo", "osaka"), "far": ("tokyo", "osaka", "sydney")}


def test_a_match_is_followed_as_ssh_does(written):
    text = "Host one\n HostName 192.0.2.1\nMatch originalhost one\n User lab\n # lab: peers=3\n"
    host = load_inventory(written(text, "config")).hosts[0]
    assert (host.user, host.peers) == ("lab", 3)


WRONG_SSH = {
    "Host *\n User x": ("hosts", "names no host: every block has a wildcard"),
    "Host one\n nonsense": ("", "is no configuration file of OpenSSH: Unparsable line nonsense"),
    "Host one\n Port many": ("hosts.one.port", "expected a port from 1 to 65535, found many"),
    "Host one\n HostName a_b:c": ("hosts.one.address", "expected an IPv4 address or a name, found"),
    "Host one\n ProxyJump a.b,c.d": ("hosts.one.jump", "one host to jump through, not several"),
    "Host one\n ProxyJump two": ("hosts.one.jump", "unknown host two"),
    "Host one\n IdentityFile nowhere": ("hosts.one.key", "no such file: "),
    "Host one\n ProxyCommand nc %h %p": ("", "ProxyCommand is not followed here"),
    "Include other\nHost one": ("", "Include is not followed here; name the hosts in this file"),
    "Host one\n # lab: peers": ("", "expected `# lab: key=value`, found peers"),
    "Host one\n # lab: peers=many": ("hosts.one.peers", "expected a number from 0 to 255, found many"),
    "Host one\n # lab: pears=2": ("", "unknown setting in `# lab:` pears; did you mean peers?"),
    "Host one\n # lab: policy=any": ("policy", "policy is of the whole lab; say it above the first Host"),
    "# lab: policy=most\nHost one": ("policy", "expected all, any or {at_least: number}, found most"),
    "Host one two\n HostName 192.0.2.1": ("hosts.two.address", "one is the same machine"),
    "Host one\n Match nothing\n": ("", "is no configuration file of OpenSSH: Missing parameter"),
}


@pytest.mark.parametrize("text", WRONG_SSH, ids=lambda text: " ".join(text.split())[:70])
def test_what_is_wrong_in_a_configuration_of_openssh(written, text):
    path, problem = WRONG_SSH[text]
    with pytest.raises(SettingsError) as caught:
        load_inventory(written(text, "config"))
    assert caught.value.path == path and problem in caught.value.problem, str(caught.value)


# For editors.


def test_the_schema_knows_what_the_inventory_knows():
    schema = json.loads(json.dumps(inventory_schema()))
    example = yaml.safe_load(EXAMPLE)
    assert set(example) < set(schema["properties"]) and schema["additionalProperties"] is False
    host = schema["properties"]["hosts"]["additionalProperties"]
    assert host["required"] == ["address"] and host["additionalProperties"] is False
    assert set(host["properties"]) == set(schema["properties"]["defaults"]["properties"]) | {"address", "advertise"}
    assert set().union(*example["hosts"].values()) <= set(host["properties"])
    assert schema["properties"]["policy"]["anyOf"][1]["required"] == ["at_least"]


def test_what_yaml_takes_for_something_else_than_a_text_is_no_name(written):
    with pytest.raises(SettingsError, match="False is no text to YAML, so it can be no name; put it in quotes"):
        load_inventory(written("hosts: {no: {address: 203.0.113.5}}"))
    with pytest.raises(SettingsError, match="7 is no text to YAML"):
        load_inventory(written("hosts: {7: {address: 203.0.113.5}}"))
    assert load_inventory(written("hosts: {'7': {address: 203.0.113.5}}")).hosts[0].name == "7"

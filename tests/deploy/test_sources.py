"""Inventories of machines that exist already: from recorded outputs of the clouds' tools, and from what is none."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.inventory import Host, load_inventory
from deploy.sources import inventory_from
from peer.core.errors import SettingsError

ROOT = Path(__file__).parents[2]
RECORDED = Path(__file__).parent / "recorded"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home with no keys in it, unless a test makes one."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    return tmp_path


@pytest.fixture
def read_back(home):
    """The inventory that a recorded output comes to, and its text."""

    def read(kind, name):
        text = inventory_from(kind, RECORDED / name)
        (home / "lab.yml").write_text(text)
        return load_inventory(home / "lab.yml"), text

    return read


def host(name, region, address, bind, **more):
    return Host(name, region, address, bind=bind, advertise=address, **more)


def test_running_instances_of_aws(read_back):
    inventory, text = read_back("aws", "aws.json")
    assert inventory.hosts == (
        host("frankfurt", "eu-central-1", "203.0.113.5", "10.0.1.5"),
        host("lab-worker", "eu-central-1", "203.0.113.6", "10.0.1.7"),
        host("lab-worker-2", "eu-central-1", "203.0.113.7", "10.0.1.8"),
        host("i-00000000000000005", "ap-northeast-1", "203.0.113.9", "10.1.0.9"),
        host("hidden", "ap-northeast-1", "10.1.0.10", "10.1.0.10"),
    )
    assert "# defaults.user: AWS does not say it: admin for Debian" in text
    notes = {line.split(":")[0].strip(): line.partition("  # ")[2] for line in text.splitlines() if "  # " in line}
    assert notes["frankfurt"] == "the private half of its key pair is called lab-key"
    assert notes["hidden"].startswith("has no public address: say through which host it is reached (jump)")


def test_keys_that_are_where_aws_puts_them(read_back, home):
    (home / ".ssh" / "lab-key.pem").touch()
    inventory, text = read_back("aws", "aws.json")
    keys = {host.name: host.key for host in inventory.hosts}
    assert keys["frankfurt"] == keys["lab-worker-2"] == home / ".ssh" / "lab-key.pem"
    assert keys["i-00000000000000005"] is None and keys["hidden"] is None
    assert "called tokyo-key" in text and "called lab-key" not in text


def test_running_instances_of_gcp(read_back):
    inventory, text = read_back("gcp", "gcp.json")
    assert inventory.hosts == (
        host("lab-tokyo", "asia-northeast1", "203.0.113.31", "10.146.0.2"),
        host("lab-belgium", "europe-west1", "203.0.113.32", "10.132.0.2"),
        host("lab-inside", "us-central1", "10.128.0.3", "10.128.0.3"),
    )
    assert "Google Cloud does not say it" in text and "has no public address" in text


def test_one_key_of_all_is_a_default(read_back, home):
    (home / ".ssh" / "google_compute_engine").touch()
    inventory, text = read_back("gcp", "gcp.json")
    assert {host.key for host in inventory.hosts} == {home / ".ssh" / "google_compute_engine"}
    assert "defaults: {key: ~/.ssh/google_compute_engine}" in text and text.count("google_compute_engine") == 1


def test_an_output_of_terraform_as_a_map(read_back):
    inventory, text = read_back("terraform", "terraform-map.json")
    assert inventory.hosts == (
        host("lab-frankfurt", "eu-central-1", "203.0.113.5", "10.0.1.5", user="admin", peers=2),
        host("lab-tokyo", "ap-northeast-1", "203.0.113.9", "10.1.0.9"),
    )
    assert "not for anybody" not in text


def test_an_output_of_terraform_as_a_list_of_texts(read_back):
    inventory, _ = read_back("terraform", "terraform-list.json")
    assert inventory.hosts == (
        host("frankfurt", "eu-central-1", "203.0.113.5", "0.0.0.0", peers=2, peer_port=6000),
        host("tokyo", "ap-northeast-1", "tokyo.example.org", "0.0.0.0", port=2222, jump="frankfurt"),
    )


def test_outputs_of_several_regions_in_one_file(home):
    first, second = json.loads("[" + (RECORDED / "aws.json").read_text().replace("}\n{", "},{") + "]")
    (home / "a.json").write_text(json.dumps(first))
    (home / "both.json").write_text(json.dumps(first) + json.dumps(second))
    whole = inventory_from("aws", RECORDED / "aws.json")
    assert inventory_from("aws", home / "both.json") == whole
    assert inventory_from("aws", home / "a.json").count("region:") == 3 and whole.count("region:") == 5


def test_names_that_yaml_or_an_inventory_would_not_take(home):
    names = ["on", "none", "7", "a: b # c", "-x-", "ünï", "x" * 90, "X" * 90, "*"]
    value = [{"name": name, "address": f"192.0.2.{place}"} for place, name in enumerate(names, 1)]
    (home / "out.json").write_text(json.dumps({"hosts": {"value": value}}))
    (home / "lab.yml").write_text(inventory_from("terraform", home / "out.json"))
    found = [host.name for host in load_inventory(home / "lab.yml").hosts]
    assert found == ["on", "none-2", "7", "a-b-c", "x", "n", "x" * 55, "X" * 55, "host"]


# What is none.


def altered(name, change):
    """A recorded output with one thing changed, as the parts before it and after it."""
    text = (RECORDED / name).read_text()
    decoded, _ = json.JSONDecoder().raw_decode(text)
    return json.dumps(change(decoded) or decoded)


def drop(*path):
    def change(document):
        for step in path[:-1]:
            document = document[step]
        del document[path[-1]]

    return change


def put(value, *path):
    def change(document):
        for step in path[:-1]:
            document = document[step]
        document[path[-1]] = value

    return change


INSTANCE = ("Reservations", 0, "Instances", 0)
WRONG = [
    ("aws", "", "", "is empty"),
    ("aws", "Unable to locate credentials.", "", "is not JSON in line 1"),
    ("aws", '{"Reservations": []}\n{"Reserv', "", "is not JSON in line 2"),
    ("aws", "[" * 100_000, "", "is nested too deeply"),
    ("aws", "[]", "", "expected an object, found []"),
    ("aws", "{}", "Reservations", "is missing"),
    ("aws", '{"Reservations": {}}', "Reservations", "expected a list, found {}"),
    ("aws", '{"Reservations": []}', "", "has no running instance; is it that of another region or project?"),
    ("aws", '{"Reservations": [3]}', "Reservations.0", "expected an object, found 3"),
    ("aws", altered("aws.json", drop(*INSTANCE, "State")), "Reservations.0.Instances.0.State", "is missing"),
    ("aws", altered("aws.json", drop(*INSTANCE, "Placement", "AvailabilityZone")),
     "Reservations.0.Instances.0.Placement.AvailabilityZone", "is missing"),
    ("aws", altered("aws.json", put("", *INSTANCE, "PrivateIpAddress")),
     "Reservations.0.Instances.0.PrivateIpAddress", "expected a text, found ''"),
    ("aws", altered("aws.json", put("x", *INSTANCE, "Tags")), "Reservations.0.Instances.0.Tags",
     "expected a list, found x"),
    ("aws", (RECORDED / "gcp.json").read_text(), "", "(expected the output of `aws ec2 describe-instances"),
    ("gcp", (RECORDED / "aws.json").read_text(), "", "(expected the output of `gcloud compute instances list"),
    ("gcp", "[]", "", "has no running instance"),
    ("gcp", altered("gcp.json", drop(0, "zone")), "0.zone", "is missing"),
    ("gcp", altered("gcp.json", put([], 1, "networkInterfaces")), "1.networkInterfaces", "is empty"),
    ("gcp", altered("gcp.json", drop(1, "networkInterfaces", 0, "networkIP")), "1.networkInterfaces.0.networkIP",
     "is missing"),
    ("gcp", altered("gcp.json", put(7, 0, "name")), "0.name", "expected a text, found 7"),
    ("terraform", "{}", "", "has no output `hosts` nor `lab_hosts`; its outputs are none"),
    ("terraform", '{"ips": {"value": []}}', "", "has no output `hosts` nor `lab_hosts`; its outputs are ips"),
    ("terraform", '{"hosts": {"value": []}}', "", "has no host"),
    ("terraform", '{"hosts": {}}', "hosts.value", "expected a list, found nothing"),
    ("terraform", '{"hosts": []}', "hosts", "expected an object, found []"),
    ("terraform", '{"hosts": {"value": ["203.0.113.5"]}}', "hosts.value.0", "expected an object, found 203.0.113.5"),
    ("terraform", '{"hosts": {"value": [{"address": "x"}]}}', "hosts.value.0.name", "is missing"),
    ("terraform", '{"hosts": {"value": {"a": {"region": "x"}}}}', "hosts.value.a.address", "is missing"),
    ("terraform", '{"hosts": {"value": {"a": {"address": null}}}}', "hosts.value.a.address",
     "expected a text, found nothing"),
    ("terraform", '{"hosts": {"value": {"a": {"address": "x", "prot": 1}}}}', "hosts.value.a.prot",
     "unknown setting prot; did you mean port?"),
]  # fmt: skip


@pytest.mark.parametrize("kind, text, path, problem", WRONG, ids=[f"{row[0]}-{row[3][:40]}" for row in WRONG])
def test_what_is_no_such_output_is_said_in_one_sentence(tmp_path, kind, text, path, problem):
    (tmp_path / "out.json").write_text(text)
    with pytest.raises(SettingsError) as caught:
        inventory_from(kind, tmp_path / "out.json")
    assert caught.value.path == path and problem in caught.value.problem, str(caught.value)
    assert caught.value.file == str(tmp_path / "out.json") and "\n" not in str(caught.value)


def test_an_unknown_source_and_a_file_that_is_not_there(tmp_path):
    with pytest.raises(SettingsError, match="--from: unknown source azure; known are aws, gcp, terraform"):
        inventory_from("azure", tmp_path / "out.json")
    with pytest.raises(SettingsError, match="out.json: cannot be read: No such file or directory"):
        inventory_from("aws", tmp_path / "out.json")
    (tmp_path / "out.json").write_bytes("{}".encode("utf-16"))
    with pytest.raises(SettingsError, match="is not text in UTF-8"):
        inventory_from("aws", tmp_path / "out.json")


def test_the_task(tmp_path):
    fab = str(Path(sys.executable).with_name("fab"))

    def said(*arguments):
        command = [fab, "-r", str(ROOT), "inventory", str(RECORDED / "aws.json"), *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout, done.stderr

    assert said() == (2, "", "error: --from: whose tool wrote it: aws, gcp or terraform? (fab --help inventory)\n")
    code, out, err = said("--from", "aws")
    assert (code, err) == (0, "") and out.startswith("lab.yml: 5 hosts (") and load_inventory(tmp_path / "lab.yml")
    before = (tmp_path / "lab.yml").read_text()
    assert said("--from", "aws") == (2, "", "error: lab.yml: is there already; name another file with --out\n")
    assert (tmp_path / "lab.yml").read_text() == before

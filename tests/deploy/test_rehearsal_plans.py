"""Plans of rehearsal clouds as persons write them: in a file and on the command line."""

import pytest

from comparison_server import face
from deploy.rehearsal.plan import HostPlan, Weather
from experiments.rehearsal import read_plan, rehearsal
from peer.core.errors import SettingsError


def test_the_usual_plan():
    plan = read_plan()
    assert [host.region for host in plan.hosts] == ["eu-central-1", "eu-west-2", "ap-southeast-1"] * 2
    between = [delay for row, region in zip(plan.one_way_ms, plan.regions, strict=True) for delay in row if delay > 1]
    assert len(between) == 6 and 5 <= min(between) <= max(between) <= 90
    assert plan.between == Weather(loss=0.01) and plan.inside == Weather()


def test_a_command_line_says_it_otherwise():
    plan = read_plan(None, hosts=2, regions=["us-east-1"], loss=0.0, planet=None)
    assert [host.name for host in plan.hosts] == ["h0", "h1"] and plan.between == Weather()
    assert plan.one_way_ms == ((0.132,),)


def test_a_file_says_everything(tmp_path):
    file = tmp_path / "plan.yml"
    file.write_text("""
hosts: {tokyo: {region: asia, nat: true, clock_offset_s: 5}, berlin: {region: europe, python: old, jump: tokyo}}
regions: [asia, europe]
one_way_ms: {asia: {asia: 0.1, europe: 30}, europe: {europe: 0.2, asia: 20}}
between: {loss: 0.5, rate_mbit: 10}
operator: europe
""")
    plan = read_plan(file)
    assert plan.hosts[0] == HostPlan("tokyo", "asia", nat=True, clock_offset_s=5.0)
    assert plan.hosts[1] == HostPlan("berlin", "europe", python="old", jump="tokyo")
    assert plan.one_way_ms == ((0.1, 30.0), (20.0, 0.2)) and plan.operator_region == "europe"
    assert plan.between == Weather(loss=0.5, rate_mbit=10.0)
    assert read_plan(file, loss=0.1).between == Weather(loss=0.1, rate_mbit=10.0)


@pytest.mark.parametrize(
    ("text", "path", "problem"),
    [
        ("host: 3", "host", "unknown setting"),
        ("hosts: many", "hosts", "expected"),
        ("hosts: {a: {region: eu-central-1, nats: true}}", "hosts.a.nats", "unknown setting"),
        ("hosts: {a: {region: eu-central-1, python: new}}", "hosts.a.python", "expected"),
        ("hosts: {a: {region: mars}}", "hosts.a.region", "unknown region mars"),
        ("hosts: {a: {}}", "hosts.a.region", "is missing"),
        ("regions: [mars]", "regions", "unknown region mars"),
        ("planet: moon", "", "unknown planet moon"),
        ("{regions: [a, b], one_way_ms: {a: {a: 1}}}", "one_way_ms", "nothing is said about a to b"),
        ("between: {loss: 2}", "between.loss", "expected 0 to 1, found 2"),
        ("between: {rain: 1}", "between.rain", "unknown setting"),
        ("hosts: 0", "hosts", "expected 1 to 255, found 0"),
    ],
)
def test_a_wrong_file_is_refused_in_one_sentence(tmp_path, text, path, problem):
    (tmp_path / "plan.yml").write_text(text)
    with pytest.raises(SettingsError) as caught:
        read_plan(tmp_path / "plan.yml")
    assert caught.value.path == path and problem in caught.value.problem, str(caught.value)


def test_help_names_the_commands(capsys):
    assert face.run(rehearsal, []) == 2
    said = capsys.readouterr().err
    assert all(name in said for name in ("up", "down", "status", "exec"))


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        (["blok"], "unknown fault blok; did you mean block?"),
        (["kill"], "fault kill: takes host=...; found nothing"),
        (["heal", "host=h1"], "fault heal: takes nothing; found host"),
        (["network", "loss=much"], "fault network: loss: expected a number, found much"),
        (["block", "source=h0", "target=h1", "what=http"], "unknown kind of packets http"),
    ],
)
def test_a_wrong_fault_is_refused_in_one_sentence(capsys, fault, problem):
    assert face.run(rehearsal, ["fault", *fault]) == 2
    said = capsys.readouterr().err
    assert problem in said and said.count("\n") == 1

"""Space-time diagrams: what is in a window, against logs read in plain Python; what a picture says of a violation."""

import json
import re
import shutil
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from analysis import diagram
from analysis.__main__ import app
from analysis.diagram import places, style
from analysis.diagram.logs import open_logs
from analysis.diagram.window import A_FEW, MOST_MESSAGES, Scene
from analysis.run import load_run
from comparison_server import face
from peer.core.errors import SettingsError
from peer.core.trace import DELIVERED, RELEASED
from tests.analysis import by_hand, plain

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    (run,) = plain.played(tmp_path_factory.mktemp("base"), "wan-3-sites", "unordered", peers=4, messages=1)
    return run.folder


@pytest.fixture(scope="module")
def broken(base, tmp_path_factory):
    return by_hand.violations(base, tmp_path_factory.mktemp("broken"))


@pytest.fixture(scope="module")
def unordered(tmp_path_factory):
    out = tmp_path_factory.mktemp("unordered")
    settings = ["stack.link=direct", "stack.allow_unmet=true"]
    (run,) = plain.played(out, "lossy", "unordered", *settings, peers=6, messages=30)
    return run.folder


def deliveries_of(window):
    return {
        (message.ident, each.peer, each.position, round(each.time_s, 9))
        for message in window.messages
        for each in message.deliveries
        if window.from_s <= each.time_s <= window.to_s
    }


def in_plain(folder, peers, from_s, to_s):
    """Deliveries of this time, and what was multicast in it, on the line that begins with the earliest release."""
    earliest = min(plain.zero(folder, peer) for peer in range(peers))
    delivered, asked = set(), {}
    for peer in range(peers):
        later = plain.zero(folder, peer) - earliest
        for position, (sender, number, time_s, _) in enumerate(plain.delivered(folder, peer)):
            if from_s <= time_s + later <= to_s:
                delivered.add(((sender, number), peer, position, round(time_s + later, 9)))
        asked |= {(peer, number): time_s + later for number, time_s, _ in plain.multicast(folder, peer)}
    return delivered, asked


def picture(window, title="a title"):
    return ElementTree.fromstring(diagram.svg(window, title))


def of_class(tree, name):
    return [each for each in tree.iter() if name in each.get("class", "").split()]


# What is in a window


@pytest.mark.parametrize("from_s, to_s", [(0.0, 0.2), (0.3, 0.55), (0.5, 0.50001), (-1.0, 0.1)])
def test_a_window_holds_what_happened_in_its_time(unordered, from_s, to_s):
    window = diagram.window(load_run(unordered), from_s, to_s)
    delivered, asked = in_plain(unordered, 6, from_s, to_s)
    assert deliveries_of(window) == delivered
    sent = {ident for ident, time_s in asked.items() if from_s <= time_s <= to_s}
    assert {message.ident for message in window.messages} == {ident for ident, *_ in delivered} | sent
    for message in window.messages:
        assert message.asked_s == pytest.approx(asked[message.ident], abs=1e-9)
    assert window.left_out == 0 and window.hidden == () and window.asked_to_s is None


def test_blocks_late_releases_and_repeats_are_as_in_the_log(base, tmp_path):
    folder = by_hand.written(base, tmp_path / "run", [[]] * 4)
    early = [(DELIVERED, 1, 0, 3, 0, 7.25), (RELEASED, 0, 0, 0, 0, 7.5), (DELIVERED, 1, 2, 2, 0, 0.5)]
    plain.write_trace(folder, 0, early, run="by hand")
    for peer in (1, 2, 3):
        plain.write_trace(folder, peer, [(RELEASED, 0, 0, 0, 0, 7.0)], run="by hand")
    plain.write_sends(folder, 1, [(0, 4, 0, 0.125)], run="by hand")
    window = diagram.window(load_run(folder), 0, 2)
    delivered, asked = in_plain(folder, 4, 0, 2)
    assert deliveries_of(window) == delivered and len(delivered) == 5
    assert {(1, number): 0.125 for number in range(4)}.items() <= asked.items()
    again = [each for message in window.messages for each in message.deliveries if each.again]
    assert [(each.peer, each.position, each.time_s) for each in again] == [(0, 3, 1.0)]


def test_on_clocks_of_their_own_every_lane_begins_at_its_release(base, tmp_path):
    chat = by_hand.chat(4, 2)
    shared = by_hand.written(base, tmp_path / "shared", chat, zeros=[5.0, 5.5, 6.0, 6.5])
    own = by_hand.written(base, tmp_path / "own", chat, zeros=[5.0, 900.0, 3.0, 77.0], clock="own")
    at = {
        name: {message.ident: message.asked_s for message in diagram.window(load_run(folder), -1, 9).messages}
        for name, folder in (("shared", shared), ("own", own))
    }
    assert at["own"][3, 1] == by_hand.time_of([m for m in chat[3] if m[1] == "send"][1:], "send")
    assert at["shared"][3, 1] == pytest.approx(at["own"][3, 1] + 1.5)
    drawn = {folder: diagram.svg(diagram.window(load_run(folder), -1, 9), "x") for folder in (shared, own)}
    assert "lined up at their releases" in drawn[own] and "lined up at their releases" not in drawn[shared]


def test_only_some_peers(unordered):
    run = load_run(unordered)
    window = diagram.window(run, 0, 0.3, ["p4", "1"])
    assert [lane.name for lane in window.lanes] == ["p1", "p4"] and window.hidden == ("p0", "p2", "p3", "p5")
    whole = deliveries_of(diagram.window(run, 0, 0.3))
    assert deliveries_of(window) == {each for each in whole if each[1] in (1, 4)}


def test_a_long_window_is_cut_and_says_so(base, tmp_path):
    folder = by_hand.written(base, tmp_path / "run", [[]] * 4)
    for peer in range(4):
        rows = [(DELIVERED, peer, number, 1, 0, number / 1000 + 0.5) for number in range(2000)]
        plain.write_trace(folder, peer, [(RELEASED, 0, 0, 0, 0, 5.0), *rows], run="by hand")
        plain.write_sends(folder, peer, [(0, 2000, 0, 0.25)], run="by hand")
    window = diagram.window(load_run(folder), 0, 60)
    assert len(window.messages) == MOST_MESSAGES and window.asked_to_s == 60 and window.to_s < 1
    assert window.left_out > 0
    assert re.search(r"Not drawn: the time from 0\.\d+ to 60\.\d+ s; [\d,]+ other messages", diagram.svg(window, "x"))


def test_a_window_of_a_great_log_is_cut_out_of_it(base, tmp_path):
    folder = by_hand.written(base, tmp_path / "run", [[]] * 4)
    count = 300_000
    for peer in range(4):
        rows = [(DELIVERED, peer, number, 100, 0, number / 1e5) for number in range(0, count, 100)]
        plain.write_trace(folder, peer, [(RELEASED, 0, 0, 0, 0, 5.0), *rows], run="by hand")
        plain.write_sends(folder, peer, [(0, count, 0, 0.0)], run="by hand")
    run = load_run(folder)
    window = diagram.window(run, 1.0, 1.0025)
    positions = {each.position for message in window.messages for each in message.deliveries if each.time_s <= 1.0025}
    assert positions == set(range(100_000, 100_300)) & positions and len(window.messages) == MOST_MESSAGES
    assert window.left_out >= 4 * 300 - MOST_MESSAGES
    for each in diagram.samples(run, 4):
        assert len(each.messages) <= A_FEW


def test_a_log_is_looked_up_as_if_it_were_written_out(base, tmp_path):
    folder = by_hand.written(base, tmp_path / "run", [[]] * 4)
    rows = [(DELIVERED, at % 3, 7 * at, 1 + at % 7, 0, at / 10) for at in range(40)] + [(DELIVERED, 1, 7, 2, 0, 9.0)]
    plain.write_trace(folder, 0, [(RELEASED, 0, 0, 0, 0, 5.0), *rows], run="by hand")
    log, whole = open_logs(load_run(folder))[0], plain.delivered(folder, 0)
    assert log.length == len(whole)
    for low in range(0, len(whole), 5):
        for high in (low, low + 1, low + 9, len(whole)):
            part = log.part(low, high)
            ids = [divmod(ident, 1 << 32) for ident in part.ids.tolist()]
            assert ids == [row[:2] for row in whole[low:high]]
            assert part.times_s.tolist() == [row[2] for row in whole[low:high]]
    for position, (sender, number, time_s, _) in enumerate(whole):
        ident = sender << 32 | number
        assert log.at(position) == ident and log.time_s(position) == time_s
        assert log.find(ident) == [at for at, row in enumerate(whole) if row[:2] == (sender, number)]
    assert log.at(-1) is log.at(len(whole)) is None and log.find(2 << 32 | 5) == []
    wanted = np.unique(np.array([1 << 32 | 7, 1 << 32 | 8, 2 << 32 | 14, 5], np.uint64))
    (part,) = log.among(wanted, 0, len(whole))
    expected = [at for at, row in enumerate(whole) if row[0] << 32 | row[1] in set(wanted.tolist())]
    assert part.positions.tolist() == expected and len(expected) >= 5


def test_samples_are_spread_over_the_run(unordered):
    run = load_run(unordered)
    windows = diagram.samples(run, 5)
    begins = [window.from_s for window in windows]
    positions = [min(each.position for m in w.messages for each in m.deliveries if each.peer == 0) for w in windows]
    assert len(windows) == 5 and begins == sorted(begins) and positions == sorted(positions)
    assert positions[-1] - positions[0] > 0.6 * run.peers[0].delivered


# Violations


def test_every_violation_is_shown_with_the_deliveries_that_break_it(broken):
    for name, folder in broken.items():
        run, kind = load_run(folder), name.partition("-")[0]
        finding = run.verdict["properties"][kind]
        window = diagram.around(run, kind)
        focus, tree = window.focus, picture(window)
        assert finding["holds"] is False and focus.sentence == finding["sentence"]
        witness = [(int(each["sender"]), int(each["number"])) for each in finding["witness"]["messages"]]
        assert list(focus.messages) == list(dict.fromkeys(witness))
        seen = {(each.peer, each.position) for m in window.messages for each in m.deliveries
                if window.from_s < each.time_s < window.to_s}  # fmt: skip
        assert focus.offending <= seen
        assert len(of_class(tree.find(f".//{SVG}g[@class='plane']"), "ring")) == len(focus.offending), name
        assert set(focus.notes) == set(range(4))
        words = "".join(tree.find(f"{SVG}desc").itertext())
        assert focus.sentence in words and all(note in words for note in focus.notes.values())


OFFENDING = {
    "validity": (set(), {1: "multicast 1:2, never had it"}, (1,)),
    "integrity": ({(2, 9)}, {2: "0:1 at position 4, again at 9", 0: "0:1 at position 4"}, ()),
    "integrity-foreign": ({(3, 8)}, {3: "2:77, which nobody multicast", 2: "without 2:77"}, ()),
    "agreement": ({(0, 8)}, {2: "lacks 0:2: passed over", 1: "0:2 at position 8"}, (2, 3)),
    "uniform_agreement": ({(3, 7)}, {3: "had 3:1, then went down", 0: "lacks 3:1: not yet"}, (0, 1, 2)),
    "fifo": ({(2, 1), (2, 8)}, {2: "1:2 right after 1:0, 1:1 later", 0: "1:0, 1:1, 1:2"}, ()),
    "fifo-gap": ({(2, 1), (2, 8)}, {2: "1:2 right after 1:0, 1:1 never"}, ()),
    "causal": ({(3, 4), (3, 5)}, {1: "had 0:1, then multicast 1:1", 3: "1:1 before 0:1"}, ()),
    "causal-never": ({(3, 4)}, {3: "1:1 without 0:1", 2: "0:1 before 1:1"}, (3,)),
    "total": ({(0, 9), (0, 10), (3, 9), (3, 10)}, {1: "1:2 before 2:2", 3: "2:2 before 1:2"}, ()),
    "total-cycle": (
        {(0, 4), (0, 5), (1, 4), (1, 5), (2, 4), (2, 5)},
        {0: "0:1 before 1:1", 1: "1:1 before 2:1", 2: "2:1 before 0:1", 3: "without 0:1 and 1:1 and 2:1"},
        (),
    ),
    "uniform_total": ({(0, 9), (0, 10), (3, 9), (3, 10)}, {3: "2:2 before 1:2"}, ()),
    "prefix": ({(0, 9), (3, 9)}, {0: "position 9: 1:2", 3: "position 9: 2:2"}, ()),
    "same_view": ({(0, 0), (1, 0)}, {0: "0:0 in view 0", 1: "not in view 0, at position 0"}, ()),
}


@pytest.mark.parametrize("name", OFFENDING)
def test_what_is_said_of_each_violation(broken, name):
    offending, notes, lacks = OFFENDING[name]
    focus = diagram.around(load_run(broken[name]), name.partition("-")[0]).focus
    assert focus.offending == offending and focus.lacks == lacks
    assert notes.items() <= focus.notes.items()


def test_whoever_lacks_a_message_has_a_cross(broken):
    tree = picture(diagram.around(load_run(broken["agreement"]), "agreement"))
    signs = tree.findall(f".//{SVG}g[@class='plane']/{SVG}g")
    told = [each.find(f"{SVG}title").text for each in signs if each.find(f"{SVG}path[@class='cross']") is not None]
    assert told == ["peer 2 never delivered 0:2", "peer 3 never delivered 0:2"]
    assert len(of_class(tree, "lost")) == 2


def test_who_went_down_ends(broken):
    window = diagram.around(load_run(broken["uniform_agreement"]), "uniform_agreement")
    (lane,) = [each for each in window.lanes if each.why]
    assert (lane.peer, lane.why) == (3, "crashed") and lane.ends_s == pytest.approx(0.2904, abs=1e-3)


def test_the_chain_leads_from_what_was_needed_to_what_needed_it(broken):
    folder = broken["causal"]
    focus = diagram.around(load_run(folder), "causal").focus
    asked = {(peer, n): t for peer in range(4) for n, t, _ in plain.multicast(folder, peer)}
    got = {(peer, (s, n)): t for peer in range(4) for s, n, t, _ in plain.delivered(folder, peer)}
    way = [(0, asked[0, 1]), (1, got[1, (0, 1)]), (1, asked[1, 1]), (3, got[3, (1, 1)])]
    assert focus.chain == tuple((peer, pytest.approx(time_s)) for peer, time_s in way)


def test_the_causal_past_is_all_that_could_have_led_to_the_message(unordered):
    window = diagram.around(load_run(unordered), "causal")
    message = window.focus.messages[-1]
    asked = {(p, n): (t, after) for p in range(6) for n, t, after in plain.multicast(unordered, p)}
    logs = [[(s, n) for s, n, *_ in plain.delivered(unordered, peer)] for peer in range(6)]
    past, due = set(), [message]
    while due:
        sender, number = each = due.pop()
        if each not in past:
            past.add(each)
            due += logs[sender][: asked[each][1]] + [(sender, earlier) for earlier in range(number)]
    latest = {}
    for each in past:
        if asked[each][0] >= window.from_s:
            latest[each[0]] = max(latest.get(each[0], 0), asked[each][0])
    assert window.focus.past_s == {peer: pytest.approx(time_s) for peer, time_s in latest.items()}


def test_a_witness_that_does_not_fit_the_logs_is_refused(broken, tmp_path):
    for number, (name, folder) in enumerate(broken.items()):
        kind = name.partition("-")[0]
        for damage in ({}, {"messages": []}, {"peers": ["77"]}, {"peers": ["x"]}, {"positions": 1}):
            copy = shutil.copytree(folder, tmp_path / f"{number}-{len(list(tmp_path.iterdir()))}")
            verdict = json.loads((copy / "verdict.json").read_text())
            finding = verdict["properties"][kind]
            if damage == {"positions": 1}:  # all one further
                damage = {"positions": [[at and at + 1 for at in each] for each in finding["witness"]["positions"]]}
                if damage["positions"] == finding["witness"]["positions"]:
                    continue
            finding["witness"] = finding["witness"] | damage if damage else None
            (copy / "verdict.json").write_text(json.dumps(verdict))
            with pytest.raises(SettingsError, match="does not fit the logs"):
                diagram.around(load_run(copy), kind)


# Pictures


def test_names_cannot_break_out_of_a_picture(broken, tmp_path):
    folder = shutil.copytree(broken["uniform_agreement"], tmp_path / "run")
    scenario = json.loads((folder / "scenario.json").read_text())
    evil = "</text><script>alert(1)</script>\"'&\x01\ud800"
    scenario["settings"]["members"] = [f"{evil}{number}" for number in range(4)]
    scenario["settings"]["regions"] = [evil, "b", evil, "b"]
    scenario["not_up"] = {"3": evil}
    (folder / "scenario.json").write_text(json.dumps(scenario))
    verdict = json.loads((folder / "verdict.json").read_text())
    verdict["properties"]["uniform_agreement"]["sentence"] = evil
    (folder / "verdict.json").write_text(json.dumps(verdict))
    window = diagram.around(load_run(folder), "uniform_agreement")
    for drawn in (diagram.svg(window, evil), diagram.picture(window, evil), diagram.page(window, evil)):
        assert "<script>alert" not in drawn and "\x01" not in drawn
        drawn.encode()
    tree = ElementTree.fromstring(diagram.picture(window, evil))
    shown = evil.replace("\x01", "\ufffd").replace("\ud800", "\ufffd")
    assert tree.find(f"{SVG}title").text == tree.get("aria-label") == shown
    assert not list(tree.iter(f"{SVG}script"))


def test_the_same_run_gives_the_same_bytes(broken):
    for name, folder in broken.items():
        drawn = {diagram.page(diagram.around(load_run(folder), name.partition("-")[0]), name) for _ in range(2)}
        assert len(drawn) == 1


def test_whoever_does_not_see_it_is_told(unordered):
    tree = picture(diagram.window(load_run(unordered), 0, 0.2), "the first moments")
    assert tree.get("role") == "img" and tree.get("tabindex") == "0"
    assert tree.find(f"{SVG}title").text == "the first moments"
    words = tree.find(f"{SVG}desc").text
    assert words.startswith("Space-time diagram of 6 peers in 3 regions (us-east-1, eu-west-1, ap-northeast-1) with ")
    told = [each.find(f"{SVG}title").text for each in of_class(tree, "message") if each.find(f"{SVG}title") is not None]
    assert told and all(re.match(r"\d:\d+, multicast by peer \d at ", each) for each in told)


def test_a_picture_asks_nobody_for_anything(broken):
    window = diagram.around(load_run(broken["total"]), "total")
    for drawn in (diagram.svg(window, "x"), diagram.picture(window, "x"), diagram.page(window, "x")):
        addresses = set(re.findall(r"https?://[^\"' ]+", drawn))
        assert addresses == {"http://www.w3.org/2000/svg"} and "url(" not in drawn and "@import" not in drawn
    assert "var(" in diagram.svg(window, "x") and "var(" not in diagram.picture(window, "x")


def test_positions_that_are_shown_do_not_lie_on_each_other(unordered):
    tree = picture(diagram.window(load_run(unordered), 0, 0.6))
    lanes = {}
    for each in of_class(tree, "position"):
        if each.get("transform") and "late" not in each.get("class"):
            x, y = map(float, re.findall(r"[-\d.]+", each.get("transform")))
            lanes.setdefault(y, []).append((x, len(each.text) * places.LETTER))
    assert len(lanes) == 6
    for labels in lanes.values():
        labels.sort()
        assert len(labels) > 10
        for (x, wide), (other, other_wide) in zip(labels, labels[1:]):
            assert other - x >= (wide + other_wide) / 2


@pytest.mark.parametrize("at", [[], [5.0], [0.0, 1.0, 2.0], [0.0, 30.0, 31.0, 32.0, 90.0], [7.0] * 5])
def test_what_is_spread_keeps_its_order_and_its_middle(at):
    there = [place + shift for place, shift in zip(at, places.spread(at, 10))]
    assert all(after - before >= 10 - 1e-9 for before, after in zip(there, there[1:]))
    assert sum(there) == pytest.approx(sum(at))


def test_labels_show_as_soon_as_there_is_room():
    labels = [(float(x), "12") for x in (0, 5, 10, 15, 20)]
    zooms = places.zooms(labels, [(22.0, 20.0)])
    assert zooms[0] == 1 and all(1 < zoom < 40 for zoom in zooms[1:])
    for zoom in sorted(set(zooms)):
        shown = sorted(x * zoom for (x, _), least in zip(labels, zooms) if least <= zoom + 1e-9)
        assert all(b - a >= 2 * places.LETTER for a, b in zip(shown, shown[1:]))


@pytest.mark.parametrize("lasts_s, digits", [(0.0003, 5), (0.004, 4), (0.25, 2), (3.0, 1), (60.0, 0), (4000.0, 0)])
def test_ticks_are_round_and_told_apart(lasts_s, digits):
    found = places.ticks(1.0, 1.0 + lasts_s, 650)
    labels = [label for _, label in found]
    assert 3 <= len(labels) == len(set(labels)) and all(len(label.partition(".")[2]) == digits for label in labels)
    assert all(float(label) == pytest.approx(time_s, abs=10.0**-digits / 100) for time_s, label in found)


def luminance(colour):
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), parts))


@pytest.mark.parametrize("colours", [style.LIGHT, style.DARK], ids=["light", "dark"])
def test_words_and_signs_stand_out(colours):
    def contrast(one, other):
        high, low = sorted((luminance(colours[one]), luminance(colours[other])), reverse=True)
        return (high + 0.05) / (low + 0.05)

    for ground in ("back", "band"):
        for name in ("ink", "muted", "alarm", *map(str, range(1, style.PALETTE + 1))):
            assert contrast(name, ground) >= 4.5, (name, ground, contrast(name, ground))
    assert contrast("before", "band") >= 2.5 and contrast("faded", "band") < 2


# The command


def test_a_moment_can_be_drawn(unordered):
    scene = Scene(load_run(unordered))
    begins_s, _ = scene.span
    window = scene.cut(begins_s, begins_s)
    assert window.messages and "<svg" in diagram.svg(window, "all at one moment")


@pytest.fixture
def command(capsysbinary):
    def command(*arguments):
        code = face.run(app, ["diagram", *map(str, arguments)])
        printed = capsysbinary.readouterr()
        return code, printed.out.decode(), printed.err.decode()

    return command


def test_the_command_draws_the_first_broken_promise(command, base, tmp_path):
    peers = by_hand.chat(4, 4)
    peers[3] = by_hand.moved(peers[3], "1:2", by_hand.time_of(peers[3], "2:2") + 0.006)
    folder = by_hand.written(base, tmp_path / "run", peers, promised=["prefix"])
    code, out, err = command(folder)
    assert (code, err) == (0, "") and "unordered in run: prefix does not hold" in out
    for name, begins in (("a.html", "<!doctype html>"), ("a.SVG", "<svg ")):
        assert command(folder, "--around", "total", "--out", tmp_path / name) == (0, "", "")
        written = (tmp_path / name).read_text()
        assert written.startswith(begins) and "total does not hold" in written
    assert "does not hold" not in command(folder, "--from", 0.1, "--to", 0.2, "--peers", "p1,p2")[1]


def test_without_a_violation_it_draws_the_first_moments(command, tmp_path):
    (run,) = plain.played(tmp_path, "wan-3-sites", "fixed_sequencer", messages=20)
    code, out, _ = command(run.folder)
    window = diagram.stretch(load_run(run.folder))
    assert code == 0 and "who sent and delivered what" in out and 10 < len(window.messages) < 60
    first = min(time_s for peer in range(3) for _, time_s, _ in plain.multicast(run.folder, peer))
    assert window.from_s <= first + 1e-6 < window.to_s


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["--around", "order"], "--around: there is no property 'order'; there are validity, integrity"),
        (["--around", "fifo"], "--around: the verdict does not find fifo broken; broken are: causal, total"),
        (["--around", "total", "--to", "1"], "--around: a violation says by itself where it is"),
        (["--from", "2", "--to", "1"], "a window goes from an earlier to a later moment, not from 2 to 1 s"),
        (["--from", "nan"], "nothing happened after nan s; the run lasts from 0.01 to 0.6"),
        (["--from", "nan", "--to", "1"], "not from nan to 1 s"),
        (["--from", "inf"], "nothing happened after inf s"),
        (["--from", "70", "--to", "80"], "nothing happened between 70 and 80 s; the run lasts from 0.01"),
        (["--peers", "p1,zoe"], "--peers: there is no peer 'zoe' in this run; there are p0, p1, p2, p3"),
        (["--peers", ","], "--peers: names no peer"),
        (["--out", "a.png"], "a.png, --out: a diagram ends in .svg or .html"),
    ],
)
def test_what_cannot_be_drawn_is_told_in_one_sentence(command, broken, arguments, sentence):
    code, out, err = command(broken["total"], *arguments)
    assert (code, out) == (2, "") and err.startswith("error: ") and sentence in err and err.count("\n") == 1


def test_a_run_in_which_nothing_happened(command, base, tmp_path):
    folder = by_hand.written(base, tmp_path / "run", [[], [], [], []])
    for arguments in ([], ["--from", "0", "--to", "1"]):
        code, _, err = command(folder, *arguments)
        assert code == 2 and "none of these peers multicast or delivered anything" in err


def test_help_has_an_example(command):
    code, out, _ = command("--help")
    assert code == 0 and "Example: python -m analysis diagram runs/" in out

"""The router of the rehearsal cloud, without a device or a clock: where each frame goes, when, and whether."""

import random
import struct
from dataclasses import asdict
from ipaddress import IPv4Address
from itertools import pairwise

import pytest

from deploy.rehearsal.frames import EVERYBODY, ICMP, IPV4, TCP, UDP, Readdress, arp_answer, checksum, mac_of, ports_of
from deploy.rehearsal.plan import OPERATOR, HostPlan, Plan, Weather, plain, plan_from
from deploy.rehearsal.router import ROUTER, Router
from peer.core.errors import SettingsError

FLAT = plain(["a", "b", "c"])
WIDE = plain(["a", "b", "c", "d"], ["east", "west"], [[0.5, 40], [30, 0.25]])  # a, c east; b, d west
BEHIND = Plan(
    (HostPlan("a", "east", nat=True), HostPlan("b", "west"), HostPlan("c", "east", nat=True)),
    ("east", "west"),
    ((0.5, 40.0), (30.0, 0.25)),
)


def packed(address):
    return IPv4Address(address).packed


def ip(source, target, protocol, body, fragment=0):
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 7, fragment, 64, protocol, 0)
    addresses = packed(source) + packed(target)
    return head[:10] + checksum(head + addresses).to_bytes(2, "big") + addresses + body


def layer_four(source, target, protocol, body, at):
    """The body with its checksum, over the pseudo header."""
    pseudo = packed(source) + packed(target) + struct.pack("!HH", protocol, len(body))
    made = checksum(pseudo + body) or 0xFFFF
    return body[:at] + made.to_bytes(2, "big") + body[at + 2 :]


def udp(source, target, data=b"hello", ports=(1111, 5700)):
    body = struct.pack("!HHHH", *ports, 8 + len(data), 0) + data
    return ip(source, target, UDP, layer_four(source, target, UDP, body, 6))


def tcp(source, target, ports=(1111, 22)):
    body = struct.pack("!HHIIBBHHH", *ports, 5, 6, 0x50, 2, 1000, 0, 0)
    return ip(source, target, TCP, layer_four(source, target, TCP, body, 16))


def frame(packet, to=ROUTER, sender=mac_of(3)):
    return to + sender + IPV4 + packet


def is_sound(packet):
    """Whether all checksums of an IP packet hold."""
    source, target, protocol, body = packet[12:16], packet[16:20], packet[9], packet[20:]
    if checksum(packet[:20]):
        return False
    if protocol == ICMP:
        return checksum(body) == 0
    return checksum(source + target + struct.pack("!HH", protocol, len(body)) + body) == 0


def send(router, origin, packet, now=0.0, to=ROUTER):
    return router.arrive(router.ports[origin], frame(packet, to), now)


def address(router, name):
    return router.plan.address(name)


def between(router, origin, target, make=udp, now=0.0, **more):
    """What comes of a packet from one host to another's public address."""
    own = str(IPv4Address(router.ports[origin].own))
    return send(router, origin, make(own, address(router, target), **more), now)


# -- where and when


def test_a_frame_arrives_after_the_delay_of_its_direction():
    router = Router(WIDE)
    for origin, target, delay_s in [("a", "b", 0.04), ("b", "a", 0.03), ("a", "c", 0.0005), ("d", "b", 0.00025)]:
        ((due, port, made),) = between(router, origin, target, now=7.0)
        assert due == pytest.approx(7.0 + delay_s) and port.name == target
        assert made[:14] == router.ports[target].mac + ROUTER + IPV4
        assert is_sound(made[14:]) and made.endswith(b"hello")


def test_the_operator_is_in_the_region_that_the_plan_says():
    plan = Plan(WIDE.hosts, WIDE.regions, WIDE.one_way_ms, operator="west")
    assert between(Router(plan), OPERATOR, "a")[0][0] == pytest.approx(0.03)
    assert between(Router(WIDE), OPERATOR, "a")[0][0] == pytest.approx(0.0005)


def test_what_is_for_nobody_goes_nowhere():
    router = Router(WIDE)
    for target in ("8.8.8.8", "198.18.7.10", "10.18.0.10", "224.0.0.251"):
        assert not send(router, "a", udp(address(router, "a"), target))
    assert router.counts["nobody there"] == 4


def test_nonsense_goes_nowhere():
    router, draw = Router(BEHIND), random.Random(3)
    good = frame(udp("10.18.0.10", "198.18.1.10"))
    for length in range(len(good)):
        router.arrive(router.ports["a"], good[:length], 0.0)
    for _ in range(3000):
        size, kind = draw.randrange(80), draw.choice([IPV4, b"\x08\x06", b"\x86\xdd"])
        body = bytearray(draw.randbytes(size))
        if size >= 20:
            body[16:20] = packed("198.18.1.10")  # somebody's, so that the rest is looked at as well
        router.arrive(router.ports["a"], draw.choice([ROUTER, EVERYBODY]) + mac_of(9) + kind + body, 0.0)


def test_arp_is_answered_for_everybody_else():
    router = Router(FLAT)
    mac, own, wanted = router.ports["a"].mac, packed("198.18.0.10"), packed("198.18.0.77")

    def asks(sender, target):
        head = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1)
        return EVERYBODY + mac + b"\x08\x06" + head + mac + sender + bytes(6) + target

    ((due, port, answer),) = router.arrive(router.ports["a"], asks(own, wanted), 3.0)
    assert (due, port.name) == (3.0, "a")
    assert answer[:6] == mac and answer[20:22] == b"\x00\x02"
    assert answer[22:28] == ROUTER and answer[28:32] == wanted and answer[32:42] == mac + own
    assert not router.arrive(router.ports["a"], asks(own, own), 3.0)  # it tells that it is there
    assert arp_answer(answer, ROUTER) is None  # an answer is no question
    assert arp_answer(asks(own, wanted)[:-1], ROUTER) is None


@pytest.mark.parametrize("target", ["255.255.255.255", "198.18.0.255"])
def test_a_broadcast_reaches_all_of_its_region_and_nobody_else(target):
    router = Router(plain(["a", "b", "c", "d", "e"], ["east", "west"], 40.0))
    arrivals = send(router, "a", udp(address(router, "a"), target), to=EVERYBODY)
    assert sorted(port.name for _, port, _ in arrivals) == ["c", "e"]
    for due, _, made in arrivals:
        assert due == pytest.approx(0.0001) and made[:6] == EVERYBODY and is_sound(made[14:])


def test_a_cloud_may_have_no_broadcast():
    router = Router(plain(3, broadcast=False))
    assert not send(router, "h0", udp(address(router, "h0"), "255.255.255.255"), to=EVERYBODY)
    assert not send(Router(FLAT), OPERATOR, udp("198.18.0.2", "255.255.255.255"), to=EVERYBODY)


# -- NAT


@pytest.mark.parametrize("make", [udp, tcp])
def test_nat_shows_the_public_address_outside_and_the_private_one_inside(make):
    router = Router(BEHIND)
    ((_, port, made),) = between(router, "a", "b", make)
    packet = made[14:]
    assert port.name == "b" and is_sound(packet)
    assert (packet[12:16], packet[16:20]) == (packed("198.18.0.10"), packed("198.18.1.10"))
    ((_, port, made),) = send(router, "b", make("198.18.1.10", "198.18.0.10"))
    packet = made[14:]
    assert port.name == "a" and is_sound(packet)
    assert (packet[12:16], packet[16:20]) == (packed("198.18.1.10"), packed("10.18.0.10"))


def test_checksums_hold_for_all_addresses_and_contents():
    draw = random.Random(5)
    for number in range(3000):
        old, new = ([draw.randbytes(4) for _ in range(2)] for _ in range(2))
        source, target = (str(IPv4Address(each)) for each in old)
        packet = udp(source, target, draw.randbytes(number % 60)) if number % 2 else tcp(source, target)
        made = Readdress(old[0], new[0], old[1], new[1])(frame(packet))[14:]
        assert is_sound(made) and (made[12:16], made[16:20]) == tuple(new)
        assert made[6:8] + made[20:26] == packet[6:8] + packet[20:26]  # and nothing else was changed
        assert made[9] == packet[9] and made[28 if made[9] == UDP else 38 :] == packet[28 if made[9] == UDP else 38 :]


def test_a_udp_packet_without_a_checksum_gets_none_and_one_of_zero_is_told_apart():
    packet = bytearray(udp("10.18.0.10", "198.18.1.10"))
    packet[26:28] = b"\0\0"
    ((_, _, made),) = send(Router(BEHIND), "a", bytes(packet))
    assert made[14 + 26 : 14 + 28] == b"\0\0" and checksum(made[14:34]) == 0
    for low in range(0x10000):  # one of these has a sum that mends to zero, which must not be written
        if (
            layer_four("198.18.0.10", "198.18.1.10", UDP, struct.pack("!HHHHH", 1, 2, 10, 0, low), 6)[6:8]
            == b"\xff\xff"
        ):
            packet = udp("10.18.0.10", "198.18.1.10", struct.pack("!H", low), (1, 2))
            ((_, _, made),) = send(Router(BEHIND), "a", packet)
            assert made[14 + 26 : 14 + 28] == b"\xff\xff"
            return
    raise AssertionError("no such packet was found")


def test_later_fragments_are_readdressed_and_their_content_left_alone():
    content = bytes(range(40))
    ((_, _, made),) = send(Router(BEHIND), "a", ip("10.18.0.10", "198.18.1.10", UDP, content, fragment=0x2005))
    assert made[34:] == content and made[26:30] == packed("198.18.0.10") and checksum(made[14:34]) == 0


def test_what_an_icmp_error_quotes_is_readdressed_too():
    """b sent to a's public address; a, which knows its private one only, says that nobody listens."""
    router = Router(BEHIND)
    ((_, _, arrived),) = send(router, "b", udp("198.18.1.10", "198.18.0.10"))
    quoted = arrived[14 : 14 + 28]
    body = b"\x03\x03\0\0" + bytes(4) + quoted
    body = body[:2] + checksum(body).to_bytes(2, "big") + body[4:]
    ((_, port, made),) = send(router, "a", ip("10.18.0.10", "198.18.1.10", ICMP, body))
    packet, quote = made[14:], made[14 + 28 :]
    assert port.name == "b" and is_sound(packet) and packet[12:16] == packed("198.18.0.10")
    assert (quote[12:16], quote[16:20]) == (packed("198.18.1.10"), packed("198.18.0.10"))  # as b sent it
    assert checksum(quote[:20]) == 0


def test_private_addresses_work_within_their_region_only():
    router = Router(BEHIND)
    ((due, port, made),) = send(router, "a", udp("10.18.0.10", "10.18.0.11"))
    assert port.name == "c" and due == pytest.approx(0.0005)
    assert made[26:34] == packed("10.18.0.10") + packed("10.18.0.11") and is_sound(made[14:])
    assert not send(router, "b", udp("198.18.1.10", "10.18.0.10"))
    assert not send(router, OPERATOR, udp("198.18.0.2", "10.18.0.10"))
    ((_, port, made),) = between(router, "a", "c")  # each other's public addresses work too
    assert port.name == "c" and made[26:34] == packed("198.18.0.10") + packed("10.18.0.11")
    ((_, port, made),) = between(router, "a", "a")  # and one's own
    assert port.name == "a" and is_sound(made[14:])


# -- weather


def arrivals_under(weather, count=4000, size=100, gap_s=0.0, inside=False):
    """(sent at, due) of each copy that arrives."""
    regions = ["east"] if inside else ["east", "west"]
    plan = plain(["a", "b"], regions, 20.0, **{"inside" if inside else "between": weather})
    router, found = Router(plan), []
    for place in range(count):
        now = place * gap_s
        found += [(now, due) for due, _, _ in between(router, "a", "b", now=now, data=bytes(size))]
    return found, router.counts


def test_loss_is_of_the_share_that_the_plan_says():
    found, counts = arrivals_under(Weather(loss=0.1))
    assert len(found) + counts["lost"] == 4000 and 330 < counts["lost"] < 470


def test_the_same_seed_loses_the_same_and_another_does_not():
    def fate(seed):
        router = Router(plain(["a", "b"], ["east", "west"], 20.0, between=Weather(loss=0.5), seed=seed))
        return [len(between(router, "a", "b")) for _ in range(64)]

    assert fate(1) == fate(1) != fate(2)


def test_jitter_is_added_never_taken_away():
    found, _ = arrivals_under(Weather(jitter_ms=4))
    late = [due - sent - 0.02 for sent, due in found]
    assert len(found) == 4000 and min(late) >= 0 and max(late) <= 0.004 + 1e-9 and max(late) - min(late) > 0.0038


def test_duplicates_and_held_back_frames():
    found, counts = arrivals_under(Weather(duplicate=0.1))
    assert len(found) == 4000 + counts["doubled"] and 330 < counts["doubled"] < 470
    found, counts = arrivals_under(Weather(reorder=0.1))
    held = [due - sent - 0.02 for sent, due in found if due - sent > 0.0200001]
    assert 330 < counts["held back"] < 470 and counts["held back"] == pytest.approx(len(held), abs=2)
    assert 0.1 < max(held) <= 3 * 0.04


def test_a_rate_spaces_frames_and_a_full_queue_drops_them():
    weather = Weather(rate_mbit=1, queue_ms=50)
    found, counts = arrivals_under(weather, count=100, size=972)  # 1000 bytes with the headers: 8 ms each
    dues = [due for _, due in found]
    assert all(later - earlier == pytest.approx(0.008) for earlier, later in pairwise(dues))
    assert dues[0] == pytest.approx(0.028) and len(dues) == 7 and counts["queue full"] == 93
    found, counts = arrivals_under(weather, count=100, size=972, gap_s=0.01)  # slower than the rate
    assert len(found) == 100 and all(due - sent == pytest.approx(0.028) for sent, due in found)


def test_what_is_too_large_is_dropped_in_silence():
    assert len(arrivals_under(Weather(largest_bytes=1000), count=1, size=972)[0]) == 1
    found, counts = arrivals_under(Weather(largest_bytes=1000), count=1, size=973)
    assert not found and counts["too large"] == 1


def test_weather_is_between_regions_and_that_inside_is_another():
    router = Router(plain(["a", "b", "c"], ["east", "west"], 20.0, between=Weather(loss=1.0)))
    assert len(between(router, "a", "c")) == 1 and not between(router, "a", "b")
    assert not arrivals_under(Weather(loss=1.0), inside=True)[0]


def test_weather_changes_on_demand():
    router = Router(plain(["a", "b", "c", "d"], ["east", "west", "south"], 20.0))
    router.set_weather(["east", "west"], loss=1.0)
    assert not between(router, "a", "b") and not between(router, "b", "a") and between(router, "a", "c")
    router.set_weather(loss=1.0)
    assert not between(router, "a", "c") and between(router, "a", "d")
    router.set_weather(["east"], loss=1.0)
    assert not between(router, "a", "d")
    router.set_weather(loss=0.0)
    assert between(router, "a", "b")
    for wrong in ({"regions": ["nowhere"], "loss": 1}, {"rain": 1}, {"loss": 2}, {"largest_bytes": "many"}):
        with pytest.raises(SettingsError):
            router.set_weather(**wrong)


# -- faults


def test_one_direction_of_one_protocol_is_blocked():
    router = Router(FLAT)
    router.block("a", "b", "udp")
    assert not between(router, "a", "b") and between(router, "b", "a") and between(router, "a", "c")
    assert between(router, "a", "b", tcp)
    router.block("a", "b", "tcp")
    assert not between(router, "a", "b", tcp)
    router.unblock("a", "b", "udp")
    assert between(router, "a", "b") and not between(router, "a", "b", tcp)
    router.heal()
    assert between(router, "a", "b", tcp) and router.blocks == []


def test_ssh_is_cut_and_nothing_else():
    router = Router(FLAT)
    router.block(OPERATOR, "b", "ssh")
    assert not between(router, OPERATOR, "b", tcp) and between(router, OPERATOR, "b", tcp, ports=(1111, 5678))
    assert not between(router, OPERATOR, "b", tcp, ports=(22, 1111))
    assert between(router, OPERATOR, "a", tcp) and between(router, OPERATOR, "b")
    assert ports_of(frame(ip("1.2.3.4", "5.6.7.8", TCP, b"\0\x16\0\x16", fragment=8))) == (0, 0)


def test_a_partition_cuts_between_its_groups_only():
    router = Router(plain(["a", "b", "c", "d"]))
    router.partition([["a", "b"], ["c"]])
    reached = {(x, y) for x in "abcd" for y in "abcd" if x != y and between(router, x, y)}
    cut = {("a", "c"), ("b", "c"), ("c", "a"), ("c", "b")}
    assert reached == {(x, y) for x in "abcd" for y in "abcd" if x != y} - cut
    assert between(router, OPERATOR, "c")
    assert sorted(port.name for _, port, _ in send(router, "a", udp("198.18.0.10", "198.18.0.255"), to=EVERYBODY)) == [
        "b", "d",
    ]  # fmt: skip
    router.heal()
    assert between(router, "a", "c")


def test_who_is_asleep_neither_takes_nor_sends():
    router = Router(FLAT)
    router.sleep("b", True)
    assert not between(router, "a", "b") and not between(router, "b", "a") and between(router, "a", "c")
    router.heal()
    assert not between(router, "a", "b")  # that is no block
    router.sleep("b", False)
    assert between(router, "a", "b")


def test_ssh_to_a_host_with_a_jump_is_for_its_jump_host():
    router = Router(Plan((HostPlan("door", "here"), HostPlan("inner", "here", jump="door"), HostPlan("c", "here"))))
    assert between(router, "door", "inner", tcp)
    for origin in (OPERATOR, "c"):
        assert not between(router, origin, "inner", tcp)
        assert between(router, origin, "inner") and between(router, origin, "inner", tcp, ports=(1, 5678))
        assert between(router, "inner", origin, tcp)  # it may log in elsewhere
        assert between(router, origin, "inner", tcp, ports=(22, 1111))  # and hears the answer


@pytest.mark.parametrize("wrong", [("a", "x"), ("x", "a"), ("a", "b", "snail")])
def test_what_cannot_be_blocked_is_said(wrong):
    with pytest.raises(SettingsError, match="known are"):
        Router(FLAT).block(*wrong)


# -- plans


def test_a_plan_survives_being_written():
    for plan in (FLAT, WIDE, BEHIND, plain(2, between=Weather(loss=0.5), lab="x")):
        assert plan_from(asdict(plan)) == plan


@pytest.mark.parametrize(
    ("about", "path"),
    [
        ({"hosts": ()}, "hosts"),
        ({"hosts": (HostPlan("Bad_name", "here"),)}, "hosts.0"),
        ({"hosts": (HostPlan(OPERATOR, "here"),)}, "hosts.0"),
        ({"hosts": (HostPlan("a", "here"), HostPlan("a", "here"))}, "hosts.a"),
        ({"hosts": (HostPlan("a", "there"),)}, "hosts.a.region"),
        ({"hosts": (HostPlan("a", "here", jump="a"),)}, "hosts.a.jump"),
        ({"hosts": (HostPlan("a", "here", jump="b"),)}, "hosts.a.jump"),
        ({"hosts": (HostPlan("a", "here", peers=0),)}, "hosts.a"),
        ({"hosts": (HostPlan("a", "here"),), "operator": "there"}, "operator"),
        ({"hosts": (HostPlan("a", "here"),), "one_way_ms": ((1.0, 2.0),)}, "one_way_ms"),
        ({"hosts": (HostPlan("a", "here"),), "one_way_ms": ((-1.0,),)}, "one_way_ms"),
        ({"hosts": (HostPlan("a", "here"),), "regions": ("here", "here")}, "regions"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(about, path):
    with pytest.raises(SettingsError) as caught:
        Plan(**about)
    assert caught.value.path == path


def test_addresses_are_each_their_own():
    plan = plain(40, [f"r{place}" for place in range(7)], 5.0)
    addresses = [plan.address(host.name) for host in plan.hosts] + [plan.address(OPERATOR)]
    assert len(set(addresses)) == 41 and all(IPv4Address(each).packed[:2] == b"\xc6\x12" for each in addresses)

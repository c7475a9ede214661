"""The tables of layers, and stacks that are built from settings or refused in one sentence."""

from dataclasses import dataclass, fields, is_dataclass, replace

import pytest

from comparison_server.properties import PROPERTIES
from experiments.scenario import orderings
from experiments.sweep.plan import load_plan
from peer import stacks
from peer.core import guarantees
from peer.core.errors import SettingsError
from peer.core.layer import Layer
from peer.core.settings import LayerSettings
from peer.core.wire import packet_classes
from peer.ordering.fifo import Fifo
from peer.stacks import ORDERINGS, PLACES, WORKLOADS, build_layers, build_stack, promised, variant_class
from tests.runs import NAMED, ORDERINGS_AND_VARIANTS, run_settings

TABLES = [*PLACES.values(), WORKLOADS]
ENTRIES = [(name, cls) for table in TABLES for name, cls in table.items()]
VARIANTS = [variant_class(name, variant) for name, variant in ORDERINGS_AND_VARIANTS]
CLASSES = [*{cls: None for _, cls in ENTRIES}, *VARIANTS]
WORDS = guarantees.GIVEN | guarantees.PROMISED


@pytest.mark.parametrize("name, cls", ENTRIES, ids=lambda value: value if isinstance(value, str) else "")
def test_a_layer_is_called_like_its_entry_and_its_file(name, cls):
    assert cls.name == name and cls.__module__.rpartition(".")[2] == name


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_layer_is_a_slotted_dataclass(cls):
    """So that its fields are all of its state."""
    assert issubclass(cls, Layer) and is_dataclass(cls) and cls.__doc__
    assert all("__dict__" not in vars(parent) for parent in cls.__mro__)
    slots = {name for parent in cls.__mro__ for name in getattr(parent, "__slots__", ())}
    assert slots == {f.name for f in fields(cls)}


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_layer_speaks_the_words_of_the_house(cls):
    for words in (cls.needs, cls.gives, cls.loses):
        assert isinstance(words, frozenset) and words <= WORDS
    assert set(cls.packets) <= set(packet_classes().values())


@pytest.mark.parametrize("cls", VARIANTS, ids=lambda cls: cls.__name__)
def test_every_ordering_says_what_it_promises(cls):
    assert cls.promises <= WORDS and {guarantees.VALIDITY, guarantees.INTEGRITY} <= cls.promises
    assert all(need in WORDS and more <= WORDS for need, more in cls.promises_if.items())
    if guarantees.TOTAL in cls.promises:
        assert {guarantees.PREFIX, guarantees.AGREEMENT} <= cls.promises


def test_every_word_is_known_and_every_promise_is_judged():
    assert WORDS == {value for name, value in vars(guarantees).items() if name.isupper() and isinstance(value, str)}
    assert guarantees.PROMISED == set(PROPERTIES)


@dataclass(slots=True)
class Homeless(Layer):
    """An ordering whose author forgot who makes it."""

    name = "fifo"
    variants = ("plain",)
    promises, promises_if = Fifo.promises, {}
    packets, requests = Fifo.packets, Fifo.requests

    members: int


def slip(**attributes):
    """The ordering `fifo` with something else in its class."""
    return type("Slip", (Fifo,), {"__slots__": (), **attributes})


@pytest.mark.parametrize(
    "cls, said",
    [
        (slip(name="fifoo"), "Slip is called 'fifoo'; its `name` has to be that of its entry, 'fifo'"),
        (slip(variants=None), "Slip has to name its variants in a tuple"),
        (slip(variants="plain"), "Slip has to name its variants in a tuple"),
        (slip(variants=("one", "two")), "Slip has several variants, and needs a static method `variant`"),
        (slip(promises={}), "Slip has to say what it promises: promises = frozenset"),
        (slip(promises=frozenset({"totally"})), "Slip promises 'totally', which is no property; known are agreement, "),
        (slip(promises_if={"reliable links": frozenset({"best"})}), "Slip promises 'best', which is no property"),
        (slip(promises_if=None), "Slip has to say what it promises where a link gives more"),
        (slip(needs=frozenset({"luck"})), "Slip needs 'luck', which nothing gives; known are "),
        (slip(packets=Fifo.packets[0]), "Slip has to name the packets that it eats in a tuple"),
        (slip(requests=()), "Slip has to take what the application multicasts: requests = (MulticastBlock,)"),
        (Homeless, "Homeless has to have a class method `make` that gives members, which has no default"),
        (object, "object has to be a class made from Layer, and a dataclass(slots=True)"),
    ],
    ids=lambda value: "" if isinstance(value, str) else value.__name__,
)
def test_a_slip_in_the_table_of_orderings_is_told_before_anything_starts(monkeypatch, cls, said):
    monkeypatch.setitem(stacks.ORDERINGS, "fifo", cls)
    for look in (
        lambda: orderings("all:variants", ORDERINGS),
        lambda: build_layers(run_settings("unordered"), 0),
        lambda: variant_class("fifo", None),
        lambda: load_plan("first"),
    ):
        with pytest.raises(SettingsError) as caught:
            look()
        assert str(caught.value).startswith(f"peer/stacks.py, ORDERINGS['fifo']: {said}")


# -- what is built


@pytest.mark.parametrize("ordering, variant", **NAMED)
def test_every_variant_is_built(ordering, variant):
    run = run_settings(ordering, variant)
    layers = build_layers(run, 1)
    assert [layer.name for layer in layers][-2:] == [ordering, "steady"]
    assert type(layers[-2]) is variant_class(ordering, variant)
    stack = build_stack(run, 1)
    assert stack.me == 1 and stack.members == (0, 1, 2)


def test_layers_are_fresh_each_time():
    run = run_settings()
    one, other = build_layers(run, 0), build_layers(run, 0)
    assert one == other and not {id(layer) for layer in one} & {id(layer) for layer in other}


def test_the_first_variant_is_the_default():
    for name, ordering in ORDERINGS.items():
        assert variant_class(name, None) is variant_class(name, ordering.variants[0])


def test_a_place_may_be_empty():
    run = run_settings("fifo")
    places = ("discovery", "connection", "overlay", "membership", "link")
    bare = with_stack(run, **dict.fromkeys(places), allow_unmet=True)
    assert [layer.name for layer in build_layers(bare, 0)] == ["fifo", "steady"]


def test_options_reach_their_layer():
    run = run_settings("fixed_sequencer", link={"window": 5})
    stack = replace(run.stack, ordering=LayerSettings("fixed_sequencer", {"sequencer": 2}))
    layers = {layer.name: layer for layer in build_layers(replace(run, stack=stack), 0)}
    assert layers["fixed_sequencer"].sequencer == 2 and layers["ack_resend"].window == 5


# -- what is refused


def refusal(run):
    with pytest.raises(SettingsError) as refused:
        build_stack(run, 0)
    return str(refused.value)


def with_stack(run, **changes):
    return replace(run, stack=replace(run.stack, **changes))


def test_a_need_that_nothing_meets():
    run = run_settings("lamport_all_ack", link_name="direct")
    assert refusal(run) == (
        "stack: lamport_all_ack needs fifo links; nothing below gives it (below: group_manager, ready_ack, full_mesh,"
        " direct, static). Use ack_resend, or set stack.allow_unmet to watch it fail."
    )
    build_stack(with_stack(run, allow_unmet=True), 0)


def test_needs_may_only_be_met_from_below():
    run = run_settings("fifo")
    assert "full_mesh needs ready pairs" in refusal(with_stack(run, connection=None))
    assert "ready_ack needs addresses" in refusal(with_stack(run, discovery=None))
    assert "(below: nothing)" in refusal(with_stack(run, discovery=None))


def test_links_without_order_are_no_fifo_links():
    run = run_settings("lamport_all_ack", link={"order": "none"})
    assert "lamport_all_ack needs fifo links" in refusal(run)
    build_stack(run_settings("unordered", link={"order": "none"}), 0)


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"link": LayerSettings("carrier_pigeon")}, "stack.link: unknown link 'carrier_pigeon'; known are direct"),
        ({"link": LayerSettings("direct", {"speed": 3})}, "stack.link.speed: direct has no option 'speed'"),
        (
            {"ordering": LayerSettings("fifo", {"variant": "loud"})},
            "ordering_options.variant: fifo has no variant 'loud'; known are plain",
        ),
        ({"ordering": LayerSettings("abc")}, "stack.ordering: unknown ordering 'abc'; known are unordered, fifo"),
    ],
)
def test_refusals(changes, sentence):
    assert refusal(with_stack(run_settings("fifo"), **changes)).startswith(sentence)


def test_an_unknown_workload():
    run = run_settings("fifo")
    assert "unknown workload 'idle'" in refusal(replace(run, workload=replace(run.workload, kind="idle")))


# -- what is promised


def test_promises_follow_what_the_link_gives():
    over_reliable = promised(run_settings("unordered"))
    over_direct = promised(run_settings("unordered", link_name="direct"))
    assert over_reliable == {"validity", "integrity", "agreement"} and over_direct == {"validity", "integrity"}
    assert promised(run_settings("fifo")) - promised(run_settings("fifo", link_name="direct")) == {"agreement"}


def test_variants_promise_for_themselves():
    uniform = {"uniform_agreement", "uniform_total"}
    assert uniform <= promised(run_settings("lamport_all_ack", "explicit"))
    assert not uniform & promised(run_settings("lamport_all_ack", "promise"))


def test_a_hop_link_is_refused_and_not_left_out():
    run = run_settings("fifo")
    with pytest.raises(SettingsError, match="stack.hop_link: no overlay of this lab takes a hop link yet"):
        build_layers(replace(run, stack=replace(run.stack, hop_link=LayerSettings("ack_resend"))), 0)

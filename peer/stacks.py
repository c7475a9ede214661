"""The tables of all layers, and how a stack is built from settings.

To add a protocol: one file in its folder and one line here. Conformance tests, the
explorer, benchmarks and reports read these tables. What they rely on is checked first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache

from peer.connection.ready_ack import ReadyAck
from peer.core.errors import SettingsError
from peer.core.guarantees import GIVEN, PROMISED
from peer.core.layer import Layer
from peer.core.names import PeerId
from peer.core.requests import MulticastBlock
from peer.core.settings import LayerSettings, RunSettings
from peer.core.shapes import fits, hints_of, shown
from peer.core.stack import Stack
from peer.discovery.group_manager import GroupManager
from peer.links.ack_resend import AckResend
from peer.links.direct import Direct
from peer.membership.static import Static
from peer.ordering.fifo import Fifo
from peer.ordering.fixed_sequencer import FixedSequencer
from peer.ordering.lamport_all_ack import LamportAllAck
from peer.ordering.unordered import Unordered
from peer.overlay.full_mesh import FullMesh
from peer.workload.bank import Bank
from peer.workload.burst import Burst
from peer.workload.single import Single
from peer.workload.steady import Steady
from peer.workload.store import Store
from peer.workload.text import Text

DISCOVERIES: Mapping[str, type[Layer]] = {"group_manager": GroupManager}
CONNECTIONS: Mapping[str, type[Layer]] = {"ready_ack": ReadyAck}
OVERLAYS: Mapping[str, type[Layer]] = {"full_mesh": FullMesh}
LINKS: Mapping[str, type[Layer]] = {"direct": Direct, "ack_resend": AckResend}
MEMBERSHIPS: Mapping[str, type[Layer]] = {"static": Static}
ELECTIONS: Mapping[str, type[Layer]] = {}
ORDERINGS: Mapping[str, type[Layer]] = {
    "unordered": Unordered,
    "fifo": Fifo,
    "lamport_all_ack": LamportAllAck,
    "fixed_sequencer": FixedSequencer,
}
WORKLOADS: Mapping[str, type[Layer]] = {
    "steady": Steady,
    "burst": Burst,
    "single": Single,
    "bank": Bank,
    "store": Store,
    "text": Text,
}

PLACES: Mapping[str, Mapping[str, type[Layer]]] = {  # a stack's places, from bottom to top
    "discovery": DISCOVERIES,
    "connection": CONNECTIONS,
    "overlay": OVERLAYS,
    "link": LINKS,
    "membership": MEMBERSHIPS,
    "election": ELECTIONS,
    "ordering": ORDERINGS,
}


def build_stack(run: RunSettings, me: PeerId) -> Stack:
    """The stack that member `me` plays in this run."""
    return Stack(build_layers(run, me), me, tuple(range(len(run.members))))


def build_layers(run: RunSettings, me: PeerId) -> list[Layer]:
    """Fresh layers from bottom to top; SettingsError if one needs what none below gives."""
    check_orderings()
    if run.stack.hop_link is not None:  # asked for and silently left out, it would be a wrong experiment
        raise SettingsError("no overlay of this lab takes a hop link yet", path="stack.hop_link")
    layers = []
    for place, table in PLACES.items():
        entry: LayerSettings | None = getattr(run.stack, place)
        if entry is not None:
            layers.append(_make(_known(table, place, entry.name), entry, run, me, f"stack.{place}"))
    workload = _known(WORKLOADS, "workload", run.workload.kind)
    layers.append(_make(workload, LayerSettings(run.workload.kind), run, me, "workload"))
    if not run.stack.allow_unmet:
        _check_needs(layers)
    return layers


def promised(run: RunSettings) -> frozenset[str]:
    """What this run's ordering promises over what this run's link gives."""
    layers = build_layers(run, 0)
    ordering = next(layer for layer in layers if layer.name == run.stack.ordering.name)
    given = _given(layers[: layers.index(ordering)])
    promises = ordering.promises
    for guarantee, more in ordering.promises_if.items():
        if guarantee in given:
            promises = promises | more
    return promises


def check_orderings() -> None:
    """SettingsError if a class in the table of orderings does not keep to what everybody who reads it relies on."""
    for name, cls in ORDERINGS.items():
        if problem := _problem_of_entry(name, cls):
            raise SettingsError(problem, file="peer/stacks.py", path=f"ORDERINGS[{name!r}]")


def variant_class(name: str, variant: str | None) -> type[Layer]:
    """The class of an ordering's variant, by default of its first."""
    check_orderings()
    ordering = _known(ORDERINGS, "ordering", name)
    wanted = variant or ordering.variants[0]
    if wanted not in ordering.variants:
        raise SettingsError(
            f"{name} has no variant {wanted!r}; known are {', '.join(ordering.variants)}",
            path="ordering_options.variant",
        )
    return ordering.variant(wanted) if hasattr(ordering, "variant") else ordering


@cache
def _problem_of_entry(name: str, cls: type[Layer]) -> str:
    """What is wrong with a class in the table of orderings, in one sentence; empty if nothing is."""
    if not (isinstance(cls, type) and issubclass(cls, Layer) and is_dataclass(cls)):
        return f"{getattr(cls, '__name__', cls)} has to be a class made from Layer, and a dataclass(slots=True)"
    if cls.name != name:
        return f"{cls.__name__} is called {cls.name!r}; its `name` has to be that of its entry, {name!r}"
    variants = getattr(cls, "variants", None)
    if not (variants and isinstance(variants, tuple) and all(isinstance(each, str) for each in variants)):
        return f'{cls.__name__} has to name its variants in a tuple; where there is but one: variants = ("plain",)'
    if len(variants) > 1 and not hasattr(cls, "variant"):
        return f"{cls.__name__} has several variants, and needs a static method `variant` that gives their classes"
    classes = map(cls.variant, variants) if hasattr(cls, "variant") else [cls]
    return next(filter(None, map(_problem_of_class, classes)), "")


def _problem_of_class(cls: type[Layer]) -> str:
    """The same of the class of a variant."""
    promises, promises_if = getattr(cls, "promises", None), getattr(cls, "promises_if", None)
    if not isinstance(promises, frozenset):
        return f"{cls.__name__} has to say what it promises: promises = frozenset({{VALIDITY, INTEGRITY}}), and more"
    if not isinstance(promises_if, dict):
        return f"{cls.__name__} has to say what it promises where a link gives more; if nothing: promises_if = {{}}"
    if strange := sorted(promises.union(*promises_if.values()) - PROMISED):
        return f"{cls.__name__} promises {strange[0]!r}, which is no property; known are {', '.join(sorted(PROMISED))}"
    if strange := sorted(cls.needs.union(promises_if) - GIVEN):
        return f"{cls.__name__} needs {strange[0]!r}, which nothing gives; known are {', '.join(sorted(GIVEN))}"
    if not isinstance(cls.packets, tuple):
        return f"{cls.__name__} has to name the packets that it eats in a tuple, as in packets = (Block,)"
    if not isinstance(cls.requests, tuple) or MulticastBlock not in cls.requests:
        return f"{cls.__name__} has to take what the application multicasts: requests = (MulticastBlock,)"
    lacking = [each.name for each in fields(cls) if each.default is MISSING and each.default_factory is MISSING]
    if lacking and getattr(cls.make, "__func__", None) in (None, Layer.make.__func__):
        return f"{cls.__name__} has to have a class method `make` that gives {', '.join(lacking)}, which has no default"
    return ""


def _make(cls: type[Layer], entry: LayerSettings, run: RunSettings, me: PeerId, path: str) -> Layer:
    options = dict(entry.options)
    if hasattr(cls, "variants"):
        cls = variant_class(entry.name, options.pop("variant", None))
    known = [f.name for f in fields(cls)]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise SettingsError(f"{entry.name} has no option {unknown[0]!r}", path=f"{path}.{unknown[0]}")
    for name, value in options.items():
        if not fits(value, hints_of(cls)[name]):
            raise SettingsError(f"found {shown(value)}, which it cannot be", path=f"{path}.{name}")
    return cls.make(run, me, options)


def _known(table: Mapping[str, type[Layer]], what: str, name: str) -> type[Layer]:
    if name not in table:
        raise SettingsError(f"unknown {what} {name!r}; known are {', '.join(table)}", path=f"stack.{what}")
    return table[name]


def _check_needs(layers: list[Layer]) -> None:
    for place, layer in enumerate(layers):
        given = _given(layers[:place])
        for need in sorted(layer.needs - given):
            offers = sorted(name for table in PLACES.values() for name, cls in table.items() if need in cls.gives)
            raise SettingsError(
                f"{layer.name} needs {need}; nothing below gives it "
                f"(below: {', '.join(below.name for below in layers[:place]) or 'nothing'}). "
                f"Use {' or '.join(offers) or 'another stack'}, or set stack.allow_unmet to watch it fail.",
                path="stack",
            )


def _given(layers: list[Layer]) -> frozenset[str]:
    given: frozenset[str] = frozenset()
    for layer in layers:
        given = (given - layer.loses) | layer.granted()
    return given

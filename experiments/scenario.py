"""Scenarios: read from files, changed from the command line, chosen from, described.

    load -> Scenario        a file or a standard scenario, on top of the one it calls its `base`
    override -> Scenario    the same with what a command line says instead
    resolve -> RunSettings  one ordering of it, complete (experiments/resolution.py)

Until it is whole, a scenario is plain mappings as a file holds them: base, file and command
line are laid over each other. Then it is checked once, and is a frozen `Scenario`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from experiments.resolution import World, resolve, seed_text
from experiments.validation import adapter, validated
from experiments.written import Deadlines, Fault, Network, Scenario, check
from experiments.yaml_files import find, parse, read, shown, standard_names, unknown
from peer.core.errors import SettingsError
from peer.core.settings import LayerSettings, StackSettings
from peer.stacks import WORKLOADS, check_orderings

__all__ = [
    "Deadlines", "Fault", "Network", "Scenario", "World",
    "as_written", "asks_for_several", "check_names", "describe", "json_schema", "load", "orderings", "override",
    "resolve", "scenario_names", "seed_text",
]  # fmt: skip

SCENARIOS = Path(__file__).parent / "scenarios"
PLACES = tuple(place.name for place in fields(StackSettings) if place.name != "allow_unmet")
# Which option of a command line stands for a setting.
OPTIONS = {
    "stack.ordering": "--ordering",
    "peers": "--peers",
    "workload.messages": "--messages",
    "planet": "--planet",
    "regions": "--regions",
    "network.loss": "--loss",
    "seed": "--seed",
    "trace": "--trace",
}


def scenario_names() -> list[str]:
    """The scenarios that come with the lab."""
    return standard_names(SCENARIOS)


def load(name: str | Path) -> Scenario:
    """A standard scenario by its name, or the one in a YAML file."""
    return _load(find("scenario", str(name), SCENARIOS), ())


def override(
    scenario: Scenario,
    assignments: Iterable[str] = (),
    *,
    ordering: str | None = None,
    peers: int | None = None,
    messages: int | None = None,
    planet: str | None = None,
    regions: str | Sequence[str] | None = None,
    loss: float | None = None,
    seed: int | None = None,
    trace: str | None = None,
) -> Scenario:
    """The scenario with what a command line says: first its options, then each PATH=VALUE in turn.

    `ordering` is any text that `orderings` takes. If it is one, the scenario becomes one of that ordering;
    if it is several, options of an ordering must say whose they are.
    """
    name, _, variant = (ordering or "").partition(":")
    several = asks_for_several(ordering or "")
    one = {"name": name, "variant": variant} if variant else name
    options = {
        "stack": {"ordering": one} if name and not several else None,
        "peers": peers,
        "workload": None if messages is None else {"messages": messages},
        "planet": planet,
        "regions": _items(regions) if isinstance(regions, str) else regions,
        "network": None if loss is None else {"loss": loss},
        "seed": seed,
        "trace": trace,
    }
    given = {key: value for key, value in options.items() if value is not None}
    written = _laid_over(as_written(scenario), given)
    options_said = {path: option for path, option in OPTIONS.items() if path.split(".")[0] in given}
    said = dict(options_said)
    for assignment in assignments:
        path, change = _assigned(assignment, several)
        _check_said_once(path, change, options_said)
        written = _laid_over(written, change)
        said[path] = f"--set {path}"
    try:
        return _checked(written, f"scenario {scenario.name}")
    except SettingsError as error:
        if option := _option_for(error.path, said):
            raise SettingsError(error.problem, path=option) from None
        raise


def asks_for_several(text: str) -> bool:
    """Whether a text that `orderings` takes is a list, or one of its words for all."""
    return "," in text or text.partition(":")[0] == "all"


def orderings(text: str, table: Mapping[str, Any], *, several: bool = True) -> list[tuple[str, str | None]]:
    """The orderings and variants that `name[:variant]`, lists of these, `all` and `all:variants` ask for.

    `several`: whether more than one may be asked for.
    """
    check_orderings()
    chosen: list[tuple[str, str | None]] = []
    if not several and asks_for_several(text):
        problem = f"expected one ordering, found {shown(text)}; known are {', '.join(table)}"
        raise SettingsError(problem, path="--ordering")
    for item in _items(text):
        name, colon, variant = item.partition(":")
        if item == "all":
            chosen += [(each, None) for each in table]
        elif item == "all:variants":
            for each, cls in table.items():
                chosen += [(each, kind) for kind in cls.variants] if len(cls.variants) > 1 else [(each, None)]
        elif name == "all":
            raise SettingsError(f"expected all or all:variants, found {shown(item)}", path="--ordering")
        elif name not in table:
            known = [*table, "all", "all:variants"] if several else table
            raise SettingsError(unknown("ordering", name, known), path="--ordering")
        else:
            if colon:
                _check_variant(name, variant, table, "--ordering", "")
            chosen.append((name, variant if colon else None))
    if not chosen:
        or_all = ", or all" if several else ""
        problem = f"expected the name of an ordering{or_all}; known are {', '.join(table)}"
        raise SettingsError(problem, path="--ordering")
    return list(dict.fromkeys(chosen))


def check_names(scenario: Scenario, tables: Mapping[str, Mapping[str, Any]], file: str = "") -> None:
    """Refuses names that are in no table; `tables` has one for each place of a stack, and one for `workload`."""
    for kind, table in tables.items():
        layer = getattr(scenario.stack, kind, None)
        name = scenario.workload.kind if kind == "workload" else layer and layer.name
        if name is not None and name not in table:
            path = "workload.kind" if kind == "workload" else f"stack.{kind}"
            raise SettingsError(unknown(kind, name, table), path=path, file=file)
    check_orderings()
    known = tables.get("ordering", {})
    for name, options in scenario.ordering_options.items() if known else ():
        path = f"ordering_options.{name}"
        if name not in known:
            raise SettingsError(unknown("ordering", name, known), path=path, file=file)
        if "variant" in options:
            _check_variant(name, options["variant"], known, f"{path}.variant", file)


def describe(scenario: Scenario) -> str:
    """A scenario in four lines for a person."""
    placed, network, workload = scenario.placed(), scenario.network, scenario.workload
    counts = {region: placed.count(region) for region in placed}
    where = ", ".join(region if count == 1 else f"{region} ({count})" for region, count in counts.items())
    layers = [getattr(scenario.stack, place) for place in reversed(PLACES)]
    top, *below = [layer.name for layer in layers if layer is not None]
    kinds = {"lost": network.loss, "doubled": network.duplicate, "held back": network.reorder}
    troubles = [f"{share * 100:.3g} % of the datagrams {kind}" for kind, share in kinds.items() if share]
    troubles += [f"up to {network.jitter_ms:g} ms of jitter"] if network.jitter_ms else []
    troubles += [_many(len(scenario.faults), "fault")] if scenario.faults else []
    shortest, longest = workload.gap_ms
    sized = getattr(WORKLOADS.get(workload.kind), "sized", True)
    each = _many(workload.messages, "message") + (f" of {workload.size_bytes} bytes" if sized else "")
    return f"""\
{scenario.name}: {_many(scenario.peers, "peer")} in {where} (planet {scenario.planet})
  {workload.kind}: {each} from each, {shortest:g} to {longest:g} ms apart
  {top} over {", ".join(below)}
  {", ".join(troubles) or "an undisturbed network"}; seed {scenario.seed}"""


def as_written(scenario: Scenario) -> dict[str, Any]:
    """The scenario as a file would say it, nothing left out; reading that gives the same scenario."""
    written = json.loads(json.dumps(asdict(scenario)))
    for place in PLACES:
        entry = written["stack"][place]
        if entry is not None:
            written["stack"][place] = {"name": entry["name"], **entry["options"]} if entry["options"] else entry["name"]
    return written


def from_written(written: dict[str, Any]) -> Scenario:
    """The scenario that `as_written` gave."""
    return _checked(written, "")


def json_schema() -> dict[str, Any]:
    """The JSON schema of a scenario file, for editors."""
    schema = adapter(Scenario).json_schema()
    with_options = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    schema["$defs"][LayerSettings.__name__] = {
        "description": "A layer's name, or its name and its options.",
        "anyOf": [{"type": "string"}, with_options],
    }
    schema["properties"] |= {
        "base": {"type": "string", "description": "The scenario that this one is a change of."},
        "ordering_options": {"type": "object", "description": "Options of the stack's ordering, or keyed by ordering."},
    }
    return schema


def _load(path: Path, above: tuple[Path, ...]) -> Scenario:
    file, above = str(path), (*above, path.resolve())
    content = {"name": path.stem, **read(path)}
    start = Scenario()
    if "base" in content:
        base = content.pop("base")
        if not isinstance(base, str):
            raise SettingsError(f"expected the name of a scenario, found {shown(base)}", file=file, path="base")
        below = find("scenario", base, SCENARIOS, path.parent, file=file, path="base")
        if below.resolve() in above:
            raise SettingsError("comes back to itself: a scenario cannot be its own base", file=file, path="base")
        start = _load(below, above)
    return _checked(_laid_over(as_written(start), content), file)


def _checked(written: dict[str, Any], file: str) -> Scenario:
    stack = written["stack"]
    if isinstance(stack, dict):
        written = written | {"stack": {key: _apart(value) if key in PLACES else value for key, value in stack.items()}}
    expected = {f"stack.{place}": "the name of a layer, or {name: ..., option: value}" for place in PLACES}
    expected["regions"] = "a list of regions, or {region: number of peers}"
    scenario = validated(Scenario, written, file, also=("base",), expected=expected)
    check(scenario, file)
    return scenario


def _apart(entry: Any) -> Any:
    """An entry of a stack as a `LayerSettings` is built: the name, and the options apart from it."""
    if isinstance(entry, str):
        return {"name": entry}
    if not isinstance(entry, dict):
        return entry
    options = {key: value for key, value in entry.items() if key != "name"}
    return {key: value for key, value in entry.items() if key == "name"} | {"options": options}


def _laid_over(written: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """What was written with a change to it, and with what follows from the change."""
    change = dict(change)
    if change.get("planet", written["planet"]) != written["planet"]:
        change.setdefault("regions", [])  # those of the old planet mean nothing on the new one
    if "regions" in change:
        written = written | {"regions": None}  # numbers of peers are replaced, not added to other regions
        if isinstance(counts := change["regions"], dict) and all(type(count) is int for count in counts.values()):
            change.setdefault("peers", sum(counts.values()))
    stack = written["stack"]
    if isinstance(stack, dict) and isinstance(change.get("stack"), dict):
        change["stack"] = {place: _entry(stack.get(place), entry) for place, entry in change["stack"].items()}
        written = written | {"stack": stack | dict.fromkeys(change["stack"])}
    return _keyed_by_ordering(_merged(written, change))


def _entry(old: Any, new: Any) -> Any:
    """An entry of a stack: another name replaces all of it, options alone are added to those it has."""
    if not isinstance(new, dict):
        return new
    old = {"name": old} if isinstance(old, str) else old or {}
    return old | new if new.get("name", old.get("name")) == old.get("name") else new


def _merged(base: Any, change: Any) -> Any:
    if not (isinstance(base, dict) and isinstance(change, dict)):
        return change
    return base | {key: _merged(base.get(key), value) for key, value in change.items()}


def _keyed_by_ordering(written: dict[str, Any]) -> dict[str, Any]:
    """Options of "the" ordering become those of the ordering that the stack names at this point."""
    stack, options = written["stack"], written["ordering_options"]
    entry = stack.get("ordering") if isinstance(stack, dict) else None
    inline = dict(entry) if isinstance(entry, dict) else {"name": entry}
    name = inline.pop("name", None)
    if not isinstance(name, str) or not isinstance(options, dict):
        return written  # which will be refused
    plain = inline | {key: value for key, value in options.items() if not isinstance(value, dict)}
    keyed = {key: value for key, value in options.items() if isinstance(value, dict)}
    if plain:
        keyed[name] = keyed.get(name, {}) | plain
    return written | {"stack": stack | {"ordering": name}, "ordering_options": keyed}


def _option_for(path: str, said: Mapping[str, str]) -> str:
    """The option that said what stands at this path, or around it, or in it; empty if none did."""
    for said_path, option in reversed(said.items()):  # the last one counts
        if f"{path}.".startswith(f"{said_path}.") or f"{said_path}.".startswith(f"{path}."):
            return f"--set {path}" if option.startswith("--set") else option
    return ""


def _assigned(text: str, several_orderings: bool) -> tuple[str, dict[str, Any]]:
    """The path, and the change, that PATH=VALUE asks for."""
    path, equals, value = text.partition("=")
    steps = path.strip().split(".")
    if not equals or not all(steps):
        problem = f"expected PATH=VALUE, as in workload.messages=10, found {shown(text)}"
        raise SettingsError(problem, path="--set")
    path = path.strip()
    change = parse(value, path=f"--set {path}")
    for step in reversed(steps):
        change = {step: change}
    options = change.get("ordering_options", {})
    nobodys = not isinstance(options, dict) or not all(isinstance(value, dict) for value in options.values())
    if several_orderings and (nobodys or steps[:2] == ["stack", "ordering"]):
        problem = f"several orderings run: say whose option it is, as in ordering_options.NAME.{steps[-1]}"
        raise SettingsError(problem, path=f"--set {path}")
    return path, change


def _check_said_once(path: str, change: Mapping[str, Any], options: Mapping[str, str]) -> None:
    """Refuses an assignment of what an option says too."""
    for known, option in options.items():
        if f"{known}.".startswith(f"{path}.") and _holds(change, known):  # options of an ordering lie below it
            raise SettingsError(f"{option} says it, too; leave one of them out", path=f"--set {path}")


def _holds(settings: Any, path: str) -> bool:
    """Whether nested settings have something at a dotted path."""
    for step in path.split("."):
        if not isinstance(settings, Mapping) or step not in settings:
            return False
        settings = settings[step]
    return True


def _check_variant(name: str, variant: str, table: Mapping[str, Any], path: str, file: str) -> None:
    if variant not in table[name].variants:
        raise SettingsError(unknown(f"variant of {name}", variant, table[name].variants), path=path, file=file)


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _many(count: int, thing: str) -> str:
    return f"{count:,} {thing}" + ("" if count == 1 else "s")

"""The rules of the house, read from its source: who may import whom, what pure means, what runs on old machines.

Every rule is a function from the house's modules to a list of complaints; every rule is tried on a small bad house
as well, so that it is known to complain.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# -- the tables

KINDS = ("discovery", "connection", "overlay", "links", "membership", "election", "ordering", "workload")
LAYERS = tuple(f"peer.{kind}" for kind in KINDS)

# Who may import whom. A name stands for a module and all that is inside it; of several that fit the longest counts.
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "peer.core": ("peer.core",),
    **{layer: ("peer.core", layer) for layer in LAYERS},  # the kinds of layer never meet
    "peer.stacks": ("peer.core", *LAYERS),
    "peer.session": ("peer.core", "peer.stacks"),
    "peer.drivers": ("peer.core", "peer.stacks", "peer.session", "peer.drivers"),
    "peer.communicator": ("peer",),
    "peer.__main__": ("peer",),
    "group_manager": ("peer", "group_manager"),
    "comparison_server": ("peer", "comparison_server"),
    "comparison_server.__main__": ("peer", "comparison_server", "group_manager", "analysis", "experiments"),
    "analysis": ("peer", "comparison_server", "analysis"),
    "analysis.__main__": ("peer", "comparison_server", "analysis", "experiments"),
    "experiments": ("peer", "group_manager", "comparison_server", "analysis", "experiments"),
    "experiments.cloud": ("peer", "group_manager", "comparison_server", "analysis", "experiments", "deploy"),
    "experiments.bench.deploying": ("peer", "comparison_server", "analysis", "experiments", "deploy"),
    "experiments.rehearsal": ("peer.core", "comparison_server", "experiments", "deploy.rehearsal"),
    "experiments.__main__": ("peer", "group_manager", "comparison_server", "analysis", "experiments", "deploy"),
    "deploy": (
        "peer.core", "peer.drivers.control", "peer.drivers.program", "deploy",
        "experiments.validation", "experiments.yaml_files",
    ),
    "deploy.agent": ("peer.core", "peer.drivers", "comparison_server.desk", "deploy.agent"),
    "deploy.tasks": ("peer", "group_manager", "comparison_server", "analysis", "experiments", "deploy"),
    "fabfile": ("deploy.tasks",),
}

# Pure: events in, effects out. No time, no chance, no files, no sockets, no threads.
PURE = (
    "peer.core", *LAYERS, "peer.stacks", "peer.session", "group_manager.membership", "comparison_server.coordinator",
)  # fmt: skip
PURE_STANDARD = {
    "__future__", "abc", "array", "base64", "binascii", "bisect", "collections", "copy", "dataclasses", "enum",
    "fractions", "functools", "hashlib", "heapq", "hmac", "ipaddress", "itertools", "json", "math", "numbers",
    "operator", "re", "string", "struct", "types", "typing", "zlib",
}  # fmt: skip
IMPURE_BUILTINS = {"open", "print", "input", "eval", "exec", "__import__", "breakpoint", "hash", "id"}
READS_FILES = {"peer.core.trace": {"pathlib", "open"}}  # it knows what a trace file looks like, and reads its header

# What is copied to machines of which nothing is known but that they have some Python from 3.10 on.
SHIPPED = (
    "peer", "group_manager", "deploy.agent",
    "comparison_server.coordinator", "comparison_server.service", "comparison_server.delivery_log",
    "comparison_server.collector", "comparison_server.desk",
)  # fmt: skip
MAY_BE_MISSING = {"peer.drivers.zeromq": {"zmq"}}
OLDEST = (3, 10)
NEWER_MODULES = {"tomllib", "asyncio.taskgroups", "asyncio.timeouts", "wsgiref.types"}
NEWER_NAMES = {
    "asyncio": {"Barrier", "BrokenBarrierError", "Runner", "TaskGroup", "Timeout", "timeout", "timeout_at"},
    "collections.abc": {"Buffer"},
    "contextlib": {"chdir"},
    "datetime": {"UTC"},
    "enum": {"EnumCheck", "EnumType", "FlagBoundary", "ReprEnum", "StrEnum", "member", "nonmember", "verify"},
    "hashlib": {"file_digest"},
    "inspect": {"getmembers_static", "ismethodwrapper", "markcoroutinefunction"},
    "itertools": {"batched"},
    "logging": {"getHandlerByName", "getHandlerNames", "getLevelNamesMapping"},
    "math": {"cbrt", "exp2", "sumprod"},
    "operator": {"call"},
    "os": {"listdrives", "process_cpu_count"},
    "re": {"NOFLAG"},
    "threading": {"setprofile_all_threads", "settrace_all_threads"},
    "typing": {
        "LiteralString", "Never", "NotRequired", "Required", "Self", "TypeAliasType", "TypeVarTuple", "Unpack",
        "assert_never", "assert_type", "clear_overloads", "dataclass_transform", "get_overloads", "override",
        "reveal_type",
    },
}  # fmt: skip
NEWER_BUILTINS = {"ExceptionGroup", "BaseExceptionGroup", "PythonFinalizationError"}
NEWER_METHODS = {"add_note"}

# Records are slotted, not frozen, because frozen ones are slow; so nobody may assign to their fields.
RECORD_MODULES = tuple(f"peer.core.{name}" for name in ("events", "effects", "requests", "news", "commands", "blocks"))
RECORD_NAMES = {"packet", "block", "arrival", "effect", "event", "request"}

EMPTY_NAMES = {"utils", "util", "helpers", "helper", "common", "base", "misc"}
LONGEST_LINE = 120


# -- the house


@dataclass
class Module:
    """One module's name and source."""

    name: str
    source: str
    is_package: bool = False

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source, self.name)

    def at(self, node: ast.AST) -> str:
        return f"{self.name}:{node.lineno}"


House = dict[str, Module]


def read_house(*folders: str) -> House:
    house = {}
    for folder in folders:
        files = sorted((ROOT / folder).rglob("*.py")) if (ROOT / folder).is_dir() else [ROOT / folder]
        for file in filter(Path.is_file, files):
            parts = file.relative_to(ROOT).with_suffix("").parts
            is_package = parts[-1] == "__init__"
            name = ".".join(parts[:-1] if is_package else parts)
            house[name] = Module(name, file.read_text(encoding="utf-8"), is_package)
    return house


OURS = ("peer", "group_manager", "comparison_server", "analysis", "experiments", "deploy", "fabfile.py")
HOUSE = read_house(*OURS)
TESTS = read_house("tests")


def inside(name: str, names: tuple[str, ...]) -> bool:
    """Whether a module is one of these or inside one."""
    return any(name == each or name.startswith(each + ".") for each in names)


def pure(house: House) -> list[Module]:
    return [module for name, module in house.items() if inside(name, PURE)]


def shipped(house: House) -> list[Module]:
    return [module for name, module in house.items() if inside(name, SHIPPED)]


def imports(module: Module, house: House) -> Iterator[tuple[ast.AST, str, str]]:
    """(where, module, name in it or nothing) for everything that is imported, at the top or in a function."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node, alias.name, ""
        elif isinstance(node, ast.ImportFrom):
            origin = node.module or ""
            if node.level:
                package = module.name.split(".")
                package = package[: len(package) - node.level + module.is_package]
                origin = ".".join([*package, *filter(None, [node.module])])
            for alias in node.names:
                whole = f"{origin}.{alias.name}"
                yield (node, whole, "") if whole in house else (node, origin, alias.name)


def is_ours(name: str) -> bool:
    return name.partition(".")[0] in {folder.removesuffix(".py") for folder in OURS}


def dotted(node: ast.AST) -> str:
    """`a.b.c` of such an expression, else nothing."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (origin := dotted(node.value)):
        return f"{origin}.{node.attr}"
    return ""


# -- the rules


def imports_not_in_the_table(house: House) -> list[str]:
    complaints = []
    for module in house.values():
        rows = [row for row in MAY_IMPORT if inside(module.name, (row,))]
        allowed = MAY_IMPORT[max(rows, key=len)] if rows else ()
        for node, origin, _ in imports(module, house):
            if is_ours(origin) and not inside(origin, allowed):
                complaints.append(f"{module.at(node)} may not import {origin}")
    return complaints


def import_cycles(house: House) -> list[str]:
    graph = {
        name: sorted({origin for _, origin, _ in imports(module, house) if origin in house and origin != name})
        for name, module in house.items()
    }
    done: set[str] = set()

    def walk(name: str, path: list[str]) -> list[str] | None:
        if name in path:
            return path[path.index(name) :] + [name]
        if name in done:
            return None
        for origin in graph[name]:
            if found := walk(origin, [*path, name]):
                return found
        done.add(name)
        return None

    found = next(filter(None, (walk(name, []) for name in graph)), None)
    return [f"a circle of imports: {' -> '.join(found)}"] if found else []


def impure_imports(house: House) -> list[str]:
    complaints = []
    for module in pure(house):
        excused = READS_FILES.get(module.name, set())
        for node, origin, _ in imports(module, house):
            if not is_ours(origin) and origin.partition(".")[0] not in PURE_STANDARD | excused:
                complaints.append(f"{module.at(node)} is pure and may not import {origin}")
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and dotted(node.func) in IMPURE_BUILTINS - excused:
                complaints.append(f"{module.at(node)} is pure and may not call {dotted(node.func)}()")
    return complaints


def foreign_imports_in_what_ships(house: House) -> list[str]:
    complaints = []
    for module in shipped(house):
        for node, origin, _ in imports(module, house):
            root = origin.partition(".")[0]
            if is_ours(origin):
                if not inside(origin, SHIPPED) and origin not in {each.partition(".")[0] for each in SHIPPED}:
                    complaints.append(f"{module.at(node)} ships, and {origin} does not")
            elif root not in sys.stdlib_module_names | MAY_BE_MISSING.get(module.name, set()):
                complaints.append(f"{module.at(node)} ships, and {root} is not in the standard library")
    return complaints


def too_new_for_what_ships(house: House) -> list[str]:
    complaints = []
    for module in shipped(house):

        def complain(node: ast.AST, what: str, module: Module = module) -> None:
            complaints.append(f"{module.at(node)}: {what} is newer than Python {'.'.join(map(str, OLDEST))}")

        try:
            ast.parse(module.source, module.name, feature_version=OLDEST)
        except SyntaxError as error:
            complaints.append(f"{module.name}:{error.lineno}: {error.msg}")
            continue
        known_as = {}  # the name under which a module of the standard library is known here
        for node, origin, name in imports(module, house):
            if origin in NEWER_MODULES:
                complain(node, origin)
            if name in NEWER_NAMES.get(origin, ()):
                complain(node, f"{origin}.{name}")
            if isinstance(node, ast.Import):
                known_as |= {alias.asname or alias.name: alias.name for alias in node.names}
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Attribute):
                origin = known_as.get(dotted(node.value), "")
                if node.attr in NEWER_NAMES.get(origin, ()):
                    complain(node, f"{origin}.{node.attr}")
                elif node.attr in NEWER_METHODS:
                    complain(node, f".{node.attr}()")
            elif isinstance(node, ast.Name) and node.id in NEWER_BUILTINS:
                complain(node, node.id)
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                given = len(node.args) + len({"length", "byteorder"} & {word.arg for word in node.keywords})
                if node.func.attr in ("to_bytes", "from_bytes") and given < 2:
                    complain(node, f"{node.func.attr}() without a length and a byte order")
            elif isinstance(node, ast.Subscript):
                items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
                if any(isinstance(item, ast.Starred) for item in items):
                    complain(node, "a star in an index")
    return complaints


def iterated_sets(house: House) -> list[str]:
    """Iterating a bare set: its order differs from process to process."""
    modules = pure(house)
    set_fields = {
        node.target.id
        for module in modules
        for owner in ast.walk(module.tree)
        if isinstance(owner, ast.ClassDef)
        for node in owner.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and _says_set(node.annotation)
    }
    return [
        f"{module.at(node)} iterates a set: {ast.unparse(node)}"
        for module in modules
        for scope in _scopes(module.tree)
        for node in _SetReader(set_fields).iterated(scope)
    ]


def unlisted_protocols(house: House) -> list[str]:
    """Every file of a layer folder is in its table in peer.stacks, or is what other files of the folder share."""
    stacks = house["peer.stacks"]
    origin_of = {name: origin for _, origin, name in imports(stacks, house) if name}
    listed = set()
    for node in stacks.tree.body:
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(node.value, ast.Dict):
            listed |= {origin_of[value.id] for value in node.value.values if getattr(value, "id", "") in origin_of}
    complaints = []
    for name, module in house.items():
        folder, _, _ = name.rpartition(".")
        if folder not in LAYERS or module.is_package or name in listed:
            continue
        shared = any(
            origin == name
            for other in house.values()
            if other.name != name and other.name.rpartition(".")[0] == folder
            for _, origin, _ in imports(other, house)
        )
        if not shared:
            complaints.append(f"{name} is in no table of peer.stacks")
    return complaints


def modules_without_docstring(house: House) -> list[str]:
    return [name for name, module in house.items() if module.source.strip() and not ast.get_docstring(module.tree)]


def changed_records(house: House) -> list[str]:
    """Assignments to a field of an event, an effect, a request, a piece of news or a packet."""
    records = _record_classes(house)
    complaints = []
    for module in house.values():
        for owner in ast.walk(module.tree):
            if isinstance(owner, ast.ClassDef) and owner.name in records and module.name in records[owner.name]:
                for method in owner.body:
                    if isinstance(method, ast.FunctionDef) and method.name != "__post_init__":
                        complaints += _changes(module, method, {"self"})
            elif isinstance(owner, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.Module)):
                complaints += _changes(module, owner, _record_variables(owner, set(records)))
    return sorted(set(complaints))


def names_that_say_nothing(house: House) -> list[str]:
    return [name for name in house if EMPTY_NAMES & set(name.split("."))]


def long_lines(house: House) -> list[str]:
    return [
        f"{module.name}:{number} has {len(line)} characters"
        for module in house.values()
        for number, line in enumerate(module.source.splitlines(), 1)
        if len(line) > LONGEST_LINE
    ]


RULES: list[Callable[[House], list[str]]] = [
    imports_not_in_the_table, import_cycles, impure_imports, foreign_imports_in_what_ships, too_new_for_what_ships,
    iterated_sets, unlisted_protocols, modules_without_docstring, changed_records, names_that_say_nothing, long_lines,
]  # fmt: skip
OF_TESTS_TOO = [modules_without_docstring, names_that_say_nothing, long_lines]


# -- how sets are found


def _scopes(tree: ast.Module) -> list[ast.AST]:
    functions = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    return [tree, *functions]


def _own_nodes(scope: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a scope, without those of the functions in it."""
    waiting = list(ast.iter_child_nodes(scope))
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            waiting.extend(ast.iter_child_nodes(node))


def _says_set(annotation: ast.AST | None) -> bool:
    if annotation is None:
        return False
    text = annotation.value if isinstance(annotation, ast.Constant) else ast.unparse(annotation)
    return bool(re.match(r"(typing\.|abc\.)?(set|frozenset|Set|FrozenSet|AbstractSet|MutableSet)\b", str(text)))


class _SetReader:
    """Knows which expressions of a scope are sets, and which of those are iterated where order shows."""

    ITERATE = {"list", "tuple", "enumerate", "iter", "map", "filter", "zip", "deque", "reversed", "join", "extend",
               "fromkeys", "chain", "dict"}  # fmt: skip
    ORDER_LOST = {"sorted", "set", "frozenset", "any", "all", "min", "max", "len", "sum", "update"}

    def __init__(self, fields: set[str]) -> None:
        self.fields, self.names = fields, set()

    def iterated(self, scope: ast.AST) -> Iterator[ast.AST]:
        nodes = list(_own_nodes(scope))
        self._learn(scope, nodes)
        harmless = {
            id(argument)
            for node in nodes
            if isinstance(node, ast.Call) and _last(node.func) in self.ORDER_LOST
            for argument in node.args
        }
        for node in nodes:
            if isinstance(node, (ast.For, ast.AsyncFor)) and self.is_set(node.iter):
                yield node.iter
            elif isinstance(node, (ast.ListComp, ast.DictComp, ast.GeneratorExp)) and id(node) not in harmless:
                yield from (each.iter for each in node.generators if self.is_set(each.iter))
            elif isinstance(node, ast.Starred) and self.is_set(node.value):
                yield node
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], (ast.Tuple, ast.List)):
                if self.is_set(node.value):
                    yield node
            elif isinstance(node, ast.Call):
                if _last(node.func) in self.ITERATE:
                    yield from filter(self.is_set, node.args)
                elif isinstance(node.func, ast.Attribute) and node.func.attr == "pop" and self.is_set(node.func.value):
                    yield node

    def is_set(self, node: ast.AST) -> bool:
        if isinstance(node, (ast.Set, ast.SetComp)):
            return True
        if isinstance(node, ast.Name):
            return node.id in self.names
        if isinstance(node, ast.Attribute):
            return node.attr in self.fields
        if isinstance(node, ast.Call):
            method = _last(node.func) in {"union", "intersection", "difference", "symmetric_difference", "copy"}
            return dotted(node.func) in {"set", "frozenset"} or method and self.is_set(node.func.value)
        if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.BitOr, ast.BitAnd, ast.Sub, ast.BitXor)):
            return any(self.is_set(side) or self._is_view(side) for side in (node.left, node.right))
        if isinstance(node, ast.IfExp):
            return self.is_set(node.body) or self.is_set(node.orelse)
        return False

    def _is_view(self, node: ast.AST) -> bool:
        return isinstance(node, ast.Call) and _last(node.func) in {"keys", "items"}

    def _learn(self, scope: ast.AST, nodes: list[ast.AST]) -> None:
        arguments = getattr(scope, "args", None)
        if arguments is not None:
            every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
            self.names |= {each.arg for each in every if _says_set(each.annotation)}
        assigned = [node for node in nodes if isinstance(node, (ast.Assign, ast.AnnAssign, ast.NamedExpr))]
        before = -1
        while before != len(self.names):  # a = set(); b = a
            before = len(self.names)
            for node in assigned:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                is_set = node.value is not None and self.is_set(node.value)
                if is_set or _says_set(getattr(node, "annotation", None)):
                    self.names |= {target.id for target in targets if isinstance(target, ast.Name)}


def _last(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


# -- how changed records are found


def _record_classes(house: House) -> dict[str, set[str]]:
    """Class name -> the modules that define a record of that name."""
    records: dict[str, set[str]] = {}
    for module in house.values():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef):
                is_packet = any(_last(parent) == "Packet" for parent in node.bases)
                if is_packet or module.name in RECORD_MODULES:
                    records.setdefault(node.name, set()).add(module.name)
    return records


def _record_variables(scope: ast.AST, records: set[str]) -> set[str]:
    names = set(RECORD_NAMES)
    arguments = getattr(scope, "args", None)
    if arguments is not None:
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        names |= {each.arg for each in every if _mentions(each.annotation, records)}
    for node in _own_nodes(scope):
        if isinstance(node, ast.AnnAssign) and _mentions(node.annotation, records):
            names |= {_last(node.target)} if isinstance(node.target, ast.Name) else set()
        elif isinstance(node, (ast.Assign, ast.NamedExpr)) and isinstance(node.value, ast.Call):
            if _last(node.value.func) in records:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def _mentions(annotation: ast.AST | None, records: set[str]) -> bool:
    """Whether an annotation is one of these classes, or one of several; not a list of them."""
    if annotation is None:
        return False
    text = annotation.value if isinstance(annotation, ast.Constant) else ast.unparse(annotation)
    return any(part.strip().rpartition(".")[2] in records for part in str(text).split("|"))


def _changes(module: Module, scope: ast.AST, variables: set[str]) -> list[str]:
    def is_record(node: ast.AST) -> bool:
        if isinstance(node, ast.Name):
            return node.id in variables
        return isinstance(node, ast.Attribute) and node.attr in RECORD_NAMES and "self" not in dotted(node).split(".")

    complaints = []
    for node in _own_nodes(scope):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, (ast.Store, ast.Del)) and is_record(node.value):
            complaints.append(f"{module.at(node)} changes a record: {ast.unparse(node)}")
        elif isinstance(node, ast.Call) and _last(node.func) in ("setattr", "__setattr__", "delattr"):
            if node.args and is_record(node.args[0]):
                complaints.append(f"{module.at(node)} changes a record: {ast.unparse(node)}")
    return complaints


# -- the house keeps its rules


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps(rule):
    complaints = rule(HOUSE) + (rule(TESTS) if rule in OF_TESTS_TOO else [])
    assert not complaints, "\n".join(complaints)


def test_the_house_was_found():
    """A rule over an empty house would always be kept."""
    assert len(pure(HOUSE)) > 20 and len(shipped(HOUSE)) > len(pure(HOUSE))
    assert {"peer.core.stack", "peer.ordering.lamport_all_ack", "group_manager.membership"} <= set(HOUSE)
    assert {"Block", "Ready", "Data", "PacketArrived", "Transmit", "SendAll"} <= set(_record_classes(HOUSE))


def test_what_ships_runs_on_the_oldest_python():
    """All that ships is imported with nothing else installed, and by a Python 3.10 where there is one."""
    names = [module.name for module in shipped(HOUSE) if module.name not in MAY_BE_MISSING]
    names = [name for name in names if not name.endswith("__main__")]
    code = f"import sys, importlib; sys.path.insert(0, {str(ROOT)!r})\n"
    code += f"for name in {names!r}: importlib.import_module(name)\nprint('all', len(sys.path))"
    for python in [sys.executable, *pythons_as_old_as_may_be()]:
        ran = subprocess.run([python, "-B", "-I", "-S", "-c", code], capture_output=True, text=True, timeout=60)
        assert ran.returncode == 0 and ran.stdout.startswith("all"), f"{python}: {ran.stderr}"


def pythons_as_old_as_may_be() -> list[str]:
    """A python3.10, where there is one that runs."""
    try:
        asked = subprocess.run(["python3.10", "-V"], capture_output=True, timeout=30)
    except OSError:
        return []
    return [] if asked.returncode else ["python3.10"]


# -- and each rule can complain


def house_of(sources: dict[str, str]) -> House:
    return {name: Module(name, source) for name, source in sources.items()}


BAD: list[tuple[Callable[[House], list[str]], dict[str, str], str]] = [
    (imports_not_in_the_table, {"peer.core.a": "from peer.links.direct import Direct"}, "peer.links.direct"),
    (imports_not_in_the_table, {"peer.core.a": "import experiments"}, "may not import experiments"),
    (imports_not_in_the_table, {"peer.links.a": "import peer.ordering.fifo"}, "peer.ordering.fifo"),
    (imports_not_in_the_table, {"peer.links.a": "from ..ordering import fifo"}, "may not import peer.ordering"),
    (imports_not_in_the_table, {"peer.links.a": "def f():\n    from peer import session"}, "peer"),
    (imports_not_in_the_table, {"peer.stacks": "from peer.session import Session"}, "peer.session"),
    (imports_not_in_the_table, {"group_manager.service": "import comparison_server.service"}, "comparison_server"),
    (imports_not_in_the_table, {"comparison_server.judge": "from experiments import run_folder"}, "experiments"),
    (imports_not_in_the_table, {"analysis.report": "from experiments.planet import load"}, "experiments.planet"),
    (imports_not_in_the_table, {"deploy.remote": "from peer.session import Session"}, "peer.session"),
    (imports_not_in_the_table, {"peer.new_folder.a": "import peer.core.wire"}, "peer.core.wire"),
    (
        import_cycles,
        {
            "peer.core.a": "import peer.core.b",
            "peer.core.b": "from peer.core import c",
            "peer.core.c": "import peer.core.a",
        },
        "peer.core.a -> peer.core.b -> peer.core.c -> peer.core.a",
    ),
    (import_cycles, {"peer.core.a": "def f():\n    import peer.core.b", "peer.core.b": "import peer.core.a"}, "circle"),
    *[
        (impure_imports, {"peer.ordering.a": f"import {name}"}, f"import {name}")
        for name in ("time", "random", "socket", "threading", "logging", "selectors", "os", "secrets", "asyncio.events")
    ],
    (impure_imports, {"peer.core.a": "def f():\n    from time import monotonic"}, "import time"),
    (impure_imports, {"peer.session": "import numpy as np"}, "import numpy"),
    (impure_imports, {"group_manager.membership": "import datetime"}, "import datetime"),
    (impure_imports, {"comparison_server.coordinator": "import uuid"}, "import uuid"),
    (impure_imports, {"peer.core.wire": "x = open('file')"}, "call open()"),
    (impure_imports, {"peer.core.trace": "x = hash('text')"}, "call hash()"),
    (foreign_imports_in_what_ships, {"peer.drivers.udp": "import numpy"}, "numpy is not in the standard library"),
    (foreign_imports_in_what_ships, {"peer.drivers.udp": "import zmq"}, "zmq is not"),
    (foreign_imports_in_what_ships, {"comparison_server.service": "import comparison_server.verdict"}, "does not"),
    (foreign_imports_in_what_ships, {"group_manager.service": "from experiments.planet import x"}, "does not"),
    (too_new_for_what_ships, {"peer.a": "try:\n    pass\nexcept* OSError:\n    pass"}, "peer.a:"),
    (too_new_for_what_ships, {"peer.a": "import tomllib"}, "tomllib is newer"),
    (too_new_for_what_ships, {"peer.a": "from typing import Any, Self"}, "typing.Self"),
    (too_new_for_what_ships, {"peer.a": "import typing as t\ndef f() -> t.Self: ..."}, "typing.Self"),
    (too_new_for_what_ships, {"peer.a": "import datetime\nx = datetime.UTC"}, "datetime.UTC"),
    (too_new_for_what_ships, {"peer.a": "from enum import StrEnum"}, "enum.StrEnum"),
    (too_new_for_what_ships, {"peer.a": "raise ExceptionGroup('all', [])"}, "ExceptionGroup"),
    (too_new_for_what_ships, {"peer.a": "def f(error):\n    error.add_note('x')"}, "add_note"),
    (too_new_for_what_ships, {"peer.a": "x = (5).to_bytes(2)"}, "to_bytes()"),
    (too_new_for_what_ships, {"peer.a": "def f(a, b):\n    return a[*b]"}, "a star in an index"),
    (iterated_sets, {"peer.core.a": "for x in {1, 2}:\n    pass"}, "iterates a set: {1, 2}"),
    (iterated_sets, {"peer.core.a": "def f(y):\n    return [x for x in set(y)]"}, "set(y)"),
    (iterated_sets, {"peer.core.a": "def f(y):\n    z = {x for x in y}\n    return list(z)"}, "z"),
    (iterated_sets, {"peer.core.a": "def f(y: set[int]):\n    for x in y:\n        pass"}, "y"),
    (iterated_sets, {"peer.core.a": "def f(y):\n    a: set[int] = y\n    b = a\n    yield from (x for x in b)"}, "b"),
    (iterated_sets, {"peer.core.a": "class A:\n    y: set\n    def f(self):\n        for x in self.y: ..."}, "self.y"),
    (iterated_sets, {"peer.core.a": "class A:\n    y: 'frozenset[int]'\ndef f(a):\n    return (*a.y,)"}, "a.y"),
    (iterated_sets, {"peer.core.a": "def f(a, b):\n    return tuple(set(a) - set(b))"}, "set(a) - set(b)"),
    (iterated_sets, {"peer.core.a": "def f(a, b):\n    for x in a.keys() & b: ..."}, "a.keys() & b"),
    (iterated_sets, {"peer.core.a": "def f(a):\n    a = set(a)\n    return a.pop()"}, "a.pop()"),
    (iterated_sets, {"peer.core.a": "def f(a):\n    return ', '.join({str(x) for x in a})"}, "str(x)"),
    (iterated_sets, {"peer.core.a": "def f(a):\n    x, y = set(a)"}, "x, y = set(a)"),
    (unlisted_protocols, {"peer.stacks": "ORDERINGS = {}", "peer.ordering.mine": ""}, "peer.ordering.mine"),
    (
        unlisted_protocols,
        {"peer.stacks": "from peer.ordering.mine import Mine\nX = 1", "peer.ordering.mine": ""},
        "peer.ordering.mine",
    ),
    (modules_without_docstring, {"peer.core.a": "# a comment only\nx = 1"}, "peer.core.a"),
    (changed_records, {"peer.links.a": "def f(packet):\n    packet.number = 1"}, "packet.number"),
    (changed_records, {"peer.links.a": "def f(self, arrival):\n    arrival.packet.number += 1"}, "packet.number"),
    (changed_records, {"peer.links.a": "def f(block):\n    setattr(block, 'stamp', 1)"}, "setattr"),
    (changed_records, {"peer.links.a": "def f(block):\n    del block.stamp"}, "block.stamp"),
    (
        changed_records,
        {"peer.links.a": "class Data(Packet):\n    number: U32\ndef f():\n    new = Data(1)\n    new.number = 2"},
        "new.number",
    ),
    (
        changed_records,
        {"peer.core.effects": "class Note: ...", "peer.links.a": "def f(x: Note | None):\n    x.name, y = 1, 2"},
        "x.name",
    ),
    (changed_records, {"peer.core.news": "class Fresh:\n    def f(self):\n        self.x = 1"}, "self.x"),
    (names_that_say_nothing, {"peer.core.utils": ""}, "peer.core.utils"),
    (names_that_say_nothing, {"peer.common.wire": ""}, "peer.common.wire"),
    (long_lines, {"peer.core.a": "x = 1\n" + "#" * 121}, "peer.core.a:2 has 121"),
]  # fmt: skip


@pytest.mark.parametrize("rule, sources, expected", BAD, ids=[f"{bad[0].__name__}-{n}" for n, bad in enumerate(BAD)])
def test_a_bad_house_is_found_out(rule, sources, expected):
    complaints = rule(house_of(sources))
    assert len(complaints) == 1 and expected in complaints[0], complaints


def test_every_rule_was_seen_to_complain():
    assert {bad[0] for bad in BAD} == set(RULES)


GOOD: list[tuple[Callable[[House], list[str]], dict[str, str]]] = [
    (imports_not_in_the_table, {"peer.stacks": "from peer.core.wire import x\nfrom peer.links.direct import y"}),
    (imports_not_in_the_table, {"peer.links.a": "from peer.links.b import y", "peer.links.b": "import json"}),
    (imports_not_in_the_table, {"comparison_server.__main__": "from experiments.planet import x"}),
    (
        import_cycles,
        {
            "peer.core.a": "import peer.core.b\nimport peer.core.c",
            "peer.core.b": "import peer.core.c",
            "peer.core.c": "",
        },
    ),
    (impure_imports, {"peer.core.a": "import struct\nfrom collections.abc import Iterator"}),
    (impure_imports, {"peer.drivers.udp": "import time, socket, os\nopen('x')"}),
    (impure_imports, {"peer.core.a": "class A:\n    def f(self, log):\n        log.open('x')"}),
    (foreign_imports_in_what_ships, {"peer.drivers.zeromq": "import zmq"}),
    (foreign_imports_in_what_ships, {"comparison_server.verdict": "import numpy"}),
    (too_new_for_what_ships, {"peer.a": "x = (5).to_bytes(2, 'little')\ny = int.from_bytes(b'', byteorder='big')"}),
    (too_new_for_what_ships, {"experiments.a": "from typing import Self"}),
    (iterated_sets, {"peer.core.a": "def f(a: set):\n    return sorted(a), len(a), 3 in a, all(x for x in a)"}),
    (iterated_sets, {"peer.core.a": "def f(a: set):\n    return sorted(x for x in a - {1}), {x + 1 for x in a}"}),
    (iterated_sets, {"peer.core.a": "def f(a: dict[int, set]):\n    for x in a: ...\n    return a.pop(3)"}),
    (iterated_sets, {"peer.drivers.a": "for x in {1, 2}: ..."}),
    (iterated_sets, {"peer.core.a": "def f(a, b):\n    return [x for x in range(a - b | 3)]"}),
    (
        unlisted_protocols,
        {
            "peer.stacks": "from peer.ordering.mine import Mine\nORDERINGS: dict = {'mine': Mine}",
            "peer.ordering.mine": "from peer.ordering.shared import x",
            "peer.ordering.shared": "",
        },
    ),
    (modules_without_docstring, {"peer.core.a": "", "peer.core.b": "'''Says.'''"}),
    (changed_records, {"peer.links.a": "def f(self, packet):\n    self.packet = packet\n    self.block.x = 1"}),
    (changed_records, {"peer.links.a": "class Data(Packet): ...\ndef f(many: list[Data], x):\n    x.number = 1"}),
    (changed_records, {"peer.core.news": "class Fresh:\n    def __post_init__(self):\n        self.x = 1"}),
    (names_that_say_nothing, {"peer.core.database": "", "peer.commons": ""}),
    (long_lines, {"peer.core.a": "#" * 120}),
]  # fmt: skip


@pytest.mark.parametrize("rule, sources", GOOD, ids=[f"{good[0].__name__}-{n}" for n, good in enumerate(GOOD)])
def test_a_good_house_is_left_alone(rule, sources):
    assert rule(house_of(sources)) == []

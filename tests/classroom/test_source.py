"""What the classroom program was made of and the lab is not, read from its source: threads, locks, sleeps, pickles."""

import ast

import pytest

from tests.test_house import HOUSE, Module, dotted, imports, inside

RUNNING = ("peer", "group_manager", "comparison_server")  # what plays, leads and collects runs

THREADS = {"Thread", "Timer", "Lock", "RLock", "Condition", "Semaphore", "BoundedSemaphore", "Barrier",
           "start_new_thread", "ThreadPoolExecutor", "ProcessPoolExecutor", "run_in_executor", "to_thread"}  # fmt: skip
UNPICKLERS = {"pickle", "_pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}


def threads(module):
    """Where a module starts a second line of control, or locks something against one."""
    names = [node for node in ast.walk(module.tree) if isinstance(node, (ast.Attribute, ast.Name))]
    return [module.at(node) for node in names if dotted(node).rpartition(".")[2] in THREADS] + [
        module.at(node) for node, _, name in imports(module, {}) if name in THREADS
    ]


def sleeps(module):
    """Where a module waits for a time instead of an event."""
    calls = [node for node in ast.walk(module.tree) if isinstance(node, ast.Call)]
    return [module.at(node) for node in calls if dotted(node.func).rpartition(".")[2] == "sleep"]


def unpicklers(module):
    """Where a module could run what somebody else wrote."""
    loaded = [node for node, origin, _ in imports(module, {}) if origin.partition(".")[0] in UNPICKLERS]
    calls = [node for node in ast.walk(module.tree) if isinstance(node, ast.Call)]
    called = [node for node in calls if dotted(node.func) in ("eval", "exec", "compile", "yaml.load", "np.load")]
    return [module.at(node) for node in loaded + called]


RULES = {
    threads: "import threading\nthreading.Thread(target=print).start()",
    sleeps: "import time\ntime.sleep(5)  # until the others are ready",
    unpicklers: "import pickle\nmessage = pickle.loads(data)",
}


def found(rule):
    """Complaints about the lab; none about a module that was not looked at."""
    modules = [module for name, module in HOUSE.items() if inside(name, RUNNING)]
    assert len(modules) > 60
    return [where for module in modules for where in rule(module)]


def test_nothing_runs_in_a_thread_and_nothing_is_locked():
    """Fails if what plays or leads runs has threads, whose flags race and whose exit() ends only one of them."""
    assert found(threads) == []


def test_nothing_waits_for_a_fixed_time():
    """Fails if somewhere a sleep is to give others the time to be ready."""
    assert found(sleeps) == []


def test_nothing_is_unpickled_or_evaluated():
    """Fails if anything that reads bytes could run what stands in them."""
    assert found(unpicklers) == []


@pytest.mark.parametrize("rule", RULES)
def test_each_of_these_rules_complains(rule):
    """Fails if a rule overlooks the plainest breach of it."""
    assert rule(Module("bad", RULES[rule]))

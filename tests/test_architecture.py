"""The rules of the house, proven from the source: who may import whom, what stays pure, what is never written."""

import ast
from collections.abc import Callable, Collection, Iterable
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("architecture")
"""One process reads all modules for all of these tests."""

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("miner", "controller", "regtest")

# A module may import modules of its own layer's folder and of any lower layer, never of a higher one.
# The first prefix that fits a module gives its layer.
LAYERS = (
    ("miner.__main__", 11),
    ("miner.cli", 10),
    ("regtest.demo", 9),
    ("miner.daemon", 8),
    ("miner.event_loop", 1),
    ("miner.overview", 7),
    ("miner.control", 7),
    ("miner.front", 7),
    ("miner.inquiries", 7),
    ("miner.checks", 6),
    ("miner.mining", 6),
    ("miner.delivery", 6),
    ("miner.pools", 6),
    ("miner.pool_guard", 6),
    ("miner.foreman", 7),
    ("miner.plant", 7),
    ("miner.web", 6),
    ("controller.loop", 6),
    ("miner.desk", 5),
    ("miner.keeper", 5),
    ("miner.lanes", 4),
    ("miner.site", 5),
    ("miner.payouts", 5),
    ("miner.share_books", 5),
    ("miner.solo", 5),
    ("miner.succession", 5),
    ("miner.handover", 4),
    ("miner.systemd", 4),
    ("controller.actuation", 5),
    ("controller.reading", 5),
    ("miner.node", 4),
    ("miner.hashing", 4),
    ("miner.ledger", 4),
    ("controller.actuators", 4),
    ("controller.ports", 4),
    ("controller.sources", 4),
    ("miner.stratum.channel", 4),
    ("miner.stratum.client_session", 4),
    ("miner.stratum.failover", 4),
    ("miner.stratum.fields", 4),
    ("miner.stratum.house", 4),
    ("miner.stratum.levels", 4),
    ("miner.stratum.pace", 4),
    ("miner.stratum.patience", 4),
    ("miner.stratum.pool_address", 4),
    ("miner.stratum.pool_events", 4),
    ("miner.stratum.pool_fields", 4),
    ("miner.stratum.pool_work", 4),
    ("miner.stratum.rules", 4),
    ("miner.stratum.server_session", 4),
    ("miner.stratum.v1", 4),
    ("miner.stratum.wishes", 4),
    ("miner.stratum", 5),  # with sockets: what is not named above
    ("miner.work", 3),
    ("controller.view", 4),
    ("controller.policy", 4),
    ("controller.planner", 3),
    ("controller.deciding", 4),
    ("controller.report", 3),
    ("controller.plots", 4),
    ("controller.inputs", 3),
    ("controller.recompute", 4),
    ("controller.backtest", 5),
    ("controller.fit", 4),
    ("controller.standing", 3),
    ("controller.recorded", 2),
    ("controller.synthetic", 2),
    ("controller.worth", 2),
    ("controller.model", 2),
    ("controller.recent", 1),
    ("controller.limits", 3),
    ("controller.fleet", 3),
    ("controller.program", 2),
    ("controller.kernel", 2),
    ("controller.plan", 1),
    ("controller.signals", 2),
    ("controller.overrides", 2),
    ("controller._plan", 0),
    ("controller.snapshot", 2),
    ("controller.market", 2),
    ("controller.book", 2),
    ("controller.flip", 2),
    ("controller.forecast", 2),
    ("miner.chain", 2),
    ("controller.earnings", 2),
    ("controller.economics", 2),
    ("controller.hashprice", 2),
    ("controller.decisions", 2),
    ("controller.validate", 2),
    ("controller.ticks", 1),
    ("controller.units", 1),
    ("miner.kernel", 1),
    ("miner._native", 0),
)
# Stand beside the layers: they import nothing of the house but each other, and the configuration what a pool's URL is.
FREE = ("miner.config", "miner.metrics", "miner.log", "miner.render", "regtest")

PURE = (
    "miner.chain",
    "miner.lanes",
    "miner.work",
    "miner.kernel",
    "miner.stratum.channel",
    "miner.stratum.client_session",
    "miner.stratum.failover",
    "miner.stratum.fields",
    "miner.stratum.house",
    "miner.stratum.levels",
    "miner.stratum.pace",
    "miner.stratum.patience",
    "miner.stratum.pool_address",
    "miner.stratum.pool_events",
    "miner.stratum.pool_fields",
    "miner.stratum.pool_work",
    "miner.stratum.rules",
    "miner.stratum.server_session",
    "miner.stratum.v1",
    "miner.stratum.wishes",
    "controller.book",
    "controller.deciding",
    "controller.fleet",
    "controller.inputs",
    "controller.kernel",
    "controller.limits",
    "controller.overrides",
    "controller.plan",
    "controller.program",
    "controller.recompute",
    "controller.backtest",
    "controller.fit",
    "controller.standing",
    "controller.recorded",
    "controller.synthetic",
    "controller.worth",
    "controller.model",
    "controller.recent",
    "controller.report",
    "controller.signals",
    "controller.decisions",
    "controller.earnings",
    "controller.economics",
    "controller.flip",
    "controller.forecast",
    "controller.hashprice",
    "controller.market",
    "controller.planner",
    "controller.policy",
    "controller.snapshot",
    "controller.sources.jsonpath",
    "controller.sources.presets",
    "controller.sources.quotes",
    "controller.ticks",
    "controller.units",
    "controller.validate",
    "controller.view",
)
IMPURE = {"aiohttp", "asyncio", "logging", "os", "pathlib", "random", "secrets", "socket", "sqlalchemy", "sqlite3", "subprocess", "threading", "time", "zmq"}  # fmt: skip
# The C core's kernel may be forced from the environment; that is read once, where the core is loaded.
IMPURE_ALLOWED = {("miner.kernel", "os")}

CONTROL = {
    "miner.config_market_rules",
    "miner.config_power_rules",
    "miner.config_real_time_rules",
    "miner.config_signals_rules",
    "miner.control",
    "miner.control_backtest",
    "miner.control_fit",
    "miner.control_ears",
    "miner.control_fleet",
    "miner.control_gates",
    "miner.control_journal",
    "miner.control_power",
    "miner.control_preview",
    "miner.control_real_time",
    "miner.control_refusals",
    "miner.control_prices",
    "miner.control_settings",
    "miner.control_verify",
    "miner.control_signals",
    "miner.control_commands",
    "miner.control_sources",
}
"""The miner's side of the seam between it and the controller; presets and paths into answers are the controller's, and the rules
of the configuration look into them."""

SOLE_IMPORTERS = {
    # Answers are written by the core, too; that is I/O and no part of the kernel.
    "miner._native": {"miner.kernel", "miner.kernel_submit", "miner.stratum.sending"},
    "miner.kernel_submit": {"miner.kernel"},  # the two are one door, too long for one file
    "controller._plan": {"controller.kernel"},
    "pyasic_rs": {"controller.actuators.asic"},
}
LONGEST_FILE = 450
LONGEST_FUNCTION = 75


def modules() -> dict[str, Path]:
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


@cache
def nodes(name: str) -> tuple[ast.AST, ...]:
    """All of a module's syntax tree; read once, which takes longer than all that is asked of it."""
    return tuple(ast.walk(ast.parse(MODULES[name].read_text())))


@cache
def imports(name: str) -> frozenset[str]:
    """Every module that `name` imports, wherever in the file, relative ones resolved, type-only ones left out."""
    type_only = {
        id(node)
        for block in nodes(name)
        if isinstance(block, ast.If) and ast.unparse(block.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}
        for statement in block.body
        for node in ast.walk(statement)
    }
    package = name.split(".") if MODULES[name].name == "__init__.py" else name.split(".")[:-1]
    found: set[str] = set()
    for node in nodes(name):
        if id(node) in type_only:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{source}.{alias.name}"
                found.add(inner if inner in MODULES or inner in SOLE_IMPORTERS else source)
    return frozenset(found)


@cache
def all_imports(name: str) -> frozenset[str]:
    """Like `imports`, with those under TYPE_CHECKING too: who knows whom, not only who loads whom."""
    return imports(name) | {
        f"{node.module}.{alias.name}" if f"{node.module}.{alias.name}" in MODULES else str(node.module)
        for node in nodes(name)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def within(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith((prefix + ".", prefix + "_"))


def layer(name: str) -> int | None:
    return next((rank for prefix, rank in LAYERS if within(name, prefix)), None)


def house(names: Iterable[str]) -> set[str]:
    return {name for name in names if name.split(".")[0] in PACKAGES}


def broken(
    names: Iterable[str], faults: Callable[[str], Collection[object]]
) -> dict[str, Collection[object]]:
    """The faults of each of these modules that has any."""
    return {name: found for name in names if (found := faults(name))}


def test_every_module_has_a_place_in_the_layers() -> None:
    homeless = [
        n for n in MODULES if "." in n and layer(n) is None and not any(within(n, free) for free in FREE)
    ]
    assert homeless == []


def test_imports_run_downward_only() -> None:
    def above(name: str) -> set[str]:
        own = layer(name)
        if own is None:
            return set()
        found = {other for other in house(all_imports(name)) if (layer(other) or 0) > own}
        return found - {"regtest.demo"} if name == "miner.cli" else found

    assert broken(MODULES, above) == {}


def test_there_are_no_import_circles() -> None:
    graph = {name: house(imports(name)) & set(MODULES) - {name} for name in MODULES}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name not in done:
            for other in graph[name]:
                visit(other, (*path, name))
            done.add(name)

    for name in MODULES:
        visit(name, ())


def of_packages(name: str, *packages: str) -> set[str]:
    """What a module knows of these packages."""
    return {other for other in all_imports(name) if other.split(".")[0] in packages}


def test_the_controller_knows_nothing_of_the_miner() -> None:
    names = [name for name in MODULES if within(name, "controller")]
    assert broken(names, lambda name: of_packages(name, "miner", "regtest")) == {}


def test_in_the_miner_only_its_control_knows_the_controller() -> None:
    names = [name for name in MODULES if within(name, "miner") and name not in CONTROL]
    assert broken(names, lambda name: of_packages(name, "controller")) == {}


def test_in_the_miner_only_the_command_line_knows_the_demo() -> None:
    names = [name for name in MODULES if within(name, "miner") and not within(name, "miner.cli")]
    assert broken(names, lambda name: of_packages(name, "regtest")) == {}


def test_pure_modules_do_no_input_or_output_and_ask_no_clock() -> None:
    def impure(name: str) -> set[str]:
        found = {other.split(".")[0] for other in all_imports(name)} & IMPURE
        return {what for what in found if (name, what) not in IMPURE_ALLOWED}

    assert broken([name for name in MODULES if any(within(name, pure) for pure in PURE)], impure) == {}


def test_compiled_code_and_vendor_libraries_have_one_door_each() -> None:
    def by_another_door(name: str) -> set[str]:
        return {
            module
            for module, doors in SOLE_IMPORTERS.items()
            if name not in doors and any(within(other, module) for other in all_imports(name))
        }

    assert broken(MODULES, by_another_door) == {}


def test_tasks_live_in_task_groups_only() -> None:
    def bare(name: str) -> list[int]:
        return [
            node.lineno
            for node in nodes(name)
            if isinstance(node, ast.Attribute)
            and node.attr in {"create_task", "ensure_future"}
            and ast.unparse(node.value)
            in {"asyncio", "loop", "asyncio.get_running_loop()", "self._loop", "self.loop"}
        ]

    assert broken(MODULES, bare) == {}


def swallows(handler: ast.ExceptHandler) -> bool:
    """Whether it catches every error and does nothing."""
    wide = handler.type is None or ast.unparse(handler.type) in {"Exception", "BaseException"}
    return wide and all(
        isinstance(s, ast.Pass | ast.Continue) or ast.unparse(s) == "..." for s in handler.body
    )


def test_nothing_is_kept_in_globals_and_no_error_is_swallowed() -> None:
    def faults(name: str) -> list[str]:
        globals_ = [f"line {node.lineno}: a global" for node in nodes(name) if isinstance(node, ast.Global)]
        handlers = [node for node in nodes(name) if isinstance(node, ast.ExceptHandler)]
        return globals_ + [f"line {each.lineno}: swallows every error" for each in handlers if swallows(each)]

    assert broken(MODULES, faults) == {}


def test_no_module_is_a_drawer_for_odds_and_ends() -> None:
    drawers = {"utils", "util", "helpers", "common", "misc"}
    assert [name for name in MODULES if name.split(".")[-1] in drawers] == []


def test_files_and_functions_stay_readable() -> None:
    def too_long(name: str) -> list[str]:
        lines = len(MODULES[name].read_text().splitlines())
        functions = [node for node in nodes(name) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        lengths = [(each.name, (each.end_lineno or each.lineno) - each.lineno + 1) for each in functions]
        return ([f"{lines} lines"] if lines > LONGEST_FILE else []) + [
            f"{function}: {length} lines" for function, length in lengths if length > LONGEST_FUNCTION
        ]

    assert broken(MODULES, too_long) == {}


def test_every_module_has_its_mirrored_test() -> None:
    def missing(name: str) -> list[str]:
        path = MODULES[name].relative_to(ROOT)
        if path.name == "__init__.py" or "migrations" in path.parts:
            return []  # migrations are run by the ledger's own tests, from every released schema
        mirror = ROOT / "tests" / path.parent / f"test_{path.stem.strip('_')}.py"
        return [] if mirror.is_file() else [f"{mirror.relative_to(ROOT)} is missing"]

    assert broken(MODULES, missing) == {}

"""The house: imports go down, none goes in a circle, and no file has grown two subjects."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
LONGEST = 300  # lines of a file
FLOORS = [  # from the top; an import goes to a lower line, or stays in its room
    {"cli"},
    {"serve"},
    {"report"},
    {"experiments"},
    {"testing"},
    {"recommend"},
    {"opened"},
    {"extract"},
    {"search"},
    {"sql", "sql_interrupt", "sql_macros", "sql_statements", "sql_views"},
    {"cache"},
    {"data"},
    {"sample"},
    {
        "array_files",
        "atomic",
        "devices",
        "files",
        "locks",
        "logs",
        "mapped",
        "markdown",
        "own",
        "packages",
        "processes",
        "renaming",
        "torch_files",
    },
    {"bounds", "kinds"},
    {"errors"},
]
LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "mmx").rglob("*.py"))
}


def imported(tree: ast.AST, modules: set[str]) -> set[str]:
    """Modules of ours that a file imports: at its top, in functions and under TYPE_CHECKING."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in modules:
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (whole & modules) or {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & modules
    return found


GRAPH = {
    name: imported(ast.parse(path.read_text()), set(MODULES)) - {name, "mmx"}
    for name, path in MODULES.items()
}


def upward(graph: dict[str, set[str]]) -> list[str]:
    """Imports that climb, or stay on a floor that has several rooms of several subjects."""
    wrong = []
    for name, others in graph.items():
        for other in others:
            here, there = (LEVEL[each.split(".")[1]] for each in (name, other))
            if there < here:
                wrong.append(f"{name} imports {other}")
    return wrong


def circles(graph: dict[str, set[str]]) -> list[str]:
    """Names from which a path leads back to them."""
    left = {name: set(others) for name, others in graph.items()}
    while True:
        ends = {name for name, others in left.items() if not others & left.keys()}
        if not ends:
            return sorted(left)
        left = {name: others for name, others in left.items() if name not in ends}


def room(name: str) -> str:
    """The folder of a module of extract and recommend, or else the module or package itself."""
    parts = name.split(".")
    if parts[1] not in ("extract", "recommend"):
        return ".".join(parts[:2])
    inner = ".".join(parts[:3])
    return inner if (ROOT / inner.replace(".", "/")).is_dir() else name


def rooms(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """The same graph between rooms."""
    found: dict[str, set[str]] = {}
    for name, others in graph.items():
        found.setdefault(room(name), set()).update(map(room, others - {name}))
    return {name: others - {name} for name, others in found.items()}


INNER = {name: others for name, others in GRAPH.items() if name not in ("mmx", "mmx.__main__")}


def test_every_room_has_a_floor() -> None:
    assert {name.split(".")[1] for name in INNER} == LEVEL.keys()


def test_imports_go_down() -> None:
    assert upward(INNER) == []


def test_no_import_goes_in_a_circle() -> None:
    assert circles(INNER) == []


def test_no_room_is_in_a_circle() -> None:
    packages = {"mmx.extract", "mmx.recommend"}  # each the sum of its rooms
    graph = {n: o - packages for n, o in rooms(INNER).items() if n not in packages}
    assert circles(graph) == []


def test_no_file_is_too_long() -> None:
    paths = [*MODULES.values(), *(ROOT / "tests").rglob("*.py")]
    lines = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in paths}
    assert {name: count for name, count in lines.items() if count > LONGEST} == {}


def test_planted_faults_are_found() -> None:
    inside = ast.parse(
        "def f():\n    from mmx.cli import app\nif TYPE_CHECKING:\n    import mmx.sql"
    )
    found = imported(inside, set(MODULES))
    assert found == {"mmx.cli.app", "mmx.sql"}
    assert upward({"mmx.data.x": found}) != []
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["a", "b", "c"]
    assert circles({"a": {"b"}, "b": {"c"}, "c": set()}) == []


def test_no_test_file_is_imported() -> None:
    """What several tests need is in a helper module, also for programs that tests write."""
    found = [
        f"{path.relative_to(ROOT)}: {line}"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.match(r"\s*(from|import) [\w.]*\btest_\w+", line)
    ]
    assert not found


def test_a_class_name_belongs_to_one_class() -> None:
    """But for Config and Model, which every recommender's file has."""
    homes: dict[str, list[str]] = {}
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and node.name not in ("Config", "Model"):
                homes.setdefault(node.name, []).append(module)
    assert {name: where for name, where in homes.items() if len(where) > 1} == {}

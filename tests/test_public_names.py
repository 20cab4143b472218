"""The public names: sorted, importable, typed, and cheap until used."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import mmx

PACKAGE = Path(mmx.__file__).parent


def test_every_public_name_is_there() -> None:
    assert mmx.__all__ == sorted(mmx.__all__)
    for name in mmx.__all__:
        assert getattr(mmx, name).__module__.startswith("mmx")


def test_the_stub_says_the_same() -> None:
    tree = ast.parse((PACKAGE / "__init__.pyi").read_text())
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    typed = {alias.name: node.module for node in imports for alias in node.names}
    assert typed == mmx._HOMES
    (listed,) = [node.value for node in tree.body if isinstance(node, ast.Assign)]
    assert ast.literal_eval(listed) == mmx.__all__


def test_no_name_is_a_package_or_module() -> None:
    """Else the function hides the package, or the package the function, by who comes first."""
    rooms = {path.stem for path in PACKAGE.iterdir()}
    assert rooms & {*mmx.__all__} == set()
    for room in ("extract", "recommend"):
        assert import_module(f"mmx.{room}") is getattr(mmx, room)


def test_import_loads_neither_torch_nor_faiss() -> None:
    code = (
        "import sys, mmx, mmx.cli.app; "
        "print([m for m in ('torch', 'faiss', 'pyarrow', 'numpy', 'duckdb') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""The public names: sorted, importable, and cheap until used."""

import subprocess
import sys

import mmx


def test_every_public_name_is_there() -> None:
    assert mmx.__all__ == sorted(mmx.__all__)
    for name in mmx.__all__:
        assert getattr(mmx, name).__module__.startswith("mmx")


def test_import_loads_neither_torch_nor_faiss() -> None:
    code = (
        "import sys, mmx, mmx.cli.app; "
        "print([m for m in ('torch', 'faiss', 'pyarrow', 'numpy', 'duckdb') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

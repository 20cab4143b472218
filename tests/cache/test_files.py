"""Atomic replacement."""

from pathlib import Path

import pytest

from mmx.cache.files import replacing, write_text
from mmx.errors import StoreError


def test_the_old_file_survives_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_text(path, "old")
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
        temporary.write_text(f"half {1 / 0}")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_folders_are_made(tmp_path: Path) -> None:
    write_text(tmp_path / "a/b/c", "x")
    assert (tmp_path / "a/b/c").read_text() == "x"


def test_an_unwritable_target_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot write .*set --out elsewhere"):
        write_text(tmp_path / "file" / "below", "x")

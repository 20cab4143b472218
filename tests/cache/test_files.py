"""Atomic replacement."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmx.cache import files
from mmx.cache.files import remove, replacing, set_aside, sweep, write_text
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


def make(path: Path, kind: str, text: str) -> None:
    if kind == "file":
        path.write_text(text)
    elif kind == "folder":
        path.mkdir()
        (path / f"{text}.txt").write_text(text)


def content(path: Path) -> str:
    return "+".join(p.read_text() for p in path.iterdir()) if path.is_dir() else path.read_text()


@pytest.mark.parametrize("can_exchange", [True, False])
@pytest.mark.parametrize("new", ["file", "folder"])
@pytest.mark.parametrize("old", ["nothing", "file", "folder"])
def test_anything_takes_the_place_of_anything(
    tmp_path: Path, old: str, new: str, can_exchange: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not can_exchange:
        monkeypatch.setattr(files, "_exchange", refuse)
    path = tmp_path / "x"
    make(path, old, "old")
    with replacing(path, folder=new == "folder", swap=True) as temporary:
        (temporary / "a" if new == "folder" else temporary).write_text("new")
        assert old == "nothing" or content(path) == "old"
    assert content(path) == "new"
    assert list(tmp_path.iterdir()) == [path]


def refuse(one: Path, other: Path) -> None:
    raise OSError(22, "no such call")


def test_a_folder_is_replaced_only_when_asked(tmp_path: Path) -> None:
    make(tmp_path / "x", "folder", "old")
    with pytest.raises(StoreError, match="cannot write"):
        write_text(tmp_path / "x", "new")
    with pytest.raises(StoreError, match="cannot write"), replacing(tmp_path / "x", folder=True):
        pass
    assert content(tmp_path / "x") == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_the_old_one_is_aside_where_names_cannot_be_exchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its two renames a kill leaves both, whole, under other names."""
    monkeypatch.setattr(files, "_exchange", refuse)
    path, seen = tmp_path / "x", []
    make(path, "folder", "old")
    original = Path.replace

    def watched(self: Path, target: Path) -> Path:
        moved = original(self, target)
        seen.append(sorted(content(p) for p in tmp_path.iterdir()))
        return moved

    monkeypatch.setattr(Path, "replace", watched)
    with replacing(path, folder=True, swap=True) as temporary:
        (temporary / "a").write_text("new")
    assert seen == [["new", "old"]] * 2
    assert not set_aside(path).exists()


def test_only_the_dead_are_swept(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for process in (dead.pid, os.getppid()):
        make(tmp_path / f".x.{process}.tmp", "folder", "half")
    make(tmp_path / f".other.{dead.pid}.tmp", "file", "half")
    sweep(tmp_path / "x")
    left = {f".x.{os.getppid()}.tmp", f".other.{dead.pid}.tmp"}
    assert {p.name for p in tmp_path.iterdir()} == left
    remove(tmp_path / "absent")


def test_all_is_on_the_disk_before_it_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, synced = tmp_path / "x", []
    original = files._sync

    def watched(what: Path) -> None:
        synced.append((what.name, path.exists()))
        original(what)

    monkeypatch.setattr(files, "_sync", watched)
    with replacing(path, folder=True) as temporary:
        (temporary / "a").write_text("new")
    assert synced == [("a", False), (temporary.name, False), (tmp_path.name, True)]

"""Atomic replacement: the old one or the new one, and nothing that mmx did not make."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmx import atomic, renaming
from mmx.atomic import check_target, claimed, publishing, replacing, sweep, write_text
from mmx.errors import TargetError
from mmx.renaming import remove, set_aside
from tests.notes import NOTE, content, fill, make, names


def test_the_old_file_survives_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_text(path, "old")
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
        temporary.write_text(f"half {1 / 0}")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["x"]


def test_folders_are_made(tmp_path: Path) -> None:
    write_text(tmp_path / "a/b/c", "x")
    assert (tmp_path / "a/b/c").read_text() == "x"


def test_folders_are_not_made_unasked(tmp_path: Path) -> None:
    with (
        pytest.raises(TargetError, match=r"no folder .*a for b; create it first"),
        publishing(tmp_path / "a" / "b", NOTE, parents=False),
    ):
        pass
    assert names(tmp_path) == []


def test_an_unwritable_target_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TargetError, match=r"cannot write .*set --out elsewhere"):
        write_text(tmp_path / "file" / "below", "x")
    with (
        pytest.raises(TargetError, match=r"cannot write .*set --out elsewhere"),
        publishing(tmp_path / "file" / "below", NOTE),
    ):
        pass


@pytest.mark.parametrize("can_exchange", [True, False])
@pytest.mark.parametrize("new", ["file", "folder"])
@pytest.mark.parametrize("old", ["nothing", "file", "folder"])
def test_anything_of_a_kind_takes_the_place_of_anything_of_it(
    tmp_path: Path, old: str, new: str, can_exchange: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not can_exchange:
        monkeypatch.setattr(renaming, "_renameat2", refuse)
    path = tmp_path / "x"
    make(path, old, "old")
    with publishing(path, NOTE, folder=new == "folder", overwrite=True) as temporary:
        fill(temporary, new, "new")
        assert old == "nothing" or content(path) == "old"
    assert content(path) == "new"
    assert names(tmp_path) == ["x"]


def refuse(one: Path, other: Path, flag: int) -> None:
    raise OSError(22, "no such call")


@pytest.mark.parametrize("new", ["file", "folder"])
@pytest.mark.parametrize("old", ["file", "folder"])
@pytest.mark.parametrize("text", ["old", "a photograph"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_nothing_else_is_replaced(
    tmp_path: Path, old: str, new: str, text: str, overwrite: bool
) -> None:
    if text == "old" and overwrite:
        pytest.skip("that is replaced")
    path = tmp_path / "x"
    make(path, old, text)
    said = "exists; set --out elsewhere, or --overwrite" if text == "old" else "is not a note"
    with (
        pytest.raises(TargetError, match=said),
        publishing(path, NOTE, folder=new == "folder", overwrite=overwrite),
    ):
        raise AssertionError("it must be refused before any work")
    assert content(path) == text
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_came_while_the_work_was_done_is_kept(
    tmp_path: Path, kind: str, overwrite: bool
) -> None:
    path = tmp_path / "x"

    def work() -> None:
        with publishing(path, NOTE, folder=kind == "folder", overwrite=overwrite) as temporary:
            fill(temporary, kind, "new")
            make(path, kind, "a photograph")

    with pytest.raises(TargetError, match="is not a note"):
        work()
    assert content(path) == "a photograph"
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize("can_rename", [True, False])
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_name_taken_at_the_last_moment_is_kept(
    tmp_path: Path, kind: str, can_rename: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the last look and the rename, by a program that knows no lock."""
    path = tmp_path / "x"
    original = renaming._rename_new

    def late(temporary: Path, target: Path) -> None:
        make(path, kind, "a photograph")
        original(temporary, target)

    monkeypatch.setattr(renaming, "_rename_new", late)
    if not can_rename:
        monkeypatch.setattr(renaming, "_renameat2", refuse)
    with (
        pytest.raises(TargetError, match="File exists"),
        publishing(path, NOTE, folder=kind == "folder") as temporary,
    ):
        fill(temporary, kind, "new")
    assert content(path) == "a photograph"


def test_an_empty_folder_counts_as_nothing(tmp_path: Path) -> None:
    for kind in ("file", "folder"):
        (tmp_path / kind).mkdir()
        with publishing(tmp_path / kind, NOTE, folder=kind == "folder") as temporary:
            fill(temporary, kind, "new")
        assert content(tmp_path / kind) == "new"


def test_a_link_keeps_pointing_where_it_did(tmp_path: Path) -> None:
    make(tmp_path / "there", "folder", "old")
    (tmp_path / "link").symlink_to(tmp_path / "there")
    with publishing(tmp_path / "link", NOTE, folder=True, overwrite=True) as temporary:
        fill(temporary, "folder", "new")
    assert (tmp_path / "link").is_symlink()
    assert content(tmp_path / "there") == "new"
    assert names(tmp_path) == ["link", "there"]


def test_mmx_replaces_its_own_files_but_no_folder(tmp_path: Path) -> None:
    make(tmp_path / "x", "folder", "old")
    with pytest.raises(TargetError, match="cannot write"):
        write_text(tmp_path / "x", "new")
    with pytest.raises(TargetError, match="cannot write"), replacing(tmp_path / "x", folder=True):
        pass
    assert content(tmp_path / "x") == "old"
    assert names(tmp_path) == ["x"]


def test_the_old_one_is_aside_where_names_cannot_be_exchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its two renames a kill leaves both whole; the next run puts the old one back."""
    monkeypatch.setattr(renaming, "_renameat2", refuse)
    path = tmp_path / "x"
    make(path, "folder", "old")
    original = Path.rename

    def killed(self: Path, target: Path) -> Path:
        if target == path:
            raise KeyboardInterrupt
        return original(self, target)

    monkeypatch.setattr(Path, "rename", killed)
    with (
        pytest.raises(KeyboardInterrupt),
        publishing(path, NOTE, folder=True, overwrite=True) as temporary,
    ):
        fill(temporary, "folder", "new")
    assert content(set_aside(path)) == "old"
    monkeypatch.setattr(Path, "rename", original)
    with claimed(path, NOTE, overwrite=True):
        assert content(path) == "old"
    assert names(tmp_path) == ["x"]


def test_only_the_dead_are_swept(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for process in (ended.pid, os.getppid()):
        make(tmp_path / f".x.{process}.tmp", "folder", "half")
    make(tmp_path / f".other.{ended.pid}.tmp", "file", "half")
    sweep(tmp_path / "x")
    assert names(tmp_path) == sorted([f".x.{os.getppid()}.tmp", f".other.{ended.pid}.tmp"])
    remove(tmp_path / "absent")


def test_all_is_on_the_disk_before_it_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, synced = tmp_path / "x", []
    original = atomic._sync

    def watched(what: Path) -> None:
        synced.append((what.name, path.exists()))
        original(what)

    monkeypatch.setattr(atomic, "_sync", watched)
    for write in (replacing, lambda path, folder: publishing(path, NOTE, folder=folder)):
        with write(path, folder=True) as temporary:
            (temporary / "a").write_text("new")
        assert synced == [("a", False), (temporary.name, False), (tmp_path.name, True)]
        remove(path)
        synced.clear()


def test_a_check_alone_touches_nothing(tmp_path: Path) -> None:
    check_target(tmp_path / "x", NOTE)
    assert names(tmp_path) == []


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_taken_name_is_never_passed_over_in_silence(tmp_path: Path, kind: str) -> None:
    """What was written would be lost, and the command would say that it is done."""
    for name in ("new", "x"):
        make(tmp_path / name, kind, "old")
    with pytest.raises(FileExistsError):
        renaming.place(tmp_path / "new", tmp_path / "x", replace=False)
    assert names(tmp_path) == ["new", "x"]

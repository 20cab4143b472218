"""Files and folders of a kind of their own: notes, of the words old and new."""

from pathlib import Path

from mmx.atomic import Kind


def content(path: Path) -> str:
    """What files there are in a folder, or the words in a file."""
    return "+".join(p.read_text() for p in path.iterdir()) if path.is_dir() else path.read_text()


NOTE = Kind("a note", lambda path: content(path) in ("old", "new"))


def make(path: Path, kind: str, text: str) -> None:
    if kind == "file":
        path.write_text(text)
    elif kind == "folder":
        path.mkdir()
        (path / f"{text}.txt").write_text(text)


def fill(path: Path, kind: str, text: str) -> None:
    (path / "a" if kind == "folder" else path).write_text(text)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())

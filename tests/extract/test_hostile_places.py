"""Places of pictures that are not files, or too large: a reason each, and nothing hangs."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmx.data.dataset import load_items
from mmx.data.id_lists import read_ids
from mmx.errors import DataError
from mmx.extract.encoders import open_encoder
from mmx.extract.options import ExtractOptions
from mmx.extract.pipeline import extract
from mmx.extract.sources import source_for
from tests.catalogue import write_items
from tests.extract.files import QUARTERS, Image, encoded

PATIENCE = 120  # s, of whole programs; what hangs does so for ever


@pytest.fixture
def places(tmp_path: Path) -> dict[str, str]:
    """Places by what is there → the status that each must have."""
    folder = tmp_path / "d"
    folder.mkdir()
    os.mkfifo(folder / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(folder / "socket.jpg"))
    (folder / "folder.jpg").mkdir()
    (folder / "good.png").write_bytes(encoded(Image.fromarray(QUARTERS)))
    with (folder / "huge.jpg").open("wb") as file:
        file.truncate(50 << 30)  # sparse
    for name, target in (("to-zero", "/dev/zero"), ("to-pipe", "pipe.jpg"), ("to-good", "good.png"),
                         ("to-itself", "to-itself"), ("to-nothing", "nothing")):  # fmt: skip
        (folder / name).symlink_to(target)
    expected = {
        "/dev/zero": "not a regular file", "/dev/random": "not a regular file",
        "/dev/stdin": "not a regular file", "pipe.jpg": "not a regular file",
        "socket.jpg": "not a regular file", "to-zero": "not a regular file",
        "to-pipe": "not a regular file", "folder.jpg": "a directory, not a file",
        "huge.jpg": "too large", "/proc/self/maps": "empty file", "/proc/kmsg": "empty file",
        "good.png": "ok", "to-good": "ok", "to-nothing": "file not found",
        "to-itself": "unreadable file", "x" * 5000: "unreadable file",
    }  # fmt: skip
    write_items(folder, [{"item_id": str(n), "image": i} for n, i in enumerate(expected)])
    return expected


def statuses(out: Path) -> list[str]:
    return pq.read_table(out)["image_status"].to_pylist()


def test_what_is_no_file(places: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mmx", "extract", "--model", "toy", "--data", "d",
               "--out", "out.parquet", "-q"]  # fmt: skip
    for _ in range(2):  # what is there is looked at again by the second run
        reading, writing = os.pipe()  # standard input that does not end
        try:
            done = subprocess.run(
                command, cwd=tmp_path, stdin=reading, timeout=PATIENCE, capture_output=True,
                check=False,
            )  # fmt: skip
        finally:
            os.close(reading)
            os.close(writing)
        assert (done.returncode, done.stderr) == (0, b"")
        found = dict(zip(places, statuses(tmp_path / "out.parquet"), strict=True))
        if os.geteuid() != 0:
            found["/proc/kmsg"] = "empty file"  # whose permission is denied then
        assert found == places


def test_paths_in_rows(places: dict[str, str], tmp_path: Path) -> None:
    rows = [{"bytes": None, "path": path} for path in places]
    items = pa.table({"item_id": [str(n) for n in range(len(rows))], "image": rows})
    pq.write_table(items, tmp_path / "d/items.parquet")
    out = tmp_path / "out.parquet"
    extract(load_items(tmp_path / "d"), open_encoder("toy"), out, ExtractOptions(batch_size=4))
    found = dict(zip(places, statuses(out), strict=True))
    places["/dev/stdin"] = found["/dev/stdin"]  # of the tests, whatever it is
    places["/proc/kmsg"] = found["/proc/kmsg"]
    assert found == places


def test_files_beside_their_names(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    os.mkfifo(tmp_path / "photos/a.jpg")
    (tmp_path / "items.csv").write_text("item_id\na\n")
    out = tmp_path / "out.parquet"
    items = load_items(tmp_path / "items.csv", tmp_path / "photos")
    extract(items, open_encoder("toy"), out, ExtractOptions(batch_size=4))
    assert statuses(out) == ["not a regular file"]


def test_shards_that_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    os.mkfifo(tmp_path / "s/0.tar")
    for data in (tmp_path / "s", tmp_path / "s/0.tar", f"{tmp_path}/s/{{0..0}}.tar"):
        with pytest.raises(DataError, match=r"0\.tar"):
            load_items(data)
    (tmp_path / "s/0.tar").unlink()
    with tarfile.open(tmp_path / "s/0.tar", "w") as tar:
        (tmp_path / "a.png").write_bytes(encoded(Image.fromarray(QUARTERS)))
        tar.add(tmp_path / "a.png", "a.png")
    items = load_items(tmp_path / "s")
    (tmp_path / "s/0.tar").unlink()
    os.mkfifo(tmp_path / "s/0.tar")
    extract(items, open_encoder("toy"), tmp_path / "out.parquet", ExtractOptions(batch_size=4))
    assert statuses(tmp_path / "out.parquet") == ["shard unreadable"]


def test_a_member_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmx.extract.sources.members.MAX_BYTES", 10)
    with tarfile.open(tmp_path / "0.tar", "w") as tar:
        (tmp_path / "a.png").write_bytes(bytes(11))
        tar.add(tmp_path / "a.png", "a.png")
    items = load_items(tmp_path / "0.tar")
    with pytest.raises(Exception, match="too large"):
        source_for(items)(items.table["image"][0].as_py())


@pytest.mark.parametrize("place", ["/dev/zero", "/dev/null", "folder"])
def test_lists_of_ids_that_are_no_files(tmp_path: Path, place: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match=r"not a file; \.parquet or \.csv"):
        read_ids(tmp_path / place)


def test_a_list_of_ids_from_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``--only @<(grep …)``: bash makes a pipe of it."""
    script = (
        "import sys; from pathlib import Path; from mmx.data.id_lists import read_ids;"
        "print(read_ids(Path(sys.argv[1][1:])).to_pylist())"
    )
    line = f"'{sys.executable}' -c '{script}' @<(printf 'a\\nb\\n')"
    done = subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (done.stdout, done.stderr) == ("['a', 'b']\n", "")
    monkeypatch.setattr("mmx.data.id_lists.MAX_BYTES", 10)
    (tmp_path / "long").write_text("123456789\n" * 3)
    with pytest.raises(DataError, match="one id a line is expected"):
        read_ids(tmp_path / "long")

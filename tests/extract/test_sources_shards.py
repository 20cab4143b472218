"""WebDataset tar shards: the same pictures and vectors as from files, and what can be wrong."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mmx.data.dataset import load_interactions, load_items
from mmx.data.shards import expand
from mmx.errors import DataError
from mmx.extract.encoders import open_encoder
from mmx.extract.options import ExtractOptions, ExtractReport
from mmx.extract.pipeline import extract
from mmx.extract.sources import source_for
from tests.catalogue import plain_catalogue

ITEMS = 23


def run(data: Path | str, out: Path, images: Path | None = None) -> ExtractReport:
    options = ExtractOptions(batch_size=4, part_size=10)
    return extract(load_items(data, images), open_encoder("toy"), out, options)


def content(path: Path) -> list[dict]:
    return pq.read_table(path).to_pylist()


def tar(path: Path, members: list[tuple[str, bytes]]) -> Path:
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as file:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plain_catalogue(tmp_path_factory.mktemp("plain") / "d", ITEMS)


@pytest.fixture(scope="module")
def expected(plain: Path) -> list[dict]:
    run(plain, plain.parent / "expected.parquet")
    return content(plain.parent / "expected.parquet")


def pictures(plain: Path) -> list[bytes]:
    return [(plain / f"images/{n}.png").read_bytes() for n in range(ITEMS)]


def sharded(plain: Path, folder: Path) -> Path:
    rows = load_items(plain).table.to_pylist()
    for shard in range(3):
        members = []
        for row, picture in list(zip(rows, pictures(plain), strict=True))[shard::3]:
            members.append((f"{row['item_id']}.png", picture))
            caption = json.dumps({"caption": row["text"], "width": 24}).encode()
            text = row["text"].encode()
            members.append((f"{row['item_id']}.json", caption) if shard else
                           (f"{row['item_id']}.txt", text))  # fmt: skip
        tar(folder / f"{shard:03d}.tar", members)
    return folder


@pytest.mark.parametrize("form", ["", "/{000..002}.tar", "/{000,001,002}.tar", "/00?.tar"])
def test_tar_shards(plain: Path, expected: list[dict], tmp_path: Path, form: str) -> None:
    folder = sharded(plain, tmp_path / "shards")
    report = run(f"{folder}{form}", tmp_path / "out.parquet")
    assert report.failures == {}
    found = content(tmp_path / "out.parquet")
    assert sorted(found, key=lambda r: int(r["item_id"][1:])) == expected
    assert [r["item_id"] for r in found] == [f"i{n}" for s in range(3) for n in range(s, ITEMS, 3)]


def test_interactions_lie_beside_the_shards(plain: Path, tmp_path: Path) -> None:
    folder = sharded(plain, tmp_path / "shards")
    (folder / "interactions.csv").write_text("user_id,item_id\nu,i7\n")
    for data in (folder, f"{folder}/{{000..002}}.tar"):
        assert load_interactions(data, load_items(data)).num_rows == 1


def test_one_shard_by_its_name_and_from_its_folder(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = sharded(plain, tmp_path / "shards")
    assert len(load_items(folder / "001.tar")) == 8
    monkeypatch.chdir(folder)
    items = load_items("{000..002}.tar")
    assert source_for(items)(items.table["image"][0].as_py()) == pictures(plain)[0]


def test_keys_and_what_is_no_item(tmp_path: Path) -> None:
    long = "a" * 180  # longer than a plain header holds
    tar(
        tmp_path / "s.tar",
        [("./in/x.jpg", b"j"), ("./in/x.mask.png", b"m"), ("in/x.cls", b"3"), (".hidden", b""),
         (f"{long}.WEBP", b"w"), ("only.json", b"[1]"), ("y.json", b'{"caption": 3}'),
         ("y.txt", "ü".encode())],
    )  # fmt: skip
    items = load_items(tmp_path / "s.tar")
    rows = {row["item_id"]: row for row in items.table.to_pylist()}
    assert list(rows) == ["in/x", long, "only", "y"]
    source = source_for(items)
    assert [source(rows[key]["image"]) for key in ("in/x", long)] == [b"j", b"w"]
    assert (rows["only"]["image"], rows["only"]["text"], rows["y"]["text"]) == (None, None, "ü")


def test_keys_that_come_twice(tmp_path: Path) -> None:
    tar(tmp_path / "s/0.tar", [("a.jpg", b""), ("b.jpg", b"")])
    tar(tmp_path / "s/1.tar", [("b.jpg", b""), ("c.jpg", b"")])
    with pytest.raises(DataError, match=r"b in 0\.tar and 1\.tar"):
        load_items(tmp_path / "s")
    tar(tmp_path / "t/0.tar", [("a.jpg", b""), ("a.png", b"")])
    with pytest.raises(DataError, match=r"a\.png comes after another image"):
        load_items(tmp_path / "t")


@pytest.mark.parametrize("names", [("x.1.jpg", "x.2.jpg"), ("in/x.1.JPG",), ("x.1.jpg", "x.txt")])
def test_pictures_that_are_no_keys_are_not_lost_in_silence(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    tar(tmp_path / "s.tar", [("a.jpg", b"j"), *((name, b"j") for name in names)])
    pictures = [name for name in names if not name.endswith("txt")]
    with pytest.raises(DataError, match=f"{', '.join(pictures)}: a key ends at the first dot"):
        load_items(tmp_path / "s.tar")


def test_further_pictures_are_counted(plain: Path, tmp_path: Path) -> None:
    picture = pictures(plain)[0]
    members = [("a.png", picture), ("a.mask.png", picture), ("a.depth.png", picture)]
    tar(tmp_path / "s.tar", [*members, ("a.seg.cls", b"")])
    report = run(tmp_path / "s.tar", tmp_path / "out.parquet")
    assert report.note == "2 further pictures of keys are left out (a.mask.png, a.depth.png)"
    assert report.statuses["image"] == {"ok": 1}


def test_broken_tars_name_the_last_whole_member(tmp_path: Path) -> None:
    whole = tar(tmp_path / "s.tar", [(f"{n}.jpg", bytes(700)) for n in range(5)]).read_bytes()
    size = 512 + 1024  # of a member
    damaged = bytearray(whole)
    damaged[3 * size + 20] ^= 255  # a header, so that its checksum is wrong
    for data, said in (
        (whole[: 2 * size + 700], "after (1|2).jpg"),  # inside a member
        (whole[: 3 * size], r"breaks off after 2\.jpg"),  # between two
        (whole[: 3 * size + 100], r"after 2\.jpg"),  # inside a header
        (bytes(damaged), r"breaks off after 2\.jpg"),
        (b"", "is broken after its beginning"),
        (b"\x1f\x8b" + whole, "is broken after its beginning.*uncompressed"),
    ):
        (tmp_path / "s.tar").write_bytes(data)
        with pytest.raises(DataError, match=said):
            load_items(tmp_path / "s.tar")
    with pytest.raises(DataError, match="drop --images"):
        load_items(tmp_path / "s.tar", tmp_path)
    with pytest.raises(DataError, match=r"no shard at .*1\.tar"):
        load_items(str(tmp_path / "{1..3}.tar"))


def test_a_shard_that_changes_under_way_costs_rows_not_the_run(tmp_path: Path) -> None:
    tar(tmp_path / "s/0.tar", [("a.png", bytes(600)), ("b.png", bytes(600))])
    tar(tmp_path / "s/1.tar", [("c.png", bytes(600))])
    items = load_items(tmp_path / "s")
    (tmp_path / "s/1.tar").unlink()
    with (tmp_path / "s/0.tar").open("r+b") as file:
        file.truncate(512 + 1024 + 512 + 10)
    extract(items, open_encoder("toy"), tmp_path / "out.parquet", ExtractOptions(batch_size=4))
    assert [row["image_status"] for row in content(tmp_path / "out.parquet")] == [
        "not an image", "shard broken off", "shard not found",
    ]  # fmt: skip


def test_braces() -> None:
    assert expand("a{8..10}b{x,y}") == ["a8bx", "a8by", "a9bx", "a9by", "a10bx", "a10by"]
    assert expand("{000..002}") == ["000", "001", "002"]
    assert expand("plain") == ["plain"]

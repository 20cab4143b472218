"""Lines of plain and packed files: numbered, bounded, and honest about damage."""

from __future__ import annotations

import gzip
import json
from hashlib import sha256
from pathlib import Path

import pytest

from mmx.data.formats import lines
from mmx.data.formats.bad_lines import BadLines
from mmx.data.formats.lines import LineReader
from mmx.errors import DataError, OptionError
from tests.data.formats.dumps import REVIEWS, imported, packed, rows


def read(path: Path, **options: object) -> list[tuple[int, str]]:
    """All lines with their numbers."""
    reader = LineReader(BadLines(), **options)  # type: ignore[arg-type]
    blocks = reader.blocks(path)
    return [pair for b in blocks for pair in zip(b.numbers, b.lines, strict=True)]


def test_lines_are_numbered_in_any_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [(n, f"line {n} é" + "x" * (n % 50)) for n in range(1, 500) if n % 7]
    text = "".join(f"line {n} é{'x' * (n % 50)}\r\n" if n % 7 else " \n" for n in range(1, 500))
    path = tmp_path / "lines"
    for block, chunk in ((1 << 20, 1 << 20), (100, 7), (1, 64)):
        monkeypatch.setattr(lines, "BLOCK", block)
        monkeypatch.setattr(lines, "CHUNK", chunk)
        for content in (
            text.encode(),
            gzip.compress(text.encode()),
            gzip.compress(text[:2000].encode()) + gzip.compress(text[2000:].encode()) + b"\0" * 9,
            b"\xef\xbb\xbf" + text.removesuffix("\r\n").encode(),
        ):
            path.write_bytes(content)
            assert read(path) == wanted


def noise(n: int) -> str:
    """A text that hardly compresses."""
    return "".join(sha256(f"{n} {m}".encode()).hexdigest() for m in range(20))


def test_a_cut_gzip_names_the_line(tmp_path: Path) -> None:
    text = [json.dumps(row | {"reviewText": noise(n)}) for n, row in enumerate(REVIEWS)]
    path = packed(tmp_path / "r.json.gz", text)
    whole = path.read_bytes()
    for kept in (10, len(whole) - 1, len(whole) - 9, len(whole) // 2):
        path.write_bytes(whole[:kept])
        with pytest.raises(DataError, match=r"r.json.gz: line \d: the gzip file is cut off"):
            imported("amazon", path, tmp_path / "out")
    done = imported("amazon", path, tmp_path / "out", skip_bad_lines=True)
    assert done.bad_lines == 1
    assert 0 < done.read < len(REVIEWS)
    assert f"line {done.read + 1}: the gzip file is cut off" in done.first_bad
    assert rows(tmp_path / "out")


def test_a_damaged_gzip_is_never_taken(tmp_path: Path) -> None:
    path = packed(tmp_path / "r.json.gz", map(json.dumps, REVIEWS))
    data = bytearray(path.read_bytes())
    data[-6] ^= 1  # of the checksum
    path.write_bytes(data)
    for skip in (False, True):
        with pytest.raises(DataError, match=r"is damaged .*download it again"):
            imported("amazon", path, tmp_path / "out", skip_bad_lines=skip)
    path.write_bytes(path.read_bytes()[:-6] + data[-6:] + b"rubbish")
    with pytest.raises(DataError, match="is damaged"):
        imported("amazon", path, tmp_path / "out")


def test_a_bomb_stops_at_the_limit(tmp_path: Path) -> None:
    path = packed(tmp_path / "r.json.gz", [*map(json.dumps, REVIEWS), *[" " * 1000] * 3000])
    with pytest.raises(DataError, match=r"more than 0.001 GiB when it is unpacked; --max-size"):
        imported("amazon", path, tmp_path / "out", max_size=0.001)
    assert imported("amazon", path, tmp_path / "out", max_size=0.01).read == 5


def test_a_plain_file_has_no_limit_and_a_packed_table_has(tmp_path: Path) -> None:
    text = "user_id,item_id\n" + "".join(f"u{n},i{n}\n" for n in range(1000))
    (tmp_path / "a.csv").write_text(text)
    assert imported("csv", tmp_path / "a.csv", tmp_path / "1", max_size=1e-6).read == 1000
    (tmp_path / "r.json").write_text(json.dumps(REVIEWS[0]))
    assert imported("amazon", tmp_path / "r.json", tmp_path / "3", max_size=1e-9).read == 1
    path = tmp_path / "b.csv.gz"
    path.write_bytes(gzip.compress(text.encode()))
    with pytest.raises(DataError, match="--max-size sets another limit"):
        imported("csv", path, tmp_path / "2", max_size=1e-6)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"b.csv.gz: the gzip file is cut off; download it again"):
        imported("csv", path, tmp_path / "2", skip_bad_lines=True)


def test_a_line_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LONGEST", 10_000)
    monkeypatch.setattr(lines, "BLOCK", 1000)
    monkeypatch.setattr(lines, "CHUNK", 1000)
    path = tmp_path / "x"
    path.write_text("short\n" + "x" * 20_000)
    with pytest.raises(DataError, match="line 2 has more than"):
        read(path)


def test_another_encoding_is_named_by_the_line(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"one\ncaf\xe9\nthree\n")
    with pytest.raises(DataError, match=r"line 2: b'\\xe9' is not UTF-8 .--encoding"):
        read(path)
    assert read(path, encoding="latin-1")[1] == (2, "café")
    bad = BadLines(skip=True)
    kept = [line for block in LineReader(bad).blocks(path) for line in block.lines]
    assert (kept, bad.count) == (["one", "three"], 1)


def test_an_encoding_of_wide_characters_is_refused() -> None:
    with pytest.raises(OptionError, match="--encoding utf-16: lines cannot be told apart"):
        LineReader(BadLines(), "utf-16")


def test_what_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read(tmp_path / "none")
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read(tmp_path)

"""Files of a bucket, and what a job has left of its work."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from mmx.files import RemotePath


def put(folder: Path, url: str) -> str:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            (RemotePath(url) / path.relative_to(folder).as_posix()).upload(path)
    return url


def names(url: str) -> list[str]:
    return sorted(path.removeprefix("shop-bucket/") for path in RemotePath(url).fs.find(url))


def work_of(tmp_path: Path) -> list[str]:
    folder = tmp_path / "user-cache/mmx/work"
    return sorted(p.name for p in folder.rglob("*")) if folder.exists() else []


def content(table: pa.Table) -> list[dict]:
    return table.drop_columns("content_hash").to_pylist()  # of the URL, where there is one

"""The pictures of an imported dataset, from the web into its folder.

    pictures/3f/3f09….jpg    named by the SHA-256 of its URL; only pictures that can be decoded
    pictures.parquet         url, image (NULL where it failed), status: 'ok' or the reason

Each file appears when it is complete, so a killed download continues with what is missing. When
all were tried, ``image`` in items.parquet becomes the path of the picture, and ``image_url`` keeps
the URL. An item whose picture failed keeps its URL in both.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmx.atomic import replacing, sweep, write_text
from mmx.cache.schema import OK
from mmx.data.formats.writing import PICTURES, RECORD, TRIED
from mmx.errors import DataError, cannot_write
from mmx.extract.pictures.decoding import header
from mmx.extract.pictures.images import decode
from mmx.extract.reasons import PASSING, ImageError
from mmx.extract.sources.paths import WEB, Paths
from mmx.extract.sources.web import Web
from mmx.extract.stages.read import Readers
from mmx.files import is_url, parse_json
from mmx.locks import locked

AHEAD = 1024  # pictures that are requested before the first of them is there
ROWS = 8192  # of the items table at once
NAME = 40  # hexadecimal digits of a file's name
ENDINGS = {
    "JPEG": "jpg", "MPO": "jpg", "PNG": "png", "GIF": "gif", "WEBP": "webp", "BMP": "bmp",
    "TIFF": "tif", "PPM": "ppm", "AVIF": "avif", "JPEG2000": "jp2", "ICO": "ico",
}  # fmt: skip
SCHEMA = pa.schema([("url", pa.string()), ("image", pa.string()), ("status", pa.string())])


@dataclass
class Downloaded:
    """What is there, and what could not be had."""

    folder: Path
    pictures: int = 0  # different URLs of the dataset
    fetched: int = 0  # by this run
    failed: dict[str, int] = field(default_factory=dict)  # reason → pictures

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "folder": str(self.folder)}


def download_pictures(
    folder: Path,
    web: Web | None = None,
    *,
    retry_failed: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Downloaded:
    """Fetch the pictures of an imported dataset that are not in its folder yet.

    Those that failed before are tried again with ``retry_failed`` only. ``progress`` counts
    pictures. Raises DataError for a folder that `mmx import` did not write, TargetError where
    the folder cannot be written or another process is at it.
    """
    record = _record(folder)
    with locked(folder):
        for name in (TRIED, "items.parquet"):
            sweep(folder / name)
        if "pictures" not in record:  # the key is written before the column
            _refuse_own(folder / "items.parquet")
        urls = _urls(folder / "items.parquet")
        there = _there(folder)
        tried = {} if retry_failed else _failed(folder)
        images = {url: there[_name(url)] for url in urls if _name(url) in there}
        statuses = {url: OK if url in images else tried[url] for url in urls
                    if url in images or url in tried}  # fmt: skip
        before = len(images)
        try:
            for url, image, status in _fetched(folder, web or Web(), [*_left(urls, statuses)]):
                statuses[url] = status
                if image is not None:
                    images[url] = image
                progress(len(statuses), len(urls))
        finally:
            _note(folder, images, statuses)
        failed = Counter(status for status in statuses.values() if status != OK)
        done = Downloaded(folder, len(urls), len(images) - before, dict(failed.most_common()))
        facts = {"pictures": len(images), "failed": done.failed}
        files = [*dict.fromkeys([*record["files"], TRIED])]
        whole = {**record, "pictures": facts, "files": files}
        write_text(folder / RECORD, json.dumps(whole, indent=2, ensure_ascii=False) + "\n")
        if images:
            _rewrite(folder / "items.parquet", images)
    return done


def keep_pictures_of(old: Path) -> Callable[[Path], dict[str, Any]]:
    """For ``import_dataset``: what is downloaded in the folder it replaces is in the new one, too.

    Without a copy where the file system can. Nobody has to fetch them again.
    """

    def keep(new: Path) -> dict[str, Any]:
        for path in [*(old / PICTURES).glob("*/*"), old / TRIED]:
            if path.is_file() and not path.name.startswith("."):
                target = new / path.relative_to(old)
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    os.link(path, target)
                except OSError:
                    shutil.copyfile(path, target)
        return {}

    return keep


def _record(folder: Path) -> dict[str, Any]:
    """import.json. Raises DataError where there is none."""
    try:
        found = parse_json((folder / RECORD).read_bytes())
        if isinstance(found, dict) and isinstance(found["files"], list):
            return found
    except (OSError, ValueError, KeyError):
        pass
    raise DataError(
        f"{folder} was not written by `mmx import`, and no table of yours is changed; "
        "`mmx extract` fetches the pictures of any dataset while it encodes"
    )


def _urls(table: Path) -> list[str]:
    """The different web addresses of the table, in its order."""
    found: dict[str, None] = {}
    with _opened(table) as file:
        column = _column(file)
        if column is not None:
            for batch in file.iter_batches(ROWS, columns=[column]):
                found |= dict.fromkeys(u for u in batch[column].to_pylist() if u and _is_web(u))
    return list(found)


def _refuse_own(table: Path) -> None:
    """Raise DataError where the source has a column with the name of ours."""
    with _opened(table) as file:
        if "image_url" in file.schema_arrow.names:
            raise DataError(
                f"{table} has a column image_url of its own, which is where the addresses would "
                "go; import it under another name (--columns image=image_url reads it)"
            )


def _opened(table: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(table)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{table} cannot be read; import the dataset again") from error


def _column(file: pq.ParquetFile) -> str | None:
    """Where the URLs are: after a download in a column of their own. None where there are none."""
    kinds = {f.name: f.type for f in file.schema_arrow}
    if kinds.get("image") != pa.string():
        return None
    return "image_url" if kinds.get("image_url") == pa.string() else "image"


def _is_web(text: str) -> bool:
    return is_url(text) and text.strip().partition("://")[0].lower() in WEB


def _name(url: str) -> str:
    return sha256(url.encode(errors="replace")).hexdigest()[:NAME]


def _there(folder: Path) -> dict[str, str]:
    """The files of earlier runs by name; what a kill left half written is deleted."""
    found = {}
    for path in (folder / PICTURES).glob("*/*"):
        if path.name.startswith("."):
            path.unlink(missing_ok=True)
        elif path.stat().st_size:
            found[path.stem] = path.relative_to(folder).as_posix()
    return found


def _failed(folder: Path) -> dict[str, str]:
    """What failed in an earlier run, but for what may pass by itself."""
    try:
        rows = pq.read_table(folder / TRIED, columns=["url", "status"]).to_pylist()
    except (OSError, pa.ArrowException):
        return {}
    return {r["url"]: r["status"] for r in rows if r["status"] not in (OK, *PASSING)}


def _left(urls: list[str], statuses: dict[str, str]) -> Iterator[str]:
    return (url for url in urls if url not in statuses)


def _fetched(folder: Path, web: Web, urls: list[str]) -> Iterator[tuple[str, str | None, str]]:
    """Each URL with the path of its picture, and its status; in order."""
    source = Paths(folder, web)

    def fetch(url: str) -> tuple[str, str | None, str]:
        try:
            return url, _kept(folder, url, source(url)), OK
        except ImageError as error:
            return url, None, str(error)

    queue: deque[Future[tuple[str, str | None, str]]] = deque()
    with Readers(source) as readers:
        for url in urls:
            queue.append(readers.submit(url, fetch, url))
            if len(queue) >= AHEAD:
                yield queue.popleft().result()
        while queue:
            yield queue.popleft().result()


def _kept(folder: Path, url: str, data: bytes) -> str:
    """Write a picture; its path from the folder. Raises ImageError for one that is none."""
    decode(data)
    opened = header(data)
    ending = ENDINGS.get(str(opened.format), "img") if opened is not None else "img"
    name = _name(url)
    path = folder / PICTURES / name[:2] / f"{name}.{ending}"
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    return path.relative_to(folder).as_posix()


def _note(folder: Path, images: dict[str, str], statuses: dict[str, str]) -> None:
    """What became of each URL."""
    rows = [{"url": u, "image": images.get(u), "status": s} for u, s in statuses.items()]
    with replacing(folder / TRIED) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), temporary, compression="zstd")


def _rewrite(table: Path, images: dict[str, str]) -> None:
    """Put the paths into ``image``, the URLs into ``image_url``."""
    with _opened(table) as file, replacing(table) as temporary:
        column = str(_column(file))
        schema = file.schema_arrow
        if "image_url" not in schema.names:
            schema = schema.append(pa.field("image_url", pa.string()))
        with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
            for batch in file.iter_batches(ROWS):
                urls, old = batch[column].to_pylist(), batch["image"].to_pylist()
                made = [images.get(u, o) for u, o in zip(urls, old, strict=True)]
                columns = {n: batch[n] for n in batch.schema.names}
                columns |= {"image": pa.array(made, pa.string()),
                            "image_url": pa.array(urls, pa.string())}  # fmt: skip
                writer.write_batch(pa.record_batch([columns[n] for n in schema.names], schema))

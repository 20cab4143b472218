"""A drawn catalogue with awkward items, two runs of it, and ``mmx serve`` over them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq

import mmx

HOSTILE = '<img src=x onerror="window.hit=1"><script>window.hit=2</script>'
ODD_ID = 'shelf/4 "left" <b>?#%'
BARE = "sku-0002"  # with the hostile title, and without a picture


def write_world(folder: Path) -> None:
    """data/, cache/clip-mini.parquet, runs/vbpr and runs/bpr."""
    data, store = folder / "data", folder / "cache" / "clip-mini.parquet"
    mmx.write_sample(data, items=60, users=90)
    _awkward(data)
    mmx.encode(data, "clip:mini", store)
    training = mmx.TrainOptions(epochs=2)
    mmx.fit(
        mmx.TrainJob(data, model="vbpr", features=store, training=training), folder / "runs/vbpr"
    )
    mmx.fit(mmx.TrainJob(data, model="bpr", training=training), folder / "runs/bpr")


def _awkward(data: Path) -> None:
    items = pq.read_table(data / "items.parquet")
    rows = items.to_pylist()
    rows[1]["item_id"] = ODD_ID
    rows[2] |= {"title": HOSTILE, "image": None}
    pq.write_table(type(items).from_pylist(rows, schema=items.schema), data / "items.parquet")
    log = pq.read_table(data / "interactions.parquet")
    events = log.to_pylist()
    for event in events:
        event["item_id"] = ODD_ID if event["item_id"] == "sku-0001" else event["item_id"]
    pq.write_table(type(log).from_pylist(events, schema=log.schema), data / "interactions.parquet")


class Server:
    """``mmx serve`` in a process of its own; a context manager."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        command = [sys.executable, "-m", "mmx", "serve", *arguments, "--port", "0"]
        self.log = (folder / "serve.log").open("w+")
        self.process = subprocess.Popen(
            command, cwd=folder, stdout=self.log, stderr=self.log, text=True
        )
        self.folder = folder

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(timeout=30)
        self.log.close()

    @property
    def said(self) -> str:
        """What it has written so far."""
        return (self.folder / "serve.log").read_text()

    def address(self) -> str | None:
        """Where it listens, once it says so."""
        assert self.process.poll() is None, self.said
        found = re.search(r"at (http://\S+)", self.said)
        return found and found[1].rstrip("/")

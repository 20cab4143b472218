"""A shop to be served: odd ids, hostile titles, pictures inside and outside of the dataset."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from fastapi.testclient import TestClient
from PIL import Image

from mmx.data.dataset import load_items
from mmx.extract.encoders import open_encoder
from mmx.extract.options import ExtractOptions
from mmx.extract.pipeline import extract
from mmx.recommend.fit import fit
from mmx.recommend.job import TrainJob
from mmx.serve.app import make_app
from mmx.serve.options import ServeOptions
from mmx.serve.service import Service
from mmx.serve.snapshot import load
from tests.catalogue import random_log, write_interactions, write_items

ITEMS, USERS = 24, 12
HOSTILE = "<img src=x onerror=alert(1)>\"'`&\u202e</script>"
ODD = {1: "a/b/../c", 2: 'q"uo<te>', 3: "ü 100%", 4: "x?y=1#z", 5: "..", 6: "i\n6"}
IDS = [ODD.get(n, f"i{n}") for n in range(ITEMS)]
TOKEN = "0123456789abcdef-token"


def write_shop(folder: Path) -> Path:
    """items.parquet with pictures and interactions.parquet."""
    (folder / "images").mkdir(parents=True)
    rows = []
    for n, item in enumerate(IDS):
        Image.new("RGB", (40, 20), (10 * n, 255 - 10 * n, 128)).save(folder / f"images/{n}.png")
        rows.append({"item_id": item, "image": f"images/{n}.png", "text": "word " * (n + 1)})
    (folder.parent / "secret.png").write_bytes((folder / "images/0.png").read_bytes())
    (folder / "images/link.png").symlink_to(folder.parent / "secret.png")
    rows[7]["image"], rows[8]["image"] = "../secret.png", "images/link.png"
    rows[9]["image"], rows[10]["image"] = "http://127.0.0.1:9/x.png", None
    rows[11]["text"] = None
    day = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    write_items(
        folder, rows,
        title=[None if n == 12 else HOSTILE if n == 0 else f"Title {n}" for n in range(ITEMS)],
        price=[None if n == 13 else float("nan") if n == 14 else n / 2 for n in range(ITEMS)],
        category=["<b>" if n % 3 else "hats" for n in range(ITEMS)],
        sold=[n % 2 == 0 for n in range(ITEMS)],
        added=[day + datetime.timedelta(days=n) for n in range(ITEMS)],
        raw=[b"\xff" for _ in range(ITEMS)],
    )  # fmt: skip
    place = {f"i{n}": item for n, item in enumerate(IDS)}
    log = [(user, place[item]) for user, item in random_log(USERS, ITEMS, 6)]
    write_interactions(folder, [("a/b" if user == "u1" else user, item) for user, item in log])
    return folder


def write_store(data: Path, out: Path) -> Path:
    """A store of the toy encoder."""
    out.parent.mkdir(exist_ok=True)
    extract(load_items(data), open_encoder("toy"), out, ExtractOptions())
    return out


def train(data: Path, model: str, out: Path, *stores: Path, **options: Any) -> Path:
    """A run of a model that takes no time."""
    fit(TrainJob(data, model, list(stores)), out, log=lambda line: None, **options)
    return out


@dataclass
class Served:
    """A service and a client of it."""

    service: Service
    client: TestClient
    lines: list[str] = field(default_factory=list)

    def get(self, place: str, **query: Any) -> Any:
        """The JSON of an answer that is well."""
        found = self.client.get(place, params=query or None)
        assert found.status_code == 200, found.text
        return found.json()

    def refused(self, status: int, place: str, **query: Any) -> str:
        """The one line of an answer that is not."""
        found = self.client.get(place, params=query or None)
        assert found.status_code == status, found.text
        (line,) = found.json()["detail"].splitlines()
        return str(line)


def served(*runs: Path, **options: Any) -> Served:
    """A client of what ``mmx serve`` would serve."""
    lines: list[str] = []
    made = ServeOptions(runs, **{"encoder": {"device": "cpu"}, **options})
    service = Service(made, load(made, lines.append))
    app = make_app(service, lines.append)
    client = TestClient(app, base_url="http://127.0.0.1:8000", raise_server_exceptions=False)
    return Served(service, client, lines)


def address(item: str) -> str:
    """An id in a path; dots too, which clients would resolve."""
    return quote(item, safe="").replace(".", "%2E")


def listed(answer: dict[str, Any]) -> list[str]:
    """Ids of a list, whose ranks and scores are in order."""
    rows = answer["items"]
    assert [row["rank"] for row in rows] == list(range(1, len(rows) + 1))
    scores = np.array([row["score"] for row in rows])
    assert (np.diff(scores) <= 0).all()
    return [row["item"]["item_id"] for row in rows]

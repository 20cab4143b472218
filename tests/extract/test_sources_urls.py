"""Catalogues of URLs, and datasets and stores on a web server."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from mmx.cache.store import open_store
from mmx.cli.app import app
from mmx.data.dataset import load_items
from mmx.errors import OptionError
from mmx.extract.encoders import open_encoder
from mmx.extract.options import ExtractOptions, ExtractReport
from mmx.extract.pipeline import extract
from mmx.extract.pixels import cached_pixels
from mmx.extract.sources import source_for
from mmx.extract.sources.web import Web
from tests.catalogue import plain_catalogue, write_items
from tests.extract.servers import QUICK, Files, Misbehaving, Server, serving


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plain_catalogue(tmp_path_factory.mktemp("web") / "d", 20)


@pytest.fixture
def server(pictures: Path) -> Iterator[Server]:
    with serving(pictures, Misbehaving) as started:
        yield started


def run(data: Path | str, out: Path, web: Web, **options: object) -> ExtractReport:
    chosen = ExtractOptions(**{"batch_size": 4, "part_size": 5, **options})  # type: ignore[arg-type]
    items = load_items(data)
    source = pickle.loads(pickle.dumps(source_for(items, web)))
    return extract(items, open_encoder("toy"), out, chosen, source=source)


def test_a_catalogue_of_urls(server: Server, pictures: Path, tmp_path: Path) -> None:
    rows = load_items(pictures).table.to_pylist()
    run(pictures, tmp_path / "local.parquet", QUICK)
    local = pq.read_table(tmp_path / "local.parquet").drop_columns("content_hash")
    for n, row in enumerate(rows):
        row["image"] = f"{server.url()}{'/flaky' if n == 3 else ''}/{row['image']}"
    rows[7]["image"] = f"{server.url()}/status/404"
    rows[8]["image"] = "gopher://x/y"
    data, out = write_items(tmp_path / "d", rows), tmp_path / "out.parquet"

    assert (
        source_for(load_items(data), QUICK).readers == 32 > source_for(load_items(pictures)).readers
    )
    report = run(data, out, QUICK)
    assert report.failures == {"image: not found by the host": 1, "image: no place for pictures": 1}
    found = pq.read_table(out).drop_columns("content_hash").to_pylist()
    for n, row in enumerate(local.to_pylist()):
        assert n in (7, 8) or found[n] == row

    requests = sum(server.requests.values())
    assert run(data, out, QUICK).reused == 20  # a picture is known by its URL
    assert sum(server.requests.values()) == requests

    rows[7]["image"] = f"{server.url()}/images/7.png"
    write_items(tmp_path / "d", rows)
    report = run(data, out, QUICK)
    assert (report.encoded, report.failures) == (1, {"image: no place for pictures": 1})
    assert run(data, out, QUICK, retry_failed=True).encoded == 1


def test_private_is_a_reason_in_the_store(server: Server, tmp_path: Path) -> None:
    rows = [{"item_id": "a", "image": f"{server.url()}/images/1.png"}]
    data, out = write_items(tmp_path / "d", rows), tmp_path / "out.parquet"
    assert run(data, out, Web()).failures == {"image: private address; --allow-private": 1}
    assert run(data, out, QUICK, retry_failed=True).failures == {}


def test_private_pictures_to_train_on(server: Server, tmp_path: Path) -> None:
    """Also after a run that was refused them, whose pixels are kept."""
    rows = [{"item_id": n, "image": f"{server.url()}/images/{n}.png"} for n in "123"]
    items = load_items(write_items(tmp_path / "d", rows))
    rule = open_encoder("clip:mini").image_rule
    assert rule is not None
    assert cached_pixels(items, rule, tmp_path).present.tolist() == [False] * 3
    assert cached_pixels(items, rule, tmp_path, web=QUICK).present.tolist() == [True] * 3
    requests = sum(server.requests.values())
    assert cached_pixels(items, rule, tmp_path, web=QUICK).present.all()
    assert sum(server.requests.values()) == requests


@pytest.mark.parametrize("command", ["finetune --model", "train --end-to-end --encoder"])
def test_commands_that_train_on_private_pictures(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    url = server.url()
    rows = [{"item_id": f"i{n}", "image": f"{url}/images/{n}.png", "text": f"{n}"}
            for n in range(8)]  # fmt: skip
    data = write_items(tmp_path / "d", rows)
    parts = ("train", "train", "valid", "test")
    log = [f"u{u},i{u + n},{part}" for u in range(3) for n, part in enumerate(parts)]
    (data / "interactions.csv").write_text("\n".join(["user_id,item_id,split", *log]) + "\n")
    words = [*command.split(), "clip:mini", "--data", str(data), "--epochs", "1", "--out", "run"]
    CliRunner().invoke(app, [*words, "--quiet"])
    assert not server.requests
    done = CliRunner().invoke(app, [*words, "--quiet", "--allow-private", "--overwrite"],
                              catch_exceptions=False)  # fmt: skip
    assert done.exit_code == 0
    assert len(server.requests) == 8
    if command.startswith("train"):
        assert set(pq.read_table("run/features.parquet")["image_status"].to_pylist()) == {"ok"}


def test_a_dataset_and_a_store_on_a_web_server(pictures: Path, tmp_path: Path) -> None:
    pytest.importorskip("aiohttp", reason="aiohttp is absent (pip install 'mmx[http]')")
    run(pictures, pictures / "toy.parquet", QUICK)
    with serving(pictures, Files) as server:
        assert run(server.url(), tmp_path / "out.parquet", QUICK).failures == {}
        there = open_store(f"{server.url()}/toy.parquet")
        here = open_store(tmp_path / "out.parquet")
        ids = pa.array(["i3", "unknown", "i19"])
        for one, other in zip(there.vectors("image", ids), here.vectors("image", ids), strict=True):
            assert (one == other).all()
        assert there.verify() == []


def test_the_command_and_its_options(server: Server, pictures: Path, tmp_path: Path) -> None:
    rows = [{"item_id": "a", "image": f"{server.url()}/images/1.png"}]
    data, out = write_items(tmp_path / "d", rows), tmp_path / "out.parquet"

    def image_status(*options: str, data: Path | str = data) -> list[str]:
        arguments = ["--data", str(data), "--out", str(out), "--quiet", *options]
        command = ["extract", "--model", "toy", *arguments]
        done = CliRunner().invoke(app, command, catch_exceptions=False)
        assert done.exit_code == 0
        return pq.read_table(out)["image_status"].to_pylist()

    assert image_status() == ["private address; --allow-private"]
    assert image_status("--allow-private") == ["private address; --allow-private"]  # as before
    assert image_status("--allow-private", "--retry-failed") == ["ok"]
    (tmp_path / "shop.csv").write_text("item_id\n3\n99\n")
    found = image_status("--images", str(pictures / "images"), "--overwrite",
                         data=tmp_path / "shop.csv")  # fmt: skip
    assert found == ["ok", "file not found"]
    for option, value in (("max-image-mib", "0"), ("max-image-mib", "513"), ("per-host", "-3"),
                          ("connections", "1000000000")):  # fmt: skip
        with pytest.raises(OptionError, match=f"--{option} {value}: .* is expected"):
            image_status(f"--{option}", value)

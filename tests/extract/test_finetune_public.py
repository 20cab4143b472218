"""mmx.finetune: an encoder by name or open, what it returns and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mmx
from mmx.sample.catalogue import write_sample

QUICK = mmx.FinetuneOptions(epochs=1, batch_size=8, chunk=8)
TOGETHER = mmx.FinetuneOptions(("co-interaction",), epochs=1, batch_size=8, chunk=8)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    write_sample(folder / "data", items=30, users=12, seed=3)
    return folder


def test_by_name_and_open_are_the_same(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    seen: list[mmx.FinetuneProgress] = []
    named = mmx.finetune(str(shop / "data"), "clip:mini", options=QUICK, progress=seen.append)
    assert named.path == Path("runs/clip-mini-tuned")
    assert [state.epoch for state in seen] == [1]
    assert (named.best_epoch, named.valid["loss"]) == (1, seen[0].row["valid_loss"])
    assert named.train_pairs + named.valid_pairs == 30
    items, encoder = mmx.load_items(shop / "data"), mmx.open_encoder("clip:mini")
    opened = mmx.finetune(items, encoder, "runs/open", QUICK)
    files = [report.path / "model.safetensors" for report in (named, opened)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_co_interaction_reads_the_interactions(shop: Path, tmp_path: Path) -> None:
    table = pq.read_table(shop / "data/interactions.parquet")
    odd = table.slice(0, 1).set_column(1, "item_id", pa.array(["nowhere"]))
    data = tmp_path / "data"
    write_sample(data, items=30, users=12, seed=3)
    pq.write_table(pa.concat_tables([table, odd]), data / "interactions.parquet")
    with pytest.raises(mmx.DataError, match="nowhere"):
        mmx.finetune(data, "clip:mini", tmp_path / "run", TOGETHER, pixels=tmp_path / "pixels")
    lines: list[str] = []
    mmx.finetune(data, "clip:mini", tmp_path / "run", TOGETHER, pixels=tmp_path / "pixels",
                 unknown_items="drop", log=lines.append)  # fmt: skip
    assert any(line.startswith("dropped 1 of") for line in lines)
    (where,) = [line for line in lines if line.startswith("clip:mini on ")]
    assert where.endswith(f", {TOGETHER.precision}")


REFUSED: dict[str, tuple[Any, str]] = {
    "weights": (lambda s: mmx.finetune(s / "data", mmx.open_encoder("toy"), weights="w"),
                "^weights goes with"),
    "tokenizer": (lambda s: mmx.finetune(s / "data", mmx.open_encoder("toy"), tokenizer="t"),
                  "^tokenizer goes with"),
    "device": (lambda s: mmx.finetune(s / "data", mmx.open_encoder("toy"), device="cpu"),
               "^device goes with"),
    "images": (lambda s: mmx.finetune(mmx.load_items(s / "data"), "clip:mini", images=s),
               "^images and csv"),
    "unknown items": (lambda s: mmx.finetune(s / "data", "clip:mini", unknown_items="drop"),
                      "^--unknown-items goes with --objective co-interaction"),
    "objective": (lambda s: mmx.FinetuneOptions(("itk",)), "^--objective itk"),
    "out": (lambda s: mmx.finetune(s / "data", "clip:mini", s / "w", weights=str(s / "w")),
            "^--out .* holds the --weights"),
    "toy": (lambda s: mmx.finetune(s / "data", "toy", s / "toy"), "toy cannot be fine-tuned"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "words"), REFUSED.values(), ids=REFUSED)
def test_refused(shop: Path, call: Any, words: str) -> None:
    with pytest.raises(mmx.OptionError, match=words):
        call(shop)


def test_another_folder_is_not_replaced(shop: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/file").touch()
    with pytest.raises(mmx.TargetError):
        mmx.finetune(shop / "data", "clip:mini", tmp_path / "mine", QUICK, overwrite=True)


def test_a_link_is_followed(shop: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "there")
    report = mmx.finetune(shop / "data", "clip:mini", tmp_path / "link", QUICK, overwrite=True,
                          pixels=tmp_path / "pixels")  # fmt: skip
    assert (tmp_path / "there/model.safetensors").exists()
    assert (tmp_path / "link").is_symlink()
    assert report.path == tmp_path / "link"

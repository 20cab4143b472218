"""The reasons in a store are a small closed set, and the documentation lists it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pyarrow.parquet as pq

import mmx
from mmx.data.dataset import load_items
from mmx.extract.encoders import open_encoder
from mmx.extract.options import ExtractOptions, ExtractReport
from mmx.extract.pipeline import extract
from mmx.extract.reasons import Reason
from mmx.extract.sources import source_for
from tests.catalogue import write_items
from tests.extract.files import Image, encoded, noise
from tests.extract.servers import QUICK, Misbehaving, serving

ROOT = Path(__file__).parents[2]


def documented() -> set[str]:
    text = (ROOT / "docs/store.md").read_text()
    section = text.partition("\n## Reasons\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.+?`) \|", section, re.MULTILINE)
    return {reason for row in rows for reason in re.findall("`(.+?)`", row)}


def test_all_reasons_are_documented() -> None:
    assert documented() == set(Reason)


def test_a_reason_is_of_words() -> None:
    assert all(re.fullmatch("[A-Za-z][A-Za-z ,;-]+", reason) for reason in Reason)
    assert not {"ok", "missing"} & set(Reason)


def test_no_reason_is_made_up_where_it_is_raised() -> None:
    """Whatever raises an ImageError takes its reason from the list."""
    seen = 0
    for path in Path(mmx.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "ImageError":
                seen += 1
                written = ast.unparse(node.args[0])
                assert "Reason." in written or not re.search("['\"]", written), (path, written)
    assert seen > 25


def hostile(folder: Path, url: str) -> Path:
    """A catalogue in which each kind of failure comes several times, each time otherwise."""
    folder.mkdir()
    images: list[str | None] = [None, " "]
    for n in range(3):
        whole = encoded(Image.fromarray(noise(60 + n, 60)))
        broken = bytearray(whole)
        broken[len(whole) // 2] ^= 255
        files = {
            "cut.png": whole[: 3000 + 40 * n], "broken.png": bytes(broken), "empty.jpg": b"",
            "cut.jpg": encoded(Image.fromarray(noise(60, 60 + n)), "JPEG")[: 900 + n],
            "page.jpg": f"<html>{n}</html>".encode(), "text.jpg": f"number {n}".encode(),
            "photo.heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(n),
        }  # fmt: skip
        for name, data in files.items():
            (folder / f"{n}-{name}").write_bytes(data)
            images.append(f"{n}-{name}")
        images += [f"nothing-{n}.jpg", f"s{n}://bucket/x.jpg", f"data:image/png;base64,*{n}",
                   f"nul\0{n}.jpg", f"{'x' * (300 + n)}.jpg", f"http://a:{n}x/"]  # fmt: skip
        images += [f"{url}/{path}?{n}" for path in
                   ("status/404", f"status/40{n}", f"status/50{n}", "heavy", "short")]  # fmt: skip
        images.append(f"http://nowhere-{n}.invalid/x.jpg")
    rows = [{"item_id": str(n), "image": i, "text": "a" * (n % 3)} for n, i in enumerate(images)]
    return write_items(folder, rows)


def run(data: Path, out: Path) -> ExtractReport:
    items, options = load_items(data), ExtractOptions(batch_size=4)
    encoder = open_encoder("toy", modalities=("image", "text", "fused"))
    return extract(items, encoder, out, options, source=source_for(items, QUICK))


def test_a_hostile_catalogue_has_few_reasons(tmp_path: Path) -> None:
    with serving(tmp_path, Misbehaving) as server:
        data = hostile(tmp_path / "d", server.url())
        report = run(data, tmp_path / "out.parquet")
    table = pq.read_table(tmp_path / "out.parquet")
    reasons = set(table["image_status"].to_pylist()) - {"ok", "missing"}
    assert reasons <= documented()
    assert len(reasons) >= 14
    assert set(table["text_status"].to_pylist()) <= {"ok", "missing"}
    said = "|".join(map(re.escape, Reason))
    form = re.compile(f"ok|no image: (missing|{said})(; no text: missing)?|no text: missing")
    assert all(form.fullmatch(status) for status in table["fused_status"].to_pylist())
    assert set(report.examples) == reasons
    assert all(1 <= len(lines) <= 3 for lines in report.examples.values())
    assert report.examples["empty file"][0] == "0-empty.jpg"  # without a detail
    (example, *_) = report.examples["corrupt image"]
    assert example.startswith("0-broken.png: ")  # and what Pillow says

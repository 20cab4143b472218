"""Resident memory of stage 1 over a long catalogue.

    python benchmarks/extract_memory.py --items 1000000

Encodes a long items table over a few tiny pictures with --small, and prints the memory while it
runs.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from mmx.data.dataset import load_items
from mmx.extract.encoders import open_encoder
from mmx.extract.options import ExtractOptions
from mmx.extract.pipeline import extract
from mmx.extract.stages.progress import Progress


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--small", default="toy", help="encoder: toy or clip:mini")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mmx-memory-") as folder:
        memory(options, Path(folder))


def memory(options: argparse.Namespace, folder: Path) -> None:
    """Print the resident memory while items are encoded."""
    random = np.random.default_rng(0)
    for number in range(64):
        picture = random.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(picture).save(folder / f"{number}.jpg")
    ids = np.arange(options.items)
    images = np.array([f"{number}.jpg" for number in range(64)])[ids % 64]
    table = {"item_id": ids.astype(str), "image": images, "text": np.char.add("item ", images)}
    pq.write_table(pa.table(table), folder / "items.parquet")
    del ids, images, table
    shown = [0.0]

    def show_memory(state: Progress) -> None:
        if time.perf_counter() - shown[0] > 2:
            shown[0] = time.perf_counter()
            print(f"{state.stage:7s} {state.done:9d} of {state.total}  {resident():6.0f} MiB",
                  flush=True)  # fmt: skip

    encoder = open_encoder(options.small)
    report = extract(
        load_items(folder), encoder, folder / "store.parquet", ExtractOptions(), show_memory
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"items": report.items, "seconds": round(report.seconds, 1),
                      "items_per_s": round(report.items / report.seconds),
                      "peak_mib": round(peak)}))  # fmt: skip


def resident() -> float:
    """MiB in memory now; 0 if the system does not report it."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    except OSError:
        return 0.0
    return pages * resource.getpagesize() / 2**20


if __name__ == "__main__":
    main()

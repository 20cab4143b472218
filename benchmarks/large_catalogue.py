"""Peak memory and seconds of an epoch on a catalogue of which the vectors are large.

    python benchmarks/large_catalogue.py vbpr --items 2000000 --image 512
    python benchmarks/large_catalogue.py freedom --items 200000 --image 4096 --text 384

Made-up stores are written to --folder by rows and read as `mmx train` reads them; what they need
is not counted, as it is another process. Users take --taken items each, without communities: the
figures are of memory and time, not of quality.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 20_000  # of a row group


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--items", type=int, default=200_000)
    parser.add_argument("--users", type=int, default=2_000)
    parser.add_argument("--taken", type=int, default=100, help="items of a user, two held out")
    parser.add_argument("--image", type=int, default=4096, help="numbers of a vector; 0: none")
    parser.add_argument("--text", type=int, default=0, help="numbers of a vector; 0: none")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--set", action="append", default=[], help="NAME=VALUE of the model")
    parser.add_argument("--folder", type=Path, default=Path("large"))
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        train(options)
        return
    for modality, d in (("image", options.image), ("text", options.text)):
        if d and not store_of(options, modality, d).exists():
            write_store(store_of(options, modality, d), modality, options.items, d)
    write_data(options)
    command = [sys.executable, __file__, *sys.argv[1:], "--one"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    row = json.loads(done.stdout.splitlines()[-1])
    print(f"{options.model}: peak {row['peak']:.2f} GB, {row['seconds']:.1f} s in all, "
          f"{row['epoch']:.1f} s the epoch; {row['mapped']}")  # fmt: skip


def store_of(options: argparse.Namespace, modality: str, d: int) -> Path:
    return Path(options.folder / f"{modality}-{options.items}-{d}.parquet")


def data_of(options: argparse.Namespace) -> Path:
    return Path(options.folder / f"data-{options.items}-{options.users}-{options.taken}")


def write_store(path: Path, modality: str, items: int, d: int) -> None:
    from mmx.cache.card import EncoderCard
    from mmx.cache.schema import metadata, store_schema

    path.parent.mkdir(parents=True, exist_ok=True)
    card = EncoderCard("made-up", "numpy", "none", "none", {modality: d}, False, "float32")
    schema = store_schema(card, "float32").with_metadata(metadata(card, "float32", "made-up"))
    rng = np.random.default_rng(0)
    with pq.ParquetWriter(path, schema) as file:
        for start in range(0, items, ROWS):
            count = min(ROWS, items - start)
            values = pa.array(rng.standard_normal(count * d, dtype=np.float32))
            columns = {"item_id": ids("i", range(start, start + count)),
                       modality: pa.FixedSizeListArray.from_arrays(values, d),
                       f"{modality}_status": ["ok"] * count}  # fmt: skip
            full = [pa.array(columns.get(f.name, [None] * count), f.type) for f in schema]
            file.write_table(pa.table(full, schema=schema))


def write_data(options: argparse.Namespace) -> None:
    folder = data_of(options)
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"item_id": ids("i", range(options.items))}), folder / "items.parquet")
    rng = np.random.default_rng(1)
    taken = rng.integers(options.items, size=(options.users, options.taken))
    table = pa.table({
        "user_id": ids("u", np.repeat(np.arange(options.users), options.taken)),
        "item_id": ids("i", taken.ravel()),
        "split": (["train"] * (options.taken - 2) + ["valid", "test"]) * options.users,
    })  # fmt: skip
    pq.write_table(table, folder / "interactions.parquet")


def ids(letter: str, numbers: object) -> pa.Array:
    return pa.array([f"{letter}{n}" for n in numbers])  # type: ignore[attr-defined]


def train(options: argparse.Namespace) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    from mmx.mapped import is_mapped
    from mmx.recommend import inputs
    from mmx.recommend.fit import fit
    from mmx.recommend.job import TrainJob
    from mmx.recommend.models import find_model
    from mmx.recommend.options import TrainOptions

    mapped: list[str] = []
    load = inputs.load_features

    def watched(*given: object) -> object:
        found = load(*given)  # type: ignore[arg-type]
        mapped.extend(name for name, one in found[0].items() if is_mapped(one.matrix))
        return found

    inputs.load_features = watched  # type: ignore[assignment]
    stores = [] if find_model(options.model).features == "none" else [
        store_of(options, name, d)
        for name, d in (("image", options.image), ("text", options.text)) if d
    ]  # fmt: skip
    training = TrainOptions(epochs=1, precision=options.precision, device="cpu")
    job = TrainJob(data_of(options), options.model, stores, options.set, training=training)
    epochs: list[float] = []
    start = time.perf_counter()
    fit(
        job,
        options.folder / f"run-{options.model}",
        overwrite=True,
        progress=lambda p: epochs.append(p.seconds),
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    which = f"mapped: {', '.join(mapped)}" if mapped else "nothing mapped"
    print(json.dumps({"peak": peak / 1e9, "seconds": time.perf_counter() - start,
                      "epoch": epochs[0], "mapped": which}))  # fmt: skip


if __name__ == "__main__":
    main()

"""Peak memory of end-to-end training by batch size: bounded by --chunk, not by the batch.

    python benchmarks/end_to_end_memory.py
    python benchmarks/end_to_end_memory.py --batches 256,4096,16384 --items 30000

VBPR with clip:mini over made-up pictures and texts. Each batch size runs a few training steps in
its own process. The last row is the largest batch without chunks, as in plain back-propagation.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", default="256,1024,4096", help="triples in a step, by commas")
    parser.add_argument("--items", type=int, default=10_000, help="in the catalogue")
    parser.add_argument("--chunk", type=int, default=32, help="items encoded at once")
    parser.add_argument("--steps", type=int, default=2, help="of each batch size")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options)))
        return
    sizes = [int(size) for size in options.batches.split(",")]
    print(f"{'batch':>7} {'chunk':>7} {'items of a batch':>17} {'peak MB':>8} {'to the first':>13}")
    first = 0.0
    for size, chunk in [*((size, options.chunk) for size in sizes), (sizes[-1], options.items)]:
        command = [
            sys.executable,
            __file__,
            *sys.argv[1:],
            "--one",
            str(size),
            "--chunk",
            str(chunk),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(done.stderr)
        row = json.loads(done.stdout.splitlines()[-1])
        first = first or row["peak"]
        peak = row["peak"]
        print(f"{size:7} {chunk:7} {row['unique']:17} {peak:8.0f} {peak / first:13.2f}", flush=True)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Some steps of one batch size in this process."""
    import numpy as np
    import pyarrow as pa
    import torch

    from mmx.data.dataset import Items
    from mmx.extract.encoders import open_encoder
    from mmx.extract.finetune.trainable import choose_parameters, open_trainable
    from mmx.extract.pixels import Pixels
    from mmx.recommend.end_to_end import EndToEnd, EndToEndOptions
    from mmx.recommend.end_to_end.catalogue import Catalogue
    from mmx.recommend.interactions import UserItems
    from mmx.recommend.models.vbpr import Config, Model
    from mmx.recommend.protocol import World

    torch.set_num_threads(1)
    encoder, n, users = open_encoder("clip:mini", precision="float32"), options.items, 2_000
    trainable = open_trainable(encoder)
    choose_parameters(trainable, "full")
    assert encoder.image_rule is not None
    side, rng = encoder.image_rule.size, np.random.default_rng(0)
    table = pa.table({"item_id": [f"i{k}" for k in range(n)],
                      "image": pa.nulls(n, pa.string()),
                      "text": [f"a mug of colour {k % 97}" for k in range(n)]})  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        images = np.memmap(Path(folder) / "pixels", np.uint8, "w+", shape=(n, side, side, 3))
        images[:] = rng.integers(0, 256, (1, side, side, 3), np.uint8)
        catalogue = Catalogue(
            trainable,
            Items(Path(folder), Path(folder), table, Path(folder)),
            Pixels(images, np.ones(n, bool)),
            np.arange(n),
        )
        pairs = rng.integers(0, users * n, 5 * users)
        world = World(UserItems.from_pairs(pairs // n, pairs % n, users, n),
                      {"image": made_up(n, rng), "text": made_up(n, rng)})  # fmt: skip
        inner = Model(Config(normalise=False), world, torch.Generator().manual_seed(0))
        model = EndToEnd(inner, catalogue, EndToEndOptions(chunk=options.chunk))
        optimiser = torch.optim.Adam(model.parameter_groups(1e-3))
        unique = 0
        for _ in range(options.steps):
            u = torch.from_numpy(rng.integers(0, users, options.one))
            i, j = (torch.from_numpy(rng.integers(0, n, options.one)) for _ in range(2))
            unique = len(torch.cat([i, j]).unique())
            loss = model.loss(u, i, j)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            model.after_backward()
            optimiser.step()
    return {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "unique": unique}


def made_up(items: int, rng: Any) -> Any:
    """Vectors in place of the first pass over the catalogue, which this benchmark leaves out."""
    import numpy as np

    from mmx.recommend.features import Features

    return Features(rng.standard_normal((items, 96), dtype=np.float32), np.ones(items, dtype=bool))


if __name__ == "__main__":
    main()

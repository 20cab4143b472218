"""How many pictures a second reach the encoder: reading and decoding, with next to no encoding.

    python benchmarks/feed.py --side 16                          # the toy encoder (8 px, exact)
    python benchmarks/feed.py --side 640x480 --size 224 --items 6000
    python benchmarks/feed.py --side 16 --decode-threads 1 2 16 --decode-processes 0 2 16 auto
    python benchmarks/feed.py --side 16 --source table           # or tar; else files

A whole extraction for each combination, from the check of the store to its merge: pictures a
second of wall-clock time, CPU seconds of all processes, which stage was the bottleneck, and CPU
seconds of this process alone, whose lock bounds what many cores can do. With --size the pictures
are decoded for a network of so many pixels, the fast way, and its pass is a mean.
"""

from __future__ import annotations

import argparse
import io
import itertools
import math
import os
import shutil
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from mmx.cache.card import EncoderCard
from mmx.data.dataset import load_items
from mmx.extract.encoder import Encoder
from mmx.extract.encoders import open_encoder
from mmx.extract.options import ExtractOptions
from mmx.extract.pictures.images import ImageRule
from mmx.extract.pipeline import extract
from mmx.extract.stages.progress import Progress

FILES = 2000  # different pictures; the items repeat them
ROWS = 1000  # of a row group, or of a shard


class Mean(Encoder):
    """A network whose pass costs next to nothing."""

    def __init__(self, size: int) -> None:
        self.image_rule = ImageRule(
            size, size, "crop", "bicubic", (0.5,) * 3, (0.5,) * 3, decode="fast"
        )
        self.card = EncoderCard(
            name="mean", library="mmx", architecture="mean", weights="none",
            dimensions={"image": 3}, normalised=False, precision="float32",
            image_rule=self.image_rule.as_dict(), tokenizer=None, text_limit=None, output="mean",
        )  # fmt: skip

    def encode_image(self, pixels: np.ndarray) -> np.ndarray:
        """(B, s, s, 3) uint8 → (B, 3), of few of the pixels."""
        found: np.ndarray = pixels[:, ::32, ::32].mean(axis=(1, 2), dtype=np.float32)
        return found


class Watch:
    """What was done when, while a job encodes."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, float, int]] = []  # s, CPU s of this process, pictures

    def __call__(self, state: Progress) -> None:
        if state.stage == "encode":
            self.seen.append((time.perf_counter(), time.process_time(), state.done))

    def second_half(self) -> tuple[float, float, float]:
        """Seconds, CPU seconds and pictures; NaN where there was too little to see."""
        if len(self.seen) < 4:
            return math.nan, math.nan, math.nan
        (start, cpu, first), (end, cpu_end, last) = self.seen[len(self.seen) // 2], self.seen[-1]
        return end - start, cpu_end - cpu, last - first


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", default="16", help="of the JPEGs: WIDTH or WIDTHxHEIGHT, pixels")
    parser.add_argument("--size", type=int, help="of the network's input; else the toy encoder")
    parser.add_argument("--items", type=int, default=60_000)
    parser.add_argument("--source", choices=["files", "table", "tar"], default="files",
                        help="where the pictures are; table: bytes in its rows")  # fmt: skip
    parser.add_argument("--decode-threads", nargs="+", default=["auto"])
    parser.add_argument("--decode-processes", nargs="+", default=["auto"])
    parser.add_argument("--repeat", type=int, default=1)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="mmx-feed-"))
    try:
        draw(folder, options)
        for _ in range(options.repeat):
            for threads, processes in itertools.product(
                options.decode_threads, options.decode_processes
            ):
                measure(folder, options, threads, processes)
    finally:
        shutil.rmtree(folder)


def measure(folder: Path, options: argparse.Namespace, threads: str, processes: str) -> None:
    encoder = open_encoder("toy", modalities=("image",)) if options.size is None else None
    chosen = ExtractOptions(decode_threads=number(threads), overwrite=True)
    if hasattr(chosen, "decode_processes"):
        chosen = ExtractOptions(
            decode_threads=number(threads), decode_processes=number(processes), overwrite=True
        )
    watch = Watch()
    before = used()
    report = extract(
        load_items(folder), encoder or Mean(options.size), folder / "store.parquet", chosen, watch
    )
    seconds, cpu, pictures = watch.second_half()
    print(f"threads {threads:>4s}, processes {processes:>4s}: "
          f"{report.items / report.seconds:8.0f} a second, "
          f"{pictures / seconds:8.0f} in the second half, "
          f"{1e6 * (used() - before) / report.items:6.0f} CPU µs a picture, of this process "
          f"{1e6 * cpu / pictures:.0f} in the second half; {report.bottleneck}, "
          f"waited {({name: round(s, 1) for name, s in report.waited.items()})}",
          flush=True)  # fmt: skip


def used() -> float:
    """CPU seconds of this process and of those that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def number(text: str) -> int | None:
    return None if text == "auto" else int(text)


def draw(folder: Path, options: argparse.Namespace) -> None:
    """JPEGs of quality 90, soft light with noise, and items that have them."""
    random = np.random.default_rng(7)
    width, _, height = options.side.partition("x")
    size = (int(width), int(height or width))
    files = min(FILES, options.items)
    kinds = [encoded(random, size) for _ in range(min(files, 50))]
    write = {"files": write_files, "table": write_table, "tar": write_shards}[options.source]
    write(folder, [kinds[n % len(kinds)] for n in range(files)], options.items)


def write_files(folder: Path, pictures: list[bytes], items: int) -> None:
    for n, picture in enumerate(pictures):
        (folder / f"{n}.jpg").write_bytes(picture)
    pq.write_table(
        table([f"{n % len(pictures)}.jpg" for n in range(items)]), folder / "items.parquet"
    )


def write_table(folder: Path, pictures: list[bytes], items: int) -> None:
    with pq.ParquetWriter(folder / "items.parquet", table([b""]).schema) as file:
        for first in range(0, items, ROWS):
            rows = range(first, min(first + ROWS, items))
            file.write_table(table([pictures[n % len(pictures)] for n in rows], first))


def write_shards(folder: Path, pictures: list[bytes], items: int) -> None:
    for first in range(0, items, ROWS):
        with tarfile.open(folder / f"{first // ROWS:05d}.tar", "w") as shard:
            for n in range(first, min(first + ROWS, items)):
                member = tarfile.TarInfo(f"{n}.jpg")
                member.size = len(pictures[n % len(pictures)])
                shard.addfile(member, io.BytesIO(pictures[n % len(pictures)]))


def table(images: list[str] | list[bytes], first: int = 0) -> pa.Table:
    ids = [str(n) for n in range(first, first + len(images))]
    return pa.table({"item_id": ids, "image": images, "text": pa.nulls(len(ids), pa.string())})


def encoded(random: np.random.Generator, size: tuple[int, int]) -> bytes:
    coarse = random.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    light = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC), np.float32)
    noisy = (light + random.normal(0, 4, light.shape)).clip(0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noisy).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


if __name__ == "__main__":
    main()

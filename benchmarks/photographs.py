"""Photograph-like JPEGs for the other scripts, drawn by all cores."""

from __future__ import annotations

import io
import multiprocessing
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from mmx.extract.stages.run import cores


def draw(folder: Path, count: int, distinct: int) -> None:
    """Photograph-like JPEGs (light, edges, noise), and an items.parquet that repeats them."""
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{number:06d}.jpg" for number in range(distinct)]
    with multiprocessing.get_context("spawn").Pool(cores()) as pool:
        pool.starmap(photograph, [(n, p) for n, p in enumerate(paths) if not p.exists()])
    names = [paths[number % distinct].name for number in range(count)]
    ids = [str(number) for number in range(count)]
    items = {"item_id": ids, "image": names, "text": pa.nulls(count, pa.string())}
    pq.write_table(pa.table(items), folder / "items.parquet")


def photograph(number: int, path: Path) -> None:
    """Write one JPEG of 300 to 800 px a side and quality 90."""
    random = np.random.default_rng([7, number])
    width, height = (int(side) for side in random.integers(300, 801, 2))
    picture = np.full((height, width, 3), 128, dtype=np.float32)
    for scale, strength in ((4, 80), (12, 50), (40, 30), (120, 14)):  # soft to fine
        shape = (height * scale // 800 + 2, width * scale // 800 + 2)
        for colour in range(3):
            coarse = Image.fromarray(random.normal(0, strength, shape).astype(np.float32))
            picture[..., colour] += np.asarray(coarse.resize((width, height), 3))
    y, x = np.mgrid[0:height, 0:width]
    for _ in range(8):  # straight edges
        angle, at = random.uniform(0, np.pi), random.uniform(-200, 500)
        distance = np.cos(angle) * x + np.sin(angle) * y - at
        picture[(distance > 0) & (distance < random.uniform(5, 200))] += random.normal(0, 35, 3)
    picture += random.normal(0, random.uniform(1, 7), (height, width, 1))
    buffer = io.BytesIO()
    Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90)
    path.write_bytes(buffer.getvalue())

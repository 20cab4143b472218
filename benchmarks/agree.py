"""How close a GPU's vectors are to those of the CPU, and lower precisions to float32.

    python benchmarks/agree.py --device cuda --model ViT-B-32 --images 512
    python benchmarks/agree.py --device cuda --model vlmo:base_plus --gpu-decode

Photograph-like JPEGs (those of benchmarks/extract.py, in --folder) through a network of random
weights. Prints the smallest cosine over the pictures of: float32 on the device against float32 on
the CPU, bfloat16 and float16 against float32 on the device, the compiled pass against the plain
one, and pictures that the device decoded against pictures that the CPU decoded.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from extract import Network, random_encoder
from photographs import draw

from mmx.extract.encoders.torch_encoder import TorchEncoder
from mmx.extract.pictures.decoding import pixels_of
from mmx.extract.pictures.images import ImageRule
from mmx.extract.pictures.jpegs import Jpegs

BATCH = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--model", default="ViT-B-32", help="open_clip architecture, or vlmo:SIZE")
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--gpu-decode", action="store_true")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "mmx-agree")
    options = parser.parse_args()
    draw(options.folder, options.images, options.images)
    data = [(options.folder / f"{n:06d}.jpg").read_bytes() for n in range(options.images)]
    here = random_encoder(options.folder, options.model, "cpu", "fast")
    there = random_encoder(options.folder, options.model, options.device, "fast")
    assert there.image_rule is not None
    pixels = np.stack([pixels_of(one, there.image_rule) for one in data])
    expected, found = vectors(here, pixels), vectors(there, pixels)
    print(f"{options.model} on {options.device}, {len(data)} pictures, smallest cosine:")
    show("float32, device : CPU", found, expected)
    for precision in ("bfloat16", "float16"):
        show(f"{precision} : float32", vectors(there.in_precision(precision), pixels), found)
    if options.compile and isinstance(there, TorchEncoder):
        for precision in ("float32", "bfloat16"):
            same = there if precision == "float32" else there.in_precision(precision)
            show(f"compiled, {precision} : float32", vectors(same.compiled(), pixels), found)
    if options.gpu_decode:
        decoded = np.stack(list(by_device(data, there.image_rule, options.device)))
        away = np.abs(decoded.astype(int) - pixels.astype(int)).mean((1, 2, 3))
        print(f"  decoded by the device: mean difference of a picture at most {away.max():.2f}")
        show("decoded by the device : by the CPU", vectors(there, decoded), found)


def vectors(encoder: Network, pixels: np.ndarray) -> np.ndarray:
    """(n, s, s, 3) uint8 → (n, d) float32."""
    parts = [pixels[first : first + BATCH] for first in range(0, len(pixels), BATCH)]
    return np.concatenate([encoder.encode_image(part) for part in parts])


def by_device(data: list[bytes], rule: ImageRule, device: str) -> Iterator[np.ndarray]:
    """Pixels; of those that the device leaves to the CPU, the CPU's."""
    jpegs = Jpegs(rule, device)
    left = 0
    for first in range(0, len(data), BATCH):
        part = data[first : first + BATCH]
        for one, pixels in zip(part, jpegs.pixels(part), strict=True):
            left += pixels is None
            yield pixels_of(one, rule) if pixels is None else pixels
    print(f"  {left} of {len(data)} pictures left to the CPU")


def show(what: str, found: np.ndarray, expected: np.ndarray) -> None:
    products = (found.astype(np.float64) * expected).sum(1)
    lengths = np.linalg.norm(found.astype(np.float64), axis=1) * np.linalg.norm(expected, axis=1)
    print(f"  {what:36s} {(products / lengths).min():.7f}", flush=True)


if __name__ == "__main__":
    main()

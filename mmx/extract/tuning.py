"""The batch size of a long job: a few sizes are timed on made-up pictures first."""

from __future__ import annotations

from time import perf_counter

import numpy as np

from mmx.errors import out_of_memory
from mmx.extract.encoder import Encoder
from mmx.extract.stages.passes import Lanes
from mmx.extract.stages.progress import Progress

TRIAL_FROM = 10_000  # items of a job, from which on the trial is worth its time
WORTH = 1.1  # another size must be so many times as fast as the usual one
BATCHES = 16  # of a part, at least
PART = 512  # rows of a part, at least


def batch_size(encoder: Encoder, items: int) -> int:
    """The fastest of the sizes that the encoder's hardware proposes; the usual one if unclear."""
    usual, *others = encoder.hardware.batch_sizes
    if encoder.image_rule is None or "image" not in encoder.card.dimensions or items < TRIAL_FROM:
        return int(usual)
    best, best_rate = usual, images_a_second(encoder, usual) * WORTH
    for size in others:
        rate = images_a_second(encoder, size)
        if rate > best_rate:
            best, best_rate = size, rate
    return int(best)


def part_size(batch: int) -> int:
    """Rows of a part: many batches, so that few of them are short."""
    return max(PART, BATCHES * batch)


def images_a_second(encoder: Encoder, size: int) -> float:
    """Images/s of the image pass on decoded pixels in all lanes; 0 when memory runs out."""
    assert encoder.image_rule is not None
    side = encoder.image_rule.size
    hardware, random = encoder.hardware, np.random.default_rng(0)
    try:
        pixels = hardware.pixel_buffer((size, side, side, 3))  # page-locked as in the job itself
        pixels[:] = random.integers(0, 256, pixels.shape, dtype=np.uint8)
        with hardware.session() as lanes, Lanes(lanes, Progress()) as running:
            _encode(encoder, pixels, running, lanes)  # the first choose kernels for this size
            start = perf_counter()
            _encode(encoder, pixels, running, lanes)
            return size * lanes / (perf_counter() - start)
    except Exception as error:
        if not out_of_memory(error):
            raise
        return 0.0


def _encode(encoder: Encoder, pixels: np.ndarray, lanes: Lanes, times: int) -> None:
    def run() -> None:
        encoder.encode_image(pixels)

    for _ in range(times):
        lanes.submit(run)
    lanes.drain()

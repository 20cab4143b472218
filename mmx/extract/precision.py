"""Lower precision only where it keeps the vectors: bfloat16 is measured against float32 first.

``auto`` takes the precision that the device computes with natively, encodes a sample of the
catalogue's first items in both, and goes back to float32 when the cosine of any one row is below
``LEAST``. A precision that was requested by name is measured too, and kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from mmx.errors import OptionError
from mmx.extract.encoder import Encoder
from mmx.extract.later import Later
from mmx.extract.stages.load import Loader
from mmx.extract.stages.passes import Halving

LEAST = 0.999  # cosine of a vector to the one of float32
SAMPLE = 16  # rows with a picture, and rows with a text
SEARCHED = 512  # items among which the sample is looked for


@dataclass
class PrecisionSample:
    """A few items, decoded."""

    pixels: list[np.ndarray] = field(default_factory=list)  # (s, s, 3) uint8 each
    texts: list[str] = field(default_factory=list)
    pairs: list[tuple[np.ndarray, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Choice:
    """The encoder to use, how exact it is, and a line for the user if there is one."""

    encoder: Encoder
    accuracy: dict[str, Any] | None = None
    note: str = ""


def choose(
    encoder: Encoder,
    wanted: str | None,
    sample: Callable[[], PrecisionSample],
    *,
    precision: str | None = None,
    accuracy: dict[str, Any] | None = None,
) -> Choice:
    """The encoder in the precision ``wanted``: "auto", one by name, or None for as it is.

    ``precision`` and ``accuracy`` are what an earlier run into the same store decided and
    measured: "auto" follows it. Raises OptionError for one that the encoder does not have.
    """
    fast = encoder.hardware.fast_precision
    target = encoder.card.precision if wanted is None else wanted
    if wanted == "auto":
        target = precision or fast
    if target == encoder.card.precision:
        return Choice(encoder)
    measures = precision != target or accuracy is None
    items = Later(sample) if measures else None  # read while the numbers are cast
    lower = encoder.in_precision(target)
    if lower is None:
        if wanted == "auto":
            return Choice(encoder)
        name = encoder.card.name
        raise OptionError(f"{name} computes in {encoder.card.precision}; drop --precision")
    if items is None:
        return Choice(lower, accuracy)
    measured = measure(encoder, lower, items.result())
    return _judged(encoder, lower, measured, free=wanted == "auto" and precision is None)


def _judged(encoder: Encoder, lower: Encoder, measured: dict[str, Any], free: bool) -> Choice:
    """Keep the lower precision, or go back if we are ``free`` to and it is not good enough."""
    cosines, name = measured["smallest_cosine"].values(), lower.card.precision
    worst = min(cosines, default=0.0)
    found = f"the smallest cosine to float32 is {worst:.5f}" if cosines else "no item to measure it"
    if worst >= LEAST:
        return Choice(lower, measured)
    if free:
        return Choice(encoder, None, f"{name} is not used: {found}, {LEAST} is needed; float32")
    return Choice(lower, measured, f"{name}: {found}; --precision float32 is exact")


def measure(reference: Encoder, lower: Encoder, sample: PrecisionSample) -> dict[str, Any]:
    """The smallest cosine of a row, for each modality that the sample has."""
    one, two = vectors(reference, sample), vectors(lower, sample)
    return {
        "precision": lower.card.precision,
        "reference": reference.card.precision,
        "rows": {modality: len(found) for modality, found in one.items()},
        "smallest_cosine": {m: round(smallest_cosine(one[m], two[m]), 6) for m in one},
    }


def smallest_cosine(one: np.ndarray, two: np.ndarray) -> float:
    """Of the rows of two (n, d) arrays; two zero rows agree, NaN never does."""
    a, b = one.astype(np.float64), two.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    same = (a == b).all(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosines = np.where(same, 1.0, (a * b).sum(axis=1) / lengths)
    return float(np.nan_to_num(cosines, nan=-1.0).min())


def vectors(encoder: Encoder, sample: PrecisionSample) -> dict[str, np.ndarray]:
    """The sample's vectors by modality, without a check that they are finite."""
    found, dimensions = {}, encoder.card.dimensions
    if "image" in dimensions and sample.pixels:
        pixels = np.stack(sample.pixels)
        found["image"] = _spread(encoder, len(pixels), lambda p: encoder.encode_image(pixels[p]))
    if "text" in dimensions and sample.texts:
        found["text"] = encoder.encode_text(encoder.tokenize(sample.texts))
    if "fused" in dimensions and sample.pairs:
        pixels = np.stack([picture for picture, _ in sample.pairs])
        tokens = encoder.tokenize([text for _, text in sample.pairs])
        found["fused"] = encoder.encode_fused(pixels, tokens)
    return found


def _spread(encoder: Encoder, rows: int, run: Callable[[slice], np.ndarray]) -> np.ndarray:
    """``run`` of ``rows`` rows, shared among the lanes."""
    fit = Halving()
    with encoder.hardware.session() as lanes, ThreadPoolExecutor(lanes) as pool:
        size = -(-rows // lanes)

        def share(start: int) -> np.ndarray:
            stop = min(start + size, rows)
            return fit(lambda span: run(slice(start + span.start, start + span.stop)), stop - start)

        return np.concatenate(list(pool.map(share, range(0, rows, size))))


def take_sample(loader: Loader, items: Iterable[tuple[str | None, str | None]]) -> PrecisionSample:
    """The first items that have what the encoder takes."""
    sample = PrecisionSample()
    pictures = SAMPLE if loader.image_rule is not None else 0
    texts = SAMPLE if loader.takes_text else 0
    found = loader.load_ahead(islice(items, SEARCHED), SAMPLE)
    for item in found:
        if item.pixels is not None and len(sample.pixels) < SAMPLE:
            sample.pixels.append(item.pixels)
            if item.text is not None:
                sample.pairs.append((item.pixels, item.text))
        if item.text is not None and len(sample.texts) < SAMPLE:
            sample.texts.append(item.text)
        if len(sample.pixels) >= pictures and len(sample.texts) >= texts:
            break
    found.close()
    return sample

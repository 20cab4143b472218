"""Peak memory and seconds of `mmx import amazon` on generated reviews, by default 2 GB of them.

    python benchmarks/import_large.py --out /tmp/large
    python benchmarks/import_large.py --out /tmp/large --gb 0.1 --k-core 5

The reviews and metadata are in the layout of 2018, in gzip, a text of 20 to 200 words each; users
and items as in the dumps: most have few, some have many. Prints one line of JSON. The files stay
under --out for another run.
"""

from __future__ import annotations

import argparse
import gzip
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

AT_ONCE = 20_000  # reviews
REVIEW = (
    '{{"overall": {}.0, "verified": true, "reviewTime": "05 13, 2014", "reviewerID": "A{:012X}", '
    '"asin": "B{:09d}", "style": {{"Size:": " Large"}}, "reviewerName": "J. D.", '
    '"reviewText": "{}", "summary": "{}", "unixReviewTime": {}}}\n'
)
ITEM = (
    '{{"category": ["Sports", "Outdoors"], "description": ["{}"], "title": "{}", "brand": "{}", '
    '"asin": "B{:09d}", "imageURLHighRes": ["https://images.example/{}.jpg"], '
    '"price": "${}.99"}}\n'
)


def main() -> None:
    """Generate what is not there, import it in a process of its own, say what that took."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for all files")
    parser.add_argument("--gb", type=float, default=2.0, help="10^9 bytes of reviews, unpacked")
    parser.add_argument("--k-core", type=int, default=5)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    reviews, meta = given.out / f"Made_{given.gb:g}.json.gz", given.out / "meta_Made.json.gz"
    if not reviews.exists():
        generate(reviews, meta, int(given.gb * 1e9))
    target = given.out / "dataset"
    line = [sys.executable, "-m", "mmx", "import", "amazon", reviews, meta, "--out", target]
    line += ["--k-core", given.k_core, "--overwrite", "--json"]
    start = time.perf_counter()
    done = subprocess.run(list(map(str, line)), check=True, stdout=subprocess.PIPE)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    found = json.loads(done.stdout)
    kept = {name: found[name] for name in ("read", "interactions", "users", "items")}
    measured = {"gb": given.gb, "peak_gib": round(peak, 3), "seconds": round(seconds)}
    print(json.dumps({**measured, **kept}))


def generate(reviews: Path, meta: Path, size: int) -> None:
    """Write reviews of at least ``size`` bytes, and a line for each item."""
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("etaoinshrdlu"), n)) for n in rng.integers(2, 10, 5000)]
    texts = [" ".join(rng.choice(words, n)) for n in rng.integers(20, 200, 3000)]
    users, items = size // 2000, size // 20_000
    written = 0
    temporary = reviews.with_suffix(".tmp")
    with gzip.open(temporary, "wt", compresslevel=1, encoding="utf-8") as file:
        while written < size:
            who = (users * rng.random(AT_ONCE) ** 3).astype(int).tolist()
            what = (items * rng.random(AT_ONCE) ** 4).astype(int).tolist()
            stars = rng.integers(1, 6, AT_ONCE).tolist()
            said = rng.integers(0, len(texts), AT_ONCE).tolist()
            when = rng.integers(1_300_000_000, 1_500_000_000, AT_ONCE).tolist()
            lines = [
                REVIEW.format(s, u, i, texts[t], texts[t][:30], w)
                for s, u, i, t, w in zip(stars, who, what, said, when, strict=True)
            ]
            block = "".join(lines)
            written += len(block)
            file.write(block)
    with gzip.open(meta, "wt", compresslevel=1, encoding="utf-8") as file:
        for n in range(items):
            text = texts[n % len(texts)]
            file.write(ITEM.format(text, text[:40], words[n % len(words)], n, n, n % 90))
    temporary.replace(reviews)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Write docs/zoo.md: the recommenders in a table, and how they compare with MMRec's.

    python scripts/zoo.py            # writes docs/zoo.md
    python scripts/zoo.py --check    # exit status 1 where it is not up to date

The rows are from the records (mmx/recommend/models/table.py) and the docstrings of the models,
the figures from benchmarks/measured/, which train_epoch.py and parity.py of benchmarks/ write.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from parity_table import markdown  # noqa: E402

from mmx.recommend.models import MODELS, ModelRecord  # noqa: E402
from mmx.recommend.notes import notes_of  # noqa: E402

PAGE = ROOT / "docs" / "zoo.md"
MEASURED = ROOT / "benchmarks" / "measured"
INPUTS = {"none": "interactions", "required": "interactions, item vectors"}
TITLE = """\
# The model zoo

Written by `python scripts/zoo.py` from the records and docstrings in `mmx/recommend/models/`:
change those. What the models are and how they are trained: [models.md](models.md).

"Released code" is the authors' program, or MMRec where it says so: where it differs from the paper,
and which of the two the default follows. Equations are without their numbers where the paper's
text was not available.
"""
COLUMNS = ("`--model`", "paper", "equations followed", "released code", "inputs", "cold items",
           "new users", "cost per epoch")  # fmt: skip
PARITY = """\
## Beside MMRec

```
git clone https://github.com/enoche/MMRec
python benchmarks/parity.py MMRec --json benchmarks/measured/parity.json
```

The largest |Δ| between `mmx` and MMRec ({commit}) on a small made-up world. Each program makes its
graphs from the same interactions and vectors; the weights of MMRec's model are drawn from
N(0, 0.3²) and copied; dropout and edge dropping are 0; all is in float64. Loss and gradients are of
one batch of 64 triples with repeated users and items, scores are of all users and items after a
gradient step. A parameter that one program does not train has gradient 0 there.

"Equal" is: with the numbered differences removed from MMRec's model at run time, each figure is
within 1e-5, and within 1e-5 of the largest entry where that is below 1; and each of them, left in
alone, makes more than that.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args()
    text = page()
    if options.check:
        if not PAGE.exists() or PAGE.read_text() != text:
            sys.exit("docs/zoo.md is not up to date; run python scripts/zoo.py")
    else:
        PAGE.write_text(text)


def page() -> str:
    """The whole page."""
    epochs, parity = _read("epoch.json"), _read("parity.json")
    rows = [_row(record, epochs) for record in MODELS.values()]
    head = [_cells(COLUMNS), _cells(["---"] * len(COLUMNS))]
    parts = [TITLE, _cost(epochs), "".join([*head, *rows])]
    if parity:
        parts += [
            PARITY.format(commit=f"commit {parity['mmrec']}"),
            "\n".join(markdown(parity)) + "\n",
        ]
    return "\n".join(parts)


def _row(record: ModelRecord, epochs: dict[str, Any]) -> str:
    notes = notes_of(record.module)
    cells = [f"`{record.name}`", record.citation, notes.equations, notes.released_code,
             INPUTS[record.features], _yes(record.cold_items), _yes(record.new_users),
             _epoch(record, epochs)]  # fmt: skip
    return _cells(cells)


def _cells(texts: Iterable[str]) -> str:
    """A line of a table."""
    texts = (one.rstrip(".").replace("``", "`").replace("|", "\\|") for one in texts)
    return "| " + " | ".join(texts) + " |\n"


def _yes(fact: bool) -> str:
    return "yes" if fact else "no"


def _cost(epochs: dict[str, Any]) -> str:
    """What the last column is of."""
    if not epochs:
        return "Cost is not measured yet (`benchmarks/train_epoch.py --json` writes it).\n"
    return (
        "Cost: seconds in float32 / bfloat16, and peak memory in float32, with "
        f"{epochs['threads']} thread(s) on\n{epochs['processor']} (`benchmarks/train_epoch.py`: "
        "19,445 users, 7,050 items, 118,551 pairs,\n4096-d images, 384-d texts, batch 2048). "
        "Of a closed form it is the whole training.\n"
    )


def _epoch(record: ModelRecord, epochs: dict[str, Any]) -> str:
    """One model's figures, as ``2.4 / 1.8 s, 0.9 GB``."""
    whole, half = (epochs.get(name, {}).get(record.name) for name in ("float32", "bfloat16"))
    if not whole:
        return "not measured"
    seconds = " / ".join(_short(one["seconds"]) for one in (whole, half) if one)
    return f"{seconds} s, {whole['gigabytes']:.1f} GB"


def _short(seconds: float) -> str:
    """Two digits, and all that are before the point."""
    return "< 0.01" if seconds < 0.01 else f"{seconds:.2g}" if seconds < 99.5 else f"{seconds:.0f}"


def _read(name: str) -> dict[str, Any]:
    file = MEASURED / name
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return found


if __name__ == "__main__":
    main()

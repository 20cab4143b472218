"""What a job trains on: read, checked, and hashed so that no other job continues from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mmx.data.dataset import Dropped, Items, check_csv, load_interactions, load_items
from mmx.data.id_order import hash_order
from mmx.data.splits import LeftOut, SplitRule, leak_line, split_interactions
from mmx.errors import OptionError
from mmx.mapped import Space
from mmx.recommend.contents import Content, contents_of
from mmx.recommend.controls import changed, controlled, having
from mmx.recommend.features import Features, load_features
from mmx.recommend.interactions import Interactions
from mmx.recommend.memory import memory_there

if TYPE_CHECKING:
    from mmx.recommend.end_to_end.catalogue import Catalogue
    from mmx.recommend.job import TrainJob

SHARE = 8  # of the memory that one matrix may take: the part of it that is not mapped
Log = Callable[[str], None]


@dataclass(frozen=True)
class Inputs:
    """Everything that a run is made from, except the options."""

    items: Items
    order: np.ndarray  # (items,) rows of the items table by the numbers of the items
    rule: SplitRule  # resolved
    split: pa.Table
    data: Interactions
    features: dict[str, Features]  # as --control leaves them
    origins: list[dict[str, object]]  # of features that were ready
    catalogue: Catalogue | None  # of --end-to-end, which makes its own
    dropped: Dropped | None
    left_out: list[LeftOut]
    contents: Content  # digests of all that was read; see ``mmx.recommend.contents``

    def lost(self) -> dict[str, Any]:
        """What config.json says of interactions that do not count."""
        return {
            "dropped": None if self.dropped is None else asdict(self.dropped),
            "left_out": [asdict(what) for what in self.left_out],
        }

    def digest(self, description: dict[str, Any]) -> str:
        """SHA-256 of a job: of ``description`` and of the contents of all that training reads.

        For features that are ready: ids, pairs, vectors (of a control, its arm and seed, which
        ``description`` has). End to end: ids, pairs, the encoder's card (weights, tokenizer, image
        rule), decoded pictures and texts.
        """
        job = hashlib.sha256(json.dumps(description, sort_keys=True, default=str).encode())
        for ids in (self.data.users.ids, self.data.items.ids):
            job.update(json.dumps(ids.to_pylist()).encode())
        held_out = () if self.data.fold_in is None else (self.data.fold_in,)
        for part in (self.data.train, self.data.valid, *held_out):
            job.update(part.keys.tobytes())
        read = {name: self.contents.get(name) for name in ("features", "catalogue")}
        job.update(json.dumps(read, sort_keys=True).encode())
        return job.hexdigest()


def load_inputs(job: TrainJob, device: str, log: Log, folder: Path) -> Inputs:
    """Read all that ``job`` names; ``log`` gets lines of what is left out and what items have.

    Vectors that would fill a good part of the memory are kept in unnamed files of ``folder``.
    Raises an MmxError of the kind that fits.
    """
    check_csv(job.csv, job.data, interactions=True)
    items = load_items(job.data, job.images, csv=job.csv)
    dropped: list[Dropped] = []
    interactions = load_interactions(
        job.data, items, unknown=job.unknown_items, dropped=dropped.append, csv=job.csv,
        rule=job.split,
    )  # fmt: skip
    rule = job.split.resolved(interactions)
    left_out: list[LeftOut] = []
    split = split_interactions(interactions, rule, left_out.append)
    for what in (*dropped, *left_out, leak_line(split, rule)):
        if what is not None:
            log(str(what))
    order = hash_order(items.ids)  # equal scores rank by it, not by a file's order
    data = Interactions.from_table(split, items.ids.take(pa.array(order)))
    catalogue = None
    if job.end_to_end is None:
        space = Space(folder, memory_there() // SHARE)
        features, origins = load_features(job.specs, data.items, space)
        pa.default_memory_pool().release_unused()  # what reading by parts has left
        contents = contents_of(interactions, data.items, features, None)
        features = _under_control(features, job, log)
        for origin in origins:
            origin["items_with_vector"] = int(features[str(origin["modality"])].present.sum())
    else:
        catalogue = job.end_to_end.open(items, order, device, job.training.seed, log)
        features, origins = catalogue.features(job.end_to_end.options.chunk), []
        contents = contents_of(interactions, data.items, {}, catalogue)
    for line in coverage(features):
        log(line)
    return Inputs(
        items, order, rule, split, data, features, origins, catalogue,
        dropped[0] if dropped else None, left_out, contents,
    )  # fmt: skip


def _under_control(features: dict[str, Features], job: TrainJob, log: Log) -> dict[str, Features]:
    """What the model gets in place of the vectors. Raises OptionError where that is the same."""
    if job.arm is None:
        return features
    found = controlled(features, job.arm, job.training.seed)
    count, have = changed(features, found), int(having(features).sum())
    if not count:
        raise OptionError(f"--control {job.arm} changes no vector: {have:,} items have one, too "
                          "few or all alike; drop it")  # fmt: skip
    log(f"control {job.arm}: the vectors of {count:,} of {have:,} items are not their own")
    return found


def coverage(features: dict[str, Features]) -> Iterator[str]:
    """How many items have a vector, modality by modality."""
    for name, found in features.items():
        have, of = int(found.present.sum()), len(found.present)
        yield f"{name}: {have:,} of {of:,} items have a vector"

"""What a job trains on: read, checked, and hashed so that no other job continues from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mmx.errors import OptionError
from mmx.mapped import Space
from mmx.recommend.contents import of_catalogue, of_features
from mmx.recommend.controls import changed, controlled, having
from mmx.recommend.features import Features, load_features
from mmx.recommend.memory import memory_there
from mmx.recommend.split_log import SplitLog, read_split

if TYPE_CHECKING:
    from mmx.recommend.end_to_end.catalogue import Catalogue
    from mmx.recommend.job import TrainJob
    from mmx.recommend.records import ModelRecord

SHARE = 8  # of the memory that one matrix may take: the part of it that is not mapped
Log = Callable[[str], None]


@dataclass(frozen=True)
class Inputs(SplitLog):
    """Everything that a run is made from, except the options."""

    features: dict[str, Features]  # as --control leaves them
    origins: list[dict[str, object]]  # of features that were ready
    catalogue: Catalogue | None  # of --end-to-end, which makes its own

    def weighted(self, ignored: bool) -> dict[str, str]:
        """What config.json says of the column ``weight``; nothing where there is none."""
        if ignored:
            return {"weights": "ignored"}
        return {"weights": "honoured"} if "weight" in self.split.column_names else {}

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
            job.update(b"" if part.weights is None else part.weights.tobytes())
        read = {name: self.contents.get(name) for name in ("features", "catalogue")}
        job.update(json.dumps(read, sort_keys=True).encode())
        return job.hexdigest()


def load_inputs(job: TrainJob, record: ModelRecord, device: str, log: Log, folder: Path) -> Inputs:
    """Read all that ``job`` names; ``log`` gets lines of what is left out and what items have.

    ``record`` is of its model. Vectors that would fill a good part of the memory are kept in
    unnamed files of ``folder``.
    Raises an MmxError of the kind that fits.
    """
    read = read_split(
        job.data, job.split, log, images=job.images, unknown=job.unknown_items, csv=job.csv,
        weights=not job.ignore_weights,
    )  # fmt: skip
    data = read.data
    if "weight" in read.split.column_names and not record.honours_weights:
        raise OptionError(f"{record.name} does not read the weights of the interactions; give "
                          "--ignore-weights, or choose another --model")  # fmt: skip
    catalogue = None
    if job.end_to_end is None:
        space = Space(folder, memory_there() // SHARE)
        features, origins = load_features(job.specs, data.items, space)
        pa.default_memory_pool().release_unused()  # what reading by parts has left
        more = of_features(features)
        features = _under_control(features, job, log)
        for origin in origins:
            origin["items_with_vector"] = int(features[str(origin["modality"])].present.sum())
    else:
        catalogue = job.end_to_end.open(read.items, read.order, device, job.training.seed, log)
        features, origins = catalogue.features(job.end_to_end.options.chunk), []
        more = of_catalogue(catalogue)
    if (weights := data.train.weights) is not None:
        log(f"weights of training pairs: from {weights.min():g} to {weights.max():g}")
    for line in coverage(features):
        log(line)
    whole = {**vars(read), "contents": read.contents | more}
    return Inputs(**whole, features=features, origins=origins, catalogue=catalogue)


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

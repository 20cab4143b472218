"""What coordinator and workers send each other: tables, errors and counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from mmx.extract.stages.progress import STAGES, Progress


def packed(table: pa.Table) -> bytes:
    """A table as Arrow's stream: the rows of a slice and no more, with the schema's metadata."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table.combine_chunks())
    return bytes(sink.getvalue())


def unpacked(data: bytes) -> pa.Table:
    """The table that was ``packed``."""
    with pa.ipc.open_stream(data) as stream:
        return stream.read_all()


Counts = dict[str, Any]


def counts(state: Progress) -> Counts:
    """What a worker has done so far, in plain values."""
    names = ("threads", "busy", "items", "waited", "examples")
    return {"done": state.done} | {name: dict(getattr(state, name)) for name in names}


def add_up(state: Progress, own: Progress, workers: Sequence[Counts]) -> None:
    """``state`` becomes the sum of its workers; only the coordinator's ``own`` writing counts."""
    state.done = sum(found["done"] for found in workers)
    for found in workers:
        for reason, details in found["examples"].items():
            for detail in details:
                state.example(reason, detail)
    for stage in STAGES:
        state.waited[stage] = own.waited[stage] + sum(w["waited"][stage] for w in workers)
        if stage == "writing":
            state.busy[stage], state.items[stage] = own.busy[stage], own.items[stage]
            continue
        for name in ("threads", "busy", "items"):
            getattr(state, name)[stage] = sum(found[name][stage] for found in workers)

"""What a worker must know to encode blocks as the coordinator would, and what it reports."""

from __future__ import annotations

import pickle
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import pyarrow as pa

from mmx.cache.card import EncoderCard
from mmx.cache.schema import inputs, store_schema
from mmx.errors import EncoderError, OptionError
from mmx.extract.encoder import Encoder
from mmx.extract.encoders import open_encoder
from mmx.extract.planning import Block, BlockRows, with_rows
from mmx.extract.sources.source import Source
from mmx.extract.stages.load import Loader
from mmx.extract.stages.progress import STAGES, Progress
from mmx.extract.stages.run import run_blocks
from mmx.extract.stages.write import Write
from mmx.logs import log_line


@dataclass(frozen=True)
class Recipe:
    """How to open the same encoder in any process: the arguments of ``open_encoder``."""

    model: str
    options: Mapping[str, Any] = field(default_factory=dict)  # neither device nor log

    def open(self, device: str, log: Callable[[str], None] = log_line) -> Encoder:
        """The encoder on ``device``; raises what ``open_encoder`` does."""
        return open_encoder(self.model, device=device, log=log, **self.options)


@dataclass(frozen=True)
class JobSpec:
    """What the coordinator has decided for all workers of a job."""

    card: EncoderCard
    dtype: str  # of the stored numbers
    source: Source
    batch_size: int  # items
    decode_threads: int | None  # of a process; None: its share of the cores
    compile: bool

    @classmethod
    def of(cls, card: EncoderCard, options: Any, source: Source, batch_size: int) -> JobSpec:
        """From the ExtractOptions of a job and what it found out."""
        return cls(card, options.dtype, source, batch_size, options.decode_threads, options.compile)

    def shared(self, count: int) -> JobSpec:
        """For each of ``count`` workers: the web sees no more of them than of one.

        Raises OptionError for a source that cannot go to another process.
        """
        source = self.source.share(count)
        try:
            pickle.dumps(source)
        except Exception as error:
            raise OptionError(
                f"the source of pictures cannot be sent to other processes ({error}); one "
                "process takes any, or make it a subclass of Source in a module"
            ) from error
        return replace(self, source=source)


class Engine(Protocol):
    """Encodes blocks elsewhere. See mmx.extract.stages.run.run_blocks for what it must keep to."""

    def run(
        self,
        spec: JobSpec,
        table: pa.Table,
        blocks: Sequence[Block],
        write: Write,
        state: Progress,
        progress: Callable[[Progress], None],
    ) -> None:
        """Give each of the ``blocks`` of the items ``table`` to ``write``, in any order."""
        ...


@dataclass(frozen=True)
class Here:
    """The engine of a single process: this one."""

    encoder: Encoder

    def run(
        self,
        spec: JobSpec,
        table: pa.Table,
        blocks: Sequence[Block],
        write: Write,
        state: Progress,
        progress: Callable[[Progress], None],
    ) -> None:
        """See ``Engine``."""
        loader = loader_for(self.encoder, spec.source)
        encode(self.encoder, loader, spec, with_rows(table, blocks), write, state, progress)


def loader_for(encoder: Encoder, source: Source) -> Loader:
    """For what the encoder takes; JPEGs on its own device where its image rule says so."""
    rule, jpegs = encoder.image_rule, None
    if rule is not None and rule.decode == "gpu":
        from mmx.extract.pictures.jpegs import Jpegs  # and torch

        jpegs = Jpegs(rule, encoder.hardware.device)
    return Loader(source, rule, "text" in inputs(encoder.card), jpegs)


def encode(
    encoder: Encoder,
    loader: Loader,
    spec: JobSpec,
    blocks: Iterable[BlockRows],
    write: Write,
    state: Progress,
    progress: Callable[[Progress], None] = lambda state: None,
) -> None:
    """``run_blocks`` as ordered."""
    run_blocks(
        encoder, loader, blocks, store_schema(encoder.card, spec.dtype), write,
        batch_size=spec.batch_size, decode_threads=spec.decode_threads, state=state,
        progress=progress,
    )  # fmt: skip


class Worker:
    """A worker's own encoder, opened once and used for many blocks."""

    def __init__(self, recipe: Recipe, spec: JobSpec, device: str, cores: int, share: int) -> None:
        """``cores`` of the machine are this worker's; torch gives up all but one ``share``-th.

        Raises EncoderError when the encoder is not the coordinator's.
        """
        encoder = recipe.open(device)
        if encoder.card.precision != spec.card.precision:
            encoder = encoder.in_precision(spec.card.precision) or encoder
        differing = spec.card.differences(encoder.card)
        if differing:
            raise EncoderError(
                f"a worker on {device} opened another {spec.card.name}: it differs in "
                f"{', '.join(differing)}; give all machines the same --weights and mmx"
            )
        if share > 1 and "torch" in sys.modules:
            import torch

            torch.set_num_threads(max(1, torch.get_num_threads() // share))
        self.encoder = encoder.compiled() if spec.compile else encoder
        self.spec = replace(spec, decode_threads=spec.decode_threads or cores)
        self.loader = loader_for(encoder, spec.source)

    def run(
        self,
        blocks: Iterable[BlockRows],
        write: Write,
        state: Progress,
        progress: Callable[[Progress], None] = lambda state: None,
    ) -> None:
        """Encode blocks as they come."""
        encode(self.encoder, self.loader, self.spec, blocks, write, state, progress)


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


def sendable(error: BaseException) -> BaseException:
    """The error with its traceback in words, since pickle keeps no other."""
    error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


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

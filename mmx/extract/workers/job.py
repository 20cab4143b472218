"""What a worker must know to encode blocks as the coordinator would."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import pyarrow as pa

from mmx.cache.card import EncoderCard
from mmx.cache.schema import inputs, store_schema
from mmx.devices import described
from mmx.errors import EncoderError, OptionError
from mmx.extract.encoder import Encoder
from mmx.extract.encoders import open_encoder
from mmx.extract.planning import Block, BlockRows, with_rows
from mmx.extract.sources.source import Source
from mmx.extract.stages.load import Loader
from mmx.extract.stages.progress import Progress
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
    decode_processes: int | None = 0  # of a process; None: automatic
    items: int = 0  # of all blocks together

    @classmethod
    def of(
        cls, card: EncoderCard, options: Any, source: Source, batch_size: int, items: int = 0
    ) -> JobSpec:
        """From the ExtractOptions of a job, what it measured, and how many items it encodes."""
        return cls(
            card, options.dtype, source, batch_size, options.decode_threads, options.compile,
            options.decode_processes, items,
        )  # fmt: skip

    def shared(self, count: int) -> JobSpec:
        """For each of ``count`` workers, which together keep a host's limits as one would.

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
        return replace(self, source=source, items=self.items // count)


@dataclass(frozen=True)
class EncodeJob:
    """What an engine is given: blocks to encode, and where their rows go."""

    spec: JobSpec
    table: pa.Table  # of items: item_id, image, text
    blocks: Sequence[Block]  # rows of the table
    write: Write  # called in one thread, a block at a time
    state: Progress  # the engine counts in it
    progress: Callable[[Progress], None]  # called with ``state`` when it has changed


class Engine(Protocol):
    """Encodes blocks elsewhere. Batches must be those of mmx.extract.stages.run.run_blocks."""

    def run(self, job: EncodeJob) -> None:
        """Give each block of the job to its ``write``, in any order."""
        ...

    def where(self) -> str:
        """Which device or devices encode, for a line that the user reads."""
        ...


@dataclass(frozen=True)
class Here:
    """The engine of a single process: this one."""

    encoder: Encoder

    def run(self, job: EncodeJob) -> None:
        """See ``Engine``."""
        loader, blocks = loader_for(self.encoder, job.spec.source), with_rows(job.table, job.blocks)
        encode(self.encoder, loader, job.spec, blocks, job.write, job.state, job.progress)

    def where(self) -> str:
        """See ``Engine``."""
        device = self.encoder.hardware.device
        return device if isinstance(device, str) else described(device)  # a text: without torch


def loader_for(encoder: Encoder, source: Source) -> Loader:
    """Loads what the encoder takes; JPEGs on its own device where its image rule says so."""
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
    """``run_blocks`` with the numbers of the spec."""
    run_blocks(
        encoder, loader, blocks, store_schema(encoder.card, spec.dtype), write,
        batch_size=spec.batch_size, decode_threads=spec.decode_threads,
        decode_processes=spec.decode_processes, state=state, progress=progress,
    )  # fmt: skip


class Worker:
    """A worker's own encoder, opened once and used for many blocks."""

    def __init__(self, recipe: Recipe, spec: JobSpec, device: str, cores: int, share: int) -> None:
        """``cores`` of the machine are this worker's; torch keeps one ``share``-th of its threads.

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

    def run(self, blocks: Iterable[BlockRows], write: Write, state: Progress) -> None:
        """Encode blocks as they come."""
        state.total = self.spec.items
        encode(self.encoder, self.loader, self.spec, blocks, write, state)

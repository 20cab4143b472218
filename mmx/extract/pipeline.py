"""Stage 1: items in, embedding store out.

The items table is cut into blocks of fixed size. Threads read, decode and resize ahead while
the encoder works; a block whose rows are all encoded becomes a part, written atomically while the
next is encoded. Batches never cross a block, so that a killed and continued run encodes the very
same batches as an undisturbed one and ends in the same bytes.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from mmx.atomic import Claim, check_target, claimed
from mmx.cache.card import EncoderCard
from mmx.cache.kind import STORE
from mmx.cache.merge import RowSource, merge
from mmx.cache.parts import Parts, folder_of
from mmx.cache.plan import StorePlan, locate, make_plan
from mmx.cache.remote import built_here
from mmx.cache.schema import inputs, metadata, status_columns, store_schema
from mmx.cache.store import is_store, open_store, read_through
from mmx.data.dataset import Items
from mmx.errors import OptionError, StoreError
from mmx.extract import tuning
from mmx.extract.encoder import Encoder, check_encoder
from mmx.extract.hashing import present_states
from mmx.extract.opening import Opening, card_without_opening, rule_of
from mmx.extract.options import ExtractOptions, ExtractReport
from mmx.extract.pictures.images import ImageRule
from mmx.extract.planning import pairs, pending_blocks
from mmx.extract.precision import SEARCHED, PrecisionSample, choose, take_sample
from mmx.extract.reasons import PASSING
from mmx.extract.settings import ACCURACY, Settings, block_of, read_previous, read_settings
from mmx.extract.sources import source_for
from mmx.extract.sources.source import Source, as_source
from mmx.extract.stages.load import Loader
from mmx.extract.stages.progress import Progress
from mmx.extract.target import check_items, check_store
from mmx.extract.workers.job import EncodeJob, Engine, Here, JobSpec
from mmx.files import Place, as_path, as_place
from mmx.logs import log_line


def extract(
    items: Items,
    encoder: Encoder | Opening,
    out: Place | str,
    options: ExtractOptions | None = None,
    progress: Callable[[Progress], None] = lambda p: None,
    source: Source | Callable[[str], bytes] | None = None,
    work: Path | str | None = None,
    engine: Engine | None = None,
    log: Callable[[str], None] = log_line,
) -> ExtractReport:
    """Encode what ``out`` does not hold yet and leave a complete store there.

    An ``Opening`` in place of an encoder is opened, with its engine, when it is needed.
    ``out`` may be a URL; ``work`` is then where the parts are kept (mmx.cache.remote).
    ``source`` is a Source, or a function from what the column ``image`` says to the bytes of the
    picture; by default ``source_for(items)``.
    ``engine`` encodes in other processes (mmx.extract.workers), None in this one; ``log`` gets
    a line that says who encodes on which device. Raises DataError when no item has what the
    encoder reads; StoreError when ``out`` is of another encoder or of other items; TargetError
    when it is not a store, is being written by another process, or cannot be written;
    EncoderError when vectors have a wrong shape or are not finite.
    """
    if not isinstance(encoder, Opening):
        check_encoder(encoder)
    start, options = time.perf_counter(), options or ExtractOptions()
    target, work = as_place(out), None if work is None else as_path(work)
    if options.max_file_rows is not None and not isinstance(target, Path):
        raise OptionError(f"{target} is written as one file; drop --max-file-rows")
    with built_here(target, work, from_scratch=options.overwrite) as here:
        job = _Job(items, encoder, here, options, as_source(source or source_for(items)), engine)
        job.log = log
        del encoder  # the job may continue with a lighter one
        job.one_file = here != target
        report = job.run(progress)
    report.store, report.seconds = target, time.perf_counter() - start
    return report


@dataclass
class _Job:
    """One extraction: what is fixed at its start, and its three stages."""

    items: Items
    given: Encoder | Opening
    out: Path
    options: ExtractOptions
    source: Source
    engine: Engine | None = None
    one_file: bool = False  # whatever its size
    log: Callable[[str], None] = log_line

    def __post_init__(self) -> None:
        if not len(self.items):
            raise StoreError(f"{self.items.path} has no rows; there is nothing to extract")
        check_target(self.out, STORE, overwrite=True)
        self.state = Progress()
        self.settings: Settings | None = None
        self.encoder: Encoder | None = None
        self.before = read_previous(self.out, overwrite=self.options.overwrite)
        card = self._known_card()
        if card is None:
            self._open()
        else:
            check_items(self.items, card)
            self._uses(card, rule_of(card))
            self.accuracy = self.before.accuracy
        if self.items.left_out:
            self.state.remark(self.items.left_out)

    def _known_card(self) -> EncoderCard | None:
        """The card of this job, where there may be nothing to encode; None: open the encoder."""
        options = self.options
        if not isinstance(self.given, Opening) or options.overwrite or options.compile:
            return None
        if folder_of(self.out).exists() or not is_store(self.out):
            return None
        there = open_store(self.out)
        if there.dtype != options.dtype:
            return None
        return card_without_opening(self.given, self.before, there.card, options.precision)

    def _open(self) -> None:
        """The encoder and the engine of this job, opened if they are not."""
        encoder = self.given
        del self.given  # which the job need not keep: it may continue with a lighter one
        if isinstance(encoder, Opening):
            self.engine, encoder = encoder.open()
        check_items(self.items, encoder.card)
        self.encoder = self._chosen(encoder)
        self._uses(self.encoder.card, self.encoder.image_rule)

    def _uses(self, card: EncoderCard, rule: ImageRule | None) -> None:
        """What follows from the encoder."""
        self.card, self.schema = card, store_schema(card, self.options.dtype)
        self.loader = Loader(self.source, rule, "text" in inputs(card))

    def run(self, progress: Callable[[Progress], None]) -> ExtractReport:
        """All stages."""
        # what is there was made by this very encoder, or is to be overwritten
        with claimed(self.out, STORE, overwrite=True) as target:
            if not self.options.overwrite:
                check_store(self.out, self.card, self.options.dtype)
            report = self._extract(target, progress)
        self.fill(report)
        report.statuses = open_store(self.out).status_counts()
        return report

    def _extract(self, target: Claim, progress: Callable[[Progress], None]) -> ExtractReport:
        with Parts(
            self.out, self.card, self.options.dtype, from_scratch=self.options.overwrite
        ) as parts:
            if damaged := parts.drop_damaged():
                self.state.remark(f"{damaged} damaged parts deleted, their items encoded again")
            plan = self.plan(parts, progress)
            report = ExtractReport(
                self.out, len(self.items), int(plan.encode.sum()), plan.reused, plan.removed
            )
            if plan.encode.any() or parts.files():
                self.encode(plan, parts, progress)
            if self.settings or plan.moves or self._names_other_items():
                self.merge(target, parts, progress)
            parts.remove()
        return report

    def _chosen(self, encoder: Encoder) -> Encoder:
        """The encoder in the precision of this job; keeps what is known of its accuracy."""
        before = self.before
        choice = choose(
            encoder, self.options.precision, lambda: self._sample(encoder),
            precision=before.precision, accuracy=before.accuracy,
        )  # fmt: skip
        self.state.note = choice.note
        same = before.precision == choice.encoder.card.precision
        self.accuracy = choice.accuracy or (before.accuracy if same else None)
        return choice.encoder.compiled() if self.options.compile else choice.encoder

    def _sample(self, encoder: Encoder) -> PrecisionSample:
        loader = Loader(self.source, encoder.image_rule, "text" in inputs(encoder.card))
        return take_sample(loader, pairs(self.items.table.slice(0, SEARCHED)))

    def plan(self, parts: Parts, progress: Callable[[Progress], None]) -> StorePlan:
        """Hash the inputs of items with a finished row and decide what to encode."""
        source = self._finished(parts)
        names = ["item_id", "content_hash", *status_columns(self.card)]
        finished = source.columns(names)
        source.close()
        have = pc.is_in(self.items.ids, value_set=finished["item_id"].combine_chunks())
        here = np.flatnonzero(have.to_numpy())
        if finished.num_rows and not len(here):
            raise StoreError(
                f"the finished rows of {self.out} are of other items, none is in "
                f"{self.items.path}; set --out elsewhere, or --overwrite"
            )
        hashes, unread = present_states(
            self.loader, self.items.table, here, self.options.decode_threads, self.state, progress
        )
        retry = self.options.retry_failed
        plan = make_plan(
            self.items.ids, finished, hashes, unread, retry_failed=retry, passing=PASSING
        )
        if plan.removed and not (self.options.prune or self.options.overwrite):
            raise StoreError(
                f"{self.out} holds {plan.removed} items that {self.items.path} lacks; "
                "--prune drops them, --out elsewhere keeps them"
            )
        return plan

    def encode(self, plan: StorePlan, parts: Parts, progress: Callable[[Progress], None]) -> None:
        """Encode the planned rows block by block; each block becomes one part."""
        if self.encoder is None:
            self._open()
            check_store(self.out, self.card, self.options.dtype)
        assert self.encoder is not None
        self.state.stage, self.state.done, self.state.total = "encode", 0, int(plan.encode.sum())
        progress(self.state)
        self.settings = self._settings(parts, self.encoder)
        blocks = pending_blocks(plan.encode, self.settings.part_size, parts.next_number())
        spec = JobSpec.of(
            self.card, self.options, self.source, self.settings.batch_size, self.state.total
        )
        engine = self.engine or Here(self.encoder)
        self.encoder = None  # its memory is for the workers, where there are some
        if blocks:
            self.log(f"{self.card.name} on {engine.where()}, {self.card.precision}")
            for file in self._old():  # damage is found before hours of encoding, not after
                read_through(file)
            table, write = self.items.table, parts.write
            engine.run(EncodeJob(spec, table, blocks, write, self.state, progress))

    def _settings(self, parts: Parts, encoder: Encoder) -> Settings:
        """As requested, or as this job decided before it was killed, or a new choice."""
        before, options = read_settings(parts.directory), self.options
        batch = options.batch_size or (before and before.batch_size)
        batch = batch or tuning.batch_size(encoder, self.state.total)
        part = options.part_size or (before and before.part_size) or tuning.part_size(batch)
        settings = Settings(batch, part, self.accuracy)
        settings.write(parts.directory)
        return settings

    def merge(self, target: Claim, parts: Parts, progress: Callable[[Progress], None]) -> None:
        """Gather the rows of all items, in the order of the items table, into the store."""
        self.state.stage, self.state.done, self.state.total = "merge", 0, len(self.items)

        def advance(done: int) -> None:
            self.state.done = done
            progress(self.state)

        source = self._finished(parts)
        rows = locate(self.items.ids, source.columns(["item_id"]))
        facts = metadata(self.card, self.options.dtype, self.items.fingerprint())
        if self.accuracy:
            facts[ACCURACY] = json.dumps(self.accuracy, sort_keys=True)
        if self.settings is None:  # no vector is new: keep the versions of the old ones
            facts["mmx.versions"] = json.dumps(open_store(self.out).versions, sort_keys=True)
        merge(
            target, source, rows, facts, progress=advance,
            block=(self.settings or self.options).part_size or block_of(self.out),
            max_file_rows=sys.maxsize if self.one_file else self.options.max_file_rows,
            max_file_bytes=sys.maxsize if self.one_file else None,
        )  # fmt: skip
        source.close()

    def fill(self, report: ExtractReport) -> None:
        """Write into the report how it went."""
        state = self.state
        report.bottleneck, report.note = state.bottleneck, state.note
        report.rates = {stage: state.rate(stage) for stage in state.busy}
        report.waited, report.examples = dict(state.waited), dict(state.examples)
        report.precision, report.accuracy = self.card.precision, self.accuracy
        report.batch_size = self.settings.batch_size if self.settings else None

    def _names_other_items(self) -> bool:
        return open_store(self.out).items_fingerprint != self.items.fingerprint()

    def _finished(self, parts: Parts) -> RowSource:
        """All finished rows, the newest last."""
        return RowSource([*self._old(), *parts.files()], self.schema)

    def _old(self) -> tuple[Place, ...]:
        old = self.out.exists() and not self.options.overwrite
        return open_store(self.out).files if old else ()

"""What cells are made from: datasets, stores, fine-tuned encoders. Each is made once."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from mmx.atomic import file_sha256
from mmx.data.dataset import Items, load_interactions, load_items
from mmx.data.splits import split_interactions
from mmx.data.tables import find_table
from mmx.devices import AUTO
from mmx.errors import MmxError, RunError
from mmx.experiments.datasets import Dataset
from mmx.experiments.journal import Journal
from mmx.experiments.plan import EndToEndEntry, Extraction, FineTuning, Plan
from mmx.extract.encoders import identity, open_encoder
from mmx.extract.finetune import tune_encoder
from mmx.extract.naming import default_name
from mmx.extract.options import ExtractOptions
from mmx.extract.pipeline import extract
from mmx.files import Place
from mmx.own.code import Code
from mmx.recommend.features import FeatureSpec
from mmx.sample.catalogue import write_sample

PART = 512  # rows of a store's part: an extraction that wrote one has advanced


@dataclass
class Artifacts:
    """Makes what the plan's cells need, under ``out``, and says what they depend on."""

    plan: Plan
    out: Path
    journal: Journal
    device: str = AUTO
    log: Callable[[str], None] = lambda line: None
    code: tuple[Code, ...] = ()  # that encoders of the user's own may run
    failed: dict[str, Exception] = field(default_factory=dict)  # not tried again for every cell

    def data(self, name: str) -> Path:
        """The dataset's directory; the sample is drawn when it is not there."""
        entry = self.plan.datasets[name]
        if entry.sample is None:
            assert entry.data is not None
            return entry.data
        path = self.out / "data" / f"{name}-{digest(asdict(entry.sample))}"
        if not path.exists():
            self.log(f"drawing the sample {name}")
            write_sample(path, **asdict(entry.sample))
        return path

    def items(self, name: str) -> Items:
        """The dataset's catalogue."""
        return load_items(self.data(name), self.plan.datasets[name].images)

    def dataset_identity(self, name: str) -> Any:
        """What tells one content of a dataset from another, wherever it is."""
        entry = self.plan.datasets[name]
        if entry.sample is not None:
            return asdict(entry.sample)
        data = self.data(name)
        tables = [content(find_table(data, table)) for table in ("items", "interactions")]
        return tables if entry.images is None else [*tables, str(entry.images)]

    def features_identity(self, dataset: str, name: str) -> Any:
        """What tells one features entry from another: ready stores by content, others by spec."""
        entry = self.plan.features[name]
        ready = [
            [content(spec.path), sorted(spec.modalities)] for spec in self._ready(dataset, name)
        ]
        made = [
            self._spelt(spec) for spec in (*entry.extract, entry.finetune, entry.end_to_end) if spec
        ]
        return [ready, made]

    def specs(self, dataset: str, name: str) -> list[FeatureSpec]:
        """The stores of a features entry, extracted or fine-tuned first where need be."""
        entry = self.plan.features[name]
        made = [self._extracted(dataset, spec) for spec in entry.extract]
        if entry.finetune:
            made.append(self._tuned(dataset, entry.finetune))
        return [*self._ready(dataset, name), *made]

    def _ready(self, dataset: str, name: str) -> list[FeatureSpec]:
        texts = self.plan.features[name].stores
        return [FeatureSpec.parse(text.replace("{dataset}", dataset)) for text in texts]

    def _tuned(self, dataset: str, spec: FineTuning) -> FeatureSpec:
        """Fine-tune, then extract with what was learned."""
        learns_pairs = "co-interaction" in spec.options.objectives  # of training alone
        rule = [self.plan.datasets[dataset].rule.described()] if learns_pairs else []
        key = digest([self.dataset_identity(dataset), asdict(replace(spec, use=())), *rule])
        run = self.out / "finetuned" / f"{dataset}-{_slug(spec.model)}-{key}"
        if not (run / "metrics.json").exists():  # written when it is finished
            self._once(run, lambda advanced: self._finetune(dataset, spec, run, advanced))
        again = Extraction(spec.model, run, spec.tokenizer, use=spec.use)
        return self._extracted(dataset, again, label="tuned")

    def _finetune(
        self, dataset: str, spec: FineTuning, run: Path, advanced: Callable[[], None]
    ) -> None:
        def progress(state: Any) -> None:
            advanced()
            self.log(f"fine-tuning {spec.model}: epoch {state.epoch} of {state.epochs}")

        entry, split = self.plan.datasets[dataset], None
        items = self.items(dataset)
        self.log(f"fine-tuning {spec.model} on {dataset}")
        if "co-interaction" in spec.options.objectives:
            log = self._log(dataset, entry)
            split = split_interactions(log, entry.rule, lambda what: self.log(str(what)))
        encoder = self._encoder(spec)
        pixels = self.out / "cache" / "pixels"
        tune_encoder(
            items, encoder, run, spec.options, split=split, pixels=pixels, progress=progress,
            log=self.log,
        )  # fmt: skip

    def _log(self, dataset: str, entry: Dataset) -> Any:
        return load_interactions(
            self.data(dataset),
            self.items(dataset),
            unknown=entry.unknown_items,
            dropped=lambda what: self.log(str(what)),
            rule=entry.rule,
        )

    def _extracted(self, dataset: str, spec: Extraction, label: str = "") -> FeatureSpec:
        encoded = {**self._spelt(replace(spec, use=())), "batch_size": None}
        if label and spec.weights:  # made here, under a name that says all; --out may move
            encoded["weights"] = spec.weights.name
        key = digest([self.dataset_identity(dataset), encoded])
        name = "-".join(
            part for part in (dataset, _slug(default_name(spec.model)), label, key) if part
        )
        store = self.out / "cache" / f"{name}.parquet"
        if not store.exists() or store.with_name(f"{store.name}.parts").exists():
            self._once(store, lambda advanced: self._extract(dataset, spec, store, advanced))
        return FeatureSpec(store, spec.use)

    def _extract(
        self, dataset: str, spec: Extraction, store: Path, advanced: Callable[[], None]
    ) -> None:
        def progress(state: Any) -> None:
            if state.stage == "encode":
                if state.done >= PART:
                    advanced()
                self.log(f"extracting {spec.model} for {dataset}: {state.done} of {state.total}")

        names = ("head", "image_size", "resize", "resize_mode")
        options = {name: getattr(spec, name) for name in names}
        options = {name: value for name, value in options.items() if value is not None}
        self.log(f"extracting {spec.model} for {dataset}")
        encoder = self._encoder(
            spec, precision=spec.precision, modalities=spec.modalities, **options
        )
        how = ExtractOptions(batch_size=spec.batch_size, part_size=PART, dtype=spec.dtype)
        extract(self.items(dataset), encoder, store, how, progress)

    def _spelt(self, spec: Extraction | FineTuning | EndToEndEntry) -> dict[str, Any]:
        """All that the plan says of an encoder; of code its name and SHA-256, not where it is."""
        found = asdict(spec)
        code = identity(spec.model, self.code) if isinstance(spec, Extraction) else None
        return found if code is None else {**found, "model": code}

    def _encoder(self, spec: Extraction | FineTuning, **options: Any) -> Any:
        if spec.tokenizer is not None:
            options["tokenizer"] = spec.tokenizer
        return open_encoder(
            spec.model,
            weights=spec.weights,
            device=self.device,
            code=self.code,
            log=self.log,
            **options,
        )

    def _once(self, target: Path, make: Callable[[Callable[[], None]], None]) -> None:
        """Make ``target``; a failure is kept, and raised again each time."""
        name = str(target.relative_to(self.out))
        if name not in self.failed:
            try:
                with self.journal.attempt(name) as advanced:
                    make(advanced)
            except Exception as error:
                self.failed[name] = error
        if name in self.failed:
            raise RunError(f"{name}: {one_line(self.failed[name])}") from self.failed[name]


def one_line(error: BaseException) -> str:
    """The reason of a failure, as the table of failures has it."""
    words = " ".join(str(error).split()) or "no message"
    return words if isinstance(error, MmxError) else f"{type(error).__name__}: {words}"


def digest(value: Any) -> str:
    """Ten hexadecimal digits of anything JSON can write."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def content(path: Place) -> str:
    """SHA-256 of a file or, file by file, of a folder. Raises RunError when there is none."""
    if not isinstance(path, Path):
        raise RunError(f"{path}: a plan takes files of this machine; copy it here")
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    try:
        return digest([_file_hash(file, file.stat().st_mtime_ns) for file in files])
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}; correct the plan's path") from error


@cache
def _file_hash(path: Path, changed: int) -> str:
    """Of one file as it was last ``changed``; every cell needs it."""
    return file_sha256(path)


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.]+", "-", text).strip("-.")

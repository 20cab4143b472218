"""``mmx.finetune``: a dataset and the name of an encoder in, a fine-tuned encoder out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from mmx.atomic import check_target
from mmx.data.csvs.format import PLAIN, CsvFormat
from mmx.data.dataset import Items, check_csv, load_interactions, load_items
from mmx.data.splits import SplitRule, split_interactions
from mmx.devices import AUTO, described
from mmx.errors import OptionError
from mmx.extract.encoder import Encoder, check_encoder
from mmx.extract.encoders import open_encoder, refuse_own
from mmx.extract.finetune.ahead import check_process_count
from mmx.extract.finetune.keeper import TUNED
from mmx.extract.finetune.loop import tune_encoder
from mmx.extract.finetune.options import FinetuneOptions, FinetuneProgress
from mmx.extract.naming import default_store
from mmx.extract.sources.web import Web
from mmx.files import Place, as_path, parse_json
from mmx.kinds import must_be
from mmx.logs import log_line
from mmx.processes import Processes


@dataclass(frozen=True)
class FinetuneReport:
    """A finished fine-tuning."""

    path: Path  # the run, which ``weights`` of ``mmx.encode`` takes
    best_epoch: int
    valid: dict[str, float]  # of the best epoch: loss, recall@1, recall@5, recall@10
    train_pairs: int
    valid_pairs: int
    truncated_share: float  # of the texts, those that are longer than the encoder reads


def finetune(
    data: Items | Place | str,
    model: str | Encoder,
    out: Path | str | None = None,
    options: FinetuneOptions | None = None,
    *,
    images: Place | str | None = None,
    csv: CsvFormat = PLAIN,
    weights: Path | str | None = None,
    tokenizer: Path | str | None = None,
    device: str | None = None,
    unknown_items: str | None = None,
    pixels: Path | str = Path("cache/pixels"),
    web: Web | None = None,
    decode_processes: int | None = None,
    overwrite: bool = False,
    progress: Callable[[FinetuneProgress], None] = lambda state: None,
    log: Callable[[str], None] = log_line,
) -> FinetuneReport:
    """Fine-tune an encoder on the pictures and texts of a catalogue; what ``mmx finetune`` does.

    ``data`` is a dataset directory, a table, tar shards, or what ``load_items`` returned;
    ``images`` the folder of its pictures and ``csv`` how its tables are written. ``model`` is the
    name of an encoder (clip…, vlmo…), opened on ``device`` (by default "auto", a GPU where there
    is one) with ``weights`` and ``tokenizer``; or an open encoder, whose parameters are changed.
    ``out`` is by default ``runs/MODEL-tuned``. The objective co-interaction reads the dataset's
    interactions, and ``unknown_items`` ("error" or "drop") is what those mean whose item is not
    in the table. Decoded pictures are kept in ``pixels``; ``web`` says how pictures are fetched.
    ``decode_processes`` augment them beside the training; 0: none, None: by cores on a GPU.

    Validation loss picks the epoch. A killed run continues with the same call; with ``overwrite``
    an existing run at ``out`` is replaced when the new one is done. ``progress`` is called after
    each epoch, ``log`` with lines on what is left out and what takes long. Raises an MmxError of
    the kind that fits; see ``mmx.extract.finetune.loop.tune_encoder``.
    """
    options, web = options or FinetuneOptions(), web or Web()
    for name, value, kind in (
        ("options", options, FinetuneOptions), ("csv", csv, CsvFormat), ("web", web, Web),
        ("progress", progress, Callable), ("log", log, Callable), ("overwrite", overwrite, bool),
    ):  # fmt: skip
        must_be(name, value, kind)
    check_process_count(decode_processes, augment=options.augment)
    if not isinstance(model, str):
        check_encoder(model)
    target = _target(out, model, weights)
    check_target(target.resolve() if target.is_symlink() else target, TUNED, overwrite)
    logged = "co-interaction" in options.objectives
    if unknown_items is not None and not logged:
        raise OptionError("--unknown-items goes with --objective co-interaction")
    items = _items(data, images, csv, logged)
    split = None
    if logged:
        folder = items.directory if isinstance(data, Items) else data
        split = _split(folder, items, csv, unknown_items or "error", options.seed, log)
    encoder = _encoder(model, weights, tokenizer, device, log)
    log(f"{encoder.card.name} on {described(encoder.hardware.device)}, {options.precision}")
    config = tune_encoder(
        items, encoder, target, options, overwrite=overwrite, split=split, pixels=pixels, web=web,
        decode_processes=decode_processes, progress=progress, log=log,
    )  # fmt: skip
    metrics = parse_json((target / "metrics.json").read_bytes())
    counts = (config[name] for name in ("train_pairs", "valid_pairs", "truncated_share"))
    return FinetuneReport(target, metrics["best_epoch"], metrics["valid"], *counts)


def _target(out: Path | str | None, model: str | Encoder, weights: Path | str | None) -> Path:
    name = model if isinstance(model, str) else model.card.name
    target = Path("runs") / f"{default_store(name).stem}-tuned" if out is None else as_path(out)
    if weights is not None and as_path(weights).resolve() == target.resolve():
        raise OptionError(f"--out {target} holds the --weights to start from; set it elsewhere")
    return target


def _items(
    data: Items | Place | str, images: Place | str | None, csv: CsvFormat, interactions: bool
) -> Items:
    if not isinstance(data, Items):
        check_csv(csv, data, interactions=interactions)
        return load_items(data, images, csv=csv)
    if images is not None or csv != PLAIN:
        raise OptionError("images and csv go with the path of a dataset; give them to load_items")
    return data


def _split(
    data: Place | str,
    items: Items,
    csv: CsvFormat,
    unknown: str,
    seed: int,
    log: Callable[[str], None],
) -> pa.Table:
    """(user_id, item_id, split) of the dataset's interactions."""
    rule = SplitRule(seed=seed)
    interactions = load_interactions(
        data, items, unknown=unknown, dropped=lambda what: log(str(what)), csv=csv, rule=rule
    )
    return split_interactions(interactions, rule, lambda what: log(str(what)))


def _encoder(
    model: str | Encoder,
    weights: Path | str | None,
    tokenizer: Path | str | None,
    device: str | None,
    log: Callable[[str], None],
) -> Encoder:
    if isinstance(model, str):
        refuse_own(model)
        here = str(Processes(device or AUTO).device)  # with torchrun each has a GPU of its own
        return open_encoder(model, weights=weights, device=here, tokenizer=tokenizer, log=log)
    for name, value in (("weights", weights), ("tokenizer", tokenizer), ("device", device)):
        if value is not None:
            raise OptionError(f"{name} goes with an encoder by name, and this one is open; drop it")
    return model

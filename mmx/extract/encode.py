"""``mmx.encode``: a dataset and the name of an encoder in, an embedding store out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from mmx.data.csvs.format import PLAIN, CsvFormat
from mmx.data.dataset import Items, check_csv, load_items, with_text
from mmx.devices import AUTO
from mmx.errors import OptionError
from mmx.extract.encoder import Encoder, check_encoder
from mmx.extract.encoders.records import CPU_ONLY
from mmx.extract.encoders.request import EncoderOptions
from mmx.extract.naming import default_store
from mmx.extract.opening import Opening
from mmx.extract.options import ExtractOptions, ExtractReport
from mmx.extract.pipeline import extract
from mmx.extract.sources import source_for
from mmx.extract.sources.web import Web
from mmx.extract.stages.progress import Progress
from mmx.extract.workers.job import Recipe
from mmx.files import Place, as_place, is_url
from mmx.kinds import must_be, texts
from mmx.logs import log_line
from mmx.own.code import Codes, as_codes


def encode(
    data: Items | Place | str,
    model: str | Encoder,
    out: Place | str | None = None,
    options: ExtractOptions | None = None,
    *,
    images: Place | str | None = None,
    csv: CsvFormat = PLAIN,
    text: str | None = None,
    weights: Path | str | None = None,
    modalities: Sequence[str] | None = None,
    decode: str | None = None,
    device: str | Sequence[str] | None = None,
    processes: int | None = None,
    engine: str | None = None,
    ray_address: str | None = None,
    code: Codes = (),
    web: Web | None = None,
    work: Path | str | None = None,
    progress: Callable[[Progress], None] = lambda state: None,
    log: Callable[[str], None] = log_line,
    **encoder_options: Unpack[EncoderOptions],
) -> ExtractReport:
    """Encode what the store ``out`` does not hold yet; what ``mmx extract`` does.

    ``data`` is a dataset directory, a table, tar shards, or what ``load_items`` returns; ``images``
    the folder of its pictures and ``csv`` how its tables are written; ``text`` makes the texts of
    other columns (``"{title}. {brand}"``). ``model`` is the name of an encoder, see
    ``open_encoder``, which also says what ``weights``, ``modalities``, ``decode`` (by default
    "fast"), ``code`` and ``encoder_options`` are; or an open encoder, which is used as it is.
    ``out`` is by default ``cache/MODEL.parquet``; where it is a URL, ``work`` is a folder for the
    parts. ``device`` is by default "auto", a GPU where there is one; several devices
    ("cuda:0,cuda:1", or a list), ``processes``, or the ``engine`` "ray" in place of "local"
    encode at once. ``web`` says how pictures are fetched. With an encoder by name, precision None
    in ``options`` means "auto".

    ``progress`` gets the state as it changes, ``log`` a line on what takes long. Raises an
    MmxError of the kind that fits; see ``mmx.extract.pipeline.extract``.
    """
    options, web = options or ExtractOptions(), web or Web()
    for name, value, kind in (
        ("options", options, ExtractOptions), ("csv", csv, CsvFormat), ("web", web, Web),
        ("progress", progress, Callable), ("log", log, Callable),
    ):  # fmt: skip
        must_be(name, value, kind)
    if not isinstance(model, str):
        check_encoder(model)
    target = _target(out, work, model)
    items = _items(data, images, csv)
    if text is not None:
        items = with_text(items, text)
    opening: dict[str, Any] = {
        "code": as_codes(code) or None,
        "weights": weights,
        "modalities": modalities,
        "decode": decode,
        **encoder_options,
    }
    where_to = {"processes": processes, "engine": engine, "address": ray_address}
    encoder = _encoder(model, _given(opening), device, _given(where_to), log)
    if isinstance(model, str) and options.precision is None:
        options = replace(options, precision="auto")
    source = source_for(items, web)
    return extract(items, encoder, target, options, progress, source, work, log=log)


def _encoder(
    model: str | Encoder,
    opening: dict[str, Any],
    device: str | Sequence[str] | None,
    where_to: dict[str, Any],
    log: Callable[[str], None],
) -> Encoder | Opening:
    """The encoder, or how it is opened by name. Raises OptionError."""
    if not isinstance(model, str):
        for name in _given({**opening, "device": device, **where_to}):
            raise OptionError(f"{name} goes with an encoder by name, and this one is open; drop it")
        return model
    devices = ",".join(texts("device", device or AUTO))
    if devices == AUTO and model in CPU_ONLY:
        devices = "cpu"
    return Opening(Recipe(model, {"decode": "fast", **opening}), devices, where_to, log)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _items(data: Items | Place | str, images: Place | str | None, csv: CsvFormat) -> Items:
    if not isinstance(data, Items):
        check_csv(csv, data, interactions=False)
        return load_items(data, images, csv=csv)
    if images is not None or csv != PLAIN:
        raise OptionError("images and csv go with the path of a dataset; give them to load_items")
    return data


def _target(out: Place | str | None, work: Path | str | None, model: str | Encoder) -> Place:
    if work is not None and (out is None or not is_url(str(out))):
        raise OptionError("--work goes with an --out elsewhere, such as s3://BUCKET/clip.parquet")
    if out is not None:
        return as_place(out)
    return default_store(model if isinstance(model, str) else model.card.name)

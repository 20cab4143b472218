"""``mmx extract`` and ``mmx encoders``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from mmx.cli.dataset import chosen_data
from mmx.cli.extract_output import drawer, name_hosts, summarise
from mmx.cli.options import (
    AllowPrivate,
    Connections,
    Data,
    Delimiter,
    Encoding,
    Images,
    MaxImageMib,
    PerHost,
    of_encoder,
    of_input,
    of_output,
    of_speed,
    whole_or_auto,
)
from mmx.cli.output import (
    AsJson,
    Debug,
    Quiet,
    keeps,
    listed,
    note,
    print_json,
    print_table,
    progress_bar,
)


def extract(
    model: Annotated[
        str,
        of_input(
            help="Encoder: clip, vlmo …; `mmx encoders` lists them. Your own: mine.py:Encoder."
        ),
    ],
    data: Data = None,
    images: Images = None,
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    text: Annotated[
        str | None,
        of_input(
            help='Make the text of other columns: "{title}. {brand}".', show_default="column text"
        ),
    ] = None,
    modalities: Annotated[
        list[str] | None,
        of_encoder(
            help="image, text, fused: what to encode; repeatable.",
            show_default="all that the encoder has",
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        of_encoder(help="Local checkpoint (.safetensors, .pt), or a folder of mmx finetune."),
    ] = None,
    tokenizer: Annotated[Path | None, of_encoder(help="vlmo: a local vocab.txt.")] = None,
    head: Annotated[str | None, of_encoder(help="vlmo: itc or vl.", show_default="itc")] = None,
    image_size: Annotated[
        int | None,
        of_encoder(
            help="Side of the square that the encoder sees, in pixels.",
            show_default="the encoder's own",
        ),
    ] = None,
    resize: Annotated[
        int | None,
        of_encoder(
            help="Shorter side before the centre is cut out, in pixels.",
            show_default="the encoder's own",
        ),
    ] = None,
    resize_mode: Annotated[
        str | None, of_encoder(help="crop, squash or pad.", show_default="the encoder's own")
    ] = None,
    interpolation: Annotated[
        str | None, of_encoder(help="bicubic, bilinear …", show_default="the encoder's own")
    ] = None,
    mean: Annotated[
        str | None,
        of_encoder(
            help="R,G,B: mean of the pixels that the weights were trained with.",
            show_default="the encoder's own",
        ),
    ] = None,
    std: Annotated[
        str | None,
        of_encoder(help="R,G,B: their standard deviation.", show_default="the encoder's own"),
    ] = None,
    devices: Annotated[
        list[str] | None,
        of_speed(
            "--device",
            "--devices",
            help="cpu, cuda, cuda:1; cuda:0,cuda:1 uses both; auto: a CUDA GPU where there is one.",
            show_default="auto",
        ),
    ] = None,
    batch_size: Annotated[
        str,
        of_speed(
            help="Items encoded at once; auto tries some sizes. Halved where memory runs out."
        ),
    ] = "auto",
    precision: Annotated[
        str,
        of_speed(
            help="float32, bfloat16 or float16; auto: bfloat16 where the processor has "
            "it and the vectors agree."
        ),
    ] = "auto",
    decode_threads: Annotated[
        str, of_speed(help="Threads of a process that decode pictures; auto: by cores.")
    ] = "auto",
    decode_processes: Annotated[
        str,
        of_speed(
            help="Processes that decode in place of threads, at most one a core; 0: none; auto: "
            "where threads are too slow."
        ),
    ] = "auto",
    exact: Annotated[
        bool, of_speed("--exact", help="Decode pictures exactly as the encoder's own library does.")
    ] = False,
    gpu_decode: Annotated[bool, of_speed("--gpu-decode", help="Decode JPEGs on the GPU.")] = False,
    compile_: Annotated[
        bool,
        of_speed("--compile", help="Compile the image encoder (torch.compile); pays in long jobs."),
    ] = False,
    processes: Annotated[
        int | None,
        of_speed(help="Processes that encode into the one store.", show_default="one a device"),
    ] = None,
    engine: Annotated[
        str, of_speed(help="local: this machine; ray: a Ray cluster (mmx[ray]).")
    ] = "local",
    ray_address: Annotated[
        str | None,
        of_speed(help="Ray cluster to use: HOST:PORT, auto.", show_default="a local one"),
    ] = None,
    connections: Connections = 32,
    per_host: PerHost = 4,
    max_image_mib: MaxImageMib = 20,
    allow_private: AllowPrivate = False,
    out: Annotated[
        str | None,
        of_output(help="Store to write, path or URL.", show_default="cache/MODEL.parquet"),
    ] = None,
    work: Annotated[
        Path | None,
        of_output(
            help="Folder for unfinished parts where --out is a URL.",
            show_default="the user's cache",
        ),
    ] = None,
    part_size: Annotated[
        str,
        of_output(help="Rows per part; a killed run loses at most two parts. auto: by batch size."),
    ] = "auto",
    max_file_rows: Annotated[
        int | None,
        of_output(
            help="Rows per file; a larger store is a folder of files.", show_default="a million"
        ),
    ] = None,
    dtype: Annotated[str, of_output(help="Of stored vectors: float32 or float16.")] = "float32",
    retry_failed: Annotated[
        bool, of_output("--retry-failed", help="Try items again that failed before.")
    ] = False,
    overwrite: Annotated[
        bool, of_output("--overwrite", help="Encode everything again, then replace the store.")
    ] = False,
    prune: Annotated[
        bool, of_output("--prune", help="Drop rows of items that are no longer in --data.")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Stage 1: encode the items of a dataset into an embedding store.

    Run it again after a kill or a change of the catalogue: only what is new, changed or
    unfinished is encoded.
    """
    from mmx.bounds import check, whole
    from mmx.data.csvs.format import CsvFormat
    from mmx.extract.encode import encode
    from mmx.extract.encoders import code_of
    from mmx.extract.lean import without_pandas
    from mmx.extract.options import ExtractOptions
    from mmx.extract.sources.web import LARGEST, Web

    without_pandas()
    data = chosen_data(data)
    options = ExtractOptions(
        batch_size=whole_or_auto("batch-size", batch_size),
        decode_threads=whole_or_auto("decode-threads", decode_threads),
        decode_processes=whole_or_auto("decode-processes", decode_processes),
        part_size=whole_or_auto("part-size", part_size),
        precision=precision,
        compile=compile_,
        dtype=dtype,
        max_file_rows=max_file_rows,
        retry_failed=retry_failed,
        overwrite=overwrite,
        prune=prune,
    )
    check("--max-image-mib ", max_image_mib, whole(1, LARGEST))
    web = Web(connections, per_host, max_bytes=max_image_mib << 20, allow_private=allow_private)
    names = [name.strip() for given in modalities or () for name in given.split(",")]
    device, said = ",".join(devices or ["auto"]), set[str]()
    keeps("finished parts are kept; the same command continues")
    with progress_bar("rate", "bottleneck") as bar:
        report = encode(
            data, model, out, options, images=images, csv=CsvFormat(encoding, delimiter), text=text,
            weights=weights, modalities=names or None,
            decode=_way_to_decode(exact, gpu_decode, device, engine), device=device,
            code=code_of(model), processes=processes, engine=engine, ray_address=ray_address,
            web=web, work=work, progress=drawer(bar, said), log=note, tokenizer=tokenizer,
            head=head, image_size=image_size, resize=resize, resize_mode=resize_mode,
            interpolation=interpolation, mean=_triple("mean", mean), std=_triple("std", std),
        )  # fmt: skip
    name_hosts(report.examples, said)
    summarise(report, as_json)


def encoders(as_json: AsJson = False, quiet: Quiet = False, debug: Debug = False) -> None:
    """List the encoders that `mmx extract --model` can name."""
    from dataclasses import asdict

    from mmx.extract.encoders import listing

    records = [asdict(record) for record in listing()]
    if as_json:
        print_json(records)
        return
    columns = list(records[0])
    print_table(columns, [[listed(record[name]) for name in columns] for record in records])


def _way_to_decode(exact: bool, gpu: bool, device: str, engine: str) -> str:
    from mmx.devices import AUTO, usable_device
    from mmx.errors import OptionError

    if gpu and exact:
        raise OptionError("--gpu-decode is not exact to the bit; drop it, or --exact")
    if gpu and device == AUTO:
        if engine == "local" and usable_device(AUTO).type != "cuda":
            raise OptionError("--gpu-decode: there is no GPU here that torch can use; drop it")
    elif gpu and not all(place.startswith("cuda") for place in device.split(",")):
        raise OptionError(f"--gpu-decode with --device {device}: --device cuda, or drop it")
    return "gpu" if gpu else "exact" if exact else "fast"


def _triple(name: str, text: str | None) -> tuple[float, ...] | None:
    from mmx.errors import OptionError

    if text is None:
        return None
    try:
        red, green, blue = (float(value) for value in text.split(","))
    except ValueError:
        raise OptionError(f"--{name} {text}: three numbers R,G,B are expected") from None
    return red, green, blue

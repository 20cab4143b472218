"""``mmx extract`` and ``mmx encoders``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmx.cli.extract_output import drawer, summarise, tell_hosts
from mmx.cli.options import Delimiter, Encoding
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

AllowPrivate = Annotated[
    bool, typer.Option("--allow-private", help="Fetch pictures from private addresses, too.")
]


def extract(
    model: Annotated[str, typer.Option(help="Encoder, see `mmx encoders`; e.g. clip, vlmo.")],
    data: Annotated[
        str, typer.Option(help="Dataset directory, items table or tar shards; path or URL.")
    ],
    images: Annotated[
        str | None, typer.Option(help="Folder of the pictures, if not beside the items table.")
    ] = None,
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    out: Annotated[
        str | None,
        typer.Option(help="Store to write, path or URL.", show_default="cache/MODEL.parquet"),
    ] = None,
    work: Annotated[
        Path | None,
        typer.Option(help="--out is a URL: folder for parts.", show_default="the user's cache"),
    ] = None,
    allow_private: AllowPrivate = False,
    connections: Annotated[int, typer.Option(help="Pictures fetched at once.")] = 32,
    per_host: Annotated[int, typer.Option(help="Pictures fetched at once from one host.")] = 4,
    max_image_mib: Annotated[int, typer.Option(help="Largest fetched picture, MiB.")] = 20,
    weights: Annotated[
        Path | None, typer.Option(help="Local checkpoint (.safetensors, .pt) instead of named.")
    ] = None,
    modalities: Annotated[
        list[str] | None,
        typer.Option(help="Which of image,text,fused to encode; repeatable. Default: all."),
    ] = None,
    batch_size: Annotated[
        str, typer.Option(help="Items encoded at once; auto measures, and halves if memory ends.")
    ] = "auto",
    decode_threads: Annotated[
        str, typer.Option(help="Decoding threads of a process; auto: by cores.")
    ] = ("auto"),
    part_size: Annotated[
        str, typer.Option(help="Rows of a part, of which a kill costs two; auto: by batch size.")
    ] = "auto",
    precision: Annotated[
        str,
        typer.Option(help="float32, bfloat16, float16; auto: bfloat16 where native and as good."),
    ] = "auto",
    exact: Annotated[
        bool, typer.Option("--exact", help="Decode as the encoder's own library does, to the bit.")
    ] = False,
    gpu_decode: Annotated[
        bool,
        typer.Option(
            "--gpu-decode", help="JPEGs by the GPU of --device cuda. Was never run on a GPU."
        ),
    ] = False,
    compile_: Annotated[
        bool, typer.Option("--compile", help="The image pass through torch.compile; long jobs.")
    ] = False,
    max_file_rows: Annotated[
        int | None,
        typer.Option(
            help="Rows of one file; a larger store is a folder.", show_default="a million"
        ),
    ] = None,
    dtype: Annotated[str, typer.Option(help="Of stored vectors: float32, float16.")] = "float32",
    devices: Annotated[
        list[str] | None,
        typer.Option(
            "--device",
            "--devices",
            help="cpu, cuda, cuda:1; cuda:0,cuda:1 uses both; repeatable.",
            show_default="cpu",
        ),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(help="Processes that encode into the one store.", show_default="one a device"),
    ] = None,
    engine: Annotated[
        str, typer.Option(help="local: this machine; ray: a Ray cluster (mmx[ray]).")
    ] = "local",
    ray_address: Annotated[
        str | None,
        typer.Option(help="Ray cluster to use: HOST:PORT, auto.", show_default="a local one"),
    ] = None,
    tokenizer: Annotated[
        Path | None, typer.Option(help="vlmo: local vocab.txt instead of the named tokenizer.")
    ] = None,
    head: Annotated[str | None, typer.Option(help="vlmo: itc (default) or vl.")] = None,
    image_size: Annotated[
        int | None, typer.Option(help="Side of the square the encoder sees, px.")
    ] = None,
    resize: Annotated[
        int | None, typer.Option(help="Shorter side before the centre is cut, px.")
    ] = None,
    resize_mode: Annotated[
        str | None, typer.Option(help="crop, squash or pad. Default: the encoder's own.")
    ] = None,
    interpolation: Annotated[
        str | None, typer.Option(help="bicubic, bilinear … Default: the encoder's own.")
    ] = None,
    mean: Annotated[str | None, typer.Option(help="R,G,B mean of the weights' training.")] = None,
    std: Annotated[str | None, typer.Option(help="R,G,B deviation, likewise.")] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try items again that failed before.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Encode all anew, then replace the store.")
    ] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Drop rows of items that are no longer in --data.")
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
    from mmx.extract.options import ExtractOptions
    from mmx.extract.sources.web import LARGEST, Web

    options = ExtractOptions(
        batch_size=_number("batch-size", batch_size),
        decode_threads=_number("decode-threads", decode_threads),
        part_size=_number("part-size", part_size),
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
    device, told = ",".join(devices or ["cpu"]), set[str]()
    keeps("finished parts are kept and the same command goes on")
    with progress_bar("rate", "bottleneck") as bar:
        report = encode(
            data, model, out, options, images=images, csv=CsvFormat(encoding, delimiter),
            weights=weights, modalities=names or None,
            decode=_way_to_decode(exact, gpu_decode, device), device=device,
            processes=processes, engine=engine, ray_address=ray_address, web=web, work=work,
            progress=drawer(bar, told), log=note, tokenizer=tokenizer, head=head,
            image_size=image_size, resize=resize, resize_mode=resize_mode,
            interpolation=interpolation, mean=_triple("mean", mean), std=_triple("std", std),
        )  # fmt: skip
    tell_hosts(report.examples, told)
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


def _way_to_decode(exact: bool, gpu: bool, device: str) -> str:
    from mmx.errors import OptionError

    if gpu and exact:
        raise OptionError("--gpu-decode is not exact to the bit; drop it, or --exact")
    if gpu and not all(place.startswith("cuda") for place in device.split(",")):
        raise OptionError(f"--gpu-decode with --device {device}: --device cuda, or drop it")
    return "gpu" if gpu else "exact" if exact else "fast"


def _number(name: str, text: str) -> int | None:
    from mmx.errors import OptionError

    try:
        return None if text == "auto" else int(text)
    except ValueError:
        raise OptionError(f"--{name} {text}: a whole number or auto is expected") from None


def _triple(name: str, text: str | None) -> tuple[float, ...] | None:
    from mmx.errors import OptionError

    if text is None:
        return None
    try:
        red, green, blue = (float(value) for value in text.split(","))
    except ValueError:
        raise OptionError(f"--{name} {text}: three numbers R,G,B are expected") from None
    return red, green, blue

"""Speed of stage 1 on this machine.

    python benchmarks/extract.py                       # images/s, end to end and ceilings
    python benchmarks/extract.py --images 20000 --model ViT-L-14 --device cuda --batch 256 512
    python benchmarks/extract.py --images 20000 --model vlmo:base_plus --device cuda --gpu-decode

It draws --distinct photograph-like JPEGs with sides of 300 to 800 px, which the items
repeat, and encodes them with an open_clip or VLMo network of random weights. The ceilings are
measured in the same run: the image pass alone on ready pixels, in float32 and in bfloat16 at
several batch sizes, and decoding alone. ``--cpu-time`` counts CPU seconds, which is fairer while
other jobs run. --folder keeps the pictures for the next run.

The second half of a job is what a long one comes to: processes that decode take seconds to start.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from feed import Mean, Watch
from photographs import draw

from mmx.data.dataset import load_items
from mmx.extract.encoders import open_encoder
from mmx.extract.encoders.torch_encoder import TorchEncoder
from mmx.extract.encoders.vlmo import VLMoEncoder
from mmx.extract.options import ExtractOptions, ExtractReport
from mmx.extract.pictures.images import ImageRule
from mmx.extract.pipeline import extract
from mmx.extract.sources.paths import Paths
from mmx.extract.sources.web import Web
from mmx.extract.stages.load import Loader
from mmx.extract.stages.run import cores
from mmx.extract.stages.threads import LIST
from mmx.extract.workers.job import loader_for

Network = TorchEncoder | VLMoEncoder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1000, help="pictures to encode")
    parser.add_argument("--distinct", type=int, default=1000, help="JPEGs to draw")
    parser.add_argument("--model", default="ViT-B-32", help="open_clip architecture, or vlmo:SIZE")
    parser.add_argument("--device", default="cpu", help="where to encode")
    parser.add_argument("--batch", type=int, nargs="+", default=[32, 64], help="batch sizes")
    parser.add_argument("--precisions", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--exact", action="store_true", help="decode exactly")
    parser.add_argument("--gpu-decode", action="store_true", help="decode JPEGs on --device")
    parser.add_argument("--compile", action="store_true", help="torch.compile of the image pass")
    parser.add_argument("--decode-processes", type=int, help="see mmx extract")
    parser.add_argument("--decode-threads", type=int, help="see mmx extract")
    parser.add_argument("--folder", type=Path, help="of the pictures; by default one is made")
    parser.add_argument("--cpu-time", action="store_true", help="count CPU seconds")
    parser.add_argument("--threads", type=int, help="torch threads")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="mmx-extract-"))
    try:
        speed(options, folder)
    finally:
        if not options.folder:
            shutil.rmtree(folder)


def speed(options: argparse.Namespace, folder: Path) -> None:
    import torch

    if options.threads:
        torch.set_num_threads(options.threads)
    clock: Callable[[], float] = time.process_time if options.cpu_time else time.perf_counter
    per = "CPU second" if options.cpu_time else "second"
    draw(folder, options.images, min(options.distinct, options.images))
    way = "gpu" if options.gpu_decode else "exact" if options.exact else "fast"
    encoder = random_encoder(folder, options.model, options.device, way)
    print(f"{options.images} JPEGs, {options.model} on {options.device}, {torch.get_num_threads()} "
          f"threads, {cores()} cores; images per {per}", flush=True)  # fmt: skip
    forward = {}
    for precision in options.precisions:
        same = precision == encoder.card.precision
        network = encoder if same else encoder.in_precision(precision)
        if options.compile and isinstance(network, TorchEncoder):
            network = network.compiled()
        rates = {size: ready(network, size, clock) for size in options.batch}
        forward[precision] = max(rates.values())
        print(f"  forward alone, {precision:8s} " + show(rates), flush=True)
    loader = loader_for(encoder, Paths(folder, Web(), remote=False))
    decode = decoding(folder, replace(loader, jpegs=None), clock)
    print(f"  decoding alone, {cores()} threads  {decode:.1f}", flush=True)
    if options.device != "cpu":
        decode = fed(folder, loader.image_rule, options)
        print(f"  by {options.decode_processes or cores()} processes  {decode:.1f}", flush=True)
    if loader.jpegs is not None:
        decode = decoding(folder, loader, clock)
        print(f"  the same, JPEGs on {options.device}  {decode:.1f}", flush=True)
    start = clock()
    report, chosen = run(folder, encoder, "auto", Watch(), options)
    whole = options.images / (clock() - start)
    start, watch = clock(), Watch()
    again, _ = run(folder, chosen, None, watch, options)
    end_to_end, steady = options.images / (clock() - start), rate_of(watch)
    print(f"  end to end, {report.precision}, batch {report.batch_size}: {end_to_end:.1f} "
          f"({whole:.1f} with the comparison to float32 of the job's start), "
          f"in the second half {steady:.1f}", flush=True)  # fmt: skip
    print(f"  bottleneck {again.bottleneck}, waited {rounded(again.waited)}, stages could "
          f"{rounded(again.rates)}; accuracy {report.accuracy}")  # fmt: skip
    if report.precision not in forward:
        return
    ceiling = forward[report.precision]
    print(f"end to end : forward alone     {end_to_end / ceiling:.2f}")
    both = ceiling * decode / (ceiling + decode)
    if options.cpu_time or options.device == "cpu":
        print(f"end to end : both on one CPU   {end_to_end / both:.2f}  (forward + decoding)")
    else:
        print(f"second half : forward alone    {steady / ceiling:.2f}")
        print(f"second half : min of both      {steady / min(ceiling, decode):.2f}")
    if {"float32", "bfloat16"} <= forward.keys():
        print(f"bfloat16 : float32, forward    {forward['bfloat16'] / forward['float32']:.2f}")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
    if options.device != "cpu":
        print(f"peak memory of {options.device}, torch's: "
              f"{torch.cuda.max_memory_reserved(options.device) / 2**20:.0f} MiB")  # fmt: skip


def random_encoder(folder: Path, model: str, device: str, decode: str) -> Network:
    """An open_clip or VLMo network with random weights, opened like any weights file."""
    import open_clip
    import torch
    from vlmo import random_model

    torch.manual_seed(0)
    path = folder / "random.pt"
    size = model.removeprefix("vlmo:")
    network = random_model(size) if size != model else open_clip.create_model(model, None)
    torch.save(network.state_dict(), path)
    name = "vlmo" if size != model else f"clip:{model}"
    encoder = open_encoder(name, weights=path, device=device, decode=decode, modalities=("image",))
    path.unlink()
    assert isinstance(encoder, Network)
    return encoder


def ready(encoder: Network, size: int, clock: Callable[[], float]) -> float:
    """The network alone on ready tensors: the better of single passes and all lanes at once."""
    import torch

    rule, hardware = encoder.image_rule, encoder.hardware
    assert rule is not None
    pixels = torch.randn(size, 3, rule.size, rule.size).to(hardware.device, hardware.dtype)
    if isinstance(encoder, VLMoEncoder):
        image_pass: Callable[[Any], Any] = encoder.model.encode_image
    else:
        assert encoder.image_pass is not None
        image_pass = encoder.image_pass

    def once() -> None:
        with hardware.lane(), torch.inference_mode():
            image_pass(pixels)
            if hardware.device.type == "cuda":
                torch.cuda.current_stream().synchronize()

    once()
    rates = [rate(once, size, clock)]
    with hardware.session() as lanes, ThreadPoolExecutor(lanes) as pool:
        list(pool.map(lambda _: once(), range(lanes)))

        def all_lanes() -> None:
            list(pool.map(lambda _: once(), range(2 * lanes)))

        rates.append(rate(all_lanes, size * 2 * lanes, clock))
    return max(rates)


def rate(once: Callable[[], None], images: int, clock: Callable[[], float]) -> float:
    """The best of two turns of half a second or one call."""
    best = 0.0
    for _ in range(2):
        start, calls = clock(), 0
        while not calls or clock() - start < 0.5:
            once()
            calls += 1
        best = max(best, images * calls / (clock() - start))
    return best


def decoding(folder: Path, loader: Loader, clock: Callable[[], float]) -> float:
    names = load_items(folder).table["image"].to_pylist()[:4000]
    size = LIST if loader.jpegs is not None else 1

    def decode(start: int) -> None:
        for _ in loader.decode_many([loader.read(n, None) for n in names[start : start + size]]):
            pass

    decode(0)
    with ThreadPoolExecutor(cores()) as pool:
        start = clock()
        list(pool.map(decode, range(0, len(names), size)))
        return len(names) / (clock() - start)


def rate_of(watch: Watch) -> float:
    """Pictures a second of the second half."""
    seconds, _, pictures = watch.second_half()
    return pictures / seconds


def fed(folder: Path, rule: ImageRule | None, given: argparse.Namespace) -> float:
    """Pictures a second that processes decode, from when they are all there."""
    assert rule is not None
    options = ExtractOptions(
        batch_size=256, decode_processes=given.decode_processes or cores(), overwrite=True
    )
    watch = Watch()
    extract(load_items(folder), Mean(rule.size), folder / "mean.parquet", options, watch)
    return rate_of(watch)


def run(
    folder: Path,
    encoder: Network,
    precision: str | None,
    watch: Watch,
    given: argparse.Namespace,
) -> tuple[ExtractReport, Network]:
    """All of `mmx extract` except loading the model; and the encoder with the chosen precision."""
    options = ExtractOptions(
        precision=precision, overwrite=True, compile=given.compile,
        decode_processes=given.decode_processes, decode_threads=given.decode_threads,
    )  # fmt: skip
    report = extract(load_items(folder), encoder, folder / "store.parquet", options, watch)
    same = report.precision == encoder.card.precision
    return report, encoder if same else encoder.in_precision(report.precision)


def rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 1) for name, value in values.items()}


def show(rates: dict[int, float]) -> str:
    return ", ".join(f"{value:.1f} at batch {size}" for size, value in rates.items())


if __name__ == "__main__":
    main()

"""Speed of VLMo on this machine, with random weights of a published size.

    python benchmarks/vlmo.py                                  # mmx: float32 and bfloat16
    python benchmarks/vlmo.py --official ~/unilm/vlmo          # and the authors' blocks

``--official`` takes a checkout of microsoft/unilm's folder vlmo. Its Multiway Transformer is
imported and loaded with the same weights; the rest of the pass (embeddings, bias, projection) is
done here. The variants take turns, round after round, so that another job on the machine slows all
of them; the best round of each counts.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
import types
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F

from mmx.extract.vlmo import ARCHITECTURES, VLMo
from mmx.extract.vlmo.positions import relative_index

Run = Callable[[], torch.Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--architecture", choices=list(ARCHITECTURES), default="base")
    parser.add_argument("--batch", type=int, default=16, help="items")
    parser.add_argument("--text", type=int, default=40, help="tokens of every text")
    parser.add_argument("--rounds", type=int, default=3, help="times each variant runs")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--cpu-time", action="store_true", help="count CPU seconds: fairer while other jobs run"
    )
    parser.add_argument("--official", type=Path, help="folder vlmo of microsoft/unilm")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    with torch.inference_mode():
        seconds = measure(options)
    unit = "CPU second" if options.cpu_time else "second"
    print(f"{options.architecture}, batch {options.batch}, {options.threads} threads; per {unit}:")
    report(seconds, options.batch)


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Best seconds of each variant; also prints how close the results are."""
    config = ARCHITECTURES[options.architecture]
    model = random_model(options.architecture)
    half = random_model(options.architecture).bfloat16()
    half.load_state_dict(model.state_dict())
    pixels = torch.randn(options.batch, 3, config.image_size, config.image_size)
    ids = torch.randint(1000, 30000, (options.batch, options.text))
    mask = torch.ones_like(ids)
    runs: dict[str, Run] = {}
    for name, m in (("float32", model), ("bfloat16", half)):
        runs[f"image {name}"] = partial(m.encode_image, pixels)
        runs[f"text {name}"] = partial(m.encode_text, ids, mask)
        runs[f"fused {name}"] = partial(m.encode_fused, pixels, ids, mask)
    if options.official:
        runs["image official"] = official(model, options.official, pixels)
    seconds = {name: float("inf") for name in runs}
    results = {name: run() for name, run in runs.items()}
    clock = time.process_time if options.cpu_time else time.perf_counter
    for _ in range(options.rounds):
        for name, run in runs.items():
            start = clock()
            run()
            seconds[name] = min(seconds[name], clock() - start)
    compare(results)
    return seconds


def random_model(architecture: str) -> VLMo:
    """Random weights, including the bias table."""
    model = VLMo(ARCHITECTURES[architecture]).eval()
    if model.relative_position_bias_table is not None:
        torch.nn.init.normal_(model.relative_position_bias_table, std=0.02)
    return model


def official(model: VLMo, folder: Path, pixels: torch.Tensor) -> Run:
    """The authors' image pass (infer_image_ft), their blocks with our weights."""
    module = official_module(folder)
    config = model.config
    theirs = getattr(module, f"vlmo_{architecture_of(model)}_patch16")(
        img_size=config.image_size,
        config={"drop_path_rate": 0.0, "loss_names": {"textmlm": 0}, "max_text_len": 40},
    ).eval()
    theirs.load_state_dict(model.transformer.state_dict())
    table, index = model.relative_position_bias_table, relative_index(config.grid, 0, 196)

    def run() -> torch.Tensor:
        x, mask = theirs.visual_embed(pixels)
        x = x + model.token_type_embeddings(torch.ones_like(mask).long())
        biases: Sequence[torch.Tensor | None] = [None] * config.depth
        if table is not None:
            gathered = F.embedding(torch.from_numpy(index), table).permute(2, 0, 1).contiguous()
            biases = gathered.chunk(config.depth, dim=0)
        for block, bias in zip(theirs.blocks, biases, strict=True):
            x = block(x, mask=mask, modality_type="image", relative_position_bias=bias)
        y = model.itc_image_proj(theirs.norm(x)[:, 0])  # type: ignore[operator]
        return y / y.norm(dim=-1, keepdim=True)

    return run


def architecture_of(model: VLMo) -> str:
    return next(name for name, config in ARCHITECTURES.items() if config == model.config)


def official_module(folder: Path) -> types.ModuleType:
    """Import multiway_transformer.py alone; stubs replace the names it imports elsewhere."""
    path = folder / "vlmo" / "modules" / "multiway_transformer.py"
    if not path.is_file():
        sys.exit(f"{path} does not exist; --official takes the folder vlmo of microsoft/unilm")
    from timm.layers import DropPath, to_2tuple, trunc_normal_

    stubs = {
        "pytorch_lightning.utilities.distributed": {"rank_zero_info": lambda *_: None},
        "timm.models.layers": {
            "DropPath": DropPath,
            "to_2tuple": to_2tuple,
            "trunc_normal_": trunc_normal_,
        },
        "timm.models.registry": {"register_model": lambda function: function},
    }
    for name, members in stubs.items():
        stub = types.ModuleType(name)
        stub.__dict__.update(members)
        sys.modules[name] = stub
    spec = importlib.util.spec_from_file_location("official_vlmo", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compare(results: dict[str, torch.Tensor]) -> None:
    for kind in ("image", "text", "fused"):
        cosine = F.cosine_similarity(results[f"{kind} float32"], results[f"{kind} bfloat16"])
        print(f"{kind}: smallest cosine of bfloat16 to float32 {cosine.min():.6f}")
    if "image official" in results:
        gap = (results["image official"] - results["image float32"]).abs().max()
        print(f"image: largest difference from the official program {gap:.1e}")


def report(seconds: dict[str, float], batch: int) -> None:
    for name, value in seconds.items():
        print(f"{name:16s} {batch / value:8.2f} items/s")
    ratios = {"image bfloat16 : image float32": ("image float32", "image bfloat16")}
    if "image official" in seconds:
        ratios["image float32 : official"] = ("image official", "image float32")
        ratios["image bfloat16 : official"] = ("image official", "image bfloat16")
    for label, (slow, fast) in ratios.items():
        print(f"{label}, speed: {seconds[slow] / seconds[fast]:.2f}")
    for name in ("float32", "bfloat16"):
        both = seconds[f"image {name}"] + seconds[f"text {name}"]
        print(f"fused : image + text, time, {name}: {seconds[f'fused {name}'] / both:.2f}")


if __name__ == "__main__":
    main()

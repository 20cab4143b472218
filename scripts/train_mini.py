"""Train and measure ``clip:mini``, the small image-text encoder that ships with mmx.

    python scripts/train_mini.py                 # about ten minutes on two CPU cores
    python scripts/train_mini.py --measure       # only measures the existing model

Read it from top to bottom: pictures and titles, tokenizer, model, training, figures. Pictures are
drawn by the code of the embedded sample, from other seeds, with random brand names, backdrops and
margin graphics, so that the model cannot learn a brand's house style. One in seven combinations of
category, colour and pattern is left out of training, to measure how the model does on combinations
it has never seen.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import open_clip
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast

from mmx.extract.pictures.images import ImageRule, decode, prepare
from mmx.sample.catalogue import CATEGORIES, COLOUR_NAMES, catalogue, random_look, write_sample
from mmx.sample.drawing import BACKDROPS, MARKS, PATTERNS, Look, Scene, draw
from mmx.sample.wording import describe

OUT = Path(__file__).parents[1] / "mmx" / "extract" / "mini"
SEED = 20_231  # of training; the shipped sample is seed 7
SAMPLE_SEED = 7
SIZE = 64  # px, what the model sees
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)  # of RGB in [0, 1]
EPOCHS, BATCH, RATE = 6, 256, 1e-3  # passes over the pictures, pairs in a step, of AdamW
VOCABULARY = 768  # tokens: 256 bytes, 3 special ones, the rest pieces of words
CONTEXT = 32  # tokens

VISION = {"image_size": SIZE, "patch_size": 8, "width": 96, "head_width": 32, "layers": 3}
TEXT = {
    "context_length": CONTEXT,
    "vocab_size": VOCABULARY,
    "hf_tokenizer_name": "mini",  # any name: the files beside the configuration are read
    "width": 96,
    "heads": 3,
    "layers": 2,
}
CONFIG = {
    "model_cfg": {"embed_dim": 96, "vision_cfg": VISION, "text_cfg": TEXT},
    "preprocess_cfg": {
        "size": SIZE,
        "mode": "RGB",
        "mean": MEAN,
        "std": STD,
        "interpolation": "bicubic",
        "resize_mode": "shortest",
        "fill_color": 0,
    },
}
RULE = ImageRule(SIZE, SIZE, "crop", "bicubic", MEAN, STD)

# --- 1. Pictures and titles ------------------------------------------------------------------


def held_out(look: Look) -> bool:
    """True for one pattern of each category and colour, which is never drawn for training."""
    code = (
        CATEGORIES.index(look.category)
        + 2 * COLOUR_NAMES.index(look.colour)
        + 3 * PATTERNS.index(look.pattern)
    )
    return code % len(PATTERNS) == 0


def training_look(rng: np.random.Generator) -> Look:
    while True:
        look = random_look(CATEGORIES[rng.integers(len(CATEGORIES))], rng)
        if not held_out(look):
            return look


def any_scene(rng: np.random.Generator) -> Scene:
    tint, ink = rng.integers(190, 256, size=3), rng.integers(20, 236, size=3)
    backdrop, mark = BACKDROPS[rng.integers(4)], MARKS[rng.integers(4)]
    return Scene(backdrop, tuple(tint.tolist()), mark, tuple(ink.tolist()))


def any_brand(rng: np.random.Generator) -> str:
    """An invented name of two syllables, different for every product."""
    letters = ("bdfgklmnprstvz", "aeiou", "lmnrsx", "bdfgklmnprstvz", "aeiou")
    return "".join(rng.choice(list(choice)) for choice in letters).capitalize()


def draw_block(seed: int, count: int) -> tuple[np.ndarray, list[str], list[Look]]:
    """(count, 64, 64, 3) uint8 pictures as the model sees them, their texts and looks."""
    rng = np.random.default_rng([SEED, seed])
    pixels, texts, looks = np.empty((count, SIZE, SIZE, 3), np.uint8), [], []
    for row in range(count):
        look = training_look(rng)
        width, height = rng.integers(150, 230, size=2).tolist()
        pixels[row] = prepare(draw(look, any_scene(rng), (width, height), rng), RULE)
        texts.append(describe(look, any_brand(rng), rng)[rng.integers(2)])  # title or long text
        looks.append(look)
    return pixels, texts, looks


def draw_all(pictures: int, workers: int) -> tuple[torch.Tensor, list[str], list[Look]]:
    blocks = max(1, pictures // 250)
    with ProcessPoolExecutor(workers) as pool:
        done = list(pool.map(draw_block, range(blocks), [250] * blocks))
    pixels = torch.from_numpy(np.concatenate([block[0] for block in done]))
    texts = [text for block in done for text in block[1]]
    return pixels, texts, [look for block in done for look in block[2]]


# --- 2. Tokenizer ----------------------------------------------------------------------------


def train_tokenizer(texts: list[str], out: Path) -> None:
    """Byte-level BPE: any text has tokens, and words unknown from the titles are split.

    The end token has the highest number, since open_clip takes the output at the highest token.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=VOCABULARY - 1,
        special_tokens=["<pad>", "<start>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens(["<end>"])
    start, end = tokenizer.token_to_id("<start>"), tokenizer.token_to_id("<end>")
    assert end == VOCABULARY - 1, f"{end + 1} tokens, too few texts for {VOCABULARY}"
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", start), ("<end>", end)]
    )
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<start>",
        eos_token="<end>",
        model_max_length=CONTEXT,
    )
    wrapped.save_pretrained(out)


# --- 3. Model and training -------------------------------------------------------------------


def as_input(pixels: torch.Tensor) -> torch.Tensor:
    """(B, 64, 64, 3) uint8 → (B, 3, 64, 64) normalised."""
    x = pixels.permute(0, 3, 1, 2).float() / 255
    return (x - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def groups(texts: list[str], looks: list[Look]) -> torch.Tensor:
    """(N, 2) numbers: equal texts and equal looks have equal numbers."""
    columns: list[list[int]] = []
    for values in (texts, looks):
        seen: dict[object, int] = {}
        columns.append([seen.setdefault(value, len(seen)) for value in values])
    return torch.tensor(columns).T


def contrastive_loss(
    image: torch.Tensor, text: torch.Tensor, scale: torch.Tensor, same: torch.Tensor
) -> torch.Tensor:
    """Symmetric InfoNCE over (B, d) unit vectors.

    ``same`` (B, 2): a pair with the same text or the same look is not a negative and is masked.
    """
    logits = scale * image @ text.T  # (B, B)
    twin = (same[:, None] == same[None, :]).any(2) & ~torch.eye(len(same), dtype=torch.bool)
    logits = logits.masked_fill(twin, -math.inf)
    target = torch.arange(len(logits))
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def learning_rate(step: int, steps: int) -> float:
    """Linear warm-up over a twentieth of the steps, then a cosine down to zero."""
    warm = steps // 20
    if step < warm:
        return RATE * (step + 1) / warm
    return RATE * 0.5 * (1 + math.cos(math.pi * (step - warm) / (steps - warm)))


def train(
    model: torch.nn.Module, tokens: torch.Tensor, pixels: torch.Tensor, same: torch.Tensor
) -> None:
    """``tokens`` (N, 32), ``pixels`` (N, 64, 64, 3) uint8, ``same`` (N, 2) from ``groups``."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    rest = [p for p in model.parameters() if p.ndim < 2]
    settings = [{"params": matrices, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(settings, lr=RATE, betas=(0.9, 0.98))
    per_epoch = len(pixels) // BATCH
    started, step = time.perf_counter(), 0
    for epoch in range(EPOCHS):
        total = 0.0
        for rows in torch.randperm(len(pixels))[: per_epoch * BATCH].view(per_epoch, BATCH):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, EPOCHS * per_epoch)
            image = model.encode_image(as_input(pixels[rows]), normalize=True)  # (B, 96)
            text = model.encode_text(tokens[rows], normalize=True)  # (B, 96)
            loss = contrastive_loss(image, text, model.logit_scale.exp(), same[rows])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            model.logit_scale.data.clamp_(max=math.log(100))
            total, step = total + loss.item(), step + 1
        took = time.perf_counter() - started
        print(f"epoch {epoch + 1}/{EPOCHS}  loss {total / per_epoch:.3f}  {took:.0f} s", flush=True)


# --- 4. Figures ------------------------------------------------------------------------------


def sample_pairs() -> tuple[torch.Tensor, list[str], list[Look]]:
    """Pictures, titles and looks of the shipped sample, read back from its files."""
    with tempfile.TemporaryDirectory() as directory:
        write_sample(directory, seed=SAMPLE_SEED)
        table = pq.read_table(Path(directory) / "items.parquet")
        looks = [p.look for p in catalogue(len(table), np.random.default_rng([SAMPLE_SEED, 0]))]
        rows = [r for r in table.to_pylist() if r["image"] and r["text"]]
        pixels = [prepare(decode((Path(directory) / r["image"]).read_bytes()), RULE) for r in rows]
    numbers = [int(r["item_id"].removeprefix("sku-")) for r in rows]
    return (
        torch.from_numpy(np.stack(pixels)),
        [r["title"] for r in rows],
        [looks[n] for n in numbers],
    )


def ranks(scores: np.ndarray) -> np.ndarray:
    """(N,) rank of each title's own picture, 0 is the best; ties count against it."""
    own = np.diag(scores)[:, None]
    return (scores >= own).sum(1) - 1


@torch.no_grad()
def measure(directory: Path) -> None:
    """Print retrieval figures on the shipped sample, all and combinations left out."""
    model = open_clip.create_model(f"local-dir:{directory}").eval()
    tokenizer = open_clip.get_tokenizer(f"local-dir:{directory}")
    pixels, titles, looks = sample_pairs()
    image = model.encode_image(as_input(pixels), normalize=True)
    scores = (model.encode_text(tokenizer(titles), normalize=True) @ image.T).numpy()  # (N, N)
    new = np.array([held_out(look) for look in looks])
    n = len(titles)
    print(f"\n{n} pictures; {new.sum()} show a combination left out of training")
    print(f"{'':36}  R@1    R@5    R@10")
    print(f"{'chance':36}" + "".join(f"{k / n:7.3f}" for k in (1, 5, 10)))
    for name, place in (("title → picture", ranks(scores)), ("picture → title", ranks(scores.T))):
        for which, rows in (("", np.ones(n, bool)), (", combinations left out", new)):
            recalls = [(place[rows] < k).mean() for k in (1, 5, 10)]
            print(f"{name + which:36}" + "".join(f"{r:7.3f}" for r in recalls))


# --- 5. The whole script ---------------------------------------------------------------------


def build(out: Path, pictures: int) -> None:
    torch.manual_seed(SEED)
    started = time.perf_counter()
    pixels, texts, looks = draw_all(pictures, workers=min(2, os.cpu_count() or 1))
    print(f"{len(texts)} pictures drawn in {time.perf_counter() - started:.0f} s", flush=True)
    out.mkdir(parents=True, exist_ok=True)
    (out / "open_clip_config.json").write_text(json.dumps(CONFIG, indent=2) + "\n")
    train_tokenizer(texts, out)
    model = open_clip.create_model(f"local-dir:{out}", load_weights=False)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters", flush=True)
    tokens = open_clip.get_tokenizer(f"local-dir:{out}")(texts)  # (N, 32)
    train(model, tokens, pixels, groups(texts, looks))
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(weights, out / "open_clip_model.safetensors", metadata={"format": "pt"})
    (out / "open_clip_model.safetensors").chmod(0o644)
    print(f"{time.perf_counter() - started:.0f} s in all")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pictures", type=int, default=16_000, help="to train on")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the model")
    parser.add_argument("--measure", action="store_true", help="only measure, do not train")
    options = parser.parse_args()
    if not options.measure:
        build(options.out, options.pictures)
    measure(options.out)

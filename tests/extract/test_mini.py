"""``clip:mini``: small, loaded like any other open_clip checkpoint, and able to find pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from mmx.data.dataset import load_items
from mmx.extract.encoders.openclip import MINI
from mmx.extract.pictures.images import ImageRule, prepare
from mmx.sample.catalogue import write_sample

ODD = ["", "  ", "Ünïcode 日本語 🙂", "nul \0 byte", "zyzzyva qwfpgj", "mug " * 10_000]


@pytest.fixture(scope="module")
def mini() -> tuple[torch.nn.Module, open_clip.tokenizer.HFTokenizer]:
    name = f"local-dir:{MINI}"
    return open_clip.create_model(name).eval(), open_clip.get_tokenizer(name)


@pytest.fixture(scope="module")
def similarity(mini, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """(N, N) cosines of titles and pictures of the shipped sample, which training never saw."""
    directory = tmp_path_factory.mktemp("sample")
    write_sample(directory, users=1, seed=7)
    rows = [r for r in load_items(directory).table.to_pylist() if r["image"] and r["text"]]
    model, tokenizer = mini
    with torch.no_grad():
        text = model.encode_text(tokenizer([r["title"] for r in rows]), normalize=True)
        pixels = torch.stack([as_input(directory / r["image"], model) for r in rows])
        image = model.encode_image(pixels, normalize=True)
    return (text @ image.T).numpy()


def as_input(path: Path, model: torch.nn.Module) -> torch.Tensor:
    config = model.visual.preprocess_cfg
    mean, std = tuple(config["mean"]), tuple(config["std"])
    side = model.visual.image_size[0]
    rule = ImageRule(side, side, "crop", config["interpolation"], mean, std)
    with Image.open(path) as image:
        pixels = prepare(image.convert("RGB"), rule) / 255.0
    return torch.from_numpy((pixels - mean) / std).permute(2, 0, 1).float()  # (3, side, side)


def recall(similarity: np.ndarray, k: int) -> float:
    """Share of rows whose own column is among the k best."""
    own = np.diag(similarity)[:, None]
    return float(((similarity >= own).sum(1) <= k).mean())


def test_is_small() -> None:
    assert sum(path.stat().st_size for path in MINI.iterdir()) < 10_000_000


def test_finds_the_picture_of_a_title(similarity: np.ndarray) -> None:
    chance = 10 / len(similarity)
    assert len(similarity) == 392
    assert recall(similarity, 10) > 0.8 > 30 * chance  # measured: see docs/sample.md
    assert recall(similarity, 1) > 0.25


def test_finds_the_title_of_a_picture(similarity: np.ndarray) -> None:
    assert recall(similarity.T, 10) > 0.8


def test_wrong_pairs_are_at_chance(similarity: np.ndarray) -> None:
    """The measure itself: with the titles shuffled nothing is found."""
    shuffled = similarity[np.random.default_rng(0).permutation(len(similarity))]
    assert recall(shuffled, 10) < 0.08


@pytest.mark.parametrize("text", ODD)
def test_any_text_has_tokens(mini, text: str) -> None:
    model, tokenizer = mini
    tokens = tokenizer([text])
    end = model.vocab_size - 1
    assert tokens.shape == (1, model.context_length)
    assert (tokens == end).sum() == 1  # open_clip reads the text off at the end token
    with torch.no_grad():
        assert torch.isfinite(model.encode_text(tokens)).all()


def test_unknown_words_stay_apart(mini) -> None:
    """Words that are in no title become several tokens, not one token for all unknown things."""
    _, tokenizer = mini
    one, other = tokenizer(["zyzzyva"]), tokenizer(["qwfpgj"])
    assert not torch.equal(one, other)
    assert tokenizer.tokenizer.decode(one[0], skip_special_tokens=True).strip() == "zyzzyva"


def test_weights_are_finite_and_complete(mini) -> None:
    model, _ = mini
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())
    assert 0 < float(model.logit_scale.detach().exp()) <= 100.001

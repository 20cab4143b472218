"""The catalogue, the toy, and what happens without a network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import open_clip
import pytest
import timm
import torch.hub
import torchvision

from mmx.errors import EncoderError, OptionError
from mmx.extract.encoder import Encoder
from mmx.extract.encoders import ENCODERS, listing, open_encoder


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; from mmx.extract.encoders import open_encoder, listing;"
        "listing(); e = open_encoder('toy'); e.encode_text(e.tokenize(['a']));"
        "heavy = {'torch', 'open_clip', 'timm', 'torchvision', 'transformers', 'pyarrow'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_records_are_whole() -> None:
    assert [record.spec for record in listing()] == list(ENCODERS)
    for record in listing():
        assert record.citation
        assert record.licence
        assert record.about
        assert ("image" in record.modalities) == (record.pixels is not None)
        assert ("text" in record.modalities) == (record.tokens is not None)


def test_records_of_open_clip_are_true() -> None:
    for spec, record in ENCODERS.items():
        if record.library != "open_clip" or spec == "clip:mini":
            continue
        name = "ViT-B-16/openai" if spec == "clip" else spec.partition(":")[2]
        architecture, _, tag = name.partition("/")
        config = open_clip.get_model_config(architecture)
        assert open_clip.get_pretrained_cfg(architecture, tag)
        assert record.dimensions == {"image": config["embed_dim"], "text": config["embed_dim"]}
        assert record.pixels == config["vision_cfg"]["image_size"]
        assert record.tokens == config["text_cfg"].get("context_length", 77)
        assert bool(config["text_cfg"].get("hf_tokenizer_name")) == bool(record.options)


def test_records_of_timm_and_torchvision_are_true() -> None:
    for spec, record in ENCODERS.items():
        name = spec.partition(":")[2]
        if record.library == "timm":
            with torch.device("meta"):
                model = timm.create_model(name, num_classes=0)
            facts = timm.data.resolve_model_data_config(model)
            assert timm.is_model_pretrained(name)
            assert record.licence.lower() == timm.get_pretrained_cfg(name).license
            assert record.dimensions == {"image": model.num_features}
            assert record.pixels == facts["input_size"][1]
            bytes_ = sum(4 * value.numel() for value in model.state_dict().values())
            assert record.megabytes == pytest.approx(bytes_ / 1e6, abs=1)
        if record.library == "torchvision":
            published = torchvision.models.get_model_weights(name).DEFAULT
            assert record.pixels == published.transforms().crop_size[0]


def test_records_of_vlmo_are_true() -> None:
    from mmx.extract.vlmo.config import ARCHITECTURES
    from mmx.extract.vlmo.records import find

    named = {spec.partition(":")[2]: r for spec, r in ENCODERS.items() if r.family == "vlmo"}
    for name, record in named.items():
        variant = find(name)
        config = ARCHITECTURES[variant.architecture]
        fused = {"fused": config.width} if "_384_" not in name else {}
        expected = {"image": config.width, "text": config.width, **fused}
        assert record.dimensions == expected
        assert (record.pixels, record.tokens) == (variant.image_size, config.max_text_len)


def test_the_record_of_mini_is_true() -> None:
    if "clip:mini" not in ENCODERS:
        pytest.skip("clip:mini has not been trained yet")
    card, record = open_encoder("clip:mini").card, ENCODERS["clip:mini"]
    assert record.dimensions == card.dimensions
    assert (record.pixels, record.tokens) == (card.image_rule["size"], card.text_limit)
    assert record.megabytes <= 10


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("clp", "no encoder 'clp'; did you mean 'clip'"),
        ("tim:resnet50", "did you mean 'timm'"),
        ("resnet50", "did you mean 'timm:resnet50"),
        ("all-MiniLM-L6-v2", "did you mean 'sbert:all-MiniLM-L6-v2'"),
        ("", "known: clip, timm, torchvision, sbert, vlmo, toy"),
        ("7", "known: clip, timm"),
    ],
)
def test_misspelt_families(spec: str, message: str) -> None:
    with pytest.raises(EncoderError, match=message):
        open_encoder(spec)


def test_weights_that_do_not_exist() -> None:
    for spec in ("clip", "timm:resnet50", "torchvision:resnet50", "sbert:x", "vlmo"):
        with pytest.raises(EncoderError, match=r"--weights /no/such.pt does not exist"):
            open_encoder(spec, weights=Path("/no/such.pt"))


def test_vlmo_is_asked_with_what_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    from mmx.extract.encoders import vlmo

    given: list[object] = []

    def opened(*args: object, **options: object) -> Encoder:
        given.extend([args, options])
        return open_encoder("toy")

    monkeypatch.setattr(vlmo, "open_vlmo", opened)
    open_encoder("vlmo:base", weights=Path(__file__), precision="float16", head="vl", mean=None)
    args, options = given
    assert args == ("base", Path(__file__))
    assert isinstance(options, dict)
    assert (options["precision"], options["head"], options["modalities"]) == ("float16", "vl", None)
    assert "mean" not in options
    with pytest.raises(OptionError, match="--mean is not used by vlmo"):
        open_encoder("vlmo", mean=(0, 0, 0))


# Without a network

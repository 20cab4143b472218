"""The catalogue, the toy, and what happens without a network."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import time
import urllib.error
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import open_clip
import pytest
import timm
import torch.hub
import torchvision
from PIL import Image

from mmx.errors import EncoderError, OptionError
from mmx.extract import hub
from mmx.extract.encoder import Encoder
from mmx.extract.encoders import ENCODERS, listing, open_encoder
from mmx.extract.pictures.images import prepare
from tests.extract.kit import check_encoder

# The catalogue


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


# The toy


def toy_image(image: Image.Image) -> list[float]:
    encoder = open_encoder("toy")
    return encoder.encode_image(prepare(image, encoder.image_rule)[None])[0].tolist()


def test_toy_pictures_by_head() -> None:
    red = Image.new("RGB", (50, 20), (255, 0, 0))
    assert toy_image(red) == pytest.approx([1, 0, 0, 1 / 3, 0, 0, 0, 0])
    assert toy_image(Image.new("RGB", (1, 1), (255, 255, 255))) == [1, 1, 1, 1, 0, 0, 0, 1]
    left = Image.new("RGB", (8, 8))
    left.paste((255, 255, 255), (0, 0, 4, 8))
    assert toy_image(left) == pytest.approx([0.5, 0.5, 0.5, 0.5, 0.5, 1, 0, 0.5])
    bottom = Image.new("RGB", (8, 8))
    bottom.paste((0, 255, 255), (0, 4, 8, 8))
    third = 1 / 3
    assert toy_image(bottom) == pytest.approx([0, 0.5, 0.5, third, third, 0, -2 * third, 0.5])


def test_toy_texts_by_head() -> None:
    encoder = open_encoder("toy")
    batch = encoder.tokenize(["Red shoes, red size 42", "", "a " * 65])
    assert encoder.encode_text(batch).tolist() == [
        [5, 15, 6, 2, 1, 1, 5, 6],
        [0, 0, 0, 0, 0, 0, 0, 0],
        [64, 64, 64, 0, 0, 0, 1, 1],
    ]
    assert batch.count.tolist() == [5, 0, 64]
    assert batch.truncated.tolist() == [False, False, True]


def test_toy_is_the_same_in_every_batch_to_the_last_bit() -> None:
    encoder = open_encoder("toy", modalities=("fused", "text", "image"))
    check_encoder(encoder)
    pixels = np.random.default_rng(0).integers(0, 256, (9, 8, 8, 3), dtype=np.uint8)
    texts = [f"text number {n * n}" for n in range(9)]
    whole = encoder.encode_fused(pixels, encoder.tokenize(texts))
    assert whole.shape == (9, encoder.card.dimensions["fused"])
    for n in range(9):
        single = encoder.encode_fused(pixels[[n]], encoder.tokenize([texts[n]]))
        assert (single == whole[n]).all()
    assert list(encoder.card.dimensions) == ["image", "text", "fused"]


def test_toy_refuses_what_it_has_not() -> None:
    for options, message in [
        ({"precision": "bfloat16"}, "drop --precision"),
        ({"weights": Path(__file__)}, "no weights"),
        ({"mean": (0, 0, 0)}, "--mean is not used by toy"),
        ({"modalities": ("sound",)}, "--modalities sound: toy encodes image, text, fused only"),
    ]:
        with pytest.raises(OptionError, match=message):
            open_encoder("toy", **options)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="no variants"):
        open_encoder("toy:big")


# Without a network


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As on a machine without a network that has fetched nothing yet."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    def refuse_url(*args: object, **kwargs: object) -> None:
        raise urllib.error.URLError(socket.gaierror(-2, "Name or service not known"))

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(torch.hub, "urlopen", refuse_url)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("HTTPS_PROXY", "")


REMOTE = [
    "clip",
    "clip:ViT-B-32/laion400m_e31",
    "clip:hf-hub:nobody/nothing",
    "clip:hf:openai/clip-vit-base-patch16",
    "clip:hf:google/siglip-base-patch16-224",
    "timm:resnet50",
    "torchvision:squeezenet1_1",
    "sbert:all-mpnet-base-v2",
    "sbert:nobody/nothing",
]


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("spec", REMOTE)
def test_one_clear_line_and_soon(spec: str, capfd: pytest.CaptureFixture[str]) -> None:
    lines: list[str] = []
    start = time.perf_counter()
    with pytest.raises(EncoderError, match=r"cannot be reached.*--weights PATH") as error:
        open_encoder(spec, log=lines.append)
    assert time.perf_counter() - start < 40  # the client's own retries take 45 seconds a file
    assert "\n" not in str(error.value)
    assert spec in str(error.value)
    assert lines == [] or "fetched once" in lines[0]
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""
    assert huggingface_hub.constants.HF_HUB_OFFLINE is False


@pytest.mark.usefixtures("no_network")
def test_offline_mode_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(EncoderError, match="HF_HUB_OFFLINE is set"):
        open_encoder("timm:resnet50")
    assert huggingface_hub.constants.HF_HUB_OFFLINE is True


def test_reachable_knocks_at_the_proxy_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    doors = []

    class Door:
        def close(self) -> None: ...

    def knock(address: tuple[str, int], timeout: float) -> Door:
        doors.append(address)
        return Door()

    monkeypatch.setattr(socket, "create_connection", knock)
    for name in ("https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert hub.reachable("https://example.org/a/b")
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    assert hub.reachable("https://example.org")
    monkeypatch.setenv("no_proxy", "example.org")
    assert hub.reachable("https://example.org:8443")
    assert doors == [("example.org", 443), ("proxy.example", 3128), ("example.org", 8443)]


def test_quiet_leaves_logging_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before = (list(root.handlers), logging.root.manager.disable)
    with hub.quiet():
        logging.warning("not shown")
    assert (list(root.handlers), logging.root.manager.disable) == before
    assert capfd.readouterr().err == ""


def test_an_error_of_another_kind_keeps_its_reason() -> None:
    with (
        pytest.raises(EncoderError, match=r"^it cannot be loaded \(too small\); make it larger$"),
        hub.loading("it", "make it larger", remote=False),
    ):
        raise RuntimeError("\ntoo small\nand more")
    with pytest.raises(ZeroDivisionError), hub.loading("it", "fix", remote=False):
        raise ZeroDivisionError  # a mistake in the program is not hidden

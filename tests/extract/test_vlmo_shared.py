"""Every output of the official program in the development data, within the stated tolerances."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mmx.errors import EncoderError
from mmx.extract.pictures.images import ImageRule, prepare
from mmx.extract.vlmo import SECOND_IMAGE, VLMo, VLMoConfig, load
from mmx.extract.vlmo.positions import relative_index
from tests.shared import ROOT, shared

HALF = (0.5, 0.5, 0.5)
MANIFEST = ROOT / "vlmo" / "manifest.json"


def _manifest() -> dict[str, Any]:
    entries = json.loads(MANIFEST.read_text()) if MANIFEST.exists() else {}
    return {name: entry for name, entry in entries.items() if not name.startswith("_")}


ENTRIES = _manifest()
VECTORS = [(name, v["file"]) for name, entry in ENTRIES.items() for v in entry["vectors"]]
ABSENT = [pytest.param("", "", marks=pytest.mark.skip("development data vlmo/ is absent"))]


def opened(name: str, image_size: int | None = None) -> VLMo:
    entry = ENTRIES[name]
    config = None
    if entry["family"] == "abspos":  # whose files do not show the number of heads
        config = VLMoConfig(
            entry["embed_dim"],
            entry["depth"],
            entry["num_heads"],
            entry["vlffn_start_layer_index"],
            entry["image_size"],
        )
    return load(shared(f"vlmo/{entry['file']}"), config, image_size)


class Outputs:
    """The official functions' names for what mmx computes."""

    def __init__(self, model: VLMo, arrays: Any) -> None:
        self.model = model
        self.images, self.ids, self.masks = (
            torch.from_numpy(arrays[f"in.{name}"]) for name in ("images", "text_ids", "text_masks")
        )
        if "in.images_1" in arrays.files:
            self.second = torch.from_numpy(arrays["in.images_1"])

    def features(self, kind: str) -> Any:
        """Token features of the pass over an "image", a "text" or both ("vl")."""
        if kind == "image":
            return self.model.image_features(self.images)[0]
        if kind == "text":
            return self.model.text_features(self.ids, self.masks)[0]
        return self.model.fused_features(self.images, self.ids, self.masks)

    def blocks(self, kind: str) -> list[torch.Tensor]:
        """Input of the first block and output of every block of a pass."""
        seen: list[torch.Tensor] = []
        blocks = self.model.transformer.blocks
        hooks = [blocks[0].register_forward_pre_hook(lambda m, inputs: seen.append(inputs[0]))]
        hooks += [b.register_forward_hook(lambda m, inputs, out: seen.append(out)) for b in blocks]
        self.features(kind)
        for hook in hooks:
            hook.remove()
        return seen

    def fused(self, image_type: int = 1) -> torch.Tensor:
        images = self.images if image_type == 1 else self.second
        return self.model.encode_fused(images, self.ids, self.masks, image_type)

    def of(self, name: str) -> torch.Tensor:
        """The counterpart of ``ref.<name>``."""
        function, _, field = name.partition(".")
        if function == "interp":
            state = self.model.state_dict()
            return state[field if field in state else f"transformer.{field}"]
        if function == "infer":
            text, image = self.features("vl")
            values = {"text_feats": text, "image_feats": image, "raw_cls_feats": text[:, 0]}
            return values.get(field, self.model.pooled(text))
        if function.startswith("infer_") and function[-1] not in "01":
            return self.alone(function.split("_")[1], field)
        return self.fused(1 + int(function[-1])) if "infer" in function else self.logits(function)

    def logits(self, name: str) -> torch.Tensor:
        if name.startswith("itc"):
            head, scale = ("vl", "logit_vl_scale") if "vl" in name else ("itc", "logit_scale")
            images = self.model.encode_image(self.images, head)
            texts = self.model.encode_text(self.ids, self.masks, head)
            return self.model.get_parameter(scale).exp() * images @ texts.T
        if name == "nlvr2_logits":
            return self.model.nlvr2_logits(self.fused(), self.fused(SECOND_IMAGE))
        return getattr(self.model, name)(self.fused())

    def alone(self, modality: str, field: str) -> torch.Tensor:
        if field == "raw_cls_feats":  # before the final norm, unlike the fused one
            return self.blocks(modality)[-1][:, 0]
        if field in ("image_feats", "text_feats"):
            return self.features(modality)
        head = "vl" if "vlffn" in field else "itc"
        if modality == "image":
            return self.model.encode_image(self.images, head)
        return self.model.encode_text(self.ids, self.masks, head)


def tolerance(name: str) -> float:
    if name.startswith("interp"):
        return 1e-5
    if "raw_cls" in name:
        return 1e-4
    alone = name.startswith(("infer_image.", "infer_image_ft", "infer_text"))
    return 5e-6 if alone and "cls" in name else 3e-5


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.mark.parametrize(("name", "vectors"), VECTORS or ABSENT)
def test_official_outputs(name: str, vectors: str) -> None:
    size = next(v["image_size"] for v in ENTRIES[name]["vectors"] if v["file"] == vectors)
    arrays = np.load(shared(f"vlmo/{vectors}"))
    outputs = Outputs(opened(name, size), arrays)
    for key in arrays.files:
        output = key.removeprefix("ref.")
        if output != key:
            ours, wanted = outputs.of(output).numpy(), arrays[key]
            assert ours.shape == wanted.shape, output
            np.testing.assert_allclose(ours, wanted, rtol=0, atol=tolerance(output), err_msg=output)


DEBUG = [name for name, entry in ENTRIES.items() if "debug" in entry]


@pytest.mark.parametrize("name", DEBUG or [pytest.param("", marks=ABSENT[0].marks)])
def test_every_block_and_bias(name: str) -> None:
    entry = ENTRIES[name]
    debug = np.load(shared(f"vlmo/{entry['debug']}"))
    outputs = Outputs(opened(name), np.load(shared(f"vlmo/{entry['vectors'][0]['file']}")))
    model, depth = outputs.model, entry["depth"]
    N = model.config.image_tokens
    tokens = {"image": np.arange(N), "text": N + np.arange(40)}
    tokens["vl"] = np.concatenate([tokens["text"], tokens["image"]])  # there the text comes first
    for kind, order in tokens.items():
        names = ["input", *(f"block{n}" for n in range(depth))]
        for block, hidden in zip(names, outputs.blocks(kind), strict=True):
            ours = hidden[:2, order] if kind == "vl" else hidden[:2]
            wanted = debug[f"hidden.{kind}.{block}"]
            np.testing.assert_allclose(ours.numpy(), wanted, rtol=0, atol=3e-5)
        if entry["family"] == "relpos":
            index = relative_index(model.config.grid, 40, model.config.table_text_len)
            assert (index[np.ix_(order, order)] == debug[f"relpos_index.{kind}"]).all()
            every = slice(None)
            bias = model.relative_bias.of(model.relative_position_bias_table, every, every)
            bias = bias[:, 0][:, :, order][:, :, :, order].numpy()  # (L, H, N, N)
            assert (bias[0] == debug[f"relpos_bias.{kind}.layer0"]).all()
            assert (bias[-1] == debug[f"relpos_bias.{kind}.last"]).all()


@pytest.mark.parametrize(("name", "vectors"), VECTORS or ABSENT)
def test_cropping_and_the_batch_change_nothing(name: str, vectors: str) -> None:
    size = next(v["image_size"] for v in ENTRIES[name]["vectors"] if v["file"] == vectors)
    outputs = Outputs(opened(name, size), np.load(shared(f"vlmo/{vectors}")))
    model, (images, ids, masks) = outputs.model, (outputs.images, outputs.ids, outputs.masks)
    text, image = model.fused_features(images, ids, masks)
    alone = model.text_features(ids, masks)[0]
    for longest in masks.sum(dim=1).unique():
        rows = masks.sum(dim=1) <= longest
        cut = (ids[rows, :longest], masks[rows, :longest])
        if cut[0].numel() < 8:  # so few rows of a matrix product may round otherwise
            continue
        used = cut[1].bool()
        cut_text, cut_image = model.fused_features(images[rows], *cut)
        pairs = [
            (cut_text[used], text[rows, :longest][used]),
            (cut_image, image[rows]),
            (model.text_features(*cut)[0][used], alone[rows, :longest][used]),
            (model.pooled(cut_text), model.pooled(text)[rows]),
        ]
        for ours, wanted in pairs:
            torch.testing.assert_close(ours, wanted, rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", [n for n in ENTRIES if "irtr" in n] or [ABSENT[0].values[0]])
def test_retrieval_files_have_no_trained_fusion(name: str) -> None:
    arrays = np.load(shared(f"vlmo/{name}.vectors.npz"))
    with pytest.raises(EncoderError, match="no trained fusion; its heads: pooler, itc; use"):
        Outputs(opened(name), arrays).fused()


@pytest.mark.parametrize("case", ["case0", "case1", "case2", "case3", "pillow_dependent"])
def test_official_image_transform(case: str) -> None:
    arrays = np.load(shared("vlmo/preproc.npz"))
    size = int(arrays[f"{case}.size"])
    picture = Image.fromarray(arrays[f"{case}.raw_rgb_hwc"])
    rule = ImageRule(size, size, "squash", "bicubic", HALF, HALF)
    pixels = torch.from_numpy(prepare(picture, rule).copy()).permute(2, 0, 1).float()
    ours = pixels.div(255).sub(0.5).div(0.5).numpy()
    step = 2 / 255  # one grey level after normalisation; newer Pillow rounds narrow pictures again
    allowed = 3.01 * step if case == "pillow_dependent" else 0
    np.testing.assert_allclose(ours, arrays[f"{case}.pixels_chw"], rtol=0, atol=allowed)

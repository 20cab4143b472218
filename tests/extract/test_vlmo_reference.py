"""VLMo equals a slow implementation of its own in every pass, in float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mmx.extract.vlmo import VLMoConfig
from tests.extract.tiny_vlmo import ABSPOS, RELPOS, Slow, inputs, tiny

GOLDEN = Path(__file__).parent / "fixtures" / "vlmo_tiny.npz"
BOTH = pytest.mark.parametrize("config", [RELPOS, ABSPOS], ids=["relpos", "abspos"])


def passes(model, pixels, ids, mask) -> dict[str, torch.Tensor]:
    """Every output of the model by name."""
    with torch.inference_mode():
        text, image = model.fused_features(pixels, ids, mask)
        fused = model.encode_fused(pixels, ids, mask)
        return {
            "image.itc": model.encode_image(pixels),
            "image.vl": model.encode_image(pixels, "vl"),
            "text.itc": model.encode_text(ids, mask),
            "text.vl": model.encode_text(ids, mask, "vl"),
            "fused": fused,
            "fused.text": text,
            "fused.image": image,
            "itm": model.itm_logits(fused),
        }


@BOTH
def test_features_equal_the_slow_way(config: VLMoConfig) -> None:
    model = tiny(config).double()
    slow, (pixels, ids, mask) = Slow(model), inputs(config)
    pixels = pixels.double()
    with torch.inference_mode():
        images = model.image_features(pixels, ("itc", "vl"))
        texts = model.text_features(ids, mask, ("itc", "vl"))
        fused = torch.cat(model.fused_features(pixels, ids, mask), dim=1)
    for sample in range(len(ids)):
        one = (pixels[sample].numpy(), ids[sample].numpy(), mask[sample].numpy())
        for branch, image, text in zip(("itc", "vl"), images, texts, strict=True):
            expected = slow.image(one[0], branch)
            np.testing.assert_allclose(image[sample].numpy(), expected, atol=1e-10)
            np.testing.assert_allclose(
                text[sample].numpy(), slow.text(*one[1:], branch), atol=1e-10
            )
        np.testing.assert_allclose(fused[sample].numpy(), slow.fused(*one), atol=1e-10)


@BOTH
def test_embeddings_equal_the_slow_way(config: VLMoConfig) -> None:
    model = tiny(config)
    slow, (pixels, ids, mask) = Slow(model), inputs(config)
    out = passes(model, pixels, ids, mask)
    for sample in range(len(ids)):
        one = (pixels[sample].double().numpy(), ids[sample].numpy(), mask[sample].numpy())
        for branch, prefix in (("itc", "itc"), ("vl", "itc_vl")):
            image = slow.unit(slow.image(one[0], branch), f"{prefix}_image_proj")
            text = slow.unit(slow.text(*one[1:], branch), f"{prefix}_text_proj")
            np.testing.assert_allclose(out[f"image.{branch}"][sample], image, atol=5e-6)
            np.testing.assert_allclose(out[f"text.{branch}"][sample], text, atol=5e-6)
        fused = slow.pooled(slow.fused(*one))
        np.testing.assert_allclose(out["fused"][sample], fused, atol=3e-5)
        np.testing.assert_allclose(
            out["itm"][sample], slow.linear(fused, "itm_score.fc"), atol=3e-5
        )


@BOTH
def test_recorded_outputs(config: VLMoConfig) -> None:
    """The first sample's outputs as they were when the slow way was last compared."""
    out = passes(tiny(config), *inputs(config))
    golden = np.load(GOLDEN)
    for name, value in out.items():
        recorded = golden[f"{config.family}.{name}"]
        np.testing.assert_allclose(value[0].numpy()[..., :8], recorded, atol=3e-5, err_msg=name)

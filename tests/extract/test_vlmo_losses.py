"""The training losses against formulas written out in loops, and their gradients."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from mmx.errors import EncoderError, OptionError
from mmx.extract.vlmo import VLMoConfig
from mmx.extract.vlmo.losses import (
    IGNORED,
    hard_negatives,
    itc_loss,
    itm_loss,
    mask_tokens,
    mlm_loss,
)
from tests.extract.tiny_vlmo import ABSPOS, HEADS, RELPOS, Slow, inputs, tiny

BOTH = pytest.mark.parametrize("config", [RELPOS, ABSPOS], ids=["relpos", "abspos"])


def cross_entropy(row: list[float], wanted: int) -> float:
    return math.log(math.fsum(math.exp(z) for z in row)) - row[wanted]


def contrast(images: list, texts: list, scale: float) -> float:
    """Mean over both directions of the cross-entropy of each row of scaled dot products."""
    logits = [[scale * float(i @ t) for t in texts] for i in images]
    rows = [cross_entropy(row, n) for n, row in enumerate(logits)]
    columns = [cross_entropy(list(c), n) for n, c in enumerate(zip(*logits, strict=True))]
    return (math.fsum(rows) / len(rows) + math.fsum(columns) / len(columns)) / 2


def slow_pairs(slow: Slow, pixels, ids, mask, branch: str) -> tuple[list, list]:
    prefix = "itc" if branch == "itc" else "itc_vl"
    images = [slow.unit(slow.image(p, branch), f"{prefix}_image_proj") for p in pixels]
    texts = [
        slow.unit(slow.text(i, m, branch), f"{prefix}_text_proj")
        for i, m in zip(ids, mask, strict=True)
    ]
    return images, texts


@BOTH
@pytest.mark.parametrize("heads", [HEADS, ("pooler", "itc")], ids=["pre-training", "retrieval"])
def test_itc_is_the_mean_of_both_branches(config: VLMoConfig, heads: tuple[str, ...]) -> None:
    model, (pixels, ids, mask) = tiny(config, heads), inputs(config)
    result = itc_loss(model, pixels, ids, mask)
    slow, arrays = Slow(model), [x.numpy() for x in (pixels.double(), ids, mask)]
    expected = []
    for branch, scale in (("itc", "logit_scale"), ("vl", "logit_vl_scale")):
        if branch in heads:
            images, texts = slow_pairs(slow, *arrays, branch)
            expected.append(contrast(images, texts, math.exp(slow.p[scale])))
    assert result.loss.item() == pytest.approx(sum(expected) / len(expected), abs=1e-5)
    first = float(slow_pairs(slow, *arrays, "itc")[0][0] @ slow_pairs(slow, *arrays, "itc")[1][1])
    scale = math.exp(slow.p["logit_scale"])
    assert result.logits[0, 1].item() == pytest.approx(scale * first, abs=1e-5)


@BOTH
def test_itm_sees_each_pair_and_two_wrong_ones(config: VLMoConfig) -> None:
    model, (pixels, ids, mask) = tiny(config), inputs(config)
    sure = torch.full((3, 3), -50.0)  # image 0 draws text 1, 1 draws 2, 2 draws 0
    for image, text in ((0, 1), (1, 2), (2, 0)):
        sure[image, text] = 50.0
    result = itm_loss(model, pixels, ids, mask, sure)
    slow, (p, i, m) = Slow(model), [x.numpy() for x in (pixels.double(), ids, mask)]
    pairs = [(0, 0), (1, 1), (2, 2), (2, 0), (0, 1), (1, 2), (0, 1), (1, 2), (2, 0)]
    logits = [
        slow.linear(slow.pooled(slow.fused(p[image], i[text], m[text])), "itm_score.fc")
        for image, text in pairs
    ]
    assert result.labels.tolist() == [1] * 3 + [0] * 6
    wanted = [cross_entropy(list(row), int(n < 3)) for n, row in enumerate(logits)]
    assert result.loss.item() == pytest.approx(math.fsum(wanted) / 9, abs=1e-5)
    for row, expected in zip(result.logits, logits, strict=True):
        assert row.tolist() == pytest.approx(list(expected), abs=3e-5)


def test_hard_negatives_are_drawn_by_similarity_and_never_the_pair() -> None:
    similarity = torch.tensor([[90.0, 0.0, math.log(3.0)], [5.0, 200.0, 5.0], [1.0, 1.0, 0.0]])
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack([hard_negatives(similarity, generator) for _ in range(4000)])
    assert not (draws == torch.arange(3)).any()  # although softmax gives the pair all but 1e-38
    assert (draws[:, 0] == 2).float().mean().item() == pytest.approx(0.75, abs=0.03)
    assert (draws[:, 1] == 0).float().mean().item() == pytest.approx(0.5, abs=0.03)
    with pytest.raises(OptionError, match="at least two pairs"):
        hard_negatives(torch.ones(1, 1))


def test_hard_negatives_are_those_of_torch_s_multinomial() -> None:
    """To the bit, of rows and of columns: a seed means what it always meant."""
    similarity = torch.randn(300, 300, generator=torch.Generator().manual_seed(1)) * 4
    for given in (similarity, similarity.T, similarity[:40, :40].T, similarity.bfloat16()):
        weights = given.float().clone().fill_diagonal_(float("-inf")).softmax(1)
        generators = [torch.Generator().manual_seed(3) for _ in range(2)]
        for _ in range(2):
            expected = torch.multinomial(weights, 1, generator=generators[0])[:, 0]
            assert torch.equal(hard_negatives(given, generators[1]), expected)


@BOTH
def test_mlm_is_the_mean_over_hidden_words(config: VLMoConfig) -> None:
    model, (pixels, ids, mask) = tiny(config), inputs(config)
    pixels, ids, mask = pixels[1:], ids[1:], mask[1:]  # cropped to 4 tokens
    labels = torch.full_like(ids, IGNORED)
    labels[0, 2], labels[1, 1] = 11, 23
    loss = mlm_loss(model, pixels, ids, mask, labels)
    slow, losses = Slow(model), []
    for sample, place in ((0, 2), (1, 1)):
        x = slow.fused(pixels[sample].double().numpy(), ids[sample].numpy(), mask[sample].numpy())
        hidden = slow.linear(x[place], "mlm_score.transform.dense")
        gelu = [0.5 * z * (1 + math.erf(z / math.sqrt(2))) for z in hidden]
        normed = slow.norm(
            torch.tensor(gelu).double().numpy(), "mlm_score.transform.LayerNorm", 1e-12
        )
        logits = slow.p["mlm_score.decoder.weight"] @ normed + slow.p["mlm_score.bias"]
        losses.append(cross_entropy(list(logits), int(labels[sample, place])))
    assert loss.item() == pytest.approx(sum(losses) / 2, abs=1e-5)
    nothing = mlm_loss(model, pixels, ids, mask, torch.full_like(ids, IGNORED))
    assert nothing.item() == 0


@BOTH
def test_together_the_losses_reach_every_parameter(config: VLMoConfig) -> None:
    model, (pixels, ids, mask) = tiny(config).train(), inputs(config)
    contrasted = itc_loss(model, pixels, ids, mask)
    matched = itm_loss(model, pixels, ids, mask, contrasted.logits)
    labels = torch.where(mask.bool(), ids, IGNORED)
    (contrasted.loss + matched.loss + mlm_loss(model, pixels, ids, mask, labels)).backward()
    still = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not still, f"no gradient for {still}"


@BOTH
@pytest.mark.parametrize("loss", ["itc", "itm", "mlm"])
def test_gradients_are_those_of_finite_differences(config: VLMoConfig, loss: str) -> None:
    model, (pixels, ids, mask) = tiny(config).double(), inputs(config)
    pixels, labels = pixels.double(), torch.where(mask.bool(), ids, IGNORED)
    sure = torch.tensor([[0.0, 99, 0], [0, 0, 99], [99, 0, 0]])

    def value() -> torch.Tensor:
        if loss == "itc":
            return itc_loss(model, pixels, ids, mask).loss
        if loss == "itm":
            return itm_loss(model, pixels, ids, mask, sure).loss
        return mlm_loss(model, pixels, ids, mask, labels)

    value().backward()
    names = ["transformer.blocks.0.attn.qkv.weight", "text_embeddings.word_embeddings.weight"]
    if config.family == "relpos":
        names.append("relative_position_bias_table")
    for name in names:
        parameter = model.get_parameter(name)
        place = int(parameter.grad.abs().argmax())
        step, flat = 1e-5, parameter.data.view(-1)
        flat[place] += step
        above = value().item()
        flat[place] -= 2 * step
        slope = (above - value().item()) / (2 * step)
        flat[place] += step
        found = parameter.grad.view(-1)[place].item()
        assert found == pytest.approx(slope, rel=1e-5, abs=1e-9), name


def test_masking_hides_as_bert_does() -> None:
    ids = torch.randint(5, 1000, (400, 40), generator=torch.Generator().manual_seed(1))
    ids[:, 0], ids[:, 20] = 1, 2
    mask = (torch.arange(40) < 30).long().expand(400, 40)
    replaced, labels = mask_tokens(
        ids,
        mask,
        special=[0, 1, 2],
        mask_id=3,
        vocab_size=1000,
        generator=torch.Generator().manual_seed(2),
    )
    chosen = labels != IGNORED
    assert (labels[chosen] == ids[chosen]).all()
    assert (replaced[~chosen] == ids[~chosen]).all()
    assert not chosen[:, 30:].any()
    assert not chosen[:, [0, 20]].any()
    assert chosen[:, 1:20].float().mean().item() == pytest.approx(0.15, abs=0.01)
    hidden = (replaced[chosen] == 3).float().mean().item()
    kept = (replaced[chosen] == ids[chosen]).float().mean().item()
    assert hidden == pytest.approx(0.8, abs=0.03)
    assert kept == pytest.approx(0.1, abs=0.03)


def test_losses_ask_for_their_heads() -> None:
    model, (pixels, ids, mask) = tiny(RELPOS, ("pooler", "itc")), inputs(RELPOS)
    with pytest.raises(EncoderError, match="no ITM head; its heads: pooler, itc"):
        itm_loss(model, pixels, ids, mask, torch.zeros(3, 3))
    with pytest.raises(EncoderError, match="no MLM head; its heads: pooler, itc"):
        mlm_loss(model, pixels, ids, mask, ids)


def test_stochastic_depth_and_dropout_only_in_training() -> None:
    config = replace(ABSPOS, drop_path=0.9)
    model, plain, (pixels, ids, mask) = tiny(config), tiny(ABSPOS), inputs(config)
    torch.testing.assert_close(model.encode_image(pixels), plain.encode_image(pixels))
    model.train()
    assert [block.drop_path for block in model.transformer.blocks] == pytest.approx([0, 0.45, 0.9])
    torch.manual_seed(0)
    texts = torch.stack([model.encode_text(ids, mask) for _ in range(4)])
    assert texts.std(dim=0).max() > 1e-3

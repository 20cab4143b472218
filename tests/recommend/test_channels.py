"""SLMRec, MMGCL and UGNN against slow float64 references with loops over nodes and modalities."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch

from mmx.errors import OptionError
from mmx.recommend.blocks.channels import Spread
from mmx.recommend.blocks.losses import in_batch
from mmx.recommend.models.mmgcl import Draws
from tests.recommend.toy import (
    ABSENT,
    N_ITEMS,
    N_USERS,
    PAIRS,
    same_scores,
    same_step,
    toy_features,
    toy_model,
    triples,
)  # fmt: skip

Parameters = Mapping[str, torch.Tensor]
LAYERS, DIM = 2, 4


def propagated(x: torch.Tensor, pairs: list[tuple[int, int]]) -> torch.Tensor:
    """Mean over layers of D^-½ A D^-½ powers, node by node; x is (users + items, k)."""
    edges = [(u, N_USERS + i) for u, i in pairs]
    edges += [(b, a) for a, b in edges]
    degree = [sum(a == node for a, _ in edges) for node in range(len(x))]
    total, layer = x.clone(), x
    for _ in range(LAYERS):
        rows = [torch.zeros(x.shape[1], dtype=x.dtype) for _ in range(len(x))]
        for a, b in edges:
            rows[a] = rows[a] + layer[b] / (degree[a] * degree[b]) ** 0.5
        layer = torch.stack(rows)
        total = total + layer
    return total / (LAYERS + 1)


def starts(p: Parameters, modalities: list[str]) -> list[torch.Tensor]:
    """Layer-0 item embeddings of each channel."""
    found = [p["channels.item"]]
    for m in modalities:
        matrix = torch.from_numpy(toy_features(m)[m].normalised().matrix).double()
        rows = []
        for item in range(N_ITEMS):
            absent = item in ABSENT[m]
            f = p[f"channels.content.{m}.default"] if absent else matrix[item]
            rows.append(p[f"channels.project.{m}"] @ f + p[f"channels.offset.{m}"])
        found.append(torch.stack(rows))
    return found


def channels(
    p: Parameters, items: list[torch.Tensor], pairs: list[tuple[int, int]]
) -> tuple[torch.Tensor, torch.Tensor]:
    mixed = [propagated(torch.cat([p["channels.user"], i]), pairs) for i in items]
    both = torch.cat(mixed, 1)
    return both[:N_USERS], both[N_USERS:]


def mapped(p: Parameters, name: str, x: torch.Tensor) -> torch.Tensor:
    return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]


def infonce(left: torch.Tensor, right: torch.Tensor, t: float, extra: list | None = None):  # type: ignore[no-untyped-def]
    losses = []
    for b in range(len(left)):
        logits = [left[b] @ r / t for r in right]
        denominator = [*logits, *([left[b] @ extra[b] / t] if extra else [])]
        losses.append(torch.logsumexp(torch.stack(denominator), 0) - logits[b])
    return torch.stack(losses).mean()


def unit(x: torch.Tensor) -> torch.Tensor:
    return x / x.norm(dim=-1, keepdim=True)


@pytest.mark.parametrize("modalities", [["image"], ["image", "text"], ["audio", "image", "text"]])
def test_slmrec(modalities: list[str]) -> None:
    settings = {"dim": DIM, "layers": LAYERS, "ssl_weight": 0.3, "temperature": 0.4}
    model = toy_model("slmrec", *modalities, ssl_temperature=0.7, **settings)

    def scores(p: Parameters) -> torch.Tensor:
        u, i = channels(p, starts(p, modalities), PAIRS)
        return mapped(p, "fuse_user", u) @ mapped(p, "fuse_item", i).T

    def loss(p: Parameters, triples: list[tuple[int, int, int]]) -> torch.Tensor:
        u, i = channels(p, starts(p, modalities), PAIRS)
        z_u = unit(mapped(p, "fuse_user", torch.stack([u[a] for a, _, _ in triples])))
        z_i = unit(mapped(p, "fuse_item", torch.stack([i[b] for _, b, _ in triples])))
        total = infonce(z_u, z_i, 0.4)
        mine = torch.stack([i[b] for _, b, _ in triples])
        x = mine[:, :DIM]
        for step in range(len(modalities)):
            x = mapped(p, f"coarse.{step}", x)
            other = mine[:, (step + 1) * DIM : (step + 2) * DIM]
            total = total + 0.3 * infonce(x, mapped(p, f"fine.{step}", other), 0.7)
        return total

    same_scores(model, scores)
    same_step(model, loss)


def test_spread_vectors_give_what_propagation_in_each_step_gives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = toy_model("slmrec", "image", "text", dim=DIM, layers=3)
    channels, users, items = model.channels, torch.tensor([3, 0, 3]), torch.tensor([8, 2])
    with torch.autocast("cpu", torch.bfloat16):
        channels.rows(users, items)  # must leave nothing of its precision behind
    quick = channels.rows(users, items)
    of_users, of_items = channels.propagate(channels.starts())
    torch.testing.assert_close(quick[0], of_users[users])
    torch.testing.assert_close(quick[1], of_items[items])
    monkeypatch.setattr("mmx.recommend.blocks.channels.LARGEST", 0)
    monkeypatch.setattr(Spread, "__call__", None)  # must not be called
    torch.testing.assert_close(channels.rows(users, items), quick)


def test_vectors_that_change_are_spread_anew_and_those_in_training_are_not() -> None:
    model = toy_model("slmrec", "image", dim=DIM, layers=2)
    users, items = torch.tensor([1]), torch.tensor([4, 5])
    content = model.channels.content["image"]
    before = model.channels.rows(users, items)[1]
    content.matrix = content.matrix + 1
    after = model.channels.rows(users, items)[1]
    assert not torch.allclose(before, after)
    content.matrix = content.matrix.detach().requires_grad_(True)
    same = model.channels.rows(users, items)[1]
    torch.testing.assert_close(same, after)
    same.sum().backward()
    assert content.matrix.grad.abs().sum() > 0


def test_in_batch_counts_a_column_and_a_row_as_often_as_it_stands_for() -> None:
    drawn = torch.Generator().manual_seed(0)
    rows, columns = torch.tensor([0, 1, 2, 1, 1]), torch.tensor([2, 0, 0, 1, 2])
    left, right = (torch.randn(3, 4, generator=drawn) for _ in range(2))
    pairs = sorted(zip(rows.tolist(), columns.tolist(), strict=True))
    left.requires_grad_()
    right.requires_grad_()
    whole = infonce(left[[r for r, _ in pairs]], right[[c for _, c in pairs]], 0.3)
    found = in_batch(left[[r for r, _ in pairs]], right, 0.3,
                     torch.tensor([c for _, c in pairs]), torch.tensor([2, 1, 2]))  # fmt: skip
    torch.testing.assert_close(found, whole)
    for a, b in zip(*(torch.autograd.grad(x, (left, right)) for x in (found, whole)), strict=True):
        torch.testing.assert_close(a, b)
    counts = torch.tensor([1, 3, 0])
    repeated = torch.arange(3).repeat_interleave(counts)
    whole = infonce(left[repeated], right[repeated], 0.3)
    found = in_batch(left, right, 0.3, torch.arange(3), counts, counts)
    torch.testing.assert_close(found, whole)
    for a, b in zip(*(torch.autograd.grad(x, (left, right)) for x in (found, whole)), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("modalities", [["image"], ["image", "text"]])
@pytest.mark.parametrize("picks", [(0, -1), (-1, 0)])
def test_mmgcl(monkeypatch: pytest.MonkeyPatch, modalities: list[str], picks: tuple) -> None:
    masked_modality, exchanged = (pick % len(modalities) for pick in picks)
    model = toy_model("mmgcl", *modalities, dim=DIM, layers=LAYERS, ssl_weight=0.5, temperature=0.3)
    lost, masked = {2, 7}, {0, 4, 8}
    pairs = sorted(PAIRS)
    draws = Draws(
        torch.tensor([n not in lost for n in range(len(pairs))]),
        torch.tensor([[i in masked] for i in range(N_ITEMS)]),
        torch.tensor(masked_modality),
        torch.tensor(exchanged),
    )
    monkeypatch.setattr(model, "draw", lambda: draws)

    def contrast(p: Parameters, items: list, kept: list, triples: list) -> torch.Tensor:
        u, i = channels(p, items, kept)
        lefts, rights, hards = [], [], []
        for a, b, c in triples:
            hard = i[b].clone()
            place = slice((1 + exchanged) * DIM, (2 + exchanged) * DIM)
            hard[place] = i[c][place]
            lefts.append(unit(mapped(p, "read_user", u[a])))
            rights.append(unit(mapped(p, "read_item", i[b])))
            hards.append(unit(mapped(p, "read_item", hard)))
        return infonce(torch.stack(lefts), torch.stack(rights), 0.3, hards)

    def scores(p: Parameters) -> torch.Tensor:
        u, i = channels(p, starts(p, modalities), PAIRS)
        return mapped(p, "read_user", u) @ mapped(p, "read_item", i).T

    def loss(p: Parameters, triples: list[tuple[int, int, int]]) -> torch.Tensor:
        s = scores(p)
        total = torch.stack([-torch.log(torch.sigmoid(s[a, b] - s[a, c])) for a, b, c in triples])
        items = starts(p, modalities)
        blank = [x.clone() for x in items]
        keep = torch.tensor([[float(i not in masked)] for i in range(N_ITEMS)]).double()
        blank[1 + masked_modality] = blank[1 + masked_modality] * keep
        kept = [pair for n, pair in enumerate(pairs) if n not in lost]
        views = contrast(p, items, kept, triples) + contrast(p, blank, PAIRS, triples)
        return total.mean() + 0.5 * views

    same_scores(model, scores)
    same_step(model, loss)


def test_mmgcl_draws_follow_the_generator() -> None:
    first, second = (toy_model("mmgcl", "image", "text", edge_dropout=0.5) for _ in range(2))
    a, b, c = first.draw(), second.draw(), first.draw()
    assert torch.equal(a.kept, b.kept)
    assert not (torch.equal(a.kept, c.kept) and torch.equal(a.masked, c.masked))
    shares = torch.stack([first.draw().kept.float().mean() for _ in range(300)])
    assert abs(shares.mean().item() - 0.5) < 0.05


@pytest.mark.parametrize("modalities", [["image"], ["audio", "image", "text"]])
def test_ugnn(monkeypatch: pytest.MonkeyPatch, modalities: list[str]) -> None:
    model = toy_model("ugnn", *modalities, dim=DIM, layers=LAYERS, ssl_weight=0.5, temperature=0.3)
    lost, pairs = {2, 7}, sorted(PAIRS)
    monkeypatch.setattr(model, "draw", lambda: torch.tensor([n not in lost for n in range(16)]))

    def scores(p: Parameters) -> torch.Tensor:
        u, i = channels(p, starts(p, modalities), PAIRS)
        return mapped(p, "read_user", u) @ mapped(p, "read_item", i).T

    def loss(p: Parameters, triples: list[tuple[int, int, int]]) -> torch.Tensor:
        s = scores(p)
        total = torch.stack([-torch.log(torch.sigmoid(s[a, b] - s[a, c])) for a, b, c in triples])
        kept = [pair for n, pair in enumerate(pairs) if n not in lost]
        u, i = channels(p, starts(p, modalities), kept)
        left = [unit(mapped(p, "read_user", u[a])) for a, _, _ in triples]
        right = [unit(mapped(p, "read_item", i[b])) for _, b, _ in triples]
        return total.mean() + 0.5 * infonce(torch.stack(left), torch.stack(right), 0.3)

    same_scores(model, scores)
    same_step(model, loss)


def test_ugnn_drops_pairs_in_training_alone() -> None:
    model = toy_model("ugnn", "image", "text", edge_dropout=0.5)
    shares = torch.stack([model.draw().float().mean() for _ in range(300)])
    assert abs(shares.mean().item() - 0.5) < 0.05
    with torch.no_grad():
        assert torch.equal(model.factors()[0], model.factors()[0])
        assert model.loss(*triples()) != model.loss(*triples())


def test_ugnn_needs_features_and_decays_all_its_weights() -> None:
    with pytest.raises(OptionError, match="ugnn needs item features"):
        toy_model("ugnn")
    (group,) = toy_model("ugnn", "image", reg=0.25).parameter_groups(0.1)
    assert group["weight_decay"] == 0.25

"""The models that ``parity.py`` compares: which weights are which, and what is known to differ.

A model is an ``Entry``; a reason to differ is a numbered line of ``DIFFERENCES``, and in the entry
a function that removes it, from MMRec's model where that can be done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import cycle
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from mmrec import module_of
from torch import nn

Get = Callable[[str], Any]  # a name in MMRec's model → its value or gradient, None if it has none
Change = Callable[[Any, Any], None]  # of our model and MMRec's
K = 8  # dim of all embeddings; MMRec's embedding_size

DIFFERENCES = {
    1: "MMRec trains the feature vectors too, though its item graphs stay those of the first ones; "
    "ours are frozen",
    2: "MMRec's L2 term (`EmbLoss`) is the norms, not squared, of what a batch touches, over B, in "
    "VBPR those of the projected features too; ours is the paper's ½‖·‖² of the embeddings, over B",
    3: "MMRec's VBPR has neither β_i nor β' of equation 4",
    4: "MMRec's VBPR projects features with an offset, which adds the same to all scores of a user",
    5: "MMRec's LayerGCN sums the loss over a batch; ours is the mean, which leaves Adam's steps "
    "the same",
    6: "MMRec's LGMRec draws Gumbel noise in scoring too, so that scores differ from call to call; "
    "ours take softmax(logits)",
    7: "MMRec's LATTICE propagates by D⁻¹(A + I); ours by D^-½ A D^-½, LightGCN's own",
    8: "MMRec's LATTICE normalises the learned graphs after they are mixed, ours before "
    "(equations 5 and 6)",
    9: "MMRec's GRCN, MMGCN and SLMRec score with the embeddings that the last batch left, from "
    "before its step",
    10: "MMRec's MMGCN never trains the id embeddings and the users' preferences: they are not "
    "registered as parameters",
    11: "MMRec's MMGCN weighs the mean square of the ids of a batch and of all users' image "
    "preferences; ours is ½‖·‖² of the ids of a batch, over B (0 by default in both)",
    12: "MMRec's SLMRec keeps the linear layer of an audio step that it does not have",
    13: "MMRec's SLMRec passes scores through a sigmoid, which keeps their order",
    14: "MMRec's ItemKNNCBF counts an item among its own neighbours",
    15: "MMRec's ItemKNNCBF takes vectors that are not centred on the catalogue's mean",
    16: "MMRec's GRCN routes along edges from users to items, so that users' prototypes stay as "
    "they were; ours along the others, as in the paper",
    17: "MMRec's GRCN adds the mean square of all users' image prototypes to the loss",
}


def _nothing(ours: Any, theirs: Any) -> None:
    pass


@dataclass(frozen=True)
class Entry:
    """One model of both programs."""

    model: str  # ours
    theirs: str  # class
    # our parameters from MMRec's; linear, so that gradients are mapped the same. None: closed form
    weights: Callable[[Get], Mapping[str, Any]] | None
    settings: Mapping[str, Any] = field(default_factory=dict)  # of MMRec's
    ours: Mapping[str, Any] = field(default_factory=dict)
    without: Mapping[int, Change] = field(default_factory=dict)  # differences and their removal
    setup: Change = _nothing  # copies what is random
    epoch: Change = _nothing  # after MMRec's start of an epoch


def _nodes(user: Any, item: Any) -> Any:
    return torch.cat([user, item])


def _ids(get: Get) -> Any:
    return _nodes(get("user_embedding.weight"), get("item_id_embedding.weight"))


def _linear(get: Get, ours: str, theirs: str) -> dict[str, Any]:
    return {f"{ours}.weight": get(f"{theirs}.weight"), f"{ours}.bias": get(f"{theirs}.bias")}


def _projected(get: Get, name: str, layer: str) -> dict[str, Any]:
    """A ProjectedContent from a linear layer."""
    return {f"{name}.weight": get(f"{layer}.weight"), f"{name}.offset": get(f"{layer}.bias")}


def _freeze(ours: Any, theirs: Any) -> None:
    for table in (theirs.image_embedding, theirs.text_embedding):
        table.weight.requires_grad_(False)


def _squared(ours: Any, theirs: Any) -> None:
    def squares(*parts: torch.Tensor) -> torch.Tensor:
        return torch.stack([part.square().sum() for part in parts]).sum() / (2 * len(parts[0]))

    del theirs.reg_loss
    theirs.reg_loss = squares


# BPR, LightGCN, LayerGCN


def _bpr(get: Get) -> dict[str, Any]:
    return {"user": get("user_embedding.weight"), "item": get("item_embedding.weight")}


def _lightgcn(get: Get) -> dict[str, Any]:
    return {"nodes": _nodes(get("embedding_dict.user_emb"), get("embedding_dict.item_emb"))}


def _layergcn(get: Get) -> dict[str, Any]:
    return {"nodes": _nodes(get("user_embeddings"), get("item_embeddings"))}


def _mean_of_batch(ours: Any, theirs: Any) -> None:
    summed = theirs.calculate_loss
    theirs.calculate_loss = lambda batch: summed(batch) / len(batch[0])


# VBPR


def _vbpr(get: Get) -> dict[str, Any]:
    user, project, biased = get("u_embedding"), get("item_linear.weight"), get("beta_content")
    texts = project.shape[1] - 300  # text first
    found = {
        "user": user[:, :K],
        "taste": user[:, K:],
        "item": get("i_embedding"),
        "project.text": project[:, :texts],
        "project.image": project[:, texts:],
        "bias": get("beta"),
    }
    if biased is not None:
        found |= {"content_bias.text": biased[:texts], "content_bias.image": biased[texts:]}
    return found


def _add_biases(ours: Any, theirs: Any) -> None:
    """β_i and β'·f_i as two more columns of the items, beside ones of the users."""
    plain = theirs.forward
    theirs.beta = nn.Parameter(torch.zeros(theirs.n_items))
    theirs.beta_content = nn.Parameter(torch.zeros(theirs.item_raw_features.shape[1]))

    def forward() -> tuple[torch.Tensor, torch.Tensor]:
        user, item = plain()
        biases = torch.stack([theirs.beta, theirs.item_raw_features @ theirs.beta_content], 1)
        return torch.cat([user, torch.ones(len(user), 2)], 1), torch.cat([item, biases], 1)

    theirs.forward = forward


def _squared_ids(ours: Any, theirs: Any) -> None:
    """½‖·‖² of γ_u, θ_u, γ_i and, where it is there, β_i."""

    def squares(user: torch.Tensor, *items: torch.Tensor) -> torch.Tensor:
        ids = [user[:, : 2 * K], *(item[:, :K] for item in items)]
        ids += [item[:, 2 * K] for item in items if item.shape[1] > 2 * K]
        return torch.stack([part.square().sum() for part in ids]).sum() / (2 * len(user))

    del theirs.reg_loss
    theirs.reg_loss = squares


def _some_offset(ours: Any, theirs: Any) -> None:
    theirs.item_linear.bias.data.normal_(generator=torch.Generator().manual_seed(2))


def _no_offset(ours: Any, theirs: Any) -> None:
    theirs.item_linear.bias.requires_grad_(False).zero_()


# FREEDOM, BM3, PGL, LATTICE


def _freedom(get: Get) -> dict[str, Any]:
    return {
        "nodes": _ids(get),
        "project.image": get("image_trs.weight"),
        "project.text": get("text_trs.weight"),
    }


def _bm3(get: Get) -> dict[str, Any]:
    return {
        "nodes": _ids(get),
        **_linear(get, "predict", "predictor"),
        **_projected(get, "project.image", "image_trs"),
        **_projected(get, "project.text", "text_trs"),
    }


def _pgl(get: Get) -> dict[str, Any]:
    return {
        "user": torch.cat([get("user_image.weight"), get("user_text.weight")], 1),
        **_projected(get, "project.image", "image_trs"),
        **_projected(get, "project.text", "text_trs"),
    }


def _whole_graph(ours: Any, theirs: Any) -> None:
    theirs.sub_graph = theirs.norm_adj


def _lattice(get: Get) -> dict[str, Any]:
    return {
        "nodes": _ids(get),
        "importance": get("modal_weight"),
        **_linear(get, "modalities.image", "image_trs"),
        **_linear(get, "modalities.text", "text_trs"),
    }


def _symmetric(ours: Any, theirs: Any) -> None:
    graph = ours.graph
    places = torch.stack([graph.rows, graph.columns])
    theirs.norm_adj = torch.sparse_coo_tensor(places, graph.values, graph.shape)


def _normalised_first(ours: Any, theirs: Any) -> None:
    module = module_of(theirs)
    mine, normalise = module.build_knn_neighbourhood, module.compute_normalized_laplacian
    module.build_knn_neighbourhood = lambda *a, **k: normalise(mine(*a, **k))
    module.compute_normalized_laplacian = lambda graph: graph


# MGCN


def _mgcn(get: Get) -> dict[str, Any]:
    found = {"nodes": _ids(get), "query": get("query_common.2.weight")}
    found |= _linear(get, "attend", "query_common.0")
    for name, short in (("image", "v"), ("text", "t")):
        found |= _projected(get, f"modalities.{name}.project", f"{name}_trs")
        found |= _linear(get, f"modalities.{name}.purify", f"gate_{short}.0")
        found |= _linear(get, f"prefer.{name}", f"gate_{name}_prefer.0")
    return found


# SMORE


def _smore(get: Get) -> dict[str, Any]:
    found = {"nodes": _ids(get), "filter": get("fusion_complex_weight")[0]}
    found |= _linear(get, "purify_fused", "gate_f.0")
    found |= _linear(get, "prefer_fused", "gate_fusion_prefer.0")
    for name, short in (("image", "v"), ("text", "t")):
        found[f"filters.{name}"] = get(f"{name}_complex_weight")[0]
        found[f"query.{name}"] = get(f"query_{short}.2.weight")
        found |= _projected(get, f"project.{name}", f"{name}_trs")
        found |= _linear(get, f"purify.{name}", f"gate_{short}.0")
        found |= _linear(get, f"prefer.{name}", f"gate_{name}_prefer.0")
        found |= _linear(get, f"attend.{name}", f"query_{short}.0")
    return found


# LGMRec


def _lgmrec(get: Get) -> dict[str, Any]:
    found = {"nodes": _ids(get)}
    for name, short in (("image", "v"), ("text", "t")):
        found[f"modalities.{name}.project"] = get(f"item_{name}_trs").T
        found[f"modalities.{name}.edges"] = get(f"{short}_hyper").T
    return found


def _same_noise(ours: Any, theirs: Any) -> None:
    """Both draw the same Gumbel noise, MMRec's in scoring too."""
    from mmx.recommend.models.lgmrec import Draw

    shape, generator = (theirs.n_nodes, theirs.hyper_num), torch.Generator().manual_seed(2)
    noise = [-torch.empty(shape).exponential_(generator=generator).log() for _ in range(2)]
    ours.draw = lambda: [Draw(drawn, torch.ones_like(drawn, dtype=torch.bool)) for drawn in noise]
    users = theirs.n_users
    order: Iterator[torch.Tensor] = cycle([part for drawn in noise
                                           for part in (drawn[users:], drawn[:users])])  # fmt: skip

    def sample(logits: torch.Tensor, tau: float, **_: Any) -> torch.Tensor:
        return ((logits + next(order)) / tau).softmax(1)

    module_of(theirs).F = SimpleNamespace(**vars(F) | {"gumbel_softmax": sample})


def _no_noise_in_scoring(ours: Any, theirs: Any) -> None:
    functions = module_of(theirs).F
    drawn = functions.gumbel_softmax

    def sample(logits: torch.Tensor, tau: float, **more: Any) -> torch.Tensor:
        return drawn(logits, tau, **more) if theirs.training else logits.softmax(1)

    functions.gumbel_softmax = sample


# GRCN


def _grcn(get: Get) -> dict[str, Any]:
    found = {"nodes": get("id_gcn.id_embedding"), "trust": get("model_specific_conf")}
    for name, short in (("image", "v"), ("text", "t")):
        found |= _projected(get, f"modalities.{name}.project", f"{short}_gcn.MLP")
        found[f"modalities.{name}.user"] = get(f"{short}_gcn.preference")
    return found


def _routed(ours: Any, theirs: Any) -> None:
    """Edges lead from items to users while prototypes are routed; those have each pair once."""
    pairs = theirs.edge_index.shape[1]
    for net in (theirs.v_gcn, theirs.t_gcn):
        plain = net.conv_embed_1.forward
        net.conv_embed_1.forward = lambda x, edges, plain=plain: plain(
            x, edges[[1, 0]] if edges.shape[1] == pairs else edges
        )


def _touched_only(ours: Any, theirs: Any) -> None:
    plain = theirs.calculate_loss
    theirs.calculate_loss = lambda batch: (
        plain(batch) - theirs.reg_weight * theirs.v_gcn.preference.square().mean()
    )


# MMGCN, SLMRec


def _mmgcn(get: Get) -> dict[str, Any]:
    ids = get("id_embedding")
    users = get("v_gcn.preference").shape[0]
    found = {"user": ids[:users], "item": ids[users:]}
    found |= {"channels.image.project": get("v_gcn.MLP.weight"),
              "channels.image.project_bias": get("v_gcn.MLP.bias")}  # fmt: skip
    for name, short in (("image", "v"), ("text", "t")):
        net, mine = f"{short}_gcn", f"channels.{name}"
        found[f"{mine}.preference"] = get(f"{net}.preference")
        for number in (1, 2, 3):
            layer = f"{mine}.layers.{number - 1}"
            gather, mix = get(f"{net}.conv_embed_{number}.weight"), f"{net}.g_layer{number}"
            both = get(f"{mix}.weight")  # of h and x̂ side by side
            found |= {
                f"{layer}.gather": gather.T,
                f"{layer}.own": get(f"{net}.linear_layer{number}.weight"),
                f"{layer}.own_bias": get(f"{net}.linear_layer{number}.bias"),
                f"{layer}.from_gathered": both[:, : gather.shape[0]],
                f"{layer}.from_own": both[:, gather.shape[0] :],
                f"{layer}.bias": get(f"{mix}.bias"),
            }
    return found


def _forward_first(ours: Any, theirs: Any) -> None:
    stale = theirs.full_sort_predict

    def predict(batch: Any) -> torch.Tensor:
        theirs.forward()
        return stale(batch)

    theirs.full_sort_predict = predict


def _register(ours: Any, theirs: Any) -> None:
    theirs.id_embedding = nn.Parameter(theirs.id_embedding.detach())
    for net in (theirs.v_gcn, theirs.t_gcn):
        net.preference = nn.Parameter(net.preference.detach())


def _no_reg(ours: Any, theirs: Any) -> None:
    theirs.reg_weight, ours.config = 0.0, replace(ours.config, reg=0.0)


def _slmrec(get: Get) -> dict[str, Any]:
    found = {"channels.user": get("embedding_user.weight")}
    found["channels.item"] = get("embedding_item.weight")
    found |= _linear(get, "fuse_user", "embedding_user_after_GCN")
    found |= _linear(get, "fuse_item", "embedding_item_after_GCN")
    for name, short in (("image", "v"), ("text", "t")):
        found[f"channels.project.{name}"] = get(f"{short}_dense.weight")
        found[f"channels.offset.{name}"] = get(f"{short}_dense.bias")
    for number, (coarse, fine) in enumerate((("g_i_iv", "g_v_iv"), ("g_iva_ivat", "g_t_ivat"))):
        found |= _linear(get, f"coarse.{number}", coarse) | _linear(get, f"fine.{number}", fine)
    return found


def _fresh_slmrec(ours: Any, theirs: Any) -> None:
    stale = theirs.full_sort_predict

    def predict(batch: Any) -> torch.Tensor:
        theirs.all_users, theirs.all_items = theirs.compute()
        return stale(batch)

    theirs.full_sort_predict = predict


def _no_audio_step(ours: Any, theirs: Any) -> None:
    theirs.g_iv_iva = nn.Identity()


def _no_sigmoid(ours: Any, theirs: Any) -> None:
    theirs.f = nn.Identity()


# ItemKNNCBF


def _others_only(ours: Any, theirs: Any) -> None:
    """One neighbour more, and the item itself, which always is one, left out."""
    plain = theirs.build_item_sim_matrix

    def similar(features: torch.Tensor) -> torch.Tensor:
        theirs.knn_k += 1
        found = plain(features).fill_diagonal_(0)
        theirs.knn_k -= 1
        return found

    theirs.build_item_sim_matrix = similar
    _rebuild(ours, theirs)


def _centred(ours: Any, theirs: Any) -> None:
    theirs.v_feat, theirs.t_feat = (F.normalize(x - x.mean(0))
                                    for x in (theirs.v_feat, theirs.t_feat))  # fmt: skip
    _rebuild(ours, theirs)


def _rebuild(ours: Any, theirs: Any) -> None:
    taken = ours.histories
    history = torch.zeros(taken.n_users, taken.n_items)
    history[torch.from_numpy(taken.users), torch.from_numpy(taken.indices)] = 1
    features = torch.cat((theirs.v_feat, theirs.t_feat), 1)
    theirs.scores_matrix = history @ theirs.build_item_sim_matrix(features)


RAW = {"normalise": False}  # vectors as they are, as MMRec takes them
WHOLE = RAW | {"components": 0}

ENTRIES = (
    Entry("bpr", "BPR", _bpr,
          {"embedding_size": K, "reg_weight": 0.1, "is_multimodal_model": False},
          {"dim": K, "item_bias": False, "reg": 0.1}, {2: _squared}),
    Entry("vbpr", "VBPR", _vbpr, {"embedding_size": K, "reg_weight": 0.1},
          {"dim": K, "content_dim": K, "reg": 0.1, "content_reg": 0.0} | RAW,
          {2: _squared_ids, 3: _add_biases, 4: _no_offset}, setup=_some_offset),
    Entry("lightgcn", "LightGCN", _lightgcn,
          {"embedding_size": K, "n_layers": 3, "reg_weight": 0.1, "is_multimodal_model": False},
          {"dim": K, "layers": 3, "reg": 0.1}, {2: _squared}),
    Entry("layergcn", "LayerGCN", _layergcn,
          {"embedding_size": K, "n_layers": 4, "reg_weight": 0.1, "dropout": 0.0},
          {"dim": K, "layers": 4, "reg": 0.1, "pruned": 0.0}, {5: _mean_of_batch}),
    Entry("freedom", "FREEDOM", _freedom,
          {"embedding_size": K, "feat_embed_dim": K, "dropout": 0.0, "reg_weight": 0.1},
          {"dim": K, "pruned": 0.0, "content_weight": 0.1} | RAW, {1: _freeze}),
    Entry("bm3", "BM3", _bm3,
          {"embedding_size": K, "n_layers": 2, "dropout": 0.0, "reg_weight": 0.1, "cl_weight": 2.0},
          {"dim": K, "layers": 2, "dropout": 0.0, "reg": 0.1} | RAW, {1: _freeze}),
    Entry("mgcn", "MGCN", _mgcn, {"embedding_size": K, "cl_loss": 0.1, "reg_weight": 0.1},
          {"dim": K, "ssl_weight": 0.1, "reg": 0.1} | WHOLE, {1: _freeze}),
    Entry("smore", "SMORE", _smore,
          {"embedding_size": K, "n_ui_layers": 3, "image_knn_k": 10, "text_knn_k": 15,
           "dropout_rate": 0.0, "cl_loss": 0.1, "reg_weight": 0.1},
          {"dim": K, "layers": 3, "neighbours": 15, "neighbours_of": "image:10,text:15",
           "dropout": 0.0, "ssl_weight": 0.1, "reg": 0.1} | WHOLE, {1: _freeze}),
    Entry("grcn", "GRCN", _grcn,
          {"embedding_size": K, "latent_embedding": K, "n_layers": 3, "reg_weight": 0.1},
          {"dim": K, "routings": 3, "reg": 0.1} | WHOLE,
          {9: _forward_first, 16: _routed, 17: _touched_only}),
    Entry("lgmrec", "LGMRec", _lgmrec,
          {"embedding_size": K, "feat_embed_dim": K, "n_hyper_layer": 2, "hyper_num": 4,
           "keep_rate": 1.0, "alpha": 0.3, "cl_weight": 0.01, "reg_weight": 0.1},
          {"dim": K, "hyper_layers": 2, "dropout": 0.0, "ssl_weight": 0.01, "reg": 0.1} | WHOLE,
          {6: _no_noise_in_scoring}, setup=_same_noise),
    Entry("pgl", "PGL", _pgl,
          {"embedding_size": K, "feat_embed_dim": K, "dropout": 0.0, "reg_weight": 0.1},
          {"dim": K, "pruned": 0.0, "dropout": 0.0, "ssl_weight": 0.1} | WHOLE, {1: _freeze},
          epoch=_whole_graph),
    Entry("lattice", "LATTICE", _lattice,
          {"embedding_size": K, "feat_embed_dim": K, "reg_weight": 0.1, "lambda_coeff": 0.7},
          {"dim": K, "feature_dim": K, "reg": 0.1, "frozen": 0.7} | RAW,
          {1: _freeze, 7: _symmetric, 8: _normalised_first}),
    Entry("mmgcn", "MMGCN", _mmgcn, {"embedding_size": K, "reg_weight": 0.1},
          {"dim": K, "reg": 0.1} | WHOLE, {9: _forward_first, 10: _register, 11: _no_reg}),
    Entry("slmrec", "SLMRec", _slmrec, {"recdim": K, "ssl_temp": 0.5, "ssl_alpha": 0.1},
          {"dim": K, "ssl_temperature": 0.5, "ssl_weight": 0.1} | WHOLE,
          {9: _fresh_slmrec, 12: _no_audio_step, 13: _no_sigmoid}),
    Entry("itemknn-cbf", "ItemKNNCBF", None, {"shrink": 0.0, "knn_k": 10}, {"neighbours": 10},
          {14: _others_only, 15: _centred}),
)  # fmt: skip

"""Name maps of ``parity_models.py``: our parameters, linear in MMRec's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

Get = Callable[[str], Any]  # a name in MMRec's model → its value or gradient, None if it has none
K = 8  # dim of embeddings; MMRec's embedding_size
FIXED = 64  # dim_latent of DualGNN and DRAGON


def nodes(user: Any, item: Any) -> Any:
    return torch.cat([user, item])


def ids(get: Get) -> Any:
    return nodes(get("user_embedding.weight"), get("item_id_embedding.weight"))


def linear(get: Get, ours: str, theirs: str) -> dict[str, Any]:
    return {f"{ours}.weight": get(f"{theirs}.weight"), f"{ours}.bias": get(f"{theirs}.bias")}


def projected(get: Get, name: str, layer: str) -> dict[str, Any]:
    """A ProjectedContent from a linear layer."""
    return {f"{name}.weight": get(f"{layer}.weight"), f"{name}.offset": get(f"{layer}.bias")}


def bpr(get: Get) -> dict[str, Any]:
    return {"user": get("user_embedding.weight"), "item": get("item_embedding.weight")}


def lightgcn(get: Get) -> dict[str, Any]:
    return {"nodes": nodes(get("embedding_dict.user_emb"), get("embedding_dict.item_emb"))}


def layergcn(get: Get) -> dict[str, Any]:
    return {"nodes": nodes(get("user_embeddings"), get("item_embeddings"))}


def vbpr(get: Get) -> dict[str, Any]:
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


def freedom(get: Get) -> dict[str, Any]:
    return {
        "nodes": ids(get),
        "project.image": get("image_trs.weight"),
        "project.text": get("text_trs.weight"),
    }


def bm3(get: Get) -> dict[str, Any]:
    return {
        "nodes": ids(get),
        **linear(get, "predict", "predictor"),
        **projected(get, "project.image", "image_trs"),
        **projected(get, "project.text", "text_trs"),
    }


def pgl(get: Get) -> dict[str, Any]:
    return {
        "user": torch.cat([get("user_image.weight"), get("user_text.weight")], 1),
        **projected(get, "project.image", "image_trs"),
        **projected(get, "project.text", "text_trs"),
    }


def lattice(get: Get) -> dict[str, Any]:
    return {
        "nodes": ids(get),
        "importance": get("modal_weight"),
        **linear(get, "modalities.image", "image_trs"),
        **linear(get, "modalities.text", "text_trs"),
    }


def mgcn(get: Get) -> dict[str, Any]:
    found = {"nodes": ids(get), "query": get("query_common.2.weight")}
    found |= linear(get, "attend", "query_common.0")
    for name, short in (("image", "v"), ("text", "t")):
        found |= projected(get, f"modalities.{name}.project", f"{name}_trs")
        found |= linear(get, f"modalities.{name}.purify", f"gate_{short}.0")
        found |= linear(get, f"prefer.{name}", f"gate_{name}_prefer.0")
    return found


def smore(get: Get) -> dict[str, Any]:
    found = {"nodes": ids(get), "filter": get("fusion_complex_weight")[0]}
    found |= linear(get, "purify_fused", "gate_f.0")
    found |= linear(get, "prefer_fused", "gate_fusion_prefer.0")
    for name, short in (("image", "v"), ("text", "t")):
        found[f"filters.{name}"] = get(f"{name}_complex_weight")[0]
        found[f"query.{name}"] = get(f"query_{short}.2.weight")
        found |= projected(get, f"project.{name}", f"{name}_trs")
        found |= linear(get, f"purify.{name}", f"gate_{short}.0")
        found |= linear(get, f"prefer.{name}", f"gate_{name}_prefer.0")
        found |= linear(get, f"attend.{name}", f"query_{short}.0")
    return found


def lgmrec(get: Get) -> dict[str, Any]:
    found = {"nodes": ids(get)}
    for name, short in (("image", "v"), ("text", "t")):
        found[f"modalities.{name}.project"] = get(f"item_{name}_trs").T
        found[f"modalities.{name}.edges"] = get(f"{short}_hyper").T
    return found


def grcn(get: Get) -> dict[str, Any]:
    found = {"nodes": get("id_gcn.id_embedding"), "trust": get("model_specific_conf")}
    for name, short in (("image", "v"), ("text", "t")):
        found |= projected(get, f"modalities.{name}.project", f"{short}_gcn.MLP")
        found[f"modalities.{name}.user"] = get(f"{short}_gcn.preference")
    return found


def mmgcn(get: Get) -> dict[str, Any]:
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


def slmrec(get: Get) -> dict[str, Any]:
    found = {"channels.user": get("embedding_user.weight")}
    found["channels.item"] = get("embedding_item.weight")
    found |= linear(get, "fuse_user", "embedding_user_after_GCN")
    found |= linear(get, "fuse_item", "embedding_item_after_GCN")
    for name, short in (("image", "v"), ("text", "t")):
        found[f"channels.project.{name}"] = get(f"{short}_dense.weight")
        found[f"channels.offset.{name}"] = get(f"{short}_dense.bias")
    for number, (coarse, fine) in enumerate((("g_i_iv", "g_v_iv"), ("g_iva_ivat", "g_t_ivat"))):
        found |= linear(get, f"coarse.{number}", coarse) | linear(get, f"fine.{number}", fine)
    return found


def mmgcf(get: Get) -> dict[str, Any]:
    found = {"nodes": ids(get)}
    found |= linear(get, "join_contents", "mm_concat_layer")
    found |= linear(get, "join", "id_mm_concat_layer")
    for name in ("image", "text"):
        found |= projected(get, f"project.{name}", f"{name}_trs")
    return found


def dualgnn(get: Get) -> dict[str, Any]:
    """DRAGON's, too."""
    found = {"weight": get("weight_u")[:, :, 0]}
    for name, short in (("image", "v"), ("text", "t")):
        net = f"{short}_gcn"
        found[f"user.{name}"] = get(f"{net}.preference")
        found |= projected(get, f"content.{name}.project", f"{net}.MLP")
        found |= linear(get, f"content.{name}.out", f"{net}.MLP_1")
    return found

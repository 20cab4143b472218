"""The models that ``parity.py`` compares, and what is known to differ.

A model is an ``Entry``; its map of weights is in ``parity_weights.py``. A reason to differ is a
numbered line of ``DIFFERENCES``, and in the entry a function of ``parity_changes.py`` that removes
it, from MMRec's model where that can be done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import parity_changes as changes
import parity_weights as weights
from parity_weights import FIXED, Get, K

Change = Callable[[Any, Any], None]  # of our model and MMRec's

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
    9: "MMRec's DRAGON, DualGNN, GRCN, MMGCN and SLMRec score with the embeddings that the last "
    "batch left, from before its step",
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
    18: "MMRec's DRAGON and DualGNN fill the neighbours of a user who has too few up with some of "
    "them again, drawn at random in each epoch; ours takes those that there are",
    19: "MMRec's DualGNN adds items' vectors up in the place where the image's are, so that users "
    "weigh the sum of both in place of the image's; ours weighs each for itself",
    20: "MMRec's DualGNN adds the mean square of items' weights of modalities to the loss, which "
    "no score reads",
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


RAW = {"normalise": False}  # vectors as they are, as MMRec takes them
WHOLE = RAW | {"components": 0}

ENTRIES = (
    Entry("bpr", "BPR", weights.bpr,
          {"embedding_size": K, "reg_weight": 0.1, "is_multimodal_model": False},
          {"dim": K, "item_bias": False, "reg": 0.1}, {2: changes.squared}),
    Entry("vbpr", "VBPR", weights.vbpr, {"embedding_size": K, "reg_weight": 0.1},
          {"dim": K, "content_dim": K, "reg": 0.1, "content_reg": 0.0} | RAW,
          {2: changes.squared_ids, 3: changes.add_biases, 4: changes.no_offset},
          setup=changes.some_offset),
    Entry("lightgcn", "LightGCN", weights.lightgcn,
          {"embedding_size": K, "n_layers": 3, "reg_weight": 0.1, "is_multimodal_model": False},
          {"dim": K, "layers": 3, "reg": 0.1}, {2: changes.squared}),
    Entry("layergcn", "LayerGCN", weights.layergcn,
          {"embedding_size": K, "n_layers": 4, "reg_weight": 0.1, "dropout": 0.0},
          {"dim": K, "layers": 4, "reg": 0.1, "pruned": 0.0}, {5: changes.mean_of_batch}),
    Entry("freedom", "FREEDOM", weights.freedom,
          {"embedding_size": K, "feat_embed_dim": K, "dropout": 0.0, "reg_weight": 0.1},
          {"dim": K, "pruned": 0.0, "content_weight": 0.1} | RAW, {1: changes.freeze}),
    Entry("bm3", "BM3", weights.bm3,
          {"embedding_size": K, "n_layers": 2, "dropout": 0.0, "reg_weight": 0.1, "cl_weight": 2.0},
          {"dim": K, "layers": 2, "dropout": 0.0, "reg": 0.1} | RAW, {1: changes.freeze}),
    Entry("mgcn", "MGCN", weights.mgcn, {"embedding_size": K, "cl_loss": 0.1, "reg_weight": 0.1},
          {"dim": K, "ssl_weight": 0.1, "reg": 0.1} | WHOLE, {1: changes.freeze}),
    Entry("smore", "SMORE", weights.smore,
          {"embedding_size": K, "n_ui_layers": 3, "image_knn_k": 10, "text_knn_k": 15,
           "dropout_rate": 0.0, "cl_loss": 0.1, "reg_weight": 0.1},
          {"dim": K, "layers": 3, "neighbours": 15, "neighbours_of": "image:10,text:15",
           "dropout": 0.0, "ssl_weight": 0.1, "reg": 0.1} | WHOLE, {1: changes.freeze}),
    Entry("grcn", "GRCN", weights.grcn,
          {"embedding_size": K, "latent_embedding": K, "n_layers": 3, "reg_weight": 0.1},
          {"dim": K, "routings": 3, "reg": 0.1} | WHOLE,
          {9: changes.forward_first, 16: changes.routed, 17: changes.touched_only}),
    Entry("mmgcf", "MMGCF", weights.mmgcf,
          {"embedding_size": K, "feat_embed_dim": K, "n_ui_layers": 2, "reg_weight": 0.1,
           "fusion_mode": "concat", "weighting": "equal", "dropout": 0.0},
          {"dim": K, "layers": 2, "reg": 0.1, "fusion": "concat", "pruned": 0.0} | WHOLE),
    Entry("dualgnn", "DualGNN", weights.dualgnn, {"embedding_size": FIXED, "reg_weight": 0.1},
          {"dim": FIXED, "reg": 0.1, "user_neighbours": 30} | WHOLE,
          {9: changes.forward_of_batch_first, 18: changes.not_filled_up,
           19: changes.each_for_itself, 20: changes.no_item_weights}, setup=changes.fewer_users),
    Entry("dragon", "DRAGON", weights.dualgnn, {"embedding_size": FIXED, "reg_weight": 0.1},
          {"dim": FIXED, "reg": 0.1, "user_neighbours": 30} | WHOLE,
          {9: changes.forward_of_batch_first, 18: changes.not_filled_up},
          setup=changes.fewer_users),
    Entry("lgmrec", "LGMRec", weights.lgmrec,
          {"embedding_size": K, "feat_embed_dim": K, "n_hyper_layer": 2, "hyper_num": 4,
           "keep_rate": 1.0, "alpha": 0.3, "cl_weight": 0.01, "reg_weight": 0.1},
          {"dim": K, "hyper_layers": 2, "dropout": 0.0, "ssl_weight": 0.01, "reg": 0.1} | WHOLE,
          {6: changes.no_noise_in_scoring}, setup=changes.same_noise),
    Entry("pgl", "PGL", weights.pgl,
          {"embedding_size": K, "feat_embed_dim": K, "dropout": 0.0, "reg_weight": 0.1},
          {"dim": K, "pruned": 0.0, "dropout": 0.0, "ssl_weight": 0.1} | WHOLE, {1: changes.freeze},
          epoch=changes.whole_graph),
    Entry("lattice", "LATTICE", weights.lattice,
          {"embedding_size": K, "feat_embed_dim": K, "reg_weight": 0.1, "lambda_coeff": 0.7},
          {"dim": K, "feature_dim": K, "reg": 0.1, "frozen": 0.7} | RAW,
          {1: changes.freeze, 7: changes.symmetric, 8: changes.normalised_first}),
    Entry("mmgcn", "MMGCN", weights.mmgcn, {"embedding_size": K, "reg_weight": 0.1},
          {"dim": K, "reg": 0.1} | WHOLE,
          {9: changes.forward_first, 10: changes.register, 11: changes.no_reg}),
    Entry("slmrec", "SLMRec", weights.slmrec, {"recdim": K, "ssl_temp": 0.5, "ssl_alpha": 0.1},
          {"dim": K, "ssl_temperature": 0.5, "ssl_weight": 0.1} | WHOLE,
          {9: changes.fresh_slmrec, 12: changes.no_audio_step, 13: changes.no_sigmoid}),
    Entry("itemknn-cbf", "ItemKNNCBF", None, {"shrink": 0.0, "knn_k": 10}, {"neighbours": 10},
          {14: changes.others_only, 15: changes.centred}),
)  # fmt: skip

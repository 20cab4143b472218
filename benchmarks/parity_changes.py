"""What removes the differences of ``parity_models.py``: called with our model and MMRec's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from mmrec import module_of
from parity_weights import K
from torch import nn


def freeze(ours: Any, theirs: Any) -> None:
    for table in (theirs.image_embedding, theirs.text_embedding):
        table.weight.requires_grad_(False)


def squared(ours: Any, theirs: Any) -> None:
    def squares(*parts: torch.Tensor) -> torch.Tensor:
        return torch.stack([part.square().sum() for part in parts]).sum() / (2 * len(parts[0]))

    del theirs.reg_loss
    theirs.reg_loss = squares


def mean_of_batch(ours: Any, theirs: Any) -> None:
    summed = theirs.calculate_loss
    theirs.calculate_loss = lambda batch: summed(batch) / len(batch[0])


def add_biases(ours: Any, theirs: Any) -> None:
    """β_i and β'·f_i as two more columns of the items, beside ones of the users."""
    plain = theirs.forward
    theirs.beta = nn.Parameter(torch.zeros(theirs.n_items))
    theirs.beta_content = nn.Parameter(torch.zeros(theirs.item_raw_features.shape[1]))

    def forward() -> tuple[torch.Tensor, torch.Tensor]:
        user, item = plain()
        biases = torch.stack([theirs.beta, theirs.item_raw_features @ theirs.beta_content], 1)
        return torch.cat([user, torch.ones(len(user), 2)], 1), torch.cat([item, biases], 1)

    theirs.forward = forward


def squared_ids(ours: Any, theirs: Any) -> None:
    """½‖·‖² of γ_u, θ_u, γ_i and, where it is there, β_i."""

    def squares(user: torch.Tensor, *items: torch.Tensor) -> torch.Tensor:
        ids = [user[:, : 2 * K], *(item[:, :K] for item in items)]
        ids += [item[:, 2 * K] for item in items if item.shape[1] > 2 * K]
        return torch.stack([part.square().sum() for part in ids]).sum() / (2 * len(user))

    del theirs.reg_loss
    theirs.reg_loss = squares


def some_offset(ours: Any, theirs: Any) -> None:
    theirs.item_linear.bias.data.normal_(generator=torch.Generator().manual_seed(2))


def no_offset(ours: Any, theirs: Any) -> None:
    theirs.item_linear.bias.requires_grad_(False).zero_()


def whole_graph(ours: Any, theirs: Any) -> None:
    theirs.sub_graph = theirs.norm_adj


def symmetric(ours: Any, theirs: Any) -> None:
    graph = ours.graph
    places = torch.stack([graph.rows, graph.columns])
    theirs.norm_adj = torch.sparse_coo_tensor(places, graph.values, graph.shape)


def normalised_first(ours: Any, theirs: Any) -> None:
    module = module_of(theirs)
    mine, normalise = module.build_knn_neighbourhood, module.compute_normalized_laplacian
    module.build_knn_neighbourhood = lambda *a, **k: normalise(mine(*a, **k))
    module.compute_normalized_laplacian = lambda graph: graph


def same_noise(ours: Any, theirs: Any) -> None:
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


def no_noise_in_scoring(ours: Any, theirs: Any) -> None:
    functions = module_of(theirs).F
    drawn = functions.gumbel_softmax

    def sample(logits: torch.Tensor, tau: float, **more: Any) -> torch.Tensor:
        return drawn(logits, tau, **more) if theirs.training else logits.softmax(1)

    functions.gumbel_softmax = sample


def routed(ours: Any, theirs: Any) -> None:
    """Edges lead from items to users while prototypes are routed; those have each pair once."""
    pairs = theirs.edge_index.shape[1]
    for net in (theirs.v_gcn, theirs.t_gcn):
        plain = net.conv_embed_1.forward
        net.conv_embed_1.forward = lambda x, edges, plain=plain: plain(
            x, edges[[1, 0]] if edges.shape[1] == pairs else edges
        )


def touched_only(ours: Any, theirs: Any) -> None:
    plain = theirs.calculate_loss
    theirs.calculate_loss = lambda batch: (
        plain(batch) - theirs.reg_weight * theirs.v_gcn.preference.square().mean()
    )


def forward_first(ours: Any, theirs: Any) -> None:
    stale = theirs.full_sort_predict

    def predict(batch: Any) -> torch.Tensor:
        theirs.forward()
        return stale(batch)

    theirs.full_sort_predict = predict


def fewer_users(ours: Any, theirs: Any) -> None:
    """Users' neighbours are fewer than some users have; ``result_embed`` is not a parameter."""
    theirs.k = ours.config.user_neighbours
    del theirs.result_embed  # of random numbers, which a tensor replaces in the first batch


def forward_of_batch_first(ours: Any, theirs: Any) -> None:
    stale = theirs.full_sort_predict

    def predict(batch: Any) -> torch.Tensor:
        theirs.forward(torch.zeros(3, 1, dtype=torch.int64))
        return stale(batch)

    theirs.full_sort_predict = predict


def not_filled_up(ours: Any, theirs: Any) -> None:
    """Places without a neighbour weigh 0."""

    def neighbours(k: int) -> tuple[torch.Tensor, torch.Tensor]:
        index = torch.zeros(theirs.n_users, k, dtype=torch.int64)
        weights = torch.zeros(theirs.n_users, k)
        for user, (others, common) in theirs.user_graph_dict.items():
            index[user, : len(others)] = torch.tensor(others[:k], dtype=torch.int64)
            weights[user, : len(others)] = torch.tensor(common[:k]).softmax(0)
        return index, weights

    theirs.topk_sample = neighbours


def each_for_itself(ours: Any, theirs: Any) -> None:
    """What is read of ``v_rep`` is a copy, so that adding to it leaves it as it is."""

    def replace_it(self: Any, value: Any) -> None:
        self.kept = value

    type(theirs).v_rep = property(lambda self: self.kept.clone(), replace_it)


def no_item_weights(ours: Any, theirs: Any) -> None:
    theirs.weight_i.requires_grad_(False).zero_()


def register(ours: Any, theirs: Any) -> None:
    theirs.id_embedding = nn.Parameter(theirs.id_embedding.detach())
    for net in (theirs.v_gcn, theirs.t_gcn):
        net.preference = nn.Parameter(net.preference.detach())


def no_reg(ours: Any, theirs: Any) -> None:
    theirs.reg_weight, ours.config = 0.0, replace(ours.config, reg=0.0)


def fresh_slmrec(ours: Any, theirs: Any) -> None:
    stale = theirs.full_sort_predict

    def predict(batch: Any) -> torch.Tensor:
        theirs.all_users, theirs.all_items = theirs.compute()
        return stale(batch)

    theirs.full_sort_predict = predict


def no_audio_step(ours: Any, theirs: Any) -> None:
    theirs.g_iv_iva = nn.Identity()


def no_sigmoid(ours: Any, theirs: Any) -> None:
    theirs.f = nn.Identity()


def others_only(ours: Any, theirs: Any) -> None:
    """One neighbour more, and the item itself, which always is one, left out."""
    plain = theirs.build_item_sim_matrix

    def similar(features: torch.Tensor) -> torch.Tensor:
        theirs.knn_k += 1
        found = plain(features).fill_diagonal_(0)
        theirs.knn_k -= 1
        return found

    theirs.build_item_sim_matrix = similar
    rebuild(ours, theirs)


def centred(ours: Any, theirs: Any) -> None:
    theirs.v_feat, theirs.t_feat = (F.normalize(x - x.mean(0))
                                    for x in (theirs.v_feat, theirs.t_feat))  # fmt: skip
    rebuild(ours, theirs)


def rebuild(ours: Any, theirs: Any) -> None:
    taken = ours.histories
    history = torch.zeros(taken.n_users, taken.n_items)
    history[torch.from_numpy(taken.users), torch.from_numpy(taken.indices)] = 1
    features = torch.cat((theirs.v_feat, theirs.t_feat), 1)
    theirs.scores_matrix = history @ theirs.build_item_sim_matrix(features)

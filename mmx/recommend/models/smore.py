"""SMORE: contents filtered and fused in their spectrum, then purified and spread as in MGCN.

Ong and Khong, "Spectrum-based Modality Representation Fusion Graph Convolutional Network for
Multimodal Recommendation", WSDM 2025 (arXiv 2412.14978). The paper has two modalities; here there
are as many as the world has: the fusion's spectrum is the product of all, its graph the union of
all, and the mean over the M modalities and the fusion divides by M + 1 (the paper's 3). The Fourier
transform is over the columns of a projection, whose order is arbitrary. An item without a vector of
some modality is its own only neighbour there, with the modality's learned default vector.

Equations: those of the whole method, without their numbers.

Released code: trains the vectors of items along, though its item graphs stay those of the first
vectors and are kept in files whose names hold the number of neighbours alone; here they are frozen.
As in MGCN here, a negative cosine counts as 0 in an item graph and the L2 term is divided by the
batch's own size. Its ``temperature`` is a constant 0.2 whatever the setting; here it is the
setting.

Defaults are what two of the paper's three data sets have: Baby has 4 layers, neighbours image:40
and text:15, dropout 0.1; Sports ``ssl_weight`` 0.03; Clothing image:40 and ``reg`` 1e-5. The paper
also lowers the learning rate by 0.96 in 50 epochs: ``--lr-decay 0.9992``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from mmx.bounds import DEEPEST, WIDEST, check_settings, number, whole
from mmx.devices import sent
from mmx.errors import OptionError
from mmx.recommend.blocks.content import projections
from mmx.recommend.blocks.graph import UserItemGraph, histories
from mmx.recommend.blocks.initial import linear, own_generator, uniform, xavier
from mmx.recommend.blocks.item_graph import cosine_graph, largest_of
from mmx.recommend.blocks.modalities import modality_neighbours, parse_neighbours
from mmx.recommend.blocks.naming import module_key
from mmx.recommend.blocks.propagation import mean_of_layers
from mmx.recommend.blocks.side import side_loss
from mmx.recommend.protocol import GradientModel, ModelConfig, World


@dataclass(frozen=True)
class Config(ModelConfig):
    """Hyper-parameters of SMORE."""

    dim: int = 64  # length of user and item embeddings and of projected features
    layers: int = 3  # steps over the user-item graph
    item_layers: int = 1  # steps over the item graphs
    neighbours: int = 10  # k of the item graphs, an item itself among them
    neighbours_of: str = ""  # k of modalities where it differs, image:40,text:15
    dropout: float = 0.0  # share of the behaviour's gates that are left out of a step
    ssl_weight: float = 0.01  # weight of the contrastive loss
    temperature: float = 0.2  # τ
    reg: float = 1e-4  # weight of ½‖·‖² of the final embeddings of a triple
    components: int = 1024  # principal components of longer features to project; 0: all numbers
    normalise: bool = True  # centre the feature vectors and scale them to norm 1 first

    def __post_init__(self) -> None:
        check_settings(
            self,
            dim=whole(1, WIDEST),
            layers=whole(0, DEEPEST),
            item_layers=whole(0, DEEPEST),
            neighbours=whole(1),
            dropout=number(0, 1, below=True),
            ssl_weight=number(0),
            temperature=number(0, above=True),
            reg=number(0),
            components=whole(0),
        )
        parse_neighbours(self.neighbours_of)


class Model(GradientModel):
    """ŷ_ui = e_u · e_i with e = ē + s: the behaviour ē, and s what contents add.

    s = (Σ_m σ(P_m ē) ⊙ a_m ⊙ x_m + σ(P_f ē) ⊙ x_f) / (M + 1), a_m = softmax(Q_m tanh(A_m x_f)),
    a softmax over the k columns. x_m are the purified modalities, x_f is their fusion.
    """

    whole_batch = True  # the other rows of a batch are the contrast
    generator: torch.Generator  # of its steps

    def __init__(self, config: Config, world: World, generator: torch.Generator) -> None:
        """Raises OptionError when the world has no features."""
        super().__init__()
        if not world.features:
            raise OptionError(
                "smore needs item features; give --features, or choose --model lightgcn"
            )
        self.config, k = config, config.dim
        self.graph = UserItemGraph(world.train)
        self.history = histories(self.graph)
        self.nodes = nn.Parameter(torch.empty(self.graph.shape[0], k))
        for part in self.graph.split(self.nodes.data):  # of users, of items
            nn.init.xavier_uniform_(part, generator=generator)
        features = {n: f.normalised() if config.normalise else f for n, f in world.features.items()}
        counts = modality_neighbours(config.neighbours_of, config.neighbours, features)
        names = {module_key(name): name for name in sorted(features)}
        graphs = {key: cosine_graph(features[name], counts[name]) for key, name in names.items()}
        self.alike, self.alike_fused = nn.ModuleDict(graphs), largest_of(list(graphs.values()))
        shortened = {name: found.principal(config.components) for name, found in features.items()}
        self.project = projections(shortened, k, generator, normalise=False)
        self.filter = _filter(k, generator)  # of the fusion
        self.filters = nn.ParameterDict({key: _filter(k, generator) for key in names})
        self.purify_fused, self.prefer_fused = linear(k, k, generator), linear(k, k, generator)
        self.purify, self.prefer, self.attend = (
            nn.ModuleDict({key: linear(k, k, generator) for key in names}) for _ in range(3)
        )
        self.query = nn.ParameterDict({key: xavier(k, k, generator) for key in names})  # Q
        self.generator = own_generator(generator)

    def loss(
        self, users: torch.Tensor, positives: torch.Tensor, negatives: torch.Tensor
    ) -> torch.Tensor:
        """BPR over (B,) triples, L2, and InfoNCE of what contents add with the behaviour."""
        config = self.config

        def parts(nodes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            views, behaviour = self._views(nodes)
            return self._side(views, behaviour, drop=config.dropout > 0), behaviour

        return side_loss(
            (users, positives, negatives), self.graph, parts,
            config.reg, config.ssl_weight, config.temperature,
        )  # fmt: skip

    def factors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Final (users, k) and (items, k); nothing is dropped."""
        views, behaviour = self._views()
        return self.graph.split(behaviour + self._side(views, behaviour, drop=False))

    def dropped(self, gate: torch.Tensor) -> torch.Tensor:
        """(n, k) gates of a step, some of them 0 and the others larger."""
        kept = uniform(gate.shape, self.generator) >= self.config.dropout
        return gate * sent(kept, gate.device) / (1 - self.config.dropout)

    def _views(self, rows: torch.Tensor | None = None) -> tuple[list[torch.Tensor], torch.Tensor]:
        """x_m of each modality, then x_f, and ē, of (n,) nodes or all → (n, k) each."""
        of_items = torch.cat(self._over_items(), 1)
        of_nodes = torch.cat([self.history(of_items), of_items])  # (nodes, (M + 1) k)
        behaviour = mean_of_layers(self.graph, self.nodes, self.config.layers)  # (nodes, k)
        if rows is not None:
            of_nodes, behaviour = F.embedding(rows, of_nodes), F.embedding(rows, behaviour)
        return list(of_nodes.split(self.config.dim, 1)), behaviour

    def _over_items(self) -> list[torch.Tensor]:
        """Purified modalities and their fusion, over their item graphs → (items, k) each."""
        ids, spread = self.graph.split(self.nodes)[1], []
        *denoised, fusion = self._spectrum([project() for project in self.project.values()])
        each = zip(
            (*denoised, fusion),
            (*self.purify.values(), self.purify_fused),
            (*self.alike.values(), self.alike_fused),
            strict=True,
        )
        for contents, purify, graph in each:
            x = ids * torch.sigmoid(purify(contents)).float()
            for _ in range(self.config.item_layers):
                x = graph(x)
            spread.append(x)
        return spread

    def _spectrum(self, contents: list[torch.Tensor]) -> list[torch.Tensor]:
        """F⁻¹(w_m ⊙ F(x_m)) of each (items, k) modality, and F⁻¹(w_f ⊙ Π_m F(x_m))."""
        spectra = [torch.fft.rfft(x, norm="ortho") for x in contents]  # (items, k / 2 + 1) complex
        filtered = [y * torch.view_as_complex(w)
                    for y, w in zip(spectra, self.filters.values(), strict=True)]  # fmt: skip
        fusion = torch.view_as_complex(self.filter)
        for y in spectra:
            fusion = fusion * y
        return [torch.fft.irfft(y, self.config.dim, norm="ortho") for y in (*filtered, fusion)]

    def _side(
        self, views: list[torch.Tensor], behaviour: torch.Tensor, *, drop: bool
    ) -> torch.Tensor:
        """s of (n, k) views and behaviour → (n, k)."""
        *modal, fusion = views

        def gate(prefer: nn.Module) -> torch.Tensor:
            found = torch.sigmoid(prefer(behaviour)).float()
            return self.dropped(found) if drop else found

        total = gate(self.prefer_fused) * fusion
        for key, x in zip(self.prefer, modal, strict=True):
            inner = torch.tanh(self.attend[key](fusion))  # (n, k)
            share = (inner @ self.query[key].T).float().softmax(1)
            total = total + gate(self.prefer[key]) * share * x
        return total / len(views)


def _filter(dim: int, generator: torch.Generator) -> nn.Parameter:
    """w: real and imaginary parts (dim / 2 + 1, 2), drawn from N(0, 1)."""
    return nn.Parameter(torch.randn(dim // 2 + 1, 2, generator=generator))

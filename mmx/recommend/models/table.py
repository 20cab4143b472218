"""The table of the recommenders: one paper, one file; this says where they are."""

from __future__ import annotations

from mmx.recommend.models.closed_forms import CLOSED_FORMS
from mmx.recommend.records import ModelRecord

MODELS = {
    record.name: record
    for record in (
        *CLOSED_FORMS,  # the others are trained in epochs
        ModelRecord(
            "bpr",
            "Matrix factorisation with BPR",
            "mmx.recommend.models.bpr",
            "none",
            "Rendle et al., BPR: Bayesian Personalized Ranking from Implicit Feedback, UAI 2009",
        ),
        ModelRecord(
            "vbpr",
            "Visual BPR, for any modalities",
            "mmx.recommend.models.vbpr",
            "required",
            "He and McAuley, VBPR: Visual Bayesian Personalized Ranking, AAAI 2016",
            cold_items=True,
            end_to_end=True,
        ),
        ModelRecord(
            "lightgcn",
            "LightGCN: embeddings propagated over the user-item graph",
            "mmx.recommend.models.lightgcn",
            "none",
            "He et al., LightGCN: Simplifying and Powering Graph Convolution Network for "
            "Recommendation, SIGIR 2020",
        ),
        ModelRecord(
            "layergcn",
            "LayerGCN: layers of the user-item graph weighed by what they share with the first",
            "mmx.recommend.models.layergcn",
            "none",
            "Zhou et al., Layer-refined Graph Convolutional Networks for Recommendation, ICDE 2023",
            lr=3e-3,
        ),
        ModelRecord(
            "lattice",
            "LATTICE: LightGCN and item graphs learned from features",
            "mmx.recommend.models.lattice",
            "required",
            "Zhang et al., Mining Latent Structures for Multimedia Recommendation, MM 2021",
            end_to_end=True,
        ),
        ModelRecord(
            "freedom",
            "FREEDOM: a pruned user-item graph and a frozen item graph from features",
            "mmx.recommend.models.freedom",
            "required",
            "Zhou and Shen, A Tale of Two Graphs: Freezing and Denoising Graph Structures for "
            "Multimodal Recommendation, MM 2023",
        ),
        ModelRecord(
            "bm3",
            "BM3: LightGCN embeddings that predict each other and features, without negatives",
            "mmx.recommend.models.bm3",
            "required",
            "Zhou et al., Bootstrap Latent Representations for Multi-modal Recommendation, WWW "
            "2023",
            end_to_end=True,
            lr=3e-3,
        ),
        ModelRecord(
            "mmgcn",
            "MMGCN: one graph network per modality",
            "mmx.recommend.models.mmgcn",
            "required",
            "Wei et al., MMGCN: Multi-modal Graph Convolution Network for Personalized "
            "Recommendation of Micro-video, MM 2019",
            end_to_end=True,
        ),
        ModelRecord(
            "grcn",
            "GRCN: ids over a user-item graph that contents refine",
            "mmx.recommend.models.grcn",
            "required",
            "Wei et al., Graph-Refined Convolutional Network for Multimedia Recommendation with "
            "Implicit Feedback, MM 2020",
            end_to_end=True,
        ),
        ModelRecord(
            "dualgnn",
            "DualGNN: contents over the user-item graph, then a graph of users",
            "mmx.recommend.models.dualgnn",
            "required",
            "Wang et al., DualGNN: Dual Graph Neural Network for Multimedia Recommendation, TMM "
            "2023",
            cold_items=True,
            end_to_end=True,
        ),
        ModelRecord(
            "mmgcf",
            "MMGCF: LightGCN on a pruned graph, items fused with their contents at the end",
            "mmx.recommend.models.mmgcf",
            "required",
            "Multimodal Graph Collaborative Filtering for Recommendation with Graph Convolutional "
            "Networks, UMAP 2026",
            end_to_end=True,
            lr=3e-3,
        ),
        ModelRecord(
            "mmgcl",
            "Graph channels contrasted over two augmented views",
            "mmx.recommend.models.mmgcl",
            "required",
            "Yi et al., Multi-modal Graph Contrastive Learning for Micro-video Recommendation, "
            "SIGIR 2022",
            end_to_end=True,
        ),
        ModelRecord(
            "slmrec",
            "Graph channels with fine and coarse contrast",
            "mmx.recommend.models.slmrec",
            "required",
            "Tao et al., Self-supervised Learning for Multimedia Recommendation, TMM 2022",
            end_to_end=True,
            lr=3e-3,
        ),
        ModelRecord(
            "ugnn",
            "UGNN: graph channels with shared users, contrasted over a graph with fewer edges",
            "mmx.recommend.models.ugnn",
            "required",
            "Yi et al., Enhancing Recommender Systems: Deep Modality Alignment with Large "
            "Multi-Modal Encoders, ACM TORS 2025",
            end_to_end=True,
            lr=3e-3,
        ),
        ModelRecord(
            "mgcn",
            "MGCN: purified contents over item graphs, fused by behaviour",
            "mmx.recommend.models.mgcn",
            "required",
            "Yu et al., Multi-View Graph Convolutional Network for Multimedia Recommendation, "
            "MM 2023",
        ),
        ModelRecord(
            "smore",
            "SMORE: contents filtered and fused in their spectrum, purified, over item graphs",
            "mmx.recommend.models.smore",
            "required",
            "Ong and Khong, Spectrum-based Modality Representation Fusion Graph Convolutional "
            "Network for Multimodal Recommendation, WSDM 2025",
        ),
        ModelRecord(
            "gume",
            "GUME: MGCN over a graph that joins similar items, users' contents contrasted",
            "mmx.recommend.models.gume",
            "required",
            "Lin et al., GUME: Graphs and User Modalities Enhancement for Long-Tail Multimodal "
            "Recommendation, CIKM 2024",
        ),
        ModelRecord(
            "lgmrec",
            "LGMRec: local graph embeddings and global ones over hyperedges",
            "mmx.recommend.models.lgmrec",
            "required",
            "Guo et al., LGMRec: Local and Global Graph Learning for Multimodal Recommendation, "
            "AAAI 2024",
            end_to_end=True,
            lr=3e-3,
        ),
        ModelRecord(
            "dragon",
            "DRAGON: contents over the user-item graph, then graphs of users and of items",
            "mmx.recommend.models.dragon",
            "required",
            "Zhou et al., Enhancing Dyadic Relations with Homogeneous Graphs for Multimodal "
            "Recommendation, ECAI 2023",
            cold_items=True,
        ),
        ModelRecord(
            "mentor",
            "MENTOR: contents over the user-item graph, aligned with ids and contrasted in noise",
            "mmx.recommend.models.mentor",
            "required",
            "Xu et al., MENTOR: Multi-level Self-supervised Learning for Multimodal "
            "Recommendation, AAAI 2025",
            cold_items=True,
        ),
        ModelRecord(
            "cohesion",
            "COHESION: ids mixed into contents; user-item, user-user and item-item graphs",
            "mmx.recommend.models.cohesion",
            "required",
            "Xu et al., COHESION: Composite Graph Convolutional Network with Dual-Stage Fusion "
            "for Multimodal Recommendation, SIGIR 2025",
        ),
        ModelRecord(
            "pgl",
            "PGL: contents alone over the principal part of the graph",
            "mmx.recommend.models.pgl",
            "required",
            "Yu et al., Mind Individual Information! Principal Graph Learning for Multimedia "
            "Recommendation, AAAI 2025",
            cold_items=True,
            lr=3e-3,
        ),
        ModelRecord(
            "alpharec",
            "AlphaRec: language vectors of users and items through one network, no ids",
            "mmx.recommend.models.alpharec",
            "required",
            "Sheng et al., Language Representations Can be What Recommenders Need, ICLR 2025",
            cold_items=True,
            end_to_end=True,
        ),
    )
}

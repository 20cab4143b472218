"""The table of the recommenders: one paper, one file; this says where they are."""

from __future__ import annotations

from mmx.recommend.records import ModelRecord

MODELS = {
    record.name: record
    for record in (
        ModelRecord(
            "popularity",
            "How many users took an item",
            "mmx.recommend.models.popularity",
            "none",
            "the floor under every table",
            closed_form=True,
            weights=True,
        ),
        ModelRecord(
            "itemknn",
            "Cosine neighbours among items by their users",
            "mmx.recommend.models.itemknn",
            "none",
            "Deshpande and Karypis, Item-Based Top-N Recommendation Algorithms, ACM TOIS 2004",
            closed_form=True,
            weights=True,
        ),
        ModelRecord(
            "itemknn-cbf",
            "Cosine neighbours among items by their contents",
            "mmx.recommend.models.itemknn_cbf",
            "required",
            "Lops et al., Content-based Recommender Systems, Recommender Systems Handbook, 2011",
            closed_form=True,
            weights=True,
            cold_items=True,
        ),
        ModelRecord(
            "ease",
            "Linear item-item regression",
            "mmx.recommend.models.ease",
            "none",
            "Steck, Embarrassingly Shallow Autoencoders for Sparse Data, WWW 2019",
            closed_form=True,
            weights=True,
        ),
        ModelRecord(
            "ease-content",
            "Linear item-item regression on interactions and contents",
            "mmx.recommend.models.ease_content",
            "required",
            "Jeunen et al., Closed-Form Models for Collaborative Filtering with Side-Information, "
            "RecSys 2020",
            closed_form=True,
            weights=True,
            cold_items=True,
        ),
        ModelRecord(
            "l3ae",
            "Linear item-item regression, guided by contents",
            "mmx.recommend.models.l3ae",
            "required",
            "Moon et al., LLM-Enhanced Linear Autoencoders for Recommendation, CIKM 2025",
            closed_form=True,
            weights=True,
            cold_items=True,
        ),
        ModelRecord(
            "slim",
            "Sparse non-negative item-item regression",
            "mmx.recommend.models.slim",
            "none",
            "Ning and Karypis, SLIM: Sparse Linear Methods for Top-N Recommender Systems, ICDM "
            "2011",
            closed_form=True,
            weights=True,
        ),
        ModelRecord(
            "rp3beta",
            "Random walks of three steps, popular items held back",
            "mmx.recommend.models.rp3beta",
            "none",
            "Paudel et al., Updatable, Accurate, Diverse, and Scalable Recommendations for "
            "Interactive Applications, TiiS 2017",
            closed_form=True,
            weights=True,
        ),
        ModelRecord(
            "graph-filter",
            "GF-CF: a low-pass filter over the item graph",
            "mmx.recommend.models.graph_filter",
            "none",
            "Shen et al., How Powerful is Graph Convolution for Recommendation?, CIKM 2021",
            closed_form=True,
            weights=True,
        ),
        ModelRecord(
            "ials",
            "iALS: matrix factorisation by alternating least squares",
            "mmx.recommend.models.ials",
            "none",
            "Hu et al., Collaborative Filtering for Implicit Feedback Datasets, ICDM 2008",
            closed_form=True,
            weights=True,
            seeded=True,
        ),
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
        ),
        ModelRecord(
            "ugnn",
            "UGNN: graph channels with shared users, contrasted over a graph with fewer edges",
            "mmx.recommend.models.ugnn",
            "required",
            "Yi et al., Enhancing Recommender Systems: Deep Modality Alignment with Large "
            "Multi-Modal Encoders, ACM TORS 2025",
            end_to_end=True,
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
            "COHESION: ids mixed into contents, over graphs of users and items, of users, of items",
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

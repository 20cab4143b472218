"""The part of the table of the recommenders that has those that are solved at once."""

from __future__ import annotations

from mmx.recommend.records import ModelRecord

CLOSED_FORMS = (
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
        "Ning and Karypis, SLIM: Sparse Linear Methods for Top-N Recommender Systems, ICDM 2011",
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
)

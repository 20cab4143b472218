"""Every setting has bounds: a new field without them fails here, whatever its type."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmx.bounds import DEEPEST, WIDEST, Bounds, check, number, whole
from mmx.data.splits import SplitRule
from mmx.errors import OptionError
from mmx.experiments.datasets import Dataset, SampleEntry
from mmx.experiments.plan import Extraction, Plan, Recommender
from mmx.extract.finetune import FinetuneOptions
from mmx.extract.options import ExtractOptions
from mmx.extract.sources.web import Web
from mmx.recommend.end_to_end import EndToEndOptions
from mmx.recommend.models import MODELS
from mmx.recommend.options import TrainOptions
from tests.recommend.toy import toy_model, triples

GIVEN: dict[type, dict[str, Any]] = {  # what else an instance needs
    Dataset: {"data": Path("d")},
    Extraction: {"model": "clip"},
}
OPTIONS = (TrainOptions, SplitRule, FinetuneOptions, EndToEndOptions, ExtractOptions, Web)
CONFIGS = [record.load().Config for record in MODELS.values()]
BAD: dict[type, tuple[Any, ...]] = {
    int: (-1, -(2**70), 2**70, 1.5, True, "x"),
    float: (math.nan, math.inf, -math.inf, True, "x"),
    str: ("no such value", "?"),
}
FREE = {  # looked at where the thing that it names is opened
    Dataset: {"split_seed", "unknown_items", "data"},
    Extraction: {"model", "head"},
    ExtractOptions: {"precision"},
}


def kind_of(hint: Any) -> type:
    """The type of a field, without its None; a choice among literals is a text."""
    if typing.get_origin(hint) is typing.Literal:
        return str
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return next(t for t in typing.get_args(hint) if t is not type(None))
    return hint  # type: ignore[no-any-return]


def cases() -> Iterator[Any]:
    for record in (*CONFIGS, *OPTIONS, SampleEntry, Dataset, Extraction):
        hints = typing.get_type_hints(record)
        for f in fields(record):
            kind = kind_of(hints[f.name])
            if kind in BAD and f.name not in FREE.get(record, ()):
                name = f"{record.__module__.rpartition('.')[2]}.{record.__name__}.{f.name}"
                yield pytest.param(record, f.name, kind, id=name)


@pytest.mark.parametrize(("record", "name", "kind"), list(cases()))
def test_every_field_refuses_what_it_cannot_be(record: type, name: str, kind: type) -> None:
    for value in BAD[kind]:
        with pytest.raises(OptionError):
            record(**{**GIVEN.get(record, {}), name: value})


@pytest.mark.parametrize("record", [*CONFIGS, *OPTIONS, SampleEntry, Dataset, Extraction])
def test_the_defaults_are_within(record: type) -> None:
    record(**GIVEN.get(record, {}))
    needed = {f.name for f in fields(record) if f.default is MISSING}
    assert needed <= set(GIVEN.get(record, {}))


SMALLEST = [
    ("bpr", {"dim": 1, "reg": 0.0}),
    ("vbpr", {"dim": 1, "content_dim": 1, "reg": 0.0, "content_reg": 0.0}),
    ("lightgcn", {"dim": 1, "layers": 0, "reg": 0.0}),
    ("lattice", {"dim": 1, "feature_dim": 1, "neighbours": 1, "item_layers": 0, "layers": 0,
                 "frozen": 0.0}),
    ("lattice", {"neighbours": 2**31 - 1, "frozen": 1.0}),
    ("freedom", {"dim": 1, "layers": 0, "item_layers": 0, "neighbours": 1, "pruned": 0.0,
                 "content_weight": 0.0}),
    ("freedom", {"neighbours": 2**31 - 1, "pruned": 0.999, "layers": DEEPEST}),
    ("bm3", {"dim": 1, "layers": 0, "dropout": 0.0, "content_weight": 0.0, "reg": 0.0}),
    ("bm3", {"dropout": 0.999, "layers": DEEPEST}),
    ("layergcn", {"dim": 1, "layers": 1, "pruned": 0.0, "reg": 0.0}),
    ("layergcn", {"layers": DEEPEST, "pruned": 0.999}),
    ("mmgcn", {"dim": 1, "latent": 1, "components": 0, "layers": 1}),
    ("mmgcn", {"components": 2**31 - 1}),
    ("mmgcl", {"dim": 1, "layers": 0, "ssl_weight": 0.0, "edge_dropout": 0.0, "masking": 0.0,
               "components": 0}),
    ("mmgcl", {"edge_dropout": 0.999, "masking": 0.999, "components": 2**31 - 1}),
    ("slmrec", {"dim": 2, "layers": 0, "ssl_weight": 0.0, "reg": 0.0, "components": 0}),
    ("lightgcn", {"layers": DEEPEST}),
    ("mgcn", {"dim": 1, "layers": 0, "item_layers": 0, "neighbours": 1, "ssl_weight": 0.0,
              "reg": 0.0, "components": 0}),
    ("smore", {"dim": 1, "layers": 0, "item_layers": 0, "neighbours": 1, "dropout": 0.0,
               "ssl_weight": 0.0, "reg": 0.0, "components": 0}),
    ("smore", {"layers": DEEPEST, "item_layers": DEEPEST, "neighbours": 2**31 - 1,
               "neighbours_of": "text:1", "dropout": 0.999}),
    ("gume", {"dim": 1, "layers": 0, "item_layers": 0, "neighbours": 1, "behaviour_weight": 0.0,
              "user_weight": 0.0, "align_weight": 0.0, "reg": 0.0, "extended_reg": 0.0,
              "components": 0}),
    ("gume", {"layers": DEEPEST, "item_layers": DEEPEST, "neighbours": 2**31 - 1}),
    ("dragon", {"dim": 1, "layers": 0, "item_layers": 0, "neighbours": 1, "user_neighbours": 1,
                "reg": 0.0, "components": 0}),
    ("dragon", {"layers": DEEPEST, "item_layers": DEEPEST, "neighbours": 2**31 - 1,
                "user_neighbours": 2**31 - 1}),
    ("mentor", {"dim": 1, "layers": 0, "item_layers": 0, "neighbours": 1, "reg": 0.0,
                "align_weight": 0.0, "noise_weight": 0.0, "components": 0}),
    ("mentor", {"layers": DEEPEST, "item_layers": DEEPEST, "neighbours": 2**31 - 1}),
    ("cohesion", {"dim": 1, "layers": 0, "item_layers": 0, "neighbours": 1, "user_neighbours": 1,
                  "pruned": 0.0, "reg": 0.0, "components": 0}),
    ("cohesion", {"layers": DEEPEST, "item_layers": DEEPEST, "neighbours": 2**31 - 1,
                  "user_neighbours": 2**31 - 1, "pruned": 0.999}),
    ("lgmrec", {"dim": 1, "layers": 0, "modal_layers": 0, "hyperedges": 1, "dropout": 0.0,
                "global_weight": 0.0, "ssl_weight": 0.0, "reg": 0.0, "components": 0}),
    ("lgmrec", {"layers": DEEPEST, "modal_layers": DEEPEST, "hyper_layers": DEEPEST,
                "hyperedges": 64, "dropout": 0.999}),
    ("pgl", {"dim": 1, "layers": 0, "item_layers": 0, "neighbours": 1, "pruned": 0.0,
             "dropout": 0.0, "ssl_weight": 0.0, "components": 0}),
    ("pgl", {"layers": DEEPEST, "item_layers": DEEPEST, "pruned": 0.999, "dropout": 0.999}),
    ("mgcn", {"layers": DEEPEST, "item_layers": DEEPEST, "neighbours": 2**31 - 1}),
    ("grcn", {"dim": 1, "layers": 0, "routings": 0, "reg": 0.0, "components": 0}),
    ("grcn", {"layers": DEEPEST, "routings": DEEPEST}),
    ("dualgnn", {"dim": 1, "layers": 0, "user_neighbours": 1, "reg": 0.0, "components": 0}),
    ("dualgnn", {"layers": DEEPEST, "user_neighbours": 2**31 - 1}),
    ("mmgcf", {"dim": 1, "layers": 0, "pruned": 0.0, "reg": 0.0, "components": 0}),
    ("mmgcf", {"layers": DEEPEST, "pruned": 0.999}),
    ("ugnn", {"dim": 1, "layers": 0, "ssl_weight": 0.0, "edge_dropout": 0.0, "reg": 0.0,
              "components": 0}),
    ("ugnn", {"layers": DEEPEST, "edge_dropout": 0.999}),
    ("alpharec", {"dim": 1, "hidden": 0, "layers": 0, "negatives": 1}),
    ("alpharec", {"layers": DEEPEST, "hidden": 1, "negatives": 1000}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "settings"), SMALLEST)
def test_a_model_at_its_bounds_still_trains(name: str, settings: dict[str, Any]) -> None:
    modalities = () if MODELS[name].features == "none" else ("image", "text")
    model = toy_model(name, *modalities, **settings)
    model.epoch_start(torch.Generator().manual_seed(0))
    loss = model.loss(*triples())
    loss.backward()
    assert math.isfinite(loss.item())
    assert all(torch.isfinite(part).all() for part in model.factors())


@pytest.mark.parametrize(
    ("bounds", "within", "without", "said"),
    [
        (whole(1), (1, 2**31 - 1, np.int64(7)), (0, 2**31), "at least 1"),
        (whole(1, WIDEST), (1, WIDEST), (0, WIDEST + 1), "1 to 65536"),
        (number(0), (0, 0.0, 1e300), (-1e-9, math.inf, math.nan), "at least 0"),
        (number(0, above=True), (1e-9,), (0, -1), "above 0"),
        (number(0, 1), (0, 1, 0.5), (1.0001, -0.1), "0 to 1"),
        (number(0, 1, below=True), (0, 0.99), (1, 2), "at least 0 and below 1"),
        (number(-math.inf), (-1e300, 5), (math.nan, math.inf, -math.inf), "a finite number"),
    ],
)
def test_bounds(
    bounds: Bounds, within: tuple[Any, ...], without: tuple[Any, ...], said: str
) -> None:
    assert str(bounds) == said
    for value in within:
        check("--x ", value, bounds)
    with pytest.raises(OptionError, match=r": a (whole )?number is expected$"):
        check("--x ", "7", bounds)
    for value in without:
        wanted = f"at most {bounds.most}" if value > bounds.most and not bounds.below else said
        wanted = "a finite number" if value == math.inf else wanted
        with pytest.raises(OptionError, match=f"^--x .*: {wanted} is expected$"):
            check("--x ", value, bounds)


def test_seeds_have_one_range() -> None:
    torch.Generator().manual_seed(2**63 - 1)
    np.random.default_rng(2**63 - 1)
    entries: dict[str, Any] = {"datasets": {"d": Dataset(data=Path("d"))}, "features": {"n": None},
                               "recommenders": {"bpr": Recommender("bpr")}}  # fmt: skip
    for seed in (-1, 2**63):
        for make in (
            lambda s: TrainOptions(seed=s),
            lambda s: SplitRule(seed=s),
            lambda s: FinetuneOptions(seed=s),
            lambda s: SampleEntry(seed=s),
            lambda s: Dataset(data=Path("d"), split_seed=s),
            lambda s: Plan(**entries, seeds=(s,)),
        ):
            with pytest.raises(OptionError, match=r"seeds?.*: (0 to|at most) 9223372036854775807"):
                make(seed)


def test_a_search_over_nothing_is_refused() -> None:
    for values in ((), (0.1, 0.1)):
        with pytest.raises(OptionError, match=r"^search.reg: give at least one value, none twice"):
            Recommender("vbpr", search={"reg": values})

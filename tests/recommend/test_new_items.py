"""Items that a run's table does not have are scored by their vectors."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmx.array_files import load_arrays
from mmx.cache.store import open_store
from mmx.data.splits import SplitRule
from mmx.errors import MmxError
from mmx.recommend.blocks.knn import knn_edges
from mmx.recommend.features import Features
from mmx.recommend.fit import fit
from mmx.recommend.fuse import fuse
from mmx.recommend.job import TrainJob
from mmx.recommend.models import MODELS
from mmx.recommend.new_items import with_new_items
from mmx.recommend.options import TrainOptions
from mmx.recommend.recommend_options import RecommendOptions
from mmx.recommend.recommendation import recommend
from mmx.recommend.run import Run
from mmx.testing.clubs import DIMENSIONS
from tests.own.pages import MODEL
from tests.recommend import kit

BY_CONTENTS = [name for name, record in MODELS.items() if record.cold_items]
CLOSED = [name for name in BY_CONTENTS if MODELS[name].closed_form]
TRAINED = [name for name in BY_CONTENTS if not MODELS[name].closed_form]
LEFT = kit.COLD  # nobody took them, so a table without them has the same interactions


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> tuple[kit.Place, kit.Place]:
    """The dataset of the kit, and the same whose table lacks the items that nobody took."""
    whole = kit.write_place(tmp_path_factory.mktemp("whole"))
    less = tmp_path_factory.mktemp("less")
    kit.write_place(less)
    items = pq.read_table(less / "items.parquet")["item_id"].to_pylist()
    keep = [i for i in items if i not in LEFT]
    pq.write_table(pa.table({"item_id": keep}), less / "items.parquet")
    return whole, kit.Place(less, whole.store)


def trained(place: kit.Place, model: str, out: Path, *settings: str) -> Run:
    gradient = [] if MODELS[model].closed_form else ["dim=8"]
    return kit.trained(place, model, out, epochs=3, settings=[*gradient, *settings])


def scores(run: Run) -> dict[str, np.ndarray]:
    """item id → (users,) scores."""
    return dict(zip(run.data.items.ids.to_pylist(), kit.all_scores(run).T, strict=True))


@pytest.mark.parametrize("model", CLOSED)
def test_a_closed_form_scores_them_as_if_they_had_been_in_its_table(
    model: str, places: tuple[kit.Place, kit.Place], tmp_path: Path
) -> None:
    whole, less = places
    expected = scores(trained(whole, model, tmp_path / "whole"))
    found = scores(with_new_items(trained(less, model, tmp_path / "less"), whole.store))
    assert found.keys() == expected.keys()
    for name, mine in found.items():
        np.testing.assert_allclose(mine, expected[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model", TRAINED)
def test_a_trained_model_keeps_the_scores_of_the_others(
    model: str, places: tuple[kit.Place, kit.Place], tmp_path: Path
) -> None:
    """And what an item gets does not depend on which others are new."""
    whole, less = places
    run = trained(less, model, tmp_path / "run")
    before, after = scores(run), scores(with_new_items(run, whole.store))
    assert set(after) - set(before) == set(LEFT)
    for name, mine in before.items():
        np.testing.assert_array_equal(mine, after[name])
    alone = pq.read_table(whole.store)
    alone = alone.filter(pa.compute.equal(alone["item_id"], LEFT[1]))
    pq.write_table(alone, tmp_path / "one.parquet")
    one = scores(with_new_items(run, tmp_path / "one.parquet"))[LEFT[1]]
    np.testing.assert_allclose(one, after[LEFT[1]], rtol=1e-5, atol=1e-6)
    table = recommend(with_new_items(run, whole.store), ["c1-u0"], RecommendOptions(k=200))
    assert set(LEFT) <= set(table["item_id"].to_pylist())


def vectors(place: kit.Place, modality: str, ids: list[str]) -> np.ndarray:
    return open_store(place.store).vectors(modality, ids)[0].astype(np.float64)


def test_vbpr_scores_by_the_equation(places: tuple[kit.Place, kit.Place], tmp_path: Path) -> None:
    """θ_u·(E f) + β'·f with f about the mean of the run's items: no γ, no β."""
    whole, less = places
    run = trained(less, "vbpr", tmp_path / "run")
    p = {k: v.astype(np.float64) for k, v in load_arrays(run.path / "model.safetensors").items()}
    expected = np.zeros((len(run.data.users), len(LEFT)))
    for modality in DIMENSIONS:
        old, there = open_store(whole.store).vectors(modality, run.data.items.ids)
        f = vectors(whole, modality, list(LEFT)) - old[there].astype(np.float64).mean(0)
        f /= np.linalg.norm(f, axis=1, keepdims=True)
        e = next(v for k, v in p.items() if k.startswith("project") and modality in k)
        beta = next(v for k, v in p.items() if k.startswith("content_bias") and modality in k)
        expected += p["taste"] @ (f @ e.T).T + f @ beta
    found = scores(with_new_items(run, whole.store))
    np.testing.assert_allclose(
        np.stack([found[name] for name in LEFT], 1), expected, rtol=1e-4, atol=1e-5
    )


def test_vbpr_scores_a_copy_as_the_item_that_nobody_took(
    places: tuple[kit.Place, kit.Place], tmp_path: Path
) -> None:
    whole, _ = places
    run = trained(whole, "vbpr", tmp_path / "run", "cold=prior")
    copies = pq.read_table(whole.store)
    copies = copies.filter(pa.compute.is_in(copies["item_id"], pa.array(LEFT)))
    names = pa.array([f"copy of {name}" for name in copies["item_id"].to_pylist()])
    place = copies.column_names.index("item_id")
    copies = copies.set_column(place, copies.schema.field("item_id"), names)
    pq.write_table(copies, tmp_path / "copies.parquet")
    found = scores(with_new_items(run, tmp_path / "copies.parquet"))
    for name in LEFT:
        np.testing.assert_allclose(found[f"copy of {name}"], found[name], rtol=1e-5, atol=1e-6)


def test_pgl_scores_by_the_equation(places: tuple[kit.Place, kit.Place], tmp_path: Path) -> None:
    """A third of norm(W f + b), as nobody took it, and the mean of its neighbours and itself."""
    whole, less = places
    run = trained(less, "pgl", tmp_path / "run", "components=0", "weights=image:1,text:0")
    p = {k: v.astype(np.float64) for k, v in load_arrays(run.path / "model.safetensors").items()}
    ids = [*run.data.items.ids.to_pylist(), *LEFT]
    parts, near = [], np.zeros(0)
    for modality in sorted(DIMENSIONS):
        matrix, there = open_store(whole.store).vectors(modality, ids)
        old = there & (np.arange(len(ids)) < len(ids) - len(LEFT))
        f = np.where(there[:, None], matrix - matrix[old].astype(np.float64).mean(0), 0)
        f /= np.maximum(np.linalg.norm(f, axis=1, keepdims=True), 1e-30)
        mine = {k.rpartition(".")[2]: v for k, v in p.items() if f"{modality}." in k}
        f_or_default = np.where(there[:, None], f, mine["default"])
        e = f_or_default @ mine["weight"].T + mine["offset"]
        parts.append(e / np.linalg.norm(e, axis=1, keepdims=True))
        if modality == "image":
            near = np.where(old[None, :], f @ f.T, -np.inf)
    e = np.concatenate(parts, 1)
    found = scores(with_new_items(run, whole.store))
    for row, name in enumerate(LEFT, start=len(ids) - len(LEFT)):
        nine = np.argsort(-near[row])[:9]
        final = e[row] / 3 + (e[row] + e[nine].sum(0)) / 10
        np.testing.assert_allclose(found[name], run.scorer.users @ final, rtol=1e-3, atol=1e-5)


def test_neighbours_and_axes_are_those_of_the_first_items() -> None:
    rng = np.random.default_rng(0)
    old = rng.normal(size=(30, 6)).astype(np.float32)
    new = np.concatenate([old[3:4], rng.normal(size=(2, 6)).astype(np.float32)])
    both = Features(np.concatenate([old, new]), np.ones(33, bool), fitted=30)
    alone = Features(old, np.ones(30, bool))
    np.testing.assert_array_equal(both.normalised().matrix[:30], alone.normalised().matrix)
    np.testing.assert_array_equal(both.normalised().matrix[30], alone.normalised().matrix[3])
    for count in (3, 5):
        np.testing.assert_array_equal(
            both.principal(count).matrix[:30], alone.principal(count).matrix
        )
        np.testing.assert_allclose(
            both.principal(count).matrix[30], both.principal(count).matrix[3], atol=1e-5
        )
    edges, before = knn_edges(both, 4), knn_edges(alone, 4)
    first = edges.rows < 30
    assert edges.rows[first].equal(before.rows)
    assert edges.columns[first].equal(before.columns)
    assert edges.columns[~first].reshape(3, 4)[:, 0].tolist() == [30, 31, 32]
    assert edges.columns[~first].reshape(3, 4)[0, 1] == 3
    assert (edges.columns[~first].reshape(3, 4)[:, 1:] < 30).all()
    wide = Features(np.concatenate([old.T, old.T[:1]]), np.ones(7, bool), fitted=6)
    np.testing.assert_allclose(wide.principal(4).matrix[6], wide.principal(4).matrix[0], atol=1e-5)


def decoded(table: pa.Table, how: str, path: Path) -> Path:
    """A store like ``table`` by whose card pictures were decoded in another way."""
    card = table.schema.metadata[b"mmx.card"]
    changed = card.replace(b'"image_rule": null', b'"image_rule": {"decode": "%s"}' % how.encode())
    assert changed != card
    metadata = {**table.schema.metadata, b"mmx.card": changed}
    pq.write_table(table.replace_schema_metadata(metadata), path)
    return path


def test_what_cannot_be_scored_says_why(
    places: tuple[kit.Place, kit.Place], tmp_path: Path
) -> None:
    whole, less = places
    ids = trained(less, "bpr", tmp_path / "bpr")
    with pytest.raises(MmxError, match=r"bpr cannot score items outside .* vbpr.*"):
        with_new_items(ids, whole.store)
    moved = tmp_path / "moved.parquet"
    moved.write_bytes(whole.store.read_bytes())
    run = trained(kit.Place(less.data, moved), "vbpr", tmp_path / "vbpr")
    moved.rename(tmp_path / "elsewhere.parquet")
    with pytest.raises(MmxError, match="say where they are now with --features"):
        with_new_items(run, whole.store)
    assert LEFT[0] in scores(with_new_items(run, whole.store, tmp_path / "elsewhere.parquet"))
    full = trained(whole, "vbpr", tmp_path / "full")
    with pytest.raises(MmxError, match="has no item with vectors of image or text that"):
        with_new_items(full, whole.store)
    table = pq.read_table(whole.store)
    other = {k: v.replace(b'"toy"', b'"else"') for k, v in table.schema.metadata.items()}
    pq.write_table(table.replace_schema_metadata(other), tmp_path / "other.parquet")
    with pytest.raises(MmxError, match="is of another encoder than"):
        with_new_items(run, tmp_path / "other.parquet", whole.store)
    for rule, said in (("exact", "without"), ("fast", "with")):
        old, new = (
            decoded(table, rule_of, tmp_path / f"{rule_of}.parquet")
            for rule_of in ("fast" if rule == "exact" else "exact", rule)
        )
        with pytest.raises(MmxError, match=f"extract it {said} --exact"):
            with_new_items(run, new, old)
    turned = [
        pa.array([None if v is None else v[::-1] for v in table[n].to_pylist()], table[n].type)
        if n in DIMENSIONS else table[n]
        for n in table.column_names
    ]  # fmt: skip
    pq.write_table(pa.table(turned, schema=table.schema), tmp_path / "turned.parquet")
    with pytest.raises(MmxError, match=r"have changed since: .*; train it again"):
        with_new_items(run, whole.store, tmp_path / "turned.parquet")
    fused = fuse([run.path, trained(less, "itemknn-cbf", tmp_path / "knn").path], tmp_path / "two")
    with pytest.raises(MmxError, match="is a fusion, which cannot score new items; take one of"):
        with_new_items(fused, whole.store)


def test_a_model_of_ones_own_needs_its_code(
    places: tuple[kit.Place, kit.Place], tmp_path: Path
) -> None:
    whole, less = places
    file = tmp_path / "mine.py"
    for text in (MODEL, MODEL.replace("    item_tables", "    other")):
        file.write_text(text)
        job = TrainJob(
            less.data, f"{file}:Model", whole.store, ["dim=8"], code=file,
            training=TrainOptions(epochs=2, patience=2),
        )  # fmt: skip
        run = fit(job, tmp_path / "own", overwrite=True)
        with pytest.raises(
            MmxError, match=r"is of mine\.py:Model, and its code .* --code mine\.py"
        ):
            with_new_items(run, whole.store)
        if text == MODEL:
            before, after = (
                scores(one) for one in (run, with_new_items(run, whole.store, code=file))
            )
            assert set(after) - set(before) == set(LEFT)
        else:
            with pytest.raises(MmxError, match="its parameter item has a row for each item; its"):
                with_new_items(run, whole.store, code=file)
    file.write_text(MODEL + "\n")
    with pytest.raises(MmxError, match=r"mine\.py has changed since .* restore it, or train again"):
        with_new_items(run, whole.store, code=file)


def test_a_damaged_run_is_one_line(places: tuple[kit.Place, kit.Place], tmp_path: Path) -> None:
    whole, less = places
    run = trained(less, "vbpr", tmp_path / "run")
    for changed in ({"features": [{}]}, {"settings": {"nothing": 1}}, {"settings": {"dim": -1}}):
        with pytest.raises(MmxError):
            with_new_items(replace(run, config={**run.config, **changed}), whole.store)
    smaller = {**run.config, "settings": {**run.config["settings"], "dim": 4}}
    with pytest.raises(MmxError, match="is of another version of vbpr; train it again"):
        with_new_items(replace(run, config=smaller), whole.store)
    file = run.path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-8] + b"12345678")
    with pytest.raises(MmxError, match=r"is broken: model\.safetensors is not what was written"):
        with_new_items(run, whole.store)


def test_a_closed_form_still_scores_users_who_were_held_out(
    places: tuple[kit.Place, kit.Place], tmp_path: Path
) -> None:
    whole, less = (
        fit(
            TrainJob(p.data, CLOSED[0], [p.store], split=SplitRule("users")), tmp_path / p.data.name
        )
        for p in places
    )
    assert whole.data.fold_in is not None
    held_out = np.flatnonzero(whole.data.fold_in.counts)
    expected, found = scores(whole), scores(with_new_items(less, places[0].store))
    assert np.isfinite(np.stack(list(expected.values()), 1)[held_out]).any()
    for name, mine in found.items():
        np.testing.assert_allclose(mine, expected[name], rtol=1e-4, atol=1e-5)

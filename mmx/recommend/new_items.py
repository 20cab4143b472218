"""Items that a run's table does not have: scored by their vectors, without training again.

The model is built again with the new items at the end of the catalogue, as items that nobody took.
One trained by gradients gets the parameters of the run. What it measures on a whole catalogue (the
mean of the vectors, their principal axes, the neighbours of its items) stays that of the run's
own, so that the score of a new item does not depend on which others are new, and known items keep
theirs. A closed form is solved again: the result is that of training with the new items in the
table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from mmx.cache.store import Store, open_store
from mmx.errors import OptionError, RunError, StoreError, first_few, first_line
from mmx.kinds import must_be
from mmx.logs import log_line
from mmx.own.code import Codes, as_codes
from mmx.recommend.ensemble import Ensemble
from mmx.recommend.features import Features, FeatureSpec, refuse_absurd
from mmx.recommend.inductive import with_held_out
from mmx.recommend.interactions import Interactions
from mmx.recommend.job import FeatureSources, as_specs
from mmx.recommend.listed import Listed
from mmx.recommend.memory import allocating
from mmx.recommend.models import MODELS, ModelRecord
from mmx.recommend.protocol import ClosedForm, GradientModel, World
from mmx.recommend.run import Run, read_parameters
from mmx.recommend.run_model import config_of_model, record_of
from mmx.recommend.scoring import Factors, Scorer
from mmx.recommend.trained_with import stores_of

NEAR = 0.05  # of a row's norm, that rounding on another device or in bfloat16 may change


@dataclass(frozen=True)
class _Vectors:
    """One modality of a run, from the store that it was trained with and from the new ones."""

    modality: str
    old: Store
    new: Sequence[Store]

    def of(self, data: Interactions, count: int) -> Features:
        """The vectors of all items, of which the last ``count`` are new."""
        known, ids = data.items.ids[:-count], data.items.ids[-count:]
        parts = [self._checked(self.old, known)]
        rest = Features(np.zeros((count, parts[0].dimension), np.float32), np.zeros(count, bool))
        for store in self.new:
            found = self._checked(store, ids)
            rest.matrix[found.present] = found.matrix[found.present]
            rest.present[found.present] = True
        parts.append(rest)
        return Features(
            np.concatenate([part.matrix for part in parts]),
            np.concatenate([part.present for part in parts]),
        )

    def _checked(self, store: Store, ids: pa.Array) -> Features:
        found = Features(*store.vectors(self.modality, ids))
        refuse_absurd(store, self.modality, found, ids)
        return found


def with_new_items(
    run: Run,
    stores: FeatureSources,
    features: FeatureSources = (),
    *,
    code: Codes = (),
    log: Callable[[str], None] = log_line,
) -> Run:
    """The run with the items of ``stores`` that its table does not have, after its own.

    Items that the run knows are left as they are. ``features`` are the stores that the run was
    trained with, where these are no longer in their place; ``code`` the file or module of a model
    of the user's own, which is run. ``log`` gets a line on how many items are new. Raises RunError
    when the model cannot score such items, StoreError when the vectors are of another encoder or
    no item is new.
    """
    must_be("run", run, Run)
    _must_score_by_contents(run)
    _must_be_uncontrolled(run)
    record = record_of(run, as_codes(code))
    sources = _sources(run, as_specs(stores), as_specs(features))
    ids = _new_ids(sources, run)
    data = run.data.with_items(ids)
    vectors = {source.modality: source.of(data, len(ids)) for source in sources}
    log(f"{len(ids):,} new items; {run.path} has {len(run.items):,}")
    table = pa.concat_tables([run.items, pa.table({"item_id": ids})], promote_options="default")
    with record.blamed(), allocating(str(run.path), "train it again with smaller settings"):
        scorer = _scorer(run, record, World(data.train, vectors, _seed(run)))
        if record.closed_form:
            scorer = with_held_out(scorer, data)
    return replace(run, data=data, items=table, scorer=scorer, vectors=vectors)


def _must_score_by_contents(run: Run) -> None:
    model = str(run.config["model"])
    if isinstance(run.scorer, Ensemble):
        raise RunError(f"{run.path} is a fusion, which cannot score new items; "
                       "take one of the runs it was made from")  # fmt: skip
    if isinstance(run.scorer, Listed):
        raise RunError(f"{run.path} is of ready lists, which have no new items; take a run of "
                       "`mmx train`")  # fmt: skip
    if not run.can("cold_items"):
        others = ", ".join(record.name for record in MODELS.values() if record.cold_items)
        raise RunError(f"{model} cannot score items outside the table it was trained with; models "
                       f"that score by contents can: {others}")  # fmt: skip


def _must_be_uncontrolled(run: Run) -> None:
    if (control := run.config.get("control")) is not None:
        raise RunError(f"{run.path} was trained with --control {str(control.get('arm'))[:40]}, and "
                       "its vectors are not the items' own; take a run without it")  # fmt: skip


def _sources(run: Run, new: Sequence[FeatureSpec], moved: Sequence[FeatureSpec]) -> list[_Vectors]:
    """For each modality of the run where its vectors are."""
    if not new:
        raise OptionError("--new-items names no store; give at least one")
    opened = [(spec, open_store(spec.path)) for spec in new]
    sources = []
    for modality, old in stores_of(run, moved).items():
        mine = [
            store
            for spec, store in opened
            if modality in (spec.modalities or store.card.dimensions)
        ]
        for store in mine:
            _must_be_alike(store, old)
        sources.append(_Vectors(modality, old, mine))
    return sources


def _must_be_alike(store: Store, old: Store) -> None:
    """Raise StoreError where the two stores' vectors cannot be compared."""
    differing = old.card.differences(store.card)
    rules = [card.image_rule or {} for card in (old.card, store.card)]
    how = [rule.get("decode") for rule in rules]
    if differing == ["image_rule"] and {**rules[0], "decode": ""} == {**rules[1], "decode": ""}:
        fix = "with" if how[0] == "exact" else "without"
        raise StoreError(f"{store.path} has pictures decoded another way ({how[1]}) than "
                         f"{old.path} ({how[0]}); extract it {fix} --exact")  # fmt: skip
    if differing:
        raise StoreError(f"{store.path} is of another encoder than {old.path} (by "
                         f"{first_few(differing)}); extract it with the encoder of the run"
                         )  # fmt: skip


def _new_ids(sources: Sequence[_Vectors], run: Run) -> pa.Array:
    """Ids that the run does not have, of items with a vector it can use; each once."""
    ids = [
        batch["item_id"].cast(pa.string()).filter(batch[source.modality].is_valid())
        for source in sources
        for store in source.new
        for batch in store.batches()
    ]
    together = pc.unique(pa.chunked_array(ids, pa.string()))
    new = together.filter(pc.invert(pc.is_in(together, value_set=run.data.items.ids)))
    if not len(new):
        names = " or ".join(source.modality for source in sources)
        raise StoreError(f"--new-items has no item with vectors of {names} that {run.path} "
                         "does not have already")  # fmt: skip
    return new


def _scorer(run: Run, record: ModelRecord, world: World) -> Scorer:
    """The scorer of the run, over its items and the new ones."""
    module = record.load()
    config = config_of_model(module.Config, run)
    if isinstance(module, ClosedForm):
        return module.fit(config, world)
    assert isinstance(run.scorer, Factors)
    known = run.scorer.items
    fitted = {name: replace(f, fitted=len(known)) for name, f in world.features.items()}
    model = module.Model(config, World(world.train, fitted), torch.Generator().manual_seed(0))
    _load(model, run, len(known))
    model.eval()
    with torch.no_grad():
        items = model.factors()[1].float().cpu().numpy()
    _must_be_the_same(items[: len(known)], known, run)
    return replace(run.scorer, items=np.concatenate([known, items[len(known) :]]))


def _seed(run: Run) -> int:
    """0 of a run that has none, whose model draws nothing."""
    return int((run.config.get("training") or {}).get("seed", 0))


def _load(model: GradientModel, run: Run, known: int) -> None:
    """The parameters of the run; the rows of new items in tables of items are zero."""
    state = {name: torch.from_numpy(value) for name, value in read_parameters(run).items()}
    shapes: Mapping[str, torch.Tensor] = model.state_dict()
    for name in state.keys() & set(model.item_tables) & shapes.keys():
        table = state[name]
        if len(table) == known:
            more = table.new_zeros(len(shapes[name]) - known, *table.shape[1:])
            state[name] = torch.cat([table, more])
    for name, table in state.items():
        if (
            name in shapes
            and table.shape[1:] == shapes[name].shape[1:]
            and table.shape[:1] == (known,) != shapes[name].shape[:1]
        ):
            raise RunError(f"{run.config['model']}: its parameter {name} has a row for each item; "
                           "its item_tables must name it, see mmx.recommend.protocol"
                           )  # fmt: skip
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise RunError(f"{run.path} is of another version of {run.config['model']}; train it again "
                       f"({first_line(error)})") from error  # fmt: skip


def _must_be_the_same(found: np.ndarray, known: np.ndarray, run: Run) -> None:
    """Raise StoreError when the known items' embeddings are not those of the run."""
    off = np.linalg.norm(found - known, axis=1) > NEAR * np.linalg.norm(known, axis=1)
    if off.any():
        some = cast(list[str], run.data.items.externals(np.flatnonzero(off)[:3]).to_pylist())
        raise StoreError(f"the vectors that {run.path} was trained with have changed since: "
                         f"{first_few(some)} among {int(off.sum())}; train it again")  # fmt: skip

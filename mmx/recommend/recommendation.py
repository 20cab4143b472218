"""Top-K lists out of a run, with external ids."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmx.data.vocabulary import Vocabulary, id_array
from mmx.errors import DataError, OptionError, RunError, first_few
from mmx.logs import log_line
from mmx.recommend.candidates import Candidates
from mmx.recommend.fallback import popular
from mmx.recommend.inductive import newcomers
from mmx.recommend.interactions import UserItems
from mmx.recommend.item_vectors import ItemVectors
from mmx.recommend.list_builder import Builder, Shared
from mmx.recommend.list_tables import ROWS_AT_ONCE
from mmx.recommend.recommend_options import RecommendOptions
from mmx.recommend.run import Run

AT_ONCE = 1024  # users whose lists are not just ranked
NEW_AT_ONCE = 1 << 16  # new users whose vectors are in memory

Log = Callable[[str], None]
Progress = Callable[[int, int], None]


def silent(done: int, total: int) -> None:
    """A progress callback that does nothing."""


def recommend(
    run: Run,
    users: Sequence[str],
    options: RecommendOptions | None = None,
    *,
    log: Log = log_line,
) -> pa.Table:
    """The top K of some users: (user_id, rank, item_id, score), best first.

    With a fallback there is a column ``fallback`` (bool), true of items that the model did not
    choose, whose score is null, and users whom the run does not know get it too. With ``explain``
    there are ``because_item``, ``because_modality`` and ``similarity``. ``log`` gets lines on what
    is left out. Raises UnknownIdError when a user or item id is not in the run.
    """
    return pa.concat_tables(list(recommend_some(run, users, options, log=log)))


def recommend_some(
    run: Run,
    users: Sequence[str],
    options: RecommendOptions | None = None,
    *,
    log: Log = log_line,
    progress: Progress = silent,
) -> Iterator[pa.Table]:
    """``recommend`` for many users, some thousand a table; ``progress`` gets users done and all."""
    options, ids = options or RecommendOptions(), id_array(users)
    may = options.fallback != "none"
    numbers = run.data.users.numbers(ids, "negative" if may else "error")
    if unknown := int((numbers < 0).sum()):
        log(f"{unknown:,} of {len(numbers):,} users are not in {run.path}: all they get is the "
            "fallback")  # fmt: skip
    ids = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
    yield from _tables(_known(run, options, log), numbers, ids, progress)


def recommend_all(
    run: Run,
    options: RecommendOptions | None = None,
    *,
    log: Log = log_line,
    progress: Progress = silent,
) -> Iterator[pa.Table]:
    """The top K of every user, by rising id, some thousand users a table."""
    everyone = np.arange(len(run.data.users))
    builder = _known(run, options or RecommendOptions(), log)
    yield from _tables(builder, everyone, run.data.users.ids, progress)


def recommend_from(
    run: Run,
    items: Sequence[str],
    options: RecommendOptions | None = None,
    *,
    log: Log = log_line,
) -> pa.Table:
    """The top K of someone of whom only these items are known; user_id is null.

    The items themselves are hidden unless ``seen`` is "none". ``mmx.recommend.inductive``
    says how a model that needs a vector of the newcomer gets one. With a fallback there may be no
    items. Raises RunError when the run cannot score new users, UnknownIdError when an item id is
    not in it.
    """
    options, items = options or RecommendOptions(), id_array(items)
    _must_score_new_users(run)
    if not len(items) and options.fallback == "none":
        raise OptionError("--items-from names no item; give at least one, or --fallback popular")
    numbers = run.data.items.numbers(items)
    shape = (1, len(run.data.items))
    history = UserItems.from_pairs(np.zeros(len(numbers), np.int64), numbers, *shape)
    someone = pa.nulls(1, run.data.users.ids.type)
    return pa.concat_tables(list(_new(run, history, someone, options, log, silent)))


def recommend_histories(
    run: Run,
    histories: pa.Table,
    options: RecommendOptions | None = None,
    *,
    log: Log = log_line,
    progress: Progress = silent,
) -> Iterator[pa.Table]:
    """``recommend_from`` for many users: ``histories`` has user_id and item_id, as texts.

    Users come in the order of their first rows; whether the run knows some of them does not matter.
    Items that the run does not have are left out, and ``log`` gets their number. Raises DataError
    where nothing is left of a user and there is no fallback, RunError as ``recommend_from``.
    """
    options = options or RecommendOptions()
    _must_score_new_users(run)
    names = Vocabulary(pc.unique(histories["user_id"]), "user")
    users = names.numbers(histories["user_id"])
    items = run.data.items.numbers(histories["item_id"], "negative")
    known = items >= 0
    if not known.all():
        lost = pc.unique(histories["item_id"].filter(pa.array(~known)))
        log(f"left out {int((~known).sum()):,} of {len(known):,} rows of the histories: "
            f"{run.path} does not have {len(lost):,} of their items "
            f"({first_few(lost.to_pylist())})")  # fmt: skip
    shape = (len(names), len(run.data.items))
    history = UserItems.from_pairs(users[known], items[known], *shape)
    empty = np.flatnonzero(history.counts == 0)
    if len(empty) and options.fallback == "none":
        some = first_few(names.externals(empty[:4]).to_pylist())
        raise DataError(f"--histories: {run.path} has no item of {len(empty):,} of {len(names):,} "
                        f"users ({some}); remove them, or --fallback popular")  # fmt: skip
    yield from _new(run, history, names.ids, options, log, progress)


def _must_score_new_users(run: Run) -> None:
    if not run.can("new_users"):
        raise RunError(f"{run.config['model']} cannot score new users; give --user ID instead")


def _new(
    run: Run, history: UserItems, ids: pa.Array, options: RecommendOptions, log: Log,
    progress: Progress,
) -> Iterator[pa.Table]:  # fmt: skip
    """Lists of new users, the rows of ``history``; of one without items the model knows nothing."""
    shared = _shared(run, options, log)
    for start in range(0, max(history.n_users, 1), NEW_AT_ONCE):
        rows = np.arange(start, min(start + NEW_AT_ONCE, history.n_users))
        mine = history.rows(rows)
        scorer = newcomers(run.scorer, run.data.train, mine)
        hidden = _nothing(len(rows), mine.n_items) if options.seen == "none" else mine
        numbers = np.where(mine.counts > 0, np.arange(len(rows)), -1)

        def counted(done: int, _: int, before: int = start) -> None:
            progress(before + done, history.n_users)

        builder = Builder(shared, scorer, hidden, mine)
        yield from _tables(builder, numbers, ids.slice(start, len(rows)), counted)


def _known(run: Run, options: RecommendOptions, log: Log) -> Builder:
    hidden = _hidden(run, options)
    history = run.data.seen if options.seen == "none" else hidden
    return Builder(_shared(run, options, log), run.scorer, hidden, history)


def _shared(run: Run, options: RecommendOptions, log: Log) -> Shared:
    candidates = Candidates.of(run, options, log)
    content = ItemVectors.of(run, options) if options.diversity or options.explain else None
    order = popular(run.data.train, candidates.allowed) if options.fallback == "popular" else None
    return Shared(run, options, candidates, order, content)


def _tables(
    builder: Builder, users: np.ndarray, ids: pa.Array, progress: Progress
) -> Iterator[pa.Table]:
    """Lists of (n,) users; the last number that ``progress`` gets is theirs."""
    options = builder.shared.options
    step = max(1, ROWS_AT_ONCE // min(options.k, len(builder.shared.run.data.items)))
    if builder.shared.vectors is not None:
        step = min(step, AT_ONCE)
    for start in range(0, max(len(users), 1), step):
        yield builder.table(users[start : start + step], ids.slice(start, step))
        progress(min(start + step, len(users)), len(users))


def _hidden(run: Run, options: RecommendOptions) -> UserItems:
    if options.seen == "none":
        return _nothing(len(run.data.users), len(run.data.items))
    return run.data.known if options.seen == "train" else run.data.seen


def _nothing(n_users: int, n_items: int) -> UserItems:
    return UserItems(np.zeros(n_users + 1, dtype=np.int64), np.zeros(0, np.int64), n_items)

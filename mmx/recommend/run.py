"""The run directory: a trained recommender that needs nothing else to be used.

config.json            all that is needed to repeat the run, and what it cost
metrics.json           {"valid": {"recall@20": …}, "test": {…}, "counts": {…}}
history.parquet        per epoch: loss, seconds, validation metrics; a closed form has one row
per_user.parquet       per user: test metrics
users.parquet          user_id, in the order of the vocabulary, and final embedding if there is one
items.parquet          item_id, final embedding likewise, and the dataset's columns; first the
                       item that comes first among equal scores
interactions.parquet   the filtered log with the split that was used
model.safetensors      the parameters of the best epoch; item-item weights; the parts of a fusion
encoder/               of --end-to-end: the encoder's weights, for `mmx extract --weights`
features.parquet       of --end-to-end: the final embeddings of all items, an ordinary store
lists.parquet          of --keep-lists: the best items of each test user
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError

from mmx.array_files import load_arrays, save_arrays
from mmx.atomic import Claim, file_sha256
from mmx.devices import AUTO, CPU, multiplying_device
from mmx.errors import OptionError, RunError, UnknownIdError, first_line
from mmx.files import as_path, parse_json
from mmx.recommend.evaluation import Evaluation
from mmx.recommend.features import Features
from mmx.recommend.interactions import Interactions
from mmx.recommend.run_config import FORMAT, config_of
from mmx.recommend.scoring import Factors, Scorer
from mmx.recommend.serialize import factors, pack, unpack
from mmx.recommend.soundness import check_metrics, check_scorer, embeddings_of

if TYPE_CHECKING:  # opening and scoring a run loads no torch
    import torch

BROKEN = (  # what reading the files of a run may raise when they are damaged
    OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError, MemoryError,
    pa.ArrowException, SafetensorError, UnknownIdError, RecursionError,
    OptionError,  # of ids that are not text
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """A finished run, opened."""

    path: Path
    config: dict[str, Any]
    metrics: dict[str, dict[str, float]]
    data: Interactions
    items: pa.Table  # item_id and the dataset's columns, without embeddings
    scorer: Scorer
    vectors: Mapping[str, Features] | None = None  # of ``with_new_items``: those of all items

    def can(self, what: str) -> bool:
        """Whether the model scores "cold_items", which nobody took, or "new_users"."""
        return bool(self.config.get("can", {}).get(what, False))

    def on(self, device: str) -> Run:
        """The same run; lists of many users are computed on "cpu", "cuda", "cuda:1" or "auto".

        "auto" is a GPU where there is one and the run has embeddings. Lists are the same on all.
        Raises OptionError for a device that is not here, or a GPU for a run without embeddings.
        """
        chosen = multiplying_device(device)
        if isinstance(self.scorer, Factors):
            return replace(self, scorer=replace(self.scorer, device=chosen))
        if chosen != CPU and device != AUTO:
            raise OptionError(f"--device {device}: {self.path} has no embeddings, and the CPU "
                              "makes its lists; drop it")  # fmt: skip
        return self


def save_run(
    target: Claim,
    *,
    config: dict[str, Any],
    evaluations: dict[str, Evaluation],
    scorer: Scorer,
    history: list[dict[str, float]],
    data: Interactions,
    split: pa.Table,
    items: pa.Table,
    parameters: dict[str, torch.Tensor] | None = None,
    more: Callable[[Path], None] = lambda folder: None,
) -> None:
    """Write all files next to the target and move the folder there when it is complete.

    ``parameters`` are those of a model whose scorer is Factors; any other scorer is kept whole.
    ``more`` adds further files before. Raises TargetError when it cannot be
    written; what was there is then untouched.
    """
    record, arrays = pack(scorer)
    users = pa.table({"user_id": data.users.ids})
    if isinstance(scorer, Factors):
        arrays = {}  # the tables of users and items have them
        users, items = _with(users, scorer.users), _with(items, scorer.items)
    with target.filled(folder=True) as temporary:
        _write_json(temporary / "metrics.json", metrics_of(evaluations))
        _write_table(_table(history), temporary / "history.parquet")
        _write_table(_per_user(evaluations["test"], data), temporary / "per_user.parquet")
        _write_table(users, temporary / "users.parquet")
        _write_table(items, temporary / "items.parquet")
        _write_table(split, temporary / "interactions.parquet")
        _write_model(temporary / "model.safetensors", arrays, parameters)
        more(temporary)
        record_files = {
            "format": FORMAT,
            "scorer": record,
            **config,
            "sha256": digests_of(temporary),
        }
        _write_json(temporary / "config.json", record_files)


def open_run(path: Path | str, device: str = CPU) -> Run:
    """Open a run; ``device`` as in ``Run.on``.

    Raises RunError when it is absent, incomplete or of another format.
    """
    path = as_path(path)
    if not (path / "config.json").is_file():
        raise RunError(f"no run at {path}; make one with `mmx train`")
    try:
        config = config_of(path)
        _compare(path, config, "metrics.json")
        metrics = read_metrics(path)
        embedded = "embedding" if _of_factors(config) else None
        users = read_table(path / "users.parquet", leave_out=embedded)
        items = read_table(path / "items.parquet", leave_out=embedded)
        split = read_table(path / "interactions.parquet")
        data = Interactions.from_table(split, items["item_id"], users["user_id"])
        scorer = _scorer(path, config, data)
        check_scorer(scorer, len(users), len(items))
    except BROKEN as error:
        raise _broken(path, error) from error
    return Run(path, config, metrics, data, items, scorer).on(device)


def read_metrics(path: Path) -> dict[str, dict[str, float]]:
    """metrics.json of a run. Raises RunError when it is damaged."""
    try:
        return check_metrics(parse_json((path / "metrics.json").read_bytes()))
    except BROKEN as error:
        raise _broken(path, error) from error


def read_parameters(run: Run) -> dict[str, np.ndarray]:
    """The parameters of a model trained by gradients. Raises RunError when they are damaged."""
    try:
        _compare(run.path, run.config, "model.safetensors")
        return load_arrays(run.path / "model.safetensors")
    except BROKEN as error:
        raise _broken(run.path, error) from error


def read_table(path: Path, leave_out: str | None = None) -> pa.Table:
    """A table of a run, its pages compared with their checksums. Raises RunError on damage."""
    try:
        with _opened(path) as file:
            names = file.schema_arrow.names
            return file.read(columns=[name for name in names if name != leave_out])
    except BROKEN as error:
        raise _broken(path.parent, error, f"{path.name}: ") from error


def _embeddings(path: Path) -> np.ndarray:
    """The column ``embedding`` of a table of a run. Raises one of BROKEN on damage."""
    with _opened(path) as file:
        return embeddings_of(file, path.name)


def _opened(path: Path) -> pq.ParquetFile:
    return pq.ParquetFile(path, page_checksum_verification=True, buffer_size=1 << 20)


def _broken(path: Path, error: Exception, file: str = "") -> RunError:
    reason = first_line(error).rstrip(". ")
    return RunError(f"the run {path} is broken: {file}{reason}; train it again")


def _of_factors(config: dict[str, Any]) -> bool:
    return bool(config.get("scorer", {"kind": "factors"})["kind"] == "factors")


def _scorer(path: Path, config: dict[str, Any], data: Interactions) -> Scorer:
    record = config.get("scorer", {"kind": "factors"})
    if _of_factors(config):
        both = (_embeddings(path / f"{what}.parquet") for what in ("users", "items"))
        return factors(record, *both)
    _compare(path, config, "model.safetensors")
    return unpack(record, load_arrays(path / "model.safetensors"), data.known)


def verify_run(path: Path) -> list[str]:
    """The files of a run that changed since they were written; empty when there are none.

    A run that was written before there were checksums has nothing to compare.
    """
    config = open_run(path).config
    broken = []
    for name in config.get("sha256", {}):
        try:
            _compare(path, config, name)
        except (OSError, ValueError) as error:
            broken.append(str(error))
    return broken


def digests_of(folder: Path) -> dict[str, str]:
    """SHA-256 of each file but the history, which holds seconds and differs between equal runs."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {
        str(path.relative_to(folder)): file_sha256(path)
        for path in files
        if path.name != "history.parquet"
    }


def _compare(path: Path, config: dict[str, Any], name: str) -> None:
    """Raise ValueError when a file is not the one that was written."""
    written = config.get("sha256", {}).get(name)
    if written is not None and file_sha256(path / name) != written:
        raise ValueError(f"{name} is not what was written")


def metrics_of(evaluations: dict[str, Evaluation]) -> dict[str, dict[str, float]]:
    """metrics.json: means by split, and how many users they are over."""
    counts: dict[str, float] = {}
    for name, evaluation in evaluations.items():
        counts[f"{name}_users"] = len(evaluation.users)
        counts[f"{name}_items"] = evaluation.items
        counts[f"{name}_users_without_training"] = evaluation.unscored
    return {**{name: e.means for name, e in evaluations.items()}, "counts": counts}


def _per_user(evaluation: Evaluation, data: Interactions) -> pa.Table:
    ids = data.users.externals(evaluation.users)
    return pa.table({"user_id": ids, "relevant": evaluation.relevant, **evaluation.metrics})


def _table(history: list[dict[str, float]]) -> pa.Table:
    """All that any epoch has: with ``eval_every`` the first is not validated."""
    columns = dict.fromkeys(name for row in history for name in row)
    return pa.table({name: [row.get(name) for row in history] for name in columns})


def _with(table: pa.Table, embeddings: np.ndarray) -> pa.Table:
    """The table with an ``embedding`` column (rows, k) after its id."""
    values = pa.FixedSizeListArray.from_arrays(pa.array(embeddings.ravel()), embeddings.shape[1])
    if "embedding" in table.column_names:  # of the dataset, which is left out
        table = table.drop_columns(["embedding"])
    return table.add_column(1, "embedding", values)


def _write_table(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path, write_page_checksum=True)


def _write_model(
    path: Path, arrays: dict[str, np.ndarray], parameters: dict[str, torch.Tensor] | None
) -> None:
    """The arrays of a scorer, or the parameters of a model whose training has loaded torch."""
    if arrays or not parameters:
        save_arrays(arrays, path)
        return
    from mmx.torch_files import save_tensors

    save_tensors(parameters, path)


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, allow_nan=True) + "\n", encoding="utf-8")

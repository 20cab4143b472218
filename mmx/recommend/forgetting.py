"""``mmx run forget-user``: a run without one of its users.

Every file that has a row for the user is written again without it, in a new folder that takes the
place of the run in one step. Lists of the others stay as they are: no number that they are made of
changes. What was learnt from the user together with others does stay: the vectors and weights of
items, and the metrics.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmx.array_files import save_arrays
from mmx.atomic import claimed, file_sha256
from mmx.errors import RunError
from mmx.files import as_path
from mmx.own.code import Codes
from mmx.recommend.ensemble import Ensemble
from mmx.recommend.interactions import UserItems
from mmx.recommend.listed import Listed
from mmx.recommend.run import Run, digests_of, open_run, read_parameters, read_table
from mmx.recommend.run_folder import RUN
from mmx.recommend.scoring import Factors, Scorer
from mmx.recommend.serialize import pack

TABLES = ("users.parquet", "per_user.parquet", "interactions.parquet", "lists.parquet")
WRITTEN = (*TABLES, "model.safetensors")  # again; other files are those of the run
NOT_OF_USERS = ("item", "bias", "ids", "project", "content", "modalities.")


def forget_user(path: Path | str, user: str, *, code: Codes = ()) -> int:
    """Remove a user from all files of a run; how many the run has forgotten by now.

    ``code`` is the file or module of a model of the user's own, which is run to see which of its
    parameters are per user. The run is whole at every moment: after a kill the same call does it
    again. Raises OptionError when such a run comes without its code, RunError when there is no
    such run, it is damaged or it would be left without users, UnknownIdError when it does not have
    the user, TargetError when it cannot be written or another process is doing so.
    """
    path = as_path(path)
    if not (path / "config.json").is_file():
        raise RunError(f"no run at {path}; make one with `mmx train`")
    with claimed(path, RUN, overwrite=True) as claim:  # removes what a kill left
        run = open_run(claim.path)
        number = int(run.data.users.numbers([user])[0])
        if len(run.data.users) == 1:
            raise RunError(f"{path} has no other user; delete the run")
        count = int(run.config.get("forgotten_users", 0)) + 1
        with claim.filled(folder=True) as new:
            _write(run, user, number, new, code)
            config: dict[str, Any] = {**run.config, "forgotten_users": count}
            if "sha256" in config:  # what was damaged before can still be noticed
                kept = {name: one for name, one in config["sha256"].items() if name not in WRITTEN}
                config["sha256"] = digests_of(new) | kept
            text = json.dumps(config, indent=2, allow_nan=True) + "\n"
            (new / "config.json").write_text(text, encoding="utf-8")
            open_run(new)  # what is put in place can be read
    return count


def _write(run: Run, user: str, number: int, new: Path, code: Codes) -> None:
    """All files but config.json in a new folder, without the user."""
    for name in (inner.name for inner in run.path.iterdir() if inner.name != "config.json"):
        if name in WRITTEN:
            _check(run, name)
        if name in TABLES:
            table = read_table(run.path / name)
            kept = table.filter(pc.not_equal(table["user_id"], user))
            pq.write_table(kept, new / name, write_page_checksum=True)
        elif name == "model.safetensors":
            save_arrays(_arrays(run, number, code), new / name)
        else:
            _copied(run.path / name, new / name)


def _check(run: Run, name: str) -> None:
    """Raise RunError for a damaged file: written again it would count as sound."""
    written = run.config.get("sha256", {}).get(name)
    if written is not None and file_sha256(run.path / name) != written:
        raise RunError(f"the run {run.path} is broken: {name} is not what was written; train it "
                       "again, or delete it")  # fmt: skip


def _copied(old: Path, new: Path) -> None:
    if old.is_dir():
        shutil.copytree(old, new)
        return
    try:
        os.link(old, new)
    except OSError:  # this file system has no second names for a file
        shutil.copyfile(old, new)


def _arrays(run: Run, number: int, code: Codes) -> Mapping[str, np.ndarray]:
    """What model.safetensors has, without the user: a scorer, or the parameters of its model."""
    if not isinstance(run.scorer, Factors):
        return pack(_without(run.scorer, number))[1]
    kept = read_parameters(run)
    axes = _axes(run, kept, code)
    return {name: _cut(value, number, axes[name]) for name, value in kept.items()}


def _cut(value: np.ndarray, number: int, axes: Sequence[int]) -> np.ndarray:
    for axis in axes:
        value = np.delete(value, number, axis)
    return value


def _axes(run: Run, kept: Mapping[str, np.ndarray], code: Codes) -> Mapping[str, Sequence[int]]:
    """Of each parameter the axes with a place for each user; the model is asked where one may be.

    One of ours that has changed since the run was written is not that of the run: then sizes
    and names count.
    """
    sizes = (len(run.data.users), len(run.data.users) + len(run.data.items))
    likely = {name: _likely(name, value, sizes) for name, value in kept.items()}
    if not any(size in sizes for value in kept.values() for size in value.shape):
        return likely
    from mmx.recommend.user_rows import user_axes  # imports torch

    try:
        found = user_axes(run, code)
    except RunError:
        if "code" in run.config:
            raise
        found = {}
    same = found.keys() == kept.keys() and all(
        axis < value.ndim and value.shape[axis] in sizes
        for name, value in kept.items()
        for axis in found[name]
    )
    return found if same else likely


def _likely(name: str, value: np.ndarray, sizes: tuple[int, int]) -> Sequence[int]:
    """The first axis where it has a place for each user, or for each user and then each item.

    Where another parameter happens to be of that size, its name says what it is.
    """
    if not value.ndim or len(value) not in sizes:
        return ()
    return (0,) if "user" in name or not any(part in name for part in NOT_OF_USERS) else ()


def _without(scorer: Scorer, number: int) -> Scorer:
    """The scorer without a row of a user; item-item weights have none."""
    if isinstance(scorer, Factors):
        return replace(scorer, users=np.delete(scorer.users, number, 0))
    if isinstance(scorer, Listed):
        start, end = scorer.indptr[number], scorer.indptr[number + 1]
        indptr = np.delete(scorer.indptr, number + 1)
        indptr[number + 1 :] -= end - start
        return replace(scorer, indptr=indptr, items=np.delete(scorer.items, np.arange(start, end)))
    if isinstance(scorer, Ensemble):
        parts = tuple(_without(part, number) for part in scorer.parts)
        return Ensemble(parts, scorer.weights, _rows_but(scorer.train, number))
    return scorer


def _rows_but(matrix: UserItems, number: int) -> UserItems:
    return matrix.rows(np.delete(np.arange(matrix.n_users), number))

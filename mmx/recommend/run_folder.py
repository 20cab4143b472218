"""The folder of a run: how one is recognised, and its place while it is written."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path

from mmx.atomic import Claim, Kind, claimed, claimed_name
from mmx.cache.kind import is_store_like
from mmx.errors import OptionError
from mmx.files import Place

FILES = {
    "config.json", "metrics.json", "history.parquet", "per_user.parquet", "users.parquet",
    "items.parquet", "interactions.parquet", "model.safetensors", "encoder", "features.parquet",
    "lists.parquet",
}  # fmt: skip


def _is_run(path: Path) -> bool:
    """Whether a folder holds only a run, even one whose files are damaged."""
    if not path.is_dir():
        return False
    there = {inner.name for inner in path.iterdir()}
    encoder = {inner.name for inner in (path / "encoder").glob("*")}
    folders = {"encoder"}
    if is_store_like(path / "features.parquet"):
        folders.add("features.parquet")
    plain = all((path / name).is_file() for name in there - folders)
    own = plain and encoder <= {"config.json", "model.safetensors"}
    return own and {"metrics.json", "users.parquet"} <= there <= FILES


RUN = Kind("a run of `mmx train`, `mmx fuse` or `mmx evaluate --lists`", _is_run)


def claimed_run(out: Path | None, name: str, overwrite: bool) -> AbstractContextManager[Claim]:
    """The place of a new run: ``out``, or else a free name in ``runs/``; see ``mmx.atomic``."""
    if out is not None:
        return claimed(out, RUN, overwrite=overwrite)
    if overwrite:
        raise OptionError("--overwrite goes with --out: without it a run gets a free name")
    return claimed_name(Path("runs"), name, RUN)


def refuse_inputs(out: Path, inputs: Iterable[Place]) -> None:
    """Raise OptionError when the run would replace what it is made from."""
    for place in inputs:
        if isinstance(place, Path) and place.resolve().is_relative_to(out.resolve()):
            raise OptionError(
                f"--out {out} contains {place}, which this job reads; set it elsewhere"
            )

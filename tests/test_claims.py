"""Who may write where: names of runs, folders of stores, parts of other jobs, several processes."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from mmx.atomic import Kind, check_target, claimed, forget_unfinished, unfinished
from mmx.cache.kind import STORE
from mmx.cache.parts import Parts
from mmx.cache.schema import store_schema
from mmx.cache.tools import Target, unite
from mmx.cli.table_files import check_out, write_table
from mmx.data.dataset import load_items
from mmx.errors import OptionError, RunError, StoreError, TargetError
from mmx.extract.encoders import open_encoder
from mmx.extract.options import ExtractOptions
from mmx.extract.pipeline import extract
from mmx.recommend.end_to_end import EndToEndJob
from mmx.recommend.fit import fit
from mmx.recommend.fuse import fuse
from mmx.recommend.job import TrainJob
from mmx.recommend.run import open_run, verify_run
from mmx.recommend.run_folder import RUN
from mmx.renaming import set_aside
from mmx.sample.catalogue import write_sample
from tests.cache.stores import CARD, make_store, names, rows, rows_of
from tests.catalogue import plain_catalogue

ANEW = ExtractOptions(overwrite=True)


def test_a_folder_of_stores_is_not_a_store(tmp_path: Path) -> None:
    for name in "ab":
        make_store(tmp_path / "cache" / f"{name}.parquet")
    store = make_store(tmp_path / "c.parquet")
    items = load_items(plain_catalogue(tmp_path / "d", items=3))
    with pytest.raises(TargetError, match="is not an embedding store"):
        unite([store.path], Target(tmp_path / "cache", overwrite=True))
    with pytest.raises(TargetError, match="is not an embedding store"):
        extract(items, open_encoder("toy"), tmp_path / "cache", ANEW)
    assert names(tmp_path / "cache") == ["a.parquet", "b.parquet"]


def some_part(store: Path, **options: bool) -> None:
    schema = store_schema(CARD, "float32")
    columns = rows_of(["i0", "i1"])
    with Parts(store, CARD, "float32", **options) as parts:
        parts.write(0, parts_table(columns, schema))


def parts_table(columns: dict, schema):  # type: ignore[no-untyped-def]
    return pa.table({name: columns[name] for name in schema.names}, schema=schema)


def test_parts_without_their_job_are_refused(tmp_path: Path) -> None:
    """A kill may leave a folder half deleted."""
    items = load_items(plain_catalogue(tmp_path / "d", items=3))
    out = tmp_path / "x.parquet"
    some_part(out)
    (tmp_path / "x.parquet.parts" / "job.json").unlink()
    with pytest.raises(StoreError, match=r"job.json is damaged or lost; delete the folder"):
        extract(items, open_encoder("toy"), out)
    assert names(tmp_path / "x.parquet.parts") == ["part-000000.parquet"]
    assert extract(items, open_encoder("toy"), out, ANEW).encoded == 3
    assert names(tmp_path) == ["d", "x.parquet"]


def test_parts_are_deleted_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    some_part(tmp_path / "x.parquet")

    def killed(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mmx.cache.parts.shutil.rmtree", killed)
    parts = Parts(tmp_path / "x.parquet", CARD, "float32")
    with pytest.raises(KeyboardInterrupt):
        parts.remove()
    assert not parts.directory.exists()


def test_other_files_are_never_taken_for_parts(tmp_path: Path) -> None:
    items = load_items(plain_catalogue(tmp_path / "d", items=3))
    folder = tmp_path / "x.parquet.parts"
    folder.mkdir()
    (folder / "photo.jpg").write_text("dear to me")
    for options in (ExtractOptions(), ANEW):
        with pytest.raises(StoreError, match=r"holds photo.jpg, which is not part"):
            extract(items, open_encoder("toy"), tmp_path / "x.parquet", options)
    assert names(folder) == ["photo.jpg"]


def test_what_a_kill_left_aside_is_looked_at_before_anything_is_done(tmp_path: Path) -> None:
    """Where names cannot be exchanged the old store is next to it for a moment."""
    items = load_items(plain_catalogue(tmp_path / "d", items=3))
    out = tmp_path / "x.parquet"
    make_store(out)
    out.rename(set_aside(out))
    with pytest.raises(StoreError, match="differs in"):  # from the toy encoder
        extract(items, open_encoder("toy"), out)
    assert out.exists()
    out.rename(set_aside(out))
    with pytest.raises(TargetError, match="exists"), claimed(out, STORE):
        pass


def test_what_is_aside_and_not_ours_stays_there(tmp_path: Path) -> None:
    aside = set_aside(tmp_path / "run")
    aside.mkdir()
    (aside / "photo.jpg").write_text("dear to me")
    with claimed(tmp_path / "run", RUN, overwrite=True):
        pass
    assert names(tmp_path) == [aside.name]


def test_a_finished_job_forgets_its_own(tmp_path: Path) -> None:
    digest = "0123456789abcdef"
    own = unfinished(tmp_path / "v1", digest, "checkpoint")
    other = unfinished(tmp_path / "v1.5", digest, "checkpoint")
    for path in (own, other):
        path.write_text("")
    forget_unfinished(tmp_path / "v1", "checkpoint")
    assert names(tmp_path) == [other.name]


def test_overwrite_needs_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_sample(tmp_path / "data", items=20, users=12)
    fit(TrainJob("data", "popularity"))
    fit(TrainJob("data", "popularity"))
    with pytest.raises(OptionError, match="--overwrite goes with --out"):
        fit(TrainJob("data", "popularity"), overwrite=True)
    with pytest.raises(OptionError, match="--overwrite goes with --out"):
        fuse([Path("runs/popularity"), Path("runs/popularity-2")], overwrite=True)
    assert names(tmp_path / "runs") == ["popularity", "popularity-2"]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".json", ".jsonl"])
@pytest.mark.parametrize("marks", [True, False])
def test_text_tables_replace_only_ours(
    tmp_path: Path, suffix: str, marks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Known by their mark, or by their columns where the file system keeps no marks."""
    if not marks:
        monkeypatch.setattr("mmx.cli.table_files.mark", lambda path: None)
        monkeypatch.setattr("mmx.cli.table_files.is_marked", lambda path: None)
    out = tmp_path / f"t{suffix}"
    write_text_table(out, a=[1], b=["x,y"])
    write_text_table(out, a=[2, 3], b=["", "z"])
    if marks:
        write_text_table(out, a=[1])
    else:
        with pytest.raises(TargetError, match="is not an earlier table of mmx"):
            write_text_table(out, a=[1])
    out.unlink()
    out.write_text("dear,to,me\n")
    with pytest.raises(TargetError, match="is not an earlier table"):
        write_text_table(out, a=[1])
    assert out.read_text() == "dear,to,me\n"
    assert names(tmp_path) == [out.name]


def write_text_table(out: Path, **columns: list) -> None:
    table = pa.table(columns)
    check_out(out, overwrite=True)
    write_table(out, table.schema, table.to_batches(), overwrite=True)


def test_what_may_not_be_read_is_a_plain_error(tmp_path: Path) -> None:
    def unreadable(path: Path) -> bool:
        raise PermissionError(errno.EACCES, "denied")

    (tmp_path / "x").write_text("")
    with pytest.raises(TargetError, match=r"cannot write .*x: Permission denied"):
        check_target(tmp_path / "x", Kind("a thing", unreadable), overwrite=True)


def test_what_a_run_is_made_from_is_not_replaced_by_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_sample(tmp_path / "data", items=20, users=12)
    one, two = (fit(TrainJob("data", "popularity"), Path(name)).path for name in ("one", "two"))
    for out in (one, Path("../", tmp_path.name, "two")):
        with pytest.raises(OptionError, match="is one of the runs of the ensemble"):
            fuse([one, two], out, overwrite=True)
    with pytest.raises(OptionError, match=r"--out one contains one, which this job reads"):
        fit(TrainJob("one", "popularity"), one, overwrite=True)
    along = TrainJob("data", end_to_end=EndToEndJob("clip:mini"), images="two/pictures")
    with pytest.raises(OptionError, match=r"--out two contains two/pictures, which this job reads"):
        fit(along, two, overwrite=True)


def test_pictures_in_a_run_are_not_replaced(tmp_path: Path) -> None:
    write_sample(tmp_path / "data", items=20, users=12)
    job = TrainJob(tmp_path / "data", "popularity")
    run = fit(job, tmp_path / "run").path
    (run / "encoder").mkdir()
    (run / "encoder" / "1.jpg").write_text("dear to me")
    with pytest.raises(TargetError, match="is not a run of"):
        fit(job, run, overwrite=True)
    assert (run / "encoder" / "1.jpg").exists()
    there = run / "encoder"
    for name in ("lists.parquet", "features.parquet"):  # of the run, and neither file nor store
        there = there.rename(run / name)
        with pytest.raises(TargetError, match="is not a run of"):
            fit(job, run, overwrite=True)
        assert (there / "1.jpg").exists()


def test_a_flipped_bit_in_a_run_is_noticed(tmp_path: Path) -> None:
    write_sample(tmp_path / "data", items=20, users=12)
    run = fit(TrainJob(tmp_path / "data", "itemknn"), tmp_path / "run").path
    assert verify_run(run) == []
    for path in sorted(run.iterdir()):
        whole = path.read_bytes()
        if path.name in ("config.json", "history.parquet"):
            continue
        half = len(whole) // 2
        path.write_bytes(whole[:half] + bytes([whole[half] ^ 4]) + whole[half + 1 :])
        assert path.name in noticed(run)
        path.write_bytes(whole)
    model = run / "model.safetensors"
    model.write_bytes(model.read_bytes()[:-1] + b"\x01")
    with pytest.raises(RunError, match=r"model.safetensors is not what was written; train it"):
        open_run(run)
    with (run / "metrics.json").open("a") as file:
        file.write(" ")
    with pytest.raises(RunError, match=r"metrics.json is not what was written; train it again"):
        open_run(run)


def noticed(run: Path) -> str:
    """What is said of a run, all files of which must be named."""
    try:
        return "; ".join(verify_run(run))
    except RunError as error:
        pages = "CRC" in str(error)  # of a table, which Arrow does not name
        return f"{error} {sorted(p.name for p in run.glob('*.parquet')) if pages else ''}"


PROGRAM = """
import sys
from pathlib import Path
from mmx.extract.encoders import open_encoder
from mmx.extract.finetune import FinetuneOptions, finetune
from mmx.data.dataset import load_items
from mmx.recommend.job import TrainJob
from mmx.recommend.fit import fit
from mmx.recommend.options import TrainOptions
items = load_items("data")
run = fit(TrainJob("data", "bpr", training=TrainOptions(epochs=1, batch_size=64)))
assert run.path == Path("runs/bpr"), run.path
options = FinetuneOptions(epochs=1, batch_size=8, chunk=8)
finetune(items, open_encoder("clip:mini"), Path("link"), options, overwrite=True)
"""


@pytest.mark.slow
def test_two_processes_write_one_run(tmp_path: Path) -> None:
    """By the name that the first one took; also where a link leads."""
    write_sample(tmp_path / "data", items=24, users=12, seed=3)
    (tmp_path / "link").symlink_to(tmp_path / "there")
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0", "program.py"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    environment["PYTHONPATH"] = str(Path(__file__).parents[1])
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=180,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert names(tmp_path / "runs") == ["bpr"]
    assert names(tmp_path) == ["cache", "data", "link", "program.py", "runs", "there"]
    assert "model.safetensors" in names(tmp_path / "there")


def test_the_rows_are_those_of_one_store(tmp_path: Path) -> None:
    """A folder of files of one store opens as before."""
    store = make_store(tmp_path / "many.parquet", 20, max_file_rows=8)
    assert rows(store) == rows(make_store(tmp_path / "one.parquet", 20))

"""Reading, decoding, encoding and writing at the same time; an error anywhere ends the run."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from mmx.cache.parts import Parts
from mmx.cache.schema import store_schema
from mmx.data.dataset import load_items
from mmx.errors import StoreError
from mmx.extract.encoder import Encoder, Plain
from mmx.extract.encoders import open_encoder
from mmx.extract.encoders.torch_encoder import TorchEncoder
from mmx.extract.options import ExtractOptions
from mmx.extract.pipeline import extract
from mmx.extract.planning import Block, pending_blocks, rows_of, with_rows
from mmx.extract.sources.paths import Paths
from mmx.extract.sources.web import Web
from mmx.extract.stages.load import Loader
from mmx.extract.stages.progress import Progress
from mmx.extract.stages.run import run_blocks
from tests.catalogue import plain_catalogue, write_items
from tests.extract.counting import Counting, content, run


def blocks_of(data: Path, size: int) -> tuple[pa.Table, list[Block]]:
    table = load_items(data).table
    return table, pending_blocks(np.ones(len(table), dtype=bool), size, 0)


def run_here(data: Path, encoder: Encoder, write, size: int = 10, **options) -> Progress:
    table, blocks = blocks_of(data, size)
    loader = Loader(Paths(data, Web(), remote=False), encoder.image_rule, True)
    state = Progress()
    schema = store_schema(encoder.card, "float32")
    options = {"batch_size": 4, "decode_threads": 2, **options}
    run_blocks(encoder, loader, with_rows(table, blocks), schema, write, state=state, **options)
    return state


def test_blocks_are_fixed_stretches_of_the_table() -> None:
    encode = np.array([1, 1, 0, 0, 0, 0, 1, 0, 1, 1], dtype=bool)
    blocks = pending_blocks(encode, 3, first=7)
    assert [(b.number, b.rows.tolist()) for b in blocks] == [(7, [0, 1]), (8, [6, 8]), (9, [9])]
    assert pending_blocks(~encode & False, 3, 0) == []
    table = pa.table({"a": list(range(10))})
    for block in blocks:
        assert rows_of(table, block.rows)["a"].to_pylist() == block.rows.tolist()


def test_every_block_is_written_once_in_order(tmp_path: Path) -> None:
    data, written = plain_catalogue(tmp_path, 33), {}
    encoder = Counting()
    state = run_here(data, encoder, lambda number, rows: written.update({number: rows}))
    assert list(written) == [0, 1, 2, 3]
    assert pa.concat_tables(written.values())["item_id"].to_pylist() == [f"i{n}" for n in range(33)]
    assert encoder.batches == [4, 4, 2, 4, 4, 2, 4, 4, 2, 3]  # none crosses a block
    assert state.items["encoding"] == state.items["decoding"] == state.done == 33
    assert state.rate("decoding") > 0


class TwoLanes(Plain):
    lanes = 2


class Two(Counting):
    """Two lanes, which must meet in the pass."""

    hardware = TwoLanes()

    def __init__(self) -> None:
        super().__init__()
        self.meeting = threading.Barrier(2, timeout=20)

    def encode_image(self, pixels: np.ndarray) -> np.ndarray:
        self.meeting.wait()
        return self.inner.encode_image(pixels)


def test_lanes_do_not_change_the_store(tmp_path: Path) -> None:
    data = plain_catalogue(tmp_path / "d", 40)  # blocks of 10 and batches of 5: all in pairs
    run(data, tmp_path / "one.parquet", batch_size=5)
    run(data, tmp_path / "two.parquet", Two(), batch_size=5)
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_a_torch_encoder_has_a_lane_for_each_of_torch_s_threads(tmp_path: Path) -> None:
    """And both are at work: the first pass waits until another one has begun."""
    data, begun = plain_catalogue(tmp_path, 40), threading.Semaphore(0)
    encoder = open_encoder("clip:mini")
    assert isinstance(encoder, TorchEncoder)
    inner, first = encoder.image_pass, threading.Lock()

    def meet(pixels: torch.Tensor) -> torch.Tensor:
        begun.release()
        if first.acquire(blocking=False):
            assert begun.acquire(timeout=20)  # its own
            assert begun.acquire(timeout=20)
        assert torch.get_num_threads() == 1
        return inner(pixels)

    encoder.image_pass = meet
    state = run_here(data, encoder, lambda number, rows: None)
    assert state.threads["encoding"] == torch.get_num_threads() == 2


def test_writing_goes_on_beside_encoding(tmp_path: Path) -> None:
    """The first part is held back until the second block is being encoded."""
    data, second = plain_catalogue(tmp_path, 20), threading.Event()
    encoder = Counting()
    encode = encoder.encode_image

    def watched(pixels: np.ndarray) -> np.ndarray:
        if encoder.images >= 10:
            second.set()
        return encode(pixels)

    encoder.encode_image = watched  # type: ignore[method-assign]
    order = []

    def write(number: int, rows: pa.Table) -> None:
        assert second.wait(20)
        order.append(number)

    run_here(data, encoder, write)
    assert order == [0, 1]


@pytest.mark.parametrize("error", [StoreError("the disk is full"), MemoryError("no more")])
def test_an_error_of_the_writer_ends_the_run(tmp_path: Path, error: Exception) -> None:
    data, encoder = plain_catalogue(tmp_path, 200), Counting()

    def write(number: int, rows: pa.Table) -> None:
        raise error

    with pytest.raises(type(error), match=str(error)):
        run_here(data, encoder, write)
    assert encoder.images < 60  # it did not continue to the end
    assert not [t for t in threading.enumerate() if t.name.startswith(("read", "decode", "write"))]


def test_an_error_of_a_source_ends_the_run(tmp_path: Path) -> None:
    """A reason goes into the row; anything else is a fault of the program."""
    data, out = plain_catalogue(tmp_path / "d", 40), tmp_path / "toy.parquet"

    def source(image: str) -> bytes:
        if image.endswith("25.png"):
            raise ZeroDivisionError("a bug in the source")
        return (data / image).read_bytes()

    with pytest.raises(ZeroDivisionError, match="a bug in the source"):
        extract(load_items(data), Counting(), out, ExtractOptions(4, 2, 10), source=source)
    assert not out.exists()
    assert run(data, out).reused >= 10  # what was finished before it is kept


def test_a_source_of_bytes(tmp_path: Path) -> None:
    """Pictures may come from anywhere."""
    data = plain_catalogue(tmp_path / "d", 12)
    run(data, tmp_path / "files.parquet")
    names = load_items(data).table["image"].to_pylist()
    archive = {f"shard/{n}": (data / name).read_bytes() for n, name in enumerate(names)}
    rows = load_items(data).table.select(["item_id", "text"]).to_pylist()
    other = write_items(
        tmp_path / "e", [row | {"image": f"shard/{n}"} for n, row in enumerate(rows)]
    )
    extract(
        load_items(other), open_encoder("toy"), tmp_path / "bytes.parquet",
        ExtractOptions(4, 2, 10), source=archive.__getitem__,
    )  # fmt: skip
    assert content(tmp_path / "bytes.parquet").equals(content(tmp_path / "files.parquet"))


class Small(Counting):
    """Memory for two pictures at once."""

    def encode_image(self, pixels: np.ndarray) -> np.ndarray:
        if len(pixels) > 2:
            import torch

            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().encode_image(pixels)


def test_out_of_memory_costs_nothing_but_time(tmp_path: Path) -> None:
    data, encoder = plain_catalogue(tmp_path / "d", 21), Small()
    run(data, tmp_path / "a.parquet", encoder, batch_size=8)
    assert max(encoder.batches) == 2
    run(data, tmp_path / "b.parquet", batch_size=8)
    assert content(tmp_path / "a.parquet").equals(content(tmp_path / "b.parquet"))


def test_only_the_newest_numbers_are_taken(tmp_path: Path) -> None:
    """Parts of a continued run are numbered after those that are there."""
    data, out = plain_catalogue(tmp_path / "d", 40), tmp_path / "toy.parquet"
    with pytest.raises(KeyboardInterrupt):
        run(data, out, Counting(fail_after=25))
    with Parts(out, open_encoder("toy").card, "float32") as parts:
        assert [p.name for p in parts.files()] == ["part-000000.parquet", "part-000001.parquet"]
        assert pq.read_table(parts.files()[1])["item_id"].to_pylist() == [
            f"i{n}" for n in range(10, 20)
        ]


def test_decoding_has_the_priority_of_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A nicer thread would get nothing while another job is running."""
    from mmx.extract.stages import load as inputs

    levels, decode = set(), inputs.pixels_of

    def counted(*given):
        levels.add(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return decode(*given)

    monkeypatch.setattr(inputs, "pixels_of", counted)
    data = plain_catalogue(tmp_path / "d", items=20)
    run_here(data, open_encoder("toy"), lambda number, rows: None, batch_size=4)
    assert levels == {os.getpriority(os.PRIO_PROCESS, 0)}

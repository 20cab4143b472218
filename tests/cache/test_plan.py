"""Plans, decided with tables alone."""

import pyarrow as pa

from mmx.cache.plan import content_hash, locate, make_plan


def finished(rows: list[tuple[str, str, str]]) -> pa.Table:
    """(item_id, content_hash, image_status) rows."""
    names = ("item_id", "content_hash", "image_status")
    return pa.table({name: [row[i] for row in rows] for i, name in enumerate(names)})


def chunked(*ids: str) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(ids, pa.string())])


ROWS = finished([("a", "h1", "ok"), ("b", "h2", "corrupt"), ("c", "h3", "missing")])


def test_nothing_finished_encodes_everything() -> None:
    none = ROWS.slice(0, 0)
    plan = make_plan(chunked("a", "b"), none, pa.array([None, None], pa.string()))
    assert plan.encode.tolist() == [True, True]
    assert plan.source.tolist() == [-1, -1]


def test_unchanged_items_are_reused_wherever_they_stand() -> None:
    plan = make_plan(chunked("c", "new", "a"), ROWS, pa.array(["h3", None, "h1"]))
    assert plan.source.tolist() == [2, -1, 0]
    assert plan.encode.tolist() == [False, True, False]
    assert plan.removed == 1  # b


def test_rows_that_only_move() -> None:
    hashes = pa.array(["h1", "h2", "h3"])
    assert not make_plan(chunked("a", "b", "c"), ROWS, hashes).moves
    assert make_plan(chunked("a", "b"), ROWS, hashes[:2]).moves
    moved = make_plan(chunked("a", "c", "b"), ROWS, pa.array(["h1", "h3", "h2"]))
    assert (moved.moves, moved.encode.any()) == (True, False)


def test_a_picture_without_bytes_is_known_by_its_status() -> None:
    hashes, unread = pa.array(["h1", "h2", "h3"]), [None, "file not found", "missing"]
    plan = make_plan(chunked("a", "b", "c"), ROWS, hashes, pa.array(unread))
    assert plan.encode.tolist() == [False, True, False]
    unread = ["missing", None, "file not found"]
    plan = make_plan(chunked("a", "b", "c"), ROWS, hashes, pa.array(unread))
    assert plan.encode.tolist() == [True, False, True]


def test_changed_inputs_are_encoded_again() -> None:
    plan = make_plan(chunked("a", "b", "c"), ROWS, pa.array(["other", "h2", "h3"]))
    assert plan.encode.tolist() == [True, False, False]


def test_failures_are_tried_again_only_when_asked() -> None:
    hashes = pa.array(["h1", "h2", "h3"])
    items = chunked("a", "b", "c")
    assert not make_plan(items, ROWS, hashes).encode.any()
    assert make_plan(items, ROWS, hashes, retry_failed=True).encode.tolist() == [False, True, False]


def test_the_last_of_several_finished_rows_counts() -> None:
    rows = finished([("a", "old", "ok"), ("a", "new", "ok"), ("b", "h", "ok")])
    assert locate(chunked("a", "b", "x"), rows).tolist() == [1, 2, -1]
    assert make_plan(chunked("a"), rows, pa.array(["new"])).reused == 1
    assert make_plan(chunked("a"), rows, pa.array(["old"])).reused == 0


def test_content_hash_tells_inputs_apart() -> None:
    inputs = [(None, None), (b"", None), (None, ""), (b"ab", None), (None, "ab"), (b"a", "b")]
    assert len({content_hash(image, text) for image, text in inputs}) == len(inputs)
    assert content_hash(b"ab", "c") == content_hash(b"ab", "c")

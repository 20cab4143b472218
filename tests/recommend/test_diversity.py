"""Caps, MMR, fallback and reasons equal slow references, with ties and items without vectors."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mmx.recommend.diversity import mmr, pool_size, reach_of, within_cap
from mmx.recommend.fallback import filled_up, popular
from mmx.recommend.interactions import UserItems
from mmx.recommend.reasons import closest

SMALL = st.sampled_from([0.0, 0.0, 1.0, 2.0, -1.0, 0.5])  # so that many values are equal
GROUPS = st.sampled_from([-1, 0, 1, 2])


def matrix(draw: st.DrawFn, rows: int, d: int = 3) -> np.ndarray:
    values = draw(st.lists(st.lists(SMALL, min_size=d, max_size=d), min_size=rows, max_size=rows))
    return np.array(values, np.float32).reshape(rows, d)


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    """0 where one of them has no length; rounded as elsewhere in mmx."""
    a, b = one.astype(float).tolist(), other.astype(float).tolist()
    norms = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(x * x for x in b))
    exact = sum(x * y for x, y in zip(a, b, strict=True)) / norms if norms else 0.0
    return round(exact * 2**26) / 2**26


def slow_mmr(scores, vectors, k, diversity, groups=None, most=0) -> list[int]:
    low, high = min(scores, default=0.0), max(scores, default=0.0)
    chosen: list[int] = []
    taken: Counter[int] = Counter()
    while len(chosen) < k:
        best, value = None, -math.inf
        for place in range(len(scores)):
            group = -1 if groups is None else groups[place]
            if place in chosen or (group >= 0 and taken[group] >= most):
                continue
            gain = (float(scores[place]) - float(low)) / ((float(high) - float(low)) or 1)
            alike = max((cosine(vectors[place], vectors[j]) for j in chosen), default=0.0)
            now = gain if not chosen else (1 - diversity) * gain - diversity * alike
            if now > value:
                best, value = place, now
        if best is None:
            break
        chosen.append(best)
        taken[-1 if groups is None else groups[best]] += 1
    return chosen


@st.composite
def candidates(draw: st.DrawFn):
    count = draw(st.integers(0, 8))
    scores = sorted(draw(st.lists(SMALL, min_size=count, max_size=count)), reverse=True)
    groups = draw(st.lists(GROUPS, min_size=count, max_size=count))
    return np.array(scores, np.float32), matrix(draw, count), np.array(groups, np.int64)


@given(candidates(), st.integers(1, 9), st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.integers(1, 3))
def test_mmr_is_that_of_loops(drawn, k: int, diversity: float, most: int) -> None:
    scores, vectors, groups = drawn
    plain = mmr(scores, vectors, k, diversity)
    assert plain.tolist() == slow_mmr(scores, vectors, k, diversity)
    capped = mmr(scores, vectors, k, diversity, groups, most)
    assert capped.tolist() == slow_mmr(scores, vectors, k, diversity, groups, most)
    if diversity == 0:
        keep = np.flatnonzero(within_cap(groups[None], most)[0])[:k]
        assert capped.tolist() == keep.tolist()


def test_mmr_by_hand() -> None:
    """The second best is a copy of the best; the third is unlike both."""
    vectors = np.array([[1, 0], [2, 0], [0, 1]], np.float32)
    scores = np.array([1.0, 0.9, 0.5], np.float32)  # on the scale: 1, 0.8, 0
    assert mmr(scores, vectors, 3, 0.4).tolist() == [0, 1, 2]  # 0.48 - 0.4 > 0
    assert mmr(scores, vectors, 3, 0.5).tolist() == [0, 2, 1]  # 0.4 - 0.5 < 0
    opposite = np.array([[1, 0], [0, 0], [-1, 0]], np.float32)
    assert mmr(scores, opposite, 2, 1.0).tolist() == [0, 2]  # -1 is less alike than unknown
    assert mmr(scores, opposite, 2, 0.4).tolist() == [0, 1]


@given(st.lists(st.lists(GROUPS, min_size=6, max_size=6), max_size=4), st.integers(1, 4))
def test_a_cap_keeps_the_first(rows: list[list[int]], most: int) -> None:
    groups = np.array(rows, np.int64).reshape(-1, 6)
    keep = within_cap(groups, most)
    for row, kept in zip(groups.tolist(), keep.tolist(), strict=True):
        expected = [group < 0 or row[:n].count(group) < most for n, group in enumerate(row)]
        assert kept == expected


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 8)), max_size=20),
    st.lists(st.integers(0, 8), max_size=4, unique=True),
    st.lists(st.integers(0, 8), max_size=4, unique=True),
    st.lists(GROUPS, min_size=9, max_size=9),
    st.integers(1, 10),
    st.lists(st.booleans(), min_size=9, max_size=9),
)
def test_a_fallback_is_that_of_loops(pairs, listed, hidden, groups, k, allowed) -> None:
    users, items = np.array(pairs, np.int64).reshape(-1, 2).T
    train = UserItems.from_pairs(users, items, 4, 9)
    order = popular(train, np.array(allowed))
    taken = Counter(item for _, item in set(pairs))
    slow = sorted((n for n in range(9) if allowed[n]), key=lambda n: (-taken[n], n))
    assert order.tolist() == slow
    both = np.array(listed, np.int64), order, np.array(hidden, np.int64), k
    free = [item for item in slow if item not in listed and item not in hidden]
    assert filled_up(*both).tolist() == free[: max(k - len(listed), 0)]
    expected: list[int] = []
    for item in free:
        same = [one for one in (*listed, *expected) if groups[one] == groups[item] >= 0]
        if len(listed) + len(expected) < k and len(same) < 2:
            expected.append(item)
    assert filled_up(*both, np.array(groups), 2).tolist() == expected


@given(st.data(), st.integers(0, 4), st.integers(0, 5))
def test_reasons_are_those_of_loops(data: st.DataObject, k: int, h: int) -> None:
    draw = data.draw
    shown = {name: draw(st.composite(matrix)(k)) for name in ("image", "text")}
    history = {name: draw(st.composite(matrix)(h)) for name in ("image", "text")}
    same = np.array(draw(st.lists(st.booleans(), min_size=k * h, max_size=k * h))).reshape(k, h)
    found = closest(shown, history, same.astype(bool))
    for row in range(k):
        best, value = (-1, -1), math.nan
        for number, name in enumerate(shown):
            for place in range(h):
                mine, theirs = shown[name][row], history[name][place]
                alike = cosine(mine, theirs)
                if mine.any() and theirs.any() and not same[row, place] and not alike <= value:
                    best, value = (place, number), alike
        assert (found.places[row], found.modalities[row]) == best
        np.testing.assert_array_equal(found.similarities[row], np.float32(value))


def test_candidates_are_as_few_as_fill_a_list() -> None:
    every = np.ones(1000, dtype=bool)
    assert reach_of(every, 5) == pool_size(5) == 100
    assert reach_of(np.arange(1000) % 100 == 99, 5) == 500
    assert reach_of(~every, 5) == 1001  # never enough: all of them

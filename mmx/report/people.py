"""Example users with their lists, and the mistakes that a run was surest of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from mmx.cache.store import Store
from mmx.recommend.reasons import closest
from mmx.report.facts import Pick, RunFacts
from mmx.report.items import Cards
from mmx.report.markup import absent, esc, note, short
from mmx.report.mistakes import Mistake

SHOWN = 10  # items of a list, and of a history
TAKEN = {"test": "taken in the test", "valid": "taken in validation"}
Histories = Mapping[str, tuple[list[str], int]]  # user → the latest items, and how many in all
Why = tuple[str, str, float]  # item of the history, modality, cosine


def people_html(
    facts: Sequence[RunFacts], people: Histories, items: Cards, store: Store | None
) -> str:
    """What some users trained on, and what each run recommends to them."""
    parts = [_person(user, facts, *people[user], items, store) for user in people]
    said = "" if items.pictures else absent("Pictures need the dataset:", "--data DIR")
    said += (
        "" if store else absent("Reasons need the store of the items' vectors:", "--store STORE")
    )
    return said + "".join(parts)


def _person(
    user: str,
    facts: Sequence[RunFacts],
    history: list[str],
    total: int,
    items: Cards,
    store: Store | None,
) -> str:
    latest = f", the latest {len(history)}" if total > len(history) else ""
    parts = [f"<h3>{esc(user)}</h3>", f"<h4>Took {total:,} items in training{latest}</h4>"]
    parts.append(_strip(items.cards(history), f"What {user} took"))
    for one in facts:
        if (found := one.lists.get(user)) is None:
            parts.append(note(f"{one.name} does not know this user."))
            continue
        hits = sum(pick.taken == "test" for pick in found)
        of = f"{hits} of {len(found)} were taken in the test"
        parts.append(f"<h4>{esc(one.name)} recommends: {of}</h4>")
        why = reasons(store, [pick.item for pick in found], history)
        parts.append(_strip(_picks(found, why, items), f"What {one.name} recommends to {user}"))
    return f'<article class="person">{"".join(parts)}</article>'


def _picks(found: Sequence[Pick], why: Sequence[Why | None], items: Cards) -> list[str]:
    titles = items.titles(reason[0] for reason in why if reason)
    under = []
    for place, (pick, reason) in enumerate(zip(found, why, strict=True), start=1):
        mark = f'<span class="hit">✓ {TAKEN[pick.taken]}</span>' if pick.taken else ""
        said = f'<div class="score">{place}. score {pick.score:.3g}</div>'
        if reason:
            closest_to = f"like {short(titles[reason[0]], 50)} ({reason[1]}, {reason[2]:.2f})"
            said += f'<div class="why">{esc(closest_to)}</div>'
        under.append(mark + said)
    return items.cards([pick.item for pick in found], under)


def _strip(cards: Sequence[str], name: str) -> str:
    inner = "".join(cards) or note("Nothing.")
    return f'<div class="strip" role="group" tabindex="0" aria-label="{esc(name)}">{inner}</div>'


def reasons(store: Store | None, shown: Sequence[str], history: Sequence[str]) -> list[Why | None]:
    """The item of the history closest to each shown one; None where nothing can be compared."""
    if store is None or not shown or not history:
        return [None] * len(shown)
    names = list(store.card.dimensions)
    both = pa.array([*shown, *history], pa.string())
    vectors = {name: _finite(store.vectors(name, both)[0]) for name in names}
    mine = {name: rows[: len(shown)] for name, rows in vectors.items()}
    theirs = {name: rows[len(shown) :] for name, rows in vectors.items()}
    same = np.array([[one == other for other in history] for one in shown])
    found = closest(mine, theirs, same)
    return [
        None if place < 0 else (history[place], names[modality], float(cosine))
        for place, modality, cosine in zip(*found, strict=True)
    ]


def _finite(rows: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(rows).all(1, keepdims=True), rows, 0)


def mistakes_html(
    found: Sequence[Mistake],
    people: Histories,
    items: Cards,
    store: Store | None,
    name: str,
) -> str:
    """Each in plain words, with the picture of the item."""
    if not found:
        return note(f"{name} recommends nothing that its users did not take.")
    cards = items.cards([one.item for one in found])
    titles = items.titles(one.item for one in found)
    lines = []
    for one, card in zip(found, cards, strict=True):
        history = people.get(one.user, ([], 0))[0]
        words = _in_words(one, titles[one.item])
        reason = reasons(store, [one.item], history)[0]
        if reason:
            other = items.titles([reason[0]])[reason[0]]
            words += f" It is most like “{other}”, which they took ({reason[1]}, {reason[2]:.2f})."
        lines.append(f"<li>{card}<p>{esc(words)}</p></li>")
    return f'<ul class="mistakes">{"".join(lines)}</ul>'


def _in_words(one: Mistake, title: str) -> str:
    took = f"took {one.held_out} other item{'s' * (one.held_out != 1)} in the test"
    best = (
        f"the best of these has place {one.best:,} for the model"
        if one.best
        else "the model ranks none of these"
    )
    return (
        f"“{title}” has place {one.place:,} for {one.user}, with score {one.score:.3g}. "
        f"They trained on {one.trained:,} item{'s' * (one.trained != 1)} and {took}; {best}."
    )
